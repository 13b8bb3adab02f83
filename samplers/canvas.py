"""What GradOP is asked to do, how far a latent is from the painting, and steps towards it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from torch import Tensor

from .. import host
from ..guidance.decoders import Decoder, choose
from ..networks.frozen import gradients, ordinary
from ..pictures.fit import fit_image, pair_batches
from ..pictures.painters import GAUSSIAN, Painter
from .window import second_walk, window

PLUS, PREDICTED, TWO_WALKS = "GradOP+", "GradOP+ on the predicted image", "GradOP"
VARIANTS = (PREDICTED, PLUS, TWO_WALKS)
AUTO, EXACT, FAST, MAP, MIXED = "auto", "vae", "fast vae", "linear", "linear, then vae"
DECODERS = (AUTO, EXACT, FAST, MAP, MIXED)
EXACT_SHARE = 1 / 3  # with the mixed decoder, the fraction of a round's steps, at its end, that use the VAE
AT_ONCE = 2**20  # pixels that are decoded together


@dataclass(frozen=True, eq=False)
class Task:
    """The settings. painting: IMAGE [1 or B, h, w, 3 or more] in 0..1. strength, rounds: see `window`.

    gamma: weight of the mean squared distance from the first walk's result, for the variant GradOP only.
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
        """(first, last) level of each part of the walk; the corrections happen between one part and the next."""
        if self.gradient_steps == 0 or self.rounds == 0 or steps < 1:
            return [(0, steps)]
        if self.variant == TWO_WALKS:
            return [(0, steps), (second_walk(steps, self.strength), steps)]
        return list(pairwise([0, *(i + 1 for i in window(steps, self.strength, self.rounds)), steps]))


class Canvas:
    """Moves the estimates of a run towards the painting. losses: (first, last) of each round, means over the batch."""

    def __init__(
        self, task: Task, guider: Any, latent: Tensor, mask: Tensor | None, moved: Callable[[Tensor], None]
    ) -> None:
        """mask: 1 where the latent may change; None: everywhere. moved(estimate): called after each gradient step."""
        pair_batches(task.painting, len(latent), "painting")
        self.task, self.moved = task, moved
        self.free = None if mask is None else (mask > 0).to(latent)
        self.views = _views(task, guider, latent)
        self.losses: list[tuple[float, float]] = []

    def corrected(self, estimate: Tensor) -> Tensor:
        """The estimate [B, C, h, w] after one round: gradient_steps steps of a new Adam (betas .9 and .999, eps 1e-8).

        Always in float32, whatever the model and the VAE compute in.
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
            self.moved(z)
        self.losses.append((losses[0], losses[-1]))
        return z


class _View:
    """The loss of a latent: its picture through one decoder, painted over, compared with the painting."""

    def __init__(self, decoder: Decoder, guider: Any, task: Task, at_once: int, scale: int) -> None:
        """at_once: latents decoded together. scale: side of a latent pixel in the whole picture."""
        self.decoder, self.model, self.task = decoder, guider.inner_model, task
        self.at_once, self.scale = at_once, scale
        self.prepared: Any = None
        self.goal: Tensor | None = None

    def slope(self, z: Tensor) -> tuple[Tensor, float]:
        """dL/dz [B, C, h, w] of each picture's own L, and the mean of L, for latents z [B, C, h, w], float32.

        The backward pass starts from a sum over pixels and is divided afterwards, in float32: the gradient of a mean
        would underflow in float16.
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
                "The VAE's gradient overflowed in half precision. Start ComfyUI with --bf16-vae or --fp32-vae, or "
                "choose the decoder 'linear'."
            )
        return slope / size, loss / size / len(z)

    def _unlike(self, leaf: Tensor, i: int) -> Tensor:
        """Squared differences [B, 3, h, w] between the pictures from number i on and their paintings."""
        if self.prepared is None:
            self.prepared = self.decoder.prepare(self.model, leaf.device)
        picture = (self.prepared.image(leaf) + 1) / 2
        if self.task.variant == PLUS:
            picture = picture.clamp(0, 1)  # as released: values out of range have no gradient and stay there
        cell = picture.shape[-1] / leaf.shape[-1]  # side of a latent pixel here: 2, not 1, through Flux.2's linear map
        painted = self.task.painter(picture, cell / self.scale, cell)
        goal = self.goal
        if goal is None:
            fitted = fit_image(self.task.painting[..., :3].float(), painted.shape[-2], painted.shape[-1])
            goal = self.goal = ordinary(fitted.movedim(-1, 1)).to(painted)
        return (painted - (goal if len(goal) == 1 else goal[i : i + len(painted)])).square()


def _views(task: Task, guider: Any, latent: Tensor) -> list[_View]:
    """One view for all gradient steps, or a cheap one and one for a round's last steps; makes room for them."""
    patcher = guider.model_patcher
    form = patcher.get_model_object("latent_format")
    scale = form.spacial_downscale_ratio
    if host.paints_pixels(patcher):
        chosen = [(EXACT, task.vae)]
    else:
        wanted = _cheapest(task, form.latent_rgb_factors is not None) if task.decoder == AUTO else task.decoder
        exact, fast, linear = (EXACT, task.vae), (EXACT, task.fast_vae), (MAP, None)
        chosen = {EXACT: [exact], FAST: [fast], MAP: [linear], MIXED: [linear, exact]}[wanted]
    vaes = [vae for _, vae in chosen if vae is not None]
    views, needed = [], 0.0
    pixels = latent.shape[-2] * latent.shape[-1]
    for kind, vae in chosen:
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

    The map is enough for the broad colours of a clean picture, but not for the noisy state that the variant GradOP+
    decodes.
    """
    if task.fast_vae is not None:
        return FAST
    if not mapped:
        return EXACT
    return MAP if task.variant != PLUS and task.painter.kind == GAUSSIAN else MIXED
