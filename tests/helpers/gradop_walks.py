"""What the tests of GradOP in the host walk with: short walks of tiny models, and a painting."""

from __future__ import annotations

import torch

from helpers import tiny

PLUS, PREDICTED, GRADOP = VARIANTS = ("GradOP+", "GradOP+ on the predicted image", "GradOP")
NO_PROMPT = [[torch.zeros(1, 1, 1), {}]]
FAMILIES = ("sd15", "sd15_v", "sdxl", "edm", "sd3", "flux")


def strokes(height=40, width=56, batch=1):
    """Orange above blue."""
    painting = torch.empty(batch, height, width, 3)
    painting[:, : height // 2] = torch.tensor([0.9, 0.5, 0.1])
    painting[:, height // 2 :] = torch.tensor([0.1, 0.2, 0.6])
    return painting


def ladder(room, model, steps=8):
    family, levels = room("host").noise_family(model), room("samplers.levels")
    return levels.walk(family, levels.highest(family), steps)


def empty(family="sd15", **size):
    return 0 * tiny.latent(family, **size)["samples"]


def run(model, sampler, sigmas, latent, *, seed=3, cfg=2.0, **options):
    if latent.shape[1] == 3:
        options |= {"positive": NO_PROMPT, "negative": NO_PROMPT}
        cfg = 1.0
    return tiny.sample(model, sigmas, latent, sampler=sampler, seed=seed, cfg=cfg, **options)


def heard(model, sampler, sigmas, latent, watch, *, noise=None, cfg=1.0, mask=None):
    import comfy.sample
    import comfy.samplers

    noise = comfy.sample.prepare_noise(latent, 3) if noise is None else noise
    prompts = (NO_PROMPT, NO_PROMPT) if latent.shape[1] == 3 else (tiny.cond(), tiny.cond(seed=1))
    sampler = sampler or comfy.samplers.sampler_object("euler")
    settings = {"noise_mask": mask, "callback": watch, "disable_pbar": True, "seed": 3}
    return comfy.sample.sample_custom(model, noise, cfg, sampler, sigmas, *prompts, latent, **settings)
