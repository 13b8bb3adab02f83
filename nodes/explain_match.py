"""Why a photo matches a sketch, as pictures."""

from __future__ import annotations

import torch
from comfy_api.latest import io
from torch import Tensor

from ..pictures.fit import as_rgb, pair_batches
from ..pipelines.retrieval.retriever import INVERT, Retriever, squared
from .parts.pictures import to_image, to_pil
from .parts.retrieval import INVERT_INPUT, PAPER, SKETCH_TIP, load
from .parts.sockets import RetrieverSocket

PATCHES = {"where the sketch has ink": False, "everywhere": True}


class SketchExplainMatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchExplainMatch",
            display_name="Explain Match",
            category="sketch/retrieval",
            description="Shows why a photo matches a sketch: lines between patches that belong together, the sketch "
            "rebuilt from patches of the photo, and where the retrieval token looks.",
            search_aliases=[*PAPER, "correspondence", "attention map", "explainable", "patch matching", "why"],
            inputs=[
                io.Image.Input("sketch", tooltip=SKETCH_TIP + "One for all photos, or one per photo."),
                io.Image.Input("photo", tooltip="The photo to compare it with, such as one that was found."),
                RetrieverSocket.Input(
                    "retriever", tooltip="From Load Sketch Retriever, with a ZSE-SBIR network in it."
                ),
                io.Int.Input(
                    "lines",
                    default=24,
                    min=1,
                    max=400,
                    tooltip="How many of the strongest correspondences are drawn, 1 to 400, at most one per patch of "
                    "the sketch.",
                ),
                io.Combo.Input(
                    "patches",
                    options=list(PATCHES),
                    tooltip="Which patches of the sketch are replaced by patches of the photo: those with lines in "
                    "them, or the paper too.",
                ),
                io.Int.Input(
                    "head",
                    default=0,
                    min=-1,
                    max=64,
                    advanced=True,
                    tooltip="Whose attention the masks show: 0: every head's, one mask each. 1 to 64: that head's. -1: "
                    "the mean of all.",
                ),
                INVERT_INPUT,
            ],
            outputs=[
                io.Image.Output(
                    "lines",
                    display_name="lines",
                    tooltip="Sketch and photo side by side; red lines join the most similar patches, blue ones the "
                    "least similar of those drawn.",
                ),
                io.Image.Output(
                    "rebuilt",
                    display_name="rebuilt",
                    tooltip="The sketch, each patch replaced by the most similar patch of the photo.",
                ),
                io.Image.Output(
                    "attention",
                    display_name="attention",
                    tooltip="A sheet: where each head of the retrieval token looks in the sketch and in the photo.",
                ),
                io.Mask.Output(
                    "sketch_masks",
                    display_name="sketch masks",
                    tooltip="That attention in the sketch, cropped as the network sees it, 0 to 1, one mask per head.",
                ),
                io.Mask.Output(
                    "photo_masks",
                    display_name="photo masks",
                    tooltip="That attention in the photo, at the photo's size, 0 to 1, one mask per head.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        sketch: Tensor,
        photo: Tensor,
        retriever: Retriever,
        lines: int,
        patches: str,
        head: int = 0,
        invert: str = INVERT[0],
    ) -> io.NodeOutput:
        from ..pipelines.retrieval import explain  # imported lazily: most sessions explain nothing

        as_rgb(sketch, "sketch")
        photo = as_rgb(photo, "photo")
        network = retriever.sketch_network
        alone = Retriever((network,))
        batch = max(len(sketch), len(photo))
        sketch, photo = pair_batches(sketch, batch, "sketch", "photo"), pair_batches(photo, batch, "photo", "sketch")
        drawn = list(sketch)
        seen, squares = alone.sketches(drawn, invert)[0], squared(drawn, explain.SHOWN, invert)
        device = load(alone)
        shown = [
            explain.explain(network.network, device, mine, square, theirs, lines, PATCHES[patches], head)
            for mine, square, theirs in zip(seen, squares, to_pil(photo), strict=True)
        ]
        joined, rebuilt, attention, mine, theirs = zip(*shown, strict=True)
        pictures = [torch.cat([to_image(one) for one in kind]) for kind in (joined, rebuilt, attention)]
        return io.NodeOutput(*pictures, torch.cat(mine), torch.cat(theirs))


NODES = [SketchExplainMatch]
