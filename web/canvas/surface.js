// The elements of a canvas: bars of tools, the picture, the menu of the ground, the large view.

import { sized } from "./painting.js"
import { PaletteBar } from "./palette_bar.js"
import { button, make, say, slider } from "./parts.js"

/** @typedef {import("./painting.js").Tool} Tool */

/** @type {[Tool, string, string][]} each with its name and its key */
const TOOLS = [
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"],
  ["line", "Line", "L"],
  ["fill", "Fill", "G"],
  ["pick", "Pick a colour", "I"],
]

/** @param {import("./board.js").Board} board what the elements act on */
export function surface(board) {
  const { ground, strokes } = board.painting
  const tools = TOOLS.map(([tool, name, key]) => button(tool, name, key, () => board.choose(tool)))
  const undo = button("undo", "Undo", "Ctrl+Z", () => board.step(-1))
  const redo = button("redo", "Redo", "Ctrl+Shift+Z Ctrl+Y", () => board.step(1))
  const clear = button("clear", "Clear", "", () => board.clear())
  const take = button("take", "Take the result as ground", "", () => board.takeResult())
  const below = button("ground", "Ground and size", "", () => (menu.hidden = !menu.hidden))
  const large = button("large", "Large view", "F", () => board.toggleLarge())
  const size = slider("Size", 200, (value) => board.useBrush({ size: value }))
  const opacity = slider("Opacity", 100, (value) => board.useBrush({ opacity: value / 100 }))
  const { menu, paper, sides } = groundMenu(board)
  const status = make("div", { class: "status", role: "status" })
  const ring = make("div", { class: "ring", hidden: true })
  const stage = make("div", { class: "stage" }, make("div", { class: "paper" }, ground.canvas, strokes.canvas, ring))
  // Holds the keyboard while one paints: the editor leaves alone what is typed into an input. A button, because in an
  // input for text Ctrl+C would not copy the node.
  const keys = make("input", { class: "keys", type: "button", "aria-label": say("Paint here") })
  // An empty title keeps the tooltip of the widget away from the picture.
  const view = make("div", { class: "view", title: "" }, stage, keys, menu, status)
  const results = make("div", { class: "results", onclick: () => board.choosing && board.takeResult() })
  const palette = new PaletteBar((colour) => board.useColour(colour), () => board.writePalette())
  const sheet = make(
    "div",
    { class: "sketch-canvas", onkeydown: (/** @type {KeyboardEvent} */ event) => board.key(event) },
    make("div", { class: "bar" }, ...tools, make("i"), undo, redo, clear, make("i"), take, below, large),
    make("div", { class: "bar sliders" }, size.element, opacity.element),
    make("div", { class: "pictures" }, view, results),
    palette.element
  )
  const root = make("div", { class: "sketch-canvas-place" }, sheet)
  const dialog = make("dialog", { class: "sketch-canvas-large", onclose: () => board.place(false) })
  const bars = { tools, undo, redo, large, size, opacity, palette }
  return { ...bars, menu, paper, sides, status, stage, ring, keys, view, results, sheet, root, dialog }
}

/** @param {import("./board.js").Board} board */
function groundMenu(board) {
  const file = make("input", { type: "file", accept: "image/*", hidden: true })
  file.onchange = async () => {
    await board.newGround(file.files[0], true)
    file.value = "" // so that the same file can be chosen again
  }
  const onchange = () => board.commit({ paper: paper.value }, true)
  const paper = make("input", { type: "color", "data-act": "paper", onchange })
  const [width, height] = ["Width", "Height"].map((name) =>
    make("input", { type: "number", min: 64, step: 8, "aria-label": say(name), "data-act": name.toLowerCase() })
  )
  const act = (/** @type {string} */ name, /** @type {() => void} */ onclick) =>
    make("button", { type: "button", "data-act": name, onclick }, say(name))
  const resize = () => board.commit({ width: sized(width.value), height: sized(height.value) }, true)
  const menu = make(
    "div",
    { class: "menu", hidden: true },
    make("label", {}, make("span", {}, say("Paper")), paper),
    make("div", {}, act("Photo ...", () => file.click()), act("No photo", () => board.commit({ photo: "" }, true))),
    make("div", {}, width, "×", height, act("Resize", resize)),
    file
  )
  return { menu, paper, sides: [width, height] }
}
