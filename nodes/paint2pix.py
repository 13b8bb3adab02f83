"""Paint2pix: an unfinished painting becomes a picture, and the next strokes change it."""

from __future__ import annotations

import torch
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.fit import as_rgb, pair_batches
from ..pipelines import paint2pix
from ..pipelines.paint2pix import Paint2pix, State
from .parts import painting
from .parts.checks import check_numbers
from .parts.folders import model_state
from .parts.inputs import seed_input
from .parts.painting import FOLDER, NONE, OWN, WATERCOLOUR, decoded, loaded
from .parts.sockets import PainterSocket, StateSocket

ENCODER, OPTIMISE = "identity encoder", "optimise (slow)"
PAPER = ("Paint2pix", "progressive synthesis", "StyleGAN2", "ReStyle", "e4e", "GAN inversion")
MOST = 17  # the last style of a decoder of 1024 pixels

host.register_model_folder(FOLDER)

PAINTER_INPUT = PainterSocket.Input("painter", tooltip="From Load Paint2pix.")
STATE_OUTPUT = StateSocket.Output(
    "state", display_name="state", tooltip="The new codes, one per picture. For the other Paint2pix nodes."
)
IMAGE_OUTPUT = io.Image.Output(
    "image", display_name="image", tooltip="The pictures, at the decoder's size: 1024 x 1024 in the published files."
)


def _state_input(name: str = "state", what: str = "From Paint2pix Predict.", optional: bool = False) -> io.Input:
    return StateSocket.Input(name, optional=optional, tooltip=f"{what} Made by the same networks.")


def _layers(first: int, last: int) -> tuple[io.Input, io.Input]:
    return tuple(
        io.Int.Input(
            name,
            default=default,
            min=0,
            max=MOST,
            advanced=True,
            tooltip=f"The {which} style that may change, 0 to {MOST}; 0 to 3 are pose and layout, 4 to 8 features, the "
            "rest colours and fine texture. Styles that the decoder does not have are ignored.",
        )
        for name, default, which in (("first_layer", first, "first"), ("last_layer", last, "last"))
    )  # pyright: ignore[reportReturnType]


