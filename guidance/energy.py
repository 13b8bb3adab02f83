"""Energies: how far a sample is from a drawing, as functions that attach to any MODEL and work in any sampler.

An energy gives one number per image, small where the image is as wanted. After CFG, every active one shifts the model's
prediction down its slope, as in the guided step of Inversion-by-Inversion (arXiv 2308.07665):

    denoised <- denoised - c * sum_j weight_j * dE_j / d denoised
    c = noise^2 / (noise^2 + (signal * sigma_data)^2)      sigma^2 / (sigma^2 + sigma_data^2) where the signal is 1

All image-space energies of a step share one decode and one backward pass, and none goes through the diffusion model.
The `published` point is the paper's own: energies look at a trial next sample (or at the noisy state), and the shift is
sigma^2 * weight * dE/dx. In the host's coordinates that is exactly the published guided ancestral step.
Inner steps take a slope several times at one level, each at the prediction as the last one left it, and each with its
share of the weight (as FreeDoM's, TFG's and FlowChef's iterations do): a steep energy overshoots less.
A slope may be kept for several calls of the model: each takes its step along it, measured by its own noise level, but
only the first of them decodes and measures. Through a whole VAE, that is most of the cost.
Point `through` differentiates with respect to the noisy state itself, through the diffusion model:

    denoised <- denoised - noise^2 / signal * sum_j weight_j * dE_j / dx

which is guided diffusion's condition_score (arXiv 2105.05233, algorithm 2): exact for a classifier that looks at the
noisy state, and DiffSketching's two losses on the prediction become terms of the same sum. Energies with `auto` scale
themselves; see scaling.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import host
from ..networks.frozen import gradients, ordinary
from .decoders import PIXELS, Decoder
from .noise import check_sigmas, signal_and_noise
from .run import Run, keep, run_of
from .scaling import MOST, unit

ENERGIES = "sketch_energies"  # the key in a MODEL's model_options
DENOISED, PUBLISHED, THROUGH = "denoised", "published", "through the model"
POINTS = (DENOISED, PUBLISHED, THROUGH)
NEXT, STATE = "next", "state"


@dataclass(frozen=True)
class Level:
    """The noise level at which an energy is evaluated. sigma: the state's level in the host's coordinates."""

    sigma: float
    label: float  # the time label that the model itself gets for it
    noise: Tensor | None  # what the start of this round was noised with; None outside of a sampler
    published: bool  # True: the sample is variance-preserving, and exemplars have to be noised to this level

    def noised(self, clean: Tensor) -> Tensor:
        """A clean guide [B, 3, H, W] at this level along the round's own noise, in variance-preserving coordinates."""
        if self.noise is None:
            return clean
        return (clean + self.sigma * self.noise) / (1 + self.sigma**2) ** 0.5


Measure = Callable[[Tensor, Level], Tensor]


@dataclass(frozen=True, eq=False)
class Energy:
    """One energy. `prepare(context)`, called once per run, returns the measure: (sample [B, 3, H, W], level) -> [B].

    The sample is an image in [-1, 1], as `decoder` shows it; with looks_at STATE it is the model's noisy state divided
    by its standard deviation. weight: as in the papers. start, end: fractions of the model's own schedule between which
    the energy acts. limit: largest shift, relative to the noise still in the picture (root mean square per image);
    0: no limit. auto: weight is a dial from 0 to 1. inner_steps: slopes taken at one level. slope_every: calls of the
    model that a slope is kept for. All three at DENOISED only.
    """

    name: str
    weight: float
    prepare: Callable[[RunContext], Measure]
    start: float = 0.0
    end: float = 1.0
    decoder: Decoder = PIXELS
    point: str = DENOISED
    looks_at: str = NEXT
    limit: float = 0.0
    auto: bool = False
    inner_steps: int = 1
    slope_every: int = 1


class KeptSlope(NamedTuple):
    """What several energies pulled at one level, and how often it was used since. weighed and dialled: the shift of
    published weights over c, and of dials over the spread."""

    energies: list[Energy]
    sigma: float
    used: int
    weighed: Tensor
    dialled: Tensor


