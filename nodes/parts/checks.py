"""What nodes check of their inputs before anything runs. Linked values never pass the limits of the widgets, and
not-a-number passes those too. IMAGE and MASK: pictures/fit.py. SIGMAS: guidance/noise.py."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import comfy.sample
from torch import Tensor

from ... import host


def check_numbers(**values: Any) -> None:
    """ValueError: a value that is not a number, or is infinite; names the first one."""
    for name, value in values.items():
        if not isinstance(value, Real) or math.isnan(value):
            raise ValueError(f"{name} must be a number, got {value!r}.")
        if math.isinf(value):
            raise ValueError(f"{name} must be a finite number, got {value}.")


def latent_samples(model: Any, latent: Any, what: str = "latent") -> Tensor:
    """The samples of a LATENT as SamplerCustom would use them with this MODEL: an empty one gets its channels and size.

    what: the input's name, for messages. ValueError: no samples, those of another model, or NaN or infinite values.
    """
    samples = plain_samples(latent, what)
    ratios = [latent.get(f"downscale_ratio_{kind}") for kind in ("spacial", "temporal")]
    if samples.ndim > 3:  # as the host needs it; check_latent refuses the others
        samples = comfy.sample.fix_empty_latent_channels(model, samples, *ratios)
    host.check_latent(model, samples)
    return samples


def plain_samples(latent: Any, what: str = "latent") -> Tensor:
    """The samples of a LATENT of any model. ValueError: there are none, or NaN or infinite values among them."""
    samples = latent.get("samples") if isinstance(latent, dict) else None
    if not isinstance(samples, Tensor) or samples.ndim < 3 or samples.numel() == 0:
        raise ValueError(f"{what} holds no picture. Connect VAE Encode, an empty latent or a sampler.")
    if not samples.isfinite().all():
        raise ValueError(f"{what} contains NaN or infinite values. Fix what made it.")
    return samples


def check_conditioning(model: Any, conditioning: Any, what: str = "conditioning") -> None:
    """ValueError: no prompt in it, or a prompt without text vectors [B, tokens, width] or what else the MODEL needs,
    or made for another MODEL."""
    if not isinstance(conditioning, list) or not conditioning:
        raise ValueError(f"{what} is empty. Connect the prompt, as from CLIP Text Encode.")
    pooled = host.wants_pooled(model)
    for context, values in conditioning:
        if not isinstance(context, Tensor) or context.ndim != 3:
            raise ValueError(f"{what} holds no text. Connect the prompt, as from CLIP Text Encode.")
        if pooled and values.get("pooled_output") is None:
            raise ValueError(
                f"{what} lacks the pooled output that SDXL needs. Encode the prompt with this model's CLIP."
            )
        host.check_prompt(model, context, values, what)
