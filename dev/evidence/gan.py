"""The sketch GAN's claim on the starter world, a part of `python3 dev/run.py evidence`.

One pass from a sketch and a style to a picture: its quality and its time beside the draft alone, SDEdit and
Inversion-by-Inversion, on the pairs that Inversion-by-Inversion is judged on. Each method works at its own size; all
are measured at one.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from evidence import inversion
from evidence.inversion import EXEMPLARS, FIRST, SIDE, rendered
from evidence.page import Page, Store, weights_of
from runtime import inprocess, machine
from runtime.provision import say

PAINTED = 25  # pictures at once
TIMED = 9  # rounds, each with one picture of every way
DECIDES = (
    *("host.py", "nodes/sketchgan.py", "networks/sketchgan/*.py", "pictures/fit.py", "pipelines/sketchgan.py"),
    *("starter/world.py", "starter/noise.py", "starter/weights/gan.safetensors"),
)
SDEDIT, INVERSION = "SDEdit from the sketch", "Inversion-by-Inversion"
DRAFT, WHOLE, BATCH = "draft alone", "whole GAN, running statistics", "whole GAN, batch statistics"
OTHERS = (DRAFT, SDEDIT, INVERSION)


class Row(NamedTuple):
    """One way, judged over all pairs; milliseconds of one picture, not a number for what no way made."""

    contours: float
    palette: float
    distance: float
    milliseconds: float = math.nan


HEADS = ("contours", "palette distance", "distance to renders", "milliseconds per image")


class Gan:
    """The built-in sketch GAN behind its nodes, on sketches and exemplars of its own size."""

    def __init__(self, count: int) -> None:
        self.doors, self.pictures = inprocess.room("nodes.sketchgan"), inprocess.room("pipelines.sketchgan")
        self.gan, self.size = self.doors.SketchGANLoader.execute(self.doors.STARTER).args
        self.sketches = rendered(FIRST, "sketch", count, self.size)
        self.exemplars = rendered(FIRST + EXEMPLARS, "image", count, self.size)

    def paint(self, a: int, b: int, refine: bool, statistics: str, seed: int | None = None) -> Any:
        """Sketch GAN Style and Sketch GAN Decode. seed: None: of its own pairs."""
        (style,) = self.doors.SketchGANStyle.execute(self.gan, self.exemplars[a:b], self.pictures.EACH).args
        settings = (refine, FIRST + a if seed is None else seed, statistics, self.pictures.STRETCHED)
        return self.doors.SketchGANDecode.execute(self.gan, self.sketches[a:b], style, *settings).args[0]

    def ways(self) -> dict[str, Callable[[int, int], Any]]:
        return {
            DRAFT: lambda a, b: self.paint(a, b, False, self.pictures.RUNNING),
            WHOLE: lambda a, b: self.paint(a, b, True, self.pictures.RUNNING),
            BATCH: lambda a, b: self.paint(a, b, True, self.pictures.BATCH),
        }


def milliseconds(ways: Mapping[str, Callable[[int, int], Any]], rounds: int) -> dict[str, float]:
    """Medians of one picture at a time, the ways in turns that change round by round; one more round warms up."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for i in range(rounds + 1):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            ways[name](max(0, i - 1), max(0, i - 1) + 1).sum().item()  # .item() waits for a GPU
            if i > 0:
                found[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in found.items()}


def weights_line(network: Any) -> str:
    notes, _, short = weights_of(inprocess.room("nodes.sketchgan").STARTER_GAN)
    spent = [json.loads(notes[name])["minutes"] for name in ("autoencoder", "gan") if name in notes]
    size = sum(value.numel() for value in network.parameters())
    trained = " and ".join(f"{minutes:.0f}" for minutes in spent) or "an unknown number of"
    return (
        f"The built-in sketch GAN: {size / 1e6:.1f}M parameters, width {network.width}, {network.size} px, {trained} "
        f"minutes of training on {notes.get('machine', 'an unknown machine')}, sha256 {short}..."
    )


