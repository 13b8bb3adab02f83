"""A SAMPLER that does not sample: it hands what a sampler gets (the loaded model, its prompts, the noised start) to a
training, so that fine-tuning goes through the host's own path for every family of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def tuner(train: Callable[[Start], Tensor]) -> KSAMPLER:
    """A SAMPLER whose run is train(start) -> the final latent; gradients are on inside."""

    def sample_finetune(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any = None, *_: Any, **__: Any) -> Tensor:
        check_sigmas(sigmas, host.noise_family(model.inner_model.model_patcher))
        options = (extra_args or {}).get("model_options", {})
        with gradients(), host.differentiating():
            return train(Start(model, x, sigmas, options)).detach()

    return KSAMPLER(sample_finetune)
