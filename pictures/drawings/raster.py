"""Pictures made of pixels, in every mode that Pillow meets in the wild."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from . import foreign
from .source import LARGEST, Box, Size, Source, name_of

EXTENSIONS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"),
    *(".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".psd", ".jp2", ".jpx", ".jpf", ".j2k", ".ico", ".icns", ".dds"),
    *(".pcx", ".qoi", ".sgi", ".rgb", ".ras", ".xbm", ".xpm", ".fits", ".fit"),
    *(".exr", ".hdr", ".dpx", ".xwd"),
)
# Named one by one, because Pillow would otherwise hand an .eps in disguise to Ghostscript.
_FORMATS = (
    *("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "TGA", "PPM", "PSD", "AVIF", "JPEG2000", "ICO"),
    *("ICNS", "DDS", "PCX", "QOI", "SGI", "SUN", "XBM", "XPM", "FITS"),
)
# What Pillow lacks and the host's own loader reads through PyAV; a demuxer by name opens no other file.
_BY_AV = {".exr": "exr_pipe", ".hdr": "hdr_pipe", ".dpx": "dpx_pipe", ".xwd": "xwd_pipe"}
_SAMPLE = 512


def open_raster(path: Path) -> Source:
    """The first frame of a picture file, turned as its EXIF data says. Raises ValueError if it cannot be read."""
    if path.suffix.lower() in _BY_AV:
        return _whole(_open_by_av(path))
    Image.init()
    with _in_words(path):
        picture = Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])
    if picture.width * picture.height > LARGEST:
        picture.close()
        raise ValueError(_too_large(path, f"{picture.width} x {picture.height}"))
    if picture.format != "JPEG":  # others cannot be decoded smaller, and some of Pillow's readers turn them themselves
        with _in_words(path), picture:
            return _whole(simplify(ImageOps.exif_transpose(picture)))
    with _in_words(path):
        turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # EXIF orientations that lie on their side
    size = (picture.height, picture.width) if turned else (picture.width, picture.height)

    def load(box: Box, inner: Size) -> Image.Image:
        shrink = min((box[2] - box[0]) / inner[0], (box[3] - box[1]) / inner[1]) / 2
        with _in_words(path), picture:
            if shrink > 1:  # a JPEG can be decoded at 1/2, 1/4 or 1/8; twice what is needed is left for the real resize
                picture.draft(None, (int(picture.width / shrink), int(picture.height / shrink)))
            whole = simplify(ImageOps.exif_transpose(picture))
        return _crop(whole, box, whole.width / size[0], whole.height / size[1])

    return Source(size, load)


def read_picture(path: Path, mode: str = "RGB", least: Size | None = None) -> Image.Image:
    """A picture file in this Pillow mode, upright, what is transparent on white.

    least: (width, height) that the reader may decode it down to, if that is faster; the result is as large or larger,
    and its aspect stays. None: all pixels. Raises ValueError if it cannot be read."""
    source = open_raster(path)
    width, height = source.size
    picture = source.load((0, 0, width, height), least or (int(width), int(height)))
    if picture.mode == "F":
        picture = Image.fromarray((np.asarray(picture) * 255).round().clip(0, 255).astype(np.uint8))
    elif picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert(mode)


def _whole(picture: Image.Image) -> Source:
    return Source(picture.size, lambda box, inner: _crop(picture, box, 1.0, 1.0))


def _open_by_av(path: Path) -> Image.Image:
    """A picture through PyAV, which every ComfyUI has. Values above 1 (EXR, HDR) are cut off."""
    try:
        import av
    except ImportError as error:
        raise ValueError(f"{name_of(path)}: {path.suffix} files need PyAV. Export it as PNG.") from error
    with _in_words(path), av.open(str(path), format=_BY_AV[path.suffix.lower()]) as container:
        stream = container.streams.video[0]
        if stream.width * stream.height > LARGEST:
            raise ValueError(_too_large(path, f"{stream.width} x {stream.height}"))
        frame = next(container.decode(stream))
        values = frame.to_ndarray(format="gbrapf32le")  # red, green, blue, alpha, whatever the file holds
    values = np.nan_to_num(values, posinf=1.0, neginf=0.0).clip(0, 1)
    return simplify(Image.fromarray((values * 255).round().astype(np.uint8), "RGBA"))


def simplify(picture: Image.Image) -> Image.Image:
    """Any Pillow picture as RGB, as RGBA if something of it is transparent, or as F in 0..1 if it is deep grey."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_unit_range(np.asarray(picture).astype(np.float32), picture.mode))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return picture if np.asarray(picture)[..., 3].min() < 255 else picture.convert("RGB")


def _unit_range(values: np.ndarray, mode: str) -> np.ndarray:
    """Deep grey as 0..1. Whole numbers and 16 bits have a known white; floats are taken for 0..1, 0..255 or 0..65535.

    A few values may lie beyond (renders, resampled scans): they are cut off. Floats of any other range, as of
    measurements, are stretched from their smallest to their largest.
    """
    if mode.startswith("I;16"):
        return values / 65535
    if mode.startswith("I"):
        return (values / next((full for full in (255.0, 65535.0) if full >= values.max()), values.max())).clip(0, 1)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros_like(values)
    low, high = (float(edge) for edge in np.percentile(finite, (0.5, 99.5)))
    positive = finite[finite > 0]
    middle = float(np.median(positive)) if positive.size else 0.0
    white = 1.0 if middle <= 1 else next((full for full in (255.0, 65535.0) if high <= 1.05 * full), 0.0)
    black = 0.0
    if not white or low < -0.1 * white or (white == 65535.0 and high < 16384):
        black, white = float(finite.min()), float(finite.max())
    stretched = (values - black) / max(white - black, 1e-12)
    return np.nan_to_num(stretched, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)


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
    except ValueError as error:
        if str(error).startswith(name_of(path)):  # already our own sentence
            raise
        raise ValueError(_damaged(path, error)) from error
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(path, "far too many")) from error
    except Image.UnidentifiedImageError as error:
        raise ValueError(
            foreign.told(path, pixels=False)
            or f"{name_of(path)} is not a picture of a kind read here, or is damaged from its first bytes. Export it "
            "as PNG."
        ) from error
    except Exception as error:  # decoders raise what comes to hand: OSError, SyntaxError, struct.error, zlib.error ...
        raise ValueError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    return f"{name_of(path)} is damaged or cut off ({error}). Copy or download it again, or export it anew as PNG."


def _too_large(path: Path, pixels: str) -> str:
    return (
        f"{name_of(path)} has {pixels} pixels; {LARGEST // 1_000_000} million at most are read. Make it smaller first."
    )
