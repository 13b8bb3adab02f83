"""Charts and contact sheets: what is asked for is on them, whole, where it belongs."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def charts(room):
    return room("pictures.charts")


def has_colour(picture, colour, at_least=1):
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(np.asarray(picture, int) - wanted).max(-1) <= 6).sum() >= at_least


def plain(colour, width, height):
    return Image.new("RGB", (width, height), colour)


def extent(sheet, colour):
    """(width, height) of the box that a pure colour fills."""
    rows, columns = np.where((np.abs(np.asarray(sheet, int) - np.array(colour)).max(-1)) < 40)
    return columns.max() - columns.min() + 1, rows.max() - rows.min() + 1


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.03, 0.31), (-2, 5), (0, 12345), (1e-6, 3e-6), (4, 4), (0, 0), (-0.2, -0.1)]
)
def test_ticks_are_round_few_and_cover_the_values(charts, low, high):
    found = charts.ticks(low, high, 6)
    assert 2 <= len(found) <= 9
    assert found[0] <= low + 1e-9
    assert found[-1] >= high - 1e-9
    steps = np.diff(found)
    assert np.allclose(steps, steps[0])
    assert round(steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9), 6) in (1, 2, 5)
    assert len(set(charts.tick_words(found))) == len(found)


def test_every_series_is_drawn_in_its_own_colour(charts):
    series = [charts.Series(f"line {i}", [(0, i), (1, 2 * i + 1)]) for i in range(6)]
    picture = charts.line_chart([*series, charts.Series("floor", [(0, 0.5), (1, 0.5)], dashed=True)], title="t")
    assert picture.size == (800, 520)
    for colour in charts.COLOURS:
        assert has_colour(picture, colour, 50)
    assert picture.getpixel((2, 2)) == tuple(int(charts.PAPER[i : i + 2], 16) for i in (1, 3, 5))


def test_lines_go_where_the_numbers_say(charts):
    picture = np.asarray(charts.line_chart([charts.Series("up", [(0, 0), (1, 1)])]), int)
    blue = np.abs(picture - [0x2F, 0x6D, 0xB3]).max(-1) < 20
    rows, columns = np.where(blue)
    left, right = rows[columns < columns.min() + 30].mean(), rows[columns > columns.max() - 30].mean()
    assert left > right + 300
    slope = np.polyfit(columns, rows, 1)
    assert np.abs(rows - np.polyval(slope, columns)).max() < 8


@pytest.mark.parametrize("points", [[], [(3, 7)], [(0, float("nan")), (1, 1)], [(0, 0), (1, 0)], [(0, -1), (9, -5)]])
def test_odd_data_still_gives_a_chart(charts, points):
    picture = charts.line_chart([charts.Series("odd", points)], x_label="x", y_label="y", size=(400, 300))
    assert picture.size == (400, 300)


def test_names_under_the_axis_and_beside_points(charts):
    bare = charts.line_chart([charts.Series("a", [(0, 1), (1, 2)])], x_names=["", ""])
    named = charts.line_chart([charts.Series("a", [(0, 1), (1, 2)])], x_names=["first", "second"])
    assert np.abs(np.asarray(bare, int) - np.asarray(named, int))[-50:].max() > 100
    many = charts.line_chart(
        [charts.Series("a", [(i, i) for i in range(90)])], x_names=[f"label {i}" for i in range(90)]
    )
    assert many.size == (800, 520)
    crowd = charts.Series("a", [(0.5, 0.5)] * 6, labels=[f"p{i}" for i in range(6)])
    assert charts.line_chart([crowd]).size == (800, 520)


def test_pictures_keep_their_shape_on_the_sheet(charts):
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    sheet = charts.contact_sheet(
        [plain(red, 40, 20), plain(green, 20, 40), plain(blue, 900, 300)], ["a", "b", "c"], cell=120
    )
    assert extent(sheet, red) == (120, 60)
    assert extent(sheet, green) == (60, 120)
    assert extent(sheet, blue) == (120, 40)


@pytest.mark.parametrize(("count", "columns", "expected"), [(1, 0, 1), (5, 0, 3), (6, 4, 4), (3, 9, 3), (12, 1, 1)])
def test_columns(charts, count, columns, expected):
    pictures = [plain((255, 0, 0), 32, 32)] * count
    sheet = charts.contact_sheet(pictures, columns=columns, cell=64)
    gap = 6
    assert sheet.size == (gap + expected * (64 + gap), gap + -(-count // expected) * (64 + gap))


@pytest.mark.parametrize("label", ["a" * 100_000, "a lake " * 20_000, "l\u0301" * 50_000, "\u6e56" * 100_000])
def test_labels_of_any_length_take_no_time(charts, label):
    began = time.process_time()
    sheet = charts.contact_sheet([plain((255, 0, 0), 64, 64)], [label], cell=64, row_labels=[label])
    assert time.process_time() - began < 3
    assert max(sheet.size) < 600


def test_labels_make_room_and_long_ones_are_broken(charts):
    pictures = [plain((255, 0, 0), 64, 64)] * 2

    def height(*labels):
        return charts.contact_sheet(pictures, labels, columns=2, cell=64).height

    assert height() < height("short") < height("short", "a longer label of many words that cannot stand in one line")
    assert height("x" * 60) == height("word " * 40)  # both end after three lines


def test_row_and_column_labels_and_empty_places(charts):
    pictures = [plain((255, 0, 0), 64, 64), None, None, plain((0, 0, 255), 64, 64)]
    bare = charts.contact_sheet(pictures, columns=2, cell=64)
    full = charts.contact_sheet(
        pictures, columns=2, cell=64, row_labels=["one", "two"], column_labels=["a", "b"], title="Title"
    )
    assert full.width > bare.width + 20
    assert full.height > bare.height + 30
    assert extent(full, (255, 0, 0)) == extent(full, (0, 0, 255)) == (64, 64)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_any_picture_mode(charts, mode):
    assert charts.contact_sheet([Image.new(mode, (8, 8))], ["ein schönes Bild 图"], cell=64).mode == "RGB"
