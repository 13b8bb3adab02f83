// The widget of Sketch Canvas: a picture that one paints in the node, in both renderers of the editor.

import { app } from "../../scripts/app.js"
import { Board } from "./canvas/board.js"
import { SETTING } from "./canvas/live.js"
import { readWords } from "./canvas/parts.js"

const LEAST = 420 // height of the widget, in pixels of the graph
const INPUT = 1 // the side of a node, in the editor's numbers

/** Calls `more` after a method of a node, which may already have one. @param {any} node @param {string} name */
function after(node, name, more) {
  const first = node[name]
  node[name] = function (...given) {
    const answer = first?.apply(this, given)
    more(...given)
    return answer
  }
}

app.registerExtension({
  name: "SketchSynth.Canvas",
  settings: [
    {
      id: SETTING,
      category: ["SketchSynth", "Sketch Canvas", "NewestFirst"],
      name: "Live: give up a picture for a newer stroke",
      tooltip:
        "Under Run (On Change): the picture that is being computed is given up when there is a newer painting. " +
        "After three in a row one is finished.",
      type: "boolean",
      defaultValue: true,
    },
  ],

  async init() {
    const href = new URL("./canvas/canvas.css", import.meta.url).href
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }))
    await readWords()
  },

  getCustomWidgets() {
    return {
      SKETCH_CANVAS(node, name) {
        const board = new Board(node)
        const widget = node.addDOMWidget(name, "SKETCH_CANVAS", board.ui.root, {
          getValue: () => board.value,
          setValue: (value) => board.set(value),
          getMinHeight: () => LEAST,
          hideOnZoom: false,
        })
        widget.serializeValue = async () => {
          await board.saver.settled() // Run waits for the last stroke
          return board.value
        }
        board.set("")
        after(node, "onExecuted", (output) => board.executed(output))
        after(node, "onRemoved", () => board.remove())
        after(node, "onConnectionsChange", (side, slot) => {
          if (side === INPUT && node.inputs[slot].name === "ground") board.reconnect()
        })
        return { widget }
      },
    }
  },

  nodeCreated(node) {
    if (node.comfyClass === "SketchCanvas") node.setSize([Math.max(node.size[0], 440), Math.max(node.size[1], 660)])
  },
})
