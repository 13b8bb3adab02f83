"""Losses of StyleGAN2 and Paint2pix against numbers by hand; the augmentation's identities."""

from __future__ import annotations

import math

import pytest
import torch


@pytest.fixture(scope="module")
def losses(room):
    return room("training.paint2pix.losses")


@pytest.fixture(scope="module")
def augment(room):
    return room("training.paint2pix.augment")


def test_non_saturating(losses):
    zero = torch.zeros(3, 1)
    assert losses.judged(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert losses.convincing(zero).item() == pytest.approx(math.log(2))
    real, fake = torch.tensor([[2.0]]), torch.tensor([[-1.0]])
    wanted = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))
    assert losses.judged(real, fake).item() == pytest.approx(wanted)
    assert losses.convincing(fake).item() == pytest.approx(math.log(1 + math.e))


def test_gradient_penalty_by_hand(losses):
    """D(x) = sum a x^2: its gradient is 2 a x, and the penalty learns a."""
    a = torch.tensor(3.0, requires_grad=True)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    penalty = losses.gradient_penalty(lambda x: (a * x.square()).sum((1, 2, 3))[:, None], x)
    wanted = (36 * x.square().sum((1, 2, 3))).mean()
    assert penalty.item() == pytest.approx(wanted.item(), rel=1e-5)
    penalty.backward()
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(2 / 3 * wanted.item(), rel=1e-5)


def test_path_lengths_by_hand(losses):
    """A picture that is linear in w: J^T y by a matrix product."""
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(3 * 4 * 4, 2 * 5, generator=generator, requires_grad=True)
    w = torch.randn(3, 2, 5, generator=generator).requires_grad_(True)
    direction = torch.randn(3, 3, 4, 4, generator=generator)
    found = losses.path_lengths(lambda w, noise: (w.flatten(1) @ matrix.T).view(-1, 3, 4, 4), w, [], direction)
    slope = (direction.flatten(1) / 4 @ matrix).view(3, 2, 5)
    assert torch.allclose(found, slope.square().sum(2).mean(1).sqrt(), rtol=1e-5)
    found.sum().backward()
    assert matrix.grad is not None
    assert matrix.grad.abs().sum() > 0


def test_follows_where_it_is_painted(losses):
    canvas, painted = torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    canvas[..., :16], painted[..., :16] = 0.5, 1.0
    made = torch.full((1, 3, 64, 64), 0.5)
    made[..., 32:] = -1.0
    assert losses.follows(made, canvas, painted).item() == pytest.approx(0, abs=1e-10), "elsewhere is free"
    assert losses.follows(made + 0.2, canvas, painted).item() == pytest.approx(0.04, rel=1e-5)
    assert losses.follows(made, canvas, torch.zeros_like(painted)).item() == 0
    checks = 0.3 * (torch.arange(64) % 2 * 2 - 1).float()
    assert losses.follows(made + checks, canvas, painted).item() == pytest.approx(0, abs=1e-6), "texture is free"


def test_lengths_of_codes(losses):
    w, other = torch.zeros(2, 4, 9), torch.ones(2, 4, 9)
    assert losses.apart(w, other).item() == pytest.approx(1)
    assert losses.length(other, w[0]).item() == pytest.approx(6)
    moving = torch.zeros(2, 4, 9, requires_grad=True)
    (losses.apart(moving, w) + losses.length(moving, w[0])).backward()
    assert moving.grad is not None
    assert torch.isfinite(moving.grad).all(), "no NaN where nothing moved"


def test_augmentation(augment):
    """Nothing at p 0; each p changes its share; in range and differentiable; the same for the same generator."""
    x = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def rng():
        return torch.Generator().manual_seed(3)

    assert augment.augmented(x, 0.0, rng()) is x
    made = augment.augmented(x, 0.3, rng())
    assert made.shape == x.shape
    assert torch.equal(made, augment.augmented(x, 0.3, rng()))
    shares = []
    for p in (0.02, 0.2, 0.8):
        made = augment.augmented(x, p, rng())
        shares.append(((made - x).abs().amax((1, 2, 3)) > 1e-3).float().mean().item())
    assert 0 < shares[0] < shares[1] <= shares[2]
    assert shares[2] > 0.9
    moving = x.clone().requires_grad_(True)
    augment.augmented(moving, 0.8, rng()).sum().backward()
    assert moving.grad is not None
    assert moving.grad.abs().sum() > 0


def test_colours_keep_what_they_should(augment):
    """Grey stays grey under hue and saturation; hue keeps brightness."""
    matrix = augment._colours(200, 1.0, torch.Generator().manual_seed(0))
    grey = matrix[:, :, :3] @ torch.ones(3)
    assert torch.allclose(grey, grey.mean(1, keepdim=True).expand(-1, 3), atol=1e-5)
    assert torch.allclose(
        augment._colours(3, 0.0, torch.Generator())[:, :, :3], torch.eye(3).expand(3, 3, 3), atol=1e-6
    )


def test_augmentation_adapts(augment):
    assert augment.moved(0.0, 0.9, 5000) == pytest.approx(0.01)
    assert augment.moved(0.01, 0.2, 5000) == pytest.approx(0)
    assert augment.moved(0.0, -1.0, 5000) == 0
    assert augment.moved(0.8, 1.0, 10**6) == augment.MOST
