"""EGSDE's domain-specific extractor (Zhao et al., arXiv 2207.06635): the first half of an ADM network.

It was trained to tell two domains apart on noised pictures. Its middle map is what the domain energy compares; the
classifying head behind it (I2Iout) is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .adm import ADM
from .errors import Unsupported


class DSE(ADM):
    """The map of the middle block: net(x [B,3,H,W], t [B]) -> [B,C,h,w]; x in VP units, t the noise level 0..999."""

    def __init__(self, **kw: Any) -> None:
        super().__init__(**kw)
        del self.output_blocks, self.out

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        emb = self.embed(t, y, x.dtype)
        for block in self.input_blocks:
            x = block(x, emb)
        return self.middle_block(x, emb)


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of DSE. The ends of levels have to be inferred: a residual block that halves the picture looks like
    any other, but never has attention and never changes the width."""

    def rows(key: str) -> int:
        return state_dict[key].shape[0]

    count = 0
    while any(key.startswith(f"input_blocks.{count}.") for key in state_dict):
        count += 1
    depth = _depth(state_dict, count, hints)
    model_channels = state_dict["time_embed.0.weight"].shape[1]
    firsts = range(1, count, depth + 1)
    return {
        "model_channels": model_channels,
        "in_channels": state_dict["input_blocks.0.0.weight"].shape[1],
        "num_res_blocks": depth,
        "channel_mult": tuple(rows(f"input_blocks.{i}.0.out_layers.3.weight") / model_channels for i in firsts),
        "attention_levels": tuple(
            level for level, i in enumerate(firsts) if f"input_blocks.{i}.1.qkv.weight" in state_dict
        ),
        "num_heads": hints.get("num_heads", 4),
        "num_head_channels": hints.get("num_head_channels", -1),
        "use_new_attention_order": hints.get("use_new_attention_order", False),
        "norm_groups": hints.get("norm_groups", 32),
        "use_scale_shift_norm": rows("middle_block.0.emb_layers.1.weight")
        == 2 * rows("middle_block.0.out_layers.0.weight"),
        "resblock_updown": not any(key.endswith(".0.op.weight") for key in state_dict),
    }


def _depth(state_dict: Mapping[str, Tensor], count: int, hints: Mapping[str, Any]) -> int:
    """How many blocks each level has. Where several numbers fit, the hints `num_res_blocks` or `levels` decide, else
    the smallest."""
    depths = [depth for depth in range(1, count) if _fits(state_dict, count, depth)]
    stated = [
        depth
        for depth in depths
        if hints.get("num_res_blocks") == depth or hints.get("levels", 0) * (depth + 1) == count
    ]
    if not depths:
        raise Unsupported(
            f"The {count} input blocks of this network are no levels of equally many blocks. The file may be damaged "
            "or a variant that is not supported."
        )
    return (stated or depths)[0]


def _fits(state_dict: Mapping[str, Tensor], count: int, depth: int) -> bool:
    """Whether `count` input blocks can be levels of `depth` blocks, each but the last followed by a halving one."""
    if count % (depth + 1):
        return False
    attended = [f"input_blocks.{i}.1.qkv.weight" in state_dict for i in range(count)]
    widened = [f"input_blocks.{i}.0.skip_connection.weight" in state_dict for i in range(count)]
    strided = [f"input_blocks.{i}.0.op.weight" in state_dict for i in range(count)]
    for first in range(1, count, depth + 1):
        if len(set(attended[first : first + depth])) > 1 or any(widened[first + 1 : first + depth]):
            return False
        if any(strided[first : first + depth]) or any(
            part[i] for part in (attended, widened) for i in range(first + depth, min(first + depth + 1, count))
        ):
            return False
    return not any(strided) or all(strided[depth + 1 :: depth + 1])


def encoder_only(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the classifying head."""
    return {key: value for key, value in state_dict.items() if not key.startswith("I2Iout.")}
