"""Renders of the starter world as one memory-mapped file, made once and shared by every training run."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from ..world import render_batch

CHUNK = 250


def _chunk(job: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    first, size = job
    scenes = render_batch(range(first, first + CHUNK), size)
    return np.stack([scene.image for scene in scenes]), [scene.caption for scene in scenes]


def rendered_images(folder: Path, count: int, size: int, workers: int = 2, report=print) -> np.ndarray:
    """Images of seeds 0..count-1 as a read-only memory map [count, size, size, 3] uint8, rendered if absent."""
    count = -(-count // CHUNK) * CHUNK
    path = Path(folder) / f"world_{size}_{count}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        images = np.lib.format.open_memmap(part, "w+", np.uint8, (count, size, size, 3))
        captions: list[str] = []
        with ProcessPoolExecutor(workers) as pool:
            jobs = [(first, size) for first in range(0, count, CHUNK)]
            for (first, _), (chunk, words) in zip(jobs, pool.map(_chunk, jobs), strict=True):
                images[first : first + CHUNK] = chunk
                captions += words
                if first // CHUNK % 20 == 0:
                    report(f"rendered {first + CHUNK} of {count} scenes")
        images.flush()
        path.with_suffix(".json").write_text(json.dumps(captions), encoding="utf-8")
        os.replace(part, path)
    return np.load(path, mmap_mode="r")


def rendered_scenes(
    folder: Path, count: int, size: int, workers: int = 2, report=print
) -> tuple[np.ndarray, list[str]]:
    """rendered_images, and the captions of the same seeds."""
    count = -(-count // CHUNK) * CHUNK
    path = Path(folder) / f"world_{size}_{count}"
    if not path.with_suffix(".json").is_file():
        path.with_suffix(".npy").unlink(missing_ok=True)
    images = rendered_images(folder, count, size, workers, report)
    return images, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
