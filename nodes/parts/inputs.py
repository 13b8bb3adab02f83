"""Inputs that several systems' nodes have."""

from __future__ import annotations

from comfy_api.latest import io


def seed_input(tip: str) -> io.Int.Input:
    """A seed as ComfyUI's samplers have it: the editor draws another one after each run, if it is asked to."""
    return io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip=tip)
