"""The photos of a folder and its sub-folders, as far as they lie inside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ... import files
from ...pictures.drawings.raster import EXTENSIONS


class Photo(NamedTuple):
    """name: the path inside the folder, with slashes. size in bytes and time in nanoseconds tell a changed file."""

    name: str
    size: int
    time: int


class Listing(NamedTuple):
    """photos: by name. outside: links that lead out of the folder, which are not followed."""

    photos: list[Photo]
    outside: list[str]


def list_photos(folder: Path) -> Listing:
    """The files with a picture's ending in a folder and below it, hidden ones left out. What vanishes meanwhile is left
    out as well. ValueError: no folder."""
    if not folder.is_dir():
        raise ValueError(
            f"There is no folder {files.quote(folder)}. Make it and copy photos into it, or choose another."
        )
    root, found, outside = os.path.realpath(folder), [], []
    waiting, seen = [(str(folder), "")], {root}
    while waiting:
        path, inside = waiting.pop()
        for entry in _entries(path):
            name = f"{inside}{entry.name}"
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if os.path.commonpath([root, target]) != root:
                        outside.append(name)
                        continue
                    if target in seen:  # a link to a folder above itself would never end
                        continue
                if entry.is_dir():
                    seen.add(os.path.realpath(entry.path))
                    waiting.append((entry.path, f"{name}/"))
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS and entry.is_file():  # a pipe has no end
                    state = entry.stat()
                    found.append(Photo(name, state.st_size, state.st_mtime_ns))
            except (OSError, ValueError):  # gone, a broken link, or another drive on Windows
                continue
    return Listing(sorted(found), sorted(outside))


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:  # gone meanwhile, or no permission
        return []
