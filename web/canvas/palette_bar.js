// The palette below the picture: a chip for each colour, and the colour and words of the chosen one.

import { isLight, cleaned, readPalette, writePalette } from "./palette.js"
import { button, make, say } from "./parts.js"

export class PaletteBar {
  /** @param {(colour: string) => void} use a colour is chosen
   * @param {() => void} changed a colour or its words are new */
  constructor(use, changed) {
    this.use = use
    this.changed = changed
    /** @type {import("./palette.js").Paint[]} */
    this.paints = []
    this.chosen = -1
    this.chips = make("div", { class: "chips" })
    this.colour = make("input", { type: "color", "aria-label": say("Colour"), "data-act": "colour" })
    this.words = make("input", { type: "text", placeholder: say("words of this colour"), "data-act": "words" })
    this.colour.addEventListener("change", () => this.edit({ colour: this.colour.value }))
    this.words.addEventListener("change", () => this.edit({ words: cleaned(this.words.value) }))
    this.words.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter") this.words.blur()
    })
    const remove = button("remove", "Remove this colour", "", () => this.remove())
    const chosen = make("div", { class: "bar" }, this.colour, this.words, remove)
    this.element = make("div", { class: "palette" }, this.chips, chosen)
  }

  get text() {
    return writePalette(this.paints)
  }

  /** @param {string} text */
  read(text) {
    if (text === this.text && this.paints.length) return
    this.paints = readPalette(text)
    const at = this.paints.findIndex((paint) => paint.colour === this.colour.value)
    if (this.paints.length) this.pick(Math.max(0, at))
    else this.draw()
  }

  /** The chip of this colour, or none. @param {string} colour */
  choose(colour) {
    this.chosen = this.paints.findIndex((paint) => paint.colour === colour)
    this.colour.value = colour
    this.words.value = this.paints[this.chosen]?.words ?? ""
    this.draw()
  }

  /** @param {number} at */
  pick(at) {
    if (this.paints[at]) this.use(this.paints[at].colour)
  }

  /** Changes the chosen chip; a colour that has none yet gets one.
   * @param {Partial<import("./palette.js").Paint>} change */
  edit(change) {
    const paint = { colour: this.colour.value, words: cleaned(this.words.value), ...change }
    if (this.chosen < 0) this.paints.push(paint)
    else this.paints[this.chosen] = paint
    this.use(paint.colour)
    this.changed()
  }

  add() {
    const fresh = `#${Math.floor(Math.random() * 0x1000000).toString(16).padStart(6, "0")}`
    this.paints.push({ colour: fresh, words: "" })
    this.use(fresh)
    this.changed()
    this.words.focus()
  }

  remove() {
    if (this.chosen < 0 || this.paints.length < 2) return
    this.paints.splice(this.chosen, 1)
    this.pick(Math.max(0, this.chosen - 1))
    this.changed()
  }

  draw() {
    const chips = this.paints.map(({ colour, words }, at) => {
      const chip = make("button", { type: "button", title: words || colour, onclick: () => this.pick(at) }, words)
      chip.className = `chip${at === this.chosen ? " on" : ""}${isLight(colour) ? " light" : ""}`
      chip.style.background = colour
      return chip
    })
    this.chips.replaceChildren(...chips, button("add", "Add a colour", "", () => this.add()))
  }
}
