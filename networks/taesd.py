"""The tiny autoencoder of latent diffusion models (TAESD, github.com/madebyollin/taesd) under its published key names.

Encoder and decoder are stacks of residual blocks of 64 channels, without norms or attention; one latent pixel is 8x8
pixels. The host's VAELoader reads a file of these keys as a VAE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 64  # of every published file
LIMIT = 3.0  # the decoder soft-clamps latents to +-LIMIT


class Bend(nn.Module):
    """3 tanh(z / 3): the decoder's first layer."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / LIMIT) * LIMIT


class Residual(nn.Module):
    """relu(x + three convolutions of x)."""

    def __init__(self, width: int, ops: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        layers = [ops.Conv2d(width, width, 3, padding=1, **kw) for _ in range(3)]
        self.conv = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv(x) + x).relu()


class TAESD(nn.Module):
    """encode(x [B,3,H,W] in [-1,1]) -> latents [B,4,H/8,W/8]; decode goes back. H and W are multiples of 8.

    Latents are the encoder's output divided by vae_scale, plus vae_shift; both numbers are stored in the file.
    """

    vae_scale: Tensor
    vae_shift: Tensor

    def __init__(
        self,
        *,
        latent_channels: int = 4,
        width: int = WIDTH,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}

        def blocks(count: int) -> list[nn.Module]:
            return [Residual(width, ops, kw) for _ in range(count)]

        halves = [ops.Conv2d(width, width, 3, padding=1, stride=2, bias=False, **kw) for _ in range(3)]
        doubles = [ops.Conv2d(width, width, 3, padding=1, bias=False, **kw) for _ in range(3)]
        inside: list[nn.Module] = [ops.Conv2d(3, width, 3, padding=1, **kw), *blocks(1)]
        outside: list[nn.Module] = [Bend(), ops.Conv2d(latent_channels, width, 3, padding=1, **kw), nn.ReLU()]
        for half, double in zip(halves, doubles, strict=True):
            inside += [half, *blocks(3)]
            outside += [*blocks(3), nn.Upsample(scale_factor=2), double]
        inside.append(ops.Conv2d(width, latent_channels, 3, padding=1, **kw))
        outside += [*blocks(1), ops.Conv2d(width, 3, 3, padding=1, **kw)]
        self.taesd_encoder = nn.Sequential(*inside)
        self.taesd_decoder = nn.Sequential(*outside)
        self.register_buffer("vae_scale", torch.ones((), **kw))
        self.register_buffer("vae_shift", torch.zeros((), **kw))

    def encode(self, x: Tensor) -> Tensor:
        return self.taesd_encoder((x + 1) / 2) / self.vae_scale + self.vae_shift

    def decode(self, latent: Tensor) -> Tensor:
        return self.taesd_decoder((latent - self.vae_shift) * self.vae_scale) * 2 - 1


def widened(weights: Mapping[str, Tensor], width: int = WIDTH) -> dict[str, Tensor]:
    """The weights of a narrow TAESD as those of a wide one that computes the same; the additional channels are zero."""
    shapes = {key: value.shape for key, value in TAESD(width=width, device="meta").state_dict().items()}
    wide = {}
    for key, value in weights.items():
        wide[key] = value.new_zeros(shapes[key])
        wide[key][tuple(map(slice, value.shape))] = value
    return wide
