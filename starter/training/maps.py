"""Arrays of many scenes in memory-mapped files: made once, by several processes, and shared by every training run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

TELL_EVERY = 10  # jobs


def processes(workers: int) -> ProcessPoolExecutor:
    """Processes that compute with one thread each. A forked process has none of its parent's OpenMP threads and would
    wait for them forever, so it must never ask for any."""
    return ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))


def memory_mapped(
    shapes: Mapping[Path, tuple[int, ...]],
    make: Callable[[Any], Sequence[Any]],
    jobs: Iterable[Any],
    workers: int,
    what: str,
    more: list[Any] | None = None,
) -> list[np.ndarray]:
    """uint8 arrays of these shapes, read-only. If a file is absent, make(job) gives the next rows of each.

    what: the rows in words, for lines about the progress. more: gets what `make` gives after those rows, job by job;
    nothing if the files are there.
    """
    if not all(path.is_file() for path in shapes):
        for path in shapes:
            path.parent.mkdir(parents=True, exist_ok=True)
        maps = [
            np.lib.format.open_memmap(path.with_suffix(".part"), "w+", np.uint8, shape)
            for path, shape in shapes.items()
        ]
        done = 0
        with processes(workers) as pool:
            for number, made in enumerate(pool.map(make, jobs)):
                rows, rest = made[: len(maps)], made[len(maps) :]
                for held, values in zip(maps, rows, strict=True):
                    held[done : done + len(values)] = values
                done += len(rows[0])
                if more is not None:
                    more += rest
                if number % TELL_EVERY == 0:
                    print(f"made {done} of {len(maps[0])} {what}", flush=True)
        for path, held in zip(shapes, maps, strict=True):
            held.flush()
            os.replace(path.with_suffix(".part"), path)
    return [np.load(path, mmap_mode="r") for path in shapes]
