"""Pruning: many pictures begin, and those whose energies are worst leave on the way, so that few are finished.

Particles weighted by a reward, as in Feynman-Kac steering (Singhal et al., arXiv 2501.06848), with energies as the
reward of a prediction. There the best are copied and their number stays; here the worst go (successive halving), since
what is wanted is the best pictures for the least work.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import host
from ..guidance.energy import Energy
from ..guidance.noise import check_sigmas
from ..guidance.run import Run, run_of
from .again import AgainSampler, own_seed, shifted, steps_of

CUT_STRIDE = 0xA0761D6478BD642F  # odd, and none of those of repeats and jumps
TINY = 1e-12  # a spread below it tells nothing


class PruneSampler(AgainSampler):
    """A SAMPLER that walks with `inner` and halves the batch on the way, until `keep` pictures are left.

    They end best first, by the MODEL's energies of their last predictions. first, last: shares of the steps after which
    the first and the last halving come; the others lie evenly between. Every stretch has its own noise. A multistep
    sampler begins anew after each halving. With no more pictures than `keep` it is `inner`, in another order.
    """

    leaves_fewer = True

    def __init__(self, inner: Any, keep: int, first: float, last: float) -> None:
        super().__init__(inner, self._prune, "pruned")
        self.keep, self.first, self.last = keep, first, last

    def steps(self, model_wrap: Any, sigmas: Tensor) -> int:
        return steps_of(self.inner, model_wrap, sigmas)

    def _prune(self, model, x, sigmas, extra_args, callback, disable, **options):
        check_sigmas(sigmas)
        host.check_run(model.inner_model, x)
        if len(sigmas) < 2:
            return x  # no step: nothing is known of anyone
        run = run_of(extra_args["model_options"])
        if run is None:
            raise ValueError(
                "Prune Sampler ranks pictures by the energies of the MODEL, and this one has none. Connect Shape "
                "Energy, Appearance Energy or another one to it first."
            )
        if len(x) > self.keep and host.prompts_differ(model.inner_model):
            raise ValueError(
                "Prune Sampler needs one prompt, label and control picture for the whole batch, because pictures leave "
                "it. Sample those with others of their own in batches of their own."
            )
        stops = cuts(len(sigmas) - 1, len(x), self.keep, self.first, self.last)
        arguments, begin = dict(extra_args), 0  # a copy: samplers write into theirs
        for k, (stop, left) in enumerate([*stops, (len(sigmas) - 1, self.keep)]):
            if k > 0:
                arguments["seed"] = own_seed(extra_args["seed"], k, CUT_STRIDE)
            watch = shifted(callback, begin)
            levels = sigmas[begin : stop + 1]
            x = self.walk(model, x, levels, arguments, watch, disable, options, whole=not stops)
            rows = ranking(run.values, len(x), stop)[:left]
            model, x = _with_rows(model, x, arguments, run, rows)
            begin = stop
        return x


def cuts(steps: int, count: int, keep: int, first: float, last: float) -> list[tuple[int, int]]:
    """After how many of `steps` steps the batch is cut, and to how many pictures: [(step, pictures)], from `count`."""
    lefts: list[int] = []
    while count > keep:
        count = max(keep, (count + 1) // 2)
        lefts.append(count)
    places: dict[int, int] = {}
    for i, left in enumerate(lefts):
        share = first + (last - first) * (i / (len(lefts) - 1) if len(lefts) > 1 else 0.0)
        places[max(1, round(share * steps))] = left  # of several at one step the last one holds
    return [(step, left) for step, left in places.items() if step < steps]


def ranking(values: Mapping[Energy, Tensor], count: int, step: int) -> Tensor:
    """The rows of a batch of `count`, best first, by what the energies last measured.

    Published weights are units of one sum; dials are shares, so each energy with a dial counts by how far a picture is
    from the others, in standard deviations. ValueError: no energy has measured them.
    """
    known = {energy: one.float().cpu() for energy, one in values.items() if len(one) == count}
    if not known:
        raise ValueError(
            f"Prune Sampler ranks pictures by energies, and none of this MODEL's acts in the first {step} steps. Let "
            "one start earlier, or cut later."
        )
    summed = [energy.weight * one for energy, one in known.items() if not energy.auto]
    score = torch.zeros(count)
    if summed:
        score += _standard(torch.stack(summed).sum(0))
    for energy, one in known.items():
        score += energy.weight * _standard(one) if energy.auto else 0.0
    return score.argsort(stable=True)


def _standard(values: Tensor) -> Tensor:
    """[B] in standard deviations from their mean; 0 where they are all alike."""
    off = values - values.mean()
    size = off.square().mean().sqrt()
    return off / size if size > TINY else torch.zeros_like(off)


def _with_rows(model: Any, x: Tensor, arguments: dict[str, Any], run: Run, rows: Tensor) -> tuple[Any, Tensor]:
    """The model wrapper and the sample for some of the pictures; `arguments` and `run` are narrowed in place."""
    count = len(x)

    def narrowed(part: Any) -> Any:
        return part[rows.to(part.device)] if isinstance(part, Tensor) and len(part) == count else part

    again = copy.copy(model)
    again.latent_image, again.noise = narrowed(model.latent_image), narrowed(model.noise)
    arguments["denoise_mask"] = narrowed(arguments["denoise_mask"])
    run.keep_rows(rows)
    return again, narrowed(x)
