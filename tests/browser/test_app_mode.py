"""App mode: what templates show there, and that one can paint and run in the classic renderer, which new users get."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

from helpers.editor import in_app_mode, load, press_run, setting, show_graph, template
from helpers.outputs import check_pictures
from runtime.comfy_server import PACK

TEMPLATES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (PACK / "workflows").glob("*.json")}
# Twins, "(SD1.5)", show the same as their starters.
APPS = sorted(name for name, graph in TEMPLATES.items() if "linearData" in graph["extra"] and "(" not in name)
PAINT = "01 Paint here - img2img"
ITEMS = "[data-testid=app-mode-widget-item]"


def test_every_app_shows_its_inputs(one_editor):
    """One after the other, as tabs of one editor: each widget of the template's list, by its name, and Run."""
    page = one_editor.page
    for name in APPS:
        graph = TEMPLATES[name]
        load(one_editor, graph)
        assert not in_app_mode(one_editor), name
        show_graph(one_editor, False)
        page.locator("[data-testid=linear-widgets]").wait_for()
        wanted = graph["extra"]["linearData"]["inputs"]
        page.wait_for_function(
            "([items, count]) => document.querySelectorAll(items).length === count", arg=[ITEMS, len(wanted)]
        )
        told = page.locator(f"{ITEMS} [data-testid=builder-widget-label]").all_inner_texts()
        assert all(told), (name, told)
        assert not {"mask", "amount", "batch_size", "noise_seed"} & set(told), (name, told)
        assert page.get_by_role("button", name="Run", exact=True).count(), name
        show_graph(one_editor)
    assert not one_editor.errors, one_editor.errors


def test_paint_and_run(editor, server):
    """The first template in App mode: paint a stroke, press Run, and see it in the picture that was read."""
    page = editor.page
    setting(page, "Comfy.VueNodes.Enabled", False)
    load(editor, template(PAINT))
    show_graph(editor, False)
    canvas = page.locator("[data-testid=linear-widgets] .sketch-canvas canvas").last
    canvas.wait_for()
    editor.shot("app mode - to paint on")
    page.evaluate(
        """() => { window.app.graph.nodes.find(node => node.type === 'NoiseToT0')
          .widgets.find(one => one.name === 'steps').value = 2 }"""
    )
    box = canvas.bounding_box()
    at = [(box["x"] + share * box["width"], box["y"] + 0.2 * box["height"]) for share in (0.3, 0.7)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=8)
    page.mouse.up()
    check_pictures(server, press_run(editor, server))
    page.locator("[data-testid=linear-center-panel] img").first.wait_for()
    editor.shot("app mode - ran")
    name = page.evaluate(
        """() => window.app.graph.nodes.find(node => node.type === 'SketchCanvas')
          .widgets.find(one => one.name === 'painting').value"""
    )
    folder, file = name.split("/")
    painted = Image.open(io.BytesIO(server.get(f"/view?filename={file}&subfolder={folder}&type=input")))
    opacity = np.asarray(painted.convert("RGBA"))[..., 3]
    assert opacity[round(0.2 * len(opacity)), opacity.shape[1] // 2] > 200
    assert opacity[round(0.8 * len(opacity))].max() == 0
    assert not editor.errors, editor.errors
