"""Whole trainings of the sketch GAN from pictures to files, the same for the nodes and for the command line."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ...networks import build
from ...networks.sketchgan.refiner import draft_size
from ...networks.sketchgan.whole import SketchGAN
from ...pictures.features import Features
from ...pipelines.sketchgan import draw_noise
from ..batches import Shuffled
from ..loop import (
    Course,
    Goal,
    Moment,
    Watch,
    check_identity,
    curves,
    learn,
    locked,
    packed,
    read_state,
    read_weights,
    replace,
    sheet,
    write_weights,
)
from ..photos import Pictures, Store, tensor
from .extractor import Drawing
from .lessons import SETTLING, Drafting, Refining, Settings, generator_of
from .losses import check_batch

DRAFTS = "autoencoder.finished"  # a .safetensors file beside the states, under a name that no loader offers
STAGES = "extractor.stages"  # which files the stages of an extractor's run are: their names and SHA-256 sums
ON_THE_WAY = 4  # batches that the norms' statistics of a file that is not final are taken from


class Trained(NamedTuple):
    """weights: as in the file. plot: the losses of all stages. preview: what the network makes, see `samples`."""

    weights: dict[str, Tensor]
    plot: list[Image.Image]
    preview: Image.Image
    courses: dict[str, Course]


def train_gan(
    pictures: Pictures,
    features: Features,
    settings: Settings,
    file: Path,
    place: Path,
    goals: tuple[Goal, Goal],
    *,
    device: torch.device | str = "cpu",
    watch: Watch = lambda moment: None,
    save_every: float = 300.0,
    half_file: bool = False,
    notes: dict[str, Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """Trains the autoencoder to the first goal, then the generator to the second; see learn. The states stand in the
    folder `place`, and after each save `file` holds what is learned so far: first the autoencoder alone.

    Once the generator has begun, the autoencoder stays as it is, whatever the first goal says then.
    half_file: in fp16. ValueError: a batch of one, another process that trains there, or as in learn.
    """
    check_batch(settings.batch)
    store, plots, courses = Store(pictures, settings.size), [], {}
    drafts = place / DRAFTS
    told = {**asdict(settings), **(notes or {})}

    def run(lesson: Drafting | Refining, goal: Goal) -> dict[str, Tensor]:
        def saved(course: Course) -> None:
            note(lesson, course)
            batches = SETTLING if goal.share(course) >= 1 else ON_THE_WAY
            write_weights(file, lesson.weights(batches), told, half_file)

        with lesson, locked(place, file):
            learn(lesson, place, goal, watch=watch, saved=saved, save_every=save_every, clock=clock)
            plots.append(curves(lesson, courses[lesson.name].rows))
            weights = read_weights(file)
            if lesson.name == Drafting.name and goals[1] != Goal():
                write_weights(drafts, weights, told)
        return weights

    def note(lesson: Drafting | Refining | type[Drafting], course: Course) -> None:
        courses[lesson.name] = course
        told[lesson.name] = {"steps": course.steps, "minutes": round(course.minutes, 1)}

    before = place / f"{Drafting.name}.state"
    if not drafts.is_file():
        side = draft_size(settings.size)
        small = store if settings.size == side else Store(pictures, side)
        weights = run(Drafting(small, features, settings, device), goals[0])
        if goals[1] == Goal():
            return Trained(weights, plots, samples(weights, store, device, settings.seed), courses)
        del small  # its pictures, which the generator does not need
    elif before.is_file():
        note(Drafting, course_of(before, settings))
        plots.append(curves(Drafting, courses[Drafting.name].rows))
    weights = run(Refining(store, features, settings, read_weights(drafts), device), goals[1])
    return Trained(weights, plots, samples(weights, store, device, settings.seed), courses)


def course_of(path: Path, settings: Settings) -> Course:
    """How far the autoencoder came whose state this is. ValueError: it was begun with other settings."""
    state = read_state(path)
    check_identity(state["identity"], settings.identity, path.parent)
    return Course(state["steps"], state["minutes"], state["rows"])


def samples(weights: dict[str, Tensor], store: Store, device: torch.device | str, seed: int = 0) -> Image.Image:
    """From top to bottom sketches, their photos, drafts and refined pictures in the photos' own style, and refined ones
    in the next photo's style."""
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
    """The drafts of sketches in the style of photos, and if there is a generator the refined pictures."""
    side = (network.draft, network.draft)
    sketch, photo = (torch.nn.functional.interpolate(x.to(device), side, mode="area") for x in (sketch, photo))
    styles = network.styles(photo)
    draft = network.drafts(sketch, styles)
    if network.generator is None:
        return [draft.cpu()]
    noise, flips = draw_noise(network.generator, len(sketch), generator_of(0))
    return [draft.cpu(), network.refined(draft, styles, noise, flips).cpu()]


