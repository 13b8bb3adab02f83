"""ILVR (Choi et al., ICCV 2021): after each step, the sample's low frequencies are replaced by a reference's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from comfy.utils import common_upscale
from torch import Tensor
from tqdm.auto import trange

from ..guidance.noise import signal_and_noise
from ..pictures.fit import pair_batches
from ..pictures.lowpass import low_passer
from .sde import begun, step_factors, unit_scale

if TYPE_CHECKING:
    from ..host import NoiseFamily

MATCHED, PUBLISHED = "matched", "published"
LEVELS = (MATCHED, PUBLISHED)


def sample_ilvr(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
    noise_sampler: Callable[[Tensor, Tensor], Tensor] | None = None,
    reference: Tensor | None = None,
    grid: int = 8,
    start: float = 0.0,
    end: float = 1.0,
    weight: float = 1.0,
    level: str = MATCHED,
) -> Tensor:
    """DDPM steps from sigmas[0] to sigmas[-1]; after each one begun inside the window x <- x + LP(q - x).

    reference: samples of a clean LATENT [1 or B, C, h, w], as fit_latent takes them; q is the reference with fresh
    noise at every step. grid: the number of cells that the low-pass LP keeps along the shorter side. start, end: the
    window, as fractions of the model's own schedule. weight, 0 to 1: share of the reference; the rest is the guide that
    the walk began with (the mix-up variant). level: whether q has the noise level of x ("matched") or is one step
    noisier, as in the released codes ("published"). With a mask, the replacement fades with it. x, result [B, C, H, W],
    or with a time axis of one frame.
    """
    if reference is None:
        raise ValueError("ILVR needs a reference LATENT, got none.")
    extra_args, noise_sampler, family = begun(model, x, sigmas, extra_args, noise_sampler)
    prior = model.inner_model.inner_model
    sampling = prior.model_sampling
    first, last = sampling.percent_to_sigma(start), sampling.percent_to_sigma(end)
    guide = weight * fit_latent(prior.process_latent_in(reference.float()), x) + (1 - weight) * model.latent_image
    low = low_passer(x.shape[-2], x.shape[-1], x.device, grid=grid)
    mask = extra_args.get("denoise_mask")
    ones = x.new_ones([x.shape[0]])
    levels = sigmas.tolist()

    for i in trange(len(levels) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **extra_args)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        guess, stay, std = step_factors(family, levels[i], levels[i + 1], "small")
        x = guess * denoised + stay * x
        if std > 0:
            x = x + std * noise_sampler(sigmas[i], sigmas[i + 1])
        if last < levels[i] <= first:
            at = levels[i + 1] if level == MATCHED else levels[i]
            noise = noise_sampler(sigmas[i], sigmas[i + 1]) if at > 0 else 0.0
            change = low(noised(family, guide, noise, at, levels[i + 1]) - x)
            x = x + (change if mask is None else mask * change)
    return x


def noised(family: NoiseFamily, clean: Tensor, noise: Tensor | float, sigma: float, sigma_of_x: float) -> Tensor:
    """A clean picture at level sigma, in the coordinates of sigma_of_x."""
    signal, amount = signal_and_noise(family, sigma)
    return (signal * clean + amount * noise) * unit_scale(family, sigma, sigma_of_x)


def fit_latent(samples: Tensor, x: Tensor) -> Tensor:
    """A latent guide [1 or B, C, h, w] for x [B, C, H, W]: its middle, cut to the aspect of x and resized.

    Both may have a time axis of one frame before their height.
    """
    if samples.ndim == 4 and x.ndim == 5:
        samples = samples.unsqueeze(2)
    if samples.ndim != x.ndim or samples.shape[1:-2] != x.shape[1:-2]:
        raise ValueError(
            f"The reference LATENT has shape {list(samples.shape)}, but this model paints {list(x.shape)}. Encode the "
            "reference with this model's own VAE."
        )
    if samples.shape[-2:] != x.shape[-2:]:
        (height, width), (tall, wide) = samples.shape[-2:], x.shape[-2:]
        spare = height - min(height, width * tall / wide), width - min(width, height * wide / tall)
        if height <= 2 * round(spare[0] / 2) or width <= 2 * round(spare[1] / 2):  # the host's cut would leave nothing
            raise ValueError(
                f"The reference LATENT is {width} x {height}, too narrow to be cut to the shape of {wide} x {tall}. "
                "Encode a picture of about that shape."
            )
        samples = common_upscale(samples, wide, tall, "area", "center")
    return pair_batches(samples, x.shape[0], "reference", "latent").to(x)
