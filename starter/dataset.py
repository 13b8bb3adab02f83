"""Renders of the starter world as one memory-mapped file, made once and shared by every training run."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from .world import render_batch

CHUNK = 250


def _images(job: tuple[int, int]) -> np.ndarray:
    first, size = job
    return np.stack([scene.image for scene in render_batch(range(first, first + CHUNK), size)])


def rendered_images(folder: Path, count: int, size: int, workers: int = 2, report=print) -> np.ndarray:
    """Images of seeds 0..count-1 as a read-only memory map [count, size, size, 3] uint8, rendered if absent."""
    count = -(-count // CHUNK) * CHUNK
    path = Path(folder) / f"world_{size}_{count}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        images = np.lib.format.open_memmap(part, "w+", np.uint8, (count, size, size, 3))
        with ProcessPoolExecutor(workers) as pool:
            jobs = [(first, size) for first in range(0, count, CHUNK)]
            for (first, _), chunk in zip(jobs, pool.map(_images, jobs), strict=True):
                images[first : first + CHUNK] = chunk
                if first // CHUNK % 20 == 0:
                    report(f"rendered {first + CHUNK} of {count} scenes")
        images.flush()
        os.replace(part, path)
    return np.load(path, mmap_mode="r")
