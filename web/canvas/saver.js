// Paintings as files of the input folder: uploaded until it succeeds, under a new name for each, so that a graph
// always means the painting it was saved with.

import { api } from "../../../scripts/api.js"

/**
 * A state of the canvas, as undo knows it. strokes: PNG with transparency, null if nothing is painted; name and photo:
 * files of the input folder, "" if there is none.
 * @typedef {{ strokes: Promise<Blob> | null, name: string, photo: string, paper: string, width: number,
 *   height: number, saved: boolean }} State
 */

/** @typedef {{ filename: string, subfolder?: string, type?: string }} Picture as the server's outputs name it */

const FOLDER = "sketch_canvas"
const PATIENCE = 30_000 // milliseconds for one upload
const [FIRST, LONGEST] = [500, 8_000] // milliseconds between two attempts

export function newName() {
  const now = new Date().toISOString().replace(/\D/g, "").slice(0, 14)
  return `${FOLDER}/${now}-${Math.random().toString(36).slice(2, 8)}.png`
}

/** Uploads a picture as a file of the input folder. @param {Blob} blob @param {string} name folder/file */
export async function upload(blob, name) {
  const [subfolder, file] = name.split("/")
  const body = new FormData()
  body.append("image", blob, file)
  for (const [key, value] of Object.entries({ subfolder, type: "input", overwrite: "true" })) body.append(key, value)
  const answer = await api.fetchApi("/upload/image", { method: "POST", body, signal: AbortSignal.timeout(PATIENCE) })
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`)
}

/** Where the server has a picture. @param {Picture} picture */
export function addressOf({ filename, subfolder = "", type = "output" }) {
  return `/view?${new URLSearchParams({ filename, subfolder, type })}`
}

/** Reads a picture that the server has. @param {Picture} picture */
export async function fetchPicture(picture) {
  const answer = await api.fetchApi(addressOf(picture))
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`)
  return await answer.blob()
}

/** A name in a widget, "folder/file.png", perhaps with " [temp]" at its end, as what /view asks for.
 * @param {string} name @returns {Picture} */
export function fileOf(name) {
  const cut = name.lastIndexOf("/") + 1
  return { filename: name.slice(cut), subfolder: name.slice(0, cut), type: "input" }
}

/** A picture by its name in a widget. @param {string} name */
export async function openPicture(name) {
  return createImageBitmap(await fetchPicture(fileOf(name)))
}

/** Uploads the newest state. While an upload fails it tries again; a newer state takes the place of an older one. */
export class Saver {
  /**
   * @param {(state: State) => void} done called when the newest state is on the server
   * @param {(error: Error | null) => void} tell called with each failure, and with null when all is well again
   */
  constructor(done, tell) {
    this.done = done
    this.tell = tell
    /** @type {State | null} */
    this.wanted = null // until it is on the server
    this.failed = false
    this.pause = FIRST
    this.attempt = Promise.resolve() // the last one, perhaps under way
  }

  /** @param {State} state */
  save(state) {
    this.wanted = state
    this.pause = FIRST
    this.next()
  }

  /** One more attempt, after the one under way. */
  next() {
    this.attempt = this.attempt.catch(() => {}).then(() => this.once())
    this.attempt.catch((error) => this.again(error))
    return this.attempt
  }

  async once() {
    clearTimeout(this.later)
    const state = this.wanted
    if (!state) return
    if (!state.saved && state.strokes) await upload(await state.strokes, state.name)
    state.saved = true
    if (this.failed) this.tell(null)
    this.failed = false
    if (state !== this.wanted) return
    this.wanted = null
    this.done(state)
  }

  /** @param {Error} error of the last attempt */
  again(error) {
    this.failed = true
    this.tell(error)
    this.later = setTimeout(() => this.next(), this.pause)
    this.pause = Math.min(2 * this.pause, LONGEST)
  }

  /** Until the newest state is on the server. Throws if an attempt fails. */
  async settled() {
    while (this.wanted) await this.next()
  }
}
