"""Sketches and photos that belong together: folders of classes, or pairs by name; and the batches drawn from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...files import quote
from ...pictures.drawings import files_in
from ...pictures.drawings.raster import EXTENSIONS
from ...pictures.retrieval import light_on_dark, photo_for_retrieval, sketch_for_retrieval
from ..photos import Kept, by_name, read, readable

KEEP = 2 << 30  # bytes of prepared pictures kept in memory


class Kind(NamedTuple):
    """A class: sketches of any of its photos; where pictures are paired by name, one photo with its sketches."""

    name: str
    sketches: tuple[Path, ...]
    photos: tuple[Path, ...]


class Kinds(NamedTuple):
    """All classes by name. left_out: files and folders that were not taken, each with the reason."""

    kinds: list[Kind]
    left_out: list[str]


def kinds_in(sketches: Path, photos: Path) -> Kinds:
    """The classes in two folders, by name.

    Sub-folders: each of the same name in both is a class. Without sub-folders, every photo is a class of its own, with
    the sketches of its name, or of its name with a number behind it, as in `boat.png` and `boat-2.png`.
    ValueError: no folder, no pictures, or fewer than two classes.
    """
    for folder in (sketches, photos):
        if not folder.is_dir():
            raise ValueError(f"There is no folder {folder}. Make it and copy pictures into it, or choose another.")
    of_classes = _sub_folders(sketches), _sub_folders(photos)
    found = _by_class(*of_classes) if all(of_classes) else _by_pairs(sketches, photos)
    if len(found.kinds) < 2:
        raise ValueError(
            f"{sketches} and {photos} have {len(found.kinds)} classes in common, expected two or more: sub-folders of "
            "the same names, or sketches named like their photos."
            + (f" The first that was left out: {found.left_out[0]}" if found.left_out else "")
        )
    return found


def _sub_folders(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}


def _by_class(sketches: dict[str, Path], photos: dict[str, Path]) -> Kinds:
    kinds, left_out = [], []
    for name in sorted(sketches.keys() | photos.keys()):
        if name not in sketches or name not in photos:
            left_out.append(f"{quote(name)}: no folder of {'photos' if name in sketches else 'sketches'}")
            continue
        both = [_whole(files_in(place[name], EXTENSIONS), left_out) for place in (sketches, photos)]
        if all(both):
            kinds.append(Kind(name, *both))
        else:
            left_out.append(f"{quote(name)}: no {'photos' if both[0] else 'sketches'}")
    return Kinds(kinds, left_out)


def _by_pairs(sketches: Path, photos: Path) -> Kinds:
    named, drawn, left_out = by_name(photos), by_name(sketches), []
    of: dict[str, list[Path]] = {name: [] for name in named}
    for name, path in drawn.items():
        photo = name if name in named else re.sub(r"[-_ ]\d+$", "", name)
        if photo in named:
            of[photo].append(path)
        else:
            left_out.append(f"{quote(path.name)}: no photo of this name")
    kinds = []
    for name, photo in named.items():
        both = _whole(of[name], left_out), _whole([photo], left_out)
        if all(both):
            kinds.append(Kind(name, *both))
        else:
            left_out.append(f"{quote(photo.name)}: no sketch of this name that can be read")
    return Kinds(kinds, left_out)


def _whole(paths: Iterable[Path], left_out: list[str]) -> tuple[Path, ...]:
    good, wrong = readable(paths)
    left_out += wrong
    return tuple(good)


def chosen(kinds: Sequence[Kind], names: Iterable[str]) -> list[Kind]:
    """The classes of these names. ValueError: an unknown name, or fewer than two."""
    _check_names(kinds, names)
    found = [kind for kind in kinds if kind.name in set(names)]
    if len(found) < 2:
        raise ValueError(f"{len(found)} classes are left to learn from, expected two or more. Choose more of them.")
    return found


def split(
    kinds: Sequence[Kind], tested: Iterable[str], share: float = 0.0, seed: int = 0
) -> tuple[list[Kind], list[Kind]]:
    """Classes to learn from, and classes to test on: those of these names, and else this share of all, at random.

    ValueError: an unknown name, or fewer than two classes left to learn from.
    """
    _check_names(kinds, tested)
    names = set(tested)
    if not names and share:
        order = np.random.default_rng([61, seed]).permutation(len(kinds))
        names = {kinds[i].name for i in order[: min(round(share * len(kinds)), len(kinds) - 2)]}
    return chosen(kinds, [kind.name for kind in kinds if kind.name not in names]), [
        kind for kind in kinds if kind.name in names
    ]


def _check_names(kinds: Sequence[Kind], names: Iterable[str]) -> None:
    known = {kind.name for kind in kinds}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(
            f"There is no class {quote(unknown[0])} among the {len(known)} classes (such as {quote(min(known))}). "
            "Correct that name."
        )


def listed(text: str) -> list[str]:
    """Class names: those of a text file, one a line, or a comma-separated list."""
    path = Path(text)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
    return [line.strip() for line in lines if line.strip()]


class Seen:
    """Pictures as the network sees them [3,S,S], kept as bytes while `keep` bytes suffice. Threads may share it."""

    def __init__(self, size: int, keep: int = KEEP) -> None:
        self.size, self.kept = size, Kept(keep)

    def sketch(self, path: Path) -> Tensor:
        """Light lines on dark paper are inverted, as for a search. ValueError: damaged, or blank; it names the file."""

        def prepare(pixels: np.ndarray) -> Tensor:
            return sketch_for_retrieval(pixels, self.size, light_on_dark(pixels))

        return self._once("sketch", path, prepare, np.asarray)

    def photo(self, path: Path) -> Tensor:
        return self._once("photo", path, partial(photo_for_retrieval, size=self.size), lambda picture: picture)

    def _once(
        self, what: str, path: Path, prepare: Callable[..., Tensor], of: Callable[[Image.Image], object]
    ) -> Tensor:
        def seen() -> Tensor:
            try:
                return ((prepare(of(read(path, "RGB"))) / 2 + 0.5) * 255).round().byte()
            except ValueError as error:
                raise ValueError(f"{quote(path.name)}: {error}") from error

        return (self.kept((what, path), seen).float() / 255 - 0.5) / 0.5


class Draw(NamedTuple):
    """One item: a sketch and a photo of a class, another sketch of that class, and a photo of another class."""

    kind: int
    sketch: Path
    sketch_again: Path
    photo: Path
    photo_other: Path


def drawn(kinds: Sequence[Kind], rng: np.random.Generator, published: bool = False) -> Draw:
    """One item at random. The two sketches differ if the class has two.

    published: with the published faults. Three classes are drawn, of which the second is not used; of each class the
    first sketch and the first photo are never drawn (unless there is no other); the second sketch may be the first one.
    """
    if published:
        picked = rng.choice(len(kinds), min(3, len(kinds)), replace=False)
        own, other = int(picked[0]), int(picked[-1])
    else:
        own, other = (int(i) for i in rng.choice(len(kinds), 2, replace=False))

    def one(paths: Sequence[Path], but: Path | None = None) -> Path:
        if published:
            return paths[int(rng.integers(1, len(paths)))] if len(paths) > 1 else paths[0]
        rest = [path for path in paths if path != but] or list(paths)
        return rest[int(rng.integers(len(rest)))]

    sketch = one(kinds[own].sketches)
    again = one(kinds[own].sketches, but=sketch)
    return Draw(own, sketch, again, one(kinds[own].photos), one(kinds[other].photos))


def batch(kinds: Sequence[Kind], seen: Seen, items: int, seed: int, published: bool, step: int) -> dict[str, Tensor]:
    """The batch of a step, as RetrievalTask wants it: sketch and photo [2 items,3,S,S], group [items]."""
    rng = np.random.default_rng([seed, 43, step])
    draws = [drawn(kinds, rng, published) for _ in range(items)]
    sketches = [*(draw.sketch for draw in draws), *(draw.sketch_again for draw in draws)]
    photos = [*(draw.photo for draw in draws), *(draw.photo_other for draw in draws)]
    return {
        "sketch": torch.stack([seen.sketch(path) for path in sketches]),
        "photo": torch.stack([seen.photo(path) for path in photos]),
        "group": torch.tensor([draw.kind for draw in draws]),
    }
