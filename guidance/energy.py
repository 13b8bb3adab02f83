"""Energies: what a drawing asks of a sample, attached to any MODEL and followed by any sampler.

An energy gives one number per image, small where the image is as asked. After CFG, every active one shifts the model's
prediction down its slope (DESIGN section 2; the guided step of Inversion-by-Inversion, arXiv 2308.07665):

    denoised <- denoised - c * sum_j weight_j * dE_j / d denoised
    c = noise^2 / (noise^2 + (signal * sigma_data)^2)      sigma^2 / (sigma^2 + sigma_data^2) where the signal is 1

All image-space energies of a step share one decode and one backward pass, and none goes through the diffusion model.
The `published` point is the paper's own: energies look at a trial next sample (or at the noisy state), and the shift is
sigma^2 * weight * dE/dx. In the host's coordinates that is exactly the published guided ancestral step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import host
from ..networks.frozen import gradients, ordinary
from .decoders import PIXELS, Decoder
from .noise import signal_and_noise
from .run import Run, keep, run_of

ENERGIES = "sketch_energies"  # the key in a MODEL's model_options
DENOISED, PUBLISHED = "denoised", "published"
POINTS = (DENOISED, PUBLISHED)
NEXT, STATE = "next", "state"
ANCESTRAL = (
    "sample_ddpm",
    "sample_euler_ancestral",
    "sample_sde",
    "sample_jump",
    "sample_ilvr",
)  # the steps the paper's proof is for


@dataclass(frozen=True)
class Level:
    """Where in the walk an energy is asked. sigma: the state's level in the host's coordinates."""

    sigma: float
    label: float  # the time label the model itself gets for it
    noise: Tensor | None  # what this round's start was noised with; None outside of a sampler
    published: bool  # True: the sample is variance-preserving, exemplars are to be noised to this level

    def noised(self, clean: Tensor) -> Tensor:
        """A clean guide [B, 3, H, W] at this level along the round's own noise, in variance-preserving coordinates."""
        if self.noise is None:
            return clean
        return (clean + self.sigma * self.noise) / (1 + self.sigma**2) ** 0.5


Measure = Callable[[Tensor, Level], Tensor]


@dataclass(frozen=True, eq=False)
class Energy:
    """One pull. `open(sight)` is called once a run and gives the measure: (sample [B, 3, H, W], level) -> [B].

    The sample is an image in [-1, 1], as `decoder` shows it; with looks_at STATE it is the model's noisy state, divided
    by its standard deviation. weight: the published one. start, end: share of the model's own schedule where it pulls.
    limit: largest shift, as a share of the noise still in the picture (root mean square per image); 0: none.
    """

    name: str
    weight: float
    open: Callable[[Sight], Measure]
    start: float = 0.0
    end: float = 1.0
    decoder: Decoder = PIXELS
    point: str = DENOISED
    looks_at: str = NEXT
    limit: float = 0.0


class Sight:
    """What an energy may know when it opens: the working size, and networks opened once for all energies of a run."""

    def __init__(self, run: Run, image: Tensor) -> None:
        self.batch, _, self.height, self.width = image.shape
        self.device = image.device
        self._opened = run.opened

    def open(self, thing: Any) -> Any:
        """`thing.open(device)`, once a run."""
        if thing not in self._opened:
            self._opened[thing] = thing.open(self.device)
        return self._opened[thing]


def attach(model: Any, energy: Energy) -> Any:
    """A clone of a MODEL with one more energy. Weight 0 leaves every picture bit-identical."""
    host.check_image_model(model)
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
    return patched


