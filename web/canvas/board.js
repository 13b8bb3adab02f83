// The canvas as a person sees it: tools, palette, picture, shortcuts, the large view. What is painted and saved:
// painting.js and saver.js.

import { api } from "../../../scripts/api.js"
import { app } from "../../../scripts/app.js"
import { History } from "./history.js"
import { Hand } from "./hand.js"
import { Painting } from "./painting.js"
import { PaletteBar } from "./palette_bar.js"
import { button, make, say, slider } from "./parts.js"
import { resultOf } from "./results.js"
import { Saver, fetchPicture, fileOf, newName, upload } from "./saver.js"

/** @typedef {import("./saver.js").State} State */
/** @typedef {import("./painting.js").Tool} Tool */

const LARGEST = 2048
const PHOTO = 1024 // longer side of a canvas that takes the size of a photo
/** @type {[Tool, string, string][]} */
const TOOLS = [
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"],
  ["line", "Line", "L"],
  ["fill", "Fill", "G"],
  ["pick", "Pick a colour", "I"],
]

export class Board {
  /** @param {any} node */
  constructor(node) {
    this.node = node
    this.painting = new Painting()
    /** @type {History<State>} */
    this.history = new History(empty(512, 512))
    this.saver = new Saver((state) => this.write(state), (error) => this.tellSaving(error))
    this.brush = { tool: /** @type {Tool} */ ("brush"), colour: "#3b6ea5", size: 32, opacity: 1 }
    /** @type {ImageBitmap | null} */
    this.connected = null // the picture of the ground input, once it has run
    this.value = ""
    this.turn = 0 // counts what is shown, so that a slow picture does not come over a newer one
    this.gone = new AbortController()
    this.build()
    this.show(this.history.now)
    const { signal } = this.gone
    window.addEventListener("beforeunload", (event) => this.saver.busy && event.preventDefault(), { signal })
    api.addEventListener("executed", () => this.showResult(), { signal })
  }

