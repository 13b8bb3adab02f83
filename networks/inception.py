"""InceptionV3 (Szegedy et al., arXiv 1512.00567) without its auxiliary classifier, under torchvision's key names.

Inversion-by-Inversion compares pictures after the first max pool; FID and KID compare the last layer's means. Files
with only the first filters give a network of these alone. There are two kinds of whole files: torchvision's (1000
classes), and the one that defines FID, ported from TensorFlow (1008 classes), whose pools differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, linear, max_pool2d, relu

STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3")
MIDDLE = ("Conv2d_3b_1x1", "Conv2d_4a_3x3")
STRIDED = (  # filters with stride 2; they and UNPADDED have no padding, all others keep the size
    *("Conv2d_1a_3x3", "Mixed_6a.branch3x3", "Mixed_6a.branch3x3dbl_3"),
    *("Mixed_7a.branch3x3_2", "Mixed_7a.branch7x7x3_4"),
)
UNPADDED = ("Conv2d_2a_3x3", "Conv2d_4a_3x3")
# The branches of each kind of block: steps in sequence, a|b in parallel.
_DOUBLE = "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3"
_LONG = " ".join(f"branch7x7dbl_{i}" for i in range(1, 6))
BRANCHES = {
    "A": ("branch1x1", "branch5x5_1 branch5x5_2", _DOUBLE, "pool branch_pool"),
    "B": ("branch3x3", _DOUBLE, "halve"),
    "C": ("branch1x1", "branch7x7_1 branch7x7_2 branch7x7_3", _LONG, "pool branch_pool"),
    "D": ("branch3x3_1 branch3x3_2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4", "halve"),
    "E": (
        "branch1x1",
        "branch3x3_1 branch3x3_2a|branch3x3_2b",
        "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a|branch3x3dbl_3b",
        "pool branch_pool",
    ),
}
BLOCKS = {
    **{f"Mixed_5{letter}": "A" for letter in "bcd"},
    "Mixed_6a": "B",
    **{f"Mixed_6{letter}": "C" for letter in "bcde"},
    "Mixed_7a": "D",
    **{f"Mixed_7{letter}": "E" for letter in "bc"},
}
FID_CLASSES = 1008
SPATIAL = ("Mixed_6d", "branch1x1", 7)  # of sFID: TensorFlow's mixed_6/conv, its first channels
Shapes = Mapping[str, tuple[int, ...]]


class Filter(nn.Module):
    """A filter of this shape [out,in,h,w], its norm, a ReLU."""

    def __init__(self, name: str, shape: tuple[int, ...], ops: Any, **kw: Any) -> None:
        super().__init__()
        out, channels, *size = shape
        padding = (0, 0) if name in STRIDED + UNPADDED else tuple(side // 2 for side in size)
        stride = 2 if name in STRIDED else 1
        self.conv = ops.Conv2d(channels, out, tuple(size), stride=stride, padding=padding, bias=False, **kw)
        self.bn = ops.BatchNorm2d(out, eps=1e-3, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Parallel branches whose maps are concatenated. pool: the pooling in front of the last branch."""

    def __init__(self, name: str, shapes: Shapes, pool: str, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.branches, self.pool = BRANCHES[BLOCKS[name]], pool
        for step in _filters(name):
            self.add_module(step, Filter(f"{name}.{step}", shapes[f"{name}.{step}"], ops, **kw))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.follow(branch, x) for branch in self.branches], 1)

    def follow(self, branch: str, x: Tensor) -> Tensor:
        for step in branch.split():
            if step == "halve":
                x = max_pool2d(x, 3, stride=2)
            elif step == "pool" and self.pool == "max":
                x = max_pool2d(x, 3, stride=1, padding=1)
            elif step == "pool":
                x = avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=self.pool == "with rim")
            else:
                x = torch.cat([self.get_submodule(name)(x) for name in step.split("|")], 1)
        return x


