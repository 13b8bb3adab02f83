"""Trains the starter prior: an unconditional ADM network on renders of the starter world.

Epsilon prediction on the published linear schedule with min-SNR weighting (Hang et al. 2023, gamma 5) and an
exponential moving average of the weights; bf16 autocast.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from ...networks.adm import ADM
from ...samplers.levels import published_sigmas
from ...training.command import begin, options, train
from ...training.diffusion import min_snr_loss, zero_last_layers
from ...training.supervised import SupervisedLesson, Task
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


class PriorTask(Task):
    """The network, its loss and its export. size: side of its pictures."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.network = ADM(**SHAPE)
        zero_last_layers(self.network)
        self.size, self.sigmas = size, published_sigmas()
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    def start_from(self, path: Path) -> int:
        """Takes the weights of a file. Returns how many images it has seen."""
        with safe_open(path, "pt") as weights:
            self.network.load_state_dict({name: weights.get_tensor(name).float() for name in weights.keys()})  # noqa: SIM118
            self.get_buffer("images_seen").fill_(int(weights.metadata()["images_seen"]))
        return int(self.get_buffer("images_seen"))

    def loss(self, batch: Tensor, rng: torch.Generator) -> Tensor:
        self.get_buffer("images_seen").add_(len(batch))
        return min_snr_loss(self.network, batch, self.sigmas, rng)

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        """All that a loader cannot read from the keys."""
        stated = {"num_heads": SHAPE["num_heads"], "num_head_channels": 0, "use_new_attention_order": False}
        seen = str(int(self.get_buffer("images_seen")))
        return {"images_seen": seen, **stated, "norm_groups": SHAPE["norm_groups"], "image_size": self.size}

    def sheet(self, batch: Tensor) -> Tensor:
        """Samples [3, 3, h, 8w], eight per row."""
        found = sample(self.network, 1 / (1 + self.sigmas**2), 24, self.size, 25, batch.device)
        return found.unflatten(0, (3, 8)).movedim(1, 3).flatten(3) / 2 + 0.5


def sample(network, alphas_cumprod, count: int, size: int, steps: int, device, seed=0) -> torch.Tensor:
    """Ancestral samples [count, 3, size, size] for the sample sheet.

    Clipped deterministic steps (DDIM) leave noise in them: at the highest levels a small error of epsilon is a large
    one of the picture, and what clipping cuts off stays in the sample for good.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, size, size, generator=generator).to(device)
    times = torch.linspace(len(alphas_cumprod) - 1, 0, steps).round().long().tolist()
    for now, after in pairwise([*times, -1]):
        a, b = alphas_cumprod[now], alphas_cumprod[after] if after >= 0 else torch.tensor(1.0)
        epsilon = network(x, torch.full((count,), float(now), device=device)).float()
        clean = ((x - (1 - a).sqrt() * epsilon) / a.sqrt()).clamp(-1, 1)
        beta = 1 - a / b
        mean = (b.sqrt() * beta * clean + (1 - beta).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + (beta * (1 - b) / (1 - a)).sqrt() * torch.randn(x.shape, generator=generator).to(device)
    return x


def lesson(choice: Any, images: np.ndarray) -> tuple[SupervisedLesson, int]:
    """The training of the command's choices, and how many steps it takes in all."""
    task = PriorTask(choice.size)
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
