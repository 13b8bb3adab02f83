"""Unfinished canvases: coarse to fine, large areas first, the same for the same seed and place."""

from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def module(room):
    return room("training.paint2pix.canvases")


@pytest.fixture(scope="module")
def photo():
    from .conftest import place

    return np.asarray(place(3, 64))


@pytest.fixture(scope="module")
def painting(module, photo):
    return module.painted(photo, 32)


def errors(painting, photo, made):
    small = torch.from_numpy(np.array(photo)).float().view(32, 2, 32, 2, 3).mean((1, 3)).numpy()
    return float(np.abs(made.astype(np.float32) - small).mean())


def test_levels_get_finer(module, painting, photo):
    assert painting.strokes.shape == (4, 32, 32)
    assert painting.side == 32
    counts = [len(np.unique(level)) for level in painting.strokes]
    assert counts[0] <= 3
    assert counts == sorted(counts)
    assert (painting.strokes > 0).all(), "every level covers the whole picture"
    flat = [colours[level] for level, colours in zip(painting.strokes, painting.colours, strict=True)]
    far = [errors(painting, photo, one) for one in flat]
    assert far[-1] < far[0]
    assert far[-1] < 6, "the finest level is the photo, nearly"


def test_large_areas_come_first(module, painting):
    """In the mean over many orders: a stroke's time and its area fall together; levels follow each other."""
    times = np.mean([module.order_of(painting, np.random.default_rng(i)) for i in range(20)], 0)
    there = [np.flatnonzero(np.bincount(level.ravel(), minlength=times.shape[1])) for level in painting.strokes]
    for i, strokes in enumerate(there):
        assert (times[i][strokes] > i / 4).all()
        assert (times[i][strokes] <= (i + 1) / 4).all()
        area = np.bincount(painting.strokes[i].ravel())[strokes]
        largest, smallest = strokes[area.argmax()], strokes[area.argmin()]
        assert times[i][largest] < times[i][smallest]


def test_a_canvas_fills_up(module, painting, photo):
    times = module.order_of(painting, np.random.default_rng(0))
    ground = np.zeros((32, 32, 3), np.uint8)
    shares, far = [], []
    for until in (0.0, 0.1, 0.3, 0.6, 1.0):
        canvas, covered = module.filled(painting, times, until, ground)
        assert (canvas[~covered] == 0).all(), "unpainted ground stays"
        shares.append(covered.mean())
        far.append(errors(painting, photo, canvas))
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert far == sorted(far, reverse=True)


def test_a_brush_paints_in_the_pictures_colours(module, painting):
    """Canvases after n and n + m strokes; the second contains the first."""
    ground = np.zeros((32, 32, 3), np.uint8)
    (first, one), (second, two) = module.brushed(painting, np.random.default_rng(1), (3, 2), ground)
    assert 0 < one.mean() < two.mean()
    assert (two | ~one).all()
    assert (first[~one] == 0).mean() > 0.9
    assert not np.array_equal(first, second)
    (empty, none), (same, _) = module.brushed(painting, np.random.default_rng(1), (0, 0), ground)
    assert none.sum() == 0
    assert np.array_equal(empty, ground)
    assert np.array_equal(empty, same)


def test_batches(module, places, room):
    """By seed and step alone; pictures and masks belong together; the finished picture is the target."""
    pictures = room("training.photos").alone(places)
    paintings = module.PhotoPaintings(pictures, 32, 16)
    batches = module.Canvases(paintings, 4, 7)
    batch = batches(5)
    assert [tuple(part.shape) for part in batch] == [(4, 3, 16, 16), (4, 3, 16, 16), (4, 3, 32, 32), (4, 1, 16, 16)]
    again, other = module.Canvases(module.PhotoPaintings(pictures, 32, 16), 4, 7)(5), batches(6)
    assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True))
    assert not torch.equal(batch.canvas, other.canvas)
    assert not torch.equal(module.Canvases(paintings, 4, 8)(5).canvas, batch.canvas)
    many = [batches(step) for step in range(20)]
    share = torch.cat([one.painted.mean((1, 2, 3)) for one in many])
    assert share.min() < 0.3
    assert share.max() == 1
    known = {tuple(np.asarray(pictures.photo(i)).reshape(-1)) for i in range(8)}
    seen = ((batch.photo + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    assert all(tuple(one.reshape(-1)) in known or tuple(one[:, ::-1].reshape(-1)) in known for one in seen)
    for one in many:
        same = (one.canvas == one.updated).flatten(1).all(1)
        off = (one.canvas != one.updated).any(1, keepdim=True)[~same]
        assert (one.painted[~same] >= off).float().mean() > 0.99, "only painted places change"


def test_memory_is_limited(module, places, room):
    pictures = room("training.photos").alone(places)
    paintings = module.PhotoPaintings(pictures, 32, 16, keep=2 * 4 * 16 * 16 * 3)
    for i in range(8):
        paintings.painting(i)
    assert len(paintings.kept.held) == 3
    assert np.array_equal(paintings.painting(7).strokes, module.painted(paintings.photo(7), 16).strokes)
