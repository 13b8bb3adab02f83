"""What every format gives: how large the drawing is, and a way to get a part of it at a size."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

Box = tuple[float, float, float, float]
Size = tuple[int, int]

LARGEST = 180_000_000
"""Pixels. Pillow's own limit; checked here as well because other packs switch Pillow's off."""


class Source(NamedTuple):
    """size: (width, height) as drawn. load(box, size): the part `box` of it (left, top, right, bottom, in those pixels)
    as a picture of mode RGB, RGBA or F (grey, 0..1), of `size` or larger: whatever is cheapest to make.
    """

    size: Size
    load: Callable[[Box, Size], Image.Image]