class RunContext:
    """What an energy is given at the start of a run: the working size, and networks that the run's energies share."""

    def __init__(self, run: Run, image: Tensor) -> None:
        self.batch, _, self.height, self.width = image.shape
        self.device = image.device
        self._opened = run.prepared

    def prepare(self, thing: Any) -> Any:
        """`thing.prepare(device)`, called once per run."""
        if thing not in self._opened:
            self._opened[thing] = thing.prepare(self.device)
        return self._opened[thing]


def attach(model: Any, energy: Energy) -> Any:
    """A clone of a MODEL with one more energy. Weight 0 leaves every picture bit-identical."""
    host.check_image_model(model)
    if energy.auto and (energy.point != DENOISED or energy.looks_at != NEXT):
        raise ValueError(
            "Scale 'auto' works at point 'denoised' only. Set point to 'denoised', or scale to 'published'."
        )
    if energy.inner_steps > 1 and (energy.point != DENOISED or energy.looks_at != NEXT):
        raise ValueError("Inner steps work at point 'denoised' only. Set point to 'denoised', or inner_steps to 1.")
    if energy.slope_every > 1 and (energy.point != DENOISED or energy.looks_at != NEXT):
        raise ValueError("A slope is kept at point 'denoised' only. Set point to 'denoised', or slope_every to 1.")
    if energy.point == PUBLISHED and (host.noise_family(model).kind != "discrete" or energy.decoder is not PIXELS):
        raise ValueError(
            "The published point is defined for pixel priors (ADM, DDPM) only. Set point to 'denoised' for this model."
        )
    patched = model.clone()
    energies = patched.model_options.get(ENERGIES, [])
    patched.model_options[ENERGIES] = [*energies, energy]
    if not energies:
        patched.set_model_sampler_post_cfg_function(shifted)
        keep(patched)
    if energy.decoder.memory is not None:
        host.reserve(patched, f"{ENERGIES}_{energy.decoder.kind}", energy.decoder.memory)
    if energy.point == THROUGH and energy.looks_at == NEXT:
        host.reserve(patched, f"{ENERGIES}_through", host.gradient_memory(model))
    return patched


def shifted(arguments: dict[str, Any]) -> Tensor:
    """The post-CFG function: the denoised prediction [B, C, ...], shifted by all energies active at this level."""
    options, denoised, model = arguments["model_options"], arguments["denoised"], arguments["model"]
    run = run_of(options) or Run()
    run.shift = None
    sigma = float(arguments["sigma"].max())
    active = [energy for energy in options[ENERGIES] if energy.weight != 0 and _is_active(energy, model, sigma)]
    if not active or not run.guided:
        return denoised
    with gradients():
        x = ordinary(arguments["input"]).float()
        step = _Step(run, arguments, x, ordinary(denoised).float(), sigma)
        shift = step.own_shift([energy for energy in active if energy.point == DENOISED])
        through = [energy for energy in active if energy.point == THROUGH]
        if through:
            with host.differentiating(model):
                shift = shift + step.through_shift(through)
        for energy in active:
            if energy.point == PUBLISHED:
                shift = shift + step.published_shift(energy)
        shift = shift * _allowed(shift, x - step.denoised, [energy.limit for energy in active if energy.limit > 0])
    run.shift = shift = (shift * run.kept_share(sigma)).to(denoised)
    return denoised - shift


def _by_decoder(energies: list[Energy]) -> list[tuple[Decoder, list[Energy]]]:
    """The energies that look at the prediction, with those of one decoder together: they share a decode."""
    looking = [energy for energy in energies if energy.looks_at == NEXT]
    decoders = dict.fromkeys(energy.decoder for energy in looking)
    return [(decoder, [energy for energy in looking if energy.decoder == decoder]) for decoder in decoders]


