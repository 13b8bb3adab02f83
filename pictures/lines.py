"""Telling lines on paper from paintings and photos, where a node is given a picture and not a file.

pictures/drawings/ink.py judges files, more closely, because there is an ink to cut out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NEAR = 0.12  # largest difference of a channel at which a pixel still counts as paper
MOST_BARE, LEAST_BARE = 0.5, 0.3  # shares of paper: more, and it may be a line drawing; less, and it is none
GREY, COLOURED = 0.02, 0.1  # mean of largest minus smallest channel: less is ink alone, more is paint
LINES_ALONE = (
    "These are lines without colours. Noise to t0 keeps areas of colour and loses thin lines: paint areas, or use "
    "Shape Inversion, which follows lines."
)


class Look(NamedTuple):
    """paper: share of the pixels of the commonest colour. colour: mean of the largest minus the smallest channel."""

    paper: float
    colour: float


def look(picture: Tensor) -> Look:
    """The look of a picture [H, W, 3], 0 to 1."""
    pixels = picture.reshape(-1, 3).float().cpu().clamp(0, 1)
    cells = (pixels * 15.999).long() @ torch.tensor([256, 16, 1])
    ground = pixels[cells == torch.bincount(cells).argmax()].median(0).values
    paper = (pixels - ground).abs().amax(1) < NEAR
    return Look(float(paper.float().mean()), float((pixels.amax(1) - pixels.amin(1)).mean()))


def is_lines_alone(picture: Tensor) -> bool:
    """Whether a picture [H, W, 3] is grey lines on much paper. In doubt it is not; neither is an empty sheet."""
    seen = look(picture)
    return MOST_BARE < seen.paper < 1 and seen.colour < GREY


def is_no_line_drawing(picture: Tensor) -> bool:
    """Whether a picture [H, W, 3] is a photo or a painting. In doubt it is not."""
    seen = look(picture)
    return seen.paper < LEAST_BARE or seen.colour > COLOURED
