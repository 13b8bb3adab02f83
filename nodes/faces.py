"""Faces cut out as networks of faces want them, and put back into the photo."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.faces import cut_square, put_square
from ..pictures.fit import as_rgb, pair_batches
from .parts.checks import check_numbers
from .parts.landmarks import squares

LandmarksSocket = io.Custom("FACE_LANDMARKS")  # the host's own, of Detect Face Landmarks (MediaPipe)
WORDS = ("FFHQ", "face alignment", "crop face", "Paint2pix", "StyleGAN2")


def _face_inputs() -> list[io.Input]:
    return [
        io.Image.Input("image", tooltip="The photo with the face. A batch: one face of each picture."),
        LandmarksSocket.Input(
            "face_landmarks",
            tooltip="From Detect Face Landmarks (MediaPipe), made from the same image.",
        ),
        io.Int.Input(
            "face",
            default=1,
            min=1,
            max=16,
            tooltip="Which face, 1 to 16: 1 is the largest, 2 the next. num_faces of Detect Face Landmarks says how "
            "many are looked for.",
        ),
    ]


class SketchAlignFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchAlignFace",
            display_name="Align Face",
            category="sketch/progressive painting",
            description="Cuts a face out upright, as in FFHQ: what Paint2pix and other networks of faces expect. Paste "
            "Face is the way back.",
            search_aliases=[*WORDS, "straighten face"],
            inputs=[
                *_face_inputs(),
                io.Int.Input(
                    "size",
                    default=1024,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Side of the square in pixels, 64 to 2048. 1024 as in FFHQ.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "face",
                    display_name="face",
                    tooltip="The face, square and upright. Where the square leaves the photo, the photo is mirrored.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, image: Tensor, face_landmarks: Any, face: int, size: int) -> io.NodeOutput:
        image = as_rgb(image)
        places, counts = squares(face_landmarks, image, face)
        faces = [cut_square(one[None], place, size) for one, place in zip(image, places, strict=True)]
        several = f"{max(counts)} faces were found; number {face} by size is used." if max(counts) > 1 else ""
        return io.NodeOutput(torch.cat(faces), ui=host.text_on_node(cls, several) if several else None)


class SketchPasteFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPasteFace",
            display_name="Paste Face",
            category="sketch/progressive painting",
            description="Puts a face that Align Face cut out back into its photo, after it was changed. The rest of "
            "the photo stays as it is.",
            search_aliases=[*WORDS, "uncrop face", "put face back"],
            inputs=[
                *_face_inputs(),
                io.Image.Input(
                    "aligned",
                    tooltip="The changed face, from Align Face with the same image, face_landmarks and face; any size. "
                    "One for all pictures, or one each.",
                ),
                io.Float.Input(
                    "feather",
                    default=0.2,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Width of the soft edge, 0 to 1: the share of the way from the square's side to its "
                    "middle. 0: a hard edge.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The photo with the new face, at its own size."),
                io.Mask.Output("mask", display_name="mask", tooltip="Where the new face shows: 1 whole, 0 not at all."),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, face_landmarks: Any, face: int, aligned: Tensor, feather: float) -> io.NodeOutput:
        check_numbers(feather=feather)
        image, aligned = as_rgb(image), as_rgb(aligned, "aligned")
        places, _ = squares(face_landmarks, image, face)
        aligned = pair_batches(aligned, len(image), "aligned", "image")
        both = [
            put_square(one[None], new[None], place, feather)
            for one, new, place in zip(image, aligned, places, strict=True)
        ]
        return io.NodeOutput(*(torch.cat(parts) for parts in zip(*both, strict=True)))


NODES = [SketchAlignFace, SketchPasteFace]
