"""What samplers share that call another SAMPLER's k-diffusion function several times in one run of the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.samplers import KSAMPLER, ksampler
from torch import Tensor

ROUND_STRIDE = 0x9E3779B97F4A7C15  # odd, so no two of 2^63 rounds share a seed; far from the host's own seed + 1
# Host samplers that return their input for a single step, and for a single step to 0.
STILL, STILL_TO_0 = ("sample_unipc", "sample_unipc_bh2"), ("dpm_fast_function", "dpm_adaptive_function")


class AgainSampler(KSAMPLER):
    """A SAMPLER that calls `inner` several times. All its walks are one run: patches, conditioning and progress bar see
    every step of them."""

    def __init__(self, inner: Any, walk: Callable, verb: str) -> None:
        """walk: the k-diffusion function of the whole. verb: what is done to `inner`, for messages."""
        if getattr(type(inner), "sample", None) is not KSAMPLER.sample and not isinstance(inner, AgainSampler):
            raise ValueError(
                f"Only samplers made of a k-diffusion function can be {verb}, got {type(inner).__name__}. Connect "
                "KSamplerSelect, one of the Sampler... nodes, or SDE Sampler."
            )
        if getattr(inner, "leaves_fewer", False):
            raise ValueError(
                f"{type(inner).__name__} ends with fewer pictures than it begins with, so it can't be {verb}. Connect "
                "it after this one, right before the sampling node."
            )
        super().__init__(walk, inner.extra_options, inner.inpaint_options)
        self.inner = inner

    def steps(self, model_wrap: Any, sigmas: Tensor) -> int:
        """How many steps a run over these SIGMAS takes in all."""
        raise NotImplementedError

    def walk(self, model, x, levels, arguments, callback, disable, options, whole: bool) -> Tensor:
        """`inner` over some of a run's levels, or over all of them (`whole`): only then may it write into SIGMAS."""
        levels = levels if whole else levels.clone()
        sampler = self.inner if whole else moving(self.inner, levels)
        settings = options if sampler is self.inner else {}
        return sampler.sampler_function(
            model, x, levels, extra_args=arguments, callback=callback, disable=disable, **settings
        )

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ):
        def whole(i: int, denoised: Tensor, x: Tensor, _: int) -> None:
            callback(i, denoised, x, total)

        total = self.steps(model_wrap, sigmas)
        watch = None if callback is None else whole
        return super().sample(model_wrap, sigmas, extra_args, watch, noise, latent_image, denoise_mask, disable_pbar)


def steps_of(sampler: Any, model_wrap: Any, sigmas: Tensor) -> int:
    """How many steps a SAMPLER takes over these SIGMAS."""
    return sampler.steps(model_wrap, sigmas) if isinstance(sampler, AgainSampler) else len(sigmas) - 1


def shifted(callback: Callable | None, first: int) -> Callable:
    """A k-diffusion callback whose steps are counted from `first`."""

    def watch(step: dict[str, Any]) -> None:
        if callback is not None:
            callback({**step, "i": first + step["i"]})

    return watch


def moving(inner: Any, levels: Tensor) -> Any:
    """The SAMPLER for some of the levels of a walk: `inner`, or euler where `inner` leaves a single step unchanged.

    First-order steps of UniPC and DPM-Solver are DDIM's, which are euler's in the host's coordinates.
    """
    name = getattr(getattr(inner, "sampler_function", None), "__name__", "")
    still = name in STILL or (name in STILL_TO_0 and levels[-1] == 0)
    return ksampler("euler") if still and len(levels) == 2 else inner


def own_seed(seed: int, k: int, stride: int = ROUND_STRIDE) -> int:
    """The seed of walk k; below 2^63, because the host's noise sampler adds 1."""
    return (seed + k * stride) % 2**63


def noise_like(noise: Tensor, seed: int) -> Tensor:
    """Unit normal noise with the shape, type and device of `noise`, drawn on the CPU like the host's."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(noise.shape, generator=generator).to(noise)
