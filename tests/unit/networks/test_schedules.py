"""Guided diffusion's schedules and its ladders of fewer steps."""

from __future__ import annotations

import pytest
import torch

from helpers import diffsketching as golden


@pytest.fixture(scope="module")
def schedules(room):
    return room("networks.schedules")


@pytest.mark.parametrize("row", golden.note("space_timesteps"))
def test_respacing_as_published(schedules, row):
    steps, text = row.split("|")
    assert schedules.respaced(int(steps), text) == golden.note("space_timesteps")[row]


def test_every_ladder_has_the_wanted_number(schedules):
    for steps in (1, 7, 50, 1000):
        assert schedules.respaced(steps, "") == list(range(steps))
        for count in range(1, steps + 1, 13):
            kept = schedules.respaced(steps, str(count))
            assert len(set(kept)) == count
            assert kept == sorted(kept)
            assert kept[0] == 0
            assert kept[-1] == (steps - 1 if count > 1 else 0)


@pytest.mark.parametrize(
    ("steps", "text", "message"),
    [
        (1000, "ddim600", "ddim600 does not exist. The nearest are ddim334 and ddim500; plain 600"),
        (1000, "ddim0", "does not exist"),
        (1000, "1001", r"Section 1 of the respacing '1001' has 1000 of 1000 steps and cannot keep 1001"),
        (100, "60,10", "has 50 of 100 steps and cannot keep 60"),
        (1000, "fast", "A respacing is ddimN or whole numbers above 0"),
        (1000, "10,,10", "A respacing is ddimN"),
        (1000, "-5", "A respacing is ddimN"),
        (1000, "0", "A respacing is ddimN"),
    ],
)
def test_impossible_respacing(schedules, steps, text, message):
    with pytest.raises(ValueError, match=message):
        schedules.respaced(steps, text)


@pytest.mark.parametrize("name", ["guided_steps", "guided_steps_fixedvar"])
def test_schedules_as_published(schedules, name):
    note, recorded = golden.note(name)["diffusion"], golden.recorded(name)
    abar = schedules.abars(note["noise_schedule"], note["steps"])[recorded["timestep_map"]]
    assert torch.allclose(abar, recorded["alphas_cumprod"], rtol=1e-12)


def test_schedule_faults(schedules):
    assert float(schedules.betas("linear", 1000)[-1]) == pytest.approx(0.02)
    for schedule, steps in (("linear", 20), ("cosine", 0), ("square", 100)):
        with pytest.raises(ValueError, match=r"needs|must be one of"):
            schedules.betas(schedule, steps)
