"""The losses of the retrieval network: the published ones with their gradients, and the contrast over a batch."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn.functional import normalize

from helpers.golden_files import load_file


@pytest.fixture(scope="module")
def losses(room):
    return room("training.retrieval.losses")


def test_published_losses(losses, golden):
    """Values and gradients. Second sketches get none from the triplet."""
    known = load_file(golden / "zse_sbir/losses.safetensors")
    size = json.loads((golden / "zse_sbir/losses.json").read_text())["batch"]
    cls, scores = known["cls"].clone().requires_grad_(), known["rn"].clone().requires_grad_()
    triplet, relation = losses.published(cls, scores)
    (triplet + relation).backward()
    triplet, relation = triplet.detach(), relation.detach()
    assert float(triplet) == pytest.approx(float(known["loss_triplet_x2"]), rel=1e-6)
    assert float(relation) == pytest.approx(float(known["loss_rn_x4"]), rel=1e-6)
    assert float(triplet + relation) == pytest.approx(float(known["total"]), rel=1e-6)
    assert cls.grad is not None
    assert scores.grad is not None
    for mine, name in ((cls.grad, "grad_cls"), (scores.grad, "grad_rn")):
        assert (mine - known[name]).abs().max() < 1e-5 * known[name].abs().max()
    assert not cls.grad[size : 2 * size].any()
    assert torch.equal(known["target"][:, 0], torch.tensor([0.99] * size + [0.01] * size))


@pytest.mark.parametrize("size", [1, 3, 8])
def test_scores_may_be_a_column_or_a_row(losses, size):
    rng = torch.Generator().manual_seed(size)
    cls, scores = torch.randn(4 * size, 16, generator=rng), torch.rand(2 * size, generator=rng)
    assert losses.published(cls, scores) == losses.published(cls, scores[:, None])
    best = torch.tensor([0.99, 0.01]).repeat_interleave(size)
    assert losses.published(cls, best).relation == 0


def test_contrast(losses):
    """Cross entropy both ways, worked out by hand for two pairs of orthogonal vectors; lengths do not matter."""
    sketches, photos = torch.eye(2), torch.tensor([[3.0, 0.0], [4.0, 4.0]])
    one, half = 1 / 0.5, math.sqrt(0.5) / 0.5
    rows = -math.log(math.exp(one) / (math.exp(one) + math.exp(half))), -math.log(math.exp(half) / (1 + math.exp(half)))
    columns = -math.log(math.exp(one) / (math.exp(one) + 1)), math.log(2)
    mine = losses.contrast(sketches, photos, torch.arange(2), temperature=0.5)
    assert float(mine) == pytest.approx((sum(rows) + sum(columns)) / 4, rel=1e-6)


def test_pairs_of_one_class_are_no_opposites(losses):
    """They are left out: the loss is that of the other pairs."""
    rng = torch.Generator().manual_seed(0)
    sketches, photos = torch.randn(2, 4, 8, generator=rng)
    alone = losses.contrast(sketches[:1], photos[:1], torch.tensor([5]))
    assert float(alone) == 0
    assert float(losses.contrast(sketches[:2], photos[:2], torch.tensor([5, 5]))) == 0
    assert float(losses.contrast(sketches, photos, torch.tensor([5, 5, 1, 2]))) > 0


def test_hardest(losses):
    """The nearest photo of another class, never one of the same."""
    photos = normalize(torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0, 1]]), dim=1)
    assert losses.hardest(photos, photos, torch.arange(4)).tolist()[:2] == [1, 0]
    assert losses.hardest(photos, photos, torch.tensor([7, 7, 1, 2])).tolist()[:2] != [1, 0]
    assert losses.hardest(photos, photos, torch.tensor([7, 7, 1, 2]))[1] == 2
