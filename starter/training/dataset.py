"""Renders of the starter world, and what is in them in words: kept in files for every training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..world import render_batch
from .maps import memory_mapped

CHUNK = 250


def _chunk(job: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    first, size = job
    scenes = render_batch(range(first, first + CHUNK), size)
    return np.stack([scene.image for scene in scenes]), [scene.caption for scene in scenes]


def rendered_images(folder: Path, count: int, size: int, workers: int = 2) -> np.ndarray:
    """Images of seeds 0..count-1 as a read-only memory map [count, size, size, 3] uint8, rendered if absent."""
    count = -(-count // CHUNK) * CHUNK
    path = Path(folder) / f"world_{size}_{count}.npy"
    jobs, captions = [(first, size) for first in range(0, count, CHUNK)], []
    (images,) = memory_mapped({path: (count, size, size, 3)}, _chunk, jobs, workers, "scenes", captions)
    if captions:
        words = json.dumps([caption for chunk in captions for caption in chunk])
        path.with_suffix(".json").write_text(words, encoding="utf-8")
    return images


def rendered_scenes(folder: Path, count: int, size: int, workers: int = 2) -> tuple[np.ndarray, list[str]]:
    """rendered_images, and the captions of the same seeds."""
    count = -(-count // CHUNK) * CHUNK
    path = Path(folder) / f"world_{size}_{count}"
    if not path.with_suffix(".json").is_file():
        path.with_suffix(".npy").unlink(missing_ok=True)
    images = rendered_images(folder, count, size, workers)
    return images, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
