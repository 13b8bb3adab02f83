"""The starter's painter: the world's own canvases, back to front, and its small networks in training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
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


def test_finished_canvases_are_their_pictures(training, paintings, tmp_path):
    """Mirrored together, the same for a step, and close to the picture at the size that is learned."""
    batches = training.Finished(paintings.world_paintings(tmp_path, "few", 3, 7, size=32), 8, 16)
    batch = batches(0)
    assert batch.photo.shape == (8, 3, 16, 16)
    assert batch.canvas.shape == (8, 3, 16, 16), "canvases have half the pictures' size"
    off, mirrored = ((one - batch.photo).square().mean() for one in (batch.canvas, batch.canvas.flip(3)))
    assert off < mirrored / 2
    assert all(torch.equal(a, b) for a, b in zip(batch, batches(0), strict=True))
    assert len({tuple(one.flatten().tolist()) for one in batch.photo}) == 6, "3 pictures and their mirror images"


def test_a_painter_that_grew_paints_the_same_enlarged(training, room):
    small = training.new_starter(size=16)
    large = training.grown(small, 32)
    w = torch.randn(2, 8, training.STYLE_DIM, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        enlarged = large.decoder.to_rgbs[-1].upsample(small.decoder(w[:, :6]))
        assert torch.equal(large.decoder(w), enlarged)
    for key, value in small.encoder.state_dict().items():
        assert torch.equal(large.encoder.state_dict()[key], value), key
    assert large.latent_avg.shape == (8, training.STYLE_DIM)


@pytest.fixture
def folder(training, paintings, tmp_path, monkeypatch):
    """A folder with few paintings."""
    monkeypatch.setattr(training, "SHOWN", 2)
    monkeypatch.setattr(training, "GROWTH", (training.Growth(16, 1), training.Growth(64, 2)))
    return tmp_path


def test_half_of_the_canvases_are_finished(training, paintings, tmp_path):
    few = paintings.world_paintings(tmp_path, "few", 3, 7, size=64)
    batch, finished = training.Half(few, 5)(3), training.Finished(few, 2, 64)(3)
    assert batch.photo.shape == (5, 3, 64, 64)
    assert torch.equal(batch.canvas[3:], finished.canvas)
    assert (batch.canvas[:3] - batch.updated[:3]).abs().sum() > 0


def test_the_command(training, room, folder, monkeypatch):
    """Layout, texture, canvases, each to its end; then nothing is learned again. The file loads, and the sheet has a
    row for each canvas."""
    words = ["--folder", str(folder), "--scenes", "2", "--batch", "4", "--texture-minutes", "0.0005"]
    steps, decoders = [], []
    lesson = room("training.paint2pix.lesson").PainterLesson
    real = lesson.step

    def step(self, number, progress):
        steps.append((self.name, number))
        found = real(self, number, progress)
        decoders.append({key: value.clone() for key, value in self.average.decoder.state_dict().items()})
        return found

    monkeypatch.setattr(training.PainterLesson, "step", step)
    monkeypatch.setattr(room("training.paint2pix.lesson"), "SETTLING", 1)
    training.main([*words, "--minutes", "0.001"])
    assert [name for name, _ in steps] == ["painter_16", "painter_64", "painter_64", "painter_texture", "painter"]
    assert all(torch.equal(value, decoders[-1][key]) for key, value in decoders[-2].items()), "the decoder stays"
    training.main([*words, "--minutes", "0.001"])
    assert len(steps) == 5
    network = room("networks").build(load_file(folder / "painter.safetensors"))
    assert network.decoder.size == 64
    assert (folder / "painter.safetensors").stat().st_size < 15e6
    with safe_open(folder / "painter.safetensors", "pt") as file:
        assert file.metadata()["passes"] == "1"
    assert Image.open(folder / "painter.png").size == (2 * 3 * 64, 2 * 2 * 64)
