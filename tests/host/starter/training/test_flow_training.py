"""The flow starter's lesson: loss falls, and ComfyUI loads and samples what it saves, to the same latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

TINY = {
    "patch_size": 2,
    "in_channels": 4,
    "dim": 32,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 2,
    "multiple_of": 16,
    "ffn_dim_multiplier": 2.0,
    "qk_norm": True,
    "cap_feat_dim": 64,
    "axes_dims": [4, 6, 6],
    "axes_lens": [16, 16, 16],
    "time_scale": 1000.0,
}
SAID = ("a lake, by day", "a cabin in the snow")
COLOURS = {"latent_rgb_factors": [[0.1, 0.0, 0.0]] * 4, "latent_rgb_factors_bias": [0.0, 0.1, 0.2]}


@pytest.fixture(scope="module")
def training(room):
    return room("starter.training.flow")


@pytest.fixture(scope="module")
def task(training):
    """With layers that do something: trained ones begin at zero."""
    from comfy.ldm.lumina.model import NextDiT

    torch.manual_seed(0)
    made = training.FlowTask(NextDiT, TINY, stated=COLOURS, side=4)
    rng = torch.Generator().manual_seed(1)
    for parameter in made.transformer.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2, generator=rng)
    return made


@pytest.fixture
def slopes(monkeypatch):
    """The host's switch that dev/tools/train.py turns on."""
    import comfy.model_management

    monkeypatch.setattr(comfy.model_management, "in_training", True)


@pytest.mark.usefixtures("slopes")
def test_loss_falls_and_reaches_every_weight(training, room):
    from comfy.ldm.lumina.model import NextDiT

    torch.manual_seed(0)
    lesson = training.FlowTask(NextDiT, TINY, side=4)
    known = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(1)).half().numpy()
    batch = training.batch(known, ["a lake", "hills"] * 4, lesson.words, 8, 0)
    optimiser, losses = torch.optim.AdamW(lesson.parameters(), 3e-3), []
    for _ in range(25):
        loss = lesson.loss(batch, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    lesson.loss(batch, torch.Generator()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in lesson.parameters())
    assert lesson.text.embed.weight.grad.abs().max() > 0, "the text encoder learns with the transformer"


def test_flow_loss_is_of_noise_minus_picture(room):
    diffusion = room("training.diffusion")
    clean = torch.randn(16, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    seen = {}

    def predict(x, t):
        seen["x"], seen["t"] = x, t
        noise = (x - (1 - t.view(-1, 1, 1, 1)) * clean) / t.view(-1, 1, 1, 1)
        return noise - clean

    assert diffusion.flow_loss(predict, clean, torch.Generator().manual_seed(3), 2.0) < 1e-8
    assert (seen["t"] > 0).all()
    assert (seen["t"] < 1).all()
    plain = diffusion.shifted_times(torch.tensor([0.0, 0.5, 1.0]), 1.0)
    assert plain.tolist() == [0.0, 0.5, 1.0]
    assert diffusion.shifted_times(torch.tensor([0.0, 0.5, 1.0]), 3.0).tolist() == [0.0, 0.75, 1.0]
    assert np.isclose(torch.special.ndtri(torch.tensor(0.5)).sigmoid().item(), 0.5)


@pytest.fixture(scope="module")
def loaded(task, room, pack, tmp_path_factory):
    """MODEL and CLIP of what the lesson saves."""
    path = tmp_path_factory.mktemp("flow") / "flow.safetensors"
    room("files").replace_weights(path, task.weights(), task.notes())
    host = room("host")
    with torch.inference_mode():
        return host.text_models(str(path), str(host.PACK / "starter" / "weights" / "vae.safetensors"))[:2]


def test_host_samples_what_the_lesson_samples(task, loaded, host_nodes):
    import comfy.model_base
    import comfy.model_management
    import comfy.sample
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import BasicScheduler

    model, clip = loaded
    assert isinstance(model.model, comfy.model_base.Lumina2)
    steps, cfg = 5, 2.5
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(comfy.model_management, "in_training", True)
        expected = task.sample(SAID[:1], steps, cfg, seed=7)
    with torch.inference_mode():
        said, silent = (host_nodes.CLIPTextEncode().encode(clip, text)[0] for text in (SAID[0], ""))
        noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(7))
        sigmas = torch.linspace(1, 0, steps + 1)
        sigmas = 2 * sigmas / (1 + sigmas)
        found = comfy.sample.sample_custom(
            model, noise, cfg, comfy.samplers.sampler_object("euler"), sigmas, said, silent, torch.zeros_like(noise)
        )
        found = model.model.process_latent_in(found)
        (listed,) = BasicScheduler.execute(model, "simple", steps, 1.0).args
    assert torch.allclose(found, expected, atol=2e-3 * float(expected.std()))
    assert torch.allclose(listed, sigmas, atol=2e-3), "the host's schedule has the shift of the training"


def test_words_in_regions_know_its_tokens(loaded, room):
    assert room("host").token_layout(loaded[0]) is not None
