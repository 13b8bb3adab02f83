"""SVG path data: parsed into commands, commands flattened into polylines."""

from __future__ import annotations

import math
import re

import numpy as np

from .svg_values import NUMBER, number, numbers

Commands = list[tuple[str, list[float]]]

_COUNTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
_MIRRORS = {"S": "CS", "T": "QT"}  # after which commands S and T mirror the last control point
_GAP = r"[\s,]*"
_ARC = re.compile(_GAP + _GAP.join([f"({NUMBER})"] * 3 + ["([01])"] * 2 + [f"({NUMBER})"] * 2) + _GAP)


def parse_path(data: str) -> Commands:
    """Path data as (letter, numbers), one entry a segment: "M1 2 3 4" becomes M 1 2, L 3 4."""
    first, *pieces = re.split(r"([A-DF-Za-df-z])", data)  # not e: that is an exponent
    if first.strip(" \t\r\n,") or (pieces and pieces[0] not in "Mm"):
        raise ValueError(f'path data must begin with M; it begins with "{data.strip()[:20]}".')
    commands: Commands = []
    for letter, text in zip(pieces[::2], pieces[1::2], strict=True):
        count = _COUNTS.get(letter.upper(), -1)
        values = _arcs(text) if letter in "Aa" else numbers(text)
        if count < 0 or (values if count == 0 else not values or len(values) % count):
            raise ValueError(f'the path data "{(letter + text).strip()[:40]}" cannot be read.')
        more = {"M": "L", "m": "l"}.get(letter, letter)
        for at in range(0, max(len(values), 1), count or 1):
            commands.append((more if at else letter, values[at : at + count]))
    return commands


def _arcs(text: str) -> list[float]:
    """The numbers of A, whose two flags may stand with nothing between them and what follows ("a1 1 0 013 4")."""
    at, values = 0, []
    while at < len(text):
        found = _ARC.match(text, at)
        if not found:
            raise ValueError(f'the arc "{text.strip()[:40]}" cannot be read.')
        values += [number(n) for n in found.groups()]
        at = found.end()
    return values


def rounded_box(x: float, y: float, width: float, height: float, rx: float, ry: float) -> Commands:
    """A rectangle with elliptic corners; an ellipse is the one that is all corners. Nothing if it has no area."""
    if width <= 0 or height <= 0:
        return []
    right, bottom = x + width, y + height
    return [
        ("M", [x + rx, y]),
        *(("L", [right - rx, y]), ("A", [rx, ry, 0, 0, 1, right, y + ry])),
        *(("L", [right, bottom - ry]), ("A", [rx, ry, 0, 0, 1, right - rx, bottom])),
        *(("L", [x + rx, bottom]), ("A", [rx, ry, 0, 0, 1, x, bottom - ry])),
        *(("L", [x, y + ry]), ("A", [rx, ry, 0, 0, 1, x + rx, y])),
        ("Z", []),
    ]


def flatten(commands: Commands, zoom: float) -> list[tuple[np.ndarray, bool]]:
    """Polylines (points [n, 2] in user units, closed or not), fine enough for `zoom` pixels a unit."""
    lines: list[tuple[np.ndarray, bool]] = []
    line: list[np.ndarray] = []
    here = start = control = np.zeros(2)
    before = ""
    for letter, values in commands:
        kind, origin = letter.upper(), here if letter.islower() else np.zeros(2)
        if kind in "MZ":
            if line:
                lines.append((np.array(line), kind == "Z"))
            here = start if kind == "Z" else origin + values
            start, line = here, [here] if kind == "M" else []
        else:
            mirrored = 2 * here - control if before in _MIRRORS.get(kind, "") else here
            points = _segment(kind, np.array(values), origin, here, mirrored, zoom)
            line = line or [here]
            line.extend(points[1:])
            control, here = points[0], points[-1]
        before = kind
    if line:
        lines.append((np.array(line), False))
    return lines


def _segment(
    kind: str, values: np.ndarray, origin: np.ndarray, here: np.ndarray, mirrored: np.ndarray, zoom: float
) -> np.ndarray:
    """One segment from `here`: its last control point (for S and T to mirror), then the points that follow `here`."""
    if kind == "H":
        return np.array([here, (origin[0] + values[0], here[1])])
    if kind == "V":
        return np.array([here, (here[0], origin[1] + values[0])])
    if kind == "A":
        return np.array([here, *_arc(here, values[:5], origin + values[5:], zoom)])
    poles = np.array([here, *([mirrored] if kind in "ST" else []), *(origin + values.reshape(-1, 2))])
    if kind == "L":
        return poles
    t = np.linspace(0, 1, _steps(np.linalg.norm(np.diff(poles, axis=0), axis=1).sum() * zoom))[1:, None]
    degree = len(poles) - 1
    weights = [math.comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)]
    return np.concatenate((poles[-2:-1], np.hstack(weights) @ poles))


def _steps(length: float) -> int:
    """Into how many points a curve of so many pixels goes: a circle stays within a thirtieth of a pixel."""
    if not length < 1e12:  # nor is NaN
        raise ValueError("coordinates are too large to draw.")
    return 4 + int(min(4 * math.sqrt(length), 600.0))


def _arc(here: np.ndarray, shape: np.ndarray, end: np.ndarray, zoom: float) -> np.ndarray:
    """Points after `here` of an elliptic arc to `end` (SVG 2, B.2.4)."""
    (rx, ry), turn, (large, sweep) = abs(shape[:2]), math.radians(shape[2]), shape[3:]
    if rx == 0 or ry == 0 or (here == end).all():
        return end[None]
    spin = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    half = (
        (here - end) / 2 @ spin / (rx, ry)
    )  # half the chord, seen from its middle, where the ellipse is a unit circle
    reach = max(1.0, float(np.linalg.norm(half)))  # radii too small for the chord grow until they meet it
    rx, ry, half = rx * reach, ry * reach, half / reach
    away = math.sqrt(max(1 / float(half @ half) - 1, 0.0)) * (1 if large != sweep else -1)
    centre = away * np.array([half[1], -half[0]])
    first, last = (math.atan2(*(point - centre)[::-1]) for point in (half, -half))
    angle = (last - first) % (2 * math.pi) - (0 if sweep else 2 * math.pi)
    turns = first + np.linspace(0, angle, _steps(abs(angle) * max(rx, ry) * zoom))[1:]
    points = (np.stack((np.cos(turns), np.sin(turns)), axis=1) + centre) * (rx, ry) @ spin.T + (here + end) / 2
    points[-1] = end
    return points
