"""The low-pass against the published one's numbers, and at sizes that it never met."""

from __future__ import annotations

import pytest
import torch

from helpers.golden_files import load_file

CASES = ["s32_N2", "s32_N4", "s32_N8", "s32_N16", "s64_N16", "s64_N32"]
TOLERANCE = 1e-6  # seen: 1.2e-7; the matrices are equal bit by bit


@pytest.fixture
def lowpass(room):
    return room("pictures.lowpass")


@pytest.fixture(scope="module")
def recorded(golden):
    return load_file(golden / "invbyinv" / "resizer.safetensors")


@pytest.mark.parametrize("case", CASES)
def test_golden(lowpass, recorded, case):
    x, N = recorded[f"{case}_x"], int(case.split("N")[1])
    down, up = lowpass.matrices(x.shape[-1], lowpass.cells(*x.shape[-2:], N)[1])
    assert (down - recorded[f"{case}_Dmat"]).abs().max() < TOLERANCE
    assert (up - recorded[f"{case}_Umat"]).abs().max() < TOLERANCE
    assert (down @ x @ down.T - recorded[f"{case}_down"]).abs().max() < TOLERANCE
    assert (lowpass.low_pass(x, N) - recorded[f"{case}_updown"]).abs().max() < TOLERANCE


def test_golden_at_full_size(lowpass, recorded):
    x, expected = recorded["x256"], recorded["updown256"]
    assert (lowpass.low_pass(x, 64) - expected).abs().max() < TOLERANCE
    assert (lowpass.low_pass(x, grid=4) - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize(("height", "width", "N"), [(33, 70, 8), (5, 7, 64), (17, 17, 3), (9, 9, 1), (1, 12, 4)])
def test_any_size(lowpass, height, width, N):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, height, width, generator=generator)
    low = lowpass.low_pass(x, N)
    assert low.shape == x.shape
    assert low.dtype == torch.float32
    assert (lowpass.low_pass(torch.full_like(x, 0.3), N) - 0.3).abs().max() < 1e-6, "a flat picture stays"
    assert low.min() >= x.min() - 1e-6
    assert low.max() <= x.max() + 1e-6
    if N == 1:
        torch.testing.assert_close(low, x)
    else:
        assert low.var() < x.var()


def test_cells_stay_square(lowpass):
    assert lowpass.cells(256, 256, N=64) == (4, 4)
    assert lowpass.cells(33, 64, N=8) == (5, 8)
    assert lowpass.cells(64, 128, grid=4) == (4, 8)
    assert lowpass.cells(90, 64, grid=4) == (6, 4)


def test_half_precision_is_computed_in_float32(lowpass):
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).half()
    torch.testing.assert_close(lowpass.low_pass(x, 8), lowpass.low_pass(x.float(), 8))


def test_gradients_after_a_call_in_inference_mode(lowpass):
    """The host runs nodes in inference mode; what is made there must not come back in a later gradient."""
    with torch.inference_mode():
        lowpass.low_pass(torch.rand(1, 1, 16, 16), 4)
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(2)).requires_grad_()
            lowpass.low_pass(x, 4).square().sum().backward()
    down, up = lowpass.matrices(16, 4)
    both = up @ down
    expected = 2 * both.T @ (both @ x.detach() @ both.T) @ both
    torch.testing.assert_close(x.grad, expected)


def test_wrong_cells_are_refused(lowpass):
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="1 pixel or more"):
        lowpass.low_pass(x, 0)
    with pytest.raises(ValueError, match="Choose 1 to 8"):
        lowpass.low_pass(x, grid=9)
    with pytest.raises(ValueError, match="either N"):
        lowpass.low_pass(x)
    with pytest.raises(ValueError, match="either N"):
        lowpass.low_pass(x, 2, grid=2)
