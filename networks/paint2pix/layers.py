"""Layers of StyleGAN2 (Karras et al., arXiv 1912.04958) under the key names of rosinality's port, in plain torch.

Weights are kept at unit scale and multiplied at run time ("equalised learning rate"). Nothing here needs a compiler.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear, pad

SLOPE, GAIN = 0.2, math.sqrt(2)
TAPS = (1.0, 3.0, 3.0, 1.0)


def fir(taps: tuple[float, ...] = TAPS, gain: float = 1.0, **kw: Any) -> Tensor:
    """The 2D filter [n,n] of a 1D one: its outer product, of sum `gain`."""
    line = torch.tensor(taps, **kw)
    return torch.outer(line, line) / sum(taps) ** 2 * gain


def upfirdn(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0)) -> Tensor:
    """Zeros between samples, padding, a filter, and every down-th sample: [B,C,H,W] -> [B,C,H',W'].

    up - 1 zeros follow each sample; padding (before, after) holds for both axes and crops where it is negative; the
    kernel [n,m] is flipped, as in a convolution. H' = (H up + before + after - n) // down + 1.
    """
    channels = x.shape[1]
    if up > 1:
        rows, columns = x.shape[2:]
        wide = x.new_zeros(*x.shape[:2], rows, up, columns, up)
        wide[:, :, :, 0, :, 0] = x
        x = wide.view(*x.shape[:2], rows * up, columns * up)
    x = pad(x, (*padding, *padding))
    weight = kernel.to(x).flip(0, 1).expand(channels, 1, *kernel.shape)
    return conv2d(x, weight, stride=down, groups=channels)


class Filter(nn.Module):
    """upfirdn with a stored kernel. Enlarging by `up` multiplies it by up^2, so that the mean stays.

    padding: before and after. length: taps of the kernel per axis; other lengths than 4 get their numbers from a file.
    """

    kernel: Tensor

    def __init__(
        self, padding: tuple[int, int], *, up: int = 1, gain: float = 1.0, length: int = 4, device: Any = None, **_: Any
    ) -> None:
        super().__init__()
        self.padding, self.up = padding, up
        taps = TAPS if length == len(TAPS) else (1.0,) * length
        self.register_buffer("kernel", fir(taps, gain, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn(x, self.kernel, self.up, padding=self.padding)


class FilterUp(Filter):
    """Twice the size."""

    def __init__(self, length: int = 4, **kw: Any) -> None:
        spare = length - 2
        super().__init__(((spare + 1) // 2 + 1, spare // 2), up=2, gain=4, length=length, **kw)


def before_down(kernel: int, length: int = 4) -> tuple[int, int]:
    """The padding of the filter before a convolution of this kernel with stride 2: half the size comes out."""
    spare = length - 2 + kernel - 1
    return (spare + 1) // 2, spare // 2


def after_up(kernel: int, length: int = 4) -> tuple[int, int]:
    """The padding of the filter after a transposed convolution of this kernel with stride 2: twice the size."""
    spare = length - 2 - (kernel - 1)
    return (spare + 1) // 2 + 1, spare // 2 + 1


class Activate(nn.Module):
    """sqrt(2) LeakyReLU(x + bias), slope .2; x [B,C,...]."""

    def __init__(self, channels: int, **kw: Any) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, **kw))

    def forward(self, x: Tensor) -> Tensor:
        return activated(x, self.bias)


def activated(x: Tensor, bias: Tensor) -> Tensor:
    """sqrt(2) LeakyReLU(x + bias), slope .2; bias per channel of x [B,C,...]."""
    return leaky_relu(x + bias.to(x).view(1, -1, *(1,) * (x.dim() - 2)), SLOPE) * GAIN


class EqualLinear(nn.Module):
    """x W^T rate/sqrt(in) + rate b, then with `activate` sqrt(2) LeakyReLU; x [...,in] -> [...,out]."""

    def __init__(
        self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0, activate: bool = False, **kw: Any
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, **kw) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias), **kw))
        self.scale, self.rate, self.activate = rate / math.sqrt(inputs), rate, activate

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias.to(x) * self.rate
        x = linear(x, self.weight.to(x) * self.scale)
        return activated(x, bias) if self.activate else x + bias


class EqualConv(nn.Module):
    """A convolution without bias whose weight is multiplied by 1/sqrt(in k k)."""

    def __init__(
        self, channels: int, out: int, kernel: int, *, stride: int = 1, padding: int | None = None, **kw: Any
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, kernel, kernel, **kw))
        self.scale = 1 / math.sqrt(channels * kernel**2)
        self.stride, self.padding = stride, kernel // 2 if padding is None else padding

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight.to(x) * self.scale, stride=self.stride, padding=self.padding)


class Modulated(nn.Module):
    """A convolution whose weight is scaled by a style, per picture and input channel (section 2.2 of the paper).

    layer(x [B,in,H,W], style [B,style_dim]) -> [B,out,H',W']. demodulate: each output's weights are divided by their
    length. resize: "up" doubles the size, "down" halves it, "" keeps it; the filter is `blur`. In train mode the maps
    are scaled instead of the weights: the same numbers but for rounding, by one convolution for the whole batch.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        style_dim: int,
        *,
        demodulate: bool = True,
        resize: str = "",
        length: int = 4,
        **kw: Any,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out, channels, kernel, kernel, **kw))
        self.modulation = EqualLinear(style_dim, channels, bias=1, **kw)
        self.scale = 1 / math.sqrt(channels * kernel**2)
        self.demodulate, self.resize = demodulate, resize
        if resize == "up":
            self.blur = Filter(after_up(kernel, length), gain=4, length=length, **kw)
        elif resize == "down":
            self.blur = Filter(before_down(kernel, length), length=length, **kw)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        if self.training:
            return self._by_maps(x, self.modulation(style))
        batch, channels = x.shape[:2]
        weight = self.scale * self.weight.to(x) * self.modulation(style)[:, None, :, None, None]  # [B,out,in,k,k]
        if self.demodulate:
            weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        if self.resize == "down":
            x = self.blur(x)
        x = x.reshape(1, batch * channels, *x.shape[2:])  # a group per picture: each has weights of its own
        if self.resize == "up":
            x = conv_transpose2d(x, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
        elif self.resize == "down":
            x = conv2d(x, weight.flatten(0, 1), stride=2, groups=batch)
        else:
            x = conv2d(x, weight.flatten(0, 1), padding=weight.shape[-1] // 2, groups=batch)
        x = x.view(batch, -1, *x.shape[2:])
        return self.blur(x) if self.resize == "up" else x

    def _by_maps(self, x: Tensor, style: Tensor) -> Tensor:
        """The same with style [B,in] on the maps: faster where weights learn, above all in half precision."""
        weight = self.scale * self.weight[0]
        x = x * style[:, :, None, None].to(x)
        if self.resize == "up":
            x = conv_transpose2d(x, weight.to(x).transpose(0, 1), stride=2)
        elif self.resize == "down":
            x = conv2d(self.blur(x), weight.to(x), stride=2)
        else:
            x = conv2d(x, weight.to(x), padding=weight.shape[-1] // 2)
        if self.demodulate:
            squares = weight.square().sum((2, 3)) * style.to(weight).square()[:, None]  # [B,out,in]
            x = x * (squares.sum(2) + 1e-8).rsqrt().to(x)[:, :, None, None]
        return self.blur(x) if self.resize == "up" else x
