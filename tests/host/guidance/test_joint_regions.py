"""Regions with words on transformers: where each phrase's attention lies, and what stays untouched."""

from __future__ import annotations

import pytest
import torch

from helpers import methods, tiny

FAMILIES = (
    *("zimage", "krea2", "qwen_image", "flux2", "anima", "sd3", "flux", "chroma", "radiance", "ideogram4"),
    *("lens", "joyimage", "omnigen2", "boogu", "auraflow", "mage_flow", "wan21"),
)
SIGMAS = torch.tensor([0.6, 0.0])


class Spy:
    """An earlier override of the host's attention that keeps what goes into it."""

    def __init__(self):
        self.seen = []

    def __call__(self, func, q, k, v, heads, *args, **kwargs):
        mask = args[0] if args else kwargs.get("mask")
        apart = kwargs.get("skip_reshape", False)
        split = (lambda x: x) if apart else (lambda x: x.unflatten(-1, (heads, -1)).transpose(1, 2))
        queries, keys = split(q).detach().float(), split(k).detach().float()
        keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
        self.seen.append((queries, keys, mask))
        return func(q, k, v, heads, *args, **kwargs)


@torch.inference_mode()
def looked(bench, model, prompt, latent):
    """What goes into each attention of one call of the network."""
    spied, spy = model.clone(), Spy()
    spied.model_options["transformer_options"]["optimized_attention_override"] = spy
    bench.sample(spied, positive=prompt, sigmas=SIGMAS, latent=latent, cfg=1.0)
    return spy.seen


def words_changed(prompt, regions):
    """The same prompt with other words in its region."""
    context, values = prompt[0]
    apart = values[regions.JOINT]
    other = apart.words[0]._replace(context=apart.words[0].context.flip(0, 1) + 0.3)
    return [[context, {**values, regions.JOINT: regions.Apart((other,), apart.pull)}]]


def moved(one, other):
    """Of queries or keys [1, heads, tokens, d], how much each token changed."""
    return (one - other).square().sum((0, 1, 3))


def attention(queries, keys, mask):
    scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
    if mask is None:
        return scores.softmax(-1).mean((0, 1))
    mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -1e9) if mask.dtype == torch.bool else mask
    return (scores + mask.float()).softmax(-1).mean((0, 1))


def shares(room, bench, mask):
    """(inside over outside with the bias, the same without), the worst and mean of all layers. Which tokens are the
    region's words and which pixels lie in it is found by changing them, not from what the pack knows."""
    regions = room("guidance.regions.regions")
    model, prompt = methods.with_region(bench, mask)
    start, inside = bench.samples, mask[0].bool()
    plain = looked(bench, model, prompt, start)
    other = looked(bench, model, words_changed(prompt, regions), start)
    within = looked(bench, model, prompt, start + inside)
    beyond = looked(bench, model, prompt, start + ~inside)
    with_bias, without = [], []
    for now, words, left, right in zip(plain, other, within, beyond, strict=True):
        left_by, right_by = moved(now[0], left[0]), moved(now[0], right[0])
        of_words = moved(now[1], words[1])
        first = not with_bias  # in later layers everything has moved a little
        if first:
            columns = of_words > 1e-6 * of_words.max().clamp_min(1e-12) if of_words.max() > 1e-8 else None
            if columns is None or columns.all() or float(left_by.max()) < 1e-8:
                continue
            pixels = [left_by > 3 * right_by, right_by > 3 * left_by]
            size = now[0].shape[2], now[1].shape[2]
        if (now[0].shape[2], now[1].shape[2]) != size:
            continue
        for found, given in ((with_bias, now[2]), (without, None)):
            mass = attention(now[0], now[1], given)[:, columns].sum(1)
            found.append(float(mass[pixels[0]].mean() / mass[pixels[1]].mean().clamp_min(1e-12)))
    assert with_bias, "no attention has both words and pixels"
    return min(with_bias), sum(without) / len(without)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_phrase_is_seen_inside_its_region(room, family):
    bench = methods.Bench(room, family, wide=True)
    inside, before = shares(room, bench, methods.half(bench))
    assert inside >= 10
    assert 0.5 < before < 2


def test_as_many_words_as_pixels_are_told_apart(room):
    """6 + 3 words and 3 x 3 pixels."""
    bench = methods.Bench(room, "qwen_image")
    bench.samples = tiny.latent("qwen_image", height=6, width=6)["samples"]
    mask = torch.zeros(1, 3, 3)
    mask[:, :, 0] = 1
    assert shares(room, bench, mask.repeat_interleave(2, 1).repeat_interleave(2, 2))[0] >= 10


@pytest.mark.parametrize("family", ["zimage", "qwen_image", "flux", "anima"])
@torch.inference_mode()
def test_what_asks_for_nothing_changes_no_bit(room, family):
    bench = methods.Bench(room, family)
    plain = bench.sample()
    for settings in ({"strength": 0.0}, {"schedule": "window", "start": 0.99, "end": 1.0}):
        model, prompt = methods.with_region(bench, methods.half(bench), **settings)
        assert torch.equal(bench.sample(model, positive=prompt), plain)
    model, _ = methods.with_region(bench, methods.half(bench))
    assert torch.equal(bench.sample(model), plain), "a prompt without regions on the same MODEL"
    _, prompt = methods.with_region(bench, methods.half(bench))
    assert torch.equal(bench.sample(positive=prompt), plain), "a MODEL without the patch"


