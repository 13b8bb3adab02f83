"""Energies whose weight is a dial: 0 to 1, with the same meaning for every model, size, decoder and energy.

A published weight is a factor on a slope, so what it does depends on how steep the energy is. Here only the slope's
direction counts, image by image, and the step is measured in what the prediction does not know yet:

    denoised <- denoised - K * dial * spread(sigma) * g / rms(g)        g = dE / d denoised
    spread = noise * sigma_data / sqrt(noise^2 + (signal * sigma_data)^2)

spread is the standard deviation of a clean picture given its noisy state, for pictures of variance sigma_data^2: the
picture's own at pure noise, 0 at the end. Slopes are scaled by their own size as in FreeDoM (arXiv 2303.09833) and MPGD
(arXiv 2311.16424). TFG (arXiv 2409.15761) takes them under a little noise as well; with this scale that made contours
and pictures slightly worse on the starter (16 pairs, dials 0.5 and 1), so they are taken at the prediction itself.
"""

from __future__ import annotations

from torch import Tensor

PUBLISHED_SCALE, AUTO_SCALE = "published", "auto"
SCALES = (PUBLISHED_SCALE, AUTO_SCALE)
MOST = 0.6  # K: the shift of dial 1, in spreads
TINY = 1e-12  # a root mean square below it is no direction


def check_dial(scale: str, **weights: float) -> bool:
    """Whether `scale` is auto. ValueError: it is, and a weight is no dial."""
    if scale != AUTO_SCALE:
        return False
    for name, weight in weights.items():
        if not 0 <= weight <= 1:
            raise ValueError(
                f"With scale 'auto', {name} is a dial from 0 to 1, got {weight:g}. Try 0.5, or set scale to "
                f"'{PUBLISHED_SCALE}'."
            )
    return True


def unit(slope: Tensor) -> Tensor:
    """A slope [B, ...] with a root mean square of 1 for each image; 0 where it has no direction."""
    axes = tuple(range(1, slope.ndim))
    size = slope.square().mean(axes, keepdim=True).sqrt()
    return slope / size.clamp_min(TINY) * (size > TINY)
