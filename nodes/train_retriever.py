"""Training a network that finds photos by sketch, on folders of sketches and photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io
from PIL import Image

from .. import host
from ..pictures.drawings.raster import read_picture
from ..pipelines.retrieval import search
from ..pipelines.retrieval.retriever import Retriever
from .parts.folders import input_folder
from .parts.pictures import to_image
from .parts.retrieval import FOLDER, PAPER, load, load_network, sheet_of
from .parts.sockets import RetrieverSocket
from .parts.training import (
    PRECISIONS,
    SketchTraining,
    check_widgets,
    common_inputs,
    folder_input,
    goal_of,
    left_out,
    minutes_input,
    model_and_state,
    name_input,
    plot_output,
    shown,
    started,
    steps_input,
    summary,
)

if TYPE_CHECKING:  # imported where it is used: most sessions train nothing
    from ..training.retrieval.data import Kind, Kinds

NETWORKS = {"small, as built in": "small", "ViT-B/16, as published": "published"}
ANCHORS = ("49", "144", "196")
EVEN, FAULTY = "every picture alike", "as published"
DECAY, CONSTANT = "warm-up and decay", "constant, as published"
NOTHING = "new weights"
SHOWN = (4, 24)  # sketches of the preview, and photos that they search


def settings_inputs() -> list[io.Input]:
    """What the training is like. As a function: the files to begin from are listed anew each time."""
    return [
        io.Combo.Input(
            "network",
            options=list(NETWORKS),
            tooltip="small: 64 px, 1.6 million parameters, learns on a CPU. ViT-B/16: 224 px, 102 million "
            "parameters, wants a GPU and a start.",
        ),
        steps_input(5000, "Published: 20000."),
        minutes_input(),
        io.Int.Input(
            "batch",
            default=15,
            min=1,
            max=256,
            tooltip="Items per step, 1 to 256; each has two sketches and two photos. Published: 15.",
        ),
        io.Float.Input(
            "learning_rate",
            default=1e-3,
            min=1e-7,
            max=0.1,
            step=1e-6,
            round=1e-7,
            tooltip="AdamW's, 0.0000001 to 0.1. 0.001 for new weights; 0.00001 from a ViT, as published.",
        ),
        io.Combo.Input(
            "start",
            options=[NOTHING, *host.model_files(FOLDER)],
            tooltip="What the network begins from: a ViT-B/16 in models/sketch_retrievers (as published: "
            "sam_ViT-B_16.pth; those of timm and Hugging Face work too), a retriever of the same size, or nothing.",
        ),
        io.Float.Input(
            "held_out",
            default=0.1,
            min=0.0,
            max=0.9,
            step=0.05,
            tooltip="Share of the classes that are never learned from, 0 to 0.9: a search among them measures the "
            "network (mAP), and the best weights are kept. 0: the last are kept.",
        ),
        io.String.Input(
            "test_classes",
            default="",
            advanced=True,
            tooltip="Names of the classes to hold out, with commas between them, instead of a share. Empty: held_out.",
        ),
        io.Int.Input(
            "validate_every",
            default=200,
            min=1,
            max=1_000_000,
            advanced=True,
            tooltip="Steps between two validations, 1 to 1000000. Published: an epoch of 667, from the 10th on.",
        ),
        io.Combo.Input(
            "anchors",
            options=list(ANCHORS),
            advanced=True,
            tooltip="Vectors of each picture that the relation network of ViT-B/16 compares. Published: 49; 144 with "
            "token selection; 196 are all tokens. The small network has 16.",
        ),
        io.Float.Input(
            "contrast",
            default=1.0,
            min=0.0,
            max=100.0,
            step=0.1,
            advanced=True,
            tooltip="Weight of a contrast over the batch on the tokens that a search compares, 0 to 100. Published: 0.",
        ),
        io.Float.Input(
            "dropout",
            default=0.0,
            min=0.0,
            max=0.9,
            step=0.05,
            advanced=True,
            tooltip="Dropout of encoder and cross-attention, 0 to 0.9. Published: 0.1.",
        ),
        io.Float.Input(
            "weight_decay",
            default=0.01,
            min=0.0,
            max=1.0,
            step=0.001,
            advanced=True,
            tooltip="AdamW's weight decay, 0 to 1. Published: 0.01.",
        ),
        io.Combo.Input(
            "schedule",
            options=[DECAY, CONSTANT],
            advanced=True,
            tooltip="warm-up and decay: a cosine to the end of the run, and an average of the weights. constant: as "
            "published.",
        ),
        io.Combo.Input(
            "sampling",
            options=[EVEN, FAULTY],
            advanced=True,
            tooltip="every picture alike, or with the faults of the published code: the first sketch and photo of each "
            "class are never drawn.",
        ),
    ]


class SketchTrainRetriever(SketchTraining):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainRetriever",
            display_name="Train Sketch Retriever",
            category="sketch/training",
            description="Trains a network that finds photos by sketch on your own sketches and photos, by class or in "
            "pairs. Cancelling loses nothing; queue again to continue.",
            search_aliases=[*PAPER, "train", "fine-tune", "triplet loss", "metric learning"],
            is_output_node=True,
            inputs=[
                name_input("my retriever", "models/sketch_retrievers"),
                folder_input(
                    "photos",
                    "Photos: a sub-folder for each class, or single photos that have sketches of their names.",
                ),
                folder_input(
                    "sketches",
                    "Sketches: a sub-folder for each class, named as that of the photos, or sketches named like their "
                    "photos (boat.png, boat-2.png).",
                ),
                *settings_inputs(),
                *common_inputs(),
                io.String.Input(
                    "sets",
                    optional=True,
                    force_input=True,
                    tooltip="The folder from Synthesize Sketch Sets: each photo is found by its own drawings. If "
                    "connected, sketches is ignored.",
                ),
            ],
            outputs=[
                RetrieverSocket.Output(
                    "retriever", display_name="retriever", tooltip="For Index Photos and Explain Match."
                ),
                plot_output("Losses and validation over the steps, for all runs."),
                io.Image.Output(
                    "preview", display_name="preview", tooltip="Sketches, and the photos that they find, best first."
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
        begin: str,
        save_minutes: float,
        steps: int,
        minutes: float,
        start: str,
        held_out: float,
        test_classes: str,
        validate_every: int,
        sets: str | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        from ..training.one import train_one
        from ..training.retrieval import run
        from ..training.retrieval.data import listed, split

        check_widgets(widgets, save_minutes=save_minutes, minutes=minutes, held_out=held_out)
        settings, autocast = settings_from(**widgets)
        goal = goal_of(steps, minutes)
        model_path, state_dir = model_and_state(FOLDER, name)
        known = kinds_of(input_folder(photos), input_folder(sets or sketches), bool(sets))
        learned, tested = split(known.kinds, listed(test_classes), held_out, settings.seed)
        begins = None if start == NOTHING else Path(host.model_file("start", FOLDER, start))
        said: list[str] = []
        with started(cls, model_path, state_dir, begin, save_minutes, {"retriever": (0.0, 1.0)}) as (device, options):
            lesson = run.retrieval_lesson(
                settings,
                learned,
                tested,
                start=begins,
                every_sketch=1,
                every_photo=1,
                validate_every=validate_every,
                device=device,
                autocast=autocast,
                say=said.append,
            )
            trained = train_one(lesson, model_path, state_dir, goal, options)
        retriever = Retriever((load_network(model_path.name),))
        best = lesson.notes().get("map_all")
        said += [f"{len(learned)} classes learned, {len(tested)} held out"]
        said += [f"best mAP {best:.3f}"] if best is not None else []
        text = "\n".join([*said, summary(trained.courses, model_path)]) + left_out(known.left_out)
        seen = to_image(preview(retriever, tested or learned))
        return io.NodeOutput(retriever, shown(trained)[0], seen, ui=host.text_on_node(cls, text))


def settings_from(
    network: str,
    anchors: str,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    dropout: float,
    contrast: float,
    sampling: str,
    schedule: str,
    precision: str,
    seed: int,
) -> tuple[Any, bool]:
    """The training's settings by the names of the widgets, and whether it computes in bfloat16."""
    from ..training.retrieval.run import SMALL, Settings

    kind = NETWORKS[network]
    settings = Settings(
        network=kind,
        anchors=SMALL["anchors"] if kind == "small" else int(anchors),
        batch=batch,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        dropout=dropout,
        contrast=contrast,
        fair=sampling == EVEN,
        steady=schedule == CONSTANT,
        seed=seed,
    )
    settings.check()
    return settings, precision == PRECISIONS[1]


