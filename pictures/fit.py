"""Batches that have to pair and pictures that have to share a size: the same rules for every node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def as_rgb(image: Any, what: str = "image", before: int = 0) -> Tensor:
    """An IMAGE [B, H, W, 1, 3 or 4] as [B, H, W, 3]: grey is repeated, transparency dropped.

    what: the input's name, for messages. before: how many pictures precede it in a list.
    ValueError: another shape or type, no pixels, or NaN or infinite ones.
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"{what} must be an IMAGE with values from 0 to 1, got {kind}. Connect a picture.")
    if image.ndim != 4 or image.shape[3] not in (1, 3, 4):
        raise ValueError(
            f"{what} must have the shape [batch, height, width, channels] with 1, 3 or 4 channels, got "
            f"{list(image.shape)}. Connect an IMAGE."
        )
    _check_values(image, what, before)
    return image[..., :3].expand(-1, -1, -1, 3)


def all_rgb(images: Iterable[Any], what: str) -> list[Tensor]:
    """as_rgb of each batch in a list."""
    done: list[Tensor] = []
    for image in images:
        done.append(as_rgb(image, what, sum(map(len, done))))
    return done


def as_mask(mask: Any, what: str = "mask") -> Tensor:
    """A MASK [H, W], [B, H, W] or [B, 1, H, W] as [B, H, W], float32.

    what: the input's name, for messages. ValueError: another shape, no pixels, or NaN or infinite pixels.
    """
    if not isinstance(mask, Tensor) or mask.is_complex():
        raise ValueError(f"{what} must be a MASK, got {type(mask).__name__}. Connect a mask.")
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    if mask.ndim not in (2, 3):
        raise ValueError(f"{what} must have the shape [batch, height, width], got {list(mask.shape)}. Connect a MASK.")
    mask = mask[None] if mask.ndim == 2 else mask
    _check_values(mask, what)
    return mask.float()


def _check_values(pixels: Tensor, what: str, before: int = 0) -> None:
    if pixels.numel() == 0:
        raise ValueError(f"{what} is empty, its shape is {list(pixels.shape)}. Connect a picture.")
    bad = (~pixels.isfinite()).flatten(1).any(1).nonzero()
    if len(bad):
        number = before + int(bad[0]) + 1
        raise ValueError(f"Picture {number} of {what} contains NaN or infinite values. Remove it, or fix what made it.")


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
