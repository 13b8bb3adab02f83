"""The encoder of ZSE-SBIR (Lin et al., CVPR 2023, section 3.1): a ViT with a second stem of convolutions, a retrieval
token [Ret], and the token selection of EViT (Liang et al., ICLR 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, scaled_dot_product_attention

from ..errors import Unsupported


class Encoded(NamedTuple):
    """tokens [B,1+k,D], [Ret] first; kept [B,k]: the patch of each other token, row-major, in ascending order."""

    tokens: Tensor
    kept: Tensor


class Attention(nn.Module):
    """Self-attention; one layer gives queries, keys and values, in this order, each of all heads."""

    def __init__(self, width: int, heads: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = ops.Linear(width, 3 * width, **kw)
        self.to_out = nn.Sequential(ops.Linear(width, width, **kw))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B,heads,n,d] of tokens [B,n,D]."""
        q, k, v = self.to_qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def ret_row(self, x: Tensor) -> Tensor:
        """[B,heads,n]: how much the first token attends to each token."""
        q, k, _ = self.parts(x)
        return (q[:, :, :1] @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3)[:, :, 0]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.parts(x)
        if self.training:  # on a CPU the fused operation's backward pass takes three times as long
            mixed = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3) @ v
        else:
            mixed = scaled_dot_product_attention(q, k, v)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, width: int, inner: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        idle = nn.Identity()  # GELU and dropout are called by forward
        self.net = nn.Sequential(ops.Linear(width, inner, **kw), idle, idle, ops.Linear(inner, width, **kw))

    def forward(self, x: Tensor, drop: float) -> Tensor:
        x = dropout(gelu(self.net[0](x)), drop, self.training)
        return dropout(self.net[3](x), drop, self.training)


class Block(nn.Module):
    """One layer: attention, then an MLP, each on layer-normalised tokens and added to them."""

    def __init__(self, width: int, heads: int, inner: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.layer_norm_input = ops.LayerNorm(width, **kw)
        self.layer_norm_out = ops.LayerNorm(width, **kw)
        self.attention = Attention(width, heads, ops, **kw)
        self.mlp = MLP(width, inner, ops, **kw)

    def forward(self, x: Tensor, drop: float, rate: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """Tokens [B,n,D] and, where rate < 1, which of the n - 1 other tokens stay [B,ceil(rate (n - 1))], ascending.

        As published, a layer that drops tokens adds its normalised input where the attention's output belongs.
        """
        seen, chosen = self.layer_norm_input(x), None
        x = x + dropout(self.attention(seen) if rate >= 1 else seen, drop, self.training)
        if rate < 1:
            chosen = most_attended(self.attention.ret_row(seen)[:, :, 1:].mean(1), rate)
            x = torch.cat([x[:, :1], _gathered(x[:, 1:], chosen)], 1)
        return x + self.mlp(self.layer_norm_out(x), drop), chosen


class Transformer(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, inner: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([Block(width, heads, inner, ops, **kw)]) for _ in range(depth))
        self.encoder_norm = ops.LayerNorm(width, **kw)

    def blocks(self) -> list[Any]:
        return [layer[0] for layer in self.layers]  # pyright: ignore[reportIndexIssue]


class Stem(nn.Module):
    """Convolutions of stride 2 with ReLUs between them, to the same grid as the patches."""

    def __init__(self, channels: Sequence[int], ops: Any, **kw: Any) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(zip((3, *channels), channels, strict=False)):
            size = 3 if i else 7
            layers += [nn.ReLU()] * bool(i)
            layers.append(ops.Conv2d(before, after, size, stride=2, padding=size // 2, bias=False, **kw))
        self.seq = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)


class SketchViT(nn.Module):
    """The encoder of sketches and photos alike: tokens(x [B,3,size,size] in [-1,1]) -> [B,1+N,width], N = grid^2.

    channels: of the second stem's convolutions, log2(patch) of them; the last is the width. grid: patches on a side.
    dropout: only while it trains.
    """

    def __init__(
        self,
        *,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        inner: int = 3072,
        grid: int = 14,
        patch: int = 16,
        channels: Sequence[int] = (64, 128, 256, 768),
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise Unsupported(
                f"A width of {width} cannot be split into {heads} heads. Set num_heads to a divisor of it."
            )
        if patch != 2 ** len(channels):
            raise Unsupported(
                f"The second stem has {len(channels)} convolutions, so patches must have a side of "
                f"{2 ** len(channels)}, got {patch}."
            )
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.grid, self.patch, self.size, self.dropout = grid, patch, grid * patch, 0.1
        self.pos_embedding = nn.Parameter(torch.empty(1, 1 + grid * grid, width, **kw))
        self.cls = nn.Parameter(torch.empty(1, 1, width, **kw))
        self.embedding = ops.Conv2d(3, width, patch, stride=patch, **kw)
        self.scale = Stem(channels, ops, **kw)
        self.transformer = Transformer(width, depth, heads, inner, ops, **kw)

    def embedded(self, images: Tensor) -> Tensor:
        """[B,1+N,D]: [Ret] and the mean of both stems' patches, with their positions."""
        if images.ndim != 4 or images.shape[1:] != (3, self.size, self.size):
            raise ValueError(
                f"This network looks at pictures of the shape [batch, 3, {self.size}, {self.size}], got "
                f"{list(images.shape)}. Prepare them with sketch_for_retrieval or photo_for_retrieval."
            )
        patches = ((self.embedding(images) + self.scale(images)) / 2).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.to(patches).expand(len(patches), -1, -1), patches], 1)
        return dropout(tokens + self.pos_embedding.to(patches), self._drop(), self.training)

    def encode(self, images: Tensor, keep_rate: Sequence[float] | None = None) -> Encoded:
        """keep_rate: for each layer, the fraction of tokens that stay, above 0 to 1; None: all stay everywhere.

        ValueError: images of another size, or rates that do not fit the layers.
        """
        blocks = self.transformer.blocks()
        rates = [1.0] * len(blocks) if keep_rate is None else list(keep_rate)
        if len(rates) != len(blocks) or not all(0 < rate <= 1 for rate in rates):
            raise ValueError(
                f"keep_rate must hold a number above 0 and up to 1 for each of the {len(blocks)} layers, got {rates}."
            )
        x = self.embedded(images)
        kept = torch.arange(x.shape[1] - 1, device=x.device).expand(len(x), -1)
        for block, rate in zip(blocks, rates, strict=True):
            x, chosen = block(x, self._drop(), rate)
            kept = kept if chosen is None else kept.gather(1, chosen)
        return Encoded(self.transformer.encoder_norm(x), kept)

    def ret_attention(self, images: Tensor) -> Tensor:
        """[B,heads,N]: how much [Ret] attends to each patch in the last layer; with its own share they sum to 1."""
        *before, last = self.transformer.blocks()
        x = self.embedded(images)
        for block in before:
            x, _ = block(x, self._drop())
        return last.attention.ret_row(last.layer_norm_input(x))[:, :, 1:]

    def forward(self, images: Tensor, keep_rate: Sequence[float] | None = None) -> Tensor:
        return self.encode(images, keep_rate).tokens

    def _drop(self) -> float:
        return self.dropout if self.training else 0.0


def most_attended(scores: Tensor, rate: float) -> Tensor:
    """Indices [B,k] of the k = ceil(rate n) highest of n scores [B,n], in ascending order."""
    count = math.ceil(rate * scores.shape[1])
    return scores.topk(count, 1).indices.sort(1).values


def _gathered(x: Tensor, chosen: Tensor) -> Tensor:
    return x.gather(1, chosen[..., None].expand(-1, -1, x.shape[2]))
