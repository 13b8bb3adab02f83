"""Trains the starter's latent model that listens to words: a UNet and a small text encoder, together.

Epsilon prediction on Stable Diffusion's noise levels with min-SNR weighting (Hang et al. 2023, gamma 5), captions left
out now and then for classifier-free guidance (Ho and Salimans 2021), and an average of the weights. It works on latents
of the starter's VAE, which are made once. The UNet is the host's own class and comes from outside.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ... import files
from ...networks.taesd import TAESD
from ...networks.text import TextEncoder, Words, padded
from ...training.command import begin, starter_options, train
from ...training.diffusion import min_snr_loss, zero_last_layers
from ...training.supervised import SupervisedLesson, Task
from .captions import varied, vocabulary
from .dataset import rendered_scenes
from .vae import SCALE, SCENES, SIZE

WINDOW = 37  # tokens of one prompt; a prime, so that no grid of pixels has as many
TEXT: dict[str, Any] = {"window": WINDOW, "width": 128, "layers": 2, "heads": 4}
UNET = {
    "image_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "num_res_blocks": 1,
    "channel_mult": (1, 2, 2),
    "num_heads": -1,
    "num_head_channels": 32,
    "use_spatial_transformer": True,
    "transformer_depth": [1, 1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 0],
    "context_dim": TEXT["width"],
    "use_linear_in_transformer": False,
    "legacy": False,
}
SILENT = 0.12  # share of captions that are left out whole
SHOWN = (
    "the sun, clouds, snowy mountains, a lake, conifers, at sunset",
    "the sun, a clear sky, sand dunes, by day",
    "a moon, hills, a snowfield, a cabin, at night",
    "the sun, clouds, wooded hills, a meadow, flowers, a path, by day",
    "heavy clouds, mountains, a lake, under an overcast sky",
    "a lake",
    "a cabin in the snow at dawn",
    "",
)
Batch = tuple[Tensor, Tensor]


class Layers:
    """The layers that the host's UNet is built from, as torch has them."""

    Linear, Conv2d, GroupNorm, LayerNorm = nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm

    @staticmethod
    def conv_nd(_: int, *args: Any, **settings: Any) -> nn.Conv2d:
        return nn.Conv2d(*args, **settings)


def attend(_: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, **__: Any) -> Tensor:
    """Attention of q [B,n,C] on k, v [B,m,C], spelled out: on a CPU torch's own is four times slower backwards, and the
    host's, which saves memory, slower still."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
    return (weights.softmax(-1, dtype=weights.dtype) @ v).transpose(1, 2).flatten(2)


def sigmas() -> Tensor:
    """Stable Diffusion's 1000 noise levels sqrt((1 - abar) / abar), ascending, .03 to 14.6."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)
    return ((1 - abar) / abar).sqrt().float()


def latents(folder: Path, images: np.ndarray, vae: TAESD) -> np.ndarray:
    """What the model sees of the renders [N,4,h,w] float16, kept in a file of `folder`; every second one is mirrored
    first."""
    path = folder / f"latents_{images.shape[1]}_{len(images)}.npy"
    if not path.is_file():
        parts = []
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for first in range(0, len(images), 50):
                x = torch.from_numpy(images[first : first + 50].copy()).movedim(-1, 1).float() / 127.5 - 1
                x[1::2] = x[1::2].flip(-1)
                parts.append(((vae.encode(x) - vae.vae_shift) * vae.vae_scale).half().numpy())
        files.write(path, lambda file: np.save(file, np.concatenate(parts)))
        print(f"encoded {len(images)} scenes", flush=True)
    return np.load(path)


def batch(known: np.ndarray, captions: list[str], words: Words, count: int, step: int) -> Batch:
    """The batch of a step: latents [count,4,h,w] with the tokens [count,WINDOW] of their captions in some variation, or
    of none."""
    rng = np.random.default_rng([31, step])
    chosen = np.sort(rng.integers(0, len(known), count))
    said = ["" if rng.random() < SILENT else varied(captions[i], rng) for i in chosen]
    tokens = [padded(words(text)["input_ids"], WINDOW) for text in said]
    return torch.from_numpy(known[chosen]).float(), torch.tensor(tokens)


