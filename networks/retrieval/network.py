"""ZSE-SBIR (Lin et al., CVPR 2023, arXiv 2303.14348): sketches and photos in one space, and a score for each pair.

One network serves both: `tokens` of each picture alone, which an index can keep, and `cross` and `relation` of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Unsupported
from .cross import CrossAttention, Relation, anchor_cosines
from .vit import Encoded, SketchViT

HEAD_CHANNELS = 64  # of the encoder, where nothing else is said; ViT-B/16: 12 heads
CROSS_HEADS = 8
KEPT = 0.9  # of the tokens, at each quarter of the depth: 196 -> 177 -> 160 -> 144, the published reduction
UNUSED = "ca.encoder.layers."  # in every published file; no forward pass touches it


class _Alone(nn.Module):
    """`sa` of the published key names."""

    def __init__(self, model: SketchViT) -> None:
        super().__init__()
        self.model = model


class Retriever(nn.Module):
    """The whole network. size: side of the pictures it looks at; patch: side of a patch, both in pixels.

    anchors: vectors of each picture that the relation network compares: a quarter of the grid^2 tokens (49 of 196),
    folded by a convolution; all of them (196); or as many as the token selection leaves (144). keep_rate: the
    selection that `tokens` makes unless told otherwise; None: no token is dropped.
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
        cross_heads: int = CROSS_HEADS,
        cross_inner: int = 1024,
        cross_count: int = 1,
        folded: int = 512,
        anchors: int = 49,
        hidden: tuple[int, int] = (343, 49),
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        encoder = SketchViT(
            width=width, depth=depth, heads=heads, inner=inner, grid=grid, patch=patch, channels=channels, ops=ops, **kw
        )
        self.width, self.grid, self.patch, self.size, self.anchors = width, grid, patch, encoder.size, anchors
        self.keep_rate = _selection(grid, anchors, depth)
        self.sa = _Alone(encoder)
        self.ca = CrossAttention(width=width, heads=cross_heads, inner=cross_inner, count=cross_count, ops=ops, **kw)
        self.rn = Relation(anchors=anchors, hidden=hidden, ops=ops, **kw)
        self.conv2d = ops.Conv2d(width, folded, 2, stride=2, **kw)

    def set_dropout(self, rate: float) -> None:
        """The fraction that is dropped while it trains, everywhere; 0.1 as published."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate
            elif hasattr(module, "dropout"):
                setattr(module, "dropout", rate)  # noqa: B010 - nn.Module is typed for tensors only

    def encode(self, images: Tensor, keep_rate: Sequence[float] | None = None) -> Encoded:
        """Tokens, and which patches they are. images [B,3,size,size] in [-1,1]; keep_rate: see SketchViT.encode."""
        return self.sa.model.encode(images, self.keep_rate if keep_rate is None else keep_rate)

    def tokens(self, images: Tensor, keep_rate: Sequence[float] | None = None) -> Tensor:
        """[B,1+N,D] of images [B,3,size,size] in [-1,1]; the first is [Ret], whose distances rank photos."""
        return self.encode(images, keep_rate).tokens

    def ret_attention(self, images: Tensor) -> Tensor:
        """[B,heads,N]: how much [Ret] attends to each patch in the last layer of the encoder."""
        return self.sa.model.ret_attention(images)

    def cross(self, sketch: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B,1+N,D] of sketches and photos after cross-attention within each pair."""
        return self.ca(sketch, photo)

    def cross_attention(self, sketch: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B,heads,1+N,1+N] of `cross`: sketch queries to photo keys, photo queries to sketch keys."""
        return self.ca.maps(sketch, photo)

    def fold(self, tokens: Tensor) -> Tensor:
        """Anchors [B,a,d] of tokens [B,1+N,D] after cross-attention.

        As published, the tokens are read as a map [D,grid,grid] without being transposed: its channel c at cell p is
        number N c + p of the flattened tokens. So an anchor is not a region of the picture, and their cosines say
        nothing about places.
        """
        tokens, area = tokens[:, 1:], self.grid * self.grid
        if self.anchors != (self.grid // 2) ** 2:
            return tokens
        if tokens.shape[1] != area:
            raise ValueError(
                f"The relation network compares all {area} tokens of a picture, got {tokens.shape[1]}. Give tokens "
                "without selection (keep_rate of 1), or use a network with as many anchors."
            )
        return self.conv2d(tokens.reshape(-1, self.width, self.grid, self.grid)).flatten(2).transpose(1, 2)

    def score(self, sketch: Tensor, photo: Tensor) -> Tensor:
        """[B] in 0 to 1, from tokens that went through `cross`. Comparisons are in float32."""
        cosines = anchor_cosines(self.fold(sketch), self.fold(photo))
        if cosines.shape[1] != self.anchors:
            raise ValueError(
                f"The relation network compares {self.anchors} tokens of a picture, got {cosines.shape[1]}. Make "
                "tokens with the selection that the network was trained with."
            )
        return self.rn(cosines.to(sketch.dtype))[:, 0]

    def relation(self, sketch: Tensor, photo: Tensor) -> Tensor:
        """[B] in 0 to 1: the relation network's score of pairs of tokens [B,1+N,D], the higher the more alike."""
        return self.score(*self.cross(sketch, photo))

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images)


