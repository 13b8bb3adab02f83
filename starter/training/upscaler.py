"""Trains the starter's upscaler: four times the size, 64 to 256 and 128 to 512 pixels.

A narrow SRVGGNetCompact (Real-ESRGAN's small network, which the host's Upscale Image (using Model) runs) sees renders
of the starter world at a quarter of their size: as they are, and as the starters would have made them. For that, the
pixel prior noises a small render and denoises it again, and the VAE decodes its latent: the scene stays, the starter's
flaws come in, and the large render is still the right answer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from spandrel.architectures.Compact import Compact
from torch import Tensor, nn

from ... import files
from ...networks import build
from ...networks.schedules import betas
from ...pictures.features import perceptual_distance
from ...training.command import begin, starter_options, train
from ...training.prior import denoised
from ...training.supervised import SupervisedLesson, Task
from ..world import render_batch
from .decoder import Critic
from .maps import memory_mapped
from .text import trained_vae
from .vae import feature_network, seen_through

SCALE, WIDTH, DEPTH = 4, 48, 10  # 0.23 million parameters
SIDES = {64: 0.8, 128: 0.2}  # of the small pictures, and how the scenes are shared out
CROP = 32  # side of what a step sees, before it is enlarged
CHUNK = 20
FIRST = 7_000_000  # seeds of the scenes: no other training sees them
STRONGEST, STEPS = 0.12, 6  # of a prior's round trip: the highest t0, and steps
CRITICAL = 0.02  # weight of the critic's opinion; 0.1, as for the decoder, leaves dotted edges
HERE = Path(__file__).parents[1] / "weights"
Batch = tuple[Tensor, Tensor]


# --- pairs ------------------------------------------------------------------------------------------------------------


class Pairs(NamedTuple):
    """Scenes at a quarter of their size, the same made by a starter, and at full size: uint8 [N,side,side,3]."""

    small: np.ndarray
    made: np.ndarray
    large: np.ndarray


def _chunk(job: tuple[int, int]) -> tuple[np.ndarray, ...]:
    first, side = job
    seeds = range(first, first + CHUNK)
    return tuple(np.stack([scene.image for scene in render_batch(seeds, size)]) for size in (side, SCALE * side))


def _copies(job: tuple[int, np.ndarray]) -> tuple[np.ndarray]:
    """A chunk of small pictures as a starter makes them."""
    first, small = job
    rng = torch.Generator().manual_seed(first)
    pictures = torch.from_numpy(small.copy()).movedim(-1, 1).float() / 127.5 - 1
    with torch.no_grad():
        made = (round_trip if small.shape[1] == min(SIDES) else decoded)(pictures, rng)
    return (((made.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).numpy(),)


def round_trip(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures [B,3,H,W] in [-1,1] noised to a t0 of up to STRONGEST and denoised by the pixel prior: SDEdit."""
    network = build(files.read_weights(HERE / "prior.safetensors"))
    abar = torch.cumprod(1 - betas("linear", 1000), 0).float()
    t0 = STRONGEST * (0.3 + 0.7 * float(torch.rand((), generator=rng)))
    times = torch.linspace(t0 * 999, 0, STEPS).round().long().tolist()
    a = abar[times[0]]
    x = a.sqrt() * pictures + (1 - a).sqrt() * torch.randn(pictures.shape, generator=rng)
    return denoised(network, abar, x, times, rng)


