"""Training steps of the sketch GAN's generator (arXiv 2012.09290, stage 3). How a step is called, and in how many
pieces: see autoencoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...networks.sketchgan.refiner import Discriminator, Refiner
from ...pipelines.sketchgan import draw_noise
from ..loop import Losses
from ..weights import follow
from . import losses
from .autoencoder import (
    SUMS,
    Autoencoder,
    PairBatch,
    autocast,
    note,
)
from .losses import Percept, derangement


class GANDraws(NamedTuple):
    """noise and flips of the generator (see Refiner); for shoes also a derangement and the noise of a second call."""

    noise: Sequence[Tensor]
    flips: Tensor | None = None
    order: Tensor | None = None
    more_noise: Sequence[Tensor] = ()


def draw_gan(network: Refiner, batch: int, generator: torch.Generator) -> GANDraws:
    """What one GAN batch needs at random. In training a batch is flipped as one, as published."""
    noise, flips = draw_noise(network, batch, generator)
    if flips is not None:
        flips = flips[:1].expand(batch, -1)
    if network.kind != "shoe":
        return GANDraws(noise, flips)
    return GANDraws(noise, flips, derangement(batch, generator), draw_noise(network, batch, generator)[0])


def gan_step(
    ae: Autoencoder,
    generator: Refiner,
    discriminator: Discriminator,
    optimisers: tuple[Optimizer, Optimizer],
    pieces: Sequence[tuple[PairBatch, GANDraws]],
    percept: Percept,
    *,
    averaged: Sequence[Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Losses, Tensor]:
    """First the discriminator learns, then the generator. optimisers: of generator, discriminator. averaged: the kept
    (EMA) parameters, which follow at the end. -> losses, the last generated pictures.

    In one piece the generator runs once, as published; in several twice, so that one piece's graph is held at a time.
    """
    for network in (generator, discriminator):
        network.train()
    half = autocast(generator, dtype)
    for batch, _ in pieces:
        losses.check_batch(len(batch.picture))
    with half():
        ready = [ae.drafts(batch.sketch, batch.picture) for batch, _ in pieces]

    def made(i: int) -> Tensor:
        (draft, styles), draws = ready[i], pieces[i][1]
        return generator(draft, styles, draws.noise, draws.flips)

    found: Losses = {}
    kept: list[Tensor] = []
    optimisers[1].zero_grad()
    for i, (batch, _) in enumerate(pieces):
        with half():
            with torch.set_grad_enabled(len(pieces) == 1):
                image = made(i)
            kept += [image] * (len(pieces) == 1)
            real, fake = discriminator(batch.picture), discriminator(image.detach())
            loss = losses.hinge(real, fake) / len(pieces)
        loss.backward()
        judged = {name: losses.full(logits).mean() / len(pieces) for name, logits in (("real", real), ("fake", fake))}
        note(found, {"discriminator": loss, **judged})
    optimisers[1].step()

    optimisers[0].zero_grad()
    image = torch.empty(0)
    for i, (batch, draws) in enumerate(pieces):
        with half():
            image = kept[i] if kept else made(i)
            parts = {"adversarial": losses.adversarial(discriminator(image)) / len(pieces)}
            if generator.kind == "shoe":
                parts |= {name: loss / len(pieces) for name, loss in _shoe_losses(ae, generator, batch, draws, image)}
            else:
                parts[SUMS] = 10 * losses.perceptual_sum(percept, image, batch.picture)
            loss = torch.stack(list(parts.values())).sum()
        loss.backward()
        note(found, parts)
    optimisers[0].step()
    if averaged is not None:
        follow(averaged, generator.parameters())
    return found, losses.full(image.detach())


def _shoe_losses(
    ae: Autoencoder, generator: Refiner, batch: PairBatch, draws: GANDraws, image: Tensor
) -> list[tuple[str, Tensor]]:
    """Published for shoes instead of the perceptual term: pixels, and brightness kept under another's style."""
    assert draws.order is not None, "a derangement is needed"
    near = losses.absolute(image, batch.picture) + losses.reconstruction(image, batch.picture)
    draft, styles = ae.drafts(batch.sketch, batch.picture[draws.order.to(batch.picture.device)])
    other = generator(draft, styles, draws.more_noise)
    return [("pixels", 10 * near), ("grey", 10 * losses.grey_reconstruction(other, batch.picture))]
