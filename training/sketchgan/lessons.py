"""The sketch GAN's stages as lessons (arXiv 2012.09290): its autoencoder and its generator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ...networks import build
from ...networks.sketchgan import whole
from ...networks.sketchgan.autoencoder import ContentEncoder, Decoder, StyleEncoder, StyleGuess
from ...networks.sketchgan.layers import check
from ...networks.sketchgan.refiner import SIZES, Discriminator, draft_size, refiner
from ...pictures.features import Features
from ..batches import Prefetch, generator_of, to_device
from ..loop import Lesson, Losses, Panel
from ..photos import Store
from ..weights import WEIGHTS, follow, seeded, set_rates, settle, uninterrupted
from .autoencoder import (
    LATER_RATE,
    RATE,
    SUMS,
    Autoencoder,
    MutualInformation,
    adam,
    ae_optimisers,
    ae_pair_step,
    ae_self_step,
    draw_self,
    draw_set,
    next_pictures,
)
from .batches import PairBatches, SelfBatches, set_number
from .generator import draw_gan, gan_step
from .losses import Percept, check_batch, derangement, perceptual

RAMP = 5000  # steps over which the mutual-information term reaches its weight
AVERAGE = 0.999
LEAST = 8  # channels of the decoder's largest maps: what n = 64 has as published
SETTLING = 24  # batches that the norms' statistics are taken from
AE_SET, AE_DRAW, GAN_DRAW = range(11, 14)  # streams of random numbers, beside those of batches


@dataclass(frozen=True)
class Settings:
    """kind, size, width: of the networks (see networks.sketchgan.whole). discriminator: its width.

    batch: pictures per batch, 2 or more. accumulation_steps: batches per step. classes: how many photos the style
    classifier tells apart at a time, at most the number available; fixed once a run has started. bfloat16: where it is
    safe. mutual_information: weight of that term, our formulation; 0 leaves it out. ae_rate, gan_rate: factors on the
    published learning rates. decay_share: fraction at the end of each stage over which its rate decays to 0.
    """

    kind: str = "art"
    size: int = 512
    width: int = 64
    discriminator: int = 64
    batch: int = 8
    accumulation_steps: int = 1
    classes: int = 500
    seed: int = 0
    bfloat16: bool = False
    mutual_information: float = 0.0
    ae_rate: float = 1.0
    gan_rate: float = 1.0
    decay_share: float = 0.0

    def check(self) -> None:
        """ValueError: a batch of one, a size or a width that the networks do not support."""
        check_batch(self.batch)
        check("The sketch GAN", self.size, SIZES, self.width)

    def rate_factor(self, progress: float) -> float:
        """What is left of the learning rates at this point of the run."""
        return min(1.0, (1 - progress) / self.decay_share) if self.decay_share else 1.0

    @property
    def identity(self) -> dict[str, Any]:
        """What a run cannot change once it has begun."""
        return {"kind": self.kind, "size": self.size, "width": self.width}

    @property
    def dtype(self) -> torch.dtype | None:
        return torch.bfloat16 if self.bfloat16 else None

    @property
    def shoe(self) -> bool:
        return self.kind == "shoe"

    @property
    def images_per_step(self) -> int:
        return self.batch * self.accumulation_steps


# --- autoencoder ------------------------------------------------------------------------------------------------------


class AutoencoderLesson(Lesson):
    """The autoencoder: a self-supervised and a paired step each time."""

    name = "autoencoder"
    panels = (
        Panel(
            "Autoencoder: distance to the photo (first = 1)",
            ("pixels", "perceptual", "paired pixels", "paired perceptual"),
            True,
        ),
        Panel("Autoencoder: encoders", ("content", "style", "class")),
    )

    def __init__(self, store: Store, features: Features, settings: Settings, device: torch.device | str) -> None:
        check_batch(settings.batch)
        super().__init__(settings.identity)
        self.settings, self.device, self.store, self.sets = settings, device, store, store.pictures.sets
        self.percept = compare(features, settings.size, device)
        self.pairs = PairBatches(store, settings.batch, settings.accumulation_steps, settings.seed)
        self._build(min(settings.classes, store.pictures.count))

    def _build(self, classes: int) -> None:
        """Networks with a classifier of this many photos, their optimisers, and their batches."""
        own = self.settings
        self.classes, self.set_number = classes, 0
        self.nets, guess = new_autoencoder(own, classes, self.device)
        self.optimisers = ae_optimisers(self.nets)
        self.mutual_information: MutualInformation | None = None
        if own.mutual_information:
            averaged = copy.deepcopy(self.nets.style).eval()
            optimiser = adam(guess.parameters())
            self.mutual_information = MutualInformation(guess, optimiser, averaged, own.mutual_information)
        selves = SelfBatches(self.store, classes, own.batch, own.accumulation_steps, own.seed)
        self.ahead = Prefetch(lambda step: self._draw(selves, step))
        self.closing = [self.ahead]

    def _draw(self, selves: SelfBatches, step: int) -> list[tuple]:
        own, rng = self.settings, generator_of(self.settings.seed, AE_DRAW, step)
        drawn = []
        for piece in range(own.accumulation_steps):
            order = derangement(own.batch, rng) if own.shoe else None
            pair = self.pairs(step, draw_set(self.sets, rng), piece)
            drawn.append((selves(step, piece), draw_self(own.batch, rng), pair, order))
        return drawn

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        own, drawn = self.settings, self.ahead(step)  # first: without pictures nothing has changed yet
        self._set_rates(step, progress)
        pieces = [
            (to_device(batch, self.device, True), draws, to_device(pair, self.device, True), order)
            for batch, draws, pair, order in drawn
        ]
        first, _ = ae_self_step(
            self.nets,
            self.optimisers,
            [(batch, draws) for batch, draws, _, _ in pieces],
            self.percept,
            pixels=own.shoe,
            mutual_information=self._ramped(step),
            dtype=own.dtype,
        )
        second, image = ae_pair_step(
            self.nets,
            self.optimisers,
            [(pair, order) for _, _, pair, order in pieces],
            self.percept,
            pixels=own.shoe,
            dtype=own.dtype,
        )
        self._follow_style()
        losses = per_image(first, own.images_per_step)
        losses |= {f"paired {name}": value for name, value in per_image(second, own.images_per_step).items()}
        last = pieces[-1][2]
        return losses, [last.sketch, image, last.picture]

    def _set_rates(self, step: int, progress: float) -> None:
        """Learning rates of this step; a new classifier where the next set of photos begins."""
        own = self.settings
        number = set_number(step, self.classes, own.images_per_step)
        if number != self.set_number:
            self.optimisers = next_pictures(self.nets, self.optimisers, generator_of(own.seed, AE_SET, number))
            self.set_number = number
        factor, later = own.ae_rate * own.rate_factor(progress), LATER_RATE if number else RATE
        groups = self.optimisers
        rates = ((groups.style, later), (groups.decoder, later), (groups.content, RATE), (groups.classifier, RATE))
        set_rates((optimiser, factor * rate) for optimiser, rate in rates)

    def _ramped(self, step: int) -> MutualInformation | None:
        term = self.mutual_information
        return term and term._replace(weight=term.weight * min(1.0, (step + 1) / RAMP))

    def _follow_style(self) -> None:
        if self.mutual_information is not None:
            slow = self.mutual_information.style
            follow(slow.parameters(), self.nets.style.parameters())
            for kept, moving in zip(slow.buffers(), self.nets.style.buffers(), strict=True):
                kept.copy_(moving)

    def state(self) -> dict[str, Any]:
        self._keep()
        return {**super().state(), "set_number": self.set_number}

    def load(self, state: Mapping[str, Any]) -> None:
        classes = len(state["networks"][0]["final_cls.1.bias"])
        if classes != self.classes:
            self._build(classes)
        self._keep()
        new = self.mutual_information is not None and "mutual_information" not in state
        if new:
            del self.kept["mutual_information"]
        super().load(state)
        self.set_number = state["set_number"]
        if new and self.mutual_information is not None:
            self.mutual_information.style.load_state_dict(self.nets.style.state_dict())

    def _keep(self) -> None:
        """What there is now: another set of photos exchanges an optimiser, another classifier everything."""
        self.kept = {"networks": self.nets, "optimisers": self.optimisers}
        if self.mutual_information is not None:
            self.kept["mutual_information"] = self.mutual_information[:3]

    def weights(self, batches: int = SETTLING) -> dict[str, Tensor]:
        """For use: spectral norms folded; the batch norms' statistics from this many batches at these weights."""
        settled = Autoencoder(*copy.deepcopy([*self.nets]))  # pyright: ignore[reportArgumentType]
        for net in settled:
            net.requires_grad_(False)

        def run(i: int) -> None:
            batch = to_device(self.pairs(i, i % self.sets), self.device, True)
            settled.decoder(settled.content(batch.sketch), settled.style(batch.picture))

        settle(settled, run, batches)
        named = zip("scd", settled, strict=True)
        return whole.for_use({f"{name}.{key}": x.cpu() for name, net in named for key, x in net.state_dict().items()})


