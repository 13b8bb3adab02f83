"""How far results are from the guide, and how far they are from real pictures, without any network.

Images are IMAGE tensors [B,H,W,3] with values in [0,1]. Two questions are kept apart, as SDEdit does:

- *Faithful?* `faithfulness`, `painted_distance`, `palette_distance`: one number per result, against the guide.
- *Realistic?* `patch_distance` for a set against a set of real pictures, `realism` for each result, to rank by.

The patch distance is the sliced Wasserstein distance of Karras et al. 2018 (Progressive Growing of GANs, section 5),
with two changes that make it see colour and composition, which the original hides:

1. A descriptor is a 7x7x3 patch of one level of the Laplacian pyramid. Every channel of every level is standardised
   with the mean and spread of the *references* for both sets (the original standardises each set by itself, so that
   a colour cast or a loss of contrast costs nothing). The last level is the plain reduced picture, not a band.
2. One more level, "layout": the whole picture reduced to 8x8 colours, one descriptor per picture, so that sky below
   and meadow above is a distance although all its patches are common.

Distance of a level = mean over fixed random unit directions u of W1({u.p : p in images}, {u.q : q in references}),
where W1 between equally many numbers is the mean absolute difference of the sorted values. The unit is one standard
deviation of the references' pixels at that level; `mean` is the plain mean over the levels. Two sets of the same
distribution do not reach 0: what remains falls with the number of pictures, so only compare distances of equally large
sets, and compare them with the distance of two disjoint sets of real pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

PATCH = 7
LAYOUT = 8
SMALLEST_LEVEL = 16


class Faithfulness(NamedTuple):
    """Per image, both [B]. `l2`: as published, the length of the difference vector over all pixels and channels with
    values in [0,1] (it grows with the image: 443.4 * rms at 256x256). `rms`: the same per value, from 0 to 1."""

    l2: torch.Tensor
    rms: torch.Tensor


class PatchDistance(NamedTuple):
    """Sliced Wasserstein distances in standard deviations of the references. `levels` [N] goes with `names`,
    finest first, "layout" last."""

    names: tuple[str, ...]
    levels: torch.Tensor
    mean: float


def faithfulness(results: torch.Tensor, guides: torch.Tensor, mask: torch.Tensor | None = None) -> Faithfulness:
    """Distance of results [B,H,W,3] to guides [B or 1,H,W,3]; with a mask [B or 1,H,W] (1 = counts) inside it only.

    SDEdit reports the L2 distance to the guide summed over pixels with values in [0,1] (section 4.1 there). An empty
    mask gives 0.
    """
    difference = (results.float() - guides.float()).square().mean(-1)
    weight = torch.ones_like(difference) if mask is None else mask.float().expand_as(difference)
    total = (difference * weight).sum((1, 2))
    return Faithfulness((total * results.shape[-1]).sqrt(), (total / weight.sum((1, 2)).clamp_min(1.0)).sqrt())


def painted_distance(
    results: torch.Tensor,
    painted_guides: torch.Tensor,
    painter: Callable[[torch.Tensor], torch.Tensor],
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """How far apart results and guides are once both are painted with the same few strokes: rms per image [B].

    Only detail that the painter removes is free of cost: faithful in the sense of GradOP's constraint on
    painter(result). `painter` maps [B,H,W,3] to the same shape; `painted_guides` is its output for the guides
    [B or 1,H,W,3], because a painter rarely leaves its own paintings unchanged.
    """
    return faithfulness(painter(results), painted_guides, mask).rms


def palette_distance(results: torch.Tensor, guides: torch.Tensor, directions: int = 32, seed: int = 0) -> torch.Tensor:
    """How far the colours have drifted, regardless of position: sliced W1 of the pixels' colours, per image [B], in
    [0,1] colour units (a uniform shift of every channel by d gives about 0.87 d)."""
    slices = _directions(3, directions, seed, results.device)
    shape = (-1, results.shape[1] * results.shape[2], 3)
    result_colours = (results.float().reshape(shape) @ slices).sort(1).values
    guide_colours = (guides.float().reshape(shape) @ slices).sort(1).values
    return (result_colours - guide_colours).abs().mean((1, 2))


def patch_distance(
    images: torch.Tensor, references: torch.Tensor, *, patches: int = 64, projections: int = 128, seed: int = 0
) -> PatchDistance:
    """Distance of the set images [B,H,W,3] to the set references [R,H,W,3]: the formula is at the top of the file.

    `patches`: random positions per picture and level, drawn from `seed` (the same for both sets, so that equal sets
    are at distance 0). Same input, same number, on any machine up to float32 rounding. Cost: about 4 s for 1,000
    against 1,000 pictures of 64 px on one core. Raises ValueError for sets of different sizes or sides under 7 px.
    """
    _check_same_size(images, references)
    names, distances = [], []
    for name, mine, theirs in _standardised_levels(images, references):
        slices = _directions(3 * PATCH * PATCH, projections, seed, mine.device)
        distances.append(_sliced_w1(*(_random_patches(level, patches, seed) @ slices for level in (mine, theirs))))
        names.append(name)
    mine, theirs = _standardised(_layout(images), _layout(references))
    slices = _directions(3 * LAYOUT * LAYOUT, 4 * projections, seed, mine.device)
    distances.append(_sliced_w1(mine.flatten(1) @ slices, theirs.flatten(1) @ slices))
    levels = torch.stack(distances)
    return PatchDistance((*names, "layout"), levels, levels.mean().item())


def realism(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Score each of images [B,H,W,3] against references [R,H,W,3], R >= 4 (20 or more tell more): [B], 1 = like a real
    picture, larger = less like one. For ranking results of one model, not for comparing models.

    After NIQE (Mittal et al. 2013): a picture is summarised by some statistics of its pyramid (`_statistics`), the
    references give their mean and covariance, and the score is the Mahalanobis distance, divided by the median score of
    one half of the references against the other. Statistics rather than nearest neighbours, because a flat painting is
    *nearer* to most photographs than they are to each other; what gives it away is too little detail for its contrast.
    Composition does not matter: the guide, not the references, decides where things are.
    """
    _check_same_size(images, references)
    if len(references) < 4:
        raise ValueError(
            f"Realism needs at least 4 reference pictures, better 20, to know how much real ones vary, got "
            f"{len(references)}: connect more, or none."
        )
    known, asked = _statistics(references), _statistics(images)
    halves = known[::2], known[1::2]
    typical = torch.cat([_mahalanobis(*halves), _mahalanobis(*halves[::-1])]).median()
    return (_mahalanobis(asked, known) / typical).float()


