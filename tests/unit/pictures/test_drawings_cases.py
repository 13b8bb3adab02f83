"""Forty small drawings as people have them, each with what renderers, geometry or the host's loader say of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "golden" / "drawings" / "cases"
CASES = {case["file"]: case for case in json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))["cases"]}


def test_forty_cases():
    assert len(CASES) == 40


@pytest.mark.parametrize("file", CASES)
def test_drawing(read, file):
    """Points of the picture (rgb 0 to 255), of its mask (0 to 1), its size, and how much of it is ink."""
    settings, want = dict(CASES[file]["settings"]), CASES[file]["expected"]
    if "paper" in settings:
        settings["paper"] = tuple(v / 255 for v in bytes.fromhex(settings["paper"][1:]))
    if want.get("refused") and not want.get("or_read"):
        began = time.process_time()
        with pytest.raises(ValueError, match=rf"^{file}: "):
            read(FOLDER / file, **settings)
        assert time.process_time() - began < want["within_cpu_seconds"]
        return
    began = time.monotonic()
    drawing = read(FOLDER / file, **settings)
    assert time.monotonic() - began < 4 * want.get("within_cpu_seconds", 60)
    rgb, ink = drawing.rgb * 255, drawing.ink
    if "size" in want:
        assert [rgb.shape[1], rgb.shape[0]] == want["size"]
    for point in want.get("points", []):
        assert np.abs(rgb[point["y"], point["x"]] - point["rgb"]).max() <= want.get("tolerance", 6), point
    for point in want.get("mask", []):
        assert ink[point["y"], point["x"]] == pytest.approx(point["value"], abs=0.1)
    if "ink_share" in want:
        share = float((1 - drawing.rgb.min(-1)).mean())
        assert share == pytest.approx(want["ink_share"], abs=want["ink_share_tolerance"])
    assert rgb.max() >= want.get("brightest_at_least", 0)
    low, high = want.get("ink_share_of_mask", (0, 1))
    assert low <= ink.mean() <= high
