"""`python3 dev/run.py templates [NAME ...]`: builds templates/all.py in the real editor, as workflows/*.json.

The editor itself makes the nodes and says how large they are, in its classic renderer and in Nodes 2.0; places, groups
and wires are then laid out for the larger of both (templates/layout.py), and the editor saves the graph.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from runtime.comfy_server import NAME, PACK, ComfyServer
from runtime.provision import find_browser
from templates import layout
from templates.all import TEMPLATES

HOST_VERSION = "0.30.0"
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
SPEAKERS = (
    *("NoiseToT0", "SketchPairs", "GradOpSolve", "SketchRegionsFromStrokes", "CrossAttnRegionMap", "SketchGANLoader"),
    *("SketchSynthesizeSets", "SketchTrainExtractor", "SketchTrainGAN", "SketchTrainRetriever"),
    *("SketchPhotoIndex", "SketchFindPhotos", "SketchRankImages", "SketchPaint2pixLoader", "SketchPaint2pixPredict"),
)
# Nodes that become larger when they run, by the preview of what they sample or by what they say, in pixels.
GROW = dict.fromkeys(SAMPLERS, 220) | dict.fromkeys(SPEAKERS, 60)
# What App mode calls inputs of ComfyUI's own nodes, whose titles it does not show. Ours have names that are translated.
LABELS = {
    "mask": "paint here",
    "amount": "how many results",
    "batch_size": "how many results",
    "noise_seed": "seed",
    "expand": "room around the strokes",
}
FREE_INPUT = {"BatchImagesNode": 20}  # it has one free input more as soon as it is opened
MAKE = """
async ({nodes, links, begin}) => {
  const app = window.app, graph = app.graph
  await app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)
  graph.clear()
  graph.state.lastNodeId = begin
  const made = {}
  for (const [key, spec] of Object.entries(nodes)) {
    const node = window.LiteGraph.createNode(spec.type)
    if (!node) throw new Error('no node type ' + spec.type)
    graph.add(node)
    if (spec.title) node.title = spec.title
    for (const [name, value] of Object.entries(spec.widgets ?? {})) {
      const widget = name === '' ? node.widgets?.[0] : node.widgets?.find(w => w.name === name)
      if (!widget) throw new Error(`${spec.type} has no widget ${name}: ${node.widgets?.map(w => w.name)}`)
      widget.value = value
      widget.callback?.(value)
      if (typeof value === 'number' && widget.value !== value)
        throw new Error(`the editor makes ${widget.value} of ${name} ${value} of ${spec.type}: it is off the steps`)
    }
    if (spec.models) node.properties.models = spec.models
    if (!node.isVirtualNode) Object.assign(node.properties, spec.origin, spec.properties ?? {})
    made[key] = node
  }
  for (const [from, out, to, name] of links) {
    const a = made[from], b = made[to]
    const i = a.outputs.findIndex(o => o.name === out || o.localized_name === out || o.label === out)
    const j = b.inputs.findIndex(o => o.name === name)
    if (i < 0) throw new Error(`${from} has no output ${out}: ${a.outputs.map(o => o.name)}`)
    if (j < 0) throw new Error(`${to} has no input ${name}: ${b.inputs.map(o => o.name)}`)
    if (!a.connect(i, b, j)) throw new Error(`the editor refused ${from}.${out} -> ${to}.${name}`)
  }
  await new Promise(done => setTimeout(done, 600))
  for (const [key, spec] of Object.entries(nodes)) {
    const node = made[key], least = node.computeSize()
    node.size = [Math.max(spec.box[0], least[0], 270), Math.max(spec.box[1], least[1])]
  }
  window.sketchMade = made
}
"""
MEASURE = """
async () => {
  const app = window.app, made = window.sketchMade, setting = app.extensionManager.setting
  const settled = () => new Promise(done => setTimeout(done, 700))
  const classic = Object.fromEntries(Object.entries(made).map(([key, node]) => [key, [...node.size]]))
  Object.values(made).forEach((node, i) => { node.pos = [i % 6 * 800, Math.floor(i / 6) * 1000] })
  app.canvas.ds.scale = 0.2
  app.canvas.ds.offset = [100, 200]
  app.canvas.setDirty(true, true)
  await settled()
  const slots = {}
  for (const [key, node] of Object.entries(made)) {
    const at = pos => [pos[0] - node.pos[0], pos[1] - node.pos[1]]
    slots[key] = { inputs: Object.fromEntries(node.inputs.map((slot, i) => [slot.name, at(node.getInputPos(i))])),
      outputs: node.outputs.map((slot, i) =>
        ({ names: [slot.name, slot.localized_name, slot.label], type: slot.type, at: at(node.getOutputPos(i)) })) }
  }
  await setting.set('Comfy.VueNodes.Enabled', true)
  await settled()
  const sizes = () => Object.fromEntries(Object.entries(made).map(([key, node]) => {
    const shown = document.querySelector(`[data-node-id="${node.id}"]`)
    return [key, shown ? [shown.offsetWidth, shown.offsetHeight - window.LiteGraph.NODE_TITLE_HEIGHT] : null]
  }))
  let vue = sizes(), alike = 0
  for (let i = 0; i < 100 && alike < 4; i++) { // on a busy machine widgets come one after the other
    await new Promise(done => setTimeout(done, 250))
    const now = sizes()
    alike = JSON.stringify(now) === JSON.stringify(vue) ? alike + 1 : 0
    vue = now
  }
  await setting.set('Comfy.VueNodes.Enabled', false)
  await settled()
  return { classic, vue, slots }
}
"""
ARRANGE = """
async ({nodes, groups, ways, labels, app: shown}) => {
  const graph = window.app.graph, made = window.sketchMade
  for (const [key, [x, y, width, height]] of Object.entries(nodes)) {
    made[key].pos = [x, y]
    made[key].size = [width, height]
  }
  for (const [title, color, [x, y, width, height]] of groups) {
    const group = new window.LiteGraph.LGraphGroup(title)
    group.color = color
    graph.add(group)
    group.pos = [x, y]
    group.size = [width, height]
  }
  for (const [to, name, way] of ways) {
    const link = graph.links.get(made[to].inputs.find(slot => slot.name === name).link)
    for (const point of way) graph.createReroute(point, link)
  }
  if (shown) {
    const id = key => String(made[key].id)
    for (const [key, name] of shown.inputs) {
      const widget = made[key].widgets.find(w => w.name === name)
      if (!widget) throw new Error(`${key} has no widget ${name} for App mode`)
      if (labels[name]) widget.label = made[key].inputs.find(slot => slot.name === name).label = labels[name]
    }
    const inputs = shown.inputs.map(([key, name]) => [id(key), name])
    graph.extra.linearData = { inputs, outputs: shown.outputs.map(id) }
    graph.extra.linearMode = false // opens as a graph
  }
  graph.setDirtyCanvas(true, true)
  await new Promise(done => setTimeout(done, 300))
  return JSON.parse(JSON.stringify(graph.serialize()))
}
"""


def tidy(graph: dict[str, Any]) -> dict[str, Any]:
    """The saved graph without what belongs to one machine's session (its id, the scroll position)."""
    graph.pop("id", None)
    kept = ("reroutes", "linkExtensions", "linearData", "linearMode")
    extra = {key: graph["extra"][key] for key in kept if key in graph["extra"]}
    graph["extra"] = {"ds": {"scale": 0.6, "offset": [60, 120]}, **extra}
    return graph


