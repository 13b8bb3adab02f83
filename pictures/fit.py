"""Batches that have to pair and pictures that have to share a size: the same rules for every node."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pair_batches(guide: Tensor, batch: int, what: str = "guide", whom: str = "latent") -> Tensor:
    """The guide [1 or batch, ...] as [batch, ...]: one serves all, equal batches pair. ValueError: any other batch."""
    if guide.shape[0] not in (1, batch):
        raise ValueError(
            f"The {what} has a batch of {guide.shape[0]} and the {whom} one of {batch}. "
            f"Give one {what} for all of them, or exactly {batch}."
        )
    return guide.expand(batch, *guide.shape[1:])


def fit_image(image: Tensor, height: int, width: int) -> Tensor:
    """IMAGE [B, H, W, C] at the working size [B, height, width, C], in [0, 1].

    Never squashed: if the aspects differ, the middle is cropped first, as with the host's own `crop: center`.
    """
    old_height, old_width = image.shape[1:3]
    if (old_height, old_width) == (height, width):
        return image
    cut_height = min(old_height, max(1, round(old_width * height / width)))
    cut_width = min(old_width, max(1, round(old_height * width / height)))
    top, left = (old_height - cut_height) // 2, (old_width - cut_width) // 2
    return scale_image(image[:, top : top + cut_height, left : left + cut_width], height, width)


def scale_image(image: Tensor, height: int, width: int) -> Tensor:
    """IMAGE [B, H, W, C] as [B, height, width, C] in [0, 1], each side scaled independently."""
    if image.shape[1:3] == (height, width):
        return image
    pixels = image.movedim(-1, 1).float()
    scaled = F.interpolate(pixels, (height, width), mode="bicubic", align_corners=False, antialias=True)
    return scaled.movedim(1, -1).clamp(0, 1)
