"""Pixel priors of your own pictures: trained on a folder of photos, with or without classes."""

from __future__ import annotations

from comfy_api.latest import io

from .. import host
from ..networks.schedules import SCHEDULES
from .diffsketching import PAPER
from .parts.checks import check_numbers
from .parts.folders import input_folder
from .parts.training import (
    PRECISIONS,
    SCHEDULE_SAMPLERS,
    SIDES,
    PhotoTraining,
    batch_input,
    common_inputs,
    ema_input,
    folder_input,
    goal_of,
    learning_rate_input,
    left_out,
    minutes_input,
    model_and_state,
    name_input,
    picture_outputs,
    schedule_sampler_input,
    shown,
    started,
    steps_input,
    summary,
    weight_decay_input,
)
from .priors import FOLDER, load_prior

WEIGHTINGS = ("even (published)", "min-SNR")  # as in training.prior, which a session loads only where it trains
WARM, STEADY = "warm-up, then falling", "steady (published)"
HINTS = {"num_head_channels": 64, "num_heads": 4}  # for a file that states neither; those trained here do


class SketchTrainPrior(PhotoTraining):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainPrior",
            display_name="Train Pixel Prior",
            category="sketch/training",
            description="Trains a small diffusion model on pixels on your own photos, with your folders as classes if "
            "you like. Load Pixel Prior finds it at once, and every walk and energy of this pack runs on it.",
            search_aliases=[*PAPER, "train diffusion model", "image_train", "ADM", "DDPM", "pixel diffusion"],
            is_output_node=True,
            inputs=[
                name_input("my prior", "models/sketch_priors"),
                folder_input(
                    "photos", "A folder of photos, with those in its sub-folders; 200 or more, better thousands."
                ),
                io.Boolean.Input(
                    "class_cond",
                    default=False,
                    tooltip="On: each sub-folder is a class, and Pixel Prior Label says which one is painted; two or "
                    "more are needed. Off: all photos are of one kind.",
                ),
                io.Combo.Input(
                    "size",
                    options=list(SIDES),
                    tooltip="Side in pixels it trains on and paints at. On a CPU only 64 makes sense.",
                ),
                io.Int.Input(
                    "width",
                    default=64,
                    min=16,
                    max=256,
                    step=16,
                    tooltip="Width of the network, 16 to 256 (num_channels). Published: 128 at 64 px, 256 at 256 px. "
                    "32 is fast enough on a CPU.",
                ),
                io.Int.Input(
                    "depth",
                    default=2,
                    min=1,
                    max=4,
                    tooltip="Residual blocks per level, 1 to 4 (num_res_blocks). Published: 2 or 3.",
                ),
                steps_input(100_000, "Published: 1000000."),
                minutes_input(),
                batch_input(16, "Published: 512."),
                learning_rate_input(0.0003, "0.0001; 0.0004 with decay"),
                io.Combo.Input(
                    "rate",
                    options=[WARM, STEADY],
                    advanced=True,
                    tooltip="How the learning rate goes: it rises over 50 steps and then falls with a cosine, and "
                    "large gradients are limited; or it stays the same throughout, as published.",
                ),
                weight_decay_input(0.0, "0; 0.05 in DiffSketching"),
                io.Float.Input(
                    "dropout",
                    default=0.0,
                    min=0.0,
                    max=0.9,
                    step=0.05,
                    advanced=True,
                    tooltip="Share of values that are left out in each residual block while it trains, 0 to 0.9. 0.1 "
                    "helps with few photos.",
                ),
                io.Boolean.Input(
                    "learn_sigma",
                    default=False,
                    advanced=True,
                    tooltip="The network learns the spread of each step, too, for the variance learned of SDE Sampler.",
                ),
                io.Boolean.Input(
                    "use_scale_shift_norm",
                    default=True,
                    advanced=True,
                    tooltip="How time and class enter the residual blocks: as a factor and an offset after the norm, "
                    "or as an offset before it.",
                ),
                io.Combo.Input(
                    "noise_schedule",
                    options=list(SCHEDULES),
                    advanced=True,
                    tooltip="How the noise grows: linear in nearly all published priors; cosine keeps more of small "
                    "pictures. The file says it, so Load Pixel Prior knows.",
                ),
                io.Int.Input(
                    "diffusion_steps",
                    default=1000,
                    min=21,
                    max=10_000,
                    advanced=True,
                    tooltip="Number of noise levels, 21 to 10000. Published: 1000, or 4000 with cosine.",
                ),
                io.Combo.Input(
                    "weighting",
                    options=list(WEIGHTINGS),
                    advanced=True,
                    tooltip="How the levels' errors count. even: all alike. min-SNR: less at low noise; learns faster.",
                ),
                *common_inputs(),
                schedule_sampler_input(),
                ema_input("0.9999", "Published: 0.9999. Trainings of a few thousand steps want 0.999."),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The prior, as Load Pixel Prior gives it."),
                io.Vae.Output("vae", display_name="vae", tooltip="For VAE Encode and VAE Decode."),
                io.String.Output(
                    "names",
                    display_name="names",
                    tooltip="The classes, one per line, as number and name; empty without classes.",
                ),
                *picture_outputs("Samples of the averaged weights at the last save."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        name: str,
        photos: str,
        class_cond: bool,
        size: str,
        width: int,
        depth: int,
        steps: int,
        minutes: float,
        batch: int,
        learning_rate: float,
        rate: str,
        weight_decay: float,
        dropout: float,
        learn_sigma: bool,
        use_scale_shift_norm: bool,
        noise_schedule: str,
        diffusion_steps: int,
        weighting: str,
        precision: str,
        seed: int,
        save_minutes: float,
        begin: str,
        schedule_sampler: str = SCHEDULE_SAMPLERS[0],
        ema_rate: str = "0.9999",
    ) -> io.NodeOutput:
        from ..training import prior
        from ..training.one import train_one

        check_numbers(minutes=minutes, learning_rate=learning_rate, weight_decay=weight_decay)
        check_numbers(dropout=dropout, save_minutes=save_minutes)
        settings = prior.Settings(
            size=int(size),
            width=width,
            depth=depth,
            scale_shift=use_scale_shift_norm,
            class_cond=class_cond,
            learn_sigma=learn_sigma,
            schedule=noise_schedule,
            steps=diffusion_steps,
            sampler=schedule_sampler,
            weighting=weighting,
            ema=prior.rates_of(ema_rate),
        )
        goal = goal_of(steps, minutes)
        found = prior.photos_of(input_folder(photos), class_cond)
        model_path, state_dir = model_and_state(FOLDER, name)
        rates = {"learning_rate": learning_rate, "weight_decay": weight_decay, "steady": rate == STEADY}
        rates |= {"batch": batch, "seed": seed, "dropout": dropout, "autocast": precision == PRECISIONS[1]}
        with started(cls, model_path, state_dir, begin, save_minutes, {"prior": (0.0, 1.0)}) as (device, options):
            lesson = prior.prior_lesson(found, settings, **rates, device=device)
            trained = train_one(lesson, model_path, state_dir, goal, options)
        text = summary(trained.courses, model_path) + left_out(found.photos.left_out)
        model, _ = load_prior(str(model_path), HINTS)
        names = "\n".join(f"{i} {one}" for i, one in enumerate(found.names))
        return io.NodeOutput(model, host.pixel_vae(), names, *shown(trained), ui=host.text_on_node(cls, text))


NODES = [SketchTrainPrior]
