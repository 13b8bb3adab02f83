"""How faithful and how real each of some results is: numbers, a ranking, a table and a plot. No network is used."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import charts, measures
from .fit import fit_image, pair_batches
from .painters import simulate_strokes

FAITHFULNESS, REALISM, BOTH = "faithfulness", "realism", "both"
NAMED = 8  # results that a verdict names


class Report(NamedTuple):
    """ranked: the results [N,H,W,3], best first. table: markdown, best first. rows: one per result, in the order given:
    its label, its numbers and its rank, from 1. verdict: who is best, in words."""

    ranked: Tensor
    plot: Image.Image
    table: str
    rows: list[dict[str, Any]]
    verdict: str


def report(
    results: list[Tensor],
    guide: list[Tensor],
    rank_by: str,
    references: list[Tensor] | None = None,
    mask: list[Tensor] | None = None,
    labels: list[str] | None = None,
) -> Report:
    """All of it for batches of results [B,H,W,C] of one size; the others are cut and scaled to that.

    guide: one for all, one per batch, or one per result. references: real pictures for realism; None: not measured.
    mask: [B,h,w], 1 = edited; faithfulness then counts inside it only. labels: see name_pictures; None: numbered from
    1. ValueError: results of several sizes, batches that do not pair, or too few references.
    """
    sizes = sorted({f"{batch.shape[2]}x{batch.shape[1]}" for batch in results})
    if len(sizes) > 1:
        raise ValueError(f"The results must all have the same size, got {' and '.join(sizes)}. Resize them first.")
    pictures = torch.cat([batch[..., :3] for batch in results]).float()
    size = pictures.shape[1], pictures.shape[2]
    fitted = [fit_image(batch[..., :3], *size).float() for batch in guide]
    guides = _one_each(fitted, results, "guide")
    painted = _one_each([repaint(batch) for batch in fitted], results, "guide")
    edited = None
    if mask is not None:
        edited = _one_each([fit_image(batch[..., None], *size)[..., 0] for batch in mask], results, "mask")
    real = None
    if references is not None:
        real = torch.cat([fit_image(batch[..., :3], *size) for batch in references]).float()
    numbers = measure(pictures, guides, painted, edited, real)
    order = rank(numbers, rank_by)
    names = name_pictures(results, labels) if labels else [str(i + 1) for i in range(len(pictures))]
    rows = [{"label": name, **_row(numbers, i), "rank": order.index(i) + 1} for i, name in enumerate(names)]
    told = verdict(numbers, names, order, rank_by)
    return Report(pictures[order], plot(numbers, names), describe(numbers, names, order), rows, told)


def measure(
    pictures: Tensor, guides: Tensor, painted: Tensor, edited: Tensor | None = None, real: Tensor | None = None
) -> dict[str, list[float]]:
    """One list of numbers per measure, one number per picture; smaller is better in all of them. painted: the
    repainted guides. edited [N,H,W]: where faithfulness counts. real [R,H,W,3]: what realism is measured against."""
    distance = measures.faithfulness(pictures, guides, edited)
    numbers = {
        "L2": distance.l2,
        "rms": distance.rms,
        "repainted": measures.painted_distance(pictures, painted, repaint, edited),
        "palette": measures.palette_distance(pictures, guides),
    }
    if edited is not None:
        changed = ((pictures * 255).round() != (guides * 255).round()).any(-1)
        numbers["changed outside"] = (changed & (edited == 0)).sum((1, 2))
    if real is not None:
        numbers["realism"] = measures.realism(pictures, real)
    return {name: values.tolist() for name, values in numbers.items()}


def repaint(pictures: Tensor) -> Tensor:
    """The stroke simulator's flat shapes, with 32 colours, so that a small change does not reshuffle the palette."""
    return simulate_strokes(pictures, colours=32)


def rank(numbers: dict[str, list[float]], by: str) -> list[int]:
    """The pictures' indices, best first. BOTH adds up the places in both orders; ties go to the more faithful."""
    faithful = _places(numbers["rms"])
    if by == FAITHFULNESS or "realism" not in numbers:
        return sorted(range(len(faithful)), key=faithful.__getitem__)
    real = _places(numbers["realism"])
    share = 1 if by == BOTH else 0
    return sorted(range(len(real)), key=lambda i: (real[i] + share * faithful[i], faithful[i]))


