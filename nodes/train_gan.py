"""Training the sketch GAN on a folder of photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .. import host
from ..networks.sketchgan.keys import KINDS
from ..pictures.features import Features
from .extractors import comparing
from .parts import search
from .parts.folders import input_folder, prefix_of
from .parts.sockets import GANSocket
from .parts.training import (
    PRECISIONS,
    SketchTraining,
    check_widgets,
    common_inputs,
    discriminator_width,
    features_input,
    folder_input,
    gan_goals,
    left_out,
    minutes_input,
    model_and_state,
    name_input,
    picture_outputs,
    shown,
    size_input,
    started,
    summary,
)
from .sketchgan import FOLDER, PAPER, load_gan

if TYPE_CHECKING:  # imported where it is used: most sessions train nothing
    from ..training.sketchgan.lessons import Settings

SPANS = {"autoencoder": (0.0, 0.5), "gan": (0.5, 1.0)}  # of the progress bar


def rate_input(name: str, of: str, short: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=1.0,
        min=0.1,
        max=10.0,
        step=0.1,
        advanced=True,
        tooltip=f"Multiplies the {of}'s learning rate, 0.1 to 10. Published: 1. For runs up to an hour try {short}.",
    )


class SketchTrainGAN(SketchTraining):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainGAN",
            display_name="Train Sketch GAN",
            category="sketch/training",
            description="Trains a network that paints sketches in a style, on your own photos and sketches of them: "
            "first an autoencoder, then a generator. Cancelling loses nothing; queue again to continue.",
            search_aliases=[*PAPER, "self-supervised", "autoencoder", "AAAI 2021", *search.TRAINING],
            is_output_node=True,
            inputs=[
                name_input("my sketch gan", "models/sketch_gan"),
                folder_input(
                    "photos", "A folder of photos, ideally 500 or more. They are stretched to squares, as published."
                ),
                folder_input(
                    "sketches",
                    "A folder with 1 to 10 sub-folders, the sketch sets, sorted by name with the cleanest last. Each "
                    "contains a sketch of every photo under the photo's file name. A folder without sub-folders is a "
                    "single set.",
                ),
                features_input(
                    "The network by which pictures are compared: the built-in one, or an LPIPS or VGG16 file."
                ),
                io.Combo.Input(
                    "kind",
                    options=list(KINDS),
                    tooltip="art: for anything. face: a lighter generator for portraits. shoe: for small sets of "
                    "photos of single objects; the style then acts only through the draft.",
                ),
                size_input("Side of its pictures in pixels. Published: 512 and 1024; 128 and 256 train much faster."),
                io.Int.Input(
                    "width",
                    default=32,
                    min=8,
                    max=128,
                    step=8,
                    advanced=True,
                    tooltip="Width of the networks (nfc in the published code), 8 to 128, a multiple of 8. Published: "
                    "64. Use 16 to 32 for 128 and 256 pixels.",
                ),
                io.Int.Input(
                    "draft_steps",
                    default=20_000,
                    min=0,
                    max=10_000_000,
                    tooltip="Total number of autoencoder steps, 0 to 10000000. Published: 100000 with a batch of 32. "
                    "0: limited by minutes only. Once the generator has started training, the autoencoder no longer "
                    "changes.",
                ),
                io.Int.Input(
                    "gan_steps",
                    default=20_000,
                    min=0,
                    max=10_000_000,
                    tooltip="Total number of generator steps, 0 to 10000000. Published: 200000 with a batch of 16. 0: "
                    "limited by minutes only; if minutes is 0 too, only the autoencoder is trained, which paints "
                    "drafts.",
                ),
                minutes_input(
                    "Maximum total training time in minutes, 0 to 100000, two fifths of it for the autoencoder"
                ),
                io.Int.Input(
                    "batch",
                    default=8,
                    min=2,
                    max=128,
                    tooltip="Photos per batch, 2 to 128; 8 or more train better. Published: 32 for the autoencoder, "
                    "16 for the generator. If memory runs out, halve it and double accumulate.",
                ),
                io.Int.Input(
                    "accumulate",
                    default=1,
                    min=1,
                    max=64,
                    advanced=True,
                    tooltip="Batches accumulated per step, 1 to 64: the effect of a larger batch with less memory but "
                    "more time.",
                ),
                io.Int.Input(
                    "pictures_in_a_set",
                    default=500,
                    min=2,
                    max=100_000,
                    advanced=True,
                    tooltip="Number of photos the style encoder learns to tell apart at a time, 2 to 100000, at most "
                    "the number available. Published: 500.",
                ),
                io.Float.Input(
                    "information",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Weight of the mutual-information term, which keeps style out of the content encoder, 0 "
                    "to 1. The released code has none (0); the term is our formulation of the paper's idea.",
                ),
                *common_inputs(),
                io.String.Input(
                    "sets",
                    optional=True,
                    force_input=True,
                    tooltip="The folder from Synthesize Sketch Sets. If connected, sketches is ignored.",
                ),
                rate_input("rate", "autoencoder", "5"),
                rate_input("gan_rate", "generator", "2 to 3"),
                io.Float.Input(
                    "rest",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Fraction at the end of each stage over which the learning rate decays to zero, 0 to 1. "
                    "Published: 0. 0.3 gives cleaner pictures in a short run.",
                ),
            ],
            outputs=[
                GANSocket.Output("gan", display_name="gan", tooltip="For Sketch GAN Style and Sketch GAN Decode."),
                *picture_outputs(
                    "Sketches, photos, drafts, refined pictures, and refined pictures in the style of the next photo."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        name: str,
        photos: str,
        sketches: str,
        features: Features,
        begin: str,
        save_minutes: float,
        sets: str | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        from ..training import photos as photo_folders
        from ..training.sketchgan import runs

        check_widgets(widgets, save_minutes=save_minutes)
        settings = settings_from(**widgets)
        settings.check()
        features = comparing(features)
        model_path, state_dir = model_and_state(FOLDER, name)
        goals = gan_goals(widgets["draft_steps"], widgets["gan_steps"], widgets["minutes"])
        pictures = photo_folders.paired(
            input_folder(photos),
            photo_folders.set_folders(input_folder(sets or sketches)),
            prefix_of("exemplars", photos),
        )
        if pictures.count < settings.batch:
            raise ValueError(
                f"A batch of {settings.batch} needs at least {settings.batch} photos with sketches, got "
                f"{pictures.count}. Add photos, or lower batch."
            )
        notes = {"features": features.name, "pictures": pictures.count, "sketch_sets": pictures.sets}
        with started(cls, model_path, state_dir, begin, save_minutes, SPANS) as (device, options):
            trained = runs.train_gan(
                pictures,
                features,
                settings,
                model_path,
                state_dir,
                goals,
                device=device,
                options=options,
                notes=notes,
            )
        text = summary(trained.courses, model_path) + left_out(pictures.left_out)
        return io.NodeOutput(load_gan(model_path.name), *shown(trained), ui=host.text_on_node(cls, text))


def settings_from(
    kind: str,
    size: str,
    width: int,
    batch: int,
    accumulate: int,
    pictures_in_a_set: int,
    information: float,
    precision: str,
    seed: int,
    rate: float = 1.0,
    gan_rate: float = 1.0,
    rest: float = 0.0,
    **_: Any,
) -> Settings:
    """The training's settings by the names of the widgets."""
    from ..training.sketchgan.lessons import Settings

    return Settings(
        kind=kind,
        size=int(size),
        width=width,
        discriminator=discriminator_width(width),
        batch=batch,
        accumulation_steps=accumulate,
        classes=pictures_in_a_set,
        seed=seed,
        bfloat16=precision == PRECISIONS[1],
        mutual_information=information,
        ae_rate=rate,
        gan_rate=gan_rate,
        decay_share=rest,
    )


NODES = [SketchTrainGAN]
