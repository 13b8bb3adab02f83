"""The UNet of guided diffusion ("ADM"; Dhariwal and Nichol, arXiv 2105.05233), under the key names of its checkpoints.

One class serves inference and training. `ops` supplies the layer classes: torch.nn for tests and training, the host's
own where layers must be cast or moved on the fly. Activations keep the dtype of the input image throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, scaled_dot_product_attention

from .errors import Unsupported


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """[cos(t f), sin(t f)] with f_k = 10000^(-k/half): t [B], whole or fractional, gives [B, width] in float32."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10000.0) / half))
    angles = t.float()[:, None] * frequencies[None]
    return nn.functional.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, width % 2))


class Downsample(nn.Module):
    """Halves the sides with a learned stride of 2; an odd side rounds up."""

    def __init__(self, channels: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.op = ops.Conv2d(channels, channels, 3, stride=2, padding=1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Doubles the sides (nearest), then a learned 3x3 filter."""

    def __init__(self, channels: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(channels, channels, 3, padding=1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))


def _half(x: Tensor) -> Tensor:
    return avg_pool2d(x, 2, ceil_mode=True)  # ceil keeps odd sides usable and does not affect even ones


def _double(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")


class ResBlock(nn.Module):
    """Two 3x3 filters around the time embedding; `resample` ("down", "up") sits between the first norm and filter."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        emb_channels: int,
        ops: Any,
        *,
        groups: int,
        scale_shift: bool,
        resample: str = "",
        dropout: float = 0.0,
        **kw: Any,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = {"": None, "down": _half, "up": _double}[resample]
        self.in_layers = nn.Sequential(
            ops.GroupNorm(groups, channels, **kw), nn.SiLU(), ops.Conv2d(channels, out_channels, 3, padding=1, **kw)
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), ops.Linear(emb_channels, 2 * out_channels if scale_shift else out_channels, **kw)
        )
        self.out_layers = nn.Sequential(
            ops.GroupNorm(groups, out_channels, **kw),
            nn.SiLU(),
            nn.Dropout(dropout),
            ops.Conv2d(out_channels, out_channels, 3, padding=1, **kw),
        )
        self.skip_connection = (
            nn.Identity() if channels == out_channels else ops.Conv2d(channels, out_channels, 1, **kw)
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, act, conv = self.in_layers
        h = act(norm(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv(h)
        emb = self.emb_layers(emb).to(h.dtype)[:, :, None, None]
        norm, act, drop, conv = self.out_layers
        if self.scale_shift:
            scale, shift = emb.chunk(2, dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + emb)
        return self.skip_connection(x) + conv(drop(act(h)))


class AttentionBlock(nn.Module):
    """Self-attention over all pixels.

    The two published head orders have the same shapes but different meanings: the older one splits the heads first and
    q, k, v inside each head, the newer one the other way round. The weights do not tell which one is right.
    """

    def __init__(self, channels: int, heads: int, new_order: bool, groups: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.heads = heads
        self.new_order = new_order
        self.norm = ops.GroupNorm(groups, channels, **kw)
        self.qkv = ops.Conv1d(channels, 3 * channels, 1, **kw)
        self.proj_out = ops.Conv1d(channels, channels, 1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        qkv = self.qkv(self.norm(x).flatten(2))
        if self.new_order:
            q, k, v = qkv.reshape(b, 3, self.heads, c // self.heads, -1).transpose(-1, -2).contiguous().unbind(1)
        else:
            q, k, v = qkv.reshape(b, self.heads, 3, c // self.heads, -1).transpose(-1, -2).contiguous().unbind(2)
        h = scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(b, c, -1)
        return x + self.proj_out(h).reshape(b, c, height, width)


class Block(nn.Sequential):
    """Layers in sequence, of which only the residual blocks get the time embedding."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class _Parts:
    """Makes the layers of one ADM. heads: num_heads and num_head_channels, as in ADM."""

    def __init__(
        self,
        ops: Any,
        kw: dict[str, Any],
        emb_channels: int,
        *,
        heads: tuple[int, int],
        new_order: bool,
        groups: int,
        scale_shift: bool,
        updown: bool,
        dropout: float,
    ) -> None:
        self.ops, self.kw, self.emb_channels, self.heads = ops, kw, emb_channels, heads
        self.new_order, self.groups, self.scale_shift = new_order, groups, scale_shift
        self.updown, self.dropout = updown, dropout

    def res(self, channels: int, out: int, resample: str = "") -> ResBlock:
        settings = {"groups": self.groups, "scale_shift": self.scale_shift, "dropout": self.dropout, **self.kw}
        return ResBlock(channels, out, self.emb_channels, self.ops, resample=resample, **settings)

    def attention(self, channels: int) -> AttentionBlock:
        """Unsupported: heads that do not divide the channels."""
        heads, head_channels = self.heads
        if head_channels > 0:
            heads = channels // head_channels
        if heads < 1 or channels % heads or (head_channels > 0 and channels % head_channels):
            wanted = f"{head_channels} channels per head" if head_channels > 0 else f"{heads} heads"
            raise Unsupported(
                f"An attention layer of {channels} channels cannot be split into {wanted}. "
                "Set num_heads and num_head_channels to the values the network was trained with."
            )
        return AttentionBlock(channels, heads, self.new_order, self.groups, self.ops, **self.kw)

    def down_path(
        self, in_channels: int, widths: list[int], depths: list[int], attended: frozenset[int]
    ) -> tuple[nn.ModuleList, int, list[int]]:
        """The blocks from the picture to the smallest size, their last width, and the widths of all their outputs."""
        width = widths[0]
        blocks = nn.ModuleList([Block(self.ops.Conv2d(in_channels, width, 3, padding=1, **self.kw))])
        skips = [width]
        for level, (wanted, depth) in enumerate(zip(widths, depths, strict=True)):
            for _ in range(depth):
                layers: list[nn.Module] = [self.res(width, wanted)]
                width = wanted
                if level in attended:
                    layers.append(self.attention(width))
                blocks.append(Block(*layers))
                skips.append(width)
            if level != len(widths) - 1:
                down = self.res(width, width, "down") if self.updown else Downsample(width, self.ops, **self.kw)
                blocks.append(Block(down))
                skips.append(width)
        return blocks, width, skips

    def up_path(
        self, width: int, skips: list[int], widths: list[int], depths: list[int], attended: frozenset[int]
    ) -> tuple[nn.ModuleList, int]:
        """The blocks back to full size, each fed with a skip from the way down, and the width they end with."""
        blocks, skips = nn.ModuleList(), list(skips)
        for level in reversed(range(len(widths))):
            for i in range(depths[level] + 1):
                layers: list[nn.Module] = [self.res(width + skips.pop(), widths[level])]
                width = widths[level]
                if level in attended:
                    layers.append(self.attention(width))
                if level and i == depths[level]:
                    layers.append(self.res(width, width, "up") if self.updown else Upsample(width, self.ops, **self.kw))
                blocks.append(Block(*layers))
        return blocks, width


class ADM(nn.Module):
    """eps (with learned variances, three more channels) from a noised image: net(x [B,3,H,W], t [B], y [B] or None).

    x is in VP units (image in [-1,1]), t the index 0..999 of the noise level, fractions allowed, y a class number if
    the network has classes. Any size works; sides that are not a multiple of 2^(levels-1) are rounded up inside and
    cropped again.

    num_res_blocks: one number, or one per level. channel_mult: widths of the levels in model_channels, all multiples of
    32. attention_levels: the levels with attention, 0 = full size; the middle always has it. num_head_channels > 0
    decides the number of heads, otherwise num_heads does. norm_groups is 32 in every published network. Narrow ones
    need fewer, because a group of one channel loses the picture's colour.
    """

    def __init__(
        self,
        *,
        model_channels: int,
        in_channels: int = 3,
        out_channels: int = 3,
        num_res_blocks: int | Iterable[int] = 2,
        channel_mult: Iterable[float] = (1, 2, 3, 4),
        attention_levels: Iterable[int] = (),
        num_classes: int | None = None,
        num_heads: int = 4,
        num_head_channels: int = -1,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        use_new_attention_order: bool = False,
        norm_groups: int = 32,
        dropout: float = 0.0,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        widths = [round(mult * model_channels) for mult in channel_mult]
        depths = [num_res_blocks] * len(widths) if isinstance(num_res_blocks, int) else list(num_res_blocks)
        attention_levels = frozenset(attention_levels)
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        emb_channels = 4 * model_channels
        self.in_channels, self.out_channels, self.num_classes = in_channels, out_channels, num_classes
        self.model_channels, self.levels = model_channels, len(widths)

        parts = _Parts(
            ops,
            kw,
            emb_channels,
            heads=(num_heads, num_head_channels),
            new_order=use_new_attention_order,
            groups=norm_groups,
            scale_shift=use_scale_shift_norm,
            updown=resblock_updown,
            dropout=dropout,
        )
        self.time_embed = nn.Sequential(
            ops.Linear(model_channels, emb_channels, **kw), nn.SiLU(), ops.Linear(emb_channels, emb_channels, **kw)
        )
        if num_classes is not None:
            self.label_emb = ops.Embedding(num_classes, emb_channels, **kw)

        self.input_blocks, width, skips = parts.down_path(in_channels, widths, depths, attention_levels)
        self.middle_block = Block(parts.res(width, width), parts.attention(width), parts.res(width, width))
        self.output_blocks, width = parts.up_path(width, skips, widths, depths, attention_levels)
        self.out = nn.Sequential(
            ops.GroupNorm(norm_groups, width, **kw), nn.SiLU(), ops.Conv2d(width, out_channels, 3, padding=1, **kw)
        )

    def embed(self, t: Tensor, y: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Time, and class if the network has classes, as one vector [B, 4*model_channels]."""
        emb = self.time_embed(timestep_embedding(t, self.model_channels).to(dtype))
        if self.num_classes is not None:
            if y is None:
                raise ValueError(f"This network has {self.num_classes} classes: give a class number y for each image.")
            emb = emb + self.label_emb(y).to(emb.dtype)
        return emb

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        emb = self.embed(t, y, x.dtype)
        skips = []
        for block in self.input_blocks:
            x = block(x, emb)
            skips.append(x)
        x = self.middle_block(x, emb)
        for block in self.output_blocks:
            skip = skips.pop()
            x = block(torch.cat([x[..., : skip.shape[2], : skip.shape[3]], skip], dim=1), emb)
        return self.out(x)


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ADM that a state dict was made with; what keys cannot tell (heads, their order) is in `hints`.

    Read from the up path, where the upsampler marks the last block of each level in either style.
    """

    def rows(key: str) -> int:
        return state_dict[key].shape[0]

    def any_key(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in state_dict)

    model_channels = state_dict["time_embed.0.weight"].shape[1]
    depths, widths, attended = [], [], []  # smallest size first
    i = blocks = 0
    while any_key(f"output_blocks.{i}."):
        blocks += 1
        attention = f"output_blocks.{i}.1.qkv.weight" in state_dict
        upsampler = any_key(f"output_blocks.{i}.{1 + attention}.")
        if upsampler or not any_key(f"output_blocks.{i + 1}."):
            depths.append(blocks - 1)
            widths.append(rows(f"output_blocks.{i}.0.out_layers.3.weight"))
            attended.append(attention)
            blocks = 0
        i += 1
    scale_shift = rows("middle_block.0.emb_layers.1.weight") == 2 * rows("middle_block.0.out_layers.0.weight")
    return {
        "model_channels": model_channels,
        "in_channels": state_dict["input_blocks.0.0.weight"].shape[1],
        "out_channels": rows("out.2.weight"),
        "num_res_blocks": tuple(reversed(depths)),
        "channel_mult": tuple(width / model_channels for width in reversed(widths)),
        "attention_levels": tuple(level for level, yes in enumerate(reversed(attended)) if yes),
        "num_classes": rows("label_emb.weight") if "label_emb.weight" in state_dict else None,
        "num_heads": hints.get("num_heads", 4),
        "num_head_channels": hints.get("num_head_channels", -1),
        "use_new_attention_order": hints.get("use_new_attention_order", False),
        "norm_groups": hints.get("norm_groups", 32),
        "use_scale_shift_norm": scale_shift,
        "resblock_updown": not any(key.endswith(".0.op.weight") for key in state_dict),
    }
