"""Training steps of the sketch GAN's generator and of its sketch extractor (arXiv 2012.09290, stages 3 and 1); how a
step is called, and in how many pieces: gan_ae_steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...networks.frozen import Frozen
from ...networks.sketchgan.refiner import Discriminator, Refiner
from ...networks.sketchgan.tom import Generator, StyleDiscriminator, taps
from ...pictures.features import Features
from ...pipelines.sketchgan import draw_noise
from . import losses
from .autoencoder import (
    SUMS,
    Autoencoder,
    Losses,
    PairBatch,
    autocast,
    follow,
    note,
)
from .losses import Percept, derangement

Look = Callable[[Tensor], Sequence[Tensor]]


# --- GAN --------------------------------------------------------------------------------------------------------------


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
    shoe = generator.kind == "shoe"
    for network in (generator, discriminator):
        network.train()
    half = autocast(generator, dtype)
    found: Losses = {}
    for batch, _ in pieces:
        losses.check_batch(len(batch.picture))
    with half():
        ready = [ae.drafts(batch.sketch, batch.picture) for batch, _ in pieces]

    def made(i: int) -> Tensor:
        (draft, styles), draws = ready[i], pieces[i][1]
        return generator(draft, styles, draws.noise, draws.flips)

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
            if shoe:
                assert draws.order is not None, "a derangement is wanted"
                near = losses.absolute(image, batch.picture) + losses.reconstruction(image, batch.picture)
                draft, styles = ae.drafts(batch.sketch, batch.picture[draws.order.to(batch.picture.device)])
                other = generator(draft, styles, draws.more_noise)
                parts["pixels"] = 10 * near / len(pieces)
                parts["grey"] = 10 * losses.grey_reconstruction(other, batch.picture) / len(pieces)
            else:
                parts[SUMS] = 10 * losses.perceptual_sum(percept, image, batch.picture)
            loss = torch.stack(list(parts.values())).sum()
        loss.backward()
        note(found, parts)
    optimisers[0].step()
    if averaged is not None:
        follow(averaged, generator.parameters())
    return found, losses.full(image.detach())


# --- sketch extractor -------------------------------------------------------------------------------------------------


def five_taps(features: Features, size: int) -> Frozen:
    """A VGG among feature networks as TOM looks through it; open() gives the `look` of tom_step.

    ValueError: another kind of network, or one without five stages.
    """
    network = features.network.patcher.model
    if features.kind != "vgg" or len(network.taps) != 5:
        raise ValueError(
            "The sketch extractor is trained on five maps of a VGG: choose the built-in features or a VGG16 file."
        )
    return Frozen(features.network.patcher, lambda net, x: taps(net, x, size), ("features",))


def tom_step(
    generator: Generator,
    discriminator: StyleDiscriminator,
    optimisers: tuple[Optimizer, Optimizer],
    photo: Tensor,
    sketch: Tensor,
    look: Look,
    *,
    content_weight: float = 0.2,
    texture_weight: float = 1.0,
    dtype: torch.dtype | None = None,
) -> tuple[Losses, Tensor]:
    """One step of TOM on photos and sketches of anything [B,3,S,S]. look: five maps of a picture, from a frozen VGG.

    optimisers: of generator, discriminator; published: Adam 2e-4, betas (.5, .99). -> losses, the drawings.
    """
    for network in (generator, discriminator):
        network.train()
    with autocast(generator, dtype)():
        with torch.no_grad():
            of_photo, of_sketch = look(photo), look(sketch)
        drawn = generator(of_photo[2])
        of_drawn = look(drawn)

        def judged(maps: Sequence[Tensor]) -> Tensor:
            return discriminator(losses.gram_stack(maps[1:4], discriminator.channels))

        real, fake = judged(of_sketch), judged([x.detach() for x in of_drawn])
        wrong = losses.hinge(real, fake)
    optimisers[1].zero_grad()
    wrong.backward()
    optimisers[1].step()
    with autocast(generator, dtype)():
        parts = {
            "adversarial": losses.adversarial(judged(of_drawn)),
            "content": content_weight * losses.restyled_content(of_drawn[2], of_photo[2], of_sketch[2]),
            "texture": 2000 * texture_weight * losses.texture(of_drawn[1:4], of_sketch[1:4]),
        }
        loss = torch.stack(list(parts.values())).sum()
    optimisers[0].zero_grad()
    loss.backward()
    optimisers[0].step()
    return {"discriminator": wrong.detach(), **{k: v.detach() for k, v in parts.items()}}, losses.full(drawn.detach())
