"""GradOP's arithmetic: when it looks at the painting, and the painters that a gradient passes through."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def painters(room):
    return room("pictures.painters")


@pytest.fixture(scope="module")
def timing(room):
    return room("samplers.window")


def test_window_table(timing, golden):
    rows = json.loads((golden / "gradop" / "window_table.json").read_text())["rows"]
    assert len(rows) == 10
    for row in rows:
        found = timing.window(row["num_inference_steps"], row["strength"], row["num_iterative_steps"])
        assert list(found) == row["opt_after_step_index"], row
        assert len(found) + 1 == row["n_noise_draws"]


@pytest.mark.parametrize(
    ("steps", "strength", "rounds", "expected"),
    [
        (50, 0.85, 1, [7]),
        (25, 0.8, 2, [4, 5]),
        (50, 0.02, 3, []),
        (50, 0.0, 3, []),
        (1, 1.0, 3, []),
        (2, 1.0, 3, [0]),
        (4, 1.0, 50, [0, 1, 2]),
        (10, 0.8, 0, []),
    ],
)
def test_window_at_its_ends(timing, steps, strength, rounds, expected):
    assert list(timing.window(steps, strength, rounds)) == expected


@pytest.mark.parametrize(("steps", "strength", "start"), [(50, 0.8, 10), (50, 1.0, 0), (50, 0.01, 49), (10, 0.35, 7)])
def test_second_walk(timing, steps, strength, start):
    assert timing.second_walk(steps, strength) == start


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(0, 3), (3, 4), (4, 5), (5, 12)]),
        ({"variant": "GradOP+", "rounds": 1}, [(0, 3), (3, 12)]),
        ({"variant": "GradOP"}, [(0, 12), (3, 12)]),
        ({"rounds": 0}, [(0, 12)]),
        ({"variant": "GradOP", "gradient_steps": 0}, [(0, 12)]),
        ({"strength": 0.01}, [(0, 12)]),
    ],
)
def test_parts_of_a_walk(room, changes, expected):
    task = room("samplers.canvas").Task(None, torch.zeros(1, 8, 8, 3), **changes)
    assert task.parts(12) == expected


def test_the_published_blur(painters, golden):
    case = load_file(golden / "gradop" / "painting_function.safetensors")
    assert (painters.blur(case["x"], 7.0) - case["y"]).abs().max() < 1e-6
    dot = torch.zeros(1, 1, 101, 101)
    dot[..., 50, 50] = 1
    row = painters.blur(dot, 7.0).sum(-2).flatten()
    assert torch.allclose(row[33:68], case["kernel1d"], atol=1e-7)
    assert row[:33].abs().max() == 0
    assert row[68:].abs().max() == 0


def spread(painters, painter, side, **settings):
    """Standard deviation, in pixels, of what becomes of a dot in the middle; too wide a blur is cut at 2.5 of them."""
    dot = torch.zeros(1, 3, side, side)
    dot[..., side // 2, side // 2] = 1
    row = painter(dot, **settings)[0, 0].sum(0)
    place = torch.arange(side) - side // 2
    return float(((row * place.square()).sum() / row.sum()) ** 0.5)


def test_gaussian_grows_with_the_picture(painters):
    painter = painters.Painter()
    widths = {side: spread(painters, painter, side) / side for side in (128, 256, 512)}
    assert widths[512] == pytest.approx(0.954 * 7 / 512, rel=0.01)  # 0.954: the tails are cut off
    assert widths[256] == pytest.approx(widths[512], rel=0.05)
    assert widths[128] == pytest.approx(widths[512], rel=0.1)
    # never finer than the published one is on a latent
    assert spread(painters, painter, 128, cell=8.0) == pytest.approx(0.954 * 7, rel=0.01)
    assert spread(painters, painter, 512, cell=8.0) == pytest.approx(0.954 * 7, rel=0.01)
    own = painters.Painter(size=9.0)
    assert spread(painters, own, 128) == pytest.approx(0.954 * 9, rel=0.03)
    assert spread(painters, own, 64, share=1 / 3) == pytest.approx(0.954 * 3, rel=0.06)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 90)])
@pytest.mark.parametrize(
    ("kind", "size"),
    [("gaussian", 0.0), ("gaussian", 0.1), ("gaussian", 60.0), ("median + palette", 3.0), ("none", 0.0)],
)
def test_small_pictures_and_large_brushes(painters, shape, size, kind):
    picture = torch.rand(2, 3, *shape)
    painted = painters.Painter(kind, size)(picture)
    assert painted.shape == picture.shape
    assert torch.isfinite(painted).all()
    assert painted.min() > -1e-6
    assert painted.max() < 1 + 1e-6


def test_median_paints_flat_strokes_and_lets_the_slope_through(painters):
    picture = torch.rand(2, 3, 48, 40, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.rand(2, 3, 48, 40, generator=torch.Generator().manual_seed(1))
    painted = painters.Painter("median + palette", 5.0, 4)(picture)
    expected = painters.simulate_strokes(picture.detach().movedim(1, -1), 5, 4).movedim(-1, 1)
    assert torch.allclose(painted, expected, atol=1e-6)
    assert len(torch.unique((255 * painted[0]).round().flatten(1), dim=1).T) <= 4
    (slope,) = torch.autograd.grad((painted * weights).sum(), picture)
    assert torch.equal(slope, weights)


def test_median_works_at_the_reference_scale(painters):
    """Large pictures are compared small; what counts there comes back to every pixel."""
    picture = torch.full((1, 3, 512, 384), 0.3, requires_grad=True)
    painted = painters.Painter("median + palette")(picture)
    assert abs(painted.shape[-2] * painted.shape[-1] / 256**2 - 1) < 0.02
    (slope,) = torch.autograd.grad(painted.sum(), picture)
    assert slope.min() > 0
    assert slope.sum().item() == pytest.approx(painted.numel(), rel=1e-3)


def test_none_is_the_picture_itself(painters):
    picture = torch.rand(1, 3, 9, 7)
    assert painters.Painter("none", 5.0)(picture) is picture
