"""The state of one sampling run, for patches on a MODEL: they see neither noise, seed, ladder nor round by themselves.

One wrapper round the sampler puts a fresh `Run` into transformer_options and takes nothing out: it goes with the run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .. import host
from .decoders import Decoder, Shown

RUN = "sketch_run"
TRIAL_SEED = 0x51E7C4  # apart from the sampler's own noise, which starts at seed + 1
DRAW = "sketch_draw"  # a function like -> noise in transformer_options replaces the trial noise (recorded noise, tests)
SAME_LEVEL = 1e-4


class Run:
    """What patches and our own samplers tell each other during one run.

    noise: what this round's start was noised with. sigmas: the ladder being walked. guided: False while a sampler
    wants the plain model. opened: networks, decoders and measures, each opened once.
    """

    def __init__(self, noise: Tensor | None = None, sigmas: Tensor | None = None, seed: int | None = None) -> None:
        self.sigmas = sigmas
        self.guided = True
        self.opened: dict[Any, Any] = {}
        self.sampler = ""  # the name of the k-diffusion function
        self.draw_recorded: Any = None
        self.start_round(noise, seed or 0)

    def start_round(self, noise: Tensor | None, seed: int) -> None:
        """A repeat begins: its own noise, and its own trial noise."""
        self.noise = noise
        self._generator = torch.Generator().manual_seed((seed + TRIAL_SEED) % 2**63)

    def draw(self, like: Tensor) -> Tensor:
        """Unit noise for a trial sample."""
        if self.draw_recorded is not None:
            return self.draw_recorded(like).to(like)
        return torch.randn(like.shape, generator=self._generator).to(like)

    def next_sigma(self, sigma: float) -> float:
        """The level after `sigma` on the ladder."""
        ladder = [] if self.sigmas is None else self.sigmas.tolist()
        for now, following in pairwise(ladder):
            if abs(now - sigma) <= SAME_LEVEL * sigma:
                return following
        raise ValueError(
            f"The next level is needed here, and sigma {sigma:.4g} is not on the SIGMAS being walked. Use a sampler "
            "that keeps to them, such as ddpm or euler_ancestral."
        )

    def kept_share(self, sigma: float) -> float:
        """What a sampler keeps of a shift. The cfg_pp ones would keep all of it at every step; like the others they get
        the share of the noise that this step takes away."""
        if not self.sampler.endswith("_cfg_pp"):
            return 1.0
        return 1 - self.next_sigma(sigma) / sigma

    def decode(self, decoder: Decoder, model: Any, leaf: Tensor) -> Shown:
        """The prediction `leaf` as an image, through a decoder opened once."""
        if decoder not in self.opened:
            self.opened[decoder] = decoder.open(model, leaf.device)
        return self.opened[decoder](leaf)


def run_of(options: dict[str, Any]) -> Run | None:
    """The Run of the sampling that these model_options belong to."""
    return options.get("transformer_options", {}).get(RUN)


def keep(patched: Any) -> None:
    """Gives every sampling run of this MODEL its own Run."""
    host.wrap_sampling(patched, RUN, _with_run)


def _with_run(execute: Any, model: Any, sigmas: Tensor, extra_args: dict, callback: Any, noise: Tensor, *rest: Any):
    """Wrapper of SAMPLER.sample: the same call, with a Run that its model_options carry."""
    options = extra_args["model_options"]
    if run_of(options) is not None:
        return execute(model, sigmas, extra_args, callback, noise, *rest)
    run = Run(noise, sigmas, extra_args.get("seed"))
    sampler = execute.class_obj
    run.sampler = getattr(getattr(getattr(sampler, "inner", sampler), "sampler_function", None), "__name__", "")
    run.draw_recorded = options["transformer_options"].get(DRAW)
    carried = {**options, "transformer_options": {**options["transformer_options"], RUN: run}}
    try:
        return execute(model, sigmas, {**extra_args, "model_options": carried}, callback, noise, *rest)
    finally:
        run.opened.clear()
