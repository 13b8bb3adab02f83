"""Training steps of the sketch GAN's autoencoder (arXiv 2012.09290, stage 2), and what all of its steps share.

Networks, optimisers and a batch go in, losses come out: no files, no loops. Everything random is drawn beforehand and
passed in, so a recorded run can be replayed. A step takes its batch in one piece or in several (gradient accumulation):
means are then averaged, and sums over the batch stay sums. dtype: for convolutions under autocast, such as
torch.bfloat16; None leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.optim import Adam, Optimizer

from ...networks.sketchgan.autoencoder import ContentEncoder, Decoder, StyleEncoder, StyleGuess
from ..loop import Losses
from . import losses
from .losses import Percept, derangement

RATE, LATER_RATE = 2e-4, 1e-4
SUMS = "perceptual"  # the one loss that is a sum over the batch


class Autoencoder(NamedTuple):
    """Training forms (spectral=True) while it is trained; for the GAN frozen, in eval mode and of any form."""

    style: StyleEncoder
    content: ContentEncoder
    decoder: Decoder

    def drafts(self, sketch: Tensor, picture: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The picture [B,3,S,S] of a sketch in the style of a picture, and its style vectors; no gradients. Both are
        brought to the autoencoder's side S by nearest pixels, as published."""
        side = 64 * self.decoder.base_feat.shape[-1]
        with torch.no_grad():
            sketch, picture = (x if x.shape[-1] == side else interpolate(x, (side, side)) for x in (sketch, picture))
            styles = self.style(picture)
            return self.decoder(self.content(sketch), styles), styles


class AEOptimisers(NamedTuple):
    style: Optimizer
    classifier: Optimizer
    content: Optimizer
    decoder: Optimizer


def adam(parameters: Iterable[nn.Parameter], second: float = 0.999, rate: float = RATE) -> Adam:
    """Adam with betas (.5, second)."""
    return Adam(parameters, rate, (0.5, second))


def ae_optimisers(nets: Autoencoder) -> AEOptimisers:
    """Fresh ones: 2e-4 everywhere."""
    assert nets.style.final_cls is not None, "made without classes"
    own = [value for name, value in nets.style.named_parameters() if not name.startswith("final_cls.")]
    return AEOptimisers(
        adam(own),
        adam(nets.style.final_cls.parameters()),
        adam(nets.content.parameters()),
        adam(nets.decoder.parameters()),
    )


def next_pictures(nets: Autoencoder, optimisers: AEOptimisers, generator: torch.Generator) -> AEOptimisers:
    """For the next set of pictures: a new classifier with a new optimiser; style and decoder learn at 1e-4 from now
    on, content as before."""
    nets.style.forget_classes(generator)
    assert nets.style.final_cls is not None
    for optimiser in (optimisers.style, optimisers.decoder):
        for group in optimiser.param_groups:
            group["lr"] = LATER_RATE
    return optimisers._replace(classifier=adam(nets.style.final_cls.parameters()))


# --- autoencoder, a picture and its own sketches ----------------------------------------------------------------------


class SelfBatch(NamedTuple):
    """turned: randomly cropped, rotated and mirrored pictures [B,3,S,S]; original: plain crops; sketches: of these, as
    drawn, bold, erased, erased and bold, each [B,1,S,S]; index [B]: which picture of the set."""

    turned: Tensor
    original: Tensor
    sketches: tuple[Tensor, Tensor, Tensor, Tensor]
    index: Tensor


class SelfDraws(NamedTuple):
    """which: the sketch (0 to 3) that is decoded; content: derangements of bold, erased and erased bold, three levels
    each; style: orders of three levels; leak: a derangement for the mutual-information term."""

    which: int
    content: Sequence[Sequence[Tensor]]
    style: Sequence[Tensor]
    leak: Tensor | None = None


def draw_self(batch: int, generator: torch.Generator) -> SelfDraws:
    """What one self-supervised batch needs at random. ValueError: a batch of one."""
    return SelfDraws(
        draw_sketch(4, generator),
        [[derangement(batch, generator) for _ in range(3)] for _ in range(3)],
        [torch.randperm(batch, generator=generator, device=generator.device) for _ in range(3)],
        derangement(batch, generator),
    )


def draw_sketch(count: int, generator: torch.Generator) -> int:
    """One of `count`, all alike."""
    return int(torch.randint(count, (), generator=generator, device=generator.device))


def draw_set(sets: int, generator: torch.Generator) -> int:
    """Which sketch set a paired batch takes: the last one, the cleanest, twice as often; of three that is half the
    time, as published."""
    return min(draw_sketch(sets + 1, generator), sets - 1)


class MutualInformation(NamedTuple):
    """The mutual-information term, our formulation (off by default): `guess` learns to predict a picture's style from
    its content maps, and the content encoder learns to prevent that. style: a slowly averaged copy of the style
    encoder, see `follow`. weight: 0.1 to 1, best raised over the first 5,000 steps."""

    guess: StyleGuess
    optimiser: Optimizer
    style: StyleEncoder
    weight: float


