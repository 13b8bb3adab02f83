"""What a noisy sample is made of, in the host's coordinates of every family of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..host import NoiseFamily


def signal_and_noise(family: NoiseFamily, sigma: float) -> tuple[float, float]:
    """What a sample at `sigma` is made of: x = signal * x0 + noise * e with e of unit variance."""
    if family.kind == "flow":
        return 1 - sigma, sigma
    return 1.0, sigma
