"""Values that no widget and no sound node gives: every one ends in a sentence of ours, before anything runs."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from helpers import tiny
from helpers.gradop_walks import strokes
from helpers.region_walks import SHORT, encoded, lake, mapped
from tools.odd_tensors import call, photo

FALLING = torch.tensor([3.0, 1.0, 0.3, 0.0])
PHOTO = photo()
BAD_SIGMAS = {
    "flipped": (FALLING.flip(0), "must fall from step to step; got 0.3 after 0. Remove Flip Sigmas"),
    "one step up": (torch.tensor([3.0, 0.1, 0.3, 0.0]), "got 0.3 after 0.1"),
    "nan": (torch.tensor([3.0, math.nan, 0.0]), "finite and not negative, got nan"),
    "infinite": (torch.tensor([math.inf, 1.0, 0.0]), "got inf"),
    "negative": (torch.tensor([3.0, 1.0, -1.0]), "got -1"),
    "0 twice": (torch.tensor([3.0, 1.0, 0.0, 0.0]), "reach 0 before their end"),
    "two rows": (torch.stack([FALLING, FALLING]), r"the shape \[2, 4\]"),
}
BAD_PICTURES = {
    "rank 3": torch.rand(8, 8, 3),
    "rank 5": torch.rand(1, 1, 8, 8, 3),
    "two channels": torch.rand(1, 8, 8, 2),
    "channels first": torch.rand(1, 3, 8, 8),
    "no pictures": torch.rand(0, 8, 8, 3),
    "no pixels": torch.rand(1, 0, 8, 3),
    "bytes": torch.zeros(1, 8, 8, 3, dtype=torch.uint8),
    "nan": torch.full((2, 8, 8, 3), math.nan),
    "infinite": torch.full((1, 8, 8, 1), math.inf),
    "nothing": None,
}
BAD_MASKS = {
    "rank 1": torch.rand(8),
    "two channels": torch.rand(1, 2, 8, 8),
    "no pixels": torch.rand(1, 0, 8),
    "nan": torch.full((1, 8, 8), math.nan),
    "nothing": None,
}
BAD_LATENTS = {
    "another model's": ({"samples": torch.rand(1, 16, 8, 8)}, "it has 16 channels, this model 4"),
    "a video": ({"samples": torch.rand(1, 4, 3, 8, 8)}, r"the shape \[1, 4, 3, 8, 8\]"),
    "an empty video": ({"samples": torch.zeros(1, 16, 3, 8, 8)}, "latents have 4 dimensions"),
    "rank 3": ({"samples": torch.rand(4, 8, 8)}, r"the shape \[4, 8, 8\]"),
    "nan": ({"samples": torch.full((1, 4, 8, 8), math.nan)}, "NaN or infinite"),
    "no samples": ({}, "holds no picture"),
    "no pixels": ({"samples": torch.rand(1, 4, 0, 8)}, "holds no picture"),
}


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def nodes(room):
    return {node.GET_SCHEMA().node_id: node for node in room("nodes").NODES}


@pytest.fixture(scope="module")
def flow(loading):
    return tiny.model("sd3")


def with_input(nodes, kind):
    """(node id, input) of every input of this type."""
    return [(key, one) for key, node in nodes.items() for one in node.GET_SCHEMA().inputs if one.get_io_type() == kind]


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "kind"), [(math.nan, "a number"), (math.inf, "a finite number")])
def test_every_float_must_be_a_number(nodes, value, kind):
    inputs = with_input(nodes, "FLOAT")
    assert len(inputs) > 30
    for key, one in inputs:
        with pytest.raises(ValueError, match=f"^{one.id} must be {kind}, got {value}"):
            call(nodes, key, **{one.id: value})


# --- SIGMAS -----------------------------------------------------------------------------------------------------------


def walkers(nodes, vae, reference=None):
    plain = call(nodes, "SketchSDESampler").args[0]
    reference = tiny.latent() if reference is None else reference
    return {
        "sde": plain,
        "jump": call(nodes, "SketchJumpSampler").args[0],
        "travel": call(nodes, "SketchTimeTravelSampler", sampler=plain).args[0],
        "prune": call(nodes, "SketchPruneSampler", sampler=plain).args[0],
        "ilvr": call(nodes, "SketchILVRSampler", reference=reference, grid=2).args[0],
        "repeat": call(nodes, "SketchRepeatSampler", sampler=plain).args[0],
        "gradop": call(
            nodes, "GradOpSolve", vae=vae, painting=strokes(), decoder="linear", rounds=1, gradient_steps=1
        ).args[0],
    }


@pytest.mark.parametrize("kind", BAD_SIGMAS)
def test_sigmas_that_lead_nowhere(nodes, model, vaes, kind):
    sigmas, message = BAD_SIGMAS[kind]
    for name, sampler in walkers(nodes, vaes[4]).items():
        if sigmas.ndim != 1 and name != "repeat":
            continue  # the host itself stops at these before it calls the others
        with pytest.raises(ValueError, match=message):
            tiny.sample(model, sigmas, tiny.latent()["samples"], sampler=sampler)
    with pytest.raises(ValueError, match=message):
        call(nodes, "NoiseToT0", model=model, latent=tiny.latent(), sigmas=sigmas)


@pytest.mark.parametrize("name", ["sde", "jump"])
def test_equal_neighbours_and_single_levels_are_harmless(nodes, model, flow, vaes, name):
    """The host's schedulers repeat a level where there are more steps than levels; Split Sigmas may leave one level."""
    sampler = walkers(nodes, vaes[4])[name]
    for one, family, first in ((model, "sd15", 3.0), (flow, "sd3", 1.0)):
        start = tiny.latent(family)["samples"]
        found = tiny.sample(one, torch.tensor([first, first, 0.5, 0.5, 0.0]), start, sampler=sampler)
        assert found.isfinite().all()
        if name == "sde":
            assert torch.equal(found, tiny.sample(one, torch.tensor([first, 0.5, 0.0]), start, sampler=sampler))
        assert tiny.sample(one, torch.tensor([0.5]), start, sampler=sampler).shape == start.shape


