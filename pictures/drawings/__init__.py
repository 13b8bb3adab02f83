"""Reading drawings: any picture file, an SVG, or a QuickDraw stroke file, laid on paper.

Only Pillow and numpy (for SVG also resvg_py), no torch and no host. One file per format (raster, svg, quickdraw), each
giving a `Source`; `frame` decides which part of it lands where, `ink` tells drawing from paper.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ImageChops

from . import foreign, ink, raster
from . import frame as framing
from .source import Source, name_of

KINDS = ("auto", ink.LINES, ink.PAINTING)
INVERT = ("auto", "yes", "no")
FRAMES = framing.FRAMES
_SVG, _QUICKDRAW = (".svg", ".svgz"), ".ndjson"
EXTENSIONS = (*raster.EXTENSIONS, *_SVG, _QUICKDRAW)
_BAND = 512  # rows worked on at a time: the temporaries of an 8k picture stay small


class Drawing(NamedTuple):
    """rgb [H, W, 3] on paper and ink [H, W], 1 where the pen or brush went; float32, 0..1.

    notes: sentences for the person on what "auto" has decided and what of the file was left out.
    """

    rgb: np.ndarray
    ink: np.ndarray
    kind: str
    inverted: bool
    notes: tuple[str, ...] = ()


def read_drawing(
    path: str | Path,
    *,
    kind: str = "auto",
    paper: tuple[float, float, float] = (1.0, 1.0, 1.0),
    invert: str = "auto",
    size: int = 0,
    frame: str = framing.KEEP,
    index: int = 0,
    masked: bool = False,
) -> Drawing:
    """The drawing in the file `path`, on paper of the colour `paper` (RGB, 0..1).

    kind: one of KINDS. A line drawing is one ink on one paper; its own paper is exchanged for `paper`. A colour
    painting keeps its colours, and `paper` fills what is transparent.
    invert: one of INVERT. "auto" turns white-on-black line drawings into dark on light if the paper is light; coloured
    ink that shows on the paper keeps its colour.
    size: 0 = as drawn; else the longer side in pixels, a multiple of 8 (the other side then is one, too).
    frame: one of FRAMES.
    index: which drawing of a QuickDraw file, from 0.
    masked: what is transparent is a mask painted on the picture, as the editor's mask editor saves it: the colours
    below count, and `ink` is that mask. Without anything transparent it is an ordinary drawing.
    Raises ValueError, in words for the user, for any file that cannot be read so.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in EXTENSIONS:
        raise ValueError(not_read(path))
    if not path.is_file():
        raise ValueError(f"{name_of(path)} is not there any more. Choose another drawing, or copy it back.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise ValueError(f"{name_of(path)} cannot be opened ({error.strerror}). Check its permissions.") from error
    if empty:
        raise ValueError(f"{name_of(path)} is empty (0 bytes). Save or copy the drawing again.")
    try:
        source = _open(path, suffix, index)
    except ValueError as error:
        other = foreign.told(path) if suffix not in raster.EXTENSIONS else None  # raster.py tells its own
        if other is None:
            raise
        raise ValueError(other) from error
    fit = framing.fit(source.size, size, frame)
    picture = source.load(fit.box, fit.inner)
    mask = None
    if masked and picture.mode == "RGBA":
        mask = ImageChops.invert(picture.getchannel("A"))
        picture = picture.convert("RGB")
    sheet = np.array(paper, np.float32)
    taken = source.kind if kind == "auto" and source.kind else kind
    style = ink.judge(raster.sample(picture), sheet, taken, invert)
    picture = raster.resize(picture, fit.inner)

    width, height = fit.canvas
    left, top = (width - picture.width) // 2, (height - picture.height) // 2
    rgb = np.empty((height, width, 3), np.float32)
    rgb[:] = sheet
    covered = np.zeros((height, width), np.float32)
    for row in range(0, picture.height, _BAND):
        end = min(row + _BAND, picture.height)
        band = raster.to_rgba(picture.crop((0, row, picture.width, end)))
        there = slice(top + row, top + end), slice(left, left + picture.width)
        rgb[there], covered[there] = ink.lay_on_paper(band, sheet, style)
    notes = (*source.notes, *style.notes)
    if mask is not None:
        mask = np.asarray(raster.resize(mask, fit.inner), np.float32) / 255
        covered[:] = 0
        covered[top : top + picture.height, left : left + picture.width] = mask
        notes += ("The mask is the one from the mask editor.",)
    return Drawing(rgb, covered, style.kind, style.inverted, notes)


def not_read(path: Path) -> str:
    """The sentence for a file whose ending is none of EXTENSIONS: what it is, where that is known."""
    return foreign.told(path) or (
        f"{name_of(path)} is not a drawing this node reads. It reads {', '.join(EXTENSIONS)}."
    )


def foreign_in(folder: Path) -> list[str]:
    """Sentences for the files of a folder that may be pictures to a person but are not read here, by name."""
    return [text for path in files_in(folder, tuple(foreign.ENDINGS)) if (text := foreign.told(path))]


def files_in(folder: Path, extensions: tuple[str, ...], prefix: str = "") -> list[Path]:
    """The files of a folder with these endings by name, those that begin so; its sub-folders are not looked into."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in extensions and path.name.startswith(prefix) and path.is_file()
    )


def _open(path: Path, suffix: str, index: int) -> Source:
    """The drawing by its format. Readers of lines and shapes are imported here: most sessions read pixels alone."""
    if suffix in _SVG:
        from .svg import open_svg

        return open_svg(path)
    if suffix == _QUICKDRAW:
        from .quickdraw import open_quickdraw

        return open_quickdraw(path, index)
    return raster.open_raster(path)
