"""The vectors of a folder's photos in one file, kept up to date: only new and changed photos are read again.

The file is a .safetensors: `vectors` [N,D] float32, `states` [N,2] (size and time of each photo), `names` (their paths
inside the folder, encoded as the system does, with zero bytes between them) and `left_out` (JSON), with the retriever's
hash in its metadata. It is memory-mapped when it is searched, and always whole: a save takes the old one's place.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ... import files
from ...pictures.drawings.raster import read_picture
from .folder import Listing, Photo, list_photos
from .retriever import AT_ONCE, Retriever

FILE = "index.safetensors"
TENSORS = ("states", "vectors", "names", "left_out")  # the widest numbers first, so that all are aligned
READERS = 4  # threads that decode photos while the network works
SAVE_EVERY = 30.0  # seconds between saves, at least; the most that a kill can lose
SAVE_SHARE = 0.05  # of the time, at most, is spent saving


class Progress(NamedTuple):
    """What `watch` is told after every batch: photos read, of how many that have to be."""

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Photos per second."""
        return self.done / max(1e-9, self.seconds)


Watch = Callable[[Progress], None]


class Rows:
    """What a search needs of an index file: vectors [N,D], memory-mapped, and the names of their photos."""

    def __init__(self, held: dict[str, Tensor]) -> None:
        self.vectors, self._names = held["vectors"], held["names"].numpy()
        self._ends = np.flatnonzero(self._names == 0)

    def __len__(self) -> int:
        return len(self.vectors)

    def name(self, row: int) -> str:
        first = self._ends[row - 1] + 1 if row else 0
        last = self._ends[row] if row < len(self._ends) else len(self._names)
        return os.fsdecode(self._names[first:last].tobytes())


