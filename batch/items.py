"""The items of a run: files of folders, rows of a CSV, single values; every combination, by name, or in order.

Nothing is listed that can be counted: 30,000 pairs of two folders of 173 files are two lists of 173.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
from .graph import Graph, Target
from .values import parse

PAIRINGS = ("every", "name", "order")
# What a folder is searched for. A pattern such as "folder/*.bin" takes whatever fits it.
READ = {
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".psd", ".jp2", ".ico", ".qoi"),
    *(".exr", ".hdr", ".avif", ".heic", ".svg", ".svgz", ".ndjson", ".mp4", ".webm", ".mov", ".mkv", ".avi"),
    *(".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".glb", ".gltf", ".obj", ".fbx", ".stl"),
}
SEEDS = 2**48  # seeds stay below: whole numbers that JSON and the editor keep exactly
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # names that Windows does not have


class Item(NamedTuple):
    """name: of its results, below the output folder and without an ending. values: what its inputs are set to; a Path
    is a file to upload."""

    index: int
    name: str
    values: tuple[tuple[Target, Any], ...]


class Axis(NamedTuple):
    """What varies together: a label of each choice, and the values of its inputs."""

    labels: Sequence[str]
    values: Sequence[tuple[tuple[Target, Any], ...]]


class Seed(NamedTuple):
    """A seed that differs by item: base plus a number made of the item's name, so that it depends neither on the
    number of items nor on their order."""

    target: Target
    base: int

    def of(self, name: str) -> int:
        """The seed of the item of that name, within the input's limits."""
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
        return (self.base + digest) % min(SEEDS, int(self.target.options.get("max", SEEDS - 1)) + 1)


class Items(Sequence[Item]):
    """All items of a run, made when asked for.

    pairing: "every" combination, the first axis fastest; by "name", the same in each axis; in "order", a shorter axis
    starts again. total: how many; None for one pass. More than one pass needs seeds, and numbers the names.
    ValueError: nothing to do, or names that do not fit together."""

    def __init__(
        self,
        axes: Sequence[Axis],
        pairing: str = "every",
        *,
        fixed: Sequence[tuple[Target, Any]] = (),
        seeds: Sequence[Seed] = (),
        total: int | None = None,
    ) -> None:
        self.axes = list(axes) or [Axis(("result",), ((),))]
        self.fixed, self.seeds, self.every = tuple(fixed), tuple(seeds), pairing == "every"
        if pairing not in PAIRINGS:
            raise ValueError(f"pairs must be {', '.join(PAIRINGS)}, got {files.quote(pairing)}.")
        if pairing == "name":
            self.axes = _by_name(self.axes)
        lengths = [len(axis.labels) for axis in self.axes]
        one_pass = math.prod(lengths) if self.every else max(lengths)
        self.different = one_pass if self.every else math.lcm(*lengths)
        self.total = one_pass if total is None else total
        if self.total > self.different and not self.seeds:
            raise ValueError(
                f"There are {self.different} different items, but a total of {self.total} is asked for. Vary a seed "
                "with --seed 'node.input', or ask for fewer."
            )
        self._check_names()

    def _check_names(self) -> None:
        """Refuses two items of one file, on systems that take upper and lower case for the same, too."""
        known: dict[str, int] = {}
        for index in range(self.total):
            name = self.name(index).casefold()
            if name in known:
                pair = " and ".join(map(self._labels, (known[name], index)))
                raise ValueError(f"{pair} would give results of the same name. Rename one of them.")
            known[name] = index

    def _labels(self, index: int) -> str:
        return " with ".join(files.quote(axis.labels[place]) for axis, place in self._places(index))

    def _places(self, index: int) -> Iterator[tuple[Axis, int]]:
        for axis in self.axes:
            yield axis, index % len(axis.labels)
            if self.every:
                index //= len(axis.labels)

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> Item:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not 0 <= index < self.total:
            raise IndexError(index)
        values = [value for axis, place in self._places(index) for value in axis.values[place]]
        name = self.name(index)
        return Item(index, name, (*self.fixed, *values, *((seed.target, seed.of(name)) for seed in self.seeds)))

    def name(self, index: int) -> str:
        """The name of an item, without making all of it: its labels, and a number from the second pass on."""
        name = _joined([axis.labels[place] for axis, place in self._places(index)])
        return name if index < self.different else f"{name}__{index // self.different + 1}"

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(self.total))


def _joined(parts: Sequence[str]) -> str:
    """cats/a and dogs/b -> cats/a__dogs-b: the first one's sub-folder, both names."""
    first, *others = (_safe(part) for part in parts)
    return "__".join([first, *(other.replace("/", "-") for other in others)])


def _safe(label: str) -> str:
    """A label as a path that every system can write. Dots go: in the output folder they set off further files."""
    steps = [re.sub(r'[\x00-\x1f<>:"\\|?*.]', "_", step).strip() or "_" for step in label.split("/")]
    return "/".join(f"_{step}" if RESERVED.fullmatch(step) else step for step in steps)


