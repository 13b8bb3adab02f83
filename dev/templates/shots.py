"""`python3 dev/run.py template_shots [NAME ...]`: every template at fit zoom, in the classic renderer and in Nodes 2.0.

Each goes at full size into .shots/, to be looked at. Without NAMEs the sheets of docs/evidence are made anew, too.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from runtime.rooms import PACK
from templates.all import TEMPLATES
from templates.build import in_editor, opened

SHOTS, SHEETS = PACK / ".shots", PACK / "docs" / "evidence"
RENDERERS = {"classic": False, "nodes2": True}
WINDOW = {"width": 1920, "height": 1080}
TILE, COLUMNS, GAP, LINE = (480, 270), 3, 8, 20
OPEN = """
async ([graph, vue]) => {
  const app = window.app
  await app.extensionManager.setting.set('Comfy.VueNodes.Enabled', vue)
  await app.loadGraphData(graph, true, true, null, { openSource: 'template' })
  app.canvas.deselectAll()
  await new Promise(done => setTimeout(done, 800))
  await app.extensionManager.command.execute('Comfy.Canvas.FitView')
  await new Promise(done => setTimeout(done, 500))
}
"""


def shoot(page: Any, names: list[str]) -> None:
    page.set_viewport_size(WINDOW)
    opened(page)
    page.keyboard.press("Escape")  # the list of templates, which greets a new user
    for renderer, vue in RENDERERS.items():
        for name in names:
            graph = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
            page.evaluate(OPEN, [graph, vue])
            page.screenshot(path=str(SHOTS / f"{name} - {renderer}.png"))
            print(f"{name} - {renderer}", flush=True)


def sheet(names: list[str], renderer: str) -> Image.Image:
    """All templates of one renderer, small, each under its name."""
    rows = -(-len(names) // COLUMNS)
    size = (COLUMNS * (TILE[0] + GAP) + GAP, rows * (TILE[1] + LINE + GAP) + GAP)
    made = Image.new("RGB", size, "#16171b")
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(14)
    for i, name in enumerate(names):
        left, top = GAP + i % COLUMNS * (TILE[0] + GAP), GAP + i // COLUMNS * (TILE[1] + LINE + GAP)
        draw.text((left, top), name, "white", font)
        shot = Image.open(SHOTS / f"{name} - {renderer}.png").convert("RGB")
        made.paste(shot.resize(TILE, Image.Resampling.LANCZOS), (left, top + LINE))
    return made


def main() -> int:
    SHOTS.mkdir(exist_ok=True)
    names = sys.argv[1:] or sorted(TEMPLATES)
    with in_editor() as (page, _):
        shoot(page, names)
    if len(names) == len(TEMPLATES):
        for renderer in RENDERERS:
            path = SHEETS / f"templates_{renderer}.jpg"
            sheet(names, renderer).save(path, quality=60, optimize=True)
            print(f"{path.name}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
