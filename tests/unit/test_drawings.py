"""Reading drawings: every pixel format and frame, ink from paper, SVG against a browser, QuickDraw, damaged files."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

WHITE = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def drawings(room):
    return room("guidance.drawings")


@pytest.fixture(scope="module")
def read(drawings):
    return drawings.read_drawing


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


def told(read, path: Path, **more) -> str:
    """The sentence that the user gets instead of a drawing."""
    with pytest.raises(ValueError, match=r".") as error:
        read(path, **more)
    return str(error.value)


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
    (100, "The size must be 0 (as drawn) or a multiple of 8; 100 came. Try 96."),
    (-8, "The size must be 0 (as drawn) or a multiple of 8; -8 came. Try 8."),
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
    assert np.array_equal(np.round(drawing.rgb * 255), pixels)
    assert drawing.ink.min() == 1, "nothing of it shows this paper"


def test_bare_canvas_is_no_ink(read, tmp_path):
    pixels = np.full((60, 60, 3), 255, np.uint8)
    pixels[20:40, 10:50] = (230, 120, 30)
    pixels[45:55, 10:50] = (40, 120, 200)
    ink = read(save(Image.fromarray(pixels), tmp_path / "a.png")).ink
    assert np.array_equal(ink, (pixels.min(axis=-1) < 255).astype(np.float32))


def test_samples_are_read_as_meant(read, drawings):
    folder = Path(drawings.__file__).parents[2] / "starter" / "samples"
    for path in sorted(folder.glob("*")):
        drawing = read(path)
        lines = path.suffix in (".svg", ".ndjson") or path.name.startswith("line drawing")
        assert drawing.kind == ("line drawing" if lines else "colour painting"), path.name
        assert not drawing.inverted
        assert path.stat().st_size < 100_000
    assert {"mountain lake.png", "desert sunset.png", "moonlit cabin.png", "green hills.png"} <= {
        path.name for path in folder.glob("*")
    }


# --- SVG -------------------------------------------------------------------------------------------------------------


def svg(tmp_path: Path, body: str, head: str = 'viewBox="0 0 40 40"') -> Path:
    path = tmp_path / "a.svg"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {head}>{body}</svg>', encoding="utf-8")
    return path


@pytest.fixture
def shade(read, tmp_path):
    """shade(body) is the ink [H, W] of black shapes on nothing, 0..1."""
    return lambda body, head='viewBox="0 0 40 40"', **more: (
        read(svg(tmp_path, body, head), kind="colour painting", **more).ink
    )


def test_svg_looks_as_in_a_browser(read, golden):
    """Every shape, join, cap, fill rule, transform and colour form of the subset, against Chromium's picture of it."""
    chromium = np.asarray(Image.open(golden / "drawings" / "features_chromium.png").convert("RGB")) / 255
    ours = read(golden / "drawings" / "features.svg", kind="colour painting").rgb
    assert ours.shape == chromium.shape
    difference = np.abs(ours - chromium).max(axis=-1)
    assert difference.mean() < 0.003
    assert (difference > 0.3).mean() < 3e-4