def _by_name(axes: list[Axis]) -> list[Axis]:
    """One axis of the labels that all axes have. ValueError: there are none."""
    places = [{label: i for i, label in enumerate(axis.labels)} for axis in axes]
    common = [label for label in axes[0].labels if all(label in known for known in places)]
    if not common:
        raise ValueError("No name is in all of the folders. Pair them in order, or every one with every other.")
    values = [
        tuple(value for axis, known in zip(axes, places, strict=True) for value in axis.values[known[label]])
        for label in common
    ]
    return [Axis(common, values)]


def axis_of(graph: Graph, setting: str) -> Axis:
    """--set "Load Sketch.image=sketches/": the files of a folder and its sub-folders, those that fit a pattern, one
    file, or one value.

    ValueError: no such input, no such file, an empty folder, a value that does not fit the input."""
    wanted, sign, text = setting.partition("=")
    if not sign:
        raise ValueError(f"{files.quote(setting)} sets nothing. Write 'node.input=value'.")
    target = graph.find(wanted)
    if not target.takes_files:
        return Axis(("",), (((target, parse(target, text)),),))
    found, root = _files(text)
    if found == [root]:
        return Axis(("",), (((target, root),),))
    labels = [path.relative_to(root).with_suffix("").as_posix() for path in found]
    return Axis(labels, [((target, path),) for path in found])


def _files(text: str) -> tuple[list[Path], Path]:
    path = Path(text).expanduser()
    if path.is_file():
        return [path], path
    if path.is_dir():
        every = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        found, root = [p for p in every if p.suffix.lower() in READ], path
    elif any(sign in text for sign in "*?["):
        signs = next(i for i, part in enumerate(path.parts) if any(sign in part for sign in "*?["))
        root = Path(*path.parts[:signs])
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
    else:
        raise ValueError(f"There is no file or folder {files.quote(text)}.")
    if not found:
        raise ValueError(f"{files.quote(text)} holds no files to read. A pattern such as 'folder/*.bin' takes any.")
    return found, root


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "~")) for part in path.parts)


def axis_of_csv(graph: Graph, path: Path) -> Axis:
    """A table whose first line names inputs ("Load Sketch.image"); a column "name" names the items. Files are looked
    for beside the table.

    ValueError: no such input or file, an empty table, a row of another length, a value that does not fit."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as table:
            rows = list(csv.reader(table))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"The table {files.quote(path)} cannot be read: {error}.") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise ValueError(f"The table {files.quote(path)} holds no rows below its first line.")
    heads = [head.strip() for head in rows[0]]
    targets = [None if head.lower() == "name" else graph.find(head) for head in heads]
    labels, values = [], []
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(heads):
            raise ValueError(f"Row {number} of {files.quote(path)} has {len(row)} cells, its first line {len(heads)}.")
        cells = list(zip(targets, row, strict=True))
        given = [_cell(target, cell, path, number) for target, cell in cells if target is not None]
        names = [cell.strip() for target, cell in cells if target is None]
        labels.append(files.check_name(names[0], "result") if names and names[0] else _row_name(given, number))
        values.append(tuple(given))
    if bad := next((label for label in labels if label.startswith("/") or ".." in label.split("/")), None):
        raise ValueError(f"The name {files.quote(bad)} leads out of the output folder. Choose another.")
    return Axis(labels, values)


def _cell(target: Target, cell: str, path: Path, number: int) -> tuple[Target, Any]:
    if not target.takes_files:
        try:
            return target, parse(target, cell)
        except ValueError as error:
            raise ValueError(f"Row {number} of {files.quote(path)}: {error}") from None
    file = path.parent / Path(cell.strip()).expanduser()
    if not file.is_file():
        raise ValueError(f"Row {number} of {files.quote(path)}: there is no file {files.quote(file)}.")
    return target, file


def _row_name(given: list[tuple[Target, Any]], number: int) -> str:
    return "__".join([f"{number:05d}", *(value.stem for _, value in given if isinstance(value, Path))])


def seed_of(graph: Graph, setting: str) -> Seed:
    """--seed "KSampler.seed" or "KSampler.seed=100". ValueError: no such input, or no whole number."""
    wanted, _, base = setting.partition("=")
    target = graph.find(wanted)
    if target.kind != "INT":
        raise ValueError(f"{target.label} takes no whole number, so it is no seed.")
    return Seed(target, int(parse(target, base)) if base.strip() else 0)


def settle(axes: Sequence[Axis]) -> tuple[list[Axis], tuple[tuple[Target, Any], ...]]:
    """Those that vary, and the values of those that have one choice without a name."""
    fixed = tuple(value for axis in axes if tuple(axis.labels) == ("",) for value in axis.values[0])
    return [axis for axis in axes if tuple(axis.labels) != ("",)], fixed


def check_once(targets: Sequence[Target]) -> None:
    """ValueError: an input is set twice."""
    seen: set[tuple[str, str]] = set()
    for target in targets:
        if (target.node, target.name) in seen:
            raise ValueError(f"{target.label} is set twice.")
        seen.add((target.node, target.name))
