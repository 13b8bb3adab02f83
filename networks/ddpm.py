"""The "simple" UNet of DDPM (Ho et al., arXiv 2006.11239) under the key names of SDEdit's and DDIM's checkpoints.

Same conventions as adm.py: layers come from `ops`, activations keep the dtype of the input image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """[sin(t f), cos(t f)] with f_j = 10000^(-j/(half-1)): t [B], whole or fractional, gives [B, width] in float32."""
    half = width // 2
    frequencies = torch.exp(
        torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10000.0) / (half - 1))
    )
    angles = t.float()[:, None] * frequencies[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _norm(ops: Any, channels: int, **kw: Any) -> nn.Module:
    return ops.GroupNorm(32, channels, eps=1e-6, **kw)


class ResBlock(nn.Module):
    """Norm, SiLU, filter; time embedding added; norm, SiLU, filter; and a shortcut around it all."""

    def __init__(self, channels: int, out_channels: int, emb_channels: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.norm1 = _norm(ops, channels, **kw)
        self.conv1 = ops.Conv2d(channels, out_channels, 3, padding=1, **kw)
        self.temb_proj = ops.Linear(emb_channels, out_channels, **kw)
        self.norm2 = _norm(ops, out_channels, **kw)
        self.conv2 = ops.Conv2d(out_channels, out_channels, 3, padding=1, **kw)
        if channels != out_channels:
            self.nin_shortcut = ops.Conv2d(channels, out_channels, 1, **kw)
        self.shortcut = channels != out_channels

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x)))
        h = h + self.temb_proj(silu(emb)).to(h.dtype)[:, :, None, None]
        h = self.conv2(silu(self.norm2(h)))
        return (self.nin_shortcut(x) if self.shortcut else x) + h


class AttentionBlock(nn.Module):
    """Self-attention over all pixels with one head."""

    def __init__(self, channels: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.norm = _norm(ops, channels, **kw)
        self.q = ops.Conv2d(channels, channels, 1, **kw)
        self.k = ops.Conv2d(channels, channels, 1, **kw)
        self.v = ops.Conv2d(channels, channels, 1, **kw)
        self.proj_out = ops.Conv2d(channels, channels, 1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2).contiguous()[:, None] for part in (self.q, self.k, self.v))
        h = scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(h)


class Downsample(nn.Module):
    """Halves the sides with a learned stride of 2, zeros at the right and bottom; an odd side rounds up."""

    def __init__(self, channels: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(channels, channels, 3, stride=2, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, (0, 1 + x.shape[3] % 2, 0, 1 + x.shape[2] % 2)))


class Upsample(nn.Module):
    """Doubles the sides (nearest), then a learned 3x3 filter."""

    def __init__(self, channels: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(channels, channels, 3, padding=1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))


class TimeEmbedding(nn.Module):
    """Sinusoids of t through two linear layers: [B] to [B, 4 * width]."""

    def __init__(self, width: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.width = width
        self.dense = nn.ModuleList([ops.Linear(width, 4 * width, **kw), ops.Linear(4 * width, 4 * width, **kw)])

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        first, second = self.dense
        return second(silu(first(timestep_embedding(t, self.width).to(dtype))))


class Level(nn.Module):
    """The residual blocks of one size, each followed by attention if the level has any, and the change of size."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.ModuleList()
        self.attn = nn.ModuleList()
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def step(self, i: int, x: Tensor, emb: Tensor) -> Tensor:
        x = self.block[i](x, emb)
        return self.attn[i](x) if len(self.attn) else x


class Middle(nn.Module):
    """Block, attention, block at the smallest size."""

    def __init__(self, width: int, emb: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.block_1 = ResBlock(width, width, emb, ops, **kw)
        self.attn_1 = AttentionBlock(width, ops, **kw)
        self.block_2 = ResBlock(width, width, emb, ops, **kw)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x, emb)), emb)


