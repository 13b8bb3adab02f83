"""Samples of Load Sketch in the classic renderer and in Nodes 2.0: shown on the node and in the list before any run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.comfy_server import PACK

RENDERERS = {"classic": False, "Nodes 2.0": True}
SETTING = "Comfy.VueNodes.Enabled"
SET = "([id, value]) => window.app.extensionManager.setting.set(id, value)"
SVG = "mountains and cabin.svg (sample).png [temp]"
QUICKDRAW = "doodles.ndjson (sample).png [temp]"


@pytest.fixture(params=RENDERERS)
def renderer(request: pytest.FixtureRequest, editor: Any) -> Iterator[str]:
    """The name of the renderer that the editor is in."""
    page = editor.page
    before = page.evaluate("id => window.app.extensionManager.setting.get(id)", SETTING)
    page.evaluate(SET, [SETTING, RENDERERS[request.param]])
    yield request.param
    page.evaluate(SET, [SETTING, before])  # the server keeps it, for the tests that follow


@pytest.fixture
def refused(editor: Any) -> list[str]:
    """Addresses of pictures that the server does not give, as they come."""
    found: list[str] = []
    editor.page.on("response", lambda r: found.append(r.url) if "/view?" in r.url and not r.ok else None)
    return found


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


def shown(editor: Any, renderer: str) -> dict[str, list[str]]:
    """The sample that each Load Sketch shows, as the address of a picture that has loaded; by the node's file."""
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
        if set(found) == names and all(pictures == [name] for name, pictures in found.items()):
            return
        editor.page.wait_for_timeout(100)
    pytest.fail(f"the nodes show {found}")


@pytest.mark.parametrize("name", ["02 Strokes to photo - sketch to image", "20 Every sketch in every style - matrix"])
def test_a_template_shows_its_samples(editor, renderer, refused, name):
    """The second template has a sample for which the browser needs our preview, an SVG."""
    graph = template(name)
    files = {node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "SketchLoader"}
    assert files
    load(editor, graph)
    wait_until_shown(editor, renderer, files)
    editor.shot(f"samples - {name} - {renderer}")
    assert not editor.page.get_by_test_id("error-loading-image").count()
    assert not refused
    assert not editor.errors, editor.errors


def test_a_fresh_node_shows_its_sample(editor, renderer, refused):
    one_node(editor)
    wait_until_shown(editor, renderer, {"mountain lake (sample).png [temp]"})
    assert not refused


@pytest.mark.parametrize("name", [SVG, QUICKDRAW])
def test_samples_that_no_browser_shows_have_a_picture(editor, renderer, refused, name):
    one_node(editor, name)
    wait_until_shown(editor, renderer, {name})
    assert not refused


def test_the_list_shows_the_samples(editor, renderer, refused):
    """Open the list of files as a person does, and choose another one. Nodes 2.0 lists pictures, all of them there."""
    page = editor.page
    node = one_node(editor)
    wait_until_shown(editor, renderer, {"mountain lake (sample).png [temp]"})
    samples = {
        name
        for name in page.evaluate("window.app.graph.nodes[0].widgets[0].options.values")
        if name.endswith(" (sample).png [temp]")
    }
    assert len(samples) >= 15
    wanted = "desert sunset (sample).png [temp]"
    if renderer == "classic":
        x, y = page.evaluate(
            """() => {
                const { canvas, graph } = window.app, node = graph.nodes[0]
                const at = canvas.ds.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2,
                  node.pos[1] + node.widgets[0].last_y + 10])
                const box = canvas.canvas.getBoundingClientRect()
                return [at[0] + box.left, at[1] + box.top]
            }"""
        )
        page.mouse.click(x, y)
        page.locator(".litecontextmenu").wait_for()
        editor.shot("samples - list - classic")
        page.locator(".litecontextmenu .litemenu-entry", has_text=wanted).click()
    else:
        page.locator(f"[data-node-id='{node}']").get_by_role("button", name="mountain lake (sample)").click()
        menu = page.get_by_test_id("form-dropdown-menu")
        menu.wait_for()
        seen: set[str] = set()
        for _ in range(40):  # the list holds only what is in view
            pictures = [["", 0]]
            for _ in range(round(100 * editor.patience)):  # a picture that scrolls into view starts to load then
                pictures = menu.locator("img").evaluate_all("all => all.map(one => [one.alt, one.naturalWidth])")
                if all(width > 16 for _, width in pictures):
                    break
                page.wait_for_timeout(100)
            assert all(width > 16 for _, width in pictures), pictures
            if not seen:
                editor.shot("samples - list - Nodes 2.0")
            seen |= {name for name, _ in pictures}
            if seen >= samples:
                break
            menu.hover()
            page.mouse.wheel(0, 200)
            page.wait_for_timeout(100)
        assert seen >= samples, samples - seen
        menu.get_by_role("textbox").fill("desert")
        menu.get_by_alt_text(wanted).click()
    wait_until_shown(editor, renderer, {wanted})
    editor.shot(f"samples - chosen - {renderer}")
    assert not refused
    assert not editor.errors, editor.errors
