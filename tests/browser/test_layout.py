"""Templates fit in the classic renderer and in Nodes 2.0: no node is larger than the place that it was given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.comfy_server import PACK

RENDERERS = {"classic": False, "Nodes 2.0": True}
SETTING = "Comfy.VueNodes.Enabled"
SET = "([id, value]) => window.app.extensionManager.setting.set(id, value)"
# A painter, a comparison with many nodes, and a graph whose texts are long.
MEASURED = (
    "01 Paint here - img2img",
    "13 Paint with a prompt, compared - GradOP and img2img",
    "14 Words by colour - regional prompt",
)
SIZES = """
async (vue) => {
  const app = window.app
  app.canvas.ds.scale = 0.3
  app.canvas.ds.offset = [200, 200]
  app.canvas.setDirty(true, true)
  await new Promise(done => setTimeout(done, 1500))
  return Object.fromEntries(app.graph.nodes.map(node => {
    if (!vue) return [node.id, node.computeSize().map((least, i) => Math.max(least, node.size[i]))]
    const shown = document.querySelector(`[data-node-id="${node.id}"]`)
    return [node.id, [shown.offsetWidth, shown.offsetHeight - window.LiteGraph.NODE_TITLE_HEIGHT]]
  }))
}
"""
LETTERS = """
() => [...document.querySelectorAll('.comfy-markdown h1, .comfy-markdown-content h1')]
  .map(head => parseFloat(getComputedStyle(head).fontSize))
"""


@pytest.fixture(params=RENDERERS)
def vue(request: pytest.FixtureRequest, editor: Any) -> Iterator[bool]:
    """Whether the editor is in Nodes 2.0."""
    before = editor.page.evaluate("id => window.app.extensionManager.setting.get(id)", SETTING)
    editor.page.evaluate(SET, [SETTING, RENDERERS[request.param]])
    yield RENDERERS[request.param]
    editor.page.evaluate(SET, [SETTING, before])  # the server keeps it, for the tests that follow


@pytest.mark.parametrize("name", MEASURED)
def test_nodes_fit_their_places(editor, vue, name):
    graph = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    editor.page.evaluate("async (graph) => { await window.app.loadGraphData(graph) }", graph)
    places = {str(node["id"]): node["size"] for node in graph["nodes"]}
    sizes = editor.page.evaluate(SIZES, vue)
    editor.shot(f"layout - {name} - {'Nodes 2.0' if vue else 'classic'}")
    assert set(sizes) == set(places)
    larger = {
        key: (sizes[key], places[key])
        for key in sizes
        if any(a > b + 2 for a, b in zip(sizes[key], places[key], strict=True))
    }
    assert larger == {}
    letters = editor.page.evaluate(LETTERS)
    assert letters
    assert min(letters) >= 15.5, "a first heading; tests/unit/dev/test_template_layout.py counts on it"
