"""Inputs that several systems' nodes have."""

from __future__ import annotations

import re

from comfy_api.latest import io

from ... import files


def seed_input(tip: str) -> io.Int.Input:
    """A seed as ComfyUI's samplers have it: the editor draws another one after each run, if it is asked to."""
    return io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip=tip)


def window_inputs(start: str, end: str, last: float = 1.0, advanced: bool | None = None) -> list[io.Input]:
    """Where something starts and ends, as fractions of the model's schedule. start, end: their tooltips; last: where it
    ends by default."""
    return [
        io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tip, advanced=advanced)
        for name, default, tip in (("start", 0.0, start), ("end", last, end))
    ]


def rgb(colour: str, what: str) -> tuple[float, float, float]:
    """#rrggbb as 0..1. The editor's colour widget may add an opacity (#rrggbbaa), which is dropped.

    what: whose colour, for the message. ValueError: it is written in another way."""
    if not isinstance(colour, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?", colour):
        raise ValueError(f"The {what}'s colour must be written #rrggbb, such as #ffffff, got {files.quote(colour)}.")
    red, green, blue = bytes.fromhex(colour[1:7])
    return red / 255, green / 255, blue / 255
