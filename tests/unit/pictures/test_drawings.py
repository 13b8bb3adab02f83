"""Reading drawings: every pixel format and frame, ink from paper, damaged files."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from helpers.drawn import told

WHITE = (1.0, 1.0, 1.0)
READS = (
    ".png, .apng, .jpg, .jpeg, .jpe, .jfif, .webp, .gif, .bmp, .dib, .tif, .tiff, .avif, .tga, .ppm, .pgm, .pbm, .pnm, "
    ".pfm, .psd, .jp2, .jpx, .jpf, .j2k, .ico, .icns, .dds, .pcx, .qoi, .sgi, .rgb, .ras, .xbm, .xpm, .fits, .fit, "
    ".exr, .hdr, .dpx, .xwd, .svg, .svgz, .ndjson"
)


def gradient(width: int = 24, height: int = 16) -> np.ndarray:
    """uint8 RGB [h, w, 3], different in every channel and along both axes."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack((x * 255 // (width - 1), y * 255 // (height - 1), 255 - x * 128 // width), axis=-1).astype(np.uint8)


def lines(width: int = 120, height: int = 90, ink: int = 0, paper: int = 255) -> np.ndarray:
    """A cross and a frame of thin lines, uint8 [h, w]."""
    page = np.full((height, width), paper, np.uint8)
    page[height // 2, 10:-10] = ink
    page[10:-10, width // 3 : width // 3 + 2] = ink
    page[12, 12:-12] = ink
    return page


# --- pixels: every mode gives the same picture -----------------------------------------------------------------------


def save(picture: Image.Image, path: Path, **more) -> Path:
    picture.save(path, **more)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tga", "a.tif", "a.tiff", "a.ppm", "a.webp", "A.PNG"])
def test_rgb_is_exact(read, tmp_path, name):
    path = save(Image.fromarray(gradient()), tmp_path / name, **({"lossless": True} if "webp" in name else {}))
    drawing = read(path)
    assert drawing.rgb.dtype == drawing.ink.dtype == np.float32
    assert np.array_equal(np.round(drawing.rgb * 255), gradient())
    assert drawing.kind == "colour painting"


def test_jpeg_is_close(read, tmp_path):
    path = save(Image.fromarray(gradient(240, 160)), tmp_path / "a.jpg", quality=95)
    assert np.abs(read(path).rgb * 255 - gradient(240, 160)).mean() < 3


def grey_files(folder: Path) -> dict[str, Path]:
    """One grey ramp in every depth that files come in."""
    ramp = np.linspace(0, 255, 64).round().astype(np.uint8)[None].repeat(40, axis=0)
    deep = ramp.astype(np.uint16) * 257
    grey = Image.fromarray(ramp)
    alpha = Image.new("L", grey.size, 255)
    return {
        "L": save(grey, folder / "l.png"),
        "LA": save(Image.merge("LA", (grey, alpha)), folder / "la.png"),
        "P": save(grey.convert("P"), folder / "p.png"),
        "I;16 png": save(Image.fromarray(deep), folder / "i16.png"),
        "I;16 tiff": save(Image.fromarray(deep), folder / "i16.tif"),
        "I tiff": save(Image.fromarray(deep.astype(np.int32)), folder / "i32.tif"),
        "I small": save(Image.fromarray(ramp.astype(np.int32)), folder / "i8.tif"),
        "F unit": save(Image.fromarray(ramp.astype(np.float32) / 255), folder / "f.tif"),
        "F 255": save(Image.fromarray(ramp.astype(np.float32)), folder / "f255.tif"),
        "CMYK": save(grey.convert("RGB").convert("CMYK"), folder / "cmyk.tif"),
        "YCbCr": save(grey.convert("RGB").convert("YCbCr"), folder / "ycc.jpg", quality=100),
        "pgm": save(grey, folder / "l.pgm"),
    }


GREYS = ("L", "LA", "P", "I;16 png", "I;16 tiff", "I tiff", "I small", "F unit", "F 255", "CMYK", "YCbCr", "pgm")


@pytest.mark.parametrize("mode", GREYS)
def test_grey_of_every_depth(read, tmp_path, mode):
    rgb = read(grey_files(tmp_path)[mode], kind="colour painting").rgb
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None]
    assert rgb.shape == (40, 64, 3)
    assert np.abs(rgb - ramp).max() < 0.012


def test_sixteen_bits_are_not_lost(read, tmp_path):
    deep = np.array([[0, 1000, 1064, 65535]], np.uint16).repeat(2, axis=0)
    rgb = read(save(Image.fromarray(deep), tmp_path / "deep.png"), kind="colour painting").rgb
    assert np.allclose(rgb[0, :, 0], deep[0] / 65535, atol=1e-6)


def test_one_bit(read, tmp_path):
    path = save(Image.fromarray(lines()).convert("1"), tmp_path / "bit.png")
    drawing = read(path)
    assert drawing.kind == "line drawing"
    assert np.array_equal(drawing.ink, (lines() == 0).astype(np.float32))


def test_transparency_lies_on_the_paper(read, tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:] = (200, 100, 0, 128)
    drawing = read(save(Image.fromarray(pixels), tmp_path / "a.png"), paper=(0.0, 0.0, 1.0), kind="colour painting")
    assert np.allclose(drawing.rgb[0, 0], (0, 0, 1))
    expected = np.array([200, 100, 0]) / 255 * 128 / 255 + np.array([0, 0, 1]) * (1 - 128 / 255)
    assert np.allclose(drawing.rgb[0, 7], expected, atol=1e-6)
    assert np.allclose(drawing.ink[0], [0] * 4 + [128 / 255] * 4)


@pytest.mark.parametrize("form", ["palette index", "palette bytes", "rgb key", "grey key", "gif", "webp"])
def test_transparency_of_every_kind(read, tmp_path, form):
    """A red square on nothing, in each way a file can say "nothing"."""
    rgba = np.zeros((20, 20, 4), np.uint8)
    rgba[5:15, 5:15] = (255, 0, 0, 255)
    indexed = Image.fromarray((rgba[..., 3] > 0).astype(np.uint8), "L").convert("P")
    indexed.putpalette([255, 255, 255, 255, 0, 0])
    red = (255, 0, 0)
    path = {
        "palette index": lambda: save(indexed, tmp_path / "a.png", transparency=0),
        "palette bytes": lambda: save(indexed, tmp_path / "a.png", transparency=bytes([0, 255])),
        "rgb key": lambda: save(indexed.convert("RGB"), tmp_path / "a.png", transparency=(255, 255, 255)),
        "grey key": lambda: save(indexed.convert("L"), tmp_path / "a.png", transparency=255),
        "gif": lambda: save(indexed, tmp_path / "a.gif", transparency=0),
        "webp": lambda: save(Image.fromarray(rgba), tmp_path / "a.webp", lossless=True),
    }[form]()
    drawing = read(path, paper=(0.0, 1.0, 0.0), kind="colour painting")
    assert np.allclose(drawing.rgb[0, 0], (0, 1, 0), atol=0.01)
    assert np.allclose(drawing.rgb[10, 10] * 255, red if form != "grey key" else [76] * 3, atol=3)
    assert np.array_equal(drawing.ink > 0.5, rgba[..., 3] > 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(read, tmp_path, orientation):
    upright = Image.fromarray(gradient(24, 16))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that the camera did to the upright picture
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(stored, tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.round(read(path).rgb * 255), gradient(24, 16))
    assert read(path, size=24).rgb.shape == (16, 24, 3)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_animated_gives_the_first_frame(read, tmp_path, name):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    path = save(frames[0], tmp_path / name, save_all=True, append_images=frames[1:])
    assert np.allclose(read(path, kind="colour painting").rgb, (1, 0, 0), atol=0.02)


# --- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 5), (1, 4000), (4000, 3), (640, 480), (479, 641), (64, 64)])
@pytest.mark.parametrize("size", [0, 8, 64, 200])
@pytest.mark.parametrize("frame", ["keep aspect", "square, pad with paper", "square, crop"])
def test_sizes(read, tmp_path, width, height, size, frame):
    path = save(Image.new("RGB", (width, height), (10, 200, 30)), tmp_path / "a.png")
    drawing = read(path, size=size, frame=frame)
    got_height, got_width = drawing.ink.shape
    assert drawing.rgb.shape == (got_height, got_width, 3)
    if frame == "keep aspect" and size == 0:
        assert (got_width, got_height) == (width, height)
    elif size:
        assert max(got_width, got_height) == size
        assert got_width % 8 == got_height % 8 == 0
    if frame != "keep aspect":
        assert got_width == got_height


def test_nothing_is_squashed(drawings):
    """For every size and frame the part of the drawing and the pixels it becomes have one aspect, to half a pixel."""
    generator = random.Random(0)
    for _ in range(500):
        drawn = generator.randint(1, 3000), generator.randint(1, 3000)
        size, frame = 8 * generator.randint(0, 100), generator.choice(drawings.FRAMES)
        box, inner, canvas = drawings.framing.fit(drawn, size, frame)
        across, down = inner[0] / (box[2] - box[0]), inner[1] / (box[3] - box[1])
        off = abs(across - down) * min(box[2] - box[0], box[3] - box[1])
        assert off <= 0.51 or 1 in inner, "half a pixel, or the one pixel that even a hair must get"
        assert 0 <= box[0] < box[2] <= drawn[0] + 1e-6
        assert 0 <= box[1] < box[3] <= drawn[1] + 1e-6
        assert inner[0] <= canvas[0]
        assert inner[1] <= canvas[1]
        if frame == "keep aspect" and size and min(drawn) / max(drawn) * size >= 8:
            lost = 1 - (box[2] - box[0]) * (box[3] - box[1]) / (drawn[0] * drawn[1])
            assert lost <= 4.01 / (min(canvas) - 4), "only a few pixels are trimmed"


def test_padding_is_paper_and_centred(read, tmp_path):
    path = save(Image.new("RGB", (60, 30), (255, 0, 0)), tmp_path / "a.png")
    drawing = read(path, size=64, frame="square, pad with paper", paper=(0.0, 0.0, 1.0))
    assert np.allclose(drawing.rgb[:15], (0, 0, 1))
    assert np.allclose(drawing.rgb[17:47], (1, 0, 0))
    assert np.allclose(drawing.rgb[49:], (0, 0, 1))
    assert drawing.ink[0].max() == 0
    assert drawing.ink[32].min() == 1


def test_crop_keeps_the_middle(read, tmp_path):
    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, :20, 0] = stripes[:, 20:40, 1] = stripes[:, 40:, 2] = 255
    rgb = read(save(Image.fromarray(stripes), tmp_path / "a.png"), frame="square, crop").rgb
    assert np.array_equal(rgb, np.broadcast_to(np.array([0.0, 1, 0]), (20, 20, 3)))


def test_reduction_averages_and_has_no_halo(read, tmp_path):
    page = np.zeros((640, 640), np.uint8)
    page[:, 320:] = 128
    page[:, :320:2] = 255  # reads as 50 % grey from afar
    rgb = read(save(Image.fromarray(page), tmp_path / "a.png"), size=64, kind="colour painting").rgb
    assert np.allclose(rgb, 0.5, atol=0.01)
    step = np.where(np.arange(512) < 256, 60, 200).astype(np.uint8)[None].repeat(512, axis=0)
    rgb = read(save(Image.fromarray(step), tmp_path / "b.png"), size=72, kind="colour painting").rgb * 255
    assert rgb.min() > 59
    assert rgb.max() < 201


@pytest.mark.parametrize(("size", "sentence"), [
    (100, "The size must be 0 (as drawn) or a multiple of 8, got 100. Try 96."),
    (-8, "The size must be 0 (as drawn) or a multiple of 8, got -8. Try 8."),
])  # fmt: skip
def test_wrong_size(read, tmp_path, size, sentence):
    assert told(read, save(Image.new("RGB", (8, 8)), tmp_path / "a.png"), size=size) == sentence


def test_8k(read, tmp_path):
    """Lines of one ink survive the way from 8192 pixels to 64: kind and direction are judged before the reduction."""
    page = np.zeros((8192, 8192), np.uint8)
    page[4000:4050] = page[:, 1000:1050] = 255
    path = save(Image.fromarray(page).convert("1"), tmp_path / "8k.png")
    drawing = read(path, size=64)
    assert drawing.kind == "line drawing"
    assert drawing.inverted
    assert drawing.ink.shape == (64, 64)
    assert drawing.ink.mean() == pytest.approx(1 - (1 - 50 / 8192) ** 2, abs=2e-3)
    assert np.allclose(drawing.rgb[..., 0] + drawing.ink, 1, atol=0.01)


def test_a_large_jpeg_is_decoded_small(read, tmp_path):
    path = save(Image.fromarray(gradient(96, 64)).resize((3072, 2048)), tmp_path / "a.jpg", quality=90)
    small = read(path, size=96).rgb
    assert np.abs(small * 255 - np.asarray(Image.open(path).resize((96, 64), Image.Resampling.BOX))).mean() < 2


# --- ink and paper ---------------------------------------------------------------------------------------------------


def test_black_on_white_is_its_own_darkness(read, tmp_path):
    page = np.full((360, 480), 255, np.uint8)
    page[102:113] = page[:, 201:214] = 0
    soft = np.asarray(Image.fromarray(page).resize((120, 90), Image.Resampling.BOX))
    assert len(np.unique(soft)) > 3
    drawing = read(save(Image.fromarray(soft), tmp_path / "a.png"), kind="line drawing")
    assert np.allclose(drawing.rgb[..., 0], soft / 255, atol=1e-6)
    assert np.allclose(drawing.ink, 1 - soft / 255, atol=1e-6)


def test_white_on_black_is_turned(read, tmp_path):
    path = save(Image.fromarray(lines(ink=255, paper=0)), tmp_path / "a.png")
    turned = read(path)
    assert turned.kind == "line drawing"
    assert turned.inverted
    assert np.array_equal(turned.ink > 0.5, lines() == 0)
    assert turned.rgb[0, 0].tolist() == [1, 1, 1]
    kept = read(path, invert="no", kind="colour painting")
    assert kept.rgb[0, 0].tolist() == [0, 0, 0]
    assert read(path, paper=(0.0, 0.0, 0.0)).inverted is False, "on black paper white lines are right as they are"
    assert read(path, invert="yes").inverted


def test_dark_paper_turns_dark_lines(read, tmp_path):
    drawing = read(save(Image.fromarray(lines()), tmp_path / "a.png"), paper=(0.1, 0.1, 0.2))
    assert drawing.inverted
    assert np.allclose(drawing.rgb[0, 0], (0.1, 0.1, 0.2), atol=0.01)
    assert drawing.rgb[45, 60].min() > 0.9


@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 255, 255), (20, 40, 160)])
def test_lines_on_nothing_show_on_any_paper(read, tmp_path, ink):
    pixels = np.zeros((90, 120, 4), np.uint8)
    pixels[..., 3] = 255 - lines()
    pixels[..., :3] = ink
    path = save(Image.fromarray(pixels), tmp_path / "a.png")
    for paper in ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.9, 0.85, 0.7)):
        drawing = read(path, paper=paper)
        assert drawing.kind == "line drawing"
        assert np.array_equal(drawing.ink > 0.5, lines() == 0)
        assert np.allclose(drawing.rgb[0, 0], paper, atol=0.01)
        contrast = np.abs(drawing.rgb[45, 60] - np.array(paper)).max()
        assert contrast > 0.5, (ink, paper)


