"""A painting in layers, as Sketch Canvas keeps it: strokes with transparency, above a ground."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .drawings.raster import open_raster, to_rgba
from .fit import fit_image, scale_image
from .palettes import Colour, Entry, masks

TOLERANCE = 0.1
"""How far a stroke's colour may be from one of the legend; as in Regions from Strokes."""


def read_layer(path: Path, height: int, width: int) -> Tensor:
    """A picture file as a layer [height, width, 4], 0 to 1, alpha not multiplied in; a photo has alpha 1 everywhere.

    Another size is scaled until it covers the layer, and cut at the sides. ValueError: it cannot be read.
    """
    source = open_raster(path)
    wide, high = source.size
    pixels = torch.from_numpy(to_rgba(source.load((0, 0, wide, high), (int(wide), int(high)))))[None]
    if pixels.shape[1:3] == (height, width):
        return pixels[0]
    pixels[..., :3] *= pixels[..., 3:]  # so that the colour of what is transparent does not bleed into edges
    fitted = fit_image(pixels, height, width)[0]
    fitted[..., :3] /= fitted[..., 3:].clamp_min(1e-6)
    return fitted.clamp(0, 1)


def bare(paper: Colour, height: int, width: int) -> Tensor:
    """Paper of one colour, as IMAGE [1, height, width, 3]."""
    return torch.tensor(paper).expand(1, height, width, 3).clone()


def lay_over(layer: Tensor, ground: Tensor) -> Tensor:
    """A layer [H, W, 4] over a ground, IMAGE [B, H, W, 3]."""
    colour, alpha = layer[..., :3], layer[..., 3:]
    return colour * alpha + ground * (1 - alpha)


def stroke_masks(layer: Tensor, entries: list[Entry]) -> list[tuple[str, Tensor]]:
    """Where a layer [H, W, 4] is painted in each colour of a legend: (words, mask [H, W] in 0..1), in its order.

    A stroke belongs to the nearest colour within TOLERANCE; its mask is its opacity, so soft edges stay soft. Words
    whose colour is not painted are left out. Lines with the same colour get the same mask.
    """
    if not entries:
        return []
    colours = list(dict.fromkeys(one.colour for one in entries))
    found = masks(layer[None, ..., :3], colours, TOLERANCE)[:, 0] * layer[..., 3]
    of_colour = dict(zip(colours, found, strict=True))
    return [(one.phrase, of_colour[one.colour]) for one in entries if of_colour[one.colour].max() >= 0.5]


def small(image: Tensor, side: int) -> Tensor:
    """IMAGE with a longer side of at most `side` pixels, for a preview."""
    height, width = image.shape[1:3]
    share = min(1.0, side / max(height, width))
    return scale_image(image, max(1, round(height * share)), max(1, round(width * share)))
