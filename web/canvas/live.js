// Painting under Run (On Change): a picture that is still being computed is given up for a newer painting.

import { api } from "../../../scripts/api.js"
import { app } from "../../../scripts/app.js"

export const SETTING = "SketchSynth.Canvas.NewestFirst"
const MOST = 3 // given up in a row; the next picture is waited for, so that one sees something while one paints on

/** The run that makes a picture of one of these paintings, if nothing else waits: only then is the newest one next.
 * @param {string[]} paintings names of files, which no other canvas has @returns {Promise<string | undefined>} */
async function running(paintings) {
  const answer = await api.fetchApi("/queue")
  const { queue_running: runs, queue_pending: waiting } = await answer.json()
  if (waiting.length) return
  for (const [, id, prompt, { client_id: client }] of runs)
    for (const { class_type: type, inputs } of Object.values(prompt))
      if (client === api.clientId && type === "SketchCanvas" && paintings.includes(inputs.painting)) return id
}

export class Live {
  /** @param {AbortSignal} signal of the canvas's end */
  constructor(signal) {
    this.given = 0
    api.addEventListener("execution_success", () => (this.given = 0), { signal })
  }

  /** The graph has a newer painting than these. @param {string[]} paintings */
  async giveUp(paintings) {
    const { queueSettings, setting } = app.extensionManager
    if (queueSettings?.mode !== "change" || !setting.get(SETTING) || this.given === MOST) return
    const run = await running(paintings)
    if (!run) return
    this.given++
    await api.interrupt(run)
  }
}