def laplacian_pyramid(images: torch.Tensor) -> list[torch.Tensor]:
    """[B,C,H,W] -> bands from fine to coarse and, last, the reduced picture, whose shorter side is 16 to 31 px (or the
    whole picture where that is smaller already). Adding up the enlarged levels gives the picture back."""
    bands = []
    while min(images.shape[-2:]) >= 2 * SMALLEST_LEVEL:
        half = [side // 2 for side in images.shape[-2:]]
        smaller = F.interpolate(images, half, mode="bilinear", antialias=True)
        bands.append(images - F.interpolate(smaller, images.shape[-2:], mode="bilinear"))
        images = smaller
    return [*bands, images]


def _check_same_size(images: torch.Tensor, references: torch.Tensor) -> None:
    if images.shape[1:] != references.shape[1:] or min(images.shape[1:3]) < PATCH:
        raise ValueError(
            f"Expected images and references of one size, at least {PATCH} px a side, got "
            f"{images.shape[2]}x{images.shape[1]} and {references.shape[2]}x{references.shape[1]}: resize one of them."
        )


def _standardised_levels(images: torch.Tensor, references: torch.Tensor):
    """Yield (name, level of images, level of references), both [.,3,h,w] in standard deviations of the references."""
    pyramids = (laplacian_pyramid(batch.float().movedim(-1, 1)) for batch in (images, references))
    for mine, theirs in zip(*pyramids, strict=True):
        yield f"{min(mine.shape[-2:])} px", *_standardised(mine, theirs)


def _standardised(mine: torch.Tensor, theirs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean = theirs.mean((0, 2, 3), keepdim=True)
    spread = theirs.std((0, 2, 3), keepdim=True).clamp_min(1e-4)  # flat references have no spread at all
    return (mine - mean) / spread, (theirs - mean) / spread


def _layout(images: torch.Tensor) -> torch.Tensor:
    return F.adaptive_avg_pool2d(images.float().movedim(-1, 1), LAYOUT)


def _random_patches(level: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """`count` patches at seeded random places of each picture: [B,3,h,w] -> [B,count,147]."""
    windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
    batch, _, rows, columns = windows.shape[:4]
    generator = torch.Generator().manual_seed(seed)
    where = torch.rand(batch, count, 2, generator=generator) * torch.tensor([rows, columns])
    row, column = where.long().to(level.device).unbind(-1)
    picture = torch.arange(batch, device=level.device)[:, None].expand_as(row)
    return windows[picture, :, row, column].flatten(2)


def _directions(size: int, count: int, seed: int, device: torch.device) -> torch.Tensor:
    """`count` fixed random unit vectors as the columns of [size,count]."""
    vectors = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=1).T.to(device)


def _sliced_w1(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Mean W1 over the columns; leading axes are one sample. Unequal counts are read at equally many mid-quantiles."""
    mine, theirs = mine.flatten(0, -2), theirs.flatten(0, -2)
    count = min(len(mine), len(theirs))
    return (_quantiles(mine, count) - _quantiles(theirs, count)).abs().mean()


def _quantiles(values: torch.Tensor, count: int) -> torch.Tensor:
    """The sorted values of each column, thinned out to `count` mid-quantiles: [N,K] -> [K,count]."""
    middles = (torch.arange(count) + 0.5) * (len(values) / count)
    in_order = np.sort(values.T.contiguous().cpu().numpy(), axis=1)  # four times as fast as torch's sort
    return torch.from_numpy(in_order)[:, middles.long()]


def _statistics(images: torch.Tensor) -> torch.Tensor:
    """[B,H,W,3] -> [B,D] in float64: per band and opponent channel the logarithms of rms and of four quantiles of the
    absolute values, and the correlation with the neighbours to the right and below; of the reduced picture the mean,
    spread and slopes. Logarithms bottom out near half a grey level, below which an 8-bit picture has no information."""
    red, green, blue = images.double().clamp(0, 1).unbind(-1)
    opponents = torch.stack([(red + green + blue) / 3, red - green, blue - (red + green) / 2], 1)
    *bands, reduced = laplacian_pyramid(opponents)
    step = 1 / 255
    statistics = []
    for band in bands:
        power = band.square().mean((2, 3)) + step**2 / 4
        sizes = band.abs().flatten(2).sort(2).values
        statistics += [power.log() / 2]
        statistics += [(sizes[:, :, int(q * sizes.shape[2])] + step / 4).log() for q in (0.25, 0.5, 0.75, 0.95)]
        statistics += [(band[..., 1:] * band[..., :-1]).mean((2, 3)) / power]
        statistics += [(band[..., 1:, :] * band[..., :-1, :]).mean((2, 3)) / power]
    statistics += [reduced.mean((2, 3)), (reduced.var((2, 3)) + step**2).log() / 2]
    statistics += [(reduced.diff(dim=axis).abs().mean((2, 3)) + step).log() for axis in (2, 3)]
    return torch.cat(statistics, 1)


def _mahalanobis(asked: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Distance of each row of [B,D] from the cloud [R,D], per statistic: [B]. The fewer rows the cloud has, the more
    its covariance is shrunk towards its diagonal."""
    count, size = known.shape
    centred = known - known.mean(0)
    covariance = centred.T @ centred / (count - 1)
    diagonal = torch.diag(covariance.diagonal().clamp_min(1e-4))
    covariance = (count * covariance + size * diagonal) / (count + size) + 1e-3 * diagonal
    offset = asked - known.mean(0)
    return ((offset @ torch.linalg.inv(covariance)) * offset).mean(1).sqrt()
