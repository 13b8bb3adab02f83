"""A sampler that does not sample: it hands what a sampler gets (the loaded model, its prompts, the noised start) to a
training, so that fine-tuning goes through the host's own path for every family of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.sample
import torch
from comfy.samplers import KSAMPLER
from torch import Tensor

from .. import host
from ..guidance.noise import check_sigmas
from ..networks.frozen import gradients, ordinary


class Start:
    """What a fine-tuning begins with. x: the noised start [B,...] at sigmas[0]; base: the model being sampled."""

    def __init__(self, model: Any, x: Tensor, sigmas: Tensor, options: dict[str, Any]) -> None:
        guider = model.inner_model
        self.base = guider.inner_model
        self.x, self.sigmas = ordinary(x).float(), sigmas.float().cpu()
        positive, negative = guider.conds.get("positive"), guider.conds.get("negative")
        scale = float(guider.cfg)
        self.arguments = {
            "cond": positive,
            "uncond": None if scale == 1 else negative,
            "cond_scale": scale,
            "model_options": options,
        }

    def predict(self, tuning: Any, weights: dict[str, Tensor], x: Tensor, sigma: float) -> Tensor:
        """The prediction of a host.Tuning with `weights` at one level."""
        levels = torch.full((len(x),), sigma, device=x.device)
        return tuning.predict(weights, x, {**self.arguments, "sigma": levels})


def trained(
    model: Any, prompt: Any, latent: Tensor, sigmas: Tensor, seed: int, train: Callable[[Start], tuple[Any, Tensor]]
) -> Any:
    """What train(start) returns first, run in the host's own sampling path: the model is loaded, and `prompt` processed
    for it. latent [B,...]: clean, as a VAE encodes it; noised by `seed` to sigmas[0]. train's second value is the final
    state, which becomes the preview. Gradients are on inside."""
    found: list[Any] = []

    def sample_finetune(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any = None, *_: Any, **__: Any) -> Tensor:
        check_sigmas(sigmas, host.noise_family(model.inner_model.model_patcher))
        options = (extra_args or {}).get("model_options", {})
        with gradients(), host.differentiating(model.inner_model.inner_model):
            result, last = train(Start(model, x, sigmas, options))
        found.append(result)
        return last.detach()

    noise = comfy.sample.prepare_noise(latent, seed)
    sampler = KSAMPLER(sample_finetune)
    comfy.sample.sample_custom(model, noise, 1.0, sampler, sigmas, prompt, prompt, latent, disable_pbar=True, seed=seed)
    return found[0]
