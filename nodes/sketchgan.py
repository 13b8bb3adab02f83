"""The self-supervised sketch GAN: a sketch and a style become a picture in one pass."""

from __future__ import annotations

import comfy.model_management
import torch
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.fit import as_rgb, pair_batches
from ..pictures.lines import is_no_line_drawing
from ..pipelines import sketchgan
from ..pipelines.sketchgan import COLLAGES, FRAMES, GAN, STATISTICS, Style
from .parts import search
from .parts.checks import check_numbers
from .parts.folders import model_state
from .parts.inputs import seed_input
from .parts.model_files import STARTER, WEIGHTS, is_there, read_network, starter_or_file
from .parts.pictures import cell_input, to_image, to_pil
from .parts.sockets import GANSocket, StyleSocket

FOLDER = "sketch_gan"
STARTER_GAN = WEIGHTS / "gan.safetensors"
REFINED, DRAFTS, BOTH = "refined", "drafts", "refined and drafts"
PAPER = ("Self-Supervised Sketch-to-Image", "sketch GAN", "sketch to image")
DRAFT_ALONE = "This file contains only the autoencoder, no generator, so refined is the draft."

host.register_model_folder(FOLDER)

GAN_INPUT = GANSocket.Input("gan", tooltip="From Load Sketch GAN.")
SKETCH_TIP = "Dark lines on light paper, as from Load Sketch, of any size. "
SEED_INPUT = seed_input(
    "Seed of the noise from which the generator paints fine detail (and, for faces, of its flips), 0 to 2^64 "
    "- 1. Each further picture of a batch uses the next seed. The draft does not depend on it."
)
SETTINGS = (
    io.Combo.Input(
        "statistics",
        options=list(STATISTICS),
        advanced=True,
        tooltip="Which statistics the generator's batch-norm layers use. of the training: those stored in the file. "
        "of each picture: its own. of the batch: as published; a picture then depends on the others in its batch, and "
        "all are painted at once.",
    ),
    io.Combo.Input(
        "frame",
        options=list(FRAMES),
        advanced=True,
        tooltip="How a sketch is fitted to the network's square input. stretched: as in training; the result gets its "
        "original aspect ratio back. whole: not stretched but padded with paper, which uses less of the square.",
    ),
)


class SketchGANLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchGANLoader",
            display_name="Load Sketch GAN",
            category="sketch/loaders",
            description="Loads a network that turns a sketch and a style picture into a picture in one pass: the "
            "small built-in one for landscapes, or one that you or others trained, including files of the published "
            "code.",
            search_aliases=[*PAPER, "AAAI 2021", "TOM", "autoencoder", "load GAN", *search.SKETCH],
            inputs=[
                io.Combo.Input(
                    "gan",
                    options=[STARTER, *host.model_files(FOLDER)],
                    tooltip="The built-in landscapes (128 pixels), or a file in models/sketch_gan (.safetensors, "
                    ".sft, .pt, .pth, .ckpt): a GAN or only its autoencoder, for 128, 256, 512 or 1024 pixels. Width, "
                    "size and kind (art, shoe, face) are read from the file.",
                ),
            ],
            outputs=[
                GANSocket.Output("gan", display_name="gan", tooltip="For the other Sketch GAN nodes."),
                io.Int.Output("size", display_name="size", tooltip="Longer side of its pictures, in pixels."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, gan: str | None = None) -> bool | str:
        return is_there("sketch GAN", FOLDER, gan, STARTER, STARTER_GAN)

    @classmethod
    def fingerprint_inputs(cls, gan: str | None = None) -> str:
        return model_state(FOLDER, gan)

    @classmethod
    def execute(cls, gan: str) -> io.NodeOutput:
        loaded = load_gan(gan)
        network = loaded.network
        what = f"{network.size} x {network.size} pixels, width {network.width}"
        text = f"Sketch GAN, {network.kind}: {what}." if network.kind else f"Sketch autoencoder: {what}. {DRAFT_ALONE}"
        return io.NodeOutput(loaded, network.size, ui=host.text_on_node(cls, text))


class SketchGANStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchGANStyle",
            display_name="Sketch GAN Style",
            category="sketch/gan",
            description="Reads the style of pictures: their colours and textures, without their layout. Several "
            "pictures give one style each, or one style of their collage, the published way to mix styles.",
            search_aliases=[*PAPER, "style encoder", "style mixing", "collage", *search.STYLE],
            inputs=[
                GAN_INPUT,
                io.Image.Input(
                    "image",
                    tooltip="Style pictures of any size; the central square of each is used. A batch gives one style "
                    "per picture, or one for the collage.",
                ),
                io.Combo.Input(
                    "collage",
                    options=list(COLLAGES),
                    tooltip="Joins the batch into one picture and reads its style: strips of 2 or more pictures (each "
                    "squeezed into its strip, as published), or 2x2 of 4.",
                ),
            ],
            outputs=[
                StyleSocket.Output(
                    "style",
                    display_name="style",
                    tooltip="One style per picture, or one for the collage. For Sketch GAN Decode and Mix Sketch GAN "
                    "Styles.",
                ),
            ],
        )

    @classmethod
    def execute(cls, gan: GAN, image: Tensor, collage: str) -> io.NodeOutput:
        pictures = sketchgan.collage(as_rgb(image), collage, gan.network.draft)
        return io.NodeOutput(encode(gan, pictures))


