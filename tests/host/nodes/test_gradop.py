"""GradOpSolve in the real host: what it leaves alone, every family, masks, batches, Cancel."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from helpers import tiny
from helpers.gradop_walks import FAMILIES, GRADOP, PLUS, PREDICTED, VARIANTS, empty, heard, ladder, run, strokes


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def prior(room):
    """The built-in pixel prior: what is asked of a picture can only be judged on a model that paints."""
    priors = room("nodes.priors")
    return priors.SketchPriorLoader.execute(priors.STARTER, 64, 4, "legacy", 0, "float32").args[:2]


# what it leaves alone


@pytest.mark.parametrize("inner", ["euler", "dpmpp_2m", "dpmpp_sde", "uni_pc"])
@pytest.mark.parametrize(
    "changes", [{"rounds": 0}, {"gradient_steps": 0}, {"strength": 0.01, "variant": PLUS}], ids=str
)
def test_nothing_asked_is_the_plain_sampler(room, models, solve, inner, changes):
    import comfy.samplers

    model, sigmas = models["sd15"], ladder(room, models["sd15"])
    plain = run(model, comfy.samplers.sampler_object(inner), sigmas.clone(), empty())
    for variant in VARIANTS if "variant" not in changes else [PLUS]:
        sampler = solve(sampler=comfy.samplers.sampler_object(inner), **{"variant": variant, **changes})
        assert torch.equal(run(model, sampler, sigmas.clone(), empty()), plain)
        assert bool(sampler.told) == ("strength" in changes), "a round that finds no place is told"


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_seed_same_picture_and_no_traces(room, models, solve, variant):
    import comfy.samplers

    model, sigmas = models["sd15"], ladder(room, models["sd15"])
    before = run(model, comfy.samplers.sampler_object("euler"), sigmas, empty())
    sampler = solve(variant=variant, decoder="vae")
    weights = {name: value.clone() for name, value in sampler.task.vae.first_stage_model.state_dict().items()}
    first, second, other = (run(model, sampler, sigmas, empty(), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.allclose(first, other, atol=1e-2)
    assert not torch.allclose(first, before, atol=1e-2)
    assert torch.equal(run(model, comfy.samplers.sampler_object("euler"), sigmas, empty()), before)
    after = sampler.task.vae.first_stage_model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in weights.items())


# that it does something


def apart(picture, painting, room):
    """Painting loss of pixel pictures [B, 3, H, W] in [-1, 1]."""
    painter = room("pictures.painters").Painter()
    fitted = room("pictures.fit").fit_image(painting, *picture.shape[-2:]).movedim(-1, 1)
    return float((painter((picture.clamp(-1, 1) + 1) / 2) - fitted).square().mean())


@pytest.mark.parametrize(
    ("variant", "painter"),
    [
        *((variant, painter) for variant in VARIANTS for painter in ("gaussian", "none")),
        (PREDICTED, "median + palette"),
    ],
)
def test_the_picture_comes_nearer_to_the_painting(room, prior, solve, variant, painter):
    import comfy.samplers

    model, vae = prior
    sigmas, latent = ladder(room, model, 10), torch.zeros(1, 3, 64, 64)
    steps = 24 if variant == GRADOP else 6 if painter == "median + palette" else 12
    sampler = solve(vae=vae, variant=variant, painter=painter, gradient_steps=steps, rounds=3, strength=0.6)
    plain = apart(run(model, comfy.samplers.sampler_object("euler"), sigmas, latent), strokes(), room)
    solved = apart(run(model, sampler, sigmas, latent), strokes(), room)
    print(f"{variant}, {painter}: {plain:.4f} to {solved:.4f}; {sampler.told}")
    assert solved < 0.8 * plain
    before, after = (float(word.rstrip(".")) for word in sampler.told[0].split("\n")[0].split()[2::2])
    assert after < before


def test_more_rounds_and_steps_are_nearer(room, prior, solve):
    model, vae = prior
    sigmas, latent = ladder(room, model, 12), torch.zeros(1, 3, 64, 64)
    settings = (
        {"rounds": 1, "gradient_steps": 4},
        {"rounds": 3, "gradient_steps": 4},
        {"rounds": 3, "gradient_steps": 16},
    )
    found = [apart(run(model, solve(vae=vae, **s), sigmas, latent), strokes(), room) for s in settings]
    assert found[2] < found[0]
    assert found[1] < found[0]


# every family, sampler and size


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(room, models, vaes, solve, family, variant):
    model, latent = models[family], empty(family, batch=2)
    sigmas = ladder(room, model)
    sampler = solve(vae=vaes[latent.shape[1]], variant=variant, decoder="linear, then vae")
    out = run(model, sampler, sigmas, latent)
    assert torch.isfinite(out).all()
    assert not torch.allclose(out, run(model, None, sigmas, latent), atol=1e-3)
    assert len(sampler.told) == 1


@pytest.mark.parametrize("family", ["sd15", "edm", "sd3"])
def test_released_variant_takes_the_state_for_a_clean_latent(room, models, vaes, solve, family):
    """The first estimate is the state with a clean latent's variance, and what follows is it, noised to that level."""
    model = models[family]
    kind = room("host").noise_family(model)
    noise = torch.randn(1, 4 if family != "sd3" else 16, 8, 8, generator=torch.Generator().manual_seed(1))
    sigmas = ladder(room, model, 6)
    states = []

    def watch(i, x0, x, total):
        states.append((x0.clone(), x.clone(), x0 is x))

    sampler = solve(vae=vaes[noise.shape[1]], variant=PLUS, rounds=1, gradient_steps=1, learning_rate=0.001)
    sampler.round_noise = lambda k: noise
    heard(model, sampler, sigmas, 0 * noise, watch, noise=noise)
    i = next(i for i, (_, _, moved) in enumerate(states) if moved)
    signal, level = room("guidance.noise").signal_and_noise(kind, float(sigmas[i]))
    plain = []
    heard(model, None, sigmas, 0 * noise, lambda i, x0, x, total: plain.append(x.clone()), noise=noise)
    size = ((signal * kind.sigma_data) ** 2 + level**2) ** 0.5 / kind.sigma_data
    assert (states[i][0] - plain[i] / size).abs().max() < 0.0011  # one step of Adam, no longer than its rate
    assert torch.allclose(states[i + 1][1], signal * states[i][0] + level * noise, atol=1e-5)


