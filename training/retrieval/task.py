"""The retrieval network in training: its first weights, its losses, its export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.retrieval.network import Retriever
from ..supervised import Task
from .losses import contrast, hardest, published

Batch = Mapping[str, Tensor]


class RetrievalTask(Task):
    """Sketches and photos that shall be told apart or together.

    A batch has `sketch` and `photo`, each [2B,3,S,S] in [-1,1], as `losses.published` names them: sketches and other
    sketches of their classes; photos of these and photos of other classes. With hardest, each [B,3,S,S] of pairs: the
    photo of another class is then the most similar one in the batch, which costs no pass through the encoder. `group`
    [B]: the class of each pair; needed for `hardest` and `contrast`.
    contrast: weight of the contrast over the batch, on [Ret] as a search compares it. As published, [Ret] learns only
    after cross-attention.
    """

    def __init__(self, network: Retriever, *, contrast: float = 0.0, hardest: bool = False) -> None:
        super().__init__()
        self.network = network.requires_grad_(True)
        self.contrast, self.hardest = contrast, hardest

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=rng))
        with torch.random.fork_rng():  # dropout draws from torch's own generators
            torch.manual_seed(seed)
            return self._loss(batch)

    def _loss(self, batch: Batch) -> Tensor:
        net = self.network
        sketch, photo = net.tokens(torch.cat([batch["sketch"], batch["photo"]])).chunk(2)
        total = sketch.new_zeros(()).float()
        if self.contrast:
            pairs = len(batch["group"])
            total = total + self.contrast * contrast(sketch[:pairs, 0], photo[:pairs, 0], batch["group"])
        if self.hardest:
            other = hardest(sketch[:, 0], photo[:, 0], batch["group"])
            sketch, photo = sketch.repeat(2, 1, 1), torch.cat([photo, photo[other]])
        sketch, photo = net.cross(sketch, photo)
        cls = torch.cat([sketch[:, 0], photo[:, 0]]).float()
        return total + sum(published(cls, net.score(sketch, photo).float()))

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        """What shapes do not reveal."""
        heads = self.network.sa.model.transformer.blocks()[0].attention.heads
        return {"num_heads": heads, "image_size": self.network.size}


@torch.no_grad()
def initialised(network: Retriever, seed: int) -> Retriever:
    """Weights to learn from: normal of deviation 0.02 for tokens and positions, Xavier for layers, 1 and 0 for norms.

    [Ret] starts at random too, in front of trained patches. The answer of a new relation network is about 0.5.
    """
    rng = torch.Generator().manual_seed(seed)
    for name, value in network.named_parameters():
        if value.ndim > 1 and not name.endswith(("pos_embedding", "cls")):
            if value.ndim == 4:
                nn.init.kaiming_normal_(value, nonlinearity="relu", generator=rng)
            else:
                nn.init.xavier_uniform_(value, generator=rng)
        elif value.ndim > 1:
            nn.init.normal_(value, std=0.02, generator=rng)
        else:
            norm = name.endswith((".a", "norm.weight", "layer_norm_input.weight", "layer_norm_out.weight"))
            value.fill_(1.0 if norm else 0.0)
    return network
