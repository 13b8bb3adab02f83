"""How well photos were ranked for sketches: distances, average precision and precision, as ZSE-SBIR reports them and
in the plain sense.

Relevance is a table [Q,N] of 0 and 1 in the order of the ranking, nearest first, over the whole gallery. A query
without any relevant photo has no precision: NaN, and means leave it out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

BLOCK = 2**24  # distances at once


class Scores(NamedTuple):
    """Means over the queries that have relevant photos; each in 0 to 1, NaN if there is no such query."""

    map_all: float
    map_200: float
    precision_100: float
    precision_200: float
    plain_map_all: float
    plain_map_200: float


def distances(sketches: Tensor, photos: Tensor) -> Tensor:
    """[Q,N] float32, 0 to 2: how far the [Ret] vectors [Q,D] of sketches are from those [N,D] of photos, all scaled to
    length one. As torch's pairwise_distance has it, 1e-6 is added to each difference."""
    mine = normalize(sketches.double(), dim=1) + 1e-6
    theirs = normalize(photos.double(), dim=1)
    rows = max(1, BLOCK // max(1, len(theirs)))
    lengths = theirs.square().sum(1)
    blocks = [
        (part.square().sum(1)[:, None] + lengths - 2 * part @ theirs.T).clamp_min(0).sqrt().float()
        for part in mine.split(rows)
    ]
    return torch.cat(blocks)


def ranked(distance: Tensor, same: Tensor) -> Tensor:
    """Relevance [Q,N] float64 in the order of rising distance [Q,N]; equally near ones as NumPy's default sort leaves
    them, which is the published order.

    same [Q,N]: whether a photo belongs to a query. ValueError: other shapes, or distances that are NaN.
    """
    if distance.ndim != 2 or distance.shape != same.shape or not distance.shape[1]:
        raise ValueError(
            f"distance and same must be tables [queries, photos] of one shape, got {list(distance.shape)} and "
            f"{list(same.shape)}."
        )
    if distance.isnan().any():
        raise ValueError("Distances contain NaN. Check the features that they come from.")
    order = np.argsort(distance.cpu().numpy(), axis=1)
    return same.double().cpu().gather(1, torch.from_numpy(order))


def average_precision(relevant: Tensor, top: int | None = None) -> Tensor:
    """[Q] float64: the interpolated average precision of the VOC challenge (2010), as published for ZSE-SBIR.

    At each relevant photo counts the best precision at its place or any later one, so it is higher than the plain one.
    top: only the first `top` places count, against at most `top` relevant photos of the whole gallery.
    """
    precision, hits, total = _precision(relevant, top)
    envelope = precision.flip(1).cummax(1).values.flip(1)
    return (envelope * hits).sum(1) / total


def plain_average_precision(relevant: Tensor, top: int | None = None) -> Tensor:
    """[Q] float64: the mean, over the relevant photos, of the precision at their places.

    top: see `average_precision`. As published, 1e-5 is added to the number of relevant photos, so that a query without
    any gets 0; `scores` leaves it out.
    """
    precision, hits, total = _precision(relevant, top)
    return (precision * hits).sum(1) / (total.nan_to_num() + 1e-5)


def precision_at(relevant: Tensor, k: int) -> Tensor:
    """[Q] float64: the share of relevant photos among the first min(k, relevant photos of the whole gallery) places.

    As published: a query with three relevant photos is judged by its first three places, not by k.
    """
    count = relevant.sum(1).clamp(max=k)
    places = torch.arange(relevant.shape[1], device=relevant.device) < count[:, None]
    return (relevant * places).sum(1) / count


def recalled_at(relevant: Tensor, k: int) -> Tensor:
    """[Q] float64: 1 where a relevant photo is among the first k places (Acc@k of fine-grained retrieval), else 0."""
    return (relevant[:, :k] > 0).any(1).double()


def scores(distance: Tensor, same: Tensor) -> Scores:
    """Everything that ZSE-SBIR's tables report, from distances [Q,N] and whether a photo belongs to a query [Q,N]."""
    relevant = ranked(distance, same)
    answerable = torch.where(relevant.any(1), 1.0, torch.nan)
    columns = (
        average_precision(relevant),
        average_precision(relevant, 200),
        precision_at(relevant, 100),
        precision_at(relevant, 200),
        plain_average_precision(relevant) * answerable,
        plain_average_precision(relevant, 200) * answerable,
    )
    return Scores(*(float(column.nanmean()) for column in columns))


def _precision(relevant: Tensor, top: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Precision at each place [Q,top], relevance there, and how many relevant photos could be there [Q]; 0: NaN."""
    total = relevant.sum(1)
    if top is not None:
        relevant, total = relevant[:, :top], total.clamp(max=min(top, relevant.shape[1]))
    places = torch.arange(1, relevant.shape[1] + 1, dtype=torch.float64, device=relevant.device)
    return relevant.cumsum(1) / places, relevant, torch.where(total > 0, total, torch.nan)
