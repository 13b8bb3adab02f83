"""Paintings that go on over many Runs: the last accepted picture and its codes, one file each under the user folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import folder_paths
import torch
from torch import Tensor

from ... import files
from ...pipelines.paint2pix import State
from .training import plain_name

BLANK = 256  # side of the ground that a new painting begins on


class Kept(NamedTuple):
    """picture: IMAGE; state: None where only a picture was kept; step: how often something was accepted."""

    picture: Tensor
    state: State | None
    step: int


def session_file(name: str) -> Path:
    """Where a painting is kept. ValueError: a name that cannot be a file's."""
    return Path(folder_paths.get_system_user_directory("sketchsynth")) / "paintings" / f"{plain_name(name)}.safetensors"


def blank() -> Kept:
    """A black ground, as the published demo begins."""
    return Kept(torch.zeros(1, BLANK, BLANK, 3), None, 0)


def read(name: str) -> Kept:
    """What was accepted last; a blank ground if nothing was. ValueError: the file is damaged."""
    from safetensors import SafetensorError, safe_open

    path = session_file(name)
    if not path.is_file():
        return blank()
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
        found = files.read_weights(path)
        state = State(found["before"], found["after"], notes["painter"]) if "after" in found else None
        return Kept(found["picture"].float() / 255, state, int(notes["step"]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(
            f"The painting {files.quote(name)} cannot be read: {files.quote(path.name)} is damaged. Choose start anew, "
            f"or another name."
        ) from error


def keep(name: str, picture: Tensor, state: State | None, step: int) -> None:
    """Replaces what is kept, whole or not at all. picture: IMAGE, kept at 8 bits as a PNG would be.

    NotWritten: the disk is full, or the folder cannot be written to.
    """
    tensors, notes = {"picture": (picture * 255).round().clamp(0, 255).byte().cpu()}, {"step": str(step)}
    if state is not None:
        tensors |= {"before": state.before.float().cpu(), "after": state.after.float().cpu()}
        notes["painter"] = state.painter
    files.write_tensors(session_file(name), tensors, notes)