@pytest.mark.parametrize(("body", "area"), [
    ('<rect x="5" y="5" width="20" height="10"/>', 200),
    ('<rect x="5.25" y="5.5" width="20" height="10"/>', 200),
    ('<rect x="5" y="5" width="20" height="10" rx="5"/>', 200 - (4 - np.pi) * 25),
    ('<rect x="5" y="5" width="20" height="10" rx="2" ry="4"/>', 200 - (4 - np.pi) * 8),
    ('<rect x="10%" y="0" width="50%" height="25%"/>', 200),
    ('<circle cx="20" cy="20" r="10"/>', np.pi * 100),
    ('<ellipse cx="20" cy="20" rx="15" ry="6"/>', np.pi * 90),
    ('<polygon points="0,0 40,0 0,40"/>', 800),
    ('<polyline points="0,0 40,0 0,40"/>', 800),
    ('<line x1="5" y1="20" x2="35" y2="20" stroke="black" stroke-width="4"/>', 120),
    ('<line x1="5" y1="20" x2="35" y2="20" stroke="black" stroke-width="4" stroke-linecap="square"/>', 136),
    ('<line x1="5" y1="20" x2="35" y2="20" stroke="black" stroke-width="4" stroke-linecap="round"/>', 120 + np.pi * 4),
    ('<path d="M5 5h10v10h-10z"/>', 100),
    ('<path d="M5,5L15,5 15,15 5,15"/>', 100),
    ('<path d="m5 5 10 0 0 10-10 0z m20 0h5v5h-5"/>', 125),
    ('<path d="M10 20 A10 10 0 0 1 30 20 A10 10 0 0 1 10 20"/>', np.pi * 100),
    ('<path d="M10 20a10 10 0 0120 0a10 10 0 01-20 0"/>', np.pi * 100),
    ('<path d="M0 0H40V40H0Z M10 10H30V30H10Z" fill-rule="evenodd"/>', 1200),
    ('<path d="M0 0H40V40H0Z M10 10H30V30H10Z"/>', 1600),
    ('<path d="M0 0H40V40H0Z M10 10V30H30V10Z"/>', 1200),
    ('<path d="M0 20 Q20 -20 40 20Z"/>', 40 * 40 / 2 * 2 / 3),
    ('<path d="M0 20 C0 0 40 0 40 20Z"/>', 480),
    ('<g transform="translate(10) scale(2,.5)"><rect width="10" height="10"/></g>', 100),
    ('<g transform="rotate(30 20 20)"><rect x="15" y="15" width="10" height="10"/></g>', 100),
    ('<g transform="matrix(-1 0 0 1 40 0)"><path d="M5 5h10v10" fill="none" stroke="#000" stroke-width="2"/></g>', 40),
    ('<rect width="40" height="40" opacity=".5"/>', 800),
    ('<rect width="40" height="40" style="fill:#000;fill-opacity:25%"/>', 400),
    ('<g opacity=".5"><rect width="20" height="40"/><rect width="20" height="40"/></g>', 400),
    ('<rect width="40" height="40" fill="rgba(0,0,0,.25)"/>', 400),
    ('<rect width="40" height="40" fill="#0008"/>', 1600 * 136 / 255),
    ('<g fill="none"><rect width="40" height="40"/><rect fill="red" width="4" height="4"/></g>', 16),
    ('<rect width="40" height="40" display="none"/><rect width="40" height="40" visibility="hidden"/>', 0),
    ('<title>x</title><desc>y</desc><metadata><a/></metadata><defs><linearGradient/></defs>', 0),
    ('<x:namedview xmlns:x="urn:other"><x:text/></x:namedview><rect width="2" height="2"/>', 4),
    ('<path d=""/><polygon points=""/><polyline points="5,5"/><rect width="0" height="9"/>', 0),
    ('<path d="M20 20h0" stroke="#000" stroke-width="10" stroke-linecap="square"/>', 100),
    ('<path d="M20 20h0" stroke="#000" stroke-width="10"/>', 0),
    ('<rect x="-1e6" y="-1e6" width="2e6" height="2e6"/>', 1600),
    ('<rect x="50" y="50" width="10" height="10"/>', 0),
])  # fmt: skip
def test_svg_covers_its_area(shade, body, area):
    assert shade(body).sum() == pytest.approx(area, rel=0.004, abs=0.05)


def test_svg_smooth_curves_mirror_their_control_point(shade):
    assert np.allclose(
        shade('<path d="M2 20 C2 5 15 5 20 20 S38 35 38 20" fill="none" stroke="#000"/>'),
        shade('<path d="M2 20 C2 5 15 5 20 20 C25 35 38 35 38 20" fill="none" stroke="#000"/>'),
    )
    assert np.allclose(
        shade('<path d="M2 20 q8 -15 16 0 t16 0" fill="none" stroke="#000"/>'),
        shade('<path d="M2 20 Q10 5 18 20 Q26 35 34 20" fill="none" stroke="#000"/>'),
    )


@pytest.mark.parametrize(("head", "size"), [
    ('viewBox="0 0 40 30"', (40, 30)),
    ('width="80" height="60"', (80, 60)),
    ('width="100%" height="100%" viewBox="0 0 40 30"', (40, 30)),
    ('width="1in" viewBox="0 0 40 20"', (96, 48)),
    ('height="10mm" viewBox="0 0 20 10"', (76, 38)),
    ('width="60" height="60" viewBox="0 0 40 30"', (60, 60)),
])  # fmt: skip
def test_svg_size(read, tmp_path, head, size):
    assert read(svg(tmp_path, "<rect width='1' height='1'/>", head)).ink.shape == size[::-1]


