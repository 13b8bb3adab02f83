"""The accelerated walk of Inversion-by-Inversion: guided single steps where they matter, unguided solver jumps between.

Energies cost several times as much as the model, and most of a walk does not need them. The published walk (`-uds`)
keeps the single ancestral steps of a dense range at its start and of a few short groups further down, and covers
everything else in jumps of ten calls of DPM-Solver++ (Lu et al., arXiv 2211.01095), singlestep, order 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, groupby
from math import expm1, inf, log
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from ..guidance.noise import signal_and_noise
from ..guidance.run import run_of
from .levels import matched, published_sigmas
from .sde import begun, step_factors

if TYPE_CHECKING:
    from ..guidance.run import Run
    from ..host import NoiseFamily

CLEAN, NOISY = "clean", "published, noise left in"
ENDS = (CLEAN, NOISY)
ROUNDING = 0.5  # of one table entry: a level this close to an entry is taken for that entry
LEAST_SIGNAL = 1e-4  # a flow's level 1 holds no signal, and its logarithm would be infinite

Predict = Callable[[Tensor, float], Tensor]
Bands = Sequence[tuple[float, float]]


class Leg(NamedTuple):
    """A stretch of SIGMAS, from level number `first` to level number `last`: guided single steps, or one jump."""

    first: int
    last: int
    guided: bool


def sample_jump(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
    noise_sampler: Callable[[Tensor, Tensor], Tensor] | None = None,
    dense: float = 0.1225,
    groups: int = 3,
    share: float = 0.01,
    calls: int = 10,
    end: str = CLEAN,
    bands: Bands | None = None,
    capped: bool = True,
) -> Tensor:
    """From sigmas[0] to sigmas[-1] in guided ancestral steps and unguided jumps; `plan` decides which is where.

    dense, groups, share: the guided bands, see `published_bands`; bands replaces them. calls: model calls per jump;
    capped: but at most one per step that it skips. end, where sigmas end at 0 after a jump: the model's last guess, or
    "noise left in", the state at the level before, as the released code returns it.
    x, result [B, C, ...]; noise_sampler(sigma, sigma_next) gives noise like x, called once per guided step that adds
    noise.
    """
    extra_args, noise_sampler, family = begun(model, x, sigmas, extra_args, noise_sampler)
    clock, levels = Clock(family), sigmas.tolist()
    times = [clock.time(sigma) for sigma in levels]
    legs = plan(times, published_bands(times[0], dense, groups, share) if bands is None else bands)
    run = run_of(extra_args.get("model_options", {}))
    if run is not None:
        run.sigmas = sigmas  # where a guided step looks up its next level

    with tqdm(total=len(levels) - 1, disable=disable) as bar:

        def predict(x: Tensor, sigma: float, i: int) -> Tensor:
            denoised = model(x, x.new_full([x.shape[0]], sigma), **extra_args)
            if callback is not None:
                level = x.new_tensor(sigma)
                callback({"x": x, "i": i, "sigma": level, "sigma_hat": level, "denoised": denoised})
            bar.update(i + 1 - bar.n)
            return denoised

        for leg in legs:
            if leg.guided:
                x = _guided_steps(predict, x, family, sigmas, leg, noise_sampler)
                continue
            with unguided(run):
                last = leg.last if levels[leg.last] > 0 else leg.last - 1
                if (steps := last - leg.first) > 0:
                    count = min(calls, steps) if capped else calls
                    reporting = _evenly(predict, leg.first, steps, count)
                    x = jump(reporting, x, clock, levels[leg.first], levels[last], count)
                if last < leg.last and end == CLEAN:
                    x = predict(x, levels[last], last)
    return x


def _guided_steps(
    predict: Callable[[Tensor, float, int], Tensor],
    x: Tensor,
    family: NoiseFamily,
    sigmas: Tensor,
    leg: Leg,
    noise_sampler: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """One ancestral step after the other, as the host's ddpm takes them."""
    levels = sigmas.tolist()
    for i in range(leg.first, leg.last):
        guess, stay, std = step_factors(family, levels[i], levels[i + 1], "small")
        x = guess * predict(x, levels[i], i) + stay * x
        if std > 0:
            x = x + std * noise_sampler(sigmas[i], sigmas[i + 1])
    return x


@contextmanager
def unguided(run: Run | None) -> Iterator[None]:
    """Inside, the MODEL's energies are off."""
    if run is None:
        yield
        return
    before, run.guided = run.guided, False
    try:
        yield
    finally:
        run.guided = before


def published_bands(start: float, dense: float = 0.1225, groups: int = 3, share: float = 0.01) -> list[tuple]:
    """The guided bands (from, down to) of a walk that begins at time `start`, in table entries counted from 1.

    dense: fraction of the walk at its start; groups: number of short bands, each `share` of the walk long and equally
    far apart. The defaults are the published stages 1 and 3: from 400 they are (., 351], (300, 296], (200, 196],
    (100, 96]; stage 2 has dense .2475. A band holds the steps that begin at its upper end or below, and above its
    lower end.
    """
    first = [(inf, start * (1 - dense))] if dense > 0 else []
    tops = [start * k / (groups + 1) for k in range(groups, 0, -1)] if share > 0 else []
    return first + [(top, top - share * start) for top in tops]


