"""The sketch GAN's losses reproduce recorded values of the official code, and behave at their limits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from helpers import sketchgan_golden as known

SIDES = (16, 32, 64)


@pytest.fixture(scope="module")
def losses(room):
    return room("training.sketchgan.losses")


@pytest.fixture(scope="module")
def recorded():
    tensors, scalars = known.recorded("losses")
    return {name: value.double() for name, value in tensors.items()}, scalars


def orders(lists):
    return [torch.tensor(places) for places in lists]


def close(found, expected, share=1e-4):
    return float(found.detach()) == pytest.approx(expected, rel=share, abs=1e-9)


# --- recorded values --------------------------------------------------------------------------------------------------


def test_content_triplet(losses, recorded):
    tensors, scalars = recorded
    x, y = ([tensors[f"content_{name}{i}"].clone().requires_grad_() for i in range(3)] for name in "ab")
    turns = orders(scalars["triplet_perms"])
    found = losses.content_triplet(x, y, turns)
    found.backward()
    assert close(found, scalars["content_triplet"])
    slopes = [0.0 if value.grad is None else float(value.grad.abs().mean()) for value in x]
    assert slopes == pytest.approx(scalars["content_triplet_grad_absmean_per_level"], rel=1e-4)
    assert all(value.grad is None for value in y), "the anchor is not moved"
    halved = losses.content_triplet([value / 2 for value in x], [value / 2 for value in y], turns)
    assert close(halved, scalars["content_triplet_scaled_features_x0.5"])


def test_style_triplet(losses, recorded):
    tensors, scalars = recorded
    turned, original = ([tensors[f"style_{name}{i}"] for i in range(3)] for name in ("rd", "org"))
    assert close(losses.style_triplet(turned, original, orders(scalars["style_perms"])), scalars["style_consist"])


def test_hinges(losses, recorded):
    tensors, scalars = recorded
    real, fake = tensors["logits_real"], tensors["logits_fake"]
    assert close(losses.hinge(real, fake), scalars["d_hinge"])
    assert close(losses.adversarial(fake), scalars["g_hinge"])
    half = tensors["tom_d_logits"]
    assert close(losses.hinge(half, half), scalars["tom_d_real_loss"] + scalars["tom_d_fake_loss"])


def test_grams(losses, recorded):
    tensors, scalars = recorded
    x, y = tensors["gram_x"], tensors["gram_y"]
    assert (losses.gram(x) - tensors["gram_batched_x"]).abs().max() < 1e-6
    assert (losses.gram_across(x) - tensors["gram_crossbatch_x"]).abs().max() < 1e-6
    assert close(losses.texture([x], [y]), scalars["gram_loss"])
    stack = losses.gram_stack([x, x, x], 12, 3)  # 4 rows, 3 x 3
    assert (stack[:, :4] - tensors["adaptive_pool_4x3"]).abs().max() < 1e-6
    assert (losses.gram_stack([x], 3, 2) - tensors["adaptive_pool_3x2"]).abs().max() < 1e-6


def test_restyled_content(losses, room, recorded):
    tensors, _ = recorded
    x, y = tensors["gram_x"], tensors["gram_y"]
    assert (room("pictures.style").adain(x, y) - tensors["adain_xy"]).abs().max() < 1e-5
    assert float(losses.restyled_content(tensors["adain_xy"], x, y)) < 1e-9


def test_gram_stack_of_the_recorded_maps(room, losses, golden):
    tensors, _ = known.recorded("tom_im128")
    stages = ((8, 8), (16, 16), (32, 32, 32), (64, 64, 64), (64, 64, 64))
    vgg = known.fill(room("networks.vgg").VGG(widths=stages), "vgg.", 14, 1.4)
    with torch.no_grad():
        photo, sketch = (known.grown(tensors[f"in.{name}_thumb"], 128) for name in ("content", "style"))
        maps = room("networks.sketchgan.tom").taps(vgg, sketch, 128)
        of_photo = room("networks.sketchgan.tom").taps(vgg, photo, 128)
        stack = losses.gram_stack(maps[1:4], 48)
    expected = torch.cat([tensors[f"gram_pooled_{i}"] for i in (2, 3, 4)], 1)
    assert (stack - expected).abs().max() < 1e-5
    restyled = room("pictures.style").adain(of_photo[2], maps[2])
    assert (restyled - tensors["adain_3"]).abs().max() < 1e-5


def test_perceptual_loss(room, losses):
    """LPIPS with a VGG16 by the formula and the published channel weights, through the pack's own feature network."""
    tensors, scalars = known.recorded("lpips_vgg")
    shapes, place, channels = {}, 0, 3
    for widths in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)):
        for width in widths:
            shapes |= {f"features.{place}.weight": (width, channels, 3, 3), f"features.{place}.bias": (width,)}
            place, channels = place + 2, width
        place += 1
    weights = known.weights(shapes, "vgg16.", 42, 1.4)
    weights |= {f"lin.{i}": tensors[f"lin.lin{i}.model.1.weight"].flatten() for i in range(5)}
    held = SimpleNamespace(model=room("networks").build(weights))
    percept = losses.perceptual(room("pictures.features").features("vgg", held), "cpu")
    a, b = (known.grown(tensors[f"{name}_thumb"], 64).float() for name in "ab")
    with torch.no_grad():
        assert percept(a, b).flatten().tolist() == pytest.approx(tensors["lpips"].flatten().tolist(), rel=1e-4)
        assert close(losses.perceptual_sum(percept, a, b), scalars["sum_over_batch"])


