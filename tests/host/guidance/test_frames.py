"""Models whose latents have a time axis (Qwen-Image, Krea 2, Anima, Wan): one frame is a picture, more are refused."""

from __future__ import annotations

import pytest
import torch

from helpers import methods, tiny

KINDS = ("wan", "taehv")


@pytest.fixture(scope="module")
def autoencoders(host_nodes):
    return {kind: tiny.vae(kind=kind) for kind in KINDS}


@pytest.fixture(scope="module")
def bench(room):
    return methods.Bench(room, "qwen_image")


def prepared(room, model, vae):
    decoders = room("guidance.decoders")
    return decoders.choose(model, vae, "vae" if vae else "linear").prepare(model.model, torch.device("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_pictures_is_no_video(room, bench, autoencoders, kind):
    host, pictures = room("host"), torch.rand(3, 64, 48, 3, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        made = host.encode(bench.model, autoencoders[kind], pictures)
        assert made.shape == (3, 16, 1, 8, 6)
        alone = host.encode(bench.model, autoencoders[kind], pictures[1:2])
        assert torch.allclose(made[1:2], alone, atol=1e-5)
        assert host.decode(bench.model, autoencoders[kind], made).shape == (3, 64, 48, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_energies_see_what_the_host_decodes(room, bench, autoencoders, kind):
    """In [-1, 1] whatever the autoencoder's own range is, and differentiable."""
    vae, latent = autoencoders[kind], tiny.latent("qwen_image", batch=2)["samples"]
    with torch.inference_mode():
        wanted = room("host").decode(bench.model, vae, bench.model.model.process_latent_out(latent)).movedim(-1, 1)
    leaf = latent.clone().requires_grad_()
    with room("host").differentiating(bench.model.model):
        image = prepared(room, bench.model, vae).image(leaf)
        assert image.shape == (2, 3, 64, 64)
        (slope,) = torch.autograd.grad(image.square().sum(), leaf)
    inside = (wanted > 0.001) & (wanted < 0.999)
    assert inside.any()
    assert torch.allclose(((image + 1) / 2)[inside], wanted.to(image)[inside], atol=2e-3)
    assert slope.shape == latent.shape
    assert slope.isfinite().all()
    assert slope[0].abs().max() > 0


def test_the_linear_map_sees_the_frame(room, bench):
    form = bench.model.get_model_object("latent_format")
    latent = tiny.latent("qwen_image", batch=2, width=12)["samples"]
    image = prepared(room, bench.model, None).image(latent)
    for picture, one in zip(image, latent, strict=True):
        wanted = one[:, 0].movedim(0, -1) @ torch.tensor(form.latent_rgb_factors)
        wanted = (wanted + torch.tensor(form.latent_rgb_factors_bias)).clamp(-1.5, 1.5)
        assert torch.allclose(picture.movedim(0, -1), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_energies_and_gradop_through_it(bench, autoencoders, kind):
    for method in (methods.guided, methods.gradop):
        made = method(bench, vae=autoencoders[kind])
        assert made.shape == bench.samples.shape
        assert made.isfinite().all()


@pytest.mark.parametrize("method", ["SDEdit", "Repeats", "Jump", "ILVR", "Energies", "GradOP"])
@torch.inference_mode()
def test_more_frames_are_refused_by_name(room, method):
    bench = methods.Bench(room, "wan21")
    bench.latent = tiny.latent("wan21", frames=3)
    bench.samples = bench.latent["samples"]
    with pytest.raises(ValueError, match=r"3 frames of a video.*WAN21"):
        methods.METHODS[method](bench)


def test_what_is_no_picture_is_refused_by_name(room, bench):
    class ACEStep:
        pass

    class Song(ACEStep):
        pass

    class Model:
        model = Song()

        def get_model_object(self, name):
            return bench.model.get_model_object(name)

    with pytest.raises(ValueError, match="Song models make sound"):
        room("host").check_image_model(Model())


def test_a_picture_without_time_is_a_reference_too(room):
    """ILVR's reference may come from a model of the same channels without a time axis, and is resized with one."""
    fit = room("samplers.ilvr").fit_latent
    x, flat = torch.zeros(2, 16, 1, 8, 12), torch.rand(1, 16, 16, 24)
    assert fit(flat, x).shape == x.shape
    assert torch.equal(fit(flat, x), fit(flat.unsqueeze(2), x))
    with pytest.raises(ValueError, match="this model's own VAE"):
        fit(torch.rand(1, 16, 2, 8, 12), x)
