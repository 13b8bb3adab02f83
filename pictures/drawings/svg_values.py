"""Numbers, lengths, colours and transforms as SVG writes them. Errors are ValueErrors that quote what was written."""

from __future__ import annotations

import math
import re

import numpy as np
from PIL import ImageColor

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PX = {"": 1, "px": 1, "pt": 4 / 3, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96}


def numbers(text: str) -> list[float]:
    """A list of numbers with spaces or commas between, or nothing where a sign or point parts them."""
    if re.sub(NUMBER, " ", text).strip(" \t\r\n\f,"):
        raise ValueError(f'expected numbers and found "{_short(text)}".')
    return [number(n) for n in re.findall(NUMBER, text)]


def number(text: str) -> float:
    value = float(text)
    if abs(value) > 1e9:  # well before anything overflows
        raise ValueError("coordinates are too large to draw.")
    return value


def length(text: str, whole: float = 0.0) -> float:
    """A length in pixels (96 an inch); percentages are of `whole`."""
    found = re.fullmatch(rf"\s*({NUMBER})\s*(px|pt|pc|mm|cm|in|%|)\s*", text)
    if not found:
        raise ValueError(f'the length "{_short(text)}" cannot be read; units are px, pt, pc, mm, cm, in and %.')
    return number(found[1]) * (whole / 100 if found[2] == "%" else _PX[found[2]])


def fraction(text: str) -> float:
    """An opacity, 0..1, also written as a percentage."""
    return min(max(length(text, 1.0), 0.0), 1.0)


def colour(text: str, current: str) -> tuple[float, float, float, float] | None:
    """RGB and alpha in 0..1, or None for no paint. `current` is what currentColor stands for."""
    text = (current if text.lower() == "currentcolor" else text).strip().lower()
    if text in ("none", "transparent"):
        return None
    if text.startswith("url("):
        raise ValueError(f"the paint {_short(text)} (a gradient or pattern) is not in the SVG subset. Export a PNG.")
    parts = re.fullmatch(r"rgba?\(\s*(.*?)\s*\)", text)
    if not parts:
        try:
            red, green, blue, *alpha = (value / 255 for value in ImageColor.getrgb(text))
        except ValueError as error:
            raise ValueError(f'the colour "{_short(text)}" cannot be read.') from error
        return red, green, blue, alpha[0] if alpha else 1.0
    written = [part for part in re.split(r"[\s,/]+", parts[1]) if part]
    if len(written) not in (3, 4):
        raise ValueError(f'the colour "{_short(text)}" cannot be read.')
    red, green, blue = (min(max(length(part, 255) / 255, 0.0), 1.0) for part in written[:3])
    return red, green, blue, fraction(written[3]) if len(written) == 4 else 1.0


def transform(text: str) -> np.ndarray:
    """The 3x3 matrix of a transform attribute; the function written first is the outermost."""
    matrix = np.eye(3)
    for kind, inside in re.findall(r"(\w+)\s*\(([^)]*)\)", text):
        matrix = matrix @ _one_transform(kind, numbers(inside))
    if re.sub(r"\w+\s*\([^)]*\)", "", text).strip(" \t\r\n,") not in ("", "none"):
        raise ValueError(f'the transform "{_short(text)}" cannot be read.')
    return matrix


def _one_transform(kind: str, n: list[float]) -> np.ndarray:
    match kind, len(n):
        case "matrix", 6:
            return np.array([[n[0], n[2], n[4]], [n[1], n[3], n[5]], [0, 0, 1]])
        case "translate", 1 | 2:
            return translate(n[0], n[1] if len(n) == 2 else 0.0)
        case "scale", 1 | 2:
            return np.diag([n[0], n[-1], 1.0])
        case "rotate", 1 | 3:
            cos, sin = math.cos(math.radians(n[0])), math.sin(math.radians(n[0]))
            x, y = n[1:] or (0.0, 0.0)
            return translate(x, y) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ translate(-x, -y)
        case "skewX", 1:
            return np.array([[1, math.tan(math.radians(n[0])), 0], [0, 1, 0], [0, 0, 1]])
        case "skewY", 1:
            return np.array([[1, 0, 0], [math.tan(math.radians(n[0])), 1, 0], [0, 0, 1]])
    raise ValueError(f"the transform {kind} with {len(n)} numbers is not one of SVG's.")


def translate(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."
