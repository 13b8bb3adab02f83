"""The stages in which the sketch GAN (arXiv 2012.09290) is trained, as lessons of gan_training.learn: its autoencoder
and its generator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.optim import Optimizer

from ...networks import build
from ...networks.sketchgan import whole as sketchgan
from ...networks.sketchgan.autoencoder import ContentEncoder, Decoder, StyleEncoder, StyleGuess
from ...networks.sketchgan.refiner import Discriminator, draft_size, refiner
from ...pictures.features import Features
from ..batches import Ahead, PairBatches, SelfBatches, set_number
from ..loop import Panel
from ..photos import Store
from .autoencoder import (
    LATER_RATE,
    RATE,
    SUMS,
    Autoencoder,
    Leak,
    Losses,
    adam,
    ae_optimisers,
    ae_pair_step,
    ae_self_step,
    draw_self,
    draw_set,
    follow,
    next_pictures,
)
from .generator import draw_gan, gan_step
from .losses import Percept, check_batch, derangement, perceptual

RAMP = 5000  # steps over which the mutual-information term comes to its weight
AVERAGE = 0.999
LEAST = 8  # channels of the decoder's largest maps: what n = 64 has as published
SETTLING = 24  # batches that the norms' statistics are taken from
WEIGHTS, AE_SET, AE_DRAW, GAN_DRAW = range(10, 14)  # streams of random numbers, beside those of gan_data


@dataclass(frozen=True)
class Settings:
    """kind, size, width: of the networks (see networks.sketchgan); judge: width of the discriminator.

    batch: pictures at once, 2 or more; a step takes `pieces` batches (gradient accumulation). classes: pictures in a
    set that the style encoder learns to tell apart, all of them if there are fewer; a run that goes on keeps the number
    that it began with. half: bfloat16 where it is safe. leak: weight of the
    mutual-information term, our formulation; 0 leaves it out. rate, gan_rate: factors on the learning rates of the
    autoencoder and of the generator; rest: the share of each one's run at its end in which they fall to nothing.
    """

    kind: str = "art"
    size: int = 512
    width: int = 64
    judge: int = 64
    batch: int = 8
    pieces: int = 1
    classes: int = 500
    seed: int = 0
    half: bool = False
    leak: float = 0.0
    rate: float = 1.0
    gan_rate: float = 1.0
    rest: float = 0.0

    def pace(self, share: float) -> float:
        """How much of the learning rates is left at this share of the run."""
        return min(1.0, (1 - share) / self.rest) if self.rest else 1.0

    @property
    def identity(self) -> dict[str, Any]:
        """What a run cannot change once it has begun."""
        return {"kind": self.kind, "size": self.size, "width": self.width}

    @property
    def dtype(self) -> torch.dtype | None:
        return torch.bfloat16 if self.half else None

    @property
    def shoe(self) -> bool:
        return self.kind == "shoe"


def generator_of(*numbers: int) -> torch.Generator:
    """Random numbers that belong to a seed, a stream and a step."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 0x9E3779B97F4A7C15 + number + 1) % 2**63
    return torch.Generator().manual_seed(mixed)


