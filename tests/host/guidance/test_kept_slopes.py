"""Slopes that energies keep for several calls of the model."""

from __future__ import annotations

import pytest
import torch

from helpers import tiny


@pytest.fixture(scope="module")
def energy(room):
    return room("guidance.energy")


def towards(energy, goal, weight, looks, **settings):
    """Half the squared distance to `goal`. looks: gets a note of each look."""

    def prepare(context):
        def measure(sample, level):
            looks.append(len(sample))
            return 0.5 * (sample - goal).square().sum((1, 2, 3))

        return measure

    return energy.Energy("towards", weight, prepare, **settings)


class Calls:
    """Calls of a guided model at one level after another, in one run."""

    def __init__(self, room, energy, *energies):
        self.energy, self.model = energy, tiny.model("sd15")
        for one in energies:
            self.model = energy.attach(self.model, one)
        self.model.model.current_patcher = self.model
        self.run = room("guidance.run").Run()

    def shift(self, sigma, latent):
        arguments = {
            "denoised": latent,
            "input": latent + 0.1,
            "sigma": torch.full((len(latent),), sigma),
            "model": self.model.model,
            "model_options": {**self.model.model_options, "transformer_options": {"sketch_run": self.run}},
        }
        return latent - self.energy.shifted(arguments)


def latents(count, batch=2):
    rng = torch.Generator().manual_seed(3)
    return [torch.randn(batch, 4, 8, 8, generator=rng) for _ in range(count)]


def c(sigma):
    return sigma**2 / (sigma**2 + 1)


@pytest.mark.parametrize("auto", [False, True])
def test_slopes_between_are_the_last_ones_at_their_own_level(room, energy, auto):
    looks = []
    calls = Calls(room, energy, towards(energy, 1.0, 0.5, looks, auto=auto, slope_every=3))
    sigmas, states = (4.0, 2.0, 1.0, 0.5), latents(4)
    found = [calls.shift(sigma, state) for sigma, state in zip(sigmas, states, strict=True)]
    assert len(looks) == 2, "at the first and at the fourth call"
    size = [c(sigma) ** 0.5 if auto else c(sigma) for sigma in sigmas]
    for i in (1, 2):
        assert torch.allclose(found[i], found[0] * size[i] / size[0], rtol=1e-4, atol=1e-6)
    alone = Calls(room, energy, towards(energy, 1.0, 0.5, [], auto=auto))
    assert torch.equal(found[0], alone.shift(sigmas[0], states[0]))
    assert torch.equal(found[3], alone.shift(sigmas[3], states[3]))


def test_one_is_every_call(room, energy):
    looks = []
    kept, plain = (Calls(room, energy, towards(energy, 1.0, 0.5, looks, **more)) for more in ({"slope_every": 1}, {}))
    for sigma, state in zip((4.0, 2.0), latents(2), strict=True):
        assert torch.equal(kept.shift(sigma, state), plain.shift(sigma, state))
    assert len(looks) == 4


def test_more_noise_another_batch_and_a_new_round_want_new_slopes(room, energy):
    looks = []
    calls = Calls(room, energy, towards(energy, 1.0, 0.5, looks, slope_every=8))
    one, two = latents(2)
    calls.shift(2.0, one)
    calls.shift(1.0, two)
    assert len(looks) == 1
    calls.shift(1.5, one)  # as time travel and repeats go back
    assert len(looks) == 2
    calls.shift(1.0, two[:1])  # as pruning leaves one picture
    assert looks == [2, 2, 1]
    calls.run.start_round(None, 0)
    calls.shift(0.9, two[:1])
    assert looks == [2, 2, 1, 1]


def test_energies_with_their_own_intervals_add_up(room, energy):
    often, seldom = [], []
    both = Calls(
        room,
        energy,
        towards(energy, 1.0, 0.5, often),
        towards(energy, -2.0, 0.2, seldom, slope_every=2, auto=True, inner_steps=2),
    )
    parts = (
        Calls(room, energy, towards(energy, 1.0, 0.5, [])),
        Calls(room, energy, towards(energy, -2.0, 0.2, [], slope_every=2, auto=True, inner_steps=2)),
    )
    for sigma, state in zip((3.0, 2.0, 1.0), latents(3), strict=True):
        expected = torch.stack([part.shift(sigma, state) for part in parts]).sum(0)
        assert torch.allclose(both.shift(sigma, state), expected, atol=1e-5)
    assert len(often) == 3
    assert len(seldom) == 2 * 2


@pytest.mark.parametrize("point", ["published", "through the model"])
def test_only_at_the_prediction(energy, point):
    with pytest.raises(ValueError, match="A slope is kept at point 'denoised' only"):
        energy.attach(tiny.model("sd15"), towards(energy, 1.0, 1.0, [], slope_every=2, point=point))


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_nodes_hand_it_on(room, family):
    """In a real run: half as many decodes, another picture that is as near."""
    doors = room("nodes.inversion")
    model, latent = tiny.model(family), tiny.latent(family, batch=1)["samples"]
    sketch = (torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(1)) > 0.2).float()
    settings = {"metric": "l2", "start": 0.0, "end": 1.0, "decoder": "vae", "point": "denoised", "target": "0 to 1"}
    settings |= {"rescale": True, "limit": 1.0, "scale": "auto", "weight": 0.5}
    vae = tiny.vae(latent.shape[1])
    sigmas = torch.tensor([0.9, 0.7, 0.5, 0.3, 0.0] if family == "flux" else [4.0, 2.0, 1.0, 0.5, 0.0])
    found = {}
    for every in (1, 2, 4):
        (patched,) = doors.SketchShapeEnergy.execute(model, sketch, vae=vae, slope_every=every, **settings).args
        found[every] = tiny.sample(patched, sigmas, latent)
        assert found[every].isfinite().all()
    assert not torch.equal(found[1], found[2])
    assert not torch.equal(found[2], found[4])
