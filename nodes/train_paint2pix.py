"""Training Paint2pix on a folder of photos: the canvas encoder in front of a StyleGAN2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .. import host
from ..pictures.features import Features
from .extractors import comparing
from .paint2pix import PAPER
from .parts import painting, search
from .parts.folders import input_folder
from .parts.painting import FOLDER, NONE
from .parts.sockets import PainterSocket
from .parts.training import (
    PRECISIONS,
    PhotoTraining,
    batch_input,
    check_widgets,
    common_inputs,
    features_input,
    folder_input,
    goal_of,
    left_out,
    minutes_input,
    model_and_state,
    name_input,
    picture_outputs,
    shown,
    started,
    steps_input,
    summary,
)
from .train_stylegan import PLACE, network_inputs

if TYPE_CHECKING:  # imported where it is used: most sessions train nothing
    from ..training.paint2pix.settings import Settings

ENCODERS = {"small": "small", "IR-SE50, as published": "published"}
NOTHING = "new weights"
STAYS, LEARNS = "stays as it is", "learns along"
DECODER_RATE = 20.0  # the decoder's learning rate over the encoder's: 0.002 beside 0.0001


def weight_input(name: str, default: float, what: str, more: str = "") -> io.Float.Input:
    return io.Float.Input(
        name,
        default=default,
        min=0.0,
        max=1000.0,
        step=0.01,
        round=0.0001,
        advanced=True,
        tooltip=f"Weight of {what}, 0 to 1000. {more}".strip(),
    )


class SketchTrainPaint2pix(PhotoTraining):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainPaint2pix",
            display_name="Train Paint2pix",
            category="sketch/training",
            description="Trains the network that turns an unfinished painting into a picture, on your own photos: it "
            "paints unfinished canvases of them by itself. The paper's training was not released; this is our "
            "formulation of it. Cancelling loses nothing; queue again to continue.",
            search_aliases=[*PAPER, "canvas encoder", "unfinished painting", "train encoder", *search.TRAINING],
            is_output_node=True,
            inputs=[
                name_input("my painter", PLACE),
                folder_input("photos", "Photos of one kind, ideally 1000 or more. They are stretched to squares."),
                features_input(
                    "The network by which predictions are compared with photos: the built-in one, or an "
                    "LPIPS or VGG16 file."
                ),
                io.Combo.Input(
                    "start",
                    options=[NOTHING, *host.model_files(FOLDER)],
                    tooltip="What training begins from, in models/sketch_paint2pix: a StyleGAN2 (rosinality's layout), "
                    "which gets a new encoder, or a canvas encoder with its decoder. new weights: a new decoder, too, "
                    "which must learn along.",
                ),
                io.Combo.Input(
                    "decoder",
                    options=[STAYS, LEARNS],
                    tooltip="stays as it is: as published, only the encoder learns. learns along: with 20 times the "
                    "learning rate; for new weights, or a decoder of other pictures.",
                ),
                io.Combo.Input(
                    "new_encoder",
                    options=list(ENCODERS),
                    tooltip="The encoder, where it is new. small: sees 64 x 64 pixels, 5 million parameters, learns on "
                    "a CPU. IR-SE50: 256 x 256 pixels, 210 million, wants a GPU.",
                ),
                *network_inputs("128", "a new decoder"),
                steps_input(20_000, "ReStyle's encoders: 100000 or more."),
                minutes_input(),
                batch_input(4, "ReStyle: 8.", 2, 512),
                io.Float.Input(
                    "learning_rate",
                    default=0.0001,
                    min=0.000001,
                    max=0.1,
                    step=0.00001,
                    round=0.000001,
                    tooltip="Adam's highest, of the encoder, 0.000001 to 0.1. 0.0001 as ReStyle; small encoders take "
                    "0.001.",
                ),
                io.Int.Input(
                    "passes",
                    default=2,
                    min=1,
                    max=5,
                    tooltip="How often the encoder looks at its own result in training, 1 to 5. Each step learns one.",
                ),
                *weight_inputs(),
                *common_inputs(),
                io.String.Input(
                    "stylegan",
                    optional=True,
                    force_input=True,
                    tooltip="From Train StyleGAN2. If connected, start is ignored.",
                ),
            ],
            outputs=[
                PainterSocket.Output("painter", display_name="painter", tooltip="For the other Paint2pix nodes."),
                *picture_outputs("Canvases, what is predicted from them, and the photos."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        name: str,
        photos: str,
        features: Features,
        start: str,
        new_encoder: str,
        size: str,
        width: int,
        face_network: str,
        steps: int,
        minutes: float,
        begin: str,
        save_minutes: float,
        stylegan: str | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        from ..training import photos as folders
        from ..training.one import train_one
        from ..training.paint2pix import run

        check_widgets(widgets, save_minutes=save_minutes, minutes=minutes)
        settings = settings_from(**widgets)
        settings.check()
        goal = goal_of(steps, minutes)
        model_path, state_dir = model_and_state(FOLDER, name)
        parts = run.Networks(file_of(stylegan or start), ENCODERS[new_encoder], int(size), width, file_of(face_network))
        pictures, said = folders.alone(input_folder(photos)), []
        known = {"features": comparing(features) if settings.features else None, "say": said.append}
        run.enough(pictures, settings.batch)
        with started(cls, model_path, state_dir, begin, save_minutes, {"painter": (0.0, 1.0)}) as (device, options):
            lesson = run.painter_lesson(pictures, parts, settings, device=device, **known)
            trained = train_one(lesson, model_path, state_dir, goal, options)
        text = "\n".join([*said, summary(trained.courses, model_path)]) + left_out(pictures.left_out)
        painter = painting.load_painter(model_path.name)
        return io.NodeOutput(painter, *shown(trained), ui=host.text_on_node(cls, text))


def weight_inputs() -> list[io.Input]:
    return [
        weight_input("pixels", 1.0, "the squared difference to the photo", "ReStyle: 1."),
        weight_input("features_weight", 0.8, "the feature network's distance to the photo (LPIPS)", "ReStyle: 0.8."),
        io.Combo.Input(
            "face_network",
            options=[NONE, *host.model_files(FOLDER)],
            advanced=True,
            tooltip="For aligned faces: model_ir_se50.pth in models/sketch_paint2pix keeps the person, and a new "
            "IR-SE50 encoder begins from it.",
        ),
        weight_input("identity", 0.1, "the face network's likeness, where one is chosen", "ReStyle: 0.1."),
        weight_input("edit", 1.0, "following the next strokes, in the second stem"),
        weight_input("apart", 0.1, "changing the code little from one canvas to the next"),
        weight_input("length", 0.0, "staying close to the mean style (WNorm)"),
        weight_input(
            "adversarial", 0.0, "a StyleGAN2 discriminator", "It makes pictures sharper and steps slower. Try 0.05."
        ),
        io.Float.Input(
            "adversarial_from",
            default=0.3,
            min=0.0,
            max=1.0,
            step=0.05,
            advanced=True,
            tooltip="Fraction of the run after which the discriminator joins, 0 to 1.",
        ),
    ]


def settings_from(
    decoder: str,
    batch: int,
    learning_rate: float,
    passes: int,
    pixels: float,
    features_weight: float,
    identity: float,
    edit: float,
    apart: float,
    length: float,
    adversarial: float,
    adversarial_from: float,
    precision: str,
    seed: int,
) -> Settings:
    """The training's settings by the names of the widgets."""
    from ..training.paint2pix.settings import Settings

    return Settings(
        batch=batch,
        passes=passes,
        learning_rate=learning_rate,
        decoder_rate=DECODER_RATE * learning_rate if decoder == LEARNS else 0.0,
        pixels=pixels,
        features=features_weight,
        identity=identity,
        edit=edit,
        apart=apart,
        length=length,
        adversarial=adversarial,
        adversarial_from=adversarial_from,
        seed=seed,
        bfloat16=precision == PRECISIONS[1],
    )


def file_of(name: str) -> Path | None:
    """The path behind an option; None for the options that are no files. ValueError: it is not there."""
    return None if name in (NOTHING, NONE) else Path(painting.file_path(name))


NODES = [SketchTrainPaint2pix]
