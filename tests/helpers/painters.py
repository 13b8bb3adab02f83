"""A painter (canvas encoder with its StyleGAN2) of 32 pixels, small enough to learn in a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

DECODER = {"widths": (12, 8, 8, 8), "style_dim": 16, "mappings": 2}  # 32 pixels, 8 styles
UNITS = ((8, 8, 2), (8, 12, 2), (12, 16, 2))  # 3 stages


def tiny_painter(room: Callable[[str], Any], seed: int = 0, channels: int = 12, second: bool = True) -> Any:
    torch.manual_seed(seed)
    encoder = {"in_channels": channels, "units": UNITS, "style_dim": 16, "halvings": (2,) * 8}
    network = room("networks.paint2pix.whole").Painter(encoder={**encoder, "second_stem": second}, decoder=DECODER)
    network.latent_avg.normal_(std=0.1)
    return network
