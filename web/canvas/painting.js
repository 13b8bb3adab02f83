// The layers of a painting as <canvas> elements: a ground, strokes above it, and the stroke that is being painted.

import { flood } from "./flood.js"
import { channels, hex } from "./palette.js"

/** @typedef {{ x: number, y: number, pressure: number }} Point x, y: pixels of the painting; pressure: 0 to 1 */
/** @typedef {"brush" | "eraser" | "line" | "fill" | "pick"} Tool */
/** @typedef {{ tool: Tool, colour: string, size: number, opacity: number }} Brush size: pixels; opacity: 0 to 1 */

export const LARGEST = 2048 // pixels of a side

/** A side that the node takes. @param {number | string} pixels */
export function sized(pixels) {
  return Math.min(LARGEST, Math.max(64, 8 * Math.round((Number(pixels) || 512) / 8)))
}

/** @param {string} [className] */
function layer(className = "") {
  const canvas = document.createElement("canvas")
  canvas.className = className
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }))
  return { canvas, context }
}

export class Painting {
  constructor() {
    this.ground = layer("ground")
    this.strokes = layer("strokes")
    this.before = layer() // the strokes without the present one
    this.present = layer() // the present stroke at full opacity; between strokes anything
    this.width = this.height = 0
    /** @type {ImageBitmap | null} */
    this.picture = null // of the ground; null: bare paper
    this.paper = "#ffffff"
    /** @type {Brush | null} */
    this.brush = null
    /** @type {Point[]} */
    this.points = []
  }

  /** A new size; empties all layers. @param {number} width @param {number} height */
  resize(width, height) {
    ;[this.width, this.height] = [width, height]
    for (const { canvas } of [this.ground, this.strokes, this.before, this.present])
      [canvas.width, canvas.height] = [width, height]
    this.layGround()
  }

  layGround() {
    const { context } = this.ground
    context.fillStyle = this.paper
    context.fillRect(0, 0, this.width, this.height)
    if (this.picture) this.cover(context, this.picture)
  }

  /** Draws a picture so that it covers the layer and is cut at the sides, as the node does.
   * @param {CanvasRenderingContext2D} context @param {ImageBitmap} picture */
  cover(context, picture) {
    const scale = Math.max(this.width / picture.width, this.height / picture.height)
    const [wide, high] = [picture.width * scale, picture.height * scale]
    context.imageSmoothingQuality = "high"
    context.drawImage(picture, (this.width - wide) / 2, (this.height - high) / 2, wide, high)
  }

  /** Other strokes instead of these, null for none. @param {ImageBitmap | null} picture */
  show(picture) {
    this.strokes.context.clearRect(0, 0, this.width, this.height)
    if (picture) this.cover(this.strokes.context, picture)
  }

  /** The strokes as a PNG with transparency. @returns {Promise<Blob>} */
  png() {
    return new Promise((done, fail) =>
      this.strokes.canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("The canvas gave no picture."))))
    )
  }

  /** What is seen at a point. @param {Point} point @returns {string} #rrggbb */
  colourAt({ x, y }) {
    return hex(this.seen(Math.floor(x), Math.floor(y), 1, 1))
  }

  /** The pixels of ground and strokes together. @returns {Uint8ClampedArray} RGBA */
  seen(left = 0, top = 0, width = this.width, height = this.height) {
    const { context } = this.present
    context.clearRect(left, top, width, height)
    for (const { canvas } of [this.ground, this.strokes])
      context.drawImage(canvas, left, top, width, height, left, top, width, height)
    return context.getImageData(left, top, width, height).data
  }

  /** Fills the area of one colour around a point: over what is there, on its rim below it, so that soft edges of
   * strokes stay and no gap shows. @param {Point} point @param {Brush} brush */
  fill({ x, y }, { colour, opacity }) {
    const area = flood(this.seen(), this.width, this.height, Math.floor(x), Math.floor(y))
    const pixel = [...channels(colour), 255]
    const { context } = this.strokes
    context.save()
    context.globalAlpha = opacity
    for (const part of [1, 2]) {
      const image = this.present.context.createImageData(this.width, this.height)
      for (let at = 0; at < area.length; at++) if (area[at] === part) image.data.set(pixel, 4 * at)
      this.present.context.putImageData(image, 0, 0)
      context.globalCompositeOperation = part === 1 ? "source-over" : "destination-over"
      context.drawImage(this.present.canvas, 0, 0)
    }
    context.restore()
  }

  /** Starts a stroke. @param {Brush} brush @param {Point} point */
  begin(brush, point) {
    this.brush = brush
    this.points = [point]
    this.before.context.clearRect(0, 0, this.width, this.height)
    this.before.context.drawImage(this.strokes.canvas, 0, 0)
    this.present.context.clearRect(0, 0, this.width, this.height)
    this.segment(point, point, { ...point, x: point.x + 0.01 })
    this.mix(point)
  }

  /** Goes on with it. @param {Point} point */
  move(point) {
    const [first] = this.points
    const last = this.points[this.points.length - 1]
    if (this.brush?.tool === "line") {
      this.present.context.clearRect(0, 0, this.width, this.height)
      this.segment(first, first, point)
      this.points = [first, point]
      return this.mixAll()
    }
    const [from, to] = [middle(this.points[this.points.length - 2] ?? last, last), middle(last, point)]
    this.segment(from, last, to)
    this.points = [last, point]
    this.mix(from, last, to)
  }

  /** Ends it. */
  end() {
    const last = this.points[this.points.length - 1]
    if (this.points.length > 1 && this.brush?.tool !== "line") {
      const from = middle(this.points[0], last)
      this.segment(from, from, last)
      this.mix(from, last)
    }
    this.brush = null
  }

  /** Takes the present stroke back. */
  cancel() {
    this.present.context.clearRect(0, 0, this.width, this.height)
    this.mixAll()
    this.brush = null
  }

  /** A curve of the present stroke, as wide as the pressure says.
   * @param {Point} from @param {Point} by @param {Point} to */
  segment(from, by, to) {
    const { context } = this.present
    const { colour, size } = /** @type {Brush} */ (this.brush)
    context.strokeStyle = colour
    context.lineWidth = Math.max(1, size * by.pressure)
    context.lineCap = context.lineJoin = "round"
    context.beginPath()
    context.moveTo(from.x, from.y)
    context.quadraticCurveTo(by.x, by.y, to.x, to.y)
    context.stroke()
  }

  /** Lays the present stroke over those before, around these points, where it has changed.
   * @param {{ x: number, y: number }[]} points */
  mix(...points) {
    const { tool, size, opacity } = /** @type {Brush} */ (this.brush)
    const [xs, ys] = [points.map((point) => point.x), points.map((point) => point.y)]
    const [left, top] = [xs, ys].map((all) => Math.floor(Math.min(...all) - size))
    const [wide, high] = [Math.max(...xs) - left, Math.max(...ys) - top].map((side) => Math.ceil(side + size))
    const part = /** @type {const} */ ([left, top, wide, high])
    const { context } = this.strokes
    context.clearRect(...part)
    context.drawImage(this.before.canvas, ...part, ...part)
    context.save()
    context.globalAlpha = tool === "eraser" ? 1 : opacity
    context.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over"
    context.drawImage(this.present.canvas, ...part, ...part)
    context.restore()
  }

  mixAll() {
    this.mix({ x: 0, y: 0 }, { x: this.width, y: this.height })
  }
}

/** @param {Point} a @param {Point} b @returns {Point} */
export function middle(a, b) {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, pressure: (a.pressure + b.pressure) / 2 }
}
