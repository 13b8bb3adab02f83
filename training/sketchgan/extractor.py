"""TOM (arXiv 2012.09290, stage 1) as a lesson of gan_training.learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...networks.sketchgan.tom import Generator, StyleDiscriminator, with_features
from ...pictures.features import Features
from ..batches import Ahead, Unpaired
from ..loop import Panel
from ..photos import Store
from .autoencoder import Losses, adam
from .generator import five_taps, tom_step
from .lessons import made, to_device
from .losses import check_batch


class Drawing:
    """TOM: photos are drawn in the manner of sketches that belong to other pictures. To be closed, as a context."""

    name = "extractor"
    panels: tuple[Panel, ...] = (
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
        half: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        check_batch(batch)
        taps = five_taps(features, photos.side)
        self.photos = photos
        self.device, self.dtype = device, torch.bfloat16 if half else None
        self.look = taps.prepare(device)
        channels = self.look(torch.zeros(1, 3, 64, 64, device=device))[2].shape[1]
        self.identity = {"size": photos.side, "width": width, "channels": channels}
        vgg = features.network.patcher.model.state_dict()
        self.vgg = {key: value.detach().clone().cpu() for key, value in vgg.items() if key.startswith("features.")}
        self.generator, self.judge = (
            net.to(device)
            for net in made(
                seed,
                lambda: Generator(channels=channels, width=width, spectral=True),
                lambda: StyleDiscriminator(channels=3 * width),
            )
        )
        self.optimisers = adam(self.generator.parameters(), 0.99), adam(self.judge.parameters(), 0.99)
        self.ahead = Ahead(Unpaired(photos, sketches, batch, seed))

    def step(self, step: int, share: float) -> tuple[Losses, list[Tensor]]:
        photo, sketch = to_device(self.ahead(step), self.device)
        losses, drawn = tom_step(
            self.generator, self.judge, self.optimisers, photo, sketch, self.look, dtype=self.dtype
        )
        return losses, [photo, drawn, sketch]

    def state(self) -> dict[str, Any]:
        return {
            "networks": [self.generator.state_dict(), self.judge.state_dict()],
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def load(self, state: dict[str, Any]) -> None:
        for net, weights in zip((self.generator, self.judge), state["networks"], strict=True):
            net.load_state_dict(weights)
        for optimiser, held in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(held)

    def weights(self) -> dict[str, Tensor]:
        """g.*, ds.* and the filters it looks through, vgg.features.*: an extractor by itself, in the training form."""
        parts = (("g", self.generator), ("ds", self.judge))
        named = {f"{name}.{key}": value for name, net in parts for key, value in net.state_dict().items()}
        return {**named, **with_features(named, self.vgg)}

    def __enter__(self) -> Drawing:
        return self

    def __exit__(self, *_: object) -> None:
        self.ahead.__exit__()
