"""Files that are pictures or drawings to a person but are not read here: what they are, and what to do with them.

Known by their ending, or by how they begin: a photo from the web is often another kind than its name says.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .source import name_of

_EXPORT = "Export it as PNG in the program that made it."
_LAYERS = "Export it as PNG, with a transparent background if it has one, in the program that made it."


class Kind(NamedTuple):
    """what: with its article. endings: in small letters. begins: a pattern of its first bytes. advice: a sentence."""

    what: str
    endings: tuple[str, ...]
    begins: bytes | None
    advice: str


_KINDS = (
    Kind(
        "a HEIC photo, as iPhones take them",
        (".heic", ".heif", ".hif", ".heics"),
        rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)(?!.{0,40}avi[fs])",
        "Save it as PNG or JPEG in your photo program, or set the phone to take JPEGs (Camera, Formats, Most "
        "Compatible).",
    ),
    Kind(
        "a JPEG XL picture",
        (".jxl",),
        rb"\xff\x0a|\0\0\0\x0cJXL ",
        "Save it as PNG or JPEG in a program that opens it, such as GIMP or Krita.",
    ),
    Kind(
        "an AVIF picture of a kind that this Pillow cannot decode", (), rb".{4}ftypavi[fs]", "Save it as PNG or JPEG."
    ),
    Kind(
        "a camera's raw photo",
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw"),
        rb"FUJIFILMCCD-RAW|.{4}ftypcrx |II\*\0.{4}CR|IIRO",
        "Develop it to JPEG or PNG in your photo program.",
    ),
    Kind("a PDF document", (".pdf",), rb"%PDF", "Export the page as SVG or PNG."),
    Kind(
        "a PostScript or Illustrator drawing",
        (".ai", ".eps", ".ps"),
        rb"%!PS|\xc5\xd0\xd3\xc6",
        "Export it as SVG or PNG in your drawing program.",
    ),
    Kind("a Krita painting", (".kra", ".krz"), rb"PK\x03\x04.{26}mimetypeapplication/x-krita", _LAYERS),
    Kind("an OpenRaster painting", (".ora",), rb"PK\x03\x04.{26}mimetypeimage/openraster", _LAYERS),
    Kind("a GIMP picture", (".xcf",), rb"gimp xcf", _LAYERS),
    Kind("a Procreate painting", (".procreate",), None, _LAYERS),
    Kind("a Clip Studio painting", (".clip",), rb"CSFCHUNK", _LAYERS),
    Kind("a SAI painting", (".sai", ".sai2"), rb"SAI-CANVAS", _LAYERS),
    Kind("a Paint.NET picture", (".pdn",), rb"PDN3", _LAYERS),
    Kind("a large Photoshop document", (".psb",), rb"8BPS\0\x02", _LAYERS),
    Kind("an Affinity document", (".afdesign", ".afphoto", ".af"), rb"\0\xffKA", _LAYERS),
    Kind("a CorelDRAW, Sketch or Figma document", (".cdr", ".sketch", ".fig"), rb"RIFF.{4}CDR", _EXPORT),
    Kind("an Excalidraw or draw.io document", (".excalidraw", ".drawio", ".tldr"), None, "Export it as SVG or PNG."),
    Kind("a Windows metafile", (".wmf", ".emf"), rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", _EXPORT),
    Kind("a CAD drawing", (".dxf", ".dwg"), rb"AC10\d\d", "Export it as SVG."),
    Kind("a web page", (".html", ".htm", ".mht"), rb"\s*<(!doctype html|html)", "Save its picture itself."),
    Kind("a pointer of Git LFS", (), rb"version https://git-lfs", "Fetch the file itself with `git lfs pull`."),
    Kind("a compressed folder", (".zip", ".rar", ".7z"), rb"PK\x03\x04|Rar!|7z\xbc\xaf", "Unpack it first."),
    Kind(
        "a video",
        (".mp4", ".mov", ".webm", ".mkv", ".avi"),
        rb".{4}ftyp(isom|iso\d|mp4\d|qt  |M4V )|\x1aE\xdf\xa3|RIFF.{4}AVI ",
        "Save one of its pictures as PNG.",
    ),
)
_NAMED = {ending: kind for kind in _KINDS for ending in kind.endings}
_SVG = {rb"(\xef\xbb\xbf)?\s*<(\?xml|svg|!--|!DOCTYPE svg)": ("an SVG drawing", ".svg")}
_PIXELS = {  # read here under their own ending
    rb"\x89PNG\r\n": ("a PNG picture", ".png"),
    rb"\xff\xd8\xff": ("a JPEG picture", ".jpg"),
    rb"GIF8[79]a": ("a GIF picture", ".gif"),
    rb"RIFF.{4}WEBP": ("a WebP picture", ".webp"),
    rb"8BPS\0\x01": ("a Photoshop picture", ".psd"),
    rb"II\*\0|MM\0\*": ("a TIFF picture", ".tif"),
}
ENDINGS = frozenset(ending for kind in _KINDS[:-4] for ending in kind.endings)
"""Endings of files that somebody may take for a picture that is read here."""


def told(path: Path, pixels: bool = True) -> str | None:
    """A sentence on what a file is that cannot be read, and what to do; None if it is of no kind known here.

    pixels: whether PNG and the like under a wrong ending are told. Pillow reads them so; what it cannot is damaged.
    """
    ending = path.suffix.lower()
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError:
        head = b""
    misnamed = {**_SVG, **(_PIXELS if pixels else {})} if ending not in _NAMED else {}
    for pattern, (what, right) in misnamed.items():
        if _begins(pattern, head) and ending not in (right, ".svgz"):
            return f"{name_of(path)} is {what} under another ending. Rename it so that it ends in {right}."
    by_content = (kind for kind in _KINDS if kind.begins is not None and _begins(kind.begins, head))
    kind = _NAMED.get(ending) or next(by_content, None)
    return kind and f"{name_of(path)} is {kind.what}, which is not read here. {kind.advice}"


def _begins(pattern: bytes, head: bytes) -> bool:
    return re.match(pattern, head, re.S | re.I) is not None
