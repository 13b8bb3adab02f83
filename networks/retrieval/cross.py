"""Cross-attention between the tokens of a sketch and those of a photo (ZSE-SBIR, section 3.2), and the relation network
that scores a pair by the cosines of its anchors (section 3.3)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu

from ..errors import Unsupported

DROP = 0.1  # only while it trains


class LayerNorm(nn.Module):
    """a (x - mean) / (std + 1e-6) + b, with the unbiased deviation of the channels: not torch's."""

    def __init__(self, width: int, **kw: Any) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.empty(width, **kw)), nn.Parameter(torch.empty(width, **kw))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return self.a.to(x) * centred / (x.std(-1, keepdim=True) + 1e-6) + self.b.to(x)


class _AddNorm(nn.Module):
    def __init__(self, width: int, **kw: Any) -> None:
        super().__init__()
        self.norm, self.dropout = LayerNorm(width, **kw), DROP

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        return self.norm(x + dropout(change, self.dropout, self.training))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.heads, self.dropout = heads, DROP
        self.linears = nn.ModuleList(ops.Linear(width, width, **kw) for _ in range(4))  # queries, keys, values, out

    def _split(self, which: int, x: Tensor) -> Tensor:
        return self.linears[which](x).unflatten(2, (self.heads, -1)).transpose(1, 2)

    def map(self, queries: Tensor, keys: Tensor) -> Tensor:
        """[B,heads,n,n]: how much each query's token attends to each key's."""
        q, k = self._split(0, queries), self._split(1, keys)
        return (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        weights = dropout(self.map(queries, keys), self.dropout, self.training)
        return self.linears[3]((weights @ self._split(2, values)).transpose(1, 2).flatten(2))


class _FeedForward(nn.Module):
    def __init__(self, width: int, inner: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.w_1, self.w_2 = ops.Linear(width, inner, **kw), ops.Linear(inner, width, **kw)
        self.dropout = DROP

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(dropout(relu(self.w_1(x)), self.dropout, self.training))


class CrossLayer(nn.Module):
    """Tokens of one modality, re-weighted by what the other one holds: queries and values are its `own`, keys the
    other's. So a value is gathered at the place of the key that its query matched. What is added to is the values."""

    def __init__(self, width: int, heads: int, inner: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.self_attn = _Attention(width, heads, ops, **kw)
        self.feed_forward = _FeedForward(width, inner, ops, **kw)
        self.sublayer = nn.ModuleList(_AddNorm(width, **kw) for _ in range(2))

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        x = self.sublayer[0](own, self.self_attn(own, other, own))
        return self.sublayer[1](x, self.feed_forward(x))


class _Encoder(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, count: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.layer1 = nn.ModuleList(CrossLayer(width, heads, inner, ops, **kw) for _ in range(count))  # sketches
        self.layer2 = nn.ModuleList(CrossLayer(width, heads, inner, ops, **kw) for _ in range(count))  # photos


class CrossAttention(nn.Module):
    """Tokens of sketches and photos [B,n,D] after each has looked at the other; n must be the same."""

    def __init__(self, *, width: int, heads: int, inner: int, count: int = 1, ops: Any = nn, **kw: Any) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise Unsupported(
                f"A width of {width} cannot be split into {heads} heads of cross-attention. Set cross_heads to a "
                "divisor of it."
            )
        self.encoder = _Encoder(width, heads, inner, count, ops, **kw)

    def forward(self, sketch: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Both from the tokens as they were before. ValueError: tokens of different shapes."""
        _check_pairs(sketch, photo)
        for first, second in zip(self.encoder.layer1, self.encoder.layer2, strict=True):
            sketch, photo = first(sketch, photo), second(photo, sketch)
        return sketch, photo

    def maps(self, sketch: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Attention of the last layer [B,heads,n,n]: of the sketch's queries to the photo's keys, and the reverse."""
        _check_pairs(sketch, photo)
        pairs = list(zip(self.encoder.layer1, self.encoder.layer2, strict=True))
        for first, second in pairs[:-1]:
            sketch, photo = first(sketch, photo), second(photo, sketch)
        first, second = (layer.self_attn for layer in pairs[-1])
        return first.map(sketch, photo), second.map(photo, sketch)  # pyright: ignore


class Relation(nn.Module):
    """One number for each pair from the cosines of its anchors [B,a,a], rows of the sketch: `logit` [B,1]; forward is
    its sigmoid, 0 to 1, the likeness."""

    def __init__(self, *, anchors: int, hidden: tuple[int, int], ops: Any = nn, **kw: Any) -> None:
        super().__init__()
        first, second = hidden
        layers = [ops.Linear(anchors * anchors, first, **kw), nn.ReLU(), nn.Dropout(DROP)]
        layers += [ops.Linear(first, second, **kw), nn.ReLU(), nn.Dropout(DROP), ops.Linear(second, 1, **kw)]
        self.rn = nn.Sequential(*layers)

    def logit(self, cosines: Tensor) -> Tensor:
        return self.rn(cosines.flatten(1))

    def forward(self, cosines: Tensor) -> Tensor:
        return self.logit(cosines).sigmoid()


def anchor_cosines(sketch: Tensor, photo: Tensor) -> Tensor:
    """[B,n,m]: cosines of vectors [B,n,D] and [B,m,D]; 0 where one of them is all zero.

    Half precision is compared in float32: its squares overflow.
    """
    if sketch.itemsize < 4:
        sketch, photo = sketch.float(), photo.float()
    lengths = sketch.norm(dim=2)[:, :, None] * photo.norm(dim=2)[:, None]
    tiny = torch.finfo(lengths.dtype).tiny
    return torch.where(lengths > 0, sketch @ photo.transpose(1, 2) / lengths.clamp_min(tiny), 0.0)


def _check_pairs(sketch: Tensor, photo: Tensor) -> None:
    if sketch.shape != photo.shape:
        raise ValueError(
            f"Sketches and photos must come in pairs of equally many tokens, got {list(sketch.shape)} and "
            f"{list(photo.shape)}. Repeat the one of them, and keep the same tokens of both."
        )
