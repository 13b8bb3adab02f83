"""Trains the starter's noisy classifier: it tells the landscapes' grounds and hours, 20 classes, at any noise level.

    python3 dev/run.py train classifier --folder DIR --minutes 40 --threads 1

Guided diffusion's layout and loss, narrow: 64 px, attention at 8 px only, 1.0M parameters.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...training.command import begin, starter_options, train
from ...training.noisy_classifier import ClassifierTask
from ...training.supervised import SupervisedLesson
from ..world import GROUNDS, HOURS
from .dataset import rendered_scenes

SIZE = 64
SHAPE: dict[str, Any] = {
    "model_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": (0.5, 1, 2, 3),
    "attention_levels": (3,),
    "num_head_channels": 32,
    "norm_groups": 8,
    "pool": "attention",
    "side": 8,
}
WORDS = {"lake": "a lake", "meadow": "a meadow", "dunes": "sand dunes", "snowfield": "a snowfield"}
TIMES = {
    "day": "by day",
    "sunset": "at sunset",
    "dawn": "at dawn",
    "overcast": "under an overcast sky",
    "night": "at night",
}
NAMES = [f"{ground} {TIMES[hour]}" for ground in GROUNDS for hour in HOURS]
LEVELS = (0, 250, 500, 750)  # at which the sheet says how many classes are told


def class_of(caption: str) -> int:
    """The class of a scene, from its caption: its ground and its hour."""
    parts = caption.split(", ")
    ground = next(i for i, name in enumerate(GROUNDS) if WORDS[name] in parts)
    hour = next(i for i, name in enumerate(HOURS) if TIMES[name] == parts[-1])
    return ground * len(HOURS) + hour


def batch(images: np.ndarray, classes: np.ndarray, count: int, step: int) -> tuple[Tensor, Tensor]:
    """Pictures [count, 3, H, W] in -1..1 of a step, half of them mirrored, and their classes."""
    rng = np.random.default_rng([17, step])
    chosen = np.sort(rng.integers(0, len(images), count))
    picked = torch.from_numpy(images[chosen])
    flip = torch.from_numpy(rng.random(count) < 0.5)
    picked = torch.where(flip[:, None, None, None], picked.flip(2), picked)
    return (picked.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(), torch.from_numpy(classes[chosen])


def lesson(images: np.ndarray, classes: np.ndarray, *, count: int, learning_rate: float) -> SupervisedLesson:
    torch.manual_seed(5)
    source = partial(batch, images, classes, count)
    task = ClassifierTask(NAMES, SHAPE, SIZE)
    return SupervisedLesson("classifier", task, source, learning_rate=learning_rate, weight_decay=0.05, ema=0.999)


def main(argv: list[str] | None = None) -> None:
    parser = starter_options("classifier", __doc__, minutes=40.0, scenes=6000, peak=1e-3)
    parser.add_argument("--batch", type=int, default=32)
    choice = parser.parse_args(argv)
    begin(choice, "classifier")
    images, captions = rendered_scenes(choice.folder, choice.scenes, SIZE)
    held = max(1, len(images) // 20)  # the last ones are never learned from
    classes = np.array([class_of(caption) for caption in captions])
    made = lesson(images[:-held], classes[:-held], count=choice.batch, learning_rate=choice.learning_rate)
    train(made, choice, images_per_step=choice.batch)
    unseen = torch.from_numpy(np.array(images[-held:])).permute(0, 3, 1, 2).float() / 127.5 - 1
    made.average.eval()
    for level in LEVELS:
        told = made.average.accuracy((unseen, torch.from_numpy(classes[-held:])), level)  # pyright: ignore
        print(f"level {level}: {told:.1%} of {held} unseen scenes told", flush=True)
