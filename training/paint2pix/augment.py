"""Adaptive discriminator augmentation for small sets of pictures (Karras et al., "Training Generative Adversarial
Networks with Limited Data", arXiv 2006.06676): real and made pictures are moved, turned and recoloured before they are
judged, as often as the discriminator overfits.

Section 2's pixel blits, geometric and colour transformations, each with probability p. All of a picture's moves are one
bilinear resampling with mirrored edges; the paper's filter bank, noise and cut-out are left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

TARGET = 0.6  # mean sign of D(real) above which it overfits
IMAGES = 500_000  # over which p may rise from 0 to 1
MOST = 0.8  # of p: above, pictures show their augmentation


def moved(p: float, sign: float, images: int) -> float:
    """The next p after this many pictures with a mean sign of D(real), -1 to 1 (section 2.3 of the paper)."""
    return min(MOST, max(0.0, p + math.copysign(images / IMAGES, sign - TARGET)))


def augmented(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Pictures [B,C,S,S] in [-1,1], each transformation with probability p; the generator is on the CPU."""
    if p <= 0:
        return x
    count = len(x)
    grid = affine_grid(_places(count, p, generator, x.shape[-1]).to(x.device), list(x.shape), align_corners=False)
    x = grid_sample(x.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if x.shape[1] != 3:
        return x
    colour = _colours(count, p, generator).to(x.device)
    return torch.einsum("bij,bjhw->bihw", colour[:, :, :3], x) + colour[:, :, 3, None, None]


def _places(count: int, p: float, generator: torch.Generator, side: int) -> Tensor:
    """[B,2,3]: from places in the made picture to places in the given one, in units of half a side."""

    def chance(share: float = 1.0) -> Tensor:
        return (torch.rand(count, generator=generator) < p * share).float()

    def normal(width: float) -> Tensor:
        return torch.randn(count, generator=generator) * width

    flip = 1 - 2 * chance() * (torch.rand(count, generator=generator) < 0.5)
    quarter = chance() * torch.randint(0, 4, (count,), generator=generator) * (math.pi / 2)
    turn = quarter + chance() * (2 * torch.rand(count, generator=generator) - 1) * math.pi
    scale = torch.exp2(chance() * normal(0.2))
    wide = torch.exp2(chance() * normal(0.2))
    shift = torch.stack([chance() * normal(0.25), chance() * normal(0.25)], 1)  # an eighth of the side
    whole = torch.randint(-side // 8, side // 8 + 1, (count, 2), generator=generator) * (2 / side)
    shift = shift + chance()[:, None] * whole
    cos, sin = turn.cos(), turn.sin()
    first = torch.stack([cos * flip, -sin, sin * flip, cos], 1).view(-1, 2, 2)
    sizes = torch.stack([scale * wide, scale / wide], 1)
    return torch.cat([first * sizes[:, None], shift[:, :, None]], 2)


def _colours(count: int, p: float, generator: torch.Generator) -> Tensor:
    """[B,3,4]: brightness, contrast, mirrored luma, hue and saturation."""

    def chance() -> Tensor:
        return (torch.rand(count, generator=generator) < p).float()

    def normal() -> Tensor:
        return torch.randn(count, generator=generator)

    axis = torch.full((3, 1), 1 / math.sqrt(3))
    grey, unit = axis @ axis.T, torch.eye(3)
    brightness, contrast = chance() * normal() * 0.2, torch.exp2(chance() * normal() * 0.5)
    mirrored = chance() * (torch.rand(count, generator=generator) < 0.5)
    hue = chance() * (2 * torch.rand(count, generator=generator) - 1) * math.pi
    saturation = torch.exp2(chance() * normal())
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)

    def each(values: Tensor) -> Tensor:
        return values[:, None, None]

    turned = grey + each(hue.cos()) * (unit - grey) + each(hue.sin()) * across  # about the grey axis
    matrix = grey + each(saturation) * (unit - grey)
    matrix = matrix @ turned @ (unit - 2 * each(mirrored) * grey) * each(contrast)
    return torch.cat([matrix, brightness[:, None, None].expand(-1, 3, 1)], 2)
