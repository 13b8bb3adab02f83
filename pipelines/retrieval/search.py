"""Ranking the photos of an index for sketches: by their retrieval tokens, by the relation network, or by both in turn.

Scores are higher for better matches. By the tokens ("Ret") a score is the cosine of two vectors, -1 to 1; where a
retriever has several networks, the sum of their z-scores over all photos. By the relation network ("RN") it is what
that network gives, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from .index import READERS, PhotoIndex, Rows, open_photo
from .retriever import AT_ONCE, Retriever, SketchNetwork

RET, RN, BOTH = "Ret", "RN", "Ret, then RN on the best 200"
MODES = (RET, BOTH, RN)
BEST = 200  # photos that the relation network ranks again
ROWS = 65_536  # of the index per matrix product, so that the memory it takes does not grow with the index
EPS = 1e-6  # added to every difference of two vectors in the published distance


class Ranking(NamedTuple):
    """The best photos for one sketch, best first: rows of the index, and their scores."""

    rows: list[int]
    scores: list[float]


def best(vectors: Tensor, queries: Sequence[Tensor], count: int) -> list[Ranking]:
    """The `count` best rows of `vectors` [N,D] for each of Q sketches.

    queries: [Q,Dk] of each network, unit vectors; the D columns are theirs, side by side. With one network the order is
    that of the published distance |s - p + EPS|: as |s| = |p| = 1, its square falls while (s + EPS).p rises. Equal
    scores keep the order of the rows. ValueError: vectors of another width.
    """
    widths = [query.shape[1] for query in queries]
    if sum(widths) != vectors.shape[1]:
        raise ValueError(
            f"The index holds vectors of {vectors.shape[1]} numbers, and this retriever gives {sum(widths)}. Index the "
            "folder with the same retriever."
        )
    total = torch.zeros(len(queries[0]), len(vectors))
    for rows, query in zip(vectors.split(widths, 1), queries, strict=True):
        scores = torch.cat([(query + EPS) @ block.T for block in rows.split(ROWS)], 1)
        total += zscores(scores) if len(widths) > 1 else scores
    return [_ranked(scores, count) for scores in total]


def _ranked(scores: Tensor, count: int) -> Ranking:
    """The highest of [N] scores; equal ones in order."""
    least = scores.topk(min(count, len(scores))).values[-1]
    rows = (scores >= least).nonzero().flatten()  # all that tie for the last place, of which topk takes any
    rows = rows[scores[rows].argsort(descending=True, stable=True)][:count]
    return Ranking(rows.tolist(), scores[rows].tolist())


def zscores(scores: Tensor) -> Tensor:
    """[Q,N]: by how many standard deviations each score is above the mean of its row; 0 where all are equal."""
    spread = scores.std(1, keepdim=True, correction=0)
    return (scores - scores.mean(1, keepdim=True)) / spread.clamp(min=1e-12)


def rank(
    index: PhotoIndex,
    rows: Rows,
    sketches: Sequence[Tensor],
    mode: str,
    count: int,
    *,
    seen: Callable[[int, int], None] = lambda done, total: None,
) -> list[Ranking]:
    """The best `count` photos for each of Q sketches; with BOTH at most BEST.

    rows: of the index. sketches: what Retriever.sketches gives. seen(done, total): called after every batch of
    pairs that the relation network looked at; may raise to stop. Photos that vanished meanwhile are left out of its
    ranking. ValueError: a mode with RN, and a retriever that has no relation network.
    """
    retriever = index.retriever
    network = retriever.sketch_network if mode != RET else None
    queries = retriever.embed(sketches) if mode != RN else []
    if network is None:
        return best(rows.vectors, queries, count)
    everything = list(range(len(rows)))
    chosen = [everything] * len(sketches[0])
    if mode == BOTH:
        chosen = [ranking.rows for ranking in best(rows.vectors, queries, BEST)]
    own = sketches[retriever.parts.index(network)]
    total, done, ranked = sum(map(len, chosen)), 0, []
    for sketch, some in zip(own, chosen, strict=True):
        scores = relations(index, rows, network, sketch, some, lambda n, done=done: seen(done + n, total))
        done += len(some)
        ordered = sorted(scores, key=lambda row: -scores[row])[:count]  # equal ones in the order of `some`
        ranked.append(Ranking(ordered, [scores[row] for row in ordered]))
    return ranked


def rank_connected(
    retriever: Retriever,
    sketch: Sequence[Tensor],
    photos: Sequence[Tensor],
    mode: str,
    seen: Callable[[int, int], None] = lambda done, total: None,
) -> Ranking:
    """All of a few photos for one sketch, without an index. sketch, photos: what Retriever.sketches and .photos give;
    seen: as for `rank`. ValueError: RN, and a retriever that has no relation network."""
    total = len(photos[0])
    if mode == RET:
        vectors = []
        for batch in zip(*(stack.split(AT_ONCE) for stack in photos), strict=True):
            vectors.append(torch.cat(retriever.embed(batch), 1))
            seen(min(AT_ONCE * len(vectors), total), total)
        return best(torch.cat(vectors), retriever.embed(sketch), total)[0]
    network = retriever.sketch_network
    which = retriever.parts.index(network)
    query, scores = network.tokens(sketch[which]), []
    for batch in photos[which].split(AT_ONCE):
        scores.append(_related(network, query, batch))
        seen(min(AT_ONCE * len(scores), total), total)
    return _ranked(torch.cat(scores), total)


def _related(network: SketchNetwork, query: Tensor, photos: Tensor) -> Tensor:
    """[B] of the relation network, on the CPU: one sketch's tokens [1,1+N,D] and each of the inputs [B,3,S,S]."""
    tokens = network.tokens(photos)
    return network.network.relation(query.expand(len(tokens), -1, -1), tokens).float().cpu()


def relations(
    index: PhotoIndex,
    rows: Rows,
    network: SketchNetwork,
    sketch: Tensor,
    some: Sequence[int],
    seen: Callable[[int], None] = lambda done: None,
) -> dict[int, float]:
    """The relation network's score of a sketch with each photo of `some` rows; those that cannot be read are left out.

    sketch: the network's input [3,S,S]. The photos are read again: their tokens are 200 times as large as the vectors
    that an index keeps. seen(done): called after every batch."""
    query, found = network.tokens(sketch[None]), {}
    work = partial(open_photo, side=network.side)
    with ThreadPoolExecutor(READERS) as readers:
        for first in range(0, len(some), AT_ONCE):
            batch = some[first : first + AT_ONCE]
            pictures = readers.map(work, [index.photo(rows.name(row)) for row in batch])
            good = [(row, one) for row, one in zip(batch, pictures, strict=True) if isinstance(one, Image.Image)]
            if good:
                scores = _related(network, query, torch.stack([network.photo(picture) for _, picture in good]))
                found |= {row: score for (row, _), score in zip(good, scores.tolist(), strict=True)}
            seen(first + len(batch))
    return found
