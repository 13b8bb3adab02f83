"""Telling drawing from paper.

A line drawing is taken for what it physically is, one ink on one paper: pixel = paper + ink * (ink colour - paper).
Its paper is the commonest colour, its ink the distance from there over the distance of the strongest strokes, so the
mask is as soft as the drawing's edges and as light as its pencil. One ink on transparency has no paper of its own: what
is not transparent is the ink, however much of the picture it covers. A colour painting has no such model: its ink is
what is not transparent; in a painting without transparency, what differs from the paper's colour; and all of it where
no such colour is left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LINES, PAINTING = "line drawing", "colour painting"
_SEEN = 0.12  # distance (largest channel difference) from which a stroke counts as one when a drawing is judged
_CONTRAST = 0.25  # difference in brightness from which grey ink shows on a paper
_COLOURED = 0.15  # largest minus smallest channel from which ink counts as coloured
_FAINT, _FULL = 0.02, 0.12  # distances from the paper at which paint begins to count, and counts fully


class Style(NamedTuple):
    """How a drawing is read.

    bare: how it shows bare paper: "alone" (one ink on transparency), "transparent", "paper coloured", or "nowhere"
    since all of it is painted.
    ground, grain, strongest: a line drawing's own paper, that paper's noise, and the distance of the ink from it.
    notes: what "auto" has decided, in words.
    """

    kind: str
    inverted: bool
    bare: str
    ground: np.ndarray
    grain: float
    strongest: float
    notes: tuple[str, ...]


def judge(pixels: np.ndarray, paper: np.ndarray, kind: str = "auto", invert: str = "auto") -> Style:
    """The style of a drawing, from a sample [h, w, 4] of its pixels (alpha last) and the paper [3] it will lie on.

    "auto" takes one ink on transparency for lines; an opaque drawing only if its strokes are thin, of one ink, and
    cover less than half, or if they are a broad black or white pen on paper of the other; in doubt it is a painting,
    which changes nothing. "auto" inverts a line drawing whose ink would not show: on transparency, ink as light or as
    dark as the paper; else where the negative's ground suits the paper better. Coloured ink that shows stays as it is.
    """
    alone = _one_ink(pixels)
    shown = _over(pixels, _backdrop(pixels))
    ground = _commonest(shown)
    taken = kind
    if kind == "auto":
        lines = alone is not None or _is_line_drawing(shown - ground) or _is_broad_pen(shown, ground, paper)
        taken = LINES if lines else PAINTING
    inverted = invert == "yes" or (invert == "auto" and taken == LINES and _hides(pixels, shown, ground, paper, alone))

    page = _over(_negative(pixels) if inverted else pixels, paper)
    ground = _commonest(page)
    distance = _distance(page, ground)
    strokes, blank = distance[distance > _SEEN], distance[distance < _SEEN / 2]
    grain = min(3 * float(np.median(blank)), 0.05) if blank.size else 0.0
    strongest = max(float(np.percentile(strokes, 99.5)), 0.2) if strokes.size else 1.0
    bare = "alone" if alone is not None else _bare(pixels, page, paper)
    notes = _words(taken if kind == "auto" else None, inverted and invert == "auto", bare == "alone")
    return Style(taken, inverted, bare, ground, grain, strongest, notes)


def lay_on_paper(pixels: np.ndarray, paper: np.ndarray, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [h, w, 4] as RGB [h, w, 3] on `paper`, and their ink [h, w], both 0..1."""
    page = _over(_negative(pixels) if style.inverted else pixels, paper)
    if style.bare == "alone":
        return page, pixels[..., 3]
    if style.kind == LINES:
        ink = np.clip((_distance(page, style.ground) - style.grain) / (style.strongest - style.grain), 0, 1)
        return np.clip(page + (1 - ink[..., None]) * (paper - style.ground), 0, 1), ink
    if style.bare == "transparent":
        return page, pixels[..., 3]
    if style.bare == "paper coloured":
        return page, np.clip((_distance(page, paper) - _FAINT) / (_FULL - _FAINT), 0, 1)
    return page, np.ones(page.shape[:2], np.float32)


def _words(taken: str | None, turned: bool, alone: bool) -> tuple[str, ...]:
    """What was decided for the person: the kind, unless it was chosen, and an inversion."""
    notes = []
    if taken == LINES:
        notes.append(f"Taken for a line drawing{'' if alone else ': its own paper is exchanged for yours'}.")
    elif taken == PAINTING:
        notes.append("Taken for a colour painting: its colours are kept.")
    if turned:
        notes.append("Inverted, since its ink is meant for another paper: set invert to no to keep its colours.")
    return tuple(notes)


