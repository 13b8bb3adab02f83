"""VGG networks (Simonyan and Zisserman, arXiv 1409.1556) without their classifier, under torchvision's key names.

Depth and widths are read from the weights, so VGG11 to VGG19 and the built-in starter network are one class. Also the
encoder and decoder of AdaIN (Huang and Belongie, arXiv 1703.06868), which are a VGG19 with other key names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class VGG(nn.Module):
    """Maps of a picture: net(x [B,3,H,W], normalised as it was trained, 2^stages pixels a side or more) -> list.

    widths: the filters of each stage, first stage first; 2x2 max pools separate the stages. taps: which maps, by name:
    relu1_2 ... relu5_3 (the last ReLU of each stage, strides 1, 2, 4, 8, 16; all by default), or `features`, the pool
    after the last stage. lin: whether the file holds LPIPS weights, one per channel of every stage.
    """

    def __init__(
        self,
        *,
        widths: Iterable[Iterable[int]],
        in_channels: int = 3,
        lin: bool = False,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.in_channels = channels = in_channels
        layers: list[nn.Module] = []
        self.ends: dict[str, int] = {}  # tap -> how many layers lead to it
        lins: list[nn.Parameter] = []
        for i, stage in enumerate(widths, 1):
            count = 0
            for width in stage:
                layers += [ops.Conv2d(channels, width, 3, padding=1, **kw), nn.ReLU()]
                channels, count = width, count + 1
            self.ends[f"relu{i}_{count}"] = len(layers)
            lins.append(nn.Parameter(torch.empty(channels, **kw)))
            layers.append(nn.MaxPool2d(2))
        self.taps = tuple(self.ends)
        self.ends["features"] = len(layers)
        self.features = nn.Sequential(*layers)
        self.lin = nn.ParameterList(lins) if lin else None

    def forward(self, x: Tensor, taps: Iterable[str] | None = None) -> list[Tensor]:
        wanted = {self.ends[tap]: tap for tap in taps or self.taps}
        maps = {}
        for i, layer in enumerate(self.features[: max(wanted)], 1):  # pyright: ignore[reportArgumentType]
            x = layer(x)
            if i in wanted:
                maps[wanted[i]] = x
        return [maps[tap] for tap in taps or self.taps]


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of VGG. Filters whose indices are three apart have a pool between them; others are two apart."""
    weights = {int(key.split(".")[1]): value for key, value in state_dict.items() if _is_filter(key)}
    stages: list[list[int]] = []
    last = -3
    for place in sorted(weights):
        if place - last >= 3:
            stages.append([])
        stages[-1].append(weights[place].shape[0])
        last = place
    return {
        "widths": tuple(map(tuple, stages)),
        "in_channels": state_dict["features.0.weight"].shape[1],
        "lin": "lin.0" in state_dict,
    }


def _is_filter(key: str) -> bool:
    parts = key.split(".")
    return len(parts) == 3 and parts[0] == "features" and parts[1].isdigit() and parts[2] == "weight"


def without_classifier(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The filters, and the LPIPS weights if there are any."""
    return {key: value for key, value in state_dict.items() if key.startswith(("features.", "lin."))}


def from_lpips(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the `lpips` package's VGG metric: `net.sliceS.N` are torchvision's filters N."""
    renamed = {}
    for key, value in state_dict.items():
        parts = key.split(".")
        if parts[0] == "net" and len(parts) == 4:
            renamed[f"features.{parts[2]}.{parts[3]}"] = value
        elif parts[0].startswith("lin") and parts[0][3:].isdigit():  # lins.K repeats them
            renamed[f"lin.{parts[0][3:]}"] = value.flatten()
    return renamed


class AdaINEncoder(nn.Sequential):
    """The normalised VGG19 up to relu4_1: net(x [B,3,H,W] in [0,1]) -> [B,512,H/8,W/8], sides rounded up."""

    def __init__(self, *, ops: Any = nn, dtype: torch.dtype | None = None, device: Any = None) -> None:
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        layers: list[nn.Module] = [ops.Conv2d(3, 3, 1, **kw)]  # RGB to the channel order and means it was trained on
        channels = 3
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512):
            if width:
                layers += [nn.ReflectionPad2d(1), ops.Conv2d(channels, width, 3, **kw), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
        super().__init__(*layers)


class AdaINDecoder(nn.Sequential):
    """Back from relu4_1 to a picture: net(features [B,512,h,w]) -> [B,3,8h,8w], about [0,1]."""

    def __init__(self, *, ops: Any = nn, dtype: torch.dtype | None = None, device: Any = None) -> None:
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        layers: list[nn.Module] = []
        channels = 512
        for width in (256, 0, 256, 256, 256, 128, 0, 128, 64, 0, 64, 3):
            if width:
                layers += [nn.ReflectionPad2d(1), ops.Conv2d(channels, width, 3, **kw), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        super().__init__(*layers[:-1])  # no ReLU after the picture itself


def no_config(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """No arguments: AdaIN's networks have only one size."""
    return {}


def up_to_relu4_1(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The first 31 layers of the normalised VGG19; the rest is for training losses."""
    places = {key: key.split(".")[0] for key in state_dict}
    return {key: state_dict[key] for key, place in places.items() if not (place.isdigit() and int(place) > 30)}
