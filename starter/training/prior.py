"""Trains the starter prior: an unconditional ADM network on renders of the starter world.

Epsilon prediction on the published linear schedule with min-SNR weighting (Hang et al. 2023, gamma 5) and an
exponential moving average of the weights; bf16 autocast.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from ...training.command import begin, options, train
from ...training.prior import MIN_SNR, PriorTask
from ...training.supervised import SupervisedLesson
from .dataset import rendered_images

WARMUP = 6000  # images over which the learning rate rises

# the shape of the network: everything a loader cannot read from the keys keeps the published default
SHAPE = {
    "in_channels": 3,
    "out_channels": 3,
    "model_channels": 64,
    "num_res_blocks": 1,
    "channel_mult": (0.5, 1, 1.5, 2),
    "attention_levels": (3,),
    "num_heads": 4,
    "norm_groups": 8,  # 32 groups of one channel would take each picture's mean colour out of the last layer
    "use_scale_shift_norm": True,
    "resblock_updown": False,
}


def batch(images: np.ndarray, count: int, step: int) -> Tensor:
    """The batch [count, 3, H, W] in -1..1 of a step, half of it mirrored."""
    rng = np.random.default_rng([7, step])
    picked = torch.from_numpy(images[np.sort(rng.integers(0, len(images), count))])
    flip = torch.from_numpy(rng.random(count) < 0.5)
    picked = torch.where(flip[:, None, None, None], picked.flip(2), picked)
    return (picked.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()


class StarterTask(PriorTask):
    """A PriorTask that counts the images it has seen. size: side of its pictures."""

    def __init__(self, size: int) -> None:
        super().__init__(SHAPE, size, weighting=MIN_SNR, rows=3)
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    def start_from(self, path: Path) -> int:
        """Takes the weights of a file. Returns how many images it has seen."""
        with safe_open(path, "pt") as weights:
            self.network.load_state_dict({name: weights.get_tensor(name).float() for name in weights.keys()})  # noqa: SIM118
            self.get_buffer("images_seen").fill_(int(weights.metadata()["images_seen"]))
        return int(self.get_buffer("images_seen"))

    def loss(self, batch: Tensor, rng: torch.Generator) -> Tensor:
        self.get_buffer("images_seen").add_(len(batch))
        return super().loss(batch, rng)

    def notes(self) -> dict[str, Any]:
        return {**super().notes(), "num_head_channels": 0, "images_seen": str(int(self.get_buffer("images_seen")))}


def lesson(choice: Any, images: np.ndarray) -> tuple[SupervisedLesson, int]:
    """The training of the command's choices, and how many steps it takes in all."""
    task = StarterTask(choice.size)
    first = task.start_from(choice.start) if choice.start else 0
    # On 2 CPU cores plain layout, eager, was fastest (27 images/s; channels_last 17: its group norm is slow backwards;
    # channels_last compiled 26 after 90 s of compiling); on a GPU it is the other way round.
    if choice.device != "cpu":
        task.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if choice.compile:
        task.network.compile()
    made = SupervisedLesson(
        "prior",
        task,
        partial(batch, images, choice.batch),
        learning_rate=choice.learning_rate,
        ema=0.9992,
        warmup=-(-WARMUP // choice.batch),
        autocast=True,
        device=choice.device,
        began=first / max(choice.images, 1),
        identity={"size": choice.size, "first_images": first},
    )
    return made, -(-max(0, choice.images - first) // choice.batch)


def main(argv: list[str] | None = None) -> None:
    parser = options("prior", __doc__)
    parser.add_argument(
        "--images", type=int, default=250_000, help="images to see in all (the learning rate ends there)"
    )
    parser.add_argument("--scenes", type=int, default=36_000, help="different renders to draw from")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", "--peak", type=float, default=6e-4, help="the highest learning rate")
    parser.add_argument("--start", type=Path, help="weights (.safetensors) to begin with; give it again to resume")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="worth its start-up time on a GPU")
    choice = parser.parse_args(argv)
    begin(choice, "prior")
    made, steps = lesson(choice, rendered_images(choice.folder.parent, choice.scenes, choice.size))
    if not steps:
        raise ValueError("The weights of --start have seen --images images already. Raise --images.")
    train(made, choice, steps=steps, images_per_step=choice.batch)
