"""Folders of sketches and exemplars, paired: whatever is connected runs once for each pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path

import folder_paths
import torch
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor

from .. import files, host
from ..pictures.drawings import EXTENSIONS, FRAMES, files_in, foreign_in, raster, read_drawing
from ..pictures.drawings.ink import PAINTING
from ..pictures.fit import fit_image
from .parts.folders import (
    BUILT_IN,
    ITSELF,
    are_there,
    input_folder,
    prefix_of,
    state_of,
)

IN_ORDER, ALL = "in order, the shorter folder repeats", "every sketch with every exemplar"
PAIRINGS = (IN_ORDER, ALL)
NAMED = 4  # files named before the rest is counted


class SketchPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        folders = [BUILT_IN, *folder_paths.get_input_subfolders(), ITSELF]
        return io.Schema(
            node_id="SketchPairs",
            display_name="Sketch and Exemplar Pairs",
            category="sketch/drawing",
            description="Pairs a folder of sketches with a folder of exemplar photos. All connected nodes run once "
            "per pair, in one queue entry.",
            search_aliases=[
                *("batch", "folder", "load images from folder", "dataset", "pairs", "Inversion-by-Inversion"),
            ],
            inputs=[
                io.Combo.Input(
                    "sketches",
                    options=folders,
                    tooltip="A folder inside ComfyUI's input folder with line drawings or paintings: image files, "
                    "SVG, QuickDraw. Sub-folders are ignored. A dot is the input folder itself. Or the line drawings "
                    "that come with the pack.",
                ),
                io.Combo.Input(
                    "exemplars",
                    options=folders,
                    tooltip="A folder inside ComfyUI's input folder with photos, or the photos that come with the "
                    "pack. Each is cropped around its centre and resized to its sketch.",
                ),
                io.Combo.Input(
                    "pairing",
                    options=list(PAIRINGS),
                    tooltip="in order: first with first and so on, by file name; the shorter folder repeats until the "
                    "longer one is done. every: all combinations, exemplar by exemplar.",
                ),
                io.Int.Input(
                    "limit",
                    default=20,
                    min=1,
                    max=10_000,
                    tooltip="Maximum number of pairs, 1 to 10000; the first ones are used.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=8192,
                    step=8,
                    tooltip="Longer side in pixels, 8 to 8192, a multiple of 8. 0: the size of each sketch. The "
                    "starter prior works at 64, SD1.5 at 512, SDXL at 1024.",
                ),
                io.Combo.Input(
                    "frame",
                    options=list(FRAMES),
                    tooltip="keep aspect: sides are only trimmed to multiples of 8. Or a square: the whole sketch "
                    "padded with paper, or its middle.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "sketch", display_name="sketch", is_output_list=True, tooltip="One sketch per pair, on white."
                ),
                io.Image.Output(
                    "exemplar",
                    display_name="exemplar",
                    is_output_list=True,
                    tooltip="One exemplar per pair, the size of its sketch.",
                ),
                io.String.Output(
                    "name",
                    display_name="name",
                    is_output_list=True,
                    tooltip="exemplar-to-sketch for each pair: a file name for Save Image or a label for Contact "
                    "Sheet.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, sketches: str | None = None, exemplars: str | None = None) -> bool | str:
        return are_there(sketches, exemplars)

    @classmethod
    def fingerprint_inputs(cls, sketches: str | None = None, exemplars: str | None = None, **_) -> str:
        folders = (("sketches", sketches), ("exemplars", exemplars))
        known = [_files(what, folder, EXTENSIONS) for what, folder in folders if folder is not None]
        return state_of(path for files in known for path in files)

    @classmethod
    def execute(cls, sketches: str, exemplars: str, pairing: str, limit: int, size: int, frame: str) -> io.NodeOutput:
        skipped: list[str] = []
        notes: dict[str, list[str]] = {}
        drawings = _readable(
            "sketches", sketches, EXTENSIONS, lambda path: _picture(path, notes, size=size, frame=frame), limit, skipped
        )
        photos = _readable(
            "exemplars", exemplars, raster.EXTENSIONS, lambda path: _picture(path, notes, kind=PAINTING), limit, skipped
        )
        pairs = list(islice(paired(list(drawings), list(photos), pairing), limit))
        drawn = [drawings[sketch] for sketch, _ in pairs]
        painted = [fit_image(photos[photo], *drawings[sketch].shape[1:3]) for sketch, photo in pairs]
        names = [f"{photo.stem}-to-{sketch.stem}" for sketch, photo in pairs]
        text = f"{len(pairs)} pairs from {len(drawings)} sketches and {len(photos)} exemplars." + _noted(notes)
        if skipped:
            text += "\nSkipped, because they cannot be read:\n" + "\n".join(skipped)
        return io.NodeOutput(drawn, painted, names, ui=host.text_on_node(cls, text))


def paired(sketches: list, exemplars: list, pairing: str) -> Iterator[tuple]:
    """(sketch, exemplar) of each pair; neither list is empty."""
    if pairing == ALL:
        for exemplar, sketch in product(exemplars, sketches):
            yield sketch, exemplar
        return
    for i in range(max(len(sketches), len(exemplars))):
        yield sketches[i % len(sketches)], exemplars[i % len(exemplars)]


def _readable(
    what: str,
    folder: str,
    extensions: tuple[str, ...],
    read: Callable[[Path], Tensor],
    limit: int,
    skipped: list[str],
) -> dict[Path, Tensor]:
    """The first `limit` pictures of a folder by path; unreadable files go to `skipped` with the reason."""
    paths = _files(what, folder, extensions)
    if not paths:
        other = foreign_in(input_folder(folder))
        raise ValueError(
            f"The folder of {what} '{folder}' contains no readable file ({', '.join(extensions)}). Copy some into it, "
            "or choose another folder." + (f" The first of {len(other)} others: {other[0]}" if other else "")
        )
    progress = ProgressBar(min(limit, len(paths)))  # Cancel takes effect at its updates
    pictures: dict[Path, Tensor] = {}
    for path in paths:
        if len(pictures) == limit:
            break
        try:
            pictures[path] = read(path)
        except ValueError as error:
            name = files.quote(path.name)
            skipped.append(str(error) if path.name in str(error) else f"{name}: {error}")
            continue
        progress.update(1)
    if not pictures:
        raise ValueError(
            f"None of the files in the folder of {what} '{folder}' can be read. The first: {skipped[-len(paths)]}"
        )
    skipped += foreign_in(input_folder(folder))
    return pictures


def _picture(path: Path, notes: dict[str, list[str]], **settings) -> Tensor:
    """The picture of a file; what it has to say is added to `notes`, which has the files' names by sentence."""
    drawing = read_drawing(path, **settings)
    for note in drawing.notes:
        notes.setdefault(note, []).append(path.name)
    return torch.from_numpy(drawing.rgb)[None]


def _noted(notes: dict[str, list[str]]) -> str:
    """One line for each sentence, with the files that it is about."""
    lines = []
    for note, names in notes.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines.append(f"\n{', '.join(names[:NAMED])}{more}: {note}")
    return "".join(lines)


def _files(what: str, name: str, extensions: tuple[str, ...]) -> list[Path]:
    """The files of a folder with these extensions, by name; of the samples, those for `what`."""
    return files_in(input_folder(name), extensions, prefix_of(what, name))


NODES = [SketchPairs]
