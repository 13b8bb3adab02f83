"""True line sketches made as rough as people draw: wobbly, with gaps, with parts left out, with broader pens. Photos in
colours and light that the world does not have, so that a network goes by their edges."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, max_pool2d


def roughened(sketches: Tensor, rng: torch.Generator, strength: float = 1.0) -> Tensor:
    """[N,S,S] in [0,1], 1 for paper, of such sketches. Each is roughened in its own way; strength 0: hardly, 1: as in
    training, 2: strongly."""
    ink = 1 - sketches[:, None].float()
    ink = _displaced(ink, rng, strength)
    ink = ink * _left_out(ink, rng, strength)
    return 1 - _penned(ink, rng)[:, 0]


def recoloured(photos: Tensor, rng: torch.Generator) -> Tensor:
    """Photos [N,3,S,S] in [-1,1] with mixed channels, other contrast and uneven light; some grey, some negative."""
    count, size = len(photos), photos.shape[-1]
    mix = torch.eye(3) * 0.7 + 0.3 * torch.randn(count, 3, 3, generator=rng)
    seen = torch.einsum("noc,nchw->nohw", mix, photos)
    chance = _uniform(rng, 4, count, 1, 1, 1)
    seen = torch.where(chance[0] < 0.2, seen.mean(1, keepdim=True), seen)
    seen = torch.where(chance[1] < 0.25, -seen, seen)
    seen = seen * (0.6 + 0.8 * chance[2]) + 0.4 * (chance[3] - 0.5)
    seen = seen + 0.15 * _field(rng, count, 1, 3, size) + 0.03 * torch.randn(seen.shape, generator=rng)
    return torch.where(_uniform(rng, count, 1, 1, 1) < 0.25, photos, seen.clamp(-1, 1))


def joined(photos: Tensor, lines: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Photos [N,3,S,S] and sketches [N,S,S]; two in five become one scene above or left of another."""
    count, size = len(photos), photos.shape[-1]
    at = torch.arange(size)
    first, second, third = _uniform(rng, 3, count, 1, 1).unbind()
    edge = (0.25 + 0.5 * first) * size
    own = torch.where(second < 0.5, at < edge, at[:, None] < edge) | (third > 0.4)
    return torch.where(own[:, None], photos, photos.roll(1, 0)), torch.where(own, lines, lines.roll(1, 0))


def _uniform(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=rng)


def _field(rng: torch.Generator, count: int, channels: int, cells: int, size: int) -> Tensor:
    """Smooth noise [count,channels,size,size], about standard normal."""
    coarse = torch.randn(count, channels, cells, cells, generator=rng)
    return interpolate(coarse, (size, size), mode="bicubic", align_corners=True)


def _displaced(ink: Tensor, rng: torch.Generator, strength: float) -> Tensor:
    """Slightly turned, stretched and moved, and wobbly at two scales."""
    count, size = len(ink), ink.shape[-1]
    angle, shear = (0.05 * strength * torch.randn(2, count, generator=rng)).unbind()
    scale = 1 + 0.05 * strength * torch.randn(2, count, generator=rng)
    shift = 0.04 * strength * torch.randn(2, count, generator=rng)
    rows = [torch.stack([scale[0], shear - angle, shift[0]], 1), torch.stack([angle, scale[1], shift[1]], 1)]
    grid = torch.nn.functional.affine_grid(torch.stack(rows, 1), [count, 1, size, size], align_corners=False)
    broad, fine = _field(rng, count, 2, 5, size), _field(rng, count, 2, 20, size)
    amounts = _uniform(rng, 2, count, 1, 1, 1) * strength
    wobble = 0.03 * amounts[0] * broad + 0.008 * amounts[1] * fine
    return grid_sample(ink, grid + wobble.movedim(1, -1), padding_mode="zeros", align_corners=False)


def _left_out(ink: Tensor, rng: torch.Generator, strength: float) -> Tensor:
    """[N,1,S,S] of 0 and 1: gaps wherever smooth noise is high, and up to three discs without any ink."""
    count, size = len(ink), ink.shape[-1]
    gaps = _field(rng, count, 1, 24, size)
    share = 0.25 * strength * _uniform(rng, count, 1, 1, 1)  # of the paper
    kept = gaps < 1.414 * torch.erfinv((1 - 2 * share).clamp(-0.99, 0.999))
    at = torch.linspace(0, 1, size)
    for _ in range(3):
        x, y, radius, chance = _uniform(rng, 4, count, 1, 1, 1).unbind()
        near = (at - x).square() + (at[:, None] - y).square() < (0.05 + 0.15 * radius).square()
        kept &= ~(near & (chance < 0.4 * strength))
    return kept.float()


def _penned(ink: Tensor, rng: torch.Generator) -> Tensor:
    """With pens of one or three pixels, on 128 pixels and more also five; faint lines of a displacement are inked."""
    ink = (1.6 * ink).clamp(0, 1)
    pens = torch.stack([ink, max_pool2d(ink, 3, 1, 1), max_pool2d(ink, 5, 1, 2)])
    shares = torch.tensor([0.5, 0.35, 0.15] if ink.shape[-1] >= 128 else [0.7, 0.3, 0.0])
    which = torch.multinomial(shares, len(ink), replacement=True, generator=rng)
    return pens[which, torch.arange(len(ink))]
