"""Trainings from the command line: shared options, progress lines, a stop between two steps."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from .. import files
from .curves import curves, picture, sheet
from .loop import Course, Goal, Lesson, Moment, forget, learn, locked
from .one import Options, Trained, train_one

LOOK_EVERY = 60.0  # seconds between two progress lines


def options(
    name: str,
    about: str | None,
    *,
    minutes: float = 0.0,
    minutes_help: str = "of training in all",
    folder: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """The options that every training has. folder: other names of --folder."""
    parser = argparse.ArgumentParser(prog=f"train {name}", description=about)
    about_folder = "where state, log, sheets and weights go"
    parser.add_argument("--folder", *folder, dest="folder", type=Path, required=True, help=about_folder)
    parser.add_argument(
        "--minutes", type=float, default=minutes, help=f"{minutes_help}; 0: no limit, if steps have one"
    )
    parser.add_argument(
        "--save-minutes", type=float, default=3.0, help="minutes between saves; a kill loses at most this much"
    )
    parser.add_argument("--anew", action="store_true", help="forget what the folder holds of this training")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    return parser


def starter_options(
    name: str, about: str | None, *, minutes: float, scenes: int, peak: float, minutes_help: str = "of training in all"
) -> argparse.ArgumentParser:
    """`options`, and those of a training on the starter world."""
    parser = options(name, about, minutes=minutes, minutes_help=minutes_help)
    parser.add_argument("--scenes", type=int, default=scenes, help="different renders to draw from")
    parser.add_argument("--learning-rate", "--peak", type=float, default=peak, help="the highest learning rate")
    return parser


def photo_options(
    name: str, about: str | None, *, batch: int, learning_rate: float | None = None
) -> argparse.ArgumentParser:
    """`options`, and those of a training on a folder of one's own photos. learning_rate: None: the lesson has its
    own."""
    parser = options(name, about)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--steps", "--iterations", type=int, default=0, help="in all; 0: to --minutes")
    parser.add_argument("--batch", "--batch-size", type=int, default=batch, help="photos in a step")
    if learning_rate is not None:
        parser.add_argument("--learning-rate", "--lr", type=float, default=learning_rate, help="the highest")
        parser.add_argument("--weight-decay", type=float, default=0.0)
        parser.add_argument("--steady", action="store_true", help="no warm-up, decay or limit on gradients")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 where it is safe; in place of use_fp16")
    return parser


def own_rates(choice: argparse.Namespace) -> dict[str, Any]:
    """batch, seed, device and the rates of SupervisedLesson in the choices of photo_options."""
    return {
        "batch": choice.batch,
        "seed": choice.seed,
        "device": choice.device,
        "learning_rate": choice.learning_rate,
        "weight_decay": choice.weight_decay,
        "steady": choice.steady,
        "autocast": choice.bf16,
    }


def train_on_photos(lesson: Lesson, choice: argparse.Namespace, left_out: Sequence[str] = ()) -> Trained:
    """Trains a lesson to the steps and minutes of photo_options. The folder gets <name>.safetensors, its plot and what
    it makes. left_out: photos that were not taken, for the last lines.

    ValueError: neither limit is set, or as in train_one."""
    if not choice.steps and not choice.minutes:
        raise ValueError("Set --steps or --minutes above 0.")
    watch, path = Console(choice.folder, choice.batch), choice.folder / f"{lesson.name}.safetensors"
    goal, how = Goal(choice.steps, choice.minutes), Options(watch, 60 * choice.save_minutes)
    trained = train_one(lesson, path, choice.folder, goal, how)
    if watch.stopped:  # while it was saved for the last time
        raise KeyboardInterrupt
    trained.plots[0].save(choice.folder / f"{lesson.name}_curves.png")
    trained.preview.save(choice.folder / f"{lesson.name}.png")
    print("\n".join([f"Saved: {path}", *(["Left out:", *left_out] if left_out else [])]), flush=True)
    return trained


def begin(choice: argparse.Namespace, *lessons: str) -> None:
    """Sets torch's threads and makes the folder; with --anew, deletes what it holds of these lessons."""
    if choice.threads:
        torch.set_num_threads(choice.threads)
    choice.folder.mkdir(parents=True, exist_ok=True)
    if choice.anew:
        forget(choice.folder, *lessons)