class SketchPaint2pixLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = host.model_files(FOLDER)
        return io.Schema(
            node_id="SketchPaint2pixLoader",
            display_name="Load Paint2pix",
            category="sketch/loaders",
            description="Loads the networks that turn an unfinished painting into a picture: an encoder with its "
            "StyleGAN2 decoder. Files of Paint2pix, ReStyle, e4e and pSp load.",
            search_aliases=[*PAPER, "canvas encoder", "pSp", "load GAN"],
            inputs=[
                io.Combo.Input(
                    "canvas",
                    options=painting.painters(),
                    tooltip="The canvas encoder with its decoder: the built-in one for landscapes, or a file in "
                    "models/sketch_paint2pix: canvas_encoder.pt as published, your own, or a ReStyle, e4e or pSp "
                    "checkpoint (.pt, .pth, .ckpt, .safetensors). Sizes are read from the file.",
                ),
                io.Combo.Input(
                    "identity",
                    options=[NONE, *files],
                    tooltip="The identity encoder for Paint2pix Identity: id-encoder.pt as published, or a ReStyle "
                    "checkpoint. none: that node can only optimise.",
                ),
                io.Combo.Input(
                    "decoder",
                    options=painting.decoders(),
                    tooltip="Another StyleGAN2 of the same size, for artistic content: its pictures for the same "
                    "codes, such as the built-in watercolours (for the built-in painter) or stylegan2-watercolor.pt.",
                ),
            ],
            outputs=[
                PainterSocket.Output("painter", display_name="painter", tooltip="For the other Paint2pix nodes."),
                io.Int.Output("size", display_name="size", tooltip="Side of its pictures, in pixels."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, canvas: str | None = None) -> bool | str:
        # Only what is checked here: the host shows a fault at each of these inputs. It looks up the other two itself.
        try:
            if canvas is not None:
                painting.file_path(canvas)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, canvas: str | None = None, identity: str | None = None, decoder: str | None = None):
        names = (canvas, identity, decoder)
        return [model_state(FOLDER, name) for name in names if name not in (NONE, OWN, WATERCOLOUR)]

    @classmethod
    def execute(cls, canvas: str, identity: str, decoder: str) -> io.NodeOutput:
        loaded = painting.load_painter(canvas, identity, decoder)
        network = loaded.network
        text = f"{network.decoder.size} x {network.decoder.size} pixels, {network.decoder.styles} styles."
        if network.in_channels != 12:
            text += f" Its encoder takes {network.in_channels} channels, a picture's, not an unfinished canvas's."
        return io.NodeOutput(loaded, network.decoder.size, ui=host.text_on_node(cls, text))


class SketchPaint2pixPredict(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPaint2pixPredict",
            display_name="Paint2pix Predict",
            category="sketch/progressive painting",
            description="Turns an unfinished painting into a picture. With the state of the picture before, only what "
            "the new strokes ask for changes, as much as strength says.",
            search_aliases=[*PAPER, "unfinished painting", "strokes to face", "edit strength"],
            inputs=[
                PAINTER_INPUT,
                io.Image.Input(
                    "canvas",
                    tooltip="The painting so far, of any size: strokes on a blank ground, on a photo, or on the last "
                    "result. It is resized to the encoder's square (256 x 256). Faces must be aligned as in FFHQ. A "
                    "batch gives a picture each.",
                ),
                _state_input(
                    what="The picture before these strokes, as codes. Without it, strength has no effect.",
                    optional=True,
                ),
                io.Int.Input(
                    "passes",
                    default=paint2pix.PASSES,
                    min=1,
                    max=10,
                    tooltip="How often the encoder looks at its own result and corrects it, 1 to 10. 5 as published. "
                    "Never more than the painter has learned, where its file says so.",
                ),
                io.Int.Input(
                    "use_pass",
                    default=0,
                    min=0,
                    max=10,
                    advanced=True,
                    tooltip="Which pass is the result, 1 to passes. 0: the last one.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="How far to go from the state to the prediction, 0 to 3. 0: nothing changes. Above 1 "
                    "exaggerates the change.",
                ),
                io.Float.Input(
                    "clip",
                    default=paint2pix.CLIP,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    advanced=True,
                    tooltip="The furthest that one number of the code may move before strength applies, 0 to 100. 1 "
                    "as published; higher follows large changes more closely.",
                ),
                *_layers(0, MOST),
            ],
            outputs=[
                IMAGE_OUTPUT,
                io.Image.Output(
                    "passes",
                    display_name="passes",
                    tooltip="The picture of every pass, without strength: all pictures of the first pass, then of the "
                    "second, and so on.",
                ),
                STATE_OUTPUT,
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        painter: Paint2pix,
        canvas: Tensor,
        passes: int,
        use_pass: int,
        strength: float,
        clip: float,
        first_layer: int,
        last_layer: int,
        state: State | None = None,
    ) -> io.NodeOutput:
        check_numbers(strength=strength, clip=clip)
        canvas = as_rgb(canvas, "canvas")
        if state is not None:
            paint2pix.check_state(painter.network, state)
            canvas = pair_batches(canvas, max(len(canvas), len(state)), "canvas", "state")
        network, device = loaded(painter.canvas)
        progress = ProgressBar(passes * len(canvas))
        codes, pictures = painting.predicted(network, canvas, passes, device, progress)
        chosen = painting.chosen_pass(use_pass, len(codes))
        before = codes[chosen] if state is None else pair_batches(state.after, len(canvas), "state", "canvas")
        mask = paint2pix.layer_mask(range(first_layer, last_layer + 1), network.decoder.styles, before)
        after = paint2pix.edited(before, codes[chosen], strength, clip, mask)
        image = pictures[chosen] if state is None else decoded(network, after, device)
        said = (painting.how_fitted(canvas, network.encoder.size), painting.how_many_passes(network, passes))
        text = "\n".join(line for line in said if line)
        return io.NodeOutput(
            image,
            torch.cat(pictures),
            State(before, after, painter.name),
            ui=host.text_on_node(cls, text) if text else None,
        )


class SketchPaint2pixIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPaint2pixIdentity",
            display_name="Paint2pix Identity",
            category="sketch/progressive painting",
            description="Brings the person of a photo back into an edited picture, and keeps the edit.",
            search_aliases=[*PAPER, "identity", "ArcFace", "keep the face", "real image editing"],
            inputs=[
                PAINTER_INPUT,
                _state_input(),
                io.Image.Input(
                    "identity",
                    tooltip="The photo whose person is kept, aligned as in FFHQ; one for all pictures, or one each.",
                ),
                io.Combo.Input(
                    "method",
                    options=[ENCODER, OPTIMISE],
                    tooltip="identity encoder: a pass or a few, as published. optimise: Adam on the code with a face "
                    "network's likeness, about a minute on a GPU.",
                ),
                io.Int.Input(
                    "steps",
                    default=1,
                    min=1,
                    max=200,
                    tooltip="Passes of the encoder (1 as published) or steps of Adam (20 as published), 1 to 200.",
                ),
                io.Combo.Input(
                    "face_network",
                    options=[NONE, *host.model_files(FOLDER)],
                    tooltip="For optimise: a face network of the IR-SE kind in models/sketch_paint2pix, such as "
                    "model_ir_se50.pth.",
                ),
                seed_input("Seed of the decoder's noise between passes, 0 to 2^64 - 1. A single pass does not use it."),
                *_layers(0, 8),
            ],
            outputs=[IMAGE_OUTPUT, STATE_OUTPUT],
        )

    @classmethod
    def execute(
        cls,
        painter: Paint2pix,
        state: State,
        identity: Tensor,
        method: str,
        steps: int,
        face_network: str,
        seed: int,
        first_layer: int,
        last_layer: int,
    ) -> io.NodeOutput:
        identity = as_rgb(identity, "identity")
        paint2pix.check_state(painter.network, state)
        identity = pair_batches(identity, len(state), "identity", "state")
        layers = range(first_layer, last_layer + 1)
        if method == ENCODER:
            move = painting.encoded_identity(painter, state, identity, layers, steps, seed)
        else:
            move = painting.optimised_identity(painter, state, identity, layers, steps, face_network)
        network, device = loaded(painter.canvas)
        after = state.after + move
        return io.NodeOutput(decoded(network, after, device), State(state.before, after, painter.name))


class SketchPaint2pixVariations(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPaint2pixVariations",
            display_name="Paint2pix Variations",
            category="sketch/progressive painting",
            description="Other pictures for the same strokes: some styles of the code are mixed with random ones.",
            search_aliases=[*PAPER, "style mixing", "multi-modal", "random faces", "truncation"],
            inputs=[
                PAINTER_INPUT,
                _state_input(),
                io.Int.Input(
                    "count", default=4, min=1, max=64, tooltip="How many variations of each picture, 1 to 64."
                ),
                io.Float.Input(
                    "strength",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the random style in the chosen layers, 0 to 1.",
                ),
                io.Float.Input(
                    "truncation",
                    default=0.7,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="How far random styles may be from the mean style, 0 to 1: lower is safer and less varied.",
                ),
                seed_input("Seed of the random styles, 0 to 2^64 - 1."),
                *_layers(8, MOST),
            ],
            outputs=[IMAGE_OUTPUT, STATE_OUTPUT],
        )

    @classmethod
    def execute(
        cls,
        painter: Paint2pix,
        state: State,
        count: int,
        strength: float,
        truncation: float,
        seed: int,
        first_layer: int,
        last_layer: int,
    ) -> io.NodeOutput:
        check_numbers(strength=strength, truncation=truncation)
        paint2pix.check_state(painter.network, state)
        network, device = loaded(painter.canvas)
        decoder = network.decoder
        z = torch.randn(count, decoder.style_dim, generator=torch.Generator().manual_seed(seed))
        mean = network.latent_avg.float().cpu()
        random = mean + truncation * (decoder.mapping(z.to(device)).float().cpu()[:, None] - mean)
        mask = paint2pix.layer_mask(range(first_layer, last_layer + 1), decoder.styles, state.after)
        before = state.after.repeat_interleave(count, 0)
        after = paint2pix.mixed(before, random.repeat(len(state), 1, 1), strength, mask)
        return io.NodeOutput(decoded(network, after, device), State(before, after, painter.name))


class SketchTransferEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTransferEdit",
            display_name="Paint2pix Transfer Edit",
            category="sketch/progressive painting",
            description="Applies to one picture what strokes changed in another: painted once, used on many.",
            search_aliases=[*PAPER, "edit transfer", "latent direction", "semantic edit"],
            inputs=[
                PAINTER_INPUT,
                _state_input("edit", "The edited picture's: what changed between its two codes is applied."),
                _state_input("state", "The picture that is changed."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-3.0,
                    max=3.0,
                    step=0.05,
                    tooltip="How much of the edit, -3 to 3. Negative: the opposite edit.",
                ),
                *_layers(0, MOST),
            ],
            outputs=[IMAGE_OUTPUT, STATE_OUTPUT],
        )

    @classmethod
    def execute(
        cls, painter: Paint2pix, edit: State, state: State, strength: float, first_layer: int, last_layer: int
    ) -> io.NodeOutput:
        check_numbers(strength=strength)
        for one in (edit, state):
            paint2pix.check_state(painter.network, one)
        network, device = loaded(painter.canvas)
        mask = paint2pix.layer_mask(range(first_layer, last_layer + 1), network.decoder.styles, state.after)
        move = pair_batches(edit.move, len(state), "edit", "state")
        after = state.after + strength * move * mask
        return io.NodeOutput(decoded(network, after, device), State(state.after, after, painter.name))


NODES = [
    SketchPaint2pixLoader,
    SketchPaint2pixPredict,
    SketchPaint2pixIdentity,
    SketchPaint2pixVariations,
    SketchTransferEdit,
]
