"""Weights and inputs of golden files that are not stored but made from their names: a hash of (name, place, seed).

shared/golden/detfill.py says how; a table of a golden file's JSON lists [shape, mean, spread] for each tensor.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

_GOLDEN, _ONE, _TWO = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def draw(name: str, shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Uniform numbers of mean 0 and variance 1, in float64."""
    with np.errstate(over="ignore"):  # 64 bits that wrap around
        x = np.arange(math.prod(shape), dtype=np.uint64)
        x += (np.uint64(zlib.crc32(name.encode())) << np.uint64(32)) + np.uint64(seed) * _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * _ONE
        x = (x ^ (x >> np.uint64(27))) * _TWO
        x ^= x >> np.uint64(31)
    return ((2 * ((x >> np.uint64(11)).astype(np.float64) / 2**53) - 1) * math.sqrt(3)).reshape(tuple(shape))


def tensor(name: str, shape: Sequence[int], seed: int = 0, mean: float = 0.0, spread: float = 1.0) -> Tensor:
    """mean + spread * draw, in float32."""
    return torch.from_numpy((mean + spread * draw(name, shape, seed)).astype(np.float32))


def weights(table: Mapping[str, Any], seed: int, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a table {key: [shape, mean, spread]}; those without numbers (counters, filters) are left out."""
    return {
        key: tensor(prefix + key, shape, seed, mean, spread)
        for key, (shape, mean, spread) in table.items()
        if mean is not None
    }


def smooth(name: str, shape: Sequence[int], seed: int = 0) -> Tensor:
    """A blurred picture in [-1, 1], [B,C,H,W]."""
    blurred = avg_pool2d(pad(tensor(name, shape, seed), (4, 4, 4, 4), mode="reflect"), 9, stride=1)
    return (6 * blurred).clamp(-1, 1)
