"""Prompt words tied to painted regions (GradOP's semantic control), and the attention maps that they act on."""

from __future__ import annotations

import logging
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..guidance.regions.legend import read_strokes
from ..guidance.regions.patch import patch
from ..guidance.regions.regions import METHODS, PAINT, SCHEDULES, Pull, Region, painted
from ..guidance.regions.words import apart, encode, encode_apart, find_phrases
from ..pictures import overlays as region_pictures
from ..pictures import palettes
from ..pictures.fit import as_rgb, fit_image
from ..samplers.looking import attention_maps, attention_shares
from .parts import search
from .parts.checks import check_conditioning, check_numbers, latent_samples
from .parts.inputs import window_inputs
from .parts.sockets import RegionsSocket

PAPER = ("GradOP", "semantic control", "cross attention control")
MODEL_TIP = (
    "SD1.5, SD2, SDXL, Starter Models, SD3, Flux.1 and .2, Chroma, Z-Image, Lumina 2, Qwen-Image, Krea 2, Anima, "
    "Ideogram 4, OmniGen 2, AuraFlow and others; the node names those that cannot."
)


class SketchPaintRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPaintRegion",
            display_name="Paint Region",
            category="sketch/regions",
            description="Ties a phrase of the prompt to a painted mask. Chain several, then connect the last to "
            "Cross-Attention Region Map.",
            search_aliases=[*PAPER, "region", "paint with words", *search.REGIONAL],
            inputs=[
                io.Mask.Input(
                    "mask",
                    tooltip="Where the phrase belongs, 0 to 1; soft masks stay soft. One, or one per image of the "
                    "batch, of any size; if the aspect ratio differs, it is cropped around its centre. All 0: no "
                    "effect.",
                ),
                io.String.Input(
                    "phrase",
                    tooltip="Words of the prompt, such as: lake, or: snowy mountain. Every occurrence in the prompt "
                    "counts; if there is none, the phrase is appended to the prompt.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="Multiplies the attention to the phrase, 0 to 4 (w in the equation). 1 leaves it "
                    "unchanged, 1.5 strengthens it, 0 switches the phrase off.",
                ),
                RegionsSocket.Input(
                    "regions", optional=True, tooltip="Regions from other nodes; this one is added to them."
                ),
            ],
            outputs=[RegionsSocket.Output("regions", display_name="regions", tooltip="All regions so far.")],
        )

    @classmethod
    def execute(cls, mask: Tensor, phrase: str, weight: float, regions: Any = ()) -> io.NodeOutput:
        check_numbers(weight=weight)
        return io.NodeOutput(painted(mask, phrase, weight, regions))


class SketchRegionsFromStrokes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchRegionsFromStrokes",
            display_name="Regions from Strokes",
            category="sketch/regions",
            description="Turns the colours of a stroke painting into regions, with the words from your legend. "
            "Without a legend it lists the painting's colours, ready to fill in.",
            search_aliases=[
                *(*PAPER, "colour to mask", "color to mask", "legend", "segmentation map"),
                *(*search.REGIONAL, *search.PALETTE, *search.STROKES),
            ],
            inputs=[
                io.Image.Input(
                    "image", tooltip="The stroke painting, in flat colours. A batch gives a batch of masks."
                ),
                io.String.Input(
                    "legend",
                    multiline=True,
                    default="",
                    tooltip="One colour per line, such as #3b6ea5: lake, or navy: night sky. A # after the words "
                    "starts a comment. If empty, or without words, the node lists the colours it finds, for pasting "
                    "here.",
                ),
                io.Float.Input(
                    "tolerance",
                    default=0.1,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Maximum distance of a pixel from its colour, 0.01 to 1 (black and white are 1 apart). "
                    "Each pixel belongs to the nearest colour of the legend, or to no region if all are farther away "
                    "than this.",
                ),
                io.Float.Input(
                    "soft_edge",
                    default=0.0,
                    min=0.0,
                    max=64.0,
                    step=0.5,
                    advanced=True,
                    tooltip="Blur of the regions' edges in pixels (standard deviation), 0 to 64. 0: hard edges.",
                ),
                RegionsSocket.Input(
                    "regions", optional=True, tooltip="Regions from other nodes; these are added to them."
                ),
            ],
            outputs=[
                RegionsSocket.Output(
                    "regions",
                    display_name="regions",
                    tooltip="One region per line of the legend; none without a legend.",
                ),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip="The regions in their colours, labelled with their words; longer side at least 512 pixels.",
                ),
                io.String.Output(
                    "legend_text",
                    display_name="legend",
                    tooltip="The painting's colours with their share of its area, as a legend with the words left "
                    "blank.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, image: Tensor, legend: str, tolerance: float, soft_edge: float, regions: Any = ()
    ) -> io.NodeOutput:
        check_numbers(tolerance=tolerance, soft_edge=soft_edge)
        image = as_rgb(image)
        entries = palettes.read_legend(legend)
        found = palettes.propose(image, tolerance)
        if not found and not entries:
            raise ValueError(
                "The painting has no flat colours. Raise tolerance, or put Photo to Strokes before this node."
            )
        proposal = palettes.as_legend(found)
        if not entries:
            colours = [colour for colour, _ in found]
            words = [palettes.hexadecimal(colour) for colour in colours]
            text = f"Copy into legend, then write words after colons:\n{proposal}"
            made, masks = regions, palettes.masks(image, colours, tolerance)
        else:
            made, masks, text = read_strokes(image, entries, tolerance, soft_edge, regions, proposal)
            colours, words = [one.colour for one in entries], [one.phrase for one in entries]
        preview = region_pictures.show_regions(image, list(masks), colours, words)
        return io.NodeOutput(made, preview, proposal, ui=host.text_on_node(cls, text))


