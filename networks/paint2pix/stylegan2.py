"""StyleGAN2's generator and discriminator (Karras et al., arXiv 1912.04958), under the key names of rosinality's port.

Sizes, widths, the style's dimension and the depth of the mapping are read from the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Unsupported
from .layers import Activate, EqualConv, EqualLinear, Filter, FilterUp, Modulated, before_down

RATE = 0.01  # of the mapping network


class Noise(nn.Module):
    """x + w n, one weight for all channels; n [1 or B,1,H,W]."""

    def __init__(self, **kw: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, **kw))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight.to(x) * noise.to(x)


class StyledConv(nn.Module):
    """A modulated 3x3 convolution, noise, bias and LeakyReLU."""

    def __init__(
        self, channels: int, out: int, style_dim: int, *, resize: str = "", length: int = 4, **kw: Any
    ) -> None:
        super().__init__()
        self.conv = Modulated(channels, out, 3, style_dim, resize=resize, length=length, **kw)
        self.noise = Noise(**kw)
        self.activate = Activate(out, **kw)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, style), noise))


class ToRGB(nn.Module):
    """A modulated 1x1 convolution without the division, plus the enlarged picture of the level before."""

    def __init__(self, channels: int, style_dim: int, *, first: bool = False, length: int = 4, **kw: Any) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1, **kw))
        self.upsample = None if first else FilterUp(length, **kw)
        self.conv = Modulated(channels, 3, 1, style_dim, demodulate=False, **kw)

    def forward(self, x: Tensor, style: Tensor, smaller: Tensor | None = None) -> Tensor:
        picture = self.conv(x, style) + self.bias.to(x)
        return picture if smaller is None or self.upsample is None else picture + self.upsample(smaller)


class PixelNorm(nn.Module):
    """x [B,C] divided by its root mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Constant(nn.Module):
    """The learned 4x4 map that every picture starts from."""

    def __init__(self, channels: int, **kw: Any) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4, **kw))


class Generator(nn.Module):
    """Pictures from styles: net(w [B,styles,style_dim]) -> [B,3,size,size], about [-1,1].

    widths: channels at 4, 8, 16, ... pixels. mappings: layers of the mapping network. length: taps of the filters.
    There are 2 len(widths) styles: two convolutions and a ToRGB per size, and neighbours share one.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (512, 512, 512, 512, 512, 256, 128, 64, 32),
        style_dim: int = 512,
        mappings: int = 8,
        length: int = 4,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.style_dim, self.size = style_dim, 2 ** (len(widths) + 1)
        self.styles = 2 * len(widths)
        self.style = nn.Sequential(
            PixelNorm(),
            *(EqualLinear(style_dim, style_dim, rate=RATE, activate=True, **kw) for _ in range(mappings)),
        )
        self.input = Constant(widths[0], **kw)
        self.conv1 = StyledConv(widths[0], widths[0], style_dim, **kw)
        self.to_rgb1 = ToRGB(widths[0], style_dim, first=True, **kw)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for before, width in pairwise(widths):
            self.convs.append(StyledConv(before, width, style_dim, resize="up", length=length, **kw))
            self.convs.append(StyledConv(width, width, style_dim, **kw))
            self.to_rgbs.append(ToRGB(width, style_dim, length=length, **kw))
        for i, side in enumerate(self.sides):
            self.noises.register_buffer(f"noise_{i}", torch.randn(1, 1, side, side, **kw))

    @property
    def sides(self) -> list[int]:
        """The side of each noise map, in the order of use: 4, 8, 8, 16, 16, ..."""
        return [2 ** ((i + 5) // 2) for i in range(len(self.convs) + 1)]

    def mapping(self, z: Tensor) -> Tensor:
        """w [B,style_dim] of normal noise z [B,style_dim]."""
        return self.style(z)

    def forward(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """noise: a map [1 or B,1,side,side] for each of `sides`; None: the maps stored with the weights."""
        if w.shape[1:] != (self.styles, self.style_dim):
            raise ValueError(
                f"This StyleGAN2 of {self.size} pixels takes {self.styles} styles of {self.style_dim} numbers, got "
                f"{list(w.shape[1:])}. Use latents of a decoder of the same size."
            )
        if noise is None:
            noise = [getattr(self.noises, f"noise_{i}") for i in range(len(self.sides))]
        x = self.input.input.to(w).expand(len(w), -1, -1, -1)
        x = self.conv1(x, w[:, 0], noise[0])
        picture = self.to_rgb1(x, w[:, 1])
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * i](x, w[:, 2 * i + 1], noise[2 * i + 1])
            x = self.convs[2 * i + 1](x, w[:, 2 * i + 2], noise[2 * i + 2])
            picture = to_rgb(x, w[:, 2 * i + 3], picture)
        return picture


def mean_latent(network: Generator, z: Tensor) -> Tensor:
    """The mean w [1,style_dim] of normal noises z [N,style_dim]; as published, N = 4096."""
    return network.mapping(z).mean(0, keepdim=True)


def truncated(w: Tensor, mean: Tensor, truncation: float) -> Tensor:
    """w moved towards the mean: mean + truncation (w - mean). 1 changes nothing; lower is safer and less varied."""
    return mean + truncation * (w - mean)


def mixed(first: Tensor, second: Tensor, layer: int, styles: int) -> Tensor:
    """Style mixing: [B,styles,style_dim] with w `first` [B,style_dim] before `layer`, and `second` from it on."""
    return torch.stack([first] * layer + [second] * (styles - layer), 1)


# --- discriminator ----------------------------------------------------------------------------------------------------


def _conv(
    channels: int, out: int, kernel: int, *, down: bool = False, activate: bool = True, **kw: Any
) -> nn.Sequential:
    padding = 0 if down else None
    layers: list[nn.Module] = [Filter(before_down(kernel), **kw)] if down else []
    layers.append(EqualConv(channels, out, kernel, stride=1 + down, padding=padding, **kw))
    return nn.Sequential(*layers, *([Activate(out, **kw)] if activate else []))


class Halving(nn.Module):
    """Two 3x3 convolutions to half the size, and a 1x1 shortcut; their sum over sqrt(2)."""

    def __init__(self, channels: int, out: int, **kw: Any) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3, **kw)
        self.conv2 = _conv(channels, out, 3, down=True, **kw)
        self.skip = _conv(channels, out, 1, down=True, activate=False, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """Scores of pictures: net(x [B,3,size,size]) -> [B,1], high for real ones.

    widths: channels at 4, 8, 16, ... pixels, as for Generator. The last map gets the standard deviation among up to
    four pictures of the batch as one more channel.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (512, 512, 512, 512, 512, 256, 128, 64, 32),
        last: int | None = None,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.size, last = 2 ** (len(widths) + 1), last or widths[0]
        falling = tuple(reversed(widths))
        self.convs = nn.Sequential(
            _conv(3, falling[0], 1, **kw),
            *(Halving(wide, out, **kw) for wide, out in pairwise(falling)),
        )
        self.final_conv = _conv(widths[0] + 1, last, 3, **kw)
        self.final_linear = nn.Sequential(EqualLinear(last * 16, last, activate=True, **kw), EqualLinear(last, 1, **kw))

    def forward(self, x: Tensor) -> Tensor:
        x = self.convs(x)
        return self.final_linear(self.final_conv(torch.cat([x, spread(x)], 1)).flatten(1))


