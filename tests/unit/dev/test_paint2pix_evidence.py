"""The evidence of Paint2pix: what is painted in which step, what counts as changed, and which rows compare."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evidence.page import Store


@pytest.fixture
def evidence(room, monkeypatch):
    from evidence import paint2pix
    from runtime import inprocess

    monkeypatch.setattr(inprocess, "room", room)
    return paint2pix


def test_every_part_has_as_many_strokes(evidence):
    times = np.array([[2.0, 0.1, 0.2], [0.3, 2.0, 0.4], [0.5, 0.6, 0.9]])
    assert evidence.moments(times, 2, 2) == [0.2, 0.4], "levels after the layers are left out"
    assert evidence.moments(times, 3, 3) == [0.3, 0.5, 0.9]
    assert evidence.moments(times, 1, 3)[-1] == 0.2, "fewer strokes than parts"


def test_steps_add_up_to_the_painting(evidence, room, tmp_path, monkeypatch):
    """All new strokes one after the other are the layers of the painting; canvases get fuller."""
    held = evidence.held_out(2, tmp_path)
    assert held.photos.shape == (2, 64, 64, 3)
    assert [*held.canvases] == [*held.painted] == list(evidence.FRACTIONS)
    shares = [where.float().mean().item() for where in held.painted.values()]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    canvases, world = room("training.paint2pix.canvases"), room("starter.training.paintings")
    known = world.world_paintings(tmp_path, "held_out", 2, evidence.FIRST, 64)
    ground = torch.zeros(2, 64, 64, 3)
    for strokes, where in held.new:
        ground = evidence.painted_over(ground, strokes, where)
    for i in range(2):
        painting = known.painting(i)
        layers = painting._replace(strokes=painting.strokes[: world.LAYERS], colours=painting.colours[: world.LAYERS])
        black = np.zeros((32, 32, 3), np.uint8)
        whole, _ = canvases.filled(layers, np.zeros(layers.colours.shape[:2]), 1.0, black)
        assert torch.equal(ground[i, ::2, ::2], torch.from_numpy(whole).float() / 255)


def test_strokes_stay_flat_and_the_rest_as_it_was(evidence):
    ground, strokes = torch.rand(1, 4, 4, 3), torch.rand(1, 2, 2, 3)
    where = torch.tensor([[[True, False], [False, False]]])
    over = evidence.painted_over(ground, strokes, where)
    assert torch.equal(over[0, :2, :2], strokes[0, 0, 0].expand(2, 2, 3))
    assert torch.equal(over[0, 2:], ground[0, 2:])
    assert torch.equal(over[0, :, 2:], ground[0, :, 2:])


def test_only_the_unpainted_part_counts(evidence):
    """Whatever happens under the strokes; per area, so that large strokes do not make a change small."""

    def apart(one, other):
        return (one - other).abs().mean((1, 2, 3))

    before = torch.zeros(2, 4, 4, 3)
    after, where = before.clone(), torch.zeros(2, 4, 4, dtype=torch.bool)
    where[0, :2], where[1, :3] = True, True
    after[0, :2], after[1, :3] = 1.0, 0.7
    assert [part.tolist() for part in evidence.unpainted_change(before, after, where, apart)] == [[0, 0], [0, 0]]
    after[0, 2:], after[1, 3:] = 0.25, 0.25
    for found in evidence.unpainted_change(before, after, where, apart):
        assert found.tolist() == pytest.approx([0.25, 0.25])


def test_equal_realism_is_the_nearest_distance(evidence):
    def change(distance):
        return evidence.Change(distance, None, None, 0.0)

    others = {0.2: change(0.3), 0.5: change(0.21), 0.7: change(0.1)}
    assert evidence.nearest(0.2, others) == 0.5
    assert evidence.nearest(0.0, others) == 0.7


def test_rows_of_as_many_scenes_stand_together(evidence):
    def way(name, count):
        return evidence.Way(name, {0.1: torch.zeros(count, 8, 8, 3)})

    rows = evidence.in_groups([way("Paint2pix", 5), way("SDEdit", 2)], [way("(canvases)", 5)])
    assert [(row.name, row.count) for row in rows] == [
        *(("Paint2pix", 5), ("(canvases)", 5)),
        *(("Paint2pix", 2), ("SDEdit", 2), ("(canvases)", 2)),
    ]
    assert [evidence.some_of(count, 24) for count in (100, 8, 1)] == [24, 1, 1]


def test_a_store_keeps_what_its_clock_said(tmp_path, monkeypatch):
    monkeypatch.setattr("evidence.page.cache_root", lambda: tmp_path)
    ticks = iter([0.0, 2.0, 10.0, 13.0])

    def store():
        return Store("few", 1, (), lambda: next(ticks))

    first = store()
    made = first.get("pictures", 4, lambda a, b: torch.full((b - a, 2, 2, 3), a / 255), batch=2)
    assert first.seconds == {"pictures": 5.0}
    again = store()
    assert torch.equal(again.get("pictures", 4, lambda a, b: pytest.fail("made again"), batch=2), made)
    assert again.seconds == {"pictures": 5.0}
