// The canvas as a person sees it: tools, palette, picture, shortcuts, the large view. What is painted and saved:
// painting.js and saver.js.

import { api } from "../../../scripts/api.js"
import { app } from "../../../scripts/app.js"
import { History } from "./history.js"
import { Hand } from "./hand.js"
import { Live } from "./live.js"
import { LARGEST, Painting, sized } from "./painting.js"
import { drawn, say } from "./parts.js"
import { offer, resultsOf } from "./results.js"
import { Saver, fetchPicture, fileOf, newName, openPicture, upload } from "./saver.js"
import { surface } from "./surface.js"

/** @typedef {import("./saver.js").State} State */
/** @typedef {import("./painting.js").Tool} Tool */

const PHOTO = 1024 // longer side of a canvas that takes the size of a photo
const KEPT = ["photo", "paper", "width", "height"] // of a state, each in a widget of its name

export class Board {
  /** @param {any} node */
  constructor(node) {
    this.node = node
    this.painting = new Painting()
    /** @type {History<State>} */
    this.history = new History(empty())
    this.saver = new Saver((state) => this.write(state), (error) => this.tellSaving(error))
    this.brush = { tool: /** @type {Tool} */ ("brush"), colour: "#3b6ea5", size: 32, opacity: 1 }
    /** @type {ImageBitmap | null} */
    this.connected = null // the picture of the ground input, once it has run
    this.file = "" // what the node of the ground input reads, as the canvas last saw it
    this.value = ""
    this.turn = 0 // counts what is shown, so that a slow picture does not come over a newer one
    this.choosing = false // one of several results
    this.loading = false // strokes: until they are there, none can be added
    this.gone = new AbortController()
    this.live = new Live(this.gone.signal)
    this.ui = surface(this)
    this.hand = new Hand(this)
    this.choose("brush")
    this.useColour(this.brush.colour)
    this.show(this.history.now)
    const { signal } = this.gone
    window.addEventListener("beforeunload", (event) => this.saver.wanted && event.preventDefault(), { signal })
    api.addEventListener("executed", () => this.showResults(), { signal })
    api.addEventListener("graphChanged", () => this.follow(), { signal })
    this.ui.sheet.addEventListener("pointerenter", () => this.follow()) // at the latest: before one paints
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
    this.foresee()
    const { brush_size: size = this.brush.size, brush_opacity: opacity = 1 } = this.node.properties
    this.showBrush({ size, opacity })
    this.ui.palette.read(this.widget("palette").value)
    const state = { ...empty(), name: this.value }
    for (const key of KEPT) state[key] = this.widget(key).value
    const now = this.history.now
    if (now.saved && ["name", ...KEPT].every((key) => now[key] === state[key])) return
    if (this.value) state.strokes = fetchPicture(fileOf(this.value))
    state.strokes?.catch(() => {}) // show tells
    this.history = new History(state)
    this.show(state)
  }

  /** Strokes at once, for they are in memory but after a reload; the photo below when it comes. @param {State} state */
  async show(state) {
    const turn = ++this.turn
    this.refresh()
    const missing = (/** @type {string} */ name) =>
      (this.tell(say("This file is not in the input folder: ") + name, true), null)
    const { painting } = this
    this.loading = true
    const strokes = await state.strokes?.then(createImageBitmap).catch(() => missing(state.name))
    if (turn !== this.turn) return
    this.loading = false
    painting.paper = state.paper
    if (!state.photo) painting.picture = this.connected
    painting.resize(state.width, state.height)
    painting.show(strokes ?? null)
    this.hand.fit()
    if (!state.photo) return
    const below = await openPicture(state.photo).catch(() => missing(state.photo))
    if (turn !== this.turn) return
    painting.picture = below ?? this.connected
    painting.layGround()
  }

  refresh() {
    const { now } = this.history
    this.ui.undo.disabled = !this.history.has(-1)
    this.ui.redo.disabled = !this.history.has(1)
    this.ui.paper.value = now.paper
    ;[this.ui.sides[0].value, this.ui.sides[1].value] = [now.width, now.height]
  }

