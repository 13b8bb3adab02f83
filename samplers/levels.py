"""From t0 to noise levels: SDEdit's one knob, for every family of models the host knows.

SDEdit (Meng et al., ICLR 2022) noises the guide up to an intermediate time t0 and walks back. Its t0 counts steps of
one schedule: 1000 betas from 1e-4 to 0.02 in a straight line. Here t0 therefore names a *noise level* of that published
schedule, and any other model starts at the same signal-to-noise ratio. Sigmas are in the host's coordinates:

    x = signal * x0 + noise * e        discrete, EDM: signal 1, noise sigma        flow: signal 1 - sigma, noise sigma
                                       (times its noise scale)

Everything here is pure torch on the CPU. `family` is host.NoiseFamily: kind, the model's own ascending sigmas and
sigma_data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..guidance.noise import SAME_LEVEL, check_sigmas, signal_and_noise
from ..networks.schedules import respaced

if TYPE_CHECKING:
    from ..host import NoiseFamily

PUBLISHED = "published noise level"
OWN_TIME = "this model's own time"
MEANINGS = (PUBLISHED, OWN_TIME)

SAME_ENTRY = 1e-3  # tables made in float32 and in float64 differ by 1e-4, neighbouring entries by 3e-3 or more


def published_sigmas() -> Tensor:
    """The 1000 noise-to-signal ratios sqrt((1 - abar) / abar) of SDEdit's schedule, ascending, .01 to 157.

    Betas linspace(1e-4, 0.02) in float64 and abar their float32 cumulative product, as the official code has them.
    """
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).float()
    abar = torch.cumprod(1 - betas, dim=0).double()
    return ((1 - abar) / abar).sqrt().float()


def matched(family: NoiseFamily, ratio: Tensor) -> Tensor:
    """The family's sigma at a published noise-to-signal ratio: sigma_data * ratio; on a flow ratio / (k + ratio), k
    being its noise scale, nearly always 1."""
    if family.kind == "flow":
        return ratio / (family.noise_scale + ratio)
    return family.sigma_data * ratio


def signal_share(family: NoiseFamily, sigma: float) -> float:
    """sqrt(abar) of this level: the guide's share of a variance-preserving mixture. 1: all of it, 0: pure noise."""
    signal, noise = signal_and_noise(family, sigma)
    signal *= family.sigma_data
    return signal / (signal**2 + noise**2) ** 0.5


def highest(family: NoiseFamily) -> float:
    """The highest level a walk may start from: sigma_max, and on a flow the last entry below 1.

    At s = 1 a flow sample holds no signal at all, so the host cannot carry it in a LATENT (it divides by 1 - s).
    """
    own = family.sigmas
    return float(own[own < 1][-1] if family.kind == "flow" else own[-1])


def start_sigma(family: NoiseFamily, t0: float, meaning: str = PUBLISHED) -> tuple[float, bool]:
    """The level that t0 names, and whether it had to be lowered to what the model knows.

    PUBLISHED: level L = max(1, round(1000 t0)) of the published schedule at the same signal-to-noise ratio; a model
    trained on that very schedule starts on its own entry. OWN_TIME: entry round(t0 * length) of the model's own table.
    """
    if not 0 < t0 <= 1:
        raise ValueError(f"t0 is a fraction of the noise schedule, above 0 and up to 1, got {t0:g}. Try 0.4 to 0.6.")
    own = family.sigmas
    if meaning == OWN_TIME:
        sigma = float(own[_level(t0, len(own)) - 1])
    else:
        sigma = float(matched(family, published_sigmas()[_level(t0, 1000) - 1]))
        nearest = float(own[(own - sigma).abs().argmin()])
        if family.kind == "discrete" and abs(nearest / sigma - 1) < SAME_ENTRY:
            sigma = nearest
    return min(sigma, highest(family)), sigma > highest(family)


def pure_noise_from(family: NoiseFamily, meaning: str = PUBLISHED) -> float | None:
    """The smallest t0 that starts at the model's highest level (.73 on SD1.5), or None where no t0 reaches it."""
    if meaning == OWN_TIME:
        return 1.0
    reached = matched(family, published_sigmas()) > highest(family) * (1 - SAME_ENTRY)
    return (int(reached.int().argmax()) + 1) / 1000 if reached.any() else None


def walk(family: NoiseFamily, start: float, steps: int) -> Tensor:
    """SIGMAS [levels + 1] from `start` down to 0, strictly falling.

    steps 0: every native level below the start, as published: the model's own entries, or for EDM models, which have
    no steps of their own, the published levels at the same signal-to-noise ratio. steps N: N of those L levels (all of
    them if N > L), evenly spaced in time: level round(L (1 - k / N)) for k = 0..N-1. The first is exactly the start.
    """
    native = matched(family, published_sigmas()) if family.kind == "edm" else family.sigmas
    levels = torch.cat([_below(torch.unique(native), start), torch.tensor([start])])
    count = len(levels)
    steps = min(steps, count) or count
    chosen = [(2 * count * (steps - k) + steps) // (2 * steps) - 1 for k in range(steps)]
    return torch.cat([levels[chosen], torch.zeros(1)])


def respaced_walk(family: NoiseFamily, respacing: str) -> Tensor:
    """SIGMAS [kept + 1] of a ladder with fewer steps, down to 0, on the model's own levels; see schedules.respaced.

    ValueError: a model without a ladder of its own, or a respacing that does not exist.
    """
    if family.kind != "discrete":
        raise ValueError(
            "Respacing leaves steps out of a ladder of noise levels, and this model (flow or EDM) has none. Connect a "
            "scheduler instead."
        )
    kept = respaced(len(family.sigmas), respacing)
    return torch.cat([family.sigmas[kept].flip(0), torch.zeros(1)])


def cut(sigmas: Tensor, start: float) -> Tensor:
    """Another scheduler's SIGMAS, begun at `start`: the levels below it stay as they are, the end included."""
    check_sigmas(sigmas)
    if len(sigmas) < 2 or not (sigmas.diff() < 0).all():
        raise ValueError(
            "SIGMAS must hold two levels or more, each below the one before: connect a scheduler's output."
        )
    lower = _below(sigmas.float().cpu(), start)
    if len(lower) == 0:
        raise ValueError(
            f"t0 starts at sigma {start:.4g}, but the lowest level of SIGMAS is {float(sigmas[-1]):.4g}. "
            "Raise t0, or connect SIGMAS that run down to 0."
        )
    return torch.cat([torch.tensor([start]), lower])


def _level(t0: float, count: int) -> int:
    return max(1, round(count * t0))


def _below(levels: Tensor, start: float) -> Tensor:
    return levels[levels < start * (1 - SAME_LEVEL)]
