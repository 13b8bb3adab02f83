"""Decoder 'vae, half size': the energies see a picture of half the side, for a quarter of the work."""

from __future__ import annotations

import pytest
import torch

from helpers import tiny


@pytest.fixture(scope="module")
def decoders(room, host_nodes):
    return room("guidance.decoders")


@pytest.fixture(scope="module")
def model(host_nodes):
    return tiny.model("sd15")


@pytest.fixture(scope="module")
def vae(host_nodes):
    return tiny.vae()


def shown(decoders, model, vae, latent, kind):
    return decoders.choose(model, vae, kind).prepare(model.model, torch.device("cpu"))(latent)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 12), (9, 7)])
def test_it_is_the_averaged_latent_decoded(decoders, model, vae, height, width):
    latent = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    half = shown(decoders, model, vae, latent, decoders.HALF)
    whole = shown(decoders, model, vae, latent, decoders.VAE)
    small = torch.nn.functional.avg_pool2d(latent, 2, ceil_mode=True, count_include_pad=False)
    assert torch.allclose(half.image, shown(decoders, model, vae, small, decoders.VAE).image, atol=1e-6)
    assert half.image.shape[-2] == -(-height // 2) * whole.image.shape[-2] // height
    (slope,) = torch.autograd.grad(half.image.square().sum(), latent)
    assert slope.isfinite().all()
    assert (slope.flatten(1).abs().amax(1) > 0).all(), "every picture has a slope"
    if height % 2 == width % 2 == 0:
        blocks = slope.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
        assert torch.equal(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks)), "the same in each 2 x 2"


def test_a_time_axis_of_one_frame(decoders, host_nodes):
    latent = torch.randn(2, 16, 1, 8, 6)
    small = decoders._halved(latent)
    assert small.shape == (2, 16, 1, 4, 3)
    assert torch.allclose(small[:, :, 0], torch.nn.functional.avg_pool2d(latent[:, :, 0], 2))


def test_a_quarter_of_the_memory(decoders, model, vae):
    whole, half = (decoders.choose(model, vae, kind) for kind in (decoders.VAE, decoders.HALF))
    assert whole != half, "energies of both kinds do not share a decode"
    assert half == decoders.choose(model, vae, decoders.HALF)
    assert half.memory([2, 4, 64, 64]) == whole.memory([2, 4, 32, 32])
    assert half.memory([1, 4, 9, 7]) == whole.memory([1, 4, 5, 4])
    with pytest.raises(ValueError, match="Decoder 'vae, half size' needs the model's VAE"):
        decoders.choose(model, None, decoders.HALF)


@pytest.mark.parametrize("scale", ["published", "auto"])
def test_in_a_run(room, model, vae, scale):
    """Weight 0 is bit-identical; a weight moves the picture; beside an energy at the whole size."""
    doors = room("nodes.inversion")
    exemplar = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(1))
    schema = {one.id: getattr(one, "default", None) for one in doors.SketchShapeEnergy.define_schema().inputs}

    def pulled(on, weight, decoder):
        given = {**schema, "metric": "l2", "point": "denoised", "target": "0 to 1", "scale": scale}
        return doors.SketchShapeEnergy.execute(
            **{**given, "model": on, "vae": vae, "sketch": exemplar, "weight": weight, "decoder": decoder}
        ).args[0]

    sigmas, latent = torch.tensor([3.0, 1.0, 0.5, 0.0]), tiny.latent()["samples"]
    with torch.inference_mode():
        plain = tiny.sample(model, sigmas, latent)
        assert torch.equal(tiny.sample(pulled(model, 0.0, "vae, half size"), sigmas, latent), plain)
        half = pulled(model, 0.8, "vae, half size")
        moved = tiny.sample(half, sigmas, latent)
        assert moved.isfinite().all()
        assert not torch.equal(moved, plain)
        both = tiny.sample(pulled(half, 0.8, "vae"), sigmas, latent)
        assert both.isfinite().all()
        assert not torch.equal(both, moved)
