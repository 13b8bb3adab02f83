"""SDEdit's nodes in the real host: every model family, masks, batches, repeats, Cancel, and other people's patches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from helpers import tiny
from helpers.walked import FAMILIES, NO_PROMPT, every_model, guide, named

OWN, PUBLISHED = "this model's own time", "published noise level"
FLOWS = ("sd3", "flux")


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def models(room, golden):
    return every_model(room, golden)


@pytest.fixture
def doors(room):
    return room("nodes.sdedit")


def run(model, family, sampler, sigmas, latent, *, seed=3, add_noise=True, cfg=1.0):
    """The host's own SamplerCustom node."""
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    positive, negative = (NO_PROMPT, NO_PROMPT) if family == "pixel" else (tiny.cond(), tiny.cond(seed=1))
    out, _ = SamplerCustom.execute(model, add_noise, seed, cfg, positive, negative, sampler, sigmas, latent).args
    return out["samples"]


def to_t0(doors, model, latent, t0=0.5, steps=6, *, meaning=PUBLISHED, seed=3, sigmas=None):
    return doors.NoiseToT0.execute(model, latent, t0, meaning, steps, seed, sigmas).args


def with_mask(latent, kind):
    """kept: all 0, edited: all 1, half: the left half kept, soft: .5 everywhere."""
    height, width = latent["samples"].shape[-2:]
    mask = torch.full((1, height, width), {"kept": 0.0, "edited": 1.0, "half": 1.0, "soft": 0.5}[kind])
    if kind == "half":
        mask[..., : width // 2] = 0
    return {**latent, "noise_mask": mask}


# NoiseToT0


@pytest.mark.parametrize("sampler", ["euler", "ddpm"])
@pytest.mark.parametrize(("t0", "meaning"), [(0.5, PUBLISHED), (1.0, PUBLISHED), (1.0, OWN)])
@pytest.mark.parametrize("family", FAMILIES)
def test_noised_latent_continues_exactly(doors, models, family, t0, meaning, sampler):
    model, latent = models[family], guide(family, batch=2)
    sigmas, noised, _ = to_t0(doors, model, latent, t0, 4, meaning=meaning)
    expected = run(model, family, named(sampler), sigmas, latent)
    continued = run(model, family, named(sampler), sigmas, noised, add_noise=False)
    assert (continued - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_look_has_the_contrast_of_a_picture(doors, models, family):
    model = models[family]
    into, out_of = (model.get_model_object(f"process_latent_{way}") for way in ("in", "out"))
    spread = getattr(model.get_model_object("model_sampling"), "sigma_data", 1.0)
    noise = guide("sd15", height=64, width=64)["samples"].repeat(1, 4, 1, 1)[:, : 16 if family in FLOWS else 4]
    latent = {"samples": out_of(spread * (noise[:, :3] if family == "pixel" else noise))}  # of the variance it expects
    for t0 in (0.05, 0.5, 0.7):
        look = to_t0(doors, model, latent, t0)[2]["samples"]
        assert into(look).std() == pytest.approx(spread, rel=0.15), t0


def test_text_says_what_is_left(doors, models):
    def text(model, latent, t0):
        return doors.NoiseToT0.execute(model, latent, t0, PUBLISHED, 25, 0).ui.as_dict()["text"][0]

    say = text(models["pixel"], guide("pixel"), 0.4)
    assert say == "t0 0.40: sigma 2.03, 44% of the guide's signal is left, 25 steps."
    say = text(models["sd15"], with_mask(guide("sd15"), "half"), 0.6)
    assert "\n" not in say, "the mask is nobody's concern as long as nothing is wired to noised"


@pytest.mark.parametrize(
    ("family", "t0", "others"),
    [
        ("pixel", 1.0, ""),
        ("sd15", 0.73, ", as is every t0 from 0.73 up"),
        ("sd15", 0.9, ", as is every t0 from 0.73 up"),
    ],
)
def test_pure_noise_is_told_where_it_is(doors, models, family, t0, others):
    say = doors.NoiseToT0.execute(models[family], guide(family), t0, PUBLISHED, 25, 0).ui.as_dict()["text"][0]
    assert say.splitlines()[1:] == [f"On this model that is pure noise{others}: try a lower t0."]


def wired(doors, monkeypatch, room, prompt):
    """NoiseToT0 as node "t0" of a prompt; what it says is in its ui."""
    monkeypatch.setattr(room("host"), "say_on_node", lambda node_id, text: None)
    return type("Wired", (doors.NoiseToT0,), {"hidden": SimpleNamespace(unique_id="t0", prompt=prompt)})


def sampler_on(slot: int, **inputs) -> dict:
    """A prompt in which SamplerCustom gets an output of the node "t0", through a RepeatLatentBatch."""
    return {
        "t0": {"class_type": "NoiseToT0", "inputs": {"latent": ["encode", 0], "model": ["model", 0]}},
        "encode": {"class_type": "VAEEncode", "inputs": {"pixels": ["paint", 0]}},
        "paint": {"class_type": "Painter", "inputs": {}},
        "more": {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["t0", slot], "amount": 2}},
        "sampler": {
            "class_type": "SamplerCustom",
            "inputs": {"latent_image": ["more", 0], "sigmas": ["t0", 0], "add_noise": False, **inputs},
        },
    }


NOISY, MASKLESS = "noised is noisy already", "noised has no mask"


@pytest.mark.parametrize(
    ("slot", "add_noise", "mask", "expected"),
    [
        (1, False, None, []),
        (1, True, None, [NOISY]),
        (1, ["switch", 0], None, []),
        (1, False, "half", [MASKLESS]),
        (1, True, "half", [MASKLESS]),  # its advice covers both
        (2, True, "half", []),
    ],
)
def test_noised_that_is_used_wrongly(doors, models, monkeypatch, room, slot, add_noise, mask, expected):
    node = wired(doors, monkeypatch, room, sampler_on(slot, add_noise=add_noise))
    latent = guide("sd15") if mask is None else with_mask(guide("sd15"), mask)
    lines = node.execute(models["sd15"], latent, 0.4, PUBLISHED, 4, 0).ui.as_dict()["text"][0].splitlines()[1:]
    assert len(lines) == len(expected)
    assert all(said.startswith(told) for said, told in zip(lines, expected, strict=True))


@pytest.mark.parametrize("which", ["positive", "negative"])
def test_a_label_for_a_model_with_words_is_told_before_the_sampler_runs(doors, models, monkeypatch, room, which):
    prompt = {**sampler_on(1, **{which: ["label", 0]}), "label": {"class_type": "SketchPriorLabel", "inputs": {}}}
    node = wired(doors, monkeypatch, room, prompt)
    with pytest.raises(ValueError, match=f"{which} of the sampler comes from Pixel Prior Label, but this model reads"):
        node.execute(models["sd15"], guide("sd15"), 0.4, PUBLISHED, 4, 0)
    node.execute(models["pixel"], guide("pixel"), 0.4, PUBLISHED, 4, 0)


def test_lines_without_colours_are_told(doors, models, monkeypatch, room):
    """Where pixels are at hand. A drawing from Load Sketch is judged there, and told there alone; a node that only
    shows a start (`look`) starts no walk."""
    lines, strokes = torch.ones(1, 3, 32, 32), torch.ones(1, 3, 32, 32)
    lines[..., 10:12] = -1
    strokes[:, 0, :, 10:14] = -1
    told = []
    for samples, source in ((lines, "Painter"), (strokes, "Painter"), (lines, "SketchLoader")):
        prompt = sampler_on(1)
        prompt["paint"]["class_type"] = source
        node = wired(doors, monkeypatch, room, prompt)
        text = node.execute(models["pixel"], {"samples": samples}, 0.4, PUBLISHED, 4, 0).ui.as_dict()["text"][0]
        told.append("lines without colours" in text)
    prompt = {"t0": sampler_on(1)["t0"], "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["t0", 2]}}}
    node = wired(doors, monkeypatch, room, prompt)
    text = node.execute(models["pixel"], {"samples": lines}, 0.4, PUBLISHED, 4, 0).ui.as_dict()["text"][0]
    told.append("lines without colours" in text)
    assert told == [True, False, False, False]


def test_noised_carries_no_mask_and_the_input_stays(doors, models):
    latent = {**with_mask(guide("sd15", batch=2), "half"), "batch_index": [4, 7]}
    before = latent["samples"].clone()
    _, noised, look = to_t0(doors, models["sd15"], latent)
    assert "noise_mask" not in noised
    assert "noise_mask" not in look
    assert torch.equal(latent["samples"], before)
    assert "noise_mask" in latent


def test_batch_index_chooses_the_noise(doors, models):
    whole = guide("sd15", batch=1)["samples"].repeat(4, 1, 1, 1)
    all_four = to_t0(doors, models["sd15"], {"samples": whole})[1]["samples"]
    third = to_t0(doors, models["sd15"], {"samples": whole[:1], "batch_index": [2]})[1]["samples"]
    torch.testing.assert_close(third[0], all_four[2])


def test_empty_latent_gets_the_model_s_shape(doors, models):
    empty = {"samples": torch.zeros(1, 4, 8, 8), "downscale_ratio_spacial": 8}
    sigmas, noised, _ = to_t0(doors, models["pixel"], empty, 1.0)
    assert noised["samples"].shape == (1, 3, 64, 64)
    assert "downscale_ratio_spacial" not in noised
    expected = run(models["pixel"], "pixel", named("euler"), sigmas, empty)
    assert torch.equal(run(models["pixel"], "pixel", named("euler"), sigmas, noised, add_noise=False), expected)


def test_latents_with_time_get_noise_of_their_own_shape(doors):
    model = tiny.model("flux")
    model.model.latent_format = type("Video", (type(model.model.latent_format),), {"latent_dimensions": 3})()
    _, noised, look = to_t0(doors, model, guide("flux", batch=2))
    assert noised["samples"].shape == look["samples"].shape == (2, 16, 1, 8, 8)


def test_other_schedulers_are_cut(doors, models):
    import comfy.samplers

    karras = comfy.samplers.calculate_sigmas(models["sd15"].get_model_object("model_sampling"), "karras", 12)
    sigmas = to_t0(doors, models["sd15"], guide("sd15"), 0.5, sigmas=karras)[0]
    assert float(sigmas[0]) == pytest.approx(3.42, abs=0.02)
    assert torch.equal(sigmas[1:], karras[karras < sigmas[0]])


def test_own_time_on_a_patched_schedule(doors, models):
    """Other nodes change a model's schedule by patching model_sampling (ModelSamplingSD3: shift)."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    shifted = ModelSamplingSD3().patch(models["sd3"], 6.0)[0]
    assert float(to_t0(doors, shifted, guide("sd3"), 0.5, meaning=OWN)[0][0]) == pytest.approx(6 * 0.5 / (1 + 5 * 0.5))
    assert float(to_t0(doors, shifted, guide("sd3"), 0.5)[0][0]) == pytest.approx(3.42 / 4.42, abs=1e-3)


def test_sweep(doors, models):
    walks, labels = doors.SketchT0Sweep.execute(models["sd15"], 0.2, 0.6, 5, 8, PUBLISHED).args
    assert labels == ["t0 0.20", "t0 0.30", "t0 0.40", "t0 0.50", "t0 0.60"]
    for walk, t0 in zip(walks, (0.2, 0.3, 0.4, 0.5, 0.6), strict=True):
        assert torch.equal(walk, to_t0(doors, models["sd15"], guide("sd15"), t0, 8)[0])
    assert len(doors.SketchT0Sweep.execute(models["sd15"], 0.2, 0.6, 1, 8, PUBLISHED).args[0]) == 1


# SketchSDESampler


@pytest.mark.parametrize("mask", [None, "half", "soft"])
@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in FLOWS])
def test_small_and_host_is_the_host_s_ddpm(doors, models, family, mask):
    model, latent = models[family], guide(family, batch=2)
    latent = latent if mask is None else with_mask(latent, mask)
    sigmas = to_t0(doors, model, latent, 0.6, 10)[0]
    ours = run(model, family, doors.SketchSDESampler.execute("small", "host")[0], sigmas, latent)
    theirs = run(model, family, named("ddpm"), sigmas, latent)
    assert (ours - theirs).abs().max() < 2e-5 * theirs.abs().max()


@pytest.mark.parametrize("variance", ["small", "large", "VE"])
@pytest.mark.parametrize("family", FAMILIES)
def test_variances_on_every_family(doors, models, family, variance):
    model, latent = models[family], guide(family)
    sampler = doors.SketchSDESampler.execute(variance, "host")[0]
    sigmas = to_t0(doors, model, latent, 0.6, 20)[0]
    out = run(model, family, sampler, sigmas, latent)
    assert torch.isfinite(out).all()
    assert torch.equal(out, run(model, family, sampler, sigmas, latent)), "same seed, same picture"
    assert not torch.equal(out, run(model, family, sampler, sigmas, latent, seed=4))


@pytest.mark.parametrize("family", FLOWS)
def test_flow_from_pure_noise(doors, models, family):
    sigmas = torch.tensor([1.0, 0.9, 0.6, 0.3, 0.0])
    for variance in ("small", "large"):
        sampler = doors.SketchSDESampler.execute(variance, "published")[0]
        assert torch.isfinite(run(models[family], family, sampler, sigmas, with_mask(guide(family), "half"))).all()


# Masks


@pytest.mark.parametrize(("repeats", "kept"), [(1, "host"), (3, "host"), (2, "published")])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 6, 12), (3, 12, 8)])
@pytest.mark.parametrize("family", ["pixel", "sd15", "edm", "flux"])
def test_kept_pixels_come_back_untouched(doors, models, family, shape, repeats, kept):
    model = models[family]
    batch, height, width = shape
    latent = guide(family, batch=batch, height=height, width=width)
    sampler = doors.SketchRepeatSampler.execute(doors.SketchSDESampler.execute("large", kept)[0], repeats)[0]
    sigmas = to_t0(doors, model, latent, 0.6, 3)[0]
    plain = run(model, family, sampler, sigmas, latent)

    everything = run(model, family, sampler, sigmas, with_mask(latent, "kept"))
    torch.testing.assert_close(everything, latent["samples"], rtol=1e-5, atol=1e-6)

    edited = run(model, family, sampler, sigmas, with_mask(latent, "edited"))
    torch.testing.assert_close(edited, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))

    half = run(model, family, sampler, sigmas, with_mask(latent, "half"))
    left, right = half[..., : width // 2], half[..., width // 2 :]
    torch.testing.assert_close(left, latent["samples"][..., : width // 2], rtol=1e-5, atol=1e-6)
    assert (right - latent["samples"][..., width // 2 :]).abs().mean() > 0.01
    assert (right - plain[..., width // 2 :]).abs().mean() > 1e-4, "the kept half must have been seen by the model"


@pytest.mark.parametrize("size", [(8, 8), (32, 24)])
@pytest.mark.parametrize("sampler", ["ddpm", "euler", "dpmpp_2m", "SketchSDESampler"])
def test_kept_pixels_are_the_same_8_bit_values(doors, room, models, sampler, size):
    """As users see it: IMAGE to latent to walk to IMAGE, on a pixel prior."""
    vae = room("host").pixel_vae()
    image = torch.randint(0, 256, (1, *size, 3), generator=torch.Generator().manual_seed(1)) / torch.tensor(255.0)
    latent = with_mask({"samples": vae.encode(image)}, "half")
    inner = doors.SketchSDESampler.execute("small", "published")[0] if sampler == "SketchSDESampler" else named(sampler)
    sampler = doors.SketchRepeatSampler.execute(inner, 2)[0]
    out = vae.decode(run(models["pixel"], "pixel", sampler, to_t0(doors, models["pixel"], latent, 0.5, 4)[0], latent))
    saved, original = ((picture * 255).byte() for picture in (out, image))  # SaveImage cuts fractions off
    kept = slice(0, size[1] // 2)
    assert torch.equal(saved[:, :, kept], original[:, :, kept])
    assert not torch.equal(saved, original)


@pytest.mark.parametrize("family", ["pixel", "sd15", "sd3"])
def test_a_soft_mask_does_not_drift(doors, models, family):
    """With .5 everywhere, each round's pull to the original must come from the first latent. Feeding a sampler its own
    result as the next latent, as a chain of nodes would, loses more of the original in every round."""
    model, latent = models[family], guide(family, batch=2)
    sigmas = to_t0(doors, model, latent, 0.3, 4)[0]
    soft = with_mask(latent, "soft")

    def drift(samples):
        return float((samples - latent["samples"]).std())

    samplers = [doors.SketchRepeatSampler.execute(named("euler"), k)[0] for k in (1, 2, 3)]
    rounds = [drift(run(model, family, sampler, sigmas, soft)) for sampler in samplers]
    chained = soft
    for k in range(3):
        chained = {**soft, "samples": run(model, family, named("euler"), sigmas, chained, seed=3 + k)}
    print(family, "drift by round", rounds, "chained", drift(chained["samples"]))
    assert rounds[2] < 0.9 * drift(chained["samples"])


# SketchRepeatSampler

INNER = ["euler", "dpmpp_2m", "euler_ancestral", "uni_pc", "ddim", "ddpm", "dpmpp_sde", "euler_cfg_pp", "dpm_fast"]


@pytest.mark.parametrize("family", ["sd15", "edm", "flux", "pixel"])
@pytest.mark.parametrize("inner", INNER)
def test_repeats_of_any_sampler(doors, models, family, inner):
    model = models[family]
    latent = with_mask(guide(family, batch=2), "half")
    sigmas = to_t0(doors, model, latent, 0.5, 4)[0]
    plain = run(model, family, named(inner), sigmas, latent)
    once = run(model, family, doors.SketchRepeatSampler.execute(named(inner), 1)[0], sigmas, latent)
    assert torch.equal(once, plain), "repeats 1 is the sampler itself"
    twice = run(model, family, doors.SketchRepeatSampler.execute(named(inner), 2)[0], sigmas, latent)
    assert torch.isfinite(twice).all()
    assert not torch.equal(twice, plain)
    again = run(model, family, doors.SketchRepeatSampler.execute(named(inner), 2)[0], sigmas, latent)
    assert torch.equal(twice, again), "same seed, same picture on a re-queue"


@pytest.mark.parametrize("family", FAMILIES)
def test_two_rounds_are_two_runs(doors, models, room, family):
    """Round 2 is what a second SamplerCustom would do with the first one's result and round 2's seed."""
    model, latent = models[family], guide(family, batch=2)
    sigmas = to_t0(doors, model, latent, 0.5, 4)[0]
    first = run(model, family, named("euler_ancestral"), sigmas, latent, seed=9)
    second_seed = room("samplers.again").own_seed(9, 1)
    expected = run(model, family, named("euler_ancestral"), sigmas, {"samples": first}, seed=second_seed)
    sampler = doors.SketchRepeatSampler.execute(named("euler_ancestral"), 2)[0]
    twice = run(model, family, sampler, sigmas, latent, seed=9)
    assert (twice - expected).abs().max() < 1e-4 * expected.abs().max()


def test_noise_is_fresh_in_every_round_and_step(doors, models, room):
    """Every noise of three rounds, start noises included, recovered from what the callback sees; the host's and other
    packs' samplers have been caught stepping with the very noise they started from."""
    model, latent = models["sd15"], guide("sd15", height=32, width=32)
    sigmas = to_t0(doors, model, latent, 0.5, 3)[0]
    seen = []
    sampler = doors.SketchRepeatSampler.execute(doors.SketchSDESampler.execute("small", "host")[0], 3)[0]
    run_watched(model, sampler, sigmas, latent, lambda i, denoised, x, total: seen.append((x, denoised)))

    family = room("host").noise_family(model)
    result = model.get_model_object("process_latent_in")(latent["samples"])
    noises = []
    for k in range(3):
        noises.append((seen[3 * k][0] - result) / sigmas[0])
        for i in (0, 1):
            (x, denoised), (x_next, _) = seen[3 * k + i : 3 * k + i + 2]
            guess, stay, std = room("samplers.sde").step_factors(
                family, float(sigmas[i]), float(sigmas[i + 1]), "small"
            )
            noises.append((x_next - guess * denoised - stay * x) / std)
        result = seen[3 * k + 2][1]
    noises = torch.stack([noise.flatten() for noise in noises])
    assert noises.shape == (9, latent["samples"].numel())
    assert (noises.std(dim=1) - 1).abs().max() < 0.05
    assert (torch.corrcoef(noises) - torch.eye(9)).abs().max() < 0.08


def run_watched(model, sampler, sigmas, latent, watch, seed=0):
    """A run whose callback sees every step, as SamplerCustom's own does; the host's progress hook skips fast ones."""
    import comfy.sample

    comfy.sample.sample_custom(
        model,
        comfy.sample.prepare_noise(latent["samples"], seed),
        1.0,
        sampler,
        sigmas,
        tiny.cond(),
        tiny.cond(),
        latent["samples"],
        noise_mask=latent.get("noise_mask"),
        callback=watch,
        disable_pbar=True,
        seed=seed,
    )


def progress_of(model, sampler, sigmas, latent):
    """(step, steps) of every callback of one run."""
    steps = []
    run_watched(model, sampler, sigmas, latent, lambda i, denoised, x, total: steps.append((i, total)))
    return steps


@pytest.mark.parametrize("inner", ["euler", "dpmpp_2m", "uni_pc", "SketchSDESampler"])
def test_the_progress_bar_runs_once(doors, models, inner):
    latent = guide("sd15")
    sigmas = to_t0(doors, models["sd15"], latent, 0.5, 4)[0]
    inner = doors.SketchSDESampler.execute("small", "host")[0] if inner == "SketchSDESampler" else named(inner)
    nested = doors.SketchRepeatSampler.execute(inner, 2)[0]
    plain = progress_of(models["sd15"], inner, sigmas, latent)
    steps = progress_of(models["sd15"], doors.SketchRepeatSampler.execute(nested, 2)[0], sigmas, latent)
    assert steps == [(4 * k + i, 16) for k in range(4) for i, _ in plain]


def test_settings_of_the_inner_sampler_reach_every_round(doors, models):
    from comfy_extras.nodes_custom_sampler import SamplerEulerAncestral

    latent = guide("sd15")
    sigmas = to_t0(doors, models["sd15"], latent, 0.5, 4)[0]
    quiet, noisy = (SamplerEulerAncestral.execute(eta, 1.0)[0] for eta in (0.0, 1.0))
    quiet, noisy, euler = (
        run(models["sd15"], "sd15", doors.SketchRepeatSampler.execute(inner, 2)[0], sigmas, latent)
        for inner in (quiet, noisy, named("euler"))
    )
    torch.testing.assert_close(quiet, euler, rtol=1e-4, atol=1e-4)
    assert (noisy - euler).abs().max() > 0.01


def test_only_step_samplers_can_be_repeated(doors):
    import comfy.samplers

    class Whole(comfy.samplers.Sampler):
        pass

    class OwnLoop(comfy.samplers.KSAMPLER):
        def sample(self, *args, **kwargs):
            raise AssertionError

    for sampler in (Whole(), OwnLoop(None)):
        with pytest.raises(ValueError, match=type(sampler).__name__):
            doors.SketchRepeatSampler.execute(sampler, 2)


def test_a_walk_that_does_not_end_cannot_be_repeated(doors, models):
    latent = guide("sd15")
    sigmas = to_t0(doors, models["sd15"], latent, 0.5, 4)[0][:-1]
    with pytest.raises(ValueError, match="not at 0"):
        run(models["sd15"], "sd15", doors.SketchRepeatSampler.execute(named("euler"), 2)[0], sigmas, latent)
    once = run(models["sd15"], "sd15", doors.SketchRepeatSampler.execute(named("euler"), 1)[0], sigmas, latent)
    assert torch.equal(once, run(models["sd15"], "sd15", named("euler"), sigmas, latent))


@pytest.mark.parametrize("kept", ["host", "published"])
def test_cancel_leaves_nothing_behind(doors, models, kept):
    import comfy.model_management

    model, latent = models["sd15"], with_mask(guide("sd15"), "half")
    sigmas = to_t0(doors, model, latent, 0.5, 5)[0]
    sampler = doors.SketchRepeatSampler.execute(doors.SketchSDESampler.execute("small", kept)[0], 3)[0]
    before = run(model, "sd15", sampler, sigmas, latent)
    seen = []

    def press_cancel(i, denoised, x, total):
        seen.append(i)
        comfy.model_management.interrupt_current_processing(len(seen) == 7)

    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run_watched(model, sampler, sigmas, latent, press_cancel)
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert len(seen) == 7, "stopped within one step, in the middle of round 2"
    assert torch.equal(run(model, "sd15", sampler, sigmas, latent), before)


@pytest.mark.parametrize("sampler", ["host", "published"])
def test_beside_core_s_pag_and_nag(doors, models, sampler):
    from comfy_extras.nodes_nag import NAGuidance
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    latent = with_mask(guide("sd15"), "half")
    plain = models["sd15"]
    patched = NAGuidance.execute(PerturbedAttentionGuidance.execute(plain, 3.0)[0], 5.0, 0.5, 1.5)[0]
    sampler = doors.SketchRepeatSampler.execute(doors.SketchSDESampler.execute("small", sampler)[0], 2)[0]
    sigmas = to_t0(doors, patched, latent, 0.5, 4)[0]
    before = run(plain, "sd15", sampler, sigmas, latent, cfg=2.0)
    out = run(patched, "sd15", sampler, sigmas, latent, cfg=2.0)
    assert torch.isfinite(out).all()
    assert not torch.equal(out, before)
    assert torch.equal(run(plain, "sd15", sampler, sigmas, latent, cfg=2.0), before), "the bare model stays bare"


def test_a_model_of_another_size_right_after(doors, models):
    sampler = doors.SketchRepeatSampler.execute(doors.SketchSDESampler.execute("small", "published")[0], 2)[0]
    for family, height, width in (("sd15", 8, 8), ("sd15", 7, 5), ("flux", 5, 9), ("pixel", 24, 16)):
        latent = with_mask(guide(family, height=height, width=width), "half")
        out = run(models[family], family, sampler, to_t0(doors, models[family], latent, 0.5, 3)[0], latent)
        assert out.shape == latent["samples"].shape
