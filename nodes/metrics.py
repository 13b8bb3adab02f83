"""How like real pictures a set of results is: FID, KID and LPIPS, of IMAGEs or of whole folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.drawings import files_in, raster
from .extractors import FeaturesSocket, comparing, load_features, usable
from .parts.folders import ITSELF, are_there, input_folder, state_of
from .parts.model_files import STARTER

if TYPE_CHECKING:
    from ..pictures import sets as image_sets

NO_FOLDER = "the connected images"
RESIZES = {"as published": False, "smoothed": True}
LIMIT = 4000  # results, and twice as many references, as the sketch GAN's release takes


class SketchImageMetrics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        folders = [NO_FOLDER, *folder_paths.get_input_subfolders(), ITSELF]
        folder_tip = "A folder inside ComfyUI's input folder instead, for many {}: read one by one, of any sizes."
        return io.Schema(
            node_id="SketchImageMetrics",
            display_name="Image Metrics",
            category="sketch/report",
            description="How near a set of results is to a set of real pictures (FID, KID), and each result to its "
            "partner (LPIPS). The built-in network needs no download; for FID proper load the InceptionV3 it is "
            "defined by.",
            search_aliases=["FID", "KID", "LPIPS", "Frechet", "Inception distance", "evaluation", "sketch GAN"],
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "results", optional=True, tooltip="The pictures to judge, 2 or more: lists, batches, mixed sizes."
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="Real pictures of the same kind, 2 or more. As many as results: LPIPS pairs them.",
                ),
                io.Combo.Input("results_folder", options=folders, tooltip=folder_tip.format("results")),
                io.Combo.Input("references_folder", options=folders, tooltip=folder_tip.format("references")),
                io.Int.Input(
                    "limit",
                    default=LIMIT,
                    min=2,
                    max=100_000,
                    tooltip="At most so many results, the first ones, and twice as many references; 2 to 100000. The "
                    "published protocol has 4000 and 8000.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=2048,
                    step=8,
                    tooltip="All pictures are first brought to this shorter side, 8 to 2048 pixels, so that sets of "
                    "two sizes are compared alike. 0: at once to what the network sees, as published.",
                ),
                io.Combo.Input(
                    "resize",
                    options=list(RESIZES),
                    advanced=True,
                    tooltip="How InceptionV3 gets its 299 x 299. as published: without smoothing, which FIDs of papers "
                    "have. smoothed: large pictures are reduced properly; compare with none of those.",
                ),
                FeaturesSocket.Input(
                    "features",
                    optional=True,
                    tooltip="What FID and KID are measured in, from Load Sketch Features. Left open: the built-in "
                    "network, which knows landscapes. InceptionV3 of FID: pt_inception-2015-12-05.",
                ),
                FeaturesSocket.Input(
                    "perceptual",
                    optional=True,
                    tooltip="What LPIPS is measured in, from Load Sketch Features: an LPIPS file, or a VGG. Left open: "
                    "the built-in network.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "fid", display_name="fid", tooltip="Frechet distance of the two sets, 0 or more; 0 is the same set."
                ),
                io.Float.Output(
                    "kid", display_name="kid", tooltip="Kernel distance of the two sets; about 0 for sets of one world."
                ),
                io.Float.Output(
                    "lpips",
                    display_name="lpips",
                    tooltip="Mean distance of the pairs, 0 is equal. Sets of as many are paired in order; two folders "
                    "only if their files have the same names. Not a number (nan) without pairs.",
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="All of it with its conditions, as markdown."
                ),
                io.String.Output(
                    "numbers", display_name="numbers", tooltip="The same as JSON, LPIPS of each pair too."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, results_folder: list[str | None], references_folder: list[str | None]) -> bool | str:
        return are_there(*(name for name in (*results_folder, *references_folder) if name != NO_FOLDER))

    @classmethod
    def fingerprint_inputs(cls, results_folder: list[str | None], references_folder: list[str | None], **_) -> str:
        names = [name for name in (*results_folder, *references_folder) if name not in (None, NO_FOLDER)]
        return state_of(path for name in names for path in files_in(input_folder(name), raster.EXTENSIONS))

    @classmethod
    def execute(
        cls,
        results_folder: list[str],
        references_folder: list[str],
        limit: list[int],
        size: list[int],
        resize: list[str],
        results: list[Tensor] | None = None,
        references: list[Tensor] | None = None,
        features: list[Any] | None = None,
        perceptual: list[Any] | None = None,
    ) -> io.NodeOutput:
        from ..pictures import comparison

        mine = chosen("results", results, results_folder[0], limit[0])
        theirs = chosen("references", references, references_folder[0], 2 * limit[0])
        seen = usable(features[0] if features else load_features(STARTER))
        host.make_room(seen.network.patcher.load_device, comparison.memory_needed())
        found = comparison.compare(
            mine,
            theirs,
            seen,
            comparing(perceptual[0] if perceptual else load_features(STARTER)),
            Path(folder_paths.get_system_user_directory("sketchsynth")) / "metrics",
            size=size[0],
            smooth=RESIZES[resize[0]],
            progress=ProgressBar(comparison.work(mine, theirs)).update,  # Cancel takes effect at its updates
        )
        numbers = json.dumps(found.numbers(), indent=1)
        return io.NodeOutput(
            found.fid, found.kid, found.lpips, found.report, numbers, ui=host.text_on_node(cls, found.report)
        )


def chosen(what: str, images: list[Tensor] | None, folder: str, limit: int) -> image_sets.Pictures:
    """The set behind a socket or a folder. ValueError: neither of them, or both."""
    from ..pictures import sets as image_sets  # imported lazily, as above: most sessions measure nothing

    if folder == NO_FOLDER:
        if images is None:
            raise ValueError(f"There are no {what}: connect images, or choose a folder of them.")
        return image_sets.Connected(images, limit)
    if images is not None:
        raise ValueError(f"Got {what} twice: as images and as the folder '{folder}'. Remove one of them.")
    return image_sets.Folder(input_folder(folder), limit)


NODES = [SketchImageMetrics]
