"""A subset of SVG: plain shapes in plain colours.

Read: svg, g, path (every command), line, polyline, polygon, rect (rx, ry), circle, ellipse; transform; viewBox and
preserveAspectRatio; fill, fill-rule, stroke, stroke-width, -linecap, -linejoin, -miterlimit, opacity, fill-opacity,
stroke-opacity, color, display, visibility, as attributes or in style="...". Skipped: title, desc, metadata, defs, and
elements of other programs' namespaces. Everything else is refused by name: a drawing with something missing would be
worse than a sentence. A DOCTYPE, and with it every entity, is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from PIL import Image

from .outline import coverage, stroke
from .source import LARGEST, Box, Size, Source
from .svg_path import Commands, flatten, parse_path, rounded_box
from .svg_values import colour, fraction, length, numbers, transform, translate

_SHAPES = ("path", "line", "polyline", "polygon", "rect", "circle", "ellipse")
_SKIPPED = ("title", "desc", "metadata", "defs")
_INHERITED = {
    "fill": "black",
    "stroke": "none",
    "stroke-width": "1",
    "stroke-linecap": "butt",
    "stroke-linejoin": "miter",
    "stroke-miterlimit": "4",
    "fill-rule": "nonzero",
    "fill-opacity": "1",
    "stroke-opacity": "1",
    "color": "black",
    "visibility": "visible",
}
_REFUSED = (
    *("clip-path", "mask", "filter", "mix-blend-mode", "stroke-dasharray"),
    *("marker-start", "marker-mid", "marker-end"),
)
_LARGEST_FILE = 20_000_000
_DEEPEST = 100


class _Sheet(NamedTuple):
    """What is drawn on: pixels [h, w, 4], colour times alpha and alpha; and the viewport's size in user units."""

    pixels: np.ndarray
    viewport: tuple[float, float]


def open_svg(path: Path) -> Source:
    """The drawing in an SVG file. Raises ValueError for what is not in the subset, naming the element or attribute."""
    with _about(path):
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("larger than 20 MB, too large for a drawing of shapes. Export it as PNG.")
        root = _parse(path.read_bytes())
        size, viewport, to_page = _page(root)

    def load(box: Box, inner: Size) -> Image.Image:
        zoom = np.diag([inner[0] / (box[2] - box[0]), inner[1] / (box[3] - box[1]), 1.0])
        sheet = _Sheet(np.zeros((inner[1], inner[0], 4), np.float32), viewport)
        with _about(path):
            _draw(root, zoom @ translate(-box[0], -box[1]) @ to_page, _INHERITED, sheet, 0)
        sheet.pixels[..., :3] /= np.maximum(sheet.pixels[..., 3:], 1e-6)
        return Image.fromarray((sheet.pixels.clip(0, 1) * 255).round().astype(np.uint8))

    return Source(size, load)


@contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _parse(text: bytes) -> ElementTree.Element:
    def refuse(*_) -> None:
        raise ValueError(
            "a <!DOCTYPE> is refused because it can define entities. "
            "Delete that line in a text editor, or save as plain SVG."
        )

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(text, True)
        root = ElementTree.fromstring(text)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"not well-formed XML ({error}). Save the drawing again, or export it as PNG.") from error
    if _tag(root) != "svg":
        raise ValueError(f"XML, but not a drawing: its first element is <{root.tag}> and not <svg>.")
    return root


def _tag(element: ElementTree.Element) -> str:
    """The element's name, or "" for another program's (Inkscape's view, licence data)."""
    space, _, name = element.tag.rpartition("}")
    return name if space in ("", "{http://www.w3.org/2000/svg") else ""


def _page(root: ElementTree.Element) -> tuple[Size, tuple[float, float], np.ndarray]:
    """Size in pixels, size of the viewport in user units, and the matrix from user units to pixels (viewBox)."""
    frame = numbers(root.get("viewBox", ""))
    if frame and (len(frame) != 4 or min(frame[2:]) <= 0):
        raise ValueError(f'viewBox="{root.get("viewBox")}" must be four numbers, the last two above 0.')
    asked = [root.get(side, "auto").strip() for side in ("width", "height")]
    sides = [None if side == "auto" or side.endswith("%") else length(side) for side in asked]
    if not frame and None in sides:
        raise ValueError("neither a viewBox nor a width and height tell its size. Add a viewBox to the <svg> element.")
    left, top, wide, high = frame or (0.0, 0.0, *(side or 0.0 for side in sides))
    if sides[0] is None:
        sides[0] = wide if sides[1] is None else sides[1] * wide / high
    width, height = sides[0], sides[0] * high / wide if sides[1] is None else sides[1]
    if not (0 < width < 1e6 and 0 < height < 1e6 and width * height < LARGEST):
        raise ValueError(f"{width:g} x {height:g} pixels cannot be drawn. Change the width and height of <svg>.")

    across, down = width / wide, height / high
    fitting = (root.get("preserveAspectRatio") or "xMidYMid").split()
    offset = (0.0, 0.0)
    if fitting[0] != "none":
        across = down = (max if "slice" in fitting else min)(across, down)
        share = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}
        spare = (width - wide * across, height - high * down)
        offset = spare[0] * share.get(fitting[0][1:4], 0.5), spare[1] * share.get(fitting[0][5:8], 0.5)
    size = (max(1, round(width)), max(1, round(height)))
    to_pixels = np.diag([size[0] / width, size[1] / height, 1.0])
    return size, (wide, high), to_pixels @ translate(*offset) @ np.diag([across, down, 1.0]) @ translate(-left, -top)


