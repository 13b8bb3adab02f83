"""A training of one lesson that ends in one model file; how trainings are watched, and what they leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from .. import files
from .curves import curves, picture, sheet
from .loop import Course, Goal, Lesson, Moment, Watch, learn, locked


class Trained(NamedTuple):
    """weights: as in the file. plots: the losses of each stage. preview: what the network makes, see `samples`."""

    weights: dict[str, Tensor]
    plots: list[Image.Image]
    preview: Image.Image
    courses: dict[str, Course]


class Options(NamedTuple):
    """How a training is watched and saved; see training.loop.learn."""

    watch: Watch = lambda moment: None
    save_every: float = 300.0
    clock: Callable[[], float] = time.monotonic


def train_one(lesson: Lesson, model_path: Path, state_dir: Path, goal: Goal, options: Options) -> Trained:
    """Trains a lesson to its goal, or resumes it; each save writes the model file, and beside it one for each of the
    lesson's variants (see variant_path). What was trained, with the plot of its losses and its sheet; for lessons
    without one, the last pictures that it showed.

    ValueError: another process trains there, or as in learn.
    """
    shown: list[Tensor] = []
    made: list[Tensor] = []

    def watch(moment: Moment) -> None:
        shown[:] = moment.shown or shown
        options.watch(moment)

    def saved(course: Course) -> None:
        files.replace_weights(model_path, lesson.weights(), lesson.notes())
        for name, weights in lesson.variants().items():
            files.replace_weights(variant_path(model_path, name), weights, lesson.notes())
        rows = lesson.sheet() if course.steps > 1 else None  # nothing is learned by the first one yet
        made[:] = [] if rows is None else [rows]

    with lesson, locked(state_dir, model_path):
        course = learn(lesson, state_dir, goal, saved=saved, **options._replace(watch=watch)._asdict())
    plot = curves(lesson, course.rows)
    preview = picture(made[0]) if made else sheet(shown) if shown else plot
    return Trained(lesson.weights(), [plot], preview, {lesson.name: course})


def variant_path(model_path: Path, name: str) -> Path:
    """`my prior.safetensors` and `ema 0.99` -> `my prior (ema 0.99).safetensors`."""
    return model_path.with_name(f"{model_path.stem} ({name}){model_path.suffix}")
