"""Outlines to pixels: the share of each pixel that polygons and pen strokes cover.

Eight scan lines a pixel, each cut exactly where it enters and leaves the shape: finer than 4 x 4 samples, and so cheap
that a line drawing of 8192 pixels is a matter of seconds.
"""

from __future__ import annotations

import numpy as np

_LINES = 8
_AT_ONCE = 1 << 22


def coverage(
    polygons: list[np.ndarray], size: tuple[int, int], even_odd: bool = False
) -> tuple[slice, slice, np.ndarray]:
    """Rows, columns and the covered share [rows, columns] in 0..1 of a canvas of `size` (width, height).

    polygons: arrays [n, 2] of (x, y) in pixels, each closed by itself; together they are one shape, filled by the
    winding rule (SVG "nonzero") or the even-odd rule. Only the part of the canvas that the shape can touch comes back.
    """
    starts = np.concatenate([np.zeros((0, 2)), *polygons])
    ends = np.concatenate([np.zeros((0, 2)), *(np.roll(polygon, -1, axis=0) for polygon in polygons)])
    if not (np.abs(starts) < 1e12).all():  # nor is NaN
        raise ValueError("coordinates are too large to draw.")
    low, high = (starts.min(axis=0), starts.max(axis=0)) if len(starts) else (np.zeros(2), np.zeros(2))
    left, top = np.clip(np.floor(low), 0, size).astype(int)
    right, bottom = np.clip(np.ceil(high), 0, size).astype(int)
    width, height = right - left, bottom - top
    covered = np.zeros((height, width), np.float32)
    if covered.size:
        line, x, sign = _crossings(starts - (left, top), ends - (left, top), height)
        turns = np.cumsum(sign)
        inside = np.flatnonzero(turns % 2 if even_odd else turns)  # between this crossing and the next
        row, x = line[inside] // _LINES, x.clip(0, width)
        band = max(1, _AT_ONCE // width)
        for first in range(0, height, band):
            last = min(first + band, height)
            some = slice(*np.searchsorted(row, (first, last)))
            spans = row[some] - first, x[inside[some]], x[inside[some] + 1]
            covered[first:last] = _fill(*spans, last - first, width)
    return slice(top, bottom), slice(left, right), covered


def _crossings(starts: np.ndarray, ends: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where edges cross scan lines: line number, x, and +1 downwards or -1 upwards; line by line, left to right."""
    down = ends[:, 1] > starts[:, 1]
    upper, lower = np.where(down[:, None], starts, ends), np.where(down[:, None], ends, starts)
    first, last = (np.ceil(edge[:, 1] * _LINES - 0.5).clip(0, height * _LINES).astype(int) for edge in (upper, lower))
    edge = np.repeat(np.arange(len(starts)), last - first)
    before = np.cumsum(last - first) - (last - first)
    line = np.arange(len(edge)) - before[edge] + first[edge]
    (x0, y0), (x1, y1) = upper[edge].T, lower[edge].T
    x = x0 + ((line + 0.5) / _LINES - y0) * (x1 - x0) / (y1 - y0)
    order = np.lexsort((x, line))
    return line[order], x[order], np.where(down, 1, -1)[edge][order]


def _fill(row: np.ndarray, left: np.ndarray, right: np.ndarray, height: int, width: int) -> np.ndarray:
    """Coverage [height, width] by spans of one scan line each, as the running sum of what changes at their ends."""
    changes = np.zeros(height * (width + 2))
    for x, weight in ((left, 1 / _LINES), (right, -1 / _LINES)):
        cell = np.floor(x).astype(int)
        part = x - cell
        at = row * (width + 2) + cell
        changes += np.bincount(at, weight * (1 - part), len(changes))
        changes += np.bincount(at + 1, weight * part, len(changes))
    return changes.reshape(height, width + 2).cumsum(axis=1)[:, :width].clip(0, 1)


def stroke(
    points: np.ndarray,
    width: float,
    *,
    closed: bool = False,
    cap: str = "butt",
    join: str = "miter",
    limit: float = 4.0,
) -> list[np.ndarray]:
    """Polygons whose union is the pen stroke along points [n, 2]: a bar a segment, then caps and joins (SVG 2, 13.5).

    All wind the same way, so that `coverage` fills where they overlap. `limit` is SVG's miter limit.
    """
    if closed:
        points = np.concatenate((points, points[:1]))
    keep = np.ones(len(points), bool)
    keep[1:] = np.abs(np.diff(points, axis=0)).max(axis=1) > 1e-9
    points = points[keep]
    reach = width / 2
    if len(points) == 1:  # a tap of the pen
        square = reach * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        return {"round": [_disc(reach) + points], "square": [square + points]}.get(cap, [])
    along = np.diff(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    if cap == "square" and not closed:
        points = points.copy()
        points[0] -= along[0] * reach
        points[-1] += along[-1] * reach
    aside = along[:, ::-1] * (1, -1) * reach
    bars = np.stack((points[:-1] + aside, points[1:] + aside, points[1:] - aside, points[:-1] - aside), axis=1)
    pieces = list(bars)
    if cap == "round" and not closed:
        pieces += [_disc(reach) + points[0], _disc(reach) + points[-1]]
    corners = points[:-1] if closed else points[1:-1]
    before, after = (np.roll(along, 1, axis=0), along) if closed else (along[:-1], along[1:])
    for corner, u, v in zip(corners, before, after, strict=True):
        pieces += _join(corner, u, v, reach, join, limit)
    return [piece if _area(piece) > 0 else piece[::-1] for piece in pieces]


def _join(corner: np.ndarray, u: np.ndarray, v: np.ndarray, reach: float, join: str, limit: float) -> list[np.ndarray]:
    """What fills the notch where a stroke turns from direction u to v."""
    straight = float(u @ v)
    if straight > 0.9999:
        return []
    if join == "round" and straight < 0.98:
        return [_disc(reach) + corner]
    side = reach * (1 if u[0] * v[1] - u[1] * v[0] > 0 else -1)
    a, b = corner + side * np.array([u[1], -u[0]]), corner + side * np.array([v[1], -v[0]])
    if join == "miter" and straight > -0.9999 and 2 / (1 + straight) <= limit**2:
        tip = corner + (a + b - 2 * corner) / (1 + straight)
        return [np.stack((corner, a, tip, b))]
    return [np.stack((corner, a, b))]


def _disc(radius: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return radius * np.stack((np.cos(angles), np.sin(angles)), axis=1)


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
