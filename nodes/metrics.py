"""How close a set of results is to real pictures: FID, KID and LPIPS, of IMAGEs or of whole folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..networks.frozen import gradients
from ..pictures.drawings import files_in, raster
from ..pictures.features import Domain, Features
from .extractors import FeaturesSocket, comparing, load_features, usable
from .parts.folders import ITSELF, are_there, input_folder, state_of
from .parts.model_files import STARTER

if TYPE_CHECKING:
    from ..pictures import sets as image_sets

NO_FOLDER = "the connected images"
RESIZES = {"as published": False, "smoothed": True}
LIMIT = 4000  # results; twice as many references, as in the sketch GAN's released code
BYTES_A_PIXEL = 2000  # activations per pixel of the pictures in one network call


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
            description="How close a set of results is to a set of real pictures (FID, KID), and each result to its "
            "partner (LPIPS). The built-in network needs no download; for standard FID load the InceptionV3 that "
            "defines it.",
            search_aliases=["FID", "KID", "LPIPS", "Frechet", "Inception distance", "evaluation", "sketch GAN"],
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
                    tooltip="All three numbers and how they were measured, as Markdown.",
                ),
                io.String.Output(
                    "numbers", display_name="numbers", tooltip="The same as JSON, with the LPIPS of each pair."
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
        found = compare(
            chosen("results", results, results_folder[0], limit[0]),
            chosen("references", references, references_folder[0], 2 * limit[0]),
            features[0] if features else load_features(STARTER),
            perceptual[0] if perceptual else load_features(STARTER),
            Path(folder_paths.get_system_user_directory("sketchsynth")) / "metrics",
            size=size[0],
            smooth=RESIZES[resize[0]],
        )
        numbers = json.dumps(found.numbers(), indent=1)
        return io.NodeOutput(
            found.fid, found.kid, found.lpips, found.report, numbers, ui=host.text_on_node(cls, found.report)
        )


def chosen(what: str, images: list[Tensor] | None, folder: str, limit: int) -> image_sets.Pictures:
    """The set of pictures from a socket or a folder. ValueError: neither is given, or both."""
    from ..pictures import sets as image_sets  # imported lazily, as below: most sessions measure nothing

    if folder == NO_FOLDER:
        if images is None:
            raise ValueError(f"There are no {what}. Connect images, or choose a folder.")
        return image_sets.Connected(images, limit)
    if images is not None:
        raise ValueError(
            f"The {what} are given twice: as images and as the folder '{folder}'. Disconnect the images, "
            f"or set the folder to '{NO_FOLDER}'."
        )
    return image_sets.Folder(input_folder(folder), limit)


def compare(
    results: image_sets.Pictures,
    references: image_sets.Pictures,
    features: Features | Domain,
    perceptual: Features | Domain,
    folder: Path,
    *,
    size: int = 0,
    smooth: bool = False,
    paired: bool = True,
) -> image_sets.Found:
    """All three measures. size, smooth: see features.Summary. paired: whether sets that can be paired are, see
    image_sets.why_unpaired.

    What the network saw of a set is kept in `folder` under a hash of the pictures, the network's weights and the
    settings. ValueError: too few pictures, an unsuitable network, or NaN values.
    """
    from ..pictures import metrics
    from ..pictures import sets as image_sets

    for what, pictures in (("results", results), ("references", references)):
        if len(pictures) < 2:
            raise ValueError(
                f"A set to compare needs 2 pictures or more, ideally hundreds; got {len(pictures)} {what}. Connect "
                "more, or choose another folder."
            )
    features, perceptual = usable(features), comparing(perceptual)
    alone = image_sets.why_unpaired(results, references) if paired else "none was asked for"
    progress = ProgressBar(len(results) + len(references) + (0 if alone else len(results)))  # updates hear Cancel
    device = features.network.patcher.load_device
    host.make_room(device, BYTES_A_PIXEL * metrics.AT_ONCE)
    summary, network = features.summary(smooth), image_sets.network_digest(features)

    def seen_in(what: str, pictures: image_sets.Pictures) -> Tensor:
        settings = f"1 {network} {size} {smooth} {features.kind} {features.size} {features.taps}"
        key = hashlib.sha256(f"{settings} {pictures.digest()}".encode()).hexdigest()
        made = []

        def make() -> Tensor:
            made.append(True)
            with gradients():
                found = metrics.vectors(pictures, summary.open(device, size), device, progress.update)
            bad = (~found.isfinite().all(1)).nonzero()
            if len(bad):
                raise ValueError(
                    f"Picture {int(bad[0]) + 1} of the {what} contains NaN or infinite values. Remove it, or fix what "
                    "made it."
                )
            return found

        found = metrics.kept(folder, key, make)
        if not made:
            progress.update(len(pictures))
        return found

    mine, theirs = seen_in("results", results), seen_in("references", references)
    each: list[float] = []
    if not alone:
        look = perceptual.perceptual().open(perceptual.network.patcher.load_device)
        pairs = zip(results, references, strict=False)  # the limit leaves more references
        each = metrics.pair_distances(pairs, look, perceptual.network.patcher.load_device, progress.update).tolist()
    fid, kid = metrics.frechet(mine, theirs), metrics.kernel_distance(mine, theirs)
    found = image_sets.Found(fid, kid.value, kid.spread, each, "")
    return found._replace(report=image_sets.report(found, mine, theirs, features, perceptual, size, smooth, alone))


NODES = [SketchImageMetrics]
