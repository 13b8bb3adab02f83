"""AlexNet (Krizhevsky, arXiv 1404.5997) without its classifier, under torchvision's key names, and LPIPS on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

SMALLEST = 31  # pixels a side; below that nothing is left to pool
TAPS = {"relu1": 2, "relu2": 5, "relu3": 8, "relu4": 10, "relu5": 12}  # tap -> how many layers lead to it


class AlexNet(nn.Module):
    """Maps of a picture: net(x [B,3,H,W], normalised by ImageNet's means, SMALLEST pixels a side or more) -> list.

    taps: which of relu1 ... relu5, all by default. lin: whether the file holds LPIPS weights, one per channel.
    """

    def __init__(
        self,
        *,
        widths: Iterable[int] = (64, 192, 384, 256, 256),
        lin: bool = False,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        one, two, three, four, five = widths
        self.in_channels, self.taps = 3, tuple(TAPS)
        self.features = nn.Sequential(
            *(ops.Conv2d(3, one, 11, stride=4, padding=2, **kw), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
            *(ops.Conv2d(one, two, 5, padding=2, **kw), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
            *(ops.Conv2d(two, three, 3, padding=1, **kw), nn.ReLU()),
            *(ops.Conv2d(three, four, 3, padding=1, **kw), nn.ReLU()),
            *(ops.Conv2d(four, five, 3, padding=1, **kw), nn.ReLU()),
        )
        vectors = (nn.Parameter(torch.empty(width, **kw)) for width in (one, two, three, four, five))
        self.lin = nn.ParameterList(vectors) if lin else None

    def forward(self, x: Tensor, taps: Iterable[str] | None = None) -> list[Tensor]:
        wanted = {TAPS[tap]: tap for tap in taps or self.taps}
        maps = {}
        for i, layer in enumerate(self.features[: max(wanted)], 1):  # pyright: ignore[reportArgumentType]
            x = layer(x)
            if i in wanted:
                maps[wanted[i]] = x
        return [maps[tap] for tap in taps or self.taps]


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of AlexNet that these weights were made with."""
    return {
        "widths": tuple(state_dict[f"features.{i}.weight"].shape[0] for i in (0, 3, 6, 8, 10)),
        "lin": "lin.0" in state_dict,
    }
