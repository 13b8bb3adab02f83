"""Every kind of file the host's own loader reads, turned as they say, and floats of every range."""

from __future__ import annotations

import mimetypes
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.drawn import told


def picture(width: int = 64, height: int = 48) -> np.ndarray:
    """uint8 RGB, different in every channel and along both axes."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack((x * 4, y * 5, 255 - x * 2), axis=-1).astype(np.uint8)


def encode(ending: str, folder: Path) -> Path:
    """picture() in a file with this ending, by Pillow or, for what it cannot write, by PyAV."""
    path = folder / f"a{ending}"
    image = Image.fromarray(picture())
    written = {".jfif": "JPEG", ".jpe": "JPEG", ".rgb": "SGI", ".apng": "PNG", ".pnm": "PPM", ".j2k": "JPEG2000",
               ".jpx": "JPEG2000", ".jpf": "JPEG2000"}  # fmt: skip
    more = {".webp": {"lossless": True}, ".jfif": {"quality": 95}, ".jpe": {"quality": 95}, ".jpeg": {"quality": 95},
            ".jpg": {"quality": 95}, ".avif": {"quality": 95}}.get(ending, {})  # fmt: skip
    if ending in (".exr", ".hdr", ".dpx", ".xwd"):
        from av import VideoFrame
        from av.codec import CodecContext

        pixels = "gbrpf32le" if ending in (".exr", ".hdr") else "rgb24"
        coder: Any = CodecContext.create(ending[1:], "w")
        coder.width, coder.height, coder.pix_fmt, coder.time_base = 64, 48, pixels, Fraction(1, 1)
        frame = VideoFrame.from_ndarray(picture(), format="rgb24").reformat(format=pixels)
        frame.pts = 0
        path.write_bytes(b"".join(bytes(packet) for packet in [*coder.encode(frame), *coder.encode(None)]))
    elif ending in (".ico", ".icns"):
        image.resize((128, 128)).save(path)
    elif ending in (".pbm", ".xbm", ".xpm", ".psd", ".ras", ".fits", ".fit"):
        pytest.skip("no encoder here; .pbm and .xbm have a test of their own")
    elif ending == ".pfm":
        image.convert("L").convert("F").save(path)
    else:
        image.save(path, written.get(ending), **more)
    return path


def test_what_the_host_lists_is_listed_here(drawings):
    """LoadImage lists files by their MIME type: of those that Pillow decodes safely, none is missing."""
    Image.init()
    mimetypes.init()
    known = [ending for ending, name in Image.registered_extensions().items() if name not in ("EPS", "WMF", "BUFR")]
    images = [one for one in known if (mimetypes.guess_type(f"a{one}", strict=False)[0] or "").startswith("image/")]
    assert set(images) <= set(drawings.EXTENSIONS)
    assert ".jfif" in drawings.EXTENSIONS


@pytest.mark.parametrize("ending", [
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"),
    *(".tga", ".ppm", ".pnm", ".jp2", ".jpx", ".jpf", ".j2k", ".ico", ".icns", ".dds", ".pcx", ".qoi", ".sgi", ".rgb"),
    *(".exr", ".hdr", ".dpx", ".xwd", ".pfm"),
])  # fmt: skip
def test_every_ending(read, tmp_path, ending):
    path = encode(ending, tmp_path)
    rgb = read(path, kind="colour painting").rgb * 255
    if ending in (".ico", ".icns"):  # these hold sizes of their own
        assert rgb.std() > 20
        return
    expected = picture() if ending != ".pfm" else np.asarray(Image.fromarray(picture()).convert("L"))[..., None]
    lossy = (".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".avif", ".hdr", ".exr", ".dpx", ".xwd", ".jpx", ".jpf", ".j2k")
    assert rgb.shape == (48, 64, 3)
    assert np.abs(rgb - expected).mean() < (8 if ending == ".gif" else 2.5 if ending in lossy else 0.01)
    small = read(path, kind="colour painting", size=32).rgb
    assert small.shape == (24, 32, 3)


@pytest.mark.parametrize("ending", [".pbm", ".xbm"])
def test_one_bit_formats(read, tmp_path, ending):
    page = np.full((40, 56), 255, np.uint8)
    page[20, 5:50] = 0
    Image.fromarray(page).convert("1").save(tmp_path / f"a{ending}")
    assert np.array_equal(read(tmp_path / f"a{ending}", kind="line drawing").ink > 0.5, page == 0)


@pytest.mark.parametrize("ending", [".exr", ".hdr", ".dpx", ".xwd"])
def test_what_pyav_reads_is_told_when_damaged(read, tmp_path, ending):
    path = encode(ending, tmp_path)
    path.write_bytes(path.read_bytes()[:60])
    assert told(read, path).startswith(f"a{ending} is damaged or cut off")
    path.write_bytes(b"#EXTM3U\nhttp://127.0.0.1/a.png\n" * 4)
    assert told(read, path).startswith(f"a{ending} is damaged or cut off")


@pytest.mark.parametrize("ending", [".tif", ".jpg", ".png", ".webp", ".avif", ".mpo.jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_every_format(read, tmp_path, ending, orientation):
    """As LoadImage turns them; at any size, and never squashed."""
    upright = np.zeros((80, 40, 3), np.uint8)
    upright[:40, :20], upright[:40, 20:], upright[40:, :20] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = Image.fromarray(upright)
    stored = stored.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{ending}"
    kinds = {".tif": {"tiffinfo": {274: orientation}}, ".jpg": {"exif": exif, "quality": 95, "subsampling": 0},
             ".mpo.jpg": {"exif": exif, "quality": 95, "format": "MPO", "save_all": True}}  # fmt: skip
    stored.save(path, **kinds.get(ending, {"exif": exif, "lossless": True}))
    for size, shape in ((0, (80, 40)), (64, (64, 32)), (160, (160, 80))):
        drawing = read(path, kind="colour painting", invert="no", size=size)
        assert drawing.ink.shape == shape
        height, width = shape
        got = drawing.rgb[[height // 4, height // 4, 3 * height // 4], [width // 4, 3 * width // 4, width // 4]] * 255
        assert np.abs(got - [(200, 0, 0), (0, 200, 0), (0, 0, 200)]).max() < 14


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_tiff_orientation_in_every_compression(read, tmp_path, compression):
    upright = Image.fromarray(picture(80, 40))
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "a.tif", compression=compression, tiffinfo={274: 6})
    rgb = read(tmp_path / "a.tif", kind="colour painting").rgb * 255
    assert np.abs(rgb - picture(80, 40)).mean() < 4


# --- what is not read ------------------------------------------------------------------------------------------------

FOREIGN = {
    "a.heic": (b"\0\0\0\x24ftypheic", "a HEIC photo.*PNG or JPEG"),
    "a.HEIF": (b"", "a HEIC photo"),
    "photo.jpg": (b"\0\0\0\x24ftypmif1\0\0\0\0mif1heic", "a HEIC photo"),
    "a.jxl": (b"\xff\x0a", "a JPEG XL picture.*PNG or JPEG"),
    "b.png": (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    "a.dng": (b"II*\0", "a camera's raw photo"),
    "a.pdf": (b"%PDF-1.7", "a PDF document.*SVG or PNG"),
    "c.png": (b"%PDF-1.7", "a PDF document"),
    "c.svg": (b"%PDF-1.7", "a PDF document"),
    "a.ai": (b"%!PS-Adobe", "an? PostScript or Illustrator"),
    "a.eps": (b"%!PS-Adobe", "an? PostScript or Illustrator"),
    "a.xcf": (b"gimp xcf v011", "a GIMP picture"),
    "a.kra": (b"PK\x03\x04", "a Krita painting"),
    "d.png": (b"PK\x03\x04", "a compressed folder"),
    "a.clip": (b"CSFCHUNK", "a Clip Studio painting"),
    "e.png": (b"<!DOCTYPE html><html>", "a web page"),
    "e.svg": (b"<!DOCTYPE html><html>", "a web page"),
    "f.png": (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
    "g.jpg": (b"\0\0\0\x20ftypisom", "a video"),
    "h.png": (b"<?xml version='1.0'?><svg/>", "an SVG drawing under another ending.*ends in .svg"),
    "i.svg": (b"\x89PNG\r\n\x1a\n", "a PNG picture under another ending.*ends in .png"),
    "i.ndjson": (b"\xff\xd8\xff\xe0", "a JPEG picture under another ending.*ends in .jpg"),
    "kept": (b"\xff\xd8\xff\xe0", "a JPEG picture under another ending"),
    "i.txt": (b"words", "not a drawing this node reads. It reads .png"),
    "j.png": (b"\x89PNG\r\n\x1a\nnothing", "damaged"),
    "j.gif": (b"words", "not a picture of a kind read here"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_read_is_named(read, tmp_path, name):
    begins, sentence = FOREIGN[name]
    (tmp_path / name).write_bytes(begins + bytes(60))
    found = told(read, tmp_path / name)
    assert re.search(sentence, found), found
    assert found.startswith(name)
    assert found.count(name) == 1, "once is enough"


def test_wrong_names_that_pillow_does_not_mind(read, tmp_path):
    """Photos from the web often have another kind than their name says."""
    Image.fromarray(picture()).save(tmp_path / "a.png", "WEBP", lossless=True)
    assert np.abs(read(tmp_path / "a.png", kind="colour painting").rgb * 255 - picture()).max() < 1


# --- floats ----------------------------------------------------------------------------------------------------------


def ramp(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 64, dtype=np.float32)[None].repeat(40, axis=0)


FLOATS = {
    "unit": (ramp(0, 1), 0, 1),
    "a pixel above": (ramp(0, 1), 0, 1, [(3, 3, 1.02)]),
    "a lamp far above": (ramp(0, 1), 0, 1, [(3, 3, 900.0), (3, 4, 1e6)]),
    "a pixel below": (ramp(0, 1), 0, 1, [(3, 3, -0.3)]),
    "ringing": (ramp(-0.04, 1.04), 0, 1),
    "dark": (ramp(0, 0.2), 0, 1),
    "not a number": (ramp(0, 1), 0, 1, [(3, 3, np.nan), (4, 4, np.inf), (5, 5, -np.inf)]),
    "bytes": (ramp(0, 255), 0, 255),
    "bytes with ringing": (ramp(-6, 262), 0, 255),
    "bytes, a pixel above": (ramp(0, 255), 0, 255, [(3, 3, 300.0)]),
    "sixteen bits": (ramp(0, 65535), 0, 65535),
    "measurements": (ramp(-1000, 3000), -1000, 3000),
    "heights": (ramp(300, 4000), 300, 4000),
}


@pytest.mark.parametrize("name", FLOATS)
def test_float_tiff_of_every_range(read, tmp_path, name):
    values, low, high, *odd = FLOATS[name]
    values = values.copy()
    for y, x, value in odd[0] if odd else []:
        values[y, x] = value
    Image.fromarray(values).save(tmp_path / "a.tif")
    rgb = read(tmp_path / "a.tif", kind="colour painting", invert="no").rgb
    expected = np.clip((values - low) / (high - low), 0, 1)
    good = np.isfinite(values)
    assert np.isfinite(rgb).all()
    assert np.abs(rgb[good] - expected[good, None]).max() < 0.01


def test_an_empty_float_tiff_is_black(read, tmp_path):
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif", kind="colour painting").rgb.max() == 0


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".svg", ".ndjson", ".exr", ".txt"])
def test_a_name_that_is_not_utf8_can_be_told(read, tmp_path, ending):
    """The host's log and sockets cannot carry the raw name."""
    path = tmp_path / f"bad\udcff{ending}"
    try:
        path.write_bytes(b"nonsense")
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    sentence = told(read, path)
    assert sentence.startswith(f"bad\\udcff{ending}")
    sentence.encode("utf-8")