def pairs(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """The table: every way over `count` pairs of a sketch and an exemplar, measured against `samples` renders."""
    import torch

    scale = inprocess.room("pictures.fit").scale_image
    store, theirs = Store("evidence_gan", (count, PAINTED), DECIDES), inversion.kept(count)
    if fresh:
        store.forget()
    held = inversion.held_out(count, samples)
    gan, prior = Gan(count), inversion.Ways(lab, held.sketches, held.exemplars)
    painted = {name: store.get(name, count, make, PAINTED) for name, make in gan.ways().items()}
    painted |= {SDEDIT: theirs.get("sdedit", count, prior.sdedit)}
    painted |= {INVERSION: theirs.get("whole", count, prior.two_stages)}
    say("  timing and measuring")
    spent = milliseconds({**gan.ways(), SDEDIT: prior.sdedit, INVERSION: prior.two_stages}, min(TIMED, count))

    def judge(pictures: Any, milliseconds: float = math.nan) -> Row:
        found = held.judge(scale(pictures, SIDE, SIDE))
        return Row(found.contours, found.palette, found.distance, milliseconds)

    rows = {name: judge(pictures, spent[name]) for name, pictures in painted.items()}
    bounds = {
        "(the sketches' own scenes)": judge(held.own),
        f"(the same, reduced from {gan.size} px)": judge(rendered(FIRST, "image", count, gan.size)),
        "(the exemplars themselves)": judge(held.exemplars),
    }
    page.numbers |= {name: row._asdict() for name, row in rows.items()}
    page.text(
        "## Sketch GAN: a sketch and a style in one pass",
        weights_line(gan.gan.network),
        f"The {count} pairs of the Inversion-by-Inversion section above; Inversion-by-Inversion here is the whole "
        f"method with the settings given there. The sketch GAN sees sketch and exemplar at its own {gan.size} px, the "
        f"others at {SIDE}; all results are measured at {SIDE} px (the last rows show the effect of downscaling "
        "alone). Contours: how well brightness gradients tell the sketch's lines from its paper (0.5 is chance); "
        "higher is better. Palette distance: to the exemplar. Distance to renders as above. Batch statistics: over "
        f"{min(PAINTED, count)} pictures painted at once. Milliseconds: from sketch and exemplar to picture, one at a "
        f"time, medians of {min(TIMED, count)} interleaved rounds with {torch.get_num_threads()} threads, on "
        f"{machine.describe()}.",
    )
    page.table(["", *HEADS], [[name, *_cells(row)] for name, row in {**rows, **bounds}.items()])
    page.text(*(_sentence(rows, i, head) for i, head in enumerate(HEADS)), _statistics(rows), _time(rows))
    shown = min(8, count)
    listed = [held.sketches, held.exemplars, *painted.values()]
    pictures = [picture for part in listed for picture in part[:shown]]
    page.sheet("gan_examples", pictures, columns=shown, rows=["sketch", "exemplar", *painted])


def _cells(row: Row) -> list[Any]:
    *measures, spent = row
    return [*measures, "" if math.isnan(spent) else f"{spent:.0f}"]


def _better(one: Row, other: Row, i: int) -> bool:
    """In the i-th of HEADS; only of the first one more is better."""
    return one[i] > other[i] if i == 0 else one[i] < other[i]


def _sentence(rows: dict[str, Row], i: int, head: str) -> str:
    """What the whole GAN beats in this column, and what beats it."""
    beaten = [name for name in OTHERS if _better(rows[WHOLE], rows[name], i)]
    better = [name for name in OTHERS if _better(rows[name], rows[WHOLE], i)]
    said = [f"{verb} {', '.join(names)}" for verb, names in (("beats", beaten), ("loses to", better)) if names]
    return f"{head}: the whole GAN (running statistics) {' and '.join(said)}."


def _statistics(rows: dict[str, Row]) -> str:
    better = [head for i, head in enumerate(HEADS[:3]) if _better(rows[BATCH], rows[WHOLE], i)]
    return f"Batch statistics, as published, are better than running statistics in {', '.join(better) or 'no column'}."


def _time(rows: dict[str, Row]) -> str:
    times = [f"{rows[name].milliseconds / rows[WHOLE].milliseconds:.1f} times for {name}" for name in OTHERS]
    return f"Time per picture relative to the whole GAN: {', '.join(times)}."
