"""Sets of pictures to compare, from IMAGEs or from a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from .drawings import files_in, raster, read_drawing
from .drawings.ink import PAINTING


class Pictures(Protocol):
    """A set of pictures in order, each made or read when it is needed."""

    whole: int  # how many there were before the limit
    names: list[str] | None  # of all their files, without extensions

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Tensor]: ...  # [1,H,W,3] in [0,1]
    def digest(self) -> str: ...  # of the pictures' content, in order


class Connected:
    """The pictures of IMAGEs, at most `limit`; those with one channel are grey."""

    names: list[str] | None = None

    def __init__(self, batches: Sequence[Tensor], limit: int) -> None:
        found = [picture[None, ..., :3].expand(-1, -1, -1, 3) for batch in batches for picture in batch]
        self.whole = len(found)
        self.pictures = found[:limit]

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.pictures)

    def digest(self) -> str:
        found = hashlib.sha256()
        for picture in self.pictures:
            found.update(f"{tuple(picture.shape)} {picture.dtype}".encode() + bytes_of(picture))
        return found.hexdigest()


class Folder:
    """The picture files of a folder by name, at most `limit`; transparent ones lie on white."""

    names: list[str] | None

    def __init__(self, path: Path, limit: int) -> None:
        found = files_in(path, raster.EXTENSIONS)
        self.whole, self.names = len(found), [file.stem for file in found]
        self.files = found[:limit]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Tensor]:
        for path in self.files:
            yield torch.from_numpy(read_drawing(path, kind=PAINTING).rgb)[None]

    def digest(self) -> str:
        found = hashlib.sha256()
        for path in self.files:
            found.update(hashlib.sha256(path.read_bytes()).digest())
        return found.hexdigest()


def why_unpaired(results: Pictures, references: Pictures) -> str:
    """Why the results have no partners, "" if they have. A result's partner is the reference at the same place; in two
    folders it must also have the same name. The limit does not count."""
    if results.whole != references.whole:
        return f"there are {results.whole} results and {references.whole} references"
    if results.names is not None and references.names is not None:
        for mine, theirs in zip(results.names, references.names, strict=True):
            if mine != theirs:
                return f"the files of the two folders have other names, first '{mine}' beside '{theirs}'"
    return ""


def bytes_of(value: Tensor) -> bytes:
    """What is in a tensor, for a hash."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
