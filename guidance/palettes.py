"""Colours of a stroke painting and the words for them: legends read, palettes proposed, masks made.

A legend has one line for each colour, `#3b6ea5: lake` or `navy: night sky`; what follows a # after the words is a
remark. Distances between colours are root mean squares of R, G and B in 0..1, so black and white are 1 apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageColor, ImageFilter
from torch import Tensor

Colour = tuple[float, float, float]
MOST, LEAST = 12, 0.005
"""A proposed palette has at most MOST colours, each of at least LEAST of the pictures."""


class Entry(NamedTuple):
    """A line of a legend: a colour in 0..1 and the words for it."""

    colour: Colour
    phrase: str


def read_legend(legend: str) -> list[Entry]:
    """The lines that have words, in their order. Empty lines and colours without words are passed over.

    ValueError: a line that is no colour, a colon and words.
    """
    entries = []
    for number, line in enumerate(legend.splitlines(), 1):
        name, colon, rest = line.strip().partition(":")
        if not name:
            continue
        try:
            colour = ImageColor.getrgb(name.strip())[:3]
        except ValueError as error:
            raise ValueError(
                f"Line {number} of the legend begins with {name.strip()!r}, which is no colour. Write one colour a "
                "line, such as #3b6ea5: lake, or navy: night sky."
            ) from error
        if not colon:
            raise ValueError(f"Line {number} of the legend has no colon. Write it as: {name.strip()}: its words")
        if phrase := rest.partition("#")[0].strip():
            red, green, blue = (value / 255 for value in colour)
            entries.append(Entry((red, green, blue), phrase))
    return entries


def propose(image: Tensor, tolerance: float) -> list[tuple[Colour, float]]:
    """The colours of the pictures [B, H, W, 3] and their shares, the largest first.

    The most frequent colour takes everything nearer than `tolerance`, then the most frequent of the rest, and so on.
    """
    values = (image[..., :3].clamp(0, 1) * 255).round().long().flatten(0, -2)
    codes, counts = torch.unique(values[:, 0] << 16 | values[:, 1] << 8 | values[:, 2], return_counts=True)
    colours = torch.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1).float() / 255
    found = []
    while len(found) < MOST and len(counts):
        chosen = colours[counts.argmax()]
        near = distance(colours, chosen) <= tolerance
        share = float(counts[near].sum() / len(values))
        if share >= LEAST:
            red, green, blue = chosen.tolist()
            found.append(((red, green, blue), share))
        colours, counts = colours[~near], counts[~near]
        if counts.sum() < LEAST * len(values):
            break
    return sorted(found, key=lambda one: -one[1])


def as_legend(palette: list[tuple[Colour, float]]) -> str:
    """A proposed palette as a legend that waits for its words."""
    return "\n".join(f"{hexadecimal(colour)}:  # {share:.0%} of the painting" for colour, share in palette)


def hexadecimal(colour: Colour) -> str:
    """#rrggbb"""
    return "#" + "".join(f"{round(value * 255):02x}" for value in colour)


def masks(image: Tensor, colours: list[Colour], tolerance: float, soft: float = 0.0) -> Tensor:
    """Where the pictures [B, H, W, 3] have each colour: [colours, B, H, W], 1 inside.

    A pixel belongs to the nearest of the colours, if that is within `tolerance`. soft: standard deviation, in pixels,
    of the blur at the borders.
    """
    apart = torch.stack([distance(image[..., :3], torch.tensor(c, device=image.device)) for c in colours])
    nearest = apart.argmin(0)
    own = torch.stack([(nearest == n) & (apart[n] <= tolerance) for n in range(len(colours))]).float()
    return _blurred(own, soft) if soft > 0 else own


def distance(pixels: Tensor, colour: Tensor) -> Tensor:
    """[..., 3] and [3] -> [...]."""
    return (pixels.float() - colour.float()).square().mean(-1).sqrt()


def _blurred(own: Tensor, soft: float) -> Tensor:
    blur = ImageFilter.GaussianBlur(soft)
    done = [
        torch.from_numpy(np.array(Image.fromarray(plane).filter(blur)))
        for plane in (own.flatten(0, 1) * 255).byte().cpu().numpy()
    ]
    return torch.stack(done).float().div(255).view(own.shape).to(own.device)
