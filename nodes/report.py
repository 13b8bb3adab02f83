"""Doors to reports: labelled contact sheets, and how faithful and how real each result is."""

from __future__ import annotations

import json

from comfy_api.latest import io
from torch import Tensor

from .. import host
from .parts.pictures import cell_input, to_image, to_pil

RANKINGS = ("both", "faithfulness", "realism")
LABELS_TIP = (
    "One label for each list entry, as SketchT0Sweep gives them, or one for each picture. A single text counts as one "
    "label a line. "
)


class SketchContactSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchContactSheet",
            display_name="Contact Sheet",
            category="sketch/report",
            description="All pictures on one sheet with their labels, each whole and in its own shape. Takes lists, so "
            "everything that a t0 sweep made arrives together.",
            search_aliases=["SDEdit", "contact sheet", "grid", "image grid", "xy plot", "compare", "collage"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Any number of pictures: lists, batches, mixed sizes."),
                io.Int.Input(
                    "columns",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="Pictures in a row, 1 to 100. 0: one row for each list entry where entries are batches, "
                    "otherwise a sheet about as wide as high.",
                ),
                cell_input(" Small ones are enlarged."),
                io.String.Input("labels", optional=True, force_input=True, tooltip=LABELS_TIP + "Empty: no labels."),
            ],
            outputs=[io.Image.Output("sheet", display_name="sheet", tooltip="One picture with everything on it.")],
        )

    @classmethod
    def execute(
        cls, images: list[Tensor], columns: list[int], cell: list[int], labels: list[str] | None = None
    ) -> io.NodeOutput:
        from ..pictures import report  # imported lazily, here and below: most sessions make no report

        sheet = report.sheet([to_pil(batch) for batch in images], labels, columns[0], cell[0])
        return io.NodeOutput(to_image(sheet))


class SketchFaithfulnessReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchFaithfulnessReport",
            display_name="Faithfulness Report",
            category="sketch/report",
            description="How far each result is from its guide and, where real pictures are given, how real it looks: "
            "numbers, a plot, and the results ranked, best first. No network is used.",
            search_aliases=["SDEdit", "faithfulness", "realism", "L2", "metrics", "rank images", "compare"],
            is_input_list=True,
            inputs=[
                io.Image.Input("results", tooltip="The pictures to judge, all of one size: lists and batches."),
                io.Image.Input(
                    "guide",
                    tooltip="What they were made from: one for all, or one each. Cut and scaled to their size.",
                ),
                io.Combo.Input(
                    "rank_by",
                    options=list(RANKINGS),
                    tooltip="What best means. faithfulness: nearest to the guide. realism: most like the references. "
                    "both: the sum of the two places. Without references it is always faithfulness.",
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="Real pictures of the same kind, 4 or more, better 20. Realism is measured against them.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="The edited region (1 = edited): faithfulness then counts inside it only, and the report "
                    "says how many pixels changed where the mask is 0.",
                ),
                io.String.Input(
                    "labels", optional=True, force_input=True, tooltip=LABELS_TIP + "Empty: numbered from 1."
                ),
            ],
            outputs=[
                io.Image.Output("ranked", display_name="ranked", tooltip="The results, best first."),
                io.Image.Output(
                    "plot",
                    display_name="plot",
                    tooltip="Distances in the order given (mean of each label) and, with references, the trade-off.",
                ),
                io.String.Output("table", display_name="table", tooltip="One line for each result, as markdown."),
                io.String.Output("numbers", display_name="numbers", tooltip="The same as JSON, in the order given."),
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
        from ..pictures import report

        found = report.report(results, guide, rank_by[0], references, mask, labels)
        numbers = json.dumps(found.rows, indent=1)
        return io.NodeOutput(
            found.ranked, to_image(found.plot), found.table, numbers, ui=host.text_on_node(cls, found.table)
        )


NODES = [SketchContactSheet, SketchFaithfulnessReport]
