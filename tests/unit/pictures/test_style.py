"""AdaIN and CORAL against recorded numbers; restyling without a network by what it must reach."""

from __future__ import annotations

import pytest
import torch

from helpers.golden_files import load_file


@pytest.fixture
def style(room):
    return room("pictures.style")


@pytest.fixture(scope="module")
def recorded(golden):
    return load_file(golden / "invbyinv" / "siblings.safetensors")


def worst(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def picture(seed, height=48, width=64, batch=1):
    """Smooth coloured noise in 0.2..0.8."""
    coarse = torch.rand(batch, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    fine = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed + 1))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return 0.2 + 0.6 * (0.85 * smooth + 0.15 * fine)


def covariance(x):
    return torch.cov(x.flatten(2)[0])


def test_golden_adain(style, recorded):
    assert worst(style.adain(recorded["adain/content"], recorded["adain/style"]), recorded["adain/out"]) < 1e-5


def test_golden_coral(style, recorded):
    source, target = recorded["coral/source"], recorded["coral/target"]
    found = style.coral(torch.stack([source, target]), torch.stack([target, target]))
    assert worst(found[0], recorded["coral/out"]) < 1e-5  # seen: 3.2e-7
    torch.testing.assert_close(found[1], target, atol=1e-5, rtol=0)


def test_coral_reaches_the_target_s_colours(style):
    """At another size, too: the published sums over pixels would be off by the ratio of the sizes."""
    source, target = picture(0), picture(5, 30, 20)
    moved = style.coral(source, target)
    assert (moved.mean((2, 3)) - target.mean((2, 3))).abs().max() < 1e-4
    assert worst(covariance(moved), covariance(target)) < 0.02


def test_grey_pictures_stay_calm(style):
    """A scanned sketch: grey but for one part in 255. Its faint colour must not be blown up."""
    lines = (torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(3)) > 0.2).float().expand(-1, 3, -1, -1)
    sketch = lines + torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(4)) / 255
    target = picture(7)

    def noise(ridge):  # the spread of colours on the paper, which is white everywhere
        moved = style.coral(sketch, target, ridge)
        return moved[:, :, lines[0, 0] == 1].std(2).max()

    assert noise(style.GREYISH) < 0.02
    assert noise(None) > 2 * noise(style.GREYISH)


def test_restyled_has_colours_and_contrast(style, room):
    content, exemplar = picture(11), picture(21, 60, 40)
    result = style.restyle(content, exemplar)
    assert result.shape == content.shape
    assert (result.mean((2, 3)) - exemplar.mean((2, 3))).abs().max() < 0.02
    low = room("pictures.lowpass").low_pass

    def grain(x):
        return float((x - low(x, grid=16)).std())

    rough = (exemplar + 0.1 * torch.randn(exemplar.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    assert grain(style.restyle(content, rough)) > 1.5 * grain(result)


def test_keep_colours(style):
    content, exemplar = picture(11), (picture(21) * torch.tensor([0.3, 1.0, 0.6])[:, None, None]).clamp(0, 1)
    kept, taken = style.restyle(content, exemplar, keep_colours=True), style.restyle(content, exemplar)
    mean = content.mean((2, 3))
    assert (kept.mean((2, 3)) - mean).abs().max() < 0.02
    assert (taken.mean((2, 3)) - mean).abs().max() > 0.1


def test_alpha(style):
    content, exemplar = picture(11, batch=2), picture(21)
    torch.testing.assert_close(style.restyle(content, exemplar, 0.0), content)
    full, half = style.restyle(content, exemplar), style.restyle(content, exemplar, 0.5)
    assert (half - (content + full) / 2).abs().mean() < 0.01
    alone = style.restyle(content[1:], exemplar)
    torch.testing.assert_close(full[1:], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("flat", ["content", "style", "both"])
def test_flat_pictures(style, flat):
    content = torch.full((1, 3, 16, 16), 0.5) if flat != "style" else picture(1, 16, 16)
    exemplar = torch.full((1, 3, 16, 16), 0.2) if flat != "content" else picture(2, 16, 16)
    for keep in (False, True):
        assert torch.isfinite(style.restyle(content, exemplar, keep_colours=keep)).all()


def test_small_pictures(style):
    assert style.restyle(picture(1, 3, 2), picture(2, 5, 5)).shape == (1, 3, 3, 2)
