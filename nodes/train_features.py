"""Feature networks of your own classes: a ResNet whose last map compares pictures."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .. import host
from ..networks.frozen import ordinary
from .diffsketching import PAPER
from .extractors import FEATURES, load_features, usable
from .parts.checks import check_numbers
from .parts.folders import input_folder
from .parts.sockets import FeaturesSocket
from .parts.training import (
    PRECISIONS,
    PhotoTraining,
    batch_input,
    common_inputs,
    goal_of,
    labelled_photos_input,
    learning_rate_input,
    left_out,
    minutes_input,
    model_and_state,
    name_input,
    plot_output,
    shown,
    started,
    steps_input,
    summary,
    weight_decay_input,
)

NETWORKS = ("ResNet-50", "ResNet-26", "ResNet-14")  # as in training.features, which a session loads only to train
OPTIMISERS = ("AdamW", "SGD (published)")  # the same


class SketchTrainFeatures(PhotoTraining):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainFeatures",
            display_name="Train Sketch Features",
            category="sketch/training",
            description="Trains a ResNet to tell the classes of your own photos, so that its last map compares "
            "pictures by what matters in them: for the reference of DiffSketching and for Appearance Energy.",
            search_aliases=[*PAPER, "feature_train", "ResNet-50", "Sketchy", "train feature network"],
            is_output_node=True,
            inputs=[
                name_input("my features", "models/sketch_features"),
                labelled_photos_input(),
                FeaturesSocket.Input(
                    "start",
                    optional=True,
                    tooltip="A ResNet to begin with, from Load Sketch Features: ImageNet's ResNet-50 as published. "
                    "network and width must be its own. If not connected: random weights.",
                ),
                io.Combo.Input(
                    "network",
                    options=list(NETWORKS),
                    tooltip="Published: ResNet-50. The smaller ones have 2 and 1 blocks in each layer.",
                ),
                io.Int.Input(
                    "width",
                    default=64,
                    min=8,
                    max=128,
                    step=8,
                    tooltip="Width of the network, 8 to 128, a multiple of 8. Published: 64. 16 is fast enough on a "
                    "CPU.",
                ),
                io.Int.Input(
                    "size",
                    default=256,
                    min=64,
                    max=512,
                    step=32,
                    tooltip="Side in pixels it trains on, 64 to 512. Published: 256. It runs at any size.",
                ),
                steps_input(5000, "Published: 100 epochs of 49 steps."),
                minutes_input(),
                batch_input(32, "Published: 256."),
                learning_rate_input(0.001, "0.001"),
                io.Combo.Input(
                    "optimiser",
                    options=list(OPTIMISERS),
                    tooltip="AdamW learns faster, most of all from random weights. SGD has a momentum of 0.9.",
                ),
                weight_decay_input(0.0, "0"),
                *common_inputs(),
            ],
            outputs=[
                FeaturesSocket.Output(
                    "features", display_name="features", tooltip="For DiffSketching and Appearance Energy."
                ),
                plot_output(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        name: str,
        photos: str,
        network: str,
        width: int,
        size: int,
        steps: int,
        minutes: float,
        batch: int,
        learning_rate: float,
        optimiser: str,
        weight_decay: float,
        precision: str,
        seed: int,
        save_minutes: float,
        begin: str,
        start: Any = None,
    ) -> io.NodeOutput:
        from ..training import labelled
        from ..training.features import feature_lesson
        from ..training.one import train_one

        check_numbers(minutes=minutes, learning_rate=learning_rate, weight_decay=weight_decay)
        check_numbers(save_minutes=save_minutes)
        goal = goal_of(steps, minutes)
        begun = None if start is None else resnet_weights(start)
        found = labelled.by_class(input_folder(photos))
        model_path, state_dir = model_and_state(FEATURES, name)
        own = {"network": network, "width": width, "batch": batch, "seed": seed, "optimiser": optimiser}
        rates = {"learning_rate": learning_rate, "weight_decay": weight_decay, "autocast": precision == PRECISIONS[1]}
        with started(cls, model_path, state_dir, begin, save_minutes, {"features": (0.0, 1.0)}) as (device, options):
            lesson, judge = feature_lesson(found, size, **own, **rates, start=begun, device=device)
            trained = train_one(lesson, model_path, state_dir, goal, options)
            told = judge()
        text = summary(trained.courses, model_path) + "\n" + told + left_out(found.photos.left_out)
        (plot, _) = shown(trained)
        return io.NodeOutput(load_features(model_path.name), plot, ui=host.text_on_node(cls, text))


def resnet_weights(features: Any) -> dict[str, Any]:
    """The weights of a ResNet on a SKETCH_FEATURES socket. ValueError: another network."""
    found = usable(features)
    if found.kind != "resnet":
        raise ValueError(
            f"'{found.name}' at start is a network of kind {found.kind}, but a ResNet is trained here. Connect a "
            "ResNet file from Load Sketch Features, or nothing."
        )
    return {key: ordinary(value).cpu() for key, value in found.network.patcher.model.state_dict().items()}


NODES = [SketchTrainFeatures]
