// What the last run has made of a canvas: pictures of the nodes after it, to see and to take as the next ground.

import { api } from "../../../scripts/api.js"
import { app } from "../../../scripts/app.js"
import { make, say } from "./parts.js"
import { addressOf } from "./saver.js"

/** @typedef {import("./saver.js").Picture} Picture */

/** The nodes that a node leads to, nearest first; of its own graph only. @param {any} node */
function after(node) {
  const found = new Set()
  for (let edge = [node]; edge.length; ) {
    const links = edge.flatMap((one) => one.outputs ?? []).flatMap((output) => output.links ?? [])
    edge = links.map((id) => node.graph.getNodeById((node.graph.getLink?.(id) ?? node.graph.links[id])?.target_id))
    edge = edge.filter((one) => one && one !== node && !found.has(one) && found.add(one))
  }
  return [...found]
}

/** The pictures at the end of what a canvas leads to, in their order. @param {any} node @returns {Picture[]} */
export function resultsOf(node) {
  const prefix = node.graph === (app.rootGraph ?? app.graph) ? "" : `${node.graph.id}:`
  const shown = after(node).map((one) => app.nodeOutputs?.[`${prefix}${one.id}`]?.images ?? [])
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