def selection(depth: int) -> tuple[float, ...]:
    """The published token selection for an encoder of `depth` layers, 4 or more: layers 3, 6 and 9 of 12 drop."""
    dropping = {depth * quarter // 4 for quarter in (1, 2, 3)}
    return tuple(KEPT if layer in dropping else 1.0 for layer in range(depth))


def _selection(grid: int, anchors: int, depth: int) -> tuple[float, ...] | None:
    """The token selection that leaves this many anchors. Unsupported: none is known."""
    area = grid * grid
    if anchors in (area, (grid // 2) ** 2):
        return None
    known, rates, left = f"{(grid // 2) ** 2}, {area}", selection(depth) if depth >= 4 else (), area
    for rate in rates:
        left = math.ceil(rate * left)
    if rates and left == anchors:
        return rates
    raise Unsupported(
        f"This retriever compares {anchors} anchors of {area} tokens. Supported are {known}"
        + (f" and {left}." if rates else ".")
    )


def _count(state_dict: Mapping[str, Tensor], form: str) -> int:
    number = 0
    while form.format(number) in state_dict:
        number += 1
    return number


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of Retriever that these weights were made with.

    hints: num_heads (of the encoder; None: its width / 64) and cross_heads (8), which shapes do not reveal.
    """
    encoder = "sa.model."
    width = state_dict[f"{encoder}cls"].shape[2]
    places = state_dict[f"{encoder}pos_embedding"].shape[1] - 1
    stems = [state_dict[f"{encoder}scale.seq.0.weight"].shape[0]]
    while (key := f"{encoder}scale.seq.{2 * len(stems)}.weight") in state_dict:
        stems.append(state_dict[key].shape[0])
    relation = [state_dict[f"rn.rn.{i}.weight"] for i in (0, 3, 6)]
    if math.isqrt(places) ** 2 != places:
        raise Unsupported(
            f"This retriever has {places} patches, which are no square. Use a network of square pictures."
        )
    return {
        "width": width,
        "depth": _count(state_dict, f"{encoder}transformer.layers.{{}}.0.layer_norm_input.weight"),
        "heads": hints.get("num_heads") or max(1, width // HEAD_CHANNELS),
        "inner": state_dict[f"{encoder}transformer.layers.0.0.mlp.net.0.weight"].shape[0],
        "grid": math.isqrt(places),
        "patch": state_dict[f"{encoder}embedding.weight"].shape[2],
        "channels": tuple(stems),
        "cross_heads": hints.get("cross_heads") or CROSS_HEADS,
        "cross_inner": state_dict["ca.encoder.layer1.0.feed_forward.w_1.weight"].shape[0],
        "cross_count": _count(state_dict, "ca.encoder.layer1.{}.feed_forward.w_1.weight"),
        "folded": state_dict["conv2d.weight"].shape[0],
        "anchors": math.isqrt(relation[0].shape[1]),
        "hidden": (relation[0].shape[0], relation[1].shape[0]),
    }


def for_use(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the layers that the published code makes and never calls."""
    return {key: value for key, value in state_dict.items() if not key.startswith(UNUSED)}
