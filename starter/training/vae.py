"""Trains the starter's VAE: a TAESD of 4 latent channels on renders of the starter world.

It compares pictures pixel by pixel and, given the starter's feature network, map by map. Latents are brought to mean 0
and standard deviation 1 by running averages, which the export folds into the encoder's last filter. They are noised
before they are decoded, so that the decoder tolerates the noise that a diffusion model leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...networks import build
from ...networks.taesd import TAESD, Residual, widened
from ...pictures.features import perceptual_distance
from ...training.command import begin, starter_options, train
from ...training.supervised import SupervisedLesson, Task
from .dataset import rendered_scenes
from .experts import MEAN, STD

SIZE, SCENES = 128, 14_000
WIDTH = 32  # half of TAESD's width trains four times as fast; exported zero-padded to full width
SCALE = 0.5  # VAE scale factor, as SD's 0.18215; not 1, so that code which forgets it fails visibly
NOISE = 0.05  # the strongest noise on latents in training


def crops(images: np.ndarray, count: int, side: int, step: int) -> Tensor:
    """The batch [count,3,side,side] in [-1,1] of a step: random crops, half of them mirrored; every eighth batch has
    as many pixels of whole pictures."""
    rng, full = np.random.default_rng([23, step]), images.shape[1]
    many, wide = (max(1, count * side**2 // full**2), full) if step % 8 == 7 else (count, side)
    chosen = np.sort(rng.integers(0, len(images), many))
    corners = rng.integers(0, full - wide + 1, (many, 2))
    flips = rng.random(many) < 0.5
    parts = [images[i, y : y + wide, x : x + wide] for i, (y, x) in zip(chosen, corners, strict=True)]
    drawn = np.stack([part[:, ::-1] if flip else part for part, flip in zip(parts, flips, strict=True)])
    return torch.from_numpy(drawn).movedim(-1, 1).float() / 127.5 - 1


class VAETask(Task):
    """The VAE, its loss and its export. look: a frozen VGG for the perceptual term, or None."""

    def __init__(self, look: nn.Module | None = None, shown: Tensor | None = None) -> None:
        super().__init__()
        self.network = TAESD(width=WIDTH)
        initialise(self.network)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("square", torch.ones(4))
        self.look = seen_through(look)
        self.shown = shown

    def encode(self, x: Tensor) -> Tensor:
        """What a diffusion model sees: mean 0, deviation 1."""
        return self.levelled(self.network.encode(x))

    def levelled(self, raw: Tensor) -> Tensor:
        """What the encoder gives [B,4,h,w], at mean 0 and deviation 1."""
        mean, spread = self.level()
        return (raw - mean[:, None, None]) / spread[:, None, None]

    def level(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation [4] of what the encoder gives, over the last hundred batches or so.

        One batch has too few scenes: normalised by its own numbers it would lose what colour they are.
        """
        mean = self.get_buffer("mean")
        return mean, (self.get_buffer("square") - mean.square()).clamp_min(1e-6).sqrt()

    def loss(self, batch: Tensor, rng: torch.Generator) -> Tensor:
        """Mean absolute and squared difference, two fifths of the perceptual distance, and latents held at size 1."""
        raw = self.network.encode(batch).float()
        with torch.no_grad():
            self.get_buffer("mean").lerp_(raw.mean((0, 2, 3)), 0.02)
            self.get_buffer("square").lerp_(raw.square().mean((0, 2, 3)), 0.02)
        z = self.levelled(raw)
        spread = torch.rand(len(z), 1, 1, 1, generator=rng) * NOISE
        painted = self.network.decode(z + spread * torch.randn(z.shape, generator=rng)).float()
        wanted = batch
        loss = (painted - wanted).abs().mean() + (painted - wanted).square().mean()
        loss = loss + 0.01 * (raw.square().mean() - 1).square()
        if self.look is not None:
            loss = loss + 0.4 * perceptual_distance(self.look(painted), self.look(wanted)).mean()
        return loss

    def folded(self) -> TAESD:
        """The VAE as it is exported: the norm in the encoder's last filter, vae_scale set."""
        network = TAESD()
        network.load_state_dict(widened(self.network.state_dict()))
        last: Any = network.taesd_encoder[-1]
        mean, spread = self.level()
        last.weight.data /= spread[:, None, None, None]
        last.bias.data = (last.bias.data - mean) / spread
        network.vae_scale.data.fill_(SCALE)
        return network.eval().requires_grad_(False)

    def weights(self) -> dict[str, Tensor]:
        return self.folded().state_dict()

    def notes(self) -> dict[str, Any]:
        """The linear map from what the model sees to colours, for the host's previews; by least squares."""
        if self.shown is None:
            return {}
        factors, bias = linear_map(self.encode(self.shown[:24]), self.shown[:24])
        return {"latent_rgb_factors": factors.tolist(), "latent_rgb_factors_bias": bias.tolist()}

    def sheet(self, batch: Tensor) -> Tensor:
        """Renders, what the VAE makes of them, and three times the difference [N,3,h,3w], in [0,1]."""
        shown = batch[:8] if self.shown is None else self.shown[:8]
        painted = self.network.decode(self.encode(shown))
        return torch.cat([shown, painted, 3 * (painted - shown)], 3) / 2 + 0.5


