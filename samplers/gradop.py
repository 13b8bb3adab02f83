"""GradOP and GradOP+ (Singh et al., CVPR 2023, arXiv 2211.17084): a painting and a prompt become one picture.

Image to image turns a flat painting into a flat, cartoon-like picture. GradOP asks for less: only the result *painted
over* by an autonomous painter f has to look like the painting y. GradOP+ does this within one walk from pure noise.
After some of its steps, Adam minimises

    L(z) = mean((f(D(z)) - y)^2)        D: latent to picture in 0..1, f: pictures.painters.Painter

over the estimate z, which is then noised again to the current level, and the walk goes on. A SAMPLER cannot be paused
midway, so SIGMAS are split: each part is a walk of the inner SAMPLER, whose own start adds the noise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from comfy.samplers import Sampler
from torch import Tensor
from tqdm.auto import tqdm

from .. import host
from ..guidance.noise import check_sigmas, signal_and_noise
from ..guidance.run import run_of
from .again import moving, noise_like, own_seed
from .canvas import FAST, PREDICTED, TWO_WALKS, Canvas, Task
from .levels import signal_share
from .repeat import FINISHED, RepeatSampler

BEGUN = 0.1  # share of signal above which a start does not count as pure noise


class GradOpSampler(Sampler):
    """A SAMPLER that samples with `inner` and corrects its estimates towards the painting of `task` on the way.

    Without rounds or gradient steps it is `inner`, bit for bit. Pictures of a batch are independent of each other. What
    a noise_mask keeps is not moved and comes from the first latent throughout. Each part of the walk has its own seed
    and noise; round_noise(k) replaces the noise that part k >= 1 starts from (recorded noise, in tests). tell(text) is
    called with a summary at the end.
    """

    def __init__(
        self,
        inner: Any,
        task: Task,
        round_noise: Callable[[int], Tensor] | None = None,
        tell: Callable[[str], None] = logging.info,
    ) -> None:
        if isinstance(inner, (GradOpSampler, RepeatSampler)):
            raise ValueError(
                f"GradOP cuts the walk into parts, but a {type(inner).__name__} needs whole walks. Connect a plain "
                "sampler, such as KSamplerSelect with euler."
            )
        if task.decoder == FAST and task.fast_vae is None:
            raise ValueError("Decoder 'fast vae' needs one: connect the model's TAESD to fast_vae, or choose 'linear'.")
        self.inner, self.task, self.round_noise, self.tell = inner, task, round_noise, tell

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ):
        parts = self.task.parts(len(sigmas) - 1)
        if len(parts) == 1:
            if self.task.rounds > 0 and self.task.gradient_steps > 0:
                self.tell("No round fits before the last step: this was the plain sampler. Raise strength or steps.")
            return self.inner.sample(
                model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar
            )
        check_sigmas(sigmas)
        if self.task.variant == TWO_WALKS and float(sigmas[-1]) > FINISHED:
            raise ValueError(
                f"GradOP walks again from a finished picture, but these SIGMAS end at {float(sigmas[-1]):.4g}, not at "
                "0. Connect SIGMAS that run down to 0, or choose GradOP+."
            )
        host.check_image_model(model_wrap.model_patcher)
        host.check_run(model_wrap, noise)
        first = torch.zeros_like(noise) if latent_image is None else latent_image
        family = host.noise_family(model_wrap.model_patcher)
        moves = self.task.gradient_steps * (len(parts) - 1)
        progress = _Progress(callback, sum(b - a for a, b in parts) + moves, disable_pbar)
        canvas = Canvas(self.task, model_wrap, first, denoise_mask, progress.move)
        start, fresh, seed = first, noise, extra_args.get("seed") or 0
        for k, (begin, end) in enumerate(parts):
            guide, given, arguments = start, fresh, _with_all_sigmas(extra_args, sigmas)
            if k > 0:
                arguments["seed"] = own_seed(seed, k)
                fresh = given = self._noise(k, noise, arguments)
            if k > 0 and denoise_mask is not None:
                # The inner sampler keeps masked pixels of the latent that it is given, so it gets the first latent, and
                # a noise that makes its start the corrected estimate all the same.
                start = torch.where(denoise_mask == 0, first, start)
                signal, level = signal_and_noise(family, float(sigmas[begin]))
                guide, given = first, fresh + signal / level * (start - first)
            levels = sigmas[begin : end + 1].clone()  # some samplers write into them
            x = moving(self.inner, levels).sample(
                model_wrap, levels, arguments, progress.part(end - begin), given, guide, denoise_mask, True
            )
            if k < len(parts) - 1:
                start = canvas.corrected(self._estimate(x, family, model_wrap, sigmas[end], progress.guess))
            if k == len(parts) - 2:
                canvas.views.clear()  # with the copies of the VAE's weights
        progress.bar.close()
        self.tell(_describe(self.task, family, sigmas, parts, canvas.losses))
        return x

    def _noise(self, k: int, noise: Tensor, arguments: dict[str, Any]) -> Tensor:
        """The noise that part k >= 1 starts from; the run tells the MODEL's patches."""
        fresh = noise_like(noise, arguments["seed"]) if self.round_noise is None else self.round_noise(k).to(noise)
        if (run := run_of(arguments["model_options"])) is not None:
            run.start_round(fresh, arguments["seed"])
        return fresh

    def _estimate(self, x: Tensor, family: Any, model_wrap: Any, sigma: Tensor, guess: Tensor | None) -> Tensor:
        """The clean latent to optimise: the model's last guess; or the state itself, scaled to a clean latent's
        variance, as released; or, after a whole walk, its result."""
        if self.task.variant == TWO_WALKS:
            return x
        if self.task.variant == PREDICTED:
            if guess is None:
                raise ValueError(
                    f"{type(self.inner).__name__} does not report what the model predicts. Connect another sampler, or "
                    "choose the variant 'GradOP+'."
                )
            return guess
        state = model_wrap.inner_model.model_sampling.noise_scaling(sigma, torch.zeros_like(x), x)  # undoes the inverse
        signal, level = signal_and_noise(family, float(sigma))
        return state * (family.sigma_data / ((signal * family.sigma_data) ** 2 + level**2) ** 0.5)