def test_a_scan_gets_clean_paper(read, tmp_path):
    """Cream paper with grain and grey pencil: the paper becomes the user's, the grain is no ink, the pencil is."""
    noise = np.random.default_rng(0).normal(0, 3, (180, 240, 1))
    page = np.array([238.0, 228, 205]) + noise
    page[lines(240, 180) == 0] = (90, 88, 85)
    path = save(Image.fromarray(page.clip(0, 255).astype(np.uint8)), tmp_path / "scan.png")
    drawing = read(path)
    assert drawing.kind == "line drawing"
    blank = lines(240, 180) == 255
    assert drawing.ink[blank].mean() < 0.01
    assert drawing.ink[~blank].min() > 0.85
    assert np.abs(drawing.rgb[blank] - 1).mean() < 0.02
    assert np.allclose(drawing.rgb[~blank] * 255, (90, 88, 85), atol=25)


def test_a_biro_drawing_is_lines_and_keeps_its_blue(read, tmp_path):
    page = np.full((90, 120, 3), 255, np.uint8)
    page[lines() == 0] = (20, 50, 170)
    drawing = read(save(Image.fromarray(page), tmp_path / "a.png"))
    assert drawing.kind == "line drawing"
    assert not drawing.inverted
    assert np.allclose(drawing.rgb[45, 60] * 255, (20, 50, 170), atol=1)
    assert np.array_equal(drawing.ink > 0.5, lines() == 0)


