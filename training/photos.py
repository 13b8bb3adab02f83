"""Folders of photos, with or without sketches of them, and the same pictures resized and kept in memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from ..pictures.drawings import files_in, foreign_in
from ..pictures.drawings.raster import EXTENSIONS, open_raster, read_picture

MARGIN = 1.1  # pictures are resized to this times the side of the square that is cut out of them
KEEP = 2 << 30  # bytes of resized pictures kept in memory


# --- where pictures come from -----------------------------------------------------------------------------------------


class Pictures(Protocol):
    """Photos, each with one sketch per set."""

    @property
    def count(self) -> int: ...

    @property
    def sets(self) -> int: ...

    def photo(self, i: int) -> Image.Image:
        """Mode RGB."""
        ...

    def sketch(self, which: int, i: int) -> Image.Image:
        """Mode L, dark lines on light paper."""
        ...


class Folders(NamedTuple):
    """Pictures in files. left_out: photos that were not taken, each with the reason."""

    photos: list[Path]
    sketches: list[list[Path]]
    left_out: list[str]

    @property
    def count(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return len(self.photos)

    @property
    def sets(self) -> int:
        return len(self.sketches)

    def photo(self, i: int) -> Image.Image:
        return read(self.photos[i], "RGB")

    def sketch(self, which: int, i: int) -> Image.Image:
        return read(self.sketches[which][i], "L")


class Arrays(NamedTuple):
    """Pictures in memory or in memory-mapped files: photos [N,h,w,3], one array of sketches [N,h,w] per set, uint8."""

    photos: np.ndarray
    drawings: Sequence[np.ndarray]

    @property
    def count(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return len(self.photos)

    @property
    def sets(self) -> int:
        return len(self.drawings)

    def photo(self, i: int) -> Image.Image:
        return Image.fromarray(self.photos[i])

    def sketch(self, which: int, i: int) -> Image.Image:
        return Image.fromarray(self.drawings[which][i])


def files(folder: Path, prefix: str = "") -> list[Path]:
    """The pictures of a folder by name, those that begin so; its sub-folders are not looked into.

    ValueError: no folder, or none in it."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}. Make it and copy pictures into it, or choose another.")
    found = files_in(folder, EXTENSIONS, prefix)
    if not found:
        other = foreign_in(folder)
        raise ValueError(
            f"The folder {folder} holds no pictures that can be read here ({', '.join(EXTENSIONS)}). Copy some into "
            "it, or choose another." + (f" The first of {len(other)} others: {other[0]}" if other else "")
        )
    return found


def by_name(folder: Path, prefix: str = "") -> dict[str, Path]:
    """The pictures of a folder by their names without endings. ValueError: two of one name."""
    found: dict[str, Path] = {}
    for path in files(folder, prefix):
        if path.stem in found:
            raise ValueError(
                f"{folder} holds both {found[path.stem].name} and {path.name}: a sketch of that name could belong to "
                "either. Rename one of them."
            )
        found[path.stem] = path
    return found


def alone(folder: Path, prefix: str = "") -> Folders:
    """The photos of a folder, without sketches. ValueError: no folder, or none that can be read."""
    good, left_out = readable(files(folder, prefix))
    if not good:
        raise ValueError(f"No picture of {folder} can be read. The first: {left_out[0]}")
    return Folders(good, [], [*left_out, *foreign_in(folder)])


def paired(photos: Path, sketches: Sequence[Path], prefix: str = "") -> Folders:
    """Photos that have a sketch of the same name (whatever the ending) in every one of these folders, all whole.

    ValueError: no folder, no pictures, two of one name, or no photo that has them all.
    """
    named, drawn = by_name(photos, prefix), [by_name(folder) for folder in sketches]
    good, left_out = readable(named.values())
    left_out += foreign_in(photos)
    kept: list[Path] = []
    for path in good:
        wrong = next(filter(None, (_wrong(path, *of) for of in zip(sketches, drawn, strict=True))), None)
        if wrong is None:
            kept.append(path)
        else:
            left_out.append(f"{path.name}: {wrong}")
    if not kept:
        raise ValueError(
            f"No photo of {photos} has a sketch of the same name in {' and '.join(f.name for f in sketches)}. Let "
            f"Synthesize Sketch Sets make them, or rename the files. The first photo: {left_out[0]}"
        )
    return Folders(kept, [[found[path.stem] for path in kept] for found in drawn], left_out)


