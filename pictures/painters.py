"""Painters: a photograph painted in a few flat strokes.

`simulate_strokes` is the stroke simulator with which SDEdit (Meng et al., ICLR 2022, the evaluation on synthetic
strokes) and GradOP (Singh et al., CVPR 2023) make their guides: a median filter of 23 pixels on a 256x256 picture, then
an adaptive palette of 6 colours. `Painter` is GradOP's painting function, through which gradients pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter

REFERENCE = 256
"""Side of the square on which the published filter size is counted."""

GAUSSIAN, MEDIAN, NONE = "gaussian", "median + palette", "none"
PAINTERS = (GAUSSIAN, MEDIAN, NONE)


@dataclass(frozen=True)
class Painter:
    """What GradOP compares with a painting: a picture as its "autonomous painter" would paint it.

    gaussian: a blur, the released code's painter. size: its sigma in pixels of the whole picture; 0: 7 on as many
    pixels as 512x512, as published, and in proportion on others, but at least 7/8 of a latent pixel, which is the
    published size; below that, the loss would want every latent pixel flat.
    median + palette: `simulate_strokes` on at most as many pixels as 256x256. size: the filter there, in pixels; 0: 23.
    colours: of its palette. The gradient passes straight through, as if nothing had been painted.
    none: the picture itself.
    """

    kind: str = GAUSSIAN
    size: float = 0.0
    colours: int = 6

    def __call__(self, image: torch.Tensor, share: float = 1.0, cell: float = 1.0) -> torch.Tensor:
        """The picture [B, 3, H, W] in 0..1, painted: [B, 3, h, w]. share: this picture's side over the whole one's.
        cell: side of a latent pixel in this picture's pixels."""
        if self.kind == GAUSSIAN:
            published = 7 * math.sqrt(image.shape[-2] * image.shape[-1]) / 512
            return blur(image, self.size * share or max(published, 7 / 8 * cell))
        if self.kind == MEDIAN:
            return self._flat(image)
        return image

    def _flat(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        scale = min(1.0, REFERENCE / math.sqrt(height * width))
        small = image
        if scale < 1:
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            small = torch.nn.functional.interpolate(image, size, mode="bilinear", antialias=True)
        median = 2 * (round(self.size or 23) // 2) + 1
        painted = simulate_strokes(small.detach().movedim(1, -1), median, self.colours).movedim(-1, 1)
        return small + (painted.to(small) - small).detach()


def blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of [B, C, H, W], mirrored at the edges without repeating them; an odd kernel about 5 sigma wide."""
    from kornia.filters import gaussian_blur2d

    wide = 2 * round((5 * sigma - 1) / 2) + 1  # 35 for the published 7
    kernel = [max(1, min(wide, 2 * side - 1)) for side in image.shape[-2:]]
    return gaussian_blur2d(image, (kernel[0], kernel[1]), (sigma, sigma), "reflect")


def simulate_strokes(
    image: torch.Tensor, median: int = 23, colours: int = 6, reference: int = REFERENCE
) -> torch.Tensor:
    """Flat strokes [B, H, W, 3] in 0..1 of the pictures `image` [B, H, W, 3] in 0..1; at most `colours` colours each.

    The filter runs on a copy with as many pixels as 256x256, whatever the picture's size and aspect, so a stroke covers
    the same fraction of a thumbnail and of a poster, and the cost hardly grows. A 256x256 picture gets exactly Pillow's
    `MedianFilter(median)` and `quantize(colours)`. median: odd, 1 = no filter. colours: 2 to 256. reference: another
    side than 256 to count the filter on, for many pictures in less time.
    """
    if median < 1 or median % 2 == 0:
        nearest = max(1, median + 1)
        raise ValueError(f"The median size must be an odd number of pixels, 1 or more, got {median}. Try {nearest}.")
    if not 2 <= colours <= 256:
        raise ValueError(f"A stroke painting has 2 to 256 colours, got {colours}.")
    painted = torch.empty_like(image[..., :3])
    for picture, painting in zip(image[..., :3], painted, strict=True):
        painting.copy_(_paint(picture, median, colours, reference))
    return painted


def _paint(picture: torch.Tensor, median: int, colours: int, reference: int) -> torch.Tensor:
    height, width, _ = picture.shape
    scale = reference / math.sqrt(height * width)
    small = _resize(picture, max(1, round(height * scale)), max(1, round(width * scale)))
    flat = Image.fromarray(small.clamp(0, 1).mul(255).round().byte().cpu().numpy())
    flat = flat.filter(ImageFilter.MedianFilter(median)).quantize(colours)
    palette = torch.tensor(flat.getpalette("RGB")).view(-1, 3) / 255
    labels = torch.from_numpy(_resize_labels(np.array(flat), (width, height)))
    return torch.nn.functional.embedding(labels.int(), palette)


def _resize(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[H, W, 3] to [height, width, 3], float32; unchanged if it has that size."""
    if picture.shape[:2] == (height, width):
        return picture.float()
    batch = picture.float().movedim(-1, 0)[None]
    batch = torch.nn.functional.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    return batch[0].movedim(0, -1)


def _resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Palette numbers [h, w] at `size` (width, height): each pixel gets the colour that covers most of it.

    Resizing the colours instead would leave a seam of a third colour between two strokes.
    """
    if labels.shape == size[::-1]:
        return labels
    winner = np.zeros(size[::-1], np.uint16)  # coverage in the high byte, palette number in the low one
    for label in np.unique(labels):
        covered = Image.fromarray((labels == label).astype(np.uint8) * 255)
        if size[0] > labels.shape[1]:
            covered = covered.filter(ImageFilter.GaussianBlur(1))  # otherwise the edges show the small picture's pixels
        share = np.asarray(covered.resize(size, Image.Resampling.BILINEAR), np.uint16)
        np.maximum(winner, (share << 8) | label, out=winner)
    return winner & 255
