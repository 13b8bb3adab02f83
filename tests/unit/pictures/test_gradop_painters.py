"""GradOP's painters, which a gradient passes through."""

from __future__ import annotations

import pytest
import torch

from helpers.golden_files import load_file


@pytest.fixture(scope="module")
def painters(room):
    return room("pictures.painters")


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
