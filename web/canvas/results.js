// Pictures that the last run has made of a canvas: those of the nodes after it.

import { app } from "../../../scripts/app.js"

/** @typedef {{ filename: string, subfolder?: string, type?: string }} Picture */

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

/**
 * The picture at the end of what a canvas leads to: of several in one node the one that is opened there, or the first.
 * @param {any} node @returns {Picture | null}
 */
export function resultOf(node) {
  const prefix = node.graph === (app.rootGraph ?? app.graph) ? "" : `${node.graph.id}:`
  let result = null
  for (const one of after(node)) {
    const images = app.nodeOutputs?.[`${prefix}${one.id}`]?.images
    if (images?.length) result = images[one.imageIndex ?? 0] ?? images[0]
  }
  return result
}
