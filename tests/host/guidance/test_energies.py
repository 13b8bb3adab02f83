"""Energies as MODEL patches: what they leave alone, how far they pull, and every family and sampler they work on."""

from __future__ import annotations

import pytest
import torch

from helpers import tiny

SIZE = 32


@pytest.fixture(scope="module")
def prior(room):
    """The built-in prior: a pull can only be judged on a model that paints."""
    priors = room("nodes.priors")
    return priors.load_prior(priors.prior_file(priors.STARTER), {}, "float32")[0]


@pytest.fixture(scope="module")
def pieces(room):
    return room("guidance.energy"), room("guidance.terms"), room("guidance.decoders")


def gray(level=0.2, batch=1, size=SIZE):
    return torch.full((batch, size, size, 3), level)


def pixel_latent(batch=1, size=SIZE, seed=0):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1) * 0.5


def levels(room, model, t0=0.4, steps=6):
    rooms = room("samplers.levels")
    family = room("host").noise_family(model)
    return rooms.walk(family, rooms.start_sigma(family, t0)[0], steps)


def toward(pieces, model, weight=1.0, exemplar=None, **settings):
    energy, terms, decoders = pieces
    exemplar = gray() if exemplar is None else exemplar
    decoder = decoders.choose(model, settings.pop("vae", None), settings.pop("decoder", "auto"), low_pass=True)
    opener = terms.colour(exemplar, grid=settings.pop("grid", 2))
    return energy.attach(model, energy.Energy("colour", weight, opener, decoder=decoder, **settings))


@torch.inference_mode()
def walk(model, sigmas, latent, **options):
    prompt = [[torch.zeros(1, 1, 1), {}]]
    return tiny.sample(model, sigmas, latent, **{"positive": prompt, "negative": prompt, **options})


@pytest.mark.parametrize("settings", [{"weight": 0.0}, {"start": 0.3, "end": 0.3}, {"end": 0.0}], ids=str)
def test_nothing_asked_changes_no_bit(prior, room, pieces, settings):
    sigmas, latent = levels(room, prior), pixel_latent()
    assert torch.equal(walk(toward(pieces, prior, **settings), sigmas, latent), walk(prior, sigmas, latent))


def test_a_pull_pulls_and_the_original_stays_plain(prior, room, pieces):
    sigmas, latent = levels(room, prior), pixel_latent()
    before = walk(prior, sigmas, latent)
    pulled = walk(toward(pieces, prior, 2.0, gray(1.0)), sigmas, latent)
    assert pulled.mean() > before.mean() + 0.1
    assert torch.equal(walk(prior, sigmas, latent), before)


def test_two_energies_share_one_decode_and_add_up(room, pieces):
    energy, _, decoders = pieces
    model, vae = tiny.model("sd15"), tiny.vae()
    chain = toward(pieces, toward(pieces, model, 1.0, vae=vae, decoder="vae"), 0.5, gray(0.9), vae=vae, decoder="vae")
    run = room("guidance.run").Run()
    denoised = tiny.latent()["samples"]
    model.model.current_patcher = model
    arguments = {
        "denoised": denoised,
        "input": denoised,
        "sigma": torch.tensor([2.0]),
        "model": model.model,
        "model_options": {**chain.model_options, "transformer_options": {"sketch_run": run}},
    }
    both = denoised - energy.shifted(arguments)
    assert sum(isinstance(key, decoders.Decoder) for key in run.prepared) == 1
    alone = []
    for one in chain.model_options[energy.ENERGIES]:
        arguments["model_options"] = {energy.ENERGIES: [one], "transformer_options": {"sketch_run": run}}
        alone.append(denoised - energy.shifted(arguments))
    assert torch.allclose(both, torch.stack(alone).sum(0), rtol=1e-4, atol=1e-6)
    assert both.abs().max() > 1e-3


@pytest.mark.parametrize("steps", [8, 20])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_stays_bounded_from_pure_noise(room, pieces, family, steps):
    model = tiny.model(family)
    latent = tiny.latent(family)["samples"]
    sigmas = levels(room, model, 1.0, steps)
    pulled = toward(pieces, model, 2.0, gray(0.8), decoder="linear")
    plain, guided = (tiny.sample(m, sigmas, latent * 0, cfg=2.0) for m in (model, pulled))
    assert torch.isfinite(guided).all()
    assert not torch.equal(plain, guided)
    assert guided.abs().max() < 10 * plain.abs().max() + 20


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "dpmpp_sde", "heun", "uni_pc", "dpm_fast", "lcm", "ddpm"])
@torch.inference_mode()
def test_any_sampler_follows(prior, room, pieces, sampler):
    import comfy.samplers

    sigmas, latent = levels(room, prior, 0.5, 10), pixel_latent()
    stepper = comfy.samplers.sampler_object(sampler)
    plain = walk(prior, sigmas, latent, sampler=stepper)
    guided = walk(toward(pieces, prior, 1.0, gray(1.0)), sigmas, latent, sampler=comfy.samplers.sampler_object(sampler))
    assert torch.isfinite(guided).all()
    assert abs(guided.mean() - 1) < 0.9 * abs(plain.mean() - 1), "nearer to white"