def plan(times: Sequence[float], bands: Bands) -> list[Leg]:
    """The legs of a walk whose levels have these falling times (the last may be 0). Adjacent legs touch.

    Each band guides at least the first step that begins in or below it, so that a walk of few steps loses no band.
    """
    guided = [False] * (len(times) - 1)
    for top, bottom in bands:
        below = [i for i, time in enumerate(times[:-1]) if time <= top + ROUNDING]
        for i in below:
            guided[i] |= i == below[0] or times[i] > bottom + ROUNDING
    legs, first = [], 0
    for kind, steps in groupby(guided):
        legs.append(Leg(first, first + len(list(steps)), kind))
        first = legs[-1].last
    return legs


class Clock:
    """A model's own time in table entries: 1 at its lowest level, the table's length at its highest, 0 at sigma 0.

    Between entries log alpha is linear, as in DPM-Solver (sigma itself on a flow). EDM models have no table of their
    own, so the published one at the same signal-to-noise ratio serves.
    """

    def __init__(self, family: NoiseFamily) -> None:
        self.family = family
        table = matched(family, published_sigmas()) if family.kind == "edm" else family.sigmas
        self._curve = np.concatenate([[0.0], self._bend(table.double().numpy())])

    def time(self, sigma: float) -> float:
        return float(np.interp(self._bend(np.float64(sigma)), self._curve, np.arange(len(self._curve))))

    def sigma(self, time: float) -> float:
        bent = np.interp(time, np.arange(len(self._curve)), self._curve)
        if self.family.kind == "flow":
            return float(bent)
        return float(np.expm1(2 * bent) ** 0.5 * self.family.sigma_data)

    def _bend(self, sigma: Any) -> Any:
        """-log alpha of the variance-preserving mixture."""
        if self.family.kind == "flow":
            return sigma
        return 0.5 * np.log1p((sigma / self.family.sigma_data) ** 2)


def jump(predict: Predict, x: Tensor, clock: Clock, start: float, end: float, calls: int) -> Tensor:
    """DPM-Solver++ from sigma `start` to `end` > 0 in `calls` model calls, evenly spaced in time; no noise is drawn."""
    first, last = clock.time(start), clock.time(end)
    orders = solver_orders(calls if first > last else 1)
    done = list(accumulate(orders, initial=0))
    at = [first + (last - first) * n / done[-1] for n in range(done[-1] + 1)]
    levels = [start, *(clock.sigma(time) for time in at[1:-1]), end]
    for order, begin in zip(orders, done, strict=False):
        x = solver_step(predict, x, clock.family, levels[begin : begin + order + 1])
    return x


def solver_orders(calls: int) -> list[int]:
    """The orders of singlestep DPM-Solver-3 that use up exactly `calls` model calls; 10 gives [3, 3, 3, 1]."""
    threes, rest = divmod(calls, 3)
    return [3] * threes + [rest] if rest else [3] * (threes - 1) + [2, 1]


def solver_step(predict: Predict, x: Tensor, family: NoiseFamily, levels: Sequence[float]) -> Tensor:
    """One singlestep of DPM-Solver++ from levels[0] to levels[-1]; order len(levels) - 1, 1 to 3.

    With a signal alpha, a noise sigma and lambda = log(alpha / sigma), the exact solution for a prediction D is

        x_t = sigma_t / sigma_s x_s + alpha_t * integral of exp(lambda - lambda_t) D dlambda from s to t

    and D is taken as constant (order 1), or as linear through one or two inner levels (orders 2, 3).
    """
    signals, noises = zip(*(signal_and_noise(family, sigma) for sigma in levels), strict=True)
    lambdas = [log(max(signal, LEAST_SIGNAL) / noise) for signal, noise in zip(signals, noises, strict=True)]
    h = [each - lambdas[0] for each in lambdas]
    first = predict(x, levels[0])

    def constant(k: int) -> Tensor:
        return noises[k] / noises[0] * x - signals[k] * expm1(-h[k]) * first

    def bent(k: int, by: Tensor, inner: int) -> Tensor:
        """The change of D up to level `inner`, extrapolated linearly to level k."""
        return signals[k] * (expm1(-h[k]) / h[k] + 1) * (h[k] / h[inner]) * (by - first)

    order = len(levels) - 1
    if order == 1:
        return constant(1)
    second = predict(constant(1), levels[1])
    if order == 2:
        return constant(2) - signals[2] * expm1(-h[2]) * 0.5 * (h[2] / h[1]) * (second - first)
    third = predict(constant(2) + bent(2, second, 1), levels[2])
    return constant(3) + bent(3, third, 2)


def _evenly(predict: Callable[[Tensor, float, int], Tensor], first: int, steps: int, calls: int) -> Predict:
    """predict(x, sigma) that reports its `calls` calls as if spread evenly over the `steps` from `first` on."""
    numbers = iter(range(calls))

    def reporting(x: Tensor, sigma: float) -> Tensor:
        return predict(x, sigma, first + next(numbers) * steps // calls)

    return reporting
