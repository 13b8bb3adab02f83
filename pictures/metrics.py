"""Sets of pictures compared by a frozen network's features (FID, KID), and pairs of pictures (LPIPS).

A set is described by one vector per picture, [N,D] float32 on the CPU (features.Summary), from which the distances are
computed there in float64. All distances fall with the number of pictures, so only compare results of equally many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import files as whole_files
from .fit import fit_image

AT_ONCE = 2**20  # pixels per call of a network
LPIPS_SIDE = 256  # at which the sketch GAN's release compares pairs
KEPT = 32  # sets whose vectors are kept in a folder


class Kernel(NamedTuple):
    """value: the squared MMD; spread: its standard deviation over the subsets, 0 if both sets were used whole."""

    value: float
    spread: float


def frechet(mine: Tensor, theirs: Tensor) -> float:
    """Frechet distance of the normal distributions through vectors [N,D] and [M,D], N and M 2 or more; FID where the
    vectors are InceptionV3's (Heusel et al. 2017): |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    With C1 = A'A and C2 = B'B (A, B: the centred vectors divided by the root of their number minus one), the trace of
    the root is the sum of the singular values of AB'. So no matrix square root is needed, and sets of fewer vectors
    than D, whose C does not have full rank, need nothing added to its diagonal.
    """
    gap = mine.double().mean(0) - theirs.double().mean(0)
    one, other = _factor(mine), _factor(theirs)
    shared = torch.linalg.svdvals(one @ other.T).sum()
    return max(0.0, float(gap.square().sum() + one.square().sum() + other.square().sum() - 2 * shared))


def _factor(vectors: Tensor) -> Tensor:
    """A matrix A with A'A the unbiased covariance, of at most D rows, float64."""
    centred = vectors.double() - vectors.double().mean(0)
    centred = centred / math.sqrt(len(vectors) - 1)
    return torch.linalg.qr(centred, mode="r").R if len(centred) > centred.shape[1] else centred


def kernel_distance(mine: Tensor, theirs: Tensor, *, subsets: int = 100, most: int = 1000, seed: int = 0) -> Kernel:
    """KID (Binkowski et al. 2018): the unbiased squared MMD of vectors [N,D] and [M,D], N and M 2 or more, under the
    kernel (x.y / D + 1)^3. Its mean is 0 for two sets of the same distribution, and values below 0 are normal then.

    Sets of more than `most` vectors: the mean over `subsets` draws of `most` from each, without replacement.
    """
    mine, theirs = mine.double(), theirs.double()
    if max(len(mine), len(theirs)) <= most:
        return Kernel(_squared_mmd(mine, theirs), 0.0)
    rng = torch.Generator().manual_seed(seed)
    drawn = [[x[torch.randperm(len(x), generator=rng)[:most]] for x in (mine, theirs)] for _ in range(subsets)]
    values = torch.tensor([_squared_mmd(*pair) for pair in drawn])
    return Kernel(float(values.mean()), float(values.std()))