def origin(known: dict[str, Any] | None) -> dict[str, str]:
    """Where a node comes from, so that the manager can offer the pack to somebody who lacks it."""
    if known and known["python_module"] == f"custom_nodes.{NAME}":
        version = re.search(r'^version = "(.+)"', (PACK / "pyproject.toml").read_text(encoding="utf-8"), re.M)
        return {"cnr_id": NAME, "ver": version[1] if version else ""}
    return {"cnr_id": "comfy-core", "ver": HOST_VERSION}


@contextmanager
def in_editor() -> Iterator[tuple[Any, dict[str, Any]]]:
    """The page of a freshly opened editor on a server of its own, and that server's object_info."""
    python, comfyui = Path(sys.executable), Path(os.environ["COMFYUI_PATH"])
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyServer(python, comfyui, Path(base), cpu=True) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=str(find_browser()), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(server.address)
        yield page, server.object_info()
        browser.close()


def opened(page: Any) -> None:
    """The editor anew, and at rest: on a busy machine it brings back its last graph late, over ours."""
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function("window.app?.extensionManager?.command", timeout=120_000)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2000)


def built(page: Any, graph: dict[str, Any], begin: int = 0) -> dict[str, Any]:
    """A marked graph as the editor saves it. begin: its nodes' ids in the editor come after this one, where no node
    was before, for the editor keeps widgets' values by the ids of their nodes; the saved ids begin with 1."""
    page.evaluate(MAKE, {"nodes": graph["nodes"], "links": graph["links"], "begin": begin})
    saved = tidy(page.evaluate(ARRANGE, arranged(graph, page.evaluate(MEASURE))))
    if len(saved["nodes"]) != len(graph["nodes"]):
        raise RuntimeError("The editor replaced the graph by another one: try again when less else runs.")
    return renumbered(saved, begin)


