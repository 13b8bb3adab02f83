"""`python3 dev/run.py hero`: README's first picture, a painting that comes alive, made in the real editor.

Template 36 runs after every stroke; each stroke is painted by real pointer events on its canvas. A frame is the
canvas as the page shows it, and beside it what that stroke made.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from runtime.rooms import PACK
from templates.build import in_editor, opened

TEMPLATE = "36 Paint live - SDEdit"
HERO = PACK / "docs" / "pictures" / "hero.webp"
HEIGHT, GAP, GROUND = 400, 12, "#16171b"
PAUSE, LAST = 1100, 3200  # milliseconds that a frame stands
WATCH = """() => {
  window.sketchMade = []
  window.app.api.addEventListener('executed', ({ detail }) => {
    if (detail.output?.images) window.sketchMade.push(detail.output.images[0])
  })
  window.app.extensionManager.queueSettings.mode = 'change'
}"""
BUSY = """async () => {
  const { Running, Pending } = await window.app.api.getQueue()
  return Running.length + Pending.length
}"""
PICTURE = """async ({ filename, subfolder, type }) => {
  const answer = await window.app.api.fetchApi('/view?' + new URLSearchParams({ filename, subfolder, type }))
  return [...new Uint8Array(await answer.arrayBuffer())]
}"""


class Stroke(NamedTuple):
    """words: of its colour in the palette. size: of the brush, of 256. paths: places as shares of the canvas."""

    words: str
    size: int
    paths: tuple[tuple[tuple[float, float], ...], ...]


STROKES = (
    Stroke("sky", 64, (((0.0, 0.1), (1.0, 0.08)), ((0.0, 0.26), (1.0, 0.24)))),
    Stroke("mountains", 40, (((0.0, 0.5), (0.2, 0.34), (0.36, 0.48), (0.6, 0.26), (0.8, 0.46), (1.0, 0.4)),)),
    Stroke("snow", 16, (((0.14, 0.34), (0.2, 0.28), (0.26, 0.34)), ((0.53, 0.27), (0.6, 0.19), (0.67, 0.27)))),
    Stroke("a lake", 46, (((0.0, 0.64), (1.0, 0.64)), ((0.0, 0.76), (1.0, 0.76)))),
    Stroke("trees", 28, (((0.1, 0.56), (0.1, 0.92)), ((0.24, 0.7), (0.24, 0.94)), ((0.88, 0.6), (0.88, 0.92)))),
)


def painted(page: Any) -> list[Image.Image]:
    """The frames: the ground alone, then one for each stroke."""
    graph = json.loads((PACK / "workflows" / f"{TEMPLATE}.json").read_text(encoding="utf-8"))
    page.evaluate("graph => window.app.loadGraphData(graph)", graph)
    page.wait_for_timeout(2000)
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.wait_for_timeout(1000)
    page.evaluate(WATCH)
    sheet = page.locator(".sketch-canvas").last
    board = sheet.locator(".strokes")
    frames: list[Image.Image] = []
    for number, stroke in enumerate(STROKES):
        sheet.locator(".chip").get_by_text(stroke.words, exact=True).click()
        sheet.locator("[data-act='size']").fill(str(stroke.size))
        for path in stroke.paths:
            _draw(page, board, path)
            page.wait_for_timeout(300)
        frames.append(beside(_seen(sheet), _result(page, number)))
    return frames


def _draw(page: Any, board: Any, path: tuple[tuple[float, float], ...]) -> None:
    box = board.bounding_box()
    side = min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    first, *rest = [(left + x * side, top + y * side) for x, y in path]
    page.mouse.move(*first)
    page.mouse.down()
    for place in rest:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def _seen(sheet: Any) -> Image.Image:
    return Image.open(io.BytesIO(sheet.screenshot())).convert("RGB")


def _result(page: Any, known: int) -> Image.Image:
    """The newest picture, once there are more than `known` and nothing has been queued for two seconds."""
    quiet = 0
    for _ in range(900):
        page.wait_for_timeout(200)
        busy = page.evaluate(BUSY)
        made = page.evaluate("window.sketchMade")
        quiet = 0 if busy or len(made) <= known else quiet + 1
        if quiet >= 10:
            return Image.open(io.BytesIO(bytes(page.evaluate(PICTURE, made[-1])))).convert("RGB")
    raise RuntimeError("No stroke became a picture.")


def beside(canvas: Image.Image, result: Image.Image) -> Image.Image:
    """The canvas on the left and the result on the right, as high as each other."""
    left = canvas.resize((round(canvas.width * HEIGHT / canvas.height), HEIGHT), Image.Resampling.LANCZOS)
    right = result.resize((HEIGHT, HEIGHT), Image.Resampling.LANCZOS)
    made = Image.new("RGB", (left.width + GAP + HEIGHT, HEIGHT), GROUND)
    made.paste(left, (0, 0))
    made.paste(right, (left.width + GAP, 0))
    ImageDraw.Draw(made).line([(left.width + GAP // 2, 0), (left.width + GAP // 2, HEIGHT)], fill="#2b2d33")
    return made


def main() -> int:
    with in_editor() as (page, _):
        opened(page)
        page.keyboard.press("Escape")  # the templates, which the first start offers
        page.wait_for_timeout(1000)
        frames = painted(page)
    times = [PAUSE] * (len(frames) - 1) + [LAST]
    frames[0].save(HERO, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=82, method=6)
    print(f"{HERO.name}: {len(frames)} frames, {HERO.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
