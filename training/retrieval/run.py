"""A retriever's training as the node and the command start it: settings, classes, one lesson."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...networks.retrieval.network import Retriever
from .data import Kind, Seen, batch
from .lesson import RetrievalLesson, Validation
from .starts import begin_from
from .task import RetrievalTask, centred, initialised

ANCHORS = (49, 144, 196)
SMALL: dict[str, Any] = {  # the starter's: learns on a CPU
    "width": 192,
    "depth": 3,
    "heads": 3,
    "inner": 384,
    "grid": 8,
    "patch": 8,
    "channels": (32, 64, 192),
    "cross_inner": 256,
    "folded": 64,
    "anchors": 16,
    "hidden": (64, 16),
}
NETWORKS = ("published", "small")


@dataclass(frozen=True)
class Settings:
    """How a retriever learns. The defaults are the published ones, but for `fair`.

    network: "published" (ViT-B/16 at 224 px, 102 million parameters) or "small" (the starter's layout, 64 px, 1.6
    million). anchors: 49, 144 or 196 of the published one; the small one has 16. batch: items of two sketches and two
    photos. fair: draws every picture of a class alike; False: with the published faults (see `data.drawn`). contrast:
    weight of the contrast over the batch, 0 as published. steady: constant learning rate; False: warm-up, cosine and
    an average of the weights. dropout: 0 to 0.9.
    """

    network: str = "published"
    anchors: int = 49
    batch: int = 15
    learning_rate: float = 1e-5
    weight_decay: float = 1e-2
    dropout: float = 0.1
    contrast: float = 0.0
    fair: bool = True
    steady: bool = True
    seed: int = 2021

    def check(self) -> None:
        """ValueError: a value out of its range."""
        ranges = {
            "batch": (1, 4096),
            "learning_rate": (0.0, 1.0),
            "weight_decay": (0.0, 1.0),
            "dropout": (0.0, 0.9),
            "contrast": (0.0, 100.0),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}, got {getattr(self, name)}.")
        if self.network not in NETWORKS:
            raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {self.network}.")
        if self.network == "published" and self.anchors not in ANCHORS:
            raise ValueError(f"anchors must be one of {', '.join(map(str, ANCHORS))}, got {self.anchors}.")


def new_network(settings: Settings) -> Retriever:
    """With first weights that follow from the seed."""
    if settings.network == "small":
        network = Retriever(**SMALL)
    else:
        network = Retriever(anchors=settings.anchors, hidden=relation_sizes(settings.anchors))
    network = initialised(network, settings.seed)
    network.set_dropout(settings.dropout)
    return network


def relation_sizes(anchors: int) -> tuple[int, int]:
    """Widths of the relation network's two hidden layers for anchors^2 cosines: anchors^(3/2) and anchors."""
    return anchors * round(anchors**0.5), anchors


def retrieval_lesson(
    settings: Settings,
    learned: Sequence[Kind],
    tested: Sequence[Kind] = (),
    *,
    start: Path | None = None,
    every_sketch: int = 20,
    every_photo: int = 20,
    validate_every: int = 667,
    validate_from: int = 0,
    by_relation: bool = False,
    device: torch.device | str = "cpu",
    autocast: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> RetrievalLesson:
    """The lesson for these classes. tested: classes for validation; none: the last weights are kept.

    start: a file to begin from (see `starts.begin_from`); every_sketch, every_photo, by_relation: see Validation;
    validate_every, validate_from: in steps. From nothing, the published losses alone soon give every picture the same
    vector: use `contrast` or a start. ValueError: settings out of range, or a start that does not fit.
    """
    settings.check()
    network = new_network(settings)
    if start is not None:
        say(begin_from(network, start))
    seen = Seen(network.size)
    if start is None and settings.contrast:
        first = batch(learned, seen, settings.batch, settings.seed, False, 10**6)
        network = centred(network.eval(), first["sketch"], first["photo"])
    validation = Validation(tested, seen, every_sketch, every_photo, by_relation) if tested else None
    identity = {**asdict(settings), "classes": len(learned), "pictures": sum(len(kind.photos) for kind in learned)}
    smooth: dict[str, Any] = {} if settings.steady else {"ema": 0.998, "warmup": 200}
    return RetrievalLesson(
        RetrievalTask(network, contrast=settings.contrast),
        partial(batch, learned, seen, settings.batch, settings.seed, not settings.fair),
        validation=validation,
        validate_every=validate_every,
        validate_from=validate_from,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.999),
        steady=settings.steady,
        autocast=autocast,
        device=device,
        identity=identity,
        **smooth,
    )
