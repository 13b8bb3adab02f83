"""QuickDraw stroke files: one JSON drawing a line (ndjson), strokes as lists of x and of y.

Both published forms are read: "simplified" (x and y, 0 to 255) and "raw" (x, y and time, in screen pixels).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from .outline import coverage, stroke
from .source import Box, Size, Source

SIDE = 256
_MARGIN = 0.08
_PEN = 0.024  # of the side: 6 pixels of 256
_LONGEST = 16_000_000


def open_quickdraw(path: Path, index: int) -> Source:
    """Drawing number `index` (from 0) of the file, in the middle of a square sheet, drawn with a round black pen."""
    strokes = read_strokes(path, index)
    every = np.concatenate(strokes)
    low, high = every.min(axis=0), every.max(axis=0)
    zoom = SIDE * (1 - 2 * _MARGIN) / max(float((high - low).max()), 1.0)
    strokes = [(points - (low + high) / 2) * zoom + SIDE / 2 for points in strokes]

    def load(box: Box, size: Size) -> Image.Image:
        scale = size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1])
        pieces = []
        for points in strokes:
            pieces += stroke((points - box[:2]) * scale, _PEN * SIDE * scale[0], cap="round", join="round")
        rows, columns, covered = coverage(pieces, size)
        sheet = np.zeros((size[1], size[0], 4), np.uint8)
        sheet[rows, columns, 3] = (covered * 255).round()
        return Image.fromarray(sheet)

    return Source((SIDE, SIDE), load)


def read_strokes(path: Path, index: int) -> list[np.ndarray]:
    """The strokes [n, 2] of one drawing. Reads no further than its line, however large the file."""
    if index < 0:
        raise ValueError(f"The drawing index counts from 0; {index} came.")
    count = 0
    with path.open("rb") as file:
        while line := file.readline(_LONGEST + 1):
            if len(line) > _LONGEST:
                raise ValueError(f"{path.name} has a line of more than 16 MB: not a QuickDraw stroke file.")
            if not line.strip():
                continue
            if count == index:
                return _parse(line, f"{path.name}, drawing {index}")
            count += 1
    if count == 0:
        raise ValueError(f"{path.name} holds no drawing: every line of it is blank.")
    raise ValueError(f"{path.name} holds {count} drawings, numbered 0 to {count - 1}; number {index} was asked for.")


def _parse(line: bytes, where: str) -> list[np.ndarray]:
    try:
        drawing = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}). A QuickDraw file has one JSON drawing a line.") from error
    strokes = drawing.get("drawing") if isinstance(drawing, dict) else None
    if not isinstance(strokes, list) or not strokes:
        raise ValueError(f'{where}: no strokes. Expected {{"drawing": [[[x, ...], [y, ...]], ...]}} on the line.')
    points = []
    try:
        points = [np.array(s[:2], np.float64).T for s in strokes]
        usable = all(p.ndim == 2 and p.shape[1] == 2 and len(p) and np.abs(p).max() < 1e6 for p in points)
    except (ValueError, TypeError, KeyError):
        usable = False
    if not usable:
        raise ValueError(f"{where}: a stroke must be a list of x and a list of y, numbers, and as many of each.")
    return points
