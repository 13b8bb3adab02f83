"""Sketch Canvas by real pointer events, in the classic renderer and in Nodes 2.0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.canvas import BLUE, WHITE, Brush, near, picture, plain
from helpers.editor import RENDERERS, VUE_NODES, press_run, setting


@pytest.fixture(params=RENDERERS, scope="module")
def drawn(request: pytest.FixtureRequest, one_editor: Any) -> Iterator[Any]:
    """One editor for all tests here, in each renderer."""
    before = setting(one_editor.page, VUE_NODES, RENDERERS[request.param])
    one_editor.errors.clear()
    one_editor.renderer = request.param
    yield one_editor
    setting(one_editor.page, VUE_NODES, before)
    assert not one_editor.errors, one_editor.errors


def test_strokes_become_a_picture_with_words(drawn, server):
    """Paint, choose words, fill, undo and redo by keys, erase; each run sees what is on the canvas."""
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    brush.words("a lake")
    brush.stroke((0.2, 0.7), (0.8, 0.7))
    outputs = press_run(drawn, server)
    made = picture(server, outputs, ids["image"])
    assert made.shape == (512, 512, 3)
    assert near(made[358, 256], BLUE)
    assert near(made[100, 256], WHITE)
    assert outputs[str(ids["legend"])]["text"] == ["#3b6ea5: a lake"]
    first = brush.value("painting")

    brush.words("sky")
    brush.click("fill")
    brush.stroke((0.5, 0.2))
    filled = brush.seen()
    assert near(filled[5, 5], (0x9C, 0xC4, 0xEA))
    assert near(filled[358, 256], BLUE), "the fill ends at the stroke"
    assert filled[..., 3].min() >= 254, "and leaves no gap at its soft edge"

    third = brush.value("painting")
    brush.page.keyboard.press("Control+z")
    assert brush.wait_for_other(third) == first
    brush.page.wait_for_timeout(300)
    assert brush.seen()[5, 5, 3] == 0
    brush.page.keyboard.press("Control+Shift+z")
    assert brush.wait_for_other(first) == third
    brush.page.keyboard.press("e")
    brush.stroke((0.4, 0.7), (0.6, 0.7))
    outputs = press_run(drawn, server)
    made = picture(server, outputs, ids["image"])
    assert near(made[358, 256], WHITE), "erased down to the paper"
    assert near(made[358, 410], BLUE)
    assert set(outputs[str(ids["legend"])]["text"][0].splitlines()) == {"#9cc4ea: sky", "#3b6ea5: a lake"}
    assert len(drawn.page.evaluate("window.app.graph.nodes.map(node => node.id)")) == 3, "the editor undid nothing"
    drawn.shot(f"canvas - {drawn.renderer}")


def live(editor: Any, on: bool) -> None:
    editor.page.evaluate("on => { window.app.extensionManager.queueSettings.mode = on ? 'change' : 'disabled' }", on)


def test_live_each_stroke_becomes_a_picture(drawn, server):
    """Run (On Change): ten strokes, each makes one run with a picture of its own, and looking on makes none."""
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    brush.stroke((0.1, 0.97), (0.9, 0.97))
    press_run(drawn, server)  # the nodes have their sizes: 1.47 also runs when a node grows
    sent: list[tuple[str, str]] = []  # painting and prompt, as they are queued

    def listen(answer: Any) -> None:
        if answer.url.endswith("/api/prompt") and answer.request.method == "POST":
            inputs = answer.request.post_data_json["prompt"][str(ids["canvas"])]["inputs"]
            sent.append((inputs["painting"], answer.json()["prompt_id"]))

    drawn.page.on("response", listen)
    live(drawn, True)
    strokes = []
    try:
        for number in range(10):
            height = 0.05 + 0.09 * number
            brush.stroke((0.2, height), (0.8, height))
            strokes.append(brush.value("painting"))
            for _ in range(round(200 * drawn.patience)):
                if strokes[-1] in dict(sent):
                    break
                drawn.page.wait_for_timeout(50)
            shown = picture(server, server.wait(dict(sent)[strokes[-1]], 60), ids["image"])
            rows = [near(shown[round(512 * (0.05 + 0.09 * row)), 256], BLUE) for row in range(10)]
            assert rows == [row <= number for row in range(10)]
        drawn.page.wait_for_timeout(600)
    finally:
        live(drawn, False)
        drawn.page.remove_listener("response", listen)
    queued = [painting for painting, _ in sent]
    assert list(dict.fromkeys(queued)) == strokes, "each stroke once, in order"
    # The editor of 1.47 itself queues once more as a node changes its size; that run finds everything done.
    assert len(queued) <= 11


def test_the_painting_is_there_after_reload_copy_and_undo(drawn, server):
    """In a graph that is opened again, in a copy of the node (which then goes its own way), after the editor's undo."""
    page = drawn.page
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    brush.stroke((0.2, 0.5), (0.8, 0.5))
    first = brush.value("painting")
    page.evaluate("async () => window.app.loadGraphData(JSON.parse(JSON.stringify(window.app.graph.serialize())))")
    page.wait_for_timeout(1500)
    assert brush.value("painting") == first
    assert near(brush.seen()[256, 256], BLUE)

    copied = page.evaluate(
        """(id) => {
            const { canvas, graph } = window.app
            canvas.selectNode(graph.getNodeById(id))
            canvas.copyToClipboard()
            canvas.graph_mouse = [0, 720]
            canvas.pasteFromClipboard()
            canvas.ds.offset = [480, -600]
            canvas.setDirty(true, true)
            return graph.nodes.filter(node => node.type === 'SketchCanvas').at(-1).id
        }""",
        ids["canvas"],
    )
    page.wait_for_timeout(1500)
    number = page.locator(".sketch-canvas").count() - 1
    copy = Brush(drawn, copied, number)
    assert near(copy.seen()[256, 256], BLUE)
    copy.stroke((0.5, 0.1), (0.5, 0.9))
    assert copy.value("painting") != first
    assert brush.value("painting") == first, "each canvas has a painting of its own"
    second = copy.value("painting")
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Undo')")
    assert copy.wait_for_other(second) == first
