"""Reads the golden numbers in tests/golden. Random weights and noise are not stored but drawn anew: NAME.draws.json
says from which seed, and tests/golden/README.md how."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor


@functools.lru_cache(maxsize=2)
def _uniforms(seed: int, count: int) -> np.ndarray:
    """The first `count` numbers in [0, 1) of torch.manual_seed(seed) on the CPU: the low 24 bits of MT19937's words.
    NumPy guarantees this stream for good, which torch does not."""
    words = np.frombuffer(np.random.RandomState(seed).bytes(4 * count), dtype="<u4")
    return (words & 0xFFFFFF) / 2**24


def _box_muller(uniforms: np.ndarray) -> np.ndarray:
    """Normal numbers as torch.randn makes them, from blocks of 8 radii and 8 angles: [n, 16] -> [n, 16]. Rounded to
    float32 where torch rounds; the functions themselves in float64, because float32 ones differ between machines."""
    uniforms = uniforms.astype(np.float32)
    logarithm = np.log(1 - uniforms[:, :8].astype(np.float64)).astype(np.float32)
    radius = np.sqrt(-2 * logarithm)
    angle = (np.float32(2 * np.pi) * uniforms[:, 8:]).astype(np.float64)
    return np.concatenate([radius * f(angle).astype(np.float32) for f in (np.cos, np.sin)], axis=1)


def normals(seed: int, offset: int, count: int) -> np.ndarray:
    """What torch.randn(count) returned `offset` words after torch.manual_seed(seed), in float32; count is 16 or more.
    A last block that is not full overlaps the one before it and has words of its own, as in torch."""
    whole = count // 16 * 16
    # Rounded up, so that the tensors of one file share a stream.
    stream = _uniforms(seed, -(-(offset + count + 16) // 2**22) * 2**22)[offset:]
    values = np.empty(count, np.float32)
    values[:whole] = _box_muller(stream[:whole].reshape(-1, 16)).ravel()
    if count > whole:
        values[-16:] = _box_muller(stream[count : count + 16].reshape(1, 16)).ravel()
    return values


def load_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a golden file by name: those stored in NAME.safetensors and those that NAME.draws.json lists."""
    stored = safetensors.torch.load_file(path) if path.is_file() else {}
    drawn = path.with_suffix(".draws.json")
    if not drawn.is_file():
        if not stored:
            raise FileNotFoundError(path)
        return stored
    table = json.loads(drawn.read_text(encoding="utf-8"))
    dtype = getattr(torch, table.get("dtype", "float32"))
    for name, (shape, mean, std, offset) in table["tensors"].items():
        values = np.float32(mean) + np.float32(std) * normals(table["seed"], offset, int(np.prod(shape)))
        stored[name] = torch.from_numpy(values).to(dtype).reshape(shape)
    for name, (places, exact) in table.get("exact", {}).items():
        stored[name].view(-1)[places] = torch.tensor(exact, dtype=dtype)
    return stored
