"""Retrieval's metrics against the official code, and against rankings whose values are known."""

from __future__ import annotations

import json

import pytest
import torch

from helpers.golden_files import load_file


@pytest.fixture(scope="module")
def ranking(room):
    return room("pictures.ranking")


def recorded(golden, name):
    notes = json.loads((golden / f"zse_sbir/{name}.json").read_text())
    return notes, load_file(golden / f"zse_sbir/{name}.safetensors")


@pytest.mark.parametrize("name", ["metrics", "metrics_small"])
def test_published_metrics(ranking, golden, name):
    """Every query's values and the totals, to the last digits. Ties are ordered as recorded: NumPy's order of them may
    differ between machines."""
    notes, known = recorded(golden, name)
    assert torch.equal(known["same"].bool(), known["query_label"][:, None] == known["gallery_label"])
    relevant = known["same"].double().gather(1, known["order"].long())
    measures = {
        "voc": ranking.average_precision,
        "prec": ranking.precision_at,
        "other_map": ranking.plain_average_precision,
    }
    seen = set()
    for key, values in notes["per_query"].items():
        kind, _, top = key.rpartition("_")
        mine = measures[kind](relevant, relevant.shape[1] if top == "all" else int(top))
        expected = torch.tensor([float(value) for value in values], dtype=torch.float64)
        assert torch.allclose(mine, expected, rtol=0, atol=2e-12, equal_nan=True), key
        seen.add(kind)
    assert seen >= {"voc", "prec"}
    assert any(value == "nan" for value in notes["per_query"]["voc_all"]) == (name == "metrics_small")
    mine = ranking.scores(torch.arange(relevant.shape[1]).expand_as(relevant).double(), relevant)._asdict()
    for key, value in notes["totals"].items():
        assert mine[key] == pytest.approx(value, rel=0, abs=1e-12), key


@pytest.mark.parametrize("name", ["metrics", "metrics_small"])
def test_published_order(ranking, golden, name):
    """From the distances themselves; only equally near photos may stand otherwise."""
    notes, known = recorded(golden, name)
    distance, order = known["distance"], known["order"].long()
    place = torch.arange(distance.shape[1]).expand_as(distance)
    mine = torch.zeros_like(distance).scatter(1, ranking.ranked(distance, place + 1).long() - 1, place.double())
    wrong = mine.gather(1, order) != place
    assert torch.equal(distance.gather(1, ranking.ranked(distance, place).long()), distance.sort(1).values)
    assert wrong.double().mean() < 0.005
    scores = ranking.scores(distance, known["same"])
    assert scores.map_all == pytest.approx(notes["totals"]["map_all"], abs=5e-4)


def test_known_rankings(ranking):
    """Precision at the two relevant places is 1/2 and 2/3: interpolated, the first counts 2/3 as well."""
    relevant = torch.tensor([[0.0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]])
    assert ranking.average_precision(relevant).tolist() == pytest.approx([2 / 3, 1, 1 / 4])
    assert ranking.plain_average_precision(relevant).tolist() == pytest.approx([7 / 12, 1, 1 / 4], abs=1e-5)
    assert ranking.average_precision(relevant, 2).tolist() == pytest.approx([1 / 4, 1, 0])
    assert ranking.precision_at(relevant, 1).tolist() == [0, 1, 0]
    assert ranking.precision_at(relevant, 100).tolist() == [0.5, 1, 0]
    assert ranking.recalled_at(relevant, 2).tolist() == [1, 1, 0]


def test_queries_without_a_relevant_photo_are_left_out(ranking):
    distance = torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    same = torch.tensor([[0, 1, 0], [0, 0, 0]])
    alone, both = ranking.scores(distance[:1], same[:1]), ranking.scores(distance, same)
    assert both == alone
    relevant = ranking.ranked(distance, same)
    for values in (ranking.average_precision(relevant), ranking.precision_at(relevant, 100)):
        assert values.isnan().tolist() == [False, True]
    assert all(value != value for value in ranking.scores(distance[1:], same[1:]))


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_distances(ranking, queries, dtype):
    """Torch's pairwise distance of unit vectors, whatever their lengths; also in several blocks."""
    rng = torch.Generator().manual_seed(0)
    sketches = (3 * torch.randn(queries, 64, generator=rng)).to(dtype)
    photos = torch.cat([torch.randn(6, 64, generator=rng).to(dtype), sketches[:1]])
    unit = torch.nn.functional.normalize
    known = torch.stack(
        [
            torch.nn.functional.pairwise_distance(unit(sketch[None].double()), unit(photos.double()))
            for sketch in sketches
        ]
    )
    whole = ranking.distances(sketches, photos)
    assert whole.dtype == torch.float32
    assert torch.allclose(whole.double(), known, rtol=0, atol=1e-7)
    known_block, ranking.BLOCK = ranking.BLOCK, 8
    try:
        assert torch.allclose(ranking.distances(sketches, photos), whole, rtol=0, atol=1e-7)
    finally:
        ranking.BLOCK = known_block


def test_wrong_tables_are_told(ranking):
    with pytest.raises(ValueError, match=r"got \[2, 3\] and \[2, 4\]"):
        ranking.scores(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="contain NaN"):
        ranking.scores(torch.tensor([[torch.nan, 0.0]]), torch.ones(1, 2))