@torch.inference_mode()
def test_the_negative_prompt_sees_nothing_of_it(room):
    bench = methods.Bench(room, "flux")
    seen = {}

    def predictions(name):
        def watch(arguments):
            seen.setdefault(name, (arguments["cond_denoised"].clone(), arguments["uncond_denoised"].clone()))
            return arguments["denoised"]

        return watch

    model, prompt = methods.with_region(bench, methods.half(bench))
    for name, one, positive in (("plain", bench.model, tiny.cond("flux")), ("regions", model, prompt)):
        watched = one.clone()
        watched.set_model_sampler_post_cfg_function(predictions(name))
        bench.sample(watched, positive=positive, sigmas=SIGMAS)
    assert torch.allclose(seen["plain"][1], seen["regions"][1], atol=1e-5)
    assert not torch.allclose(seen["plain"][0], seen["regions"][0], atol=1e-3)


@torch.inference_mode()
def test_a_faint_region_is_nearly_none(room):
    """On a family whose positions do not depend on how many words there are."""
    bench = methods.Bench(room, "flux")
    plain = bench.sample()
    model, prompt = methods.with_region(bench, methods.half(bench), strength=1e-5)
    assert torch.allclose(bench.sample(model, positive=prompt), plain, atol=1e-3)


@pytest.mark.parametrize("family", ["zimage", "krea2", "sd3"])
@torch.inference_mode()
def test_masks_of_a_batch_belong_to_its_pictures(room, family):
    bench = methods.Bench(room, family, batch=2, wide=True)
    masks = torch.cat([methods.half(bench), 1 - methods.half(bench)])
    noise = torch.randn(bench.samples.shape, generator=torch.Generator().manual_seed(4))
    model, prompt = methods.with_region(bench, masks)
    both = bench.sample(model, positive=prompt, noise=noise)
    for number in range(2):
        _, alone = methods.with_region(bench, masks[number : number + 1])
        part = slice(number, number + 1)
        one = bench.sample(model, positive=alone, noise=noise[part], latent=bench.samples[part])
        assert torch.allclose(both[part], one, atol=2e-3 * float(one.abs().max()))


@torch.inference_mode()
def test_the_door(room, clip):
    """Each phrase is encoded by itself; two regions; what cannot work is refused by name."""
    doors, regions = room("nodes.regions"), room("guidance.regions.regions")
    bench = methods.Bench(room, "flux")
    left = methods.half(bench)
    two = doors.SketchPaintRegion.execute(left, "a lake", 1.0).args[0]
    two = doors.SketchPaintRegion.execute(1 - left, "tree", 2.0, two).args[0]
    settings = {"strength": 1.0, "schedule": "constant", "start": 0.0, "end": 0.5}
    model, prompt = doors.CrossAttnRegionMap.execute(
        bench.model, clip, "a quiet place", two, method="GradOP", **settings
    ).args
    words = prompt[0][1][regions.JOINT].words
    assert [one.context.shape[1] for one in words] == [4, 3], "start, words, end"
    assert torch.equal(prompt[0][0], clip.encode_from_tokens_scheduled(clip.tokenize("a quiet place"))[0][0])
    made = bench.sample(model, positive=prompt)
    assert made.isfinite().all()
    assert not torch.equal(made, bench.sample(positive=prompt))
    with pytest.raises(ValueError, match=r"made for the cross-attention of UNets, and Flux models have none"):
        doors.CrossAttnRegionMap.execute(bench.model, clip, "x", two, method="paint with words", **settings)
    with pytest.raises(ValueError, match="ErnieImage models tell their attention nothing"):
        doors.CrossAttnRegionMap.execute(tiny.model("ernie"), clip, "x", two, method="GradOP", **settings)


@torch.inference_mode()
def test_an_empty_region_is_left_out(room, clip):
    doors, regions = room("nodes.regions"), room("guidance.regions.regions")
    bench = methods.Bench(room, "qwen_image")
    nothing = doors.SketchPaintRegion.execute(torch.zeros(1, 8, 8), "lake", 1.0).args[0]
    settings = {"strength": 1.0, "schedule": "constant", "start": 0.0, "end": 0.5, "method": "GradOP"}
    model, prompt = doors.CrossAttnRegionMap.execute(bench.model, clip, "a place", nothing, **settings).args
    assert prompt[0][1][regions.JOINT].words == ()
    assert torch.equal(bench.sample(model, positive=prompt), bench.sample(positive=prompt))


