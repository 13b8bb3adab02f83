"""What the retrieval network learns by (ZSE-SBIR, section 3.4), and a contrast over a whole batch, which is ours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, normalize, triplet_margin_loss

ALIKE, UNLIKE = 0.99, 0.01  # targets of the relation network
TRIPLET, RELATION = 2.0, 4.0  # weights of the two losses


class Published(NamedTuple):
    """The two losses, each with its weight."""

    triplet: Tensor
    relation: Tensor


def published(cls: Tensor, scores: Tensor) -> Published:
    """cls [4B,D]: [Ret] after cross-attention of B sketches, B other sketches of their classes, B photos of these and B
    photos of other classes. scores [2B] or [2B,1]: of each sketch with its photo, and of each other sketch with the
    photo of another class.

    The triplet is sketch, photo, other photo (margin 1, Euclidean); the second sketches have no part in it.
    """
    sketch, _, photo, other = cls.chunk(4)
    half = len(scores) // 2
    target = torch.cat([torch.full_like(scores[:half], ALIKE), torch.full_like(scores[half:], UNLIKE)])
    return Published(TRIPLET * triplet_margin_loss(sketch, photo, other), RELATION * mse_loss(scores, target))


def contrast(
    sketches: Tensor, photos: Tensor, groups: Tensor, temperature: float = 0.07, centre: bool = False
) -> Tensor:
    """One number: cross entropy of finding each sketch's photo, and each photo's sketch, among the batch.

    sketches, photos [B,D]: [Ret] vectors of pairs, compared by their cosines. groups [B]: the class of each pair;
    others of the same class count neither as right nor as wrong. centre: without what all sketches, and all photos, of
    the batch have in common.
    """
    if centre:
        sketches, photos = sketches - sketches.mean(0), photos - photos.mean(0)
    likeness = normalize(sketches.float(), dim=1) @ normalize(photos.float(), dim=1).T / temperature
    own = torch.eye(len(groups), dtype=torch.bool, device=groups.device)
    likeness = likeness.masked_fill((groups[:, None] == groups) & ~own, -torch.inf)
    wanted = torch.arange(len(groups), device=groups.device)
    return (cross_entropy(likeness, wanted) + cross_entropy(likeness.T, wanted)) / 2


@torch.no_grad()
def hardest(sketches: Tensor, photos: Tensor, groups: Tensor) -> Tensor:
    """[B]: for each sketch, the photo of another class in the batch whose [Ret] vector is most like its own."""
    likeness = normalize(sketches.float(), dim=1) @ normalize(photos.float(), dim=1).T
    return likeness.masked_fill(groups[:, None] == groups, -torch.inf).argmax(1)