def renumbered(saved: dict[str, Any], begin: int) -> dict[str, Any]:
    """The saved graph with ids of nodes from 1."""
    for node in saved["nodes"]:
        node["id"] -= begin
    for link in saved["links"]:
        link[1] -= begin
        link[3] -= begin
    saved["last_node_id"] -= begin
    shown = saved["extra"].get("linearData")
    if shown:
        shown["inputs"] = [[str(int(key) - begin), name] for key, name in shown["inputs"]]
        shown["outputs"] = [str(int(key) - begin) for key in shown["outputs"]]
    return saved


def arranged(graph: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """Places for the nodes, boxes for the groups, and the turns of the wires that have any."""
    sizes = {}
    for key, (width, height) in measured["classic"].items():
        wide, high = measured["vue"][key] or (0, 0)
        sizes[key] = (max(width, wide), max(height, high) + FREE_INPUT.get(graph["nodes"][key]["type"], 0))
    placed = layout.place(graph["groups"], sizes, {key: spec["grows"] for key, spec in graph["nodes"].items()})
    astray = set(graph["nodes"]) ^ set(placed.nodes)
    if astray:
        raise ValueError(f"Every node stands in one group: look at {sorted(astray)}.")
    ways = []
    for source, output, target, name in graph["links"]:
        a, b, slots = placed.nodes[source], placed.nodes[target], measured["slots"]
        slot = next(one for one in slots[source]["outputs"] if output in one["names"])
        start = (a.x + a.width, a.y + slot["at"][1])
        end = (b.x, b.y + slots[target]["inputs"][name][1])
        ways.append((target, name, layout.route(start, end, (source, target), slot["type"], placed.nodes)))
    if graph.get("bare"):  # the inside of a blueprint: no groups, and wires as they fall
        return {"nodes": placed.nodes, "groups": [], "ways": [], "app": None}
    shown = {"nodes": placed.nodes, "groups": placed.groups, "ways": [way for way in ways if way[2]]}
    return {**shown, "app": graph.get("app"), "labels": LABELS}


def marked(graph: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """A described graph whose nodes say where they come from and how they grow."""
    for spec in graph["nodes"].values():
        spec |= {"origin": origin(info.get(spec["type"])), "grows": GROW.get(spec["type"], 0)}
    return graph


def main() -> int:
    wanted = sys.argv[1:] or list(TEMPLATES)
    with in_editor() as (page, info):
        opened(page)
        for number, name in enumerate(wanted):
            write(name, built(page, marked(TEMPLATES[name](), info), number * 1000))
    return 0


def write(name: str, graph: dict[str, Any]) -> None:
    path = PACK / "workflows" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(graph, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(graph['nodes'])} nodes", flush=True)


if __name__ == "__main__":
    sys.exit(main())
