"""The noisy classifier of guided diffusion (Dhariwal and Nichol, arXiv 2105.05233, section 4), under its key names.

It names the class of a picture at any noise level: the first half of an ADM network, and one of four pools. Its
gradient with respect to the noisy picture steers a diffusion model towards a class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from . import dse
from .adm import ADM
from .errors import Unsupported

ADAPTIVE, ATTENTION, SPATIAL, SPATIAL_V2 = "adaptive", "attention", "spatial", "spatial_v2"
POOLS = (ADAPTIVE, ATTENTION, SPATIAL, SPATIAL_V2)


class AttentionPool(nn.Module):
    """One vector [B, classes] for the map [B, C, h, w]: the answer of attention at a token that is the map's mean.

    The heads are laid out in the newer order (q, k, v first), whatever the blocks before it use. For maps of another
    size than in training, position embeddings are interpolated.
    """

    def __init__(self, side: int, channels: int, heads: int, classes: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.positional_embedding = nn.Parameter(torch.empty(channels, side * side + 1, **kw))
        if not self.positional_embedding.is_meta:
            nn.init.normal_(self.positional_embedding, std=channels**-0.5)
        self.qkv_proj = ops.Conv1d(channels, 3 * channels, 1, **kw)
        self.c_proj = ops.Conv1d(channels, classes, 1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        tokens = x.flatten(2)
        tokens = torch.cat([tokens.mean(2, keepdim=True), tokens], 2) + self._positions(height, width).to(x)
        q, k, v = self.qkv_proj(tokens).reshape(b, 3, self.heads, c // self.heads, -1).transpose(-1, -2).unbind(1)
        answer = scaled_dot_product_attention(q[:, :, :1].contiguous(), k.contiguous(), v.contiguous())
        return self.c_proj(answer.transpose(-1, -2).reshape(b, c, 1))[:, :, 0]

    def _positions(self, height: int, width: int) -> Tensor:
        places = self.positional_embedding
        if (height, width) == (self.side, self.side):
            return places
        grid = places[:, 1:].reshape(1, -1, self.side, self.side)
        grid = interpolate(grid.float(), (height, width), mode="bicubic", align_corners=False)
        return torch.cat([places[:, :1], grid[0].flatten(1).to(places.dtype)], 1)


class NoisyClassifier(ADM):
    """Logits of the classes: net(x [B,3,H,W], t [B]) -> [B, classes]; x in VP units (picture in [-1,1], noised), t the
    index of the noise level, fractions allowed. Any size of 2^(levels-1) pixels or more works; published ones were
    trained at `image_size`.

    pool: one of POOLS. "spatial" pools see the means of every block's map. hidden: width of their middle layer. side:
    of the last map in training, for "attention". The rest: see ADM.
    """

    def __init__(
        self,
        *,
        classes: int,
        pool: str = ATTENTION,
        side: int = 8,
        hidden: int = 2048,
        model_channels: int,
        num_res_blocks: int = 2,
        channel_mult: Iterable[float] = (1, 2, 3, 4),
        num_head_channels: int = 64,
        norm_groups: int = 32,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **more: Any,
    ) -> None:
        mults = list(channel_mult)
        super().__init__(
            model_channels=model_channels,
            num_res_blocks=num_res_blocks,
            channel_mult=mults,
            num_head_channels=num_head_channels,
            norm_groups=norm_groups,
            ops=ops,
            dtype=dtype,
            device=device,
            **more,
        )
        del self.output_blocks, self.out
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        widths = [round(mult * model_channels) for mult in mults]
        width = widths[-1]
        self.classes, self.pool = classes, pool
        self.image_size = side * 2 ** (self.levels - 1) if pool == ATTENTION else None
        if pool in (SPATIAL, SPATIAL_V2):
            seen = widths[0] + sum(widths) * (num_res_blocks + 1)  # every block's map, and the middle's
            norm = (ops.GroupNorm(norm_groups, hidden, **kw), nn.SiLU()) if pool == SPATIAL_V2 else (nn.ReLU(),)
            self.out = nn.Sequential(ops.Linear(seen, hidden, **kw), *norm, ops.Linear(hidden, classes, **kw))
            return
        head: tuple[nn.Module, ...] = (ops.Conv2d(width, classes, 1, **kw), nn.Flatten())
        if pool == ATTENTION:
            if num_head_channels < 1 or width % num_head_channels:
                raise Unsupported(
                    f"The attention pool of {width} channels cannot be split into {num_head_channels} channels per "
                    "head. Set num_head_channels to the value the classifier was trained with."
                )
            self.out = nn.Sequential(
                ops.GroupNorm(norm_groups, width, **kw),
                nn.SiLU(),
                AttentionPool(side, width, width // num_head_channels, classes, ops, **kw),
            )
        else:
            norm = ops.GroupNorm(norm_groups, width, **kw)
            self.out = nn.Sequential(norm, nn.SiLU(), nn.AdaptiveAvgPool2d((1, 1)), *head)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        emb = self.embed(t, None, x.dtype)
        spatial = self.pool in (SPATIAL, SPATIAL_V2)
        means = []
        for block in self.input_blocks:
            x = block(x, emb)
            if spatial:
                means.append(x.mean((2, 3)))
        x = self.middle_block(x, emb)
        return self.out(torch.cat([*means, x.mean((2, 3))], 1) if spatial else x)


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of NoisyClassifier; `image_size` in the hints helps to tell levels from blocks where the pool is
    attention, and `num_res_blocks` decides where keys and shapes fit two networks.

    Unsupported: widths that are not multiples of the norm's groups.
    """
    pool = _pool_of(state_dict)
    side = 8
    if pool == ATTENTION:
        side = math.isqrt(state_dict["out.2.positional_embedding"].shape[1] - 1)
        if hints.get("image_size"):
            hints = {**hints, "levels": round(math.log2(hints["image_size"] / side)) + 1}
    known = dse.config_from(state_dict, hints)
    groups = known["norm_groups"]
    for mult in known["channel_mult"]:
        if (width := round(mult * known["model_channels"])) % groups:
            raise Unsupported(
                f"This classifier has a layer of {width} channels, which is not a multiple of {groups}, the groups of "
                "its norms. The file is of another kind, or needs norm_groups in its metadata."
            )
    last = {ATTENTION: "out.2.c_proj.weight", SPATIAL: "out.2.weight"}.get(pool, "out.3.weight")
    known["num_head_channels"] = hints.get("num_head_channels", 64)
    return {
        **known,
        "pool": pool,
        "side": side,
        "classes": state_dict[last].shape[0],
        "hidden": state_dict["out.0.weight"].shape[0] if pool in (SPATIAL, SPATIAL_V2) else 2048,
    }


def _pool_of(state_dict: Mapping[str, Tensor]) -> str:
    if "out.2.positional_embedding" in state_dict:
        return ATTENTION
    if "out.3.weight" in state_dict:
        return ADAPTIVE if state_dict["out.3.weight"].ndim == 4 else SPATIAL_V2
    return SPATIAL
