"""How a noisy classifier learns (Dhariwal and Nichol, arXiv 2105.05233, section 4.2 and its released code): the class
of a picture at a noise level drawn from the whole ladder, on one's own photos.

    python3 dev/run.py train noisy-classifier --photos PHOTOS --folder DIR --image-size 64 --width 32 --minutes 60
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..networks.noisy_classifier import NoisyClassifier
from ..networks.schedules import LINEAR, SCHEDULES, abars
from . import labelled
from .command import begin, own_rates, photo_options, train_on_photos
from .diffusion import EVEN, LEVELS, SAMPLERS, SIDES, adm_shape, times_of
from .photos import Store
from .supervised import SupervisedLesson, Task

Batch = tuple[Tensor, Tensor]  # pictures [B,3,H,W] in [-1,1], and their classes [B]


def published_shape(size: int, width: int, depth: int = 2) -> dict[str, Any]:
    """The arguments of NoisyClassifier by guided diffusion's table for this side; published: width 128, depth 2."""
    shape = adm_shape(size, width, depth)
    return {**shape, "pool": "attention", "side": size >> (len(shape["channel_mult"]) - 1)}


class ClassifierTask(Task):
    """The classifier, its loss and its export.

    names: of the classes. shape: arguments of NoisyClassifier. size: side of its pictures in pixels. schedule: of the
    noise that it learns on. sampler: which levels a step learns at, of SAMPLERS.
    """

    def __init__(
        self, names: Sequence[str], shape: dict[str, Any], size: int, schedule: str = LINEAR, sampler: str = EVEN
    ) -> None:
        super().__init__()
        self.names, self.shape, self.size = list(names), shape, size
        self.network = NoisyClassifier(classes=len(self.names), **shape)
        self.abar = abars(schedule, LEVELS).float()
        self.times = times_of(sampler, LEVELS)

    def noised(self, pictures: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The pictures at random levels, and these levels [B]."""
        x, t, _ = self._noised(pictures, rng)
        return x, t

    def _noised(self, pictures: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        t, weight = self.times.draw(len(pictures), rng)
        abar = self.abar[t].view(-1, 1, 1, 1)
        noise = torch.randn(pictures.shape, generator=rng)
        x = abar.sqrt().to(pictures) * pictures + (1 - abar).sqrt().to(pictures) * noise.to(pictures)
        return x, t, weight

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        pictures, classes = batch
        x, t, weight = self._noised(pictures, rng)
        rows = cross_entropy(self.network(x, t.to(x.device)).float(), classes, reduction="none")
        self.times.told(t, rows.detach())
        return (weight.to(rows) * rows).mean()

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        """All that a loader cannot read from the keys."""
        kept = ("num_head_channels", "norm_groups", "num_res_blocks")
        stated = {key: self.shape[key] for key in kept if key in self.shape}
        return {**stated, "image_size": self.size, "classes": self.names}

    @torch.no_grad()
    def accuracy(self, batch: Batch, level: int) -> float:
        """The share of these pictures whose class is told at one noise level."""
        pictures, classes = batch
        abar = self.abar[level]
        noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(level)).to(pictures)
        x = abar.sqrt() * pictures + (1 - abar).sqrt() * noise
        found = self.network(x, torch.full((len(x),), float(level), device=x.device)).argmax(1)
        return float((found == classes).float().mean())


def classifier_lesson(
    found: labelled.Labelled,
    size: int,
    *,
    width: int,
    depth: int,
    batch: int,
    seed: int,
    noise_schedule: str = LINEAR,
    sampler: str = EVEN,
    ema: Sequence[float] = (),
    device: Any = "cpu",
    **rates: Any,
) -> tuple[SupervisedLesson, Callable[[], str]]:
    """The lesson of a noisy classifier on labelled photos, and judge() -> a line about the photos kept apart. ema:
    rates of averaged weights; published: none. rates: learning_rate and others of SupervisedLesson."""
    store = Store(found.photos, size, square=True)
    learned, held = labelled.split(found.photos.count)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = published_shape(size, width, depth)
        task = ClassifierTask(found.names, shape, size, noise_schedule, sampler)
    identity = {"width": width, "depth": depth, "size": size, "classes": ", ".join(found.names), "sampler": sampler}
    identity["ema"] = ", ".join(f"{rate:g}" for rate in ema)
    source = labelled.LabelledBatches(store, found.classes, learned, batch, seed)
    lesson = SupervisedLesson("classifier", task, source, device=device, identity=identity, ema=tuple(ema), **rates)

    def judge() -> str:
        unseen = labelled.LabelledBatches(store, found.classes, held, min(64, len(held)), seed)(0)
        pictures, classes = (part.to(device) for part in unseen)
        average: Any = lesson.average.eval()
        shares = [f"{average.accuracy((pictures, classes), level):.0%} at level {level}" for level in (0, 500)]
        return f"Classes told of photos kept apart: {', '.join(shares)}."

    return lesson, judge


def main(argv: list[str] | None = None) -> None:
    parser = photo_options("noisy-classifier", __doc__, learning_rate=3e-4, batch=16)
    parser.add_argument("--image-size", type=int, choices=[int(side) for side in SIDES], default=64)
    parser.add_argument("--width", type=int, default=128, help="16 to 256, a multiple of 16")
    parser.add_argument("--depth", type=int, default=2, help="residual blocks per level")
    parser.add_argument("--noise-schedule", choices=SCHEDULES, default=LINEAR)
    parser.add_argument("--schedule-sampler", choices=SAMPLERS, default=EVEN)
    choice = parser.parse_args(argv)
    begin(choice, "classifier")
    found = labelled.by_class(choice.photos)
    own = {"width": choice.width, "depth": choice.depth, "noise_schedule": choice.noise_schedule}
    rates = {**own_rates(choice), "sampler": choice.schedule_sampler}
    lesson, judge = classifier_lesson(found, choice.image_size, **own, **rates)
    train_on_photos(lesson, choice, found.photos.left_out)
    print(judge(), flush=True)
