"""Files that are whole or not there: atomic writes, a lock, weights as .safetensors; and their names in messages."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load, save
from torch import Tensor

SHOWN = 100  # characters of a name in a message
LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes that file systems take; asking for longer ones is an OSError


def writable(text: str) -> str:
    """The text with what UTF-8 cannot write (a file name of broken bytes, which Python reads) escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def quote(name: object) -> str:
    """A name in quotes, for a message. What is not text (such as a file name of broken bytes) is escaped: ComfyUI's log
    cannot write it, and its queue would end."""
    text = writable(str(name))
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{text}'" if len(text) <= SHOWN else f"'{text[: SHOWN - 30]}...{text[-25:]}'"


def check_name(name: object, what: str) -> str:
    """The name of a file or folder. ValueError: not text, broken bytes, or longer than systems can look up. what: for
    the message, such as "file"."""
    if not isinstance(name, str):
        raise ValueError(f"The name of a {what} must be text, got {quote(name)} ({type(name).__name__}).")
    if "\0" in name or name.encode(errors="ignore").decode() != name:  # Python reads broken bytes as lone surrogates
        raise ValueError(f"The name of the {what} {quote(name)} contains characters that are not text. Rename it.")
    longest = max(map(len, name.encode().replace(b"\\", b"/").split(b"/")))
    if longest > LONGEST_NAME or len(name) > LONGEST_PATH:
        raise ValueError(
            f"The name of the {what} {quote(name)} is too long: {longest} bytes, {LONGEST_NAME} at most. Choose a "
            "shorter one."
        )
    return name


class NotWritten(ValueError):
    """A file could not be written; what was there before is intact."""


def replace(path: Path, content: bytes) -> None:
    """Writes a file atomically: a kill or a power cut in between leaves the old one whole."""
    write(path, lambda file: file.write(content))


def replace_torch(path: Path, content: Mapping[str, Any]) -> None:
    """As `replace`, in the format that torch.load reads with weights_only."""
    write(path, lambda file: torch.save(dict(content), file))


def write(path: Path, put: Callable[[IO[bytes]], Any]) -> None:
    """Lets `put` write to a temporary file of this process, which then takes the place of `path`.

    NotWritten: a full disk, a missing permission; the temporary file is then gone, and `path` is as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            put(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, (OSError, RuntimeError)):  # torch.save has its own for a full disk
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
            free = _free(path.parent)
            raise NotWritten(
                f"{quote(path)} could not be written ({reason}; {free} free there). What was saved before is intact. "
                "Free some space, or check the folder's permissions, and run again."
            ) from error
        raise


def replace_weights(path: Path, weights: Mapping[str, Tensor], notes: Mapping[str, Any], half: bool = False) -> None:
    """As `replace`, with what `packed` gives."""
    replace(path, packed(weights, notes, half))


def packed(weights: Mapping[str, Tensor], notes: Mapping[str, Any], half: bool = False) -> bytes:
    """A .safetensors file as bytes. half: floats as fp16. notes: its metadata, text as it is, the rest as JSON."""
    metadata = {key: note if isinstance(note, str) else json.dumps(note) for key, note in notes.items()}

    def plain(value: Tensor) -> Tensor:
        value = value.detach().cpu()
        return (value.half() if half and value.is_floating_point() else value).contiguous().clone()

    return save({key: plain(value) for key, value in weights.items()}, {"format": "pt", **metadata})


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, read into memory: Windows cannot replace a mapped file."""
    return load(path.read_bytes())


def _free(folder: Path) -> str:
    with suppress(OSError):
        return f"{shutil.disk_usage(folder).free / 1e6:.0f} MB"
    return "unknown space"


class Locked(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(folder: Path, *siblings: Path) -> Iterator[None]:
    """Keeps `folder`, and the files `siblings` outside it, for this process alone. The system lifts the lock when the
    process ends, however it ends. Temporary files that a killed process left are deleted first.

    Locked: another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            _lock(lock)
        except (BlockingIOError, PermissionError) as error:
            raise Locked(str(folder)) from error
        except OSError:  # some network drives have no locks
            pass
        left = [path for path in folder.glob("*.part") if re.fullmatch(r".+\.\d+\.part", path.name)]
        for known in siblings:  # and stages of it, which are numbered
            name = re.compile(rf"{re.escape(known.stem)}(-\d+)?{re.escape(known.suffix)}\.\d+\.part")
            left += [path for path in known.parent.glob("*.part") if name.fullmatch(path.name)]
        for path in left:
            path.unlink(missing_ok=True)
        yield


def _lock(file: IO[bytes]) -> None:
    """OSError: another process has the lock, or the drive has no locks."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
