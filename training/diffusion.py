"""What trainings of diffusion models and noisy classifiers share: which noise levels a step learns at, losses on noised
batches, published shapes, and how a network begins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..networks.schedules import betas

LEVELS = 1000  # of the published ladders
EVEN, SECOND_MOMENT = "uniform", "loss-second-moment"
SAMPLERS = (EVEN, SECOND_MOMENT)
HISTORY, EVEN_SHARE = 10, 0.001  # of SecondMoment: losses kept of each level; the share that stays evenly spread

MULTS = {64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4), 512: (0.5, 1, 1, 2, 2, 4, 4)}
SIDES = tuple(map(str, MULTS))  # guided diffusion's table, in pixels
ATTENDED = (32, 16, 8)  # sides of the maps with attention
PUBLISHED_WIDTH = 128  # from here on norms have the published 32 groups


# --- noise levels -----------------------------------------------------------------------------------------------------


def spread(count: int, rng: torch.Generator) -> Tensor:
    """[count] between 0 and 1: one from each equal part, shuffled. rng draws rand, then randperm."""
    even = (torch.arange(count) + torch.rand(count, generator=rng)) / count
    return even[torch.randperm(count, generator=rng)]


def stratified(count: int, levels: int, rng: torch.Generator) -> Tensor:
    """[count] of 0 .. levels - 1: one from each equal part of the ladder, shuffled. rng draws as in `spread`."""
    return (spread(count, rng) * levels).long().clamp_max(levels - 1)


class Times(nn.Module):
    """Draws the noise levels of a batch evenly: guided diffusion's schedule_sampler `uniform`, stratified."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Levels [count] of 0 .. levels - 1, and the weight [count] of each one's loss. On the CPU."""
        return stratified(count, self.levels, rng), torch.ones(count)

    def told(self, t: Tensor, losses: Tensor) -> None:
        """Hears the losses [count], detached, of levels t [count]."""


class SecondMoment(Times):
    """guided diffusion's `loss-second-moment` (arXiv 2102.09672, section 3.3, equation 18): a level is drawn in
    proportion to the root mean square of its last HISTORY losses, and its loss is divided by that, so that the expected
    gradient stays the same. Levels are drawn evenly until each has HISTORY losses, and EVEN_SHARE of the time
    afterwards. The history is a buffer: a resumed run goes on with it.
    """

    losses: Tensor
    seen: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        self.register_buffer("losses", torch.zeros(levels, HISTORY))
        self.register_buffer("seen", torch.zeros(levels, dtype=torch.int64))

    def shares(self) -> Tensor:
        """How often each level is drawn [levels], in float64 on the CPU; they add up to 1."""
        even = torch.full((self.levels,), 1 / self.levels, dtype=torch.float64)
        if int(self.seen.min()) < HISTORY:
            return even
        size = self.losses.double().cpu().square().mean(1).sqrt()
        if not size.sum() > 0:  # all losses are 0
            return even
        return (1 - EVEN_SHARE) * size / size.sum() + EVEN_SHARE * even

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        if int(self.seen.min()) < HISTORY:
            return super().draw(count, rng)
        shares = self.shares()
        t = torch.multinomial(shares, count, replacement=True, generator=rng)
        return t, (1 / (self.levels * shares[t])).float()

    @torch.no_grad()
    def told(self, t: Tensor, losses: Tensor) -> None:
        for level, loss in zip(t.tolist(), losses.float().tolist(), strict=True):
            place = int(self.seen[level]) % HISTORY  # the oldest one goes
            self.losses[level, place] = loss
            self.seen[level] += 1


def times_of(name: str, levels: int) -> Times:
    """The Times behind one of SAMPLERS."""
    return (SecondMoment if name == SECOND_MOMENT else Times)(levels)


# --- losses -----------------------------------------------------------------------------------------------------------


def min_snr_weight(sigmas: Tensor, gamma: float = 5.0) -> Tensor:
    """The weight of the squared error of epsilon at these noise-to-signal ratios (Hang et al. 2023)."""
    snr = sigmas**-2
    return snr.clamp_max(gamma) / snr


def noised(clean: Tensor, ratio: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """clean [B,C,H,W] noised to the ratios [B] of noise to signal, at variance 1; and the noise, which rng draws."""
    ratio = ratio.view(-1, 1, 1, 1).to(clean.device)
    noise = torch.randn(clean.shape, generator=rng).to(clean.device)
    return (clean + ratio * noise) / (1 + ratio**2).sqrt(), noise


def min_snr_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    clean: Tensor,
    sigmas: Tensor,
    rng: torch.Generator,
    gamma: float = 5.0,
) -> Tensor:
    """Squared error of epsilon under min-SNR weights (Hang et al. 2023), times stratified over the batch.

    predict(x, t [B] float): the noise in x, which is clean [B,C,H,W] noised to sigmas[t] at variance 1. sigmas [T]:
    sqrt((1 - abar) / abar) of every time. rng, on the CPU, draws times (rand, randperm), then noise (randn).
    """
    t = stratified(len(clean), len(sigmas), rng)
    ratio = sigmas.cpu()[t]
    x, noise = noised(clean, ratio, rng)
    found = predict(x, t.float().to(clean.device)).float()
    weight = min_snr_weight(ratio, gamma).view(-1, 1, 1, 1).to(clean.device)
    return (weight * (found - noise).square()).mean()


def shifted_times(t: Tensor, shift: float) -> Tensor:
    """Times 0 (a picture) to 1 (noise) moved towards noise: shift t / (1 + (shift - 1) t), as samplers of flow models
    do (arXiv 2403.03206, equation 23)."""
    return shift * t / (1 + (shift - 1) * t)


def flow_loss(
    predict: Callable[[Tensor, Tensor], Tensor], clean: Tensor, rng: torch.Generator, shift: float = 1.0
) -> Tensor:
    """Squared error of the velocity of rectified flow (arXiv 2403.03206, equations 13 and 19).

    predict(x, t [B]): noise - clean, of x = (1 - t) clean + t noise, [B,C,H,W]. Times are logit-normal, stratified over
    the batch, then shifted. rng, on the CPU, draws times (rand, randperm), then noise (randn).
    """
    even = spread(len(clean), rng).clamp(1e-4, 1 - 1e-4)
    t = shifted_times(torch.special.ndtri(even).sigmoid(), shift).to(clean.device)
    noise = torch.randn(clean.shape, generator=rng).to(clean.device)
    share = t.view(-1, 1, 1, 1)
    found = predict((1 - share) * clean + share * noise, t).float()
    return (found - (noise - clean)).square().mean()


class Variances:
    """The loss by which a network learns its variances (arXiv 2102.09672, section 3.1; equations 4 to 8 and 15)."""

    def __init__(self, schedule: str, steps: int) -> None:
        beta = betas(schedule, steps)
        abar = torch.cumprod(1 - beta, 0)
        before = torch.cat([torch.ones(1, dtype=beta.dtype), abar[:-1]])
        posterior = beta * (1 - before) / (1 - abar)
        posterior[0] = posterior[1]  # it is 0; the release puts the next one in its place
        self.ratio = ((1 - abar) / abar).sqrt().float()
        self.log_beta, self.log_posterior = beta.log().float(), posterior.log().float()
        self.of_clean = (beta * before.sqrt() / (1 - abar)).float()
        self.of_noisy = ((1 - before) * (1 - beta).sqrt() / (1 - abar)).float()
        self.root = (1 / abar).sqrt().float()

    def loss(self, clean: Tensor, x: Tensor, epsilon: Tensor, share: Tensor, t: Tensor) -> Tensor:
        """The term of the variational bound at levels t [B], in bits per value [B].

        clean, x, epsilon [B,C,H,W]: the picture, its noised state and the noise that was found in it, which gets no
        gradient. share [B,C,H,W]: the network's other channels; -1 is the posterior's variance, 1 is beta.
        """

        def at(values: Tensor) -> Tensor:
            return values[t].view(-1, 1, 1, 1).to(x.device)

        guess = at(self.root) * x - at(self.ratio) * epsilon.detach()
        share = (share + 1) / 2
        log_variance = share * at(self.log_beta) + (1 - share) * at(self.log_posterior)
        mean, wanted = (at(self.of_clean) * start + at(self.of_noisy) * x for start in (guess, clean))
        apart = gaussian_divergence(wanted, at(self.log_posterior), mean, log_variance).mean((1, 2, 3))
        told = -discrete_log_likelihood(clean, mean, log_variance).mean((1, 2, 3))
        return torch.where(t.to(x.device) == 0, told, apart) / math.log(2)


def gaussian_divergence(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp log_variance) || N(other...)) of each value, in nats."""
    spread = (log_variance - other_log_variance).exp() + (mean - other_mean).square() * (-other_log_variance).exp()
    return 0.5 * (other_log_variance - log_variance + spread - 1)