class CrossAttnRegionMap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CrossAttnRegionMap",
            display_name="Cross-Attention Region Map",
            category="sketch/regions",
            description="Encodes a prompt and steers its words into your painted regions during sampling. Other "
            "prompts on the same model, including the negative, are not affected.",
            search_aliases=[*PAPER, "paint with words", "eDiff-I", "attention couple", "layout", *search.REGIONAL],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip=MODEL_TIP + " It is not changed itself; the output is a copy that supports regions.",
                ),
                io.Clip.Input("clip", tooltip="The model's text encoder."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="The whole prompt; weights like (lake:1.2) work. On UNets phrases of regions that it does "
                    "not contain are appended, and the node says so; on transformers each phrase is encoded by itself.",
                ),
                RegionsSocket.Input("regions", tooltip="From Paint Region or Regions from Strokes."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="How much of the attention is moved into the regions, 0 (none) to 1 (all, while the "
                    "schedule is at 1).",
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(SCHEDULES),
                    tooltip="How strength changes during sampling. t/T: falls with the noise, from 1 at the model's "
                    "noisiest level to 0. constant: the same at every step. window: constant from start to end, 0 "
                    "elsewhere.",
                ),
                *window_inputs(
                    "For schedule window only: fraction of the model's schedule where it starts, 0 (pure "
                    "noise) to 1 (clean).",
                    "For schedule window only: fraction of the model's schedule where it ends, 0 (pure noise) "
                    "to 1 (clean).",
                    last=0.5,
                    advanced=True,
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    advanced=True,
                    tooltip="GradOP: moves each word's attention map into its region. paint with words: raises the "
                    "words' attention scores inside the region, which fades as the noise falls; of the schedules, "
                    "only window applies, and of the models only UNets.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The model with support for regions."),
                io.Conditioning.Output(
                    "conditioning", display_name="conditioning", tooltip="The prompt with its regions, for positive."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        prompt: str,
        regions: Any,
        strength: float,
        schedule: str,
        start: float,
        end: float,
        method: str,
    ) -> io.NodeOutput:
        check_numbers(strength=strength, start=start, end=end)
        node_id = cls.hidden and cls.hidden.unique_id

        def tell(text: str) -> None:
            logging.warning(f"Cross-Attention Region Map: {text}")
            host.say_on_node(node_id, text)

        pull = Pull(method, strength, schedule, start, end)
        if host.token_layout(model) is None:
            patched = patch(model, tell)
            conditioning, text = encode(clip, prompt, regions, pull)
        elif method == PAINT:
            raise ValueError(
                f"Method 'paint with words' is made for the cross-attention of UNets, and {type(model.model).__name__} "
                "models have none. Set method to 'GradOP'."
            )
        else:
            from ..guidance.regions import joint

            patched = joint.patch(model, tell)
            conditioning, text = encode_apart(clip, prompt, regions, pull)
        check_conditioning(model, conditioning, "The CLIP's conditioning")
        logging.info(f"Cross-Attention Region Map: {text}")
        return io.NodeOutput(patched, conditioning, ui=host.text_on_node(cls, text))