class Inception(nn.Module):
    """net(x [B,3,299,299] in [-1,1]) -> [the map after the first max pool, [B,64,73,73]].

    whole(x) -> the last layer's means [B,2048], if the file has all layers (`deep`). everything(x) -> these, sFID's
    spatial features [B,2023] and, if the file has its `classes`, their logits without the bias [B,classes]. fid:
    whether it is the network that defines FID.
    """

    def __init__(
        self, *, shapes: Shapes, fid: bool, classes: int = 0, ops: Any = nn, dtype: Any = None, device: Any = None
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.in_channels, self.deep = 3, MIDDLE[0] in shapes
        # stored in the weights, because no other tensor shows it
        self.register_buffer("fid", torch.tensor(fid, device=device))
        for name in (*STEM, *(MIDDLE if self.deep else ())):
            self.add_module(name, Filter(name, shapes[name], ops, **kw))
        for name in BLOCKS if self.deep else ():
            pool = "with rim" if not fid else "max" if name == "Mixed_7c" else "within"
            self.add_module(name, Block(name, shapes, pool, ops, **kw))
        self.classes = classes
        self.depth = sum(shapes[f"Mixed_7c.{step}"][0] for step in _last_of(BRANCHES["E"])) if self.deep else 0
        if classes:
            self.fc = ops.Linear(self.depth, classes, **kw)

    def forward(self, x: Tensor) -> list[Tensor]:
        for name in STEM:
            x = self.get_submodule(name)(x)
        return [max_pool2d(x, 3, stride=2)]

    def whole(self, x: Tensor) -> Tensor:
        return self._maps(x)[0].mean((2, 3))

    def everything(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        last, spatial = self._maps(x)
        summary = last.mean((2, 3))
        return summary, spatial.flatten(1), linear(summary, self.fc.weight.to(summary)) if self.classes else None

    def _maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last map, and the one that sFID compares."""
        (x,) = self(x)
        spatial = x
        for name in MIDDLE:
            x = self.get_submodule(name)(x)
        x = max_pool2d(x, 3, stride=2)
        for name in BLOCKS:
            block, branch, channels = SPATIAL
            if name == block:
                spatial = self.get_submodule(f"{block}.{branch}")(x)[:, :channels]
            x = self.get_submodule(name)(x)
        return x, spatial


def _last_of(branches: tuple[str, ...]) -> list[str]:
    """The steps whose maps are concatenated."""
    return [step for branch in branches for step in branch.split()[-1].split("|")]


def _filters(block: str) -> list[str]:
    steps = [name for branch in BRANCHES[BLOCKS[block]] for step in branch.split() for name in step.split("|")]
    return [step for step in steps if step not in ("pool", "halve")]


def _known(state_dict: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The filters that these weights have: all of them, or the first three."""
    if f"{MIDDLE[0]}.conv.weight" not in state_dict:
        return STEM
    return (*STEM, *MIDDLE, *(f"{block}.{step}" for block in BLOCKS for step in _filters(block)))


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    shapes = {name: tuple(state_dict[f"{name}.conv.weight"].shape) for name in _known(state_dict)}
    classes = state_dict["fc.weight"].shape[0] if "fc.weight" in state_dict else 0
    return {"shapes": shapes, "fid": bool(state_dict["fid"]), "classes": classes}


def without_auxiliary(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The filters, their norms, the classes, and `fid`, read off their number; older files lack the norms' counters."""
    names = _known(state_dict)
    kept = {key: value for key, value in state_dict.items() if key.rsplit(".", 2)[0] in names}
    for name in names:
        kept.setdefault(f"{name}.bn.num_batches_tracked", torch.tensor(0))
    head = {key: state_dict[key] for key in ("fc.weight", "fc.bias") if key in state_dict and len(names) > len(STEM)}
    classes = state_dict["fc.weight"].shape[0] if "fc.weight" in state_dict else 0
    return {**kept, **head, "fid": torch.tensor(classes == FID_CLASSES)}