def paintings() -> dict[str, np.ndarray]:
    """Pictures that must not be taken for lines: their paper would be exchanged."""
    y, x = np.mgrid[0:96, 0:96]
    night = np.full((96, 96, 3), (14, 20, 48), np.uint8)
    night[(x - 70) ** 2 + (y - 20) ** 2 < 50] = (240, 240, 250)
    fog = np.where(y[..., None] < 60, 205, 150).astype(np.uint8).repeat(3, axis=-1)
    return {
        "night with moon": night,
        "fog in two greys": fog,
        "gradient": gradient(96, 96),
        "one colour": np.full((40, 40, 3), (30, 60, 200), np.uint8),
        "white": np.full((40, 40, 3), 255, np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8),
        "two inks": np.where(lines()[..., None] == 0, np.where(np.arange(120)[None, :, None] < 60, (220, 20, 20),
                             (20, 20, 220)), 255).astype(np.uint8),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(paintings()))
def test_paintings_stay_as_painted(read, tmp_path, name):
    pixels = paintings()[name]
    drawing = read(save(Image.fromarray(pixels), tmp_path / "a.png"), paper=(0.5, 0.9, 0.5))
    assert drawing.kind == "colour painting"
    assert not drawing.inverted
    assert np.array_equal((drawing.rgb * 255).astype(np.uint8), pixels), "as Save Image writes it, without rounding"
    assert drawing.ink.min() == 1, "nothing of it shows this paper"


