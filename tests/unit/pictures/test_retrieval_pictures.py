"""What the retrieval network sees of sketches and photos: the published pixels, and drawings of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.golden_files import load_file


@pytest.fixture(scope="module")
def pictures(room):
    return room("pictures.retrieval")


def as_bytes(x):
    return ((x / 2 + 0.5) * 255).round().to(torch.uint8)


@pytest.mark.parametrize("shape", ["wide", "tall"])
def test_published_pixels(pictures, golden, shape):
    """To the bit, from bytes, from a ComfyUI image and from a PIL one."""
    known = load_file(golden / f"zse_sbir/preprocess_{shape}.safetensors")
    sketch, photo = known["sketch"].numpy(), known["photo"].numpy()
    for image in (sketch, known["sketch"], known["sketch"].float() / 255, known["sketch"].double() / 255):
        assert torch.equal(as_bytes(pictures.sketch_for_retrieval(image)), known["sketch_u8"])
    for image in (photo, known["photo"].float() / 255, Image.fromarray(photo)):
        assert torch.equal(as_bytes(pictures.photo_for_retrieval(image)), known["photo_u8"])


def drawing(height, width, *lines):
    """White paper [H,W,3] with black lines, given as slices."""
    paper = np.full((height, width, 3), 255, np.uint8)
    for rows, columns in lines:
        paper[rows, columns] = 0
    return paper


CROSS = ((slice(30, 70), 50), (50, slice(20, 80)))


def test_cut_to_the_ink_and_centred(pictures):
    """Where the ink is on its paper makes no difference; the longer side fills the square."""
    image = drawing(100, 100, *CROSS)
    seen = pictures.sketch_for_retrieval(image, 112)
    assert seen.shape == (3, 112, 112)
    for shift in (-4, 9):
        assert torch.equal(pictures.sketch_for_retrieval(np.roll(image, shift, (0, 1)), 112), seen)
    # the ink is 40 x 60, and 59 x 79 with its margin: 112 pixels wide, int(112 * 59 / 79) = 83 high
    ink = (seen[0] < 0).nonzero()
    assert abs(int(ink[:, 0].float().mean()) - 56) <= 1
    assert (seen[:, :14] == 1).all()
    assert (seen[:, -15:] == 1).all()


def test_paper_has_the_brightest_value(pictures):
    """Around a cut that is not square, as published."""
    image = drawing(60, 200, (30, slice(50, 150)))
    grey = np.where(image == 255, 200, 0).astype(np.uint8)
    seen = as_bytes(pictures.sketch_for_retrieval(grey, 64))
    assert seen.max() == 200
    assert (seen[:, 0] == 200).all()


@pytest.mark.parametrize("size", [16, 64, 112, 224])
@pytest.mark.parametrize(
    "lines",
    [((0, slice(None)),), ((slice(None), 0),), ((399, 399),), ((slice(None), slice(None)),)],
    ids=["a line along the top", "a line down the left", "a dot in the corner", "all ink"],
)
def test_odd_drawings(pictures, size, lines):
    """One thin line at the edge, or a single dot; `keep_lines` loses none of them in a reduction."""
    image = drawing(400, 400, *lines)
    assert pictures.sketch_for_retrieval(image, size).shape == (3, size, size)
    assert pictures.sketch_for_retrieval(image, size, keep_lines=True).min() < 0


def test_a_very_thin_strip(pictures):
    """Where the published code's resizing fails: 5000 x 11 pixels would be less than one pixel wide."""
    seen = pictures.sketch_for_retrieval(drawing(5000, 11, (slice(None), 5)), 112)
    assert seen.shape == (3, 112, 112)
    assert seen.min() < 0


def test_lines_are_kept(pictures):
    """A large fine drawing, which the published reduction tears: unbroken, and no more than a few pixels broad."""
    image = drawing(1000, 1000, (slice(100, 900), 500), (500, slice(100, 900)))
    torn, kept = (pictures.sketch_for_retrieval(image, 112, keep_lines=keep)[0] for keep in (False, True))
    assert (torn < 0).sum() < 112
    assert (kept < 0).any(0)[2:-2].all()
    assert (kept < 0).any(1)[2:-2].all()
    assert (kept < 0).sum() < 4 * 112
    assert torch.equal(pictures.sketch_for_retrieval(image, 112)[0], kept)
    large = pictures.sketch_for_retrieval(image, 224)
    assert torch.equal(large, pictures.sketch_for_retrieval(image, 224, keep_lines=False))
    small = drawing(100, 100, *CROSS)  # nothing is reduced here
    assert torch.equal(pictures.sketch_for_retrieval(small, keep_lines=True), pictures.sketch_for_retrieval(small))