class SketchGANMixStyles(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchGANMixStyles",
            display_name="Mix Sketch GAN Styles",
            category="sketch/gan",
            description="Blends two styles, with a separate share for each of their three levels: anything between "
            "the two, or the broad colours of one with the fine texture of the other. With steps, a sequence of "
            "styles in between.",
            search_aliases=[*PAPER, "style mixing", "interpolation", "blend styles", "morph"],
            inputs=[
                StyleSocket.Input("style_a", tooltip="The style at share 0. One style, or a batch."),
                StyleSocket.Input("style_b", tooltip="The style at share 1, from the same sketch GAN as style_a."),
                _share("8", "the coarsest (colours and shapes of whole areas)"),
                _share("16", "the middle one"),
                _share("32", "the finest (texture)"),
                io.Int.Input(
                    "steps",
                    default=1,
                    min=1,
                    max=100,
                    tooltip="1: one mix. 2 to 100: a batch of this many styles, from style_a to the full shares; one "
                    "sketch then gives as many pictures.",
                ),
            ],
            outputs=[
                StyleSocket.Output("style", display_name="style", tooltip="The mix, or a batch of all steps in order."),
            ],
        )

    @classmethod
    def execute(
        cls, style_a: Style, style_b: Style, level_8: float, level_16: float, level_32: float, steps: int
    ) -> io.NodeOutput:
        check_numbers(level_8=level_8, level_16=level_16, level_32=level_32)
        return io.NodeOutput(sketchgan.mix(style_a, style_b, (level_32, level_16, level_8), steps))


