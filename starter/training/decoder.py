"""Sharpens the decoder of the starter's VAE: twice the channels, and a critic that tells its pictures from renders.

The encoder stays as it is, so that latents and every model that was trained on them stay good. What an encoder dropped
no decoder knows, and the mean of all it may have been is a blur; the critic (a patch discriminator with hinge losses,
as in Esser et al. 2021) makes the decoder choose one.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...networks.taesd import TAESD, Residual
from ...pictures.features import perceptual_distance
from ...training.command import begin, starter_options, train
from ...training.supervised import SupervisedLesson, Task
from .dataset import rendered_scenes
from .text import latents, trained_vae
from .vae import (
    NOISE,
    SCENES,
    SIZE,
    WIDTH,
    feature_network,
    seen_through,
)

CRITICAL = 0.1  # weight of the critic's opinion
GRAIN = 0.03  # deviation of the noise on what it is shown
Batch = tuple[Tensor, Tensor]


class DecoderTask(Task):
    """A decoder, its critic and their losses. whole: state dict and notes of the VAE that the decoder is taken from."""

    def __init__(
        self, whole: dict[str, Tensor], notes: dict[str, Any], look: nn.Module | None = None, seed: int = 11
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vae = TAESD()
            vae.load_state_dict(whole)
            self.network = vae.taesd_decoder
            awaken(self.network)
            self.critic = Critic()
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.held = {key: value for key, value in whole.items() if not key.startswith("taesd_decoder.")}
        self.stated = notes
        self.look = seen_through(look)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures [B,3,H,W] in [-1,1] of latents as the model sees them."""
        return self.network(z.contiguous(memory_format=torch.channels_last)).float() * 2 - 1

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Absolute and perceptual difference, and the duel with the critic."""
        z, wanted = batch
        spread = torch.rand(len(z), 1, 1, 1, generator=rng) * NOISE
        painted = self.decode(z + spread * torch.randn(z.shape, generator=rng))
        loss = (painted - wanted).abs().mean() + self.critic.duel(painted, wanted, rng, CRITICAL)
        if self.look is not None:
            loss = loss + 0.4 * perceptual_distance(self.look(painted), self.look(wanted)).mean()
        return loss

    def weights(self) -> dict[str, Tensor]:
        decoder = {f"taesd_decoder.{key}": value for key, value in self.network.state_dict().items()}
        return self.held | decoder

    def notes(self) -> dict[str, Any]:
        return self.stated

    def sheet(self, batch: Batch) -> Tensor:
        """Renders, and what the decoder makes of their latents [N,3,h,2w], in [0,1]."""
        return torch.cat([batch[1], self.decode(batch[0])], 3) / 2 + 0.5


class Critic(nn.Module):
    """Pictures [B,3,H,W] in [-1,1] to opinions [B,1,H/8,W/8], above 0 for a render; an opinion sees 30 x 30 pixels.

    It is shown detail apart, six times as strong: by colours it would find blur too late. Pictures are noised for it,
    so that it does not judge by the grain of renders, which no decoder can know.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(6, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for inside, outside in ((width, 2 * width), (2 * width, 3 * width)):
            conv = nn.Conv2d(inside, outside, 4, stride=2, padding=1)
            layers += [conv, nn.GroupNorm(8, outside), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(3 * width, 1, 3, padding=1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """noise: standard normal, like x."""
        x = x + GRAIN * noise
        detail = x - nn.functional.avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False)
        return self.layers(torch.cat([x, 6 * detail], 1))

    def duel(self, made: Tensor, wanted: Tensor, rng: torch.Generator, weight: float) -> Tensor:
        """What a critic adds to a loss: its opinion of what was made, with its weight, and its own hinge loss.

        Each half's gradient reaches its own weights only, so that one backward pass serves both.
        """
        grain = [torch.randn(wanted.shape, generator=rng) for _ in range(3)]
        fixed = {name: value.detach() for name, value in self.named_parameters()}
        opinion = functional_call(self, fixed, (made, grain[0])).float().mean()
        real, fake = self(wanted, grain[1]).float(), self(made.detach(), grain[2]).float()
        return (1 - real).relu().mean() + (1 + fake).relu().mean() - weight * opinion


@torch.no_grad()
def awaken(decoder: nn.Module, used: int = WIDTH) -> None:
    """Gives the padding channels of a widened decoder random input weights. Nothing reads them yet, so the output is
    unchanged, but training can now use them."""
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d) and len(module.weight) > used:
            fresh = torch.empty_like(module.weight)
            nn.init.kaiming_normal_(fresh, nonlinearity="relu")
            module.weight[used:] = fresh[used:]
    for module in decoder.modules():
        if isinstance(module, Residual):
            last: Any = module.conv[4]
            last.weight[used:] = 0  # every residual branch begins at zero


def batch(images: np.ndarray, known: np.ndarray, count: int, step: int) -> Batch:
    """The batch of a step: latents [count,4,h,w] with their renders [count,3,H,W] in [-1,1]."""
    rng = np.random.default_rng([37, step])
    chosen = np.sort(rng.integers(0, len(known), count))
    drawn = np.stack([images[i, :, ::-1] if i % 2 else images[i] for i in chosen])  # as the latents were made
    pictures = torch.from_numpy(drawn).movedim(-1, 1).float() / 127.5 - 1
    return torch.from_numpy(known[chosen]).float(), pictures.contiguous(memory_format=torch.channels_last)


def main(argv: list[str] | None = None) -> None:
    parser = starter_options("decoder", __doc__, minutes=40.0, scenes=SCENES, peak=5e-4)
    parser.add_argument("--vae", type=Path, help="the trained VAE (vae.safetensors of --folder)")
    parser.add_argument("--features", type=Path, help="the feature network's weights, for the perceptual term")
    parser.add_argument("--batch", type=int, default=2, help="whole pictures")
    choice = parser.parse_args(argv)
    begin(choice, "decoder")
    vae, notes = trained_vae(choice.vae or choice.folder / "vae.safetensors")
    images, _ = rendered_scenes(choice.folder, choice.scenes, SIZE)
    known = latents(choice.folder, images, vae)
    task = DecoderTask(vae.state_dict(), notes, feature_network(choice.features))
    source, rate = partial(batch, images, known, choice.batch), choice.learning_rate
    train(SupervisedLesson("decoder", task, source, learning_rate=rate, ema=0.998, autocast=True), choice)
