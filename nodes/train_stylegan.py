"""Training a StyleGAN2 on a folder of photos: the decoder of Paint2pix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .. import host
from .paint2pix import PAPER
from .parts import search
from .parts.folders import input_folder
from .parts.painting import FOLDER
from .parts.training import (
    PRECISIONS,
    PhotoTraining,
    batch_input,
    check_widgets,
    common_inputs,
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

if TYPE_CHECKING:  # imported where it is used: most sessions train nothing
    from ..training.paint2pix.stylegan import Settings

SIZES = ("32", "64", "128", "256", "512", "1024")
ADAPTIVE, NEVER = "as much as needed", "never"
PLACE = "models/sketch_paint2pix"


def network_inputs(default_size: str, of: str) -> list[io.Input]:
    return [
        io.Combo.Input(
            "size",
            options=list(SIZES),
            default=default_size,
            tooltip=f"Side of the pictures of {of}, in pixels. Published: 1024; 128 trains on a CPU.",
        ),
        io.Int.Input(
            "width",
            default=128,
            min=8,
            max=512,
            step=8,
            advanced=True,
            tooltip=f"Channels of the widest maps of {of}, and numbers per style, 8 to 512. Published: 512.",
        ),
    ]


class SketchTrainStyleGAN(PhotoTraining):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainStyleGAN",
            display_name="Train StyleGAN2",
            category="sketch/training",
            description="Trains a StyleGAN2 on your own photos: the decoder that Train Paint2pix puts a canvas encoder "
            "in front of. Cancelling loses nothing; queue again to continue.",
            search_aliases=[*PAPER, "StyleGAN", "ADA", "train GAN", "generator", *search.TRAINING],
            is_output_node=True,
            inputs=[
                name_input("my stylegan", PLACE),
                folder_input("photos", "Photos of one kind, ideally 1000 or more. They are stretched to squares."),
                *network_inputs("256", "the network"),
                steps_input(50_000, "Published: 780000 with a batch of 32."),
                minutes_input(),
                batch_input(8, "Published: 32.", 2, 512),
                io.Float.Input(
                    "learning_rate",
                    default=0.002,
                    min=0.00001,
                    max=0.1,
                    step=0.0001,
                    round=0.00001,
                    advanced=True,
                    tooltip="Adam's, of generator and discriminator, 0.00001 to 0.1. Published: 0.002.",
                ),
                io.Float.Input(
                    "r1",
                    default=1.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    advanced=True,
                    tooltip="Weight of the gradient penalty on photos, 0 to 1000. Published: 10 for 1024 px; smaller "
                    "pictures want less. Raise it if the discriminator always wins.",
                ),
                io.Combo.Input(
                    "augment",
                    options=[ADAPTIVE, NEVER],
                    advanced=True,
                    tooltip="as much as needed: moves, turns and recolours what the discriminator sees once it knows a "
                    "small folder by heart (ADA). never: as StyleGAN2.",
                ),
                io.Boolean.Input(
                    "mirror",
                    default=True,
                    advanced=True,
                    tooltip="Shows half of the photos mirrored. Off for things with a left and a right, such as text.",
                ),
                *common_inputs(),
            ],
            outputs=[
                io.String.Output(
                    "stylegan",
                    display_name="stylegan",
                    tooltip="The file's name in models/sketch_paint2pix, for Train Paint2pix. In Load Paint2pix it is "
                    "a decoder.",
                ),
                *picture_outputs("Photos, and pictures that the network makes."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        name: str,
        photos: str,
        steps: int,
        minutes: float,
        begin: str,
        save_minutes: float,
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
        pictures = folders.alone(input_folder(photos))
        run.enough(pictures, settings.batch)
        with started(cls, model_path, state_dir, begin, save_minutes, {"stylegan": (0.0, 1.0)}) as (device, options):
            lesson = run.stylegan_lesson(pictures, settings, device)
            trained = train_one(lesson, model_path, state_dir, goal, options)
        text = summary(trained.courses, model_path) + left_out(pictures.left_out)
        return io.NodeOutput(model_path.name, *shown(trained), ui=host.text_on_node(cls, text))


def settings_from(
    size: str,
    width: int,
    batch: int,
    learning_rate: float,
    r1: float,
    augment: str,
    mirror: bool,
    precision: str,
    seed: int,
) -> Settings:
    """The training's settings by the names of the widgets."""
    from ..training.paint2pix.stylegan import Settings

    return Settings(
        size=int(size),
        width=width,
        batch=batch,
        learning_rate=learning_rate,
        r1=r1,
        adaptive=augment == ADAPTIVE,
        mirror=mirror,
        seed=seed,
        bfloat16=precision == PRECISIONS[1],
    )


NODES = [SketchTrainStyleGAN]
