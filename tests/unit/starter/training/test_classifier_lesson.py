"""The noisy classifier's lesson: classes of scenes, noise over the whole ladder, and a file that the loader reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open


@pytest.fixture(scope="module")
def training(room):
    return room("starter.training.classifier")


@pytest.fixture(scope="module")
def scenes(room):
    return room("starter.world").render_batch(range(12), 16)


def test_classes_of_scenes(training, room):
    world = room("starter.world")
    assert len(training.NAMES) == len(set(training.NAMES)) == len(world.GROUNDS) * len(world.HOURS) == 20
    assert training.NAMES[training.class_of("the sun, clouds, a meadow, a cabin, by day")] == "meadow by day"
    assert training.NAMES[training.class_of("a moon, mountains, a lake, at night")] == "lake at night"
    found = {training.class_of(scene.caption) for scene in world.render_batch(range(40), 16)}
    assert len(found) > 8, "every caption names its ground and hour"


def test_batches_follow_from_the_step(training, scenes):
    images = np.stack([scene.image for scene in scenes])
    classes = np.arange(12)
    pictures, labels = training.batch(images, classes, 6, 3)
    again, _ = training.batch(images, classes, 6, 3)
    assert torch.equal(pictures, again)
    assert pictures.shape == (6, 3, 16, 16)
    assert pictures.abs().max() <= 1
    for picture, label in zip(pictures, labels, strict=True):
        plain = torch.from_numpy(images[int(label)].copy()).permute(2, 0, 1).float() / 127.5 - 1
        assert torch.allclose(picture, plain) or torch.allclose(picture, plain.flip(-1)), "classes stay with pictures"


def test_noise_covers_the_ladder(training, room):
    task = room("training.noisy_classifier").ClassifierTask(["a", "b"], {**training.SHAPE, "side": 2}, 16)
    pictures = torch.zeros(50, 3, 16, 16)
    x, t = task.noised(pictures, torch.Generator().manual_seed(0))
    assert sorted((t // 20).tolist()) == list(range(50)), "one of each equal part"
    spread = (1 - task.abar[t]).sqrt()
    assert torch.allclose(x.flatten(1).std(1), spread, atol=0.08)


def test_learns_and_loads(training, room, tmp_path):
    """A few steps on light and dark pictures tell them apart, and the written file is a classifier with names."""
    module = room("training.noisy_classifier")
    shape = {**training.SHAPE, "model_channels": 16, "channel_mult": (1, 1), "attention_levels": (1,), "side": 8}
    torch.manual_seed(0)
    task = module.ClassifierTask(["dark", "light"], {**shape, "num_head_channels": 16}, 16)
    labels = torch.arange(16) % 2
    pictures = (2.0 * labels - 1).view(-1, 1, 1, 1).expand(-1, 3, 16, 16) * 0.8
    lesson = room("training.supervised").SupervisedLesson(
        "classifier", task, lambda step: (pictures, labels), learning_rate=3e-3, warmup=1
    )
    with lesson:
        losses = [float(lesson.step(step, step / 20)[0]["loss"]) for step in range(16)]
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    task.eval()
    assert task.accuracy((pictures, labels), 100) == 1
    path = tmp_path / "c.safetensors"
    room("files").replace_weights(path, lesson.weights(), lesson.notes())
    with safe_open(path, "pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        notes = file.metadata()
    assert json.loads(notes["classes"]) == ["dark", "light"]
    hints = {key: json.loads(notes[key]) for key in ("num_head_channels", "norm_groups", "image_size")}
    net = room("networks").build(weights, **hints)
    assert (net.classes, net.levels) == (2, 2)
    x, t = pictures[:2], torch.tensor([50.0, 50.0])
    assert torch.allclose(net(x, t), task.network.eval()(x, t), atol=1e-5)
