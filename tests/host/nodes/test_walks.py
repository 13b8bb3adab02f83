"""The jump sampler and ILVR in the real host: golden runs, every model family, masks, repeats, Cancel, run state."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from helpers import tiny
from helpers.golden_files import load_file

FAMILIES = ("pixel", *tiny.FAMILIES)
FLOWS = ("sd3", "flux")
NO_PROMPT = [[torch.zeros(1, 1, 1), {}]]


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def prior(room, golden):
    """The golden numbers' tiny ADM network as a pixel prior."""
    weights = load_file(golden / "adm" / "weights_adm_learnsigma.safetensors")
    return room("host").pixel_model(room("networks").build(weights, num_head_channels=32))


@pytest.fixture(scope="module")
def models(prior):
    return {"pixel": prior, **{family: tiny.model(family) for family in tiny.FAMILIES}}


@pytest.fixture
def doors(room):
    return room("nodes.walks")


@pytest.fixture
def jump(room):
    return room("samplers.jump")


def worst(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def guide(family, *, batch=1, height=8, width=8, seed=5):
    latent = tiny.latent(family, batch=batch, height=height, width=width, seed=seed)
    return {"samples": latent["samples"][:, :3].clamp(-1, 1)} if family == "pixel" else latent


def run(model, family, sampler, sigmas, latent, *, seed=3, cfg=1.0):
    """The host's own SamplerCustom node."""
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    positive, negative = (NO_PROMPT, NO_PROMPT) if family == "pixel" else (tiny.cond(), tiny.cond(seed=1))
    return SamplerCustom.execute(model, True, seed, cfg, positive, negative, sampler, sigmas, latent)[0]["samples"]


def ladder(room, model, t0=0.5, steps=12):
    family, levels = room("host").noise_family(model), room("samplers.levels")
    return levels.walk(family, levels.start_sigma(family, t0)[0], steps)


def jumping(doors, dense=0.1225, groups=3, share=0.01, calls=10, end="clean"):
    return doors.SketchJumpSampler.execute(dense, groups, share, calls, end)[0]


def replacing(doors, reference, grid=2, start=0.0, end=1.0, weight=1.0, level="matched"):
    return doors.SketchILVRSampler.execute({"samples": reference}, grid, start, end, weight, level)[0]


def half_mask(latent):
    height, width = latent["samples"].shape[-2:]
    mask = torch.ones(1, height, width)
    mask[..., : width // 2] = 0
    return {**latent, "noise_mask": mask}


class Calls:
    """Counts the model's calls and notes at which sigma each was, and what a Run said at that moment."""

    def __init__(self, model):
        self.sigmas, self.guided = [], []
        self.model = model.clone()
        self.model.set_model_sampler_post_cfg_function(self)

    def __call__(self, arguments):
        self.sigmas.append(float(arguments["sigma"][0]))
        run = arguments["model_options"]["transformer_options"].get("sketch_run")
        self.guided.append(None if run is None else run.guided)
        return arguments["denoised"]


# The jump sampler: golden numbers


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_golden_jump(prior, room, jump, golden, case):
    """One published jump through the host: the whole ladder is one leg, from a state that is given."""
    tensors = load_file(golden / "invbyinv" / "dpm_solver_segments.safetensors")
    meta = json.loads((golden / "invbyinv" / "dpm_solver_segments.json").read_text())["meta"][case]
    first, last = round(1000 * meta["t_start"]), round(1000 * (meta["t_end"] or 1e-3))
    sigmas = prior.get_model_object("model_sampling").sigmas[last - 1 : first].flip(0)
    x = tensors[f"{case}_x"] * (1 + sigmas[0] ** 2) ** 0.5
    calls = Calls(prior)
    out = tiny.sample(
        calls.model,
        sigmas,
        x,
        noise=torch.zeros_like(x),
        sampler=kdiffusion(jump, bands=[]),
        positive=NO_PROMPT,
        negative=NO_PROMPT,
    )
    assert len(calls.sigmas) == 10
    sampling = prior.get_model_object("model_sampling")
    labels = sampling.timestep(torch.tensor(calls.sigmas)).float()
    print(f"{case} labels {(labels - tensors[f'{case}_model_times']).abs().max():.1e}")
    error = worst(out / (1 + sigmas[-1] ** 2) ** 0.5, tensors[f"{case}_out"])
    print(f"{case}: {error:.1e} of the largest value")
    assert error < 1e-3


def kdiffusion(jump, **options):
    from comfy.samplers import KSAMPLER

    return KSAMPLER(jump.sample_jump, options)


def test_golden_run(prior, room, jump, golden):
    """run_dpm: two stages of guided steps and jumps, with recorded noise, through the MODEL patch."""
    import comfy.sample

    energy, terms, decoders = (room(f"guidance.{name}") for name in ("energy", "terms", "decoders"))
    tensors = load_file(golden / "invbyinv" / "run_dpm.safetensors")
    meta = json.loads((golden / "invbyinv" / "run_dpm.json").read_text())["meta"]
    settings = meta["args"]
    weights = load_file(golden / "invbyinv" / "weights_infodraw_nb1.safetensors")
    expert = room("networks").build({name: value.float() for name, value in weights.items()})
    draw = room("pictures.extractors").extractor("tiny", room("host").network_patcher(expert))
    sketch, exemplar = (tensors[name].movedim(1, -1) for name in ("ref", "src"))
    noises = (tensors[f"noise{i:03d}"] for i in itertools.count())
    visited = iter(meta["visited_steps_stage_t"])
    table = prior.get_model_object("model_sampling").sigmas
    jumps = len(meta["solver_model_times"]) // 10
    assert jumps == sum(map(len, meta["dpm"]["t_guided"])) + len(meta["dpm"]["t_guided"][0])

    state, worst_error, step = 2 * tensors["ref"] - 1, 0.0, 0
    for stage in range(meta["n_stage"]):
        pulls = [terms.shape(sketch, draw, target=terms.REFERENCE)]
        strengths = [settings["lam_shape"][stage]]
        if settings["pixel_texture"][stage]:
            pulls.append(terms.colour(exemplar, meta["down_N"]))
            strengths.append(settings["lam_pixel_texture"][stage])
        model = prior
        for opener, weight in zip(pulls, strengths, strict=True):
            pull = energy.Energy("", weight, opener, 0.0, 1.0, decoders.PIXELS, energy.PUBLISHED, looks_at=energy.NEXT)
            model = energy.attach(model, pull)
        targets = set(meta["dpm"]["t_guided"][stage])
        bands = [(t + 1, t) for t in meta["dpm"]["spare"][stage]]
        bands.append((meta["dpm"]["dense"][stage][0] + 1, meta["dpm"]["dense"][stage][1] + 1))
        for k in range(meta["repeat_step"][stage]):
            start = next(noises)
            # The published walk draws one trial noise for each energy, then the step's own: so does this generator.
            draws = {"trial": [], "final": []}
            here = [next(visited)[1]]
            while here[-1] > 0:
                here.append(next(visited)[1])
            for t in here:
                if t not in targets:
                    draws["trial"] += [next(noises) for _ in pulls]
                    draws["final"].append(next(noises))
            trials, finals = iter(draws["trial"]), iter(draws["final"])
            again = model.clone()
            again.model_options["transformer_options"]["sketch_draw"] = lambda like, trials=trials: next(trials)
            sampler = kdiffusion(
                jump, bands=bands, end=jump.NOISY, capped=False, noise_sampler=lambda *_, finals=finals: next(finals)
            )
            M = meta["perturb_step"][stage]
            sigmas = torch.cat([table[:M].flip(0), torch.zeros(1)])
            watched = Calls(again)
            state = comfy.sample.sample_custom(
                watched.model, start, 1.0, sampler, sigmas, NO_PROMPT, NO_PROMPT, state, disable_pbar=True, seed=0
            )
            assert next(trials, None) is None
            assert next(finals, None) is None
            guided = [s for s, on in zip(watched.sigmas, watched.guided, strict=True) if on]
            assert guided == [float(table[t]) for t in here if t not in targets]
            assert len(watched.sigmas) == len(guided) + 10 * len(targets)
            state = state / (1 + table[0] ** 2) ** 0.5  # the published state at the lowest level, as the next guide
            found = ((state + 1) / 2).clamp(0, 1)
            error = worst(found, tensors[f"{stage}-{k}-th/final"])
            print(f"stage {stage} repeat {k}: {error:.1e} of the largest value")
            worst_error = max(worst_error, error)
            step += len(here)
    assert next(visited, None) is None
    last = f"step{step - 1:03d}"
    print(f"last state {worst(state, tensors[last]):.1e}")
    assert worst(state, tensors[last]) < 1e-3
    assert worst_error < 1e-3


# The jump sampler: every model


@pytest.mark.parametrize("family", FAMILIES)
def test_jump_on_every_family(doors, models, room, family):
    model, latent = models[family], guide(family, batch=2)
    sigmas = ladder(room, model, 0.6, 16)
    calls = Calls(model)
    out = run(calls.model, family, jumping(doors, calls=2), sigmas, latent)
    assert torch.isfinite(out).all()
    assert len(calls.sigmas) == 2 + 3 + 4 * 2 + 1, "dense, groups, four jumps, the last guess"
    assert torch.equal(out, run(model, family, jumping(doors, calls=2), sigmas, latent)), "same seed, same picture"


@pytest.mark.parametrize("family", ["pixel", "edm", "flux"])
def test_all_dense_is_ddpm(doors, models, room, family):
    model, latent = models[family], guide(family)
    sigmas = ladder(room, model)
    plain = room("nodes.sdedit").SketchSDESampler.execute("small", "host")[0]
    out = run(model, family, jumping(doors, dense=1.0), sigmas, latent)
    assert torch.equal(out, run(model, family, plain, sigmas, latent))


@pytest.mark.parametrize("family", ["pixel", "edm", "flux"])
def test_one_long_jump_agrees_with_a_fine_ode(doors, models, room, family):
    """Without any guided step the walk is the probability flow, which many Euler steps follow, too."""
    import comfy.samplers

    model, latent = models[family], guide(family)
    fine = ladder(room, model, 0.3, 60)
    exact = run(model, family, comfy.samplers.sampler_object("euler"), fine, latent)
    found = [run(model, family, jumping(doors, 0.0, 0, calls=c), fine, latent) for c in (1, 20)]
    errors = [float((out - exact).square().mean().sqrt()) for out in found]
    assert errors[1] < 0.3 * errors[0]


def test_jump_with_a_mask(doors, models, room):
    for family in ("pixel", "sd15", "sd3"):
        model, latent = models[family], half_mask(guide(family, batch=2))
        out = run(model, family, jumping(doors, calls=3), ladder(room, model), latent)
        keep = (latent["noise_mask"] == 0).expand_as(out)
        torch.testing.assert_close(out[keep], latent["samples"][keep], atol=1e-5, rtol=0)


def test_jump_progress_is_monotonous(doors, models, room):
    import comfy.sample

    model, latent = models["pixel"], guide("pixel")
    sigmas, seen = ladder(room, model, 0.4, 40), []
    sampler = room("samplers.repeat").RepeatSampler(jumping(doors), 2)
    comfy.sample.sample_custom(
        model,
        torch.randn(latent["samples"].shape, generator=torch.Generator().manual_seed(0)),
        1.0,
        sampler,
        sigmas,
        NO_PROMPT,
        NO_PROMPT,
        latent["samples"],
        callback=lambda i, denoised, x, total: seen.append((i, total)),
        disable_pbar=True,
        seed=0,
    )
    steps = [i for i, _ in seen]
    assert steps == sorted(set(steps)), "each call one step further, none twice"
    assert steps[-1] == 2 * 40 - 1
    assert {total for _, total in seen} == {80}


def test_jump_ends(doors, models, room):
    """The released code stops at the lowest level; its noise is the difference to the clean end."""
    model, latent = models["pixel"], guide("pixel", height=16, width=16)
    sigmas = ladder(room, model, 0.2, 0)
    clean, noisy = (run(model, "pixel", jumping(doors, end=end), sigmas, latent) for end in room("samplers.jump").ENDS)
    assert 0 < (clean - noisy).std() < 0.05


def test_flow_jumps_from_pure_noise(doors, models):
    for family in FLOWS:
        out = run(models[family], family, jumping(doors, dense=0.0), torch.linspace(1, 0, 13), guide(family))
        assert torch.isfinite(out).all()


def test_cancel_in_a_jump(doors, models, room):
    """Energies stay silent in jumps only: a Cancel there must not silence them in the next run."""
    from comfy.model_management import InterruptProcessingException

    energy, terms = room("guidance.energy"), room("guidance.terms")
    latent = guide("pixel", height=16, width=16)
    exemplar = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(1))
    model = energy.attach(models["pixel"], energy.Energy("colour", 5.0, terms.colour(exemplar, grid=4)))
    sigmas = ladder(room, model, 0.4, 40)
    before = run(model, "pixel", jumping(doors), sigmas, latent)
    assert not torch.equal(before, run(models["pixel"], "pixel", jumping(doors), sigmas, latent)), "energies pull"
    stopped = Calls(model)

    def cancel(arguments):
        stopped(arguments)
        if len(stopped.sigmas) == 9:
            raise InterruptProcessingException
        return arguments["denoised"]

    broken = model.clone()
    broken.set_model_sampler_post_cfg_function(cancel)
    with pytest.raises(InterruptProcessingException):
        run(broken, "pixel", jumping(doors), sigmas, latent)
    assert stopped.guided[-1] is False
    assert torch.equal(before, run(model, "pixel", jumping(doors), sigmas, latent))


# ILVR


def test_golden_refinement(prior, room, golden):
    """The recorded x, after a step that was made to end there, and the recorded noised reference."""
    from comfy.samplers import KSAMPLER

    tensors = load_file(golden / "invbyinv" / "siblings.safetensors")
    x, q = tensors["ilvr/x"], tensors["ilvr/q"]
    sigma, after = 0.8, 0.5
    guess, stay, _ = room("samplers.sde").step_factors(room("host").noise_family(prior), sigma, after, "small")
    model = prior.clone()
    model.set_model_sampler_post_cfg_function(lambda arguments: (x - stay * arguments["input"]) / guess)
    draws = iter([torch.zeros_like(x), q / after])
    options = {"reference": torch.zeros_like(x), "grid": 4, "noise_sampler": lambda *_: next(draws)}
    out = tiny.sample(
        model,
        torch.tensor([sigma, after]),
        torch.zeros_like(x),
        sampler=KSAMPLER(room("samplers.ilvr").sample_ilvr, options),
        positive=NO_PROMPT,
        negative=NO_PROMPT,
    )
    error = worst(out, tensors["ilvr/out"])
    print(f"{error:.1e} of the largest value")
    assert error < 1e-5


@pytest.mark.parametrize("kind", ["pixel", "edm", "flux"])
def test_published_level_is_one_step_noisier(models, room, kind):
    family, ilvr, levels = room("host").noise_family(models[kind]), room("samplers.ilvr"), room("samplers.levels")
    clean, noise = torch.full((1, 3, 2, 2), 0.4), torch.full((1, 3, 2, 2), -1.3)
    sigma, after = 0.7, 0.6
    torch.testing.assert_close(
        ilvr.noised(family, clean, noise, sigma, sigma),
        levels.signal_and_noise(family, sigma)[0] * clean + sigma * noise,
    )
    if kind == "pixel":  # as spec section 14 has it, in variance-preserving coordinates
        abar = 1 / (1 + sigma**2)
        expected = abar**0.5 * clean + (1 - abar) ** 0.5 * noise
        found = ilvr.noised(family, clean, noise, sigma, after) / (1 + after**2) ** 0.5
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("level", ["matched", "published"])
@pytest.mark.parametrize("family", FAMILIES)
def test_ilvr_on_every_family(doors, models, room, family, level):
    model, latent = models[family], guide(family, batch=2)
    sigmas = ladder(room, model, 0.6, 10)
    reference = guide(family, seed=9)["samples"]
    low = room("pictures.lowpass").low_pass
    plain = room("nodes.sdedit").SketchSDESampler.execute("small", "host")[0]
    far = (low(run(model, family, plain, sigmas, latent) - reference, grid=2)).square().mean()
    sampler = replacing(doors, reference, level=level)
    out = run(model, family, sampler, sigmas, latent)
    near = (low(out - reference, grid=2)).square().mean()
    assert torch.isfinite(out).all()
    assert near < 0.2 * far
    assert torch.equal(out, run(model, family, sampler, sigmas, latent)), "same seed, same picture"


@pytest.mark.parametrize("family", ["pixel", "sd15", "edm", "flux"])
def test_finest_grid_is_the_reference(doors, models, room, family):
    """As many cells as pixels: the low-pass passes everything, and the last step sets the clean reference."""
    model, reference = models[family], guide(family, seed=9)["samples"]
    out = run(model, family, replacing(doors, reference, grid=8), ladder(room, model), guide(family))
    torch.testing.assert_close(out, reference, atol=1e-4, rtol=0)
    mixed = run(model, family, replacing(doors, reference, grid=8, weight=0.25), ladder(room, model), guide(family))
    torch.testing.assert_close(mixed, 0.25 * reference + 0.75 * guide(family)["samples"], atol=1e-4, rtol=0)


def test_ilvr_window(doors, models, room):
    model, latent, reference = models["pixel"], guide("pixel"), guide("pixel", seed=9)["samples"]
    sigmas = ladder(room, model, 0.4, 10)
    plain = run(model, "pixel", room("nodes.sdedit").SketchSDESampler.execute("small", "host")[0], sigmas, latent)
    outside = run(model, "pixel", replacing(doors, reference, end=0.55), sigmas, latent)
    assert torch.equal(outside, plain), "t0 .4 begins at .6 of the schedule"
    inside = run(model, "pixel", replacing(doors, reference, end=0.65), sigmas, latent)
    assert not torch.equal(inside, plain)
    with pytest.raises(ValueError, match="nothing would be replaced"):
        replacing(doors, reference, start=0.5, end=0.5)


def test_ilvr_with_a_mask_and_repeats(doors, models, room):
    model, latent = models["sd15"], half_mask(guide("sd15", batch=2))
    sampler = replacing(doors, guide("sd15", seed=9, height=12, width=20)["samples"])
    out = run(model, "sd15", room("samplers.repeat").RepeatSampler(sampler, 2), ladder(room, model), latent)
    keep = (latent["noise_mask"] == 0).expand_as(out)
    torch.testing.assert_close(out[keep], latent["samples"][keep], atol=1e-5, rtol=0)


def test_ilvr_refuses_what_does_not_fit(doors, models, room):
    model, latent = models["sd15"], guide("sd15", batch=3)
    sigmas = ladder(room, model)
    with pytest.raises(ValueError, match="own VAE"):
        run(model, "sd15", replacing(doors, guide("sd3")["samples"]), sigmas, latent)
    with pytest.raises(ValueError, match="batch of 2"):
        run(model, "sd15", replacing(doors, guide("sd15", batch=2)["samples"]), sigmas, latent)
    with pytest.raises(ValueError, match="grid of 9"):
        run(model, "sd15", replacing(doors, guide("sd15")["samples"], grid=9), sigmas, latent)
