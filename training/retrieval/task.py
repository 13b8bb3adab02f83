"""The retrieval network in training: its first weights, its losses, its export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.retrieval.network import Retriever
from ..supervised import Task
from .losses import contrast, published

Batch = Mapping[str, Tensor]


class RetrievalTask(Task):
    """Sketches and photos that shall be told apart or together.

    A batch has `sketch` and `photo`, each [2B,3,S,S] in [-1,1], as `losses.published` names them: sketches and other
    sketches of their classes; photos of these and photos of other classes. `group` [B]: the class of each pair; needed
    for `contrast`.
    contrast: weight of the contrast over the batch, on [Ret] as a search compares it, as it is and centred. As
    published, [Ret] learns only after cross-attention.
    """

    def __init__(self, network: Retriever, *, contrast: float = 0.0) -> None:
        super().__init__()
        self.network = network.requires_grad_(True)
        self.contrast = contrast

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=rng))
        with torch.random.fork_rng():  # dropout draws from torch's own generators
            torch.manual_seed(seed)
            return self._loss(batch)

    def _loss(self, batch: Batch) -> Tensor:
        sketch, photo = self.network.tokens(torch.cat([batch["sketch"], batch["photo"]])).chunk(2)
        return self.of_tokens(sketch, photo, batch)

    def of_tokens(self, sketch: Tensor, photo: Tensor, batch: Batch) -> Tensor:
        """The loss, from tokens [2B or B,1+N,D] of sketches and photos."""
        total = sketch.new_zeros(()).float()
        if self.contrast:
            pairs = len(batch["group"])
            given = sketch[:pairs, 0].float(), photo[:pairs, 0].float(), batch["group"]
            total = total + self.contrast * (contrast(*given) + contrast(*given, centre=True)) / 2
        return total + self.of_pairs(sketch, photo)

    def of_pairs(self, sketch: Tensor, photo: Tensor) -> Tensor:
        """The published losses of tokens [2B,1+N,D] in pairs that belong together, then in pairs that do not."""
        sketch, photo = self.network.cross(sketch, photo)
        cls = torch.cat([sketch[:, 0], photo[:, 0]]).float()
        return sum(published(cls, self.network.score(sketch, photo).float()), cls.new_zeros(()))

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        """What shapes do not reveal."""
        heads = self.network.sa.model.transformer.blocks()[0].attention.heads
        return {"num_heads": heads, "image_size": self.network.size}


@torch.no_grad()
def initialised(network: Retriever, seed: int) -> Retriever:
    """Weights to learn from: Xavier and Kaiming for layers, 1 and 0 for norms, normal of deviation 0.02 for [Ret] and,
    for the patches, waves of their places: tokens are about as large, so that places are told from the first step on.
    """
    rng = torch.Generator().manual_seed(seed)
    for name, value in network.named_parameters():
        if name.endswith("pos_embedding"):
            value[:, :1] = 0
            value[:, 1:] = waves(network.grid, network.width)
        elif name.endswith(".cls"):
            nn.init.normal_(value, std=0.02, generator=rng)
        elif value.ndim == 4:
            nn.init.kaiming_normal_(value, nonlinearity="relu", generator=rng)
        elif value.ndim > 1:
            nn.init.xavier_uniform_(value, generator=rng)
        else:
            norm = name.endswith((".a", "norm.weight", "layer_norm_input.weight", "layer_norm_out.weight"))
            value.fill_(1.0 if norm else 0.0)
    return network


def waves(grid: int, width: int) -> Tensor:
    """[grid^2,width]: sines and cosines of the row and the column of each place, at wavelengths from two places to four
    grids."""
    count = -(-width // 4)
    speeds = torch.pi * (1 / (2 * grid)) ** torch.linspace(0, 1, count)
    angles = torch.arange(grid)[:, None] * speeds
    across = torch.cat([angles.sin(), angles.cos()], 1)
    both = across[:, None].expand(-1, grid, -1), across[None].expand(grid, -1, -1)
    return torch.cat(both, 2).flatten(0, 1)[:, :width]


@torch.no_grad()
def centred(network: Retriever, sketches: Tensor, photos: Tensor) -> Retriever:
    """First weights whose [Ret] vectors have a mean of 0 over these pictures [B,3,S,S]. What all pictures have in
    common would otherwise be nearly all of a new network's vectors, and their cosines would tell nothing for long."""
    known = network.tokens(torch.cat([sketches, photos]))[:, 0]
    network.sa.model.transformer.encoder_norm.bias -= known.mean(0)
    return network
