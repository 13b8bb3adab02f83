"""The autoencoder of the sketch GAN: a style encoder, a content encoder and a decoder (arXiv 2012.09290, stage 2).

Published at 512 pixels. 128 and 256 are our extension: all maps scale with the side, and only the learned base map
changes its size. Names of layers keep the published sides (sf_32 gives 32x32 at 512 pixels, 8x8 at 128).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from .layers import (
    ConditionedSequential,
    DualMaskInjection,
    Layers,
    NormedGate,
    check,
    encoding_residual,
    gate,
    generating_residual,
    up,
)

SIZES = (128, 256, 512)
Maps = tuple[Tensor, Tensor, Tensor]


def style_widths(width: int) -> tuple[int, int, int]:
    """Lengths of the three style vectors; the content maps have as many channels."""
    return 2 * width, 4 * width, 8 * width


class Encoder(nn.Module):
    """Three maps of a picture [B,C,S,S] in [-1,1]: [2n,S/16], [4n,S/32], [8n,S/64].

    The first two are taken after the next layer's activation, because the published code applies it in place.
    """

    def __init__(self, prefix: str, channels: int, width: int, layers: Layers) -> None:
        super().__init__()
        n, self.prefix = width, prefix

        def halve(channels: int, out: int) -> nn.Module:
            return layers.conv(channels, out, 4, stride=2)

        stages = {
            256: (halve(channels, n // 4), nn.LeakyReLU(0.2)),
            128: (halve(n // 4, n // 2), layers.norm(n // 2), nn.LeakyReLU(0.1)),
            64: (halve(n // 2, n), layers.norm(n), nn.LeakyReLU(0.1)),
            32: (halve(n, 2 * n), encoding_residual(2 * n, layers)),
            16: (nn.Identity(), halve(2 * n, 4 * n), encoding_residual(4 * n, layers)),
            8: (nn.Identity(), halve(4 * n, 8 * n), encoding_residual(8 * n, layers)),
        }
        for side, stage in stages.items():
            self.add_module(f"{prefix}_{side}", ConditionedSequential(*stage))

    def maps(self, x: Tensor) -> Maps:
        for side in (256, 128, 64, 32):
            x = self.stage(side, x)
        quarter = leaky_relu(x, 0.1)
        eighth = leaky_relu(self.stage(16, quarter), 0.1)
        return quarter, eighth, self.stage(8, eighth)

    def stage(self, side: int, x: Tensor) -> Tensor:
        return self.get_submodule(f"{self.prefix}_{side}")(x)


class ContentEncoder(Encoder):
    """net(sketch [B,1,S,S] in [-1,1], paper 1, ink -1) -> three maps."""

    def __init__(
        self, *, width: int = 64, spectral: bool = False, ops: Any = nn, dtype: Any = None, device: Any = None
    ) -> None:
        super().__init__("cf", 1, width, Layers(ops, spectral, dtype=dtype, device=device))

    def forward(self, sketch: Tensor) -> Maps:
        return self.maps(sketch)


class StyleEncoder(Encoder):
    """net(picture [B,3,S,S] in [-1,1]) -> style vectors [B,2n], [B,4n], [B,8n].

    classes: how many pictures the training classifier tells apart; None: no classifier.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        classes: int | None = None,
        spectral: bool = False,
        ops: Any = nn,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        layers = Layers(ops, spectral, dtype=dtype, device=device)
        super().__init__("sf", 3, width, layers)
        for side, channels in zip((32, 16, 8), style_widths(width), strict=True):
            head = layers.conv(channels, channels, 4, padding=0)
            self.add_module(f"sfv_{side}", nn.Sequential(nn.AdaptiveAvgPool2d(4), head, nn.Flatten()))
        self.final_cls: nn.Sequential | None = None
        if classes is not None:
            self.final_cls = nn.Sequential(nn.LeakyReLU(0.1), layers.linear(8 * width, classes))

    def forward(self, picture: Tensor) -> Maps:
        sides = (32, 16, 8)
        styles = [self.get_submodule(f"sfv_{s}")(x) for s, x in zip(sides, self.maps(picture), strict=True)]
        return styles[0], styles[1], styles[2]

    def which(self, style: Tensor) -> Tensor:
        """Logits [B,classes] from the last style vector."""
        assert self.final_cls is not None, "made without classes"
        return self.final_cls(style)

    def forget_classes(self, generator: torch.Generator) -> None:
        """Resets the classifier, for the next set of pictures: weights U(+-1/sqrt(8n)), biases a tenth of that."""
        assert self.final_cls is not None, "made without classes"
        linear: Any = self.final_cls[1]
        most = linear.in_features**-0.5
        with torch.no_grad():
            for value, limit in ((linear.weight, most), (linear.bias, most / 10)):
                drawn = torch.rand(value.shape, generator=generator, device=generator.device)
                value.copy_((2 * drawn - 1) * limit)


