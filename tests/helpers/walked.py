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
