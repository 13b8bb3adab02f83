"""The time travel sampler in the real host: every model family, any sampler, masks, energies, progress, Cancel."""

from __future__ import annotations

import pytest
import torch

from helpers.walked import FAMILIES, every_model, guide, ladder, named, run

INNER = ["euler", "dpmpp_2m", "euler_ancestral", "uni_pc", "ddim", "ddpm", "dpmpp_sde", "euler_cfg_pp", "dpm_fast"]


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def models(room, golden):
    return every_model(room, golden)


@pytest.fixture
def travelling(room):
    def make(sampler, jumps=2, length=1, start=0.0, end=1.0):
        return room("nodes.walks").SketchTimeTravelSampler.execute(named(sampler), jumps, length, start, end)[0]

    return make


@pytest.fixture
def repeated(room):
    return lambda sampler, count: room("nodes.sdedit").SketchRepeatSampler.execute(named(sampler), count)[0]


def half_kept(latent):
    height, width = latent["samples"].shape[-2:]
    mask = torch.ones(1, height, width)
    mask[..., : width // 2] = 0
    return {**latent, "noise_mask": mask}


def test_legs(room):
    legs = room("samplers.travel").legs
    assert legs(6, 0, 6, 1, 0) == [(0, 6)]
    assert legs(6, 0, 0, 1, 5) == [(0, 6)], "no step lies in the window"
    assert legs(4, 1, 3, 1, 2) == [(0, 2), (1, 2), (1, 3), (2, 3), (2, 4)]
    assert legs(5, 0, 5, 2, 1) == [(0, 2), (0, 4), (2, 5), (4, 5)], "the last stretch is shorter"
    assert legs(3, 0, 3, 10, 1) == [(0, 3), (0, 3)]


@pytest.mark.parametrize("kind", ["discrete", "flow", "strong flow"])
@pytest.mark.parametrize(("sigma", "back"), [(0.2, 0.5), (0.0, 0.7), (0.4, 0.4), (0.3, 1.0)])
def test_noise_after_a_jump(room, kind, sigma, back):
    """Mean and deviation of a sample at the level it came back to, by the families' own mixture."""
    noise, travel = room("guidance.noise"), room("samplers.travel")
    family = room("host").NoiseFamily(
        kind.split()[-1], torch.linspace(0.01, 1, 100), 1.0, 8.0 if "strong" in kind else 1.0
    )
    picture, first, second = (torch.randn(400_000, generator=torch.Generator().manual_seed(i)) for i in range(3))
    signal, amount = noise.signal_and_noise(family, sigma)
    x = travel.renoised(family, signal * picture + amount * first, second, sigma, back)
    signal, amount = noise.signal_and_noise(family, back)
    left = x - signal * picture
    assert float(left.mean()) == pytest.approx(0, abs=0.01 * max(amount, 1))
    assert float(left.std()) == pytest.approx(amount, rel=0.01)
    assert float((left * picture).mean()) == pytest.approx(0, abs=0.01 * max(amount, 1)), "no picture in the noise"
    if back == sigma:
        assert torch.equal(x, signal * picture + amount * first)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("inner", ["euler", "euler_ancestral"])
def test_levels_in_the_host(models, room, travelling, family, inner):
    """A model that knows the picture: every step then sees picture and noise of exactly its level."""
    model, latent = models[family].clone(), guide(family, height=32, width=32)
    picture = model.get_model_object("process_latent_in")(latent["samples"])
    model.set_model_sampler_post_cfg_function(lambda arguments: picture.to(arguments["denoised"]))
    sigmas, seen = ladder(room, model, 0.6, 4), []
    sampler = travelling(inner, 2, 2)
    out = run(model, sampler, sigmas, latent, watch=lambda i, d, x, n: seen.append(x), pixel=family == "pixel")
    order = [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3]
    assert len(seen) == len(order)
    mixture = room("guidance.noise").signal_and_noise
    noises = []
    for x, level in zip(seen, order, strict=True):
        signal, amount = mixture(room("host").noise_family(model), float(sigmas[level]))
        noises.append((x - signal * picture) / amount)
        assert float(noises[-1].mean()) == pytest.approx(0, abs=0.07)
        assert float(noises[-1].std()) == pytest.approx(1, abs=0.07)
    begun = torch.stack([noises[k].flatten() for k in (0, 2, 4)])
    if inner == "euler":  # noise of level 2 comes back in part; from 0 nothing does
        assert torch.corrcoef(begun)[0, 1] < 0.95
    again = torch.stack([noises[k].flatten() for k in (6, 8, 10)])
    assert (torch.corrcoef(again) - torch.eye(3)).abs().max() < 0.12, "from 0 back up, all noise is fresh"
    assert (out - latent["samples"]).abs().max() < 1e-4 * latent["samples"].abs().max() + 1e-4


@pytest.mark.parametrize("family", ["pixel", "sd15", "edm", "flux"])
@pytest.mark.parametrize("inner", INNER)
def test_any_sampler(models, room, travelling, family, inner):
    model, latent = models[family], half_kept(guide(family, batch=2))
    sigmas, pixel = ladder(room, model, steps=5), family == "pixel"
    plain = run(model, inner, sigmas.clone(), latent, pixel=pixel)
    for never in (travelling(inner, 0), travelling(inner, 3, 1, 0.0, 0.01)):
        assert torch.equal(run(model, never, sigmas.clone(), latent, pixel=pixel), plain), "no jumps: inner itself"
    out = run(model, travelling(inner, 1, 2), sigmas.clone(), latent, pixel=pixel)
    assert torch.isfinite(out).all()
    assert not torch.equal(out, plain)
    assert torch.equal(out, run(model, travelling(inner, 1, 2), sigmas.clone(), latent, pixel=pixel)), "same seed"
    kept = (latent["noise_mask"] == 0).expand_as(out)
    loose = 5e-3 if inner == "uni_pc" else 1e-4  # alone it leaves .003, too
    torch.testing.assert_close(out[kept], latent["samples"][kept], rtol=0, atol=loose * float(plain.abs().max()))


@pytest.mark.parametrize("kept", ["host", "published"])
def test_masks_of_the_sde_sampler(models, room, travelling, kept):
    model, latent = models["sd15"], half_kept(guide("sd15", batch=2))
    inner = room("nodes.sdedit").SketchSDESampler.execute("small", kept)[0]
    out = run(model, travelling(inner), ladder(room, model), latent)
    left = out[..., :4]
    torch.testing.assert_close(left, latent["samples"][..., :4], rtol=1e-5, atol=1e-5)
    everything = {**latent, "noise_mask": torch.ones(1, 8, 8)}
    whole = run(model, travelling(inner), ladder(room, model), guide("sd15", batch=2))
    torch.testing.assert_close(
        run(model, travelling(inner), ladder(room, model), everything), whole, rtol=1e-4, atol=1e-4
    )


def test_window_and_steps_are_counted(models, room, travelling, repeated):
    model, latent = models["pixel"], guide("pixel")
    sigmas = ladder(room, model, 0.4, 10)
    at = model.get_model_object("model_sampling").percent_to_sigma
    inside = [at(0.9) < sigma <= at(0.7) for sigma in sigmas[:-1].tolist()]
    assert 2 < sum(inside) < 8

    def steps(sampler):
        seen = []
        run(model, sampler, sigmas, latent, watch=lambda i, denoised, x, total: seen.append((i, total)), pixel=True)
        return seen

    count = 10 + 2 * sum(inside)
    window = travelling("ddpm", 2, 1, 0.7, 0.9)
    assert steps(window) == [(i, count) for i in range(count)]
    assert steps(repeated(window, 3)) == [(i, 3 * count) for i in range(3 * count)]


def test_walks_that_do_not_end_at_0(models, room, travelling):
    """Split SIGMAS: the two halves are walked with as many jumps as the whole, and the first ends at its level."""
    model, latent = models["flux"].clone(), guide("flux", height=32, width=32)
    picture = model.get_model_object("process_latent_in")(latent["samples"])
    model.set_model_sampler_post_cfg_function(lambda arguments: picture.to(arguments["denoised"]))
    sigmas = ladder(room, model, 0.6, 6)
    seen = []
    run(model, travelling("euler", 1, 2), sigmas[:4], latent, watch=lambda i, d, x, total: seen.append(total))
    assert seen == [6] * 6


@pytest.mark.parametrize("family", ["pixel", "sd3"])
def test_energies_act_in_every_walk(models, room, travelling, family):
    energy, terms, decoders = (room(f"guidance.{name}") for name in ("energy", "terms", "decoders"))
    latent = guide(family, height=16, width=16)
    exemplar = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(1))
    model = models[family]
    looked = []
    pull = energy.Energy(
        "colour", 5.0, terms.colour(exemplar, grid=4), decoder=decoders.choose(model, None, low_pass=True)
    )
    guided = energy.attach(model, pull)

    def note(arguments):
        looked.append(float(arguments["sigma"][0]))
        return arguments["denoised"]

    guided.set_model_sampler_post_cfg_function(note)
    sigmas, pixel = ladder(room, model, steps=4), family == "pixel"
    out = run(guided, travelling("ddpm"), sigmas, latent, pixel=pixel)
    assert looked == [float(sigmas[i]) for i in (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3)]
    assert not torch.equal(out, run(model, travelling("ddpm"), sigmas, latent, pixel=pixel))


