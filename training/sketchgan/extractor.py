"""The sketch GAN's sketch extractor TOM (arXiv 2012.09290, stage 1): its training step and its lesson."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...networks import build
from ...networks.frozen import Frozen
from ...networks.sketchgan.tom import Generator, StyleDiscriminator, taps, with_features
from ...pictures.features import Features
from ..batches import Prefetch, to_device
from ..loop import Lesson, Losses, Panel
from ..photos import Store, tensor
from ..weights import seeded, uninterrupted
from . import losses
from .autoencoder import adam, autocast
from .batches import Unpaired
from .losses import check_batch

Look = Callable[[Tensor], Sequence[Tensor]]


def five_taps(features: Features, size: int) -> Frozen:
    """A VGG among feature networks as TOM looks through it, for the `look` of tom_step.

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


class DrawingLesson(Lesson):
    """A lesson whose network draws photos."""

    name = "extractor"

    def drawn(self) -> list[Tensor]:
        """Up to five photos and how the network draws them, each [B,1 or 3,S,S] in [-1,1]."""
        raise NotImplementedError


def first_photos(store: Store, count: int = 5) -> Tensor:
    """The first photos [B,3,S,S] in [-1,1], at the side of the store's squares."""
    return torch.stack([tensor(store.photo(i, store.side)) for i in range(min(count, store.pictures.count))])


class ExtractorLesson(DrawingLesson):
    """TOM: photos are drawn in the manner of sketches that belong to other pictures."""

    panels = (
        Panel("Sketch extractor: distances (first = 1)", ("content", "texture"), True),
        Panel("Sketch extractor: judged", ("adversarial", "discriminator")),
    )

    def __init__(
        self,
        photos: Store,
        sketches: Store,
        features: Features,
        *,
        width: int = 128,
        batch: int = 4,
        seed: int = 0,
        bfloat16: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        check_batch(batch)
        features = uninterrupted(features)
        self.look = five_taps(features, photos.side).prepare(device)
        channels = self.look(torch.zeros(1, 3, 64, 64, device=device))[2].shape[1]
        super().__init__({"size": photos.side, "width": width, "channels": channels})
        self.photos, self.device, self.dtype = photos, device, torch.bfloat16 if bfloat16 else None
        vgg = features.network.patcher.model.state_dict()
        self.vgg = {key: value.detach().clone().cpu() for key, value in vgg.items() if key.startswith("features.")}
        self.generator, self.discriminator = (
            net.to(device)
            for net in seeded(
                seed,
                lambda: Generator(channels=channels, width=width, spectral=True),
                lambda: StyleDiscriminator(channels=3 * width),
            )
        )
        self.optimisers = adam(self.generator.parameters(), 0.99), adam(self.discriminator.parameters(), 0.99)
        self.kept = {"networks": [self.generator, self.discriminator], "optimisers": self.optimisers}
        self.ahead = Prefetch(Unpaired(photos, sketches, batch, seed))
        self.closing = [self.ahead]

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        photo, sketch = to_device(self.ahead(step), self.device, True)
        found, drawn = tom_step(
            self.generator, self.discriminator, self.optimisers, photo, sketch, self.look, dtype=self.dtype
        )
        return found, [photo, drawn, sketch]

    def weights(self) -> dict[str, Tensor]:
        """g.*, ds.* and the filters it looks through, vgg.features.*: an extractor by itself, in the training form."""
        parts = (("g", self.generator), ("ds", self.discriminator))
        named = {f"{name}.{key}": value for name, net in parts for key, value in net.state_dict().items()}
        return {**named, **with_features(named, self.vgg)}

    def notes(self) -> dict[str, Any]:
        return {"image_size": self.identity["size"]}

    def drawn(self) -> list[Tensor]:
        drawer, photos = build(self.weights(), device=self.device), first_photos(self.photos)
        return [photos, (drawer((photos.to(self.device) + 1) / 2) * 2 - 1).cpu()]
