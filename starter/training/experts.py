"""Trains the starter's experts on renders of the starter world: `extractor`, which draws a photo in lines, and
`features`, whose maps tell what is where.

The extractor is a narrow InformativeDrawings that sees renders and their true line sketches: cross entropy, and L1 of
the blurred drawings, so that a line one pixel off is better than none. The feature network is a narrow VGG that learns
the label map at five scales, and the hour, from colours, materials and places. It learns with batch norms, which are
folded into its filters at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy, cross_entropy

from ... import files
from ...networks.infodraw import InformativeDrawings
from ...networks.vgg import VGG
from ...training.command import begin, starter_options, train
from ...training.supervised import SupervisedLesson, Task
from ..world import HOURS, LABELS, render_batch
from .maps import processes

WIDTHS, BLOCKS = (12, 32, 64), 3  # of the extractor: 0.31M parameters
STAGES = ((16, 16), (32, 32), (64, 64), (96, 96), (128, 128))  # of the feature network: 0.74M parameters
SIZES = {64: 0.8, 128: 0.2}  # sides of the renders, and how the scenes are shared out
CHUNK = 100
MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))  # as every VGG wants it
EXPERTS = ("extractor", "features")
Batch = dict[str, Tensor]


# --- scenes -----------------------------------------------------------------------------------------------------------


def _chunk(job: tuple[int, int]) -> dict[str, np.ndarray]:
    first, size = job
    scenes = render_batch(range(first, first + CHUNK), size)
    hours = [next(i for i, hour in enumerate(HOURS) if hour in scene.caption.split(", ")[-1]) for scene in scenes]
    parts = {name: np.stack([getattr(scene, name) for scene in scenes]) for name in ("image", "labels", "sketch")}
    return {**parts, "hour": np.array(hours, np.uint8)}


def scenes(folder: Path, count: int, size: int, workers: int = 2) -> dict[str, np.ndarray]:
    """Renders of seeds 0..count-1: image [N,s,s,3], labels and sketch [N,s,s], hour [N], all uint8; kept in a file."""
    count = -(-count // CHUNK) * CHUNK
    path = folder / f"experts_{size}_{count}.npz"
    if not path.is_file():
        with processes(workers) as pool:
            chunks = list(pool.map(_chunk, [(first, size) for first in range(0, count, CHUNK)]))
        parts = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        files.write(path, lambda file: np.savez(file, allow_pickle=False, **parts))
        print(f"rendered {count} scenes of {size} px", flush=True)
    with np.load(path) as held:
        return dict(held)


def batch(worlds: list[dict[str, np.ndarray]], pixels: int, step: int) -> Batch:
    """The batch of a step: about `pixels` pixels of one size, half of the pictures mirrored, as tensors in [0,1]."""
    rng = np.random.default_rng([13, step])
    shares = np.array([len(world["image"]) * world["image"].shape[1] ** 2 for world in worlds], float)
    world = worlds[rng.choice(len(worlds), p=shares / shares.sum())]
    count = max(2, pixels // world["image"].shape[1] ** 2)
    chosen = np.sort(rng.integers(0, len(world["image"]), count))
    drawn = {name: torch.from_numpy(values[chosen]) for name, values in world.items()}
    flip = torch.from_numpy(rng.random(count) < 0.5)
    for name in ("image", "labels", "sketch"):
        flipped = flip.view(-1, *[1] * (drawn[name].ndim - 1))
        drawn[name] = torch.where(flipped, drawn[name].flip(2), drawn[name])
    return {
        "image": drawn["image"].movedim(-1, 1).float() / 255,
        "sketch": drawn["sketch"][:, None].float() / 255,
        "labels": drawn["labels"].long(),
        "hour": drawn["hour"].long(),
    }


# --- the two networks in training -------------------------------------------------------------------------------------


class ExtractorTask(Task):
    """The extractor, its loss and its export."""

    def __init__(self) -> None:
        super().__init__()
        self.network = InformativeDrawings(widths=WIDTHS, blocks=BLOCKS)

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Cross entropy of the drawings, and mean absolute difference of them in blurs of 3 and 5 pixels.

        L1 on the sharp drawings would end in blank paper: lines are so few that it is nearly right everywhere. Pictures
        are made lighter, darker or noisier at random, since an energy shows states that are not finished yet.
        """
        image = batch["image"]
        spread = torch.rand(3, len(image), 1, 1, 1, generator=rng)
        noise = torch.randn(image.shape, generator=rng) * 0.08 * spread[0].square()
        image = ((image + noise) * (0.8 + 0.4 * spread[1]) + 0.1 * (spread[2] - 0.5)).clamp(0, 1)
        drawn, wanted = self.network(image), batch["sketch"]
        loss = binary_cross_entropy(drawn.clamp(1e-4, 1 - 1e-4), wanted)
        for width in (3, 5):
            blurred = [avg_pool2d(x, width, 1, width // 2) for x in (drawn, wanted)]
            loss = loss + 2 * (blurred[0] - blurred[1]).abs().mean()
        return loss

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        return {"image_size": max(SIZES)}

    def sheet(self, batch: Batch) -> Tensor:
        """Photos, true sketches and drawings [6,3,H,3W]."""
        image, sketch = batch["image"][:6], batch["sketch"][:6]
        columns = [image, sketch.expand(-1, 3, -1, -1), self.network(image).expand(-1, 3, -1, -1)]
        return torch.cat(columns, 3)


class FeaturesTask(Task):
    """The feature network with batch norms, a reader of labels on each of its taps, one of the hour, and its export."""

    def __init__(self) -> None:
        super().__init__()
        self.stages, self.readers = nn.ModuleList(), nn.ModuleList()
        channels = 3
        for stage in STAGES:
            layers: list[nn.Module] = []
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            self.stages.append(nn.Sequential(*layers))
            self.readers.append(nn.Conv2d(channels, len(LABELS), 1))
        self.hour = nn.Linear(channels, len(HOURS))

    def taps(self, image: Tensor) -> list[Tensor]:
        x = (image - MEAN[:, None, None]) / STD[:, None, None]
        maps = []
        for stage in self.stages:
            x = stage(nn.functional.max_pool2d(x, 2) if maps else x)
            maps.append(x)
        return maps

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Mean cross entropy of the labels at every tap (the label in the middle of each cell) and of the hour."""
        maps = self.taps(batch["image"])
        losses = [cross_entropy(self.hour(maps[-1].mean((2, 3))), batch["hour"])]
        for i, (reader, seen) in enumerate(zip(self.readers, maps, strict=True)):
            middle = (1 << i) // 2
            losses.append(cross_entropy(reader(seen), batch["labels"][:, middle :: 1 << i, middle :: 1 << i]))
        return torch.stack(losses).mean()

    def weights(self) -> dict[str, Tensor]:
        """A plain VGG: each norm folded into the filter in front of it."""
        folded = VGG(widths=STAGES)
        filters = [layer for layer in folded.features if isinstance(layer, nn.Conv2d)]
        layers = [layer for stage in self.stages for layer in stage if not isinstance(layer, nn.ReLU)]  # pyright: ignore
        for conv, norm, into in zip(layers[::2], layers[1::2], filters, strict=True):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            into.weight.data = (conv.weight * scale[:, None, None, None]).detach()
            into.get_parameter("bias").data = ((conv.bias - norm.running_mean) * scale + norm.bias).detach()
        return folded.state_dict()

    def notes(self) -> dict[str, Any]:
        return {"image_size": max(SIZES)}

    def sheet(self, batch: Batch) -> Tensor:
        """Photos, and the labels read off the first, third and fifth tap in colours [6,3,H,5W]."""
        image = batch["image"][:6]
        colours = torch.rand(len(LABELS), 3, generator=torch.Generator().manual_seed(3))
        columns = [image, colours[batch["labels"][:6]].movedim(-1, 1)]
        maps = self.taps(image)
        for i in (0, 2, 4):
            read = colours[self.readers[i](maps[i]).argmax(1)].movedim(-1, 1)
            columns.append(nn.functional.interpolate(read, image.shape[-2:]))
        return torch.cat(columns, 3)


TASKS: dict[str, Callable[[], Task]] = {"extractor": ExtractorTask, "features": FeaturesTask}


# --- training ---------------------------------------------------------------------------------------------------------


def lesson(name: str, worlds: list[dict[str, np.ndarray]], *, pixels: int, learning_rate: float) -> SupervisedLesson:
    """The training of one expert."""
    torch.manual_seed(5)
    source = partial(batch, worlds, pixels)
    return SupervisedLesson(name, TASKS[name](), source, learning_rate=learning_rate, weight_decay=1e-4)


def main(argv: list[str] | None = None) -> None:
    parser = starter_options(
        "experts", __doc__, minutes=8.0, scenes=8_000, peak=2e-3, minutes_help="for each of the two"
    )
    parser.add_argument("--only", choices=EXPERTS, help="one of the two")
    parser.add_argument("--pixels", type=int, default=16 * 64 * 64, help="per batch")
    choice = parser.parse_args(argv)
    names = EXPERTS if choice.only is None else (choice.only,)
    begin(choice, *names)
    worlds = [scenes(choice.folder, round(choice.scenes * share), size) for size, share in SIZES.items()]
    for name in names:
        train(lesson(name, worlds, pixels=choice.pixels, learning_rate=choice.learning_rate), choice)
