"""The decoder's second training: nothing of the VAE's encoder moves, and decoder and critic learn in one pass."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def training(room):
    return room("starter.training.decoder")


@pytest.fixture(scope="module")
def whole(room, training):
    """A narrow VAE's state dict, filled up to 64 channels, with lively residual branches."""
    taesd = room("networks.taesd")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        narrow = taesd.TAESD(width=training.WIDTH)
    return taesd.widened(narrow.state_dict())


@pytest.fixture
def batch(training, room):
    images = np.stack([scene.image for scene in room("starter.world").render_batch(range(4), 32)])
    known = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(1)).half().numpy()
    return training.batch(images, known, 2, 0)


def test_begins_as_the_decoder_that_it_is_taken_from(training, room, whole):
    vae = room("networks.taesd").TAESD()
    vae.load_state_dict(whole)
    z = torch.randn(2, 4, 4, 5, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, found = vae.taesd_decoder(z) * 2 - 1, training.DecoderTask(whole, {}).decode(z)
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


def test_spare_channels_learn(training, whole, batch):
    lesson = training.DecoderTask(whole, {})
    lesson.loss(batch, torch.Generator()).backward()
    used = training.WIDTH
    assert lesson.network[-1].weight.grad[:, used:].abs().max() > 0, "what is read from them"
    with torch.no_grad():
        for parameter in lesson.network.parameters():
            parameter -= 0.01 * parameter.grad
    lesson.zero_grad()
    lesson.loss(batch, torch.Generator()).backward()
    for module in lesson.network.modules():
        if isinstance(module, torch.nn.Conv2d) and len(module.weight) > used:
            slope = module.weight.grad
            assert slope is not None
            assert slope[used:].abs().max() > 0, "and what is written to them, from the second step on"


def test_each_half_learns_from_its_own_loss(training, whole, batch):
    """Without the critic's opinion the decoder's slope changes; the critic's does not."""

    def slopes(weight: float):
        lesson = training.DecoderTask(whole, {})
        training_weight, training.CRITICAL = training.CRITICAL, weight
        try:
            lesson.loss(batch, torch.Generator().manual_seed(0)).backward()
        finally:
            training.CRITICAL = training_weight
        return lesson.network[1].weight.grad.clone(), lesson.critic.layers[0].weight.grad.clone()

    decoder, critic = slopes(0.1)
    alone, same = slopes(0.0)
    assert torch.equal(critic, same)
    assert (decoder - alone).abs().max() > 1e-6


def test_critic_learns_to_tell(training, whole, batch):
    """A few steps on one batch: opinions of renders rise above those of decoded pictures."""
    lesson = training.DecoderTask(whole, {})
    optimiser = torch.optim.AdamW(lesson.critic.parameters(), 1e-3)
    rng = torch.Generator()
    for _ in range(12):
        optimiser.zero_grad()
        lesson.loss(batch, rng.manual_seed(0)).backward()
        optimiser.step()
    with torch.no_grad():
        none = torch.zeros_like(batch[1])
        real, made = (lesson.critic(x, none).mean() for x in (batch[1], lesson.decode(batch[0])))
    assert real > made + 0.1


def test_pictures_match_their_latents(training, batch):
    """Every second scene is mirrored, as its latent was made."""
    images = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    known = np.arange(4, dtype=np.float16)[:, None, None, None] * np.ones((1, 4, 1, 1), np.float16)
    for step in range(4):
        z, pictures = training.batch(images, known, 2, step)
        for which, picture in zip(z[:, 0, 0, 0].int().tolist(), pictures, strict=True):
            plain = torch.from_numpy(images[which].copy()).movedim(-1, 0).float() / 127.5 - 1
            assert torch.equal(picture, plain.flip(-1) if which % 2 else plain)


def test_only_the_decoder_changes_in_the_file(training, room, whole, batch, tmp_path):
    notes = {"latent_rgb_factors": [[1.0, 2.0, 3.0]] * 4}
    task = training.DecoderTask(whole, notes)
    lesson = room("training.supervised").SupervisedLesson("decoder", task, lambda step: batch, learning_rate=1e-2)
    choice = SimpleNamespace(folder=tmp_path, minutes=0.0, save_minutes=1.0)
    room("training.command").train(lesson, choice, steps=2)
    found = load_file(tmp_path / "decoder.safetensors")
    assert found.keys() == whole.keys()
    for key, value in found.items():
        assert torch.equal(value, whole[key].half()) == (not key.startswith("taesd_decoder.")), key
    with safe_open(tmp_path / "decoder.safetensors", "pt") as file:
        assert json.loads(file.metadata()["latent_rgb_factors"]) == notes["latent_rgb_factors"]
