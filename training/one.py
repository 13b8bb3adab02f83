"""A training of one lesson that ends in one model file; how trainings are watched, and what they leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from .. import files
from .curves import curves, sheet
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
    """Trains a lesson to its goal, or resumes it; each save writes the model file. What was trained, with the plot of
    its losses and the last pictures that it showed.

    ValueError: another process trains there, or as in learn.
    """
    shown: list[Tensor] = []

    def watch(moment: Moment) -> None:
        shown[:] = moment.shown or shown
        options.watch(moment)

    def saved(_: Course) -> None:
        files.replace_weights(model_path, lesson.weights(), lesson.notes())

    with lesson, locked(state_dir, model_path):
        course = learn(lesson, state_dir, goal, saved=saved, **options._replace(watch=watch)._asdict())
    plot = curves(lesson, course.rows)
    return Trained(lesson.weights(), [plot], sheet(shown) if shown else plot, {lesson.name: course})
