"""How like real pictures a set of results is: FID, KID, LPIPS and more of two sets, and the report about
them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..networks.frozen import gradients
from . import metrics
from .features import Features, Seen
from .sets import Pictures, bytes_of, why_unpaired


class Found(NamedTuple):
    """Both distances between the sets, LPIPS of each pair (none if the sets are not paired), and the report.

    sfid: FID of InceptionV3's spatial features; inception: Inception score of the results; both NaN with another
    network. precision, recall: see metrics.Overlap; NaN for sets that are too small.
    """

    fid: float
    kid: float
    spread: float
    each: list[float]
    report: str
    sfid: float = math.nan
    inception: float = math.nan
    precision: float = math.nan
    recall: float = math.nan

    @property
    def lpips(self) -> float:
        return sum(self.each) / len(self.each) if self.each else math.nan

    def numbers(self) -> dict[str, Any]:
        lpips = {"lpips": self.lpips, "lpips_of_each": self.each} if self.each else {}
        more = {name: getattr(self, name) for name in ("sfid", "inception", "precision", "recall")}
        known = {name: value for name, value in more.items() if not math.isnan(value)}
        return {"fid": self.fid, "kid": self.kid, "kid_spread": self.spread, **known, **lpips}


def compare(
    results: Pictures,
    references: Pictures,
    features: Features,
    perceptual: Features,
    folder: Path,
    *,
    size: int = 0,
    smooth: bool = False,
    paired: bool = True,
    neighbours: int = 3,
    with_bias: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> Found:
    """FID, KID, precision and recall in `features` (with InceptionV3 sFID and Inception score, too), LPIPS in
    `perceptual`, on the devices that their networks are loaded to.

    neighbours: of precision and recall, 3 as published. with_bias: whether the Inception score's logits have their
    bias; those of guided diffusion's and most published scores have none.

    size, smooth: see features.Summary. paired: whether sets that can be paired are, see why_unpaired. progress(count):
    called for every group of pictures that was looked at; `work` says how many there will be.
    What the network saw of a set is kept in `folder` under a hash of the pictures, the network's weights and the
    settings. ValueError: too few pictures, or values that are not finite.
    """
    for what, pictures in (("results", results), ("references", references)):
        if len(pictures) < 2:
            raise ValueError(
                f"A set to compare needs 2 pictures or more, ideally hundreds; got {len(pictures)} {what}. Connect "
                "more, or choose another folder."
            )
    alone = why_unpaired(results, references) if paired else "none was asked for"

    def seen_in(what: str, pictures: Pictures) -> Tensor:
        return _vectors(what, pictures, features, folder, size, smooth, progress)

    seen, known = (features.seen(v) for v in (seen_in("results", results), seen_in("references", references)))
    mine, theirs = seen.summary, known.summary
    each: list[float] = []
    if not alone:
        device = perceptual.network.patcher.load_device
        distance = perceptual.perceptual().prepare(device)
        pairs = zip(results, references, strict=False)  # the limit leaves more references
        each = metrics.pair_distances(pairs, distance, device, progress).tolist()
    fid, kid = metrics.frechet(mine, theirs), metrics.kernel_distance(mine, theirs)
    found = Found(fid, kid.value, kid.spread, each, "", **_more(seen, known, neighbours, with_bias))
    return found._replace(report=report(found, mine, theirs, features, perceptual, size, smooth, alone))


def _more(mine: Seen, theirs: Seen, neighbours: int, with_bias: bool) -> dict[str, float]:
    """The numbers that not every network or set has."""
    found: dict[str, float] = {}
    if mine.spatial is not None and theirs.spatial is not None:
        found["sfid"] = metrics.frechet(mine.spatial, theirs.spatial)
    if mine.logits is not None:
        bias = mine.bias if with_bias and mine.bias is not None else 0
        found["inception"] = metrics.inception_score(mine.logits + bias)
    if min(len(mine.summary), len(theirs.summary)) > neighbours:
        found["precision"], found["recall"] = metrics.overlap(mine.summary, theirs.summary, neighbours)
    return found


def memory_needed() -> int:
    """Bytes that a network needs for the pictures it looks at together: about 2000 per pixel."""
    return 2000 * metrics.AT_ONCE


def work(results: Pictures, references: Pictures) -> int:
    """How many pictures compare() looks at, for a progress bar: those of a pair twice."""
    return len(results) + len(references) + (0 if why_unpaired(results, references) else len(results))


def _vectors(
    what: str,
    pictures: Pictures,
    features: Features,
    folder: Path,
    size: int,
    smooth: bool,
    progress: Callable[[int], None],
) -> Tensor:
    """What the network sees in a set, one vector per picture [N,D], kept in `folder`; what: the set in messages."""
    settings = f"2 {network_digest(features)} {size} {smooth} {features.kind} {features.size} {features.taps}"
    key = hashlib.sha256(f"{settings} {pictures.digest()}".encode()).hexdigest()
    device, made = features.network.patcher.load_device, []

    def make() -> Tensor:
        made.append(True)
        with gradients():
            look = features.summary(smooth, everything=True).prepare(device, size)
            found = metrics.vectors(pictures, look, device, progress)
        bad = (~found.isfinite().all(1)).nonzero()
        if len(bad):
            raise ValueError(
                f"Picture {int(bad[0]) + 1} of the {what} contains NaN or infinite values. Remove it, or fix what "
                "made it."
            )
        return found

    found = metrics.kept(folder, key, make)
    if not made:
        progress(len(pictures))
    return found


def report(
    found: Found,
    mine: Tensor,
    theirs: Tensor,
    features: Features,
    perceptual: Features,
    size: int,
    smooth: bool,
    unpaired: str,
) -> str:
    """The numbers as a table, and below it what they were measured with and how far they can be trusted. mine, theirs:
    the vectors of both sets. unpaired: why there is no LPIPS."""
    true_fid = features.kind == "inception" and bool(features.network.patcher.model.fid)
    spread = f" ± {found.spread:.2g} over subsets of 1000" if found.spread else ""
    rows = [
        ("FID" if true_fid else "Frechet distance", f"{found.fid:.4g}", features.name),
        ("KID", f"{found.kid:.4g}{spread}", features.name),
    ]
    more = (("sFID", found.sfid), ("Inception score", found.inception))
    more += (("precision", found.precision), ("recall", found.recall))
    rows += [(name, f"{value:.4g}", features.name) for name, value in more if not math.isnan(value)]
    if found.each:
        worst = max(range(len(found.each)), key=found.each.__getitem__)
        rows.append(("LPIPS", f"{found.lpips:.4g} (worst {found.each[worst]:.3g}, pair {worst + 1})", perceptual.name))
    lines = ["| measure | value | seen by |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    sized = f", brought to {size} px first." if size else "."
    lines += ["", f"{len(mine)} results, {len(theirs)} references{sized}"]
    if not true_fid:
        lines.append("Numbers seen by this network compare with one another only, not with published FIDs and KIDs.")
    elif smooth:
        lines.append("Pictures were smoothed when they were reduced; published FIDs mostly were not.")
    depth = mine.shape[1]
    short = [f"{len(x)} {what}" for what, x in (("results", mine), ("references", theirs)) if len(x) <= depth]
    if short:
        lines.append(
            f"{' and '.join(short)} for {depth} features: the covariance has not full rank, so the Frechet distance "
            "comes out too large. Compare it only with that of sets of as many pictures, or trust KID."
        )
    if unpaired:
        lines.append(f"No LPIPS, which compares pairs: {unpaired}.")
    return "\n".join(lines)


def network_digest(features: Features) -> str:
    """A hash of the weights, since a file of the same name may change."""
    found = hashlib.sha256()
    for name, value in features.network.patcher.model.state_dict().items():
        found.update(f"{name} {value.dtype}".encode() + bytes_of(value))
    return found.hexdigest()
