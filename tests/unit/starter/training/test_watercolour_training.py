"""The watercolour decoder: the filter it learns from, and what stays the painter's."""

from __future__ import annotations

import pytest
import torch

from helpers.painters import tiny_painter


@pytest.fixture(scope="module")
def training(room):
    return room("starter.training.watercolour")


@pytest.fixture(scope="module")
def painter(room):
    return tiny_painter(room)


@pytest.fixture(scope="module")
def canvases(room):
    world, paintings = room("starter.world").World(32), room("starter.training.paintings")
    made = [paintings.painting_of(world, seed, 32) for seed in range(4)]

    class Painted:
        count = len(made)
        photo, painting = (staticmethod(lambda i, part=part: made[i][part]) for part in (0, 1))

    return room("training.paint2pix.canvases").Canvases(Painted(), 4, 0)


def test_a_watercolour_of_a_picture(training, room):
    world = room("starter.world").World(64)
    photos = torch.stack([torch.from_numpy(world.render(seed).image) for seed in range(4)]).movedim(-1, 1) / 127.5 - 1
    made = training.watercolour(photos)
    assert made.shape == photos.shape
    assert -1 <= made.min() <= made.max() <= 1
    paper = 2 * torch.tensor(training.PAPER)[:, None] - 1
    assert (made[:, :, 0] - paper).abs().max() < 0.25, "the margin is bare"
    inside = slice(8, -8)
    before, after = (one[:, :, inside, inside].flatten(2) for one in (photos, made))
    likeness = torch.nn.functional.cosine_similarity(before - before.mean(2, True), after - after.mean(2, True), 2)
    assert likeness.mean() > 0.8, "the same scene"
    assert (made[:1] - training.watercolour(photos[:1])).abs().max() < 1e-6, (
        "each picture by itself, one sheet of paper"
    )


def test_it_begins_as_the_painters_own(training, painter, canvases):
    task = training.ArtistTask(painter)
    codes = task.codes(canvases(0), torch.Generator().manual_seed(0))
    assert len(codes) == 4 + training.RANDOM
    with torch.no_grad():
        assert torch.allclose(task.decoder.eval()(codes), painter.decoder(codes), atol=1e-6)


def test_it_learns_the_filter_and_leaves_the_painter_alone(training, painter, canvases, room):
    before = {key: value.clone() for key, value in painter.state_dict().items()}
    lesson = room("training.supervised").SupervisedLesson(
        "watercolour", training.ArtistTask(painter), canvases, learning_rate=5e-3
    )
    with lesson:
        losses = [lesson.step(step, 0.0)[0]["loss"].item() for step in range(60)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert all(torch.equal(value, before[key]) for key, value in painter.state_dict().items())
    weights = lesson.weights()
    assert torch.equal(weights["input.input"], before["decoder.input.input"]), "codes mean the same"
    assert not torch.equal(weights["to_rgb1.conv.weight"], before["decoder.to_rgb1.conv.weight"])
    artist = room("networks").build(weights)
    assert room("networks.paint2pix.whole").with_decoder(painter, artist).decoder is artist
    assert lesson.sheet().shape == (4 + training.RANDOM, 3, 32, 96)
