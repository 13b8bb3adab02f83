"""Telling drawing from paper.

A line drawing is taken for what it physically is, one ink on one paper: pixel = paper + ink * (ink colour - paper).
Its paper is the commonest colour, its ink the distance from there over the distance of the strongest strokes, so the
mask is as soft as the drawing's edges and as light as its pencil. A colour painting has no such model: there the ink is
what is not transparent; in a painting without transparency, what differs from the paper's colour; and all of it where
no such colour is left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

LINES, PAINTING = "line drawing", "colour painting"
_SEEN = 0.12  # distance (largest channel difference) from which a stroke counts as one when a drawing is judged
_FAINT, _FULL = 0.02, 0.12  # distances from the paper at which paint begins to count, and counts fully


class Style(NamedTuple):
    """How a drawing is read.

    bare: how a painting shows bare paper: "transparent", "paper coloured", or "nowhere" since all of it is painted.
    ground, grain, strongest: a line drawing's own paper, that paper's noise, and the distance of the ink from it.
    """

    kind: str
    inverted: bool
    bare: str
    ground: np.ndarray
    grain: float
    strongest: float


def judge(pixels: np.ndarray, paper: np.ndarray, kind: str = "auto", invert: str = "auto") -> Style:
    """The style of a drawing, from a sample [h, w, 4] of its pixels (alpha last) and the paper [3] it will lie on.

    "auto" takes a drawing for lines only if they are thin, of one ink, and cover less than half; in doubt it is a
    painting, which changes nothing. "auto" inverts a line drawing if its negative suits the paper better: white on
    black for light paper, black on white for dark.
    """
    shown = _over(pixels, _backdrop(pixels))
    ground = _commonest(shown)
    if kind == "auto":
        kind = LINES if _is_line_drawing(shown - ground) else PAINTING
    as_is, negative = abs(_luma(ground) - _luma(paper)), abs(1 - _luma(ground) - _luma(paper))
    inverted = invert == "yes" or (invert == "auto" and kind == LINES and bool(negative < as_is))

    page = _over(_negative(pixels) if inverted else pixels, paper)
    ground = _commonest(page)
    distance = _distance(page, ground)
    strokes, blank = distance[distance > _SEEN], distance[distance < _SEEN / 2]
    grain = min(3 * float(np.median(blank)), 0.05) if blank.size else 0.0
    strongest = max(float(np.percentile(strokes, 99.5)), 0.2) if strokes.size else 1.0
    return Style(kind, inverted, _bare(pixels, page, paper), ground, grain, strongest)


def lay_on_paper(pixels: np.ndarray, paper: np.ndarray, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [h, w, 4] as RGB [h, w, 3] on `paper`, and their ink [h, w], both 0..1."""
    page = _over(_negative(pixels) if style.inverted else pixels, paper)
    if style.kind == LINES:
        ink = np.clip((_distance(page, style.ground) - style.grain) / (style.strongest - style.grain), 0, 1)
        return np.clip(page + (1 - ink[..., None]) * (paper - style.ground), 0, 1), ink
    if style.bare == "transparent":
        return page, pixels[..., 3]
    if style.bare == "paper coloured":
        return page, np.clip((_distance(page, paper) - _FAINT) / (_FULL - _FAINT), 0, 1)
    return page, np.ones(page.shape[:2], np.float32)


def _bare(pixels: np.ndarray, page: np.ndarray, paper: np.ndarray) -> str:
    if (pixels[..., 3] < 0.98).mean() > 0.01:
        return "transparent"
    return "paper coloured" if (_distance(page, paper) < _FAINT).mean() > 0.01 else "nowhere"


def _backdrop(pixels: np.ndarray) -> np.ndarray:
    """White or black, whichever shows what is drawn on transparency."""
    weight = pixels[..., 3]
    bright = float((_luma(pixels[..., :3]) * weight).sum()) > 0.5 * float(weight.sum())
    return np.full(3, 0.0 if bright else 1.0, np.float32)


def _luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114], np.float32)


def _negative(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate((1 - pixels[..., :3], pixels[..., 3:]), axis=-1)


def _over(pixels: np.ndarray, paper: np.ndarray) -> np.ndarray:
    return paper + pixels[..., 3:] * (pixels[..., :3] - paper)


def _distance(page: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.abs(page - colour).max(axis=-1)


def _commonest(page: np.ndarray) -> np.ndarray:
    """The colour [3] met most often; the outermost twentieth counts fourfold, for there a drawing leaves its paper."""
    height, width, _ = page.shape
    rim_y, rim_x = height // 20 + 1, width // 20 + 1
    votes = np.full((height, width), 4)
    votes[rim_y:-rim_y, rim_x:-rim_x] = 1
    cell = (page * 15.999).astype(np.int64) @ np.array([256, 16, 1])
    most = np.bincount(cell.ravel(), votes.ravel()).argmax()
    inside = page[cell == most]
    near = page[_distance(page, np.median(inside, axis=0)) < 0.06]  # the cells' borders are arbitrary
    return np.median(near, axis=0)


def _is_line_drawing(offsets: np.ndarray) -> bool:
    """Whether the pixels' offsets [h, w, 3] from the ground are thin strokes of one ink on a ground that prevails."""
    strokes = np.abs(offsets).max(axis=-1) > _SEEN
    if not 1e-4 < strokes.mean() < 0.5:
        return False
    inked = offsets[strokes]
    direction = inked.sum(axis=0) / max(float(np.linalg.norm(inked.sum(axis=0))), 1e-6)
    beside = np.linalg.norm(inked - (inked @ direction)[:, None] * direction, axis=1)
    if (beside < _SEEN).mean() < 0.9:
        return False
    reach = 2 * max(2, round(0.012 * max(strokes.shape))) + 1
    core = Image.fromarray(strokes.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(reach))
    return (np.asarray(core) > 0).sum() < 0.1 * strokes.sum()