def made(seed: int, *networks: Callable[[], nn.Module]) -> list[Any]:
    """Networks with first weights that follow from the seed, wherever torch's own generator stands."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_of(seed, WEIGHTS).initial_seed())
        return [network() for network in networks]


def compare(features: Features, size: int, device: torch.device | str) -> Percept:
    """LPIPS on a feature network at the published share of the side: half of 512. 1024 is brought to 256, too."""
    distance = perceptual(features, device)
    return distance if size >= 512 else lambda a, b: distance(avg_pool2d(a, 2), avg_pool2d(b, 2))


def to_device(batch: Any, device: torch.device | str) -> Any:
    """A batch (tensors, and tuples of them) there, in the order of channels that convolutions like best."""
    if isinstance(batch, Tensor):
        return batch.to(device, memory_format=torch.channels_last) if batch.ndim == 4 else batch.to(device)
    parts = [to_device(part, device) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)


def set_rates(groups: Iterable[tuple[Optimizer, float]]) -> None:
    for optimiser, rate in groups:
        for group in optimiser.param_groups:
            group["lr"] = rate


def an_image(losses: Losses, images: int) -> Losses:
    """The perceptual sum over a batch as a mean, which is how it is shown."""
    return {name: value / images if name == SUMS else value for name, value in losses.items()}


# --- autoencoder ------------------------------------------------------------------------------------------------------


class Drafting:
    """The autoencoder: a self-supervised step and a paired one each time. To be closed, as a context."""

    name = "autoencoder"
    panels: tuple[Panel, ...] = (
        Panel(
            "Autoencoder: distance to the photo (first = 1)",
            ("pixels", "perceptual", "paired pixels", "paired perceptual"),
            True,
        ),
        Panel("Autoencoder: encoders", ("content", "style", "class")),
    )

    def __init__(self, store: Store, features: Features, settings: Settings, device: torch.device | str) -> None:
        check_batch(settings.batch)
        own, self.device, self.store, self.sets = settings, device, store, store.pictures.sets
        self.settings, self.percept, self.identity = own, compare(features, own.size, device), own.identity
        self.pairs = PairBatches(store, own.batch, own.pieces, own.seed)
        self._build(min(own.classes, store.pictures.count))

    def _build(self, classes: int) -> None:
        """Networks with a classifier of so many pictures, what trains them, and their batches."""
        own, device = self.settings, self.device
        side, width = draft_size(own.size), own.width
        parts = made(
            own.seed,
            lambda: StyleEncoder(width=width, classes=classes, spectral=True),
            lambda: ContentEncoder(width=width, spectral=True),
            lambda: Decoder(width=width, size=side, least=LEAST, spectral=True),
            lambda: StyleGuess(width=width),
        )
        *nets, guess = (part.to(device, memory_format=torch.channels_last) for part in parts)
        self.nets = Autoencoder(*nets)
        self.optimisers = ae_optimisers(self.nets)
        self.leak: Leak | None = None
        if own.leak:
            self.leak = Leak(guess, adam(guess.parameters()), copy.deepcopy(self.nets.style).eval(), own.leak)
        self.classes, self.number = classes, 0  # which set of pictures this classifier tells apart
        selves = SelfBatches(self.store, classes, own.batch, own.pieces, own.seed)
        self.ahead = Ahead(lambda step: self._draw(selves, step))

    def _draw(self, selves: SelfBatches, step: int) -> list[tuple]:
        own, rng = self.settings, generator_of(self.settings.seed, AE_DRAW, step)
        drawn = []
        for piece in range(own.pieces):
            order = derangement(own.batch, rng) if own.shoe else None
            pair = self.pairs(step, draw_set(self.sets, rng), piece)
            drawn.append((selves(step, piece), draw_self(own.batch, rng), pair, order))
        return drawn

    def step(self, step: int, share: float) -> tuple[Losses, list[Tensor]]:
        own, drawn = self.settings, self.ahead(step)  # first: without pictures nothing has changed yet
        number = set_number(step, self.classes, own.batch * own.pieces)
        if number != self.number:
            self.optimisers = next_pictures(self.nets, self.optimisers, generator_of(own.seed, AE_SET, number))
            self.number = number
        opts, pace = self.optimisers, own.rate * own.pace(share)
        later = LATER_RATE if number else RATE
        rates = ((opts.style, later), (opts.decoder, later), (opts.content, RATE), (opts.classifier, RATE))
        set_rates((optimiser, pace * rate) for optimiser, rate in rates)
        pieces = [
            (to_device(batch, self.device), draws, to_device(pair, self.device), order)
            for batch, draws, pair, order in drawn
        ]
        leak = self.leak and self.leak._replace(weight=self.leak.weight * min(1.0, (step + 1) / RAMP))
        first, _ = ae_self_step(
            self.nets,
            opts,
            [(batch, draws) for batch, draws, _, _ in pieces],
            self.percept,
            pixels=own.shoe,
            leak=leak,
            dtype=own.dtype,
        )
        second, image = ae_pair_step(
            self.nets,
            opts,
            [(pair, order) for _, _, pair, order in pieces],
            self.percept,
            pixels=own.shoe,
            dtype=own.dtype,
        )
        if leak is not None:
            follow(leak.style.parameters(), self.nets.style.parameters())
            for slow, fast in zip(leak.style.buffers(), self.nets.style.buffers(), strict=True):
                slow.copy_(fast)
        images = own.batch * own.pieces
        losses = an_image(first, images)
        losses |= {f"paired {name}": value for name, value in an_image(second, images).items()}
        last = pieces[-1][2]
        return losses, [last.sketch, image, last.picture]

    def state(self) -> dict[str, Any]:
        held: dict[str, Any] = {
            "networks": [net.state_dict() for net in self.nets],
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "number": self.number,
        }
        if self.leak is not None:
            parts = (self.leak.guess, self.leak.optimiser, self.leak.style)
            held["leak"] = [part.state_dict() for part in parts]
        return held

    def load(self, state: dict[str, Any]) -> None:
        classes = len(state["networks"][0]["final_cls.1.bias"])
        if classes != self.classes:
            self._build(classes)
        for net, weights in zip(self.nets, state["networks"], strict=True):
            net.load_state_dict(weights)
        for optimiser, held in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(held)
        self.number = state["number"]
        if self.leak is None:
            return
        if "leak" not in state:  # the term is new to this run
            self.leak.style.load_state_dict(self.nets.style.state_dict())
        else:
            parts = (self.leak.guess, self.leak.optimiser, self.leak.style)
            for part, held in zip(parts, state["leak"], strict=True):
                part.load_state_dict(held)

    def weights(self, batches: int = SETTLING) -> dict[str, Tensor]:
        """For use: folded, with statistics of the norms from so many batches at these weights."""
        settled = Autoencoder(*copy.deepcopy([*self.nets]))  # pyright: ignore[reportArgumentType]
        for net in settled:
            net.requires_grad_(False)

        def run(i: int) -> None:
            batch = to_device(self.pairs(i, i % self.sets), self.device)
            settled.decoder(settled.content(batch.sketch), settled.style(batch.picture))

        settle(settled, run, batches)
        named = zip("scd", settled, strict=True)
        whole = {f"{name}.{key}": x.cpu() for name, net in named for key, x in net.state_dict().items()}
        return sketchgan.for_use(whole)

    def __enter__(self) -> Drafting:
        return self

    def __exit__(self, *_: object) -> None:
        self.ahead.__exit__()


def settle(networks: Sequence[nn.Module], run: Callable[[int], Any], batches: int) -> None:
    """Sets the batch norms' statistics to the mean over so many batches, run(i), at the weights of frozen networks."""
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


