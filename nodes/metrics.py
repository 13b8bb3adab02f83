"""How close a set of results is to real pictures: FID, KID, LPIPS and more, of IMAGEs or of whole folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.drawings import files_in, raster
from ..pictures.fit import all_rgb
from .extractors import comparing, load_features, usable
from .parts.folders import ITSELF, are_there, input_folder, state_of
from .parts.model_files import STARTER
from .parts.sockets import FeaturesSocket

if TYPE_CHECKING:
    from ..pictures import sets as image_sets

NO_FOLDER = "the connected images"
RESIZES = {"as published": False, "smoothed": True}
LOGITS = {"as published": False, "with the bias": True}
LIMIT = 4000  # results; twice as many references, as in the sketch GAN's released code


class SketchImageMetrics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        folders = [NO_FOLDER, *folder_paths.get_input_subfolders(), ITSELF]
        folder_tip = (
            "Instead of connected images: a folder inside ComfyUI's input folder, for many {}. Files are "
            "read one by one and may differ in size."
        )
        return io.Schema(
            node_id="SketchImageMetrics",
            display_name="Image Metrics",
            category="sketch/report",
            description="How close a set of results is to a set of real pictures (FID, KID, precision, recall), and "
            "each result to its partner (LPIPS). The built-in network needs no download; for standard FID load the "
            "InceptionV3 that defines it, which also gives sFID and the Inception score.",
            search_aliases=[
                *("FID", "KID", "LPIPS", "Frechet", "Inception distance", "evaluation", "sketch GAN"),
                *("Inception score", "sFID", "precision", "recall", "DiffSketching"),
            ],
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "results", optional=True, tooltip="The pictures to measure, 2 or more: lists, batches, mixed sizes."
                ),
                io.Image.Input(
                    "references",
                    optional=True,
                    tooltip="Real pictures of the same kind, 2 or more. If there are as many as results, LPIPS "
                    "compares them in pairs.",
                ),
                io.Combo.Input("results_folder", options=folders, tooltip=folder_tip.format("results")),
                io.Combo.Input("references_folder", options=folders, tooltip=folder_tip.format("references")),
                io.Int.Input(
                    "limit",
                    default=LIMIT,
                    min=2,
                    max=100_000,
                    tooltip="Use at most this many results (the first ones) and twice as many references, 2 to "
                    "100000. The published protocol uses 4000 and 8000.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=2048,
                    step=8,
                    tooltip="Resizes all pictures to this shorter side first, 8 to 2048 pixels, so that sets of "
                    "different sizes are treated alike. 0: resizes directly to the network's input size, as published.",
                ),
                io.Combo.Input(
                    "resize",
                    options=list(RESIZES),
                    advanced=True,
                    tooltip="How pictures are resized to InceptionV3's 299 x 299. as published: without antialiasing, "
                    "as in the FIDs of papers. smoothed: with antialiasing; not comparable with those.",
                ),
                FeaturesSocket.Input(
                    "features",
                    optional=True,
                    tooltip="The network for FID and KID, from Load Sketch Features. If not connected: the built-in "
                    "network, which knows landscapes. The InceptionV3 of FID is pt_inception-2015-12-05.",
                ),
                FeaturesSocket.Input(
                    "perceptual",
                    optional=True,
                    tooltip="The network for LPIPS, from Load Sketch Features: an LPIPS file or a VGG. If not "
                    "connected: the built-in network.",
                ),
                io.Int.Input(
                    "neighbours",
                    default=3,
                    min=1,
                    max=100,
                    optional=True,
                    advanced=True,
                    tooltip="Which nearest neighbour sets the size of a picture's ball in precision and recall, 1 to "
                    "100. Published: 3.",
                ),
                io.Combo.Input(
                    "logits",
                    options=list(LOGITS),
                    optional=True,
                    advanced=True,
                    tooltip="What the Inception score is computed from. as published: the last layer without its bias, "
                    "as in TensorFlow's graph. Needs an InceptionV3 file with its classes.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "fid",
                    display_name="fid",
                    tooltip="Frechet distance between the two sets, 0 or more; 0 for identical sets.",
                ),
                io.Float.Output(
                    "kid",
                    display_name="kid",
                    tooltip="Kernel distance between the two sets; about 0 (slightly "
                    "negative too) for sets from the same distribution.",
                ),
                io.Float.Output(
                    "lpips",
                    display_name="lpips",
                    tooltip="Mean distance over the pairs, 0 if equal. Sets of the same length are paired in order, "
                    "two folders only if their file names match. NaN if there are no pairs.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="All numbers and how they were measured, as Markdown.",
                ),
                io.String.Output(
                    "numbers", display_name="numbers", tooltip="The same as JSON, with the LPIPS of each pair."
                ),
                io.Float.Output(
                    "inception_score",
                    display_name="inception score",
                    tooltip="How distinct and how varied the results' classes are, 1 or more; NaN without InceptionV3.",
                ),
                io.Float.Output(
                    "sfid",
                    display_name="sfid",
                    tooltip="Frechet distance of spatial features, 0 or more; NaN without InceptionV3.",
                ),
                io.Float.Output(
                    "precision",
                    display_name="precision",
                    tooltip="Share of the results that look like a reference, 0 to 1; NaN for sets of so few pictures.",
                ),
                io.Float.Output(
                    "recall",
                    display_name="recall",
                    tooltip="Share of the references that some result looks like, 0 to 1; NaN for sets of so few "
                    "pictures.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls, results_folder: Sequence[str | None] = (), references_folder: Sequence[str | None] = ()
    ) -> bool | str:
        return are_there(*(name for name in (*results_folder, *references_folder) if name != NO_FOLDER))

    @classmethod
    def fingerprint_inputs(
        cls, results_folder: Sequence[str | None] = (), references_folder: Sequence[str | None] = (), **_
    ) -> str:
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
        neighbours: list[int] | None = None,
        logits: list[str] | None = None,
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
            neighbours=(neighbours or [3])[0],
            with_bias=LOGITS[(logits or list(LOGITS))[0]],
            progress=ProgressBar(comparison.work(mine, theirs)).update,  # Cancel takes effect at its updates
        )
        numbers = json.dumps(found.numbers(), indent=1)
        return io.NodeOutput(
            *(found.fid, found.kid, found.lpips, found.report, numbers),
            *(found.inception, found.sfid, found.precision, found.recall),
            ui=host.text_on_node(cls, found.report),
        )


def chosen(what: str, images: list[Tensor] | None, folder: str, limit: int) -> image_sets.Pictures:
    """The set of pictures from a socket or a folder. ValueError: neither is given, or both."""
    from ..pictures import sets as image_sets  # imported lazily, as below: most sessions measure nothing

    if folder == NO_FOLDER:
        if images is None:
            raise ValueError(f"There are no {what}. Connect images, or choose a folder.")
        return image_sets.Connected(all_rgb(images, f"the {what}"), limit)
    if images is not None:
        raise ValueError(f"Got {what} twice: as images and as the folder '{folder}'. Remove one of them.")
    return image_sets.Folder(input_folder(folder), limit)


NODES = [SketchImageMetrics]
