// Where a bucket of paint runs to: the pixels of one colour around a point.

/**
 * @param {Uint8ClampedArray} pixels RGBA, width x height
 * @param {number} width
 * @param {number} height
 * @param {number} x whole numbers, inside
 * @param {number} y
 * @param {number} [tolerance] largest difference of a channel, 0 to 255
 * @returns {Uint8Array} width x height: 1 inside, 2 on the rim around it, two pixels wide, where soft edges are
 */
export function flood(pixels, width, height, x, y, tolerance = 32) {
  const inside = new Uint8Array(width * height)
  const from = (y * width + x) * 4
  const [red, green, blue] = pixels.subarray(from, from + 3)
  /** @param {number} at */
  const alike = (at) =>
    Math.abs(pixels[4 * at] - red) <= tolerance &&
    Math.abs(pixels[4 * at + 1] - green) <= tolerance &&
    Math.abs(pixels[4 * at + 2] - blue) <= tolerance
  const open = [y * width + x]
  while (open.length) {
    const seed = /** @type {number} */ (open.pop())
    if (inside[seed]) continue
    const row = seed - (seed % width)
    let left = seed
    while (left > row && !inside[left - 1] && alike(left - 1)) left--
    let above = false
    let below = false
    for (let at = left; at < row + width && !inside[at] && alike(at); at++) {
      inside[at] = 1
      const up = at >= width && !inside[at - width] && alike(at - width)
      if (up && !above) open.push(at - width)
      above = up
      const down = at + width < inside.length && !inside[at + width] && alike(at + width)
      if (down && !below) open.push(at + width)
      below = down
    }
  }
  return rimmed(rimmed(inside, width), width)
}

/** The same with a rim of one pixel around it. @param {Uint8Array} inside @param {number} width */
function rimmed(inside, width) {
  const grown = inside.slice()
  for (let at = 0; at < inside.length; at++) {
    if (!inside[at]) continue
    if (at % width && !inside[at - 1]) grown[at - 1] = 2
    if ((at + 1) % width && !inside[at + 1]) grown[at + 1] = 2
    if (at >= width && !inside[at - width]) grown[at - width] = 2
    if (at + width < inside.length && !inside[at + width]) grown[at + width] = 2
  }
  return grown
}