class SketchAttentionMaps(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchAttentionMaps",
            display_name="Attention Maps",
            category="sketch/regions",
            description="Shows where a model attends to chosen words: noises a latent to a few levels, runs the model "
            "once at each, and averages the words' attention maps. The masks can be used in Paint Region.",
            search_aliases=[*PAPER, "DAAM", "heat map", "attention map", "word to mask", "explain"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Clip.Input(
                    "clip",
                    tooltip="The text encoder that made the conditioning: finds the words in it, or encodes them.",
                ),
                io.Conditioning.Input("conditioning", tooltip="The prompt, as for a sampler's positive input."),
                io.Latent.Input("latent", tooltip="One picture, encoded for this model or sampled by it."),
                io.String.Input(
                    "phrases",
                    multiline=True,
                    tooltip="One phrase per line: words of the prompt. On transformers, such as Flux, any words: each "
                    "phrase is encoded by itself.",
                ),
                io.Int.Input(
                    "levels",
                    default=3,
                    min=1,
                    max=20,
                    tooltip="Number of noise levels to average over, 1 to 20, evenly spaced in the model's time. Each "
                    "costs one model call.",
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, tooltip="Seed of the noise, 0 to 2^64 - 1."
                ),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    optional=True,
                    tooltip="The text of the conditioning. Leave it empty if the conditioning is from Cross-Attention "
                    "Region Map, which stores its words, or on transformers, which do not need it.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The picture to draw the maps on. If not connected, vae decodes the latent.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Decodes the latent to draw the maps on. Without image and vae, they are drawn on grey.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "heat",
                    display_name="heat maps",
                    tooltip="One picture per phrase, bright where the model attends to it; longer side at least 512 "
                    "pixels.",
                ),
                io.Mask.Output(
                    "masks",
                    display_name="masks",
                    tooltip="[phrases, height, width] at the picture's size, each rescaled to 0..1, for Paint Region.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        conditioning: list,
        latent: dict[str, Any],
        phrases: str,
        levels: int,
        seed: int,
        prompt: str = "",
        image: Tensor | None = None,
        vae: Any = None,
    ) -> io.NodeOutput:
        wanted = [line.strip() for line in phrases.splitlines() if line.strip()]
        if not wanted:
            raise ValueError("phrases is empty. Write the words that you want to see, one phrase per line.")
        image = None if image is None else as_rgb(image)
        check_conditioning(model, conditioning)
        samples = latent_samples(model, latent)
        if len(samples) > 1:
            raise ValueError(
                f"Attention Maps takes a latent of one picture, got {len(samples)}. Choose one with Latent From Batch."
            )
        if host.token_layout(model) is None:
            places = find_phrases(clip, conditioning, prompt, wanted)
            maps = attention_maps(model, conditioning, samples, places, levels, seed)
        else:
            words = [apart(clip, Region(torch.ones(1, 1, 1), phrase)) for phrase in wanted]
            maps = attention_shares(model, conditioning, samples, words, levels, seed)
        picture = _picture(model, samples, image, vae)
        masks = torch.nn.functional.interpolate(maps[None], picture.shape[:2], mode="bilinear")[0]
        low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
        masks = (masks - low) / (high - low).clamp_min(1e-12)
        return io.NodeOutput(region_pictures.show_heat(picture, masks, wanted), masks)


def _picture(model: Any, samples: Tensor, image: Tensor | None, vae: Any) -> Tensor:
    """What heat maps are drawn on, [H, W, 3]: the image, the decoded latent, or mid grey of its size."""
    if image is None and vae is not None:
        image = host.decode(model, vae, samples)
    ratio = model.get_model_object("latent_format").spacial_downscale_ratio
    height, width = (side * ratio for side in samples.shape[-2:])
    if image is None:
        return torch.full((height, width, 3), 0.5)
    return fit_image(image[:1], height, width)[0].float().cpu()


NODES = [SketchPaintRegion, SketchRegionsFromStrokes, CrossAttnRegionMap, SketchAttentionMaps]
