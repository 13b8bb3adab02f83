"""Time travel: after a stretch of steps the sample is noised again, back to where that began, and walks it once more.

RePaint (arXiv 2201.09865), universal guidance (arXiv 2302.07121) and FreeDoM (arXiv 2303.09833) do this where guidance
and model disagree: every walk gives both another chance. Noised from level s back up to t > s,

    x_t = r x_s + sqrt(noise_t^2 - r^2 noise_s^2) e,    r = signal_t / signal_s

has exactly the mean and the variance of a sample at t; r is 1 on sigma models, and (1 - t) / (1 - s) on flows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import host
from ..guidance.noise import check_sigmas, signal_and_noise
from .again import AgainSampler, noise_like, own_seed, shifted
from .repeat import RepeatSampler

if TYPE_CHECKING:
    from ..host import NoiseFamily

JUMP_STRIDE = 0xD1B54A32D192ED03  # odd, and not that of the rounds of a Repeat Sampler around this one


class TravelSampler(AgainSampler):
    """A SAMPLER that walks with `inner` and jumps back: each stretch of `length` steps is walked 1 + jumps times.

    start, end: which steps may be walked again, as fractions of the model's own schedule. Without jumps it is `inner`,
    bit for bit. What a noise_mask keeps comes from the latent, at the level of each start. Every walk has its own
    noise. A multistep sampler begins anew after each jump.
    """

    def __init__(self, inner: Any, jumps: int, length: int, start: float = 0.0, end: float = 1.0) -> None:
        if isinstance(inner, (RepeatSampler, TravelSampler)):
            raise ValueError(
                f"Time travel goes inside of whole walks, but got a {type(inner).__name__}. Connect a plain sampler "
                "here, and Repeat Sampler after it."
            )
        super().__init__(inner, self._travel, "walked again")
        self.jumps, self.length, self.start, self.end = jumps, length, start, end

    def steps(self, model_wrap: Any, sigmas: Tensor) -> int:
        return sum(last - first for first, last in self._legs(model_wrap, sigmas))

    def _legs(self, model_wrap: Any, sigmas: Tensor) -> list[tuple[int, int]]:
        if self.jumps == 0:
            return [(0, len(sigmas) - 1)]
        check_sigmas(sigmas)
        sampling = model_wrap.inner_model.model_sampling
        highest, lowest = sampling.percent_to_sigma(self.start), sampling.percent_to_sigma(self.end)
        inside = [i for i, sigma in enumerate(sigmas[:-1].tolist()) if lowest < sigma <= highest]
        window = (inside[0], inside[-1] + 1) if inside else (0, 0)
        return legs(len(sigmas) - 1, *window, self.length, self.jumps)

    def _travel(self, model, x, sigmas, extra_args, callback, disable, **options):
        walks = self._legs(model.inner_model, sigmas)
        if len(walks) > 1:
            host.check_run(model.inner_model, x)
            family = host.noise_family(model.inner_model.model_patcher)
        done = 0
        for k, (first, last) in enumerate(walks):
            arguments = dict(extra_args)  # a copy: samplers write into theirs
            if k > 0:
                arguments["seed"] = seed = own_seed(extra_args["seed"], k, JUMP_STRIDE)
                left, level = float(sigmas[walks[k - 1][1]]), float(sigmas[first])
                x = renoised(family, x, noise_like(x, seed), left, level)
                x = _with_kept_pixels(model, x, family, level, arguments["denoise_mask"])
            watch = callback if len(walks) == 1 else shifted(callback, done)
            levels = sigmas[first : last + 1]
            x = self.walk(model, x, levels, arguments, watch, disable, options, whole=len(walks) == 1)
            done += last - first
        return x


def legs(steps: int, first: int, last: int, length: int, jumps: int) -> list[tuple[int, int]]:
    """The walks, as numbers of levels (from, to), between which the sample jumps back; `steps` lead down to the end.

    Stretches of `length` steps from level `first` to level `last` (the last one may be shorter) are walked 1 + jumps
    times. A walk goes on from its stretch into the next without a stop.
    """
    found, begin = [], 0
    for back in range(first, last, length):
        for _ in range(jumps):
            found.append((begin, min(back + length, last)))
            begin = back
    return [*found, (begin, steps)]


def renoised(family: NoiseFamily, x: Tensor, noise: Tensor, sigma: float, sigma_back: float) -> Tensor:
    """A sample x [B, ...] at level sigma, taken back to the higher level sigma_back along unit noise."""
    (signal, amount), (signal_back, amount_back) = signal_and_noise(family, sigma), signal_and_noise(family, sigma_back)
    share = signal_back / signal
    return share * x + max(amount_back**2 - (share * amount) ** 2, 0.0) ** 0.5 * noise


def _with_kept_pixels(model: Any, x: Tensor, family: NoiseFamily, sigma: float, mask: Tensor | None) -> Tensor:
    """x at level sigma, where the mask is 0 the latent at that level, as a walk begins that starts there."""
    if mask is None:
        return x
    signal, noise = signal_and_noise(family, sigma)
    return torch.where(mask == 0, signal * model.latent_image + noise * model.noise, x)
