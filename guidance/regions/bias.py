"""Regions on transformers: words that only the pixels of their region see. Pure tensors, no host.

A transformer has no cross-attention maps to move. Instead each region's phrase is encoded by itself and its words are
appended to the prompt's. An additive bias on the attention scores keeps them apart, in every layer:

    pixel p -> word of region r      log(kappa_t w_r B_r(p))
    word of region r -> pixel p      log(B_r(p))
    word of region r -> itself       0
    word of region r <-> all other words, and reference pictures      never
    all else                         0

with the region's mask B_r in 0..1, its weight w_r, and kappa_t as in GradOP's equation (regions.Pull). So pixels see
each other and the prompt as always, soft masks stay soft, and as kappa goes to 0 the words fade away. InvokeAI's
regional prompting on Flux masks alike.

masks: [R, b, I] for R regions, b pictures and I image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NEVER = -1e4  # e to this is 0 in every float type, and no sum of such numbers overflows in float16


class Span(NamedTuple):
    """Tokens from `first` up to, not including, `end`."""

    first: int
    end: int

    def tokens(self) -> slice:
        return slice(self.first, self.end)


def _log(share: Tensor) -> Tensor:
    return torch.where(share > 0, share.clamp_min(1e-30).log(), NEVER)


def joint_bias(length: int, image: Span, regions: Sequence[Span], masks: Tensor, forces: Sequence[float]) -> Tensor:
    """[b, length, length], added to the scores of queries (rows) and keys (columns) of one sequence.

    image: where the image's tokens stand. regions: where each region's words stand. forces: kappa_t w_r of each.
    """
    bias = text_bias(length, regions, masks).repeat(masks.shape[1], 1, 1)
    for words, mask, force in zip(regions, masks, forces, strict=True):
        bias[:, image.tokens(), words.tokens()] = _log(force * mask)[:, :, None]
        bias[:, words.tokens(), image.tokens()] = _log(mask)[:, None]
    return bias


def word_shares(
    q: Tensor, k: Tensor, image: Span, words: Sequence[Span], bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """How much of each image token's attention goes to each of some spans of words [b, heads, I, spans], float32: the
    mean over a span's words of their shares after the softmax.

    q [b, heads, n, d] and k [b, heads or fewer, m, d], for which several heads share keys. image: among the queries;
    words: among the keys. bias [b or 1, heads or 1, n or 1, m]: what the model adds to its scores. scale: of the
    scores, 1 / sqrt(d) if None. One head at a time: all of them at 4096 pixels would take gigabytes.
    """
    factor: float = q.shape[-1] ** -0.5 if scale is None else scale
    shared, found = q.shape[1] // k.shape[1], []
    for head in range(q.shape[1]):
        scores = q[:, head, image.tokens()].float() @ k[:, head // shared].float().transpose(-1, -2) * factor
        if bias is not None:
            added = bias[:, head if bias.shape[1] > 1 else 0].float()
            scores = scores + (added[:, image.tokens()] if added.shape[1] > 1 else added)
        whole = scores.logsumexp(-1, keepdim=True)
        found.append(torch.stack([(scores[..., one.tokens()] - whole).exp().mean(-1) for one in words], -1))
    return torch.stack(found, 1)


def cross_bias(length: int, regions: Sequence[Span], masks: Tensor, forces: Sequence[float]) -> Tensor:
    """[b, I, length], for pixels that look at `length` words."""
    bias = torch.zeros(masks.shape[1], masks.shape[2], length, device=masks.device)
    for words, mask, force in zip(regions, masks, forces, strict=True):
        bias[:, :, words.tokens()] = _log(force * mask)[:, :, None]
    return bias


def text_bias(length: int, regions: Sequence[Span], masks: Tensor) -> Tensor:
    """[1, length, length], for words that look at words: each region's at its own only, and no others at those."""
    bias = torch.zeros(1, length, length, device=masks.device)
    for words in regions:
        bias[:, :, words.tokens()] = NEVER
        bias[:, words.tokens()] = NEVER
    for words in regions:
        bias[:, words.tokens(), words.tokens()] = 0
    return bias
