"""The biases that keep a region's words with its pixels, against loops over single tokens."""

from __future__ import annotations

import math

import pytest
import torch

NEVER = -1e4


@pytest.fixture
def joint(room):
    return room("guidance.regions.bias")


def log(share):
    return max(NEVER, math.log(share)) if share > 0 else NEVER


def by_hand(length, image, regions, masks, forces):
    bias = torch.zeros(masks.shape[1], length, length)
    for picture in range(masks.shape[1]):
        for query in range(length):
            for key in range(length):
                of_query = [n for n, (first, end) in enumerate(regions) if first <= query < end]
                of_key = [n for n, (first, end) in enumerate(regions) if first <= key < end]
                if of_key and image[0] <= query < image[1]:
                    number = of_key[0]
                    bias[picture, query, key] = log(forces[number] * float(masks[number, picture, query - image[0]]))
                elif of_query and image[0] <= key < image[1]:
                    bias[picture, query, key] = log(float(masks[of_query[0], picture, key - image[0]]))
                elif of_query != of_key:
                    bias[picture, query, key] = NEVER
    return bias


@pytest.mark.parametrize("image", [(9, 13), (0, 4), (11, 15)], ids=["words first", "image first", "references between"])
def test_the_joint_bias(joint, image):
    shift = 4 if image[0] == 0 else 0
    regions = [(3 + shift, 5 + shift), (5 + shift, 8 + shift)]
    masks = torch.tensor([[[1.0, 0.5, 0.0, 0.0], [0, 0, 0, 0]], [[0.0, 0.0, 0.25, 1.0], [1, 1, 1, 1]]])
    spans = [joint.Span(*one) for one in regions]
    found = joint.joint_bias(15, joint.Span(*image), spans, masks, [0.5, 2.0])
    assert torch.allclose(found, by_hand(15, image, regions, masks, [0.5, 2.0]))
    weights = found.softmax(-1)
    assert weights.isfinite().all()
    outside = weights[0, image[0] + 3, regions[0][0] : regions[0][1]]
    assert float(outside.max()) == 0, "a pixel outside of a region sees none of its words"


def test_cross_and_text(joint):
    spans, masks = [joint.Span(2, 4), joint.Span(4, 5)], torch.tensor([[[1.0, 0.0, 0.5]], [[0.0, 1.0, 1.0]]])
    cross = joint.cross_bias(6, spans, masks, [1.0, 0.5])
    half = math.log(0.5)
    wanted = [[0, 0, 0, 0, NEVER, 0], [0, 0, NEVER, NEVER, half, 0], [0, 0, half, half, half, 0]]
    assert torch.allclose(cross[0], torch.tensor(wanted))
    text = joint.text_bias(6, spans, masks)[0]
    groups = [0, 0, 1, 1, 2, 0]
    for query, one in enumerate(groups):
        for key, other in enumerate(groups):
            assert text[query, key] == (0 if one == other else NEVER)


def test_weight_0_and_kappa_to_0_fade_out(joint):
    spans, masks = [joint.Span(1, 2)], torch.ones(1, 1, 3)
    for force, most in ((0.0, 0.0), (1e-6, 1e-5), (1.0, 0.6)):
        share = joint.joint_bias(5, joint.Span(2, 5), spans, masks, [force]).softmax(-1)[0, 2:, 1]
        assert float(share.max()) <= most


@pytest.mark.parametrize("shared", [1, 2], ids=["each head its keys", "two heads share keys"])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_word_shares(joint, shared, scale):
    generator = torch.Generator().manual_seed(4)
    q = torch.randn(2, 4, 7, 3, generator=generator)
    k = torch.randn(2, 4 // shared, 9, 3, generator=generator)
    bias = torch.randn(1, 1, 7, 9, generator=generator)
    image, words = joint.Span(2, 6), [joint.Span(0, 2), joint.Span(7, 8)]
    found = joint.word_shares(q, k, image, words, bias, scale)
    keys = k.repeat_interleave(shared, 1)
    whole = (q @ keys.transpose(-1, -2) * (3**-0.5 if scale is None else scale) + bias).softmax(-1)[:, :, 2:6]
    wanted = torch.stack([whole[..., :2].mean(-1), whole[..., 7]], -1)
    assert torch.allclose(found, wanted, atol=1e-6)
    for_all = bias[:, :, :1]
    assert torch.allclose(
        joint.word_shares(q, k, image, words, for_all, scale),
        joint.word_shares(q, k, image, words, for_all.expand(-1, -1, 7, -1), scale),
    )
