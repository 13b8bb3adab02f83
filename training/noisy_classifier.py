"""How a noisy classifier learns (Dhariwal and Nichol, arXiv 2105.05233, section 4.2 and its released code): the class
of a picture at a noise level drawn evenly from the whole ladder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..networks.noisy_classifier import NoisyClassifier
from ..networks.schedules import LINEAR, abars
from .diffusion import stratified
from .supervised import Task

MULTS = {64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4), 512: (0.5, 1, 1, 2, 2, 4, 4)}
LEVELS = 1000  # of the ladder that it learns on
ATTENDED = (32, 16, 8)  # sides of the maps with attention
Batch = tuple[Tensor, Tensor]  # pictures [B,3,H,W] in [-1,1], and their classes [B]


def published_shape(size: int, width: int, depth: int = 2) -> dict[str, Any]:
    """The arguments of NoisyClassifier by guided diffusion's table for this side; published: width 128, depth 2. Narrow
    ones get smaller groups and heads, which then stand in the file."""
    widths = [round(mult * width) for mult in MULTS[size]]
    attended = [level for level in range(len(widths)) if size >> level in ATTENDED]
    groups = next(count for count in (32, 16, 8, 4) if all(w % count == 0 for w in widths))
    heads = next(count for count in (64, 32, 16, 8, 4) if all(widths[level] % count == 0 for level in attended))
    return {
        "model_channels": width,
        "num_res_blocks": depth,
        "channel_mult": MULTS[size],
        "attention_levels": tuple(attended),
        "num_head_channels": heads,
        "norm_groups": groups,
        "pool": "attention",
        "side": size >> (len(widths) - 1),
    }


class ClassifierTask(Task):
    """The classifier, its loss and its export.

    names: of the classes. shape: arguments of NoisyClassifier. size: side of its pictures in pixels. schedule: of the
    noise that it learns on.
    """

    def __init__(self, names: Sequence[str], shape: dict[str, Any], size: int, schedule: str = LINEAR) -> None:
        super().__init__()
        self.names, self.shape, self.size = list(names), shape, size
        self.network = NoisyClassifier(classes=len(self.names), **shape)
        self.abar = abars(schedule, LEVELS).float()

    def noised(self, pictures: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The pictures at random levels, and these levels [B]."""
        t = stratified(len(pictures), len(self.abar), rng)
        abar = self.abar[t].view(-1, 1, 1, 1)
        noise = torch.randn(pictures.shape, generator=rng)
        return abar.sqrt().to(pictures) * pictures + (1 - abar).sqrt().to(pictures) * noise.to(pictures), t

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        pictures, classes = batch
        x, t = self.noised(pictures, rng)
        return cross_entropy(self.network(x, t.to(x.device)).float(), classes)

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        """All that a loader cannot read from the keys."""
        kept = ("num_head_channels", "norm_groups", "num_res_blocks")
        stated = {key: self.shape[key] for key in kept if key in self.shape}
        return {**stated, "image_size": self.size, "classes": self.names}

    @torch.no_grad()
    def accuracy(self, batch: Batch, level: int) -> float:
        """The share of these pictures whose class is told at one noise level."""
        pictures, classes = batch
        abar = self.abar[level]
        noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(level)).to(pictures)
        x = abar.sqrt() * pictures + (1 - abar).sqrt() * noise
        found = self.network(x, torch.full((len(x),), float(level), device=x.device)).argmax(1)
        return float((found == classes).float().mean())
