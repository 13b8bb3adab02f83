"""Photos in folders by class: what priors, classifiers and feature networks learn from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..pictures.drawings import files_in
from ..pictures.drawings.raster import EXTENSIONS
from .batches import generator_of
from .photos import Folders, Store, alone, tensor

HELD = 10  # every so many photos one is kept for judging


class Labelled(NamedTuple):
    """photos: of all classes, one after the other; classes [N]: of each photo; names: of the classes."""

    photos: Folders
    classes: np.ndarray
    names: list[str]


def by_class(folder: Path) -> Labelled:
    """The photos in the sub-folders of a folder; each sub-folder is a class and gives it its name.

    ValueError: no folder, fewer than two classes, or a class without a photo that can be read.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}. Make it, or choose another.")
    homes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(homes) < 2:
        raise ValueError(
            f"{folder} has {len(homes)} sub-folders, but classes are learned from two or more. Give each class a "
            "sub-folder with its photos."
        )
    found = [alone(home) for home in homes]
    paths = [path for part in found for path in part.photos]
    counts = [len(part.photos) for part in found]
    left_out = [reason for part in found for reason in part.left_out]
    return Labelled(Folders(paths, [], left_out), np.repeat(np.arange(len(homes)), counts), [h.name for h in homes])


def below(folder: Path) -> Labelled:
    """The photos in a folder and its sub-folders, all of one nameless class.

    ValueError: no folder, or no photo that can be read."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}. Make it, or choose another.")
    inside = [path for path in sorted(folder.rglob("*")) if path.is_dir()]
    hidden = {path for path in inside if any(part.startswith(".") for part in path.relative_to(folder).parts)}
    homes = [home for home in (folder, *inside) if home not in hidden and files_in(home, EXTENSIONS)]
    found = [alone(home) for home in homes or [folder]]
    paths = [path for part in found for path in part.photos]
    return Labelled(Folders(paths, [], [r for part in found for r in part.left_out]), np.zeros(len(paths), int), [])


class LabelledBatches:
    """batches(step) -> pictures [count,3,size,size] in [-1,1], a random square of each, half of them mirrored, and
    their classes [count]. which: the photos that are drawn from. All follows from seed and step."""

    def __init__(self, store: Store, classes: np.ndarray, which: np.ndarray, count: int, seed: int) -> None:
        self.store, self.classes, self.which, self.count, self.seed = store, classes, which, count, seed

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        rng = generator_of(self.seed, 23, step)
        drawn = torch.randint(len(self.which), (self.count,), generator=rng).tolist()
        chosen = [int(self.which[i]) for i in drawn]
        pictures = []
        for i in chosen:
            whole, size = tensor(self.store.photo(i)), self.store.side
            most = whole.shape[-1] - size
            top, left, flip = (int(torch.randint(n, (), generator=rng)) for n in (most + 1, most + 1, 2))
            square = whole[:, top : top + size, left : left + size]
            pictures.append(square.flip(-1) if flip else square)
        return torch.stack(pictures), torch.from_numpy(self.classes[chosen])


class PhotoBatches:
    """batches(step) -> the pictures of LabelledBatches alone."""

    def __init__(self, labelled: LabelledBatches) -> None:
        self.labelled = labelled

    def __call__(self, step: int) -> Tensor:
        return self.labelled(step)[0]


def batches_of(found: Labelled, size: int, count: int, seed: int, *, classes: bool) -> LabelledBatches | PhotoBatches:
    """Batches of all these photos, each cut to its middle square first, at this side; with their classes or without."""
    store = Store(found.photos, size, square=True)
    made = LabelledBatches(store, found.classes, np.arange(found.photos.count), count, seed)
    return made if classes else PhotoBatches(made)


def split(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The photos to learn from, and every HELD-th one, which is only judged by; all serve both where there are few."""
    every = np.arange(count)
    if count < 2 * HELD:
        return every, every
    held = every % HELD == HELD - 1
    return every[~held], every[held]
