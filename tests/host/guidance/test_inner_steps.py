"""Inner steps: the slope of an energy taken several times at one level."""

from __future__ import annotations

import pytest
import torch

from helpers import methods, tiny

SIGMA = 2.0
C = SIGMA**2 / (SIGMA**2 + 1)


@pytest.fixture(scope="module")
def energy(room):
    return room("guidance.energy")


def shift_of(room, energy, *energies):
    """(what energies take from a prediction, the prediction)."""
    model, latent = tiny.model("sd15"), 0.2 * tiny.latent(batch=2)["samples"]
    for one in energies:
        model = energy.attach(model, one)
    model.model.current_patcher = model
    arguments = {
        "denoised": latent,
        "input": latent + 0.1,
        "sigma": torch.full((2,), SIGMA),
        "model": model.model,
        "model_options": {**model.model_options, "transformer_options": {"sketch_run": room("guidance.run").Run()}},
    }
    return latent - energy.shifted(arguments), latent


def towards(energy, goal, weight, counts=None, **settings):
    """Half the squared distance to `goal`: its slope is the distance itself. counts: gets a note of each look."""

    def prepare(context):
        def measure(sample, level):
            if counts is not None:
                counts.append(goal)
            return 0.5 * (sample - goal).square().sum((1, 2, 3))

        return measure

    return energy.Energy("towards", weight, prepare, **settings)


def test_each_step_begins_where_the_last_one_ended(room, energy):
    """Of a distance d, n steps of share w / n leave (1 - c w / n)^n d; one step at weight 2 overshoots, four do not."""
    for steps in (1, 2, 4):
        shift, latent = shift_of(room, energy, towards(energy, 1.0, 2.0, inner_steps=steps))
        left = (1 - C * 2.0 / steps) ** steps
        assert torch.allclose(latent - shift - 1.0, left * (latent - 1.0), atol=1e-5)


def test_a_straight_way_is_as_long_in_steps(room, energy):
    """auto: each step is its share of the dial, so a slope of one direction gives the same shift in any number."""

    def brighter(context):
        return lambda sample, level: -sample.sum((1, 2, 3))

    whole, parts = (
        shift_of(room, energy, energy.Energy("brighter", 0.5, brighter, auto=True, inner_steps=n))[0] for n in (1, 4)
    )
    assert torch.allclose(whole, parts, rtol=1e-5)


def test_auto_stops_to_overshoot(room, energy):
    """A step longer than the way leaves more than it found; in four steps the last ones turn back."""
    left = []
    for steps in (1, 4):
        goal = 0.2 * tiny.latent(batch=2)["samples"] + 0.3
        shift, latent = shift_of(room, energy, towards(energy, goal, 1.0, auto=True, inner_steps=steps))
        left.append(float((latent - shift - goal).square().mean().sqrt()))
    assert left[0] > 0.15
    assert left[1] < 0.6 * left[0]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_limit_holds_in_each_step(room, energy, steps):
    """A weight that overshoots many times over still leads towards the goal, and no farther than allowed."""
    shift, latent = shift_of(room, energy, towards(energy, 3.0, 20.0, inner_steps=steps, limit=1.0))
    assert (shift * (latent - 3.0)).flatten(1).sum(1).min() > 0
    assert torch.allclose(shift.square().mean((1, 2, 3)).sqrt(), torch.full((2,), 0.1), rtol=1e-3)


def test_each_energy_has_its_own_number(room, energy):
    seen = []
    three, one = towards(energy, 1.0, 0.6, seen, inner_steps=3), towards(energy, 2.0, 0.5, seen)
    together, latent = shift_of(room, energy, three, one)
    assert sorted(seen) == [1.0] * 3 + [2.0]
    x = latent - C * (0.2 * (latent - 1.0) + 0.5 * (latent - 2.0))
    for _ in range(2):
        x = x - C * 0.2 * (x - 1.0)
    assert torch.allclose(latent - together, x, atol=1e-5)


def test_other_points_have_none(room, energy):
    for point in (energy.PUBLISHED, energy.THROUGH):
        with pytest.raises(ValueError, match="Inner steps work at point 'denoised' only"):
            energy.attach(tiny.model("sd15"), towards(energy, 1.0, 1.0, inner_steps=2, point=point))


@torch.inference_mode()
def test_the_doors(room):
    """Once is the same as leaving the input out; more is not."""
    doors, bench = room("nodes.inversion"), methods.Bench(room, "sd15")
    wanted = (4, 0.0, "style", 0.0, 1.0, "linear")

    def made(steps, point="denoised"):
        given = {} if steps is None else {"inner_steps": steps}
        door = doors.AppearanceEnergyGuidance.execute
        model = door(bench.model, bench.painting, 20.0, *wanted, point, "both", 0.0, **given).args[0]
        return bench.sample(model)

    assert torch.equal(made(None), made(1))
    assert not torch.equal(made(3), made(1))
    assert made(3).isfinite().all()
    with pytest.raises(ValueError, match="Inner steps work at point 'denoised' only"):
        made(2, "through the model")
