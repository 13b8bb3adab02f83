"""Sketch Canvas in the editor: graphs around it, strokes by real pointer events, what it has painted."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

GRAPH = """async (named) => {
  const { graph, canvas } = window.app
  await window.app.loadGraphData({ version: 0.4, nodes: [], links: [], last_node_id: 0, last_link_id: 0, groups: [] })
  const put = (type, x, y, values = {}) => {
    const node = window.LiteGraph.createNode(type)
    window.app.graph.add(node)
    node.pos = [x, y]
    for (const [name, value] of Object.entries(values)) node.widgets.find(one => one.name === name).value = value
    return node
  }
  const made = {}
  for (const [key, [type, x, y, values]] of Object.entries(named.nodes)) made[key] = put(type, x, y, values)
  for (const [from, out, to, into] of named.links) {
    const [a, b] = [made[from], made[to]]
    a.connect(a.outputs.findIndex(one => one.name === out), b, b.inputs.findIndex(one => one.name === into))
  }
  canvas.ds.scale = 1
  canvas.ds.offset = [480, 90]
  canvas.setDirty(true, true)
  return Object.fromEntries(Object.entries(made).map(([key, node]) => [key, node.id]))
}"""
VALUE = """([id, name]) => window.app.canvas.graph.getNodeById(id).widgets.find(one => one.name === name).value"""
MARK = """id => {
  for (const one of document.querySelectorAll('[data-brush]')) one.removeAttribute('data-brush')
  const { element } = window.app.canvas.graph.getNodeById(id).widgets.find(one => one.name === 'painting')
  const sheet = element.querySelector('.sketch-canvas') ?? document.querySelector('dialog .sketch-canvas')
  sheet.dataset.brush = id
}"""
BLUE, WHITE = (0x3B, 0x6E, 0xA5), (255, 255, 255)


def graph(editor: Any, nodes: dict[str, list[Any]], links: list[list[str]]) -> dict[str, int]:
    """A new graph of these nodes {key: [type, x, y, widgets]} and links [from, output, to, input]; ids by key."""
    ids = editor.page.evaluate(GRAPH, {"nodes": nodes, "links": links})
    editor.page.wait_for_timeout(700)
    return ids


def plain(editor: Any, **widgets: Any) -> dict[str, int]:
    """A canvas, what it paints and its words, shown by nodes of the host: ids of canvas, image and legend."""
    return graph(
        editor,
        {
            "canvas": ["SketchCanvas", 0, 0, widgets],
            "image": ["PreviewImage", 560, 0, {}],
            "legend": ["PreviewAny", 560, 400, {}],
        },
        [["canvas", "image", "image", "images"], ["canvas", "legend", "legend", "source"]],
    )


class Brush:
    """The pointer on one canvas of the page. Places are shares of the picture, 0 to 1."""

    def __init__(self, editor: Any, node: int) -> None:
        self.editor, self.page, self.node = editor, editor.page, node
        self._devices: Any = None

    @property
    def sheet(self) -> Any:
        """The surface of the node's canvas, also after the graph has been opened again, and in the large view."""
        self.page.evaluate(MARK, self.node)
        return self.page.locator(f"[data-brush='{self.node}']")

    def at(self, x: float, y: float) -> tuple[float, float]:
        box = self.sheet.locator(".strokes").evaluate(
            """canvas => {
                const box = canvas.getBoundingClientRect()
                const scale = Math.min(box.width / canvas.width, box.height / canvas.height)
                const [wide, high] = [canvas.width * scale, canvas.height * scale]
                return [box.left + (box.width - wide) / 2, box.top + (box.height - high) / 2, wide, high]
            }"""
        )
        return box[0] + x * box[2], box[1] + y * box[3]

    def stroke(self, *places: tuple[float, float], saved: bool = True) -> None:
        before = self.value("painting") if saved else ""
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=4)
        self.page.mouse.up()
        if saved:
            self.wait_for_other(before)

    def fingers(self, *paths: list[tuple[float, float]], saved: bool = True) -> None:
        """One finger on each of these paths, all of one length, put down one after the other and moved together."""
        before = self.value("painting") if saved else ""
        places = [[self.at(*place) for place in path] for path in paths]

        def touch(kind: str, points: list[tuple[float, float]]) -> None:
            given = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
            self.devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": given})

        for down in range(len(paths)):
            touch("touchStart", [path[0] for path in places[: down + 1]])
        for step in zip(*(path[1:] for path in places), strict=True):
            touch("touchMove", list(step))
        touch("touchEnd", [])
        if saved:
            self.wait_for_other(before)

    def pen(self, force: float, *places: tuple[float, float]) -> None:
        """A stroke of a pen that is pressed with this force, 0 to 1."""
        before = self.value("painting")
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*(self.at(*place) for place in places), self.at(*places[-1])], strict=True):
            pressed = {"force": force, "buttons": 1} if kind != "mouseReleased" else {"force": 0, "buttons": 0}
            event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1, "pointerType": "pen"}
            self.devices.send("Input.dispatchMouseEvent", {**event, **pressed})
        self.wait_for_other(before)

    @property
    def devices(self) -> Any:
        """What stands for pens and fingers: the browser's own input."""
        if self._devices is None:
            self._devices = self.page.context.new_cdp_session(self.page)
        return self._devices

    def click(self, act: str) -> None:
        self.sheet.locator(f"[data-act='{act}']").click()

    def words(self, text: str) -> None:
        self.sheet.locator(".chip").get_by_text(text, exact=True).click()

    def value(self, name: str) -> Any:
        return self.page.evaluate(VALUE, [self.node, name])

    def wait_for_other(self, before: str) -> str:
        """Until the painting is saved under another name than this; returns it."""
        for _ in range(round(200 * self.editor.patience)):
            found = self.value("painting")
            if found != before:
                return found
            self.page.wait_for_timeout(50)
        pytest.fail(f"the painting stays {before!r}")

    def seen(self) -> np.ndarray:
        """The strokes as the page shows them [H, W, 4], 0 to 255."""
        return self._layer("strokes")

    def ground(self) -> np.ndarray:
        """What lies below them [H, W, 4], 0 to 255."""
        return self._layer("ground")

    def _layer(self, name: str) -> np.ndarray:
        data = self.sheet.locator(f"canvas.{name}").evaluate("canvas => canvas.toDataURL('image/png').split(',')[1]")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")).astype(int)


def picture(server: Any, outputs: dict[str, Any], node: int) -> np.ndarray:
    """The picture that a node has shown after a run [H, W, 3], 0 to 255."""
    [image] = outputs[str(node)]["images"]
    return np.asarray(Image.open(io.BytesIO(server.picture(image))).convert("RGB")).astype(int)


def near(pixel: Any, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.asarray(pixel)[:3] - colour).max() <= 3)
