"""Unfinished canvases of finished pictures, which Paint2pix (Singh et al., ECCV 2022, arXiv 2208.08092) learns from.

The paper takes them from a painting agent (Intelli-Paint) that was not released with it. These are our formulation: a
picture as levels of flat strokes, coarse to fine, of which a part is painted, large areas first; or as a few strokes of
a broad brush in the colours of those levels, as a person begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ...pictures.painters import simulate_strokes
from ..batches import Shuffled, places_of
from ..photos import KEEP, Kept, Pictures, Store, tensor

LEVELS = ((11, 3), (11, 6), (5, 12), (3, 24))  # median filter on 128 x 128 pixels, and colours: coarse to fine
REFERENCE = 128
BLACK, MEAN = 0.55, 0.15  # shares of unpainted grounds; the rest are painted over the picture itself
BRUSHED = 0.5  # share of canvases that are painted by a broad brush
FIRST, MORE = 12, 5  # most strokes of a brush on a canvas, and that the next canvas has in addition
PART = 0.3  # most of the whole painting that the next canvas has in addition
SAME = 0.25  # share of pairs that are the same canvas twice, as the demo feeds it
OPACITY = 0.8  # of the demo's brush, on half of the strokes
OFF = 8.0  # standard deviation by which a stroke's colour is off, of 255
PHOTOS, DRAWS = range(20, 22)  # streams of random numbers, beside those of the other trainings


class Painting(NamedTuple):
    """A picture as levels of flat strokes, coarse to fine or back to front.

    strokes [L,S,S] uint8: the number of the stroke at each pixel, 0 where the level has none. colours [L,K,3] uint8: by
    that number.
    """

    strokes: np.ndarray
    colours: np.ndarray

    @property
    def side(self) -> int:
        return self.strokes.shape[1]

    @property
    def nbytes(self) -> int:
        """Of the strokes; the colours are few."""
        return self.strokes.nbytes


class Paintings(Protocol):
    """Pictures with their paintings."""

    @property
    def count(self) -> int: ...

    def painting(self, i: int) -> Painting: ...

    def photo(self, i: int) -> np.ndarray:
        """[size,size,3] uint8."""
        ...


class Batch(NamedTuple):
    """canvas and updated [B,3,S,S] and photo [B,3,size,size] in [-1,1]; painted [B,1,S,S]: 1 where `updated` is."""

    canvas: Tensor
    updated: Tensor
    photo: Tensor
    painted: Tensor


# --- paintings --------------------------------------------------------------------------------------------------------


def painted(photo: np.ndarray, side: int, levels: Sequence[tuple[int, int]] = LEVELS) -> Painting:
    """The painting of a photo [h,w,3] uint8, side pixels square: SDEdit's stroke simulator, coarse to fine. A stroke is
    what has one colour."""
    small = np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR))
    made = torch.from_numpy(np.array(small))[None].float() / 255
    most = 1 + max(colours for _, colours in levels)
    strokes, palettes = np.zeros((len(levels), side, side), np.uint8), np.zeros((len(levels), most, 3), np.uint8)
    filtered: dict[int, Tensor] = {}
    for i, (median, colours) in enumerate(levels):
        if median not in filtered:  # the filter takes most of the time, and the finest palette keeps what it gives
            filtered[median] = simulate_strokes(made, median, 256, REFERENCE)
        flat = simulate_strokes(filtered[median], 1, colours, REFERENCE)[0]
        pixels = (flat * 255).round().byte().numpy().reshape(-1, 3)
        palette, number = np.unique(pixels, axis=0, return_inverse=True)
        strokes[i] = number.reshape(side, side) + 1
        palettes[i, 1 : len(palette) + 1] = palette
    return Painting(strokes, palettes)


class PhotoPaintings:
    """Photos squashed to squares, as the sketch GAN's; their paintings are made when first asked for, and kept while
    `keep` bytes suffice. Threads may share it."""

    def __init__(self, pictures: Pictures, size: int, side: int, keep: int = KEEP) -> None:
        self.store, self.size, self.side = Store(pictures, size, keep // 2), size, side
        self.kept = Kept(keep // 2)

    @property
    def count(self) -> int:
        return self.store.pictures.count

    def photo(self, i: int) -> np.ndarray:
        return self.store.photo(i, self.size)

    def painting(self, i: int) -> Painting:
        return self.kept(i, lambda: painted(self.photo(i), self.side))


# --- canvases ---------------------------------------------------------------------------------------------------------


def order_of(painting: Painting, rng: np.random.Generator) -> np.ndarray:
    """[L,K]: when each stroke is painted, 0 to 1, level after level, in each the larger ones first, more or less; 2 for
    strokes that there are not."""
    levels, most = painting.colours.shape[:2]
    times = np.full((levels, most), 2.0)
    for i, level in enumerate(painting.strokes):
        area = np.bincount(level.ravel(), minlength=most)[1:most]
        there = np.flatnonzero(area)
        rank = np.argsort(-area[there] * np.exp(rng.normal(0, 0.5, len(there))))
        for place, stroke in enumerate(there[rank]):
            times[i, stroke + 1] = (i + (place + 1) / len(there)) / levels
    return times


def filled(painting: Painting, times: np.ndarray, until: float, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The canvas [S,S,3] uint8 at a time, 0 (the ground alone) to 1, and where it is painted [S,S]. times: of
    order_of; ground [S,S,3] uint8."""
    canvas, covered = ground.copy(), np.zeros(ground.shape[:2], bool)
    for level, colours, when in zip(painting.strokes, painting.colours, times, strict=True):
        here = (when <= until)[level] & (level > 0)
        canvas[here] = colours[level[here]]
        covered |= here
    return canvas, covered


