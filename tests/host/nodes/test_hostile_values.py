"""Values that no widget and no sound node gives: every one ends in a sentence of ours, before anything runs."""

from __future__ import annotations

import logging
import math
import random
import traceback

import pytest
import torch

from helpers import PACK, tiny
from helpers.gradop_walks import strokes
from helpers.region_walks import SHORT, encoded, lake, mapped

FALLING = torch.tensor([3.0, 1.0, 0.3, 0.0])
PHOTO = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(1))
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


def call(nodes, key, **given):
    """execute() with the defaults of the widgets, a photo for each IMAGE, and nothing at other sockets."""
    schema = nodes[key].GET_SCHEMA()
    values = {}
    for one in schema.inputs:
        value = getattr(one, "default", None)
        if one.get_io_type() == "COMBO":
            value = value or one.options[0]
        elif one.get_io_type() == "IMAGE" and not one.optional:
            value = PHOTO
        elif one.get_io_type() == "STRING" and not one.optional:
            value = value or "words"
        if value is not None or not one.optional:
            values[one.id] = value
    values |= given
    if schema.is_input_list:
        values = {name: [value] for name, value in values.items()}
    return nodes[key].execute(**values)


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
        others = {"results": PHOTO} if key == "SketchImageMetrics" else {}
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
    runs = {**{name: (one, sampler) for name, sampler in samplers.items()}, "an energy": (pulled, None)}
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


def test_a_run_without_regions_says_so(room, model, clip, caplog):
    doors = room("nodes.regions")
    patched, prompt = mapped(doors, model, clip, lake(doors))
    plain, start = encoded(clip, SHORT), tiny.latent()["samples"]
    with caplog.at_level(logging.WARNING):
        tiny.sample(patched, FALLING, start, positive=plain, negative=prompt)
        assert "carries regions" not in caplog.text
        tiny.sample(patched, FALLING, start, positive=plain, negative=plain)
    assert caplog.text.count("No prompt in this run carries regions") == 1


# --- odd tensors of every kind ----------------------------------------------------------------------------------------


def odd(rng, shape):
    """A tensor near this shape: sizes, rank, type and values may be off."""
    shape = list(shape)
    for _ in range(rng.choice((0, 1, 1, 2))):
        what = rng.choice(("size", "drop", "add"))
        if what == "size" and shape:
            shape[rng.randrange(len(shape))] = rng.choice((0, 1, 2, 3, 4, 5, 7, 16))
        elif what == "drop" and shape:
            del shape[rng.randrange(len(shape))]
        else:
            shape.insert(rng.randrange(len(shape) + 1), rng.choice((1, 2, 3)))
    kinds = (torch.float32, torch.float32, torch.float16, torch.float64, torch.bfloat16, torch.uint8, torch.bool)
    made = (
        torch.rand(shape, generator=torch.Generator().manual_seed(rng.randrange(2**31))) * rng.choice((1, 1, 300))
    ).to(rng.choice(kinds))
    if made.numel() and made.is_floating_point() and rng.random() < 0.2:
        made.view(-1)[rng.randrange(made.numel())] = rng.choice((math.nan, math.inf, -math.inf))
    return made


def test_odd_tensors(nodes, model, vaes):
    """400 of them: a result, or a ValueError that our own code raises."""
    rng, refused, faults = random.Random(7), 0, []
    samplers = walkers(nodes, vaes[4])
    doors = [
        lambda: call(nodes, "SketchPhotoToStrokes", image=odd(rng, (1, 12, 9, 3)), median_size=3),
        lambda: call(nodes, "SketchPhotoToSketch", image=odd(rng, (1, 12, 9, 3))),
        lambda: call(nodes, "SketchPaintRegion", mask=odd(rng, (1, 8, 8))),
        lambda: call(nodes, "SketchRegionsFromStrokes", image=odd(rng, (1, 8, 8, 3)), tolerance=1.0, legend=""),
        lambda: call(nodes, "SketchAdaINStyle", content=odd(rng, (1, 9, 8, 3)), style=odd(rng, (1, 8, 9, 3))),
        lambda: call(nodes, "SketchContactSheet", images=odd(rng, (1, 9, 8, 3)), cell=32),
        lambda: call(nodes, "SketchFaithfulnessReport", results=odd(rng, (1, 9, 8, 3)), mask=odd(rng, (1, 8, 8))),
        lambda: call(nodes, "SketchShapeEnergy", model=model, sketch=odd(rng, (1, 8, 8, 3)), decoder="linear"),
        lambda: call(nodes, "NoiseToT0", model=model, latent={"samples": odd(rng, (1, 4, 8, 8))}),
        lambda: call(nodes, "NoiseToT0", model=model, latent=tiny.latent(), sigmas=odd(rng, (2,))),
        lambda: tiny.sample(model, odd(rng, (3,)), tiny.latent()["samples"], sampler=samplers["sde"]),
        lambda: tiny.sample(
            model,
            FALLING,
            tiny.latent()["samples"],
            sampler=call(nodes, "SketchILVRSampler", reference={"samples": odd(rng, (1, 4, 8, 8))}, grid=2).args[0],
        ),
    ]
    for number in range(400):
        try:
            doors[number % len(doors)]()
        except Exception as error:
            frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
            ours = [name.startswith(str(PACK)) and not name.startswith(str(PACK / "tests")) for name in frames]
            refused += 1
            if any(ours) and not (isinstance(error, ValueError) and ours[-1]):
                faults.append((number, number % len(doors), repr(error), frames[-1]))
    assert not faults, "\n".join(map(str, faults))
    assert refused > 100
