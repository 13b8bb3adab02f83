"""The command `retrieve`: its words, and the bench and evidence that stand beside it."""

from __future__ import annotations

import pytest
import torch

from tools import retrieve


def test_words():
    read = retrieve.parser().parse_args
    one = read(["find", "photos", "a.png", "b.svg", "--mode", "ret-rn", "--count", "3"])
    assert (one.command, [path.name for path in one.sketches], one.mode, one.count) == (
        *("find", ["a.png", "b.svg"]),
        *("ret-rn", 3),
    )
    one = read(["evaluate", "sketchy", "Sketchy", "--split", "21", "--testall", "--every", "2", "3"])
    assert (one.data, one.split, one.testall, one.every) == ("sketchy", "21", True, [2, 3])
    with pytest.raises(SystemExit):
        read(["evaluate", "imagenet", "x"])
    with pytest.raises(SystemExit):
        read([])


@pytest.fixture
def evidence(room, monkeypatch):
    from evidence import retrieval
    from runtime import inprocess

    monkeypatch.setattr(inprocess, "room", room)
    return retrieval


def test_ranking_again_keeps_the_others_behind(evidence):
    first = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    second = torch.tensor([[0.9, 0.8, 0.1, 0.0]])
    assert evidence.again(first, second, 3).argsort(1).tolist() == [[2, 1, 0, 3]]
    assert evidence.again(first, second, 0).argsort(1).tolist() == [[0, 1, 2, 3]]


def test_judging(evidence):
    """Three scenes of two grounds: the first is found at once, the second as second, the third last."""
    distance = torch.tensor([[0.0, 1, 2], [0.0, 1, 2], [0.0, 1, 2]])
    first, tenth, by_ground = evidence.judged(distance, [0, 1, 2], ["lake", "lake", "dunes"])
    assert first == pytest.approx(1 / 3)
    assert tenth == 1
    assert by_ground == pytest.approx((1 + 1 + 1 / 3) / 3, abs=1e-4)


def test_rows_by_ground(evidence):
    """Each ground, then those learned from and the others; of a way that ranked some sketches only, the right ones."""
    grounds = ["lake", "dunes", "meadow", "dunes"]
    perfect = 1 - torch.eye(4)
    ways = {"Ret": (perfect, [0, 1, 2, 3]), "RN": (torch.zeros(2, 4).index_fill(1, torch.tensor([3]), -1.0), [1, 3])}
    rows = {row[0]: row[1:] for row in evidence.by_ground(ways, grounds, ("lake", "meadow"))}
    assert rows["Ret: dunes (never seen)"][:2] == [2, 1]
    assert rows["Ret: learned"][0] == rows["Ret: never seen"][0] == 2
    assert rows["RN: never seen"][:2] == [2, 0.5]
    assert "RN: learned" not in rows


def test_edge_histograms_tell_directions(evidence):
    across, down = torch.ones(1, 64, 64), torch.ones(1, 64, 64)
    across[:, 30:33] = 0
    down[:, :, 30:33] = 0
    one, other, shifted = (evidence.edges(x) for x in (across, down, across.roll(1, 1)))
    assert float((one * other).sum()) < 0.5 * float((one * shifted).sum())
    assert torch.allclose(evidence.edges(across[..., None].expand(-1, -1, -1, 3)), one)