# --- generator --------------------------------------------------------------------------------------------------------


class Refining:
    """The generator and its discriminator, over a finished autoencoder. To be closed, as a context.

    drafts: the autoencoder's weights for use. The averaged weights follow faster at first, so that a short run's
    average does not hold its random first weights; after 9,000 steps they follow as published.
    """

    name = "gan"
    panels: tuple[Panel, ...] = (
        Panel("GAN: what the discriminator says (real up, fake down)", ("real", "fake")),
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
        own, self.device, self.sets, self.drafts = settings, device, store.pictures.sets, drafts
        self.settings, self.percept = own, compare(features, own.size, device)
        self.identity = {**own.identity, "judge": own.judge}
        self.generator, self.judge = (
            net.to(device, memory_format=torch.channels_last)
            for net in made(
                own.seed + 1,
                lambda: refiner(own.kind, width=own.width, size=own.size, spectral=True),
                lambda: Discriminator(width=own.judge, size=own.size),
            )
        )
        self.judge.start(generator_of(own.seed, WEIGHTS))
        frozen: Any = build(drafts, device=device)
        frozen.to(memory_format=torch.channels_last)
        self.ae = Autoencoder(frozen.style_encoder, frozen.content_encoder, frozen.decoder)
        self.optimisers = adam(self.generator.parameters()), adam(self.judge.parameters())
        self.averaged = [value.detach().clone() for value in self.generator.parameters()]
        self.pairs = PairBatches(store, own.batch, own.pieces, own.seed + 1)
        self.ahead = Ahead(self._draw)

    def _draw(self, step: int) -> list[tuple]:
        own, rng = self.settings, generator_of(self.settings.seed, GAN_DRAW, step)
        return [
            (self.pairs(step, draw_set(self.sets, rng), piece), draw_gan(self.generator, own.batch, rng))
            for piece in range(own.pieces)
        ]

    def step(self, step: int, share: float) -> tuple[Losses, list[Tensor]]:
        own = self.settings
        rate = RATE * own.gan_rate * own.pace(share)
        set_rates((optimiser, rate) for optimiser in self.optimisers)
        pieces = [(to_device(batch, self.device), draws) for batch, draws in self.ahead(step)]
        losses, image = gan_step(
            self.ae, self.generator, self.judge, self.optimisers, pieces, self.percept, dtype=own.dtype
        )
        follow(self.averaged, self.generator.parameters(), min(AVERAGE, (1 + step) / (10 + step)))
        last = pieces[-1][0]
        return an_image(losses, own.batch * own.pieces), [last.sketch, image, last.picture]

    def state(self) -> dict[str, Any]:
        return {
            "networks": [self.generator.state_dict(), self.judge.state_dict()],
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "averaged": self.averaged,
        }

    def load(self, state: dict[str, Any]) -> None:
        for net, weights in zip((self.generator, self.judge), state["networks"], strict=True):
            net.load_state_dict(weights)
        for optimiser, held in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(held)
        for value, held in zip(self.averaged, state["averaged"], strict=True):
            value.copy_(held)

    def weights(self, batches: int = SETTLING) -> dict[str, Tensor]:
        """The whole sketch GAN for use: folded, averaged, with statistics of the norms that belong to the average."""
        settled: Any = copy.deepcopy(self.generator).requires_grad_(False)
        for value, mean in zip(settled.parameters(), self.averaged, strict=True):
            value.copy_(mean)

        def run(i: int) -> None:
            batch = to_device(self.pairs(i, i % self.sets), self.device)
            draws = draw_gan(settled, len(batch.picture), generator_of(self.settings.seed, GAN_DRAW, i))
            settled(*self.ae.drafts(batch.sketch, batch.picture), draws.noise, draws.flips)

        settle([settled], run, batches)
        return {**self.drafts, **sketchgan.for_use({f"ig.{k}": x.cpu() for k, x in settled.state_dict().items()})}

    def __enter__(self) -> Refining:
        return self

    def __exit__(self, *_: object) -> None:
        self.ahead.__exit__()
