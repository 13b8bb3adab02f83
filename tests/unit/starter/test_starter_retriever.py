"""The shipped retriever: small, of the published layout, and better than chance on scenes that it never saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open

from helpers import PACK

WEIGHTS = PACK / "starter" / "weights" / "retriever.safetensors"


@pytest.fixture(scope="module")
def network(room):
    with safe_open(WEIGHTS, "pt") as held:
        notes = held.metadata()
    assert "starter world" in notes["trained_on"]
    return room("networks").build(room("files").read_weights(WEIGHTS), num_heads=int(notes["num_heads"]))


def test_it_is_small(network):
    assert WEIGHTS.stat().st_size < 8_000_000
    assert (network.size, network.patch, network.anchors) == (64, 8, 16)


def test_it_finds_scenes_that_it_never_saw(network, room):
    """24 rough sketches among 24 photos: more often than not, and the relation network tells pairs apart."""
    training, measure = room("starter.training.retriever"), room("starter.training.retriever_measure")
    seeds = training.seeds_of(training.SEEN, 24, first=training.HELD_OUT + 10_000)
    scenes = room("starter.world").render_batch(seeds, 128)
    photos = np.stack([scene.image for scene in scenes])
    true = torch.from_numpy(np.stack([scene.sketch for scene in scenes])).float() / 255
    drawn = room("starter.training.rough").roughened(true, torch.Generator().manual_seed(3))
    ways = measure.searches(network, photos, drawn)
    for way in ("Ret", "Ret, then RN"):
        table = measure.found(ways[way], np.array([training.ground_of(seed) for seed in seeds]))
        assert table["all"]["acc1"] > 0.5, way
        assert table["all"]["acc10"] > 0.85, way
    with torch.inference_mode():
        mine = network.tokens(torch.stack([training.prepared(one, network.size) for one in drawn]))
        theirs = network.tokens(
            torch.stack([room("pictures.retrieval").photo_for_retrieval(photo, network.size) for photo in photos])
        )
        own, other = network.relation(mine, theirs), network.relation(mine, theirs.roll(1, 0))
    assert own.mean() > other.mean() + 0.1