def shifted(arguments: dict[str, Any]) -> Tensor:
    """The post-CFG function: the denoised prediction [B, C, ...], shifted by all energies active at this level."""
    options, denoised, model = arguments["model_options"], arguments["denoised"], arguments["model"]
    run = run_of(options) or Run()
    sigma = float(arguments["sigma"].max())
    active = [energy for energy in options[ENERGIES] if energy.weight != 0 and _pulls(energy, model, sigma)]
    if not active or not run.guided:
        return denoised
    with gradients():
        x = ordinary(arguments["input"]).float()
        step = _Step(run, model, x, ordinary(denoised).float(), sigma, arguments["sigma"])
        shift = step.default([energy for energy in active if energy.point == DENOISED])
        for energy in active:
            if energy.point == PUBLISHED:
                shift = shift + step.published(energy)
        shift = _limited(shift, x - step.denoised, [energy.limit for energy in active if energy.limit > 0])
    return denoised - (shift * run.kept_share(sigma)).to(denoised)


class _Step:
    """One call of the model: its state x, its prediction, and the shift that energies ask of it."""

    def __init__(self, run: Run, model: Any, x: Tensor, denoised: Tensor, sigma: float, sigmas: Tensor) -> None:
        self.run, self.model, self.x, self.denoised, self.sigma = run, model, x, denoised, sigma
        label = float(model.model_sampling.timestep(sigmas[:1]))
        self.level = Level(sigma, label, run.noise, False)
        self.as_published = Level(sigma, label, run.noise, True)
        family = host.sampling_family(model.model_sampling)
        signal, noise = signal_and_noise(family, sigma)
        variance = (signal * family.sigma_data) ** 2 + noise**2
        self.size = variance**0.5  # standard deviation of the state
        self.c = noise**2 / variance

    def default(self, energies: list[Energy]) -> Tensor:
        """c * sum of weight * slope, evaluated on the prediction; one decode and one backward for each decoder."""
        shift = torch.zeros_like(self.denoised)
        for decoder in dict.fromkeys(energy.decoder for energy in energies if energy.looks_at == NEXT):
            leaf = self.denoised.clone().requires_grad_()
            shown = self.run.decode(decoder, self.model, leaf)
            together = [energy for energy in energies if energy.decoder == decoder and energy.looks_at == NEXT]
            asked = [energy.weight * self._measured(energy, shown.image, self.level) for energy in together]
            (slope,) = torch.autograd.grad(torch.stack(asked).sum(), leaf)
            shift += self.c / shown.gain * slope
        for energy in energies:
            if energy.looks_at == STATE:
                shift += self.c * energy.weight * self._slope(energy, self.x / self.size) / self.size
        return shift

    def published(self, energy: Energy) -> Tensor:
        """sigma^2 * weight * dE/dx of one energy, at its trial next sample (own noise) or at the state."""
        if self.run.sampler and self.run.sampler not in ANCESTRAL:
            raise ValueError(
                f"The published point is exact for ancestral steps only, not for {self.run.sampler}. Use the sampler "
                "ddpm, euler_ancestral, SketchSDESampler or SketchJumpSampler, or set point to 'denoised'."
            )
        if energy.looks_at == STATE:
            return self.sigma**2 * energy.weight * self._slope(energy, self.x / self.size) / self.size
        following = self.run.next_sigma(self.sigma)
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
        """The energy of the whole batch; images do not see each other, so its slope is theirs."""
        if energy not in self.run.opened:
            self.run.opened[energy] = energy.open(Sight(self.run, sample))
        return self.run.opened[energy](sample, level).sum()


def _pulls(energy: Energy, model: Any, sigma: float) -> bool:
    sampling = model.model_sampling
    return sampling.percent_to_sigma(energy.end) < sigma <= sampling.percent_to_sigma(energy.start)


def _limited(shift: Tensor, noise: Tensor, limits: list[float]) -> Tensor:
    """The shift, its root mean square per image capped at the smallest of the limits times that of the noise."""
    if not limits:
        return shift
    axes = tuple(range(1, shift.ndim))
    size, most = shift.square().mean(axes, keepdim=True).sqrt(), noise.square().mean(axes, keepdim=True).sqrt()
    return shift * (min(limits) * most / size.clamp_min(1e-12)).clamp_max(1)
