"""What every format gives: how large the drawing is, and a way to get a part of it at a size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

Box = tuple[float, float, float, float]
Size = tuple[int, int]

LARGEST = 180_000_000
"""Pixels. About Pillow's own limit; checked here as well because other packs switch Pillow's off."""


class Source(NamedTuple):
    """size: (width, height) as drawn, in pixels, whole ones or not. load(box, size): the part `box` of it (left, top,
    right, bottom, in those pixels) as a picture of mode RGB, RGBA or F (grey, 0..1), of `size` or larger: whatever is
    cheapest to make. kind: what it cannot but be, where the format says so. notes: what a person should know of it.
    """

    size: tuple[float, float]
    load: Callable[[Box, Size], Image.Image]
    kind: str | None = None
    notes: tuple[str, ...] = ()


def name_of(path: Path) -> str:
    """The file's name for a sentence. A name that is not UTF-8 would break logs and sockets: its bytes are escaped, as
    files.quote does; this folder depends on nothing outside."""
    return path.name.encode("utf-8", "backslashreplace").decode("utf-8")