class _Step:
    """One call of the model: its state x, its prediction, and the shift that the energies give it."""

    def __init__(self, run: Run, arguments: dict[str, Any], x: Tensor, denoised: Tensor, sigma: float) -> None:
        self.run, self.arguments, self.x, self.denoised, self.sigma = run, arguments, x, denoised, sigma
        self.model = model = arguments["model"]
        label = float(model.model_sampling.timestep(arguments["sigma"][:1]))
        self.level = Level(sigma, label, run.noise, False)
        self.as_published = Level(sigma, label, run.noise, True)
        family = host.sampling_family(model.model_sampling)
        signal, noise = signal_and_noise(family, sigma)
        variance = (signal * family.sigma_data) ** 2 + noise**2
        self.size = variance**0.5  # standard deviation of the state
        self.c = noise**2 / variance
        self.spread = family.sigma_data * noise / self.size  # of a clean picture, given its noisy state
        self.score = (
            noise**2 / signal if signal > 0 else 0.0
        )  # of the slope at the state; at pure noise nothing is seen

    def own_shift(self, energies: list[Energy]) -> Tensor:
        """The shift of all energies at DENOISED, those that keep their slopes equally long together."""
        shift = torch.zeros_like(self.denoised)
        for every in sorted({energy.slope_every for energy in energies}):
            sharing = [energy for energy in energies if energy.slope_every == every]
            weighed, dialled = self.kept_shift(every, sharing) if every > 1 else self.inner_shift(sharing)
            shift += weighed + dialled
        return shift

    def kept_shift(self, every: int, energies: list[Energy]) -> tuple[Tensor, Tensor]:
        """inner_shift at every so-many-th call; in between, the last slopes with this level's own c and spread. Where
        the noise rises again, and for another batch, they are taken anew."""
        kept: KeptSlope | None = self.run.slopes.get(every)
        stale = kept is None or kept.used >= every or self.sigma > kept.sigma or kept.energies != energies
        if kept is None or stale or kept.weighed.shape != self.denoised.shape:
            weighed, dialled = self.inner_shift(energies)
            self.run.slopes[every] = KeptSlope(energies, self.sigma, 1, weighed / self.c, dialled / self.spread)
            return weighed, dialled
        self.run.slopes[every] = kept._replace(sigma=self.sigma, used=kept.used + 1)
        return self.c * kept.weighed, self.spread * kept.dialled

    def inner_shift(self, energies: list[Energy]) -> tuple[Tensor, Tensor]:
        """The shift of published weights and that of dials; one more evaluation for each further inner step.

        Each inner step has its share of the limit, too: a published weight far beyond the goal, cut in length after two
        steps instead of in each, would point away from it.
        """
        weighed = dialled = torch.zeros_like(self.denoised)
        most = max((energy.inner_steps for energy in energies), default=0)
        for number in range(most):
            going = [energy for energy in energies if number < energy.inner_steps]
            at = self.denoised - (weighed + dialled) if number else self.denoised
            more = self.denoised_shift([energy for energy in going if not energy.auto], at)
            turned = self.auto_shift([energy for energy in going if energy.auto], at)
            if most > 1:
                limits = [energy.limit / energy.inner_steps for energy in going if energy.limit > 0]
                share = _allowed(more + turned, self.x - self.denoised, [max(limits)] if limits else [])
                more, turned = more * share, turned * share
            weighed, dialled = (weighed + more, dialled + turned) if number else (more, turned)
        return weighed, dialled

    def denoised_shift(self, energies: list[Energy], at: Tensor) -> Tensor:
        """c * sum of weight / inner_steps * slope on the prediction; one decode and one backward pass per decoder."""
        shift = torch.zeros_like(self.denoised)
        for decoder, sharing in _by_decoder(energies):
            leaf = at.clone().requires_grad_()
            shown = self.run.decode(decoder, self.model, leaf)
            values = [_share(energy) * self._measured(energy, shown.image, self.level) for energy in sharing]
            (slope,) = torch.autograd.grad(torch.stack(values).sum(), leaf)
            shift += self.c / shown.gain * slope
        for energy in energies:
            if energy.looks_at == STATE:
                shift += self.c * energy.weight * self._slope(energy, self.x / self.size) / self.size
        return shift

    def auto_shift(self, energies: list[Energy], at: Tensor) -> Tensor:
        """The sum of MOST * dial / inner_steps * spread * slope / rms(slope); one decode per decoder, one backward pass
        per energy."""
        shift = torch.zeros_like(self.denoised)
        for decoder, sharing in _by_decoder(energies):
            leaf = at.clone().requires_grad_()
            image = self.run.decode(decoder, self.model, leaf).image
            values = [self._measured(energy, image, self.level) for energy in sharing]
            for number, (energy, value) in enumerate(zip(sharing, values, strict=True), 1):
                (slope,) = torch.autograd.grad(value, leaf, retain_graph=number < len(values))
                shift += MOST * _share(energy) * self.spread * unit(slope)
        return shift

    def through_shift(self, energies: list[Energy]) -> Tensor:
        """noise^2 / signal * sum of weight * slope with respect to the state x, in one backward pass: energies on the
        prediction go through the decoder and the diffusion model, which is called once more for them."""
        if not self.score:
            return torch.zeros_like(self.denoised)
        leaf = self.x.clone().requires_grad_()
        values = [
            energy.weight * self._measured(energy, leaf / self.size, self.as_published)
            for energy in energies
            if energy.looks_at == STATE
        ]
        looking = _by_decoder(energies)
        if looking:
            denoised = self.run.predict(self.model, leaf, self.arguments)
            for decoder, sharing in looking:
                shown = self.run.decode(decoder, self.model, denoised)
                found = [energy.weight * self._measured(energy, shown.image, self.level) for energy in sharing]
                values += [value / shown.gain for value in found]
        (slope,) = torch.autograd.grad(torch.stack(values).sum(), leaf)
        return self.score * slope

    def published_shift(self, energy: Energy) -> Tensor:
        """sigma^2 * weight * dE/dx of one energy, at its trial next sample (own noise) or at the state."""
        if self.run.sampler and not self.run.ancestral:
            raise ValueError(
                f"Point 'published' is exact for ancestral steps only, and {self.run.sampler} takes others. Use ddpm, "
                "euler_ancestral, SDE Sampler or Jump Sampler, or set point to 'denoised'."
            )
        if energy.looks_at == STATE:
            return self.sigma**2 * energy.weight * self._slope(energy, self.x / self.size) / self.size
        following = self.run.next_sigma(self.sigma)
        if following is None:
            raise ValueError(
                f"Point 'published' needs the sampler's next noise level, but this sampler also evaluates sigma "
                f"{self.sigma:.4g} between the SIGMAS. Use ddpm or euler_ancestral, or set point to 'denoised'."
            )
        if following > self.sigma and self.run.sigmas is not None:
            check_sigmas(self.run.sigmas)
        left = (following / self.sigma) ** 2
        trial = self.denoised + left * (self.x - self.denoised)
        trial = trial + following * (1 - left) ** 0.5 * self.run.draw(trial)
        scale = (1 + following**2) ** 0.5
        return self.sigma**2 * energy.weight * self._slope(energy, trial / scale) / scale

    def _slope(self, energy: Energy, sample: Tensor) -> Tensor:
        leaf = sample.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self._measured(energy, leaf, self.as_published), leaf)
        return slope

    def _measured(self, energy: Energy, sample: Tensor, level: Level) -> Tensor:
        """The energy summed over the batch. No image's value depends on another's, so one gradient serves all."""
        if energy not in self.run.prepared:
            self.run.prepared[energy] = energy.prepare(RunContext(self.run, sample))
        values = self.run.prepared[energy](sample, level)
        self.run.values[energy] = values.detach()
        return values.sum()


def _share(energy: Energy) -> float:
    """The weight of one inner step."""
    return energy.weight / energy.inner_steps


def _is_active(energy: Energy, model: Any, sigma: float) -> bool:
    sampling = model.model_sampling
    return sampling.percent_to_sigma(energy.end) < sigma <= sampling.percent_to_sigma(energy.start)


def _allowed(shift: Tensor, noise: Tensor, limits: list[float]) -> Tensor | float:
    """The share of a shift, at most 1 per image, whose root mean square is the smallest of the limits times that of the
    noise."""
    if not limits:
        return 1.0
    axes = tuple(range(1, shift.ndim))
    size, most = shift.square().mean(axes, keepdim=True).sqrt(), noise.square().mean(axes, keepdim=True).sqrt()
    return (min(limits) * most / size.clamp_min(1e-12)).clamp_max(1)
