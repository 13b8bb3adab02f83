"""Faces cut out upright and put back: the crop of FFHQ (Karras et al., StyleGAN, appendix A), which networks of faces
were trained on.

Points are (x, y) in pixels, centres at halves as torch counts them with align_corners off. Left and right are the
person's own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .fit import scale_image

EYES, FACE = 2.0, 1.8  # half the crop's side: the larger of so many eye distances and eye-to-mouth distances
DOWN = 0.1  # how far below the eyes the crop's centre is, in eye-to-mouth distances


class Square(NamedTuple):
    """A square in a picture, perhaps turned: its centre, and the vector from there to the middle of its right side."""

    centre: np.ndarray
    across: np.ndarray

    @property
    def side(self) -> float:
        return float(2 * np.hypot(*self.across))

    @property
    def down(self) -> np.ndarray:
        """From the centre to the middle of the lower side."""
        return np.array([-self.across[1], self.across[0]])


def face_square(right_eye: np.ndarray, left_eye: np.ndarray, lips: np.ndarray) -> Square:
    """FFHQ's crop of a face, from points [n,2] around each eye and of the lips.

    The mouth is between the two points of the lips that are furthest apart along the line of the eyes, its corners.
    """
    right, left = right_eye.mean(0), left_eye.mean(0)
    eyes, between = (right + left) / 2, left - right
    along = lips @ between
    down = (lips[along.argmin()] + lips[along.argmax()]) / 2 - eyes
    across = between - np.array([-down[1], down[0]])  # a face that looks down or sideways has a skewed cross
    across = across / np.hypot(*across) * max(EYES * np.hypot(*between), FACE * np.hypot(*down))
    return Square(eyes + DOWN * down, across)


def cut_square(image: Tensor, square: Square, side: int) -> Tensor:
    """[1,side,side,C] of an IMAGE [1,H,W,C]: what is in the square. Outside of the picture, its mirror image."""
    shrunk = max(1.0, square.side / side)  # averaged first: sampling alone would skip pixels
    height, width = (max(1, round(length / shrunk)) for length in image.shape[1:3])
    small = scale_image(image, height, width) if shrunk > 1 else image
    middle = (torch.arange(side) + 0.5) / side * 2 - 1
    down, across = torch.meshgrid(middle, middle, indexing="ij")
    points = torch.stack([across, down], -1) @ torch.tensor(np.stack([square.across, square.down])).float()
    points = points + torch.tensor(square.centre).float()
    return _sampled(small, points / torch.tensor(image.shape[2:0:-1]) * 2 - 1, "reflection")


def put_square(image: Tensor, face: Tensor, square: Square, feather: float) -> tuple[Tensor, Tensor]:
    """An IMAGE [1,H,W,3] with a face [1,S,S,3] in this square, and the MASK [1,H,W] of how much of it shows.

    feather: width of the soft edge, 0 to 1: the share of the way from the side to the centre. Where the mask is 0 the
    picture is the same to the bit.
    """
    height, width = image.shape[1:3]
    if square.side < face.shape[1]:
        face = scale_image(face, *(max(1, round(square.side)),) * 2)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    points = torch.stack([x, y], -1) - torch.tensor(square.centre).float()
    axes = torch.tensor(np.stack([square.across, square.down], 1) * (2 / square.side) ** 2).float()
    points = points @ axes  # -1 to 1 inside of the square
    inside = 1 - points.abs().amax(-1)
    mask = (inside > 0).float() if feather == 0 else (inside / feather).clamp(0, 1)
    mask = mask * mask * (3 - 2 * mask)  # smooth at both ends
    shown = mask[..., None]
    pasted = torch.lerp(image, _sampled(face, points, "border").to(image), shown[None].to(image))
    return torch.where(shown > 0, pasted, image), mask[None]


def _sampled(image: Tensor, points: Tensor, outside: str) -> Tensor:
    """IMAGE [1,H,W,C] at points [h,w,2] in [-1,1]."""
    pixels = image.movedim(-1, 1).float()
    found = F.grid_sample(pixels, points[None], mode="bilinear", padding_mode=outside, align_corners=False)
    return found.movedim(1, -1)
