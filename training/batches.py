"""Batches by the number of the step: everything random follows from a seed and that number alone, so a resumed run
sees what it would have seen. A thread prepares them one step ahead."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

Batch = TypeVar("Batch")


class NoBatch(ValueError):
    """The pictures of a step could not be read; the networks are as they were before it."""


class Shuffled:
    """Index of an endless sequence of shuffled epochs over 0..count-1."""

    def __init__(self, count: int, *seed: int) -> None:
        self.count, self.seed = count, seed
        self.held = -1, np.zeros(0, int)  # an epoch and its order: one value, so that threads may share it

    def __call__(self, place: int) -> int:
        epoch, within = divmod(place, self.count)
        known, order = self.held
        if epoch != known:
            order = np.random.default_rng([*self.seed, epoch]).permutation(self.count)
            self.held = epoch, order
        return int(order[within])


class Prefetch(Generic[Batch]):
    """make(step), with make(step + 1) prepared on a thread. A context manager; closing drops `make`, which may
    reference its owner. NoBatch: make raised ValueError or OSError."""

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self.make: Callable[[int], Batch] = make
        self.pool = ThreadPoolExecutor(1)
        self.next: tuple[int, Future[Batch]] | None = None

    def __call__(self, step: int) -> Batch:
        if self.next is None or self.next[0] != step:
            self.next = step, self.pool.submit(self.make, step)
        try:
            batch = self.next[1].result()
        except (ValueError, OSError) as error:
            raise NoBatch(f"{error} Replace or remove that file; training then resumes where it stopped.") from error
        self.next = step + 1, self.pool.submit(self.make, step + 1)
        return batch

    def __enter__(self) -> Prefetch[Batch]:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)
        self.next = None
        del self.make


def places_of(step: int, batch: int, piece: int = 0, accumulation_steps: int = 1) -> range:
    """The places, in the endless sequence of all pictures, of a batch: the `piece`-th of a step's."""
    first = (step * accumulation_steps + piece) * batch
    return range(first, first + batch)


def generator_of(*numbers: int) -> torch.Generator:
    """A generator that follows from these numbers, such as a seed, a stream and a step."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 0x9E3779B97F4A7C15 + number + 1) % 2**63
    return torch.Generator().manual_seed(mixed)


def to_device(batch: Any, device: torch.device | str, channels_last: bool = False) -> Any:
    """A batch (tensors, and tuples or dicts of them) on the device. channels_last: pictures in the memory format that
    convolutions like best."""
    if isinstance(batch, Tensor):
        if channels_last and batch.ndim == 4:
            return batch.to(device, memory_format=torch.channels_last)
        return batch.to(device)
    if isinstance(batch, dict):
        return {name: to_device(part, device, channels_last) for name, part in batch.items()}
    if not isinstance(batch, tuple):
        return batch
    parts = [to_device(part, device, channels_last) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
