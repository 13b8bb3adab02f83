"""One step of the SDE, against the published formulas and against processes whose result is known exactly."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch


class Family(NamedTuple):
    """The fields of host.NoiseFamily."""

    kind: str
    sigmas: torch.Tensor = torch.linspace(0.01, 100, 1000)
    sigma_data: float = 1.0
    noise_scale: float = 1.0


EPS, EDM, FLOW = Family("discrete"), Family("edm", sigma_data=0.5), Family("flow")
FAMILIES = {"eps": EPS, "edm": EDM, "flow": FLOW, "loud flow": Family("flow", noise_scale=8.0)}
STEPS = {"flow": [(0.95, 0.9), (0.6, 0.2), (0.3, 0.299)], "discrete": [(14.6, 9.0), (2.0, 1.9), (0.05, 0.01)]}
STEPS["edm"] = STEPS["discrete"]


def cases():
    return [(name, *step) for name, family in FAMILIES.items() for step in STEPS[family.kind]]


@pytest.fixture
def sde(room):
    return room("samplers.sde")


@pytest.fixture
def levels(room):
    return room("samplers.levels")


@pytest.mark.parametrize("d", [1.0, 0.5])
def test_published_formulas(sde, d):
    family = Family("edm", sigma_data=d)
    s, t = 3.0, 2.5
    variances = {
        "small": t**2 * (s**2 - t**2) / s**2,
        "large": (s**2 - t**2) * (d**2 + t**2) / (d**2 + s**2),
        "VE": s**2 - t**2,
    }
    for name, expected in variances.items():
        guess, stay, std = sde.step_factors(family, s, t, name)
        assert stay == pytest.approx(t**2 / s**2)
        assert guess == pytest.approx(1 - t**2 / s**2)
        assert std**2 == pytest.approx(expected)


@pytest.mark.parametrize("variance", ["small", "large", "VE"])
@pytest.mark.parametrize("name", FAMILIES)
def test_last_step_is_the_guess_itself(sde, name, variance):
    assert sde.step_factors(FAMILIES[name], 0.02, 0.0, variance) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("variance", ["small", "large", "VE"])
@pytest.mark.parametrize(("sigma", "sigma_next"), STEPS["flow"])
def test_a_flow_step_is_the_eps_step_seen_through_its_signal(sde, sigma, sigma_next, variance):
    guess, stay, std = sde.step_factors(FLOW, sigma, sigma_next, variance)
    there, here = 1 - sigma_next, 1 - sigma
    eps = sde.step_factors(EPS, sigma / here, sigma_next / there, variance)
    assert (guess, stay, std) == pytest.approx((eps[0] * there, eps[1] * there / here, eps[2] * there))


@pytest.mark.parametrize(("name", "sigma", "sigma_next"), cases())
def test_small_is_exact_for_one_picture(sde, levels, name, sigma, sigma_next):
    """Data that is one point x0 = c: the perfect guess is c, and the sample must be c and noise at every level."""
    family = FAMILIES[name]
    (signal, noise), (signal_next, noise_next) = (levels.signal_and_noise(family, s) for s in (sigma, sigma_next))
    guess, stay, std = sde.step_factors(family, sigma, sigma_next, "small")
    assert guess + stay * signal == pytest.approx(signal_next)
    assert stay**2 * noise**2 + std**2 == pytest.approx(noise_next**2)


@pytest.mark.parametrize(("name", "sigma", "sigma_next"), cases())
def test_large_is_exact_for_gaussian_pictures(sde, levels, name, sigma, sigma_next):
    """Data N(0, d^2): the perfect guess is linear in x, and the sample must keep the variance of every level."""
    family = FAMILIES[name]
    d2 = family.sigma_data**2
    (signal, noise), (signal_next, noise_next) = (levels.signal_and_noise(family, s) for s in (sigma, sigma_next))
    guess, stay, std = sde.step_factors(family, sigma, sigma_next, "large")
    total = signal**2 * d2 + noise**2
    gain = guess * signal * d2 / total + stay
    assert gain**2 * total + std**2 == pytest.approx(signal_next**2 * d2 + noise_next**2)


@pytest.mark.parametrize("name", FAMILIES)
def test_ve_agrees_when_steps_are_small(sde, levels, name):
    family = FAMILIES[name]
    sigma = 0.5

    def excess(fraction):
        sigma_next = sigma * (1 - fraction)
        _, noise = levels.signal_and_noise(family, sigma)
        _, noise_next = levels.signal_and_noise(family, sigma_next)
        _, stay, std = sde.step_factors(family, sigma, sigma_next, "VE")
        return (stay**2 * noise**2 + std**2) / noise_next**2 - 1

    assert 0 < excess(0.01) < 0.01
    assert excess(0.01) / excess(0.005) == pytest.approx(4, rel=0.1), "the error is of second order"


def test_flow_starts_at_pure_noise(sde):
    assert sde.step_factors(FLOW, 1.0, 0.9, "small") == pytest.approx((0.1, 0.0, 0.9))
    guess, stay, std = sde.step_factors(FLOW, 1.0, 0.9, "large")
    assert (guess, stay) == pytest.approx((0.1, 0.0))
    assert std**2 == pytest.approx(0.1**2 + 0.9**2), "data of unit variance and its noise"
    with pytest.raises(ValueError, match="VE"):
        sde.step_factors(FLOW, 1.0, 0.9, "VE")


def test_seeds_of_rounds_differ(room):
    again = room("samplers.again")
    seeds = {again.own_seed(seed, k) for seed in (0, 1, 2, 2**64 - 1) for k in range(1, 11)}
    assert len(seeds) == 40
    assert max(seeds) < 2**63
