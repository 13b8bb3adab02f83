"""The look of another picture, by statistics: AdaIN, CORAL, and a combination that needs no network.

Pictures are [B, 3, H, W] in 0..1; the style may have another size, and a batch of 1 is used for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..networks.frozen import Frozen, gradients, ordinary
from .lowpass import low_pass

GRIDS = (4, 8, 16, 32, 64)  # each band of detail lies between two of these low-passes
MOST = 1.5  # the most by which the contrast of one band is multiplied
GREYISH = 0.01  # the ridge of coral for pictures that may be grey, such as sketches

ENCODER, DECODER = "encoder", "decoder"


@dataclass(frozen=True, eq=False)
class Coder:
    """Half of AdaIN's auto-encoder."""

    name: str
    network: Frozen
    half: str  # ENCODER: picture -> maps; DECODER: maps -> picture


def coder(name: str, patcher: Any) -> Coder:
    """A Coder around a host ModelPatcher that holds one of AdaIN's two networks."""
    from ..networks.vgg import AdaINDecoder, AdaINEncoder  # imported lazily: most sessions load no such network

    half = {AdaINEncoder: ENCODER, AdaINDecoder: DECODER}.get(type(patcher.model))
    if half is None:
        raise ValueError(f"A {type(patcher.model).__name__} network is neither AdaIN's encoder nor its decoder.")
    return Coder(name, Frozen(patcher, lambda net, x: net(x)), half)


def adain(content: Tensor, style: Tensor) -> Tensor:
    """Adaptive instance normalisation (Huang & Belongie, ICCV 2017): content [B, C, H, W] with the style's mean and
    standard deviation in each channel."""
    mean, std = _statistics(content)
    style_mean, style_std = _statistics(style)
    return (content - mean) / std * style_std + style_mean


def coral(source: Tensor, target: Tensor, ridge: float | None = None) -> Tensor:
    """Correlation alignment (Sun et al., AAAI 2016): source [B, 3, H, W] with the target's colours: their means,
    spreads and correlations.

    ridge is added to both correlation matrices. None: as published, 1 / (H W), which is almost nothing. A greyish
    source, whose channels hardly differ, needs about 0.01; otherwise its colour noise is amplified into colours.
    """
    means, spreads, colours = zip(*map(_standardised, (source.float(), target.float())), strict=True)
    strength = 1 / colours[0].shape[-1] if ridge is None else ridge
    diagonal = strength * torch.eye(3, device=source.device)
    own, wanted = (_root(c @ c.mT / c.shape[-1] + diagonal) for c in colours)
    moved = (wanted @ torch.linalg.inv(own)).float() @ colours[0]
    return (moved * spreads[1] + means[1]).reshape(source.shape).to(source.dtype)


def recode(
    content: Tensor,
    style: Tensor,
    encoder: Coder,
    decoder: Coder,
    alpha: float = 1.0,
    keep_colours: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """AdaIN's style transfer, F the encoder: decoder(alpha AdaIN(F(content), F(style)) + (1 - alpha) F(content)).

    keep_colours: the style is first given the content's colours. The sides of content are 16 or more.
    """
    if keep_colours:
        style = coral(style.expand(len(content), -1, -1, -1), content, GREYISH)
    with gradients():
        look, paint = encoder.network.prepare(device), decoder.network.prepare(device)
        maps, wanted = (look(ordinary(picture.float()).to(device)) for picture in (content, style))
        picture = paint(alpha * adain(maps, wanted) + (1 - alpha) * maps)
    return picture[..., : content.shape[-2], : content.shape[-1]].clamp(0, 1).to(content.device)


def restyle(content: Tensor, style: Tensor, alpha: float = 1.0, keep_colours: bool = False) -> Tensor:
    """content [B, 3, H, W] in 0..1 with the contrast that `style` has at each scale of detail, and with its colours.

    Each band between two low-passes gets the spread of the style's band (scales count relative to the shorter side, so
    the sizes may differ), but is never multiplied by more than MOST, because lines would get halos; then CORAL.
    keep_colours: the style is first given the content's colours, so that only its contrast is taken over. alpha: 0 the
    content, 1 the restyled picture.
    """
    content, style = content.float(), style.float()
    if keep_colours:
        style = coral(style.expand(len(content), -1, -1, -1), content, GREYISH)
    grids = [grid for grid in GRIDS if grid < min(*content.shape[-2:], *style.shape[-2:])]
    detailed = torch.zeros_like(content)
    for band, wanted in zip(_bands(content, grids), _bands(style, grids), strict=True):
        detailed += band * (_statistics(wanted)[1] / _statistics(band)[1]).clamp_max(MOST)
    result = coral(detailed, content if keep_colours else style, GREYISH)
    return (content + alpha * (result - content)).clamp(0, 1)


def _bands(x: Tensor, grids: list[int]) -> list[Tensor]:
    """The coarsest low-pass, then the detail that each finer one adds; their sum is x."""
    lows = [*(low_pass(x, grid=grid) for grid in grids), x]
    return [lows[0], *(fine - coarse for coarse, fine in pairwise(lows))]


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, [B, C, 1, 1]."""
    return x.mean((2, 3), keepdim=True), (x.var((2, 3), keepdim=True) + 1e-5).sqrt()


def _standardised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    flat = x.flatten(2)
    mean, spread = flat.mean(2, keepdim=True), flat.std(2, keepdim=True).clamp_min(1e-6)
    return mean, spread, (flat - mean) / spread


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of symmetric positive matrices [B, n, n]."""
    values, vectors = torch.linalg.eigh(matrix.double())
    return (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT
