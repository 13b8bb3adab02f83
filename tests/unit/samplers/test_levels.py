"""t0, noise levels and walks, on the tables of every family the host has."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch

from helpers.golden_files import load_file


class Family(NamedTuple):
    """The fields of host.NoiseFamily."""

    kind: str
    sigmas: torch.Tensor
    sigma_data: float = 1.0
    noise_scale: float = 1.0


def discrete(start, end, *, squared=True):
    """The host's discrete table: float64 betas, its "linear" (squared=True, SD) or "sqrt_linear" (pixel priors)."""
    betas = torch.linspace(start**0.5, end**0.5, 1000, dtype=torch.float64) ** 2
    if not squared:
        betas = torch.linspace(start, end, 1000, dtype=torch.float64)
    abar = torch.cumprod(1 - betas, dim=0)
    return Family("discrete", ((1 - abar) / abar).sqrt().float())


def edm(low, high, sigma_data):
    return Family("edm", torch.linspace(math.log(low), math.log(high), 1000).exp(), sigma_data)


def flow(shift, count):
    t = torch.arange(1, count + 1) / count
    return Family("flow", shift * t / (1 + (shift - 1) * t))


PIXEL, SD15 = discrete(1e-4, 0.02, squared=False), discrete(0.00085, 0.012)
ZERO_SNR = Family("discrete", torch.cat([SD15.sigmas[:-1], torch.tensor([4518.0])]))
CLAMPED = torch.ones(40)  # Stable Cascade's table repeats its ends
CASCADE = Family("discrete", torch.cat([0.01 * CLAMPED, torch.linspace(0.0101, 99, 9920), 99.995 * CLAMPED]))
FAMILIES = {
    "pixel": PIXEL,
    "sd15": SD15,
    "zero-snr": ZERO_SNR,
    "cascade": CASCADE,
    "playground": edm(0.002, 80.0, 0.5),
    "cosxl": edm(0.002, 120.0, 1.0),
    "sd3": flow(3.0, 1000),
    "flux": flow(math.exp(1.15), 10000),
    "hidream-o1": flow(3.0, 1000)._replace(noise_scale=8.0),
}


@pytest.fixture
def levels(room):
    return room("samplers.levels")


def test_published_table_is_the_golden_one(levels, golden):
    abar = load_file(golden / "sdedit" / "schedule.safetensors")["alphas_cumprod"].double()
    assert torch.equal(levels.published_sigmas(), ((1 - abar) / abar).sqrt().float())


@pytest.mark.parametrize(("t0", "sigma"), [(0.3, 1.23), (0.4, 2.03), (0.5, 3.42), (0.6, 6.14)])
def test_sigmas_the_paper_names(levels, t0, sigma):
    assert levels.start_sigma(PIXEL, t0)[0] == pytest.approx(sigma, abs=0.011)


@pytest.mark.parametrize("level", [1, 2, 60, 400, 999, 1000])
def test_published_prior_starts_on_its_own_entry(levels, level):
    start, lowered = levels.start_sigma(PIXEL, level / 1000)
    assert start == float(PIXEL.sigmas[level - 1])
    assert not lowered
    native = levels.walk(PIXEL, start, 0)
    assert torch.equal(native, torch.cat([PIXEL.sigmas[:level].flip(0), torch.zeros(1)]))
    assert torch.equal(levels.walk(PIXEL, start, level), native), "as many steps as levels is the native walk"


@pytest.mark.parametrize("t0", [0.05, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("name", FAMILIES)
def test_same_signal_to_noise_ratio_everywhere(levels, name, t0):
    family = FAMILIES[name]
    start, lowered = levels.start_sigma(family, t0)
    assert not lowered
    signal, noise = levels.signal_and_noise(family, start)
    ratio = float(levels.published_sigmas()[round(1000 * t0) - 1])
    near = 1.1e-3 if family.kind == "discrete" else 1e-5
    assert noise / (signal * family.sigma_data) == pytest.approx(ratio, rel=near)
    assert levels.signal_share(family, start) == pytest.approx((1 + ratio**2) ** -0.5, rel=2e-3)


def test_matched_values(levels):
    sigma = float(levels.published_sigmas()[399])
    assert levels.start_sigma(SD15, 0.4)[0] == pytest.approx(sigma, rel=1e-3)
    assert levels.start_sigma(FAMILIES["playground"], 0.4)[0] == pytest.approx(0.5 * sigma, rel=1e-6)
    assert levels.start_sigma(FAMILIES["flux"], 0.4)[0] == pytest.approx(sigma / (1 + sigma), rel=1e-6)


def test_too_noisy_a_start_is_lowered_and_told(levels):
    start, lowered = levels.start_sigma(SD15, 0.8)
    assert lowered
    assert start == float(SD15.sigmas[-1])
    assert not levels.start_sigma(PIXEL, 1.0)[1]


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_a_flow_never_starts_where_a_latent_cannot_hold_it(levels, name):
    start, lowered = levels.start_sigma(FAMILIES[name], 1.0, levels.OWN_TIME)
    assert lowered
    assert 0.99 < start < 1


def test_where_pure_noise_begins(levels):
    assert levels.pure_noise_from(SD15) == pytest.approx(0.73, abs=0.003)
    assert levels.pure_noise_from(PIXEL) == 1.0
    assert levels.pure_noise_from(FAMILIES["sd3"]) is None
    assert levels.pure_noise_from(SD15, levels.OWN_TIME) == 1.0
    for name, family in FAMILIES.items():
        full = levels.pure_noise_from(family)
        if full is not None and full < 1:
            assert levels.start_sigma(family, full)[0] == pytest.approx(levels.highest(family), rel=2e-3), name
            assert levels.start_sigma(family, full - 0.01)[0] < levels.highest(family) * 0.999, name


def test_own_time_counts_own_entries(levels):
    assert levels.start_sigma(SD15, 0.5, levels.OWN_TIME)[0] == float(SD15.sigmas[499])
    assert levels.start_sigma(FAMILIES["flux"], 0.5, levels.OWN_TIME)[0] == float(FAMILIES["flux"].sigmas[4999])
    family = FAMILIES["cosxl"]
    middle = math.exp(math.log(0.002) + 0.5 * (math.log(120) - math.log(0.002)))
    assert levels.start_sigma(family, 0.5, levels.OWN_TIME)[0] == pytest.approx(middle, rel=0.01)


@pytest.mark.parametrize("meaning", [0, 1])
@pytest.mark.parametrize("name", FAMILIES)
def test_walks_fall_from_the_start_to_nought(levels, name, meaning):
    family, meaning = FAMILIES[name], levels.MEANINGS[meaning]
    for t0 in [0.001, *(i / 100 for i in range(1, 101, 9)), 0.999, 1.0]:
        start, _ = levels.start_sigma(family, t0, meaning)
        native = len(levels.walk(family, start, 0)) - 1
        for steps in (0, 1, 2, 3, 7, 25, 40, 333, 1000):
            walk = levels.walk(family, start, steps)
            assert float(walk[0]) == pytest.approx(start, rel=1e-7)
            assert float(walk[-1]) == 0
            assert (walk.diff() < 0).all(), (t0, steps)
            assert len(walk) - 1 == (min(steps, native) or native), (t0, steps)


def test_steps_are_even_in_time(levels):
    walk = levels.walk(PIXEL, levels.start_sigma(PIXEL, 0.5)[0], 40)
    index = torch.searchsorted(PIXEL.sigmas, walk[:-1])
    assert index[0] == 499
    assert set((-index.diff()).tolist()) <= {12, 13}
    assert abs((int(index[-1]) + 1) - 12.5) <= 0.5, "trailing: the last step is as long as the others"


def test_edm_without_steps_takes_the_published_levels(levels):
    family = FAMILIES["playground"]
    walk = levels.walk(family, levels.start_sigma(family, 0.3)[0], 0)
    torch.testing.assert_close(walk[:-1], 0.5 * levels.published_sigmas()[:300].flip(0))


@pytest.mark.parametrize("t0", [0.0, -0.1, 1.01, float("nan")])
def test_t0_out_of_range(levels, t0):
    with pytest.raises(ValueError, match="t0"):
        levels.start_sigma(SD15, t0)


def test_cut_keeps_what_lies_below(levels):
    sigmas = torch.tensor([14.6, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0])
    assert levels.cut(sigmas, 3.0).tolist() == [3.0, 2.0, 1.0, 0.5, 0.0]
    assert levels.cut(sigmas, 4.0).tolist() == [4.0, 2.0, 1.0, 0.5, 0.0], "a level that is the start is not doubled"
    assert levels.cut(sigmas, 4.0000001).tolist()[1] == 2.0
    assert levels.cut(sigmas, 20.0).tolist() == [20.0, *sigmas.tolist()]
    assert levels.cut(sigmas[:4], 5.0).tolist() == [5.0, 4.0, 2.0], "an end above 0 stays"


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([], "each below"),
        ([1.0], "each below"),
        ([1.0, 2.0], "must fall from step to step; got 2 after 1"),
        ([2.0, 1.0, 1.0, 0.0], "each below"),
    ],
)
def test_cut_refuses_what_is_no_walk(levels, sigmas, message):
    with pytest.raises(ValueError, match=message):
        levels.cut(torch.tensor(sigmas), 0.5)


def test_cut_says_when_nothing_is_left(levels):
    with pytest.raises(ValueError, match="Raise t0"):
        levels.cut(torch.tensor([8.0, 4.0, 2.0]), 1.5)
