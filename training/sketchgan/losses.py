"""What the sketch GAN is trained on (arXiv 2012.09290): losses of its autoencoder, its GAN and its sketch extractor.

Pictures are [B,C,H,W] in [-1,1]. Each loss is one number, in float32 or better whatever comes in. Means do not depend
on the batch; the perceptual term is published as a sum over it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity, l1_loss, mse_loss, relu

from ...pictures.features import Features
from ...pictures.style import adain

Maps = Sequence[Tensor]
Percept = Callable[[Tensor, Tensor], Tensor]
MARGIN = 2.0
SMALL = 256  # pixels a side at which pictures are compared perceptually


def full(x: Tensor) -> Tensor:
    """float32 at least: half precision is for convolutions."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_batch(count: int) -> None:
    """ValueError for a batch that cannot be trained on."""
    if count < 2:
        raise ValueError("Training compares the pictures of a batch with each other: the batch size must be 2 or more.")


def derangement(count: int, generator: torch.Generator) -> Tensor:
    """A random order of 0..count-1 [count] in which nothing stays in its place. ValueError: fewer than two."""
    check_batch(count)
    places = torch.arange(count, device=generator.device)
    while True:
        order = torch.randperm(count, generator=generator, device=generator.device)
        if not (order == places).any():
            return order


# --- autoencoder ------------------------------------------------------------------------------------------------------


def content_triplet(maps: Maps, anchor: Maps, orders: Sequence[Tensor]) -> Tensor:
    """Sum over levels of relu(2 + MSE(X, A) - MSE(X[order], A)): the same scene under another pen is nearer than other
    scenes are. A passes no gradient; means are over the whole batch, before the hinge."""
    terms = [
        relu(MARGIN + mse_loss(x, a) - mse_loss(x[order.to(x.device)], a))
        for x, a, order in zip(map(full, maps), (full(a.detach()) for a in anchor), orders, strict=True)
    ]
    return torch.stack(terms).sum()


def style_triplet(styles: Maps, anchor: Maps, orders: Sequence[Tensor]) -> Tensor:
    """Sum over levels of mean cos(v, a[order]) - mean cos(v, a): a turned picture has its own style, not another's."""
    terms = [
        cosine_similarity(v, a[order.to(a.device)]).mean() - cosine_similarity(v, a).mean()
        for v, a, order in zip(map(full, styles), (full(a.detach()) for a in anchor), orders, strict=True)
    ]
    return torch.stack(terms).sum()


def reconstruction(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference."""
    return mse_loss(full(made), full(wanted))


def absolute(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference."""
    return l1_loss(full(made), full(wanted))


def grey_reconstruction(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference of brightness, for pictures made in another's style."""
    return mse_loss(full(made).mean(1), full(wanted).mean(1))


def perceptual_sum(percept: Percept, made: Tensor, wanted: Tensor) -> Tensor:
    """percept(a, b), one number per image, summed over the batch; larger pictures are averaged down to 256 pixels."""
    return percept(_small(full(made)), _small(full(wanted))).sum()


def _small(x: Tensor) -> Tensor:
    return adaptive_avg_pool2d(x, SMALL) if x.shape[-1] > SMALL else x


def perceptual(features: Features, device: torch.device | str) -> Percept:
    """LPIPS on a feature network as training wants it: percept(a, b) -> [B], pictures in [-1,1]."""
    distance = features.perceptual().prepare(device)
    return lambda a, b: distance((a + 1) / 2, (b + 1) / 2)


def likelihood(mean: Tensor, log_variance: Tensor, styles: Maps) -> Tensor:
    """[B]: log of a Gaussian's density at the style vectors, averaged over dimensions, without its constant.

    Our formulation of the mutual-information term of the paper, after CLUB (Cheng et al. 2020); the release has none.
    """
    mean, log_variance = full(mean), full(log_variance)
    off = full(torch.cat(list(styles), 1)) - mean
    return -(off.square() * (-log_variance).exp() + log_variance).mean(1) / 2


def leak(mean: Tensor, log_variance: Tensor, styles: Maps, order: Tensor) -> Tensor:
    """E[log q(v|c)] - E[log q(v[order]|c)]: how much better content tells its own style than another's; an upper bound
    of their mutual information where q is good. Made small by the content encoder."""
    others = [style[order.to(style.device)] for style in styles]
    return (likelihood(mean, log_variance, styles) - likelihood(mean, log_variance, others)).mean()


# --- adversarial ------------------------------------------------------------------------------------------------------


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's: mean relu(1 - D(real)) + mean relu(1 + D(fake))."""
    return relu(1 - full(real)).mean() + relu(1 + full(fake)).mean()


def adversarial(fake: Tensor) -> Tensor:
    """The generator's: - mean D(fake)."""
    return -full(fake).mean()


# --- sketch extractor (TOM) -------------------------------------------------------------------------------------------


def gram(x: Tensor) -> Tensor:
    """[B,C,C]: F F^T / (C H W) of each image's map [B,C,H,W]."""
    flat = full(x).flatten(2)
    return flat @ flat.mT / flat[0].numel()


def gram_across(x: Tensor) -> Tensor:
    """[BC,BC]: the Gram matrix of the whole batch, products between different images included, / (B C H W)."""
    flat = full(x).flatten(2).flatten(0, 1)
    return flat @ flat.mT / flat.numel()


def gram_stack(maps: Maps, channels: int, side: int = 16) -> Tensor:
    """[B,channels,side,side]: the Gram matrices of three maps, each brought to (channels/3, side^2) by averaging."""
    rows = channels // len(maps)
    pooled = [adaptive_avg_pool2d(gram(x)[:, None], (rows, side * side)) for x in maps]
    return torch.cat([x.reshape(len(x), rows, side, side) for x in pooled], 1)


def texture(made: Maps, wanted: Maps) -> Tensor:
    """Sum over maps of the mean squared difference of their Gram matrices across the batch."""
    return torch.stack(
        [mse_loss(gram_across(x), gram_across(y.detach())) for x, y in zip(made, wanted, strict=True)]
    ).sum()


def restyled_content(made: Tensor, photo: Tensor, sketch: Tensor) -> Tensor:
    """MSE(made, AdaIN(photo, sketch)) of the third maps: the photo's places with the sketch's statistics."""
    return mse_loss(full(made), adain(full(photo), full(sketch)).detach())
