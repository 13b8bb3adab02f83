"""Weights in training: their first values, their average, learning rates, and the statistics of batch norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..networks import plain
from ..pictures.features import Features
from .batches import generator_of

WEIGHTS = 10  # the stream of random numbers for first weights


def seeded(seed: int, *networks: Callable[[], nn.Module]) -> list[Any]:
    """Networks whose first weights follow from the seed, whatever torch's own generator has drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_of(seed, WEIGHTS).initial_seed())
        return [network() for network in networks]


def uninterrupted(features: Features) -> Features:
    """The same feature network of torch's own layers: ComfyUI's raise Cancel in the middle of a step, when half of the
    networks have learned."""
    patcher = SimpleNamespace(model=plain(features.network.patcher.model))
    return replace(features, network=replace(features.network, patcher=patcher))


def follow(kept: Iterable[Tensor], moving: Iterable[Tensor], decay: float = 0.999) -> None:
    """kept <- decay kept + (1 - decay) moving, in place; parameters only, as published."""
    with torch.no_grad():
        for slow, fast in zip(kept, moving, strict=True):
            slow.mul_(decay).add_(fast.to(slow), alpha=1 - decay)


def set_rates(groups: Iterable[tuple[Optimizer, float]]) -> None:
    for optimiser, learning_rate in groups:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate


def settle(networks: Sequence[nn.Module], run: Callable[[int], Any], batches: int) -> None:
    """Sets batch norms' statistics to the mean over this many batches, run(i), at the weights of frozen networks."""
    norms = [layer for net in networks for layer in net.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for net in networks:
        net.train()
    for i in range(batches):
        for norm in norms:
            norm.momentum = 1 / (i + 1)
        run(i)
    for norm in norms:
        norm.momentum = 0.1
    for net in networks:
        net.eval()
