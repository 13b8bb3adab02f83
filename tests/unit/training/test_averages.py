"""Several averages of one training, other optimisers, and pictures cut to their middle square."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def lesson_of(room):
    """lesson_of(**settings): a lesson that moves one number towards 1, and paints it."""
    supervised = room("training.supervised")

    class Towards(supervised.Task):
        def __init__(self):
            super().__init__()
            self.number = torch.nn.Parameter(torch.zeros(1))

        def loss(self, batch, rng):
            return (self.number - batch).square().mean()

        def weights(self):
            return {"number": self.number}

        def sheet(self, batch):
            return self.number.detach().clamp(0, 1).expand(2, 3, 4, 12)

    def make(**settings):
        task, batch = Towards(), torch.ones(1)
        return supervised.SupervisedLesson("towards", task, lambda step: batch, learning_rate=0.1, warmup=1, **settings)

    return make


def test_each_average_follows_at_its_own_rate(lesson_of):
    numbers, averages = [0.0], [0.0, 0.0]
    with lesson_of(ema=(0.9, 0.2)) as one:
        for step in range(8):
            one.step(step, 0)
            numbers.append(one.task.number.item())
            for i, rate in enumerate((0.9, 0.2)):
                keep = min(rate, (1 + step) / (12 + step))
                averages[i] = keep * averages[i] + (1 - keep) * numbers[-1]
        assert one.weights()["number"].item() == pytest.approx(averages[0], abs=1e-5)
        assert {name: value["number"].item() for name, value in one.variants().items()} == {
            "ema 0.2": pytest.approx(averages[1], abs=1e-5)
        }
    assert averages[0] < averages[1] < numbers[-1]


@pytest.mark.parametrize(("ema", "kept"), [(0.0, 2), (0.9, 3), ((0.9,), 3), ((0.9, 0.5, 0.1), 4)])
def test_one_average_is_kept_as_it_always_was(lesson_of, ema, kept):
    with lesson_of(ema=ema) as one:
        state = one.state()
    assert len(state) == kept
    assert list(state)[: min(kept, 3)] == ["task", "optimiser", "average"][: min(kept, 3)]


def test_variants_are_files_beside_and_the_sheet_is_the_preview(lesson_of, room, tmp_path):
    one, loop = room("training.one"), room("training.loop")
    path, shown = tmp_path / "my model.safetensors", []
    options = one.Options(watch=lambda moment: shown.append(moment.shown), save_every=0.0)
    settings = {"ema": (0.9, 0.2)}
    for steps in (3, 5):  # the second goes on
        trained = one.train_one(lesson_of(**settings), path, tmp_path / "state", loop.Goal(steps), options)
    whole = one.train_one(
        lesson_of(**settings), tmp_path / "whole.safetensors", tmp_path / "other", loop.Goal(5), options
    )
    beside = tmp_path / "my model (ema 0.2).safetensors"
    assert load_file(path).keys() == load_file(beside).keys()
    assert load_file(path)["number"] < load_file(beside)["number"]
    assert trained.courses["towards"].steps == whole.courses["towards"].steps == 5
    assert trained.preview.size == (24, 16), "two rows of three pictures of 4 pixels, twice as large"
    assert [part.shape for part in shown[-1]] == [(3, 3, 4, 4)] * 2, "who watches sees the last sheet"


def test_another_optimiser(lesson_of):
    with lesson_of(optimiser=partial(torch.optim.SGD, momentum=0.9), steady=True) as one:
        one.step(0, 0)
        one.step(1, 0.9)
        assert one.task.number.item() == pytest.approx(0.2 + 0.1 * (2 * 0.8 + 0.9 * 2), abs=1e-6)


def test_photos_keep_their_aspect_where_it_matters(room):
    photos = room("training.photos")
    wide = np.zeros((1, 20, 60, 3), np.uint8)
    wide[:, :, 20:40] = 255
    pictures = photos.Arrays(wide, [])
    assert photos.Store(pictures, 20, square=True).photo(0, 20).min() == 255, "the middle third alone"
    assert photos.Store(pictures, 20).photo(0, 20).min() == 0, "squeezed, as the sketch GAN's release does"
