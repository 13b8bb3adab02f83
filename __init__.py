"""SketchSynth: sketches, strokes and exemplar photos become images with the models ComfyUI already has."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .nodes import NODES

WEB_DIRECTORY = "./web"


class SketchSynth(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> SketchSynth:
    return SketchSynth()
