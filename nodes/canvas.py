"""Sketch Canvas: a painting made in the editor (web/canvas), its ground, and the words of its colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..guidance.regions.regions import Regions, painted
from ..pictures import canvas, palettes
from ..pictures.fit import as_rgb
from .parts import search
from .parts.checks import check_numbers
from .parts.folders import CANVAS_FOLDER, input_file, state_of
from .parts.inputs import rgb
from .parts.samples import find_sample
from .parts.sockets import RegionsSocket

PALETTE = """#9cc4ea: sky
#f4f6fa: snow
#79808f: mountains
#5b8c4a: hills
#3b6ea5: a lake
#2f5d3a: trees
#e2c48d: sand
#1b1b1b:"""
"""Colours of a fresh canvas, with words that the starter knows; the last one, without words, is ink."""
_SHOWN = 1024  # pixels of the ground that the editor shows below the strokes


class SketchCanvas(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        hidden: dict[str, Any] = {"hidden": True}  # set on the canvas itself, not in rows of their own
        return io.Schema(
            node_id="SketchCanvas",
            display_name="Sketch Canvas",
            category="sketch/drawing",
            description="Paint in the node, with mouse, pen or finger: strokes above paper, a photo or the last "
            "result. Colours can carry words. With Run (On Change), every stroke becomes a picture.",
            search_aliases=[
                *(
                    "paint",
                    "painter",
                    "canvas",
                    "draw",
                    "brush",
                    "live painting",
                    "paint with words",
                    "画布",
                    "绘画",
                    "キャンバス",
                ),
                *("SDEdit", "GradOP", *search.SKETCH, *search.STROKES, *search.PALETTE, *search.REGIONAL),
            ],
            inputs=[
                io.String.Input(
                    "painting",
                    default="",
                    socketless=True,
                    extra_dict={"widgetType": "SKETCH_CANVAS"},
                    tooltip=f"The strokes: a PNG with transparency in the folder {CANVAS_FOLDER} of ComfyUI's input "
                    "folder, saved after every stroke under a new name. Empty: nothing is painted yet.",
                ),
                io.String.Input(
                    "photo",
                    default="",
                    socketless=True,
                    extra_dict=hidden,
                    tooltip="The ground below the strokes: a picture of ComfyUI's input folder, uploaded or taken from "
                    "a result on the canvas. It covers the canvas and is cut at the sides. Empty: the connected "
                    "ground, or bare paper.",
                ),
                io.String.Input(
                    "paper",
                    default="#ffffff",
                    socketless=True,
                    extra_dict=hidden,
                    tooltip="Colour of the paper, #rrggbb; shows where there are neither strokes nor a ground.",
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    socketless=True,
                    extra_dict=hidden,
                    tooltip="Width of the canvas in pixels, 64 to 2048. A connected ground has its own.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    socketless=True,
                    extra_dict=hidden,
                    tooltip="Height of the canvas in pixels, 64 to 2048. A connected ground has its own.",
                ),
                io.String.Input(
                    "palette",
                    default=PALETTE,
                    multiline=True,
                    socketless=True,
                    extra_dict=hidden,
                    tooltip="The palette: one colour per line with its words, such as #3b6ea5: a lake. Colours without "
                    "words only paint.",
                ),
                io.Image.Input(
                    "ground",
                    optional=True,
                    tooltip="Any picture as the ground, one or a batch; the painting takes its size. The canvas shows "
                    "the first one once it has run. A photo chosen on the canvas takes its place.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    tooltip="The painting, [batch of the ground, height, width, 3], 0 to 1: strokes over ground.",
                ),
                io.Mask.Output(
                    "mask", tooltip="Where strokes are, [1, height, width]: their opacity, 0 on the bare ground."
                ),
                io.String.Output(
                    "legend",
                    tooltip="The painted colours that have words, one per line, such as #3b6ea5: a lake; for Regions "
                    "from Strokes.",
                ),
                RegionsSocket.Output(
                    "regions",
                    tooltip="One region for each painted colour that has words, for Cross-Attention Region Map. A "
                    "colour belongs to the nearest of the palette, if that is closer than 0.1 (black and white are 1 "
                    "apart). Without such strokes there is no region, and the prompt acts everywhere.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, painting: str | None = None, photo: str | None = None) -> bool | str:
        try:
            for name in (painting, photo):
                _file(name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, painting: str | None = None, photo: str | None = None, **_) -> str:
        found = (_file(painting), _file(photo))
        return state_of(path for path in found if path is not None)

    @classmethod
    def execute(
        cls,
        painting: str,
        photo: str,
        paper: str,
        width: int,
        height: int,
        palette: str,
        ground: Tensor | None = None,
    ) -> io.NodeOutput:
        check_numbers(width=width, height=height)
        entries = palettes.read_legend(palette)
        below, shown = _ground(photo, rgb(paper, "paper"), ground, height, width)
        height, width = below.shape[1:3]
        path = _file(painting)
        strokes = torch.zeros(height, width, 4) if path is None else canvas.read_layer(path, height, width)
        found = canvas.stroke_masks(strokes, entries)
        regions: Regions = ()
        for phrase, mask in found:
            regions = painted(mask, phrase, 1.0, regions)
        words = {phrase for phrase, _ in found}
        lines = [f"{palettes.hexadecimal(one.colour)}: {one.phrase}" for one in entries if one.phrase in words]
        image, mask = canvas.lay_over(strokes, below), strokes[None, ..., 3]
        return io.NodeOutput(image, mask, "\n".join(lines), regions, ui=shown)


def _ground(
    photo: str, paper: palettes.Colour, ground: Tensor | None, height: int, width: int
) -> tuple[Tensor, dict[str, Any] | None]:
    """What lies below the strokes [B, H, W, 3], and for the editor a picture and the size of a connected ground."""
    if ground is not None and not photo:
        below = as_rgb(ground, "ground")
        pictures = ui.PreviewImage(canvas.small(below[:1], _SHOWN)).as_dict()
        return below, {"ground": pictures["images"], "size": [below.shape[2], below.shape[1]]}
    below, path = canvas.bare(paper, height, width), _file(photo)
    return (below if path is None else canvas.lay_over(canvas.read_layer(path, height, width), below)), None


def _file(name: str | None) -> Path | None:
    """The path behind the text of a widget: a file of the host's folders, or a sample. ValueError: it is not there."""
    if not name or not name.strip():
        return None
    return find_sample(name) or input_file(name, "painting")


NODES = [SketchCanvas]
