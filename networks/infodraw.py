"""InformativeDrawings' generator (Chan, Durand and Isola, arXiv 2203.12691), under the key names of its checkpoints.

A photograph becomes a line drawing in one pass. Widths and depth are read from the weights: the built-in starter
extractor is the same network, only narrower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """x plus two reflected 3x3 filters of it, each normalised per picture."""

    def __init__(self, channels: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            ops.Conv2d(channels, channels, 3, **kw),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            ops.Conv2d(channels, channels, 3, **kw),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class InformativeDrawings(nn.Module):
    """Lines from a photo: net(x [B,3,H,W] in [0,1]) -> [B,1,H,W] in (0,1), 1 = paper. H, W: multiples of 4, 8 or more.

    widths: channels at full, half and quarter size. The norms have no parameters: every picture is normalised on its
    own, so the pictures of a batch are independent.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int] = (64, 128, 256),
        blocks: int = 3,
        in_channels: int = 3,
        out_channels: int = 1,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        full, half, quarter = widths
        self.in_channels, self.out_channels = in_channels, out_channels

        def then(conv: nn.Module, channels: int) -> tuple[nn.Module, ...]:
            return conv, nn.InstanceNorm2d(channels), nn.ReLU()

        def up(channels: int, out: int) -> nn.Module:
            return ops.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1, **kw)

        self.model0 = nn.Sequential(nn.ReflectionPad2d(3), *then(ops.Conv2d(in_channels, full, 7, **kw), full))
        self.model1 = nn.Sequential(
            *then(ops.Conv2d(full, half, 3, stride=2, padding=1, **kw), half),
            *then(ops.Conv2d(half, quarter, 3, stride=2, padding=1, **kw), quarter),
        )
        self.model2 = nn.Sequential(*(Residual(quarter, ops, **kw) for _ in range(blocks)))
        self.model3 = nn.Sequential(*then(up(quarter, half), half), *then(up(half, full), full))
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), ops.Conv2d(full, out_channels, 7, **kw), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.model4(self.model3(self.model2(self.model1(self.model0(x)))))


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of InformativeDrawings that these weights were made with."""
    blocks = 0
    while f"model2.{blocks}.conv_block.1.weight" in state_dict:
        blocks += 1
    return {
        "widths": tuple(state_dict[f"{key}.weight"].shape[0] for key in ("model0.1", "model1.0", "model1.3")),
        "blocks": blocks,
        "in_channels": state_dict["model0.1.weight"].shape[1],
        "out_channels": state_dict["model4.1.weight"].shape[0],
    }
