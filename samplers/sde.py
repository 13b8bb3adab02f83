"""SDEdit's reverse SDE as a k-diffusion sampler: one mean, three variances, two rules for kept pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from comfy.k_diffusion.sampling import default_noise_sampler
from torch import Tensor
from tqdm.auto import trange

from .. import host
from ..guidance.noise import check_sigmas, signal_and_noise
from ..guidance.run import run_of, steps_are_ancestral

if TYPE_CHECKING:
    from ..host import NoiseFamily

LEARNED = "learned"
VARIANCES = ("small", "large", "VE", LEARNED)
AS_DENOISED, AS_MEAN = "as in every sampler", "published, on the mean"
GUIDED = (AS_DENOISED, AS_MEAN)
HOST, PUBLISHED, PUBLISHED_NOISY = "host", "published", "published, noise left in"
KEPT_RULES = (HOST, PUBLISHED, PUBLISHED_NOISY)


NoiseSampler = Callable[[Tensor, Tensor], Tensor]


def begun(
    model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any] | None, noise_sampler: NoiseSampler | None
) -> tuple[dict[str, Any], NoiseSampler, NoiseFamily]:
    """What each walk begins with: its extra_args, its noise, and the model's family. ValueError: sigmas or a run that
    cannot be walked."""
    extra_args = {} if extra_args is None else extra_args
    steps_are_ancestral(extra_args)
    noise_sampler = noise_sampler or default_noise_sampler(x, seed=extra_args.get("seed"))
    family = host.noise_family(model.inner_model.model_patcher)
    check_sigmas(sigmas, family)
    host.check_run(model.inner_model, x)
    return extra_args, noise_sampler, family


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
    guided: str = AS_DENOISED,
) -> Tensor:
    """SDEdit: the reverse SDE of Algorithm 1 (VE) and 4 (VP) of Meng et al., ICLR 2022, from sigmas[0] to sigmas[-1].

    variance: "small" is the released code's `fixedsmall` and the host's `ddpm`; "large" is `fixedlarge`, the step of
    the paper's Algorithm 4; "VE" is the paper's Algorithm 1. All three share one mean (see `step_factors`). "learned"
    is each pixel's own, from a network of guided diffusion with six output channels (see `Learned`).
    kept: where noise_mask is exactly 0, "host" leaves the pixels to the host (right noise level at every call, clean at
    the end). "published" puts them, after the step to a level, at the level *before* it, always along the same noise,
    as the released code does; at the end they are clean, or, with "noise left in", as that code returns them (1% noise
    on the published schedule). A soft mask counts as edit there.
    guided: what the MODEL's energies shift: the prediction, as in every sampler, or the mean of the step, by its
    variance times their gradient, as in guided diffusion (algorithm 1 of arXiv 2105.05233; see `mean_share`).
    x, result [B, C, ...]; noise_sampler(sigma, sigma_next) gives noise like x, one call per step with noise in it.
    """
    extra_args, noise_sampler, family = begun(model, x, sigmas, extra_args, noise_sampler)
    if family.kind != "discrete" and (variance == LEARNED or guided == AS_MEAN):
        raise ValueError(
            "Variance learned and guidance on the mean are guided diffusion's, for eps models on a ladder of noise "
            "levels. Choose another variance, and guided 'as in every sampler', for this model."
        )
    learned = Learned() if variance == LEARNED else None
    extra_args = learned.listening(extra_args) if learned else extra_args
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
        if learned:
            guess, stay, std = learned.factors(family, levels, i, x)
        else:
            guess, stay, std = step_factors(family, levels[i], levels[i + 1], variance)
        x = guess * denoised + stay * x
        if guided == AS_MEAN and (run := run_of(extra_args["model_options"])) is not None and run.shift is not None:
            own = learned.variance if learned else fixed_variance(variance, levels, i)
            x = x + (guess - mean_share(levels[i], levels[i + 1]) * own) * run.shift
        if levels[i + 1] > 0 and levels[i] != levels[i + 1]:
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


class Learned:
    """The variances that a network of guided diffusion learned (arXiv 2102.09672, equation 15), one per value:

        log variance = v log beta + (1 - v) log posterior,    v = (channels 3 to 5 + 1) / 2

    beta and posterior: `fixed_variance` large and small, in variance-preserving coordinates; on the last step, whose
    posterior variance is 0, that of the step before stands in for it.
    """

    def __init__(self) -> None:
        self._told: tuple[Tensor, list[int]] | None = None
        self.variance: Tensor = torch.zeros(())  # of the step that factors() was last asked for

    def listening(self, extra_args: dict[str, Any]) -> dict[str, Any]:
        """The same extra_args, in which every call of the network leaves its channels here."""
        options = extra_args.get("model_options", {})
        carried = {**options.get("transformer_options", {}), host.VARIANCE: self._hear}
        return {**extra_args, "model_options": {**options, "transformer_options": carried}}

    def factors(self, family: NoiseFamily, levels: list[float], i: int, x: Tensor) -> tuple[float, float, Tensor]:
        """step_factors with the learned spread, from the last call of the network."""
        guess, stay, _ = step_factors(family, levels[i], levels[i + 1], "small")
        share = (self._channels(x) + 1) / 2
        beta, posterior = _beta(levels[i], levels[i + 1]), fixed_variance("small", levels, i, stand_in=True)
        if beta <= 0:
            return guess, stay, torch.zeros_like(x)
        self.variance = torch.exp(share * math.log(beta) + (1 - share) * math.log(posterior))
        return guess, stay, (self.variance * (1 + levels[i + 1] ** 2)).sqrt()

    def _hear(self, channels: Tensor, kinds: list[int]) -> None:
        """Called by the network. kinds: of its rows, 0 for the positive prompt."""
        self._told = channels, kinds

    def _channels(self, x: Tensor) -> Tensor:
        if self._told is None:
            raise ValueError(
                "Variance learned needs a pixel prior with learned variances (six output channels), as guided "
                "diffusion's own are. Choose small or large for this model."
            )
        rows, kinds = self._told
        found = rows.chunk(len(kinds))[kinds.index(0) if 0 in kinds else 0]
        if found.shape != x.shape:
            raise ValueError(
                "Variance learned needs one prompt for the whole picture. Connect a single Pixel Prior Label, without "
                "areas or masks."
            )
        return found.to(x)


def _beta(sigma: float, sigma_next: float) -> float:
    """1 - abar / abar_next."""
    return (sigma**2 - sigma_next**2) / (1 + sigma**2)


def fixed_variance(variance: str, levels: list[float], i: int, stand_in: bool = False) -> float:
    """The variance of step i of a walk over `levels`, in variance-preserving coordinates.

    small: the posterior's. large: beta, as guided diffusion has it: on the last step the posterior variance of the step
    before. VE: that of VE steps. stand_in: the same last step for small, which is 0 otherwise.
    """
    sigma, following = levels[i], levels[i + 1]
    beta = _beta(sigma, following)
    if following == 0 and i > 0 and (variance == "large" or stand_in):
        return fixed_variance("small", levels, i - 1)
    if variance == "large" or (stand_in and following == 0):
        return beta
    if variance == "VE":
        return (sigma**2 - following**2) / (1 + following**2) if following else 0.0
    return beta * following**2 * (1 + sigma**2) / ((1 + following**2) * sigma**2)


def mean_share(sigma: float, sigma_next: float) -> float:
    """What a shift of the prediction is multiplied by, besides the variance of the step, to become guided diffusion's
    shift of the mean: with the gradient g in its coordinates the prediction moves by sigma^2 sqrt(abar) g, and the
    mean by variance * g."""
    return ((1 + sigma**2) * (1 + sigma_next**2)) ** 0.5 / sigma**2


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
