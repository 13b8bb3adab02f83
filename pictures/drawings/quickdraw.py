"""QuickDraw stroke files: one JSON drawing a line (ndjson), strokes as lists of x and of y.

Both published forms are read: "simplified" (x and y, 0 to 255) and "raw" (x, y and time, in screen pixels).
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from .ink import LINES
from .source import Box, Size, Source, name_of

SIDE = 256
_MARGIN = 0.08
_PEN = 0.024  # of the side: 6 pixels of 256
_LONGEST = 16_000_000  # bytes of a line
_MOST_POINTS = 200_000


def open_quickdraw(path: Path, index: int) -> Source:
    """Drawing number `index` (from 0) of the file, in the middle of a square sheet, drawn with a round black pen."""
    strokes = read_strokes(path, index)
    every = np.concatenate(strokes)
    low, high = every.min(axis=0), every.max(axis=0)
    zoom = SIDE * (1 - 2 * _MARGIN) / max(float((high - low).max()), 1.0)
    strokes = [(points - (low + high) / 2) * zoom + SIDE / 2 for points in strokes]

    def load(box: Box, size: Size) -> Image.Image:
        scale = np.array([size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1])])
        covered = np.zeros((size[1], size[0]), np.float32)
        for points in strokes:
            _draw(covered, (points - box[:2]) * scale, _PEN * SIDE * float(scale.mean()) / 2)
        sheet = np.zeros((size[1], size[0], 4), np.uint8)
        sheet[..., 3] = (covered * 255).round()
        return Image.fromarray(sheet)

    return Source((SIDE, SIDE), load, LINES)


def _draw(covered: np.ndarray, points: np.ndarray, radius: float) -> None:
    """Adds a stroke with a round pen to `covered` [h, w], 0..1. points [n, 2] and radius in pixels.

    A pixel is covered as far as its centre lies inside the pen's reach, half a pixel either way. Long segments are cut
    so that the square around each holds little else than pen.
    """
    height, width = covered.shape
    moved = np.ones(len(points), bool)
    moved[1:] = np.abs(np.diff(points, axis=0)).max(axis=1) > 1e-9
    points = points[moved]
    ends = points[1:] if len(points) > 1 else points
    for a, b in zip(points, ends, strict=False):
        pieces = max(1, math.ceil(float(np.linalg.norm(b - a)) / max(4 * radius, 8)))
        corners = a + (b - a) * np.linspace(0, 1, pieces + 1)[:, None]
        for start, end in itertools.pairwise(corners):
            low = np.floor(np.minimum(start, end) - radius - 1).astype(int).clip(0)
            high = np.ceil(np.maximum(start, end) + radius + 1).astype(int).clip(None, (width, height))
            if (high <= low).any():
                continue
            x = np.arange(low[0], high[0], dtype=np.float32)[None, :] + np.float32(0.5 - start[0])
            y = np.arange(low[1], high[1], dtype=np.float32)[:, None] + np.float32(0.5 - start[1])
            (dx, dy), square = (end - start).astype(np.float32), float(((end - start) ** 2).sum())
            along = ((x * dx + y * dy) / square).clip(0, 1) if square else np.float32(0)
            reach = (radius + 0.5 - np.hypot(x - along * dx, y - along * dy)).clip(0, 1)
            part = covered[low[1] : high[1], low[0] : high[0]]
            np.maximum(part, reach, out=part)


def read_strokes(path: Path, index: int) -> list[np.ndarray]:
    """The strokes [n, 2] of one drawing. Reads no further than its line, however large the file."""
    if index < 0:
        raise ValueError(f"The drawing index counts from 0, got {index}.")
    count = 0
    with path.open("rb") as file:
        while line := file.readline(_LONGEST + 1):
            if len(line) > _LONGEST:
                raise ValueError(f"{name_of(path)} has a line of more than 16 MB: not a QuickDraw stroke file.")
            if not line.strip():
                continue
            if count == index:
                return _parse(line, f"{name_of(path)}, drawing {index}")
            count += 1
    if count == 0:
        raise ValueError(f"{name_of(path)} holds no drawing: every line of it is blank.")
    raise ValueError(
        f"{name_of(path)} holds {count} drawings, numbered 0 to {count - 1}; number {index} was asked for."
    )


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
    except (ValueError, TypeError, KeyError, OverflowError):
        usable = False
    if not usable:
        raise ValueError(f"{where}: a stroke must be a list of x and a list of y, numbers, and as many of each.")
    if sum(map(len, points)) > _MOST_POINTS:
        raise ValueError(f"{where}: more than {_MOST_POINTS:,} points: not a drawing by hand.")
    return points
