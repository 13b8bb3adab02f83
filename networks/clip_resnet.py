"""The picture half of CLIP's ResNets (RN50, RN101; Radford et al., arXiv 2103.00020), under OpenAI's key names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu, scaled_dot_product_attention

from .resnet import depths_of

INTENDED = ("stem", "layer1", "layer2", "layer3", "layer4", "pooled")
PUBLISHED = ("stem", "relu", "avgpool", "avgpool, layer1", "avgpool, layer2", "avgpool, layer3")


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut; strides are average pools."""

    def __init__(self, channels: int, width: int, stride: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        out = 4 * width
        self.stride = stride
        self.conv1, self.bn1 = ops.Conv2d(channels, width, 1, bias=False, **kw), ops.BatchNorm2d(width, **kw)
        self.conv2, self.bn2 = ops.Conv2d(width, width, 3, padding=1, bias=False, **kw), ops.BatchNorm2d(width, **kw)
        self.conv3, self.bn3 = ops.Conv2d(width, out, 1, bias=False, **kw), ops.BatchNorm2d(out, **kw)
        self.downsample: nn.Module | None = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(ops.Conv2d(channels, out, 1, bias=False, **kw), ops.BatchNorm2d(out, **kw))

    def forward(self, x: Tensor) -> Tensor:
        h = relu(self.bn1(self.conv1(x)))
        h = relu(self.bn2(self.conv2(h)))
        if self.stride > 1:
            h, x = avg_pool2d(h, self.stride), avg_pool2d(x, self.stride)
        return relu(self.bn3(self.conv3(h)) + (x if self.downsample is None else self.downsample(x)))


class AttentionPool(nn.Module):
    """One vector for the whole map [B,C,h,w] -> [B,out]: attention with the mean as the query, and the mean and every
    position as keys.

    For maps of another size than in training, position embeddings are interpolated.
    """

    def __init__(self, side: int, channels: int, heads: int, out: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.empty(side * side + 1, channels, **kw))
        self.k_proj = ops.Linear(channels, channels, **kw)
        self.q_proj = ops.Linear(channels, channels, **kw)
        self.v_proj = ops.Linear(channels, channels, **kw)
        self.c_proj = ops.Linear(channels, out, **kw)

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + self.positions(height, width)

        def heads(value: Tensor) -> Tensor:
            return value.reshape(b, -1, self.heads, c // self.heads).transpose(1, 2)

        asked = heads(self.q_proj(tokens[:, :1]))
        answer = scaled_dot_product_attention(asked, heads(self.k_proj(tokens)), heads(self.v_proj(tokens)))
        return self.c_proj(answer.transpose(1, 2).reshape(b, c))

    def positions(self, height: int, width: int) -> Tensor:
        places = self.positional_embedding
        side = math.isqrt(len(places) - 1)
        if (height, width) == (side, side):
            return places
        grid = places[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        grid = interpolate(grid, (height, width), mode="bicubic", align_corners=False)
        return torch.cat([places[:1], grid.flatten(2)[0].T])


class ClipResNet(nn.Module):
    """Maps of a picture: net(x [B,3,H,W], normalised as CLIP was trained; H, W multiples of 32) -> five maps and g.

    Normally the maps after the stem and the four layers (strides 4, 4, 8, 16, 32), and g = the picture's CLIP vector
    [B,out]. published=True: what Inversion-by-Inversion's release really compares. Its indices are off by one module,
    so it applies the stem's last ReLU and pool again, then layers 1 to 3 to that, the last of them as g [B,C,h,w].
    """

    def __init__(
        self,
        *,
        width: int,
        depths: Iterable[int],
        out_channels: int,
        side: int = 7,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        half = width // 2
        self.in_channels, self.out_channels, self.size = 3, out_channels, 32 * side
        self.conv1 = ops.Conv2d(3, half, 3, stride=2, padding=1, bias=False, **kw)
        self.bn1 = ops.BatchNorm2d(half, **kw)
        self.conv2, self.bn2 = ops.Conv2d(half, half, 3, padding=1, bias=False, **kw), ops.BatchNorm2d(half, **kw)
        self.conv3, self.bn3 = ops.Conv2d(half, width, 3, padding=1, bias=False, **kw), ops.BatchNorm2d(width, **kw)
        channels = width
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(Bottleneck(channels, width << i, 2 if i and not j else 1, ops, **kw))
                channels = 4 * (width << i)
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.attnpool = AttentionPool(side, channels, max(1, channels // 64), out_channels, ops, **kw)

    def forward(self, x: Tensor, published: bool = False) -> list[Tensor]:
        x = relu(self.bn1(self.conv1(x)))
        x = relu(self.bn2(self.conv2(x)))
        maps = [avg_pool2d(relu(self.bn3(self.conv3(x))), 2)]
        steps = [self.layer1, self.layer2, self.layer3]
        for step in [relu, _pool, *steps] if published else [*steps, self.layer4, self.attnpool]:
            maps.append(step(maps[-1]))  # pyright: ignore[reportCallIssue]
        return maps


def _pool(x: Tensor) -> Tensor:
    return avg_pool2d(x, 2)


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ClipResNet that these weights were made with."""
    return {
        "width": state_dict["conv3.weight"].shape[0],
        "depths": depths_of(state_dict),
        "out_channels": state_dict["attnpool.c_proj.weight"].shape[0],
        "side": math.isqrt(state_dict["attnpool.positional_embedding"].shape[0] - 1),
    }


def visual_half(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The picture half of a whole CLIP, without the text half."""
    return {key.removeprefix("visual."): value for key, value in state_dict.items() if key.startswith("visual.")}
