"""The built-in text-conditioned model stands in for a checkpoint: prompts, weights, samplers, sizes, the stock VAE."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import tiny

CAPTION = "the sun, clouds, snowy mountains, a lake, conifers, at sunset"


@pytest.fixture(scope="module")
def starter(pack, room):
    return room("nodes.starter")


@pytest.fixture(scope="module")
def outputs(starter):
    with torch.inference_mode():
        return starter.SketchStarterModels.execute(next(iter(starter.SETS))).result


@pytest.fixture(scope="module")
def models(outputs):
    """MODEL, CLIP and VAE of the shipped files, as the node gives them."""
    return outputs[:3]


@pytest.fixture(scope="module")
def encode(models, host_nodes):
    """encode(text) -> CONDITIONING, by the stock CLIPTextEncode."""

    def encode(text):
        with torch.inference_mode():
            return host_nodes.CLIPTextEncode().encode(models[1], text)[0]

    return encode


@pytest.fixture(scope="module")
def scenes(room):
    """Renders [3,128,128,3] that training has not seen, as an IMAGE."""
    made = room("starter.world").render_batch(range(900_000, 900_003), 128)
    return torch.from_numpy(np.stack([scene.image for scene in made])).float() / 255


def ksampler(host_nodes, model, positive, negative, latent, *, steps=4, cfg=4.0, seed=0):
    with torch.inference_mode():
        out = host_nodes.KSampler().sample(
            model, seed, steps, cfg, "euler", "normal", positive, negative, latent, denoise=1.0
        )
    return out[0]["samples"]


def empty(host_nodes, width=128, height=128, batch=1):
    return host_nodes.EmptyLatentImage().generate(width, height, batch)[0]


# --- the files --------------------------------------------------------------------------------------------------------


def test_files_are_small(starter):
    sizes = [path.stat().st_size for files in starter.SETS.values() for path in files]
    assert sum(sizes) < 20e6


def test_vae_file_is_one_for_the_stock_loader(starter, models, scenes):
    """The same file in models/vae, by VAELoader's own steps; and latents of deviation 1 where the model sees them."""
    import comfy.sd
    import comfy.utils

    weights, metadata = comfy.utils.load_torch_file(str(starter.SETS["landscapes 128 px"][1]), return_metadata=True)
    vae = comfy.sd.VAE(sd=weights, metadata=metadata)
    vae.throw_exception_if_invalid()
    model, _, ours = models
    with torch.inference_mode():
        latent, own = vae.encode(scenes), ours.encode(scenes)
        painted = vae.decode(latent)
    assert latent.shape == (3, 4, 16, 16)
    assert torch.equal(latent, own)
    assert (painted - scenes).abs().mean() < 0.035, "of a range of 1"
    seen = model.model.process_latent_in(latent)
    assert model.model.latent_format.scale_factor == vae.first_stage_model.vae_scale.item()
    assert 0.7 < float(seen.std()) < 1.3


def test_linear_map_shows_the_colours(models, scenes):
    """What the host's previews and the linear decoder paint is the picture, coarse."""
    model, _, vae = models
    form = model.model.latent_format
    with torch.inference_mode():
        seen = model.model.process_latent_in(vae.encode(scenes))
    image = torch.einsum("bchw,cd->bdhw", seen, torch.tensor(form.latent_rgb_factors))
    image = image + torch.tensor(form.latent_rgb_factors_bias)[:, None, None]
    coarse = torch.nn.functional.avg_pool2d(scenes.movedim(-1, 1) * 2 - 1, 8)
    unlike = (image - coarse).square().mean()
    assert unlike < 0.1 * coarse.var(), "nine tenths of the colours are in the linear map"


def test_noise_levels_are_those_of_stable_diffusion(models, room):
    training, model = room("starter.training.text"), models[0]
    assert torch.allclose(model.get_model_object("model_sampling").sigmas, training.sigmas(), rtol=1e-4)
    assert room("host").noise_family(model).kind == "discrete"
    form = model.get_model_object("latent_format")
    assert (form.latent_channels, form.spacial_downscale_ratio) == (4, 8)


