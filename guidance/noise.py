"""What a noisy sample is made of, in the host's coordinates of every family of models."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from ..host import NoiseFamily


SAME_LEVEL = 1e-4  # levels that differ by less, relatively, are one


def check_sigmas(sigmas: Tensor, family: NoiseFamily | None = None) -> None:
    """ValueError: SIGMAS that do not lead from noise to a picture: rising, NaN, infinite, negative, 0 before their end,
    or above a flow's highest level, 1.

    Equal neighbours pass, because the host's schedulers make them when there are more steps than levels; a step between
    them changes nothing. So does a single level, from Split Sigmas: that is a walk of no steps.
    """
    if sigmas.ndim != 1:
        raise ValueError(f"SIGMAS must be one row of noise levels, got the shape {list(sigmas.shape)}.")
    levels = sigmas.tolist()
    for level in levels:
        if not (math.isfinite(level) and level >= 0):
            raise ValueError(f"SIGMAS must be finite and not negative, got {level:g}. Connect a scheduler's output.")
    for before, after in pairwise(levels):
        if after > before:
            raise ValueError(f"SIGMAS must fall from step to step; got {after:g} after {before:g}. Remove Flip Sigmas.")
        if before == 0:
            raise ValueError("SIGMAS reach 0 before their end. Connect a scheduler's output.")
    if family is not None and family.kind == "flow" and levels and levels[0] > 1 + SAME_LEVEL:
        raise ValueError(
            f"SIGMAS begin at {levels[0]:g}, but this model is a flow, whose highest noise level is 1. Connect a "
            "scheduler that has this model."
        )


def signal_and_noise(family: NoiseFamily, sigma: float) -> tuple[float, float]:
    """(signal, noise) of a sample at `sigma`: x = signal * x0 + noise * e with e of unit variance."""
    if family.kind == "flow":
        return 1 - sigma, sigma * family.noise_scale
    return 1.0, sigma
