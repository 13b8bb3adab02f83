"""Door to training the sketch GAN on one's own photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .. import host
from ..networks.sketchgan.keys import KINDS
from ..pictures.features import Features
from .extractors import comparing
from .parts.folders import input_folder, prefix_of
from .parts.training import (
    PRECISIONS,
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
    state_below,
    summary,
    valid,
)
from .sketchgan import FOLDER, PAPER, GANSocket, load_gan

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
        tooltip=f"A factor on the {of}'s learning rate, 0.1 to 10. Published: 1. For runs of an hour or less {short}.",
    )


class SketchTrainGAN(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainGAN",
            display_name="Train Sketch GAN",
            category="sketch/training",
            description="Trains a network that paints sketches in a style, on your own photos and sketches of them: "
            "first an autoencoder, then a generator. Cancel keeps everything; queue again to go on.",
            search_aliases=[*PAPER, "train", "fine-tune", "self-supervised", "autoencoder", "AAAI 2021"],
            is_output_node=True,
            inputs=[
                name_input("my sketch gan", "models/sketch_gan"),
                folder_input("photos", "A folder of photos, better 500 or more. Squashed to squares, as published."),
                folder_input(
                    "sketches",
                    "A folder whose sub-folders are the sketch sets, one to ten, by name, the cleanest last: each with "
                    "a sketch of every photo under the photo's name. Without sub-folders it is the only set.",
                ),
                features_input("What pictures are compared by: the built-in network, or an LPIPS or VGG16 file."),
                io.Combo.Input(
                    "kind",
                    options=list(KINDS),
                    tooltip="art: anything. face: a lighter generator for portraits. shoe: for few photos of single "
                    "things; the style then comes through the draft alone.",
                ),
                size_input("Side of its pictures in pixels. Published: 512 and 1024; 128 and 256 are quicker by far."),
                io.Int.Input(
                    "width",
                    default=32,
                    min=8,
                    max=128,
                    step=8,
                    tooltip="Width of the networks (nfc), 8 to 128, a multiple of 8. Published: 64. 16 to 32 for 128 "
                    "and 256 pixels.",
                ),
                io.Int.Input(
                    "draft_steps",
                    default=20_000,
                    min=0,
                    max=10_000_000,
                    tooltip="Steps of the autoencoder in all. Published: 100000 with a batch of 32. 0: as the minutes "
                    "say. Once the generator has begun, the autoencoder stays as it is.",
                ),
                io.Int.Input(
                    "gan_steps",
                    default=20_000,
                    min=0,
                    max=10_000_000,
                    tooltip="Steps of the generator in all. Published: 200000 with a batch of 16. 0: as the minutes "
                    "say, and without minutes none: an autoencoder alone, which paints drafts.",
                ),
                minutes_input("Learns no longer than this in all, two fifths of it the autoencoder"),
                io.Int.Input(
                    "batch",
                    default=8,
                    min=2,
                    max=128,
                    tooltip="Photos at once, 2 to 128; 8 or more learn better. Published: 32, then 16. If memory runs "
                    "out, halve it and double accumulate.",
                ),
                io.Int.Input(
                    "accumulate",
                    default=1,
                    min=1,
                    max=64,
                    advanced=True,
                    tooltip="Batches that make one step, 1 to 64: as a larger batch, in less memory and more time.",
                ),
                io.Int.Input(
                    "pictures_in_a_set",
                    default=500,
                    min=2,
                    max=100_000,
                    advanced=True,
                    tooltip="So many photos the style encoder learns to tell apart at a time, 2 to 100000. Published: "
                    "500. At most as many as there are.",
                ),
                io.Float.Input(
                    "information",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Weight of the mutual-information term, which keeps style out of the content encoder, 0 to "
                    "1. The release has none (0); this is our formulation of the paper's idea.",
                ),
                *common_inputs("the kept state (<name>.training), and the first save replaces <name>.safetensors"),
                io.String.Input(
                    "sets",
                    optional=True,
                    force_input=True,
                    tooltip="The folder from Synthesize Sketch Sets; it goes before sketches.",
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
                    tooltip="Share of each stage at whose end the learning rates fall to nothing, 0 to 1. Published: "
                    "0; 0.3 makes a short run's pictures cleaner.",
                ),
            ],
            outputs=[
                GANSocket.Output("gan", display_name="gan", tooltip="For Sketch GAN Style and Sketch GAN Decode."),
                *picture_outputs(
                    "Sketches, photos, drafts, refined pictures, and refined pictures in the next photo's style."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls, name: str | None, photos: str | None, sketches: str | None, sets: str | None = ""
    ) -> bool | str:
        return valid(name, photos, sketches if sets == "" else sets)  # sets: None where it is linked

    @classmethod
    def fingerprint_inputs(cls, photos: str | None, sketches: str | None, sets: str | None = "", **_: Any) -> str:
        return state_below(photos, sketches if sets == "" else sets)

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
        from ..training.sketchgan.losses import check_batch

        settings = settings_from(**widgets)
        check_batch(settings.batch)
        model_path, state_dir = model_and_state(FOLDER, name)
        goals = gan_goals(widgets["draft_steps"], widgets["gan_steps"], widgets["minutes"])
        pictures = photo_folders.paired(
            input_folder(photos),
            photo_folders.set_folders(input_folder(sets or sketches)),
            prefix_of("exemplars", photos),
        )
        if pictures.count < settings.batch:
            raise ValueError(
                f"A batch of {settings.batch} needs as many photos with sketches; there are {pictures.count}. "
                "Add photos, or lower the batch."
            )
        notes = {"features": features.name, "pictures": pictures.count, "sketch_sets": pictures.sets}
        with started(cls, model_path, state_dir, begin, save_minutes, SPANS) as (device, options):
            trained = runs.train_gan(
                pictures,
                comparing(features),
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
