"""SDEdit's reverse SDE as a k-diffusion sampler: one mean, three variances, two rules for kept pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from comfy.k_diffusion.sampling import default_noise_sampler
from torch import Tensor
from tqdm.auto import trange

from .. import host
from ..guidance.noise import check_sigmas, signal_and_noise
from ..guidance.run import steps_are_ancestral

if TYPE_CHECKING:
    from ..host import NoiseFamily

VARIANCES = ("small", "large", "VE")
HOST, PUBLISHED, PUBLISHED_NOISY = "host", "published", "published, noise left in"
KEPT_RULES = (HOST, PUBLISHED, PUBLISHED_NOISY)


def sample_sde(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
    noise_sampler: Callable[[Tensor, Tensor], Tensor] | None = None,
    variance: str = "small",
    kept: str = HOST,
) -> Tensor:
    """SDEdit: the reverse SDE of Algorithm 1 (VE) and 4 (VP) of Meng et al., ICLR 2022, from sigmas[0] to sigmas[-1].

    variance: "small" is the released code's `fixedsmall` and the host's `ddpm`; "large" is `fixedlarge`, the step of
    the paper's Algorithm 4; "VE" is the paper's Algorithm 1. All three share one mean (see `step_factors`).
    kept: where noise_mask is exactly 0, "host" leaves the pixels to the host (right noise level at every call, clean at
    the end). "published" puts them, after the step to a level, at the level *before* it, always along the same noise,
    as the released code does; at the end they are clean, or, with "noise left in", as that code returns them (1% noise
    on the published schedule). A soft mask counts as edit there.
    x, result [B, C, ...]; noise_sampler(sigma, sigma_next) gives noise like x, one call per step with noise in it.
    """
    extra_args = {} if extra_args is None else extra_args
    steps_are_ancestral(extra_args)
    noise_sampler = noise_sampler or default_noise_sampler(x, seed=extra_args.get("seed"))
    family = host.noise_family(model.inner_model.model_patcher)
    check_sigmas(sigmas, family)
    host.check_run(model.inner_model, x)
    mask = extra_args.get("denoise_mask")
    keep = mask == 0 if mask is not None and kept != HOST else None
    if keep is not None:
        extra_args = {k: v for k, v in extra_args.items() if k != "denoise_mask"}
    predict = model if keep is None else model.inner_model
    ones = x.new_ones([x.shape[0]])
    levels = sigmas.tolist()

    for i in trange(len(levels) - 1, disable=disable):
        denoised = predict(x, sigmas[i] * ones, **extra_args)
        if keep is not None:
            denoised = torch.where(keep, model.latent_image, denoised)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        guess, stay, std = step_factors(family, levels[i], levels[i + 1], variance)
        x = guess * denoised + stay * x
        if std > 0:
            x = x + std * noise_sampler(sigmas[i], sigmas[i + 1])
        if keep is not None:
            x = torch.where(keep, _kept_pixels(family, model, levels[i], levels[i + 1], kept), x)
    return x


def step_factors(family: NoiseFamily, sigma: float, sigma_next: float, variance: str) -> tuple[float, float, float]:
    """(guess, stay, std) of one step x_next = guess * denoised + stay * x + std * e, e of unit variance.

    In the host's eps and EDM coordinates (SDEdit's Algorithms 1 and 4; d = sigma_data):

        mean  = denoised + (s_next^2 / s^2) (x - denoised)
        small = s_next^2 (s^2 - s_next^2) / s^2
        large = (s^2 - s_next^2) (d^2 + s_next^2) / (d^2 + s^2)
        VE    = s^2 - s_next^2

    and no noise on the last step. A flow sample is such a sample times its signal 1 - s. The factors are written so
    that nothing divides by that signal at s, which may be 0; only VE has no finite variance there.
    """
    if sigma == sigma_next:
        return 0.0, 1.0, 0.0
    signal, noise = signal_and_noise(family, sigma)
    next_signal, next_noise = signal_and_noise(family, sigma_next)
    stay = next_noise**2 * signal / (noise**2 * next_signal)
    left = (next_noise * signal / (noise * next_signal)) ** 2  # (s_next / s)^2 in eps coordinates
    guess = next_signal - stay * signal
    if next_noise == 0:
        return guess, stay, 0.0
    if variance == "small":
        return guess, stay, next_noise * (1 - left) ** 0.5
    if variance == "large":
        return guess, stay, noise * (1 - left) ** 0.5 * unit_scale(family, sigma, sigma_next)
    if signal == 0:
        raise ValueError("variance VE cannot start at pure noise. Lower t0, or set variance to small.")
    return guess, stay, noise * (1 - left) ** 0.5 * next_signal / signal


def unit_scale(family: NoiseFamily, sigma: float, sigma_next: float) -> float:
    """Takes a sample's standard deviation at sigma to that at sigma_next: the papers' unit-variance coordinates."""
    d = family.sigma_data
    (signal, noise), (next_signal, next_noise) = signal_and_noise(family, sigma), signal_and_noise(family, sigma_next)
    return (((next_signal * d) ** 2 + next_noise**2) / ((signal * d) ** 2 + noise**2)) ** 0.5


def _kept_pixels(family: NoiseFamily, model: Any, sigma: float, sigma_next: float, kept: str) -> Tensor:
    """The guide noised to level sigma, always with the same noise, in the coordinates of sigma_next; clean at the end
    if `kept` asks for that."""
    if sigma_next == 0 and kept == PUBLISHED:
        return model.latent_image
    signal, noise = signal_and_noise(family, sigma)
    return (signal * model.latent_image + noise * model.noise) * unit_scale(family, sigma, sigma_next)