def discrete_log_likelihood(picture: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log of what a normal distribution gives to each value's 8-bit step, the outermost steps open. picture: multiples
    of 2/255 in [-1,1]."""
    narrow = (-0.5 * log_variance).exp()
    above = torch.special.ndtr((picture - mean + 1 / 255) * narrow)
    below = torch.special.ndtr((picture - mean - 1 / 255) * narrow)
    share = torch.where(picture > 0.999, 1 - below, torch.where(picture < -0.999, above, above - below))
    return share.clamp_min(1e-12).log()


# --- networks ---------------------------------------------------------------------------------------------------------


def adm_shape(size: int, width: int, depth: int = 2) -> dict[str, Any]:
    """What a UNet and a classifier of guided diffusion's table for this side have in common, as arguments of ADM and of
    NoisyClassifier. Narrow ones get smaller groups and heads, which then stand in the file."""
    widths = [round(mult * width) for mult in MULTS[size]]
    attended = [level for level in range(len(widths)) if size >> level in ATTENDED]
    # a group of one or two channels would take each picture's mean colour out of a narrow network
    most = 32 if width >= PUBLISHED_WIDTH else max(1, min(widths) // 4)
    groups = next(count for count in (32, 16, 8, 4, 2, 1) if count <= most and all(w % count == 0 for w in widths))
    heads = next(count for count in (64, 32, 16, 8, 4) if all(widths[level] % count == 0 for level in attended))
    return {
        "model_channels": width,
        "num_res_blocks": depth,
        "channel_mult": MULTS[size],
        "attention_levels": tuple(attended),
        "num_head_channels": heads,
        "norm_groups": groups,
    }


def zero_last_layers(network: nn.Module) -> None:
    """Guided diffusion's start: the last convolution of every residual branch and of the network begins at zero."""
    for name, parameter in network.named_parameters():
        if ".out_layers.3." in name or ".proj_out." in name or name.startswith("out.2."):
            nn.init.zeros_(parameter)
