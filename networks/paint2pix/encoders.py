"""Encoders of pictures into StyleGAN2's styles, on an IR-SE body: Paint2pix (Singh et al., ECCV 2022, arXiv
2208.08092), ReStyle (2104.02699), e4e (2102.02766) and pSp (2008.00951); and ArcFace (1801.07698) on the same body.

Published key names. Widths, depth, stages and heads are read from the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from ..errors import Unsupported
from .layers import EqualLinear

RELATIVE, INDEPENDENT = "relative to the first", "each for itself"
ENCODER_TYPES = {  # by opts["encoder_type"]: whether later styles are added to the first; the keys do not say
    "ProgressiveBackboneEncoder": RELATIVE,
    "Encoder4Editing": RELATIVE,
    "BackboneEncoder": INDEPENDENT,
    "GradualStyleEncoder": INDEPENDENT,
}


class Unit(NamedTuple):
    """One unit of the body: channels in and out, and the channels inside its squeeze and excitation."""

    channels: int
    out: int
    squeezed: int


class SqueezeExcite(nn.Module):
    """Scales channels by what the whole map says about them."""

    def __init__(self, channels: int, squeezed: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        self.fc1 = ops.Conv2d(channels, squeezed, 1, bias=False, **kw)
        self.fc2 = ops.Conv2d(squeezed, channels, 1, bias=False, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Residual(nn.Module):
    """A unit of IR-SE: norm, 3x3, PReLU, 3x3 with the stride, norm, squeeze and excitation; plus the shortcut."""

    def __init__(self, unit: Unit, stride: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        channels, out, squeezed = unit
        self.res_layer = nn.Sequential(
            ops.BatchNorm2d(channels, **kw),
            ops.Conv2d(channels, out, 3, padding=1, bias=False, **kw),
            nn.PReLU(out, **kw),
            ops.Conv2d(out, out, 3, stride=stride, padding=1, bias=False, **kw),
            ops.BatchNorm2d(out, **kw),
            SqueezeExcite(out, squeezed, ops, **kw),
        )
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if channels != out:
            self.shortcut_layer = nn.Sequential(
                ops.Conv2d(channels, out, 1, stride=stride, bias=False, **kw), ops.BatchNorm2d(out, **kw)
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


def _stem(channels: int, width: int, ops: Any, **kw: Any) -> nn.Sequential:
    return nn.Sequential(
        ops.Conv2d(channels, width, 3, padding=1, bias=False, **kw), ops.BatchNorm2d(width, **kw), nn.PReLU(width, **kw)
    )


def _body(units: Sequence[Unit], ops: Any, **kw: Any) -> nn.Sequential:
    """The first unit of a stage halves the size: unit 0, and each that changes the number of channels."""
    return nn.Sequential(
        *(
            Residual(unit, 2 if i == 0 or unit.channels != unit.out else 1, ops, **kw)
            for i, unit in enumerate(map(Unit._make, units))
        )
    )


class StyleHead(nn.Module):
    """From a map [B,C,2^n,2^n] to one style [B,style_dim] by n convolutions of stride 2."""

    def __init__(self, channels: int, style_dim: int, halvings: int, ops: Any, **kw: Any) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(halvings):
            first = channels if i == 0 else style_dim
            layers += [ops.Conv2d(first, style_dim, 3, stride=2, padding=1, **kw), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(style_dim, style_dim, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).flatten(1))


class Encoder(nn.Module):
    """Styles of pictures: net(x [B,in_channels,side,side]) -> [B,styles,style_dim].

    in_channels: 12 for canvases and 6 for identities in Paint2pix (two or four pictures), 6 in ReStyle, 3 in e4e and
    pSp. halvings: of each style's head. second_stem: `input_layer_updated_canvas` is there, which encodes an updated
    canvas with the same body. identities: there are layers that add a face's features (`id_layers`). pyramid: the
    channels of the maps at half and a quarter of the depth (pSp, e4e), None where all heads look at the last map.
    order: RELATIVE adds the first style to each later one, INDEPENDENT does not.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        units: Sequence[Unit],
        style_dim: int = 512,
        halvings: Sequence[int],
        second_stem: bool = False,
        identities: bool = False,
        pyramid: Sequence[int] | None = None,
        order: str = RELATIVE,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"ops": ops, "dtype": dtype, "device": device}
        plain: dict[str, Any] = {"dtype": dtype, "device": device}
        units = [Unit._make(unit) for unit in units]
        self.in_channels, self.order, self.halvings = in_channels, order, tuple(halvings)
        self.starts = [i for i, unit in enumerate(units) if i == 0 or unit.channels != unit.out]
        self.size = 2 ** (len(self.starts) + min(halvings))
        self.input_layer = _stem(in_channels, units[0].channels, **kw)
        if second_stem:
            self.input_layer_updated_canvas = _stem(in_channels, units[0].channels, **kw)
        self.body = _body(units, **kw)
        last = units[-1].out
        self.styles = nn.ModuleList(StyleHead(last, style_dim, count, **kw) for count in halvings)
        if identities:
            self.id_layers = nn.ModuleList(EqualLinear(style_dim, style_dim, **plain) for _ in halvings)
        if pyramid:
            self.latlayer1, self.latlayer2 = (ops.Conv2d(channels, last, 1, **plain) for channels in pyramid)

    def forward(
        self, x: Tensor, *, stage: int | None = None, face: Tensor | None = None, updated: bool = False
    ) -> Tensor:
        """stage: with RELATIVE, how many styles after the first get their own part (None: all). face: features
        [B,style_dim] of an identity. updated: through the second stem."""
        maps = self._maps(self._checked(x), updated)
        codes = [head(maps[count]) for head, count in zip(self.styles, self.halvings, strict=True)]
        if face is not None:
            codes = [code + layer(face) for code, layer in zip(codes, self.id_layers, strict=True)]
        if self.order == RELATIVE:
            own = len(codes) if stage is None else min(stage + 1, len(codes))
            codes = [codes[0]] + [codes[0] + code for code in codes[1:own]] + [codes[0]] * (len(codes) - own)
        return torch.stack(codes, 1)

    def _checked(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (self.in_channels, self.size, self.size):
            wanted = f"{self.in_channels} channels of {self.size} x {self.size}"
            raise ValueError(
                f"This encoder takes {wanted} pixels, got {x.shape[1]} of {x.shape[3]} x {x.shape[2]}. Resize first."
            )
        return x

    def _maps(self, x: Tensor, updated: bool) -> dict[int, Tensor]:
        """The maps that heads look at, by the number of halvings that lead from them to a style."""
        x = (self.input_layer_updated_canvas if updated else self.input_layer)(x)
        ends = []  # of the stages
        for i, unit in enumerate(self.body):
            if i in self.starts[1:]:
                ends.append(x)
            x = unit(x)
        found, least = {min(self.halvings): x}, min(self.halvings)
        if hasattr(self, "latlayer1"):
            for i, lateral in enumerate((self.latlayer1, self.latlayer2)):
                finer = ends[-1 - i]
                x = interpolate(x, size=finer.shape[2:], mode="bilinear", align_corners=True) + lateral(finer)
                found[least + i + 1] = x
        return found


class FaceNetwork(nn.Module):
    """Features of faces: net(x [B,3,side,side] in [-1,1]) -> [B,features] of length 1. side: 112 as published."""

    def __init__(
        self,
        *,
        units: Sequence[Unit],
        features: int = 512,
        side: int = 7,
        in_channels: int = 3,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        units = [Unit._make(unit) for unit in units]
        last = units[-1].out
        self.size = side * 2 ** sum(i == 0 or unit.channels != unit.out for i, unit in enumerate(units))
        self.input_layer = _stem(in_channels, units[0].channels, ops, **kw)
        self.body = _body(units, ops, **kw)
        self.output_layer = nn.Sequential(
            ops.BatchNorm2d(last, **kw),
            nn.Dropout(),
            nn.Flatten(),
            ops.Linear(last * side**2, features, **kw),
            BatchNormOfFeatures(features, **kw),
        )

    def forward(self, x: Tensor) -> Tensor:
        return normalize(self.output_layer(self.body(self.input_layer(x))), dim=1)


class BatchNormOfFeatures(nn.BatchNorm1d):
    """BatchNorm1d that computes where its input is; hosts have no such layer of their own."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        mean, variance, weight, bias = (
            value.to(input) for value in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return (input - mean) * (variance + self.eps).rsqrt() * weight + bias


# --- from files -------------------------------------------------------------------------------------------------------


def encoder_config(weights: Mapping[str, Tensor], hints: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of Encoder for these weights. hints: encoder_type, as the training program's options call it.

    Unsupported: an encoder_type that is not known, or a body without squeeze and excitation.
    """
    kind = str((hints or {}).get("encoder_type") or "ProgressiveBackboneEncoder")
    if kind not in ENCODER_TYPES:
        raise Unsupported(f"The encoder type {kind!r} is not known. Known are {', '.join(ENCODER_TYPES)}.")
    heads = [sum(f"styles.{i}.convs.{2 * n}.weight" in weights for n in range(12)) for i in _numbers(weights, "styles")]
    lateral = [weights[key].shape[1] for key in ("latlayer1.weight", "latlayer2.weight") if key in weights]
    return {
        "in_channels": weights["input_layer.0.weight"].shape[1],
        "units": _units(weights),
        "style_dim": weights["styles.0.linear.weight"].shape[0],
        "halvings": tuple(heads),
        "second_stem": "input_layer_updated_canvas.0.weight" in weights,
        "identities": "id_layers.0.weight" in weights,
        "pyramid": tuple(lateral) or None,
        "order": ENCODER_TYPES[kind],
    }


def face_config(weights: Mapping[str, Tensor], hints: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of FaceNetwork for these weights."""
    features, inputs = weights["output_layer.3.weight"].shape
    units = _units(weights)
    return {
        "units": units,
        "features": features,
        "side": round((inputs / units[-1].out) ** 0.5),
        "in_channels": weights["input_layer.0.weight"].shape[1],
    }


def _units(weights: Mapping[str, Tensor]) -> tuple[Unit, ...]:
    if "body.0.res_layer.5.fc1.weight" not in weights:
        raise Unsupported("This encoder's body has no squeeze and excitation (it is `ir`); `ir_se` is supported.")
    found = []
    for i in _numbers(weights, "body"):
        out, channels = weights[f"body.{i}.res_layer.1.weight"].shape[:2]
        found.append(Unit(channels, out, weights[f"body.{i}.res_layer.5.fc1.weight"].shape[0]))
    return tuple(found)


def _numbers(weights: Mapping[str, Tensor], part: str) -> Iterator[int]:
    """0, 1, 2, ... as far as keys begin with `part.NUMBER.`."""
    known = {key.split(".")[1] for key in weights if key.startswith(f"{part}.")}
    i = 0
    while str(i) in known:
        yield i
        i += 1
