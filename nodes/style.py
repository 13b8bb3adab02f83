"""Style injection: gives a picture the colours and contrast of an exemplar before sampling."""

from __future__ import annotations

from typing import Any

import comfy.model_management
from comfy_api.latest import io
from torch import Tensor

from .. import files, host
from ..pictures.fit import as_rgb, pair_batches
from ..pictures.style import (
    DECODER,
    ENCODER,
    Coder,
    coder,
    recode,
    restyle,
)
from .extractors import FEATURES
from .parts import search
from .parts.checks import check_numbers
from .parts.folders import model_state
from .parts.model_files import read_network

NO_NETWORK = "no network"
FILE_TIP = (
    "AdaIN's published {} ({}) in models/sketch_features (.safetensors, .sft, .pt, .pth, .ckpt), for its style "
    "transfer. Choose both encoder and decoder, or neither."
)


class SketchAdaINStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = [NO_NETWORK, *host.model_files(FEATURES)]
        return io.Schema(
            node_id="SketchAdaINStyle",
            display_name="Style Injection (AdaIN)",
            category="sketch/inversion",
            description="Gives a picture the colours of another one and its contrast at each scale of detail. Needs "
            "no network; with AdaIN's encoder and decoder it does AdaIN style transfer.",
            search_aliases=[
                *("AdaIN", "CORAL", "color transfer", "colour match", "Inversion-by-Inversion", *search.STYLE),
            ],
            inputs=[
                io.Image.Input(
                    "content", tooltip="The picture to restyle: a sketch, or the result of a first stage. 0 to 1."
                ),
                io.Image.Input(
                    "style", tooltip="The exemplar, of any size: one, or one per picture of content. 0 to 1."
                ),
                io.Float.Input(
                    "alpha",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="Strength of the style, 0 (content unchanged) to 1 (full style).",
                ),
                io.Boolean.Input(
                    "keep_colours",
                    default=False,
                    tooltip="On: the exemplar is first recoloured to match content, so that only its contrast and "
                    "grain are transferred. Off: its colours are transferred too.",
                ),
                io.Combo.Input(
                    "encoder",
                    options=files,
                    advanced=True,
                    tooltip=FILE_TIP.format("VGG19 encoder", "vgg_normalised.pth"),
                ),
                io.Combo.Input(
                    "decoder", options=files, advanced=True, tooltip=FILE_TIP.format("decoder", "decoder.pth")
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The restyled pictures, the size of content.")
            ],
        )

    @classmethod
    def validate_inputs(cls, encoder: str | None = None, decoder: str | None = None) -> bool | str:
        try:
            for half, name in ((ENCODER, encoder), (DECODER, decoder)):
                if name not in (None, NO_NETWORK):
                    host.model_file(f"AdaIN {half}", FEATURES, name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, encoder: str | None = None, decoder: str | None = None, **_: Any) -> str:
        return model_state(FEATURES, encoder, decoder)

    @classmethod
    def execute(
        cls, content: Tensor, style: Tensor, alpha: float, keep_colours: bool, encoder: str, decoder: str
    ) -> io.NodeOutput:
        check_numbers(alpha=alpha)
        content = as_rgb(content, "content")
        style = pair_batches(as_rgb(style, "style"), len(content), "style", "content")
        picture, exemplar = (image.movedim(-1, 1).float() for image in (content, style))
        if encoder == decoder == NO_NETWORK:
            result = restyle(picture, exemplar, alpha, keep_colours)
        else:
            halves = load_half(ENCODER, encoder), load_half(DECODER, decoder)
            device = comfy.model_management.get_torch_device()
            result = recode(picture, exemplar, *halves, alpha, keep_colours, device)
        return io.NodeOutput(result.movedim(1, -1))


def load_half(half: str, name: str) -> Coder:
    """AdaIN's encoder or decoder from a file. ValueError: none is chosen, or the file is not that half."""
    if name == NO_NETWORK:
        raise ValueError(
            f"AdaIN's {half} is missing. Choose files for both encoder and decoder, or '{NO_NETWORK}' for both."
        )
    path = host.model_file(f"AdaIN {half}", FEATURES, name)
    found = coder(name, host.network_patcher(read_network(path, ("style",), {})[0]))
    if found.half != half:
        raise ValueError(f"{files.quote(name)} is AdaIN's {found.half}, not its {half}. Choose the other file there.")
    return found


NODES = [SketchAdaINStyle]
