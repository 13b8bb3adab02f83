"""The real editor in a real browser: every template opens from the template browser, runs, and shows a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import TESTS
from helpers.editor import load, press_run
from helpers.outputs import check_pictures, check_without_hints
from helpers.quick import QUICK
from runtime.comfy_server import NAME, PACK
from tools.graph import missing_files, to_prompt

TEMPLATES = sorted((PACK / "workflows").glob("*.json"))
HARNESS = json.loads((TESTS / "harness_pack/workflows/harness core graph.json").read_text())


def editor_prompt(editor) -> dict:
    """What the editor itself would send on Run."""
    return editor.page.evaluate("async () => (await window.app.graphToPrompt()).output")


def open_template(editor, pack: str, name: str) -> None:
    """Open a template as a person does: Templates, the pack under Extensions, its card."""
    page = editor.page
    page.locator(".templates-tab-button").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(pack, exact=True).click()
    cards = dialog.locator("[data-testid^=template-workflow-]")
    card = dialog.get_by_test_id(f"template-workflow-{name}")
    cards.first.wait_for()
    for _ in range(round(60 * editor.patience)):  # the list shows 24, and more where its end comes into view
        if card.count():
            break
        cards.last.scroll_into_view_if_needed()
        page.wait_for_timeout(200)
    card.wait_for()
    card.scroll_into_view_if_needed()  # the browser loads thumbnails as they come into view
    card.locator("img").first.wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('[role=dialog] img')].every(i => i.complete)")
    editor.shot(f"browser - {name}")
    thumbnail = card.locator("img").first.evaluate("image => image.src")
    assert "default-template" not in thumbnail, "no thumbnail: a .jpg of the template's name belongs beside it"
    card.click()
    dialog.wait_for(state="hidden")


def complaints(editor) -> dict:
    """What the editor says is missing: node types, model files, pictures."""
    return editor.page.evaluate(
        """() => {
            const stores = document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia.state.value
            const known = window.LiteGraph.registered_node_types
            const strange = window.app.graph.nodes.map(node => node.type).filter(type => !known[type])
            const told = (stores.missingNodesError.missingNodesError?.nodeTypes ?? []).map(node => node.type ?? node)
            const models = (stores.missingModel.missingModelCandidates ?? []).map(model => model.name)
            const media = (stores.missingMedia.missingMediaCandidates ?? []).map(media => media.name)
            return { nodes: [...new Set([...strange, ...told])], models, media }
        }"""
    )


SET_WIDGETS = """
(settings) => {
  for (const node of window.app.graph.nodes)
    for (const [name, value] of Object.entries(settings[node.type] ?? {}))
      node.widgets.find(widget => widget.name === name).value = value
}
"""


def same_prompt(ours: dict, theirs: dict) -> None:
    """Our converter and the editor agree on every input (title texts aside)."""
    assert {key: (node["class_type"], node["inputs"]) for key, node in ours.items()} == {
        key: (node["class_type"], node["inputs"]) for key, node in theirs.items()
    }


def test_harness_finds_what_is_missing(editor):
    """The checks below can fail: a node type that nobody has is seen."""
    unknown = json.loads(json.dumps(HARNESS).replace("EmptyImage", "SketchNobodyHasThis"))
    load(editor, unknown)
    assert complaints(editor)["nodes"] == ["SketchNobodyHasThis"]


def test_harness_opens_and_runs_a_core_graph(editor, server):
    """The harness itself, on another pack's template of core nodes: open, compare, run, look."""
    open_template(editor, "harness_pack", "harness core graph")
    editor.page.wait_for_function("window.app.graph.nodes.length == 2")
    assert complaints(editor) == {"nodes": [], "models": [], "media": []}
    same_prompt(to_prompt(HARNESS, server.object_info()), editor_prompt(editor))
    outputs = press_run(editor, server)
    check_pictures(server, outputs, flat=True)
    assert not editor.errors, editor.errors


@pytest.mark.parametrize("name", ["default", "01_get_started_text_to_image"])
def test_converter_agrees_on_core_templates(editor, server, name):
    """tools.graph and the editor send the same prompt, here for ComfyUI's own templates; the second is a subgraph."""
    load(editor, server.get_json(f"/templates/{name}.json"))
    saved, theirs = editor.page.evaluate("window.app.graph.serialize()"), editor_prompt(editor)
    same_prompt(to_prompt(saved, server.object_info()), theirs)


