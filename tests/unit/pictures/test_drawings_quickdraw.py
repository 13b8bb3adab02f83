"""Reading QuickDraw files: both forms, which drawing, and faults."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.drawn import told

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
    ([{"drawing": TREE}], -1, "The drawing index counts from 0, got -1."),
    (["\n\n"], 0, "a.ndjson holds no drawing: every line of it is blank."),
    (["nonsense\n"], 0, "a.ndjson, drawing 0: not JSON (Expecting value: line 1 column 1 (char 0)). "
                        "A QuickDraw file has one JSON drawing a line."),
])  # fmt: skip
def test_quickdraw_file_faults(read, tmp_path, rows, index, sentence):
    assert told(read, ndjson(tmp_path, *rows), index=index) == sentence
