"""Sketch Canvas without the editor: layers, ground, words, names of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

EMPTY = {"painting": "", "photo": "", "paper": "#ffffff", "width": 64, "height": 64, "palette": "#3b6ea5: a lake"}
LAKE, SKY = (0x3B, 0x6E, 0xA5), (0x9C, 0xC4, 0xEA)


@pytest.fixture
def node(room):
    return room("nodes.canvas").SketchCanvas


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import folder_paths

    (tmp_path / "sketch_canvas").mkdir()
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path))
    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path))
    return tmp_path


def layer(folder: Path, *boxes: tuple[tuple[int, int, int, int], tuple[int, int, int], int], side: int = 64) -> str:
    """A painting: (left, top, right, bottom), colour and opacity 0..255 of each stroke. Returns the widget's text."""
    pixels = np.zeros((side, side, 4), np.uint8)
    for (left, top, right, bottom), colour, alpha in boxes:
        pixels[top:bottom, left:right] = (*colour, alpha)
    name = "sketch_canvas/one.png"
    Image.fromarray(pixels).save(folder / name)
    return name


def run(node, **inputs):
    return node.execute(**{**EMPTY, **inputs})


def test_nothing_painted_is_paper(node, inputs):
    out = run(node, paper="#336699")
    image, mask, legend, regions = out.args
    assert image.shape == (1, 64, 64, 3)
    assert torch.allclose(image[0, 0, 0], torch.tensor([0x33, 0x66, 0x99]) / 255)
    assert mask.shape == (1, 64, 64)
    assert mask.max() == 0
    assert (legend, regions, out.ui) == ("", (), None)


def test_strokes_lie_over_the_ground_by_their_opacity(node, inputs):
    name = layer(inputs, ((0, 0, 64, 32), LAKE, 255), ((0, 32, 64, 48), LAKE, 128))
    image, mask, *_ = run(node, painting=name).args
    lake = torch.tensor(LAKE) / 255
    assert torch.allclose(image[0, 10, 10], lake)
    assert torch.allclose(image[0, 40, 10], lake * 128 / 255 + 127 / 255, atol=1e-6)
    assert (image[0, 60] == 1).all()
    assert torch.allclose(mask[0, [10, 40, 60], 10], torch.tensor([1, 128 / 255, 0]))


def test_a_colour_with_words_is_a_region_as_strong_as_its_strokes(node, inputs):
    name = layer(inputs, ((0, 0, 32, 64), LAKE, 255), ((32, 0, 64, 32), SKY, 200))
    palette = "#9cc4ea: sky\n#3b6ea5: a lake\n#ff0000: fire\n#1b1b1b:"
    _, _, legend, regions = run(node, painting=name, palette=palette).args
    assert legend == "#9cc4ea: sky\n#3b6ea5: a lake"
    assert [one.phrase for one in regions] == ["sky", "a lake"], "fire is not painted, ink has no words"
    sky, lake = (one.mask[0] for one in regions)
    assert lake[:, :32].min() == 1
    assert lake[:, 32:].max() == 0
    assert torch.allclose(sky[:32, 32:], torch.tensor(200 / 255))
    assert sky[32:].max() == 0, "bare paper is no region"


def test_a_photo_covers_the_canvas(node, inputs):
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 255
    Image.fromarray(wide).save(inputs / "sketch_canvas" / "ground.png")
    image = run(node, photo="sketch_canvas/ground.png").args[0]
    assert image.shape == (1, 64, 64, 3)
    assert image[0, :, 4:60].min() > 0.95, "cut at the sides, to its white middle"


def test_a_connected_ground_gives_the_size_until_a_photo_is_chosen(node, inputs):
    name = layer(inputs, ((0, 0, 64, 32), LAKE, 255))
    ground = torch.full((2, 48, 96, 3), 0.25)
    out = run(node, painting=name, ground=ground)
    assert out.args[0].shape == (2, 48, 96, 3)
    assert out.args[1].shape == (1, 48, 96)
    assert (out.args[0][:, 40] == 0.25).all()
    assert out.args[1][0, 8].min() > 0.99
    assert out.ui["size"] == [96, 48]
    assert out.ui["ground"][0]["filename"]
    sample = "green hills (sample).png [temp]"
    out = run(node, photo=sample, ground=ground)
    assert out.args[0].shape == (1, 64, 64, 3)
    assert out.args[0].std() > 0.05
    assert out.ui is None


@pytest.mark.parametrize("side", [32, 128])
def test_strokes_of_another_size_are_scaled(node, inputs, side):
    name = layer(inputs, ((0, 0, side, side // 2), LAKE, 255), side=side)
    image, mask, *_ = run(node, painting=name).args
    assert mask[0, :28].min() > 0.99
    assert mask[0, 36:].max() < 0.01
    assert torch.allclose(image[0, 28], (torch.tensor(LAKE) / 255).expand(64, 3), atol=0.01), "no dark halo"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"painting": "sketch_canvas/gone.png"}, "is not in ComfyUI's input folder"),
        ({"photo": "../secret.png"}, "lies outside ComfyUI's input folder"),
        ({"paper": "cream"}, "must be written #rrggbb"),
        ({"palette": "lake"}, "Line 1 of the legend"),
        ({"ground": torch.zeros(4, 4)}, "ground must have the shape"),
        ({"width": float("nan")}, "width must be a number"),
    ],
)
def test_wrong_inputs_are_said(node, inputs, change, said):
    with pytest.raises(ValueError, match=said.replace("#", r"\#")):
        run(node, **change)


def test_the_host_sees_another_painting_and_a_missing_one(node, inputs):
    name = layer(inputs, ((0, 0, 64, 32), LAKE, 255))
    before = node.fingerprint_inputs(painting=name, photo="")
    Image.new("RGBA", (64, 64), "red").save(inputs / "sketch_canvas" / "two.png")
    assert node.fingerprint_inputs(painting="sketch_canvas/two.png", photo="") != before
    assert node.validate_inputs(painting=name, photo="") is True
    assert "gone.png" in node.validate_inputs(painting="sketch_canvas/gone.png", photo="")


def test_load_sketch_does_not_list_paintings(room, inputs):
    layer(inputs, ((0, 0, 64, 32), LAKE, 255))
    Image.new("RGB", (64, 64)).save(inputs / "mine.png")
    assert room("nodes.drawing")._input_files() == ["mine.png"]
