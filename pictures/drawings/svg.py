"""SVG files, drawn by resvg at the size asked for. `document` makes them safe, `css` makes them plain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from . import css, resvg
from .document import LARGEST_FILE, PART, PICTURE, TEXT, Document, opened, read_document
from .source import Box, Size, Source, name_of

_SHARE = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}
_NAMED = 5  # styles named in a note
_SMALL = 32  # pixels: below that a drawing "as drawn" is hardly meant
_WORDS = {
    TEXT: "Its text is left out, since fonts differ from machine to machine: convert it to paths in your drawing "
    "program (Object to Path, Create Outlines).",
    PICTURE: "Its linked pictures are left out: embed them in your drawing program.",
    PART: "Parts that it takes from other files are left out: paste them into the drawing.",
}


def open_svg(path: Path) -> Source:
    """The drawing in an SVG file, plain or compressed. Raises ValueError for what cannot be read."""
    with _about(path):
        resvg.available()
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"larger than {LARGEST_FILE // 1_000_000} MB, too large for a drawing. Export it as PNG.")
        document = read_document(path.read_bytes())
        size, viewport, to_page = _page(document.root)
    notes = [_WORDS[part] for part in document.left_out]
    if document.missed:
        notes.append(
            f"Styles of it are left out that are not drawn here ({', '.join(document.missed[:_NAMED])}): if it looks "
            "wrong, export it as PNG."
        )
    if max(size) < _SMALL:
        notes.append(f"As drawn it is {size[0]:g} x {size[1]:g} pixels: set a size to draw it larger.")

    def load(box: Box, inner: Size) -> Image.Image:
        zoom = np.diag([inner[0] / (box[2] - box[0]), inner[1] / (box[3] - box[1]), 1.0])
        with _about(path):
            picture = resvg.render(_framed(document, zoom @ _translate(-box[0], -box[1]) @ to_page, viewport, inner))
            if document.left_out and not picture.getbbox():
                raise ValueError(f"nothing is left to draw. {' '.join(_WORDS[part] for part in document.left_out)}")
        if document.background is not None:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, document.background), picture)
        return picture

    return Source(size, load, notes=tuple(notes))


@contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name_of(path)}: {error}") from error


def _framed(document: Document, matrix: np.ndarray, viewport: tuple[float, float], inner: Size) -> str:
    """The document as a picture of `inner` pixels. `matrix` takes user units to those pixels.

    The viewBox keeps its size, since percentages refer to it; a transform does the rest.
    """
    width, height = viewport
    matrix = np.diag([width / inner[0], height / inner[1], 1.0]) @ matrix
    (a, c, e), (b, d, f) = matrix[:2].tolist()
    ours = {
        "width": str(inner[0]),
        "height": str(inner[1]),
        "viewBox": f"0 0 {width!r} {height!r}",
        "preserveAspectRatio": "none",
        "transform": f"matrix({a!r} {b!r} {c!r} {d!r} {e!r} {f!r})",
    }
    kept = {key: value for key, value in document.root.items() if key not in (*ours, "x", "y", "href", "overflow")}
    return f"{opened('svg', {'xmlns': 'http://www.w3.org/2000/svg', **kept, **ours})}>{document.body}</svg>"


def _page(root: dict[str, str]) -> tuple[tuple[float, float], tuple[float, float], np.ndarray]:
    """Size in pixels, size of the viewport in user units, and the matrix from user units to pixels (viewBox)."""
    frame = _four(root.get("viewBox", ""))
    asked = [css.length(root.get(side, "")) for side in ("width", "height")]
    sides = [side if side is None or side > 0 else None for side in asked] if frame else asked
    if not frame and None in sides and root.get("viewBox"):
        raise ValueError(f'viewBox="{root["viewBox"][:60]}" must be four numbers, the last two above 0.')
    if not frame and None in sides:
        raise ValueError("neither a viewBox nor a width and height tell its size. Add a viewBox to the <svg> element.")
    left, top, wide, high = frame or (0.0, 0.0, *(side or 0.0 for side in sides))
    if sides[0] is None:
        sides[0] = wide if sides[1] is None else sides[1] * wide / high
    width, height = sides[0], sides[0] * high / wide if sides[1] is None else sides[1]
    if not (1e-6 < width < 1e9 and 1e-6 < height < 1e9 and 1e-4 < width / height < 1e4):
        raise ValueError(f"{width:g} x {height:g} pixels cannot be drawn. Change the width and height of <svg>.")

    across, down = width / wide, height / high
    fitting = (root.get("preserveAspectRatio") or "xMidYMid").removeprefix("defer ").split() or ["xMidYMid"]
    offset = (0.0, 0.0)
    if fitting[0] != "none":
        across = down = (max if "slice" in fitting else min)(across, down)
        spare = (width - wide * across, height - high * down)
        offset = spare[0] * _SHARE.get(fitting[0][1:4], 0.5), spare[1] * _SHARE.get(fitting[0][5:8], 0.5)
    to_page = _translate(*offset) @ np.diag([across, down, 1.0]) @ _translate(-left, -top)
    return (width, height), (wide, high), to_page


def _four(text: str) -> tuple[float, float, float, float] | None:
    """A viewBox, or None for one that a browser would not go by either."""
    try:
        left, top, wide, high = (float(part) for part in re.split(r"[\s,]+", text.strip()))
    except ValueError:
        return None
    usable = max(abs(left), abs(top), wide, high) < 1e9 and min(wide, high) > 1e-9
    return (left, top, wide, high) if usable else None


def _translate(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