def test_unet_is_what_was_trained(models, room, encode):
    """The same noise is found in the host as by the lesson that was trained, with and without words."""
    import comfy.utils

    model = models[0]
    path = room("nodes.starter").SETS["landscapes 128 px"][0]
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    lesson = room("starter.training.text").TextTask(UNetModel)
    weights = comfy.utils.load_torch_file(str(path))
    for name, part in (("unet.", lesson.unet), ("text.", lesson.text)):
        part.load_state_dict({key[5:]: value.float() for key, value in weights.items() if key.startswith(name)})
    x = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    sigma = lesson.ratio[[120, 700]]
    context = torch.cat([encode(CAPTION)[0][0], encode("")[0][0]])
    tokens = [room("networks.text").padded(lesson.words(text)["input_ids"], 37) for text in (CAPTION, "")]
    with torch.no_grad():
        spoken = lesson.speak(torch.tensor(tokens))
        seen = x / (1 + sigma[:, None, None, None] ** 2).sqrt()
        epsilon = lesson.epsilon(seen, torch.tensor([120.0, 700.0]), spoken)
        import comfy.model_management

        comfy.model_management.load_models_gpu([model])
        denoised = model.model.apply_model(x, sigma, c_crossattn=context)
    assert torch.allclose(context, spoken, atol=2e-3)
    expected = x - sigma[:, None, None, None] * epsilon
    assert (denoised - expected).abs().max() < 5e-3 * expected.abs().max()


# --- words ------------------------------------------------------------------------------------------------------------


def test_prompts_are_one_window_each_35_words(encode):
    assert encode("")[0][0].shape == (1, 37, 128)
    assert encode(CAPTION)[0][0].shape == (1, 37, 128)
    assert encode(", ".join([CAPTION] * 3))[0][0].shape == (1, 74, 128)


def test_weights_change_the_words_they_stand_on(encode):
    plain, same, more = (encode(f"a lake, {snow}")[0][0] for snow in ("snow", "(snow:1.0)", "(snow:1.3)"))
    assert torch.equal(plain, same)
    moved = (plain - more).abs().amax((0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [4], "start, a, lake, comma, snow"


def test_an_unknown_word_is_told_once(encode, caplog):
    with caplog.at_level(logging.WARNING):
        known = encode("a lake, snow")
    assert not [record for record in caplog.records if "does not know" in record.getMessage()]
    with caplog.at_level(logging.WARNING):
        strange = encode("a castle, a castle by a lake")
    told = [record.getMessage() for record in caplog.records if "does not know" in record.getMessage()]
    assert len(told) == 1
    assert "castle" in told[0]
    assert known[0][0].shape == strange[0][0].shape
    assert torch.isfinite(strange[0][0]).all()


def test_an_unknown_word_is_told_on_the_node_that_encodes(encode, room, monkeypatch):
    """With words that it knows; nothing is said of a prompt without unknown ones."""
    from server import PromptServer

    told = []
    monkeypatch.setattr(room("host"), "say_on_node", lambda node_id, text: told.append((node_id, text)))
    monkeypatch.setattr(PromptServer, "instance", SimpleNamespace(last_node_id="7"), raising=False)
    encode(CAPTION)
    assert told == []
    encode("a castle, a dragon by a lake")
    ((node, text),) = told
    assert node == "7"
    assert text.startswith("The starter does not know: castle, dragon. Words that it knows: lake, meadow, ")


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_what_belongs_to_a_pixel_prior_is_refused_in_words(models, encode, host_nodes, room):
    """By ComfyUI's own sampler: the label, and a latent of three channels."""
    label = room("nodes.priors").SketchPriorLabel.execute(-1).result[0]
    words = encode(CAPTION)
    with pytest.raises(ValueError, match="is a Pixel Prior Label, but the model reads words"):
        ksampler(host_nodes, models[0], label, words, empty(host_nodes))
    with pytest.raises(ValueError, match="made with another model's VAE: it has 3 channels, this model 4"):
        ksampler(host_nodes, models[0], words, words, {"samples": torch.rand(1, 3, 16, 16)})


def test_sampling_follows_words_and_seed(models, host_nodes, encode):
    lake, night, nothing = encode(CAPTION), encode("a moon, sand dunes, at night"), encode("")
    run = lambda positive, **options: ksampler(  # noqa: E731
        host_nodes, models[0], positive, nothing, empty(host_nodes), **options
    )
    first = run(lake)
    assert first.shape == (1, 4, 16, 16)
    assert torch.isfinite(first).all()
    assert torch.equal(first, run(lake))
    assert not torch.allclose(first, run(lake, seed=1), atol=1e-2)
    assert not torch.allclose(first, run(night), atol=1e-2)
    assert not torch.allclose(first, run(lake, cfg=1.0), atol=1e-2)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (160, 96), (96, 160), (256, 128)])
