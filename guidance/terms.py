"""The energies of Inversion-by-Inversion (arXiv 2308.07665) and of EGSDE, which it builds on.

Each function returns the `prepare` of an Energy: called once per run with its RunContext, that returns the measure
(sample [B, 3, H, W] in [-1, 1], level) -> [B]. Values are sums over pixels, as published, so a weight acts equally
strongly on each pixel at every picture size. Guides are IMAGEs [1 or B, h, w, 3] in [0, 1], fitted to the working size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..networks.frozen import ordinary
from ..pictures.fit import fit_image, pair_batches
from ..pictures.lowpass import low_passer
from .energy import Level, Measure, RunContext

Prepare = Callable[[RunContext], Measure]

L2, L1, LPIPS, COSINE, COSINE_PUBLISHED = "l2", "l1", "lpips", "cosine", "cosine, published"
SHAPE_METRICS = (L2, L1, LPIPS, COSINE, COSINE_PUBLISHED)
UNIT, REFERENCE = "0 to 1", "-1 to 1, as published"
TARGETS = (UNIT, REFERENCE)
STYLE = "style"
FEATURE_METRICS = (STYLE, L2, L1, COSINE)
COLOUR_METRICS = (L2, COSINE_PUBLISHED)
DOMAIN_METRICS = (COSINE, L2)


def shape(
    sketch: Tensor,
    extractor: Any,
    metric: str = L2,
    *,
    target: str = UNIT,
    rescale: bool = True,
    features: Any = None,
) -> Prepare:
    """The line drawing that `extractor` makes of the sample, compared with the sketch: the paper's shape energy.

    l2 and l1: sums over pixels and three equal channels. lpips: perceptual distance in `features` (Features), times the
    number of values except in published features. cosine: one minus the cosine of the two drawings' ink, times the
    number of values. "cosine, published" compares the channels of one pixel with each other, so it is constant.
    target: the sketch's range; the published one, -1 to 1, never matches the extractor's 0 to 1, so black lines pull
    twice as hard. rescale: map the sample to [0, 1] for the extractor.
    """

    def prepare(context: RunContext) -> Measure:
        draw = context.prepare(extractor)
        wanted = guide(sketch, context, "sketch")
        goal = 2 * wanted - 1 if target == REFERENCE else wanted
        perceptual: Any = context.prepare(features.perceptual()) if metric == LPIPS else None

        def measure(sample: Tensor, level: Level) -> Tensor:
            drawn = draw(((sample + 1) / 2).clamp(0, 1) if rescale else sample).expand(-1, 3, -1, -1)
            if metric == L2:
                return (drawn - goal).square().sum((1, 2, 3))
            if metric == L1:
                return (drawn - goal).abs().sum((1, 2, 3))
            if metric == COSINE_PUBLISHED:
                return torch.cosine_similarity(drawn.flatten(2), goal.flatten(2), 1).sum(1)
            if metric == COSINE:
                return drawn[0].numel() * (1 - torch.cosine_similarity(1 - drawn.flatten(1), 1 - wanted.flatten(1), 1))
            unlike = perceptual(drawn, goal)
            return unlike if features.published else unlike * drawn[0].numel()

        return measure

    return prepare


def colour(
    exemplar: Tensor, N: float | None = None, *, grid: int | None = None, blur: str = "both", metric: str = L2
) -> Prepare:
    """Low frequencies of the sample compared with the exemplar's: the paper's pixel texture energy, and EGSDE's
    faithfulness (domain-independent) energy.

    N: pixels of one cell; grid: cells along the shorter side instead. blur: what is low-passed: "both", "sample",
    "exemplar" or "none". metric: l2, squared differences summed over pixels and channels; "cosine, published", EGSDE's
    other form: one minus the cosine of the two pictures' channels, as a mean over pixels, so its slope at a pixel
    shrinks as the picture grows.
    """

    def prepare(context: RunContext) -> Measure:
        clean = 2 * guide(exemplar, context, "exemplar") - 1

        low = low_passer(context.height, context.width, context.device, N, grid=grid) if blur != "none" else None

        def passed(x: Tensor, side: str) -> Tensor:
            return low(x) if low is not None and blur in ("both", side) else x

        constant = passed(clean, "exemplar")

        def measure(sample: Tensor, level: Level) -> Tensor:
            goal = passed(level.noised(clean), "exemplar") if level.published else constant
            seen = passed(sample, "sample")
            if metric == COSINE_PUBLISHED:
                return 1 - torch.cosine_similarity(seen, goal, 1).mean((1, 2))
            return (seen - goal).square().sum((1, 2, 3))

        return measure

    return prepare


def feature(exemplar: Tensor, features: Any, metric: str = STYLE) -> Prepare:
    """Feature maps of the sample compared with the exemplar's: the paper's feature texture energy. features: Features.

    style: mean and spread of every channel over the whole picture, which transfers materials and leaves the layout
    alone. l2, l1, cosine: position by position. Each map contributes its mean, and the value is their mean times the
    number of the image's values, so that it weighs about as much as the sums over pixels. Published features are fed
    and compared the way the release does it.
    """

    def prepare(context: RunContext) -> Measure:
        look = context.prepare(features)
        clean = guide(exemplar, context, "exemplar")
        goal = look(2 * clean - 1 if features.published else clean)

        def measure(sample: Tensor, level: Level) -> Tensor:
            if features.published:
                return features.distance(look(sample), goal, metric)
            unlike = [_unlike(a, b, metric) for a, b in zip(look((sample + 1) / 2), goal, strict=True)]
            return torch.stack(unlike).mean(0) * sample[0].numel()

        return measure

    return prepare


def domain(source: Tensor, extractor: Any, metric: str = COSINE) -> Prepare:
    """EGSDE's realism energy: how alike sample and source look to `extractor`, a Domain trained to tell domains apart.

    Minimising it moves the sample out of the source's domain. Both are seen at the state's own noise level. metric:
    see Domain.likeness.
    """

    def prepare(context: RunContext) -> Measure:
        look = context.prepare(extractor)
        clean = 2 * guide(source, context, "source") - 1

        def measure(sample: Tensor, level: Level) -> Tensor:
            labels = torch.full((len(sample),), level.label, device=sample.device)
            return extractor.likeness(look(sample, labels), look(level.noised(clean), labels), metric)

        return measure

    return prepare


def class_score(classifier: Any, numbers: Tensor, noisy: bool = True) -> Prepare:
    """-log p(class | picture) by `classifier`, a pictures.classifier.Classifier: guided diffusion's classifier guidance
    (arXiv 2105.05233, section 4), whose weight is its scale s.

    numbers: the class of each image [1 or batch]. noisy: the sample is the noisy state, seen at its own noise level;
    False: it is a clean prediction, seen at level 0. The value does not depend on the other images.
    """

    def prepare(context: RunContext) -> Measure:
        look = context.prepare(classifier)
        wanted = ordinary(pair_batches(numbers, context.batch, "class_id")).to(context.device)

        def measure(sample: Tensor, level: Level) -> Tensor:
            labels = torch.full((len(sample),), level.label if noisy else 0.0, device=sample.device)
            return -look(sample, labels).log_softmax(1).gather(1, wanted[:, None])[:, 0]

        return measure

    return prepare


def guide(image: Tensor, context: RunContext, what: str) -> Tensor:
    """A guide IMAGE as [batch, 3, H, W] in [0, 1] at the working size, an ordinary tensor on the run's device."""
    fitted = fit_image(image[..., :3].float(), context.height, context.width).movedim(-1, 1)
    return ordinary(pair_batches(fitted, context.batch, what).contiguous()).to(context.device)


def _unlike(a: Tensor, b: Tensor, metric: str) -> Tensor:
    """[B]: distance between two maps [B, C, h, w] or vectors [B, C], as a mean over their values."""
    a, b = a.reshape(*a.shape[:2], -1), b.reshape(*b.shape[:2], -1)
    if metric == L2:
        return (a - b).square().mean((1, 2))
    if metric == L1:
        return (a - b).abs().mean((1, 2))
    if metric == COSINE:
        return 1 - torch.cosine_similarity(a, b, 1).mean(1)
    unlike = (a.mean(2) - b.mean(2)).square()
    if a.shape[2] > 1:
        unlike = unlike + ((a.var(2) + 1e-5).sqrt() - (b.var(2) + 1e-5).sqrt()).square()
    return unlike.mean(1)