@torch.inference_mode()
def test_words_that_only_fill_up_are_dropped(room):
    """Flux.2 fills every prompt up to 512 words with empty ones before, Anima after its own."""
    host, bench = room("host"), methods.Bench(room, "flux2")
    context = torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(2))
    assert torch.equal(host.words_alone(bench.model.model, context, {}, bench.samples), context)
    padded = torch.cat([context, torch.zeros(1, 5, 16)], 1)
    assert torch.equal(host.words_alone(tiny.model("qwen_image").model, padded, {}, bench.samples), context)


@pytest.mark.parametrize(("count", "used"), [(7, 3), (256, 4), (99, 99)], ids=["CLIP", "T5", "another"])
def test_padding_is_no_word(room, count, used):
    """Flux reads a CLIP and a T5, whose prompts are padded to 256 tokens; the vectors are those of the T5."""
    tokens = {"l": [1, 5, *[2] * 5], "t5xxl": [7, 8, 1, *[0] * 253]}
    reader = room("guidance.regions.regions").Reader(lambda _: {k: [[(n, 1.0) for n in v]] for k, v in tokens.items()})
    assert room("guidance.regions.words")._used(reader, "lake", count) == used


# --- looking ----------------------------------------------------------------------------------------------------------


def phrase(bench, room, seed=7):
    """Three words of their own that all pixels see."""
    regions = room("guidance.regions.regions")
    context, values = tiny.cond(bench.family, seed=seed)[0]
    rest = {key: value for key, value in values.items() if "mask" not in key}
    return regions.Words(regions.Region(torch.ones(1, 1, 1), "lake"), context[:, :3], rest)


def spied_shares(room, bench, words, latent=None, prompt=None, model=None):
    """The maps of some phrases at one level, and what went into each attention."""
    spied, spy = (model or bench.model).clone(), Spy()
    spied.model_options["transformer_options"]["optimized_attention_override"] = spy
    latent = bench.samples if latent is None else latent
    prompt = prompt or tiny.cond(bench.family)
    with torch.inference_mode():
        return room("samplers.looking").attention_shares(spied, prompt, latent, words, 1, 3), spy.seen


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_are_the_models_own(room, family):
    """By hand: the softmax of what goes into each attention. Words and pixels are found by changing them."""
    bench = methods.Bench(room, family, wide=True)
    maps, seen = spied_shares(room, bench, [phrase(bench, room)])
    _, other = spied_shares(room, bench, [phrase(bench, room, 11)])
    _, shifted = spied_shares(room, bench, [phrase(bench, room)], bench.samples + 0.5)
    size, expected = None, []
    for now, words, pixels in zip(seen, other, shifted, strict=True):
        if size is None:  # in later layers everything has moved a little
            by_words, by_pixels = moved(now[1], words[1]), moved(now[0], pixels[0])
            if by_words.max() < 1e-8 or by_pixels.max() < 1e-8:
                continue
            columns, rows = by_words > 1e-6 * by_words.max(), by_pixels > 1e-6 * by_pixels.max()
            if columns.all():
                continue
            size = now[0].shape[2], now[1].shape[2]
            columns = columns.nonzero().flatten()[:3]  # copies of them may follow, which nobody sees
        if (now[0].shape[2], now[1].shape[2]) == size:
            expected.append(attention(*now)[rows][:, columns].mean(1))
    mean = torch.stack(expected).mean(0)
    assert maps.shape[0] == 1
    cells = maps[0].numel()
    assert torch.allclose(maps.flatten(), mean[:cells], rtol=2e-3, atol=1e-7)
    assert not mean[cells:].any(), "what the network fills up with"


def test_each_phrase_has_its_own_map(room):
    bench = methods.Bench(room, "flux", wide=True)
    one, two = phrase(bench, room), phrase(bench, room, 11)
    both, _ = spied_shares(room, bench, [one, two])
    swapped, _ = spied_shares(room, bench, [two, one])
    assert torch.allclose(both, swapped.flip(0), rtol=1e-3)
    assert not torch.allclose(both[0], both[1], rtol=1e-2)


def test_regions_act_while_phrases_are_looked_at(room):
    """The region's words take a share of the attention inside it, so less is left for the phrase there."""
    bench = methods.Bench(room, "qwen_image", wide=True)
    free, _ = spied_shares(room, bench, [phrase(bench, room)])
    model, prompt = methods.with_region(bench, methods.half(bench), weight=50.0)
    held, _ = spied_shares(room, bench, [phrase(bench, room)], prompt=prompt, model=model)
    ratio = (held / free)[0]
    half = ratio.shape[1] // 2
    assert ratio[:, :half].mean() < 0.8 * ratio[:, half:].mean()


def test_looking_leaves_nothing_behind(room):
    bench = methods.Bench(room, "sd3")
    prompt, wrappers = tiny.cond("sd3"), repr(bench.model.wrappers)
    keys, plain = set(prompt[0][1]), bench.sample(positive=prompt)
    first, _ = spied_shares(room, bench, [phrase(bench, room)], prompt=prompt)
    second, _ = spied_shares(room, bench, [phrase(bench, room)], prompt=prompt)
    assert torch.equal(first, second)
    assert set(prompt[0][1]) == keys
    assert repr(bench.model.wrappers) == wrappers
    assert torch.equal(bench.sample(positive=prompt), plain)
