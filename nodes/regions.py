"""Doors to words in painted regions (GradOP's semantic control), and to the attention maps they act on."""

from __future__ import annotations

import logging
from typing import Any

import comfy.sample
import torch
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..guidance.regions.legend import read_strokes
from ..guidance.regions.patch import patch
from ..guidance.regions.regions import METHODS, SCHEDULES, Pull, painted
from ..guidance.regions.words import encode, find_phrases
from ..pictures import overlays as region_pictures
from ..pictures import palettes
from ..pictures.fit import fit_image
from ..samplers.looking import attention_maps

RegionsSocket = io.Custom("SKETCH_REGIONS")
PAPER = ("GradOP", "semantic control", "regional prompt", "cross attention control")
MODEL_TIP = "A UNet with cross-attention: SD1.5, SD2, SDXL or the text starter. SD3, Flux and the like are refused."


class SketchPaintRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPaintRegion",
            display_name="Paint Region",
            category="sketch/regions",
            description="Ties a phrase of the prompt to a painted mask. Chain several, then connect them to "
            "Cross-Attention Region Map.",
            search_aliases=[*PAPER, "region", "mask prompt", "paint with words", "area prompt"],
            inputs=[
                io.Mask.Input(
                    "mask",
                    tooltip="Where the phrase belongs, 0 to 1; soft masks stay soft. Batch 1 or the latent's, "
                    "of any size. Another shape than the picture's is cut from its middle. All 0: no effect.",
                ),
                io.String.Input(
                    "phrase",
                    tooltip="Words of the prompt, such as: lake, or: snowy mountain. Every place where the prompt has "
                    "them counts; if it has none, they are appended to it.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="w of the equation, 0 to 4: multiplies the attention to the phrase. 1: as the model has "
                    "it. 1.5 insists, 0 silences the phrase.",
                ),
                RegionsSocket.Input("regions", optional=True, tooltip="Regions made before; this one is added."),
            ],
            outputs=[RegionsSocket.Output("regions", display_name="regions", tooltip="All regions so far.")],
        )

    @classmethod
    def execute(cls, mask: Tensor, phrase: str, weight: float, regions: Any = ()) -> io.NodeOutput:
        return io.NodeOutput(painted(mask, phrase, weight, regions))


