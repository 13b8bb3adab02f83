// Small pieces of the canvas's surface: elements, icons, and texts in the editor's language.

import { app } from "../../../scripts/app.js"

const ICONS = {
  brush:
    "M18 3a2 2 0 0 1 3 3l-9 9-3-3zM9 12c-3 0-4.5 2-4.5 4.5 0 1.7-1 2.5-2.5 3 3 1.5 8 1.5 9-2 .4-1.7-.6-4-2-5.5",
  eraser:
    "M8 20l-5-5a1.5 1.5 0 0 1 0-2L13 3a1.5 1.5 0 0 1 2 0l6 6a1.5 1.5 0 0 1 0 2l-9 9zM8 20h13M7.5 8.500l8 8",
  line: "M5 19L19 5M3 21l2-2M19 5l2-2",
  fill:
    "M11 3l9 9-8 8a2 2 0 0 1-3 0l-6-6a2 2 0 0 1 0-3zM3.5 12H20M21 15.500c1 1.5 1.5 2.5 1.5 3.500a1.5 1.5 0 0 1-3 0c0-1 .5-2 1.5-3.5",
  pick: "M3 21l1-4 8-8 3 3-8 8zM11 6l7 7M14 9l4-5a2 2 0 0 1 3 3l-5 4",
  undo: "M9 14L4 9l5-5M4 9h10a5.5 5.5 0 0 1 0 11h-3",
  redo: "M15 14l5-5-5-5M20 9H10a5.5 5.5 0 0 0 0 11h3",
  clear: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  take: "M12 3v11M7 9l5 5 5-5M3 16v5h18v-5",
  ground: "M3 4h18v16H3zM3 17l5-6 5 6 3-3 5 5M16 8.500h.1",
  large: "M8 3H3v5M16 3h5v5M8 21H3v-5M16 21h5v-5",
  small: "M3 8h5V3M21 8h-5V3M3 16h5v5M21 16h-5v5",
  add: "M12 5v14M5 12h14",
  remove: "M6 6l12 12M18 6L6 18",
}

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

/** @param {keyof typeof ICONS} icon */
export function drawn(icon) {
  const holder = make("span", { class: "icon" })
  holder.innerHTML = `<svg viewBox="0 0 24 24"><path d="${ICONS[icon]}"/></svg>`
  return holder.firstChild
}

/** @param {keyof typeof ICONS} icon @param {string} title @param {string} key @param {() => void} onclick */
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
