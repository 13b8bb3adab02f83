// What the last run has made of a canvas: pictures of the nodes after it, to see and to take as the next ground.

import { api } from "../../../scripts/api.js"
import { app } from "../../../scripts/app.js"
import { make, say } from "./parts.js"
import { addressOf } from "./saver.js"

/** @typedef {import("./saver.js").Picture} Picture */

/** The pictures at the end of what a canvas leads to in its own graph, in their order.
 * @param {any} node @returns {Picture[]} */
export function resultsOf(node) {
  const after = new Set([node]) // nearest first: the loop comes to what it adds
  for (const one of after)
    for (const slot of (one.outputs ?? []).keys())
      for (const next of one.getOutputNodes(slot) ?? []) after.add(next)
  const prefix = node.graph === app.rootGraph ? "" : `${node.graph.id}:`
  const shown = [...after].map((one) => app.nodeOutputs?.[`${prefix}${one.id}`]?.images ?? [])
  return shown.findLast((images) => images.length) ?? []
}

/** Shows pictures as buttons. A button that is there only changes its picture, so that nothing flickers.
 * @param {HTMLElement} holder @param {Picture[]} pictures @param {(at: number) => void} take */
export function offer(holder, pictures, take) {
  while (holder.children.length > pictures.length) holder.lastChild?.remove()
  pictures.forEach((picture, at) => {
    if (!holder.children[at]) {
      const title = say("Take this one as ground")
      const image = make("img", { alt: `${title} (${at + 1})`, draggable: false })
      holder.append(make("button", { type: "button", title, "data-act": "this", onclick: () => take(at) }, image))
    }
    const image = /** @type {HTMLImageElement} */ (holder.children[at].firstChild)
    image.src = api.apiURL(addressOf(picture))
  })
}
