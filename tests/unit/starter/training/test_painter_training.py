"""The starter's painter: the world's own canvases, back to front, and its small networks in training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def paintings(room):
    return room("starter.training.paintings")


@pytest.fixture(scope="module")
def training(room):
    return room("starter.training.painter")


@pytest.fixture(scope="module")
def world(room):
    return room("starter.world").World(32)


def test_snapshots_change_no_render(paintings, room, world):
    """The same bytes with and without somebody watching; layers go from sky to foreground and end at the picture."""
    for seed in range(6):
        image, seen = paintings.snapshots(world, seed)
        assert np.array_equal(image, world.render(seed).image)
        assert len(seen) >= 4
        last = np.abs(seen[-1] * 255 - image).mean()
        assert last < 4, "all but the grain"
        upper = slice(0, 8)
        moved = [np.abs(b - a) for a, b in pairwise(seen[2:])]
        assert sum(one[upper].mean() for one in moved) < sum(one[-16:].mean() for one in moved), "land after the sky"


def test_a_painting_ends_at_its_picture(paintings, room, world):
    canvases = room("training.paint2pix.canvases")
    image, painting = paintings.painting_of(world, 4, 16)
    assert painting.strokes.shape == (paintings.LEVELS, 16, 16)
    small = image.reshape(16, 2, 16, 2, 3).mean((1, 3))
    times = canvases.order_of(painting, np.random.default_rng(0))
    ground = np.zeros((16, 16, 3), np.uint8)
    far = [np.abs(canvases.filled(painting, times, until, ground)[0] - small).mean() for until in (0.05, 0.5, 1.0)]
    assert far[0] > far[1] > far[2]
    assert far[2] < 16
    used = [len(np.unique(level[level > 0])) for level in painting.strokes[: paintings.LAYERS]]
    assert max(used) <= paintings.TONES, "layers are flat"


def test_paintings_are_made_once(paintings, room, tmp_path, monkeypatch):
    made = paintings.world_paintings(tmp_path, "few", 3, 7, size=32)
    monkeypatch.setattr(room("starter.training.maps"), "ProcessPoolExecutor", None)
    again = paintings.world_paintings(tmp_path, "few", 3, 7, size=32)
    assert made.count == again.count == 3
    for i in range(3):
        image, painting = paintings.painting_of(paintings.World(32), 7 + i, 16)
        assert np.array_equal(again.photo(i), image)
        assert np.array_equal(again.painting(i).strokes, painting.strokes)
        assert np.array_equal(again.painting(i).colours, painting.colours)


def test_it_is_small(training):
    """At most 15 MB in half precision, 64 pixels from canvases of 32."""
    network = training.new_starter()
    assert sum(value.numel() for value in network.state_dict().values()) * 2 < 15e6
    assert (network.decoder.size, network.encoder.size, network.in_channels) == (64, 32, 12)
    assert torch.equal(training.new_starter().latent_avg, network.latent_avg), "its first weights follow from the seed"
    assert 0 < network.latent_avg.std() < 1


@pytest.fixture
def folder(training, paintings, tmp_path, monkeypatch):
    """A folder with few paintings."""
    monkeypatch.setattr(training, "SHOWN", 2)
    return tmp_path


def test_the_command(training, room, folder, monkeypatch):
    """A step; the file loads, and the sheet has a row for each canvas."""
    words = ["--folder", str(folder), "--scenes", "2", "--batch", "2", "--adversarial-from", "0"]
    steps = []
    real = room("training.paint2pix.lesson").PainterLesson.step

    def step(self, number, progress):
        steps.append(number)
        return real(self, number, progress)

    monkeypatch.setattr(training.PainterLesson, "step", step)
    monkeypatch.setattr(room("training.paint2pix.lesson"), "SETTLING", 1)
    training.main([*words, "--minutes", "0.001"])
    assert steps == [0]
    network = room("networks").build(load_file(folder / "painter.safetensors"))
    assert network.decoder.size == 64
    assert (folder / "painter.safetensors").stat().st_size < 15e6
    from PIL import Image

    assert Image.open(folder / "painter.png").size == (2 * 3 * 64, 2 * 2 * 64)
