"""Folders of pictures that nodes read: those in ComfyUI's input folder (photo collections also in its output folder),
and the samples that come with the pack."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import folder_paths

from ... import files, host

SAMPLES = host.PACK / "starter" / "samples"
ITSELF = "."  # the input folder itself
BUILT_IN = "samples (built in)"
PHOTOS = host.PACK / "starter" / "photos"
BUILT_IN_PHOTOS = "sample photos (built in)"
CANVAS_FOLDER = "sketch_canvas"  # of the input folder: what web/canvas/saver.js saves
BATCH_FOLDER = "sketchsynth-batch"  # there too: what `python3 batch` brings (batch/task.py)
OUTPUT = " [output]"  # at the end of a name, as in the host's annotated file names
PREFIXES = {"sketches": "line drawing - ", "exemplars": "photo - "}  # of the samples for each purpose


def input_folder(name: str) -> Path:
    """The folder of this name. ValueError: it does not exist, or is outside ComfyUI's input folder."""
    if files.check_name(name, "folder") == BUILT_IN:
        return SAMPLES
    if name == BUILT_IN_PHOTOS:
        return PHOTOS
    return _inside(folder_paths.get_input_directory(), "input", name)


def input_file(name: str, what: str) -> Path:
    """The path behind a widget's text: in the input folder, in temp for "name [temp]" (a picture pasted from Preview
    Image), in output for "name [output]". what: a noun for it, for messages. ValueError: there is no such file, or it
    lies outside."""
    files.check_name(name, what)
    try:
        path = Path(folder_paths.get_annotated_filepath(name))
        _, folder = folder_paths.annotated_filepath(name)
        inside = os.path.realpath(folder or folder_paths.get_input_directory())
        if os.path.commonpath([inside, os.path.realpath(path)]) != inside:  # ComfyUI 0.24 does not look
            raise ValueError(name)
    except ValueError as error:
        raise ValueError(
            f"{files.quote(name)} lies outside ComfyUI's input folder, where {what}s are read from. Copy it there "
            "and choose it."
        ) from error
    if not path.is_file():
        raise ValueError(
            f"{files.quote(name)} is not in ComfyUI's input folder. Copy it there, or choose another {what}."
        )
    return path


def photo_folder(name: str) -> Path:
    """The folder behind an option of photo_folders. ValueError: it does not exist, or is outside ComfyUI's folders."""
    if files.check_name(name, "folder").endswith(OUTPUT):
        return _inside(folder_paths.get_output_directory(), "output", name.removesuffix(OUTPUT))
    return input_folder(name)


def photo_folders() -> list[str]:
    """The options for a collection of photos: the built-in samples, and every folder inside ComfyUI's input and output
    folders."""
    root = folder_paths.get_output_directory()
    found = [os.path.relpath(path, root).replace(os.sep, "/") for path, _, _ in os.walk(root)] or [ITSELF]
    return [
        BUILT_IN_PHOTOS,
        *folder_paths.get_input_subfolders(),
        ITSELF,
        *(f"{path}{OUTPUT}" for path in sorted(found, key=lambda path: (path == ITSELF, path))),
    ]


def _inside(root: str, kind: str, name: str) -> Path:
    """A folder inside one of the host's. kind: what the host calls that one."""
    root = os.path.abspath(root)
    path = os.path.abspath(os.path.join(root, name))
    if os.path.commonpath([root, path]) != root:
        raise ValueError(
            f"{files.quote(name)} is outside ComfyUI's {kind} folder. Copy the pictures into a folder inside it."
        )
    if not os.path.isdir(path):
        raise ValueError(
            f"There is no folder {files.quote(name)} in ComfyUI's {kind} folder ({root}). Create it, or choose another."
        )
    return Path(path)


def prefix_of(role: str, name: str) -> str:
    """The file-name prefix of the samples that serve as `role`; empty for a user's folder, where every file does."""
    return PREFIXES[role] if name == BUILT_IN else ""


def are_there(*names: str | None) -> bool | str:
    """True, or the error for the first of these folders that cannot be read. None: linked, known only at run time."""
    try:
        for name in names:
            if name is not None:
                input_folder(name)
    except ValueError as error:
        return str(error)
    return True


def state_of(paths: Iterable[Path]) -> str:
    """A digest that changes when one of these files does, so that the host runs the node again."""
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat()
        digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def model_state(folder: str, *names: str | None) -> str:
    """state_of the files behind these options of a loader. Built-in and missing ones do not count. None: linked."""
    paths = (folder_paths.get_full_path(folder, name) for name in names if name is not None)
    return state_of(Path(path) for path in paths if path is not None)