def set_folders(folder: Path) -> list[Path]:
    """The sketch sets in a folder: its sub-folders, or itself where it has none. Those whose names begin with a number
    go first, by that number; the others by name."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}. Make it, or choose another.")

    def place(path: Path) -> tuple[float, Path]:
        number = re.match(r"\d+", path.name)
        return int(number[0]) if number else math.inf, path

    return sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=place) or [folder]


def readable(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Those that are whole, and the others with what is wrong with them."""
    good, wrong = [], []
    for path in paths:
        try:
            check_whole(path)
        except ValueError as error:
            wrong.append(str(error))
        else:
            good.append(path)
    return good, wrong


def _wrong(photo: Path, folder: Path, sketches: dict[str, Path]) -> str | None:
    """What is wrong with the sketch of a photo in a folder; None: nothing."""
    path = sketches.get(photo.stem)
    if path is None:
        return f"no sketch of this name in {folder.name}"
    try:
        check_whole(path)
    except ValueError as error:
        return f"its sketch in {folder.name}: {error}"
    return None


def check_whole(path: Path) -> None:
    """ValueError: no picture, or one that is cut off. A PNG or JPEG with its end mark passes undecoded."""
    source = open_raster(path)
    with path.open("rb") as file:
        first = file.read(8)
        file.seek(max(0, path.stat().st_size - 64))
        last = file.read()
    if first.startswith(b"\xff\xd8") and last.rstrip(b"\0").endswith(b"\xff\xd9"):
        return
    if first == b"\x89PNG\r\n\x1a\n" and b"IEND" in last:
        return
    source.load((0, 0, *source.size), (1, 1))


def read(path: Path, mode: str) -> Image.Image:
    """A picture file in this mode, what is transparent on white. ValueError: damaged."""
    return read_picture(path, mode)


# --- pictures at the sizes that are cut from --------------------------------------------------------------------------


def squashed(picture: Image.Image, side: int) -> np.ndarray:
    """[side,side] or [side,side,3] uint8, bilinear with antialiasing; aspect is not kept, as published."""
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def middle(picture: Image.Image) -> Image.Image:
    """The largest square in the middle, as guided diffusion cuts its photos."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


class Kept:
    """What is made once for each key, and kept while `room` bytes suffice. Threads may share it."""

    def __init__(self, room: int) -> None:
        self.room, self.lock = room, Lock()
        self.held: dict[Any, Any] = {}

    def __call__(self, key: Any, make: Callable[[], Any]) -> Any:
        """What make() gives; it has `nbytes`."""
        found = self.held.get(key)
        if found is None:
            found = make()
            with self.lock:
                if found.nbytes <= self.room:
                    self.held[key] = found
                    self.room -= found.nbytes
        return found


class Store:
    """Pictures resized for squares of `side`, kept as bytes while `keep` bytes suffice. Threads may share it.

    square: photos are cut to their middle square first, which keeps their aspect; sketches never are."""

    def __init__(self, pictures: Pictures, side: int, keep: int = KEEP, square: bool = False) -> None:
        self.pictures, self.side, self.square, self.kept = pictures, side, square, Kept(keep)

    def photo(self, i: int, side: int | None = None) -> np.ndarray:
        """side: what it is resized to; None: MARGIN times the square's."""
        side = side or int(MARGIN * self.side)
        return self._once(("photo", i, side), side, partial(self._photo, i))

    def _photo(self, i: int) -> Image.Image:
        photo = self.pictures.photo(i)
        return middle(photo) if self.square else photo

    def sketch(self, which: int, i: int) -> np.ndarray:
        return self._once(("sketch", which, i), int(MARGIN * self.side), partial(self.pictures.sketch, which, i))

    def bold(self, which: int, i: int) -> np.ndarray:
        """The sketch with its lines a pixel broader to all sides, at its own size."""

        def broad() -> Image.Image:
            return self.pictures.sketch(which, i).filter(ImageFilter.MinFilter(3))

        return self._once(("bold", which, i), int(MARGIN * self.side), broad)

    def _once(self, key: tuple, side: int, read: Callable[[], Image.Image]) -> np.ndarray:
        return self.kept(key, lambda: squashed(read(), side))


def tensor(picture: np.ndarray) -> Tensor:
    """[C,H,W] in [-1,1]."""
    planes = picture[None] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
    return torch.from_numpy(np.array(planes)).float().div_(255).mul_(2).sub_(1)
