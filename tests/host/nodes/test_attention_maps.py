"""SketchAttentionMaps: the maps that the host's own attention uses, and nothing kept of looking at them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helpers import tiny

PROMPT = "a lake and a tree"  # lake is token 2, tree token 5
BLOCKS = [("input", i) for i in range(12)] + [("middle", 0)] + [("output", i) for i in range(12)]


@pytest.fixture(scope="module")
def doors(room):
    return room("nodes.regions")


@torch.inference_mode()
def maps(doors, model, clip, phrases="lake\ntree", conditioning=None, prompt=PROMPT, levels=2, **more):
    if conditioning is None:
        conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(PROMPT))
    latent = more.pop("latent", tiny.latent())
    return doors.SketchAttentionMaps.execute(
        model, clip, conditioning, latent, phrases, levels, 3, prompt=prompt, **more
    ).args


def by_hand(model, clip, levels):
    """Mean of the maps of tokens 2 and 5 over heads, layers and levels, from a written-out softmax: [2, 8, 8]."""
    found = []

    def attention(q, k, v, options):
        heads = options["n_heads"]
        q2, k2, v2 = (x.double().unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        shares = (q2 @ k2.transpose(-1, -2) / q2.shape[-1] ** 0.5).softmax(-1)
        grid = tuple(options["activations_shape"][2:])
        heat = shares[:, :, :, [2, 5]].mean((0, 1)).T.unflatten(1, grid)
        found.append(F.interpolate(heat[None], (8, 8), mode="bilinear")[0])
        return (shares @ v2).transpose(1, 2).flatten(2).to(q.dtype)

    patched = model.clone()
    for block in BLOCKS:
        patched.set_model_attn2_replace(attention, *block)
    table = model.get_model_object("model_sampling").sigmas
    prompt = clip.encode_from_tokens_scheduled(clip.tokenize(PROMPT))
    for number in range(levels):
        sigma = table[round(1000 * (levels - number) / (levels + 1)) - 1]
        tiny.sample(
            patched,
            torch.stack([sigma, torch.zeros(())]),
            tiny.latent()["samples"],
            positive=prompt,
            negative=prompt,
            seed=3,
        )
    return torch.stack(found).mean(0).float()


def test_they_are_the_models_own_maps(doors, model, clip):
    _, masks = maps(doors, model, clip)
    expected = F.interpolate(by_hand(model, clip, 2)[None], (64, 64), mode="bilinear")[0]
    low, high = (getattr(expected, way)((1, 2), keepdim=True) for way in ("amin", "amax"))
    assert torch.allclose(masks, (expected - low) / (high - low), atol=1e-3)


def test_shapes_ranges_and_pictures(doors, model, clip):
    vae = tiny.vae()
    heat, masks = maps(doors, model, clip, "lake\n\n tree \na lake", vae=vae)
    assert masks.shape == (3, 64, 64)
    assert masks.amin((1, 2)).tolist() == [0, 0, 0]
    assert masks.amax((1, 2)).tolist() == [1, 1, 1]
    assert heat.shape == (3, 512, 512, 3)
    picture = torch.rand(1, 90, 64, 3)
    assert not torch.equal(maps(doors, model, clip, "lake", image=picture)[0], heat[:1])
    (region,) = doors.SketchPaintRegion.execute(masks[:1], "lake", 1.0).args[0]
    assert torch.equal(region.mask, masks[:1])


def test_a_steered_prompt_shows_its_steered_maps(doors, model, clip):
    """At kappa 1 nothing is left outside of the region; the words are known from the conditioning."""
    mask = torch.zeros(1, 8, 8)
    mask[:, 4:, :4] = 1
    regions = doors.SketchPaintRegion.execute(mask, "lake", 1.0).args[0]
    settings = (1.0, "constant", 0.0, 0.5, "GradOP")
    patched, conditioning = doors.CrossAttnRegionMap.execute(model, clip, PROMPT, regions, *settings).args
    _, masks = maps(doors, patched, clip, conditioning=conditioning, prompt="")
    assert masks[0, 44:, :20].min() > 0.9
    assert masks[0, :20].max() == 0
    assert masks[1, :20].max() > 0.3, "the tree is where it was"


def test_looking_leaves_nothing_behind(doors, model, clip):
    conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(PROMPT))
    keys, wrappers = set(conditioning[0][1]), repr(model.wrappers)
    first, second = (maps(doors, model, clip, conditioning=conditioning) for _ in range(2))
    assert torch.equal(first[1], second[1])
    assert set(conditioning[0][1]) == keys
    assert repr(model.wrappers) == wrappers
    assert "optimized_attention_override" not in model.model_options["transformer_options"]


@pytest.mark.parametrize("family", ["sdxl", "edm"])
def test_other_families(doors, family):
    model, clip = tiny.model(family, network={"adm_in_channels": 8 + 1536}), tiny.clip("sdxl")
    conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(PROMPT))
    _, masks = maps(doors, model, clip, conditioning=conditioning)
    assert torch.isfinite(masks).all()
    assert masks.shape == (2, 64, 64)


def test_cancel_is_heard(doors, model, clip):
    import comfy.model_management
    import comfy.utils

    stop = comfy.model_management.InterruptProcessingException
    before, heard = comfy.utils.PROGRESS_BAR_HOOK, []

    def interrupted(value, *_, **__):
        heard.append(value)
        raise stop

    comfy.utils.set_progress_bar_global_hook(interrupted)
    try:
        with pytest.raises(stop):
            maps(doors, model, clip, levels=5)
    finally:
        comfy.utils.set_progress_bar_global_hook(before)
    assert len(heard) == 1
    maps(doors, model, clip)


@pytest.mark.parametrize("encoder", ["sd15", "sdxl", "starter"])
def test_another_text_of_the_same_length_is_refused(room, encoder):
    words = room("guidance.regions.words")
    if encoder == "starter":
        nodes = room("nodes.starter")
        with torch.inference_mode():
            clip = nodes.SketchStarterModels.execute(next(iter(nodes.SETS))).result[1]
    else:
        clip = tiny.clip(encoder)
    long = "view of snowy mountains, " * 20 + "a lake"

    def found(made_of, prompt, by=clip):
        with torch.inference_mode():
            return words.find_phrases(clip, by.encode_from_tokens_scheduled(by.tokenize(made_of)), prompt, ["lake"])

    assert found(PROMPT, PROMPT) == [(2,)]
    assert found("a (lake:1.4) and a tree", PROMPT) == [(2,)], "weights are not words"
    assert found(long, long)
    for made_of, prompt in (("a hut and a tree", PROMPT), (long.replace("lake", "hut"), long), (long, long[5:])):
        with pytest.raises(ValueError, match="not made from the text"):
            found(made_of, prompt)
    if encoder == "sd15":  # what it has not made itself, it cannot judge
        skipped, other = clip.clone(), tiny.clip(seed=1)
        skipped.clip_layer(-2)
        assert found(PROMPT, PROMPT, skipped) == found(PROMPT, PROMPT, other) == [(2,)]
    if encoder == "sdxl":  # and two texts are one to each of SDXL's encoders
        tokens = {"l": clip.tokenize("a hut and a tree")["l"], "g": clip.tokenize(PROMPT)["g"]}
        with torch.inference_mode():
            assert words.find_phrases(clip, clip.encode_from_tokens_scheduled(tokens), PROMPT, ["lake"]) == [(2,)]


def test_a_conditioning_that_is_switched_off_says_so(doors, model, clip, host_nodes):
    conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(PROMPT))
    ranged = host_nodes.ConditioningSetTimestepRange().set_range
    with pytest.raises(ValueError, match="timestep range"):
        maps(doors, model, clip, conditioning=ranged(conditioning, 0.95, 1.0)[0])
    _, masks = maps(doors, model, clip, conditioning=ranged(conditioning, 0.5, 1.0)[0])
    assert masks.shape == (2, 64, 64), "one of the two levels is within"


def test_bad_input(doors, model, clip):
    with pytest.raises(ValueError, match="one phrase per line"):
        maps(doors, model, clip, " \n")
    with pytest.raises(ValueError, match="does not contain: cow"):
        maps(doors, model, clip, "lake\ncow")
    with pytest.raises(ValueError, match="77 tokens, but its prompt has 0"):
        maps(doors, model, clip, prompt="")
    with pytest.raises(ValueError, match="one picture, got 2"):
        maps(doors, model, clip, latent=tiny.latent(batch=2))
    several = [clip.encode_from_tokens_scheduled(clip.tokenize(text))[0] for text in (PROMPT, "very " * 90)]
    with pytest.raises(ValueError, match="several prompts"):
        maps(doors, model, clip, conditioning=several)
    with pytest.raises(ValueError, match="HunyuanImage21 models mix all words"):
        maps(doors, tiny.model("hunyuan_image"), clip, latent=tiny.latent("hunyuan_image"))


def test_transformers_show_any_phrase_beside_the_prompt(doors, clip):
    """Those of the prompt or others. No text of the prompt is needed."""
    model, latent = tiny.model("flux"), tiny.latent("flux")
    heat, masks = maps(doors, model, clip, "lake\na wooden hut", latent=latent, prompt="", levels=1)
    assert heat.shape[0] == 2
    assert masks.amin((1, 2)).tolist() == [0, 0]
    assert masks.amax((1, 2)).tolist() == [1, 1]
    assert not torch.equal(masks[0], masks[1])
