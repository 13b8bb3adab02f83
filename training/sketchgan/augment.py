"""How the sketch GAN's pictures are cut, turned and erased (arXiv 2012.09290). Random numbers come from outside."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from ..photos import MARGIN, Store, tensor

WIDE = 1.3  # pictures that are turned are resized to this times the side, so that few corners are empty
TURN = 30.0  # degrees to either side
ERASED = 0.8  # probability that each of two rectangles is erased
AREA, RATIO = (0.02, 0.1), (0.3, 3.3)  # their fraction of the picture, and height over width


class Corner(NamedTuple):
    top: int
    left: int


class Turn(NamedTuple):
    """Of the turned picture: where it is cut out of the larger one, by how many degrees it is turned; mirrored?"""

    corner: Corner
    angle: float
    mirrored: bool


def draw_corner(rng: np.random.Generator, side: int, larger: int | None = None) -> Corner:
    """Of a square of `side` in one of `larger` (None: MARGIN times as large)."""
    most = (larger or int(MARGIN * side)) - side
    return Corner(*map(int, rng.integers(0, most + 1, 2)))


def draw_turn(rng: np.random.Generator, side: int) -> Turn:
    corner = draw_corner(rng, side, int(WIDE * side))
    return Turn(corner, float(rng.uniform(-TURN, TURN)), bool(rng.random() < 0.5))


def cut(picture: np.ndarray, corner: Corner, side: int, mirrored: bool = False) -> np.ndarray:
    """The square at a corner, of the mirrored picture where that is asked."""
    whole = picture[:, ::-1] if mirrored else picture
    return whole[corner.top : corner.top + side, corner.left : corner.left + side]


def turned(picture: np.ndarray, turn: Turn, side: int, mirrored: bool = False) -> np.ndarray:
    """The square at turn.corner, turned about its middle by nearest pixels with black corners, then mirrored or not."""
    square = np.ascontiguousarray(cut(picture, turn.corner, side, mirrored))
    around = np.asarray(Image.fromarray(square).rotate(turn.angle, Image.Resampling.NEAREST))
    return around[:, ::-1] if turn.mirrored else around


def erased(sketch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy with up to two white rectangles."""
    sketch = sketch.copy()
    height, width = sketch.shape
    for _ in range(2):
        if rng.random() >= ERASED:
            continue
        for _ in range(10):  # until one fits
            area = height * width * rng.uniform(*AREA)
            ratio = np.exp(rng.uniform(*np.log(RATIO)))
            high, wide = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if high < height and wide < width:
                top, left = rng.integers(0, height - high + 1), rng.integers(0, width - wide + 1)
                sketch[top : top + high, left : left + wide] = 255
                break
    return sketch


def pair(store: Store, which: int, i: int, corner: Corner) -> tuple[Tensor, Tensor]:
    """A photo and its sketch of one set, cut out at the same place."""
    square = partial(cut, corner=corner, side=store.side)
    return tensor(square(store.photo(i))), tensor(square(store.sketch(which, i)))


def self_supervised(
    store: Store, i: int, mirrored: bool, corner: Corner, turn: Turn, rng: np.random.Generator
) -> list[Tensor]:
    """Of one picture, all mirrored or all not: turned, as it is, and four sketches of the last set: as drawn, bold,
    erased, erased and bold. All but the first are cut out at the same place."""
    square = partial(cut, corner=corner, side=store.side, mirrored=mirrored)
    last = store.pictures.sets - 1
    plain, bold = square(store.sketch(last, i)), square(store.bold(last, i))
    around = turned(store.photo(i, int(WIDE * store.side)), turn, store.side, mirrored)
    parts = (around, square(store.photo(i)), plain, bold, erased(plain, rng), erased(bold, rng))
    return [tensor(part) for part in parts]