  build() {
    const tools = TOOLS.map(([tool, name, key]) => button(tool, name, key, () => this.choose(tool)))
    this.undoButton = button("undo", "Undo", "Ctrl+Z", () => this.step(-1))
    this.redoButton = button("redo", "Redo", "Ctrl+Shift+Z", () => this.step(1))
    this.size = slider("Size", 200, (value) => (this.brush.size = value))
    this.opacity = slider("Opacity", 100, (value) => (this.brush.opacity = value / 100))
    this.menu = this.groundMenu()
    const acts = [
      this.undoButton,
      this.redoButton,
      button("clear", "Clear", "", () => this.clear()),
      make("i"),
      button("take", "Take the result as ground", "", () => this.takeResult()),
      button("ground", "Ground and size", "", () => (this.menu.hidden = !this.menu.hidden)),
      (this.largeButton = button("large", "Large view", "F", () => this.toggleLarge())),
    ]
    this.status = make("div", { class: "status", role: "status" })
    this.stage = make("div", { class: "stage" }, this.painting.ground.canvas, this.painting.strokes.canvas)
    this.ring = make("div", { class: "ring", hidden: true })
    // Holds the keyboard while one paints: the editor leaves keys alone that are typed into an input.
    this.keys = make("input", { class: "keys", readOnly: true, "aria-label": say("Paint here") })
    this.view = make("div", { class: "view" }, this.stage, this.ring, this.keys, this.menu, this.status)
    this.result = make("img", { class: "result", alt: say("result after a run"), draggable: false })
    this.palette = new PaletteBar((colour) => this.useColour(colour), () => this.writePalette())
    this.board = make(
      "div",
      { class: "sketch-canvas", onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event) },
      make("div", { class: "bar" }, ...tools, make("i"), ...acts),
      make("div", { class: "bar sliders" }, this.size.element, this.opacity.element),
      make("div", { class: "pictures" }, this.view, this.result),
      this.palette.element
    )
    this.root = make("div", { class: "sketch-canvas-place" }, this.board)
    this.dialog = make("dialog", { class: "sketch-canvas-large", onclose: () => this.placeBoard(false) })
    this.tools = tools
    this.hand = new Hand(this)
    this.size.set(this.brush.size)
    this.opacity.set(100)
    this.choose("brush")
    this.useColour(this.brush.colour)
  }

  groundMenu() {
    const file = make("input", { type: "file", accept: "image/*", hidden: true, onchange: () => this.photo(file) })
    this.paper = make("input", { type: "color", "data-act": "paper" })
    this.paper.addEventListener("change", () => this.commit({ paper: this.paper.value }, true))
    const sizes = ["Width", "Height"].map((name) =>
      make("input", { type: "number", min: 64, max: LARGEST, step: 8, "aria-label": say(name), "data-act": name.toLowerCase() })
    )
    this.sizes = sizes
    const text = (/** @type {string} */ name, /** @type {() => void} */ onclick, act = "") =>
      make("button", { type: "button", onclick, "data-act": act }, say(name))
    return make(
      "div",
      { class: "menu", hidden: true },
      make("label", {}, make("span", {}, say("Paper")), this.paper),
      make("div", {}, text("Photo ...", () => file.click(), "photo"), text("No photo", () => this.commit({ photo: "" }, true), "no-photo")),
      make("div", {}, sizes[0], "×", sizes[1], text("Resize", () => this.resize(), "resize")),
      file
    )
  }

  // --- what is shown ---------------------------------------------------------------------------------------------

  /** @param {string} name */
  widget(name) {
    return this.node.widgets?.find((/** @type {any} */ one) => one.name === name)
  }

  /** The graph has set the widget: shows what it names. @param {string} value */
  set(value) {
    this.value = value ?? ""
    clearTimeout(this.later)
    this.later = setTimeout(() => this.restore()) // the node's other widgets get their values after this one
  }

  /** Reads all widgets of the node, which have come from a file or from the editor's undo. */
  restore() {
    this.palette.read(this.widget("palette")?.value ?? "")
    const [width, height] = ["width", "height"].map((name) => Number(this.widget(name)?.value ?? 512))
    const [photo, paper] = ["photo", "paper"].map((name) => this.widget(name)?.value ?? "")
    const now = this.history.now
    const state = { ...empty(width, height), name: this.value, photo, paper: paper.slice(0, 7) || "#ffffff" }
    if (now.saved && ["name", "photo", "paper", "width", "height"].every((key) => now[key] === state[key])) return
    if (this.value) state.strokes = fetchPicture(fileOf(this.value))
    state.strokes?.catch(() => {}) // show tells
    this.history = new History(state)
    this.show(state)
  }

  /** @param {State} state */
  async show(state) {
    const turn = ++this.turn
    this.refresh()
    const missing = (/** @type {string} */ name) => (this.tell(say("This file is not in the input folder: ") + name, true), null)
    const photo = state.photo && fetchPicture(fileOf(state.photo)).then(createImageBitmap)
    const [below, strokes] = await Promise.all([
      photo ? photo.catch(() => missing(state.photo)) : null,
      state.strokes ? state.strokes.then(createImageBitmap).catch(() => missing(state.name)) : null,
    ])
    if (turn !== this.turn) return
    const { painting } = this
    ;[painting.picture, painting.paper] = [this.connected ?? below, state.paper]
    painting.resize(state.width, state.height)
    painting.show(strokes)
    this.hand.fit()
  }

  refresh() {
    const { now, canUndo, canRedo } = this.history
    this.undoButton.disabled = !canUndo
    this.redoButton.disabled = !canRedo
    this.paper.value = now.paper
    ;[this.sizes[0].value, this.sizes[1].value] = [now.width, now.height]
  }

  /** @param {string} text @param {boolean} [bad] */
  tell(text, bad = false) {
    this.status.textContent = text
    this.status.classList.toggle("bad", bad)
    clearTimeout(this.fading)
    if (!bad) this.fading = setTimeout(() => (this.status.textContent = ""), 2500)
  }

  /** @param {Error | null} error */
  tellSaving(error) {
    if (error) this.tell(`${say("Not saved yet, the server does not answer: trying again")} (${error.message})`, true)
    else this.tell(say("Saved"))
  }

  // --- what changes ----------------------------------------------------------------------------------------------

  /** A new state of the canvas, saved and told to the editor. @param {Partial<State>} changes @param {boolean} [show] */
  commit(changes, show = false) {
    const state = { ...this.history.now, ...changes, saved: false }
    this.history.push(state)
    this.saver.save(state)
    if (show) this.show(state)
    else this.refresh()
  }

  /** After a stroke. */
  painted() {
    this.commit({ strokes: this.painting.png(), name: newName() })
  }

  clear() {
    if (this.history.now.name) this.commit({ strokes: null, name: "" }, true)
  }

  /** @param {-1 | 1} by */
  step(by) {
    if (this.hand.busy || !this.history.step(by)) return
    this.show(this.history.now)
    this.saver.save(this.history.now)
  }

  /** The state is on the server: the graph takes it, and the editor sees a change. @param {State} state */
  write(state) {
    this.value = state.name
    for (const name of ["photo", "paper", "width", "height"]) {
      const widget = this.widget(name)
      if (widget && widget.value !== state[name]) widget.value = state[name]
    }
    changed()
  }

  writePalette() {
    const widget = this.widget("palette")
    if (widget) widget.value = this.palette.text
    changed()
  }

  resize() {
    const [width, height] = this.sizes.map((/** @type {HTMLInputElement} */ one) => sized(Number(one.value)))
    const { painting } = this
    const old = painting.strokes.canvas
    createImageBitmap(old).then((strokes) => {
      painting.resize(width, height)
      painting.show(strokes)
      const drawn = this.history.now.name ? { strokes: painting.png(), name: newName() } : {}
      this.commit({ width, height, ...drawn }, true)
    })
  }

  /** @param {HTMLInputElement} input */
  async photo(input) {
    const [file] = input.files ?? []
    input.value = ""
    if (file) await this.newGround(file, true)
  }

  /** The last result becomes the ground, and the strokes, which it contains, are cleared. */
  async takeResult() {
    const result = resultOf(this.node)
    if (result) await this.newGround(await fetchPicture(result), false)
    else this.tell(say("There is no result yet: run the graph first."), true)
  }

  /** @param {Blob} blob @param {boolean} keep whether the strokes stay */
  async newGround(blob, keep) {
    try {
      const { width, height } = await createImageBitmap(blob)
      const photo = newName().replace("/", "/ground-")
      await upload(blob, photo)
      const share = Math.min(1, PHOTO / Math.max(width, height))
      const size = keep && !this.history.now.name && { width: sized(width * share), height: sized(height * share) }
      this.commit({ photo, ...(size || {}), ...(keep ? {} : { strokes: null, name: "" }) }, true)
    } catch (error) {
      this.tell(say("This picture cannot be read: ") + error, true)
    }
  }

  /** The node has run. @param {any} output */
  async executed(output) {
    const [picture] = output?.ground ?? []
    if (picture) this.connect(await createImageBitmap(await fetchPicture(picture)))
  }

  /** The picture of the ground input; null: nothing is connected. @param {ImageBitmap | null} picture */
  connect(picture) {
    if (!picture && !this.connected) return
    this.connected = picture
    this.show(this.history.now)
  }

  // --- tools -----------------------------------------------------------------------------------------------------

  /** @param {Tool} tool */
  choose(tool) {
    this.brush.tool = tool
    for (const one of this.tools) one.classList.toggle("on", one.dataset.act === tool)
    this.view.dataset.tool = tool
  }

  /** @param {string} colour #rrggbb */
  useColour(colour) {
    this.brush.colour = colour
    this.palette.choose(colour)
    if (["eraser", "pick"].includes(this.brush.tool)) this.choose("brush")
  }

  /** @param {number} by */
  grow(by) {
    this.brush.size = Math.min(200, Math.max(1, Math.round(this.brush.size * by + Math.sign(by - 1))))
    this.size.set(this.brush.size)
    this.hand.ringAgain()
  }

  /** Shortcuts of the canvas; none of them reaches the editor. @param {KeyboardEvent} event */
  key(event) {
    if (event.target !== this.keys) return
    const letter = event.key.toLowerCase()
    const tool = TOOLS.find(([, , key]) => key.toLowerCase() === letter)
    const control = event.ctrlKey || event.metaKey
    let act = null
    if (control && letter === "z") act = () => this.step(event.shiftKey ? 1 : -1)
    else if (control && letter === "y") act = () => this.step(1)
    else if (control || event.altKey) return
    else if (tool) act = () => this.choose(tool[0])
    else if (letter === "f") act = () => this.toggleLarge()
    else if (letter === "0") act = () => this.hand.fit()
    else if (letter === "[" || letter === "]") act = () => this.grow(letter === "]" ? 1.15 : 1 / 1.15)
    else if (/^[1-9]$/.test(letter)) act = () => this.palette.pick(Number(letter) - 1)
    if (!act) return
    event.preventDefault()
    event.stopPropagation()
    act()
  }

  // --- the large view --------------------------------------------------------------------------------------------

  toggleLarge() {
    if (this.dialog.open) return this.dialog.close()
    document.body.append(this.dialog)
    this.placeBoard(true)
    this.dialog.showModal()
    this.keys.focus()
  }

  /** @param {boolean} large */
  placeBoard(large) {
    ;(large ? this.dialog : this.root).append(this.board)
    this.board.classList.toggle("large", large)
    this.largeButton.replaceChildren(button(large ? "small" : "large", "", "", () => {}).firstChild)
    this.hand.fit()
    if (large) this.showResult()
    else this.dialog.remove()
  }

  showResult() {
    const picture = this.dialog.open || this.board.classList.contains("large") ? resultOf(this.node) : null
    if (!picture) return
    const { filename, subfolder = "", type = "output" } = picture
    this.result.src = api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`)
  }

  /** The node is gone. */
  remove() {
    this.gone.abort()
    this.dialog.remove()
  }
}

/** @param {number} width @param {number} height @returns {State} */
function empty(width, height) {
  return { strokes: null, name: "", photo: "", paper: "#ffffff", width, height, saved: true }
}

/** A side that the node takes. @param {number} pixels */
function sized(pixels) {
  return Math.min(LARGEST, Math.max(64, 8 * Math.round((pixels || 512) / 8)))
}

/** Lets the editor look at the graph: its undo takes the change, and Run (On Change) queues. */
function changed() {
  app.canvas?.setDirty(true, true)
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
  if (tracker?.captureCanvasState) tracker.captureCanvasState()
  else tracker?.checkState?.() // editors before 2026
}