def _one_ink(pixels: np.ndarray) -> np.ndarray | None:
    """The colour [3] of a drawing that is one ink on transparency, or None for any other."""
    alpha = pixels[..., 3]
    if (alpha < 0.98).mean() <= 0.01 or alpha.max() < 0.02:
        return None
    solid = pixels[alpha > 0.9 * alpha.max()][:, :3]
    ink = np.median(solid, axis=0)
    return ink if (_distance(solid, ink) > _SEEN).mean() < 0.002 else None


def _hides(
    pixels: np.ndarray, shown: np.ndarray, ground: np.ndarray, paper: np.ndarray, alone: np.ndarray | None
) -> bool:
    """Whether a line drawing's ink would not show on this paper, or not as it was meant, unless it is inverted."""
    distance = _distance(shown, ground)
    strokes = shown[distance >= 0.7 * distance.max()]
    ink = np.median(strokes, axis=0) if alone is None else alone
    shows = _shows(ink, paper)
    if alone is not None or float((_votes(pixels) * (pixels[..., 3] < 0.5)).sum()) > 0.5 * float(_votes(pixels).sum()):
        return not shows and float(_distance(1 - ink, paper)) > float(_distance(ink, paper))
    if float(ink.max() - ink.min()) > _COLOURED and shows:
        return False
    return bool(abs(1 - _luma(ground) - _luma(paper)) < abs(_luma(ground) - _luma(paper)))


def _shows(ink: np.ndarray, paper: np.ndarray) -> bool:
    """Whether ink [3] can be told from paper [3]: by any channel if it is coloured, else by its brightness."""
    if float(ink.max() - ink.min()) > _COLOURED:
        return bool(_distance(ink, paper) > _SEEN)
    return bool(abs(_luma(ink) - _luma(paper)) > _CONTRAST)


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
    alpha = pixels[..., 3:]
    return pixels[..., :3] * alpha + paper * (1 - alpha)  # exact where nothing shows through


def _distance(page: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.abs(page - colour).max(axis=-1)


def _votes(pixels: np.ndarray) -> np.ndarray:
    """1 for each pixel [h, w], 4 in the outermost twentieth, for there a drawing leaves its paper."""
    height, width, _ = pixels.shape
    rim_y, rim_x = height // 20 + 1, width // 20 + 1
    votes = np.full((height, width), 4)
    votes[rim_y:-rim_y, rim_x:-rim_x] = 1
    return votes


def _commonest(page: np.ndarray) -> np.ndarray:
    """The colour [3] that has most votes."""
    cell = (page * 15.999).astype(np.int64) @ np.array([256, 16, 1])
    most = np.bincount(cell.ravel(), _votes(page).ravel()).argmax()
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
    return (beside < _SEEN).mean() >= 0.9 and _thinner_than(strokes, 0.024)


def _is_broad_pen(shown: np.ndarray, ground: np.ndarray, paper: np.ndarray) -> bool:
    """Whether this is black on white or white on black, with a pen up to a quarter of the picture broad.

    Only where the paper is of the pen's brightness: there a painting's mask would take the pen for bare paper.
    """
    brightness, chroma = _luma(shown), shown.max(axis=-1) - shown.min(axis=-1)
    dark = bool(_luma(ground) < 0.5)
    if not (_luma(ground) < 0.25 or _luma(ground) > 0.75) or ground.max() - ground.min() > 0.08:
        return False
    if (_luma(paper) < 0.5) == dark:
        return False
    strokes = _distance(shown, ground) > _SEEN
    if not 1e-4 < strokes.mean() < 0.5:
        return False
    opposite = (np.abs(brightness - _luma(ground)) > 0.6) & (chroma < 0.12)
    return opposite[strokes].mean() > 0.85 and _thinner_than(strokes, 0.25)


def _thinner_than(strokes: np.ndarray, share: float) -> bool:
    """Whether a square as wide as `share` of the picture's longer side hardly fits anywhere into `strokes` [h, w]."""
    side = 2 * max(2, round(share / 2 * max(strokes.shape))) + 1
    padded = np.pad(strokes, side // 2, mode="edge")
    sums = np.pad(padded.astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (inside == side * side).sum() < 0.1 * strokes.sum()