def spread(x: Tensor, most: int = 4) -> Tensor:
    """The standard deviation across groups of pictures, averaged over channels and places: [B,C,H,W] -> [B,1,H,W].

    Groups have as many pictures as divide the batch, at most `most`. Picture i belongs to group i mod (B / group).
    """
    group = next(count for count in range(min(most, len(x)), 0, -1) if len(x) % count == 0)
    by_group = x.view(group, -1, *x.shape[1:])
    deviation = (by_group.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))  # [B / group]
    return deviation.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])


# --- from files -------------------------------------------------------------------------------------------------------


def generator_config(weights: Mapping[str, Tensor], hints: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of Generator for these weights."""
    sizes = _count(weights, "to_rgbs.{}.bias")
    if not sizes:
        raise Unsupported("This StyleGAN2 generator makes pictures of 4 pixels a side; 8 and more are supported.")
    return {
        "widths": (
            weights["conv1.conv.weight"].shape[1],
            *(weights[f"convs.{2 * i}.conv.weight"].shape[1] for i in range(sizes)),
        ),
        "style_dim": weights["conv1.conv.modulation.weight"].shape[1],
        "mappings": _count(weights, "style.{}.weight", 1),
        "length": weights["convs.0.conv.blur.kernel"].shape[-1],
    }


def discriminator_config(weights: Mapping[str, Tensor], hints: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of Discriminator for these weights."""
    halvings = _count(weights, "convs.{}.conv1.0.weight", 1)
    falling = [weights["convs.0.0.weight"].shape[0]]
    falling += [weights[f"convs.{i}.skip.1.weight"].shape[0] for i in range(1, halvings + 1)]
    return {"widths": tuple(reversed(falling)), "last": weights["final_conv.0.weight"].shape[0]}


def _count(weights: Mapping[str, Tensor], key: str, start: int = 0) -> int:
    """How many consecutive numbers from `start` on give a key that is there."""
    found = 0
    while key.format(start + found) in weights:
        found += 1
    return found
