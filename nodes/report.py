"""Looking at results: labelled contact sheets, and how faithful and how realistic each result is."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from .. import host
from ..pictures.fit import fit_image, pair_batches
from ..pictures.painters import simulate_strokes

RANKINGS = ("both", "faithfulness", "realism")
LABELS_TIP = (
    "One label per list entry, as from t0 Sweep, or one per picture. A single text is split into one label per line. "
)


class SketchContactSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchContactSheet",
            display_name="Contact Sheet",
            category="sketch/report",
            description="Puts all pictures on one sheet with their labels, uncropped and at their own aspect ratio. "
            "Takes lists, so all results of a t0 Sweep arrive together.",
            search_aliases=["SDEdit", "contact sheet", "grid", "image grid", "xy plot", "compare", "collage"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Any number of pictures: lists, batches, mixed sizes."),
                io.Int.Input(
                    "columns",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="Pictures per row, 1 to 100. 0: one row per list entry if the entries are batches, "
                    "otherwise a sheet about as wide as it is high.",
                ),
                cell_input(" Smaller ones are enlarged."),
                io.String.Input(
                    "labels", optional=True, force_input=True, tooltip=LABELS_TIP + "Not connected: no labels."
                ),
            ],
            outputs=[io.Image.Output("sheet", display_name="sheet", tooltip="The sheet, one picture.")],
        )

    @classmethod
    def execute(
        cls, images: list[Tensor], columns: list[int], cell: list[int], labels: list[str] | None = None
    ) -> io.NodeOutput:
        from ..pictures import charts  # imported lazily, as below: most sessions make no report

        longest = max(map(len, images))
        in_rows = not columns[0] and len(images) > 1 and longest > 1
        names = iter(name_pictures(images, labels) if labels else [""] * sum(map(len, images)))
        rows = [[(picture, next(names)) for picture in to_pil(batch)] for batch in images]
        beside: list[str] = []
        if in_rows:
            if all(len({name for _, name in row}) == 1 for row in rows):  # one label per entry: left of its row
                beside = [row[0][1] for row in rows]
                rows = [[(picture, "") for picture, _ in row] for row in rows]
            rows = [row + [(None, "")] * (longest - len(row)) for row in rows]
        pictures, words = zip(*chain.from_iterable(rows), strict=True)
        width = longest if in_rows else columns[0]
        return io.NodeOutput(
            to_image(charts.contact_sheet(pictures, words, columns=width, cell=cell[0], row_labels=beside))
        )


class SketchFaithfulnessReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchFaithfulnessReport",
            display_name="Faithfulness Report",
            category="sketch/report",
            description="How far each result is from its guide and, if real pictures are connected, how realistic it "
            "looks: numbers, a plot, and the results ranked, best first. No network is used.",
            search_aliases=["SDEdit", "faithfulness", "realism", "L2", "metrics", "rank images", "compare"],
            is_input_list=True,
            inputs=[
                io.Image.Input("results", tooltip="The pictures to measure, all of one size: lists and batches."),
                io.Image.Input(
                    "guide",
                    tooltip="What the results were made from: one for all, or one per result. Cropped and scaled to "
                    "their size.",
                ),
                io.Combo.Input(
                    "rank_by",
                    options=list(RANKINGS),
                    tooltip="How the results are ranked. faithfulness: closest to the guide. realism: most like the "
                    "references. both: the sum of the two ranks. Without references, always faithfulness.",
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="Real pictures of the same kind, 4 or more, ideally 20. Realism is measured against them.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="The edited region, 0 to 1 (1 = edited). Faithfulness is then measured inside it only, "
                    "and the report counts the pixels that changed where the mask is 0.",
                ),
                io.String.Input(
                    "labels", optional=True, force_input=True, tooltip=LABELS_TIP + "Not connected: numbered from 1."
                ),
            ],
            outputs=[
                io.Image.Output("ranked", display_name="ranked", tooltip="The results, best first."),
                io.Image.Output(
                    "plot",
                    display_name="plot",
                    tooltip="Distances in input order (mean per label) and, with references, realism against "
                    "faithfulness.",
                ),
                io.String.Output("table", display_name="table", tooltip="One line per result, as Markdown."),
                io.String.Output("numbers", display_name="numbers", tooltip="The same as JSON, in input order."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        results: list[Tensor],
        guide: list[Tensor],
        rank_by: list[str],
        references: list[Tensor] | None = None,
        mask: list[Tensor] | None = None,
        labels: list[str] | None = None,
    ) -> io.NodeOutput:
        sizes = sorted({f"{batch.shape[2]}x{batch.shape[1]}" for batch in results})
        if len(sizes) > 1:
            raise ValueError(f"All results must have the same size, got {' and '.join(sizes)}. Resize them first.")
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
        order = rank(numbers, rank_by[0])
        names = name_pictures(results, labels) if labels else [str(i + 1) for i in range(len(pictures))]
        table = describe(numbers, names, order)
        rows = [{"label": name, **_row(numbers, i), "rank": order.index(i) + 1} for i, name in enumerate(names)]
        return io.NodeOutput(
            pictures[order],
            to_image(plot(numbers, names)),
            table,
            json.dumps(rows, indent=1),
            ui=host.text_on_node(cls, table),
        )


def measure(
    pictures: Tensor, guides: Tensor, painted: Tensor, edited: Tensor | None = None, real: Tensor | None = None
) -> dict[str, list[float]]:
    """One list of numbers per measure, one number per picture; smaller is better in all of them. `painted`: the
    repainted guides."""
    from ..pictures import measures

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
    """The pictures' indices, best first. `both` adds the ranks in the two orders; ties go to the more faithful one."""
    faithful = _places(numbers["rms"])
    if by == "faithfulness" or "realism" not in numbers:
        return sorted(range(len(faithful)), key=faithful.__getitem__)
    real = _places(numbers["realism"])
    share = 1 if by == "both" else 0
    return sorted(range(len(real)), key=lambda i: (real[i] + share * faithful[i], faithful[i]))