def _draw(element: ElementTree.Element, matrix: np.ndarray, given: dict[str, str], sheet: _Sheet, depth: int) -> None:
    """An element and all in it. `given` is the style of the element around it."""
    tag = _tag(element)
    if not tag or tag in _SKIPPED:
        return
    if tag not in (*_SHAPES, "g") and depth > 0:
        raise ValueError(
            f"the element <{tag}> is not in the SVG subset read here (paths and plain shapes in plain colours). "
            "Convert it to paths in your drawing program, or export a PNG."
        )
    if depth > _DEEPEST:
        raise ValueError(f"groups are nested deeper than {_DEEPEST}. Ungroup them, or export a PNG.")
    own = _properties(element)
    for name in _REFUSED:
        if own.get(name, "none") not in ("none", "normal"):
            raise ValueError(f"{name} on <{tag}> is not in the SVG subset read here. Export a PNG.")
    if own.get("display") == "none":
        return
    style = {key: value if own.get(key, "inherit") == "inherit" else own[key] for key, value in given.items()}
    if depth > 0:
        matrix = matrix @ transform(element.get("transform", ""))
    opacity = fraction(own.get("opacity", "1"))
    target = sheet if opacity == 1 else sheet._replace(pixels=np.zeros_like(sheet.pixels))
    if tag in _SHAPES:
        _paint(flatten(_commands(element, tag, sheet.viewport), _zoom(matrix)), matrix, style, target)
    for child in element if tag in ("g", "svg") else ():
        _draw(child, matrix, style, target, depth + 1)
    if target is not sheet:
        sheet.pixels[:] = _over(sheet.pixels, target.pixels * opacity)


def _properties(element: ElementTree.Element) -> dict[str, str]:
    """Attributes, overridden by what stands in style="..."."""
    found = {key: value.strip() for key, value in element.attrib.items()}
    for rule in element.get("style", "").split(";"):
        key, _, value = rule.partition(":")
        found[key.strip().lower()] = value.replace("!important", "").strip()
    return found


def _paint(lines: list[tuple[np.ndarray, bool]], matrix: np.ndarray, style: dict[str, str], sheet: _Sheet) -> None:
    """Polylines (points [n, 2] in user units, closed or not) filled, then stroked."""
    if style["visibility"] != "visible":
        return
    filled = [_apply(matrix, points) for points, _ in lines if len(points) > 2]
    _lay(filled, "fill", style, sheet, style["fill-rule"] == "evenodd")
    width = length(style["stroke-width"], _diagonal(sheet.viewport))
    if style["stroke"] == "none" or width <= 0:
        return
    mirrored = np.linalg.det(matrix[:2, :2]) < 0  # then the pen's pieces would wind the other way and cancel
    pieces = []
    for points, closed in lines:
        pieces += stroke(
            points,
            width,
            closed=closed,
            cap=style["stroke-linecap"],
            join=style["stroke-linejoin"],
            limit=length(style["stroke-miterlimit"]),
        )
    _lay([_apply(matrix, piece[::-1] if mirrored else piece) for piece in pieces], "stroke", style, sheet)


def _lay(polygons: list[np.ndarray], use: str, style: dict[str, str], sheet: _Sheet, even_odd: bool = False) -> None:
    paint = colour(style[use], style["color"])
    if paint is None:
        return
    height, width, _ = sheet.pixels.shape
    rows, columns, covered = coverage(polygons, (width, height), even_odd)
    touched = covered > 0
    alpha = covered[touched, None] * (paint[3] * fraction(style[f"{use}-opacity"]))
    here = sheet.pixels[rows, columns]
    here[touched] = _over(here[touched], alpha * np.array([*paint[:3], 1], np.float32))


def _over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    return below * (1 - above[..., 3:]) + above


def _commands(element: ElementTree.Element, tag: str, viewport: tuple[float, float]) -> Commands:
    """Any shape as path commands."""
    if tag == "path":
        return parse_path(element.get("d", ""))
    if tag in ("polyline", "polygon"):
        places = numbers(element.get("points", ""))
        if len(places) % 2:
            raise ValueError(f"a <{tag}> has an odd count of coordinates ({len(places)}).")
        lines: Commands = [("L" if at else "M", places[at : at + 2]) for at in range(0, len(places), 2)]
        return [*lines, ("Z", [])] if tag == "polygon" and lines else lines

    across, down = viewport

    def get(name: str, whole: float) -> float:
        return length(element.get(name, "0"), whole)

    if tag == "line":
        return [("M", [get("x1", across), get("y1", down)]), ("L", [get("x2", across), get("y2", down)])]
    if tag == "rect":
        width, height = get("width", across), get("height", down)
        given = [re.sub("auto", "", element.get(name, "")) for name in ("rx", "ry")]
        rx, ry = length(given[0] or given[1] or "0", across), length(given[1] or given[0] or "0", down)
        return rounded_box(get("x", across), get("y", down), width, height, min(rx, width / 2), min(ry, height / 2))
    rx = get("r", _diagonal(viewport)) if tag == "circle" else get("rx", across)
    ry = rx if tag == "circle" else get("ry", down)
    return rounded_box(get("cx", across) - rx, get("cy", down) - ry, 2 * rx, 2 * ry, rx, ry)


def _diagonal(viewport: tuple[float, float]) -> float:
    """What a percentage of neither width nor height refers to (SVG 2, 8.9)."""
    return math.hypot(*viewport) / math.sqrt(2)


def _zoom(matrix: np.ndarray) -> float:
    return math.sqrt(abs(np.linalg.det(matrix[:2, :2])))


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:2, :2].T + matrix[:2, 2]
