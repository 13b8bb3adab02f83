"""What tests of samplers walk with: a tiny MODEL of each family and of pixels, guides, and the host's samplers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from helpers import tiny
from helpers.golden_files import load_file

FAMILIES = ("pixel", *tiny.FAMILIES)
NO_PROMPT = [[torch.zeros(1, 1, 1), {}]]


def every_model(room: Callable[[str], Any], golden: Path) -> dict[str, Any]:
    """One tiny MODEL of each family; `pixel` is the golden DDPM network as a pixel prior."""
    weights = load_file(golden / "sdedit" / "weights_a.safetensors")
    pixel = room("host").pixel_model(room("networks").build(weights))
    return {"pixel": pixel, **{family: tiny.model(family) for family in tiny.FAMILIES}}


def guide(family: str, *, batch: int = 1, height: int = 8, width: int = 8, seed: int = 5) -> dict[str, Any]:
    """A LATENT."""
    latent = tiny.latent(family, batch=batch, height=height, width=width, seed=seed)
    return {"samples": latent["samples"][:, :3].clamp(-1, 1)} if family == "pixel" else latent


def named(sampler: Any) -> Any:
    """The host's SAMPLER of this name; a SAMPLER is itself."""
    import comfy.samplers

    return comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler


def ladder(room: Callable[[str], Any], model: Any, t0: float = 0.5, steps: int = 6) -> torch.Tensor:
    """SIGMAS of a MODEL, from t0 down to 0."""
    family, levels = room("host").noise_family(model), room("samplers.levels")
    return levels.walk(family, levels.start_sigma(family, t0)[0], steps)


def run(
    model: Any,
    sampler: Any,
    sigmas: torch.Tensor,
    latent: dict[str, Any],
    *,
    watch: Any = None,
    seed: int = 3,
    pixel: bool = False,
    prompt: list | None = None,
) -> torch.Tensor:
    """One run; watch(i, denoised, x, total) sees every step."""
    import comfy.sample

    prompt = prompt or (NO_PROMPT if pixel else tiny.cond())
    return comfy.sample.sample_custom(
        model,
        comfy.sample.prepare_noise(latent["samples"], seed),
        1.0,
        named(sampler),
        sigmas,
        prompt,
        prompt,
        latent["samples"],
        noise_mask=latent.get("noise_mask"),
        callback=watch,
        disable_pbar=True,
        seed=seed,
    )
