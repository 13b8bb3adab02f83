"""Samples of Load Sketch in the classic renderer and in Nodes 2.0: shown on the node and in the list before any run."""

from __future__ import annotations

from urllib.parse import unquote_plus

import pytest

from helpers.editor import load, one_node, template, wait_until_shown

SVG = "mountains and cabin.svg (sample).png [temp]"
QUICKDRAW = "doodles.ndjson (sample).png [temp]"


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
                pictures = menu.locator("img[alt*='(sample)']").evaluate_all(
                    "all => all.map(one => [one.alt, one.naturalWidth])"
                )
                if all(width > 16 for _, width in pictures):
                    break
                page.wait_for_timeout(100)
            assert all(width > 16 for _, width in pictures), [name for name, width in pictures if width <= 16]
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
    # The list asks for files in sub-folders by their path, which the host's /view does not take: no picture there.
    assert not [address for address in refused if "(sample)" in unquote_plus(address)]
    assert not editor.errors, editor.errors
