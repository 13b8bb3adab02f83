"""Lines on paper, paintings and photos are told apart; in doubt, nothing is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import PACK

SAMPLES = PACK / "starter" / "samples"
LINES = ("line drawing - lake and peaks.png", "line drawing - three conifers.png", "mountains and cabin.svg")
PAINTED = (
    *("mountain lake.png", "desert sunset.png", "moonlit cabin.png", "green hills.png", "two shores.png"),
    *("photo - evening lake.png", "photo - moonlit peaks.png", "photo - mountain meadow.png", "photo - quiet lake.png"),
)
STROKES = "strokes - cabin and trees.png"  # a few strokes of colour on bare paper


@pytest.fixture(scope="module")
def read(room):
    def read(name, size=64):
        return torch.from_numpy(room("pictures.drawings").read_drawing(SAMPLES / name, size=size).rgb)

    return read


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("name", LINES)
def test_line_drawings(room, read, name, size):
    lines = room("pictures.lines")
    assert lines.is_lines_alone(read(name, size))
    assert not lines.is_no_line_drawing(read(name, size))


@pytest.mark.parametrize("name", PAINTED)
def test_paintings_and_photos(room, read, name):
    lines = room("pictures.lines")
    assert lines.is_no_line_drawing(read(name))
    assert not lines.is_lines_alone(read(name))


def test_in_doubt_nothing_is_said(room, read):
    """Strokes of colour on paper, an empty sheet, a grey ramp, a picture of one pixel, not a number."""
    lines = room("pictures.lines")
    assert not lines.is_lines_alone(read(STROKES))
    assert not lines.is_no_line_drawing(read(STROKES))
    ramp = torch.linspace(0, 1, 64)[:, None, None].expand(64, 64, 3)
    for picture in (torch.ones(8, 8, 3), torch.zeros(1, 1, 3), ramp):
        assert not lines.is_lines_alone(picture)


def test_measures(room):
    """A quarter red on white: three quarters of paper, a quarter of full colour."""
    picture = np.ones((8, 8, 3), np.float32)
    picture[:4, :4, 1:] = 0
    look = room("pictures.lines").look(torch.from_numpy(picture))
    assert look == pytest.approx((0.75, 0.25))
