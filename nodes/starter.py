"""The built-in text-conditioned model as MODEL, CLIP and VAE, and the upscaler of its world."""

from __future__ import annotations

from comfy_api.latest import io

from .. import host
from .parts.model_files import WEIGHTS

SETS = {"landscapes 128 px": (WEIGHTS / "text.safetensors", WEIGHTS / "vae.safetensors")}
UPSCALER = WEIGHTS / "upscaler.safetensors"


class SketchStarterModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchStarterModels",
            display_name="Starter Models",
            category="sketch/loaders",
            description="A small text-conditioned diffusion model that comes with the pack, and an upscaler. Same "
            "outputs as Load Checkpoint and Load Upscale Model, so that a graph runs without a download and can switch "
            "to real models later.",
            search_aliases=[
                "GradOP",
                "checkpoint loader",
                "load checkpoint",
                "built-in model",
                "demo model",
                "tiny diffusion",
                "text to image",
                "landscapes",
                "upscaler",
                "load upscale model",
                "ESRGAN",
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
                _upscale_model(),
            ],
        )

    @classmethod
    def execute(cls, which: str) -> io.NodeOutput:
        text, vae = SETS[which]
        return io.NodeOutput(*host.text_models(str(text), str(vae)), host.upscaler(str(UPSCALER)))


class SketchStarterUpscaler(io.ComfyNode):
    """Its own door beside SketchStarterModels, which takes a hundred times as long to load."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchStarterUpscaler",
            display_name="Starter Upscaler",
            category="sketch/loaders",
            description="The upscaler that comes with the pack, for what the built-in models paint. Same output as "
            "Load Upscale Model.",
            search_aliases=["upscaler", "upscale model", "load upscale model", "ESRGAN", "enlarge", "super resolution"],
            inputs=[],
            outputs=[_upscale_model()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(host.upscaler(str(UPSCALER)))


def _upscale_model() -> io.Output:
    return io.UpscaleModel.Output(
        "upscale_model",
        display_name="upscale_model",
        tooltip="For Upscale Image (using Model): four times larger. It knows landscapes of 64 or 128 px as the "
        "built-in models paint them; your photos want an upscaler of your own.",
    )


NODES = [SketchStarterModels, SketchStarterUpscaler]
