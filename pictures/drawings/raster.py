"""Pictures made of pixels, in every mode that Pillow meets in the wild."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .source import LARGEST, Box, Size, Source

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".tga", ".ppm", ".pgm", ".psd", ".avif"),
)
# Named one by one, because Pillow would otherwise hand an .eps in disguise to Ghostscript.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "TGA", "PPM", "PSD", "AVIF")
_SAMPLE = 512


def open_raster(path: Path) -> Source:
    """The first frame of a picture file, turned as its EXIF data says. Raises ValueError if it cannot be read."""
    Image.init()
    with _in_words(path):
        picture = Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])
    if picture.width * picture.height > LARGEST:
        picture.close()
        raise ValueError(_too_large(path, f"{picture.width} x {picture.height}"))
    with _in_words(path):
        turned = picture.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 lie on their side
    size = (picture.height, picture.width) if turned else (picture.width, picture.height)

    def load(box: Box, inner: Size) -> Image.Image:
        shrink = min((box[2] - box[0]) / inner[0], (box[3] - box[1]) / inner[1]) / 2
        with _in_words(path), picture:
            if shrink > 1:  # a JPEG can be decoded at 1/2, 1/4 or 1/8; twice what is needed is left for the real resize
                picture.draft(None, (int(picture.width / shrink), int(picture.height / shrink)))
            whole = simplify(ImageOps.exif_transpose(picture))
        return _crop(whole, box, whole.width / size[0], whole.height / size[1])

    return Source(size, load)


def simplify(picture: Image.Image) -> Image.Image:
    """Any Pillow picture as RGB, as RGBA if something of it is transparent, or as F in 0..1 if it is deep grey."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture).astype(np.float32)
        fitting = [full for full in (1.0, 255.0, 65535.0) if full >= values.max()]
        if picture.mode != "F":
            fitting = [65535.0] if picture.mode.startswith("I;16") else fitting[-2:]
        return Image.fromarray(values / (fitting[0] if fitting else values.max()))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return picture if np.asarray(picture)[..., 3].min() < 255 else picture.convert("RGB")


def resize(picture: Image.Image, size: Size) -> Image.Image:
    """To `size`, without the halos that filters with negative lobes draw around lines. Transparency is weighed in."""
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)


def sample(picture: Image.Image) -> np.ndarray:
    """At most 512x512 of its pixels, picked and not averaged (thin lines keep their colour): [h, w, 4], 0..1."""
    size = (min(picture.width, _SAMPLE), min(picture.height, _SAMPLE))
    return to_rgba(picture.resize(size, Image.Resampling.NEAREST))


def to_rgba(picture: Image.Image) -> np.ndarray:
    """RGB, RGBA or F as [h, w, 4] float32, 0..1, alpha not multiplied in."""
    values = np.asarray(picture, np.float32)
    values = values[..., None].repeat(3, axis=2) if values.ndim == 2 else values / 255
    alpha = values[..., 3:] if values.shape[2] == 4 else np.ones_like(values[..., :1])
    return np.concatenate((values[..., :3], alpha), axis=2)


def _crop(picture: Image.Image, box: Box, across: float, down: float) -> Image.Image:
    left, top = int(box[0] * across), int(box[1] * down)
    right, bottom = max(left + 1, round(box[2] * across)), max(top + 1, round(box[3] * down))
    return picture.crop((left, top, right, bottom))


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(path, "far too many")) from error
    except Image.UnidentifiedImageError as error:
        raise ValueError(
            f"{path.name} is not a picture of a kind read here, or is damaged from its first bytes. Export it as PNG."
        ) from error
    except Exception as error:  # decoders raise what comes to hand: OSError, SyntaxError, struct.error, zlib.error ...
        raise ValueError(
            f"{path.name} is damaged or cut off ({error}). Copy or download it again, or export it anew as PNG."
        ) from error


def _too_large(path: Path, pixels: str) -> str:
    return f"{path.name} has {pixels} pixels; {LARGEST // 1_000_000} million at most are read. Make it smaller first."