@torch.no_grad()
def initialise(network: TAESD) -> None:
    """Starts a VAE as the mean colour of every 8x8 pixels: three channels carry it from end to end.

    All residual branches begin at zero, so that learning can take large steps; the other channels are random.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            if len(module.weight) == WIDTH and module.weight.shape[1] != 4:  # colours are not mixed with anything
                module.weight[:3] = 0
                module.weight[3:, :3] *= 0.3
                spread = 4 if module.stride == (2, 2) else 1
                rows = slice(1, 3) if spread == 4 else slice(1, 2)
                for i in range(3):
                    module.weight[i, i, rows, rows] = 1 / spread
    for module in network.modules():
        if isinstance(module, Residual):
            nn.init.zeros_(module.conv[4].weight)  # pyright: ignore[reportArgumentType]
    inner: Any = network.taesd_encoder[-1]
    outer: Any = network.taesd_decoder[1]
    last: Any = network.taesd_decoder[-1]
    inner.weight[:3] = 0
    inner.weight[3] *= 0.3
    outer.weight[:3] = 0
    last.weight *= 0.1
    last.weight[:, :3] = 0
    # brightness and two differences of colour, from and to [0,1]
    mix = torch.tensor([[0.33, 0.33, 0.33], [0.5, 0.0, -0.5], [-0.25, 0.5, -0.25]]) * torch.tensor(
        [[4.0], [8.0], [16.0]]
    )
    inner.weight[:3, :3, 1, 1] = mix
    inner.bias[:3] = -mix @ torch.full((3,), 0.5)
    outer.weight[:3, :3, 1, 1] = mix.inverse()
    outer.bias[:3] = 0.5
    for i in range(3):
        last.weight[i, i, 1, 1] = 1


def linear_map(z: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Factors [4,3] and bias [3] from latents [B,4,h,w] to colours in [-1,1], fitted to the mean of each 8x8 pixels."""
    small = nn.functional.avg_pool2d(image, 8).movedim(1, -1).reshape(-1, 3)
    seen = z.movedim(1, -1).reshape(-1, z.shape[1])
    solved = torch.linalg.lstsq(torch.cat([seen, torch.ones(len(seen), 1)], 1).double(), small.double()).solution
    return solved[:-1].float(), solved[-1].float()


def feature_network(path: Path | None) -> nn.Module | None:
    """The starter's VGG from its file, or None without one."""
    if path is None or not path.is_file():
        print("no feature network: pixels only", flush=True)
        return None
    return build(load_file(path))


def seen_through(look: nn.Module | None) -> Callable[[Tensor], list[Tensor]] | None:
    """What a VGG makes of pictures [B,3,H,W] in [-1,1]; None without one."""
    if look is None:
        return None
    return lambda x: look(((x + 1) / 2 - MEAN[:, None, None]) / STD[:, None, None])


def main(argv: list[str] | None = None) -> None:
    parser = starter_options("vae", __doc__, minutes=25.0, scenes=SCENES, peak=2e-3)
    parser.add_argument("--features", type=Path, help="the feature network's weights, for the perceptual term")
    parser.add_argument("--batch", type=int, default=8, help="crops of 64 pixels")
    choice = parser.parse_args(argv)
    begin(choice, "vae")
    images, _ = rendered_scenes(choice.folder, choice.scenes, SIZE)
    shown = torch.from_numpy(images[-64:].copy()).movedim(-1, 1).float() / 127.5 - 1
    torch.manual_seed(7)
    task, source = VAETask(feature_network(choice.features), shown), partial(crops, images[:-64], choice.batch, 64)
    train(SupervisedLesson("vae", task, source, learning_rate=choice.learning_rate, autocast=True), choice)