def new_autoencoder(settings: Settings, classes: int, device: torch.device | str) -> tuple[Autoencoder, StyleGuess]:
    """Untrained networks of these settings, and the guesser of the mutual-information term."""
    width = settings.width
    style, content, decoder, guess = (
        net.to(device, memory_format=torch.channels_last)
        for net in seeded(
            settings.seed,
            lambda: StyleEncoder(width=width, classes=classes, spectral=True),
            lambda: ContentEncoder(width=width, spectral=True),
            lambda: Decoder(width=width, size=draft_size(settings.size), least=LEAST, spectral=True),
            lambda: StyleGuess(width=width),
        )
    )
    return Autoencoder(style, content, decoder), guess


# --- generator --------------------------------------------------------------------------------------------------------


class GeneratorLesson(Lesson):
    """The generator and its discriminator, over a finished autoencoder.

    drafts: the autoencoder's weights for use. The averaged weights follow faster at first, so that a short run's
    average does not hold its random first weights; after 9,000 steps they follow as published.
    """

    name = "gan"
    panels = (
        Panel("GAN: discriminator output (real up, fake down)", ("real", "fake")),
        Panel("GAN: distance to the photo (first = 1)", ("perceptual", "pixels", "grey"), True),
    )

    def __init__(
        self,
        store: Store,
        features: Features,
        settings: Settings,
        drafts: dict[str, Tensor],
        device: torch.device | str,
    ) -> None:
        check_batch(settings.batch)
        super().__init__({**settings.identity, "discriminator": settings.discriminator})
        self.settings, self.device, self.sets, self.drafts = settings, device, store.pictures.sets, drafts
        self.percept = compare(features, settings.size, device)
        self.generator, self.discriminator = (
            net.to(device, memory_format=torch.channels_last)
            for net in seeded(
                settings.seed + 1,
                lambda: refiner(settings.kind, width=settings.width, size=settings.size, spectral=True),
                # published: the network for 512 pixels at 1024 too
                lambda: Discriminator(width=settings.discriminator, size=draft_size(settings.size)),
            )
        )
        self.discriminator.start(generator_of(settings.seed, WEIGHTS))
        frozen: Any = build(drafts, device=device)
        frozen.to(memory_format=torch.channels_last)
        self.ae = Autoencoder(frozen.style_encoder, frozen.content_encoder, frozen.decoder)
        self.optimisers = adam(self.generator.parameters()), adam(self.discriminator.parameters())
        self.averaged = [value.detach().clone() for value in self.generator.parameters()]
        self.kept = {
            "networks": [self.generator, self.discriminator],
            "optimisers": self.optimisers,
            "averaged": self.averaged,
        }
        self.pairs = PairBatches(store, settings.batch, settings.accumulation_steps, settings.seed + 1)
        self.ahead = Prefetch(self._draw)
        self.closing = [self.ahead]

    def _draw(self, step: int) -> list[tuple]:
        own, rng = self.settings, generator_of(self.settings.seed, GAN_DRAW, step)
        return [
            (self.pairs(step, draw_set(self.sets, rng), piece), draw_gan(self.generator, own.batch, rng))
            for piece in range(own.accumulation_steps)
        ]

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        own, drawn = self.settings, self.ahead(step)
        rate = RATE * own.gan_rate * own.rate_factor(progress)
        set_rates((optimiser, rate) for optimiser in self.optimisers)
        pieces = [(to_device(batch, self.device, True), draws) for batch, draws in drawn]
        losses, image = gan_step(
            self.ae, self.generator, self.discriminator, self.optimisers, pieces, self.percept, dtype=own.dtype
        )
        follow(self.averaged, self.generator.parameters(), min(AVERAGE, (1 + step) / (10 + step)))
        last = pieces[-1][0]
        return per_image(losses, own.images_per_step), [last.sketch, image, last.picture]

    def weights(self, batches: int = SETTLING) -> dict[str, Tensor]:
        """The whole sketch GAN for use: folded, averaged, with batch-norm statistics that belong to the average."""
        settled: Any = copy.deepcopy(self.generator).requires_grad_(False)
        for value, mean in zip(settled.parameters(), self.averaged, strict=True):
            value.copy_(mean)

        def run(i: int) -> None:
            batch = to_device(self.pairs(i, i % self.sets), self.device, True)
            draws = draw_gan(settled, len(batch.picture), generator_of(self.settings.seed, GAN_DRAW, i))
            settled(*self.ae.drafts(batch.sketch, batch.picture), draws.noise, draws.flips)

        settle([settled], run, batches)
        return {**self.drafts, **whole.for_use({f"ig.{k}": x.cpu() for k, x in settled.state_dict().items()})}


# --- what lessons share -----------------------------------------------------------------------------------------------


def compare(features: Features, size: int, device: torch.device | str) -> Percept:
    """LPIPS on a feature network at the published size: half of 512 px, and 1024 px is reduced to 256 too."""
    distance = perceptual(uninterrupted(features), device)
    return distance if size >= 512 else lambda a, b: distance(avg_pool2d(a, 2), avg_pool2d(b, 2))


def per_image(losses: Losses, images: int) -> Losses:
    """The perceptual sum over a batch as a mean, which is how it is shown."""
    return {name: value / images if name == SUMS else value for name, value in losses.items()}
