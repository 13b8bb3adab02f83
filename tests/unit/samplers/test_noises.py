"""Between two noises: the published arc and slerp against recorded numbers, and what they keep."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from helpers import diffsketching as golden
from helpers.diffsketching import worst


@pytest.fixture(scope="module")
def noises(room):
    return room("samplers.noises")


@pytest.mark.parametrize("name", ["official_interpolation", "metrics_interp"])
def test_as_published(noises, name):
    recorded = golden.recorded(name)
    one, other = recorded["z1"], recorded["z2"]
    steps = noises.places(noises.PUBLISHED, 8)
    assert steps == pytest.approx(recorded["theta"].tolist(), abs=1e-6)
    found = torch.cat([noises.blended(one, other, noises.PUBLISHED, step) for step in steps])
    assert worst(found, recorded["noises" if "noises" in recorded else "interp"]) < 1e-5
    alphas = recorded["slerp_alpha"].tolist() if "slerp_alpha" in recorded else golden.note(name)["slerp_alpha"]
    found = torch.cat([noises.blended(one, other, noises.SLERP, alpha) for alpha in alphas])
    assert worst(found, recorded["slerp"]) < 1e-5


@pytest.mark.parametrize("way", ["whole arc", "slerp"])
def test_ends_and_size(noises, way):
    one, other = torch.randn(2, 3, 4, 32, 32, generator=golden.torch_seed(0))
    steps = noises.places(way, 5)
    blends = [noises.blended(one, other, way, step) for step in steps]
    assert torch.allclose(blends[0], one, atol=1e-6)
    assert torch.allclose(blends[-1], other, atol=1e-6)
    for blend in blends:
        assert float(blend.std()) == pytest.approx(1, abs=0.03), "unit noise all the way"
    single = noises.blended(one[1:2], other[1:2], way, steps[2])
    assert torch.allclose(single, blends[2][1:2], atol=1e-6), "images do not see one another"


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0])
def test_slerp_of_parallel_noises_is_finite(noises, factor):
    one = torch.randn(1, 4, 8, 8, generator=golden.torch_seed(0))
    for place in (0.0, 0.3, 1.0):
        assert noises.blended(one, factor * one, noises.SLERP, place).isfinite().all()
    assert torch.allclose(noises.blended(one, one, noises.SLERP, 0.3), one, atol=1e-6)


def test_places(noises):
    assert noises.places(noises.SLERP, 1) == [0.5]
    assert noises.places(noises.ARC, 3) == pytest.approx([0, math.pi / 4, math.pi / 2])
    assert len(noises.places(noises.PUBLISHED, 12)) == 12
    with pytest.raises(ValueError, match="passes the second noise after 12 steps, got count 13"):
        noises.places(noises.PUBLISHED, 13)


def test_noise_asks_both(noises):
    def source(seed):
        return SimpleNamespace(seed=seed, generate_noise=lambda given: seed * torch.ones_like(given["samples"]))

    blend = noises.BlendedNoise(source(1), source(3), noises.ARC, math.pi / 2)
    assert blend.seed == 1
    assert torch.allclose(blend.generate_noise({"samples": torch.zeros(1, 4, 2, 2)}), torch.tensor(3.0))
