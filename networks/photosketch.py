"""PhotoSketch's generator (Li et al., arXiv 1901.00542): a photo becomes a contour drawing in one pass.

Widths and depth are read from the weights; the published one has 64 channels and 9 residual blocks. Its batch norms
were never put into inference mode by the released code, which draws one photo at a time: what people know as its look
is that of the photo's own statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

OWN, RUNNING, BATCH = "the photo's own", "running", "the batch's"
STATISTICS = (OWN, RUNNING, BATCH)


class Residual(nn.Module):
    """x plus two reflected 3x3 filters of it. The dropout of 0 keeps the numbers of the layers after it."""

    def __init__(self, channels: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            ops.Conv2d(channels, channels, 3, bias=False, **kw),
            ops.BatchNorm2d(channels, **kw),
            nn.ReLU(),
            nn.Dropout(0.0),
            nn.ReflectionPad2d(1),
            ops.Conv2d(channels, channels, 3, bias=False, **kw),
            ops.BatchNorm2d(channels, **kw),
        )


class PhotoSketch(nn.Module):
    """Lines from a photo: net(x [B,3,H,W] in [-1,1], statistics) -> [B,1,H,W] in (-1,1), 1 = paper; H, W: multiples of
    4, 16 or more.

    statistics: which the batch norms use: each photo's own (the released code at its batch of one), the running ones of
    training, or the whole batch's (the released code at a larger batch, where photos change one another's drawing).
    """

    def __init__(
        self,
        *,
        width: int = 64,
        blocks: int = 9,
        in_channels: int = 3,
        out_channels: int = 1,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.in_channels, self.out_channels, self.width = in_channels, out_channels, width

        def then(conv: nn.Module, channels: int) -> tuple[nn.Module, ...]:
            return conv, ops.BatchNorm2d(channels, **kw), nn.ReLU()

        def down(channels: int) -> nn.Module:
            return ops.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False, **kw)

        def up(channels: int) -> nn.Module:
            half = channels // 2
            return ops.ConvTranspose2d(channels, half, 3, stride=2, padding=1, output_padding=1, bias=False, **kw)

        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *then(ops.Conv2d(in_channels, width, 7, bias=False, **kw), width),
            *then(down(width), 2 * width),
            *then(down(2 * width), 4 * width),
            *(Residual(4 * width, ops, **kw) for _ in range(blocks)),
            *then(up(4 * width), 2 * width),
            *then(up(2 * width), width),
            nn.ReflectionPad2d(3),
            ops.Conv2d(width, out_channels, 7, **kw),
            nn.Tanh(),
        )

    def forward(self, x: Tensor, statistics: str = OWN) -> Tensor:
        for layer in self.model:
            x = (
                x + _through(layer.conv_block, x, statistics)
                if isinstance(layer, Residual)
                else _step(layer, x, statistics)
            )
        return x


class PairDiscriminator(nn.Module):
    """Logits [B] of how genuine a drawing of a photo is: net(photo [B,3,S,S], drawing [B,1,S,S]), both in [-1,1]; S: a
    power of 2, 16 or more. One verdict for the whole picture, as PhotoSketch has it; its layers are ours."""

    def __init__(self, *, size: int, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(4, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        channels, side = width, size // 2
        while side > 4:
            wider = min(2 * channels, 8 * width)
            layers += [nn.Conv2d(channels, wider, 4, 2, 1, bias=False), nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
            channels, side = wider, side // 2
        self.model = nn.Sequential(*layers, nn.Conv2d(channels, 1, side))

    def forward(self, photo: Tensor, drawing: Tensor) -> Tensor:
        return self.model(torch.cat([photo, drawing], 1)).flatten()


def initialised(network: nn.Module) -> nn.Module:
    """The same network with pix2pix's start: normal weights of 0.02, norms near 1."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return network


def _through(layers: Any, x: Tensor, statistics: str) -> Tensor:
    for layer in layers:
        x = _step(layer, x, statistics)
    return x


def _step(layer: nn.Module, x: Tensor, statistics: str) -> Tensor:
    """One layer. A batch norm never changes its running statistics, except in training mode."""
    if not isinstance(layer, nn.BatchNorm2d) or statistics == RUNNING or layer.training:
        return layer(x)
    weight, bias = layer.weight.to(x), layer.bias.to(x)
    if statistics == BATCH:
        return batch_norm(x, None, None, weight, bias, True, eps=layer.eps)
    rows = [batch_norm(row, None, None, weight, bias, True, eps=layer.eps) for row in x.split(1)]
    return torch.cat(rows)


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of PhotoSketch that these weights were made with."""
    blocks = 0
    while f"model.{10 + blocks}.conv_block.1.weight" in state_dict:
        blocks += 1
    return {
        "width": state_dict["model.1.weight"].shape[0],
        "blocks": blocks,
        "in_channels": state_dict["model.1.weight"].shape[1],
        "out_channels": state_dict[f"model.{17 + blocks}.weight"].shape[0],
    }
