"""Cross-attention maps of a few words, and how to move them into a painted region. Pure tensors, no host.

A is a token's map: its share of the attention of every pixel of a layer, for one head, after the softmax. The equation
of GradOP (Singh et al., CVPR 2023) for the tokens of a region with mask B, which we know from descriptions only:

    A' = w [(1 - kappa) A + kappa |A|_F B / |B|_F]

"Paint with words" (eDiff-I, Balaji et al. 2022) instead adds to the tokens' scores inside the mask, before the softmax.
Both give a correction (A' - A) V that is added to whatever attention the host has computed, so nothing of the size
pixels x pixels is built, and pixels x text tokens only in float32 for the softmax's denominator.

Shapes: q [b, N, heads * d], k and v [b, K, heads * d] with N pixels and K text tokens; maps [b, heads, N, P] for the P
tokens of a Target (guidance/regions/regions.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .regions import Target

PAINT_STRENGTH = 0.4  # the w' of strength 1, as in common implementations of paint with words


def word_maps(q: Tensor, k: Tensor, heads: int, positions: Tensor) -> Tensor:
    """The maps of the tokens at `positions`, float32."""
    scores = _scores(q, k, heads)
    return (scores[..., positions] - scores.logsumexp(-1, keepdim=True)).exp()


def pulled(maps: Tensor, target: Target, kappa: float) -> Tensor:
    """A' of the equation. A token whose mask is empty keeps its map unchanged, whatever its weight.

    kappa 1 and w 1 keep the Frobenius norm of every map and confine it to the mask; a mask that is 1 everywhere spreads
    it evenly.
    """
    masks, weights = target.masks[:, None], target.weights[:, None, None]  # [b, 1, N, P], [b, 1, 1, P]
    size = torch.linalg.vector_norm(masks, dim=2, keepdim=True)
    inside = masks / size.clamp_min(torch.finfo(masks.dtype).tiny)
    norm = torch.linalg.vector_norm(maps, dim=2, keepdim=True)
    return torch.where(size > 0, weights * ((1 - kappa) * maps + kappa * norm * inside), maps)


def pull(q: Tensor, k: Tensor, v: Tensor, heads: int, target: Target, kappa: float) -> tuple[Tensor, Tensor]:
    """(A' - A) V [b, N, heads * d] in float32, and A'."""
    before = word_maps(q, k, heads, target.positions)
    after = pulled(before, target, kappa)
    return _times_values(after - before, v[:, target.positions], heads), after


def paint(q: Tensor, k: Tensor, v: Tensor, heads: int, target: Target, gain: float) -> tuple[Tensor, Tensor]:
    """The same with paint with words: A' = softmax((Q K^T + gain * w * B * max Q K^T) / sqrt(d)).

    gain: w' * log(1 + sigma). The maximum is that of the picture, over heads, pixels and tokens, and at least 0.
    """
    scores = _scores(q, k, heads)
    highest = scores.amax((1, 2, 3), keepdim=True).clamp_min(0)
    more = gain * (target.weights[:, None] * target.masks)[:, None] * highest  # [b, 1, N, P]
    raised = scores.index_add(3, target.positions, more.expand(-1, heads, -1, -1))
    before, after = scores.softmax(-1), raised.softmax(-1)
    return _times_values(after - before, v, heads), after[..., target.positions]


def time_share(sigmas: Tensor, sigma: float) -> float:
    """t/T of a level: its place in the model's own ascending `sigmas`, 1 at the noisiest, 1 / T at the cleanest."""
    level = torch.tensor([sigma], dtype=sigmas.dtype)
    after = int(torch.searchsorted(sigmas, level))
    if after in (0, len(sigmas)):
        return max(after, 1) / len(sigmas)
    low, high = float(sigmas[after - 1]), float(sigmas[after])
    return (after + (sigma - low) / (high - low)) / len(sigmas)


def _scores(q: Tensor, k: Tensor, heads: int) -> Tensor:
    """Q K^T / sqrt(d) [b, heads, N, K], in float32 whatever the model computes in, so that A is close to the host's."""
    apart, text = _by_heads(q, heads).float(), _by_heads(k, heads).float()
    return (apart * apart.shape[-1] ** -0.5) @ text.transpose(-1, -2)


def _times_values(maps: Tensor, v: Tensor, heads: int) -> Tensor:
    """maps [b, heads, N, P] times values [b, P, heads * d]: [b, N, heads * d]."""
    return (maps @ _by_heads(v, heads).float()).transpose(1, 2).flatten(2)


def _by_heads(x: Tensor, heads: int) -> Tensor:
    """[b, n, heads * d] as [b, heads, n, d]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
