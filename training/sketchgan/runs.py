"""Whole trainings of the sketch GAN, from pictures to model files: what the nodes and the command line call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ... import files
from ...networks import build
from ...networks.sketchgan.refiner import draft_size
from ...networks.sketchgan.whole import SketchGAN
from ...pictures.features import Features
from ...pipelines.sketchgan import draw_noise
from ..batches import Shuffled, generator_of
from ..curves import curves, sheet
from ..loop import Course, Goal, Lesson, Moment, check_identity, learn, locked, read_state
from ..one import Options, Trained
from ..photos import Pictures, Store, tensor
from .extractor import DrawingLesson
from .lessons import SETTLING, AutoencoderLesson, GeneratorLesson, Settings

DRAFTS = "autoencoder.finished"  # a .safetensors file beside the states, under a name that no loader lists
STAGES = "extractor.stages"  # which files are stages of an extractor's run: their names and SHA-256 sums
UNFINISHED = 4  # batches that the norms' statistics of a file that is not final are taken from


# --- autoencoder and generator ----------------------------------------------------------------------------------------


def train_gan(
    pictures: Pictures,
    features: Features,
    settings: Settings,
    model_path: Path,
    state_dir: Path,
    goals: tuple[Goal, Goal],
    *,
    device: torch.device | str = "cpu",
    options: Options = Options(),  # noqa: B008 - immutable
    half_file: bool = False,
    notes: dict[str, Any] | None = None,
) -> Trained:
    """Trains the autoencoder to the first goal, then the generator to the second; see learn. The states are in the
    folder `state_dir`; after each save the model file holds what is learned so far, first the autoencoder alone.

    Once the generator has begun, the autoencoder stays as it is, whatever the first goal says then.
    half_file: in fp16. ValueError: settings that no network has, another process that trains there, or as in learn.
    """
    settings.check()
    stages = _Stages(settings, model_path, state_dir, options, half_file, {**asdict(settings), **(notes or {})})
    with locked(state_dir, model_path):
        store = Store(pictures, settings.size)
        finished = state_dir / DRAFTS
        if not finished.is_file():
            side = draft_size(settings.size)
            small = store if settings.size == side else Store(pictures, side)
            weights = stages.run(AutoencoderLesson(small, features, settings, device), goals[0])
            if goals[1] == Goal():
                return Trained(weights, stages.plots, samples(weights, store, device, settings.seed), stages.courses)
            files.replace_weights(finished, weights, stages.notes)
            del small  # its pictures, which the generator does not need
        else:
            stages.recall(AutoencoderLesson)
        weights = stages.run(GeneratorLesson(store, features, settings, _drafts(finished), device), goals[1])
        return Trained(weights, stages.plots, samples(weights, store, device, settings.seed), stages.courses)


class _Stages:
    """The stages of one training, their curves, and what the model file says of them."""

    def __init__(
        self,
        settings: Settings,
        model_path: Path,
        state_dir: Path,
        options: Options,
        half_file: bool,
        notes: dict[str, Any],
    ) -> None:
        self.settings, self.model_path, self.state_dir, self.options = settings, model_path, state_dir, options
        self.half_file, self.notes = half_file, notes
        self.plots: list[Image.Image] = []
        self.courses: dict[str, Course] = {}

    def run(self, lesson: AutoencoderLesson | GeneratorLesson, goal: Goal) -> dict[str, Tensor]:
        """Trains one stage; the weights of its model file."""

        def saved(course: Course) -> None:
            self._note(lesson, course)
            batches = SETTLING if goal.progress(course) >= 1 else UNFINISHED
            files.replace_weights(self.model_path, lesson.weights(batches), self.notes, self.half_file)

        with lesson:
            course = learn(lesson, self.state_dir, goal, saved=saved, **self.options._asdict())
            self.plots.append(curves(lesson, course.rows))
            return files.read_weights(self.model_path)

    def recall(self, lesson: type[AutoencoderLesson]) -> None:
        """Notes a stage that was finished earlier. ValueError: it began with other settings."""
        path = self.state_dir / f"{lesson.name}.state"
        if path.is_file():
            state = read_state(path)
            check_identity(state["identity"], self.settings.identity, self.state_dir)
            course = Course(state["steps"], state["minutes"], state["rows"])
            self._note(lesson, course)
            self.plots.append(curves(lesson, course.rows))

    def _note(self, lesson: Lesson | type[Lesson], course: Course) -> None:
        self.courses[lesson.name] = course
        self.notes[lesson.name] = {"steps": course.steps, "minutes": round(course.minutes, 1)}


def _drafts(path: Path) -> dict[str, Tensor]:
    """The weights of the finished autoencoder. ValueError: damaged."""
    try:
        return files.read_weights(path)
    except Exception as error:  # safetensors has its own
        raise ValueError(f"{path} is damaged ({type(error).__name__}). Start anew, or delete it.") from error


def samples(weights: dict[str, Tensor], store: Store, device: torch.device | str, seed: int = 0) -> Image.Image:
    """From top to bottom: sketches, their photos, drafts and refined pictures in the photos' own style, and refined
    ones in the next photo's style."""
    network: Any = build({key: value.float() for key, value in weights.items()}, device=device)
    chosen = [Shuffled(store.pictures.count, seed, 99)(i) for i in range(min(5, store.pictures.count))]
    last = store.pictures.sets - 1

    def middle(picture: Any) -> Tensor:
        edge = (picture.shape[0] - store.side) // 2
        return tensor(picture[edge : edge + store.side, edge : edge + store.side])

    sketch = torch.stack([middle(store.sketch(last, i)) for i in chosen])
    photo = torch.stack([middle(store.photo(i)) for i in chosen])
    own, other = (paint(network, sketch, style, device) for style in (photo, photo.roll(1, 0)))
    kinds = [sketch, photo, *own, other[-1]]
    return sheet([torch.nn.functional.interpolate(x, (store.side, store.side)) for x in kinds])


