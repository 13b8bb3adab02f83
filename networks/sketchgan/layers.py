"""Layers of the self-supervised sketch GAN (Liu et al., AAAI 2021, arXiv 2012.09290), under the published key names.

Many of them are spectrally normalised: the weight is divided by its largest singular value. Training needs the
published form (weight_orig, and the vectors weight_u and weight_v, updated at each call in training mode). For
inference the division is done once, by `fold`, which leaves ordinary layers that a host can move and cast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, interpolate, normalize

from ..errors import Unsupported

# Transposed convolutions: the outputs, which are the rows of the matrix, are the second axis of their weight.
TRANSPOSED = ("from_noise_32.1", "from_style.1", "from_style_32.0")


class CallOptions(NamedTuple):
    """Per-call options for nested layers.

    batch: batch norms use the batch's own statistics and keep nothing, whatever their mode. noise: what the noise
    layers add, in the order in which they run.
    """

    batch: bool = False
    noise: Iterator[Tensor] = iter(())


PLAIN = CallOptions()


class Conditioned(nn.Module):
    """A layer whose forward takes CallOptions: layer(x, options)."""


class ConditionedSequential(nn.Sequential, Conditioned):
    """nn.Sequential that passes the options on to `Conditioned` layers and applies them to batch norms."""

    def forward(self, x: Tensor, options: CallOptions = PLAIN) -> Tensor:
        for layer in self:
            if isinstance(layer, Conditioned):
                x = layer(x, options)
            elif options.batch and isinstance(layer, nn.BatchNorm2d):
                x = by_batch(layer, x)
            else:
                x = layer(x)
        return x


def by_batch(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """The batch norm with the statistics of x [B,C,H,W] itself; `norm` is not changed.

    A single value per channel has no statistics, so there the running ones are used.
    """
    if x.numel() == x.shape[1]:
        return norm(x)
    weight = norm.weight_orig / norm.sigma() if isinstance(norm, SpectralBatchNorm) else norm.weight
    return batch_norm(x, None, None, weight.to(x), norm.bias.to(x), True, eps=norm.eps)


# --- spectral normalisation -------------------------------------------------------------------------------------------


def largest(weight: Tensor, u: Tensor, v: Tensor, transposed: bool = False) -> Tensor:
    """sigma = u^T W v, where W has the outputs as rows: [out, everything else] (a vector is a matrix of one column)."""
    return torch.dot(u, torch.mv(_matrix(weight, transposed), v))


def _matrix(weight: Tensor, transposed: bool) -> Tensor:
    return (weight.transpose(0, 1) if transposed else weight).reshape(weight.shape[transposed], -1)


class Spectral(nn.Module):
    """Mixed into a layer: its weight is stored as weight_orig, with weight_u and weight_v beside it."""

    transposed = False
    weight_orig: nn.Parameter
    weight_u: Tensor
    weight_v: Tensor

    def normalised(self) -> None:
        """Called once the layer is built; the vectors start at random."""
        weight = self._parameters.pop("weight")
        assert weight is not None
        self.register_parameter("weight_orig", weight)  # after the bias, as in published files
        rows = weight.shape[self.transposed]
        for name, length in (("weight_u", rows), ("weight_v", weight.numel() // rows)):
            vector = weight.detach().new_empty(length)
            self.register_buffer(name, vector if vector.is_meta else normalize(vector.normal_(), dim=0))

    def sigma(self) -> Tensor:
        """The largest singular value, after one more power iteration in training mode."""
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            if self.training:
                with torch.no_grad():
                    matrix = _matrix(self.weight_orig, self.transposed)
                    self.weight_v.copy_(normalize(torch.mv(matrix.T, self.weight_u), dim=0))
                    self.weight_u.copy_(normalize(torch.mv(matrix, self.weight_v), dim=0))
            # copies, because a later call updates the vectors while autograd still needs these
            return largest(self.weight_orig, self.weight_u.clone(), self.weight_v.clone(), self.transposed)


class SpectralConv2d(nn.Conv2d, Spectral):
    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.normalised()

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight_orig / self.sigma(), self.bias)


class SpectralConvTranspose2d(nn.ConvTranspose2d, Spectral):
    transposed = True

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.normalised()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv_transpose2d(x, self.weight_orig / self.sigma(), self.bias)


class SpectralLinear(nn.Linear, Spectral):
    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.normalised()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight_orig / self.sigma(), self.bias)


class SpectralBatchNorm(nn.BatchNorm2d, Spectral):
    """The affine weight is a matrix of one column: it is divided by its length."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.normalised()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
        weight, momentum = self.weight_orig / self.sigma(), self.momentum or 0.0
        return batch_norm(x, self.running_mean, self.running_var, weight, self.bias, self.training, momentum, self.eps)


