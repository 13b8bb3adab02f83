"""Zero-shot retrieval measured as ZSE-SBIR reports it, on the three data sets' folders or on folders of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...files import quote
from ...pictures.drawings import files_in
from ...pictures.drawings.raster import EXTENSIONS, read_picture
from ...pictures.ranking import Scores, distances, scores
from .retriever import AT_ONCE, Retriever, SketchNetwork
from .search import zscores

# Of each data set: the folders of its file lists by split, and which files the published quick test takes (every n-th
# sketch, every n-th photo). The full test takes all.
THINNED = {"sketchy": (20, 10), "tu-berlin": (3, 20), "quickdraw": (120, 30)}
SPLITS = {
    "sketchy": {"25": "zeroshot1", "21": "zeroshot0"},
    "tu-berlin": {"30": "zeroshot"},
    "quickdraw": {"30": "zeroshot"},
}
SKETCH_LISTS = ("sketch", "png")  # how the names of the lists begin
PHOTO_LISTS = ("all_photo", "photo", "imageresized")


class Item(NamedTuple):
    path: Path
    kind: str


class Gallery(NamedTuple):
    """Sketches to search for, and photos to search in, each with its class."""

    sketches: list[Item]
    photos: list[Item]


def listed(root: Path, data: str, split: str = "") -> Gallery:
    """The test part of a data set from its own file lists: lines of a path inside the data set and a class.

    root: the data set's folder, such as Sketchy/ with zeroshot1/ in it. split: a key of SPLITS; empty: the first.
    ValueError: no such split, folder, or lists."""
    known = SPLITS[data]
    if split and split not in known:
        raise ValueError(f"{data} has the splits {', '.join(known)}, got {quote(split)}.")
    folder = root / known[split or next(iter(known))]
    lists = sorted(folder.glob("*filelist_zero.txt")) if folder.is_dir() else []
    found = []
    for what, beginnings in (("sketches", SKETCH_LISTS), ("photos", PHOTO_LISTS)):
        mine = [path for path in lists if path.name.lower().startswith(beginnings)]
        if not mine:
            raise ValueError(
                f"There is no list of {what} in {folder} (*filelist_zero.txt, beginning with "
                f"{' or '.join(beginnings)}). Give the data set's own folder, or folders of classes."
            )
        found.append(_lines(mine[0], root))
    return Gallery(*found)


def _lines(path: Path, root: Path) -> list[Item]:
    items = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"(.+\S)\s+(\S+)", line.strip())
        if match:
            items.append(Item(root / match[1], match[2]))
    if not items:
        raise ValueError(f"{path} lists no files. Each of its lines holds a path and the number of a class.")
    return items


def of_classes(sketches: Path, photos: Path, names: Iterable[str] = ()) -> Gallery:
    """Folders with a sub-folder for each class. names: the classes tested; none: those in both folders. A photo of a
    class without sketches is in the gallery too. ValueError: no folder, or no files."""
    wanted, found = set(names), []
    for folder in (sketches, photos):
        if not folder.is_dir():
            raise ValueError(f"There is no folder {folder}. Give a folder with a sub-folder for each class.")
        kinds = [path for path in sorted(folder.iterdir()) if path.is_dir() and (not wanted or path.name in wanted)]
        found.append([Item(path, kind.name) for kind in kinds for path in files_in(kind, EXTENSIONS)])
        if not found[-1]:
            raise ValueError(f"{folder} holds no pictures in sub-folders of the tested classes. Check the names.")
    return Gallery(*found)


def thinned(gallery: Gallery, every: tuple[int, int]) -> Gallery:
    """Every n-th sketch and every n-th photo, from the first on."""
    return Gallery(gallery.sketches[:: every[0]], gallery.photos[:: every[1]])


class Evaluation(NamedTuple):
    """Scores by the retrieval tokens and, if asked for, by the relation network; files that could not be read."""

    ret: Scores
    rn: Scores | None
    left_out: list[str]


Tell = Callable[[str, int, int], None]


def evaluate(
    gallery: Gallery, retriever: Retriever, relation: bool = False, tell: Tell = lambda what, done, total: None
) -> Evaluation:
    """Every sketch against every photo. relation: also by the relation network, which looks at every pair.

    tell(what, done, total): called after every batch; may raise to stop. ValueError: no file can be read, or
    `relation` with a retriever that has no relation network."""
    network = retriever.sketch_network if relation else None
    sketches = _looked_at(gallery.sketches, retriever, network, True, tell)
    photos = _looked_at(gallery.photos, retriever, network, False, tell)
    same = torch.from_numpy(np.array(sketches.kinds)[:, None] == np.array(photos.kinds)[None])
    each = [distances(mine, theirs) for mine, theirs in zip(sketches.vectors, photos.vectors, strict=True)]
    apart = each[0] if len(each) == 1 else torch.stack([zscores(one) for one in each]).sum(0)
    related = None
    if network is not None:
        related = scores(-relations(network, sketches.inputs, photos.inputs, tell), same)
    return Evaluation(scores(apart, same), related, sketches.left_out + photos.left_out)


class _Seen(NamedTuple):
    """What the networks saw of N pictures. vectors: [N,D] of each part. inputs: [N,3,S,S] uint8 for the relation
    network; empty where it is not asked."""

    kinds: list[str]
    vectors: list[Tensor]
    inputs: Tensor
    left_out: list[str]


def _looked_at(
    items: Sequence[Item], retriever: Retriever, network: SketchNetwork | None, drawn: bool, tell: Tell
) -> _Seen:
    kinds: list[str] = []
    left_out: list[str] = []
    vectors: list[list[Tensor]] = []
    inputs = [torch.empty(0, dtype=torch.uint8)]
    for first in range(0, len(items), AT_ONCE):
        batch = []
        for item in items[first : first + AT_ONCE]:
            try:
                picture = read_picture(item.path)
                batch.append(retriever.sketches([np.asarray(picture)], "no") if drawn else retriever.photos([picture]))
                kinds.append(item.kind)
            except (ValueError, OSError) as error:
                left_out.append(f"{item.path.name}: {error}")
        if batch:
            stacks = [torch.cat(part) for part in zip(*batch, strict=True)]
            vectors.append(retriever.embed(stacks))
            if network is not None:
                inputs.append(((stacks[retriever.parts.index(network)] + 1) * 127.5).round().byte())
        tell("sketches" if drawn else "photos", min(first + AT_ONCE, len(items)), len(items))
    if not vectors:
        raise ValueError(f"None of the {len(items)} files can be read. The first: {left_out[0]}")
    whole = [torch.cat(part) for part in zip(*vectors, strict=True)]
    return _Seen(kinds, whole, torch.cat(inputs[1:] or inputs), left_out)


def relations(network: SketchNetwork, sketches: Tensor, photos: Tensor, tell: Tell) -> Tensor:
    """[Q,N] of the relation network, from inputs as bytes. The sketches' tokens stay in memory in half precision."""

    def tokens(inputs: Tensor) -> Tensor:
        return network.tokens(inputs.float() / 127.5 - 1)

    queries = [tokens(batch).half() for batch in sketches.split(AT_ONCE)]
    columns = []
    for number, batch in enumerate(photos.split(AT_ONCE), 1):
        theirs = tokens(batch)
        rows = [
            network.network.relation(query.float()[None].expand(len(theirs), -1, -1), theirs).cpu()
            for one in queries
            for query in one
        ]
        columns.append(torch.stack(rows))
        tell("pairs", min(number * AT_ONCE, len(photos)) * len(sketches), len(photos) * len(sketches))
    return torch.cat(columns, 1)
