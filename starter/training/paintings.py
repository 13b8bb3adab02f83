"""The starter world's pictures with their paintings, back to front, for training the painter: sky, disc, clouds, each
range, the ground, each thing in flat tones; then the finished picture in strokes that get finer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from ...training.paint2pix.canvases import Painting, painted
from ..world import Painting as Scene
from ..world import World
from .maps import memory_mapped

SIZE, SIDE = 64, 32  # pixels of pictures and of canvases
TONES = 3  # most flat colours of a layer
LAYERS = 9  # of the world, the first ones and those of things together
FINE = ((5, 10), (3, 20))  # median filter at 128 x 128 and colours of the strokes after them
LEVELS = LAYERS + len(FINE)
COLOURS = 25  # places in a palette; number 0 is none
CHANGED = 0.05  # of brightness: what counts as painted by a layer
CHUNK = 50


def snapshots(world: World, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The picture [S,S,3] uint8 of a seed, as `render` gives it, and what it looked like after each layer, 0 to 1."""
    seen: list[np.ndarray] = []
    scene = Scene(world, np.random.default_rng(seed), lambda painting: seen.append(painting.reduced().clip(0, 1)))
    return scene.finish(seed).image, seen


def painting_of(world: World, seed: int, side: int = SIDE) -> tuple[np.ndarray, Painting]:
    """A picture and its painting."""
    image, seen = snapshots(world, seed)
    rng = np.random.default_rng([59, seed])
    strokes = np.zeros((LEVELS, side, side), np.uint8)
    colours = np.zeros((LEVELS, COLOURS, 3), np.uint8)
    before = np.full_like(seen[0], -1)
    for i, now in enumerate(_joined(seen)):
        level, palette = flat_tones(now, np.abs(now - before).max(2) > CHANGED, 1 + int(rng.integers(TONES)), side)
        strokes[i], colours[i, 1 : len(palette) + 1] = level, palette
        before = now
    fine = painted(image, side, FINE)
    strokes[LAYERS:], colours[LAYERS:, : fine.colours.shape[1]] = fine.strokes, fine.colours
    return image, Painting(strokes, colours)


def _joined(seen: Sequence[np.ndarray]) -> list[np.ndarray]:
    """At most LAYERS snapshots: all but the last few single things."""
    if len(seen) <= LAYERS:
        return list(seen)
    rest = seen[LAYERS - 1 :]
    return [*seen[: LAYERS - 1], rest[-1]]


def flat_tones(picture: np.ndarray, where: np.ndarray, tones: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels `where` [S,S] of a picture [S,S,3], 0 to 1, in a few flat colours: the number of the colour at each
    pixel of side x side, 0 elsewhere, and the colours [n,3] uint8."""
    small = Image.fromarray((picture * 255).round().astype(np.uint8)).resize((side, side), Image.Resampling.BOX)
    part = Image.fromarray(where.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BOX)
    here = np.asarray(part.filter(ImageFilter.MedianFilter(3))) > 127
    level = np.zeros((side, side), np.uint8)
    if not here.any():
        return level, np.zeros((0, 3), np.uint8)
    pixels = np.asarray(small.filter(ImageFilter.BoxBlur(2)))[here]
    reduced = Image.fromarray(pixels[None]).quantize(tones)
    palette = np.array(reduced.getpalette("RGB"), np.uint8).reshape(-1, 3)
    numbers = np.asarray(reduced)[0]
    level[here] = numbers + 1
    return level, palette[: numbers.max() + 1]


# --- in files ---------------------------------------------------------------------------------------------------------


class Mapped:
    """Pictures and paintings in memory-mapped files."""

    def __init__(self, photos: np.ndarray, strokes: np.ndarray, colours: np.ndarray) -> None:
        self.photos, self.strokes, self.colours = photos, strokes, colours

    @property
    def count(self) -> int:
        return len(self.photos)

    def photo(self, i: int) -> np.ndarray:
        return self.photos[i]

    def painting(self, i: int) -> Painting:
        return Painting(self.strokes[i], self.colours[i])


def _chunk(job: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    first, count, size = job
    world = World(size)
    made = [painting_of(world, seed, size // 2) for seed in range(first, first + count)]
    return tuple(np.stack(part) for part in zip(*((image, *painting) for image, painting in made), strict=True))


def world_paintings(folder: Path, name: str, count: int, first: int = 0, size: int = SIZE, workers: int = 1) -> Mapped:
    """Those of seeds first to first + count - 1; made once and kept in files, 230 KB a picture of 128 pixels."""
    side = size // 2
    shapes = {
        "photos": (count, size, size, 3),
        "strokes": (count, LEVELS, side, side),
        "colours": (count, LEVELS, COLOURS, 3),
    }
    paths = {folder / f"painter_{name}_{part}_{size}_{count}.npy": shape for part, shape in shapes.items()}
    jobs = [(first + done, min(CHUNK, count - done), size) for done in range(0, count, CHUNK)]
    return Mapped(*memory_mapped(paths, _chunk, jobs, workers, f"painted scenes ({name})"))
