"""StyleGAN2 (Karras et al., arXiv 1912.04958) as a lesson: non-saturating loss, lazy R1 and path lengths, style mixing,
an average of the weights, and adaptive augmentation for small folders (arXiv 2006.06676)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...networks.paint2pix.stylegan2 import Generator, mixed
from ..batches import Prefetch, Shuffled, generator_of, places_of, to_device
from ..loop import Lesson, Losses, Panel
from ..photos import Store, tensor
from ..weights import follow, seeded, set_rates
from .judge import R1, Judge, lazy_adam
from .losses import path_lengths
from .new import check_sizes, new_discriminator, new_generator, widths

PATH_EVERY, PATH_WEIGHT, PATH_DECAY = 4, 2.0, 0.01  # appendix B
MIXED = 0.9  # share of batches whose later styles come from another z
HALF_LIFE = 10_000  # pictures over which the average forgets half
PICTURES, DRAW, SHOW = range(30, 33)  # streams of random numbers


@dataclass(frozen=True)
class Settings:
    """size: 32 to 1024 pixels. width: of the widest maps and of styles, 512 as published. mappings: layers from z to w.
    batch: pictures per step. r1: weight of the gradient penalty; 10 as published, for 1024 pixels. adaptive: augments
    as much as the discriminator overfits. mirror: pictures may be mirrored. bfloat16: where it is safe."""

    size: int = 256
    width: int = 512
    mappings: int = 8
    batch: int = 16
    learning_rate: float = 2e-3
    r1: float = R1
    adaptive: bool = True
    mirror: bool = True
    seed: int = 0
    bfloat16: bool = False

    def check(self) -> None:
        """ValueError: a value out of its range."""
        check_sizes(self.size, self.width)
        check_batch(self.batch)
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"learning_rate must be above 0 and at most 1, got {self.learning_rate}.")


def check_batch(batch: int) -> None:
    if not 2 <= batch <= 512:
        raise ValueError(f"batch must be from 2 to 512, got {batch}: pictures of a batch are compared.")


class Photos:
    """The batch of a step: photos [B,3,size,size] in [-1,1] in a random order, half of them mirrored."""

    def __init__(self, store: Store, batch: int, seed: int, mirror: bool) -> None:
        self.store, self.batch, self.seed, self.mirror = store, batch, seed, mirror
        self.order = Shuffled(store.pictures.count, seed, PICTURES)

    def __call__(self, step: int) -> Tensor:
        made = []
        for place in places_of(step, self.batch):
            picture = tensor(self.store.photo(self.order(place), self.store.side))
            turned = self.mirror and bool(torch.rand((), generator=generator_of(self.seed, PICTURES, place)) < 0.5)
            made.append(picture.flip(-1) if turned else picture)
        return torch.stack(made)


def fresh_noise(decoder: Generator, count: int, rng: torch.Generator, device: torch.device | str) -> list[Tensor]:
    """Noise maps for each picture of a batch; drawn on the CPU, the same on every machine."""
    return [torch.randn(count, 1, side, side, generator=rng).to(device) for side in decoder.sides]


def random_styles(decoder: Generator, count: int, rng: torch.Generator, device: torch.device | str) -> Tensor:
    """w [B,styles,style_dim] of random z, in most batches with the styles of two z (section 3.1 of StyleGAN)."""
    z, other = (torch.randn(count, decoder.style_dim, generator=rng).to(device) for _ in range(2))
    layer = int(torch.randint(1, decoder.styles, (), generator=rng))
    if float(torch.rand((), generator=rng)) >= MIXED:
        layer = decoder.styles
    first, second = decoder.mapping(torch.cat([z, other])).float().chunk(2)
    return mixed(first, second, layer, decoder.styles)


class StyleGANLesson(Lesson):
    """batches(step): real pictures [B,3,size,size] in [-1,1]. The model file is a generator in rosinality's layout,
    which Load Paint2pix takes as a decoder and Train Paint2pix begins from."""

    name = "stylegan"
    panels = (
        Panel("StyleGAN2: losses", ("generator", "discriminator")),
        Panel("Sign of D(real), and probability of augmentation", ("real sign", "augmentation")),
        Panel("Path length", ("path length",)),
    )

    def __init__(self, batches: Callable[[int], Tensor], settings: Settings, device: torch.device | str) -> None:
        settings.check()
        super().__init__({name: getattr(settings, name) for name in ("size", "width", "mappings")})
        self.settings, self.device = settings, torch.device(device)
        channels = widths(settings.size, settings.width)
        generator, discriminator = seeded(
            settings.seed,
            lambda: new_generator(channels, settings.width, settings.mappings),
            lambda: new_discriminator(channels),
        )
        self.generator: Generator = generator.to(device).train()
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.judge = Judge(
            discriminator,
            learning_rate=settings.learning_rate,
            r1=settings.r1,
            adaptive=settings.adaptive,
            device=device,
        )
        self.optimiser = lazy_adam(self.generator.parameters(), settings.learning_rate, PATH_EVERY)
        self.rate = self.optimiser.param_groups[0]["lr"]
        self.mean_path = torch.zeros(1)
        self.half = partial(torch.autocast, self.device.type, torch.bfloat16, enabled=settings.bfloat16)
        self.kept = {
            "networks": [self.generator, self.average],
            "optimiser": self.optimiser,
            "judge": self.judge.kept,
            "mean_path": self.mean_path,
        }
        self.ahead = Prefetch(batches)
        self.closing = [self.ahead]

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        real = to_device(self.ahead(step), self.device)
        rng = generator_of(self.settings.seed, DRAW, step)
        set_rates([(self.optimiser, self.rate)])
        with torch.no_grad(), self.half():
            fake = self._made(len(real), rng)
        found = self.judge.learn(real, [fake], step, rng, self.half)
        with self.half():
            loss = self.judge.convinced(self._made(len(real), rng), rng)
        self._step(loss)
        found["generator"] = loss.detach()
        if step % PATH_EVERY == 0:
            self._path(max(1, len(real) // 2), rng)
        found["path length"] = self.mean_path[0].clone()
        keep = min(0.5 ** (len(real) / HALF_LIFE), (1 + step) / (10 + step))
        follow(self.average.parameters(), self.generator.parameters(), keep)
        return found, [real, fake.float()]

    def _made(self, count: int, rng: torch.Generator) -> Tensor:
        w = random_styles(self.generator, count, rng, self.device)
        return self.generator(w, fresh_noise(self.generator, count, rng, self.device))

    def _path(self, count: int, rng: torch.Generator) -> None:
        """Brings path lengths to their running mean (appendix B); in float32, since it is differentiated twice."""
        w = random_styles(self.generator, count, rng, self.device)
        size = self.generator.size
        direction = torch.randn(count, 3, size, size, generator=rng).to(self.device)
        lengths = path_lengths(self.generator, w, fresh_noise(self.generator, count, rng, self.device), direction)
        mean = self.mean_path.to(self.device).lerp(lengths.detach().mean(), PATH_DECAY)
        self.mean_path.copy_(mean)
        self._step(PATH_WEIGHT * PATH_EVERY * (lengths - mean).square().mean())

    def _step(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def weights(self) -> dict[str, Tensor]:
        return {key: value.detach().cpu() for key, value in self.average.state_dict().items()}

    def notes(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self.settings).items() if key != "bfloat16"}

    @torch.no_grad()
    def samples(self, count: int = 5) -> Tensor:
        """Pictures [count,3,size,size] of the averaged weights, always of the same z."""
        z = torch.randn(count, self.average.style_dim, generator=generator_of(self.settings.seed, SHOW)).to(self.device)
        w = self.average.mapping(z)[:, None].expand(-1, self.average.styles, -1)
        return self.average(w)
