"""GradOP and GradOP+ (Singh et al., CVPR 2023, arXiv 2211.17084): a painting and a prompt become one picture.

Image to image makes a flat, cartoon-like picture of a flat painting. GradOP asks for less: the result, *painted over*
by an autonomous painter f, shall look like the painting y. GradOP+ does so within one walk from pure noise. After some
of its steps the estimate z goes down the slope of

    L(z) = mean((f(D(z)) - y)^2)        D: latent to picture in 0..1, f: pictures.painters.Painter

by Adam, is noised again to the level at which the walk stands, and the walk goes on. A SAMPLER cannot be halted in the
middle, so SIGMAS are split: each part is a walk of the inner SAMPLER, whose own start is the noising.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.samplers import Sampler, ksampler
from torch import Tensor
from tqdm.auto import tqdm

from .. import host
from ..guidance.decoders import Decoder, choose
from ..guidance.noise import signal_and_noise
from ..guidance.run import run_of
from ..networks.frozen import gradients, ordinary
from ..pictures.fit import fit_image, pair_batches
from ..pictures.painters import GAUSSIAN, Painter
from .levels import signal_share
from .repeat import FINISHED, RepeatSampler, noise_like, round_seed
from .window import second_walk, window

PLUS, PREDICTED, TWO_WALKS = "GradOP+", "GradOP+ on the predicted image", "GradOP"
VARIANTS = (PREDICTED, PLUS, TWO_WALKS)
AUTO, EXACT, FAST, MAP, MIXED = "auto", "vae", "fast vae", "linear", "linear, then vae"
DECODERS = (AUTO, EXACT, FAST, MAP, MIXED)
EXACT_SHARE = 1 / 3  # of a round's steps, its last ones, that look through the VAE when the decoder is mixed
AT_ONCE = 2**20  # pixels that are decoded together
BEGUN = 0.1  # share of signal from which on a start is no pure noise
# The host's functions that move nothing where SIGMAS hold one step; where they hold one step to 0.
STILL, STILL_TO_0 = ("sample_unipc", "sample_unipc_bh2"), ("dpm_fast_function", "dpm_adaptive_function")


@dataclass(frozen=True, eq=False)
class Task:
    """What is wanted. painting: IMAGE [1 or B, h, w, 3 or more] in 0..1. strength, rounds: see `window`.

    gamma: weight of the mean squared distance from the first walk's result, in GradOP only.
    """

    vae: Any
    painting: Tensor
    fast_vae: Any = None
    variant: str = PREDICTED
    strength: float = 0.8
    rounds: int = 3
    gradient_steps: int = 12
    learning_rate: float = 0.1
    painter: Painter = field(default_factory=Painter)
    decoder: str = AUTO
    gamma: float = 0.001

    def parts(self, steps: int) -> list[tuple[int, int]]:
        """(first, last) level of each part of the walk; the painting is looked at between one and the next."""
        if self.gradient_steps == 0 or self.rounds == 0 or steps < 1:
            return [(0, steps)]
        if self.variant == TWO_WALKS:
            return [(0, steps), (second_walk(steps, self.strength), steps)]
        return list(pairwise([0, *(i + 1 for i in window(steps, self.strength, self.rounds)), steps]))


class GradOpSampler(Sampler):
    """A SAMPLER that walks as `inner` does and lets the painting of `task` correct it on the way.

    Without rounds or gradient steps it is `inner`, bit for bit. Pictures of a batch do not see each other. What a
    noise_mask keeps is not moved and comes from the first latent throughout. Each part of the walk has its own seed and
    noise; round_noise(k) replaces the noise that part k >= 1 starts from (recorded noise, in tests). tell(text) hears
    what was done.
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
                f"GradOP cuts the walk into parts, and a {type(inner).__name__} needs whole walks. Connect a plain "
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
        if self.task.variant == TWO_WALKS and float(sigmas[-1]) > FINISHED:
            raise ValueError(
                f"GradOP walks again from a finished picture, but these SIGMAS end at {float(sigmas[-1]):.4g}, not at "
                "0. Connect SIGMAS that run down to 0, or choose GradOP+."
            )
        host.check_image_model(model_wrap.model_patcher)
        first = torch.zeros_like(noise) if latent_image is None else latent_image
        family = host.noise_family(model_wrap.model_patcher)
        moves = self.task.gradient_steps * (len(parts) - 1)
        reel = _Reel(callback, sum(b - a for a, b in parts) + moves, disable_pbar)
        canvas = _Canvas(self.task, model_wrap, first, denoise_mask, reel)
        start, fresh, seed = first, noise, extra_args.get("seed") or 0
        for k, (begin, end) in enumerate(parts):
            guide, given, arguments = start, fresh, _with_whole_ladder(extra_args, sigmas)
            if k > 0:
                arguments["seed"] = round_seed(seed, k)
                fresh = given = self._noise(k, noise, arguments)
            if k > 0 and denoise_mask is not None:
                # The inner sampler keeps what it is given as a latent, so it gets the first one, and a noise with which
                # its start is nevertheless the corrected estimate.
                start = torch.where(denoise_mask == 0, first, start)
                signal, level = signal_and_noise(family, float(sigmas[begin]))
                guide, given = first, fresh + signal / level * (start - first)
            levels = sigmas[begin : end + 1].clone()  # some samplers write into theirs
            x = self._walker(levels).sample(
                model_wrap, levels, arguments, reel.part(end - begin), given, guide, denoise_mask, True
            )
            if k < len(parts) - 1:
                start = canvas.corrected(self._estimate(x, family, model_wrap, sigmas[end], reel.guess))
            if k == len(parts) - 2:
                canvas.views.clear()  # with the copies of the VAE's weights
        reel.bar.close()
        self.tell(_describe(self.task, family, sigmas, parts, canvas.losses))
        return x

    def _walker(self, levels: Tensor) -> Any:
        """Who walks a part: `inner`, or euler for the one step in which that would stand still.

        UniPC's and DPM-Solver's steps of order 1 are DDIM's, and those are euler's in the host's coordinates.
        """
        name = getattr(getattr(self.inner, "sampler_function", None), "__name__", "")
        still = name in STILL or (name in STILL_TO_0 and levels[-1] == 0)
        return ksampler("euler") if still and len(levels) == 2 else self.inner

    def _noise(self, k: int, noise: Tensor, arguments: dict[str, Any]) -> Tensor:
        """What part k >= 1 starts from; the MODEL's patches hear of it."""
        fresh = noise_like(noise, arguments["seed"]) if self.round_noise is None else self.round_noise(k).to(noise)
        if (run := run_of(arguments["model_options"])) is not None:
            run.start_round(fresh, arguments["seed"])
        return fresh

    def _estimate(self, x: Tensor, family: Any, model_wrap: Any, sigma: Tensor, guess: Tensor | None) -> Tensor:
        """What is optimised, as a clean latent: the model's last guess; or the state itself with a clean latent's
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


def _with_whole_ladder(extra_args: dict[str, Any], sigmas: Tensor) -> dict[str, Any]:
    """A copy for one part. A denoise_mask_function in it, such as Differential Diffusion's, sees all SIGMAS: it frees a
    soft mask in step with the whole walk."""
    options = extra_args["model_options"]
    soft = options.get("denoise_mask_function")
    if soft is None:
        return dict(extra_args)

    def whole(sigma: Tensor, mask: Tensor, extra_options: dict[str, Any]) -> Tensor:
        return soft(sigma, mask, extra_options={**extra_options, "sigmas": sigmas})

    return {**extra_args, "model_options": {**options, "denoise_mask_function": whole}}


class _Reel:
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
        """One gradient step is done."""
        self._show(self.done, estimate, estimate)
        self.done += 1

    def _show(self, at: int, estimate: Tensor, x: Tensor) -> None:
        self.bar.update(at + 1 - self.bar.n)
        if self.callback is not None:
            self.callback(at, estimate, x, self.total)


class _Canvas:
    """The painting beside the estimates of one run. losses: (first, last) of each round, means over the batch."""

    def __init__(self, task: Task, guider: Any, latent: Tensor, mask: Tensor | None, reel: _Reel) -> None:
        pair_batches(task.painting, len(latent), "painting")
        self.task, self.reel = task, reel
        self.free = None if mask is None else (mask > 0).to(latent)
        self.views = _views(task, guider, latent)
        self.losses: list[tuple[float, float]] = []

    def corrected(self, estimate: Tensor) -> Tensor:
        """The estimate [B, C, h, w] after one round: gradient_steps steps of a new Adam (betas .9 and .999, eps 1e-8).

        All of it is float32, whatever the model and the VAE compute in.
        """
        begun = z = estimate.float()
        mean, square = torch.zeros_like(z), torch.zeros_like(z)
        steps, losses = self.task.gradient_steps, []
        for k in range(1, steps + 1):
            throw_exception_if_processing_interrupted()
            slope, loss = self.views[-1 if steps - k < ceil(steps * EXACT_SHARE) else 0].slope(z)
            losses.append(loss)
            if self.task.variant == TWO_WALKS:
                slope = slope + 2 * self.task.gamma / z[0].numel() * (z - begun)
            if self.free is not None:
                slope = slope * self.free
            mean = 0.9 * mean + 0.1 * slope
            square = 0.999 * square + 0.001 * slope.square()
            spread = square.sqrt() / (1 - 0.999**k) ** 0.5 + 1e-8
            z = z - self.task.learning_rate / (1 - 0.9**k) * mean / spread
            self.reel.move(z)
        self.losses.append((losses[0], losses[-1]))
        return z


class _View:
    """A latent's picture through one decoder, painted over, beside the painting."""

    def __init__(self, decoder: Decoder, guider: Any, task: Task, at_once: int, scale: int) -> None:
        """at_once: latents decoded together. scale: side of a latent pixel in the whole picture."""
        self.decoder, self.model, self.task = decoder, guider.inner_model, task
        self.at_once, self.scale = at_once, scale
        self.prepared: Any = None
        self.goal: Tensor | None = None

    def slope(self, z: Tensor) -> tuple[Tensor, float]:
        """dL/dz like z, of each picture's own L, and the mean of L, for latents z [B, C, h, w], float32.

        The backward pass starts from a sum over pixels and is divided afterwards, in float32: the slope of a mean is
        smaller than what float16 holds.
        """
        slopes, loss = [], 0.0
        for i in range(0, len(z), self.at_once):
            with gradients():
                leaf = ordinary(z[i : i + self.at_once]).requires_grad_()
                unlike = self._unlike(leaf, i).sum()
                slopes.append(torch.autograd.grad(unlike, leaf)[0])
            loss += float(unlike)
        assert self.goal is not None
        slope, size = torch.cat(slopes), self.goal[0].numel()
        if not torch.isfinite(slope).all():
            raise ValueError(
                "The VAE's slope is not finite in its number format. Start ComfyUI with --bf16-vae or --fp32-vae, or "
                "choose the decoder 'linear'."
            )
        return slope / size, loss / size / len(z)

    def _unlike(self, leaf: Tensor, i: int) -> Tensor:
        """Squared differences of pictures number i and on from their paintings [B, 3, h, w]."""
        if self.prepared is None:
            self.prepared = self.decoder.prepare(self.model, leaf.device)
        picture = (self.prepared.image(leaf) + 1) / 2
        if self.task.variant == PLUS:
            picture = picture.clamp(0, 1)  # as released: what is out of range has no slope, and stays there
        cell = picture.shape[-1] / leaf.shape[-1]  # side of a latent pixel here: 2, not 1, through Flux.2's linear map
        painted = self.task.painter(picture, cell / self.scale, cell)
        goal = self.goal
        if goal is None:
            fitted = fit_image(self.task.painting[..., :3].float(), painted.shape[-2], painted.shape[-1])
            goal = self.goal = ordinary(fitted.movedim(-1, 1)).to(painted)
        return (painted - (goal if len(goal) == 1 else goal[i : i + len(painted)])).square()


