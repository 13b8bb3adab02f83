"""The accelerated walk's plan, the model's own time, and the solver against solutions known exactly."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch


class Family(NamedTuple):
    """The fields and the method of host.NoiseFamily."""

    kind: str
    sigmas: torch.Tensor
    sigma_data: float = 1.0
    noise_scale: float = 1.0

    def mixture(self, sigma):
        return (1 - sigma, sigma) if self.kind == "flow" else (1.0, sigma)


@pytest.fixture
def jump(room):
    return room("samplers.jump")


@pytest.fixture
def families(room):
    table = room("samplers.levels").published_sigmas()
    return {
        "discrete": Family("discrete", table),
        "edm": Family("edm", torch.linspace(0.002, 80, 1000), 0.5),
        "flow": Family("flow", torch.linspace(0.001, 1, 1000)),
    }


def guided(legs):
    return [i for leg in legs if leg.guided for i in range(leg.first, leg.last)]


@pytest.mark.parametrize(("dense", "last_dense"), [(0.1225, 351), (0.2475, 301)])
def test_published_plan(jump, dense, last_dense):
    """The released lists, as table indices: dense to 351 or 301, then 299..296, 199..196, 99..96."""
    times = [*range(400, 0, -1), 0]
    legs = jump.plan(times, jump.published_bands(400, dense))
    indices = [400 - 1 - i for i in guided(legs)]
    assert indices == [*range(399, last_dense - 1, -1), *range(299, 295, -1), *range(199, 195, -1), *range(99, 95, -1)]
    jumps = [(times[leg.first], times[leg.last]) for leg in legs if not leg.guided]
    assert jumps == [(last_dense, 300), (296, 200), (196, 100), (96, 0)]


@pytest.mark.parametrize("steps", [1, 2, 5, 25, 40, 100])
@pytest.mark.parametrize("start", [1000, 600, 137.5])
def test_plan_covers_any_ladder(jump, start, steps):
    times = [start * (1 - i / steps) for i in range(steps)] + [0.0]
    legs = jump.plan(times, jump.published_bands(start))
    assert legs[0].guided
    assert legs[0].first == 0
    assert legs[-1].last == steps
    for before, after in pairwise(legs):
        assert before.last == after.first
        assert before.guided != after.guided
    assert len(guided(legs)) >= min(4, steps), "a coarse ladder keeps one step of the dense range and of each group"
    if steps == 40:
        assert len(guided(legs)) == 5 + 3


def test_plan_of_an_uneven_ladder(jump):
    """Karras levels, say: no level lies inside the group at 300, so the first one below it is guided."""
    legs = jump.plan([400, 350, 320, 310, 250, 40, 0], [(math.inf, 380), (300, 296)])
    assert guided(legs) == [0, 4]


def test_bands_can_be_left_out(jump):
    times = [*range(50, 0, -1), 0]
    assert jump.plan(times, jump.published_bands(50, 0, 0)) == [jump.Leg(0, 50, False)]
    assert jump.plan(times, jump.published_bands(50, 1, 0)) == [jump.Leg(0, 50, True)]
    assert jump.plan(times, jump.published_bands(50, 0, 3, 0)) == [jump.Leg(0, 50, False)]


@pytest.mark.parametrize("kind", ["discrete", "edm", "flow"])
def test_clock(jump, families, room, kind):
    family = families[kind]
    clock = jump.Clock(family)
    table = family.sigmas if kind != "edm" else 0.5 * room("samplers.levels").published_sigmas()
    for entry in (1, 2, 137, 400, 999):
        sigma = float(table[entry - 1])
        assert clock.time(sigma) == pytest.approx(entry, abs=1e-3)
        assert clock.sigma(entry) == pytest.approx(sigma, rel=1e-5)
    assert clock.time(0.0) == 0
    for time in (0.4, 1.5, 399.25):
        assert clock.time(clock.sigma(time)) == pytest.approx(time)
    assert clock.time(1e5) == 1000


def test_orders(jump):
    assert jump.solver_orders(10) == [3, 3, 3, 1]
    for calls in range(1, 30):
        orders = jump.solver_orders(calls)
        assert sum(orders) == calls
        assert set(orders) <= {1, 2, 3}


def gaussian(family, spread):
    """The perfect prediction for pictures N(0, spread^2), and what x at one level becomes at another (its flow)."""

    def total(sigma):
        signal, noise = family.mixture(sigma)
        return math.hypot(signal * spread, noise)

    def predict(x, sigma):
        signal, _ = family.mixture(sigma)
        return x * signal * spread**2 / total(sigma) ** 2

    return predict, lambda x, sigma, after: x * total(after) / total(sigma)


SPANS = {"discrete": (2.0, 0.3), "edm": (2.0, 0.3), "flow": (0.7, 0.2)}


@pytest.mark.parametrize("kind", SPANS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_order_of_the_error(jump, families, kind, order):
    """Halving every step divides the error by 2^order."""
    family, (start, end) = families[kind], SPANS[kind]
    predict, exact = gaussian(family, 0.4)
    clock = jump.Clock(family)
    x = torch.tensor([1.5], dtype=torch.float64)

    def error(steps):
        times = torch.linspace(clock.time(start), clock.time(end), steps * order + 1, dtype=torch.float64).tolist()
        levels = [clock.sigma(time) for time in times]
        y = x
        for i in range(0, steps * order, order):
            y = jump.solver_step(predict, y, family, levels[i : i + order + 1])
        return float((y - exact(x, levels[0], levels[-1])).abs())

    ratio = error(8) / error(16)
    assert 2**order * 0.75 < ratio < 2**order * 1.5


@pytest.mark.parametrize("kind", SPANS)
def test_one_picture_is_crossed_exactly(jump, families, kind):
    """Data of a single picture: the prediction never changes, so every order is exact, for any number of calls."""
    family, (start, end) = families[kind], SPANS[kind]
    picture = torch.tensor([0.3], dtype=torch.float64)
    (signal, noise), (signal_after, noise_after) = family.mixture(start), family.mixture(end)
    noisy, expected = signal * picture + noise * 1.7, signal_after * picture + noise_after * 1.7
    for calls in (1, 2, 3, 4, 10):
        used = []
        out = jump.jump(lambda x, s, used=used: used.append(s) or picture, noisy, jump.Clock(family), start, end, calls)
        torch.testing.assert_close(out, expected)
        assert len(used) == calls
        assert used == sorted(used, reverse=True)
        assert used[0] == start
        assert used[-1] > end


def test_published_accuracy_of_one_jump(jump, families):
    """Ten calls across a hundred levels. What error is left comes from the tenth call, which is of order 1."""
    family = families["discrete"]
    predict, exact = gaussian(family, 0.4)
    clock = jump.Clock(family)
    x = torch.tensor([1.5], dtype=torch.float64)
    start, end = clock.sigma(296), clock.sigma(200)
    error = (jump.jump(predict, x, clock, start, end, 10) - exact(x, start, end)).abs()
    y = x
    levels = [clock.sigma(296 - 9.6 * i) for i in range(11)]
    for now, after in pairwise(levels):
        y = jump.solver_step(predict, y, family, [now, after])
    assert error < 0.25 * (y - exact(x, start, end)).abs()


@pytest.mark.parametrize("kind", SPANS)
def test_below_and_above_the_table(jump, families, kind):
    family = families[kind]
    predict, exact = gaussian(family, 0.4)
    clock = jump.Clock(family)
    x = torch.tensor([1.5], dtype=torch.float64)
    spans = [(0.004, 0.0005)] if kind == "flow" else [(0.004, 0.002), (300.0, 200.0)]
    for start, end in spans:
        assert torch.isfinite(jump.jump(predict, x, clock, start, end, 10)).all()
    if kind == "flow":
        y = jump.jump(predict, x, clock, 1.0, 0.5, 10)
        assert float(y) == pytest.approx(float(exact(x, 1.0, 0.5)), rel=0.02)


def test_unguided_is_undone_after_an_error(jump):
    class Run:
        guided = True

    run = Run()

    def cancelled():
        with jump.unguided(run):
            assert not run.guided
            raise InterruptedError

    with pytest.raises(InterruptedError):
        cancelled()
    assert run.guided
    with jump.unguided(None):
        pass