def test_sigmas_above_a_flow(nodes, flow):
    sampler = call(nodes, "SketchSDESampler").args[0]
    with pytest.raises(ValueError, match="begin at 3, but this model is a flow"):
        tiny.sample(flow, FALLING, tiny.latent("sd3")["samples"], sampler=sampler)


def test_a_repeat_without_a_callback(room):
    """Other packs call a SAMPLER's k-diffusion function themselves, whose callback may be None."""
    from comfy.samplers import KSAMPLER

    def step(model, x, sigmas, extra_args, callback, disable):
        callback({"i": 0, "x": x, "denoised": x})
        return x + 1

    repeated = room("samplers.repeat").RepeatSampler(KSAMPLER(step), 1).sampler_function
    assert float(repeated(None, torch.zeros(1), torch.tensor([1.0, 0.0]), {}, None, True)) == 1


# --- IMAGE and MASK ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD_PICTURES)
def test_every_picture_is_checked(nodes, kind):
    inputs = with_input(nodes, "IMAGE")
    assert len(inputs) > 15
    for key, one in inputs:
        if kind == "nothing" and one.optional:
            continue
        others = {"SketchImageMetrics": {"results": PHOTO}, "SketchCanvas": {"painting": "", "photo": ""}}.get(key, {})
        with pytest.raises(ValueError, match=rf"\b{one.id}\b"):
            call(nodes, key, **{**others, one.id: BAD_PICTURES[kind]})


@pytest.mark.parametrize("kind", BAD_MASKS)
def test_every_mask_is_checked(nodes, kind):
    inputs = with_input(nodes, "MASK")
    assert len(inputs) == 2
    for key, one in inputs:
        with pytest.raises(ValueError, match=one.id):
            call(nodes, key, **{one.id: BAD_MASKS[kind]})


def test_grey_is_repeated_and_transparency_dropped(nodes):
    grey = torch.rand(1, 16, 16, 1, generator=torch.Generator().manual_seed(2))
    clear = torch.cat([PHOTO, torch.rand(1, 16, 16, 1)], -1)
    for key, name in (
        ("SketchPhotoToStrokes", "image"),
        ("SketchPhotoToSketch", "image"),
        ("SketchAdaINStyle", "content"),
        ("SketchAdaINStyle", "style"),
        ("SketchContactSheet", "images"),
        ("SketchFaithfulnessReport", "results"),
    ):
        for given, same in ((grey, grey.expand(-1, -1, -1, 3).contiguous()), (clear, PHOTO)):
            found, wanted = (call(nodes, key, **{name: picture}).args[0] for picture in (given, same))
            torch.testing.assert_close(found, wanted, msg=lambda text, where=(key, name): f"{where}: {text}")


def test_masks_of_other_packs(room):
    mask = torch.rand(1, 6, 5)
    for given in (mask, mask[0], mask[:, None]):
        assert torch.equal(room("pictures.fit").as_mask(given), mask)
    assert room("pictures.fit").as_mask(mask > 0.5).dtype == torch.float32


