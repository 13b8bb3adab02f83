"""Distances between the maps that a network gives of two pictures: one number per image.

Each image of a batch is compared on its own, so a batch of any size means the same for each of its members. `theirs`
may be a batch of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

Maps = list[Tensor]


def clip_distance(
    mine: Maps, theirs: Maps, weights: Sequence[float] = (0.0, 0.0, 1.0, 1.0, 0.0), pooled_weight: float = 0.1
) -> Tensor:
    """[B]: sum_l w_l mean((f_l - g_l)^2), and 0.1 (1 - cos) of the last entry, the pooled one.

    The published energy is its mean over the batch, so its gradient is smaller by 1/B. If the pooled entry is a map
    [B,C,h,w], its channels are compared at every position.
    """
    *maps, pooled = mine
    *known, known_pooled = theirs
    unlike = 1 - cosine_similarity(pooled, known_pooled, dim=1)
    distance = pooled_weight * unlike.reshape(len(unlike), -1).mean(1)
    for weight, a, b in zip(weights, maps, known, strict=True):
        if weight:
            distance = distance + weight * (a - b).square().flatten(1).mean(1)
    return distance


def feature_distance(mine: Maps, theirs: Maps, metric: str = "l2") -> Tensor:
    """[B]: sums of squared (l2) or absolute (l1) differences, or of the cosine over channels (cosine), over all maps.

    Minimising the cosine drives the maps apart; that is how it was published.
    """
    measure = {"cosine": partial(cosine_similarity, dim=1), "l1": lambda a, b: (a - b).abs()}.get(metric, _squares)
    return torch.stack([measure(a, b).flatten(1).sum(1) for a, b in zip(mine, theirs, strict=True)]).sum(0)


def perceptual_distance(mine: Maps, theirs: Maps, lin: Maps | None = None) -> Tensor:
    """[B]: squared differences of channel-normalised maps, weighted by `lin` ([C] per map; None: all alike, divided by
    the number of maps), averaged over positions and summed over maps. Only maps [B,C,h,w] count."""
    pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a.ndim == 4]
    weights = [1 / len(pairs)] * len(pairs) if lin is None else [weight[:, None, None] for weight in lin]
    parts = [
        (weight * _squares(unit(a), unit(b))).sum(1).mean((1, 2)) for weight, (a, b) in zip(weights, pairs, strict=True)
    ]
    return torch.stack(parts).sum(0)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square()


def unit(x: Tensor) -> Tensor:
    """The channels [B,C,h,w] of every position scaled to length one. Safe to differentiate where they are all zero."""
    return x / (x.square().sum(1, keepdim=True).clamp_min(1e-20).sqrt() + 1e-10)