def test_light_lines_on_dark(pictures):
    image = drawing(100, 100, *CROSS)
    light = 255 - image
    assert pictures.light_on_dark(light)
    assert not pictures.light_on_dark(image)
    expected = pictures.sketch_for_retrieval(image)
    assert torch.equal(pictures.sketch_for_retrieval(light, invert=True), expected)
    assert not torch.equal(pictures.sketch_for_retrieval(light), expected)


def test_grey_and_transparent_drawings(pictures):
    """One channel, or black lines on nothing: the same drawing."""
    image = drawing(100, 100, *CROSS)
    expected = pictures.sketch_for_retrieval(image)
    alpha = 255 - image[..., :1]
    for other in (image[..., 0], image[..., :1], np.concatenate([np.zeros_like(image), alpha], 2)):
        assert torch.equal(pictures.sketch_for_retrieval(other), expected)


def test_light_lines_on_nothing(pictures):
    """Paper is what the lines are not: white for dark lines, black for light ones."""
    image = drawing(100, 100, *CROSS)
    expected, alpha = pictures.sketch_for_retrieval(image), 255 - image[..., :1]
    for hidden in (0, 255):
        light = np.concatenate([np.where(alpha > 0, 255, np.full_like(image, hidden)), alpha], 2).astype(np.uint8)
        assert pictures.light_on_dark(light)
        assert pictures.light_on_dark(torch.from_numpy(light))
        assert pictures.light_on_dark(Image.fromarray(light))
        assert torch.equal(pictures.sketch_for_retrieval(light, invert=True), expected)
    for dark in (np.concatenate([np.zeros_like(image), alpha], 2), np.zeros((9, 9, 4), np.uint8)):
        assert not pictures.light_on_dark(dark)


def test_every_precision(pictures):
    image = torch.from_numpy(drawing(100, 100, *CROSS)).float() / 255
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert torch.equal(pictures.sketch_for_retrieval(image.to(dtype)), pictures.sketch_for_retrieval(image))


@pytest.mark.parametrize("value", [255, 101])
def test_blank_drawings_are_told(pictures, value):
    with pytest.raises(ValueError, match=rf"blank: no pixel is dark enough.*darkest is {3 * value}\)"):
        pictures.sketch_for_retrieval(np.full((50, 50, 3), value, np.uint8))
    pictures.sketch_for_retrieval(np.full((50, 50, 3), 100, np.uint8))  # 300 of 765 is ink


def test_wrong_pictures_are_told(pictures):
    for image in (np.zeros((1, 8, 8, 3)), np.zeros((8, 8, 2)), np.zeros((0, 8, 3))):
        with pytest.raises(ValueError, match=r"must have the shape \[height, width, channels\]"):
            pictures.sketch_for_retrieval(image)
    with pytest.raises(ValueError, match="got int64"):
        pictures.photo_for_retrieval(np.zeros((8, 8, 3), np.int64))
    with pytest.raises(ValueError, match="NaN"):
        pictures.photo_for_retrieval(torch.full((8, 8, 3), torch.nan))
    assert (pictures.photo_for_retrieval(torch.full((8, 8, 3), 7.0)) == 1).all()


@pytest.mark.parametrize("size", [32, 100])
def test_photos_are_squashed(pictures, size):
    """As Pillow resizes; a palette is resized as it is opened, before it becomes RGB."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (50, 90, 3), np.uint8))
    expected = torch.tensor(np.asarray(photo.resize((size, size), Image.Resampling.BICUBIC)))
    assert torch.equal(as_bytes(pictures.photo_for_retrieval(photo, size)), expected.movedim(2, 0))
    palette = photo.quantize(16)
    expected = torch.tensor(np.asarray(palette.resize((size, size)).convert("RGB")))
    assert torch.equal(as_bytes(pictures.photo_for_retrieval(palette, size)), expected.movedim(2, 0))


@pytest.mark.parametrize("sides", [(7, 9, 20, 31), (64, 48, 13, 17), (10, 10, 10, 10), (1, 5, 8, 5)])
def test_bilinear(pictures, sides):
    """Within rounding of torch's, at any scale; the same size changes nothing."""
    height, width, to_height, to_width = sides
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    mine = torch.from_numpy(pictures.bilinear(pixels, to_height, to_width).astype(float))
    x = torch.from_numpy(pixels).movedim(2, 0)[None].double()
    known = torch.nn.functional.interpolate(x, (to_height, to_width), mode="bilinear", align_corners=False)
    assert (mine.movedim(2, 0) - known[0]).abs().max() <= 1