def train_extractor(
    lesson: Drawing,
    file: Path,
    place: Path,
    goal: Goal,
    *,
    keep: int = 1,
    watch: Watch = lambda moment: None,
    save_every: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Path], Trained]:
    """Trains TOM to its goal. keep: how many stages of the one run become files, each a manner of its own: spread
    evenly over the last two thirds; the last one is `file`. A stage that the run was past already is left out, see
    `lacking`. -> their files, and what was trained.

    ValueError: a file of a stage's name that this training did not write, another process that trains there, or as in
    learn."""
    paths = stage_files(file, keep)
    dues = [1 - 0.65 * (keep - 1 - i) / (keep - 1) for i in range(keep - 1)]
    notes = {"image_size": lesson.identity["size"]}
    known: dict[str, str] = {}

    def look(moment: Moment) -> None:
        latest = sum(moment.share >= due for due in dues) - 1  # earlier ones would be the same network once more
        if latest >= 0 and moment.share < 1 and paths[latest].name not in known:
            content = packed(lesson.weights(), notes)
            known[paths[latest].name] = _sum(content)
            replace(place / STAGES, json.dumps(known).encode())
            replace(paths[latest], content)
        watch(moment)

    def saved(_: Course) -> None:
        write_weights(file, lesson.weights(), notes)

    with lesson, locked(place, file):
        known |= written_stages(file, place)
        for path in paths[:-1]:
            if path.is_file() and path.name not in known:
                raise ValueError(
                    f"{path} is there already and is no stage of this training. Rename or delete it, choose another "
                    "name, or lower keep."
                )
        course = learn(lesson, place, goal, watch=look, saved=saved, save_every=save_every, clock=clock)
    weights = lesson.weights()
    drawer = build(weights, device=lesson.device)
    shown = range(min(5, lesson.photos.pictures.count))
    photos = torch.stack([tensor(lesson.photos.photo(i, lesson.photos.side)) for i in shown])
    drawn = drawer((photos.to(lesson.device) + 1) / 2) * 2 - 1
    plots = [curves(lesson, course.rows)]
    there = [path for path in paths[:-1] if path.name in known]
    return [*there, file], Trained(weights, plots, sheet([photos, drawn.cpu()]), {lesson.name: course})


def stage_files(file: Path, keep: int) -> list[Path]:
    """The files of the stages that are kept of one run: name-1, name-2 ..., and the last one as it is."""
    return [file.with_name(f"{file.stem}-{i}{file.suffix}") for i in range(1, keep)] + [file]


def written_stages(file: Path, place: Path) -> dict[str, str]:
    """The stages beside `file` that the training in the folder `place` wrote and nobody replaced since: names and
    SHA-256 sums."""
    noted = json.loads((place / STAGES).read_text()) if (place / STAGES).is_file() else {}
    paths = {name: file.with_name(name) for name in noted}
    return {
        name: noted[name] for name, path in paths.items() if path.is_file() and _sum(path.read_bytes()) == noted[name]
    }


def forget_stages(file: Path, place: Path) -> None:
    """Deletes the stages that the training in the folder `place` wrote. ValueError: another process trains there."""
    if not (place / STAGES).is_file():
        return
    with locked(place):
        for name in written_stages(file, place):
            file.with_name(name).unlink()
        (place / STAGES).unlink()


def lacking(paths: Sequence[Path], keep: int) -> str:
    """What a person is told about stages that train_extractor could not keep; nothing if it kept them all."""
    if len(paths) == keep:
        return ""
    return (
        f"{len(paths)} of {keep} stages were kept: the run was past the others, or has too few steps for them. Start "
        "anew with this keep to get them all."
    )


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
