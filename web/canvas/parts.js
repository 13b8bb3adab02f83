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
 * An element. Properties that begin with "on" are listeners, "class" and those with a dash are attributes.
 * @param {string} tag @param {Record<string, any>} [properties] @param {...(Node | string)} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value)
    else if (key === "class" || key.includes("-")) element.setAttribute(key, value)
    else element[key] = value
  }
  element.append(...children)
  return element
}

/** @param {string} icon its id in icons.svg */
export function drawn(icon) {
  const holder = make("span")
  holder.innerHTML = `<svg><use href="${ICONS}#${icon}"/></svg>`
  return holder.firstChild
}

/** @param {string} icon @param {string} title @param {string} key @param {() => void} onclick */
export function button(icon, title, key, onclick) {
  const text = say(title) + (key && ` (${key})`)
  return make("button", { type: "button", title: text, "aria-label": text, "data-act": icon, onclick }, drawn(icon))
}

/** A slider with its name. @param {string} name @param {number} most
 * @param {(value: number) => void} change while it moves @param {() => void} done once it has been let go */
export function slider(name, most, change, done) {
  const shown = make("output")
  const act = name.toLowerCase()
  const range = make("input", { type: "range", min: 1, max: most, "aria-label": say(name), "data-act": act })
  range.addEventListener("input", () => (change(Number(range.value)), (shown.textContent = range.value)))
  range.addEventListener("change", done)
  const element = make("label", {}, make("span", {}, say(name)), range, shown)
  const set = (/** @type {number} */ value) => (range.value = shown.textContent = String(Math.round(value)))
  return { element, set }
}
