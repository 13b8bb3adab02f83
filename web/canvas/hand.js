// What pointers do on the picture: strokes by mouse, pen and finger, the ring around the brush, zoom of the large view.

import { app } from "../../../scripts/app.js"
import { middle } from "./painting.js"
import { say } from "./parts.js"

/** @typedef {import("./painting.js").Point} Point */
/** @typedef {{ x: number, y: number }} Place in pixels of the window */

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
    this.zoom = 1 // of the large view
    this.left = 0
    this.top = 0
    const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ act) =>
      this.view.addEventListener(name, act)
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
    if (event.button === 1) return this.forward("processMouseDown", event) // moves the picture, or the graph
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
    painting.begin({ ...brush, tool }, point)
    this.view.setPointerCapture(event.pointerId)
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
    stage.style.setProperty("--width", width)
    stage.style.setProperty("--zoom", this.zoom)
    stage.classList.toggle("near", this.zoom > 3)
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (!this.large) return this.forward("processMouseWheel", event)
    event.preventDefault()
    this.carry(event, event, Math.exp(-event.deltaY / 400))
  }

  /** Two fingers zoom and move. @param {PointerEvent} event */
  pinch(event) {
    const before = /** @type {PointerEvent} */ (this.fingers.get(event.pointerId))
    this.fingers.set(event.pointerId, event)
    const other = [...this.fingers.values()].find((one) => one !== event)
    if (!other) return
    const apart = (/** @type {PointerEvent} */ one) => Math.hypot(one.x - other.x, one.y - other.y)
    this.carry(middle(before, other), middle(event, other), apart(event) / apart(before))
  }

  /** With the middle button. @param {PointerEvent} event */
  drag(event) {
    if (!(event.buttons & 4)) return
    if (!this.large) return this.forward("processMouseMove", event)
    this.carry({ x: event.x - event.movementX, y: event.y - event.movementY }, event, 1)
  }

  /** What was at one place of the window comes to another, so many times larger.
   * @param {Place} from @param {Place} to @param {number} by */
  carry(from, to, by) {
    const box = this.view.getBoundingClientRect()
    const zoom = Math.min(MOST, Math.max(1, this.zoom * by))
    if (zoom === 1) return this.fit()
    const share = zoom / this.zoom
    this.left = to.x - box.x - (from.x - box.x - this.left) * share
    this.top = to.y - box.y - (from.y - box.y - this.top) * share
    this.zoom = zoom
    this.place()
  }

  /** Hands an event to the editor's own canvas, as its text fields do. @param {string} act @param {Event} event */
  forward(act, event) {
    if (!this.large) app.canvas?.[act]?.(event)
  }

  /** @param {PointerEvent} event */
  ring(event) {
    const { painting, ui } = this.board
    const { x, y } = this.at(event)
    ui.ring.hidden = event.pointerType === "touch"
    Object.assign(ui.ring.style, { left: `${(100 * x) / painting.width}%`, top: `${(100 * y) / painting.height}%` })
  }
}
