"""The built-in text-conditioned model as MODEL, CLIP and VAE."""

from __future__ import annotations

from comfy_api.latest import io

from .. import host
from .parts.model_files import WEIGHTS

SETS = {"landscapes 128 px": (WEIGHTS / "text.safetensors", WEIGHTS / "vae.safetensors")}


class SketchStarterModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchStarterModels",
            display_name="Starter Models",
            category="sketch/loaders",
            description="A small text-conditioned diffusion model that comes with the pack. Same outputs as Load "
            "Checkpoint, so that a graph runs without a download and can switch to a real checkpoint later.",
            search_aliases=[
                "GradOP",
                "checkpoint loader",
                "load checkpoint",
                "built-in model",
                "demo model",
                "tiny diffusion",
                "text to image",
                "landscapes",
            ],
            inputs=[
                io.Combo.Input(
                    "which",
                    options=list(SETS),
                    tooltip="Landscapes at 128x128 px: lakes, meadows, dunes and snowfields with mountains, hills, "
                    "conifers and cabins, by day, at sunset, dawn and night. Words it does not know are named on "
                    "the node that encodes them.",
                )
            ],
            outputs=[
                io.Model.Output(
                    "model",
                    display_name="model",
                    tooltip="An eps-prediction model with SD1.5's noise levels and cross-attention. Use cfg 3 to 5 "
                    "and 20 steps or more.",
                ),
                io.Clip.Output(
                    "clip",
                    display_name="clip",
                    tooltip="For CLIP Text Encode: 35 words per chunk; weights like (snow:1.3) work. CLIP Set Last "
                    "Layer has no effect.",
                ),
                io.Vae.Output(
                    "vae",
                    display_name="vae",
                    tooltip="8x8 pixels per latent pixel, 4 channels. Use Empty Latent Image at 128x128.",
                ),
            ],
        )

    @classmethod
    def execute(cls, which: str) -> io.NodeOutput:
        text, vae = SETS[which]
        return io.NodeOutput(*host.text_models(str(text), str(vae)))


NODES = [SketchStarterModels]
