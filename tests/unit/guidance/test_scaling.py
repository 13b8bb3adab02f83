"""Slopes of unit size, and weights that are dials."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def scaling(room):
    return room("guidance.scaling")


@pytest.mark.parametrize("shape", [(3, 3, 8, 8), (2, 16, 1, 5, 7), (1, 4, 3, 3)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_every_image_gets_a_slope_of_size_1(scaling, shape, size):
    slope = size * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    slope[0] *= 100
    made = scaling.unit(slope)
    assert torch.allclose(made.flatten(1).square().mean(1).sqrt(), torch.ones(shape[0]), rtol=1e-4)
    assert torch.allclose(torch.cosine_similarity(made.flatten(1), slope.flatten(1)), torch.ones(shape[0]), atol=1e-5)


def test_no_slope_stays_none(scaling):
    slope = torch.zeros(2, 3, 4, 4)
    slope[1] = 1
    made = scaling.unit(slope)
    assert made[0].abs().max() == 0
    assert torch.allclose(made[1], torch.ones(3, 4, 4))


def test_dials(scaling):
    assert scaling.check_dial("auto", weight=1.0, other=0.0)
    assert not scaling.check_dial("published", weight=50.0)
    with pytest.raises(ValueError, match=r"weight is a dial from 0 to 1, got 5\. Try 0\.5"):
        scaling.check_dial("auto", weight=5.0)
