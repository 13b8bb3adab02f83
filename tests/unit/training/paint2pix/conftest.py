"""Tiny networks and pictures for Paint2pix's trainings."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageDraw

from helpers.painters import tiny_painter


def place(seed: int, side: int = 32) -> Image.Image:
    """Sky over ground with a hut: a picture of a few colours that depend on the seed."""
    rng = np.random.default_rng(seed)
    sky, ground, hut = (tuple(map(int, rng.integers(0, 256, 3))) for _ in range(3))
    picture = Image.new("RGB", (side, side), sky)
    pen = ImageDraw.Draw(picture)
    pen.rectangle([0, side // 2 + seed % 4, side, side], ground)
    pen.rectangle([4 + seed % 8, 12, 12 + seed % 8, 22], hut)
    return picture


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """A folder of eight such photos."""
    folder = tmp_path_factory.mktemp("places")
    for seed in range(8):
        place(seed).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="session")
def tiny(room):
    return partial(tiny_painter, room)