class SketchRegionsFromStrokes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchRegionsFromStrokes",
            display_name="Regions from Strokes",
            category="sketch/regions",
            description="Takes the colours of a stroke painting for regions and your legend for their words. Without a "
            "legend it lists the painting's colours, ready to be filled in.",
            search_aliases=[*PAPER, "colour to mask", "color to mask", "legend", "palette", "segmentation map"],
            inputs=[
                io.Image.Input("image", tooltip="The stroke painting, in flat colours. Batches make batches of masks."),
                io.String.Input(
                    "legend",
                    multiline=True,
                    default="",
                    tooltip="One colour a line: #3b6ea5: lake, or: navy: night sky. What follows a # after the words "
                    "is a remark. Empty, or without words: the node lists the colours it finds, to be pasted here.",
                ),
                io.Float.Input(
                    "tolerance",
                    default=0.1,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="How far a pixel may be from its colour, 0.01 to 1 (black and white are 1 apart). It goes "
                    "to the nearest colour of the legend; what is farther from all of them belongs to no region.",
                ),
                io.Float.Input(
                    "soft_edge",
                    default=0.0,
                    min=0.0,
                    max=64.0,
                    step=0.5,
                    advanced=True,
                    tooltip="Blur of the regions' borders in pixels (standard deviation), 0 to 64. 0: hard borders.",
                ),
                RegionsSocket.Input("regions", optional=True, tooltip="Regions made before, which these are added to."),
            ],
            outputs=[
                RegionsSocket.Output(
                    "regions", display_name="regions", tooltip="One region a line of the legend; none without a legend."
                ),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip="The regions in their colours with the words on them, at least 512 pixels long.",
                ),
                io.String.Output(
                    "legend_text",
                    display_name="legend",
                    tooltip="The painting's colours with their shares, as a legend that waits for its words.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, image: Tensor, legend: str, tolerance: float, soft_edge: float, regions: Any = ()
    ) -> io.NodeOutput:
        entries = palettes.read_legend(legend)
        found = palettes.propose(image, tolerance)
        if not found and not entries:
            raise ValueError(
                "The painting has no flat colours. Raise the tolerance, or send it through Photo to Strokes."
            )
        proposal = palettes.as_legend(found)
        if not entries:
            colours = [colour for colour, _ in found]
            words = [palettes.hexadecimal(colour) for colour in colours]
            text = f"Write words behind these colours and paste them into the legend:\n{proposal}"
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
            description="Encodes a prompt whose words are drawn into your painted regions while the model samples. "
            "Only this prompt is steered: others on the same model, negative ones included, stay as they are.",
            search_aliases=[*PAPER, "paint with words", "eDiff-I", "attention couple", "regions", "layout"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP + " Nothing of it changes; the output knows regions."),
                io.Clip.Input("clip", tooltip="The text encoder of the model."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="The whole prompt, weights like (lake:1.2) included. Phrases of regions that it lacks are "
                    "appended; the node says so.",
                ),
                RegionsSocket.Input("regions", tooltip="From Paint Region or Regions from Strokes."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How far attention is moved into the regions, 0 (not at all) to 1 (wholly, where the "
                    "schedule is 1).",
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(SCHEDULES),
                    tooltip="How the strength runs over the walk. t/T: falls with the noise, from 1 at the model's "
                    "noisiest level to 0. constant: the same at every step. window: the same from start to end only.",
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Schedule window only: share of the model's schedule where it begins, 0 (pure noise) to 1.",
                ),
                io.Float.Input(
                    "end",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Schedule window only: share of the model's schedule where it ends, 0 to 1 (clean).",
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    advanced=True,
                    tooltip="GradOP: moves each word's attention map into its region. paint with words: raises the "
                    "words' scores inside it, fading by itself as the noise falls (only the schedule window counts).",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The model, which now heeds regions."),
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
        patched = patch(model)
        conditioning, text = encode(clip, prompt, regions, Pull(method, strength, schedule, start, end))
        logging.info(f"Cross-Attention Region Map: {text}")
        return io.NodeOutput(patched, conditioning, ui=host.text_on_node(cls, text))


class SketchAttentionMaps(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchAttentionMaps",
            display_name="Attention Maps",
            category="sketch/regions",
            description="Shows where a model looks for chosen words: noises a latent to a few levels, predicts once at "
            "each, and averages the words' cross-attention maps. The masks can go back into Paint Region.",
            search_aliases=[*PAPER, "DAAM", "heat map", "attention map", "word to mask", "explain"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Clip.Input("clip", tooltip="The text encoder that made the conditioning; finds the words in it."),
                io.Conditioning.Input("conditioning", tooltip="The prompt, as it would go into a sampler's positive."),
                io.Latent.Input("latent", tooltip="One picture, encoded for this model or sampled by it."),
                io.String.Input("phrases", multiline=True, tooltip="Words of the prompt, one phrase a line."),
                io.Int.Input(
                    "levels",
                    default=3,
                    min=1,
                    max=20,
                    tooltip="How many noise levels are looked at, 1 to 20, spread evenly over the model's own time. "
                    "Each costs one prediction.",
                ),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, tooltip="Seed of the noise."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    optional=True,
                    tooltip="The text of the conditioning. Leave empty where it comes from Cross-Attention Region Map, "
                    "which notes its words.",
                ),
                io.Image.Input("image", optional=True, tooltip="The picture to draw on; else vae decodes the latent."),
                io.Vae.Input("vae", optional=True, tooltip="Decodes the latent for the picture below the maps."),
            ],
            outputs=[
                io.Image.Output(
                    "heat",
                    display_name="heat maps",
                    tooltip="One picture a phrase, bright where it is looked for; at least 512 pixels long.",
                ),
                io.Mask.Output(
                    "masks",
                    display_name="masks",
                    tooltip="[phrases, height, width] at the picture's size, each stretched to 0..1: for Paint Region.",
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
            raise ValueError("No phrase was given. Write the words that you want to see, one phrase a line.")
        ratios = [latent.get(f"downscale_ratio_{kind}") for kind in ("spacial", "temporal")]
        samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], *ratios)
        if len(samples) > 1:
            raise ValueError(
                f"The latent holds {len(samples)} pictures, and maps are made of one. Choose it with Latent From Batch."
            )
        places = find_phrases(clip, conditioning, prompt, wanted)
        maps = attention_maps(model, conditioning, samples, places, levels, seed)
        picture = _picture(model, samples, image, vae)
        masks = torch.nn.functional.interpolate(maps[None], picture.shape[:2], mode="bilinear")[0]
        low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
        masks = (masks - low) / (high - low).clamp_min(1e-12)
        return io.NodeOutput(region_pictures.show_heat(picture, masks, wanted), masks)


def _picture(model: Any, samples: Tensor, image: Tensor | None, vae: Any) -> Tensor:
    """What heat maps are drawn on, [H, W, 3]: the image, the decoded latent, or mid grey of its size."""
    if image is None and vae is not None:
        image = vae.decode(samples)
    ratio = model.get_model_object("latent_format").spacial_downscale_ratio
    height, width = (side * ratio for side in samples.shape[-2:])
    if image is None:
        return torch.full((height, width, 3), 0.5)
    return fit_image(image[:1, ..., :3], height, width)[0].float().cpu()


NODES = [SketchPaintRegion, SketchRegionsFromStrokes, CrossAttnRegionMap, SketchAttentionMaps]