def describe(numbers: dict[str, list[float]], names: list[str], order: list[int]) -> str:
    """The markdown table, best first."""
    heads = ["place", "picture", *numbers]
    lines = [heads, ["---"] * len(heads)]
    for place, i in enumerate(order, 1):
        cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in _row(numbers, i).values()]
        lines.append([str(place), names[i].replace("|", "/"), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def verdict(numbers: dict[str, list[float]], names: list[str], order: list[int], by: str) -> str:
    """The best ones in words, at most NAMED, with the number that decided (for BOTH: both numbers)."""
    means = {"rms": "distance to the guide (rms, 0 = equal)", "realism": "realism score (1 = like a real picture)"}
    deciding = {REALISM: ["realism"], BOTH: ["rms", "realism"]}.get(by, ["rms"])
    deciding = [key for key in deciding if key in numbers] or ["rms"]

    def told(i: int) -> str:
        return f"{names[i]} ({', '.join(f'{numbers[key][i]:.3f}' for key in deciding)})"

    best, *others = [told(i) for i in order[:NAMED]]
    more = len(order) - NAMED
    then = f" Then {', '.join(others)}{f' and {more} more' if more > 0 else ''}." if others else ""
    return f"Best: {best}, by {' and '.join(means[key] for key in deciding)}.{then} All numbers: output table."


def plot(numbers: dict[str, list[float]], names: list[str]) -> Image.Image:
    """Distances to the guide in the order given, as means of each label; beside them realism over faithfulness."""
    labels = list(dict.fromkeys(names))
    means = {
        key: [float(np.mean([v for v, name in zip(values, names, strict=True) if name == label])) for label in labels]
        for key, values in numbers.items()
    }
    lines = {"pixels (rms)": "rms", "both as strokes (rms)": "repainted", "palette": "palette"}
    panels = [
        charts.line_chart(
            [charts.Series(name, list(enumerate(means[key]))) for name, key in lines.items()],
            title="Distance to the guide (0 = equal)",
            x_names=labels,
            y_label="distance, values 0 to 1",
        )
    ]
    if "realism" in numbers:
        points = list(zip(means["rms"], means["realism"], strict=True))
        ends = min(means["rms"]), max(means["rms"])
        panels.append(
            charts.line_chart(
                [
                    charts.Series("results", points, labels=labels if len(labels) <= 30 else [""] * len(labels)),
                    charts.Series("a real picture", [(x, 1.0) for x in ends], dashed=True),
                ],
                title="Faithful to the left, realistic below",
                x_label="distance to the guide (rms)",
                y_label="realism score",
            )
        )
    return charts.side_by_side(panels)


def sheet(batches: list[list[Image.Image]], labels: list[str] | None, columns: int, cell: int) -> Image.Image:
    """A labelled contact sheet; labels: see name_pictures. columns 0: one row per batch if there are several batches
    and not all are single pictures, otherwise about as wide as high. cell: longer side of a picture in pixels."""
    longest = max(map(len, batches))
    in_rows = not columns and len(batches) > 1 and longest > 1
    names = iter(name_pictures(batches, labels) if labels else [""] * sum(map(len, batches)))
    rows: list[list[tuple[Image.Image | None, str]]] = [[(one, next(names)) for one in batch] for batch in batches]
    beside: list[str] = []
    if in_rows:
        if all(len({name for _, name in row}) == 1 for row in rows):  # one label per batch: it goes left of the row
            beside = [row[0][1] for row in rows]
            rows = [[(picture, "") for picture, _ in row] for row in rows]
        rows = [row + [(None, "")] * (longest - len(row)) for row in rows]
    pictures, words = zip(*chain.from_iterable(rows), strict=True)
    width = longest if in_rows else columns
    return charts.contact_sheet(pictures, words, columns=width, cell=cell, row_labels=beside)


def name_pictures(batches: Sequence[Tensor | list[Image.Image]], labels: list[str]) -> list[str]:
    """One label per picture, from one per batch or one per picture; a single text counts as one label per line.

    ValueError: any other number of labels.
    """
    if len(labels) == 1:
        labels = labels[0].splitlines()
    counts = [len(batch) for batch in batches]
    if len(labels) == len(counts):
        return [label for label, count in zip(labels, counts, strict=True) for _ in range(count)]
    if len(labels) == sum(counts):
        return labels
    raise ValueError(
        f"Got {len(labels)} labels for {len(counts)} list entries with {sum(counts)} pictures in all. "
        "Give one label for each entry or one for each picture, or none."
    )


def _one_each(guides: list[Tensor], results: list[Tensor], what: str) -> Tensor:
    """Guides paired with results batch by batch if there are equally many, otherwise over all pictures together."""
    if len(guides) == len(results):
        return torch.cat([pair_batches(g, len(r), what, "results") for g, r in zip(guides, results, strict=True)])
    if len(guides) == 1 and len({len(batch) for batch in results}) == 1:
        return torch.cat([pair_batches(guides[0], len(batch), what, "results") for batch in results])
    return pair_batches(torch.cat(guides), sum(map(len, results)), what, "results")


def _places(values: list[float]) -> list[int]:
    order = sorted(range(len(values)), key=values.__getitem__)
    return [order.index(i) for i in range(len(values))]


def _row(numbers: dict[str, list[float]], i: int) -> dict[str, Any]:
    return {name: values[i] for name, values in numbers.items()}