@pytest.mark.parametrize(("aspect", "rows", "columns"), [
    ("", (20, 60), (0, 80)),
    ("xMidYMin", (0, 40), (0, 80)),
    ("xMaxYMax meet", (40, 80), (0, 80)),
    ("none", (0, 80), (0, 80)),
    ("xMinYMid slice", (0, 80), (0, 80)),
])  # fmt: skip
def test_svg_preserve_aspect_ratio(shade, aspect, rows, columns):
    told = f'preserveAspectRatio="{aspect}"' if aspect else ""
    ink = shade('<rect width="20" height="10"/>', f'width="80" height="80" viewBox="0 0 20 10" {told}')
    expected = np.zeros((80, 80), bool)
    expected[slice(*rows), slice(*columns)] = True
    assert np.array_equal(ink > 0.5, expected)


def test_svg_is_drawn_at_the_size_asked_for(shade):
    """Not enlarged: a thin line keeps its width in the drawing, with sharp edges, at any size."""
    ink = shade('<rect x="10" y="0" width="1" height="40"/>', size=400)
    assert ink.shape == (400, 400)
    assert np.array_equal(ink[200] > 0, (np.arange(400) >= 100) & (np.arange(400) < 110))


@pytest.mark.parametrize("element", [
    *("text", "image", "use", "filter", "linearGradient", "radialGradient", "style", "clipPath", "mask", "pattern"),
    *("symbol", "marker", "foreignObject", "script", "a", "switch", "svg", "animate"),
])  # fmt: skip
def test_svg_refuses_by_name(read, tmp_path, element):
    assert told(read, svg(tmp_path, f"<g><{element}/></g>")) == (
        f"a.svg: the element <{element}> is not in the SVG subset read here (paths and plain shapes in plain colours). "
        "Convert it to paths in your drawing program, or export a PNG."
    )


SVG_FAULTS = {
    'fill="url(#g)"': "the paint url(#g) (a gradient or pattern) is not in the SVG subset. Export a PNG.",
    'clip-path="url(#c)"': "clip-path on <rect> is not in the SVG subset read here. Export a PNG.",
    'style="filter: url(#f)"': "filter on <rect> is not in the SVG subset read here. Export a PNG.",
    'stroke-dasharray="4 2"': "stroke-dasharray on <rect> is not in the SVG subset read here. Export a PNG.",
    'fill="blurple"': 'the colour "blurple" cannot be read.',
    'fill="rgb(1,2)"': 'the colour "rgb(1,2)" cannot be read.',
    'stroke="red" stroke-width="2em"': 'the length "2em" cannot be read; units are px, pt, pc, mm, cm, in and %.',
    'transform="spin(3)"': "the transform spin with 1 numbers is not one of SVG's.",
    'transform="rotate(3"': 'the transform "rotate(3" cannot be read.',
    'transform="translate(1e308 1e308) scale(1e308)"': "coordinates are too large to draw.",
}


@pytest.mark.parametrize("attributes", SVG_FAULTS)
def test_svg_attribute_faults(read, tmp_path, attributes):
    assert told(read, svg(tmp_path, f'<rect width="9" height="9" {attributes}/>')) == f"a.svg: {SVG_FAULTS[attributes]}"


@pytest.mark.parametrize(("data", "sentence"), [
    ("L 1 2", 'path data must begin with M; it begins with "L 1 2".'),
    ("12 3", 'path data must begin with M; it begins with "12 3".'),
    ("M 1 2 L 3", 'the path data "L 3" cannot be read.'),
    ("M 1 2 K 3 4", 'the path data "K 3 4" cannot be read.'),
    ("M 1 2 Z 5", 'the path data "Z 5" cannot be read.'),
    ("M 1 2 L", 'the path data "L" cannot be read.'),
    ("M 1 2 A 1 1 0 2 0 3 4", 'the arc "1 1 0 2 0 3 4" cannot be read.'),
    ("M 1 2 L # 4", 'expected numbers and found "# 4".'),
    ("M 1e400 2 L 3 4 5 6", "coordinates are too large to draw."),
    ("M 1 2 C 1e300 1e300 -1e300 0 3 4", "coordinates are too large to draw."),
])  # fmt: skip
def test_svg_path_faults(read, tmp_path, data, sentence):
    assert told(read, svg(tmp_path, f'<path d="{data}"/>')) == f"a.svg: {sentence}"


