"""Which part of a drawing lands where on the canvas. Nothing is ever squashed: only scaled, cropped or padded."""

from __future__ import annotations

from typing import NamedTuple

from .source import LARGEST, Box, Size

KEEP, PAD, CROP = "keep aspect", "square, pad with paper", "square, crop"
FRAMES = (KEEP, PAD, CROP)


class Fit(NamedTuple):
    """The part `box` of the drawing becomes `inner` pixels in the middle of a sheet of `canvas` pixels."""

    box: Box
    inner: Size
    canvas: Size


def fit(drawn: tuple[float, float], size: int, frame: str) -> Fit:
    """How a drawing of `drawn` pixels is framed at `size` (0 = as drawn, else a multiple of 8: the longer side).

    "keep aspect" rounds the shorter side to a multiple of 8 and crops what then overhangs, a few pixels; only a strip
    thinner than 8 pixels is padded instead.
    """
    if size < 0 or size % 8:
        nearest = max(8, 8 * round(size / 8))
        raise ValueError(f"The size must be 0 (as drawn) or a multiple of 8, got {size}. Try {nearest}.")
    if frame not in FRAMES:
        raise ValueError(f"The frame must be one of {', '.join(map(repr, FRAMES))}, got {frame!r}.")
    width, height = drawn
    short = size * min(drawn) / max(drawn)
    if frame == KEEP:
        other = max(8, 8 * round(short / 8))
        as_drawn = max(1, round(width)), max(1, round(height))
        canvas = as_drawn if size == 0 else (size, other) if width >= height else (other, size)
    else:
        side = size or max(1, round(max(drawn) if frame == PAD else min(drawn)))
        canvas = (side, side)
    if canvas[0] * canvas[1] > LARGEST:
        smaller = "a smaller" if size else "a"
        raise ValueError(f"The picture would be {canvas[0]} x {canvas[1]} pixels, too many. Set {smaller} size.")
    if frame == PAD or (frame == KEEP and 0 < short < 8):
        scale = min(canvas[0] / width, canvas[1] / height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        return Fit((0, 0, width, height), inner, canvas)
    scale = max(canvas[0] / width, canvas[1] / height)
    seen = min(width, canvas[0] / scale), min(height, canvas[1] / scale)
    left, top = (width - seen[0]) / 2, (height - seen[1]) / 2
    return Fit((left, top, left + seen[0], top + seen[1]), canvas, canvas)
