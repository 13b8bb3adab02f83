"""`python3 dev/run.py bench_live [--strokes 10]`: from pen up to picture, in the real editor, for both live templates.

Renews its own section of docs/BENCH.md. Each stroke is painted by real pointer events under Run (On Change) and waited
for: the time from the browser's pointerup to its `executed` event of the result's node, saving the stroke and the
server's own work included. The first stroke warms up and does not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from bench.page import BENCH, renew
from runtime import machine
from runtime.comfy_server import PACK
from runtime.provision import say
from templates.build import in_editor, opened

LIVE = ("35 Paint live - sketch GAN", "36 Paint live - SDEdit")
WATCH = """() => {
  window.sketchSeen = {}
  window.addEventListener('pointerup', () => { window.sketchUp = performance.now() }, true)
  window.app.api.addEventListener('executed', ({ detail }) => {
    if (detail.output?.images) window.sketchSeen[detail.prompt_id] = performance.now()
  })
  window.app.extensionManager.queueSettings.mode = 'change'
}"""
SEEN = "id => window.sketchSeen[id]"


def measured(page: Any, name: str, strokes: int) -> list[float]:
    """Milliseconds of each stroke but the first."""
    page.evaluate(
        "async graph => window.app.loadGraphData(graph)", json.loads((PACK / f"workflows/{name}.json").read_text())
    )
    page.wait_for_timeout(2000)
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.wait_for_timeout(1000)
    sent: dict[str, str] = {}  # the first run of each painting

    def listen(answer: Any) -> None:
        if answer.url.endswith("/api/prompt") and answer.request.method == "POST":
            prompt = answer.request.post_data_json["prompt"]
            [node] = [one for one in prompt.values() if one["class_type"] == "SketchCanvas"]
            sent.setdefault(node["inputs"]["painting"], answer.json()["prompt_id"])

    page.on("response", listen)
    page.evaluate(WATCH)
    canvas = page.locator(".sketch-canvas .strokes").last
    box, found = canvas.bounding_box(), []
    for number in range(strokes + 1):
        before, height = len(sent), box["y"] + box["height"] * (0.3 + 0.5 * number / (strokes + 1))
        page.mouse.move(box["x"] + box["width"] * 0.35, height)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.65, height + 4, steps=6)
        page.mouse.up()
        for _ in range(3000):
            if len(sent) > before and page.evaluate(SEEN, list(sent.values())[-1]):
                break
            page.wait_for_timeout(20)
        found.append(page.evaluate("id => window.sketchSeen[id] - window.sketchUp", list(sent.values())[-1]))
        page.wait_for_timeout(500)
    page.evaluate("() => { window.app.extensionManager.queueSettings.mode = 'disabled' }")
    page.remove_listener("response", listen)
    return found[1:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strokes", type=int, default=10)
    parser.add_argument("--output", type=Path, default=BENCH)
    options = parser.parse_args()
    rows = []
    with in_editor() as (page, _):
        for name in LIVE:
            opened(page)
            page.keyboard.press("Escape")  # the templates, which the first start offers
            page.wait_for_timeout(1000)
            found = measured(page, name, options.strokes)
            rows.append(f"| {name} | {statistics.median(found):.0f} | {min(found):.0f} | {max(found):.0f} |")
            say(rows[-1])
    lines = [
        f"Milliseconds from lifting the pen to the picture in the editor, over {options.strokes} strokes on the canvas "
        "with Run (On Change): the stroke is saved and queued, the server paints, the page shows it. Browser and "
        "server share this machine's cores.",
        "",
        "| template | median | fastest | slowest |",
        "| --- | --- | --- | --- |",
        *rows,
    ]
    renew(options.output, {"Painting live": lines}, machine.busy())
    return 0


if __name__ == "__main__":
    sys.exit(main())
