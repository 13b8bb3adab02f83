// The palette: colours that may carry words. As text it has one line each, "#3b6ea5: a lake", which is also the legend
// that the nodes read (pictures/palettes.py).

/** @typedef {{ colour: string, words: string }} Paint colour: #rrggbb, small letters; words: one line without # */

/** @param {string} text @returns {Paint[]} Lines that do not begin with #rrggbb are left out. */
export function readPalette(text) {
  const paints = []
  for (const line of text.split("\n")) {
    const found = /^\s*(#[0-9a-f]{6})\s*(?::([^#]*))?/i.exec(line)
    if (found) paints.push({ colour: found[1].toLowerCase(), words: (found[2] ?? "").trim() })
  }
  return paints
}

/** @param {Paint[]} paints */
export function writePalette(paints) {
  return paints.map(({ colour, words }) => `${colour}: ${words}`.trimEnd()).join("\n")
}

/** @param {ArrayLike<number>} pixel red, green, blue, 0 to 255 */
export function hex(pixel) {
  return "#" + [pixel[0], pixel[1], pixel[2]].map((value) => value.toString(16).padStart(2, "0")).join("")
}

/** Red, green and blue of a colour, 0 to 255. @param {string} colour #rrggbb */
export function channels(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))
}