def brushed(
    painting: Painting, rng: np.random.Generator, counts: tuple[int, int], ground: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Canvases as from `filled`, after counts[0] strokes of a round brush and after counts[1] more: broad strokes of
    the first levels, then narrower ones of all. A stroke runs through pixels of one colour."""
    levels, side = len(painting.strokes), painting.side
    canvas, covered = ground.astype(np.float32), np.zeros((side, side), bool)
    found, total = [], sum(counts)
    for i in range(total + 1):
        if i in (counts[0], total):
            found += [(canvas.round().astype(np.uint8), covered.copy())] * (1 + (i == counts[0] == total))
        if i == total:
            break
        share = i / max(total, 4)
        level = int(rng.integers(0, 1 + int(share * (levels - 1) + 0.5))) if rng.random() < 0.8 else levels - 1
        width = side * rng.uniform(0.08, 0.3) * (1 - 0.6 * share)
        line, colour = _stroke(painting, level, rng, width)
        opacity = OPACITY if rng.random() < 0.5 else 1.0
        canvas += opacity * line[..., None] * (colour - canvas)
        covered |= line > 0.5
    return found


def _stroke(painting: Painting, level: int, rng: np.random.Generator, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage [S,S], 0 to 1, of one stroke, and its colour [3]."""
    strokes, side = painting.strokes[level], painting.side
    area = np.bincount(strokes.ravel(), minlength=2)
    area[0] = 0
    if not area.any():  # a level without strokes
        return np.zeros((side, side), np.float32), np.zeros(3)
    weight = np.sqrt(area)
    which = int(rng.choice(len(area), p=weight / weight.sum()))
    rows, columns = np.nonzero(strokes == which)
    chosen = rng.integers(0, len(rows), int(rng.integers(2, 5)))
    points = sorted((float(columns[i]), float(rows[i])) for i in chosen)
    sheet = Image.new("L", (side, side))
    pen = ImageDraw.Draw(sheet)
    pen.line(points, 255, max(1, round(width)), "curve")
    for x, y in points:
        pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], 255)
    colour = np.clip(painting.colours[level, which] + rng.normal(0, OFF, 3), 0, 255)
    return np.asarray(sheet, np.float32) / 255, colour


# --- batches ----------------------------------------------------------------------------------------------------------


class Canvases:
    """The batch of a step: pictures in a random order, mirrored or not, each with a canvas and a later one of the same
    painting. All that is random follows from the seed and the picture's place."""

    def __init__(self, paintings: Paintings, batch: int, seed: int) -> None:
        self.paintings, self.batch, self.seed = paintings, batch, seed
        self.order = Shuffled(paintings.count, seed, PHOTOS)

    def __call__(self, step: int) -> Batch:
        items = [self._one(place) for place in places_of(step, self.batch)]
        canvas, updated, photo, covered = zip(*items, strict=True)
        return Batch(
            canvas=torch.stack([tensor(one) for one in canvas]),
            updated=torch.stack([tensor(one) for one in updated]),
            photo=torch.stack([tensor(one) for one in photo]),
            painted=torch.from_numpy(np.stack(covered)).float()[:, None],
        )

    def _one(self, place: int) -> tuple[np.ndarray, ...]:
        i, rng = self.order(place), np.random.default_rng([self.seed, DRAWS, place])
        photo, painting = self.paintings.photo(i), self.paintings.painting(i)
        pair, whole = canvases(painting, photo, rng)
        (canvas, _), (updated, covered) = pair
        made = (canvas, updated, photo, covered | whole)
        return tuple(part[:, ::-1] for part in made) if rng.random() < 0.5 else made


def canvases(
    painting: Painting, photo: np.ndarray, rng: np.random.Generator
) -> tuple[list[tuple[np.ndarray, np.ndarray]], bool]:
    """Two canvases of one painting, the second as far or further; and whether the ground counts as painted, too."""
    ground, whole = ground_of(painting, photo, rng)
    same = rng.random() < SAME
    if rng.random() < BRUSHED:
        counts = (int(rng.integers(0, FIRST + 1)), 0 if same else int(rng.integers(1, MORE + 1)))
        return brushed(painting, rng, counts, ground), whole
    times = order_of(painting, rng)
    first = rng.random()
    last = first if same else min(1.0, first + PART * rng.random())
    return [filled(painting, times, until, ground) for until in (first, last)], whole


def ground_of(painting: Painting, photo: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """What is painted on [S,S,3] uint8: black, as in the published demo; the picture's mean colour; or the picture
    itself, as when a photo or an accepted result is painted over. True for the last, which is a picture all over."""
    side, chance = painting.side, rng.random()
    if chance < BLACK:
        return np.zeros((side, side, 3), np.uint8), False
    if chance < BLACK + MEAN:
        return np.broadcast_to(photo.mean((0, 1)).astype(np.uint8), (side, side, 3)).copy(), False
    small = Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR)
    return np.array(small), True
