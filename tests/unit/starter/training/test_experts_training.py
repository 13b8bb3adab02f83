"""The starter experts' lessons: loss falls, a run can be taken up, and what is saved loads like any checkpoint."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def training(room):
    return room("starter.training.experts")


@pytest.fixture(scope="module")
def world(training, room):
    """A few scenes of 32 pixels, as `scenes` keeps them."""
    scenes = room("starter.world").render_batch(range(12), 32)
    parts = {name: np.stack([getattr(scene, name) for scene in scenes]) for name in ("image", "labels", "sketch")}
    return {**parts, "hour": np.arange(12, dtype=np.uint8) % 5}


@pytest.mark.parametrize("name", ["extractor", "features"])
def test_loss_falls(training, world, name):
    torch.manual_seed(0)
    lesson = training.TASKS[name]().train()
    optimiser = torch.optim.AdamW(lesson.parameters(), 2e-3)
    batch, rng = training.batch([world], 4 * 32 * 32, 0), torch.Generator().manual_seed(0)
    losses = []
    for _ in range(12):
        loss = lesson.loss(batch, rng)
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in lesson.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]


def test_norms_are_folded_exactly(training, room):
    torch.manual_seed(0)
    lesson = training.TASKS["features"]()
    for norm in lesson.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias)
            torch.nn.init.normal_(norm.get_buffer("running_mean"))
            torch.nn.init.uniform_(norm.get_buffer("running_var"), 0.5, 2)
    image = torch.rand(2, 3, 32, 48)
    network = room("networks").build(lesson.weights())
    normalised = (image - training.MEAN[:, None, None]) / training.STD[:, None, None]
    lesson.eval()
    for found, expected in zip(network(normalised), lesson.taps(image), strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", ["extractor", "features"])
def test_a_run_is_resumed_and_saved(training, room, world, tmp_path, name, capsys):
    command = room("training.command")
    choice = SimpleNamespace(folder=tmp_path, minutes=0.0, save_minutes=1.0)
    for steps in (2, 4):
        lesson = training.lesson(name, [world], pixels=2 * 32 * 32, learning_rate=1e-3)
        assert command.train(lesson, choice, steps=steps).steps == steps
    assert f"{name}: resumed at step 2" in capsys.readouterr().out
    file = tmp_path / f"{name}.safetensors"
    network = room("networks").build(load_file(file))
    assert {value.dtype for value in load_file(file).values()} == {torch.float16}
    assert sum(p.numel() for p in network.parameters()) * 2 < 2.5e6, "both together stay under 5 MB"
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["image_size"] == "128"
    assert (tmp_path / f"{name}.png").is_file()


def test_batches_are_mirrored_whole_and_follow_from_the_step(training, world):
    first, second, again = (training.batch([world], 6 * 32 * 32, step) for step in (0, 1, 0))
    assert first["image"].shape == (6, 3, 32, 32)
    assert torch.equal(again["image"], first["image"])
    assert not torch.equal(second["image"], first["image"])
    for i, image in enumerate(first["image"]):
        (same,) = [
            (j, flip)
            for j in range(12)
            for flip in (False, True)
            if np.array_equal((image * 255).round().movedim(0, -1).numpy(), world["image"][j][:, :: -1 if flip else 1])
        ]
        for part in ("labels", "sketch"):
            known = world[part][same[0]][:, :: -1 if same[1] else 1]
            found = first[part][i] if part == "labels" else (first[part][i, 0] * 255).round()
            assert np.array_equal(found.numpy(), known)
