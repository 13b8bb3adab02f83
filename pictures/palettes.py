"""Colours of a stroke painting and the words for them: reads legends, proposes palettes, makes masks.

A legend has one line per colour, `#3b6ea5: lake` or `navy: night sky`; what follows a # after the words is a comment.
Distances between colours are root mean squares over R, G and B in 0..1, so black and white are 1 apart.
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
CANDIDATES = 4096
"""The most colours that are compared one by one."""


class Entry(NamedTuple):
    """A line of a legend: a colour in 0..1 and the words for it."""

    colour: Colour
    phrase: str


def read_legend(legend: str) -> list[Entry]:
    """The lines that have words, in order. Empty lines and colours without words are skipped.

    ValueError: a line that is not a colour, a colon and words.
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
                f"Line {number} of the legend begins with {name.strip()!r}, which is not a colour. Write one colour "
                "per line, such as #3b6ea5: lake, or navy: night sky."
            ) from error
        if not colon:
            raise ValueError(f"Line {number} of the legend has no colon. Write it as: {name.strip()}: its words")
        if phrase := rest.partition("#")[0].strip():
            red, green, blue = (value / 255 for value in colour)
            entries.append(Entry((red, green, blue), phrase))
    return entries


def propose(image: Tensor, tolerance: float) -> list[tuple[Colour, float]]:
    """The colours of the pictures [B, H, W, 3] and the fractions that they cover, largest first.

    The most frequent colour takes everything within `tolerance`, then the most frequent of the rest does, and so on.
    With more than CANDIDATES colours, the most frequent one of a small cube stands for all colours in the cube. A
    colour's fraction is what is within `tolerance` of it and nearest to it: the part that `masks` would give it.
    """
    values = (image[..., :3].clamp(0, 1) * 255).round().long().flatten(0, -2)
    codes, counts = torch.unique(values[:, 0] << 16 | values[:, 1] << 8 | values[:, 2], return_counts=True)
    colours, least = _split(codes).float() / 255, LEAST * len(values)
    modes, most, weights = _candidates(codes, counts)
    rest, chosen = _split(modes).float() / 255, []
    while len(chosen) < MOST and weights.sum() >= least:
        first = rest[most.argmax()]
        near = distance(rest, first) <= tolerance
        if weights[near].sum() >= least:
            chosen.append(first)
        rest, most, weights = rest[~near], most[~near], weights[~near]
    if not chosen:
        return []
    apart, nearest = torch.stack([distance(colours, one) for one in chosen]).min(0)
    own = torch.zeros(len(chosen), dtype=torch.long, device=counts.device)
    own.index_add_(0, nearest, counts * (apart <= tolerance))
    found = []
    for one, count in zip(chosen, own.tolist(), strict=True):
        red, green, blue = one.tolist()
        if count >= least:
            found.append(((red, green, blue), count / len(values)))
    return sorted(found, key=lambda one: -one[1])


def _candidates(codes: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """At most CANDIDATES of the colours 0xrrggbb [N]: (codes, how often each occurs, how often all in its cube do)."""
    modes, most, weights = codes, counts, counts
    bits = 8
    while len(modes) > CANDIDATES:
        bits -= 1  # of each channel; 4 leave 4096 cubes
        high = 0x010101 * (0xFF << 8 - bits & 0xFF)
        cubes, cube = torch.unique(modes & high, return_inverse=True)
        weights = torch.zeros_like(cubes).index_add_(0, cube, weights)
        rank = most << 24 | 0xFFFFFF - modes  # the most frequent in a cube; of equally frequent ones the smallest code
        best = torch.zeros_like(cubes).scatter_reduce_(0, cube, rank, "amax")
        modes, most = 0xFFFFFF - (best & 0xFFFFFF), best >> 24
    return modes, most, weights


def _split(codes: Tensor) -> Tensor:
    """0xrrggbb [N] -> [N, 3]"""
    return torch.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1)


def as_legend(palette: list[tuple[Colour, float]]) -> str:
    """A proposed palette as a legend whose words are still to be filled in."""
    return "\n".join(f"{hexadecimal(colour)}:  # {share:.0%} of the painting" for colour, share in palette)


def hexadecimal(colour: Colour) -> str:
    """#rrggbb"""
    return "#" + "".join(f"{round(value * 255):02x}" for value in colour)


def masks(image: Tensor, colours: list[Colour], tolerance: float, soft: float = 0.0) -> Tensor:
    """Where the pictures [B, H, W, 3] have each colour: [colours, B, H, W], 1 inside.

    A pixel belongs to the nearest of the colours, if that is within `tolerance`. soft: standard deviation of the blur
    at the borders, in pixels.
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
