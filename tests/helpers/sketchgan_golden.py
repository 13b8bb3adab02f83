"""The recorded numbers of the sketch GAN (tests/golden/sketchgan): weights, noise and inputs by the formula of their
README, so that only outputs are stored. Recorded in float64."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from helpers import GOLDEN
from helpers.golden_files import load_file

FOLDER = GOLDEN / "sketchgan"
ROOT3 = math.sqrt(3)
TRANSPOSED = ("from_noise_32.1.", "from_style.1.", "from_style_32.0.")


def uniform(name: str, seed: int, shape: Any, low: float, high: float) -> Tensor:
    """splitmix64 of the name and the place, in C order; float32 values."""
    count = int(np.prod(shape))
    start = ((zlib.crc32(name.encode()) | seed << 32) * 0x9E3779B97F4A7C15) % 2**64
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64(start)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    share = (z >> np.uint64(11)).astype(np.float64) / 2**53
    return torch.from_numpy((low + (high - low) * share).astype(np.float32)).reshape(tuple(shape))


def noise(count: int, seed: int, shape: Any) -> Tensor:
    """What the count-th call of randn was made to return."""
    return uniform(f"noise{count}", seed, shape, -ROOT3, ROOT3)


def noises(network: Any, seed: int, batch: int = 2) -> list[Tensor]:
    """What the generator's calls of randn were made to return, in order."""
    return [noise(i, seed, shape) for i, shape in enumerate(network.noise_shapes(batch))]


def worst(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).abs().max())


def _limits(name: str, shape: torch.Size, gain: float) -> tuple[float, float]:
    last = name.rpartition(".")[2]
    if last in ("running_mean", "running_var"):
        return (-0.1, 0.1) if last == "running_mean" else (0.75, 1.25)
    if last == "base_feat" or last.startswith("bs_"):
        return -ROOT3, ROOT3
    if len(shape) == 4 and shape[0] == shape[2] == shape[3] == 1 and shape[1] > 1:
        return (0.7, 1.3) if last in ("weight_a", "weight_b") else (-0.3, 0.3)
    if len(shape) >= 2:
        most = gain * ROOT3 / math.sqrt(shape.numel() / shape[0])
        return -most, most
    return (0.8, 1.2) if last in ("weight", "weight_orig") else (-0.1, 0.1)


def weights(shapes: Mapping[str, Any], prefix: str, seed: int, gain: float = 1.2) -> dict[str, Tensor]:
    """The weights of a network with these tensors, float32, spectral vectors after 30 power iterations."""
    made: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        shape, name = torch.Size(shape), prefix + key
        if key.endswith("num_batches_tracked"):
            made[key] = torch.zeros(shape, dtype=torch.int64)
        elif not key.endswith(("weight_u", "weight_v")):
            made[key] = uniform(name, seed, shape, *_limits(name, shape, gain))
    for key in shapes:
        if key.endswith("weight_u"):
            layer = key.removesuffix("weight_u")
            weight = made[layer + "weight_orig"].double()
            matrix = weight.transpose(0, 1) if layer in TRANSPOSED else weight
            matrix = matrix.reshape(len(matrix), -1)
            u = normalize(uniform(prefix + key, seed, matrix.shape[:1], -1, 1).double(), dim=0)
            v = u
            for _ in range(30):
                v = normalize(matrix.T @ u, dim=0)
                u = normalize(matrix @ v, dim=0)
            made[key], made[layer + "weight_v"] = u.float(), v.float()
    return made


def fill(network: nn.Module, prefix: str, seed: int, gain: float = 1.2) -> Any:
    """The network with the formula's weights, in float64 and eval mode; it must be in training form (spectral)."""
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    network.load_state_dict(weights(shapes, prefix, seed, gain))
    return network.double().eval()


def recorded(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and scalars of one recording."""
    scalars = FOLDER / f"{name}.json"
    return load_file(FOLDER / f"{name}.safetensors"), json.loads(scalars.read_text())["scalars"]


def grown(thumbnail: Tensor, side: int = 512) -> Tensor:
    """The input behind a thumbnail, in float64: every pixel repeated."""
    times = side // thumbnail.shape[-1]
    return thumbnail.double().repeat_interleave(times, -1).repeat_interleave(times, -2)


def checks(value: Tensor) -> list[float]:
    """How the recordings describe a weight: its sum, absolute sum, and sum against cos(.7 i)."""
    flat = value.detach().double().flatten()
    wave = torch.cos(0.7 * torch.arange(len(flat), dtype=torch.float64))
    return [float(flat.sum()), float(flat.abs().sum()), float((flat * wave).sum())]


def misses(network: nn.Module, prefix: str, known: Mapping[str, list[float]], share: float) -> list[str]:
    """The tensors of a network that differ from their recorded checks by more than `share` of their absolute sum, or
    that the recording does not have."""
    wrong = []
    for key, value in network.state_dict().items():
        expected = known.get(prefix + key)
        found = checks(value)
        if expected is None or max(abs(a - b) for a, b in zip(found, expected, strict=True)) > share * (
            expected[1] + 1e-12
        ):
            wrong.append(f"{prefix}{key}: {found}, recorded {expected}")
    return wrong