def _views(task: Task, guider: Any, latent: Tensor) -> list[_View]:
    """One view for all gradient steps, or the cheap one and the one for a round's last steps; room made for them."""
    patcher = guider.model_patcher
    form = patcher.get_model_object("latent_format")
    scale = form.spacial_downscale_ratio
    if isinstance(form, host.PixelSpace):
        eyes = [(EXACT, task.vae)]
    else:
        wanted = _cheapest(task, form.latent_rgb_factors is not None) if task.decoder == AUTO else task.decoder
        exact, fast, linear = (EXACT, task.vae), (EXACT, task.fast_vae), (MAP, None)
        eyes = {EXACT: [exact], FAST: [fast], MAP: [linear], MIXED: [linear, exact]}[wanted]
    vaes = [vae for _, vae in eyes if vae is not None]
    views, needed = [], 0.0
    pixels = latent.shape[-2] * latent.shape[-1]
    for kind, vae in eyes:
        if vae is not None and vae.latent_channels != latent.shape[1]:
            raise ValueError(
                f"The MODEL's latents have {latent.shape[1]} channels and those of a connected VAE "
                f"{vae.latent_channels}. Connect this model's own VAE."
            )
        decoder = choose(patcher, vae, kind)
        at_once = max(1, min(len(latent), int(AT_ONCE / (pixels * (1 if vae is None else scale) ** 2))))
        if decoder.memory is not None:
            shape = [at_once, *latent.shape[1:]]
            if host.does_not_fit(guider, vaes, decoder.memory(shape)):
                decoder = choose(patcher, vae, EXACT, recompute=True)
            needed = max(needed, decoder.memory(shape))
        views.append(_View(decoder, guider, task, at_once, scale))
    if needed > 0:
        host.load_beside(guider, vaes, list(latent.shape), needed)
    return views


def _cheapest(task: Task, mapped: bool) -> str:
    """The decoder that auto stands for. mapped: the model's latents have a linear map to colours.

    It is enough for the broad colours of a clean picture, not for the noisy state that the released variant shows it.
    """
    if task.fast_vae is not None:
        return FAST
    if not mapped:
        return EXACT
    return MAP if task.variant != PLUS and task.painter.kind == GAUSSIAN else MIXED


def _describe(task: Task, family: Any, sigmas: Tensor, parts: list, losses: list) -> str:
    """What was done, and what the graph may not have meant."""
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
