"""PhotoSketch's training: the nearest of several drawings counts, photos and drawings are cut and turned alike, and a
run goes on bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def module(room):
    return room("training.photosketch")


def pictures(room, count=3, sets=2, side=80):
    """Photos of a bright square on dark; the first set draws its outline, the others nothing."""
    photos = np.full((count, side, side, 3), 40, np.uint8)
    drawings = [np.full((count, side, side), 255, np.uint8) for _ in range(sets)]
    for i in range(count):
        a, b = 12 + 4 * i, 52 + 4 * i
        photos[i, a:b, a:b] = 220
        drawings[0][i, a:b, a:b] = 0
        drawings[0][i, a + 3 : b - 3, a + 3 : b - 3] = 255
    return room("training.photos").Arrays(photos, drawings)


def lesson(room, module, **own):
    store = room("training.photos").Store(pictures(room), 64)
    return module.PhotoSketchLesson(store, **{"width": 4, "blocks": 1, "batch": 2, **own})


def test_only_the_nearest_drawing_counts(module):
    drawn = torch.zeros(2, 1, 4, 4)
    drawings = torch.stack([torch.full((2, 4, 4), 0.3), torch.full((2, 4, 4), -0.1)], 1)
    drawings[1, 1] = 0.9
    assert float(module.nearest_distance(drawn, drawings)) == pytest.approx((0.1 + 0.3) / 2)
    far = drawings.clone()
    far[0, 0] = 1.0
    assert module.nearest_distance(drawn, far) == module.nearest_distance(drawn, drawings)


def test_photo_and_drawings_are_turned_alike(room, module):
    store = room("training.photos").Store(pictures(room), 64)
    batches = module.DrawnBatches(store, 4, 0)
    batch = batches(5)
    assert batch.photo.shape == (4, 3, 64, 64)
    assert batch.drawings.shape == (4, 2, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(batch, batches(5), strict=True))
    assert not torch.equal(batch.photo, batches(6).photo)
    for photo, drawing in zip(batch.photo.mean(1), batch.drawings[:, 0], strict=True):
        bright, inked = photo > (photo.max() + photo.min()) / 2, drawing < 0
        inner = torch.nn.functional.max_pool2d(-bright.float()[None, None], 9, 1, 4)[0, 0] == -1
        outer = torch.nn.functional.max_pool2d(bright.float()[None, None], 5, 1, 2)[0, 0] == 0
        assert inked.any()
        assert not (inked & inner).any(), "lines are at the square's edge"
        assert not (inked & outer).any()


def test_turning(module):
    picture = torch.arange(16.0).view(1, 4, 4)
    assert torch.allclose(module.turned(picture, 0, mirrored=False), picture, atol=1e-4)
    assert torch.allclose(module.turned(picture, 0, mirrored=True), picture.flip(-1), atol=1e-4)
    assert torch.allclose(module.turned(picture, 90, mirrored=False), picture.rot90(-1, (1, 2)), atol=1e-3) or (
        torch.allclose(module.turned(picture, 90, mirrored=False), picture.rot90(1, (1, 2)), atol=1e-3)
    )


def test_learns_and_is_the_published_layout(room, module):
    with lesson(room, module) as one:
        found = [one.step(step, step / 60)[0] for step in range(24)]
        assert found[-1]["nearest"] < 0.8 * found[0]["nearest"]
        weights = one.weights()
        photos, drawn = one.drawn()
    assert photos.shape[0] == drawn.shape[0] == 3
    network = room("networks").build(weights)
    assert type(network).__name__ == "PhotoSketch"
    assert (network.width, network.out_channels) == (4, 1)
    assert torch.allclose(network(photos), drawn, atol=1e-5)


def test_the_rate_falls_in_the_second_half(room, module):
    with lesson(room, module) as one:
        for progress, share in ((0.0, 1), (0.5, 1), (0.75, 0.5), (1.0, 0)):
            one.step(0, progress)
            assert one.optimisers[0].param_groups[0]["lr"] == pytest.approx(share * module.RATE)


def test_resumes_bit_for_bit(room, module, tmp_path):
    loop = room("training.loop")
    with lesson(room, module) as one:
        loop.learn(one, tmp_path / "a", loop.Goal(4))
        whole = one.weights()

    def stop(moment):
        if moment.course.steps == 2:
            raise KeyboardInterrupt

    with lesson(room, module) as one, pytest.raises(KeyboardInterrupt):
        loop.learn(one, tmp_path / "b", loop.Goal(4), watch=stop)
    with lesson(room, module) as one:
        loop.learn(one, tmp_path / "b", loop.Goal(4))
        assert all(torch.equal(whole[key], value) for key, value in one.weights().items())


def test_other_sizes_are_refused(room, module):
    store = room("training.photos").Store(pictures(room), 96)
    with pytest.raises(ValueError, match="PhotoSketch is trained at 64, 128, 256, 512 px here, got 96"):
        module.PhotoSketchLesson(store)
