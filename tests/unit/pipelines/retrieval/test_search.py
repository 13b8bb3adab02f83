"""Ranking: the published order, z-scores of several networks, the relation network on a few."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize, pairwise_distance


def unit(*shape):
    return normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("queries", [1, 2, 3])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_the_order_is_that_of_the_published_distance(search, monkeypatch, queries, block):
    """pairwise_distance adds 1e-6 to every difference, which decides between nearly equal photos."""
    monkeypatch.setattr(search, "ROWS", block)
    torch.manual_seed(0)
    photos, sketches = unit(100, 24), unit(queries, 24)
    found = search.best(photos, [sketches], 100)
    for sketch, ranking in zip(sketches, found, strict=True):
        distance = pairwise_distance(sketch.double()[None], photos.double())
        assert ranking.rows == distance.argsort().tolist()
        cosines = (photos @ sketch)[ranking.rows]
        assert torch.allclose(torch.tensor(ranking.scores), cosines, atol=2e-5)


def test_count_and_ties(search):
    photos = torch.eye(4)[[0, 1, 1, 1, 2, 3]]
    ranking = search.best(photos, [torch.eye(4)[1:2]], 4)[0]
    assert ranking.rows == [1, 2, 3, 0]
    assert len(search.best(photos, [torch.eye(4)[:1]], 50)[0].rows) == 6


def test_several_networks_add_their_zscores(search):
    torch.manual_seed(1)
    first, second = unit(50, 6), unit(50, 10)
    queries = [unit(2, 6), unit(2, 10)]
    found = search.best(torch.cat([first, second], 1), queries, 50)
    for i in range(2):
        scores = [rows @ (query[i] + search.EPS) for rows, query in zip((first, second), queries, strict=True)]
        total = torch.stack([(x - x.mean()) / x.std(correction=0) for x in scores]).sum(0)
        assert found[i].rows == total.argsort(descending=True).tolist()
        assert torch.allclose(torch.tensor(found[i].scores), total.sort(descending=True).values, atol=1e-4)


def test_zscores_of_equal_scores_are_none(search):
    assert search.zscores(torch.full((2, 5), 0.3)).abs().max() < 1e-3


def test_vectors_of_another_width(search):
    with pytest.raises(ValueError, match="vectors of 8 numbers, and this retriever gives 6"):
        search.best(torch.zeros(3, 8), [torch.zeros(1, 6)], 1)


def test_a_mode_with_rn_needs_a_relation_network(room, index, search, retriever, photos, tmp_path):
    index.update(tmp_path / "state", photos, retriever)
    known = index.PhotoIndex(tmp_path / "state" / index.FILE, photos, retriever, 40)
    sketches = [torch.zeros(1, 3, 16, 16)]
    for mode in (search.RN, search.BOTH):
        with pytest.raises(ValueError, match="no relation network"):
            search.rank(known, known.open(), sketches, mode, 3)


@pytest.fixture
def related(room, index, photos, tmp_path):
    """A retriever whose tokens are a picture's mean colour and whose relation prefers blue, and an index of it."""
    pipeline = room("pipelines.retrieval.retriever")

    class Network(torch.nn.Module):
        size = 16

        def tokens(self, images):
            return images.mean((2, 3))[:, None].expand(-1, 5, -1)

        def relation(self, sketch, photo):
            assert sketch.shape == photo.shape
            return photo[:, 0, 2].sigmoid()

    patcher = SimpleNamespace(model=Network(), load_device=torch.device("cpu"))
    retriever = pipeline.Retriever((pipeline.SketchNetwork("colours", patcher),))
    index.update(tmp_path / "state", photos, retriever)
    return index.PhotoIndex(tmp_path / "state" / index.FILE, photos, retriever, 40)


def blueness(related, name):
    from PIL import Image

    return int(np.asarray(Image.open(related.folder / name))[0, 0, 2])


@pytest.mark.parametrize("queries", [1, 2, 3])
def test_the_relation_network_ranks_every_pair(search, related, queries):
    held, told = related.open(), []
    found = search.rank(
        related, held, [torch.rand(queries, 3, 16, 16)], search.RN, 5, seen=lambda *now: told.append(now)
    )
    for ranking in found:
        names = [held.name(row) for row in ranking.rows]
        blue = [blueness(related, name) for name in names]
        best = sorted((blueness(related, held.name(row)) for row in range(len(held))), reverse=True)[:5]
        assert blue == best
        assert all(0 <= score <= 1 for score in ranking.scores)
    assert told[-1] == (40 * queries, 40 * queries)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_only_the_best_are_ranked_again(search, related, monkeypatch):
    monkeypatch.setattr(search, "BEST", 10)
    held, sketch = related.open(), [torch.rand(1, 3, 16, 16)]
    first = search.rank(related, held, sketch, search.RET, 10)[0]
    again = search.rank(related, held, sketch, search.BOTH, 40)[0]
    assert sorted(again.rows) == sorted(first.rows)
    blue = [blueness(related, held.name(row)) for row in again.rows]
    assert blue == sorted(blue, reverse=True)


def test_vanished_photos_are_not_ranked(search, related):
    held = related.open()
    (related.folder / held.name(3)).unlink()
    found = search.rank(related, held, [torch.rand(1, 3, 16, 16)], search.RN, 100)[0]
    assert len(found.rows) == 39
    assert 3 not in found.rows


def test_an_index_of_another_network_is_refused(index, retriever, photos, tmp_path, colours):
    index.update(tmp_path / "state", photos, retriever)
    known = index.PhotoIndex(tmp_path / "state" / index.FILE, photos, retriever, 40)
    colours.key = "other"
    with pytest.raises(ValueError, match="Run Index Photos again"):
        known.open()


def test_blank_sketches_are_numbered(retriever, colours, monkeypatch):
    import numpy as np

    pipeline = type(retriever)
    blank, line = np.ones((20, 20, 3), np.float32), np.ones((20, 20, 3), np.float32)
    line[5:15, 10] = 0

    def sketch(picture, invert=False):
        if picture.min() > 0.4:
            raise ValueError("The sketch is blank.")
        return torch.eye(16).expand(3, -1, -1)

    monkeypatch.setattr(colours, "sketch", sketch)
    assert retriever.sketches([line, line])[0].shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"Sketch 2 of 2: The sketch is blank"):
        pipeline.sketches(retriever, [line, blank])
