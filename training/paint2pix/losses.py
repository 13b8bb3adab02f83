"""What StyleGAN2 and Paint2pix's canvas encoder learn by. Pictures are [B,3,S,S] in [-1,1], scores [B,1] of a
discriminator, codes w [B,styles,style_dim]. Each loss is one number in float32.

StyleGAN2: Karras et al., arXiv 1912.04958, section 3.2 and appendix B. Paint2pix (arXiv 2208.08092) names its losses in
section 3; their weights were not released, so `follows`, `apart` and how they are summed are our formulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, mse_loss, softplus

FLAT = 16  # pixels a side at which a picture is compared with strokes


def judged(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's: mean softplus(-D(real)) + mean softplus(D(fake)); 2 log 2 where it cannot tell."""
    return softplus(-real.float()).mean() + softplus(fake.float()).mean()


def convincing(fake: Tensor) -> Tensor:
    """The generator's, non-saturating: mean softplus(-D(fake)); log 2 where D cannot tell."""
    return softplus(-fake.float()).mean()


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """R1 without its weight: mean over the batch of the squared length of the gradient of D(real). Differentiable in
    the discriminator's weights."""
    real = real.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return slope.float().square().sum((1, 2, 3)).mean()


def path_lengths(decoder: Callable[..., Tensor], w: Tensor, noise: Sequence[Tensor], direction: Tensor) -> Tensor:
    """[B]: how far a picture moves for a small step of w (appendix B): sqrt(mean over styles of |J^T y|^2), with y
    `direction` [B,3,S,S] of normal noise over the square root of the number of pixels."""
    picture = decoder(w, noise)
    scaled = direction / math.sqrt(picture.shape[2] * picture.shape[3])
    (slope,) = torch.autograd.grad((picture * scaled).sum(), w, create_graph=True)
    return slope.float().square().sum(2).mean(1).sqrt()


def pixels(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference."""
    return mse_loss(made.float(), wanted.float())


def follows(made: Tensor, canvas: Tensor, painted: Tensor) -> Tensor:
    """Mean squared difference of a picture to its canvas [B,3,s,s] where that is painted [B,1,s,s], both averaged to
    FLAT x FLAT: the colours of strokes at their places, not their flatness. 0 where nothing is painted."""
    share = adaptive_avg_pool2d(painted.float(), FLAT)
    wanted = adaptive_avg_pool2d(canvas.float() * painted, FLAT) / share.clamp_min(1e-6)
    off = (adaptive_avg_pool2d(made.float(), FLAT) - wanted).square().mean(1, keepdim=True) * share.square()
    return off.sum() / share.square().sum().clamp_min(1.0)


def apart(w: Tensor, other: Tensor) -> Tensor:
    """Mean over the batch of the root mean square difference of two codes: how much an update moves."""
    return ((w - other).float().square().mean((1, 2)) + 1e-12).sqrt().mean()


def length(w: Tensor, mean: Tensor) -> Tensor:
    """WNorm (pSp, arXiv 2008.00951, eq. 3): mean over the batch of the length of w - mean over styles and numbers."""
    return ((w - mean).float().square().sum((1, 2)) + 1e-12).sqrt().mean()
