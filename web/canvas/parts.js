// Small pieces of the canvas's surface: elements, icons, and texts in the editor's language.

import { app } from "../../../scripts/app.js"

const ICONS = new URL("./icons.svg", import.meta.url)

/** @type {Record<string, string>} */
let words = {}

/** Reads the words of the editor's language; called before there is a canvas. */
export async function readWords() {
  const answer = await fetch(new URL("./words.json", import.meta.url))
  if (answer.ok) words = (await answer.json())[app.extensionManager?.setting?.get("Comfy.Locale")] ?? {}
}

/** A text of the canvas in the editor's language. @param {string} english @returns {string} */
export function say(english) {
  return words[english] ?? english
}

/**
 * An element. "class" and names with a dash are attributes, all others properties, such as onclick.
 * @param {string} tag @param {Record<string, any>} [properties] @param {...(Node | string)} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class" || key.includes("-")) element.setAttribute(key, value)
    else element[key] = value
  }
  element.append(...children)
  return element
}

/** @param {string} icon its id in icons.svg */
export function drawn(icon) {
  return document.createRange().createContextualFragment(`<svg><use href="${ICONS}#${icon}"/></svg>`)
}

/** A button with an icon. @param {string} icon @param {string} title
 * @param {string} keys its shortcuts with a space between them, such as "Ctrl+Z"; "" for none @param {() => void} onclick */
export function button(icon, title, keys, onclick) {
  const text = say(title) + (keys && ` (${keys.replace(" ", ", ")})`)
  const named = { title: text, "aria-label": text, "data-act": icon, "data-keys": keys }
  return make("button", { type: "button", ...named, onclick }, drawn(icon))
}

/** A slider with its name. @param {string} name @param {number} most @param {(value: number) => void} change */
export function slider(name, most, change) {
  const shown = make("output")
  const named = { "aria-label": say(name), "data-act": name.toLowerCase() }
  const range = make("input", { type: "range", min: 1, max: most, ...named, oninput: () => change(Number(range.value)) })
  const element = make("label", {}, make("span", {}, say(name)), range, shown)
  const set = (/** @type {number} */ value) => (range.value = shown.textContent = String(Math.round(value)))
  return { element, set }
}
