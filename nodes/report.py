"""Looking at results: labelled contact sheets, and how faithful and how realistic each result is."""

from __future__ import annotations

import json

from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.fit import all_rgb, as_mask
from .parts import search
from .parts.pictures import cell_input, to_image, to_pil

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
            search_aliases=["SDEdit", "contact sheet", "image grid", "collage", *search.COMPARE],
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
        from ..pictures import report  # imported lazily, here and below: most sessions make no report

        sheet = report.sheet([to_pil(batch) for batch in all_rgb(images, "images")], labels, columns[0], cell[0])
        return io.NodeOutput(to_image(sheet))


class SketchFaithfulnessReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchFaithfulnessReport",
            display_name="Faithfulness Report",
            category="sketch/report",
            description="How far each result is from its guide and, if real pictures are connected, how realistic it "
            "looks: numbers, a plot, and the results ranked, best first. No network is used.",
            search_aliases=[
                "SDEdit",
                "faithfulness",
                "realism",
                "L2",
                "metrics",
                "rank images",
                "best of",
                *search.COMPARE,
            ],
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
        from ..pictures import report

        results, guide = all_rgb(results, "results"), all_rgb(guide, "guide")
        if references is not None:
            references = all_rgb(references, "references")
        if mask is not None:
            mask = [as_mask(batch) for batch in mask]
        found = report.report(results, guide, rank_by[0], references, mask, labels)
        numbers = json.dumps(found.rows, indent=1)
        told = host.text_on_node(cls, found.verdict)
        return io.NodeOutput(found.ranked, to_image(found.plot), found.table, numbers, ui=told)


NODES = [SketchContactSheet, SketchFaithfulnessReport]