def describe(numbers: dict[str, list[float]], names: list[str], order: list[int]) -> str:
    """The markdown table, best first."""
    heads = ["place", "picture", *numbers]
    lines = [heads, ["---"] * len(heads)]
    for place, i in enumerate(order, 1):
        cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in _row(numbers, i).values()]
        lines.append([str(place), names[i].replace("|", "/"), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(numbers: dict[str, list[float]], names: list[str]) -> Image.Image:
    """Distances to the guide in input order, averaged per label; next to them, realism against faithfulness."""
    from ..pictures import charts

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


def name_pictures(batches: list[Tensor], labels: list[str]) -> list[str]:
    """One label per picture, from one per list entry or one per picture (see LABELS_TIP)."""
    if len(labels) == 1:
        labels = labels[0].splitlines()
    counts = [len(batch) for batch in batches]
    if len(labels) == len(counts):
        return [label for label, count in zip(labels, counts, strict=True) for _ in range(count)]
    if len(labels) == sum(counts):
        return labels
    raise ValueError(
        f"Got {len(labels)} labels for {len(counts)} list entries with {sum(counts)} pictures in total. Give one "
        "label per entry or one per picture, or none."
    )


def cell_input(more: str = "") -> io.Int.Input:
    tip = f"Longer side of each picture on the sheet, 32 to 2048 pixels.{more}"
    return io.Int.Input("cell", default=256, min=32, max=2048, step=8, tooltip=tip)


def _one_each(guides: list[Tensor], results: list[Tensor], what: str) -> Tensor:
    """Guides paired with results entry by entry if there are as many entries, else over all pictures together."""
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


def to_pil(batch: Tensor) -> list[Image.Image]:
    """[N, H, W, C] in 0 to 1; of 4 channels the first 3 are used, 1 channel becomes grey."""
    colours = batch[..., :3].expand(-1, -1, -1, 3)
    return [Image.fromarray(p) for p in (colours.clamp(0, 1) * 255).round().byte().cpu().numpy()]


def to_image(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).float()[None] / 255


NODES = [SketchContactSheet, SketchFaithfulnessReport]