BOMB = """<?xml version="1.0"?>
<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title>&b;&c;</title></svg>"""
REFUSED = (
    "a.svg: a <!DOCTYPE> is refused because it can define entities. "
    "Delete that line in a text editor, or save as plain SVG."
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_svg_entities_are_refused_in_every_encoding(read, tmp_path, encoding):
    (tmp_path / "a.svg").write_text(
        BOMB.replace(' version="1.0"', f' version="1.0" encoding="{encoding[:6]}"'), encoding
    )
    assert told(read, tmp_path / "a.svg") == REFUSED


@pytest.mark.parametrize(("text", "sentence"), [
    ("<svg", "not well-formed XML (unclosed token: line 1, column 0). Save the drawing again, or export it as PNG."),
    ("<html/>", "XML, but not a drawing: its first element is <html> and not <svg>."),
    ("<svg/>", "neither a viewBox nor a width and height tell its size. Add a viewBox to the <svg> element."),
    ('<svg viewBox="0 0 0 9"/>', 'viewBox="0 0 0 9" must be four numbers, the last two above 0.'),
    ('<svg width="99999" height="99999"/>',
     "99999 x 99999 pixels cannot be drawn. Change the width and height of <svg>."),
    ('<svg width="0" height="5"/>', "0 x 5 pixels cannot be drawn. Change the width and height of <svg>."),
    ('<svg viewBox="0 0 9 9">' + "<g>" * 101 + "</g>" * 101 + "</svg>",
     "groups are nested deeper than 100. Ungroup them, or export a PNG."),
])  # fmt: skip
def test_svg_file_faults(read, tmp_path, text, sentence):
    (tmp_path / "a.svg").write_text(text)
    assert told(read, tmp_path / "a.svg") == f"a.svg: {sentence}"


# --- QuickDraw -------------------------------------------------------------------------------------------------------

TREE = [[[10, 20, 30], [60, 10, 60]], [[20, 20], [60, 90]]]


def ndjson(tmp_path: Path, *rows: object, name: str = "a.ndjson") -> Path:
    path = tmp_path / name
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def test_quickdraw_is_a_centred_line_drawing(read, tmp_path):
    drawing = read(ndjson(tmp_path, {"word": "tree", "drawing": TREE}))
    assert drawing.ink.shape == (256, 256)
    assert drawing.kind == "line drawing"
    assert set(np.round(drawing.rgb[0, 0], 3)) == {1.0}
    rows, columns = (np.flatnonzero((drawing.ink > 0.5).any(axis=axis)) for axis in (1, 0))
    assert rows[0] == pytest.approx(256 * 0.08 - 3, abs=2)
    assert rows[0] + rows[-1] == pytest.approx(255, abs=1)
    assert columns[0] + columns[-1] == pytest.approx(255, abs=1)
    assert drawing.ink.max() == 1


def test_quickdraw_raw_form_gives_the_same(read, tmp_path):
    """Raw files have times as a third list, floats, and screen pixels instead of 0 to 255."""
    raw = [[[3.5 * x for x in xs], [3.5 * y for y in ys], list(range(len(xs)))] for xs, ys in TREE]
    simplified = read(ndjson(tmp_path, {"drawing": TREE}))
    assert np.allclose(read(ndjson(tmp_path, {"drawing": raw}, name="raw.ndjson")).ink, simplified.ink, atol=1e-6)


def test_quickdraw_index(read, tmp_path):
    other = [[[0, 100], [0, 0]]]
    path = ndjson(tmp_path, {"drawing": TREE}, "\n  \n", {"drawing": other})
    alone = read(ndjson(tmp_path, {"drawing": other}, name="b.ndjson")).ink
    assert np.array_equal(read(path, index=1).ink, alone)
    assert not np.array_equal(read(path, index=0).ink, alone)


def test_quickdraw_reads_no_further_than_it_must(read, tmp_path, monkeypatch):
    """A large file costs its first lines only."""
    path = ndjson(tmp_path, *[{"drawing": TREE}] * 5000)
    positions = []

    class Counting(io.BufferedReader):
        def close(self):
            if not self.closed:
                positions.append(self.tell())
            super().close()

    monkeypatch.setattr(Path, "open", lambda self, mode="r", *a, **k: Counting(io.FileIO(self)))
    read(path, index=2)
    assert positions
    assert positions[0] < path.stat().st_size / 100


@pytest.mark.parametrize("points", [[[[5], [5]]], [[[5, 5, 5], [1, 1, 1]]], [[[0, 255], [7, 7]]]])
def test_quickdraw_dots_and_flat_strokes(read, tmp_path, points):
    ink = read(ndjson(tmp_path, {"drawing": points})).ink
    assert np.isfinite(ink).all()
    assert ink[128, 128] == 1


BAD_STROKES = "a stroke must be a list of x and a list of y, numbers, and as many of each."
NO_STROKES = 'no strokes. Expected {"drawing": [[[x, ...], [y, ...]], ...]} on the line.'


@pytest.mark.parametrize(("row", "sentence"), [
    ({"drawing": []}, NO_STROKES),
    ({"word": "tree"}, NO_STROKES),
    ([1, 2], NO_STROKES),
    ({"drawing": [[[1, 2], [3]]]}, BAD_STROKES),
    ({"drawing": [[[1, 2]]]}, BAD_STROKES),
    ({"drawing": [[[], []]]}, BAD_STROKES),
    ({"drawing": [7]}, BAD_STROKES),
    ({"drawing": [{"x": 1}]}, BAD_STROKES),
    ({"drawing": [[["a"], ["b"]]]}, BAD_STROKES),
    ('{"drawing": [[[NaN], [1]]]}\n', BAD_STROKES),
    ({"drawing": [[[1e9], [1]]]}, BAD_STROKES),
])  # fmt: skip
def test_quickdraw_faults(read, tmp_path, row, sentence):
    assert told(read, ndjson(tmp_path, row)) == f"a.ndjson, drawing 0: {sentence}"


@pytest.mark.parametrize(("rows", "index", "sentence"), [
    ([{"drawing": TREE}] * 3, 3, "a.ndjson holds 3 drawings, numbered 0 to 2; number 3 was asked for."),
    ([{"drawing": TREE}], -1, "The drawing index counts from 0; -1 came."),
    (["\n\n"], 0, "a.ndjson holds no drawing: every line of it is blank."),
    (["nonsense\n"], 0, "a.ndjson, drawing 0: not JSON (Expecting value: line 1 column 1 (char 0)). "
                        "A QuickDraw file has one JSON drawing a line."),
])  # fmt: skip
def test_quickdraw_file_faults(read, tmp_path, rows, index, sentence):
    assert told(read, ndjson(tmp_path, *rows), index=index) == sentence


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
    assert sentence == "The picture would be 40000 x 40000 pixels, too many. Set a smaller size."
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
    with pytest.raises(ValueError, match=r"^a\.png is not a picture of a kind read here"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "content", "sentence"), [
    ("a.txt", b"hello", "a.txt is not a drawing this node reads. It reads .png, .jpg, .jpeg, .webp, .gif, .bmp, .tif, "
                        ".tiff, .tga, .ppm, .pgm, .psd, .avif, .svg, .ndjson."),
    ("a.png", b"", "a.png is empty (0 bytes). Save or copy the drawing again."),
    ("a.ndjson", b"", "a.ndjson is empty (0 bytes). Save or copy the drawing again."),
    ("a.png", None, "a.png is not there any more. Choose another drawing, or copy it back."),
    ("a.svg", None, "a.svg is not there any more. Choose another drawing, or copy it back."),
    ("a.png", b"<svg/>", "a.png is not a picture of a kind read here, or is damaged from its first bytes. "
                         "Export it as PNG."),
])  # fmt: skip
def test_wrong_files(read, tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert told(read, tmp_path / name) == sentence
