"""The low-pass of Inversion-by-Inversion, ILVR and EGSDE: what an image looks like on a coarse grid of cells.

Reduced with an antialiased triangle filter and enlarged again linearly; separable, so each axis is two small matrices.
Cells have half-pixel centres, and the picture is mirrored beyond its edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def low_pass(x: Tensor, N: float | None = None, *, grid: int | None = None) -> Tensor:
    """The low frequencies of x [..., H, W], same shape, float32, differentiable and linear in x.

    N: side of a cell in pixels (64 at 256 px, as published). grid: number of cells along the shorter side, 1 to that
    side. Give one of the two. The longer side gets as many cells as keep them square.
    """
    return low_passer(x.shape[-2], x.shape[-1], x.device, N, grid=grid)(x)


def low_passer(
    height: int, width: int, device: torch.device | str, N: float | None = None, *, grid: int | None = None
) -> Callable[[Tensor], Tensor]:
    """low_pass for pictures of one size, whose matrices are made once: they cost more than their products. Make it
    where it is used, because a gradient cannot pass through matrices from inference mode."""
    counts = cells(height, width, N, grid)
    (down_rows, up_rows), (down_columns, up_columns) = (
        [matrix.to(device) for matrix in matrices(n, count)] for n, count in zip((height, width), counts, strict=True)
    )

    def passed(x: Tensor) -> Tensor:
        small = down_rows @ x.float() @ down_columns.T
        return up_rows @ small @ up_columns.T

    return passed


def cells(height: int, width: int, N: float | None = None, grid: int | None = None) -> tuple[int, int]:
    """The number of cells (down, across) that a picture is divided into. ValueError: an impossible N or grid."""
    if (N is None) == (grid is None):
        raise ValueError("Give the low-pass either N, the side of a cell, or grid, the cells along the shorter side.")
    if grid is None:
        return _cell_count(height, N or 0), _cell_count(width, N or 0)
    short = min(height, width)
    if not 1 <= grid <= short:
        raise ValueError(f"A grid of {grid} cells does not fit a side of {short} pixels. Choose 1 to {short}.")
    return round(height * grid / short), round(width * grid / short)


def _cell_count(n: int, N: float) -> int:
    if not N >= 1:
        raise ValueError(f"A low-pass cell is 1 pixel or more, got {N:g}.")
    return math.ceil(n / N)


def matrices(n: int, count: int) -> tuple[Tensor, Tensor]:
    """(D [count, n], U [n, count]) of one axis of n pixels and `count` cells, float32: low-pass = U D.

    Not cached: a matrix made inside the host's inference mode could not take part in a later gradient.
    """
    return _resampling(n, count), _resampling(count, n)


def _resampling(old: int, new: int) -> Tensor:
    """[new, old]: a triangle around each new pixel, as wide as the coarser pixels are, mirrored at the edges."""
    scale = old / new
    half = max(scale, 1.0)
    centre = (torch.arange(new, dtype=torch.float64) + 0.5) * scale - 0.5
    tap = (centre - half).floor()[:, None] + torch.arange(math.ceil(2 * half) + 2)
    weight = (1 - (tap - centre[:, None]).abs() / half).clamp(min=0)
    inside = tap.long() % (2 * old)
    inside = torch.minimum(inside, 2 * old - 1 - inside)
    matrix = torch.zeros(new, old, dtype=torch.float64).scatter_add_(1, inside, weight)
    return (matrix / matrix.sum(1, keepdim=True)).float()