@dataclass
class Contents:
    """All of an index file, to be brought up to date. left_out: photos that could not be read, with the reason."""

    photos: list[Photo] = field(default_factory=list)
    vectors: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    left_out: dict[Photo, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PhotoIndex:
    """The value of the SKETCH_INDEX socket: a folder of photos, the file with their vectors, and what made them."""

    path: Path
    folder: Path
    retriever: Retriever
    count: int

    def open(self) -> Rows:
        """The file, memory-mapped. ValueError: it is gone, or another network made it anew."""
        held = _tensors(self.path, self.retriever.key())
        if held is None:
            raise ValueError(
                f"The index of {self.folder} is gone or was made anew for another network. Run Index Photos again."
            )
        return Rows(held)

    def photo(self, name: str) -> Path:
        """The file of a photo. ValueError: a name that leads out of the folder, as a link does that took its place."""
        path = self.folder / name
        if os.path.isabs(name) or ".." in Path(name).parts or not _below(self.folder, path):
            raise ValueError(f"{files.quote(name)} is outside the folder {self.folder}.")
        return path


def _below(folder: Path, path: Path) -> bool:
    """Whether a path is inside a folder after all links."""
    root, target = os.path.realpath(folder), os.path.realpath(path)
    try:
        return os.path.commonpath([root, target]) == root
    except ValueError:  # another drive
        return False


class Updated(NamedTuple):
    """How an update went: photos in the index, and of them those read now; those dropped because they vanished; those
    left out, each with the reason; links that lead out of the folder."""

    count: int
    read: int
    dropped: int
    left_out: list[str]
    outside: list[str]


def update(
    state_dir: Path,
    folder: Path,
    retriever: Retriever,
    *,
    watch: Watch = lambda progress: None,
    save_every: float = SAVE_EVERY,
    clock: Callable[[], float] = time.monotonic,
) -> Updated:
    """Brings the index of a folder up to date, in the folder `state_dir` of its own.

    watch: called after every batch; may raise to stop, and what is done is kept then. save_every: seconds.
    ValueError: no folder, no photo in it that can be read, or another process that works on the same index;
    files.NotWritten: a full disk."""
    listing = list_photos(folder)
    if not listing.photos:
        raise ValueError(
            f"The folder {folder} and its sub-folders hold no photos. Copy some into it, or choose another."
        )
    try:
        with files.locked(state_dir):
            return _Update(state_dir / FILE, folder, retriever, listing, save_every, clock).run(watch)
    except files.Locked as error:
        raise ValueError(f"Another process is indexing {folder}. Wait until it is done, or stop it.") from error


class _Update:
    """One update of one file."""

    def __init__(
        self,
        path: Path,
        folder: Path,
        retriever: Retriever,
        listing: Listing,
        save_every: float,
        clock: Callable[[], float],
    ) -> None:
        self.path, self.folder, self.retriever, self.listing = path, folder, retriever, listing
        self.save_every, self.clock = save_every, clock
        self.key = retriever.key()
        old = read(path, self.key) or Contents()
        there = set(listing.photos)
        kept = [row for row, photo in enumerate(old.photos) if photo in there]
        self.left_out = {photo: why for photo, why in old.left_out.items() if photo in there}
        names = {photo.name for photo in listing.photos}
        self.dropped = sum(photo.name not in names for photo in chain(old.photos, old.left_out))
        known = {old.photos[row] for row in kept} | set(self.left_out)
        self.todo = [photo for photo in listing.photos if photo not in known]
        self.changed = len(known) < len(old.photos) + len(old.left_out) or not path.is_file()
        self.photos = [old.photos[row] for row in kept]
        self.rows: list[Tensor] = []
        if kept and (self.todo or self.changed):  # into memory: Windows cannot replace a mapped file
            self.rows.append(old.vectors[kept])
        self.read = 0

    def run(self, watch: Watch) -> Updated:
        started = self.clock()
        self.saved_at, self.saving = started, 0.0
        try:
            for done, photos in self._read():
                self._take(photos)
                watch(Progress(done, len(self.todo), self.clock() - started))
                if self.clock() - self.saved_at > max(self.save_every, self.saving / SAVE_SHARE):
                    self._save()
        except files.NotWritten:
            raise
        except BaseException:  # Cancel: what is done is kept
            self._save()
            raise
        self._save()
        if not self.photos:
            first = next(iter(self.left_out.values()))
            raise ValueError(f"None of the photos in {self.folder} can be read. The first: {first}")
        reasons = [f"{files.writable(photo.name)}: {why}" for photo, why in sorted(self.left_out.items())]
        return Updated(len(self.photos), self.read, self.dropped, reasons, self.listing.outside)

    def _read(self) -> Iterator[tuple[int, list[tuple[Photo, Image.Image | str]]]]:
        """Batches of photos, decoded by threads one batch ahead: how many were tried so far, and the pictures (or the
        reasons why not)."""
        side = max((part.side for part in self.retriever.parts), default=0)
        with ThreadPoolExecutor(READERS) as readers:

            def begin(first: int) -> list[tuple[Photo, Future[Image.Image | str]]]:
                work = partial(open_photo, side=side)
                return [
                    (photo, readers.submit(work, self.folder / photo.name))
                    for photo in self.todo[first : first + AT_ONCE]
                ]

            coming = begin(0)
            try:
                for first in range(0, len(self.todo), AT_ONCE):
                    batch, coming = coming, begin(first + AT_ONCE)
                    yield first + len(batch), [(photo, future.result()) for photo, future in batch]
            finally:
                readers.shutdown(wait=True, cancel_futures=True)

    def _take(self, photos: Sequence[tuple[Photo, Image.Image | str]]) -> None:
        good = [(photo, picture) for photo, picture in photos if isinstance(picture, Image.Image)]
        self.left_out |= {photo: why for photo, why in photos if isinstance(why, str) and why}
        self.changed |= bool(photos)
        if not good:
            return
        inputs = self.retriever.photos([picture for _, picture in good])
        vectors = torch.cat(self.retriever.embed(inputs), 1)
        for (photo, _), vector in zip(good, vectors, strict=True):
            if vector.isfinite().all():
                self.photos.append(photo)
                self.rows.append(vector[None])
                self.read += 1
            else:
                self.left_out[photo] = "the network gives NaN or infinite values for it"

    def _save(self) -> None:
        """Nothing new: nothing is written."""
        if not self.changed:
            return
        began = self.clock()
        self.rows = [torch.cat(self.rows)] if self.rows else []
        vectors = self.rows[0] if self.rows else torch.empty(0, 0)
        write(self.path, self.key, Contents(self.photos, vectors, self.left_out))
        self.changed, self.saved_at = False, self.clock()
        self.saving = self.saved_at - began


def open_photo(path: Path, side: int) -> Image.Image | str:
    """A photo, decoded to `side` pixels or more; or why it cannot be read. Empty: it has vanished."""
    try:
        return read_picture(path, "RGB", (side, side))
    except ValueError as error:
        return str(error) if path.exists() else ""
    except OSError as error:
        return f"it cannot be opened ({error.strerror})" if path.exists() else ""
    except MemoryError:
        return "there is not enough memory to decode it"


# --- the file ---------------------------------------------------------------------------------------------------------


def write(path: Path, key: str, contents: Contents) -> None:
    """An index file, atomically."""
    names = b"\0".join(os.fsencode(photo.name) for photo in contents.photos)
    left_out = json.dumps([[*photo, why] for photo, why in contents.left_out.items()]).encode()
    states = torch.tensor([[photo.size, photo.time] for photo in contents.photos], dtype=torch.int64).reshape(-1, 2)
    values = (states, contents.vectors.float(), _bytes(names), _bytes(left_out))
    files.write_tensors(path, dict(zip(TENSORS, values, strict=True)), {"retriever": key})


def read(path: Path, key: str) -> Contents | None:
    """What an index file holds, its vectors memory-mapped; None: as for _tensors."""
    held = _tensors(path, key)
    if held is None:
        return None
    try:
        names = held["names"].numpy().tobytes()
        listed = [os.fsdecode(name) for name in names.split(b"\0")] if names else []
        photos = [Photo(name, *state) for name, state in zip(listed, held["states"].tolist(), strict=True)]
        left_out = {Photo(*photo): why for *photo, why in json.loads(held["left_out"].numpy().tobytes())}
    except (ValueError, TypeError):
        return None
    return Contents(photos, held["vectors"], left_out)


def _tensors(path: Path, key: str) -> dict[str, Tensor] | None:
    """The memory-mapped tensors of an index file; None: there is none, it is damaged (it is made anew then), or another
    retriever than that of `key` made it."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("retriever") != key:
                return None
            held: dict[str, Any] = {name: file.get_tensor(name) for name in TENSORS}
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    whole = held["vectors"].ndim == 2 and held["states"].shape == (len(held["vectors"]), 2)
    return held if whole and held["vectors"].dtype == torch.float32 else None


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
