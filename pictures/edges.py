"""A pencil drawing of a photo without any weights, differentiable everywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

LUMINANCE = (0.299, 0.587, 0.114)
COLOUR = 1.2  # weight of differences in hue relative to those in brightness
PEN = 0.8  # standard deviation of the smoothing, in pixels of a picture up to 128; larger ones get a broader pen
NEAR, WIDE = 1.84, 4.0  # neighbourhoods in which a contour must stand out: in pen widths, and in 1/64 of the side
FAINT = 0.06  # contrast that is drawn half as dark as the strongest
BUSY = 0.15  # how much surrounding texture weakens a contour
# Chosen by eye, starting from the values whose blurred ink was closest to the starter world's own sketches at 64 and
# 160 pixels.


def draw_edges(x: Tensor) -> Tensor:
    """[B,3,H,W] in [0,1] -> [B,1,H,W] in [0,1], 1 = paper, 0 = ink.

    The gradient of brightness and hue, after a square root (so that night scenes have lines too), thinned by requiring
    it to be steeper than its close surroundings, and lightened where the wider surroundings are busy.
    """
    from kornia.filters import gaussian_blur2d, spatial_gradient

    def blur(image: Tensor, sigma: float) -> Tensor:
        width = 2 * math.ceil(2.5 * sigma) + 1
        return gaussian_blur2d(image, (width, width), (sigma, sigma), border_type="replicate")

    height, width = x.shape[-2:]
    short = min(height, width)
    pen = PEN * max(1.0, short / 128)
    slope = spatial_gradient(blur(_opponents(x), pen)) * (pen / PEN)
    power = slope.square().sum((1, 2))[:, None]
    ridge = power / (blur(power, pen * NEAR / PEN) + 1e-7)
    scale = min(1.0, 64 / short)
    small = [max(1, round(side * scale)) for side in (height, width)]
    around = interpolate(power, small, mode="bilinear", antialias=True) if scale < 1 else power
    around = interpolate(blur(around, WIDE), (height, width), mode="bilinear")
    strength = power / (power + FAINT**2 + BUSY * around)
    return 1 - torch.tanh(2 * strength * torch.sigmoid(6 * (ridge - 1)))


def _opponents(x: Tensor) -> Tensor:
    """Brightness, red against green and blue against brightness of the square roots: [B,3,H,W]."""
    x = (x.clamp_min(0) + 0.023).sqrt()
    red, green, blue = x.unbind(1)
    light = (x * x.new_tensor(LUMINANCE)[:, None, None]).sum(1)
    return torch.stack([light, COLOUR * (red - green), COLOUR * (blue - light)], 1)