def always(model, value=0.5):
    """A clone of the MODEL that predicts this value everywhere."""
    patched = model.clone()
    patched.set_model_unet_function_wrapper(lambda apply, arguments: torch.full_like(arguments["input"], value))
    return patched


LONE_LAST_STEPS = [(PREDICTED, 10, 0.3), (PREDICTED, 4, 0.8), (PLUS, 8, 0.3), (GRADOP, 10, 0.1)]
SAMPLERS = ("euler", "dpmpp_2m", "dpmpp_sde", "uni_pc", "uni_pc_bh2", "dpm_fast", "dpm_adaptive", "lms", "ddpm")


@pytest.mark.parametrize("inner", [*SAMPLERS, "sa_solver", "seeds_2", "euler_cfg_pp"])
def test_any_sampler_inside(room, models, solve, inner):
    """It ends where the model points to, as the plain walk does; also where the last part is one step long."""
    import comfy.samplers

    model = always(models["sd15"])

    def error(sampler, steps):
        result = run(model, sampler, ladder(room, model, steps), empty(height=16, width=16))
        return float((model.model.process_latent_in(result) - 0.5).square().mean().sqrt())

    for variant, steps, strength in [*((variant, 8, 0.8) for variant in VARIANTS), *LONE_LAST_STEPS]:
        walker = comfy.samplers.sampler_object(inner)
        sampler = solve(sampler=walker, variant=variant, strength=strength, rounds=3, gradient_steps=1)
        plain = error(comfy.samplers.sampler_object(inner), steps)  # dpm_fast and dpm_adaptive leave some noise in
        assert error(sampler, steps) < 1.2 * plain + 0.002, (variant, steps, strength)


@pytest.mark.parametrize("variant", [PLUS, PREDICTED])
@pytest.mark.parametrize("inner", ["uni_pc", "uni_pc_bh2"])
def test_each_round_follows_a_step(room, models, solve, inner, variant):
    """UniPC's steps towards a constant prediction are euler's, those between two rounds too."""
    import comfy.samplers

    model, found = always(models["sd15"]), []
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    for name in ("euler", inner):
        states = []
        sampler = solve(sampler=comfy.samplers.sampler_object(name), variant=variant, rounds=3, gradient_steps=1)
        sampler.round_noise = lambda k: noise
        watch = lambda i, x0, x, total, states=states: states.append(x0.clone()) if x0 is x else None  # noqa: E731
        heard(model, sampler, ladder(room, model), empty(), watch)
        found.append(torch.stack(states))
    assert len(found[0]) == 3
    assert torch.allclose(*found, atol=1e-4)


