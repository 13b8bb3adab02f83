"""StyleGAN2's lesson on tiny networks: it learns colours, resumes bit for bit, and its file is a decoder."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def module(room):
    return room("training.paint2pix.stylegan")


@pytest.fixture(scope="module")
def lesson(room, module, places):
    run, pictures = room("training.paint2pix.run"), room("training.photos").alone(places)

    def made(**settings):
        own = module.Settings(**{"size": 32, "width": 12, "mappings": 2, "batch": 4, "r1": 1.0, **settings})
        return run.stylegan_lesson(pictures, own, "cpu")

    return made


def train(room, lesson, folder, steps, **settings):
    loop = room("training.loop")
    with lesson:
        return loop.learn(lesson, folder, loop.Goal(steps), **settings)


def test_it_learns(room, lesson, tmp_path):
    """Its pictures get the colours of the photos: the distance of mean colours falls; paths and augmentation move."""
    own = lesson(learning_rate=5e-3, adaptive=True)
    real = torch.cat([own.ahead.make(step) for step in range(2)])

    def far():
        made = own._made(32, torch.Generator().manual_seed(0)).detach()
        return (made.mean((0, 2, 3)) - real.mean((0, 2, 3))).abs().mean() + (made.std() - real.std()).abs()

    before = far()
    course = train(room, own, tmp_path, 40)
    assert far() < 0.8 * before
    assert own.mean_path.item() > 0
    assert {"generator", "discriminator", "real sign", "augmentation", "path length"} <= set(course.rows[-1])
    weights = room("networks").build(own.weights())
    assert weights.size == 32
    assert own.samples(3).shape == (3, 3, 32, 32)


def test_a_resumed_run_ends_as_an_uninterrupted_one(room, lesson, tmp_path):
    whole = lesson()
    train(room, whole, tmp_path / "whole", 6)

    def stop(moment):
        if moment.course.steps == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(room, lesson(), tmp_path / "parts", 6, watch=stop)
    resumed = lesson()
    train(room, resumed, tmp_path / "parts", 6)
    mine, theirs = resumed.weights(), whole.weights()
    assert [key for key in theirs if not torch.equal(mine[key], theirs[key])] == []
    assert torch.equal(resumed.mean_path, whole.mean_path)
    for one, other in zip(resumed.judge.network.parameters(), whole.judge.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_its_file_is_a_decoder(room, lesson, tmp_path):
    """A painter takes it in place of its own, and an encoder's training begins from it."""
    own = lesson()
    train(room, own, tmp_path, 1)
    room("files").replace_weights(tmp_path / "mine.safetensors", own.weights(), own.notes())
    assert room("networks").recognise(load_file(tmp_path / "mine.safetensors"), "stylegan") is not None
    start = room("training.paint2pix.new").read_start(tmp_path / "mine.safetensors")
    assert start.painter is None
    assert (start.decoder.size, start.decoder.style_dim) == (32, 12)


def test_random_styles(module, tiny):
    """In most batches two styles each, with one place of change; the same for the same generator."""
    decoder = tiny().decoder
    changes = []
    for seed in range(30):
        w = module.random_styles(decoder, 3, torch.Generator().manual_seed(seed), "cpu")
        assert w.shape == (3, 8, 16)
        same = (w[:, 1:] == w[:, :-1]).all(2)
        assert (~same).sum(1).max() <= 1
        changes.append(bool((~same).any()))
        assert torch.equal(w, module.random_styles(decoder, 3, torch.Generator().manual_seed(seed), "cpu"))
    assert 0.6 < sum(changes) / 30 < 1


@pytest.mark.parametrize("own", [{"size": 100}, {"width": 4}, {"batch": 1}, {"learning_rate": 0.0}])
def test_settings_out_of_range(lesson, own):
    with pytest.raises(ValueError, match=f"{next(iter(own))} must be"):
        lesson(**own)


def test_training_and_use_are_the_same_network(room, tiny):
    """In train mode maps are scaled instead of weights; pictures and gradients differ by rounding only."""
    decoder = tiny().decoder.double()
    w = torch.randn(3, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    made = [decoder.train(mode)(w) for mode in (True, False)]
    assert torch.allclose(made[0], made[1], atol=1e-10)
    grads = [torch.autograd.grad(one.square().sum(), w)[0] for one in made]
    assert torch.allclose(grads[0], grads[1], atol=1e-8)
    layers = room("networks.paint2pix.layers")
    down = layers.Modulated(4, 5, 3, 6, resize="down").double()
    x, style = torch.randn(2, 4, 8, 8, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    assert torch.allclose(down.train()(x, style), down.eval()(x, style), atol=1e-12)
