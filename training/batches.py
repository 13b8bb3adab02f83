"""Batches that the sketch GAN trains on, by the number of the step: everything random follows from a seed and that
number alone, so a run that is taken up sees what it would have seen. A thread makes them one step ahead."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from .photos import (
    Store,
    cut,
    draw_corner,
    draw_turn,
    pair,
    self_supervised,
    tensor,
)
from .sketchgan.autoencoder import PairBatch, SelfBatch

Batch = TypeVar("Batch")
PHOTO, SELF, PAIR, TOM = range(4)  # streams of random numbers


class Shuffled:
    """0..count-1 again and again, each time in a new order; the place in this endless row says which one."""

    def __init__(self, count: int, *seed: int) -> None:
        self.count, self.seed = count, seed
        self.held = -1, np.zeros(0, int)  # a round and its order: one value, so that threads may share it

    def __call__(self, place: int) -> int:
        number, within = divmod(place, self.count)
        known, order = self.held
        if number != known:
            order = np.random.default_rng([*self.seed, number]).permutation(self.count)
            self.held = number, order
        return int(order[within])


class NoBatch(ValueError):
    """The pictures of a step could not be read; the networks are as they were before it."""


class Ahead(Generic[Batch]):
    """make(step), with the next step's batch made by a thread meanwhile. To be closed, as a context: it then lets go of
    `make`, which may hold its owner. NoBatch: make raised ValueError or OSError."""

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
            raise NoBatch(
                f"{error} Replace or remove that file; the training then goes on where it stopped."
            ) from error
        self.next = step + 1, self.pool.submit(self.make, step + 1)
        return batch

    def __enter__(self) -> Ahead[Batch]:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)
        self.next = None
        del self.make


def set_number(step: int, classes: int, batch: int) -> int:
    """Which set of pictures the classifier learns to tell apart at this step; each is seen about 100 times."""
    return step // max(1, 100 * classes // batch)


class SelfBatches:
    """Self-supervised batches of the set of `classes` pictures whose turn it is; index says which of the set. If there
    are fewer pictures (some were removed since the classifier was made), a set holds them all.

    A step takes `pieces` batches; the same pictures come, whether in one piece or in several.
    """

    def __init__(self, store: Store, classes: int, batch: int, pieces: int, seed: int) -> None:
        self.store, self.classes, self.batch, self.pieces, self.seed = store, classes, batch, pieces, seed
        self.held = min(classes, store.pictures.count)  # pictures in a set
        self.sets = store.pictures.count // self.held  # from one shuffling

    def __call__(self, step: int, piece: int = 0) -> SelfBatch:
        side, count = self.store.side, self.store.pictures.count
        number = set_number(step, self.classes, self.batch * self.pieces)
        shuffling, within = divmod(number, self.sets)
        whole = Shuffled(count, self.seed, PHOTO)
        first = shuffling * count + within * self.held
        order = Shuffled(self.held, self.seed, SELF, number)
        items, index = [], []
        for place in _places(step, piece, self.batch, self.pieces):
            rng = np.random.default_rng([self.seed, SELF, place])
            index.append(order(place))
            mirrored, corner = bool(rng.random() < 0.5), draw_corner(rng, side)
            items.append(
                self_supervised(self.store, whole(first + index[-1]), mirrored, corner, draw_turn(rng, side), rng)
            )
        around, plain, drawn, bold, gone, gone_bold = (torch.stack(parts) for parts in zip(*items, strict=True))
        return SelfBatch(around, plain, (drawn, bold, gone, gone_bold), torch.tensor(index))


class PairBatches:
    """Photos in a random order with their sketches of one set."""

    def __init__(self, store: Store, batch: int, pieces: int, seed: int) -> None:
        self.store, self.batch, self.pieces, self.seed = store, batch, pieces, seed
        self.order = Shuffled(store.pictures.count, seed, PAIR)

    def __call__(self, step: int, which: int, piece: int = 0) -> PairBatch:
        items = []
        for place in _places(step, piece, self.batch, self.pieces):
            corner = draw_corner(np.random.default_rng([self.seed, PAIR, place]), self.store.side)
            items.append(pair(self.store, which, self.order(place), corner))
        photos, sketches = (torch.stack(parts) for parts in zip(*items, strict=True))
        return PairBatch(photos, sketches)


class Unpaired:
    """Photos and unrelated sketches, both [B,3,S,S], mirrored or not, cut out of squares of S + 36 pixels."""

    def __init__(self, photos: Store, sketches: Store, batch: int, seed: int) -> None:
        self.sides = photos, sketches
        self.orders = [Shuffled(store.pictures.count, seed, TOM, i) for i, store in enumerate(self.sides)]
        self.batch, self.seed = batch, seed

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        made = []
        for i, (store, order) in enumerate(zip(self.sides, self.orders, strict=True)):
            items = []
            for place in _places(step, 0, self.batch, 1):
                rng = np.random.default_rng([self.seed, TOM, i, place])
                mirrored, corner = bool(rng.random() < 0.5), draw_corner(rng, store.side, store.side + 36)
                items.append(tensor(cut(store.photo(order(place), store.side + 36), corner, store.side, mirrored)))
            made.append(torch.stack(items))
        return made[0], made[1]


def _places(step: int, piece: int, batch: int, pieces: int) -> range:
    """Where the pictures of a batch stand in the endless row of all of them."""
    first = (step * pieces + piece) * batch
    return range(first, first + batch)
