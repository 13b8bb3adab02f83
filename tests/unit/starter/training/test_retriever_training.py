"""The training of the starter's retriever: which scenes, how rough the sketches, and what learns from what."""

from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def training(room):
    return room("starter.training.retriever")


@pytest.fixture(scope="module")
def rough(room):
    return room("starter.training.rough")


@pytest.fixture(scope="module")
def rendered(training, tmp_path_factory):
    """Four scenes of seen grounds, kept in a file as for a training."""
    folder = tmp_path_factory.mktemp("scenes")
    seeds = training.seeds_of(training.SEEN, 4)
    first = training.scenes(folder, "learned", seeds, size=64, workers=1)
    again = training.scenes(folder, "learned", seeds, size=64, workers=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    return [np.array(part) for part in first]


def test_grounds_are_those_of_the_scenes(training, room):
    """Read from the seed alone; two of the four are never learned from, and test scenes begin at a far seed."""
    world = room("starter.world")
    words = {"lake": "a lake", "meadow": "a meadow", "dunes": "sand dunes", "snowfield": "a snowfield"}
    for scene in world.render_batch(range(6), 16):
        assert words[training.ground_of(scene.seed)] in scene.caption
    assert set(training.SEEN) < set(world.GROUNDS)
    assert len(set(world.GROUNDS) - set(training.SEEN)) == 2
    learned = training.seeds_of(training.SEEN, 50)
    assert {training.ground_of(seed) for seed in learned} == set(training.SEEN)
    assert max(learned) < training.HELD_OUT


def test_roughened(rough, rendered):
    """Rougher with strength, never blank or black here; the same for the same generator."""
    true = torch.from_numpy(rendered[1]).float() / 255
    made = {s: rough.roughened(true, torch.Generator().manual_seed(1), s) for s in (0.0, 1.0, 2.0)}
    assert torch.equal(made[1.0], rough.roughened(true, torch.Generator().manual_seed(1)))
    assert not torch.equal(made[1.0], rough.roughened(true, torch.Generator().manual_seed(2)))
    for drawn in made.values():
        assert drawn.shape == true.shape
        assert 0 <= drawn.min() < 0.4
        assert drawn.max() <= 1
    kept = [float(((1 - drawn) * (1 - true)).sum() / (1 - true).sum()) for drawn in made.values()]
    assert kept[0] > kept[1] > kept[2], "less of the true lines"


def test_batch(training, rendered, monkeypatch):
    """By the number of the step alone; photos and true lines are mirrored together."""
    photos, sketches = training.small(*rendered)
    batch = training.batch(photos, sketches, 4, 3)
    assert batch["sketch"].shape == batch["photo"].shape == (4, 3, 64, 64)
    assert all(torch.equal(value, training.batch(photos, sketches, 4, 3)[name]) for name, value in batch.items())
    assert not torch.equal(batch["sketch"], training.batch(photos, sketches, 4, 4)["sketch"])
    monkeypatch.setattr(training, "joined", lambda photos, lines, rng: (photos, lines))
    monkeypatch.setattr(training, "recoloured", lambda photos, rng: photos)
    batch = training.batch(photos, sketches, 4, 3)
    known = torch.from_numpy(photos[batch["group"]]).movedim(-1, 1).float() / 127.5 - 1
    lines = 1 - torch.from_numpy(sketches[batch["group"]]).float() / 255
    for i in range(4):
        mirrored = not torch.equal(batch["photo"][i], known[i])
        assert torch.equal(batch["photo"][i], known[i].flip(-1) if mirrored else known[i])
        assert torch.equal(batch["lines"][i], lines[i].flip(-1) if mirrored else lines[i])


def test_joined(rough):
    """Where the photo is another scene's, the lines are too; some scenes stay whole."""
    photos = torch.arange(40.0)[:, None, None, None].expand(-1, 3, 16, 16)
    seen, lines = rough.joined(photos, photos[:, 0], torch.Generator().manual_seed(0))
    assert torch.equal(seen[:, 0], lines)
    whole = (lines == photos[:, 0]).flatten(1).all(1)
    assert 10 < whole.sum() < 35
    for i in range(40):
        assert set(lines[i].unique().tolist()) <= {i, (i - 1) % 40}


def test_recoloured(rough, rendered):
    """Within the range, the same for the same generator, and in very different colours."""
    photos = torch.from_numpy(rendered[0]).movedim(-1, 1).float() / 127.5 - 1
    seen = rough.recoloured(photos.repeat(5, 1, 1, 1), torch.Generator().manual_seed(0))
    assert torch.equal(seen, rough.recoloured(photos.repeat(5, 1, 1, 1), torch.Generator().manual_seed(0)))
    assert -1 <= seen.min() < seen.max() <= 1
    assert (seen - photos.repeat(5, 1, 1, 1)).abs().mean() > 0.2


def test_no_line_is_lost_in_small_sketches(training):
    sketch = np.full((1, 128, 128), 255, np.uint8)
    sketch[0, 37] = 0
    sketch[0, :, 90] = 0
    _, drawn = training.small(np.zeros((1, 128, 128, 3), np.uint8), sketch)
    assert not drawn[0, 18].any()
    assert not drawn[0, :, 45].any()


def test_a_sketch_without_ink_is_a_blank_sheet(training):
    assert torch.equal(training.prepared(torch.ones(64, 64), 64), torch.ones(3, 64, 64))


def test_cells(training):
    """Each patch gets what lies within it."""
    values = torch.arange(64.0).reshape(1, 8, 8)
    assert training.cells(values, 4)[0, 0].tolist() == [0, 1, 8, 9]
    assert training.cells(values, 4)[0, 5].tolist() == [18, 19, 26, 27]
    assert torch.equal(training.density(torch.zeros(1, 64, 64), 16), torch.zeros(1, 16, 16))
    assert training.unexplained(values.mean().expand(64), values.flatten()) == pytest.approx(1, abs=0.02)


def test_what_learns_from_what(training, room, rendered):
    """The pairs' losses move cross-attention and the relation network only; everything else moves the encoder."""
    task_room = room("training.retrieval.task")
    network = task_room.initialised(room("networks.retrieval.network").Retriever(**training.SMALL), 0)
    network.set_dropout(0.0)
    task = training.StarterTask(network, 2)
    batch = training.batch(*training.small(*rendered), 4, 0)
    task.loss(batch, torch.Generator().manual_seed(0)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())
    encoder = {name: p.grad.clone() for name, p in network.sa.named_parameters()}
    task.zero_grad()
    for part in (network.ca, network.rn, network.conv2d):
        for parameter in part.parameters():
            parameter.data *= 1.5
    task.loss(batch, torch.Generator().manual_seed(0)).backward()
    assert all(torch.equal(p.grad, encoder[name]) for name, p in network.sa.named_parameters())


def test_centred(room, training, rendered):
    """[Ret] has a mean of 0 over the pictures that it was centred on."""
    task_room = room("training.retrieval.task")
    network = task_room.initialised(room("networks.retrieval.network").Retriever(**training.SMALL), 0).eval()
    batch = training.batch(*training.small(*rendered), 4, 0)
    both = torch.cat([batch["sketch"], batch["photo"]])
    assert network.tokens(both)[:, 0].mean(0).norm() > 1
    task_room.centred(network, batch["sketch"], batch["photo"])
    assert network.tokens(both)[:, 0].mean(0).norm() < 1e-3


@pytest.fixture(scope="module")
def measure(room):
    return room("starter.training.retriever_measure")


def test_found(measure):
    """Four queries, of which the second ranks its own photo third, behind one of its ground."""
    distance = torch.ones(4, 4) - 0.5 * torch.eye(4)
    distance[1] = torch.tensor([0.1, 0.3, 0.9, 0.2])
    table = measure.found(distance, np.array(["lake", "lake", "dunes", "snowfield"]))
    assert table["all"]["queries"] == 4
    assert table["all"]["acc1"] == 0.75
    assert table["all"]["acc10"] == 1
    assert table["seen"]["map"] == pytest.approx((1 + 1 / 3) / 2, abs=1e-4)
    assert table["unseen"] == {"queries": 2, "acc1": 1, "acc10": 1, "map": pytest.approx(1, abs=1e-4), "ground map": 1}
    assert table["lake"] == table["seen"]


def test_searches_that_learn_nothing(measure, rendered, room):
    """Both find a picture among others by itself, however bright it is; edges also by its lines."""
    grey = torch.from_numpy(rendered[0]).float().mean(3) / 255
    lines = torch.from_numpy(rendered[1]).float() / 255
    distances = room("pictures.ranking").distances
    for describe in (measure.pixels, measure.edge_histograms):
        apart = distances(describe(0.5 * grey), describe(grey))
        assert torch.equal(apart.argmin(1), torch.arange(len(grey)))
    apart = distances(measure.edge_histograms(lines), measure.edge_histograms(grey))
    own = apart.diagonal()
    assert own.mean() < (apart.sum() - own.sum()) / (apart.numel() - len(own))


def test_reranked(measure, monkeypatch):
    """The best few by [Ret] stay in front; among them the relation network has half of the say."""

    class Scorer:
        def relation(self, mine, theirs):
            return theirs[:, 0, 0]

    monkeypatch.setattr(measure, "RERANKED", 3)
    ret = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    theirs = torch.tensor([0.0, 0.9, 0.1, 1.0]).reshape(4, 1, 1)
    again = measure.reranked(Scorer(), torch.zeros(1, 1, 1), theirs, ret)
    assert again.argsort().tolist() == [[1, 0, 2, 3]]