def test_published_energies_know_the_inner_sampler(models, room, travelling):
    energy, terms = room("guidance.energy"), room("guidance.terms")
    exemplar = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(1))
    pull = energy.Energy("colour", 2.0, terms.colour(exemplar, grid=4), point=energy.PUBLISHED)
    guided = energy.attach(models["pixel"], pull)
    sigmas, latent = ladder(room, guided), guide("pixel")
    sampler = room("samplers.repeat").RepeatSampler(travelling("ddpm"), 2)
    assert torch.isfinite(run(guided, sampler, sigmas, latent, pixel=True)).all()
    with pytest.raises(ValueError, match="sample_euler takes others"):
        run(guided, travelling("euler"), sigmas, latent, pixel=True)


def test_cancel(models, room, travelling):
    import comfy.model_management

    model, latent = models["sd15"], guide("sd15")
    sigmas = ladder(room, model)
    before = run(model, travelling("ddpm"), sigmas, latent)
    seen = []

    def press_cancel(i, denoised, x, total):
        seen.append(i)
        comfy.model_management.interrupt_current_processing(len(seen) == 7)

    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run(model, travelling("ddpm"), sigmas, latent, watch=press_cancel)
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert seen == list(range(7))
    assert torch.equal(before, run(model, travelling("ddpm"), sigmas, latent))


def test_wrong_samplers_and_windows(room, travelling, repeated):
    import comfy.samplers

    class Whole(comfy.samplers.Sampler):
        pass

    with pytest.raises(ValueError, match="can be walked again, got Whole"):
        travelling(Whole())
    with pytest.raises(ValueError, match="Repeat Sampler after it"):
        travelling(repeated("euler", 2))
    with pytest.raises(ValueError, match="Set start below end"):
        travelling("euler", 2, 1, 0.5, 0.5)
    with pytest.raises(ValueError, match="start must be a number"):
        travelling("euler", 2, 1, float("nan"), 0.5)
