"""What "auto" makes of pens, papers and transparency: families of generated drawings, not single ones."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from PIL import Image, ImageDraw

WHITE, BLACK, CREAM = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.98, 0.95, 0.86)
LIGHT = {
    "orange": (255, 150, 20), "yellow": (255, 230, 0), "pink": (255, 150, 190), "pastel pink": (255, 200, 210),
    "lime": (190, 255, 60), "cyan": (90, 240, 255), "sky": (150, 200, 255), "gold": (240, 200, 80),
}  # fmt: skip
DARK = {"red": (190, 0, 0), "navy": (20, 40, 160), "green": (0, 110, 40), "violet": (110, 0, 150)}


def scribble(size: tuple[int, int], pen: int, seed: int, strokes: int = 3) -> np.ndarray:
    """Where a round pen went, bool [h, w]; it stays away from the rim."""
    generator = random.Random(seed)
    width, height = size
    sheet = Image.new("L", size)
    draw = ImageDraw.Draw(sheet)
    rim = pen + min(size) // 10

    def anywhere() -> tuple[int, int]:
        return generator.randint(rim, width - rim - 1), generator.randint(rim, height - rim - 1)

    for _ in range(strokes):
        points = [anywhere() for _ in range(4)]
        draw.line(points, fill=255, width=pen, joint="curve")
        for x, y in points:
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return np.asarray(sheet) > 0


def on_nothing(drawn: np.ndarray, colour: tuple[int, ...], soft: int = 4) -> Image.Image:
    """A pen of one colour on transparency, with edges as soft as those of a reduced picture."""
    alpha = Image.fromarray((drawn * 255).astype(np.uint8))
    alpha = alpha.resize((alpha.width // soft, alpha.height // soft), Image.Resampling.BOX)
    picture = Image.new("RGBA", alpha.size, (*colour, 0))
    picture.putalpha(alpha)
    return picture


def save(tmp_path, picture: Image.Image, **more):
    picture.save(tmp_path / "a.png", **more)
    return tmp_path / "a.png"


@pytest.mark.parametrize("pen", [6, 24, 80])
@pytest.mark.parametrize("paper", [WHITE, CREAM, BLACK])
@pytest.mark.parametrize("name", [*LIGHT, *DARK])
def test_a_coloured_pen_on_transparency_keeps_its_colour(read, tmp_path, name, paper, pen):
    """Whatever its brightness, its breadth and the paper: its negative would be another colour."""
    colour = np.array({**LIGHT, **DARK}[name])
    drawn = scribble((480, 400), pen, pen)
    drawing = read(save(tmp_path, on_nothing(drawn, tuple(colour))), paper=paper)
    if np.abs(colour / 255 - paper).max() < 0.13:
        pytest.skip("this ink cannot be told from this paper")
    inside = drawing.ink > 0.99
    assert np.abs(drawing.rgb[inside] * 255 - colour).max() < 2
    assert np.allclose(drawing.rgb[drawing.ink == 0], paper, atol=0.01)
    assert not drawing.inverted
    assert drawing.ink.mean() == pytest.approx(drawn.mean(), abs=0.01)


@pytest.mark.parametrize("pen", [6, 24, 80])
@pytest.mark.parametrize(("ink", "paper"), [(255, WHITE), (235, WHITE), (255, CREAM), (0, BLACK), (25, BLACK)])
def test_grey_ink_like_the_paper_is_turned_and_told(read, tmp_path, ink, paper, pen):
    drawing = read(save(tmp_path, on_nothing(scribble((480, 400), pen, 3), (ink,) * 3)), paper=paper)
    assert drawing.inverted
    assert any("Inverted" in note and "set invert to no" in note for note in drawing.notes)
    assert np.abs(drawing.rgb[drawing.ink > 0.99] - np.array(paper)).max(axis=-1).min() > 0.5
    kept = read(tmp_path / "a.png", paper=paper, invert="no")
    assert np.allclose(kept.rgb[kept.ink > 0.99] * 255, ink, atol=1)
    assert not any("Inverted" in note for note in kept.notes)


@pytest.mark.parametrize("share", [0.3, 0.55, 0.8, 0.97])
@pytest.mark.parametrize("size", [(24, 96), (96, 24), (64, 64), (300, 200)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (40, 40, 40), (190, 0, 0)])
def test_a_tight_crop_on_transparency_stays_ink(read, tmp_path, size, share, colour):
    """A bar that fills almost all of its picture is ink, not paper."""
    width, height = size
    pixels = np.zeros((height, width, 4), np.uint8)
    bar = round(width * share)
    pixels[:, (width - bar) // 2 : (width - bar) // 2 + bar] = (*colour, 255)
    drawing = read(save(tmp_path, Image.fromarray(pixels)))
    assert np.array_equal(drawing.ink, pixels[..., 3] / 255)
    assert np.allclose(drawing.rgb[height // 2, width // 2] * 255, colour, atol=1)
    assert (drawing.rgb[pixels[..., 3] == 0] == 1).all()
    assert not drawing.inverted


@pytest.mark.parametrize("pen", [3, 9, 16, 24, 32, 48, 64])
@pytest.mark.parametrize("ground", [0, 20, 40])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("turned", [False, True])
def test_a_white_scribble_of_any_breadth_becomes_ink(read, tmp_path, pen, ground, seed, turned):
    """White (or chalk) on black for white paper, and black on white for black paper."""
    drawn = scribble((512, 512), pen, seed, strokes=2)
    page = np.where(drawn, 250, ground).astype(np.uint8)
    page, paper = (255 - page, BLACK) if turned else (page, WHITE)
    drawing = read(save(tmp_path, Image.fromarray(page).convert("RGB")), paper=paper)
    assert drawing.kind == "line drawing"
    assert drawing.inverted
    assert drawing.ink[drawn].min() > 0.95
    assert drawing.ink[~drawn].max() < 0.05
    assert np.abs(drawing.rgb[~drawn] - paper).max() < 0.05
    assert np.abs(drawing.rgb[drawn] - paper).min() > 0.7
    assert any("Inverted" in note for note in drawing.notes)


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_a_white_scribble_saved_as_jpeg(read, tmp_path, quality):
    drawn = scribble((512, 512), 36, 5)
    Image.fromarray((drawn * 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=quality)
    drawing = read(tmp_path / "a.jpg")
    assert drawing.inverted
    assert (drawing.ink > 0.5).mean() == pytest.approx(drawn.mean(), abs=0.01)


@pytest.mark.parametrize("ground", [(14, 20, 48), (60, 0, 0), (120, 120, 120), (200, 60, 30)])
@pytest.mark.parametrize("paper", [WHITE, BLACK])
def test_broad_strokes_on_colour_stay_a_painting(read, tmp_path, ground, paper):
    drawn = scribble((256, 256), 40, 2)
    page = np.where(drawn[..., None], np.uint8(240), np.array(ground, np.uint8))
    drawing = read(save(tmp_path, Image.fromarray(page)), paper=paper)
    assert drawing.kind == "colour painting"
    assert np.array_equal((drawing.rgb * 255).round(), page)
    assert drawing.notes == ("Taken for a colour painting: its colours are kept.",)


@pytest.mark.parametrize("colour", [*LIGHT.values(), *DARK.values()])
@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize("paper", [WHITE, BLACK])
def test_coloured_lines_keep_their_colour_on_any_ground(read, tmp_path, colour, ground, paper):
    """Their paper is exchanged for the person's; their negative would be another drawing."""
    drawn = scribble((400, 400), 4, 7)
    page = np.full((400, 400, 3), ground, np.uint8)
    page[drawn] = colour
    drawing = read(save(tmp_path, Image.fromarray(page)), paper=paper)
    if drawing.kind != "line drawing":
        pytest.skip("too near to its ground for lines")
    if np.abs(np.array(colour) / 255 - paper).max() < 0.13 or np.abs(np.array(colour) - ground).max() < 60:
        pytest.skip("cannot be told from the paper")
    assert np.abs(drawing.rgb[drawn] * 255 - colour).max() < 3
    assert np.abs(drawing.rgb[~drawn] - paper).max() < 0.01


