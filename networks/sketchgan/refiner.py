"""The refinement half of the sketch GAN: generators for art, shoes and faces, and their discriminator
(arXiv 2012.09290, stage 3).

Published at 512 and 1024 pixels (1024 is 512 with one more doubling at the end). 128 and 256 are our extension: the
maps that grow from the style and from noise scale with the size, through the kernel that grows them (4 at 512, 2 at
256, 1 at 128).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .autoencoder import style_widths
from .layers import (
    GLU,
    CallOptions,
    ConditionedSequential,
    Layers,
    ToPixel,
    check,
    down,
    gate,
    generating_residual,
    up,
)

SIZES = (128, 256, 512, 1024)


def draft_size(size: int) -> int:
    """The side of the drafts that a generator of this size refines."""
    return min(size, 512)


class Refiner(nn.Module, ABC):
    """net(draft [B,3,S,S] in [-1,1], styles, noise) -> picture [B,3,size,size] in [-1,1]; S is 512 where size is 1024.

    noise: standard normal tensors of the shapes of `noise_shapes`. flips [B,2] (faces only): whether the map grown from
    the style is flipped vertically and horizontally. batch: batch norms use the batch's own statistics, as in the
    published scripts, and do not keep them; otherwise the running ones.
    """

    kind: str
    width: int
    size: int

    def __init__(self, kind: str, width: int, size: int) -> None:
        super().__init__()
        check(f"The sketch GAN ({kind})", size, SIZES, width)
        self.kind, self.width, self.size, self.draft = kind, width, size, draft_size(size)

    @abstractmethod
    def noise_shapes(self, batch: int) -> list[tuple[int, ...]]:
        """The noise that one call needs, in the published order."""
        ...

    def maps(self, batch: int, *shares: int) -> list[tuple[int, ...]]:
        """Noise maps at these fractions of the draft's side, and at full and double size if the size needs them."""
        larger = [self.draft] + [self.size] * (self.size > self.draft)
        return [(batch, 1, side, side) for side in (*(self.draft // share for share in shares), *larger)]

    def forward(
        self,
        draft: Tensor,
        styles: Sequence[Tensor],
        noise: Sequence[Tensor],
        flips: Tensor | None = None,
        batch: bool = False,
    ) -> Tensor:
        if draft.shape[-2:] != (self.draft, self.draft):
            height, width = draft.shape[-2:]
            raise ValueError(
                f"This generator refines drafts of {self.draft}x{self.draft} pixels, not {width}x{height}."
            )
        shapes = self.noise_shapes(len(draft))
        if [tuple(value.shape) for value in noise] != shapes:
            raise ValueError(f"A generator needs noise of the shapes {shapes}: draw it by its noise_shapes.")
        return self.refine(draft, styles, [value.to(draft.device) for value in noise], flips, batch)

    @abstractmethod
    def refine(
        self, draft: Tensor, styles: Sequence[Tensor], noise: list[Tensor], flips: Tensor | None, batch: bool
    ) -> Tensor:
        """`forward` after the checks; noise is on the draft's device."""
        ...


class ArtRefiner(Refiner):
    """The generator for art, and for shoes, which uses only the draft and no style vectors."""

    def __init__(
        self,
        *,
        width: int = 64,
        size: int = 512,
        kind: str = "art",
        spectral: bool = False,
        ops: Any = nn,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        super().__init__(kind, width, size)
        layers, n = Layers(ops, spectral, dtype=dtype, device=device), width
        side = self.draft // 128
        if kind == "shoe":  # in published files, but unused
            for i, length in enumerate(style_widths(n)):
                self.register_parameter(f"bs_{i}", nn.Parameter(torch.randn(1, length, dtype=dtype, device=device)))

        def grown(channels: int, out: int) -> tuple[nn.Module, ...]:
            return ToPixel(), layers.grow(channels, out, side), layers.norm(out), GLU()

        def doubled(channels: int, out: int) -> ConditionedSequential:
            return up(channels, out, layers, noisy=True)

        pairs = ((4 * n, 2 * n), (2 * n, 2 * n), (2 * n, n))
        self.from_noise_32 = ConditionedSequential(*grown(8 * n, 8 * n), *(doubled(*pair) for pair in pairs))
        self.from_style = ConditionedSequential(*grown(14 * n, 16 * n), doubled(8 * n, 4 * n))
        self.encode_256 = ConditionedSequential(layers.conv(3, n, 4, stride=2, sn=True), nn.LeakyReLU(0.2))
        self.encode_128, self.encode_64 = (
            ConditionedSequential(*down(n, 2 * n, layers)),
            ConditionedSequential(*down(2 * n, 4 * n, layers)),
        )
        self.encode_32, self.encode_16 = (
            ConditionedSequential(*down(4 * n, 8 * n, layers)),
            ConditionedSequential(*down(8 * n, 8 * n, layers)),
        )
        self.residual_16 = ConditionedSequential(
            generating_residual(12 * n, layers), nn.SiLU(), generating_residual(12 * n, layers), nn.SiLU()
        )
        self.decode_32, self.decode_64 = doubled(12 * n, 8 * n), doubled(9 * n, 4 * n)
        self.decode_128, self.decode_256, self.decode_512 = doubled(4 * n, 2 * n), doubled(2 * n, n), doubled(n, n // 2)
        last = n // 2
        if size > self.draft:
            self.decode_1024, last = doubled(n // 2, n // 4), n // 4
        self.style_64 = gate(8 * n, 4 * n, layers, sn=True)
        self.style_128 = gate(8 * n, 2 * n, layers, sn=True)
        self.style_256 = gate(4 * n, n, layers, sn=True)
        self.style_512 = gate(2 * n, n // 2, layers, sn=True)
        self.to_rgb = nn.Sequential(layers.conv(last, 3, 3), nn.Tanh())

    def noise_shapes(self, batch: int) -> list[tuple[int, ...]]:
        grown, *decoded = self.maps(batch, 64, 64, 32, 16, 16, 8, 4, 2)
        return [grown, (batch, 8 * self.width), *decoded]

    def refine(
        self, draft: Tensor, styles: Sequence[Tensor], noise: list[Tensor], flips: Tensor | None, batch: bool
    ) -> Tensor:
        options = CallOptions(batch, iter(noise))
        style_32, style_16, style_8 = styles
        side = self.draft // 32
        if self.kind == "shoe":
            self._pass_over_style(torch.cat([style_32, style_16, style_8], 1), options)
            style_map = draft.new_zeros(len(draft), 4 * self.width, side, side)
        else:
            style_map = self.from_style(torch.cat([style_32, style_16, style_8], 1), options).repeat(1, 1, 2, 2)
        noise_map = self.from_noise_32(next(options.noise).to(style_8), options)

        def gated(x: Tensor, factor: ConditionedSequential, style: Tensor) -> Tensor:
            return x if self.kind == "shoe" else x * factor(style)[:, :, None, None]

        e256 = self.encode_256(draft, options)
        e128 = self.encode_128(e256, options)
        e64 = self.encode_64(e128, options)
        e16 = self.encode_16(self.encode_32(e64, options), options)
        x = self.residual_16(torch.cat([e16, style_map], 1), options)
        x = self.decode_32(x, options)
        x = gated(self.decode_64(torch.cat([x, noise_map], 1), options), self.style_64, style_8)
        x = gated(self.decode_128(x + e64, options), self.style_128, style_8)
        x = gated(self.decode_256(x + e128, options), self.style_256, style_16)
        x = gated(self.decode_512(x + e256, options), self.style_512, style_32)
        if self.size > self.draft:
            x = self.decode_1024(x, options)
        return self.to_rgb(x)

    def _pass_over_style(self, style: Tensor, options: CallOptions) -> None:
        """A shoe's style map is zeros, but the released code computes one first: it uses up a draw of noise, and in
        training renews the statistics and norm vectors that are saved."""
        if self.training:
            with torch.no_grad():
                self.from_style(style, options)
        else:
            next(options.noise)


class FaceRefiner(Refiner):
    """The generator for faces. Its own widths are fixed; `width` only concerns the style vectors."""

    def __init__(
        self,
        *,
        width: int = 64,
        size: int = 512,
        kind: str = "face",
        spectral: bool = False,
        ops: Any = nn,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        super().__init__(kind, width, size)
        layers = Layers(ops, spectral, dtype=dtype, device=device)
        for i, channels in enumerate((3, 16, 32, 64)):
            self.add_module(f"encode_{i + 1}", ConditionedSequential(*down(channels, 16 * 2**i, layers)))

        def doubled(channels: int, out: int) -> ConditionedSequential:
            return up(channels, out, layers, noisy=True)

        self.style = nn.Sequential(layers.linear(14 * width, 512), nn.LeakyReLU(0.1))
        side = self.draft // 128
        pairs = ((128, 128), (128, 128), (128, 64))
        self.from_style_32 = ConditionedSequential(
            layers.grow(512, 256, side), layers.norm(256), GLU(), *(doubled(*pair) for pair in pairs)
        )
        widths = [(192, 256), (320, 128), (160, 64), (80, 32)] + [(32, 16)] * (size > self.draft)
        self.decoders = []
        for i, (channels, out) in enumerate(widths):
            self.decoders.append(f"decode_{64 * 2**i}")
            self.add_module(self.decoders[-1], doubled(channels, out))
        self.style_blocks = nn.ModuleList(gate(512, out, layers) for _, out in widths)
        self.final = nn.Sequential(layers.conv(widths[-1][1], 3, 3, sn=True), nn.Tanh())

    def noise_shapes(self, batch: int) -> list[tuple[int, ...]]:
        return self.maps(batch, 64, 32, 16, 8, 4, 2)

    def refine(
        self, draft: Tensor, styles: Sequence[Tensor], noise: list[Tensor], flips: Tensor | None, batch: bool
    ) -> Tensor:
        options = CallOptions(batch, iter(noise))
        style = self.style(torch.cat(list(styles), 1))
        style_map = self.from_style_32(style[:, :, None, None], options)
        if flips is not None:
            for axis, flip in ((2, flips[:, 0]), (3, flips[:, 1])):
                turned = flip.to(style_map.device)[:, None, None, None]
                style_map = torch.where(turned, style_map.flip(axis), style_map)
        seen, x = [], draft
        for i in range(4):
            x = self.get_submodule(f"encode_{i + 1}")(x, options)
            seen.append(x)
        x = style_map
        for i, name in enumerate(self.decoders):
            x = torch.cat([seen[3 - i], x], 1) if i < 4 else x
            x = self.get_submodule(name)(x, options) * self.style_blocks[i](style)[:, :, None, None]
        return self.final(x)


def refiner(kind: str, **settings: Any) -> Refiner:
    """The generator of one of keys.KINDS."""
    return (FaceRefiner if kind == "face" else ArtRefiner)(kind=kind, **settings)


class _Halving(nn.Module):
    """Two 3x3 convolutions, the first one halving; weighted by the skip [B,2o,1,1] of an early map, if there is one."""

    def __init__(self, channels: int, out: int, skip: int, layers: Layers) -> None:
        super().__init__()

        def step(channels: int, stride: int) -> tuple[nn.Module, ...]:
            return layers.conv(channels, out, 3, stride=stride, sn=True), layers.norm(out), nn.LeakyReLU(0.2)

        self.down_main = nn.Sequential(*step(channels, 2), *step(out, 1))
        self.skip_conv: nn.Sequential | None = None
        if skip:
            self.skip_conv = nn.Sequential(
                nn.AdaptiveAvgPool2d(4),
                layers.conv(skip, out, 4, padding=0, sn=True),
                nn.ReLU(),
                layers.conv(out, 2 * out, 1, sn=True),
            )

    def forward(self, x: Tensor, early: Tensor | None = None) -> Tensor:
        x = self.down_main(x)
        if self.skip_conv is None or early is None:
            return x
        factor, shift = self.skip_conv(early).chunk(2, 1)
        return x * torch.sigmoid(factor) + torch.tanh(shift)


class Discriminator(nn.Module):
    """net(picture [B,3,S,S] in [-1,1]) -> logits [B,1,h,w], one per patch: 13x13 at 1024 pixels, 5x5 at 512, 1 at 256.

    That is the published network, which was trained at 512 and at 1024 pixels alike (size 256 or 512). size 1024: the
    release's other one, with one more halving (5x5 logits at 1024), which its training never builds. For 128 the last
    kernel is 2 instead of 4, and gives one logit.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        size: int = 512,
        spectral: bool = True,
        ops: Any = nn,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        check("The sketch GAN's discriminator", size, SIZES, width)
        layers, n = Layers(ops, spectral, dtype=dtype, device=device), width // 4
        # (channels, out, channels of the early map that weights it) per halving
        widths = [(n, 2 * n, 0), (2 * n, 4 * n, 0), (4 * n, 8 * n, 0), (8 * n, 16 * n, n)]
        if size == 1024:
            widths += [(16 * n, 32 * n, 2 * n), (32 * n, 64 * n, 4 * n)]
        else:
            widths += [(16 * n, 64 * n, 2 * n)]
        self.main = nn.ModuleList(
            [
                nn.Sequential(layers.conv(3, n, 4, stride=2, sn=True), nn.LeakyReLU(0.2)),
                *(_Halving(channels, out, skip, layers) for channels, out, skip in widths),
                nn.Sequential(
                    layers.conv(64 * n, 64 * n, 1, sn=True),
                    layers.norm(64 * n),
                    nn.LeakyReLU(0.2),
                    layers.conv(64 * n, 1, 2 if size == 128 else 4, padding=0, sn=True),
                ),
            ]
        )

    def forward(self, picture: Tensor) -> Tensor:
        maps = [self.main[0](picture)]
        for i in range(1, len(self.main) - 1):
            maps.append(self.main[i](maps[-1], maps[i - 4] if i >= 4 else None))
        return self.main[-1](maps[-1])

    def start(self, generator: torch.Generator) -> None:
        """The published first weights: N(0,.02) for convolutions, N(1,.02) for norms, biases 0."""
        with torch.no_grad():
            for name, value in self.named_parameters():
                drawn = torch.randn(value.shape, generator=generator, device=generator.device)
                value.copy_(0 * drawn if name.endswith("bias") else 0.02 * drawn + (value.ndim == 1))