class PromptTask(Task):
    """A text encoder, what its contexts mean to a latent model, and their export. text: the encoder's shape; vae: for
    the sheet, or None; stated: what else the file's notes say.

    A subclass has the model in the part called `network_name`, with its `shape`, and writes `loss` and `sample`.
    """

    network_name = "network"
    shape: dict[str, Any]

    def __init__(self, text: dict[str, Any], vae: TAESD | None = None, stated: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.text_shape, self.stated = text, stated or {}
        self.words = Words(vocabulary())
        self.text = TextEncoder(vocabulary=len(self.words.vocabulary), **text)
        for embedding in (self.text.embed, self.text.positions):
            nn.init.normal_(embedding.weight, std=0.3)
        self.vae = [vae] if vae else []  # in a list: no part of what is trained

    def speak(self, tokens: Tensor) -> Tensor:
        """Contexts [B,WINDOW,width] of tokens [B,WINDOW]."""
        return self.text(tokens)[0]

    def contexts(self, texts: tuple[str, ...]) -> Tensor:
        """[2N,WINDOW,width]: of N texts, then N times of none."""
        tokens = torch.tensor([padded(self.words(text)["input_ids"], WINDOW) for text in (*texts, "")])
        said = self.speak(tokens)
        return torch.cat([said[:-1], said[-1:].expand(len(texts), -1, -1)])

    def sample(self, texts: tuple[str, ...]) -> Tensor:
        """Latents [N,4,h,w] of N texts."""
        raise NotImplementedError

    def weights(self) -> dict[str, Tensor]:
        parts = {self.network_name: getattr(self, self.network_name), "text": self.text}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}

    def notes(self) -> dict[str, Any]:
        own = {self.network_name: self.shape, "text": self.text_shape, "words": vocabulary(), "scale_factor": SCALE}
        return own | self.stated

    def sheet(self, _: Batch) -> Tensor:
        """Samples of SHOWN [2,3,h,4w] in [0,1], the last without words; latents without a VAE."""
        with torch.autocast("cpu", torch.bfloat16):
            found = self.sample(SHOWN)
        painted = self.vae[0].decode(found / self.vae[0].vae_scale) if self.vae else found[:, :3]
        rows = painted.unflatten(0, (2, -1)).movedim(1, 3)
        return rows.flatten(3) / 2 + 0.5


class TextTask(PromptTask):
    """The UNet. unet: the host's UNetModel; the rest as PromptTask's."""

    network_name = "unet"

    def __init__(
        self,
        unet: Callable[..., nn.Module],
        shape: dict[str, Any] = UNET,
        vae: TAESD | None = None,
        stated: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(TEXT, vae, {"image_size": SIZE} | (stated or {}))
        self.shape = shape
        self.unet = unet(**{**shape, "channel_mult": tuple(shape["channel_mult"])}, operations=Layers)
        zero_last_layers(self.unet)
        self.ratio = sigmas()

    def epsilon(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """The noise in x [B,4,h,w], which has variance 1."""
        options = {"optimized_attention_override": attend}
        return self.unet(x, t, context=context, transformer_options=options).float()

    def loss(self, batch: Batch, rng: torch.Generator, gamma: float = 5.0) -> Tensor:
        """min_snr_loss of the noise that the UNet finds with the captions."""
        clean, tokens = batch
        return min_snr_loss(lambda x, t: self.epsilon(x, t, self.speak(tokens)), clean, self.ratio, rng, gamma)

    def sample(self, texts: tuple[str, ...], steps: int = 25, cfg: float = 4.0, seed: int = 0) -> Tensor:
        """Latents [N,4,16,16] by Euler's method from pure noise, at classifier-free guidance `cfg`."""
        contexts = self.contexts(texts)
        times = torch.linspace(999, 0, steps).round().long().tolist()
        side = self.shape["image_size"]
        x = torch.randn(len(texts), 4, side, side, generator=torch.Generator().manual_seed(seed)) * self.ratio[-1]
        for now, after in pairwise([*times, -1]):
            level, lower = self.ratio[now], self.ratio[after] if after >= 0 else torch.tensor(0.0)
            seen = (x / (1 + level**2).sqrt()).repeat(2, 1, 1, 1)
            told, free = self.epsilon(seen, torch.full((2 * len(x),), float(now)), contexts).chunk(2)
            x = x + (lower - level) * (free + cfg * (told - free))
        return x


def trained_vae(path: Path) -> tuple[TAESD, dict[str, Any]]:
    """The exported VAE and the linear map of its notes."""
    vae = TAESD()
    vae.load_state_dict(load_file(path))
    with safe_open(path, "pt") as file:
        notes = {key: json.loads(note) for key, note in file.metadata().items() if key.startswith("latent_rgb")}
    return vae.eval().requires_grad_(False), notes


def prompt_options(name: str, about: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """What one can choose in the training of a PromptTask: starter_options with its `defaults`, the VAE, the batch."""
    parser = starter_options(name, about, **defaults)
    parser.add_argument("--vae", type=Path, help="the trained VAE (vae.safetensors of --folder)")
    parser.add_argument("--batch", type=int, default=32)
    return parser


def encoded_scenes(choice: argparse.Namespace, size: int) -> tuple[TAESD, dict[str, Any], np.ndarray, list[str]]:
    """The VAE, the linear map of its notes, the scenes of `size` pixels as its latents, and their captions."""
    vae, colours = trained_vae(choice.vae or choice.folder / "vae.safetensors")
    images, captions = rendered_scenes(choice.folder, choice.scenes, size)
    return vae, colours, latents(choice.folder, images, vae), captions


def main(argv: list[str] | None = None, unet: Callable[..., nn.Module] | None = None) -> None:
    """unet: the host's UNetModel, which dev/tools/train.py brings along."""
    assert unet is not None
    parser = prompt_options("text", __doc__, minutes=70.0, scenes=SCENES, peak=8e-4)
    choice = parser.parse_args(argv)
    begin(choice, "text")
    vae, colours, known, captions = encoded_scenes(choice, SIZE)
    torch.manual_seed(9)
    task = TextTask(unet, vae=vae, stated=colours)
    source, rate = partial(batch, known, captions, task.words, choice.batch), choice.learning_rate
    train(SupervisedLesson("text", task, source, learning_rate=rate, ema=0.9992, autocast=True), choice)