def _squared_mmd(mine: Tensor, theirs: Tensor) -> float:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:  # without each vector's kernel with itself
        table = kernel(x, x)
        return (table.sum() - table.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(within(mine) + within(theirs) - 2 * kernel(mine, theirs).mean())


def inception_score(logits: Tensor, split: int = 5000) -> float:
    """Inception score (Salimans et al. 2016) of logits [N,C]: exp of the mean divergence of each picture's classes from
    those of all, over parts of `split` pictures, averaged over the parts. 1 to C; higher is better."""
    return class_score(logits.double().softmax(1), split)


def class_score(probabilities: Tensor, split: int = 5000) -> float:
    """inception_score of class probabilities [N,C] that sum to 1."""
    scores = []
    for part in probabilities.double().split(split):
        surprise = torch.special.xlogy(part, part) - torch.special.xlogy(part, part.mean(0))
        scores.append(float(surprise.sum(1).mean().exp()))
    return sum(scores) / len(scores)


class Overlap(NamedTuple):
    """precision: share of the results inside the references' manifold. recall: the other way round. Both 0 to 1."""

    precision: float
    recall: float


def overlap(mine: Tensor, theirs: Tensor, k: int = 3) -> Overlap:
    """Precision and recall of vectors [N,D] (results) and [M,D] (references), N and M above k (Kynkaanniemi et al.
    2019): a set's manifold is the union of balls around its vectors, each as large as the k-th nearest of the others is
    far."""
    own, other = radii(mine, k), radii(theirs, k)
    inside, first = 0, 0
    reached = torch.zeros(len(theirs), dtype=torch.bool, device=theirs.device)
    for rows in _squared_distances(mine, theirs):
        inside += int((rows <= other).any(1).sum())
        reached |= (rows <= own[first : first + len(rows), None]).any(0)
        first += len(rows)
    return Overlap(inside / len(mine), int(reached.sum()) / len(theirs))


def radii(vectors: Tensor, k: int = 3) -> Tensor:
    """[N]: the squared distance from each vector to the k-th nearest of the others."""
    return torch.cat([rows.kthvalue(k + 1, 1).values for rows in _squared_distances(vectors, vectors)])


def _squared_distances(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """[n,M] for each part of the rows of a [N,D]; b [M,D]. A vector's distance to itself is exactly 0."""
    a, b = a.double(), b.double()
    for rows in a.split(max(1, 2**22 // len(b))):
        yield torch.cdist(rows, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def vectors(
    pictures: Iterable[Tensor],
    look: Callable[[Tensor], Tensor],
    device: torch.device | str,
    seen: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """[N,D] of pictures [1,H,W,3] in [0,1], each of its own size; look: a prepared features.Summary on `device`.

    Consecutive pictures of one size share a call, at most AT_ONCE pixels. seen(count): called after each of them.
    """
    found: list[Tensor] = []
    group: list[Tensor] = []

    def finish() -> None:
        if group:
            with torch.inference_mode():
                x = torch.cat(group).movedim(-1, 1).to(device, torch.float32)
                found.append(look(x).float().cpu())
            seen(len(group))
            group.clear()

    for picture in pictures:
        if group and (picture.shape != group[0].shape or len(group) * picture[..., 0].numel() >= AT_ONCE):
            finish()
        group.append(picture[..., :3])
    finish()
    return torch.cat(found)


def pair_distances(
    pairs: Iterable[tuple[Tensor, Tensor]],
    distance: Callable[[Tensor, Tensor], Tensor],
    device: torch.device | str,
    seen: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """[N]: LPIPS of pairs [1,H,W,3] in [0,1]; distance: a prepared features.Perceptual on `device`.

    The second picture is cropped and resized to the first. Then both, if larger, are reduced to a shorter side of
    LPIPS_SIDE by area averaging, as in the sketch GAN's release.
    """
    found = []
    for mine, theirs in pairs:
        with torch.inference_mode():
            both = [x[..., :3].float() for x in (mine, fit_image(theirs[..., :3], *mine.shape[1:3]))]
            found.append(distance(*(_reduced(x.movedim(-1, 1)).to(device) for x in both)).float().cpu())
        seen(1)
    return torch.cat(found)


def _reduced(x: Tensor) -> Tensor:
    short = min(x.shape[-2:])
    if short <= LPIPS_SIDE:
        return x
    return F.interpolate(x, [round(side * LPIPS_SIDE / short) for side in x.shape[-2:]], mode="area")


def kept(folder: Path, key: str, make: Callable[[], Tensor]) -> Tensor:
    """The vectors that the folder keeps under this key; if there are none, they are made and kept.

    The folder keeps at most KEPT files, the most recently used ones. A file that cannot be read is made again.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    path = folder / f"{key}.safetensors"
    try:
        found = load_file(path)["vectors"]
        path.touch()
        return found
    except (OSError, SafetensorError, KeyError):
        pass
    found = make()
    whole_files.replace(path, save({"vectors": found.contiguous()}))
    files = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
    for old in files[:-KEPT]:
        old.unlink(missing_ok=True)
    return found