def test_nodes_are_in_the_editor(editor, server):
    ours = [key for key, node in server.object_info().items() if node["python_module"] == f"custom_nodes.{NAME}"]
    known = editor.page.evaluate("Object.keys(window.LiteGraph.registered_node_types)")
    assert ours
    assert set(ours) <= set(known)
    assert not editor.errors, editor.errors


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_template(one_editor, server, template: Path):
    """Open it from the template browser: nothing missing, nothing in the console, and after Run a picture."""
    editor = one_editor
    editor.errors.clear()
    workflow = json.loads(template.read_text(encoding="utf-8"))
    open_template(editor, NAME, template.stem)
    editor.page.wait_for_function(f"window.app.graph.nodes.length == {len(workflow['nodes'])}")
    editor.page.wait_for_timeout(500)
    editor.shot(f"opened - {template.stem}")
    found = complaints(editor)
    assert found["nodes"] == []
    assert found["media"] == []
    info = server.object_info()
    prompt = to_prompt(workflow, info)
    same_prompt(prompt, editor_prompt(editor))
    absent = {value for _, _, value in missing_files(prompt, info)}
    if absent:  # a twin for a published checkpoint: the editor names the very files that are not here
        assert set(found["models"]) == absent
    else:
        editor.page.evaluate(SET_WIDGETS, QUICK)
        outputs = press_run(editor, server)
        check_pictures(server, outputs)
        check_without_hints(outputs)
        editor.page.wait_for_timeout(1000)
        editor.shot(f"ran - {template.stem}")
    assert not editor.errors, editor.errors


BLUEPRINT = "SketchSynth - Inversion-by-Inversion"
ADD_BLUEPRINT = """
async (name) => {
  const stores = document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s
  const blueprints = stores.get('subgraph')
  // the editor of 2026 keeps their definitions with those of nodes, and reads them after it has started
  const known = () => [...(blueprints.subgraphBlueprints ?? stores.get('nodeDef').blueprintNodeDefsByName.values())]
  for (let i = 0; i < 100 && !known().some(one => one.display_name === name); i++)
    await new Promise(done => setTimeout(done, 100))
  const found = known().find(one => one.display_name === name)
  if (!found) throw new Error('not among ' + known().map(one => one.display_name))
  window.app.graph.clear()
  const { nodes, definitions } = blueprints.getBlueprint(found.name)  // as the node library adds it
  const added = window.app.canvas._deserializeItems({ nodes, subgraphs: definitions.subgraphs }, { position: [900, 0] })
  const node = added.nodes.values().next().value
  const put = (type, y, values) => {
    const made = window.LiteGraph.createNode(type)
    window.app.graph.add(made)
    made.pos = [type === 'PreviewImage' ? 1400 : 0, y]
    for (const [id, value] of Object.entries(values)) made.widgets.find(one => one.name === id).value = value
    return made
  }
  const prior = put('SketchPriorLoader', 0, { prior: 'starter landscapes (built in)' })
  const label = put('SketchPriorLabel', 300, {})
  const sketch = put('SketchLoader', 450, { image: 'line drawing - lake and peaks (sample).png [temp]', size: 64 })
  const photo = put('SketchLoader', 950, { image: 'photo - evening lake (sample).png [temp]', size: 64 })
  const show = put('PreviewImage', 0, {})
  const into = id => node.inputs.findIndex(one => one.name === id)
  prior.connect(0, node, into('model'))
  prior.connect(1, node, into('vae'))
  label.connect(0, node, into('positive'))
  label.connect(0, node, into('negative'))
  sketch.connect(0, node, into('sketch'))
  photo.connect(0, node, into('exemplar'))
  node.connect(0, show, 0)
  node.widgets.find(one => one.name === 'steps').value = 4
  return { category: found.category, description: found.description, widgets: node.widgets.map(one => one.name) }
}
"""


def test_blueprint_is_a_node_of_the_library(editor, server):
    """The whole two-stage method as one node: found, put into a graph, wired and run."""
    told = editor.page.evaluate(ADD_BLUEPRINT, BLUEPRINT)
    assert told["category"] == "Subgraph Blueprints/sketch"
    assert "two stages" in told["description"]
    assert {"shape_weight", "colour_weight", "t0", "steps", "seed"} <= set(told["widgets"])
    editor.page.wait_for_timeout(500)
    theirs = editor_prompt(editor)
    saved = editor.page.evaluate("window.app.graph.serialize()")
    same_prompt(to_prompt(saved, server.object_info()), theirs)
    assert {node["inputs"]["steps"] for node in theirs.values() if node["class_type"] == "ShapeInversion"} == {4}
    outputs = press_run(editor, server)
    check_pictures(server, outputs)
    editor.shot("ran - blueprint")
    assert not editor.errors, editor.errors