class Decoder(nn.Module):
    """net(content maps, style vectors) -> picture [B,3,size,size] in [-1,1].

    least: minimum number of channels of the three largest maps; published are n/2, n/4 and n/8. Each channel of these
    maps is normalised on its own, so colours survive only in how channels are mixed, and two channels are too few.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        size: int = 512,
        least: int = 0,
        spectral: bool = False,
        ops: Any = nn,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        check("The sketch autoencoder", size, SIZES, width)
        layers, n = Layers(ops, spectral, dtype=dtype, device=device), width
        self.base_feat = nn.Parameter(torch.randn(1, 8 * n, size // 64, size // 64, dtype=dtype, device=device))
        self.dmi_8, self.dmi_16 = DualMaskInjection(8 * n, layers), DualMaskInjection(4 * n, layers)
        self.feat_8_1 = ConditionedSequential(
            generating_residual(16 * n, layers),
            nn.LeakyReLU(0.1),
            layers.conv(16 * n, 8 * n, 3),
            nn.InstanceNorm2d(8 * n),
        )
        self.feat_8_2 = ConditionedSequential(nn.LeakyReLU(0.1), generating_residual(8 * n, layers))

        def doubled(channels: int, out: int) -> ConditionedSequential:
            conv = layers.conv(channels, out, 3)
            residual = generating_residual(out, layers)
            return ConditionedSequential(nn.LeakyReLU(0.1), nn.Upsample(scale_factor=2), conv, residual)

        self.feat_16, self.feat_32 = doubled(8 * n, 4 * n), doubled(8 * n, 2 * n)
        half, quarter, eighth = (max(n // share, least) for share in (2, 4, 8))
        self.feat_64 = ConditionedSequential(nn.LeakyReLU(0.1), up(4 * n, n, layers, noisy=False))
        self.feat_128 = up(n, half, layers, noisy=False)
        self.feat_256 = up(half, quarter, layers, noisy=False)
        self.feat_512 = up(quarter, eighth, layers, noisy=False)
        self.to_rgb = nn.Sequential(layers.conv(eighth, 3, 3), nn.Tanh())
        self.style_8 = NormedGate(8 * n, 8 * n, layers)
        self.style_64 = gate(8 * n, n, layers)
        self.style_128 = gate(4 * n, half, layers)
        self.style_256 = gate(2 * n, quarter, layers)

    def forward(self, content: Sequence[Tensor], styles: Sequence[Tensor]) -> Tensor:
        content_32, content_16, content_8 = content
        style_32, style_16, style_8 = styles

        def scaled(x: Tensor, factor: Tensor) -> Tensor:
            return x * factor[:, :, None, None]

        base = self.base_feat.to(content_8.device).expand(len(content_8), -1, -1, -1)
        if base.shape[-2:] != content_8.shape[-2:]:
            side = 64 * base.shape[-1]
            raise ValueError(f"This sketch autoencoder works at {side}x{side} pixels: resize the sketch to that.")
        x = self.feat_8_1(torch.cat([content_8, base], 1))
        x = self.feat_8_2(scaled(self.dmi_8(x, content_8), self.style_8(style_8)))
        x = self.dmi_16(self.feat_16(x), content_16)
        x = self.feat_32(torch.cat([x, content_16], 1))
        x = scaled(self.feat_64(torch.cat([x, content_32], 1)), self.style_64(style_8))
        x = scaled(self.feat_128(x), self.style_128(style_16))
        x = scaled(self.feat_256(x), self.style_256(style_32))
        return self.to_rgb(self.feat_512(x))


class StyleGuess(nn.Module):
    """Predicts the style from content maps: net(maps) -> mean and log variance, both [B,14n].

    The variational half of the mutual-information term. The formulation is ours: the release has none.
    """

    def __init__(self, *, width: int = 64, hidden: int = 256, dtype: Any = None, device: Any = None) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        total = sum(style_widths(width))
        self.net = nn.Sequential(nn.Linear(total, hidden, **kw), nn.ReLU(), nn.Linear(hidden, 2 * total, **kw))

    def forward(self, content: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        mean, spread = self.net(torch.cat([x.mean((2, 3)) for x in content], 1)).chunk(2, 1)
        return mean, 5 * torch.tanh(spread / 5)  # a variance of e^-5 to e^5
