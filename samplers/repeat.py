"""SDEdit's repeats: noise the result again and walk back once more, K times, inside one run of the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.samplers import KSamplerX0Inpaint
from torch import Tensor

from .. import host
from ..guidance.noise import check_sigmas
from ..guidance.run import run_of
from .again import AgainSampler, noise_like, own_seed, shifted, steps_of

FINISHED = 0.0015  # counts as 0: the host's uni_pc overwrites the final 0 of its SIGMAS with .001


class RepeatSampler(AgainSampler):
    """A SAMPLER that runs `inner` K times: the edited region of one round is the guide of the next (SDEdit, section 3).

    Every round has its own noise, for its start and for its steps. Kept pixels come from the first latent in every
    round, at the noise level that the host expects; where noise_mask is exactly 0 the guide itself is that first
    latent. One repeat is the same as `inner`.
    """

    def __init__(self, inner: Any, repeats: int, round_noise: Callable[[int], Tensor] | None = None):
        """round_noise(k) replaces the noise that round k >= 1 starts from (recorded noise, in tests)."""
        if isinstance(inner, RepeatSampler):
            inner, repeats = inner.inner, inner.repeats * repeats
        super().__init__(inner, self._run_rounds, "repeated")
        self.repeats = repeats
        self.round_noise = round_noise

    def steps(self, model_wrap: Any, sigmas: Tensor) -> int:
        return self.repeats * steps_of(self.inner, model_wrap, sigmas)

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, *rest, **options):
        if self.repeats > 1:
            check_sigmas(sigmas)
            host.check_run(model_wrap, noise)
        if self.repeats > 1 and float(sigmas[-1]) > FINISHED:
            raise ValueError(
                f"Repeats start from a finished picture, but these SIGMAS end at {float(sigmas[-1]):.4g}, not at 0. "
                "Connect SIGMAS that run down to 0, such as those of Noise to t0, or set repeats to 1."
            )
        return super().sample(model_wrap, sigmas, extra_args, callback, noise, *rest, **options)

    def _run_rounds(self, model, x, sigmas, extra_args, callback, disable, **options):
        steps = steps_of(self.inner, model.inner_model, sigmas) if self.repeats > 1 else 0
        for k in range(self.repeats):
            arguments = dict(extra_args)  # a copy: samplers write into theirs
            if k > 0:
                arguments["seed"] = own_seed(extra_args["seed"], k)
                model, x = self._restart(model, x, sigmas, arguments, k)
            # Only the last round may write into SIGMAS, as `inner` alone would.
            levels = sigmas if k == self.repeats - 1 else sigmas.clone()
            watch = shifted(callback, k * steps)
            x = self.inner.sampler_function(
                model, x, levels, extra_args=arguments, callback=watch, disable=disable, **options
            )
        return x

    def _restart(self, model, result, sigmas, arguments, k) -> tuple[KSamplerX0Inpaint, Tensor]:
        """The model wrapper and the noised start of round k, from the clean result of the round before."""
        seed, mask = arguments["seed"], arguments["denoise_mask"]
        noise = noise_like(model.noise, seed) if self.round_noise is None else self.round_noise(k).to(result)
        guide = result if mask is None else torch.where(mask == 0, model.latent_image, result)
        if (run := run_of(arguments["model_options"])) is not None:
            run.start_round(noise, seed)
        again = KSamplerX0Inpaint(model.inner_model, sigmas)
        again.latent_image = model.latent_image
        again.noise = noise_like(noise, seed + 1) if self.inpaint_options.get("random") else noise
        sampling = model.inner_model.inner_model.model_sampling
        return again, sampling.noise_scaling(sigmas[0], noise, guide, self.max_denoise(model.inner_model, sigmas))