def fold(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network's weights with every spectral norm divided out: `weight` instead of weight_orig, _u and _v."""
    folded = {}
    for key, value in weights.items():
        layer, _, name = key.rpartition(".")
        if name == "weight_orig":
            exact = torch.promote_types(value.dtype, torch.float32)
            u, v = (weights[f"{layer}.{vector}"].to(value.device, exact) for vector in ("weight_u", "weight_v"))
            sigma = largest(value.to(exact), u, v, layer.endswith(TRANSPOSED))
            folded[f"{layer}.weight"] = (value.to(exact) / sigma).to(value.dtype)
        elif name not in ("weight_u", "weight_v"):
            folded[key] = value
    return folded


class Layers:
    """Makes layers: ordinary ones from `ops`, or, if `spectral` is set, spectrally normalised ones from torch."""

    def __init__(self, ops: Any = nn, spectral: bool = False, **kw: Any) -> None:
        self.ops, self.spectral, self.kw = ops, spectral, kw

    def conv(
        self,
        channels: int,
        out: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        sn: bool = False,
        **more: Any,
    ) -> nn.Module:
        """No bias by default. Kernels of 3 and 5 keep the size, those of 4 with stride 2 halve it."""
        make = SpectralConv2d if sn and self.spectral else self.ops.Conv2d
        more = {"bias": False, **more, **self.kw}
        return make(channels, out, kernel, stride, (kernel - 1) // 2 if padding is None else padding, **more)

    def grow(self, channels: int, out: int, side: int) -> nn.Module:
        """From one pixel to side x side."""
        make = SpectralConvTranspose2d if self.spectral else self.ops.ConvTranspose2d
        return make(channels, out, side, bias=False, **self.kw)

    def linear(self, channels: int, out: int, *, sn: bool = False, bias: bool = True) -> nn.Module:
        make = SpectralLinear if sn and self.spectral else self.ops.Linear
        return make(channels, out, bias=bias, **self.kw)

    def norm(self, channels: int, *, sn: bool = False) -> nn.Module:
        make = SpectralBatchNorm if sn and self.spectral else self.ops.BatchNorm2d
        return make(channels, **self.kw)

    def numbers(self, *shape: int, value: float = 0.0) -> nn.Parameter:
        return nn.Parameter(torch.full(shape, value, **self.kw))


# --- small parts ------------------------------------------------------------------------------------------------------


class GLU(nn.Module):
    """The first half of the channels times the sigmoid of the second."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.glu(x, 1)


class ToPixel(nn.Module):
    """[B,C] -> [B,C,1,1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, None, None]


class Noise(Conditioned):
    """x + w n: n [B,1,H,W] is the next noise in the call's options."""

    def __init__(self, channels: int, layers: Layers) -> None:
        super().__init__()
        self.weight = layers.numbers(1, channels, 1, 1)

    def forward(self, x: Tensor, options: CallOptions) -> Tensor:
        weight = self.weight.to(x.device)
        return x + weight * next(options.noise).to(weight)


class SqueezeExcite(nn.Module):
    """Scales channels by what the whole map says about them."""

    def __init__(self, channels: int, layers: Layers) -> None:
        super().__init__()
        narrow = channels // 16
        self.fc = nn.Sequential(
            layers.linear(channels, narrow, sn=True, bias=False),
            nn.ReLU(),
            layers.linear(narrow, channels, sn=True, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class Residual(Conditioned):
    """x + main(x)."""

    def __init__(self, *main: nn.Module) -> None:
        super().__init__()
        self.main = ConditionedSequential(*main)

    def forward(self, x: Tensor, options: CallOptions) -> Tensor:
        return x + self.main(x, options)


def encoding_residual(channels: int, layers: Layers) -> Residual:
    """Two 3x3 convolutions behind norms and Swish."""
    return Residual(
        layers.norm(channels, sn=True),
        nn.SiLU(),
        layers.conv(channels, channels, 3, sn=True),
        layers.norm(channels, sn=True),
        nn.SiLU(),
        layers.conv(channels, channels, 3, sn=True),
        SqueezeExcite(channels, layers),
    )


def generating_residual(channels: int, layers: Layers) -> Residual:
    """Four times as wide inside, with a depthwise 5x5 convolution; no activation after the first norm."""
    wide = 4 * channels
    return Residual(
        layers.norm(channels, sn=True),
        layers.conv(channels, wide, 1, sn=True),
        layers.norm(wide, sn=True),
        nn.SiLU(),
        layers.conv(wide, wide, 5, groups=wide, sn=True),
        layers.norm(wide, sn=True),
        nn.SiLU(),
        layers.conv(wide, channels, 1, sn=True),
        layers.norm(channels, sn=True),
        SqueezeExcite(channels, layers),
    )


class DualMaskInjection(nn.Module):
    """a f m + c + b f (1 - m) + d. The content map m is used as it is, although it is not a mask of 0 and 1.

    A mask with fewer channels is repeated; one of another size is resized to f's height by nearest pixels.
    """

    def __init__(self, channels: int, layers: Layers) -> None:
        super().__init__()
        self.weight_a, self.weight_b = (layers.numbers(1, channels, 1, 1, value=value) for value in (1.01, 0.99))
        self.bias_a, self.bias_b = (layers.numbers(1, channels, 1, 1, value=value) for value in (0.01, -0.01))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        a, b, c, d = (value.to(x.device) for value in (self.weight_a, self.weight_b, self.bias_a, self.bias_b))
        if mask.shape[1] < x.shape[1]:
            mask = mask.repeat(1, x.shape[1] // mask.shape[1], 1, 1)
        if mask.shape[2] != x.shape[2]:
            mask = interpolate(mask, size=(x.shape[2], x.shape[2]))
        return a * x * mask + c + b * x * (1 - mask) + d


def gate(vector: int, out: int, layers: Layers, *, sn: bool = False) -> ConditionedSequential:
    """From a style vector [B,vector] to one factor per channel [B,out], in (0,1)."""
    return ConditionedSequential(layers.linear(vector, out, sn=sn), nn.ReLU(), layers.linear(out, out), nn.Sigmoid())


class NormedGate(ConditionedSequential):
    """A gate that ends in a batch norm, so that its factors have both signs."""

    def __init__(self, vector: int, out: int, layers: Layers) -> None:
        super().__init__(layers.linear(vector, out), nn.ReLU(), layers.linear(out, out), layers.norm(out))

    def forward(self, x: Tensor, options: CallOptions = PLAIN) -> Tensor:
        first, relu, second, norm = self
        return norm(second(relu(first(x)))[:, :, None, None])[:, :, 0, 0]


def up(channels: int, out: int, layers: Layers, *, noisy: bool) -> ConditionedSequential:
    """Twice the size by nearest pixels, a 3x3 convolution, a norm and GLU; noisy (the GAN's): noise after the norm."""
    conv = layers.conv(channels, 2 * out, 3, sn=noisy)
    norms = (layers.norm(2 * out), Noise(2 * out, layers)) if noisy else (nn.InstanceNorm2d(2 * out),)
    return ConditionedSequential(nn.Upsample(scale_factor=2), conv, *norms, GLU())


def down(channels: int, out: int, layers: Layers) -> tuple[nn.Module, ...]:
    """Half the size: a 4x4 convolution, batch norm, LeakyReLU."""
    return layers.conv(channels, out, 4, stride=2, sn=True), layers.norm(out), nn.LeakyReLU(0.2)


def check(what: str, size: int, known: Sequence[int], width: int) -> None:
    """ValueError: a size or a width that these networks do not support."""
    if size not in known:
        listed = ", ".join(map(str, known[:-1])) + f" or {known[-1]}"
        raise Unsupported(f"{what} works at {listed} pixels a side, not {size}: choose one of those sizes.")
    if width < 8 or width % 8:
        raise Unsupported(f"{what} has a width (nfc) that is a multiple of 8, such as 64, not {width}.")
