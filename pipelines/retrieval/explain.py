"""Why a photo matches a sketch: which patches belong together, and where the retrieval token looks.

Correspondence is the cosine of every sketch token with every photo token; both belong to patches, in the order of the
rows of their grids. The 49 anchors that the relation network compares are no regions of a picture, so nothing here is
drawn from them.
"""

from __future__ import annotations

import colorsys
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from ...networks.retrieval.cross import anchor_cosines
from ...pictures import charts
from ...pictures.overlays import show_heat
from ...pictures.retrieval import photo_for_retrieval

SHOWN = 448  # side of a picture made here, at least, in pixels
HEAT = 192  # longer side of a picture on the sheet of attention
GAP = 32  # between two pictures
INK = 0.02  # mean darkness of a patch from which on it counts as drawn
LONGEST = 4  # times as wide as high is a photo beside a sketch, at most: a strip of pixels would fill the memory
WEAK = 0.66  # hue of the weakest line, blue; the strongest is red
HALO = "#ffffff"


class Match(NamedTuple):
    """A sketch and a photo as a network sees them.

    cosines [N,N]: how alike each sketch patch (row) and photo patch are, -1 to 1; -1 for patches that the network
    drops. ink [N]: mean darkness of each sketch patch, 0 to 1. attention: [heads,N] of each, how much [Ret] attends to
    each patch in the last layer."""

    cosines: Tensor
    ink: Tensor
    sketch_attention: Tensor
    photo_attention: Tensor

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return round(len(self.ink) ** 0.5)

    @property
    def cell(self) -> int:
        """Side of a patch in the pictures made here, in pixels."""
        return -(-SHOWN // self.grid)

    def best(self) -> tuple[Tensor, Tensor]:
        """[N] each: the photo patch that every sketch patch is most like, and the cosine of the two."""
        values, places = self.cosines.max(1)
        return places, values

    def drawn(self) -> Tensor:
        """[N], bool: the sketch patches with something drawn in them."""
        return self.ink >= min(INK, float(self.ink.max()))


class Explained(NamedTuple):
    """What is shown of a match: the pictures of `lines`, `rebuilt` and `heat`, and masks [M,H,W] of both."""

    lines: Image.Image
    rebuilt: Image.Image
    attention: Image.Image
    sketch_masks: Tensor
    photo_masks: Tensor


def explain(
    network: Any,
    device: torch.device | str,
    sketch: Tensor,
    shown: Image.Image,
    photo: Image.Image,
    count: int,
    everywhere: bool = False,
    head: int = 0,
) -> Explained:
    """All of it for one pair. sketch: the network's input [3,S,S]; shown: the same square, of any size. count: lines.
    everywhere: see `rebuilt`. head: 0: a mask of each head; from 1: of that head; -1: of their mean.

    ValueError: no such head.
    """
    theirs = photo_for_retrieval(photo, network.size)
    found = match(network, *(x[None].to(device, torch.float32) for x in (sketch, theirs)))
    mine, others = (_heads(attention, head) for attention in (found.sketch_attention, found.photo_attention))
    side = found.grid * found.cell
    return Explained(
        lines(found, shown, photo, count),
        rebuilt(found, photo, everywhere),
        heat(shown.resize((side, side)), photo, mine, others, head),
        masks(mine, side, side),
        masks(others, photo.height, photo.width),
    )


def _heads(attention: Tensor, head: int) -> Tensor:
    """[heads,N] of all heads, or [1,N] of one of them or of their mean."""
    if head > len(attention):
        raise ValueError(f"This network has {len(attention)} heads, got head {head}. Choose 1 to {len(attention)}.")
    return attention if head == 0 else attention.mean(0, keepdim=True) if head < 0 else attention[head - 1 : head]


def match(network: Any, sketch: Tensor, photo: Tensor) -> Match:
    """Compares one sketch with one photo, both inputs [1,3,S,S] in [-1,1] on the device of a ZSE-SBIR network.

    The tokens are those after cross-attention, which the training compares."""
    mine, theirs = network.encode(sketch), network.encode(photo)
    crossed = [tokens[:, 1:] for tokens in network.cross(mine.tokens, theirs.tokens)]
    places = network.grid**2
    cosines = torch.full((places, places), -1.0)
    rows, columns = mine.kept[0].cpu(), theirs.kept[0].cpu()
    cosines[rows[:, None], columns[None]] = anchor_cosines(*crossed)[0].cpu()
    dark = (1 - sketch.float().mean(1, keepdim=True).cpu()) / 2
    ink = F.avg_pool2d(dark, dark.shape[-1] // network.grid).flatten()
    attention = [network.ret_attention(picture)[0].float().cpu() for picture in (sketch, photo)]
    return Match(cosines, ink, *attention)


def strongest(found: Match, count: int) -> list[tuple[int, int, float]]:
    """Up to `count` drawn sketch patches with their photo patches and cosines, the strongest first.

    A photo patch is taken once, by the sketch patch that is most like it, while there are others: otherwise one
    striking patch of the photo would get all lines."""
    places, values = found.best()
    pairs = [(i, int(places[i]), float(values[i])) for i in found.drawn().nonzero().flatten().tolist()]
    pairs.sort(key=lambda pair: -pair[2])
    first: dict[int, tuple[int, int, float]] = {}
    for pair in pairs:
        first.setdefault(pair[1], pair)
    chosen = list(first.values())[:count]
    chosen += [pair for pair in pairs if pair not in chosen][: count - len(chosen)]
    return sorted(chosen, key=lambda pair: -pair[2])


def lines(found: Match, sketch: Image.Image, photo: Image.Image, count: int) -> Image.Image:
    """Sketch and photo side by side, with lines between patches that belong together: red where the match is strong,
    blue where it is the weakest of those shown. sketch: the square that the network saw; photo: of any aspect."""
    side = found.grid * found.cell
    left = sketch.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    width = min(LONGEST * side, max(found.cell, round(side * photo.width / photo.height)))
    right = photo.convert("RGB").resize((width, side))
    sheet = Image.new("RGB", (left.width + GAP + right.width, side), charts.PAPER)
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + GAP, 0))
    pen = ImageDraw.Draw(sheet)
    pairs = strongest(found, count)
    low, high = min((p[2] for p in pairs), default=0.0), max((p[2] for p in pairs), default=1.0)
    for mine, theirs, value in reversed(pairs):  # the strongest on top
        strength = (value - low) / (high - low) if high > low else 1.0
        ends = [_middle(found, mine, left), _middle(found, theirs, right, left.width + GAP)]
        colour = _colour(strength)
        pen.line(ends, fill=HALO, width=6)
        pen.line(ends, fill=colour, width=3)
        for x, y in ends:
            pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=colour, outline=HALO, width=2)
    return sheet


