"""Regions and attention maps as pictures with their words on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .palettes import Colour

SMALLEST = 512  # longer side of a picture that words are written on; smaller ones are enlarged
HEAT = ((0.05, 0.03, 0.20), (0.45, 0.10, 0.43), (0.87, 0.32, 0.23), (0.99, 0.70, 0.18), (0.99, 0.99, 0.75))


def show_regions(image: Tensor, masks: Sequence[Tensor], colours: Sequence[Colour], phrases: Sequence[str]) -> Tensor:
    """The pictures [B, H, W, 3] in pale grey, each region (mask [B, H, W]) in its colour with its words on it.

    Small pictures are enlarged to SMALLEST.
    """
    grey = image[..., :3].float().mean(-1, keepdim=True).expand(-1, -1, -1, 3)
    shown = 0.35 * grey + 0.6
    for mask, colour in zip(masks, colours, strict=True):
        shown = torch.lerp(shown, torch.tensor(colour, device=shown.device), 0.85 * mask[..., None].to(shown))
    pictures = []
    for number, picture in enumerate(shown):
        middles: dict[tuple[float, float], list[str]] = {}  # phrases of one colour share a place
        for mask, phrase in zip(masks, phrases, strict=True):
            if mask[number].amax() > 0:
                middles.setdefault(middle(mask[number]), []).append(phrase)
        pictures.append(_written(picture, [(place, ", ".join(words)) for place, words in middles.items()]))
    return torch.stack(pictures)


def show_heat(picture: Tensor, maps: Tensor, phrases: Sequence[str]) -> Tensor:
    """One picture [H, W, 3] under each map [P, H, W] in 0..1, with its phrase in the corner: [P, height, width, 3]."""
    stops = torch.tensor(HEAT)
    place = maps.clamp(0, 1) * (len(HEAT) - 1)
    low = place.long().clamp(max=len(HEAT) - 2)
    colours = torch.lerp(stops[low], stops[low + 1], (place - low)[..., None])
    mixed = 0.35 * picture.float().mean(-1, keepdim=True) + 0.65 * colours
    return torch.stack([_written(one, [((0, 0), phrase)]) for one, phrase in zip(mixed, phrases, strict=True)])


def middle(mask: Tensor) -> tuple[float, float]:
    """A point well inside a mask [H, W], as fractions of width and height (x, y): where most of the mask is nearby."""
    side = min(mask.shape)
    small = F.interpolate(mask[None, None].float(), scale_factor=min(1.0, 64 / side), mode="area")
    around = small
    for width in (3, 5, 9, 17):
        width = min(width, 2 * (min(small.shape[-2:]) // 2) - 1)
        if width >= 3:
            around = F.avg_pool2d(around, width, 1, width // 2)  # zeros beyond the edge
    best = int(torch.where(small > 0.5 * small.amax(), around, -1).argmax())
    height, width = small.shape[-2:]
    return (best % width + 0.5) / width, (best // width + 0.5) / height


def _written(picture: Tensor, words: Sequence[tuple[tuple[float, float], str]]) -> Tensor:
    """Words on a picture [H, W, 3], each at (x, y) as fractions of width and height."""
    from . import charts  # imported lazily: most sessions write on no picture

    flat = Image.fromarray((picture.clamp(0, 1) * 255).round().byte().cpu().numpy())
    scale = max(1.0, SMALLEST / max(flat.size))
    if scale > 1:
        flat = flat.resize((round(flat.width * scale), round(flat.height * scale)), Image.Resampling.NEAREST)
    places = [((x * flat.width, y * flat.height), word) for (x, y), word in words]
    written = charts.write_on(flat, places, max(14, round(max(flat.size) / 26)))
    return torch.from_numpy(np.array(written)).float() / 255
