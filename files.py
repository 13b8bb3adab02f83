"""Files that are whole or not there: atomic writes, a lock, weights as .safetensors; and their names in messages."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported where it is used: `python3 batch` runs on machines without torch
    from torch import Tensor

SAFE = (".safetensors", ".sft")  # endings of files that hold nothing but tensors
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
    import torch

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


def half_written(paths: Iterable[Path]) -> list[Path]:
    """Those among the paths that are temporary files of `write`, which a killed process leaves."""
    return [path for path in paths if re.fullmatch(r".+\.\d+\.part", path.name)]


def replace_weights(path: Path, weights: Mapping[str, Tensor], notes: Mapping[str, Any], half: bool = False) -> None:
    """As `replace`, with what `packed` gives."""
    replace(path, packed(weights, notes, half))


def packed(weights: Mapping[str, Tensor], notes: Mapping[str, Any], half: bool = False) -> bytes:
    """A .safetensors file as bytes. half: floats as fp16. notes: its metadata, text as it is, the rest as JSON."""
    from safetensors.torch import save

    metadata = {key: note if isinstance(note, str) else json.dumps(note) for key, note in notes.items()}

    def plain(value: Tensor) -> Tensor:
        value = value.detach().cpu()
        return (value.half() if half and value.is_floating_point() else value).contiguous().clone()

    return save({key: plain(value) for key, value in weights.items()}, {"format": "pt", **metadata})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """As `replace`: a .safetensors file of plain tensors on the CPU, written without a copy of them in memory."""
    import torch

    header: dict[str, Any] = {"__metadata__": {"format": "pt", **notes}}
    end, plain = 0, {key: value.contiguous() for key, value in tensors.items()}
    for key, value in plain.items():
        kind = {torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}[value.dtype]
        header[key] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [end, end + value.nbytes]}
        end += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows

    def put(file: IO[bytes]) -> None:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in plain.values():
            file.write(value.numpy().data)

    write(path, put)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, read into memory: Windows cannot replace a mapped file."""
    from safetensors.torch import load

    return load(path.read_bytes())


def read_tensors(path: Path) -> Any:
    """What a model file holds, .safetensors or what torch.save wrote, read with weights_only: nothing in it is run.

    ValueError: it cannot be read, or it holds more than tensors and numbers.
    """
    import torch

    if not path.is_file():
        raise ValueError(f"There is no file {quote(path)}. Check the path.")
    try:
        if path.suffix.lower() in SAFE:
            return read_weights(path)
        with numpy_numbers():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every kind of damage has its own
        raise ValueError(
            f"{quote(path.name)} cannot be read: it is damaged, not a model file, or holds more than tensors "
            f"({type(error).__name__}). Download it again, or save its plain state dict as .safetensors."
        ) from error


@contextmanager
def numpy_numbers() -> Iterator[None]:
    """Inside, a file read with weights_only may also hold single numbers of NumPy, as a training's best score often is.
    They are read as None: a number is not made by calling what the file names, and no loader needs it."""
    import numpy as np
    import torch

    names = [f"{module}.scalar" for module in ("numpy.core.multiarray", "numpy._core.multiarray")]
    kinds = [type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdgFDGUS"]  # numbers of every size, and short texts
    allowed: list[Any] = [*((_nothing, name) for name in names), (_nothing, "_codecs.encode"), np.dtype, *kinds]
    with torch.serialization.safe_globals(allowed):
        yield


def _nothing(*_: object) -> None:
    return None


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
        left = half_written(folder.glob("*.part"))
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
