"""How pictures get into Load Sketch, in the classic renderer and in Nodes 2.0: the mask editor, paste, drop."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.editor import FIRST_SAMPLE, one_node, press_run, see_mask, wait_until_shown

FILE = "window.app.graph.nodes[0].widgets.find(one => one.name === 'image').value"
LISTED = """async () => (await (await fetch('/api/object_info/SketchLoader')).json())
  .SketchLoader.input.required.image[1].options"""
GIVE = """async ([bytes, kind, name, type]) => {
  const node = window.app.graph.nodes[0], data = new DataTransfer()
  data.items.add(new File([new Uint8Array(bytes)], name, { type, lastModified: Date.now() }))
  if (kind === 'paste') {
    window.app.canvas.selectNode(node)
    window.app.canvas.current_node = node
    document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
    return
  }
  const at = window.app.canvas.ds.convertOffsetToCanvas([node.pos[0] + 100, node.pos[1] + 10])
  const canvas = window.app.canvas.canvas, box = canvas.getBoundingClientRect()
  const place = { clientX: at[0] + box.left, clientY: at[1] + box.top }
  const target = document.querySelector(`[data-node-id="${node.id}"]`) ?? canvas
  for (const event of ['dragenter', 'dragover', 'drop'])
    target.dispatchEvent(new DragEvent(event, { dataTransfer: data, bubbles: true, cancelable: true, ...place }))
}"""


def picture(colour: tuple[int, int, int]) -> list[int]:
    """A PNG as a list of bytes: paint of one colour on white."""
    pixels = np.full((64, 96, 3), 255, np.uint8)
    pixels[8:40, 8:80] = colour
    pixels[40:60, 20:60] = 255 - np.array(colour)
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "PNG")
    return list(made.getvalue())


def pixels(server: Any, shown: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(server.picture(shown))).convert("RGB")).astype(int)


def file_like(editor: Any, pattern: str, listed: bool = False) -> str:
    """The node's file, once it matches. listed: and once a fresh list of files has it, for it is chosen before it is
    uploaded."""
    found = ""
    for _ in range(round(100 * editor.patience)):
        found = editor.page.evaluate(FILE)
        if re.fullmatch(pattern, found) and (not listed or found in editor.page.evaluate(LISTED)):
            return found
        editor.page.wait_for_timeout(100)
    pytest.fail(f"the node's file is {found!r}")


def paint_in_mask_editor(editor: Any, first: float, last: float) -> None:
    """Open the mask editor on the Load Sketch, draw a stroke along the middle from x `first` to `last`, save."""
    page = editor.page
    page.evaluate("() => window.app.canvas.selectNode(window.app.graph.nodes[0])")
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor')")
    dialog = page.locator(".mask-editor-dialog")
    canvas = dialog.locator("canvas").nth(1)  # it has a size once the picture has come
    page.wait_for_function("() => document.querySelectorAll('.mask-editor-dialog canvas')[1]?.style.width")
    page.wait_for_timeout(500)
    box = canvas.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + first * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + last * box["width"], y, steps=12)
    page.mouse.up()
    editor.shot(f"mask editor - {first}")
    dialog.locator("button", has_text="Save").click()
    dialog.wait_for(state="hidden")


def test_the_mask_editor_and_back(editor, server, renderer):
    """Paint a mask, save, run: the run reads the new file, its mask and the untouched picture. Then once more."""
    node, seen = one_node(editor), see_mask(editor)
    wait_until_shown(editor, renderer, {FIRST_SAMPLE})
    before = pixels(server, press_run(editor, server)[str(node)]["images"][0])
    masks = []
    for first, last in ((0.3, 0.45), (0.7, 0.8)):
        old = editor.page.evaluate(FILE)
        paint_in_mask_editor(editor, first, last)
        new = file_like(editor, r"clipspace-painted-masked-\d+\.png \[input\]|clipspace/.*")
        assert new != old
        wait_until_shown(editor, renderer, {new})
        outputs = press_run(editor, server)
        masks.append(pixels(server, outputs[str(seen)]["images"][0])[..., 0])
        after = pixels(server, outputs[str(node)]["images"][0])
        assert abs(after - before).max() <= 1, "the picture under the mask is as it was"
    height, width = masks[0].shape
    assert masks[0][height // 2, round(0.38 * width)] == 255
    assert masks[0][height // 2, round(0.75 * width)] == 0
    assert masks[1][height // 2, round(0.38 * width)] == 255, "the first stroke is still there"
    assert masks[1][height // 2, round(0.75 * width)] == 255
    assert masks[1][0].max() == 0
    editor.shot(f"mask - {renderer}")
    assert not [name for name in editor.page.evaluate(LISTED) if "clipspace" in name]
    assert not editor.errors, editor.errors


def test_pictures_are_pasted_and_dropped(editor, server, renderer):
    """The file is uploaded, chosen, and read by the run."""
    node, seen = one_node(editor), see_mask(editor)
    wait_until_shown(editor, renderer, {FIRST_SAMPLE})
    for way, name, colour, where in (
        ("paste", "image.png", (200, 40, 90), r"pasted/image( \(\d+\))?\.png"),
        ("drop", "my drawing.png", (30, 160, 60), r"my drawing( \(\d+\))?\.png"),
    ):
        editor.page.evaluate(GIVE, [picture(colour), way, name, "image/png"])
        file_like(editor, where, listed=True)
        shown = pixels(server, press_run(editor, server)[str(node)]["images"][0])
        assert abs(shown[24, 48] - colour).max() <= 1
        editor.shot(f"{way} - {renderer}")
    if renderer == "classic":  # Nodes 2.0 has no Clipspace
        editor.page.evaluate(
            """(seen) => {
                const { ComfyApp } = window.comfyAPI.app, { graph } = window.app
                ComfyApp.copyToClipspace(graph.getNodeById(seen))
                ComfyApp.pasteFromClipspace(graph.nodes[0])
            }""",
            seen,
        )
        file_like(editor, r".+\.png \[temp\]")
        outputs = press_run(editor, server)
        pasted = pixels(server, outputs[str(node)]["images"][0])
        assert pasted.shape == shown.shape
        assert (pasted[..., 0] == pasted[..., 1]).all(), "the mask, as Preview Image shows it"
    assert not editor.errors, editor.errors
