"""Scale 'auto': one dial that means the same on every model, at every size, through every decoder."""

from __future__ import annotations

import pytest
import torch

from helpers import methods, tiny


@pytest.fixture(scope="module")
def rooms(room):
    return room("guidance.energy"), room("guidance.scaling"), room("guidance.terms"), room("guidance.decoders")


def shift_of(room, rooms, model, latent, sigma, *energies):
    """What energies take from a prediction."""
    energy = rooms[0]
    for one in energies:
        model = energy.attach(model, one)
    run = room("guidance.run").Run()
    model.model.current_patcher = model
    arguments = {
        "denoised": latent,
        "input": latent + 0.1,
        "sigma": torch.full((len(latent),), sigma),
        "model": model.model,
        "model_options": {**model.model_options, "transformer_options": {"sketch_run": run}},
    }
    return latent - energy.shifted(arguments)


def colour(rooms, decoder, weight=0.5, factor=1.0, **settings):
    energy, _, terms, _ = rooms
    prepare = terms.colour(torch.full((1, 32, 32, 3), 0.8), grid=2)

    def louder(context):
        measure = prepare(context)
        return lambda sample, level: factor * measure(sample, level)

    return energy.Energy("colour", weight, louder, decoder=decoder, auto=True, **settings)


def size_of(shift):
    return shift.flatten(1).square().mean(1).sqrt()


@pytest.mark.parametrize(("family", "sigma"), [("sd15", 3.0), ("edm", 2.0), ("flux", 0.5), ("zimage", 0.8)])
def test_the_dial_is_a_share_of_what_is_not_known(room, rooms, family, sigma):
    """Whatever the size of the picture and the steepness of the energy."""
    model, (_, scaling, _, decoders) = tiny.model(family), rooms
    known = room("host").noise_family(model)
    signal, noise = (1 - sigma, sigma) if known.kind == "flow" else (1.0, sigma)
    spread = noise * known.sigma_data / (noise**2 + (signal * known.sigma_data) ** 2) ** 0.5
    for dial, factor, side in ((0.5, 1.0, 8), (0.5, 1e4, 8), (1.0, 1e-3, 16)):
        latent = 0.2 * tiny.latent(family, batch=2, height=side, width=side)["samples"]
        shift = shift_of(room, rooms, model, latent, sigma, colour(rooms, decoders.LINEAR, dial, factor))
        assert torch.allclose(size_of(shift), torch.full((2,), scaling.MOST * dial * spread), rtol=1e-3)


def test_two_energies_add_up_whatever_their_size(room, rooms):
    model, decoders = tiny.model("sd15"), rooms[3]
    latent = 0.2 * tiny.latent(batch=2)["samples"]
    one, other = colour(rooms, decoders.LINEAR, 0.3), colour(rooms, decoders.LINEAR, 0.2, 1e5)
    both = shift_of(room, rooms, model, latent, 2.0, one, other)
    whole = shift_of(room, rooms, model, latent, 2.0, colour(rooms, decoders.LINEAR, 0.5))
    assert torch.allclose(both, whole, rtol=1e-3, atol=1e-6)


def test_an_energy_without_a_slope_moves_nothing(room, rooms):
    model, energy = tiny.model("sd15"), rooms[0]
    flat = energy.Energy("flat", 1.0, lambda context: lambda sample, level: 0 * sample.sum((1, 2, 3)), auto=True)
    assert shift_of(room, rooms, model, tiny.latent()["samples"], 1.0, flat).abs().max() == 0


@pytest.mark.parametrize("family", ["zimage", "qwen_image", "flux2", "sd15"])
@torch.inference_mode()
def test_four_steps_from_noise_stay_bounded(room, rooms, family):
    bench = methods.Bench(room, family)
    energy, _, _, decoders = rooms
    levels, known = room("samplers.levels"), room("host").noise_family(bench.model)
    sigmas = levels.walk(known, levels.start_sigma(known, 0.8)[0], 4)
    pull = colour(rooms, decoders.LINEAR, 1.0)
    plain, guided = (
        bench.sample(one, sigmas=sigmas, latent=0 * bench.samples)
        for one in (bench.model, energy.attach(bench.model, pull))
    )
    assert guided.isfinite().all()
    assert guided.abs().max() < 10 * plain.abs().max() + 20


@pytest.mark.parametrize("steps", [4, 8, 20])
@torch.inference_mode()
def test_few_steps_are_followed(room, rooms, steps):
    """On a model that paints: a dial of .5 brings its colours at least halfway to the wanted ones."""
    energy, _, terms, decoders = rooms
    priors, levels = room("nodes.priors"), room("samplers.levels")
    prior = priors.load_prior(priors.prior_file(priors.STARTER), {}, "float32")[0]
    known = room("host").noise_family(prior)
    sigmas = levels.walk(known, levels.start_sigma(known, 0.5)[0], steps)
    start = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1) * 0.3
    wanted = terms.colour(torch.full((1, 32, 32, 3), 0.8), grid=2)
    pull = energy.Energy("colour", 0.5, wanted, decoder=decoders.PIXELS, auto=True)
    prompt = [[torch.zeros(1, 1, 1), {}]]
    plain, guided = (
        tiny.sample(one, sigmas, start, positive=prompt, negative=prompt) for one in (prior, energy.attach(prior, pull))
    )
    far = [float((made.mean((2, 3)) - 0.6).abs().mean()) for made in (plain, guided)]
    assert far[1] < 0.5 * far[0]


def test_it_belongs_to_the_prediction(room, rooms):
    energy, _, _, decoders = rooms
    for point in ("published", "through the model"):
        with pytest.raises(ValueError, match=r"works at point 'denoised' only"):
            energy.attach(tiny.model("sd15"), colour(rooms, decoders.LINEAR, point=point))


def test_the_doors(room):
    """Dial 0 changes no bit; a published weight is no dial."""
    doors, bench = room("nodes.inversion"), methods.Bench(room, "sd15")
    wanted = (4, 0.0, "style", 0.0, 1.0, "linear", "denoised", "both", 1.0)
    with torch.inference_mode():
        off, on = (
            doors.AppearanceEnergyGuidance.execute(bench.model, bench.painting, dial, *wanted, scale="auto").args[0]
            for dial in (0.0, 0.5)
        )
        plain = bench.sample()
        assert torch.equal(bench.sample(off), plain)
        assert not torch.equal(bench.sample(on), plain)
        with pytest.raises(ValueError, match="colour_weight is a dial from 0 to 1, got 5"):
            doors.AppearanceEnergyGuidance.execute(bench.model, bench.painting, 5.0, *wanted, scale="auto")
