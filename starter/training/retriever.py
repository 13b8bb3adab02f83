"""Trains the starter's retriever: which render of the starter world does a line sketch show?

A small ZSE-SBIR network of the published layout. Every scene is a class of its own: its photo, recoloured at random,
and its true line sketch, roughened anew each time (wobble, gaps, missing parts, pens of other widths). Only scenes of
two grounds, lakes and meadows, are learned from; dunes and snowfields are never seen, so that a search for them is
zero-shot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ... import files
from ...networks.retrieval.network import Retriever
from ...pictures.retrieval import photo_for_retrieval, sketch_for_retrieval
from ...training.batches import generator_of
from ...training.command import begin, starter_options, train
from ...training.retrieval.losses import contrast, hardest
from ...training.retrieval.run import SMALL
from ...training.retrieval.task import RetrievalTask, centred, initialised
from ...training.supervised import SupervisedLesson
from ..world import GROUNDS, render_batch
from .maps import memory_mapped
from .rough import joined, recoloured, roughened

SIZE = 128  # of the renders
CHUNK = 50
SEEN = ("lake", "meadow")  # grounds that are learned from; the others only tested
HELD_OUT = 5_000_000  # seeds from here on are never learned from


def ground_of(seed: int) -> str:
    """The ground of a scene, without rendering it."""
    return str(np.random.default_rng(seed).choice(list(GROUNDS), p=list(GROUNDS.values())))


def seeds_of(grounds: Sequence[str], count: int, first: int = 0) -> list[int]:
    """The first `count` seeds from `first` on whose scenes have one of these grounds."""
    found: list[int] = []
    seed = first
    while len(found) < count:
        if ground_of(seed) in grounds:
            found.append(seed)
        seed += 1
    return found


def _chunk(job: tuple[list[int], int]) -> tuple[np.ndarray, np.ndarray]:
    scenes = render_batch(*job)
    return np.stack([scene.image for scene in scenes]), np.stack([scene.sketch for scene in scenes])


def scenes(
    folder: Path, name: str, seeds: Sequence[int], size: int = SIZE, workers: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Photos [N,size,size,3] and true sketches [N,size,size] of these seeds, uint8, as memory maps; made once."""
    paths = [folder / f"retriever_{name}_{what}_{size}_{len(seeds)}.npy" for what in ("photos", "sketches")]
    shapes = ((len(seeds), size, size, 3), (len(seeds), size, size))
    jobs = [(list(seeds[first : first + CHUNK]), size) for first in range(0, len(seeds), CHUNK)]
    photos, sketches = memory_mapped(dict(zip(paths, shapes, strict=True)), _chunk, jobs, workers, f"scenes ({name})")
    return photos, sketches


