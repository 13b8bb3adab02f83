"""Doors for drawings: SketchLoader reads one from a file, SketchPhotoToStrokes makes one of a photograph."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy.utils import ProgressBar
from comfy_api.latest import io, ui

from .. import files, host
from ..pictures.drawings import EXTENSIONS, FRAMES, INVERT, KINDS, Drawing, not_read, read_drawing
from ..pictures.drawings.ink import LINES
from ..pictures.fit import as_rgb
from ..pictures.lines import LINES_ALONE
from ..pictures.painters import simulate_strokes
from .parts import search, wiring
from .parts.folders import BATCH_FOLDER, CANVAS_FOLDER, input_file
from .parts.inputs import rgb
from .parts.samples import find_sample, show_samples

MASK_EDITOR = "clipspace-"  # how the names of the mask editor's files begin; older editors put them into "clipspace/"
OTHERS = ("clipspace", CANVAS_FOLDER, BATCH_FOLDER)  # folders of files that no person chooses
LARGE = 2048  # longer side, in pixels, from which a drawing is larger than any model paints
# Longer side of what is shown. At its own size a drawing is shown whole: a Painter takes the size of its canvas from
# that, before the run from the file, and strokes would move if the two differed.
_PREVIEW, _WHOLE = 512, 4096


class SketchLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchLoader",
            display_name="Load Sketch",
            category="sketch/drawing",
            description="Reads a drawing from a picture file, an SVG or a QuickDraw stroke file: "
            "as an image on paper of your colour, and as a mask of its ink.",
            search_aliases=[
                *("load drawing", "load sketch", "load painting", "open svg", "svg to image", "quickdraw", "ndjson"),
                *("mask editor", "SDEdit", "GradOP", "Inversion-by-Inversion", *search.SKETCH, *search.STROKES),
            ],
            inputs=[
                io.Combo.Input(
                    "image",  # the mask editor and Paste (Clipspace) write to the widget of this name and to no other
                    display_name="file",
                    options=[*show_samples(), *_input_files()],
                    default="mountain lake (sample).png [temp]",
                    upload=io.UploadType.image,
                    tooltip="A drawing of ComfyUI's input folder or its sub-folders, or one of the samples that come "
                    "with the pack. Read are the picture formats of Load Image (PNG, JPEG, WebP, TIFF, PSD and many "
                    "more), SVG, compressed or not, and QuickDraw (.ndjson). The upload button offers PNG, JPEG and "
                    "WebP; drop an SVG on the node, or copy any other file into the input folder.",
                ),
                io.Combo.Input(
                    "kind",
                    options=list(KINDS),
                    tooltip="Line drawing: one ink on one paper, whose paper is exchanged for yours. Colour painting: "
                    "keeps its colours. Auto takes thin strokes of one colour, or a single colour on transparency, for "
                    "lines, anything else for a painting; the node says what it has decided.",
                ),
                io.Color.Input(
                    "paper",
                    default="#ffffff",
                    tooltip="Colour of the paper, #rrggbb: shows where the drawing is transparent, behind line "
                    "drawings, where a square is padded. In a painting without transparency it counts as unpainted.",
                ),
                io.Combo.Input(
                    "invert",
                    options=list(INVERT),
                    advanced=True,
                    tooltip="Auto turns white-on-black line drawings into dark on light paper (and black on white "
                    "into light on dark paper), and leaves paintings and coloured ink that shows alone. Yes: any "
                    "drawing's negative. No: never.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=8192,
                    step=8,
                    tooltip="Longer side in pixels, 8 to 8192, a multiple of 8; the other side becomes one, "
                    "too. 0: as drawn. The starter prior paints at 64, SD1.5 at 512, SDXL at 1024.",
                ),
                io.Combo.Input(
                    "frame",
                    options=list(FRAMES),
                    tooltip="Keep aspect: sides are only trimmed by a few pixels to multiples of 8. Or a square, with "
                    "paper around the drawing or cut from its middle. A drawing is never squashed.",
                ),
                io.Int.Input(
                    "drawing_index",
                    default=0,
                    min=0,
                    max=100_000_000,
                    advanced=True,
                    tooltip="Which drawing of a QuickDraw file (.ndjson), counted from 0. Other files have only one.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The drawing on paper, [1, height, width, 3], 0 to 1."),
                io.Mask.Output(
                    "mask",
                    tooltip="Ink: 1 where pen or brush went, 0 on bare paper, soft at the edges. A painting that "
                    "leaves no paper bare is 1 all over. With a mask from the mask editor: that mask, 1 where it is "
                    "painted.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            has_intermediate_output=True,  # its picture is still there after the page is loaded again
        )

    @classmethod
    def validate_inputs(cls, image: str | None = None) -> bool | str:
        if image is None:  # comes from a link: known only when it runs
            return True
        try:
            _find(image)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, image: str | None = None, **_) -> str:
        if image is None:
            return ""
        digest = hashlib.sha256()
        with _find(image).open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    @classmethod
    def execute(
        cls, image: str, kind: str, paper: str, invert: str, size: int, frame: str, drawing_index: int
    ) -> io.NodeOutput:
        path = _find(image)
        drawing = read_drawing(
            path,
            kind=kind,
            paper=rgb(paper, "paper"),
            invert=invert,
            size=size,
            frame=frame,
            index=drawing_index,
            masked=path.name.startswith(MASK_EDITOR),
        )
        picture, ink = torch.from_numpy(drawing.rgb)[None], torch.from_numpy(drawing.ink)[None]
        skip = -(-max(drawing.ink.shape) // (_PREVIEW if size else _WHOLE))
        shown = ui.PreviewImage(picture[:, ::skip, ::skip]).as_dict()
        notes = [*drawing.notes, *_warnings(drawing, size, cls.hidden)]
        if notes:
            shown |= host.text_on_node(cls, "\n".join(notes)).as_dict()
        return io.NodeOutput(picture, ink, ui=shown)


class SketchPhotoToStrokes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPhotoToStrokes",
            display_name="Photo to Strokes",
            category="sketch/drawing",
            description="Repaints a photograph in a few flat strokes: the stroke simulator of SDEdit and GradOP (a "
            "median filter, then an adaptive palette).",
            search_aliases=[
                *("stroke simulator", "simulated strokes", "posterize", "median filter", "flat colours"),
                *("photo to painting", "SDEdit", "GradOP", *search.STROKES, *search.PALETTE),
            ],
            inputs=[
                io.Image.Input("image", tooltip="Photographs of any size; each of a batch gets its own palette."),
                io.Int.Input(
                    "median_size",
                    default=23,
                    min=1,
                    max=99,
                    step=2,
                    tooltip="Side of the median filter, odd, 1 (none) to 99: the width of the brush. Measured in "
                    "pixels of a 256x256 picture whatever the actual size. Published: 23.",
                ),
                io.Int.Input(
                    "colours",
                    default=6,
                    min=2,
                    max=64,
                    tooltip="Number of colours per painting, 2 to 64. Published: 6. More colours stay closer to the "
                    "photo.",
                ),
            ],
            outputs=[
                io.Image.Output("strokes", tooltip="The stroke paintings, same size and batch as the photographs.")
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, median_size: int, colours: int) -> io.NodeOutput:
        image = as_rgb(image)
        progress = ProgressBar(len(image))  # Cancel takes effect at its updates
        painted = []
        for photo in image:
            painted.append(simulate_strokes(photo[None], median_size, colours))
            progress.update(1)
        return io.NodeOutput(torch.cat(painted))


def _input_files() -> list[str]:
    """Drawings of the input folder, then those of its sub-folders, with / on every system. Links to other folders are
    not followed, since what lies outside is not read. The files of the mask editor, of Sketch Canvas and of
    `python3 batch` are left out: these choose them themselves."""
    return _files_below(folder_paths.get_input_directory(), "")


def _files_below(folder: str, within: str) -> list[str]:
    """Those of a folder. Plain strings: ComfyUI asks several times for each prompt, and there may be 30,000 files."""
    found, inner = [], []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if name not in OTHERS and not name.startswith("."):
                    inner.append(name)
            elif os.path.splitext(name)[1].lower() not in EXTENSIONS or name.startswith(MASK_EDITOR):
                continue
            elif entry.is_file():
                found.append(within + name)
    for name in inner:
        found += _files_below(os.path.join(folder, name), f"{within}{name}/")
    return found


def _warnings(drawing: Drawing, size: int, hidden: Any) -> list[str]:
    """What a person would otherwise learn from a strange result."""
    height, width = drawing.ink.shape
    found = []
    if not drawing.ink.any():
        found.append("Nothing is drawn here: all of it is bare paper, or transparent.")
    elif drawing.kind == LINES and hidden:
        uses = wiring.uses(hidden.prompt, hidden.unique_id, 0)
        if any((use.type, use.input) == ("NoiseToT0", "latent") for use in uses):
            found.append(LINES_ALONE)
    if size == 0 and max(height, width) > LARGE:
        found.append(f"It comes out at {width} x {height} pixels, and models paint at 512 to 1024: set size.")
    return found


def _find(file: str) -> Path:
    """The path behind the widget's text: a sample's, or one in the input folder, in temp for "name [temp]" (a picture
    pasted from Preview Image), in output for "name [output]". ValueError: there is no such drawing, or it lies
    outside."""
    if not files.check_name(file, "drawing").strip():
        raise ValueError("No drawing is chosen. Choose a sample, or upload a drawing of your own.")
    sample = find_sample(file)
    if sample is not None:
        return sample
    path = input_file(file, "drawing")
    if path.suffix.lower() not in EXTENSIONS:
        raise ValueError(not_read(path))
    return path


NODES = [SketchLoader, SketchPhotoToStrokes]
