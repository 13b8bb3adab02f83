"""DiffSketching's trainings: a few rounds that teach a model to paint what sketch and reference show, and noisy
classifiers of your own classes."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..guidance import decoders
from ..networks.schedules import SCHEDULES
from ..pictures.extractors import EDGES
from ..pictures.fit import as_rgb
from ..samplers import finetune, levels
from .diffsketching import CLASSIFIERS, PAPER, dark_on_light, feature_network, load_classifier
from .inversion import EXTRACTOR_TIP, MODEL_TIP, SKETCH_TIP, VAE_TIP, decoder_input
from .parts.checks import check_conditioning, check_numbers
from .parts.folders import input_folder
from .parts.sockets import ClassifierSocket, ExtractorSocket, FeaturesSocket
from .parts.training import (
    PRECISIONS,
    SCHEDULE_SAMPLERS,
    SIDES,
    PhotoTraining,
    batch_input,
    common_inputs,
    ema_input,
    goal_of,
    labelled_photos_input,
    learning_rate_input,
    left_out,
    minutes_input,
    model_and_state,
    name_input,
    picture_outputs,
    plot_output,
    schedule_sampler_input,
    shown,
    started,
    steps_input,
    summary,
    valid,
    weight_decay_input,
)

LORAS = "loras"
OPTIMISERS = ("Adam", "SGD (published)")  # as in training.finetune, which a session loads only where it trains
SPANS = {"lora": (0.0, 1.0)}  # of the progress bar


class SketchFineTune(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchFineTune",
            display_name="Fine-tune on a Sketch",
            category="sketch/training",
            description="DiffSketching's fine-tuning as a LoRA: a few rounds of a short deterministic walk teach the "
            "model to paint pictures whose drawing is your sketch and whose content is the reference's.",
            search_aliases=[*PAPER, "DiffusionCLIP", "LoRA", "fine-tune", "few-step training"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP + " LoRAs and energies already on it are not trained."),
                name_input("my sketch", "models/loras"),
                io.Conditioning.Input("positive", tooltip="The prompt, or Pixel Prior Label for a pixel prior."),
                io.Image.Input("sketch", tooltip=SKETCH_TIP),
                io.Image.Input(
                    "reference",
                    tooltip="The photo that the walk starts from, noised, and whose content is compared. One, or one "
                    "per sketch. Its size is the working size.",
                ),
                io.Vae.Input("vae", tooltip=VAE_TIP),
                ExtractorSocket.Input("extractor", optional=True, tooltip=EXTRACTOR_TIP),
                FeaturesSocket.Input(
                    "perceptual",
                    optional=True,
                    tooltip="What compares the drawings, from Load Sketch Features; LPIPS as published. If not "
                    "connected: the built-in network.",
                ),
                FeaturesSocket.Input(
                    "features",
                    optional=True,
                    tooltip="What compares picture and reference; ResNet-50 as published. If not connected: the "
                    "built-in network.",
                ),
                io.Int.Input(
                    "rounds",
                    default=20,
                    min=1,
                    max=10_000,
                    tooltip="Rounds in all, 1 to 10000: each is one walk and one step of the optimiser.",
                ),
                minutes_input("Maximum total time in minutes, 0 to 100000"),
                io.Int.Input(
                    "steps",
                    default=6,
                    min=1,
                    max=100,
                    tooltip="Steps of the walk, 1 to 100. Time grows with them, memory hardly.",
                ),
                io.Float.Input(
                    "t0",
                    default=0.7,
                    min=0.05,
                    max=1.0,
                    step=0.01,
                    tooltip="How far the reference is noised, 0.05 to 1, as in Noise to t0. As in the paper's figure: "
                    "1.",
                ),
                io.Int.Input("rank", default=4, min=1, max=128, tooltip="Rank of the LoRA, 1 to 128."),
                io.Float.Input(
                    "learning_rate",
                    default=0.0001,
                    min=0.00001,
                    max=1.0,
                    step=0.0001,
                    round=0.00001,
                    tooltip="0.00001 to 1. 0.0001 suits Adam; pictures smear at 0.002. Published for SGD on all "
                    "weights: 0.001.",
                ),
                io.Combo.Input("optimiser", options=list(OPTIMISERS), tooltip="Adam learns in far fewer rounds."),
                io.Float.Input(
                    "sketch_weight",
                    default=2.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="0 to 1000. Above 1 the drawing counts more than the reference, which pulls towards its "
                    "own layout. Published: 1.",
                ),
                io.Float.Input(
                    "reference_weight", default=1.0, min=0.0, max=1000.0, step=0.1, tooltip="0 to 1000. Published: 1."
                ),
                decoder_input(),
                *common_inputs()[1:],
            ],
            outputs=[
                io.Model.Output("patched", display_name="model", tooltip="The model with the LoRA at strength 1."),
                io.String.Output("lora", tooltip="The file's name for Load LoRA."),
                *picture_outputs("What the tuned model's walk ends with."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        return valid(name)

    @classmethod
    def execute(
        cls,
        model: Any,
        name: str,
        positive: Any,
        sketch: Tensor,
        reference: Tensor,
        vae: Any,
        rounds: int,
        minutes: float,
        steps: int,
        t0: float,
        rank: int,
        learning_rate: float,
        optimiser: str,
        sketch_weight: float,
        reference_weight: float,
        decoder: str,
        seed: int,
        save_minutes: float,
        begin: str,
        extractor: Any = None,
        perceptual: Any = None,
        features: Any = None,
    ) -> io.NodeOutput:
        from ..training.finetune import Losses
        from ..training.one import train_one

        check_numbers(minutes=minutes, t0=t0, learning_rate=learning_rate, save_minutes=save_minutes)
        check_numbers(sketch_weight=sketch_weight, reference_weight=reference_weight)
        sketch, reference = dark_on_light(as_rgb(sketch, "sketch")), as_rgb(reference, "reference")
        check_conditioning(model, positive, "positive")
        host.check_image_model(model)
        if not sketch_weight and not reference_weight:
            raise ValueError("Both weights are 0, so nothing would be learned. Set one of them above 0.")
        losses = Losses(
            sketch,
            reference,
            extractor or EDGES,
            feature_network("perceptual", perceptual),
            feature_network("features", features),
            sketch_weight,
            reference_weight,
        )
        eye = decoders.choose(model, vae, decoder)
        family = host.noise_family(model)
        sigmas = levels.walk(family, levels.start_sigma(family, t0)[0], steps)
        latent = host.encode(model, vae, reference, "reference")
        model_path, state_dir = model_and_state(LORAS, name)
        identity = {"rank": rank, "seed": seed, "steps": steps, "optimiser": optimiser}
        own = {"rank": rank, "seed": seed, "learning_rate": learning_rate, "optimiser": optimiser}
        with started(cls, model_path, state_dir, begin, save_minutes, SPANS) as (_, options):

            def train(start: finetune.Start) -> tuple[Any, Tensor]:
                lesson, paint = lesson_of(start, eye, losses, identity=identity, **own)
                return train_one(lesson, model_path, state_dir, goal_of(rounds, minutes), options), paint()

            trained = finetune.trained(model, positive, latent, sigmas, seed, train)
        text = summary(trained.courses, model_path) + _fallen(trained.courses["lora"].rows)
        tuned = host.with_lora(model, trained.weights)
        return io.NodeOutput(tuned, model_path.name, *shown(trained), ui=host.text_on_node(cls, text))


def _fallen(rows: list[dict[str, float]]) -> str:
    """A line that says how the losses went; empty before there are two rows."""
    names = [name for name in ("image", "sketch") if rows and name in rows[0]]
    if len(rows) < 2:
        return ""
    return "\n" + ", ".join(f"{name} {rows[0][name]:.3g} to {rows[-1][name]:.3g}" for name in names)


def lesson_of(
    start: finetune.Start,
    eye: decoders.Decoder,
    losses: Any,
    *,
    rank: int,
    seed: int,
    learning_rate: float,
    optimiser: str,
    identity: dict[str, Any],
) -> tuple[Any, Any]:
    """The lesson on a loaded model, and a function that gives the latent its walk ends with now. losses: see
    training.finetune."""
    from ..training.finetune import FineTuneLesson, walk

    device = start.x.device
    tuning = host.Tuning(start.base, device, rank, seed)
    decode = eye.prepare(start.base, device)

    def latent() -> Tensor:
        weights = tuning.changed()
        return walk(lambda x, sigma: start.predict(tuning, weights, x, sigma), start.x, start.sigmas)

    def paint() -> Tensor:
        return decode.image(latent())

    image, drawn = losses.prepare(device, decode.image(start.x).detach())
    lesson = FineTuneLesson(
        *(tuning, paint, image, drawn, tuning.file),
        learning_rate=learning_rate,
        optimiser=optimiser,
        identity=identity,
    )

    return lesson, lambda: latent().detach()


class SketchTrainClassifier(PhotoTraining):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainClassifier",
            display_name="Train Sketch Classifier",
            category="sketch/training",
            description="Trains a noisy classifier on your own photos, one sub-folder per class, so that Class "
            "Guidance can steer a pixel prior towards your classes.",
            search_aliases=[*PAPER, "noisy classifier", "train classifier", "classifier_train"],
            is_output_node=True,
            inputs=[
                name_input("my classifier", "models/sketch_classifiers"),
                labelled_photos_input(),
                io.Combo.Input(
                    "size",
                    options=list(SIDES),
                    tooltip="Side in pixels it trains on: that of the pixel prior it will steer. It runs at any size.",
                ),
                io.Int.Input(
                    "width",
                    default=64,
                    min=16,
                    max=256,
                    step=16,
                    tooltip="Width of the network, 16 to 256. Published: 128. 32 is fast enough on a CPU.",
                ),
                io.Int.Input(
                    "depth", default=2, min=1, max=4, tooltip="Residual blocks per level, 1 to 4. Published: 2."
                ),
                steps_input(10_000, "Published: 150000."),
                minutes_input(),
                batch_input(16),
                learning_rate_input(0.0003, "0.0003"),
                weight_decay_input(0.05, "0.05", advanced=False),
                io.Combo.Input(
                    "noise_schedule",
                    options=list(SCHEDULES),
                    advanced=True,
                    tooltip="The noise schedule of the prior it will steer.",
                ),
                *common_inputs(),
                schedule_sampler_input(),
                ema_input("", "Published: empty, which keeps the weights as they are."),
            ],
            outputs=[
                ClassifierSocket.Output(
                    "classifier", display_name="classifier", tooltip="For Class Guidance and DiffSketching."
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
        size: str,
        width: int,
        depth: int,
        steps: int,
        minutes: float,
        batch: int,
        learning_rate: float,
        weight_decay: float,
        noise_schedule: str,
        precision: str,
        seed: int,
        save_minutes: float,
        begin: str,
        schedule_sampler: str = SCHEDULE_SAMPLERS[0],
        ema_rate: str = "",
    ) -> io.NodeOutput:
        from ..training import labelled
        from ..training.noisy_classifier import classifier_lesson
        from ..training.one import train_one
        from ..training.prior import rates_of

        check_numbers(minutes=minutes, learning_rate=learning_rate, weight_decay=weight_decay)
        check_numbers(save_minutes=save_minutes)
        goal = goal_of(steps, minutes)
        found = labelled.by_class(input_folder(photos))
        model_path, state_dir = model_and_state(CLASSIFIERS, name)
        own = {"width": width, "depth": depth, "batch": batch, "seed": seed, "noise_schedule": noise_schedule}
        own |= {"sampler": schedule_sampler, "ema": rates_of(ema_rate) if ema_rate.strip() else ()}
        rates = {"learning_rate": learning_rate, "weight_decay": weight_decay, "autocast": precision == PRECISIONS[1]}
        with started(cls, model_path, state_dir, begin, save_minutes, {"classifier": (0.0, 1.0)}) as (device, options):
            lesson, judge = classifier_lesson(found, int(size), **own, **rates, device=device)
            trained = train_one(lesson, model_path, state_dir, goal, options)
            told = judge()
        text = summary(trained.courses, model_path) + "\n" + told + left_out(found.photos.left_out)
        (plot, _) = shown(trained)
        return io.NodeOutput(load_classifier(model_path.name), plot, ui=host.text_on_node(cls, text))


NODES = [SketchFineTune, SketchTrainClassifier]
