"""TOM, which draws photos as line drawings in the style of unrelated sketches (arXiv 2012.09290, stage 1).

A generator turns one map of a VGG16 into a sketch; a small discriminator looks at the styles (Gram matrices) of three
maps. A `VGG` of any width can replace VGG16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, pad

from ..vgg import VGG
from ..vgg import config_from as vgg_config
from .layers import ConditionedSequential, Layers, fold

SIZES = (128, 256, 512, 1024)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the normalisation that every VGG expects


def taps(vgg: VGG, picture: Tensor, size: int | None = None) -> list[Tensor]:
    """Five maps of a picture [B,3,H,W] in [-1,1], each after the pool that ends a stage: sides H/2 to H/32.

    size: the maps are averaged to size/2 ... size/32 whatever H and W are, as in training; None: left as they are.
    """
    mean, std = (picture.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    maps = [max_pool2d(x, 2) for x in vgg(((picture + 1) / 2 - mean) / std)]
    if size is not None:
        maps = [adaptive_avg_pool2d(x, size // 2**i) for i, x in enumerate(maps, 1)]
    return maps


class _Doubling(nn.Module):
    def __init__(self, channels: int, out: int, layers: Layers) -> None:
        super().__init__()
        self.main = ConditionedSequential(
            nn.Upsample(scale_factor=2),
            layers.conv(channels, out, 3, sn=True, bias=True, padding_mode="reflect"),
            layers.norm(out),
            nn.LeakyReLU(0.01),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


class Generator(nn.Module):
    """net(third tap [B,channels,h,w]) -> sketch [B,3,8h,8w] in [-1,1], paper 1, ink -1; published: 256, width 128."""

    def __init__(
        self,
        *,
        channels: int = 256,
        width: int = 128,
        spectral: bool = False,
        ops: Any = nn,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        layers = Layers(ops, spectral, dtype=dtype, device=device)
        self.decode_32 = _Doubling(channels, 4 * width, layers)
        self.decode_64 = _Doubling(4 * width, 4 * width, layers)
        self.decode_128 = _Doubling(4 * width, 2 * width, layers)
        self.final = nn.Sequential(layers.conv(2 * width, 3, 3, sn=True, bias=True), nn.Tanh())

    def forward(self, tap: Tensor) -> Tensor:
        return self.final(self.decode_128(self.decode_64(self.decode_32(tap))))


class StyleDiscriminator(nn.Module):
    """net(stacked Gram maps [B,channels,16,16]) -> logits [9 B]; published: 384 channels, three maps of 128."""

    def __init__(self, *, channels: int = 384, spectral: bool = True, dtype: Any = None, device: Any = None) -> None:
        super().__init__()
        layers, self.channels = Layers(nn, spectral, dtype=dtype, device=device), channels

        def step(channels: int, out: int, *more: nn.Module) -> nn.Module:
            block = nn.Module()
            conv = layers.conv(channels, out, 3, sn=True, bias=True)
            block.main = nn.Sequential(conv, layers.norm(out), nn.LeakyReLU(0.1), *more)
            return block

        half, quarter = channels // 2, channels // 4
        last = layers.conv(quarter, 1, 4, stride=2, padding=0, sn=True, bias=True)
        self.main = nn.ModuleList([step(channels, half), step(half, quarter, nn.AvgPool2d(2)), last])

    def forward(self, grams: Tensor) -> Tensor:
        first, second, last = self.main
        return last(second.main(first.main(grams))).flatten()  # pyright: ignore[reportCallIssue]


class TOM(nn.Module):
    """A sketch extractor: net(x [B,3,H,W] in [0,1]) -> [B,1,H,W] in [0,1], 1 = paper; any H, W.

    vgg: the widths of the feature network in the file. Published files have none (None): then only `draw(third tap)`
    works, and in_channels is the number of channels of that tap. Training exported sketches with everything above
    THRESHOLD as paper and the rest as ink.
    """

    THRESHOLD = 0.7
    out_channels = 1

    def __init__(
        self,
        *,
        channels: int = 256,
        width: int = 128,
        vgg: Sequence[Sequence[int]] | None = None,
        ops: Any = nn,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"ops": ops, "dtype": dtype, "device": device}
        self.g = Generator(channels=channels, width=width, **kw)
        self.vgg = VGG(widths=vgg, **kw) if vgg else None
        self.in_channels = 3 if vgg else channels

    @classmethod
    def inked(cls, drawing: Tensor) -> Tensor:
        """A drawing in [0,1] reduced to paper (1) and ink (0)."""
        return (drawing > cls.THRESHOLD).to(drawing.dtype)

    def draw(self, tap: Tensor) -> Tensor:
        """From the third of `taps` [B,channels,h,w] to the drawing [B,1,8h,8w] in [0,1]."""
        return (self.g(tap).mean(1, keepdim=True) + 1) / 2

    def forward(self, x: Tensor) -> Tensor:
        if self.vgg is None:
            raise ValueError("This TOM sketch network brings no feature network along: give it a VGG16's, as trained.")
        height, width = x.shape[-2:]
        down, right = (max(32, -(-side // 8) * 8) - side for side in (height, width))
        x = pad(x, (0, right, 0, down), mode="replicate") if down or right else x
        return self.draw(taps(self.vgg, 2 * x - 1)[2])[..., :height, :width]


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of TOM that these weights were made with."""
    first = state_dict["g.decode_32.main.1.weight"]
    vgg = {key.removeprefix("vgg."): value for key, value in state_dict.items() if key.startswith("vgg.")}
    return {
        "channels": first.shape[1],
        "width": first.shape[0] // 4,
        "vgg": vgg_config(vgg, hints)["widths"] if vgg else None,
    }


def for_drawing(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The generator, its spectral norms folded, and the feature network if there is one."""
    return fold({key: value for key, value in state_dict.items() if key.startswith(("g.", "vgg."))})


def with_features(state_dict: Mapping[str, Tensor], vgg: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A TOM file's tensors together with those of the VGG it was trained on (torchvision's keys), as one extractor."""
    filters = {f"vgg.{key}": value for key, value in vgg.items() if key.startswith("features.")}
    return {**{key: value for key, value in state_dict.items() if key.startswith("g.")}, **filters}
