"""What browser tests do in the editor: its two renderers, graphs of one node, what a Load Sketch shows, runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.comfy_server import PACK, ComfyServer

RENDERERS = {"classic": False, "Nodes 2.0": True}
VUE_NODES = "Comfy.VueNodes.Enabled"
LANGUAGE = "Comfy.Locale"
FIRST_SAMPLE = "mountain lake (sample).png [temp]"  # of a fresh Load Sketch


def setting(page: Any, name: str, value: Any = None) -> Any:
    """The value of a setting of the editor, before `value` (if any) is written. The server keeps what is written."""
    before = page.evaluate("id => window.app.extensionManager.setting.get(id)", name)
    if value is not None:
        page.evaluate("([id, value]) => window.app.extensionManager.setting.set(id, value)", [name, value])
    return before


def load(editor: Any, graph: dict[str, Any]) -> None:
    editor.page.evaluate("async (graph) => { await window.app.loadGraphData(graph) }", graph)


def template(name: str) -> dict[str, Any]:
    return json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))


def one_node(editor: Any, file: str | None = None) -> int:
    """A graph of one Load Sketch, at 1:1 in the middle of the window. Returns the node's id."""
    return editor.page.evaluate(
        """async (file) => {
            const node = window.LiteGraph.createNode('SketchLoader')
            window.app.graph.clear()
            window.app.graph.add(node)
            if (file !== null) {
              const widget = node.widgets.find(one => one.name === 'image')
              widget.value = file
              widget.callback(file)
            }
            window.app.canvas.ds.scale = 1
            window.app.canvas.ds.offset = [600, 200]
            node.pos = [0, 0]
            window.app.canvas.setDirty(true, true)
            return node.id
        }""",
        file,
    )


def see_mask(editor: Any) -> int:
    """Beside the Load Sketch of one_node, a picture of its mask. Returns the id of the node that shows it."""
    return editor.page.evaluate(
        """() => {
            const { graph } = window.app, [loader] = graph.nodes
            const [picture, shown] = ['MaskToImage', 'PreviewImage'].map(type => window.LiteGraph.createNode(type))
            for (const [node, x] of [[picture, 450], [shown, 750]]) {
              graph.add(node)
              node.pos = [x, 0]
            }
            loader.connect(1, picture, 0)
            picture.connect(0, shown, 0)
            return shown.id
        }"""
    )


def shown(editor: Any, renderer: str) -> dict[str, list[str]]:
    """The file that each Load Sketch shows, as the address of a picture that has loaded; by the node's file."""
    return editor.page.evaluate(
        """(classic) => {
            const nodes = window.app.graph.nodes.filter(node => node.type === 'SketchLoader')
            const pictures = node => classic ? node.imgs ?? [] :
              [...document.querySelectorAll(`[data-node-id="${node.id}"] img`)]
            return Object.fromEntries(nodes.map(node => [
              node.widgets.find(one => one.name === 'image').value,
              pictures(node).filter(one => one.complete && one.naturalWidth > 16)
                .map(one => new URL(one.src).searchParams.get('filename')),
            ]))
        }""",
        renderer == "classic",
    )


def wait_until_shown(editor: Any, renderer: str, names: set[str]) -> None:
    """Until there are Load Sketch nodes with these files, each showing it, and nothing else."""
    found: dict[str, list[str]] = {}
    for _ in range(round(100 * editor.patience)):
        found = shown(editor, renderer)
        if set(found) == names and all(shows == [name.removesuffix(" [input]")] for name, shows in found.items()):
            return
        editor.page.wait_for_timeout(100)
    pytest.fail(f"the nodes show {found}")


def in_app_mode(editor: Any) -> bool:
    return editor.page.get_by_test_id("linear-center-panel").is_visible()


def show_graph(editor: Any, graph: bool = True) -> None:
    """From App mode to the graph, or the other way, as its button does."""
    if in_app_mode(editor) == graph:
        editor.page.evaluate("() => window.app.extensionManager.command.execute('Comfy.ToggleLinear')")
        editor.page.get_by_test_id("linear-center-panel").wait_for(state="hidden" if graph else "visible")


def press_run(editor: Any, server: ComfyServer, timeout: float = 900) -> dict[str, Any]:
    """Press the Run button of the graph or of App mode, wait for that run, return its outputs by node id."""
    button = editor.page.get_by_test_id("queue-button")
    if in_app_mode(editor):
        button = editor.page.get_by_test_id("linear-run-button").get_by_role("button", name="Run", exact=True)
    with editor.page.expect_response(lambda r: r.url.endswith("/api/prompt") and r.request.method == "POST") as answer:
        button.click()
    body = answer.value.json()
    assert answer.value.ok, f"the server refused the prompt: {json.dumps(body)[:800]}"
    return server.wait(body["prompt_id"], timeout)
