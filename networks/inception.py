"""The first layers of InceptionV3 (Szegedy et al., arXiv 1512.00567), under torchvision's key names.

Inversion-by-Inversion compares pictures after the first max pool; nothing behind it is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3")


class Filter(nn.Module):
    """A 3x3 filter, its norm, a ReLU."""

    def __init__(self, channels: int, out: int, ops: Any, *, stride: int, padding: int, **kw: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(channels, out, 3, stride=stride, padding=padding, bias=False, **kw)
        self.bn = ops.BatchNorm2d(out, eps=1e-3, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)))


class InceptionStem(nn.Module):
    """net(x [B,3,299,299] in [-1,1]) -> [the map after the first max pool, [B,64,73,73]]."""

    def __init__(
        self, *, widths: tuple[int, int, int] = (32, 32, 64), ops: Any = nn, dtype: Any = None, device: Any = None
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.in_channels = 3
        self.Conv2d_1a_3x3 = Filter(3, widths[0], ops, stride=2, padding=0, **kw)
        self.Conv2d_2a_3x3 = Filter(widths[0], widths[1], ops, stride=1, padding=0, **kw)
        self.Conv2d_2b_3x3 = Filter(widths[1], widths[2], ops, stride=1, padding=1, **kw)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, stride=2)]


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    return {"widths": tuple(state_dict[f"{key}.conv.weight"].shape[0] for key in STEM)}


def stem_only(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The three first filters; older files lack the counters of their norms."""
    kept = {key: value for key, value in state_dict.items() if key.startswith(STEM)}
    for key in STEM:
        kept.setdefault(f"{key}.bn.num_batches_tracked", torch.tensor(0))
    return kept
