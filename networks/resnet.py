"""ResNets with bottlenecks (ResNet-50, 101, 152; He et al., arXiv 1512.03385), under torchvision's key names.

DiffSketching compares pictures by the last map of a ResNet-50 that was trained on photos of Sketchy's 125 classes. Its
training saves the network twice over (`resnet.*`, `features.N.*`, and `fc.*`), its sampling reads a bare Sequential
(`0.weight`, `4.0.conv1.weight`); both are read here, and torchvision's own files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from .weights import with_counters

TAPS = ("stem", "layer1", "layer2", "layer3", "layer4")
PARTS = ("conv1", "bn1", None, None, "layer1", "layer2", "layer3", "layer4")  # of the Sequential, by index
IMAGENET = "imagenet"  # the key that says how pictures are normalised


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut; the stride is in the middle."""

    def __init__(self, channels: int, width: int, stride: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = ops.Conv2d(channels, width, 1, bias=False, **kw), ops.BatchNorm2d(width, **kw)
        self.conv2 = ops.Conv2d(width, width, 3, stride=stride, padding=1, bias=False, **kw)
        self.bn2 = ops.BatchNorm2d(width, **kw)
        self.conv3, self.bn3 = ops.Conv2d(width, out, 1, bias=False, **kw), ops.BatchNorm2d(out, **kw)
        self.downsample: nn.Module | None = None
        if stride > 1 or channels != out:
            shortcut = ops.Conv2d(channels, out, 1, stride=stride, bias=False, **kw)
            self.downsample = nn.Sequential(shortcut, ops.BatchNorm2d(out, **kw))

    def forward(self, x: Tensor) -> Tensor:
        h = relu(self.bn1(self.conv1(x)))
        h = relu(self.bn2(self.conv2(h)))
        return relu(self.bn3(self.conv3(h)) + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Maps of a picture: net(x [B,3,H,W], normalised as it was trained, 32 pixels a side or more) -> list.

    taps: which maps, by name: stem (after the first pool, stride 4), layer1 to layer4 (strides 4, 8, 16, 32). All maps
    are after a ReLU. classify(x) -> logits [B, classes], if the file has its last layer (`classes`, else 0).
    imagenet, a buffer: True: pictures are normalised by ImageNet's means, as torchvision's networks expect; False: to
    [-1, 1], as DiffSketching trains.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        depths: Iterable[int] = (3, 4, 6, 3),
        classes: int = 0,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.in_channels, self.classes = 3, classes
        self.register_buffer(IMAGENET, torch.tensor(False, device=device))
        self.conv1 = ops.Conv2d(3, width, 7, stride=2, padding=3, bias=False, **kw)
        self.bn1 = ops.BatchNorm2d(width, **kw)
        channels = width
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(Bottleneck(channels, width << i, 2 if i and not j else 1, ops, **kw))
                channels = 4 * (width << i)
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.out_channels = channels
        if classes:
            self.fc = ops.Linear(channels, classes, **kw)

    def forward(self, x: Tensor, taps: Iterable[str] = ("layer4",)) -> list[Tensor]:
        taps = tuple(taps)
        x = max_pool2d(relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        maps = {"stem": x}
        for name in TAPS[1 : 1 + max(TAPS.index(tap) for tap in taps)]:
            maps[name] = x = self.get_submodule(name)(x)
        return [maps[tap] for tap in taps]

    def classify(self, x: Tensor) -> Tensor:
        return self.fc(self(x)[0].mean((2, 3)))


def depths_of(state_dict: Mapping[str, Tensor]) -> tuple[int, ...]:
    """How many blocks each of the four layers has."""
    depths = []
    for i in range(1, 5):
        depth = 0
        while f"layer{i}.{depth}.conv1.weight" in state_dict:
            depth += 1
        depths.append(depth)
    return tuple(depths)


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ResNet that these weights were made with."""
    return {
        "width": state_dict["conv1.weight"].shape[0],
        "depths": depths_of(state_dict),
        "classes": state_dict["fc.weight"].shape[0] if "fc.weight" in state_dict else 0,
    }


def from_torchvision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's names. ImageNet's normalisation, unless the file says otherwise (those trained here do)."""
    return with_counters({IMAGENET: torch.tensor(True), **state_dict})


def from_sequential(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DiffSketching's body without its last layers: `0.weight` is conv1, `4.0.conv1.weight` layer1.0.conv1."""
    renamed = {}
    for key, value in state_dict.items():
        place, _, rest = key.partition(".")
        part = PARTS[int(place)] if place.isdigit() and int(place) < len(PARTS) else None
        renamed[f"{part}.{rest}" if part else key] = value  # any other key stays, and is refused
    return with_counters({IMAGENET: torch.tensor(False), **renamed})


def from_training(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DiffSketching's feature training: `features.*` is the body, `fc.*` its classes; `resnet.*` repeats the body."""
    body = {key[9:]: value for key, value in state_dict.items() if key.startswith("features.")}
    rest = {k: v for k, v in state_dict.items() if not k.startswith(("features.", "resnet."))}
    return from_sequential(body) | rest
