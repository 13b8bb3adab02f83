"""A StyleGAN2 discriminator in training: its losses, lazy R1 and adaptive augmentation, for every lesson with one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from ...networks.paint2pix.stylegan2 import Discriminator
from ..loop import Losses
from ..weights import set_rates
from .augment import augmented, moved
from .losses import convincing, gradient_penalty, judged

R1_EVERY = 16  # steps between two gradient penalties (appendix B, "lazy regularization")
R1 = 10.0  # published weight for 1024 pixels; smaller pictures want less
Half = Callable[[], AbstractContextManager[Any]]


def lazy_adam(parameters: Any, learning_rate: float, every: int) -> Adam:
    """Adam with betas (0, .99) for a network that is regularised at every so-many-th step: both are corrected for the
    steps in between, as published. every: 0: never regularised."""
    share = every / (every + 1) if every else 1.0
    return Adam(parameters, learning_rate * share, (0.0, 0.99**share))


class Judge:
    """The discriminator and what it learns by. adaptive: pictures are augmented as often as it overfits. r1: weight."""

    def __init__(
        self, network: Discriminator, *, learning_rate: float, r1: float, adaptive: bool, device: torch.device | str
    ) -> None:
        self.network = network.to(device).train().requires_grad_(False)
        self.learning_rate, self.r1, self.adaptive = learning_rate, r1, adaptive
        self.optimiser = lazy_adam(self.network.parameters(), learning_rate, R1_EVERY if r1 else 0)
        self.share = self.optimiser.param_groups[0]["lr"] / learning_rate
        self.p = torch.zeros(1, dtype=torch.float64)  # probability of each augmentation
        self.kept = [self.network, self.optimiser, self.p]

    def convinced(self, fake: Tensor, rng: torch.Generator) -> Tensor:
        """The generator's loss for pictures; gradients pass through the discriminator, whose weights get none."""
        return convincing(self.network(augmented(fake, self.p.item(), rng)))

    def learn(
        self, real: Tensor, fakes: list[Tensor], step: int, rng: torch.Generator, half: Half, factor: float = 1.0
    ) -> Losses:
        """One step on real pictures and groups of made ones. factor: on the learning rate."""
        set_rates([(self.optimiser, factor * self.share * self.learning_rate)])
        self.network.requires_grad_(True)
        p = self.p.item()
        seen = augmented(real, p, rng)
        with half():
            scores = [self.network(augmented(fake.detach(), p, rng)) for fake in fakes]
            real_scores = self.network(seen)
            loss = judged(real_scores, torch.cat(scores))
        self._step(loss)
        sign = real_scores.detach().float().sign().mean()
        found = {"discriminator": loss.detach(), "real sign": sign}
        if self.r1 and step % R1_EVERY == 0:
            penalty = gradient_penalty(self.network, seen)
            self._step(self.r1 / 2 * R1_EVERY * penalty)
        if self.adaptive:
            self.p.fill_(moved(p, sign.item(), len(real)))
            found["augmentation"] = self.p[0].float().clone()
        self.network.requires_grad_(False)
        return found

    def _step(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
