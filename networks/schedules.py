"""The noise schedules of guided diffusion (arXiv 2102.09672, section 3.2; arXiv 2105.05233): betas, levels, and steps
left out of a ladder."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

LINEAR, COSINE = "linear", "cosine"
SCHEDULES = (LINEAR, COSINE)


def betas(schedule: str, steps: int) -> Tensor:
    """The betas [steps] in float64.

    linear: from 1e-4 to 0.02 at 1000 steps, both times 1000 / steps. cosine: 1 - abar(i + 1) / abar(i), at most .999,
    with abar(u) = cos^2((u + .008) / 1.008 * pi / 2) at u = i / steps. ValueError: another schedule, or too few steps.
    """
    if schedule == LINEAR:
        scale = 1000 / steps
        if scale * 0.02 >= 1:
            raise ValueError(f"The linear schedule needs 21 diffusion steps or more, got {steps}. Raise the number.")
        return torch.linspace(scale * 1e-4, scale * 0.02, steps, dtype=torch.float64)
    if schedule == COSINE:
        if steps < 1:
            raise ValueError(f"The cosine schedule needs 1 diffusion step or more, got {steps}. Raise the number.")
        left = [math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 1)]
        rows = [min(1 - after / before, 0.999) for before, after in pairwise(left)]
        return torch.tensor(rows, dtype=torch.float64)
    raise ValueError(f"noise_schedule must be one of {', '.join(SCHEDULES)}, got '{schedule}'. Choose one of them.")


def abars(schedule: str, steps: int) -> Tensor:
    """The shares of signal left, abar [steps], in float64: x_t = sqrt(abar) x_0 + sqrt(1 - abar) e."""
    return torch.cumprod(1 - betas(schedule, steps), 0)


def sigmas(schedule: str, steps: int) -> Tensor:
    """The noise-to-signal ratios sqrt((1 - abar) / abar) [steps], ascending, in float64: the host's levels."""
    abar = abars(schedule, steps)
    return ((1 - abar) / abar).sqrt()


def respaced(steps: int, text: str) -> list[int]:
    """The indices, ascending, that a ladder of fewer steps keeps of `steps`; guided diffusion's timestep_respacing.

    text: "ddimN": every k-th index, with the smallest k that leaves exactly N. Else numbers with commas between them:
    the ladder is cut into as many equal sections, and each keeps its number of indices, evenly spaced. "" keeps all.
    ValueError: neither, or no ladder is like that.
    """
    text = text.strip()
    if not text:
        return list(range(steps))
    if text.startswith("ddim") and text[4:].isdigit():
        return _strided(steps, int(text[4:]))
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(
            f"A respacing is ddimN or whole numbers above 0 with commas between them, got '{text}'. Try ddim25, 250 or "
            "90,60,60,20,20."
        )
    kept: list[int] = []
    first = 0
    for i, count in enumerate(map(int, parts)):
        size = steps // len(parts) + (i < steps % len(parts))
        if count > size:
            raise ValueError(
                f"Section {i + 1} of the respacing '{text}' has {size} of {steps} steps and cannot keep {count}. Lower "
                "that number, or give fewer sections."
            )
        stride = 1.0 if count <= 1 else (size - 1) / (count - 1)
        place = 0.0
        for _ in range(count):  # added up and rounded half to even, as in the release, which decides some indices
            kept.append(first + round(place))
            place += stride
        first += size
    return kept


def _strided(steps: int, count: int) -> list[int]:
    for stride in range(1, steps):
        if len(range(0, steps, stride)) == count:
            return list(range(0, steps, stride))
    near = sorted({len(range(0, steps, stride)) for stride in range(1, steps)}, key=lambda n: (abs(n - count), n))
    raise ValueError(
        f"No whole stride leaves exactly {count} of {steps} steps, so ddim{count} does not exist. The nearest are "
        f"{' and '.join(f'ddim{n}' for n in sorted(near[:2]))}; plain {max(count, 1)} spaces them unevenly."
    )