# --- LATENT and CONDITIONING ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD_LATENTS)
def test_latents_of_another_model(nodes, model, clip, kind):
    latent, message = BAD_LATENTS[kind]
    prompt = encoded(clip, SHORT)
    for key, given in (
        ("NoiseToT0", {"model": model}),
        ("ShapeInversion", {"model": model, "decoder": "linear"}),
        ("SketchAttentionMaps", {"model": model, "clip": clip, "conditioning": prompt, "prompt": SHORT}),
    ):
        with pytest.raises(ValueError, match=message):
            call(nodes, key, latent=latent, **given)


def test_empty_latents_of_any_shape_still_fit(nodes, flow):
    """Empty Latent Image has 4 channels; the host gives it those of the model."""
    assert call(nodes, "NoiseToT0", model=flow, latent={"samples": torch.zeros(1, 4, 8, 8)}).args[1][
        "samples"
    ].shape == (*(1, 16, 8, 8),)


def test_samplers_refuse_latents_of_another_model(nodes, model, vaes):
    for sampler in walkers(nodes, vaes[4]).values():
        with pytest.raises(ValueError, match="another model's VAE: it has 16 channels, this model 4"):
            tiny.sample(model, FALLING, tiny.latent("sd3")["samples"], sampler=sampler)
    with pytest.raises(ValueError, match="reference holds no picture"):
        call(nodes, "SketchILVRSampler", reference={})


def test_conditioning_without_a_prompt(nodes, model, clip):
    for conditioning, message in (
        ([], "conditioning is empty"),
        (None, "conditioning is empty"),
        ([[None, {}]], "holds no text"),
        ([[torch.zeros(1, 0, 16), {}]], "text vectors with no numbers"),
        ([[torch.full((1, 77, 16), math.nan), {}]], "text vectors with NaN"),
        ([[torch.zeros(1, 1, 1), {}]], "reads a width of 16"),
        ([[torch.zeros(1, 1, 16), {}]], "1 tokens"),
    ):
        given = {"model": model, "clip": clip, "conditioning": conditioning, "latent": tiny.latent()}
        with pytest.raises(ValueError, match=message):
            call(nodes, "SketchAttentionMaps", phrases="lake", prompt=SHORT, **given)


def test_sdxl_without_a_pooled_output(nodes, room, clip):
    with pytest.raises(ValueError, match="lacks the pooled output"):
        room("nodes.parts.checks").check_conditioning(tiny.model("sdxl"), [[torch.zeros(1, 77, 16), {}]])


WRONG_PROMPTS = {
    "words": ([[torch.zeros(1, 6, 24), {"pooled_output": torch.zeros(1, 16)}]], "text vectors of the shape"),
    "pooled rank": ([[torch.zeros(1, 6, 16), {"pooled_output": torch.zeros(16)}]], "a pooled output of the shape"),
    "pooled": ([[torch.zeros(1, 6, 16), {"pooled_output": torch.zeros(1, 24)}]], "a pooled output of the shape"),
}


@pytest.mark.parametrize("family", ["sd15", "sd15_v", "sdxl", "edm", "sd3", "flux"])
@pytest.mark.parametrize("kind", WRONG_PROMPTS)
def test_prompts_of_another_width(nodes, room, vaes, family, kind):
    """Before torch multiplies matrices that do not fit; where the family has no pooled output, any will do."""
    conditioning, message = WRONG_PROMPTS[kind]
    checks, one = room("nodes.parts.checks"), tiny.model(family)
    if kind.startswith("pooled") and family.startswith("sd15"):
        return checks.check_conditioning(one, conditioning)
    with pytest.raises(ValueError, match=f"{message}.* reads a width of 16"):
        checks.check_conditioning(one, conditioning)
    checks.check_conditioning(one, tiny.cond(batch=2))
    if kind != "words" or family == "sd15_v":
        return None
    start = tiny.latent(family)["samples"]
    sigmas = torch.tensor([1.0, 0.5, 0.0])
    samplers = walkers(nodes, vaes[start.shape[1]], tiny.latent(family))
    eyes = {"vae": vaes[start.shape[1]], "decoder": "linear"}
    pulled = call(nodes, "SketchShapeEnergy", model=one, sketch=PHOTO, **eyes).args[0]
    runs = {name: (pulled if name == "prune" else one, sampler) for name, sampler in samplers.items()}
    runs["an energy"] = (pulled, None)
    for name, (patched, sampler) in runs.items():
        for side in ("positive", "negative"):
            with pytest.raises(ValueError, match=f"^{side} conditioning has text vectors"):
                tiny.sample(patched, sigmas, start, sampler=sampler, cfg=2.0, **{side: conditioning})
        if not name.startswith("an energy"):
            fine = tiny.sample(patched, sigmas, start, sampler=sampler, cfg=1.0, negative=conditioning)
            assert fine.isfinite().all(), f"{name}: CFG 1 never looks at the negative"
    return None


