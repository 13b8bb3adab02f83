"""The tiny models are real members of their families: the host samples with them, on its own schedules."""

from __future__ import annotations

import pytest
import torch

from helpers import tiny

KINDS = {
    "sd15": ("ModelSamplingDiscrete", "EPS"),
    "sd15_v": ("ModelSamplingDiscrete", "V_PREDICTION"),
    "sdxl": ("ModelSamplingDiscrete", "EPS"),
    "sdxl_v": ("ModelSamplingDiscrete", "V_PREDICTION"),
    "edm": ("ModelSamplingContinuousEDM", "EDM"),
    "edm_v": ("ModelSamplingContinuousEDM", "V_PREDICTION"),
    "sd3": ("ModelSamplingDiscreteFlow", "CONST"),
    "flux": ("ModelSamplingFlux", "CONST"),
}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_family_samples(host_nodes, family):
    import comfy.samplers

    model = tiny.model(family)
    sampling = model.get_model_object("model_sampling")
    names = {base.__name__ for base in type(sampling).__mro__}
    assert set(KINDS[family]) <= names
    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", 3)
    start = tiny.latent(family, batch=2, height=8, width=12)["samples"]
    out = tiny.sample(model, sigmas, start, seed=1)
    assert out.shape == start.shape
    assert torch.isfinite(out).all()
    assert not torch.equal(out, tiny.sample(model, sigmas, start, seed=2)), "the seed must matter"


@pytest.mark.parametrize("channels", [4, 16])
def test_vae_round_trip_shapes(host_nodes, channels):
    vae = tiny.vae(channels)
    image = torch.rand(2, 40, 64, 3, generator=torch.Generator().manual_seed(0))
    code = vae.encode(image)
    assert code.shape == (2, channels, 5, 8)
    picture = vae.decode(code)
    assert picture.shape == image.shape
    assert torch.isfinite(picture).all()
    assert picture.std() > 0.01, "the decoder must depend on the latent"
