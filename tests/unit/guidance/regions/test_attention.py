"""The attention maths of regions against an explicit softmax in float64."""

from __future__ import annotations

import pytest
import torch

HEADS, WIDE, PIXELS, WORDS = 3, 8, 24, 11


@pytest.fixture(scope="module")
def attention(room):
    return room("guidance.regions.attention")


@pytest.fixture(scope="module")
def regions(room):
    return room("guidance.regions.regions")


def qkv(batch=2, seed=0, words=WORDS, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, n, HEADS * WIDE) for n in (PIXELS, words, words)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def heads(x):
    return x.double().view(*x.shape[:2], HEADS, WIDE).permute(0, 2, 1, 3)


def plain_scores(q, k):
    return torch.einsum("bhnd,bhkd->bhnk", heads(q), heads(k)) / WIDE**0.5


def joined(maps, v):
    out = torch.einsum("bhnk,bhkd->bhnd", maps, heads(v))
    return out.permute(0, 2, 1, 3).flatten(2)


def by_the_equation(q, k, v, positions, masks, weights, kappa):
    """Every map of every word written out, one at a time; masks [b, N, P], weights [b, P]."""
    maps = plain_scores(q, k).softmax(-1)
    for b in range(len(q)):
        for column, place in enumerate(positions):
            mask = masks[b, :, column].double()
            if mask.sum() == 0:
                continue
            for h in range(HEADS):
                old = maps[b, h, :, place]
                pulled = (1 - kappa) * old + kappa * (old**2).sum().sqrt() * mask / (mask**2).sum().sqrt()
                maps[b, h, :, place] = float(weights[b, column]) * pulled
    return joined(maps, v), maps


def by_paint(q, k, v, positions, masks, weights, gain):
    scores = plain_scores(q, k)
    for b in range(len(q)):
        highest = max(0.0, float(scores[b].max()))
        for column, place in enumerate(positions):
            scores[b, :, :, place] += gain * float(weights[b, column]) * highest * masks[b, :, column].double()
    return joined(scores.softmax(-1), v)


def some_target(regions, positions=(2, 3, 9), batch=2, seed=5):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(batch, PIXELS, len(positions), generator=generator)
    masks = masks * (masks > 0.5)
    weights = 0.5 + torch.rand(batch, len(positions), generator=generator)
    return regions.Target(torch.tensor(positions), masks, weights)


def host_attention(q, k, v):
    return joined(plain_scores(q, k).softmax(-1), v)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0])
def test_the_correction_gives_the_equation(attention, regions, kappa):
    q, k, v = qkv()
    aim = some_target(regions)
    change, maps = attention.pull(q, k, v, HEADS, aim, kappa)
    expected, expected_maps = by_the_equation(q, k, v, aim.positions.tolist(), aim.masks, aim.weights, kappa)
    assert torch.allclose(host_attention(q, k, v) + change, expected, atol=1e-5)
    assert torch.allclose(maps.double(), expected_maps[..., aim.positions], atol=1e-6)
    assert (expected - host_attention(q, k, v)).abs().max() > 0.01


@pytest.mark.parametrize("gain", [0.3, 2.0, 40.0])
def test_paint_with_words(attention, regions, gain):
    q, k, v = qkv(seed=1)
    aim = some_target(regions)
    change, maps = attention.paint(q, k, v, HEADS, aim, gain)
    expected = by_paint(q, k, v, aim.positions.tolist(), aim.masks, aim.weights, gain)
    assert torch.allclose(host_attention(q, k, v) + change, expected, atol=1e-5)
    assert torch.isfinite(change).all()
    inside = aim.masks[..., 0] > 0
    before = attention.word_maps(q, k, HEADS, aim.positions).mean(1)[..., 0]
    assert maps.mean(1)[..., 0][inside].mean() > before[inside].mean()


