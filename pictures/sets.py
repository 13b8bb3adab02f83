"""Sets of pictures to compare, from IMAGEs or from a folder, and what is told of a comparison."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .drawings import files_in, raster, read_drawing
from .drawings.ink import PAINTING
from .features import Features


class Pictures(Protocol):
    """A set of pictures in order, each made or read when its turn comes."""

    whole: int  # pictures before the limit cut them
    names: list[str] | None  # of all their files, without endings

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Tensor]: ...  # [1,H,W,3] in [0,1]
    def digest(self) -> str: ...  # of what is in the pictures, in their order


class Connected:
    """The pictures of IMAGEs, at most `limit`; those of one channel are grey."""

    names: list[str] | None = None

    def __init__(self, batches: Sequence[Tensor], limit: int) -> None:
        found = [picture[None, ..., :3].expand(-1, -1, -1, 3) for batch in batches for picture in batch]
        self.whole = len(found)
        self.pictures = found[:limit]

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.pictures)

    def digest(self) -> str:
        found = hashlib.sha256()
        for picture in self.pictures:
            found.update(f"{tuple(picture.shape)} {picture.dtype}".encode() + _bytes(picture))
        return found.hexdigest()


class Folder:
    """The picture files of a folder by name, at most `limit`; transparent ones lie on white."""

    names: list[str] | None

    def __init__(self, path: Path, limit: int) -> None:
        found = files_in(path, raster.EXTENSIONS)
        self.whole, self.names = len(found), [file.stem for file in found]
        self.files = found[:limit]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Tensor]:
        for path in self.files:
            yield torch.from_numpy(read_drawing(path, kind=PAINTING).rgb)[None]

    def digest(self) -> str:
        found = hashlib.sha256()
        for path in self.files:
            found.update(hashlib.sha256(path.read_bytes()).digest())
        return found.hexdigest()


def why_unpaired(results: Pictures, references: Pictures) -> str:
    """Why results have no partners, "" where they have: the reference at the same place, which in two folders has to be
    of the same name. The limit does not count."""
    if results.whole != references.whole:
        return f"there are {results.whole} results and {references.whole} references"
    if results.names is not None and references.names is not None:
        for mine, theirs in zip(results.names, references.names, strict=True):
            if mine != theirs:
                return f"the files of the two folders have other names, first '{mine}' beside '{theirs}'"
    return ""


class Found(NamedTuple):
    """Both distances of the sets, LPIPS of each pair (none where sets are not paired), and the report."""

    fid: float
    kid: float
    spread: float
    each: list[float]
    report: str

    @property
    def lpips(self) -> float:
        return sum(self.each) / len(self.each) if self.each else math.nan

    def numbers(self) -> dict[str, Any]:
        lpips = {"lpips": self.lpips, "lpips_of_each": self.each} if self.each else {}
        return {"fid": self.fid, "kid": self.kid, "kid_spread": self.spread, **lpips}


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
    """The numbers as a table, and under it what they were measured with and how far they can be trusted. unpaired: why
    there is no LPIPS."""
    true_fid = features.kind == "inception" and bool(features.network.patcher.model.fid)
    spread = f" ± {found.spread:.2g} over subsets of 1000" if found.spread else ""
    rows = [
        ("FID" if true_fid else "Frechet distance", f"{found.fid:.4g}", features.name),
        ("KID", f"{found.kid:.4g}{spread}", features.name),
    ]
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
    """A hash of the weights: the name of a file is not enough."""
    found = hashlib.sha256()
    for name, value in features.network.patcher.model.state_dict().items():
        found.update(f"{name} {value.dtype}".encode() + _bytes(value))
    return found.hexdigest()


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