class DDPM(nn.Module):
    """eps from a noised image: net(x [B,3,H,W], t [B]). x in VP units, t the index 0..999 of the noise level.

    num_res_blocks: one number, or one per level. attention_levels: the levels, 0 = full size, with attention after
    every residual block (the middle always has it). Any size works: sides are rounded up inside and cropped again.
    """

    num_classes = None
    down: Any  # lists of Level
    up: Any

    def __init__(
        self,
        *,
        model_channels: int,
        in_channels: int = 3,
        out_channels: int = 3,
        num_res_blocks: int | Iterable[int] = 2,
        channel_mult: Iterable[float] = (1, 1, 2, 2, 4, 4),
        attention_levels: Iterable[int] = (4,),
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        widths = [round(mult * model_channels) for mult in channel_mult]
        depths = [num_res_blocks] * len(widths) if isinstance(num_res_blocks, int) else list(num_res_blocks)
        attention_levels = frozenset(attention_levels)
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        emb = 4 * model_channels
        self.in_channels, self.out_channels = in_channels, out_channels
        self.model_channels, self.levels = model_channels, len(widths)

        self.temb = TimeEmbedding(model_channels, ops, **kw)
        self.conv_in = ops.Conv2d(in_channels, model_channels, 3, padding=1, **kw)

        width, skips = model_channels, [model_channels]
        self.down = nn.ModuleList()
        for index, (wanted, depth) in enumerate(zip(widths, depths, strict=True)):
            level = Level()
            for _ in range(depth):
                level.block.append(ResBlock(width, wanted, emb, ops, **kw))
                width = wanted
                if index in attention_levels:
                    level.attn.append(AttentionBlock(width, ops, **kw))
                skips.append(width)
            if index != len(widths) - 1:
                level.downsample = Downsample(width, ops, **kw)
                skips.append(width)
            self.down.append(level)

        self.mid = Middle(width, emb, ops, **kw)

        levels = []
        for index in reversed(range(len(widths))):
            level = Level()
            for _ in range(depths[index] + 1):
                level.block.append(ResBlock(width + skips.pop(), widths[index], emb, ops, **kw))
                width = widths[index]
                if index in attention_levels:
                    level.attn.append(AttentionBlock(width, ops, **kw))
            if index:
                level.upsample = Upsample(width, ops, **kw)
            levels.append(level)
        self.up = nn.ModuleList(reversed(levels))  # up.0 is full size, as in the checkpoints; it runs last

        self.norm_out = _norm(ops, width, **kw)
        self.conv_out = ops.Conv2d(width, out_channels, 3, padding=1, **kw)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        emb = self.temb(t, x.dtype)
        x = self.conv_in(x)
        skips = [x]
        for level in self.down:
            for i in range(len(level.block)):
                x = level.step(i, x, emb)
                skips.append(x)
            if level.downsample is not None:
                x = level.downsample(x)
                skips.append(x)
        x = self.mid(x, emb)
        for level in reversed(self.up):
            for i in range(len(level.block)):
                skip = skips.pop()
                x = level.step(i, torch.cat([x[..., : skip.shape[2], : skip.shape[3]], skip], dim=1), emb)
            if level.upsample is not None:
                x = level.upsample(x)
        return self.conv_out(silu(self.norm_out(x)))


def from_diffusers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys and shapes of this file from those of diffusers' UNet2DModel, older and newer attention names alike.

    Only for google/ddpm-*: other UNet2DModels differ in sinusoids, head counts and paddings, which weights do not show.
    """
    levels = 1 + max(int(key.split(".")[1]) for key in state_dict if key.startswith("up_blocks."))

    def rename(key: str) -> str:
        parts = key.split(".")
        match parts[0]:
            case "time_embedding":
                return f"temb.dense.{int(parts[1][-1]) - 1}.{parts[-1]}"
            case "conv_norm_out":
                return f"norm_out.{parts[-1]}"
            case "mid_block":
                where = {"resnets": f"mid.block_{int(parts[2]) + 1}", "attentions": "mid.attn_1"}[parts[1]]
                piece = parts[3:]
            case "down_blocks" | "up_blocks":
                level = int(parts[1])
                where = f"down.{level}" if parts[0] == "down_blocks" else f"up.{levels - 1 - level}"
                if parts[2] in ("downsamplers", "upsamplers"):
                    return f"{where}.{parts[2][:-2]}.{'.'.join(parts[4:])}"
                where += {"resnets": ".block.", "attentions": ".attn."}[parts[2]] + parts[3]
                piece = parts[4:]
            case _:
                return key
        return ".".join([where, PIECES.get(piece[0], piece[0]), piece[-1]])

    renamed = {rename(key): value for key, value in state_dict.items()}
    for key, value in renamed.items():
        if ".attn" in key and value.ndim == 2:  # a linear layer there, a 1x1 filter here
            renamed[key] = value[:, :, None, None]
    return renamed


PIECES = {
    "time_emb_proj": "temb_proj",
    "conv_shortcut": "nin_shortcut",
    "group_norm": "norm",
    "query": "q",
    "key": "k",
    "value": "v",
    "proj_attn": "proj_out",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out": "proj_out",
}


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of DDPM that a state dict was made with. The keys determine everything; hints are ignored."""

    def count(prefix: str) -> int:
        return len({key[len(prefix) :].split(".")[0] for key in state_dict if key.startswith(prefix)})

    model_channels = state_dict["conv_in.weight"].shape[0]
    levels = range(count("down."))
    return {
        "model_channels": model_channels,
        "in_channels": state_dict["conv_in.weight"].shape[1],
        "out_channels": state_dict["conv_out.weight"].shape[0],
        "num_res_blocks": tuple(count(f"down.{level}.block.") for level in levels),
        "channel_mult": tuple(
            state_dict[f"down.{level}.block.0.conv1.weight"].shape[0] / model_channels for level in levels
        ),
        "attention_levels": tuple(level for level in levels if count(f"down.{level}.attn.")),
    }