def test_cfg_pp_samplers_get_no_stronger_pull(room, pieces):
    """The host's cfg_pp samplers keep a shift whole at every step; scaled by the step's share, the pull is the same."""
    import comfy.samplers

    model = tiny.model("sd15")
    sigmas, latent = levels(room, model, 0.5, 12), tiny.latent()["samples"]
    moved = {}
    for name in ("euler", "euler_cfg_pp"):
        results = [
            tiny.sample(m, sigmas, latent, sampler=comfy.samplers.sampler_object(name), cfg=1.0)
            for m in (model, toward(pieces, model, 0.3, gray(0.9), decoder="linear"))
        ]
        moved[name] = (results[1] - results[0]).square().mean().sqrt()
    assert 0.4 < moved["euler_cfg_pp"] / moved["euler"] < 2.5, moved


def test_published_point_refuses_samplers_off_its_ladder(prior, room, pieces):
    import comfy.samplers

    sigmas, latent = levels(room, prior, 0.4, 6), pixel_latent()
    model = toward(pieces, prior, point="published")
    walk(model, sigmas, latent, sampler=comfy.samplers.sampler_object("euler_ancestral"))
    with pytest.raises(ValueError, match="euler_ancestral"):
        walk(model, sigmas, latent, sampler=comfy.samplers.sampler_object("dpmpp_2m"))
    with pytest.raises(ValueError, match="pixel priors"):
        toward(pieces, tiny.model("sd15"), point="published", decoder="linear")


def test_default_and_published_agree_to_first_order(prior, room, pieces):
    """On the native grid, a weak quadratic pull moves the walk as far at either point, apart from its trial noise."""
    energy = pieces[0]
    sigmas, latent = levels(room, prior, 0.05, 0), pixel_latent()
    import comfy.samplers

    plain = walk(prior, sigmas, latent, sampler=comfy.samplers.sampler_object("ddpm"))
    moved = []
    for point in energy.POINTS:
        model = toward(pieces, prior, 0.02, gray(1.0), point=point, grid=1)
        moved.append(walk(model, sigmas, latent, sampler=comfy.samplers.sampler_object("ddpm")) - plain)
    ratio = moved[0].mean() / moved[1].mean()
    assert 0.8 < ratio < 1.25, ratio


def test_pictures_of_a_batch_do_not_see_each_other(prior, room, pieces):
    sigmas, latent = levels(room, prior), pixel_latent(2)
    noise = pixel_latent(2, seed=3) * 2
    exemplars = torch.cat([gray(0.9), gray(0.1)])
    both = walk(toward(pieces, prior, 1.0, exemplars), sigmas, latent, noise=noise)
    for i in range(2):
        alone = walk(
            toward(pieces, prior, 1.0, exemplars[i : i + 1]), sigmas, latent[i : i + 1], noise=noise[i : i + 1]
        )
        assert (both[i : i + 1] - alone).abs().max() < 1e-4
    with pytest.raises(ValueError, match="batch of 3"):
        walk(toward(pieces, prior, 1.0, gray(0.5, 3)), sigmas, latent, noise=noise)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_a_weight_pulls_as_hard_at_every_size(prior, room, pieces, size):
    """The first shift of a grey prediction towards a lighter exemplar is the same at each size: 4 c w times the gap."""
    energy = pieces[0]
    pull = toward(pieces, prior, 0.5, gray(0.7, size=size), grid=2)
    denoised = torch.zeros(1, 3, size, size)
    prior.model.current_patcher = prior
    arguments = {
        "denoised": denoised,
        "input": denoised,
        "sigma": torch.tensor([1.0]),
        "model": prior.model,
        "model_options": {**pull.model_options, "transformer_options": {}},
    }
    shift = energy.shifted(arguments)
    assert shift.mean().item() == pytest.approx(0.5 * 0.5 * 2 * 0.4, rel=0.02)