def test_bare_canvas_is_no_ink(read, tmp_path):
    pixels = np.full((60, 60, 3), 255, np.uint8)
    pixels[20:40, 10:50] = (230, 120, 30)
    pixels[45:55, 10:50] = (40, 120, 200)
    ink = read(save(Image.fromarray(pixels), tmp_path / "a.png")).ink
    assert np.array_equal(ink, (pixels.min(axis=-1) < 255).astype(np.float32))


def test_samples_are_read_as_meant(read, drawings):
    folder = Path(drawings.__file__).parents[2] / "starter" / "samples"
    for path in sorted(path for path in folder.glob("*") if path.is_file()):
        drawing = read(path)
        one_ink = path.suffix in (".svg", ".ndjson") or path.name.startswith(("line drawing", "region", "sketch"))
        assert drawing.kind == ("line drawing" if one_ink else "colour painting"), path.name
        assert not drawing.inverted
        assert path.stat().st_size < 100_000
    assert {"mountain lake.png", "desert sunset.png", "moonlit cabin.png", "green hills.png"} <= {
        path.name for path in folder.glob("*")
    }


# --- damaged files ---------------------------------------------------------------------------------------------------


def encoded(name: str) -> bytes:
    buffer = io.BytesIO()
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name, name.upper())
    Image.fromarray(gradient(96, 64)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_truncated_anywhere(read, tmp_path, name):
    """Cut at twenty places: a sentence or, where only a tail without pixels is gone, the picture. Nothing else."""
    whole = encoded(name)
    path = tmp_path / f"a.{name}"
    sentences = []
    for cut in np.linspace(1, len(whole) - 1, 20).astype(int):
        path.write_bytes(whole[:cut])
        try:
            read(path)
        except ValueError as error:
            sentences.append(str(error))
    assert len(sentences) >= 15
    assert all(sentence.startswith(f"a.{name} is ") for sentence in sentences)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"^a\.{name} is (damaged or cut off|not a picture)"):
        read(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_damaged_anywhere(read, tmp_path, name):
    """Any byte may be wrong: the only exception that gets out is our ValueError."""
    whole = encoded(name)
    generator = random.Random(name)
    sentences = []
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[generator.randrange(min(len(whole), 400))] = generator.randrange(256)
        (tmp_path / f"a.{name}").write_bytes(damaged)
        try:
            read(tmp_path / f"a.{name}")
        except ValueError as error:
            sentences.append(str(error))
    assert sentences
    assert all(sentence.startswith(f"a.{name} ") for sentence in sentences)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("limit", [89_478_485, None])
def test_decompression_bomb(read, tmp_path, monkeypatch, limit):
    """Also where another pack has switched Pillow's own limit off."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    (tmp_path / "a.png").write_bytes(png_header(60_000, 60_000))
    with pytest.raises(
        ValueError, match=r"^a\.png has .* pixels; 180 million at most are read\. Make it smaller first\.$"
    ):
        read(tmp_path / "a.png")


def test_a_strip_cannot_become_a_giant_square(read, tmp_path):
    path = save(Image.new("1", (40_000, 2)), tmp_path / "a.png")
    sentence = told(read, path, frame="square, pad with paper")
    assert sentence == "The picture would be 40000 x 40000 pixels, too many. Set a size."
    assert read(path, frame="square, pad with paper", size=64).ink.shape == (64, 64)


def test_pillow_is_left_as_it_was(read, tmp_path):
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(encoded("png")[:200])
    with pytest.raises(ValueError, match="damaged or cut off"):
        read(tmp_path / "a.png")
    assert before == (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)


def test_postscript_in_disguise_is_not_run(read, tmp_path):
    """Pillow would hand it to Ghostscript."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(ValueError, match=r"^a\.png is a PostScript or Illustrator drawing, which is not read here"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "content", "sentence"), [
    ("a.txt", b"hello", f"a.txt is not a drawing this node reads. It reads {READS}."),
    ("a.png", b"", "a.png is empty (0 bytes). Save or copy the drawing again."),
    ("a.ndjson", b"", "a.ndjson is empty (0 bytes). Save or copy the drawing again."),
    ("a.png", None, "a.png is not there any more. Choose another drawing, or copy it back."),
    ("a.svg", None, "a.svg is not there any more. Choose another drawing, or copy it back."),
    ("a.png", b"<svg/>", "a.png is an SVG drawing under another ending. Rename it so that it ends in .svg."),
    ("a.png", b"<a>", "a.png is not a picture of a kind read here, or is damaged from its first bytes. Export it as "
                      "PNG."),
])  # fmt: skip
def test_wrong_files(read, tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert told(read, tmp_path / name) == sentence
