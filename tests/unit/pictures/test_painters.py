"""The stroke simulator: exactly the published recipe at 256 pixels, and the same strokes at every other size."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter


@pytest.fixture(scope="module")
def painters(room):
    return room("pictures.painters")


def landscape(height: int, width: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Sky, sun, hill and speckle in [B, H, W, 3]: structure at every scale, other in each of the batch."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    pictures = []
    for k in range(batch):
        sky = torch.stack((0.3 + 0.5 * y, 0.5 + 0.3 * y, 0.9 - 0.3 * y), -1)
        hill = (y > 0.6 + 0.1 * torch.sin(6 * x + k))[..., None]
        sun = ((x - 0.2 - 0.2 * k) ** 2 + (y - 0.25) ** 2 < 0.02)[..., None]
        picture = torch.where(sun, torch.tensor([1.0, 0.9, 0.5]), sky)
        pictures.append(torch.where(hill, torch.tensor([0.2, 0.4, 0.15]), picture))
    stack = torch.stack(pictures)
    noise = torch.rand(stack.shape, generator=torch.Generator().manual_seed(seed))
    return (stack + 0.1 * (noise - 0.5)).clamp(0, 1)


def colours_of(image: torch.Tensor) -> int:
    return len(torch.unique(image.reshape(-1, 3), dim=0))


def test_at_256_it_is_the_published_recipe(painters):
    photo = landscape(256, 256)
    pil = Image.fromarray((photo[0] * 255).round().byte().numpy())
    expected = np.asarray(pil.filter(ImageFilter.MedianFilter(23)).quantize(6).convert("RGB"))
    assert np.array_equal((painters.simulate_strokes(photo)[0] * 255).round().byte().numpy(), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 200), (64, 64), (65, 97), (300, 120), (512, 512)])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_any_size_any_batch(painters, height, width, batch):
    photo = landscape(height, width, batch)
    painted = painters.simulate_strokes(photo, median=7, colours=4)
    assert painted.shape == photo.shape
    assert painted.min() >= 0
    assert painted.max() <= 1
    assert all(colours_of(one) <= 4 for one in painted)
    alone = painters.simulate_strokes(photo[-1:], median=7, colours=4)
    assert torch.equal(painted[-1:], alone), "each of a batch is painted by itself"


@pytest.mark.parametrize("side", [64, 128, 512])
def test_the_same_strokes_at_every_size(painters, side):
    """A stroke covers the same share of the picture: nearly every pixel gets the colour it has at 256."""
    smooth = landscape(1024, 1024).movedim(-1, 1)
    resized = [
        torch.nn.functional.interpolate(smooth, (s, s), mode="bilinear", antialias=True).movedim(1, -1)
        for s in (256, side)
    ]
    reference, painted = (painters.simulate_strokes(one)[0] for one in resized)
    back = torch.nn.functional.interpolate(painted.movedim(-1, 0)[None], (256, 256))[0].movedim(0, -1)
    assert ((reference - back).abs().max(-1).values < 0.06).float().mean() > 0.95


def test_no_seams_between_strokes(painters):
    """Enlarging must not blend two strokes into a third colour: every pixel keeps one of the palette's."""
    assert colours_of(painters.simulate_strokes(landscape(700, 500), colours=6)[0]) <= 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtype_is_kept(painters, dtype):
    assert painters.simulate_strokes(landscape(32, 40).to(dtype), median=3).dtype == dtype


def test_the_input_is_left_alone_and_alpha_dropped(painters):
    photo = torch.cat((landscape(40, 40), torch.ones(1, 40, 40, 1)), -1)
    before = photo.clone()
    assert painters.simulate_strokes(photo, median=3).shape == (1, 40, 40, 3)
    assert torch.equal(photo, before)


def test_values_outside_the_range_do_not_wrap(painters):
    painted = painters.simulate_strokes(torch.full((1, 8, 8, 3), 1.7), median=1, colours=2)
    assert torch.equal(painted, torch.ones_like(painted))


@pytest.mark.parametrize(
    ("median", "colours", "sentence"),
    [
        (4, 6, "The median size must be an odd number of pixels, 1 or more, got 4. Try 5."),
        (-3, 6, "The median size must be an odd number of pixels, 1 or more, got -3. Try 1."),
        (23, 1, "A stroke painting has 2 to 256 colours, got 1."),
        (23, 257, "A stroke painting has 2 to 256 colours, got 257."),
    ],
)
def test_errors(painters, median, colours, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        painters.simulate_strokes(torch.zeros(1, 8, 8, 3), median, colours)
