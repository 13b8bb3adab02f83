"""Batches of the sketch GAN's trainings (arXiv 2012.09290), by the number of the step; see training.batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..batches import Shuffled, places_of
from ..photos import Store, tensor
from .augment import cut, draw_corner, draw_turn, pair, self_supervised
from .autoencoder import PairBatch, SelfBatch

PHOTO, SELF, PAIR, TOM = range(4)  # streams of random numbers


def set_number(step: int, classes: int, batch: int) -> int:
    """Which set of pictures the classifier learns to tell apart at this step; each is seen about 100 times."""
    return step // max(1, 100 * classes // batch)


class SelfBatches:
    """Self-supervised batches of the set of `classes` pictures whose turn it is; index says which of the set. If there
    are fewer pictures (some were removed since the classifier was made), a set holds them all.

    A step takes `accumulation_steps` batches; the same pictures come whether in one batch or in several.
    """

    def __init__(self, store: Store, classes: int, batch: int, accumulation_steps: int, seed: int) -> None:
        self.store, self.classes, self.batch, self.accumulation_steps, self.seed = (
            store,
            classes,
            batch,
            accumulation_steps,
            seed,
        )
        self.held = min(classes, store.pictures.count)  # pictures in a set
        self.sets = store.pictures.count // self.held  # from one shuffling

    def __call__(self, step: int, piece: int = 0) -> SelfBatch:
        side, count = self.store.side, self.store.pictures.count
        number = set_number(step, self.classes, self.batch * self.accumulation_steps)
        shuffling, within = divmod(number, self.sets)
        whole = Shuffled(count, self.seed, PHOTO)
        first = shuffling * count + within * self.held
        order = Shuffled(self.held, self.seed, SELF, number)
        items, index = [], []
        for place in places_of(step, self.batch, piece, self.accumulation_steps):
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

    def __init__(self, store: Store, batch: int, accumulation_steps: int, seed: int) -> None:
        self.store, self.batch, self.accumulation_steps, self.seed = store, batch, accumulation_steps, seed
        self.order = Shuffled(store.pictures.count, seed, PAIR)

    def __call__(self, step: int, which: int, piece: int = 0) -> PairBatch:
        items = []
        for place in places_of(step, self.batch, piece, self.accumulation_steps):
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
            for place in places_of(step, self.batch):
                rng = np.random.default_rng([self.seed, TOM, i, place])
                mirrored, corner = bool(rng.random() < 0.5), draw_corner(rng, store.side, store.side + 36)
                items.append(tensor(cut(store.photo(order(place), store.side + 36), corner, store.side, mirrored)))
            made.append(torch.stack(items))
        return made[0], made[1]