def decoded(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures [B,3,H,W] in [-1,1] through the starter's VAE."""
    vae, _ = trained_vae(HERE / "vae.safetensors")
    return torch.cat([vae.decode(vae.encode(part)) for part in pictures.split(4)])


def pairs(folder: Path, count: int, side: int, workers: int = 1) -> Pairs:
    """`count` scenes with small pictures of this side, rendered if they are not in the folder."""
    count = -(-count // CHUNK) * CHUNK
    paths = {size: folder / f"upscaler_{side}_{count}_{size}.npy" for size in (side, SCALE * side)}
    shapes = {path: (count, size, size, 3) for size, path in paths.items()}
    jobs = [(FIRST + first, side) for first in range(0, count, CHUNK)]
    small, large = memory_mapped(shapes, _chunk, jobs, workers, "scenes")
    copies = {folder / f"upscaler_{side}_{count}_made.npy": (count, side, side, 3)}
    chunks = [(first, small[first : first + CHUNK]) for first in range(0, count, CHUNK)]
    (made,) = memory_mapped(copies, _copies, chunks, workers, "pictures as the starters make them")
    return Pairs(small, made, large)


def batch(worlds: list[Pairs], count: int, step: int) -> Batch:
    """The batch of a step: small crops [count,3,CROP,CROP] in [0,1] and their large pictures in [-1,1].

    Half of them are mirrored, half as a starter makes them, and all a little noisy."""
    rng = np.random.default_rng([41, step])
    shares = np.array([len(world.small) * world.small.shape[1] ** 2 for world in worlds], float)
    world = worlds[rng.choice(len(worlds), p=shares / shares.sum())]
    small, large = [], []
    for _ in range(count):
        scene, mirrored = rng.integers(len(world.small)), rng.random() < 0.5
        y, x = rng.integers(0, world.small.shape[1] - CROP + 1, 2)
        source = world.made if rng.random() < 0.5 else world.small
        parts = [source[scene, y : y + CROP, x : x + CROP]]
        parts.append(world.large[scene, SCALE * y : SCALE * (y + CROP), SCALE * x : SCALE * (x + CROP)])
        first, second = (part[:, ::-1] if mirrored else part for part in parts)
        small.append(first + rng.normal(0, 4 * rng.random() ** 2, first.shape))
        large.append(second)
    enlarged = torch.from_numpy(np.stack(large)).movedim(-1, 1).float() / 127.5 - 1
    return torch.from_numpy(np.stack(small)).movedim(-1, 1).float() / 255, enlarged


# --- the network in training ------------------------------------------------------------------------------------------


class UpscalerTask(Task):
    """The upscaler, its critic, its loss and its export. look: a frozen VGG for the perceptual term, or None. shown:
    small pictures of the sheet [N,3,h,w] in [0,1] and their large ones. critic_from: crops after which it joins: it
    takes half of the time, and has nothing to say about a blur."""

    def __init__(
        self, look: nn.Module | None = None, shown: Batch | None = None, critic_from: int = 0, seed: int = 17
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Compact(num_feat=WIDTH, num_conv=DEPTH, upscale=SCALE, act_type="prelu")
            initialise(self.network)
            self.critic = Critic()
        self.register_buffer("crops_seen", torch.zeros((), dtype=torch.int64))
        self.look, self.shown, self.critic_from = seen_through(look), shown, critic_from

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Absolute and perceptual difference, and the duel with the critic."""
        small, wanted = batch
        made = self.network(small).float() * 2 - 1
        loss = (made - wanted).abs().mean()
        if self.get_buffer("crops_seen").add_(len(small)) > self.critic_from:
            loss = loss + self.critic.duel(made, wanted, rng, CRITICAL)
        if self.look is not None:
            loss = loss + 0.4 * perceptual_distance(self.look(made), self.look(wanted)).mean()
        return loss

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        return {"scale": str(SCALE)}

    def sheet(self, batch: Batch) -> Tensor:
        """Small pictures enlarged by the Lanczos filter's like, by the network, and the renders [N,3,h,3w] in [0,1]."""
        small, wanted = self.shown or batch
        plain = nn.functional.interpolate(small, scale_factor=SCALE, mode="bicubic")
        return torch.cat([plain, self.network(small), wanted / 2 + 0.5], 3).clamp(0, 1)


@torch.no_grad()
def initialise(network: Compact) -> None:
    """Begins as a bilinear filter: the first three channels carry the colours from end to end, which are positive, so
    that no PReLU changes them. The others keep their signals' size through all layers.

    By torch's own weights it learns ten times as slowly, and above a learning rate of 5e-4 it falls silent for good.
    """
    convs = [layer for layer in network.body if isinstance(layer, nn.Conv2d)]
    for conv in convs:
        nn.init.kaiming_normal_(conv.weight, a=0.25, nonlinearity="leaky_relu")
        nn.init.zeros_(conv.bias)  # pyright: ignore[reportArgumentType]
        conv.weight[:3] = 0
        conv.weight[range(3), range(3), 1, 1] = 1
    last = convs[-1].weight
    nn.init.normal_(last, std=1e-3)
    places = (torch.arange(SCALE) + 0.5) / SCALE - 0.5  # of small pixels, from the middle of a large one
    line = torch.stack([(-places).relu(), 1 - places.abs(), places.relu()], 1)  # [SCALE, 3]
    square = torch.einsum("ia,jb->ijab", line, line)
    square[:, :, 1, 1] -= 1  # the network adds to enlarged pixels
    for colour in range(3):
        last[colour * SCALE**2 : (colour + 1) * SCALE**2, colour] = square.flatten(0, 1)


def main(argv: list[str] | None = None) -> None:
    parser = starter_options("upscaler", __doc__, minutes=60.0, scenes=1_200, peak=5e-4)
    parser.add_argument("--batch", type=int, default=4, help="crops")
    parser.add_argument("--critic-from", type=int, default=8_000, help="crops after which the critic joins")
    parser.add_argument("--workers", type=int, default=1, help="processes that render at first")
    choice = parser.parse_args(argv)
    begin(choice, "upscaler")
    worlds = [pairs(choice.folder, round(choice.scenes * share), side, choice.workers) for side, share in SIDES.items()]
    last = slice(-6, None)  # of the first world; what the sheet shows
    shown = torch.from_numpy(worlds[0].made[last].copy()).movedim(-1, 1).float() / 255
    wanted = torch.from_numpy(worlds[0].large[last].copy()).movedim(-1, 1).float() / 127.5 - 1
    worlds[0] = Pairs(*(part[:-6] for part in worlds[0]))
    task = UpscalerTask(feature_network(HERE / "features.safetensors"), (shown, wanted), choice.critic_from)
    source = partial(batch, worlds, choice.batch)
    lesson = SupervisedLesson(
        "upscaler", task, source, learning_rate=choice.learning_rate, ema=0.999, warmup=200, autocast=True
    )
    train(lesson, choice, images_per_step=choice.batch)