class StarterTask(RetrievalTask):
    """Learns faster than by the published losses alone, which collapse when they begin from nothing.

    [Ret] learns by the contrast over the batch, as it is and centred. And every picture, sketch or photo, learns where
    the lines of its scene are: [Ret] on a grid of 16 x 16, each patch within itself on 4 x 4. What reads that off is
    not exported. Cross-attention and the relation network learn by the published losses on `paired` pairs of a batch
    and on as many of a sketch with another photo, any one or the one most like its own; the tokens that they see are
    not changed by that.
    """

    def __init__(self, network: Retriever, paired: int) -> None:
        super().__init__(network)
        self.paired = paired
        self.layout, self.inside = nn.Linear(network.width, 256), nn.Linear(network.width, 16)

    def of_tokens(self, sketch: Tensor, photo: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        mine, theirs, group = sketch[:, 0].float(), photo[:, 0].float(), batch["group"]
        total = contrast(mine, theirs, group, 0.1) + contrast(mine, theirs, group, 0.1, centre=True)
        lines = density(batch["lines"], 16).flatten(1)
        for tokens, own in ((sketch, (1 - batch["sketch"][:, 0]) / 2), (photo, batch["lines"])):
            total = total + unexplained(self.layout(tokens[:, 0]), lines)
            total = total + unexplained(self.inside(tokens[:, 1:]), cells(density(own, 32), self.network.grid))
        other = hardest(sketch[:, 0], photo[:, 0], batch["group"])[: self.paired]
        other[::2] = torch.arange(1, len(sketch) + 1)[: self.paired : 2] % len(sketch)
        sketch, photo, wrong = (x.detach() for x in (sketch[: self.paired], photo[: self.paired], photo[other]))
        return total + self.of_pairs(sketch.repeat(2, 1, 1), torch.cat([photo, wrong]))


def density(ink: Tensor, side: int) -> Tensor:
    """[B,side,side]: how much ink [B,S,S] there is, 0 to 1, as a fraction of what a few lines make."""
    return (6 * avg_pool2d(ink[:, None], ink.shape[-1] // side)[:, 0]).clamp(0, 1)


def cells(values: Tensor, grid: int) -> Tensor:
    """[B,grid^2,n]: values [B,s,s] within each cell, row by row."""
    return nn.functional.unfold(values[:, None], values.shape[-1] // grid, stride=values.shape[-1] // grid).mT


def unexplained(read: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error in units of the variance: 1 for a reader that knows the mean alone."""
    return (read.float() - wanted).square().mean() / wanted.var().clamp_min(1e-3)


def small(
    photos: np.ndarray, sketches: np.ndarray, size: int = SMALL["grid"] * SMALL["patch"]
) -> tuple[np.ndarray, np.ndarray]:
    """Photos and sketches of renders at the network's size; no line is lost."""
    seen = [((photo_for_retrieval(photo, size) / 2 + 0.5) * 255).round().byte().movedim(0, -1) for photo in photos]
    factor = sketches.shape[1] // size
    drawn = sketches.reshape(len(sketches), size, factor, size, factor).min((2, 4))
    return torch.stack(seen).numpy(), drawn


def batch(photos: np.ndarray, sketches: np.ndarray, pairs: int, step: int) -> dict[str, Tensor]:
    """The batch of a step: different scenes, some joined of two, mirrored and recoloured; lines [pairs,S,S]: the true
    ones, 1 for ink."""
    rng = np.random.default_rng([41, step])
    chosen = np.sort(rng.choice(len(photos), pairs, replace=False))
    mirrored = torch.from_numpy(rng.random(pairs) < 0.5)[:, None, None]
    seen = torch.from_numpy(photos[chosen]).movedim(-1, 1).float() / 127.5 - 1
    drawn = torch.from_numpy(sketches[chosen]).float() / 255
    seen = torch.where(mirrored[:, None], seen.flip(-1), seen)
    drawn = torch.where(mirrored, drawn.flip(-1), drawn)
    chance = generator_of(41, step)
    seen, drawn = joined(seen, drawn, chance)
    rough, seen = roughened(drawn, chance), recoloured(seen, chance)
    return {
        "sketch": torch.stack([prepared(one, rough.shape[1]) for one in rough]).contiguous(
            memory_format=torch.channels_last
        ),
        "photo": seen.contiguous(memory_format=torch.channels_last),
        "group": torch.from_numpy(chosen),
        "lines": 1 - drawn,
    }


def prepared(sketch: Tensor, size: int) -> Tensor:
    """[3,size,size] as the network sees it, of a sketch [S,S] in [0,1]; one without ink gives a blank sheet."""
    try:
        return sketch_for_retrieval(sketch, size)
    except ValueError:
        return torch.ones(3, size, size)


def main(argv: list[str] | None = None) -> None:
    parser = starter_options("retriever", __doc__, minutes=60.0, scenes=5_000, peak=1e-3)
    parser.add_argument("--batch", type=int, default=48, help="pairs of a sketch and a photo")
    parser.add_argument("--paired", type=int, default=16, help="pairs of them that cross-attention learns from")
    parser.add_argument("--measure", type=Path, help="do not train: measure these weights on scenes never seen")
    parser.add_argument("--held-out", type=int, default=600, help="scenes to measure on")
    choice = parser.parse_args(argv)
    if choice.measure:
        from .retriever_measure import measured

        files.replace(
            choice.folder / "measured.json",
            json.dumps(measured(choice.measure, choice.folder, choice.held_out), indent=1).encode(),
        )
        return
    begin(choice, "retriever")
    photos, sketches = scenes(choice.folder, "learned", seeds_of(SEEN, choice.scenes))
    photos, sketches = small(photos, sketches)
    network = initialised(Retriever(**SMALL), 5)
    network.set_dropout(0.0)
    first = batch(photos, sketches, min(64, len(photos)), 10**6)
    network = centred(network.eval(), first["sketch"], first["photo"])
    task = StarterTask(network, choice.paired).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    lesson = SupervisedLesson(
        "retriever",
        task,
        partial(batch, photos, sketches, choice.batch),
        learning_rate=choice.learning_rate,
        ema=0.99,
        weight_decay=0.05,
        warmup=30,
        autocast=True,
    )
    train(lesson, choice, images_per_step=2 * choice.batch)
