"""Templates fit in the classic renderer and in Nodes 2.0: no node is larger than the place that it was given."""

from __future__ import annotations

import pytest

from helpers.editor import load, template

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


@pytest.mark.parametrize("name", MEASURED)
def test_nodes_fit_their_places(editor, renderer, name):
    graph = template(name)
    load(editor, graph)
    places = {str(node["id"]): node["size"] for node in graph["nodes"]}
    sizes = editor.page.evaluate(SIZES, renderer == "Nodes 2.0")
    editor.shot(f"layout - {name} - {renderer}")
    assert set(sizes) == set(places)
    larger = {key: (sizes[key], place) for key, place in places.items() if sizes[key][1] > place[1] + 2}
    larger |= {key: (sizes[key], place) for key, place in places.items() if sizes[key][0] > place[0] + 2}
    assert larger == {}
    letters = editor.page.evaluate(LETTERS)
    assert letters
    assert min(letters) >= 15.5, "a first heading; tests/unit/dev/test_template_layout.py counts on it"
