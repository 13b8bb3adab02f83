"""`python3 dev/run.py templates [NAME ...]`: builds templates/all.py in the real editor, as workflows/*.json.

The editor itself lays out widgets, slots and sizes, so what is written is exactly what it would save. A description
names nodes by column; within a column they stand one below the other, so every graph reads from left to right.
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
from templates.all import TEMPLATES

HOST_VERSION = "0.30.0"
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
SPEAKERS = (
    *("NoiseToT0", "SketchPairs", "GradOpSolve", "SketchRegionsFromStrokes", "CrossAttnRegionMap", "SketchGANLoader"),
    *("SketchSynthesizeSets", "SketchTrainExtractor", "SketchTrainGAN", "SketchTrainRetriever"),
    *("SketchPhotoIndex", "SketchFindPhotos", "SketchRankImages"),
)
# Nodes that become larger when they run, by the preview of what they sample or by what they say, in pixels.
GROW = dict.fromkeys(SAMPLERS, 220) | dict.fromkeys(SPEAKERS, 60)
BUILD = """
async ({nodes, links, gap}) => {
  const app = window.app, graph = app.graph
  graph.clear()
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
    }
    if (spec.models) node.properties.models = spec.models
    if (!node.isVirtualNode) Object.assign(node.properties, spec.origin)
    if (spec.color) { node.color = spec.color; node.bgcolor = spec.bgcolor }
    if (spec.collapsed) node.flags.collapsed = true
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
  const columns = {}
  for (const [key, spec] of Object.entries(nodes)) (columns[spec.column] ??= []).push([key, spec])
  let x = 0
  for (const column of Object.keys(columns).sort((a, b) => a - b)) {
    let y = 0, width = 0
    for (const [key, spec] of columns[column]) {
      const node = made[key], least = node.computeSize()
      node.size = [Math.max(spec.box[0], least[0], 250), Math.max(spec.box[1], least[1])]
      node.pos = [x, y + 30]
      y += node.size[1] + 30 + gap + spec.grows
      width = Math.max(width, node.size[0])
    }
    x += width + 60
  }
  app.canvas?.ds?.reset?.()
  graph.setDirtyCanvas(true, true)
  await new Promise(done => setTimeout(done, 300))
  return graph.serialize()
}
"""


def tidy(graph: dict[str, Any]) -> dict[str, Any]:
    """The saved graph without what belongs to one machine's session (its id, the scroll position)."""
    graph.pop("id", None)
    graph["extra"] = {"ds": {"scale": 0.75, "offset": [60, 80]}}
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


def built(page: Any, graph: dict[str, Any]) -> dict[str, Any]:
    """A marked graph as the editor saves it. The page is opened anew: the editor keeps widgets' values by the ids of
    their nodes, beyond a graph's end."""
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function("window.app?.extensionManager?.command", timeout=120_000)
    page.wait_for_load_state("networkidle")
    return tidy(page.evaluate(BUILD, {"gap": 40, **graph}))


def marked(graph: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """A described graph whose nodes say where they come from and how they grow."""
    for spec in graph["nodes"].values():
        spec |= {"origin": origin(info.get(spec["type"])), "grows": GROW.get(spec["type"], 0)}
    return graph


def main() -> int:
    wanted = sys.argv[1:] or list(TEMPLATES)
    with in_editor() as (page, info):
        for name in wanted:
            write(name, built(page, marked(TEMPLATES[name](), info)))
    return 0


def write(name: str, graph: dict[str, Any]) -> None:
    path = PACK / "workflows" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(graph, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(graph['nodes'])} nodes", flush=True)


if __name__ == "__main__":
    sys.exit(main())
