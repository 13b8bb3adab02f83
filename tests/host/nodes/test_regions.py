"""Words in painted regions, in the host: what is pulled, and everything that must stay as it is."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch

from helpers import tiny
from helpers.region_walks import SHORT, SIGMAS, by_hand, close, encoded, lake, latent, left, mapped, share_of_time, walk

LONG = " ".join(["very"] * 80) + " big lake"  # two chunks
REAL_LAYOUT = {  # SD1.5's four levels, narrow: the middle block of 448x704 has 7x11 = 77 pixels
    "channel_mult": [1, 1, 2, 2],
    "num_res_blocks": [1, 1, 1, 1],
    "transformer_depth": [0, 0, 1, 0],  # not at full size, where a self-attention takes seconds
    "transformer_depth_output": [0, 0, 0, 0, 1, 1, 0, 0],
}
SDXL = {"adm_in_channels": 8 + 1536}


@pytest.fixture(scope="module")
def doors(room):
    return room("nodes.regions")


# --- what is pulled ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd15", "sd15_v", "sdxl"])
def test_the_equation_in_every_layer(doors, clip, family):
    model = tiny.model(family, network=SDXL if family == "sdxl" else None)
    encoder = tiny.clip("sdxl") if family == "sdxl" else clip
    negative = encoded(encoder, "ugly")
    regions = lake(doors, weight=1.5)
    patched, positive = mapped(doors, model, encoder, regions, schedule="t/T", strength=0.9)
    table = model.get_model_object("model_sampling").sigmas
    reference = by_hand(model, {2: (left(), 1.5)}, kappa=lambda sigma: 0.9 * share_of_time(sigma, table))
    sigmas = torch.cat([table[[900, 600, 200]], torch.zeros(1)])
    results = [
        walk(m, p, negative, sigmas=sigmas)
        for m, p in ((patched, positive), (reference, positive), (model, encoded(encoder, SHORT)))
    ]
    close(*results)


def test_two_regions_soft_and_overlapping(doors, model, clip):
    soft = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(3))
    regions = doors.SketchPaintRegion.execute(soft, "tree", 0.5, lake(doors)).args[0]
    patched, positive = mapped(doors, model, clip, regions)
    reference = by_hand(model, {2: (left(), 1.0), 5: (soft, 0.5)}, kappa=lambda _: 0.7)
    negative = encoded(clip, "")
    close(*(walk(m, positive, negative) for m in (patched, reference, model)))


def test_paint_with_words_draws_attention_into_the_region(doors, room, model, clip):
    patched, positive = mapped(doors, model, clip, lake(doors), method="paint with words", strength=1.0)
    negative = encoded(clip, "")
    changed = walk(patched, positive, negative)
    assert torch.isfinite(changed).all()
    assert (changed - walk(model, positive, negative)).abs().max() > 1e-3
    patched, positive = mapped(doors, model, clip, lake(doors), method="paint with words", strength=0.0)
    assert torch.equal(walk(patched, positive, negative), walk(model, positive, negative))


def test_the_gain_of_paint_with_words(doors, room, model, clip, monkeypatch):
    seen = []
    machine = room("guidance.regions.patch")
    original = machine.paint
    monkeypatch.setattr(machine, "paint", lambda *given: seen.append(given[-1]) or original(*given))
    patched, positive = mapped(doors, model, clip, lake(doors), method="paint with words", strength=0.5)
    walk(patched, positive, positive, cfg=1.0)
    expected = (0.4 * 0.5 * torch.log1p(SIGMAS[:-1])).tolist()
    assert seen[:: len(seen) // len(expected)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["t/T", "constant", "window"])
def test_kappa_of_every_step(doors, room, model, clip, monkeypatch, schedule):
    seen = []
    machine = room("guidance.regions.patch")
    original = machine.pull
    monkeypatch.setattr(machine, "pull", lambda *given: seen.append(given[-1]) or original(*given))
    patched, positive = mapped(doors, model, clip, lake(doors), schedule=schedule, strength=0.5, start=0.2, end=0.6)
    table = model.get_model_object("model_sampling").sigmas
    sigmas = torch.cat([table[[999, 499, 99]], torch.zeros(1)])
    walk(patched, positive, positive, sigmas=sigmas, cfg=1.0)
    expected = {"t/T": [0.5, 0.25, 0.05], "constant": [0.5] * 3, "window": [0.5]}[schedule]
    layers = len(seen) // len(expected)
    assert layers > 2
    assert seen[::layers] == pytest.approx(expected)


# --- what must not change ---------------------------------------------------------------------------------------------

NOTHING = {
    "strength 0": {"strength": 0.0},
    "a window that is over": {"schedule": "window", "start": 0.0, "end": 0.02},
}


@pytest.mark.parametrize("settings", NOTHING.values(), ids=NOTHING)
def test_nothing_asked_changes_no_bit(doors, model, clip, settings):
    patched, positive = mapped(doors, model, clip, lake(doors), **settings)
    plain, negative = encoded(clip, SHORT), encoded(clip, "ugly")
    assert torch.equal(positive[0][0], plain[0][0]), "a prompt that has the words is encoded as it is"
    assert torch.equal(walk(patched, positive, negative), walk(model, plain, negative))


@pytest.mark.parametrize("method", ["GradOP", "paint with words"])
def test_an_empty_mask_changes_no_bit(doors, model, clip, method):
    empty = lake(doors, torch.zeros(1, 16, 16), weight=3.0)
    patched, positive = mapped(doors, model, clip, empty, method=method)
    assert torch.equal(walk(patched, positive, positive), walk(model, positive, positive))


def test_no_regions_is_the_prompt_alone(doors, model, clip):
    patched, positive = mapped(doors, model, clip, ())
    plain = encoded(clip, SHORT)
    assert torch.equal(walk(patched, positive, plain), walk(model, plain, plain))


def test_other_prompts_on_the_model_stay_as_they_are(doors, model, clip):
    patched, positive = mapped(doors, model, clip, lake(doors))
    plain, other = encoded(clip, "a lake"), encoded(clip, "ugly lake")
    assert torch.equal(walk(patched, plain, other), walk(model, plain, other))
    seen = []

    def watch(arguments):
        seen.append((arguments["cond_denoised"], arguments["uncond_denoised"]))
        return arguments["denoised"]

    for one in (patched, model):
        watched = one.clone()
        watched.set_model_sampler_post_cfg_function(watch)
        walk(watched, positive, other, sigmas=SIGMAS[:2])
    (cond, uncond), (plain_cond, plain_uncond) = seen
    assert torch.equal(uncond, plain_uncond)
    assert (cond - plain_cond).abs().max() > 1e-3


def test_regions_may_ride_on_the_negative(doors, model, clip):
    patched, negative = mapped(doors, model, clip, lake(doors))
    positive = encoded(clip, "a tree")
    reference = by_hand(model, {2: (left(), 1.0)}, kappa=lambda _: 0.7, who=1)
    results = [walk(m, positive, negative) for m in (patched, reference, model)]
    close(*results)


def test_two_region_prompts_in_one_graph(doors, model, clip):
    first, one = mapped(doors, model, clip, lake(doors))
    both, two = mapped(doors, first, clip, lake(doors, 1 - left(), phrase="tree"), strength=0.4)
    negative = encoded(clip, "")
    alone, other = mapped(doors, model, clip, lake(doors, 1 - left(), phrase="tree"), strength=0.4)
    assert torch.equal(walk(both, one, negative), walk(first, one, negative))
    assert torch.equal(walk(both, two, negative), walk(alone, other, negative))
    together = walk(both, one + two, negative)
    assert (together - walk(model, one + two, negative)).abs().max() > 1e-3


def test_the_models_and_the_conditioning_are_left_alone(doors, model, clip):
    before = walk(model, encoded(clip, SHORT), encoded(clip, ""))
    keys = repr(sorted(model.model_options["transformer_options"])), repr(model.wrappers)
    patched, positive = mapped(doors, model, clip, lake(doors))
    options = repr(patched.model_options)
    walk(patched, positive, positive)
    assert repr(patched.model_options) == options, "nothing of a run stays on the patch"
    assert (repr(sorted(model.model_options["transformer_options"])), repr(model.wrappers)) == keys
    assert torch.equal(walk(model, encoded(clip, SHORT), encoded(clip, "")), before)


# --- prompts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region_is", ["short", "long"])
def test_short_and_long_prompts_batched(doors, model, clip, region_is):
    """The host repeats the 77 tokens to 154 when both prompts run in one batch."""
    prompt, other = (SHORT, LONG) if region_is == "short" else (LONG, SHORT)
    patched, positive = mapped(doors, model, clip, lake(doors), prompt)
    negative = encoded(clip, other)
    lengths = positive[0][0].shape[1], negative[0][0].shape[1]
    assert sorted(lengths) == [77, 154]
    place = 2 if region_is == "short" else positive[0][1]["sketch_regions"].regions[0].positions[0]
    reference = by_hand(model, {place: (left(), 1.0)}, kappa=lambda _: 0.7, tokens=lengths[0])
    calls = []
    hook = model.model.diffusion_model.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(kwargs["context"].shape), with_kwargs=True
    )
    results = [walk(m, positive, negative) for m in (patched, reference, model)]
    hook.remove()
    assert {shape[:2] for shape in calls} == {(2, 154)}, "one batch of both prompts"
    close(*results)


def test_words_with_weights_over_chunks_and_repeated(doors, model, clip):
    tokens = room_tokens(clip, LONG)
    _, positive = mapped(doors, model, clip, lake(doors, phrase="big lake"), LONG)
    big, water = positive[0][1]["sketch_regions"].regions[0].positions
    assert (tokens[big], tokens[water]) == tuple(room_tokens(clip, "big lake")[1:3])
    assert water - big == 1
    assert big > 77
    straddling = " ".join(["very"] * 74) + " big lake, (lake:1.3)"
    _, positive = mapped(doors, model, clip, lake(doors, phrase="big lake"), straddling)
    assert positive[0][1]["sketch_regions"].regions[0].positions == (75, 78), "an end and a start stand in between"
    _, positive = mapped(doors, model, clip, lake(doors), straddling)
    assert len(positive[0][1]["sketch_regions"].regions[0].positions) == 2
    _, positive = mapped(doors, model, clip, lake(doors, phrase="big lake"), "a (very (big lake:1.2):0.9)")
    assert positive[0][1]["sketch_regions"].regions[0].positions == (3, 4)


def room_tokens(clip, prompt):
    return [token for chunk in clip.tokenize(prompt)["l"] for token, _ in chunk]


def test_a_missing_phrase_is_appended_and_said(doors, model, clip):
    node = doors.CrossAttnRegionMap.execute(
        model, clip, "a tree", lake(doors, phrase="snowy lake"), 0.7, "constant", 0.0, 0.5, "GradOP"
    )
    assert torch.equal(node.args[1][0][0], encoded(clip, "a tree, snowy lake")[0][0])
    assert "a tree, snowy lake" in str(node.ui.as_dict())


@pytest.fixture(scope="module")
def starter(room):
    nodes = room("nodes.starter")
    with torch.inference_mode():
        return nodes.SketchStarterModels.execute(next(iter(nodes.SETS))).result[:3]


@pytest.mark.parametrize("phrase", ["castle", "snowy castle", "wizard"])
def test_words_that_the_starter_does_not_know_are_refused(doors, starter, phrase):
    """To its tokenizer a castle, a dragon and a wizard are one word."""
    model, clip, _ = starter
    with pytest.raises(ValueError, match=f"does not know every word of '{phrase}'"):
        mapped(doors, model, clip, lake(doors, phrase=phrase), "a castle, a dragon by a lake")
    _, found = mapped(doors, model, clip, lake(doors), "a castle, a dragon by a lake")
    assert found[0][1]["sketch_regions"].regions[0].positions == (8,)


def test_an_empty_mask_is_said(doors, model, clip):
    regions = lake(doors, torch.zeros(1, 64, 64))  # what Load Image gives for a picture without transparency
    regions = doors.SketchPaintRegion.execute(left(), "tree", 1.0, regions).args[0]
    node = doors.CrossAttnRegionMap.execute(model, clip, SHORT, regions, 0.7, "constant", 0.0, 0.5, "GradOP")
    (text,) = node.ui.as_dict()["text"]
    assert text.splitlines() == ["lake: token 2, but its mask is empty: no effect", "tree: token 5"]


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_self_attention_with_77_keys_is_none_of_ours(doors, clip):
    """448x704: the middle block has 7x11 pixels, as many as the prompt has tokens."""
    model = tiny.model("sd15", network=REAL_LAYOUT)
    grids = set()
    patched, positive = mapped(doors, model, clip, lake(doors, left(56, 88)))
    patched.set_model_attn1_output_patch(lambda n, options: grids.add(n.shape[1]) or n)
    reference = by_hand(model, {2: (left(56, 88), 1.0)}, kappa=lambda _: 0.7)
    settings = {"latent": latent(56, 88), "sigmas": SIGMAS[1:]}
    results = [walk(m, positive, encoded(clip, ""), **settings) for m in (patched, reference, model)]
    assert 77 in grids
    close(*results)


def test_a_second_pass_at_another_size(doors, model, clip):
    patched, positive = mapped(doors, model, clip, lake(doors, left(64, 64)))
    for size in (8, 12, 9):
        found = walk(patched, positive, positive, latent=latent(size, size))
        fresh, again = mapped(doors, model, clip, lake(doors, left(64, 64)))
        assert torch.equal(found, walk(fresh, again, again, latent=latent(size, size)))


def test_batches(doors, model, clip):
    masks = torch.cat([left(), 1 - left()])
    patched, positive = mapped(doors, model, clip, lake(doors, masks))
    negative, noise = encoded(clip, ""), torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    both = walk(patched, positive, negative, latent=latent(batch=2), noise=noise)
    for i in range(2):
        one, alone = mapped(doors, model, clip, lake(doors, masks[i : i + 1]))
        single = walk(one, alone, negative, latent=latent(batch=2)[i : i + 1], noise=noise[i : i + 1])
        assert (both[i : i + 1] - single).abs().max() < 1e-5 * single.abs().max()
    with pytest.raises(ValueError, match="batch of 2"):
        walk(patched, positive, negative, latent=latent(batch=3))
    one, alone = mapped(doors, model, clip, lake(doors))
    assert torch.isfinite(walk(one, alone, negative, latent=latent(batch=3))).all(), "one mask serves all"


def test_an_area_takes_its_part_of_the_mask_and_no_other_prompt(doors, model, clip, all_nodes):
    """The host gives the negative a copy of the positive's area, with all that rides on it."""
    patched, positive = mapped(doors, model, clip, lake(doors, left(64, 64, 0.25)))
    (half,) = all_nodes["ConditioningSetArea"]().append(positive, 32, 64, 0, 0, 1.0)
    area_mask = left(64, 32, 0.5)  # what lies in the left half of the picture
    reference = by_hand(model, {2: (area_mask, 1.0)}, kappa=lambda _: 0.7)
    other, negative = encoded(clip, "a big tree"), encoded(clip, "a lake and a bad tree")
    reference_prompt = [[half[0][0], {k: v for k, v in half[0][1].items() if "sketch" not in k}]]
    plain = walk(model, reference_prompt, negative)
    close(walk(patched, half, negative), walk(reference, reference_prompt, negative), plain)
    assert torch.isfinite(walk(patched, half + other, negative)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(doors, clip, dtype):
    insists = lake(doors, weight=4.0)
    moved = []
    for one in (tiny.model("sd15", dtype=dtype), tiny.model("sd15")):
        patched, positive = mapped(doors, one, clip, insists)
        moved.append((walk(patched, positive, positive) - walk(one, positive, positive)).flatten())
    assert torch.isfinite(moved[0]).all()
    assert torch.cosine_similarity(*moved, dim=0) > 0.8


# --- doors ------------------------------------------------------------------------------------------------------------


def strokes():
    image = torch.zeros(1, 16, 16, 3)
    image[:, :, :8, 2] = 1
    image[:, :, 8:, 1] = 128 / 255
    return image


def test_regions_from_strokes(doors):
    node = doors.SketchRegionsFromStrokes
    regions, preview, legend = node.execute(strokes(), "blue: lake\ngreen: (fir trees)", 0.1, 0.0).args
    assert [(one.phrase, float(one.mask.mean())) for one in regions] == [("lake", 0.5), ("(fir trees)", 0.5)]
    assert torch.equal(regions[0].mask, left())
    assert preview.shape == (1, 512, 512, 3)
    assert [line.split(":")[0] for line in legend.splitlines()] == ["#0000ff", "#008000"]


def test_an_empty_legend_proposes_the_palette(doors):
    made = doors.SketchRegionsFromStrokes.execute(strokes(), "", 0.1, 0.0)
    assert made.args[0] == ()
    assert "#0000ff:  # 50% of the painting" in str(made.ui.as_dict())
    filled = made.args[2].replace("#0000ff:", "#0000ff: lake")
    (region,) = doors.SketchRegionsFromStrokes.execute(strokes(), filled, 0.1, 0.0).args[0]
    assert region.phrase == "lake"


def test_a_colour_that_is_not_there(doors):
    node = doors.SketchRegionsFromStrokes
    made = node.execute(strokes(), "blue: lake\nred: sun", 0.1, 0.0)
    assert [one.phrase for one in made.args[0]] == ["lake"]
    assert "sun: colour not found" in str(made.ui.as_dict())
    with pytest.raises(ValueError, match="#008000"):
        node.execute(strokes(), "red: sun", 0.1, 0.0)


def test_a_legend_is_enough_for_a_painting_without_flat_colours(doors):
    node = doors.SketchRegionsFromStrokes
    noise = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    regions, _, proposal = node.execute(noise, "gray: lake", 0.05, 0.0).args
    assert [one.phrase for one in regions] == ["lake"]
    assert proposal == ""
    with pytest.raises(ValueError, match="no flat colours"):
        node.execute(noise, "#fff:", 0.05, 0.0)
    with pytest.raises(ValueError, match="Photo to Strokes"):
        node.execute(noise * 0.5, "white: snow", 0.01, 0.0)
    with pytest.raises(ValueError, match="blurple"):
        node.execute(noise, "blurple: lake", 0.05, 0.0)


def test_bad_input(doors, model, clip):
    with pytest.raises(ValueError, match="words"):
        doors.SketchPaintRegion.execute(left(), " ", 1.0)
    with pytest.raises(ValueError, match="no text encoder"):
        mapped(doors, model, None, lake(doors))
    with pytest.raises(ValueError, match="in a way that is not known, so regions"):
        mapped(doors, SimpleNamespace(get_model_object=lambda _: None, model=model.model), clip, lake(doors))


BAD_TEXTS = {
    "half an emoji": ("a \ud83d lake", "half of a character"),
    "broken bytes": ("a \udcff lake", "half of a character"),
    "nested": ("(" * 5000 + "lake" + ")" * 5000, "nested 5000 deep, 400 at most"),
    "never closed": ("(" * 401 + "lake", "nested 401 deep"),
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_texts_that_tokenizers_fail_at(doors, model, clip, kind):
    text, message = BAD_TEXTS[kind]
    with pytest.raises(ValueError, match=message):
        mapped(doors, model, clip, lake(doors), prompt=text)
    with pytest.raises(ValueError, match=message):
        mapped(doors, model, clip, lake(doors, phrase=text))
    for prompt, phrases in ((text, "lake"), (SHORT, text)):
        with pytest.raises(ValueError, match=message):
            doors.SketchAttentionMaps.execute(
                model, clip, encoded(clip, SHORT), tiny.latent(), phrases, 1, 0, prompt=prompt
            )


ODD_TEXTS = ["((((a lake", "a lake))))", "(lake:1e9)", "(lake:-5)", "(:1.5) lake", "(" * 300 + "lake" + ")" * 300]
ODD_TEXTS += [r"\(lake\) " * 500, "\U0001f3d4 lake \u200d", "\u202elake\0 lake"]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_texts_that_only_look_bad(doors, model, clip, text):
    mapped(doors, model, clip, lake(doors), prompt=text)


def test_a_weight_that_is_no_number(doors, model, clip):
    """The host reads it as one, and every vector of the prompt is then NaN."""
    with pytest.raises(ValueError, match="text vectors with NaN or infinite values"):
        mapped(doors, model, clip, lake(doors), prompt="a (lake:nan)")


def test_long_phrases_are_found_at_once_and_shown_in_short(room):
    find = room("guidance.regions.regions").find
    prompt, began = [1, 2] * 5_000, time.process_time()
    assert find(prompt, [1, 2] * 2_000, ()) == tuple(range(10_000))
    assert find(prompt, [1, 2] * 2_000 + [3], ()) == ()
    assert time.process_time() - began < 5
    assert find([1, 2, 1, 2, 1], [1, 2, 1], ()) == (0, 1, 2, 3, 4)
    words = room("guidance.regions.regions").shown("x" * 100_000)
    assert len(words) < 100
