// What pointers do on the picture: strokes by mouse, pen and finger, the ring around the brush, zoom of the large view.

import { app } from "../../../scripts/app.js"
import { say } from "./parts.js"

/** @typedef {import("./painting.js").Point} Point */

const MOST = 16 // times larger than the view

export class Hand {
  /** @param {import("./board.js").Board} board */
  constructor(board) {
    this.board = board
    this.view = board.ui.view
    /** @type {number | null} */
    this.pointer = null // the pointer that paints
    /** @type {Map<number, PointerEvent>} */
    this.fingers = new Map()
    this.pen = false // once a pen was there, fingers only zoom
    /** @type {PointerEvent | null} */
    this.last = null
    this.zoom = 1 // of the large view
    this.left = 0
    this.top = 0
    const { signal } = board.gone
    const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ act) =>
      this.view.addEventListener(name, act, { signal })
    on("mousedown", (event) => event.target.closest(".menu") || event.preventDefault()) // the keyboard stays here
    on("pointerdown", (event) => event.target.closest(".menu") || this.down(event))
    on("pointermove", (event) => this.move(event))
    on("pointerup", (event) => this.up(event))
    on("pointercancel", (event) => this.up(event))
    on("pointerleave", () => (board.ui.ring.hidden = true))
    on("wheel", (event) => this.wheel(event))
    on("contextmenu", (event) => event.preventDefault())
  }

  get busy() {
    return this.pointer !== null
  }

  get large() {
    return this.board.ui.sheet.classList.contains("large")
  }

  /** @param {PointerEvent} event @returns {Point} */
  at({ clientX, clientY, pointerType, pressure }) {
    const { canvas } = this.board.painting.strokes
    const box = canvas.getBoundingClientRect()
    const scale = canvas.width / box.width
    const pressed = pointerType === "pen" ? 0.15 + 0.85 * pressure : 1
    return { x: (clientX - box.left) * scale, y: (clientY - box.top) * scale, pressure: pressed }
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button === 1) return this.pan(event)
    if (app.canvas?.read_only) return // the editor's own hand: space is held
    if (event.pointerType === "pen") this.pen = true
    this.board.ui.keys.focus({ preventScroll: true })
    this.board.ui.menu.hidden = true
    if (event.isPrimary) this.fingers.clear() // the first finger: no other is left, whatever was missed
    if (event.pointerType === "touch") this.fingers.set(event.pointerId, event)
    if (this.fingers.size > 1) return this.give(true) // two zoom: the painting, or in the node the graph
    const eraser = event.button === 5 // the other end of a pen
    if (this.busy || (event.button !== 0 && !eraser) || (this.pen && event.pointerType === "touch")) return
    this.start(event, eraser)
  }

  /** @param {PointerEvent} event @param {boolean} eraser */
  start(event, eraser) {
    const { board } = this
    const { painting, brush } = board
    if (board.loading) return board.tell(say("The painting is still loading."))
    const point = this.at(event)
    const tool = eraser ? "eraser" : event.altKey ? "pick" : brush.tool
    const inside = point.x >= 0 && point.y >= 0 && point.x < painting.width && point.y < painting.height
    if (tool === "fill" || tool === "pick") {
      if (inside && tool === "pick") board.useColour(painting.colourAt(point))
      else if (inside) painting.fill(point, brush), board.painted()
      return
    }
    this.pointer = event.pointerId
    try {
      this.view.setPointerCapture(event.pointerId)
    } catch {} // a pointer of a script, which cannot be held
    painting.begin({ ...brush, tool }, point)
  }

  /** @param {PointerEvent} event */
  move(event) {
    this.ring(event)
    if (this.large && this.fingers.has(event.pointerId)) this.pinch(event)
    if (event.pointerId !== this.pointer) return this.drag(event)
    const between = event.getCoalescedEvents?.() ?? []
    for (const one of between.length ? between : [event]) this.board.painting.move(this.at(one))
  }

  /** @param {PointerEvent} event */
  up(event) {
    this.fingers.delete(event.pointerId)
    if (event.button === 1) this.forward("processMouseUp", event)
    if (event.pointerId === this.pointer) this.give(false)
  }

  /** Ends the stroke. @param {boolean} back whether it is taken back */
  give(back) {
    if (!this.busy) return
    this.pointer = null
    if (back) return this.board.painting.cancel()
    this.board.painting.end()
    this.board.painted()
  }

  // --- the view ----------------------------------------------------------------------------------------------------

  fit() {
    ;[this.zoom, this.left, this.top] = [1, 0, 0]
    this.place()
  }

  place() {
    const { stage } = this.board.ui
    const { width, height } = this.board.painting
    stage.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.zoom})`
    stage.style.setProperty("--ratio", width / height)
    stage.style.setProperty("--zoom", this.zoom)
    stage.classList.toggle("near", this.zoom > 3)
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (!this.large) return this.forward("processMouseWheel", event)
    event.preventDefault()
    this.zoomAt(event, Math.exp(-event.deltaY / 400))
  }

  /** @param {{ clientX: number, clientY: number }} place @param {number} by */
  zoomAt({ clientX, clientY }, by) {
    const box = this.view.getBoundingClientRect()
    const zoom = Math.min(MOST, Math.max(1, this.zoom * by))
    if (zoom === 1) return this.fit()
    const share = zoom / this.zoom
    this.left = (clientX - box.left) * (1 - share) + this.left * share
    this.top = (clientY - box.top) * (1 - share) + this.top * share
    this.zoom = zoom
    this.place()
  }

  /** Two fingers zoom and move. @param {PointerEvent} event */
  pinch(event) {
    const before = /** @type {PointerEvent} */ (this.fingers.get(event.pointerId))
    this.fingers.set(event.pointerId, event)
    const other = [...this.fingers.values()].find((one) => one.pointerId !== event.pointerId)
    if (!other) return
    const [x, y] = [other.clientX, other.clientY]
    const apart = (/** @type {PointerEvent} */ one) => Math.hypot(one.clientX - x, one.clientY - y)
    this.shift((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2)
    const middle = { clientX: (event.clientX + x) / 2, clientY: (event.clientY + y) / 2 }
    this.zoomAt(middle, apart(event) / apart(before))
  }

  /** The middle button moves the picture, or in the node the graph. @param {PointerEvent} event */
  pan(event) {
    event.preventDefault()
    this.forward("processMouseDown", event)
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (!(event.buttons & 4)) return
    if (this.large) this.shift(event.movementX, event.movementY)
    else this.forward("processMouseMove", event)
  }

  /** @param {number} x @param {number} y */
  shift(x, y) {
    if (this.zoom === 1) return
    this.left += x
    this.top += y
    this.place()
  }

  /** Hands an event to the editor's own canvas, as its text fields do. @param {string} act @param {Event} event */
  forward(act, event) {
    if (!this.large) app.canvas?.[act]?.(event)
  }

  /** @param {PointerEvent} event */
  ring(event) {
    this.last = event
    this.ringAgain()
  }

  ringAgain() {
    if (!this.last) return
    const { brush, painting, ui } = this.board
    const { x, y } = this.at(this.last)
    const [left, width] = [x, brush.size].map((length) => `${(100 * length) / painting.width}%`)
    ui.ring.hidden = ["fill", "pick"].includes(brush.tool) || this.last.pointerType === "touch"
    Object.assign(ui.ring.style, { left, width, top: `${(100 * y) / painting.height}%` })
  }
}
