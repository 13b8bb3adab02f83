"""Why a photo matches: correspondences, the rebuilt sketch, lines and masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import retrievers
from helpers.golden_files import load_file


@pytest.fixture
def explain(room, monkeypatch):
    """With patches of 32 pixels on a grid of 4 x 4."""
    explain = room("pipelines.retrieval.explain")
    monkeypatch.setattr(explain, "SHOWN", 128)
    return explain


def made(explain, cosines, ink=None):
    places = len(cosines)
    ink = torch.ones(places) if ink is None else ink
    attention = torch.rand(3, places)
    return explain.Match(cosines, ink, attention, attention)


def chequered(grid, cell=32):
    """A photo whose every patch has a colour of its own."""
    rng = np.random.default_rng(0)
    return Image.fromarray(np.kron(rng.integers(0, 256, (grid, grid, 3)), np.ones((cell, cell, 1))).astype(np.uint8))


def test_partners_of_the_published_network(explain, golden):
    """196 x 196 cosines of the official features, and the best match of every sketch token where it is clear."""
    known = load_file(golden / "zse_sbir" / "correspondence.safetensors")
    for kind in ("sa", "ca"):
        places, values = made(explain, known[f"{kind}.cos"].float()).best()
        clear = known[f"{kind}.margin"] > 1e-3
        assert clear.sum() > 100
        assert torch.equal(places[clear], known[f"{kind}.best"][clear])
        assert torch.equal(values, known[f"{kind}.cos"].float().amax(1))


def test_patches_go_where_they_belong(explain):
    """Each sketch patch shows the photo patch that it is most like: here a known shuffle of them."""
    grid = 4
    shuffle = torch.randperm(grid * grid, generator=torch.Generator().manual_seed(0))
    cosines = torch.zeros(grid * grid, grid * grid)
    cosines[torch.arange(grid * grid), shuffle] = 1.0
    photo = chequered(grid)
    rebuilt = np.asarray(explain.rebuilt(made(explain, cosines), photo))
    source = np.asarray(photo)
    for patch, place in enumerate(shuffle.tolist()):
        mine = rebuilt[patch // grid * 32 :, patch % grid * 32 :][:32, :32]
        theirs = source[place // grid * 32 :, place % grid * 32 :][:32, :32]
        assert np.array_equal(mine, theirs)


def test_bare_paper_stays_white(explain):
    ink = torch.zeros(16)
    ink[5] = 0.5
    found = made(explain, torch.eye(16), ink)
    photo = chequered(4)
    drawn = np.asarray(explain.rebuilt(found, photo))
    assert (drawn[32:64, 32:64] == np.asarray(photo)[32:64, 32:64]).all()
    assert (np.delete(drawn, range(32, 64), 0) == 255).all()
    assert np.array_equal(np.asarray(explain.rebuilt(found, photo, everywhere=True)), np.asarray(photo))


def test_the_strongest_lines(explain):
    """From drawn patches only, and each photo patch once before any twice."""
    cosines = torch.full((9, 9), 0.1)
    cosines[0, 3], cosines[1, 3], cosines[2, 5], cosines[4, 7] = 0.9, 0.8, 0.7, 0.6
    ink = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 0, 0])
    found = made(explain, cosines, ink)
    assert [pair[:2] for pair in explain.strongest(found, 2)] == [(0, 3), (2, 5)]
    assert [pair[:2] for pair in explain.strongest(found, 3)] == [(0, 3), (1, 3), (2, 5)]
    assert len(explain.strongest(found, 100)) == 3
    assert [value for *_, value in explain.strongest(found, 3)] == pytest.approx([0.9, 0.8, 0.7])


@pytest.mark.parametrize("size", [(30, 90), (90, 30), (1, 400)])
def test_lines_end_in_their_patches(explain, size):
    """A single line from the first patch to the last, on photos of any aspect."""
    cosines = torch.zeros(16, 16)
    cosines[0, 15] = 1.0
    found = made(explain, cosines, torch.eye(16)[0])
    sketch, photo = Image.new("RGB", (64, 64), "white"), Image.new("RGB", size, "white")
    sheet = np.asarray(explain.lines(found, sketch, photo, 5)).astype(int)
    assert sheet.shape[0] == 128
    right = sheet.shape[1] - 128 - 32
    red = np.argwhere((sheet[..., 0] > 200) & (sheet[..., 1] < 90))
    first, last = red[red[:, 1].argmin()], red[red[:, 1].argmax()]
    assert abs(first[0] - 16) <= 4
    assert abs(last[0] - 112) <= 4
    assert last[1] == pytest.approx(128 + 32 + 0.875 * right, abs=8)


@pytest.mark.parametrize("size", [(30_000, 1), (1, 30_000)])
def test_strips_do_not_fill_the_memory(explain, size):
    sketch = Image.new("RGB", (64, 64), "white")
    sheet = explain.lines(made(explain, torch.eye(16), torch.ones(16)), sketch, Image.new("RGB", size), 5)
    assert sheet.height == 128
    assert sheet.width <= 128 + 32 + 4 * 128


def test_masks_keep_the_edges_of_patches(explain):
    attention = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    mask = explain.masks(attention, 6, 4)
    assert mask.shape == (1, 6, 4)
    assert torch.allclose(mask[0, :3, :2], torch.tensor(0.25))
    assert torch.allclose(mask[0, 3:, 2:], torch.tensor(1.0))


def test_a_network_is_asked_by_place(explain, room):
    """Cosines after cross-attention between every pair of places; ink by place, and attention over all of them."""
    network = room("networks").build(retrievers.weights(room), num_heads=4)
    side = retrievers.SIDE
    sketch, photo = torch.ones(1, 3, side, side), torch.rand(1, 3, side, side) * 2 - 1
    sketch[:, :, 16:32, 48:64] = -1
    with torch.inference_mode():
        found = explain.match(network, sketch, photo)
        mine, theirs = network.cross(network.tokens(sketch), network.tokens(photo))
    expected = torch.nn.functional.cosine_similarity(mine[0, 1:, None], theirs[0, None, 1:], dim=2)
    assert torch.allclose(found.cosines, expected, atol=1e-5)
    assert found.ink.tolist() == pytest.approx([1.0 if i == 7 else 0.0 for i in range(16)])
    assert found.drawn().nonzero().flatten().tolist() == [7]
    assert found.sketch_attention.shape == (4, 16)


def test_dropped_tokens_have_no_partners(explain):
    """What a network with token selection drops stays at -1, so it is never the best partner."""
    from types import SimpleNamespace

    kept = torch.tensor([[0, 3]])

    class Selecting:
        grid = 2

        def encode(self, images):
            tokens = torch.eye(3)[None] + 0.1
            return SimpleNamespace(tokens=tokens, kept=kept)

        def cross(self, sketch, photo):
            return sketch, photo

        def ret_attention(self, images):
            return torch.ones(1, 2, 4)

    found = explain.match(Selecting(), torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    assert (found.cosines[[1, 2]] == -1).all()
    assert (found.cosines[:, [1, 2]] == -1).all()
    assert found.best()[0][[0, 3]].tolist() == [0, 3]