def test_regions_with_the_clip_of_another_model(nodes, room, model):
    doors = room("nodes.regions")
    wide = tiny.model("sd15", network={"context_dim": 24})
    with pytest.raises(ValueError, match=r"The CLIP's conditioning has .* \[1, 77, 16\], but this model reads .* 24"):
        mapped(doors, wide, tiny.clip(), lake(doors))


def test_a_vae_that_is_none_or_another(nodes, model, clip, vaes):
    import comfy.sd

    hollow = comfy.sd.VAE(sd={"nothing": torch.zeros(1)})  # what a checkpoint without a VAE gives
    video = tiny.vae(4)
    video.latent_dim = 3
    given = {"model": model, "sketch": PHOTO}
    picture = {"clip": clip, "conditioning": encoded(clip, SHORT), "latent": tiny.latent(), "phrases": "lake"}
    doors = {
        "encodes": lambda vae: call(nodes, "ShapeInversion", vae=vae, decoder="linear", **given),
        "decodes": lambda vae: call(nodes, "ShapeInversion", vae=vae, decoder="vae", latent=tiny.latent(), **given),
        "shape": lambda vae: call(nodes, "SketchShapeEnergy", vae=vae, decoder="vae", **given),
        "colours": lambda vae: call(
            nodes, "AppearanceEnergyGuidance", model=model, exemplar=PHOTO, vae=vae, decoder="vae"
        ),
        "gradop": lambda vae: tiny.sample(
            model,
            FALLING,
            tiny.latent()["samples"],
            sampler=call(nodes, "GradOpSolve", vae=vae, painting=strokes(), decoder="vae", rounds=1).args[0],
        ),
        "maps": lambda vae: call(nodes, "SketchAttentionMaps", model=model, vae=vae, prompt=SHORT, **picture),
    }
    for name, door in doors.items():
        with pytest.raises(ValueError, match="vae holds no VAE"):
            door(hollow)
        for other, size in ((vaes[16], "16 channels and 2"), (video, "4 channels and 3")):
            with pytest.raises(ValueError, match=f"vae belongs to another model: its latents have {size} dimensions"):
                door(other)
        if name not in ("maps", "encodes"):  # these two say that it is missing in other words, or do without
            with pytest.raises(ValueError, match=r"needs the model's VAE"):
                door(None)
    with pytest.raises(ValueError, match="vae holds no VAE"):
        doors["encodes"](None)


@pytest.mark.parametrize(("height", "width"), [(1, 16), (16, 1), (7, 40)])
def test_a_sketch_below_one_latent_pixel(nodes, model, vaes, height, width):
    sketch = torch.rand(1, height, width, 3)
    with pytest.raises(ValueError, match=f"sketch is {width} x {height} pixels, but this VAE needs 8 or more"):
        call(nodes, "ShapeInversion", model=model, vae=vaes[4], sketch=sketch, decoder="linear")


@pytest.mark.parametrize(("height", "width"), [(16, 1), (1, 16), (3, 1), (2, 9)])
def test_strips_as_references_of_ilvr(nodes, model, height, width):
    """What the host would cut to nothing is refused; any other strip is cut."""
    reference = {"samples": torch.rand(1, 4, height, width)}
    sampler = call(nodes, "SketchILVRSampler", reference=reference, grid=2).args[0]
    if max(height, width) < 16:
        assert tiny.sample(model, FALLING, tiny.latent()["samples"], sampler=sampler).isfinite().all()
        return
    with pytest.raises(ValueError, match=f"reference LATENT is {width} x {height}, too narrow"):
        tiny.sample(model, FALLING, tiny.latent()["samples"], sampler=sampler)


def test_an_empty_batch(nodes, model, vaes):
    for sampler in walkers(nodes, vaes[4]).values():
        with pytest.raises(ValueError, match="holds no picture"):
            tiny.sample(model, FALLING, torch.zeros(0, 4, 8, 8), sampler=sampler)


def test_a_run_without_regions_says_so(room, model, clip, caplog):
    doors = room("nodes.regions")
    patched, prompt = mapped(doors, model, clip, lake(doors))
    plain, start = encoded(clip, SHORT), tiny.latent()["samples"]
    with caplog.at_level(logging.WARNING):
        tiny.sample(patched, FALLING, start, positive=plain, negative=prompt)
        assert "carries regions" not in caplog.text
        tiny.sample(patched, FALLING, start, positive=plain, negative=plain)
    assert caplog.text.count("No prompt in this run carries regions") == 1
