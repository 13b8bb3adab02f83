"""Between two noises: what DiffSketching's deleted interpolation script did, and what it had ready beside it.

Two unit noises are blended so that the result is unit noise again, so every step between is a picture of the model.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

PUBLISHED, ARC, SLERP = "published arc", "whole arc", "slerp"
INTERVAL = 0.14  # radians between two steps of the published arc
PARALLEL = 1e-4  # radians below which two noises are one direction


def places(way: str, count: int) -> list[float]:
    """Where each of `count` blends lies: on the arcs in radians, 0 to pi/2; on slerp in 0 to 1. One blend is halfway,
    and on the published arc the start, which steps by INTERVAL and, as published, never reaches the second noise.

    ValueError: more steps than the published arc has before it passes the second noise.
    """
    if way == PUBLISHED:
        if count > int(math.pi / 2 / INTERVAL) + 1:
            raise ValueError(
                f"The published arc steps by {INTERVAL} and passes the second noise after 12 steps, got count {count}. "
                f"Lower count, or set way to '{ARC}'."
            )
        return [INTERVAL * k for k in range(count)]
    whole = math.pi / 2 if way == ARC else 1.0
    return [whole * (k / (count - 1) if count > 1 else 0.5) for k in range(count)]


def blended(one: Tensor, other: Tensor, way: str, place: float) -> Tensor:
    """Two noises [B,...] at a place from `places`, image by image.

    arcs: cos(place) one + sin(place) other, unit noise where the two are independent. slerp: the rotation from one to
    the other by place of the angle between them, which gives exactly `other` at 1.
    """
    if way != SLERP:
        return math.cos(place) * one + math.sin(place) * other
    a, b = one.double().flatten(1), other.double().flatten(1)
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-30)
    angle = cosine.clamp(-1, 1).acos()
    flat = (angle < PARALLEL) | (math.pi - angle < PARALLEL)  # no way round is shorter than another
    sine = torch.where(flat, torch.ones_like(angle), angle.sin())
    first = torch.where(flat, torch.full_like(angle, 1 - place), ((1 - place) * angle).sin() / sine)
    second = torch.where(flat, torch.full_like(angle, place), (place * angle).sin() / sine)
    return (first[:, None] * a + second[:, None] * b).reshape(one.shape).to(one)


class BlendedNoise:
    """A NOISE between two others; its seed, for what a sampler adds on the way, is that of the first."""

    def __init__(self, one: Any, other: Any, way: str, place: float) -> None:
        self.one, self.other, self.way, self.place = one, other, way, place
        self.seed = one.seed

    def generate_noise(self, input_latent: dict[str, Any]) -> Tensor:
        first, second = (noise.generate_noise(input_latent) for noise in (self.one, self.other))
        return blended(first, second, self.way, self.place)
