"""Inspecting a model without sampling: single predictions through the host's whole sampling path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.sample
import torch
from comfy.samplers import KSAMPLER
from comfy.utils import ProgressBar
from torch import Tensor

from .. import host
from ..guidance.regions import joint
from ..guidance.regions.patch import RECORD, Record, patch
from ..guidance.regions.regions import Looked, Words
from .levels import OWN_TIME, start_sigma


def attention_maps(
    model: Any, conditioning: list, latent: Tensor, places: Sequence[tuple[int, ...]], count: int, seed: int
) -> Tensor:
    """Cross-attention maps of phrases [phrases, h, w], means over heads, layers and `count` noise levels.

    latent: a LATENT's samples of one picture [1, C, H, W], noised to levels spread evenly over the model's own time.
    places: for each phrase, the positions of its tokens in the prompt. Regions on the CONDITIONING act as they would in
    a sampler, so these are the maps that it would use.
    """
    record = Record(places)
    asked = [[context, {**values, RECORD: record}] for context, values in conditioning]
    _look(patch(model), asked, latent, count, seed)
    return record.mean().float().cpu()


def attention_shares(
    model: Any, conditioning: list, latent: Tensor, words: Sequence[Words], count: int, seed: int
) -> Tensor:
    """The same on a transformer [phrases, h, w]: how much of each pixel's attention goes to each phrase.

    words: the phrases, each encoded by itself with all of the picture as its region. They follow the prompt's own words
    as those of regions do; all pixels see them, no other word does. So a phrase need not be in the prompt (as in
    ConceptAttention, Helbling et al., ICML 2025, arXiv 2502.04320, whose maps are of the layers' outputs instead).
    """
    record = Record([(number,) for number in range(len(words))])
    looked = Looked(tuple(words), record)
    asked = [[context, {**values, RECORD: looked}] for context, values in conditioning]
    _look(joint.patch(model), asked, latent, count, seed)
    return record.mean().float().cpu()


def _look(patched: Any, asked: list, latent: Tensor, count: int, seed: int) -> None:
    """Runs a MODEL once at each of `count` noise levels."""
    family = host.noise_family(patched)
    noise = comfy.sample.prepare_noise(latent, seed)
    progress = ProgressBar(count)  # Cancel takes effect at its updates
    for number in range(count):
        sigma, _ = start_sigma(family, (count - number) / (count + 1), OWN_TIME)
        levels = torch.tensor([sigma, 0.0])
        comfy.sample.sample_custom(
            patched, noise, 1.0, KSAMPLER(_once), levels, asked, asked, latent, disable_pbar=True, seed=seed
        )
        progress.update(1)


def _once(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: Any) -> Tensor:
    """A k-diffusion sampler that calls the model once and returns its input."""
    model(x, sigmas[0] * x.new_ones(len(x)), **extra_args)
    return x
