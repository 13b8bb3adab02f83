"""SketchSynth: sketches, strokes and exemplar photos become images with the models ComfyUI already has."""

from __future__ import annotations

import re

OLDEST = "0.22.0"  # as requires-comfyui in pyproject.toml says


def check_version(found: str) -> None:
    """ImportError, which the host logs, for a ComfyUI older than OLDEST. A version without numbers passes."""
    ours, theirs = ([int(part) for part in re.findall(r"\d+", version)[:3]] for version in (OLDEST, found))
    if theirs and theirs < ours:
        raise ImportError(
            f"SketchSynth needs ComfyUI {OLDEST} or newer, but this is ComfyUI {found}. Update ComfyUI and restart it."
        )


try:
    from comfyui_version import __version__ as host_version
except ImportError:  # ComfyUI of 2024, which has no such file
    host_version = "0.2 or older"
check_version(host_version)  # first: what an older one lacks would end as an error in cryptic words

from comfy_api.latest import ComfyExtension, io  # noqa: E402

from .nodes import NODES  # noqa: E402

WEB_DIRECTORY = "./web"


class SketchSynth(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> SketchSynth:
    return SketchSynth()