@pytest.mark.parametrize("strokes", [1, 5, 20, 60, 150])
@pytest.mark.parametrize("paper", [WHITE, BLACK, CREAM, (0.2, 0.2, 0.3)])
def test_quickdraw_is_lines_however_dense(read, tmp_path, strokes, paper):
    """The file holds nothing but lines: its pen must show on every paper."""
    generator = random.Random(strokes)
    drawing = [[[generator.randint(0, 255) for _ in range(5)] for _ in range(2)] for _ in range(strokes)]
    (tmp_path / "a.ndjson").write_text(json.dumps({"drawing": drawing}))
    got = read(tmp_path / "a.ndjson", paper=paper)
    assert got.kind == "line drawing"
    assert got.inverted == (np.dot(paper, (0.299, 0.587, 0.114)) < 0.5)
    assert np.abs(got.rgb[got.ink > 0.99] - paper).max(axis=-1).min() > 0.7
    assert np.allclose(got.rgb[0, 0], paper, atol=0.01)


def test_what_was_chosen_is_not_told_again(read, tmp_path):
    path = save(tmp_path, Image.fromarray(np.where(scribble((200, 200), 3, 0), 255, 0).astype(np.uint8)))
    assert len(read(path).notes) == 2
    assert read(path, kind="line drawing", invert="yes").notes == ()
    assert read(path, kind="colour painting").notes == ()
