// The choices of our combos in the editor's language. The editor translates names and tooltips from
// locales/<language>/nodeDefs.json by itself, but not choices, which stand there under "options". Only what is shown
// changes: graphs keep the English words.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"

const pack = decodeURIComponent(new URL(import.meta.url).pathname.split("/extensions/")[1].split("/")[0])
let nodes = {}

app.registerExtension({
  name: "SketchSynth.OptionNames",

  async init() {
    const language = app.extensionManager.setting.get("Comfy.Locale")
    if (!language || language === "en") return
    const answer = await api.fetchApi("/i18n")
    if (answer.ok) nodes = (await answer.json())[language]?.nodeDefs ?? {}
  },

  nodeCreated(node) {
    if (node.constructor.nodeData?.python_module !== `custom_nodes.${pack}`) return
    for (const widget of node.widgets ?? []) {
      const names = nodes[node.comfyClass]?.inputs?.[widget.name]?.options
      // no key may hold a dot: dev/tools/locales.py writes _ instead
      if (names) widget.options.getOptionLabel = (choice) => names[choice?.replaceAll(".", "_")] ?? choice ?? ""
    }
  },
})