class Console:
    """A `watch`: prints how it goes, saves curves and sheets, and stops between two steps on Ctrl-C or SIGTERM."""

    def __init__(self, folder: Path, images_per_step: int = 0) -> None:
        self.folder, self.images, self.stopped = folder, images_per_step, False
        self.last, self.steps, self.stage = time.monotonic(), 0, ""
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self.stop)

    def stop(self, *_: object) -> None:
        if self.stopped:  # asked twice: at once
            raise KeyboardInterrupt
        self.stopped = True

    def __call__(self, moment: Moment) -> None:
        if self.stopped:
            print("stopping; the same command resumes from here", flush=True)
            raise KeyboardInterrupt
        now, course = time.monotonic(), moment.course
        if moment.lesson.name != self.stage:
            self.stage = moment.lesson.name
            if course.steps > 1:
                print(f"{moment.lesson.name}: resumed at step {course.steps - 1}", flush=True)
            self.steps, self.last = course.steps, now
        if now - self.last < LOOK_EVERY and moment.progress < 1:
            return
        self._tell(moment, (course.steps - self.steps) / max(1e-9, now - self.last))
        self.last, self.steps = time.monotonic(), course.steps

    def _tell(self, moment: Moment, steps_per_second: float) -> None:
        course = moment.course
        losses = {k: round(v, 4) for k, v in (course.rows or [{}])[-1].items() if k not in ("step", "minutes")}
        rate = f"{self.images * steps_per_second:.1f} images/s" if self.images else f"{steps_per_second:.2f} steps/s"
        print(
            f"{moment.lesson.name} step {course.steps}, {course.minutes:.1f} min, {moment.progress:.0%}, {rate}  "
            f"{json.dumps(losses)}",
            flush=True,
        )
        curves(moment.lesson, course.rows).save(self.folder / f"{moment.lesson.name}_curves.png")
        if moment.shown:
            sheet(moment.shown).save(self.folder / f"{moment.lesson.name}_sheet.png")


def train(lesson: Lesson, choice: argparse.Namespace, *, steps: int = 0, images_per_step: int = 0) -> Course:
    """Trains a lesson to the command's minutes, or to `steps`, whichever comes first. After each save the folder has
    <name>.safetensors in fp16 and <name>.png, the task's sheet."""

    def saved(course: Course) -> None:
        notes = {
            "trained_on": "SketchSynth starter world",
            "minutes": f"{course.minutes:.1f}",
            "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
            **lesson.notes(),
        }
        files.replace_weights(choice.folder / f"{lesson.name}.safetensors", lesson.weights(), notes, half=True)
        seen = lesson.sheet()
        if seen is not None:
            picture(seen).save(choice.folder / f"{lesson.name}.png")

    if not steps and not choice.minutes:
        raise ValueError("Set --minutes above 0: this training has no limit of steps.")
    return learn_in_folder(lesson, choice, Goal(steps, choice.minutes), saved, images_per_step)


def learn_in_folder(
    lesson: Lesson,
    choice: argparse.Namespace,
    goal: Goal,
    saved: Callable[[Course], None],
    images_per_step: int,
    *files: Path,
) -> Course:
    """Trains a lesson to a goal; state, log and sheets go to the command's folder. saved: called after each save, with
    `files` kept for this process, too. KeyboardInterrupt: it was stopped."""
    watch = Console(choice.folder, images_per_step)
    with lesson, locked(choice.folder, *files):
        course = learn(lesson, choice.folder, goal, watch=watch, saved=saved, save_every=60 * choice.save_minutes)
    if watch.stopped:  # while it was saved for the last time
        raise KeyboardInterrupt
    return course


def run(main: Any, argv: list[str]) -> int:
    """The exit code of a training command: 130 where it was stopped, 1 with the sentence of a ValueError."""
    try:
        main(argv)
    except KeyboardInterrupt:  # it was saved, and said
        return 130
    except ValueError as error:
        print(error, flush=True)
        return 1
    return 0