@pytest.mark.parametrize("decoder", ["linear", "vae", "fast vae", "auto"])
@pytest.mark.parametrize("size", [(7, 13), (16, 5), (1, 9)])
def test_any_size_and_aspect(room, models, vaes, solve, size, decoder):
    model = models["sd15"]
    for height, width in ((40, 56), (13, 200)):
        sampler = solve(strokes(height, width), fast_vae=vaes[4], decoder=decoder)
        out = run(model, sampler, ladder(room, model, 5), empty(height=size[0], width=size[1]))
        assert out.shape[-2:] == size
        assert torch.isfinite(out).all()


# batches and masks


def apart_by(found, expected):
    """Mean difference as a share of the mean size."""
    return float((found - expected).abs().mean() / expected.abs().mean())


def test_pictures_of_a_batch_do_not_see_each_other(room, models, vaes, solve, monkeypatch):
    model, sigmas = models["sd15"], ladder(room, models["sd15"])
    paintings = torch.cat([strokes(), strokes().flip(1), strokes().flip(-1)])
    noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    fresh = torch.randn(3, 3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(room("samplers.canvas"), "AT_ONCE", 2 * 64 * 64)  # decodes two of them, then one

    def walk(rows, painting):
        sampler = solve(painting, decoder="vae")
        sampler.round_noise = lambda k: fresh[k][rows]
        return run(model, sampler, sigmas, 0 * noise[rows], noise=noise[rows])

    together = walk(slice(0, 3), paintings)
    for i in range(3):
        rows = slice(i, i + 1)
        assert apart_by(together[rows], walk(rows, paintings[rows])) < 1e-4
    shared = walk(slice(0, 3), paintings[:1])
    assert apart_by(shared[:1], together[:1]) < 1e-4
    assert apart_by(shared[1:], together[1:]) > 1e-3
    with pytest.raises(ValueError, match=r"painting has a batch of 2 and the latent one of 3"):
        walk(slice(0, 3), paintings[:2])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", ["sd15", "edm", "flux"])
def test_masks(room, models, vaes, solve, family, variant):
    model = models[family]
    latent = tiny.latent(family, batch=2, seed=5)["samples"]
    sampler = solve(vae=vaes[latent.shape[1]], variant=variant)
    sigmas = ladder(room, model)
    half = torch.ones(1, 8, 8)
    half[..., :4] = 0
    free = run(model, sampler, sigmas, latent)
    assert torch.allclose(run(model, sampler, sigmas, latent, mask=torch.ones(1, 8, 8)), free, atol=2e-3, rtol=1e-3)
    kept = run(model, sampler, sigmas, latent, mask=torch.zeros(1, 8, 8))
    assert torch.allclose(kept, latent, atol=1e-5)
    mixed = run(model, sampler, sigmas, latent, mask=half)
    assert torch.allclose(mixed[..., :4], latent[..., :4], atol=1e-5)
    assert (mixed[..., 4:] - latent[..., 4:]).abs().mean() > 0.1
    soft = run(model, sampler, sigmas, latent, mask=half * 0.5)
    assert torch.allclose(soft[..., :4], latent[..., :4], atol=1e-5)
    assert torch.isfinite(soft).all()


@pytest.mark.parametrize("variant", [PLUS, PREDICTED])
def test_differential_diffusion_frees_a_soft_mask_as_in_the_plain_walk(room, models, solve, variant):
    from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion

    model = DifferentialDiffusion.execute(models["sd15"]).args[0]
    freeing, freed = model.model_options["denoise_mask_function"], []

    def note(sigma, mask, extra_options):
        now = freeing(sigma, mask, extra_options)
        freed.append((float(sigma[0]), float(now.mean())))
        return now

    model.set_model_denoise_mask_function(note)
    latent, mask = tiny.latent(seed=5)["samples"], torch.linspace(0, 1, 8).expand(1, 8, 8).clone()
    sigmas = ladder(room, model)
    run(model, None, sigmas, latent, mask=mask)
    plain = [*freed]
    freed.clear()
    run(model, solve(variant=variant, rounds=3), sigmas, latent, mask=mask)
    assert len({share for _, share in plain}) > 3
    assert freed == plain


def test_kept_latents_are_not_moved(room, models, solve):
    """Gradient steps leave them exactly where they are, and each part starts from them along its own noise."""
    model = models["sd15"]
    latent = tiny.latent(seed=5)["samples"]
    mask = torch.ones(1, 8, 8)
    mask[..., :4] = 0
    moved, states = [], []

    def watch(i, x0, x, total):
        (moved if x0 is x else states).append(x0.clone() if x0 is x else x.clone())

    sampler = solve(gradient_steps=4, rounds=1)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    sampler.round_noise = lambda k: noise
    sigmas = ladder(room, model)
    heard(model, sampler, sigmas, latent, watch, mask=mask)
    clean = model.model.process_latent_in(latent)
    assert len(moved) == 4
    assert all(torch.equal(z[..., :4], moved[0][..., :4]) for z in moved)
    assert not torch.equal(moved[-1][..., 4:], moved[0][..., 4:])
    begun = states[2]  # of 8 steps, the first after the round
    assert torch.allclose(begun[..., :4], (clean + sigmas[2] * noise)[..., :4], atol=1e-4)
    assert torch.allclose(begun[..., 4:], (moved[-1] + sigmas[2] * noise)[..., 4:], atol=1e-4)


# the run: progress, Cancel, other patches, samplers of the host


@pytest.mark.parametrize(("variant", "total"), [(PLUS, 8 + 6), (PREDICTED, 8 + 6), (GRADOP, 8 + 3 + 6)])
def test_one_bar_and_the_last_preview_is_the_result(room, models, solve, variant, total):
    model, calls = models["sd15"], []
    sigmas = ladder(room, model)
    out = heard(model, solve(variant=variant), sigmas, empty(), lambda i, x0, x, n: calls.append((i, n, x0.clone())))
    assert [(i, n) for i, n, _ in calls] == [(i, total) for i in range(total)]
    assert torch.allclose(model.model.process_latent_out(calls[-1][2]), out, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cancel_within_one_gradient_step(room, models, solve, variant):
    import comfy.model_management as management

    model, sigmas = models["sd15"], ladder(room, models["sd15"])
    before = run(model, None, sigmas, empty())
    sampler = solve(variant=variant, gradient_steps=20, decoder="vae")
    solved = run(model, sampler, sigmas, empty())
    seen = []

    def watch(i, x0, x, total):
        if x0 is x:
            seen.append(i)
            if len(seen) == 5:
                management.interrupt_current_processing(True)

    with pytest.raises(management.InterruptProcessingException):
        heard(model, sampler, sigmas, empty(), watch)
    assert len(seen) == 5
    assert not management.processing_interrupted()
    assert torch.equal(run(model, None, sigmas, empty()), before)
    assert torch.equal(run(model, sampler, sigmas, empty()), solved)


def test_energies_keep_working_beside_it(room, models, solve):
    energy, terms, decoders = room("guidance.energy"), room("guidance.terms"), room("guidance.decoders")
    run_of = room("guidance.run").run_of
    model, sigmas = models["sd15"], ladder(room, models["sd15"])
    pull = energy.Energy("colour", 1.0, terms.colour(strokes(), grid=2), decoder=decoders.LINEAR)
    pulled, noises = energy.attach(model, pull), []

    def note(arguments):
        state = run_of(arguments["model_options"])
        noises.append((state.noise.clone(), state.sampler))
        return arguments["denoised"]

    pulled.set_model_sampler_post_cfg_function(note)
    both = run(pulled, solve(), sigmas, empty())
    assert torch.isfinite(both).all()
    assert not torch.equal(both, run(model, solve(), sigmas, empty()))
    changed = [not torch.equal(a[0], b[0]) for a, b in pairwise(noises)]
    assert changed == [False, True, True, False, False, False, False], "rounds after steps 1 and 2 of 8"
    assert {name for _, name in noises} == {"sample_euler"}


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_the_hosts_own_samplers(room, models, solve, cfg):
    from comfy_extras import nodes_custom_sampler as custom

    model, latent = models["sd15"], {"samples": empty(batch=3)}
    sigmas, sampler = ladder(room, model), solve(decoder="vae")
    prompts = tiny.cond(), tiny.cond(seed=1)
    out, guess = custom.SamplerCustom.execute(model, True, 7, cfg, *prompts, sampler, sigmas, latent).args
    guider = custom.CFGGuider.execute(model, *prompts, cfg).args[0]
    noise = custom.RandomNoise.execute(7).args[0]
    advanced = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).args[0]
    assert torch.equal(out["samples"], advanced["samples"])
    assert torch.allclose(out["samples"], guess["samples"], atol=1e-5)


# what it says


def test_it_says_what_it_did(room, models, solve):
    model = models["sd15"]
    sampler = solve(rounds=9)
    run(model, sampler, ladder(room, model), empty())
    assert "6 of 8 steps, from step 2 on" in sampler.told[0]
    assert "Only 6 of 9 rounds" in sampler.told[0]
    assert "pure noise" not in sampler.told[0]
    low = ladder(room, model)[3:]
    begun = solve()
    run(model, begun, low, tiny.latent()["samples"])
    assert "not at pure noise" in begun.told[0]
    grey = solve()
    run(model, grey, low, empty())
    assert "not at pure noise" in grey.told[0]
    assert "grey ground" in grey.told[0]
    finished = solve(variant=GRADOP)
    run(model, finished, ladder(room, model), empty())
    assert "8 steps, 3 gradient steps, 6 steps again" in finished.told[0]


def without_vae(sampler):
    """As from a checkpoint that holds none: its VAE socket gives None."""
    sampler.task = replace(sampler.task, vae=None)
    return sampler


def test_without_a_vae(room, models, solve, monkeypatch):
    model = models["sd15"]
    sigmas = ladder(room, model)
    needing = ({"decoder": "vae"}, {"decoder": "linear, then vae"}, {"decoder": "auto", "variant": PLUS})
    for settings in needing:
        with pytest.raises(ValueError, match=r"needs the model's VAE .* connect vae, or choose 'linear'"):
            run(model, without_vae(solve(**settings)), sigmas, empty())
    for decoder in ("auto", "linear"):
        assert torch.isfinite(run(model, without_vae(solve(decoder=decoder)), sigmas, empty())).all()
    monkeypatch.setattr(model.model.latent_format, "latent_rgb_factors", None)
    with pytest.raises(ValueError, match="needs the model's VAE"):
        run(model, without_vae(solve(decoder="auto")), sigmas, empty())


def test_the_brush_fits_what_the_decoder_shows(room, models, solve, monkeypatch):
    """Flux.2's linear map unfolds each latent pixel of 16 into 2 x 2: a brush of 12 pixels is 1.5 wide there."""
    model, form, asked = models["sd15"], models["sd15"].model.latent_format, []
    painter = room("pictures.painters").Painter

    class Noting(painter):
        def __call__(self, image, share=1.0, cell=1.0):
            asked.append((tuple(image.shape[-2:]), share, cell))
            return super().__call__(image, share, cell)

    def cells(decoder):
        asked.clear()
        sampler = solve(decoder=decoder)
        sampler.task = replace(sampler.task, painter=Noting())
        run(model, sampler, ladder(room, model), empty())
        return set(asked)

    assert cells("linear") == {((8, 8), 1 / 8, 1)}
    assert cells("vae") == {((64, 64), 1, 8)}
    monkeypatch.setattr(form, "latent_rgb_factors", [[1.0, 0.5, 0.2]])
    monkeypatch.setattr(form, "latent_rgb_factors_bias", None)
    monkeypatch.setattr(form, "latent_rgb_factors_reshape", lambda t: torch.nn.functional.pixel_shuffle(t, 2))
    monkeypatch.setattr(form, "spacial_downscale_ratio", 16)
    assert cells("linear") == {((16, 16), 1 / 8, 2)}


def test_a_sound_model_is_refused(room, solve):
    model = tiny.model("sd15")
    model.model.latent_format = type("Sound", (type(model.model.latent_format),), {"latent_dimensions": 1})()
    with pytest.raises(ValueError, match=r"BaseModel models make latents of 1 dimension\. The sketch nodes work on"):
        run(model, solve(), ladder(room, model), empty())


def test_errors(room, models, vaes, solve):
    import comfy.samplers

    repeat = room("samplers.repeat").RepeatSampler(comfy.samplers.sampler_object("euler"), 2)
    with pytest.raises(ValueError, match="RepeatSampler needs whole walks"):
        solve(sampler=repeat)
    with pytest.raises(ValueError, match="GradOpSampler needs whole walks"):
        solve(sampler=solve())
    with pytest.raises(ValueError, match="connect the model's TAESD to fast_vae"):
        solve(decoder="fast vae")
    model = models["sd15"]
    sigmas = ladder(room, model)
    with pytest.raises(ValueError, match="its latents have 16 channels and 2 dimensions, this model"):
        run(model, solve(vae=vaes[16], decoder="vae"), sigmas, empty())
    with pytest.raises(ValueError, match=r"end at .* not at 0"):
        run(model, solve(variant=GRADOP), sigmas[:-1], empty())

    class Mute(comfy.samplers.Sampler):
        def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, *_):
            return noise

    with pytest.raises(ValueError, match="Mute does not report"):
        run(model, solve(sampler=Mute()), sigmas, empty())
    assert torch.isfinite(run(model, solve(sampler=Mute(), variant=PLUS), sigmas, empty())).all()