def test_paint_with_words_on_negative_scores_pushes_nothing_away(attention, regions):
    q, k, v = qkv(seed=2)
    change, _ = attention.paint(q.abs(), -k.abs(), v, HEADS, some_target(regions), 5.0)
    assert torch.equal(change, torch.zeros_like(change))


def test_kappa_one_keeps_each_norm_and_stays_inside(attention, regions):
    q, k, _ = qkv(dtype=torch.float32)
    aim = some_target(regions)._replace(weights=torch.ones(2, 3))
    before = attention.word_maps(q, k, HEADS, aim.positions)
    after = attention.pulled(before, aim, 1.0)
    assert torch.allclose(before.norm(dim=2), after.norm(dim=2), rtol=1e-5)
    outside = (aim.masks == 0)[:, None].expand_as(after)
    assert outside.any()
    assert (after[outside] == 0).all()


def test_nothing_asked_changes_nothing(attention, regions):
    q, k, v = qkv(dtype=torch.float32)
    aim = some_target(regions)
    still = attention.pull(q, k, v, HEADS, aim._replace(weights=torch.ones(2, 3)), 0.0)[0]
    assert torch.equal(still, torch.zeros_like(still))
    empty = aim._replace(masks=torch.zeros_like(aim.masks))
    for change, _ in (attention.pull(q, k, v, HEADS, empty, 0.7), attention.paint(q, k, v, HEADS, empty, 3.0)):
        assert torch.equal(change, torch.zeros_like(change)), "the weight of an empty region does not count either"


def test_one_empty_picture_of_a_batch(attention, regions):
    q, k, v = qkv(dtype=torch.float32)
    aim = some_target(regions)
    aim.masks[1] = 0
    change, _ = attention.pull(q, k, v, HEADS, aim, 0.5)
    assert change[0].abs().max() > 0.01
    assert torch.equal(change[1], torch.zeros_like(change[1]))


def test_a_full_mask_spreads_the_word_evenly(attention, regions):
    q, k, _ = qkv(dtype=torch.float32)
    aim = regions.Target(torch.tensor([4]), torch.ones(2, PIXELS, 1), torch.ones(2, 1))
    before = attention.word_maps(q, k, HEADS, aim.positions)
    after = attention.pulled(before, aim, 1.0)
    assert torch.allclose(after, (before.norm(dim=2, keepdim=True) / PIXELS**0.5).expand_as(after), rtol=1e-5)


def test_a_repeated_prompt_is_corrected_alike(attention, regions):
    """The host repeats 77 tokens beside 154: all copies corrected, the result is the same as of one."""
    q, k, v = qkv(dtype=torch.float32)
    aim = some_target(regions)
    twice = regions.Target(
        torch.cat([aim.positions, aim.positions + WORDS]), aim.masks.repeat(1, 1, 2), aim.weights.repeat(1, 2)
    )
    once = attention.pull(q, k, v, HEADS, aim, 0.6)[0]
    double = attention.pull(q, k.repeat(1, 2, 1), v.repeat(1, 2, 1), HEADS, twice, 0.6)[0]
    assert torch.allclose(once, double, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(attention, regions, dtype):
    q, k, v = qkv(dtype=dtype)
    aim = some_target(regions)
    change, maps = attention.pull(q, k, v, HEADS, aim, 0.5)
    assert change.dtype == maps.dtype == torch.float32
    expected, _ = by_the_equation(q, k, v, aim.positions.tolist(), aim.masks, aim.weights, 0.5)
    assert torch.allclose(host_attention(q, k, v) + change, expected, atol=1e-5)


def test_time_share(attention):
    sigmas = torch.tensor([0.1, 0.2, 0.4, 0.8])
    share = [attention.time_share(sigmas, s) for s in (0.05, float(sigmas[0]), float(sigmas[1]), 0.3, 0.8, 5.0)]
    assert share == pytest.approx([0.25, 0.25, 0.5, 0.625, 1.0, 1.0])