def test_other_sizes_run(models, host_nodes, encode, width, height):
    model, _, vae = models
    latent = ksampler(host_nodes, model, encode(CAPTION), encode(""), empty(host_nodes, width, height), steps=2)
    with torch.inference_mode():
        assert vae.decode(latent).shape == (1, height, width, 3)


def test_a_batch_is_its_members(models, host_nodes, encode):
    """Batch 2, a prompt of one window against one of two, and the same noise for the first of them."""
    model = models[0]
    prompts = encode(CAPTION), encode(", ".join([CAPTION] * 2))
    both = ksampler(host_nodes, model, *prompts, empty(host_nodes, batch=2))
    assert both.shape == (2, 4, 16, 16)
    assert torch.allclose(both[:1], ksampler(host_nodes, model, *prompts, empty(host_nodes)), atol=1e-3)
    assert not torch.allclose(both[:1], both[1:], atol=1e-2)


def test_words_decide_day_and_night(models, host_nodes, encode):
    """Ten steps are enough to tell them apart."""
    model, _, vae = models
    bright = []
    for hour in ("by day", "at night"):
        latent = ksampler(
            host_nodes, model, encode(f"a meadow, {hour}"), encode(""), empty(host_nodes, batch=4), steps=10
        )
        with torch.inference_mode():
            bright.append(float(vae.decode(latent).mean()))
    assert bright[0] > bright[1] + 0.15


def test_it_can_be_made_again(models):
    """Hooks and several GPUs ask the loader for a fresh copy."""
    model, clip, vae = models
    for part in (model, clip.patcher, vae.patcher):
        factory, arguments, index = part.cached_patcher_init
        again = factory(*arguments, disable_dynamic=True)[index]
        for name, weight in part.model.named_parameters():
            assert torch.equal(weight, dict(again.model.named_parameters())[name])


def test_region_nodes_take_it_for_a_unet_with_words(models, room):
    assert room("host").token_layout(models[0]) is None, "a UNet"
    assert tiny.model("sd15").model.diffusion_model.__class__ is models[0].model.diffusion_model.__class__


# --- the upscaler -----------------------------------------------------------------------------------------------------


def test_the_upscaler_runs_in_the_hosts_own_node(outputs, room):
    """Four times larger, any size, and more like large renders than bicubic pixels: patches of all scales."""
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

    world, seeds = room("starter.world"), range(910_000, 910_008)
    small, large = (
        torch.from_numpy(np.stack([scene.image for scene in world.render_batch(seeds, side)])).float() / 255
        for side in (64, 256)
    )
    with torch.inference_mode():
        made = ImageUpscaleWithModel.execute(outputs[3], small).result[0]
        odd = ImageUpscaleWithModel.execute(outputs[3], small[:1, :50, :37]).result[0]
    assert made.shape == large.shape
    assert odd.shape == (1, 200, 148, 3)
    plain = torch.nn.functional.interpolate(small.movedim(-1, 1), scale_factor=4, mode="bicubic").movedim(1, -1)
    apart, before = (room("pictures.measures").patch_distance(one, large).mean for one in (made, plain.clamp(0, 1)))
    assert apart < 0.9 * before
