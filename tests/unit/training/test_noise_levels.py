"""Noise levels drawn by their losses, the bound that variances are learned by, and shapes by the published table."""

from __future__ import annotations

import math

import pytest
import torch


@pytest.fixture(scope="module")
def diffusion(room):
    return room("training.diffusion")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def filled(diffusion, sizes):
    """A SecondMoment whose levels have had losses of these sizes."""
    times = diffusion.SecondMoment(len(sizes))
    t = torch.arange(len(sizes))
    for i in range(diffusion.HISTORY):
        assert torch.allclose(times.shares(), torch.full((len(sizes),), 1 / len(sizes), dtype=torch.float64)), i
        times.told(t, torch.tensor(sizes))
    return times


def test_levels_are_even_until_each_has_its_history(diffusion):
    times = diffusion.SecondMoment(20)
    for i in range(diffusion.HISTORY):
        t, weight = times.draw(20, rng(i))
        assert sorted(t.tolist()) == list(range(20)), "stratified"
        assert torch.equal(weight, torch.ones(20))
        times.told(t, torch.full((20,), 5.0))
    assert times.seen.tolist() == [diffusion.HISTORY] * 20


def test_levels_follow_the_root_mean_square_of_their_losses(diffusion):
    sizes = [1.0, 2.0, 3.0, 14.0]
    times = filled(diffusion, sizes)
    even = diffusion.EVEN_SHARE / 4
    wanted = [(1 - diffusion.EVEN_SHARE) * size / 20 + even for size in sizes]
    assert times.shares().tolist() == pytest.approx(wanted)
    t, weight = times.draw(20_000, rng())
    counts = torch.bincount(t, minlength=4) / 20_000
    assert counts.tolist() == pytest.approx(wanted, abs=0.012)
    assert weight.tolist() == pytest.approx([1 / (4 * wanted[i]) for i in t.tolist()])
    assert float((weight * torch.tensor(sizes)[t]).mean()) == pytest.approx(5.0, rel=0.02), "the mean loss is unbiased"
    times.told(torch.tensor([0]), torch.tensor([11.0]))  # replaces one of ten
    assert float(times.shares()[0] / times.shares()[1]) == pytest.approx(math.sqrt((9 + 121) / 10) / 2, rel=0.01)


def test_the_history_is_kept_with_the_task(diffusion):
    times = filled(diffusion, [1.0, 4.0])
    again = diffusion.SecondMoment(2)
    again.load_state_dict(times.state_dict())
    assert torch.equal(again.shares(), times.shares())
    assert torch.equal(again.draw(8, rng(3))[0], times.draw(8, rng(3))[0])
    assert not diffusion.Times(1000).state_dict(), "states of trainings with even levels stay as they were"


def test_losses_of_zero_stay_even(diffusion):
    assert filled(diffusion, [0.0, 0.0]).shares().tolist() == [0.5, 0.5]


# --- the variational bound --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [1000, 50])
def test_the_bound_by_torch_s_own_distributions(diffusion, room, schedule, steps):
    """KL of the posterior of DDPM's equation 7, computed here from abar alone, against torch.distributions."""
    abar = room("networks.schedules").abars(schedule, steps)
    generator = rng(1)
    clean = (torch.randint(0, 256, (3, 3, 4, 4), generator=generator) / 127.5 - 1).double()
    t = torch.tensor([1, steps // 2, steps - 2])
    noise, found, share = (torch.randn(clean.shape, generator=generator).double() for _ in range(3))
    now, before = (abar[t - i].view(-1, 1, 1, 1) for i in (0, 1))
    x = now.sqrt() * clean + (1 - now).sqrt() * noise
    beta = 1 - now / before
    posterior = beta * (1 - before) / (1 - now)

    def mean(start):
        return (before.sqrt() * beta * start + (1 - beta).sqrt() * (1 - before) * x) / (1 - now)

    guess = (x - (1 - now).sqrt() * found) / now.sqrt()
    variance = beta ** ((share + 1) / 2) * posterior ** ((1 - share) / 2)
    q = torch.distributions.Normal(mean(clean), posterior.sqrt().expand_as(x))
    p = torch.distributions.Normal(mean(guess), variance.sqrt())
    wanted = torch.distributions.kl_divergence(q, p).mean((1, 2, 3)) / math.log(2)
    variances = diffusion.Variances(schedule, steps)
    measured = variances.loss(clean.float(), x.float(), found.float(), share.float(), t)
    assert measured.tolist() == pytest.approx(wanted.tolist(), rel=2e-3)


def test_the_last_step_is_the_likelihood_of_8_bit_values(diffusion):
    steps = torch.arange(256) / 127.5 - 1
    for mean, log_variance in ((0.1, -3.0), (-1.2, -8.0), (0.999, -1.0)):
        found = diffusion.discrete_log_likelihood(steps, torch.tensor(mean), torch.tensor(log_variance)).exp()
        assert float(found.sum()) == pytest.approx(1, abs=1e-4)
        assert int(found.argmax()) == min(255, max(0, round((mean + 1) * 127.5)))
    variances = diffusion.Variances("linear", 1000)
    clean = torch.zeros(2, 3, 2, 2)
    shares = torch.full_like(clean, -1.0)
    right, wrong = (
        variances.loss(clean, clean, torch.full_like(clean, e), shares, torch.tensor([0, 0])) for e in (0, 3)
    )
    assert (right < wrong).all()


def test_the_bound_gives_no_gradient_to_the_noise(diffusion):
    variances = diffusion.Variances("linear", 1000)
    clean = torch.zeros(1, 3, 2, 2)
    epsilon, share = (torch.zeros(1, 3, 2, 2, requires_grad=True) for _ in range(2))
    variances.loss(clean, clean, epsilon, share, torch.tensor([500])).sum().backward()
    assert epsilon.grad is None
    assert share.grad is not None
    assert share.grad.abs().sum() > 0


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "width", "groups"), [(64, 16, 4), (64, 64, 16), (128, 128, 32), (512, 128, 32)])
def test_shapes(diffusion, size, width, groups):
    shape = diffusion.adm_shape(size, width)
    widths = [round(mult * width) for mult in shape["channel_mult"]]
    assert shape["norm_groups"] == groups
    assert all(w % groups == 0 for w in widths)
    assert [size >> level for level in shape["attention_levels"]] == [32, 16, 8]
    assert all(widths[level] % shape["num_head_channels"] == 0 for level in shape["attention_levels"])