def kinds_of(photos: Path, sketches: Path, sets: bool) -> Kinds:
    """The classes in two folders; of sketch sets, each photo with its drawing in every set. ValueError: no pairs."""
    from ..training import photos as photo_folders
    from ..training.retrieval.data import Kind, Kinds, kinds_in

    if not sets:
        return kinds_in(sketches, photos)
    found = photo_folders.paired(photos, photo_folders.set_folders(sketches))
    drawn = zip(*found.sketches, strict=True)
    kinds = [Kind(photo.stem, tuple(own), (photo,)) for photo, own in zip(found.photos, drawn, strict=True)]
    return Kinds(kinds, found.left_out)


def preview(retriever: Retriever, kinds: list[Kind]) -> Image.Image:
    """A few sketches and what they find among a few photos, one row each, best first."""
    load(retriever)
    drawn = [kind.sketches[-1] for kind in kinds[: SHOWN[0]]]
    spread = kinds[:: max(1, len(kinds) // SHOWN[1])]
    shown_kinds = dict.fromkeys([*kinds[: SHOWN[0]], *spread])
    photos = [read_picture(path) for kind in shown_kinds for path in kind.photos[:1]]
    sketches = [read_picture(path) for path in drawn]
    found, labels = [], []
    with torch.inference_mode():
        vectors = torch.cat(retriever.embed(retriever.photos(photos)), 1)
        for sketch in sketches:
            (ranking,) = search.best(vectors, retriever.embed(retriever.sketches([sketch])), 6)
            found.append([photos[row] for row in ranking.rows])
            labels.append([f"{score:.2f}" for score in ranking.scores])
    return sheet_of(sketches, found, labels, 160)


NODES = [SketchTrainRetriever]
