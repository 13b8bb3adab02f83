"""Around the sketch GAN's networks: shapes that come back, styles that mix, collages, each picture's own noise."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture(scope="module")
def pictures(room):
    return room("pipelines.sketchgan")


def style(pictures, batch=1, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return pictures.Style(tuple(torch.randn(batch, times * width, generator=generator) for times in (2, 4, 8)))


@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 200), (301, 97), (7, 9), (1000, 3)])
def test_the_shape_comes_back(pictures, frame, height, width):
    """A disc goes through the network's square and back: at the network's size, in the sketch's own proportions."""
    frame = pictures.FRAMES[frame]
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    sketch = (((rows / 0.6) ** 2 + (columns / 0.6) ** 2) > 1).float()[None, ..., None].expand(2, -1, -1, 3)
    seen = pictures.squared(sketch, 128, frame)
    assert seen.shape == (2, 1, 128, 128)
    assert -1 <= float(seen.min()) <= float(seen.max()) <= 1
    back = pictures.restored(seen.expand(-1, 3, -1, -1), height, width, frame)
    longer = 128 / max(height, width)
    assert back.shape == (2, max(1, round(longer * height)), max(1, round(longer * width)), 3)
    if min(back.shape[1:3]) > 20:
        share, own = 1 - back[0, ..., 0].mean(), 1 - sketch[0, ..., 0].mean()
        assert float(share) == pytest.approx(float(own), abs=0.01), "as much ink as before"


def test_squares_are_not_touched(pictures):
    sketch = torch.rand(1, 128, 128, 3)
    for frame in pictures.FRAMES:
        seen = pictures.squared(sketch, 128, frame)
        assert torch.allclose(seen[0, 0], 2 * sketch[0].mean(-1) - 1, atol=1e-6)
        picture = 2 * torch.rand(1, 3, 128, 128) - 1
        back = pictures.restored(picture, 77, 77, frame)
        assert torch.allclose(2 * back.movedim(-1, 1) - 1, picture, atol=1e-6)


def test_paper_is_put_round_a_whole_sketch(pictures):
    seen = pictures.squared(torch.zeros(1, 32, 64, 3), 64, pictures.PADDED)
    assert (seen[0, 0, :16] == 1).all()
    assert (seen[0, 0, 48:] == 1).all()
    assert (seen[0, 0, 16:48] == -1).all()
    assert (pictures.squared(torch.zeros(1, 32, 64, 3), 64, pictures.STRETCHED) == -1).all()


def test_mixing(pictures):
    """Shares of 0 and 1 are the styles to the bit; each level goes by its own share; steps are even, in order."""
    one, other = style(pictures, seed=0), style(pictures, seed=1)
    for share, same in ((0.0, one), (1.0, other)):
        assert all(map(torch.equal, pictures.mix(one, other, [share] * 3).levels, same.levels))
    mixed = pictures.mix(one, other, (1.0, 0.25, 0.0))
    assert torch.equal(mixed.levels[0], other.levels[0])
    assert torch.allclose(mixed.levels[1], 0.75 * one.levels[1] + 0.25 * other.levels[1], atol=1e-6)
    assert torch.equal(mixed.levels[2], one.levels[2])
    row = pictures.mix(one, other, (1.0, 0.5, 0.0), steps=5)
    assert len(row) == 5
    for i, level in enumerate(row.levels[0]):
        assert torch.allclose(level, torch.lerp(one.levels[0], other.levels[0], i / 4)[0], atol=1e-6)
    assert torch.allclose(row.levels[1][4], (one.levels[1] + other.levels[1])[0] / 2, atol=1e-6)
    assert len(pictures.mix(one, style(pictures, 3), (0.5, 0.5, 0.5), 2)) == 6
    with pytest.raises(ValueError, match="style_a has a batch of 2 and the style_b one of 3"):
        pictures.mix(style(pictures, 2), style(pictures, 3), (0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match=r"widths 8 and 16\. Make both with the same sketch GAN"):
        pictures.mix(one, style(pictures, width=16), (0.5, 0.5, 0.5))


def test_collages(pictures):
    """Which picture lies where: known by flat colours at the tiles' middles."""
    flat = torch.tensor([0.1, 0.3, 0.6, 0.9])[:, None, None, None].expand(-1, 40, 20, 3)

    def at(arrangement, *places):
        made = pictures.collage(flat, arrangement, 64)
        assert made.shape == (1, 64, 64, 3)
        return [round(float(made[0, row, column, 0]), 2) for row, column in places]

    assert pictures.collage(flat, pictures.EACH, 64) is flat
    assert at(pictures.DOWN, (8, 8), (24, 50), (40, 8), (56, 30)) == [0.1, 0.3, 0.6, 0.9]
    assert at(pictures.ACROSS, (8, 8), (50, 24), (8, 40), (30, 56)) == [0.1, 0.3, 0.6, 0.9]
    corners = (16, 16), (16, 48), (48, 16), (48, 48)
    assert at(pictures.ROWS, *corners) == [0.1, 0.3, 0.6, 0.9]
    assert at(pictures.COLUMNS, *corners) == [0.1, 0.6, 0.3, 0.9]
    assert pictures.collage(flat[:3], pictures.DOWN, 64).shape == (1, 64, 64, 3)
    with pytest.raises(ValueError, match="4 pictures in one batch, got 3"):
        pictures.collage(flat[:3], pictures.ROWS, 64)
    with pytest.raises(ValueError, match="2 or more pictures in one batch, got 1"):
        pictures.collage(flat[:1], pictures.ACROSS, 64)


@pytest.mark.parametrize("kind", ["art", "shoe", "face"])
def test_noise_is_a_pictures_own(pictures, room, kind):
    """What a seed draws does not depend on the pictures beside it, nor on torch's own generator."""
    network = room("networks.sketchgan.refiner").refiner(kind, width=8, size=128, device="meta")
    noise, flips = pictures.draws(network, [5, 6, 7])
    assert [tuple(x.shape) for x in noise] == network.noise_shapes(3)
    torch.manual_seed(123)
    alone, turned = pictures.draws(network, [6])
    assert all(torch.equal(x[1:2], y) for x, y in zip(noise, alone, strict=True))
    assert (flips is None) == (kind != "face")
    if flips is not None and turned is not None:
        assert torch.equal(flips[1:2], turned)
        many = pictures.draws(network, range(40))[1]
        assert {tuple(row) for row in many.tolist()} == {(a, b) for a in (True, False) for b in (True, False)}


def test_how_many_at_once(pictures):
    def count(size, batch, statistics=pictures.RUNNING):
        return pictures.at_once(SimpleNamespace(size=size, width=64), batch, statistics)

    assert [count(size, 100) for size in (128, 256, 512, 1024)] == [16, 4, 1, 1]
    assert count(128, 3) == 3
    assert count(128, 100, pictures.OWN) == 1
    assert count(512, 100, pictures.BATCH) == 100, "its members see each other, so none may be left for later"