def ae_self_step(
    nets: Autoencoder,
    optimisers: AEOptimisers,
    pieces: Sequence[tuple[SelfBatch, SelfDraws]],
    percept: Percept,
    *,
    pixels: bool = False,
    mutual_information: MutualInformation | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Losses, Tensor]:
    """The self-supervised step: content, style, class and reconstruction. -> losses, the last decoded pictures.

    pixels: as published for shoes, absolute differences instead of the perceptual term.
    """

    def lose(piece: tuple[SelfBatch, SelfDraws]) -> tuple[Losses, Tensor]:
        batch, draws = piece
        turned, original = nets.style(batch.turned), nets.style(batch.original)
        contents = [nets.content(sketch) for sketch in batch.sketches]
        image = nets.decoder(contents[draws.which], turned)
        found = {
            "style": losses.style_triplet(turned, original, draws.style),
            "content": torch.stack(
                [
                    losses.content_triplet(maps, contents[0], orders)
                    for maps, orders in zip(contents[1:], draws.content, strict=True)
                ]
            ).sum(),
            "class": cross_entropy(losses.full(nets.style.which(turned[2])), batch.index)
            + cross_entropy(losses.full(nets.style.which(original[2])), batch.index),
            "pixels": losses.reconstruction(image, batch.original),
        }
        if pixels:
            found["absolute"] = losses.absolute(image, batch.original)
        else:
            found[SUMS] = losses.perceptual_sum(percept, image, batch.original)
        if mutual_information is not None:
            found["leak"] = mutual_information.weight * _leak(mutual_information, batch, contents[0], draws)
        return found, image

    return _step(nets, optimisers, pieces, lose, dtype)


def _leak(term: MutualInformation, batch: SelfBatch, content: Sequence[Tensor], draws: SelfDraws) -> Tensor:
    assert draws.leak is not None, "draws without a derangement for the mutual-information term"
    with torch.no_grad():
        target = term.style(batch.turned)
    mean, spread = term.guess([x.detach() for x in content])
    term.optimiser.zero_grad()
    (-losses.likelihood(mean, spread, target).mean()).backward()
    term.optimiser.step()
    mean, spread = term.guess(content)
    return losses.leak(mean, spread, target, draws.leak)


# --- autoencoder, a picture and a sketch of one of the sets -----------------------------------------------------------


class PairBatch(NamedTuple):
    """Pictures [B,3,S,S] and their sketches [B,1,S,S] of one set."""

    picture: Tensor
    sketch: Tensor


def ae_pair_step(
    nets: Autoencoder,
    optimisers: AEOptimisers,
    pieces: Sequence[tuple[PairBatch, Tensor | None]],
    percept: Percept,
    *,
    pixels: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Losses, Tensor]:
    """The paired step: a sketch in its own picture's style is that picture. Each batch comes with None, or with
    pixels=True with a derangement: then brightness is also kept under another's style (published for shoes)."""

    def lose(piece: tuple[PairBatch, Tensor | None]) -> tuple[Losses, Tensor]:
        batch, order = piece
        losses.check_batch(len(batch.picture))
        styles, content = nets.style(batch.picture), nets.content(batch.sketch)
        image = nets.decoder(content, styles)
        found = {"pixels": losses.reconstruction(image, batch.picture)}
        if pixels:
            assert order is not None, "a derangement is wanted"
            others = [style[order.to(style.device)] for style in styles]
            found["grey"] = losses.grey_reconstruction(nets.decoder(content, others), batch.picture)
        else:
            found[SUMS] = losses.perceptual_sum(percept, image, batch.picture)
        return found, image

    own = (optimisers.style, optimisers.decoder, optimisers.content)
    return _step(nets, own, pieces, lose, dtype)


# --- what steps share -------------------------------------------------------------------------------------------------


def _step(
    nets: Sequence[nn.Module],
    optimisers: Sequence[Optimizer],
    pieces: Sequence[Any],
    lose: Callable[[Any], tuple[Losses, Tensor]],
    dtype: torch.dtype | None,
) -> tuple[Losses, Tensor]:
    """Losses of all pieces, one gradient, one step."""
    for network in nets:
        network.train()
    for value in chain.from_iterable(network.parameters() for network in nets):
        value.grad = None
    found: Losses = {}
    image = torch.empty(0)
    for piece in pieces:
        with autocast(nets[0], dtype)():
            parts, image = lose(piece)
            parts = {name: loss if name == SUMS else loss / len(pieces) for name, loss in parts.items()}
            loss = torch.stack(list(parts.values())).sum()
        loss.backward()
        note(found, parts)
    for optimiser in optimisers:
        optimiser.step()
    return found, losses.full(image.detach())


def note(found: Losses, parts: Losses) -> None:
    """Adds the losses of one piece to those found so far."""
    for name, part in parts.items():
        found[name] = found.get(name, torch.zeros_like(part)) + part.detach()


def autocast(network: nn.Module, dtype: torch.dtype | None) -> Callable[[], Any]:
    """A maker of contexts in which convolutions compute in dtype."""
    place = next(network.parameters()).device.type
    return lambda: torch.autocast(place, dtype, enabled=dtype is not None)
