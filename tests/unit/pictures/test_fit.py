"""The rules that every door checks the same way."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def checks(room):
    return room("pictures.fit")


def test_batches_pair(checks):
    one, three = torch.rand(1, 4, 4, 3), torch.rand(3, 4, 4, 3)
    assert torch.equal(checks.pair_batches(one, 3), one.repeat(3, 1, 1, 1))
    assert torch.equal(checks.pair_batches(three, 3), three)
    with pytest.raises(ValueError, match=r"sketch has a batch of 3 .* photos one of 2"):
        checks.pair_batches(three, 2, "sketch", "photos")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (17, 5), (1, 1), (200, 300)])
@pytest.mark.parametrize("shape", [(40, 40), (31, 77), (90, 20), (1, 1)])
def test_fit_image_never_squashes(checks, shape, height, width):
    """A round spot in the middle stays round: as many pixels of it across as down."""
    rows, columns = (torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape)
    spot = torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * (min(shape) / 20) ** 2))
    image = spot[None, :, :, None].repeat(2, 1, 1, 3)
    out = checks.fit_image(image, height, width)
    assert out.shape == (2, height, width, 3)
    assert out.min() >= 0
    assert out.max() <= 1
    if min(height, width) > 30 and min(shape) > 30:
        across, down = out[0, height // 2, :, 0].sum(), out[0, :, width // 2, 0].sum()
        assert float(across / down) == pytest.approx(1, rel=0.1)


def test_fit_image_leaves_a_fitting_image_alone(checks):
    image = torch.rand(1, 8, 9, 3)
    assert checks.fit_image(image, 8, 9) is image
