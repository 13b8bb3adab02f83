// Where a bucket of paint runs to: the pixels of one colour around a point.

const TOLERANCE = 32 // largest difference of a channel, 0 to 255

/**
 * @param {Uint8ClampedArray} pixels RGBA, width x height
 * @param {number} width
 * @param {number} height
 * @param {number} x whole numbers, inside
 * @param {number} y
 * @returns {Uint8Array} width x height: 1 inside, 2 on the rim around it, two pixels wide, where soft edges are
 */
export function flood(pixels, width, height, x, y) {
  const inside = new Uint8Array(width * height)
  const first = y * width + x
  const [red, green, blue] = pixels.subarray(4 * first)
  // Above and below the picture there are no numbers, and nothing is like them.
  const alike = (/** @type {number} */ at) =>
    Math.abs(pixels[4 * at] - red) <= TOLERANCE &&
    Math.abs(pixels[4 * at + 1] - green) <= TOLERANCE &&
    Math.abs(pixels[4 * at + 2] - blue) <= TOLERANCE
  /** @type {number[]} */
  const open = []
  const reach = (/** @type {number} */ at) => {
    if (inside[at] || !alike(at)) return
    inside[at] = 1
    open.push(at)
  }
  reach(first)
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (at % width) reach(at - 1)
    if ((at + 1) % width) reach(at + 1)
    reach(at - width)
    reach(at + width)
  }
  return rimmed(rimmed(inside, width), width)
}

/** The same with a rim of one pixel around it. @param {Uint8Array} inside @param {number} width */
function rimmed(inside, width) {
  return inside.map((here, at) => {
    if (here) return here
    const beside = (at % width && inside[at - 1]) || ((at + 1) % width && inside[at + 1])
    return beside || inside[at - width] || inside[at + width] ? 2 : 0
  })
}