class SketchGANDecode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchGANDecode",
            display_name="Sketch GAN Decode",
            category="sketch/gan",
            description="Paints a sketch in a style, in one pass: first the autoencoder's draft, then the generator's "
            "refined picture.",
            search_aliases=[*PAPER, "sketch to photo", "generate", "RefineGenerator", *search.SKETCH, *search.STYLE],
            inputs=[
                GAN_INPUT,
                io.Image.Input("sketch", tooltip=SKETCH_TIP + "One for all styles, or one per style."),
                StyleSocket.Input("style", tooltip="From Sketch GAN Style. One for all sketches, or one per sketch."),
                io.Boolean.Input(
                    "refine",
                    default=True,
                    tooltip="Off: paints only the draft, three to ten times as fast, and refined is the draft. A file "
                    "without a generator gives only drafts.",
                ),
                SEED_INPUT,
                *SETTINGS,
            ],
            outputs=[
                io.Image.Output(
                    "refined",
                    display_name="refined",
                    tooltip="The pictures, with the aspect ratio of the sketch; the longer side is the network's size.",
                ),
                io.Image.Output(
                    "draft", display_name="draft", tooltip="The autoencoder's pictures, at most 512 pixels per side."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, gan: GAN, sketch: Tensor, style: Style, refine: bool, seed: int, statistics: str, frame: str
    ) -> io.NodeOutput:
        sketch = as_rgb(sketch, "sketch")
        told = not_drawn(sketch)
        batch = max(len(sketch), len(style))
        sketch = pair_batches(sketch, batch, "sketch", "style")
        seeds = [(seed + i) % 2**64 for i in range(batch)]
        progress = ProgressBar(batch)
        refined, drafts = decode(gan, sketch, style, seeds, progress, refine, statistics, frame)
        told += [DRAFT_ALONE] if refine and gan.network.generator is None else []
        return io.NodeOutput(refined, drafts, ui=host.text_on_node(cls, "\n".join(told)) if told else None)


class SketchGANMatrix(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchGANMatrix",
            display_name="Sketch GAN Matrix",
            category="sketch/gan",
            description="Every sketch in the style of every exemplar, on one sheet: sketches on the left, exemplars "
            "at the top. All pictures use the same noise, so only sketch and style differ.",
            search_aliases=[*PAPER, "image matrix", "contact sheet", "compare styles", *search.COMPARE],
            inputs=[
                GAN_INPUT,
                io.Image.Input("sketches", tooltip=SKETCH_TIP + "A batch gives one row per sketch."),
                io.Image.Input(
                    "exemplars", tooltip="Style pictures of any size. A batch gives one column per picture."
                ),
                io.Combo.Input(
                    "show",
                    options=[REFINED, DRAFTS, BOTH],
                    tooltip="What the sheet shows; refined and drafts take two rows per sketch, as published. Drafts "
                    "alone are three to ten times as fast.",
                ),
                cell_input(),
                SEED_INPUT,
                *SETTINGS,
            ],
            outputs=[
                io.Image.Output("sheet", display_name="sheet", tooltip="The sheet, one picture."),
                io.Image.Output(
                    "images",
                    display_name="images",
                    tooltip="The pictures without the sheet, row by row, at the network's size; the drafts if show is "
                    "drafts.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        gan: GAN,
        sketches: Tensor,
        exemplars: Tensor,
        show: str,
        cell: int,
        seed: int,
        statistics: str,
        frame: str,
    ) -> io.NodeOutput:
        from ..pictures import charts  # imported lazily: most sessions make no sheet

        sketches, exemplars = as_rgb(sketches, "sketches"), as_rgb(exemplars, "exemplars")
        styles = encode(gan, exemplars)
        across = len(styles)
        progress = ProgressBar(len(sketches) * across)
        cells = [None, *to_pil(exemplars)]
        painted = []
        for sketch, drawn in zip(sketches, to_pil(sketches), strict=True):
            row = sketch.expand(across, *sketch.shape)
            made = decode(gan, row, styles, [seed] * across, progress, show != DRAFTS, statistics, frame)
            painted.append(made[0])
            cells += [drawn, *to_pil(made[0])]
            if show == BOTH:
                cells += [None, *to_pil(made[1])]
        sheet = charts.contact_sheet(cells, columns=across + 1, cell=cell)
        told = not_drawn(sketches)
        shown = host.text_on_node(cls, "\n".join(told)) if told else None
        return io.NodeOutput(to_image(sheet), torch.cat(painted), ui=shown)


def load_gan(name: str) -> GAN:
    """The sketch GAN behind one option of the loader."""
    path = starter_or_file("sketch GAN", FOLDER, name, STARTER, STARTER_GAN)
    network = read_network(path, ("gan",), {}, copied=True)[0]
    return GAN(name, host.network_patcher(network))


def not_drawn(sketches: Tensor) -> list[str]:
    """A sentence if some of these IMAGEs are photos or paintings, which the network takes for lines."""
    wrong = [str(i) for i, sketch in enumerate(sketches) if is_no_line_drawing(sketch)]
    if not wrong:
        return []
    which = "The sketch" if len(sketches) == 1 else f"Sketch {', '.join(wrong[:5])} (counted from 0)"
    return [f"{which} looks like a photo or a painting, and the network knows lines. Put Photo to Sketch before it."]


def encode(gan: GAN, image: Tensor) -> Style:
    """The styles of pictures (IMAGE); the host loads the network."""
    device = _load(gan, 1)
    return sketchgan.encode(gan.network, image, device)


def decode(
    gan: GAN,
    sketch: Tensor,
    style: Style,
    seeds: list[int],
    progress: ProgressBar,
    refine: bool,
    statistics: str,
    frame: str,
) -> tuple[Tensor, Tensor]:
    """All refined pictures and all drafts (IMAGE). Cancel takes effect in the host's layers and in `progress`."""
    network = gan.network
    sketchgan.check_style(network, style)
    style = style.paired(len(sketch))
    device = _load(gan, sketchgan.at_once(network, len(sketch), statistics))
    refined, drafts = [], []
    settings = {"refine": refine, "statistics": statistics, "frame": frame}
    for pictures, made in sketchgan.decode(network, sketch, style, seeds, device, **settings):
        refined.append(pictures.to(sketch.device))
        drafts.append(made.to(sketch.device))
        progress.update(len(pictures))
    return torch.cat(refined), torch.cat(drafts)


def _load(gan: GAN, pictures: int) -> torch.device:
    """Has the host load the network, with memory for this many pictures at once; returns its device."""
    needed = sketchgan.memory_needed(gan.network, pictures)
    comfy.model_management.load_models_gpu([gan.patcher], memory_required=needed)
    return gan.patcher.load_device


def _share(level: str, what: str) -> io.Float.Input:
    return io.Float.Input(
        f"level_{level}",
        default=0.5,
        min=0.0,
        max=1.0,
        step=0.05,
        display_mode=io.NumberDisplay.slider,
        tooltip=f"Share of style_b in level {level}, {what}, 0 to 1. 0: style_a alone, 1: style_b alone.",
    )


NODES = [SketchGANLoader, SketchGANStyle, SketchGANMixStyles, SketchGANDecode, SketchGANMatrix]