# --- behaviour --------------------------------------------------------------------------------------------------------


def test_derangements_leave_nothing_in_place(losses):
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        order = losses.derangement(4, generator)
        assert sorted(order.tolist()) == [0, 1, 2, 3]
        assert not (order == torch.arange(4)).any()
        seen.add(tuple(order.tolist()))
    assert len(seen) == 9, "every derangement of four comes up"
    assert losses.derangement(2, generator).tolist() == [1, 0]
    with pytest.raises(ValueError, match="batch size must be 2 or more"):
        losses.derangement(1, generator)


def test_large_pictures_are_compared_at_256(losses):
    seen = []

    def percept(a, b):
        seen.append(a)
        return (a - b).square().mean((1, 2, 3))

    a, b = torch.rand(2, 3, 512, 512), torch.rand(2, 3, 512, 512)
    losses.perceptual_sum(percept, a, b)
    assert torch.equal(seen[0], adaptive_avg_pool2d(a, 256))
    small = torch.rand(3, 3, 128, 128)
    found = losses.perceptual_sum(percept, small, -small)
    assert torch.equal(seen[1], small)
    assert float(found) == pytest.approx(float(3 * (2 * small).square().mean()), rel=1e-5), "a sum over the batch"


def test_half_precision_comes_out_whole(losses):
    """Losses of bfloat16 maps are float32 and as exact as the maps."""
    maps = [torch.randn(4, 8, side, side, dtype=torch.bfloat16) for side in (8, 4, 2)]
    anchor = [torch.randn_like(value) for value in maps]
    turns = orders([[1, 2, 3, 0]] * 3)
    whole = losses.content_triplet([x.float() for x in maps], [x.float() for x in anchor], turns)
    found = losses.content_triplet(maps, anchor, turns)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(whole), rel=1e-6)
    assert losses.gram_across(maps[0]).dtype == torch.float32
    assert losses.hinge(maps[0], anchor[0]).dtype == torch.float32


def test_leak_sees_what_content_tells_of_style(losses):
    """Zero where the guess does not depend on the content, large where it is right."""
    styles = [torch.randn(16, 3), torch.randn(16, 5)]
    truth = torch.cat(styles, 1)
    order = torch.arange(16).roll(1)
    blind, right = torch.zeros_like(truth), truth
    even = torch.zeros_like(truth)
    assert float(losses.leak(blind, even, styles, order)) == pytest.approx(0, abs=1e-6)
    expected = (truth - truth[order]).square().mean() / 2
    assert float(losses.leak(right, even, styles, order)) == pytest.approx(float(expected), rel=1e-5)
    assert (losses.likelihood(right, even, styles) >= losses.likelihood(blind, even, styles)).all()
