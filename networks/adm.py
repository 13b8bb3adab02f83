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
    return avg_pool2d(x, 2, ceil_mode=True)  # ceil: odd sides survive, even ones are untouched by it


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

    The two published head orders have the same shapes and different meanings: the older one splits the heads first and
    q, k, v inside each head, the newer one the other way round. A wrong choice cannot be seen in the weights.
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
    """A run of layers of which only the residual blocks listen to the time embedding."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class ADM(nn.Module):
    """eps (for learned variances: and three more channels) from a noised image: net(x [B,3,H,W], t [B], y [B] or None).

    x is in VP units (image in [-1,1]), t the index 0..999 of the noise level, fractions allowed, y a class number where
    the network has classes. Any size works; sides that are no multiple of 2^(levels-1) are rounded up inside and cut
    again.

    num_res_blocks is one number or one a level; channel_mult counts in model_channels (all widths multiples of 32);
    attention_levels are the levels, 0 = full size, with attention (the middle always has it);
    num_head_channels > 0 decides the number of heads, otherwise num_heads does;
    norm_groups is 32 in every published network. Narrow ones want fewer: one channel a
    group forgets the picture's colour.
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

        def res(channels: int, out: int, resample: str = "") -> ResBlock:
            return ResBlock(
                channels,
                out,
                emb_channels,
                ops,
                groups=norm_groups,
                scale_shift=use_scale_shift_norm,
                resample=resample,
                dropout=dropout,
                **kw,
            )

        def attention(channels: int) -> AttentionBlock:
            heads = channels // num_head_channels if num_head_channels > 0 else num_heads
            if heads < 1 or channels % heads or (num_head_channels > 0 and channels % num_head_channels):
                asked = f"{num_head_channels} channels a head" if num_head_channels > 0 else f"{num_heads} heads"
                raise ValueError(
                    f"An attention layer of {channels} channels cannot be split into {asked}. "
                    "Set num_heads and num_head_channels to the values the network was trained with."
                )
            return AttentionBlock(channels, heads, use_new_attention_order, norm_groups, ops, **kw)

        self.time_embed = nn.Sequential(
            ops.Linear(model_channels, emb_channels, **kw), nn.SiLU(), ops.Linear(emb_channels, emb_channels, **kw)
        )
        if num_classes is not None:
            self.label_emb = ops.Embedding(num_classes, emb_channels, **kw)

        width = widths[0]
        self.input_blocks = nn.ModuleList([Block(ops.Conv2d(in_channels, width, 3, padding=1, **kw))])
        skips = [width]
        for level, (wanted, depth) in enumerate(zip(widths, depths, strict=True)):
            for _ in range(depth):
                layers: list[nn.Module] = [res(width, wanted)]
                width = wanted
                if level in attention_levels:
                    layers.append(attention(width))
                self.input_blocks.append(Block(*layers))
                skips.append(width)
            if level != len(widths) - 1:
                down = res(width, width, "down") if resblock_updown else Downsample(width, ops, **kw)
                self.input_blocks.append(Block(down))
                skips.append(width)

        self.middle_block = Block(res(width, width), attention(width), res(width, width))

        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            for i in range(depths[level] + 1):
                layers = [res(width + skips.pop(), widths[level])]
                width = widths[level]
                if level in attention_levels:
                    layers.append(attention(width))
                if level and i == depths[level]:
                    layers.append(res(width, width, "up") if resblock_updown else Upsample(width, ops, **kw))
                self.output_blocks.append(Block(*layers))
        self.out = nn.Sequential(
            ops.GroupNorm(norm_groups, width, **kw), nn.SiLU(), ops.Conv2d(width, out_channels, 3, padding=1, **kw)
        )

    def embed(self, t: Tensor, y: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Time, and class where there are classes, as one vector [B, 4*model_channels]."""
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

    The up path is read, because there the last block of each level is marked by its upsampler in either style.
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
