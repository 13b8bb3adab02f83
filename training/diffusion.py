"""What trainings of diffusion models share: a loss on noised batches, and how a network begins."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def stratified(count: int, levels: int, rng: torch.Generator) -> Tensor:
    """[count] of 0 .. levels - 1: one from each equal part of the ladder, shuffled. rng draws rand, then randperm."""
    spread = (torch.arange(count) + torch.rand(count, generator=rng)) / count
    return (spread * levels).long().clamp_max(levels - 1)[torch.randperm(count, generator=rng)]


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
    device = clean.device
    t = stratified(len(clean), len(sigmas), rng)
    ratio = sigmas.cpu()[t].view(-1, 1, 1, 1).to(device)
    noise = torch.randn(clean.shape, generator=rng).to(device)
    found = predict((clean + ratio * noise) / (1 + ratio**2).sqrt(), t.float().to(device)).float()
    snr = ratio**-2
    return (snr.clamp_max(gamma) / snr * (found - noise).square()).mean()


def zero_last_layers(network: nn.Module) -> None:
    """Guided diffusion's start: the last convolution of every residual branch and of the network begins at zero."""
    for name, parameter in network.named_parameters():
        if ".out_layers.3." in name or ".proj_out." in name or name.startswith("out.2."):
            nn.init.zeros_(parameter)