def _middle(found: Match, patch: int, picture: Image.Image, left: int = 0) -> tuple[float, float]:
    row, column = divmod(patch, found.grid)
    return left + (column + 0.5) * picture.width / found.grid, (row + 0.5) * picture.height / found.grid


def _colour(strength: float) -> str:
    red, green, blue = colorsys.hsv_to_rgb(WEAK * (1 - strength), 0.85, 0.95)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def rebuilt(found: Match, photo: Image.Image, everywhere: bool = False) -> Image.Image:
    """The sketch put together from the photo: each sketch patch is replaced by the photo patch that it is most like
    (figure 1c). everywhere: bare paper, too; otherwise it stays white."""
    cell, side = found.cell, found.grid * found.cell
    source = photo.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    made = Image.new("RGB", (side, side), "white")
    places, drawn = found.best()[0].tolist(), found.drawn().tolist()
    for patch, (place, inked) in enumerate(zip(places, drawn, strict=True)):
        if inked or everywhere:
            row, column = divmod(place, found.grid)
            piece = source.crop((column * cell, row * cell, (column + 1) * cell, (row + 1) * cell))
            made.paste(piece, (patch % found.grid * cell, patch // found.grid * cell))
    return made


def heat(sketch: Image.Image, photo: Image.Image, mine: Tensor, theirs: Tensor, head: int = 0) -> Image.Image:
    """A sheet of the attention [M,N] of each head, in the sketch (above) and in the photo."""
    names = ["mean"] if head < 0 else [f"head {head or i}" for i in range(1, len(mine) + 1)]
    rows = []
    for picture, attention in ((sketch, mine), (photo, theirs)):
        small = picture.convert("RGB")
        small.thumbnail((HEAT, HEAT))
        pixels = torch.from_numpy(np.array(small)).float() / 255
        maps = masks(attention, small.height, small.width)
        shown = show_heat(pixels, maps, [""] * len(maps))
        rows += [Image.fromarray((one * 255).round().byte().numpy()) for one in shown]
    return charts.contact_sheet(rows, names * 2, columns=len(names), cell=HEAT)


def masks(attention: Tensor, height: int, width: int) -> Tensor:
    """Attention [heads,N] as masks [heads,height,width] with the patches' edges, each divided by its highest value."""
    grid = round(attention.shape[1] ** 0.5)
    scaled = attention / attention.amax(1, keepdim=True).clamp(min=1e-12)
    return F.interpolate(scaled.reshape(1, -1, grid, grid), (height, width), mode="nearest")[0]