def _with_all_sigmas(extra_args: dict[str, Any], sigmas: Tensor) -> dict[str, Any]:
    """A copy for one part. A denoise_mask_function in it, such as Differential Diffusion's, gets all SIGMAS, because it
    opens up a soft mask over the course of the whole walk."""
    options = extra_args["model_options"]
    soft = options.get("denoise_mask_function")
    if soft is None:
        return dict(extra_args)

    def whole(sigma: Tensor, mask: Tensor, extra_options: dict[str, Any]) -> Tensor:
        return soft(sigma, mask, extra_options={**extra_options, "sigmas": sigmas})

    return {**extra_args, "model_options": {**options, "denoise_mask_function": whole}}


class _Progress:
    """All parts and gradient steps as one run of the progress bar; keeps the model's last guess."""

    def __init__(self, callback: Callable | None, total: int, disable: bool) -> None:
        self.callback, self.total = callback, total
        self.done, self.guess = 0, None
        self.bar = tqdm(total=total, disable=disable)

    def part(self, steps: int) -> Callable[[int, Tensor, Tensor, int], None]:
        first = self.done
        self.done += steps

        def watch(i: int, denoised: Tensor, x: Tensor, _: int) -> None:
            self.guess = denoised
            self._show(first + min(i, steps - 1), denoised, x)

        return watch

    def move(self, estimate: Tensor) -> None:
        """Reports one gradient step."""
        self._show(self.done, estimate, estimate)
        self.done += 1

    def _show(self, at: int, estimate: Tensor, x: Tensor) -> None:
        self.bar.update(at + 1 - self.bar.n)
        if self.callback is not None:
            self.callback(at, estimate, x, self.total)


def _describe(task: Task, family: Any, sigmas: Tensor, parts: list, losses: list) -> str:
    """What was done, and what may not have been intended."""
    steps, rounds = len(sigmas) - 1, len(parts) - 1
    lines = [f"Painting loss {losses[0][0]:.4f} to {losses[-1][1]:.4f}."]
    if task.variant == TWO_WALKS:
        lines += [f"{steps} steps, {task.gradient_steps} gradient steps, {steps - parts[1][0]} steps again."]
    else:
        lines += [f"Corrected after {rounds} of {steps} steps, from step {parts[0][1]} on."]
        if rounds < task.rounds:
            lines += [f"Only {rounds} of {task.rounds} rounds fit before the last step."]
    share = signal_share(family, float(sigmas[0]))
    if share > BEGUN:
        lines += [
            f"The walk began with {share:.0%} of the latent's signal, not at pure noise: the painting corrected what "
            "the latent holds, a picture or, if empty, grey ground. GradOP shapes a picture that comes from the prompt "
            "alone: set denoise to 1."
        ]
    return "\n".join(lines)
