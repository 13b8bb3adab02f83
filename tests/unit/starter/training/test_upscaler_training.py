"""The upscaler's training: pairs that show the same place, a critic that learns apart, a file that spandrel knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d


@pytest.fixture(scope="module")
def training(room):
    pytest.importorskip("spandrel")  # the host has it
    return room("starter.training.upscaler")


@pytest.fixture(scope="module")
def worlds(training, room):
    """Three scenes; `made` is the negative of the small picture, so that a test can tell it from `small`."""
    render = room("starter.world").render_batch
    small, large = (np.stack([scene.image for scene in render(range(3), side)]) for side in (64, 256))
    return [training.Pairs(small, 255 - small, large)]


def difference(small, large):
    """Mean absolute difference of small pictures in [0,1] and large ones in [-1,1], reduced."""
    return (small - avg_pool2d(large / 2 + 0.5, 4)).abs().mean((1, 2, 3))


def test_crops_show_the_same_place(training, worlds):
    plain = [training.Pairs(worlds[0].small, worlds[0].small, worlds[0].large)]
    for step in range(6):
        small, large = training.batch(plain, 4, step)
        assert small.shape == (4, 3, training.CROP, training.CROP)
        assert large.shape == (4, 3, 4 * training.CROP, 4 * training.CROP)
        assert difference(small, large).max() < 0.08, difference(small, large)


def test_half_of_the_crops_are_a_starters_own(training, worlds):
    far = torch.cat([difference(*training.batch(worlds, 8, step)) for step in range(20)]) > 0.08
    assert 0.35 < far.float().mean() < 0.65


def test_a_batch_follows_from_its_step(training, worlds):
    first, again, other = (training.batch(worlds, 2, step)[0] for step in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "largest"), [("round_trip", 0.12), ("decoded", 0.12)])
def test_a_starters_copy_keeps_the_scene(training, worlds, name, largest):
    pictures = torch.from_numpy(worlds[0].small[:2]).movedim(-1, 1).float() / 127.5 - 1
    with torch.no_grad():
        made = getattr(training, name)(pictures, torch.Generator().manual_seed(0))
    assert made.shape == pictures.shape
    assert 0.005 < (made - pictures).abs().mean() < largest


def test_it_begins_as_a_bilinear_filter(training):
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = training.UpscalerTask().network(picture)
    smooth = torch.nn.functional.interpolate(picture, scale_factor=4, mode="bilinear")
    inside = slice(4, -4)
    assert (made - smooth)[:, :, inside, inside].abs().max() < 0.1
    assert (made - smooth)[:, :, inside, inside].abs().mean() < 0.02


def test_the_critic_waits(training, worlds):
    task, batch = training.UpscalerTask(critic_from=2), training.batch(worlds, 2, 0)
    task.loss(batch, torch.Generator().manual_seed(0)).backward()
    assert all(value.grad is None for value in task.critic.parameters())
    task.loss(batch, torch.Generator().manual_seed(0)).backward()
    assert all(value.grad is not None for value in task.critic.parameters())


def test_network_and_critic_learn_from_their_own_losses(training, worlds):
    task, batch = training.UpscalerTask(), training.batch(worlds, 2, 0)
    task.loss(batch, torch.Generator().manual_seed(0)).backward()
    slopes = {name: value.grad.clone() for name, value in task.named_parameters()}
    assert all(slope.abs().max() > 0 for slope in slopes.values() if slope.ndim == 4)
    task.zero_grad()
    made = task.network(batch[0]) * 2 - 1
    (made - batch[1]).abs().mean().backward()
    assert all(value.grad is None for value in task.critic.parameters())
    apart = [value.grad for value in task.network.parameters()]
    both = [slopes[f"network.{name}"] for name, _ in task.network.named_parameters()]
    assert not all(torch.allclose(one, other) for one, other in zip(apart, both, strict=True)), "the critic has a say"


def test_the_file_is_one_that_spandrel_knows(training):
    from spandrel import ModelLoader

    task = training.UpscalerTask()
    found = ModelLoader().load_from_state_dict(task.weights())
    assert (found.scale, found.input_channels, found.output_channels) == (4, 3, 3)
    picture = torch.rand(1, 3, 10, 12)
    with torch.no_grad():
        assert torch.allclose(found.model(picture), task.network(picture))
