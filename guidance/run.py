"""The state of one sampling run, for patches on a MODEL, which cannot see the noise, seed, SIGMAS or round themselves.

A wrapper around the sampler puts a fresh `Run` into a copy of transformer_options, so it disappears with the run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .. import host
from .decoders import Decoder, Shown
from .noise import SAME_LEVEL

RUN = "sketch_run"
TRIAL_SEED = 0x51E7C4  # offset from the sampler's own noise, which starts at seed + 1
PREDICT = "the model itself"
DRAW = "sketch_draw"  # in transformer_options: a function like -> noise that replaces the trial noise (for tests)


class Run:
    """What patches and our own samplers share during one run.

    noise: what the start of this round was noised with. sigmas: the levels that the sampler visits. sampler: the name
    of its k-diffusion function, "" outside of a sampler. ancestral: whether it takes ancestral steps, the only ones
    that the paper's proof covers; our own samplers say so themselves. guided: False while a sampler wants the plain
    model. prepared: networks, decoders and measures, each prepared once. shift: what the energies took from the last
    prediction; None: nothing. values: what each energy last measured of each picture [B]. slopes: those that energies
    keep for several steps.
    """

    def __init__(self, noise: Tensor | None = None, sigmas: Tensor | None = None, seed: int | None = None) -> None:
        self.sigmas = sigmas
        self.guided = True
        self.shift: Tensor | None = None
        self.prepared: dict[Any, Any] = {}
        self.values: dict[Any, Tensor] = {}
        self.slopes: dict[int, Any] = {}
        self.sampler = ""
        self.ancestral = False
        self.draw_recorded: Any = None
        self.start_round(noise, seed or 0)

    def start_round(self, noise: Tensor | None, seed: int) -> None:
        """Starts a repeat, which has its own noise and its own trial noise."""
        self.noise = noise
        self.slopes = {}
        self._generator = torch.Generator().manual_seed((seed + TRIAL_SEED) % 2**63)

    def keep_rows(self, rows: Tensor) -> None:
        """Goes on with these pictures of the batch alone."""
        self.noise = None if self.noise is None else self.noise[rows.to(self.noise.device)]
        self.values = {energy: values[rows.to(values.device)] for energy, values in self.values.items()}
        self.prepared.clear()  # of the batch as it was
        self.slopes.clear()

    def draw(self, like: Tensor) -> Tensor:
        """Unit noise for a trial sample."""
        if self.draw_recorded is not None:
            return self.draw_recorded(like).to(like)
        return torch.randn(like.shape, generator=self._generator).to(like)

    def next_sigma(self, sigma: float) -> float | None:
        """The level that follows `sigma` in SIGMAS; None if `sigma` is not one of them."""
        levels = [] if self.sigmas is None else self.sigmas.tolist()
        for now, following in pairwise(levels):
            if abs(now - sigma) <= SAME_LEVEL * sigma:
                return following
        return None

    def kept_share(self, sigma: float) -> float:
        """Factor on a shift. cfg_pp samplers would keep the whole shift at every step, where the others keep the
        fraction of the noise that the step removes; this gives them the same fraction."""
        if not self.sampler.endswith("_cfg_pp"):
            return 1.0
        following = self.next_sigma(sigma)
        if following is None:
            raise ValueError(
                f"Energies need the next noise level of {self.sampler}, but it also evaluates sigma {sigma:.4g} "
                "between the SIGMAS. Use euler_cfg_pp, or a sampler without cfg_pp."
            )
        return 1 - following / sigma

    def predict(self, model: Any, leaf: Tensor, arguments: dict[str, Any]) -> Tensor:
        """The prediction at the state `leaf` after CFG, differentiable in it; the model is prepared once per run.
        arguments: those of the post-CFG function."""
        if PREDICT not in self.prepared:
            self.prepared[PREDICT] = host.differentiable(model, leaf.device)
        return self.prepared[PREDICT](leaf, arguments)

    def decode(self, decoder: Decoder, model: Any, leaf: Tensor) -> Shown:
        """The prediction `leaf` as an image, through a decoder that is prepared once per run."""
        if decoder not in self.prepared:
            self.prepared[decoder] = decoder.prepare(model, leaf.device)
        return self.prepared[decoder](leaf)


def run_of(options: dict[str, Any]) -> Run | None:
    """The Run that these model_options belong to; None outside of a sampler."""
    return options.get("transformer_options", {}).get(RUN)


def steps_are_ancestral(extra_args: dict[str, Any]) -> None:
    """Called by our own ancestral samplers before their first step; extra_args: as k-diffusion's samplers get them."""
    if (run := run_of(extra_args.get("model_options", {}))) is not None:
        run.ancestral = True


def keep(patched: Any) -> None:
    """Gives every sampling run of this MODEL its own Run."""
    host.wrap_sampling(patched, RUN, _with_run)


def _with_run(execute: Any, model: Any, sigmas: Tensor, extra_args: dict, callback: Any, noise: Tensor, *rest: Any):
    """Wrapper around SAMPLER.sample: the same call, with a Run in its model_options. ValueError: a latent or a prompt
    of another model."""
    options = extra_args["model_options"]
    host.check_run(model, noise)
    if run_of(options) is not None:
        return execute(model, sigmas, extra_args, callback, noise, *rest)
    run = Run(noise, sigmas, extra_args.get("seed"))
    sampler = execute.class_obj
    while hasattr(sampler, "inner"):  # one of ours around another
        sampler = sampler.inner
    run.sampler = getattr(getattr(sampler, "sampler_function", None), "__name__", "")
    run.ancestral = run.sampler in host.ANCESTRAL
    run.draw_recorded = options["transformer_options"].get(DRAW)
    carried = {**options, "transformer_options": {**options["transformer_options"], RUN: run}}
    try:
        return execute(model, sigmas, {**extra_args, "model_options": carried}, callback, noise, *rest)
    finally:
        run.prepared.clear()
