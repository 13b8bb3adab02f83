// The palette below the picture: a chip for each colour, and the colour and words of the chosen one.

import { channels, hex, readPalette, writePalette } from "./palette.js"
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
    const onchange = () => this.edit()
    this.chips = make("div", { class: "chips" })
    this.colour = make("input", { type: "color", "aria-label": say("Colour"), "data-act": "colour", onchange })
    this.words = make("input", { type: "text", placeholder: say("words of this colour"), "data-act": "words", onchange })
    const remove = button("remove", "Remove this colour", "", () => this.remove())
    const chosen = make("div", { class: "bar" }, this.colour, this.words, remove)
    this.element = make("div", { class: "palette" }, this.chips, chosen)
  }

  get text() {
    return writePalette(this.paints)
  }

  /** @param {string} text */
  read(text) {
    if (text === this.text) return
    this.paints = readPalette(text)
    const { value } = this.colour
    const kept = this.paints.some((paint) => paint.colour === value)
    this.use(kept ? value : (this.paints[0]?.colour ?? value))
  }

  /** The chip of this colour, or none. @param {string} colour */
  choose(colour) {
    this.chosen = this.paints.findIndex((paint) => paint.colour === colour)
    this.colour.value = colour
    this.words.value = this.paints[this.chosen]?.words ?? ""
    this.draw()
  }

  /** The chosen chip has another colour or other words; a colour that has none yet gets one. */
  edit() {
    const words = this.words.value.replaceAll("#", " ").trim() // a # would begin a comment
    const at = this.chosen < 0 ? this.paints.length : this.chosen
    this.paints[at] = { colour: this.colour.value, words }
    this.use(this.colour.value)
    this.changed()
  }

  add() {
    const colour = hex(crypto.getRandomValues(new Uint8Array(3)))
    this.paints.push({ colour, words: "" })
    this.use(colour)
    this.changed()
    this.words.focus()
  }

  remove() {
    if (this.chosen < 0 || this.paints.length < 2) return
    this.paints.splice(this.chosen, 1)
    this.use(this.paints[Math.max(0, this.chosen - 1)].colour)
    this.changed()
  }

  draw() {
    const chips = this.paints.map(({ colour, words }, at) => {
      const properties = { type: "button", title: words || colour, "data-keys": at + 1, onclick: () => this.use(colour) }
      const chip = make("button", { class: "chip", ...properties }, words)
      const [red, green, blue] = channels(colour)
      chip.classList.toggle("light", 0.3 * red + 0.59 * green + 0.11 * blue > 140) // whose letters are dark
      chip.classList.toggle("on", at === this.chosen)
      chip.style.background = colour
      return chip
    })
    this.chips.replaceChildren(...chips, button("add", "Add a colour", "", () => this.add()))
  }
}