def test_a_weight_pulls_as_hard_through_any_gain(room, pieces):
    """A VAE whose latents are half as large has twice the slope; the picture moves as far."""
    energy = pieces[0]
    moved = []
    for scale in (1.0, 0.5):
        model, vae = tiny.model("sd15"), tiny.vae()
        with torch.no_grad():
            vae.first_stage_model.vae_scale.fill_(scale)
        pull = toward(pieces, model, 0.5, gray(0.7, size=64), vae=vae, decoder="vae", grid=1)
        latent = tiny.latent()["samples"] * 0.1 / scale
        model.model.current_patcher = model
        arguments = {
            "denoised": latent,
            "input": latent,
            "sigma": torch.tensor([1.0]),
            "model": model.model,
            "model_options": {**pull.model_options, "transformer_options": {}},
        }
        shifted = energy.shifted(arguments)
        out = model.model.process_latent_out
        moved.append(vae.first_stage_model.decode(out(shifted)) - vae.first_stage_model.decode(out(latent)))
    assert torch.allclose(moved[0], moved[1], rtol=0.05, atol=1e-4)


def test_cancel_leaves_nothing_behind(prior, room, pieces):
    import comfy.model_management
    import comfy.sample
    import comfy.samplers

    sigmas, latent = levels(room, prior), pixel_latent()
    before = walk(prior, sigmas, latent)
    model = toward(pieces, prior)
    guided = walk(model, sigmas, latent)
    prompt = [[torch.zeros(1, 1, 1), {}]]

    def stop(i, *_):
        if i == 2:
            raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        comfy.sample.sample_custom(
            model,
            comfy.sample.prepare_noise(latent, 0),
            1.0,
            comfy.samplers.sampler_object("euler"),
            sigmas,
            prompt,
            prompt,
            latent,
            callback=stop,
            disable_pbar=True,
            seed=0,
        )
    assert torch.equal(walk(prior, sigmas, latent), before)
    assert torch.equal(walk(model, sigmas, latent), guided)


def test_a_second_pass_at_another_size(prior, room, pieces):
    model = toward(pieces, prior)
    small, large = (walk(model, levels(room, prior), pixel_latent(size=size)) for size in (32, 48))
    assert (small.shape[-1], large.shape[-1]) == (32, 48)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models(room, pieces, dtype):
    model = tiny.model("sd15", dtype=dtype)
    pulled = toward(pieces, model, 1.0, gray(0.8), decoder="linear")
    result = tiny.sample(pulled, levels(room, model, 0.5, 4), tiny.latent()["samples"])
    assert torch.isfinite(result).all()


def test_limit_caps_the_shift(prior, room, pieces):
    sigmas, latent = levels(room, prior), pixel_latent()
    plain = walk(prior, sigmas, latent)
    free = walk(toward(pieces, prior, 3.0, gray(1.0)), sigmas, latent)
    tame = walk(toward(pieces, prior, 3.0, gray(1.0), limit=0.05), sigmas, latent)
    assert 0 < (tame - plain).abs().mean() < 0.5 * (free - plain).abs().mean()


def test_the_energy_of_contributing_works_as_it_stands(prior, room):
    from helpers import PACK

    text = (PACK / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Add an energy")[1]
    code = text.split("```python")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    example = {"__package__": room("nodes").__name__, "__name__": "example"}
    exec(code, example)
    sigmas, latent = levels(room, prior), pixel_latent(2)
    results = [walk(m, sigmas, latent) for m in (prior, example["warmer"](prior, None, torch.tensor([1.0, -1.0])))]
    plain, warm = (result.mean((2, 3))[:, 0] - result.mean((2, 3))[:, 2] for result in results)
    assert warm[0] > plain[0] + 0.02
    assert warm[1] < plain[1] - 0.02


def test_what_belongs_to_another_model_is_refused_in_words(room, pieces):
    """On any MODEL with an energy, and by our own samplers on any MODEL, before torch fails in words of its own."""
    from comfy.samplers import KSAMPLER

    model = tiny.model("sd15")
    sigmas, samples = levels(room, model), tiny.latent()["samples"]
    ours = KSAMPLER(room("samplers.sde").sample_sde)
    for given, options in ((toward(pieces, model), {}), (model, {"sampler": ours})):
        with pytest.raises(ValueError, match="is a Pixel Prior Label, but the model reads words"):
            walk(given, sigmas, samples, **options)
        with pytest.raises(ValueError, match="made with another model's VAE: it has 3 channels, this model 4"):
            tiny.sample(given, sigmas, pixel_latent(), **options)