def paint(network: SketchGAN, sketch: Tensor, photo: Tensor, device: torch.device | str) -> list[Tensor]:
    """The drafts of sketches in the style of photos and, if there is a generator, the refined pictures."""
    side = (network.draft, network.draft)
    sketch, photo = (torch.nn.functional.interpolate(x.to(device), side, mode="area") for x in (sketch, photo))
    styles = network.styles(photo)
    draft = network.drafts(sketch, styles)
    if network.generator is None:
        return [draft.cpu()]
    noise, flips = draw_noise(network.generator, len(sketch), generator_of(0))
    return [draft.cpu(), network.refined(draft, styles, noise, flips).cpu()]


# --- sketch extractor -------------------------------------------------------------------------------------------------


def train_extractor(
    lesson: DrawingLesson,
    model_path: Path,
    state_dir: Path,
    goal: Goal,
    *,
    keep: int = 1,
    options: Options = Options(),  # noqa: B008 - immutable
) -> tuple[list[Path], Trained]:
    """Trains an extractor (TOM, PhotoSketch) to its goal. keep: how many stages of the run become files, each a drawing
    style of its own: spread evenly over the last two thirds; the last one is `model_path`. Stages the run has already
    passed are left out, see `lacking`. Returns their files, and what was trained.

    ValueError: a file of a stage's name that this training did not write, another process that trains there, or as in
    learn."""
    paths = stage_files(model_path, keep)
    dues = [1 - 0.65 * (keep - 1 - i) / (keep - 1) for i in range(keep - 1)]
    known: dict[str, str] = {}

    def watch(moment: Moment) -> None:
        latest = sum(moment.progress >= due for due in dues) - 1  # earlier ones would be the same network once more
        if latest >= 0 and moment.progress < 1 and paths[latest].name not in known:
            content = files.packed(lesson.weights(), lesson.notes())
            known[paths[latest].name] = _sum(content)
            files.replace(state_dir / STAGES, json.dumps(known).encode())
            files.replace(paths[latest], content)
        options.watch(moment)

    def saved(_: Course) -> None:
        files.replace_weights(model_path, lesson.weights(), lesson.notes())

    with lesson, locked(state_dir, model_path):
        known |= written_stages(model_path, state_dir)
        for path in paths[:-1]:
            if path.is_file() and path.name not in known:
                raise ValueError(
                    f"{path} is there already and is not a stage of this training. Rename or delete it, choose another "
                    "name, or lower keep."
                )
        course = learn(lesson, state_dir, goal, saved=saved, **options._replace(watch=watch)._asdict())
    there = [path for path in paths[:-1] if path.name in known]
    weights = lesson.weights()
    trained = Trained(weights, [curves(lesson, course.rows)], sheet(lesson.drawn()), {lesson.name: course})
    return [*there, model_path], trained


def stage_files(model_path: Path, keep: int) -> list[Path]:
    """The files of the stages that are kept of one run: name-1, name-2 ..., and the last one without a number."""
    numbered = [model_path.with_name(f"{model_path.stem}-{i}{model_path.suffix}") for i in range(1, keep)]
    return [*numbered, model_path]


def written_stages(model_path: Path, state_dir: Path) -> dict[str, str]:
    """The stages beside `model_path` that the training in `state_dir` wrote and nobody replaced since: names and
    SHA-256 sums."""
    noted = json.loads((state_dir / STAGES).read_text()) if (state_dir / STAGES).is_file() else {}
    paths = {name: model_path.with_name(name) for name in noted}
    return {
        name: noted[name] for name, path in paths.items() if path.is_file() and _sum(path.read_bytes()) == noted[name]
    }


def forget_stages(model_path: Path, state_dir: Path) -> None:
    """Deletes the stages that the training in `state_dir` wrote. ValueError: another process trains there."""
    if not (state_dir / STAGES).is_file():
        return
    with locked(state_dir):
        for name in written_stages(model_path, state_dir):
            model_path.with_name(name).unlink()
        (state_dir / STAGES).unlink()


def lacking(paths: Sequence[Path], keep: int) -> str:
    """What a person is told about stages that train_extractor could not keep; empty if it kept them all."""
    if len(paths) == keep:
        return ""
    return (
        f"{len(paths)} of {keep} stages were kept: the run had passed the others, or has too few steps for them. Start "
        "anew with this keep to get them all."
    )


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