  /** @param {string} text @param {boolean} [bad] */
  tell(text, bad = false) {
    this.ui.status.textContent = text
    this.ui.status.classList.toggle("bad", bad)
    clearTimeout(this.fading)
    if (!bad) this.fading = setTimeout(() => (this.ui.status.textContent = ""), 2500)
  }

  /** @param {Error | null} error */
  tellSaving(error) {
    if (error) this.tell(`${say("Not saved yet, the server does not answer: trying again")} (${error.message})`, true)
    else this.tell(say("Saved"))
  }

  // --- what changes ----------------------------------------------------------------------------------------------

  /** A new state of the canvas, saved and told to the editor. Strokes cover another size and are cut at the sides.
   * @param {Partial<State>} changes @param {boolean} [show] */
  commit(changes, show = false) {
    const { now } = this.history
    const state = { ...now, ...changes, saved: now.saved && changes.name === undefined }
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
    for (const key of KEPT) this.widget(key).value = state[key]
    changed()
    const others = this.history.states.map((one) => one.name).filter((name) => name && name !== state.name)
    this.live.giveUp(others).catch(() => {}) // the server does not answer: nothing to give up
  }

  writePalette() {
    this.widget("palette").value = this.ui.palette.text
    changed()
  }

  /** The last result becomes the ground; of several a person chooses one. */
  takeResult() {
    const found = resultsOf(this.node)
    if (!found.length) return this.tell(say("There is no result yet: run the graph first."), true)
    if (found.length === 1) return this.take(0)
    this.choosing = !this.choosing
    this.showResults()
  }

  /** A result becomes the ground, and the strokes, which it contains, are cleared. @param {number} at which one */
  async take(at) {
    this.choosing = false
    this.showResults()
    this.ui.keys.focus() // whose undo takes it back
    await this.newGround(fetchPicture(resultsOf(this.node)[at]), false)
  }

  /** What can be taken: beside the painting in the large view, or over it while one is chosen. */
  showResults() {
    const { results, sheet } = this.ui
    sheet.classList.toggle("choosing", this.choosing)
    const shown = this.choosing || this.hand.large
    offer(results, shown ? resultsOf(this.node) : [], (at) => this.take(at))
  }

