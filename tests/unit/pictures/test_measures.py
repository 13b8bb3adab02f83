"""The measures say what they claim: 0 for equal pictures, more for every fault, the same number every time."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F


@pytest.fixture(scope="module")
def measures(room):
    return room("pictures.measures")


def world(count, seed, height=64, width=64):
    """Pictures [count,height,width,3] of one made-up world: a gradient of two colours, with detail at all scales."""
    generator = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 1, height)[None, :, None, None]
    top, bottom = (torch.rand(count, 1, 1, 3, generator=generator) for _ in range(2))
    picture = 0.35 + 0.3 * ((1 - ramp) * top * torch.tensor([0.6, 0.8, 1.0]) + ramp * bottom)
    for scale in (16, 8, 4, 2, 1):
        small = torch.randn(count, 1, -(-height // scale), -(-width // scale), generator=generator)
        grain = F.interpolate(small, (height, width), mode="bilinear")[:, 0, :, :, None]
        picture = picture + 0.012 * scale**0.5 * grain * (0.4 + ramp)
    return picture.clamp(0, 1)


def blurred(pictures):
    smaller = F.avg_pool2d(pictures.movedim(-1, 1), 3, 1, 1, count_include_pad=False)
    return smaller.movedim(1, -1)


def flat(pictures):
    """Like strokes: constant patches of 8 px."""
    smaller = F.avg_pool2d(pictures.movedim(-1, 1), 8)
    return F.interpolate(smaller, scale_factor=8, mode="nearest").movedim(1, -1)


def with_noise(pictures, amount):
    return pictures + amount * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(9))


def redder(pictures, amount):
    return pictures + torch.tensor([amount, 0.0, 0.0])


def shuffled(pictures):
    """The four quarters of each picture, diagonally exchanged."""
    return pictures.roll((pictures.shape[1] // 2, pictures.shape[2] // 2), (1, 2))


# faithfulness


def test_l2_is_the_length_of_the_difference(measures):
    guide = torch.rand(1, 5, 7, 3, generator=torch.Generator().manual_seed(1))
    result = torch.cat([guide, guide + 0.1, guide - 0.3])
    found = measures.faithfulness(result, guide)
    assert torch.allclose(found.rms, torch.tensor([0.0, 0.1, 0.3]), atol=1e-6)
    assert torch.allclose(found.l2, found.rms * (5 * 7 * 3) ** 0.5, atol=1e-5)


def test_mask_limits_where_it_counts(measures):
    guide = torch.zeros(2, 6, 8, 3)
    result = guide.clone()
    result[:, :, :4] = 0.5
    mask = torch.zeros(1, 6, 8)
    assert measures.faithfulness(result, guide, mask).rms.tolist() == [0, 0]
    mask[..., :4] = 1
    assert torch.allclose(measures.faithfulness(result, guide, mask).rms, torch.tensor([0.5, 0.5]))
    assert torch.allclose(measures.faithfulness(result, guide, 1 - mask).rms, torch.zeros(2))


def test_painted_distance_forgives_detail_only(measures):
    guide = flat(world(2, 3))
    detail = guide + (world(2, 4) - flat(world(2, 4)))
    assert measures.faithfulness(detail, guide).rms.min() > 0.01
    assert measures.painted_distance(detail, flat(guide), flat).max() < 1e-5
    assert measures.painted_distance(detail + 0.1, flat(guide), flat).min() > 0.09


def test_palette_distance_ignores_places_and_sees_colours(measures):
    pictures = world(3, 5)
    assert measures.palette_distance(shuffled(pictures), pictures).max() < 1e-6
    small, large = (measures.palette_distance(redder(pictures, d), pictures) for d in (0.02, 0.1))
    assert (small > 0.005).all()
    assert (large > 4 * small).all()


# distance of sets


def test_equal_sets_are_at_zero_and_the_order_of_pictures_hardly_matters(measures):
    pictures = world(60, 1)
    found = measures.patch_distance(pictures, pictures)
    assert found.mean == 0
    assert found.names == ("64 px", "32 px", "16 px", "layout")
    apart = measures.patch_distance(world(60, 2), pictures).mean
    assert abs(measures.patch_distance(world(60, 2).flip(0), pictures).mean - apart) < 0.15 * apart


def test_every_fault_is_seen_and_more_of_it_more(measures):
    references, fresh = world(80, 1), world(80, 2)
    floor = measures.patch_distance(fresh, references).mean

    def times(pictures):
        return measures.patch_distance(pictures, references).mean / floor

    for fault in (
        (blurred(fresh), blurred(blurred(fresh))),
        (with_noise(fresh, 0.02), with_noise(fresh, 0.06)),
        (redder(fresh, 0.04), redder(fresh, 0.12)),
        (0.5 + 0.8 * (fresh - 0.5), 0.5 + 0.5 * (fresh - 0.5)),
    ):
        little, much = map(times, fault)
        assert 1.2 < little < 0.9 * much
    assert times(shuffled(fresh)) > 1.5
    assert times(flat(fresh)) > 2


def test_a_colour_cast_shows_where_colour_is_kept(measures):
    """The original metric standardises each set by itself and would not see it at all."""
    references, fresh = world(80, 1), world(80, 2)
    clean, cast = (measures.patch_distance(p, references).levels for p in (fresh, redder(fresh, 0.1)))
    assert torch.allclose(cast[:2], clean[:2], rtol=0.05)
    assert (cast[2:] > 1.5 * clean[2:]).all()


def test_same_numbers_on_every_call_and_another_seed_agrees(measures):
    references, fresh = world(40, 1), with_noise(world(40, 2), 0.03)
    first = measures.patch_distance(fresh, references)
    torch.manual_seed(77)  # its directions must not come from the global generator
    assert torch.equal(measures.patch_distance(fresh, references).levels, first.levels)
    assert measures.patch_distance(fresh, references, seed=5).mean == pytest.approx(first.mean, rel=0.1)


@pytest.mark.parametrize("size", [(7, 7), (16, 40), (31, 33), (65, 97), (130, 64)])
def test_any_size_and_unequal_counts(measures, size):
    found = measures.patch_distance(world(5, 1, *size), world(8, 2, *size))
    assert len(found.names) == len(found.levels)
    assert torch.isfinite(found.levels).all()
    assert measures.realism(world(3, 1, *size), world(6, 2, *size)).isfinite().all()


def test_pyramid_adds_up_to_the_picture(measures):
    picture = world(2, 1, 70, 133).movedim(-1, 1)
    *bands, rebuilt = measures.laplacian_pyramid(picture)
    assert min(rebuilt.shape[-2:]) == 17
    for band in reversed(bands):
        rebuilt = F.interpolate(rebuilt, band.shape[-2:], mode="bilinear") + band
    assert torch.allclose(rebuilt, picture, atol=1e-5)


def test_flat_references_give_finite_numbers(measures):
    grey = torch.full((6, 32, 32, 3), 0.5)
    assert measures.patch_distance(grey, grey).mean == 0
    assert measures.realism(world(2, 1, 32, 32), grey + 0.001 * world(6, 2, 32, 32)).isfinite().all()


def test_thousand_against_thousand_is_quick(measures):
    """Well under a minute of one core; counted in processor time, since the machine may be shared."""
    pictures = world(500, 1).repeat(2, 1, 1, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        began = time.process_time()
        measures.patch_distance(pictures, pictures.flip(0))
        assert time.process_time() - began < 30
    finally:
        torch.set_num_threads(threads)


# realism of single pictures


@pytest.mark.parametrize("count", [20, 80])
def test_real_pictures_score_about_one_and_faulty_ones_more(measures, count):
    references, fresh = world(count, 1), world(24, 2)
    real = measures.realism(fresh, references)
    assert 0.5 < real.median() < 1.5
    for fault in (blurred(fresh), with_noise(fresh, 0.06), flat(fresh)):
        assert (measures.realism(fault, references) > real).float().mean() > 0.9


def test_realism_is_per_picture(measures):
    references, fresh = world(30, 1), world(6, 2)
    together = measures.realism(fresh, references)
    alone = torch.cat([measures.realism(one[None], references) for one in fresh])
    assert torch.allclose(together, alone, rtol=1e-5)


def test_refusals_say_what_came(measures):
    with pytest.raises(ValueError, match="64x32 and 64x64"):
        measures.patch_distance(world(2, 1, 32, 64), world(2, 1))
    with pytest.raises(ValueError, match="at least 7 px"):
        measures.patch_distance(world(2, 1, 6, 6), world(2, 1, 6, 6))
    with pytest.raises(ValueError, match=r"at least 4 reference pictures, better 20.* got 3"):
        measures.realism(world(2, 1), world(3, 1))