  /** @param {Blob | Promise<Blob>} picture @param {boolean} keep whether the strokes stay */
  async newGround(picture, keep) {
    try {
      const blob = await picture
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

  /** The node has run: shows a connected ground, whose size the painting takes. @param {any} output */
  async executed(output) {
    const [picture] = output?.ground ?? []
    if (!picture) return
    await this.lay(await createImageBitmap(await fetchPicture(picture)), output.size)
  }

  /** A picture of the ground input, and the size that the painting takes from it.
   * @param {ImageBitmap} picture @param {number[]} size width, height */
  async lay(picture, size) {
    this.connected = picture
    if (this.hand.busy) return // it shows with the next state
    const share = Math.min(1, LARGEST / Math.max(...size))
    const [width, height] = size.map((side) => Math.round(side * share))
    const { now } = this.history
    if (width === now.width && height === now.height) this.show(now)
    else this.commit({ width, height }, true)
  }

  /** Before it has run: the file that the node of the ground input reads, as Load Image and Load Sketch do. */
  async foresee() {
    const source = this.groundNode()
    if (!source) return
    const name = fileRead(source)
    this.file ||= name ?? ""
    if (this.connected) return
    if (name === null) return this.tell(say("The connected ground shows after a run."))
    const picture = await openPicture(name).catch(() => null)
    if (!picture || this.connected) return
    this.connected = picture
    if (!this.hand.busy) this.show(this.history.now)
  }

  /** Another file has been chosen there: it lies below before anybody paints, in its own size. */
  async follow() {
    const source = this.groundNode()
    const name = source && fileRead(source)
    const before = this.file
    if (!before || !name || name === before || this.history.now.photo || this.hand.busy) return
    this.file = name
    const picture = await openPicture(name).catch(() => null)
    if (this.file !== name) return
    if (picture) return this.lay(picture, [picture.width, picture.height])
    this.file = before // it may be on its way to the server
  }

  /** Another node is connected to the ground, or none. */
  reconnect() {
    this.connected = null
    this.file = ""
    this.show(this.history.now)
    this.foresee()
  }

  /** @returns {any} the node of the ground input; a copy that is being made has no graph yet */
  groundNode() {
    return this.node.graph && this.node.getInputNode(this.node.findInputSlot("ground"))
  }

  // --- tools -----------------------------------------------------------------------------------------------------

  /** @param {Tool} tool */
  choose(tool) {
    this.brush.tool = tool
    for (const one of this.ui.tools) one.classList.toggle("on", one.dataset.act === tool)
    this.ui.view.dataset.tool = tool
  }

  /** @param {string} colour #rrggbb */
  useColour(colour) {
    this.brush.colour = colour
    this.ui.palette.choose(colour)
    if (["eraser", "pick"].includes(this.brush.tool)) this.choose("brush")
  }

  /** Another size or opacity, kept with the node. @param {{ size?: number, opacity?: number }} changes */
  useBrush(changes) {
    this.showBrush(changes)
    Object.assign(this.node.properties, { brush_size: this.brush.size, brush_opacity: this.brush.opacity })
  }

  /** @param {{ size?: number, opacity?: number }} changes */
  showBrush(changes) {
    const { size, opacity } = Object.assign(this.brush, changes)
    this.ui.size.set(size)
    this.ui.opacity.set(100 * opacity)
    this.ui.stage.style.setProperty("--size", size)
  }

  /** @param {number} by */
  grow(by) {
    const size = Math.round(this.brush.size * by + Math.sign(by - 1))
    this.useBrush({ size: Math.min(200, Math.max(1, size)) })
  }

  /** Shortcuts of the canvas, most of which click a button; none of them reaches the editor.
   * @param {KeyboardEvent} event */
  key(event) {
    if (event.target !== this.ui.keys || event.altKey) return
    const control = event.ctrlKey || event.metaKey
    const name = (control ? "Ctrl+" : "") + (control && event.shiftKey ? "Shift+" : "") + event.key.toUpperCase()
    const others = { "[": () => this.grow(1 / 1.15), "]": () => this.grow(1.15), 0: () => this.hand.fit() }
    const button = this.ui.sheet.querySelector(`[data-keys~="${CSS.escape(name)}"]`)
    const act = others[name] ?? (button && (() => button.click()))
    if (!act) return
    event.preventDefault()
    event.stopPropagation()
    act()
  }

  // --- the large view --------------------------------------------------------------------------------------------

  toggleLarge() {
    const { dialog, keys } = this.ui
    if (dialog.open) return dialog.close()
    document.body.append(dialog)
    this.place(true)
    dialog.showModal()
    keys.focus()
  }

  /** @param {boolean} large */
  place(large) {
    const { sheet, dialog, root } = this.ui
    ;(large ? dialog : root).append(sheet)
    sheet.classList.toggle("large", large)
    this.ui.large.replaceChildren(drawn(large ? "small" : "large"))
    this.hand.fit()
    this.showResults()
    if (!large) dialog.remove()
  }

  /** The node is gone. */
  remove() {
    this.gone.abort()
    this.ui.dialog.remove()
  }
}

/** @returns {State} */
function empty() {
  return { strokes: null, name: "", photo: "", paper: "#ffffff", width: 512, height: 512, saved: true }
}

/** Lets the editor look at the graph: its undo takes the change, and Run (On Change) queues. */
function changed() {
  app.canvas?.setDirty(true, true)
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
  if (tracker?.captureCanvasState) tracker.captureCanvasState()
  else tracker?.checkState?.() // editors before 2026
}

/** @param {any} node @returns {string | null} the file that it reads, null if it reads none */
function fileRead(node) {
  const name = node.widgets?.find((/** @type {any} */ one) => one.name === "image")?.value
  return typeof name === "string" ? name : null
}
