"""Resumable training: one loop for everything that learns here.

A `Lesson` holds networks, optimisers and batches, and takes one step at a time; `learn` repeats that until the goal.
Cancelling loses nothing; a killed process loses only what came after its last save. All that a lesson draws at random
follows from its seed and the number of the step, so a resumed run ends bit for bit as an uninterrupted one.

Inside ComfyUI, call `learn` within networks.frozen.gradients().
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import files
from .batches import NoBatch

LOG_EVERY = 20  # steps in one row of the log, unless a lesson says otherwise
Losses = dict[str, Tensor]  # by name, detached
Begun = tuple[Losses, dict[str, int]]  # a row of the log: sums of losses, and of how many steps each is

# What messages call a setting whose key is not the name of a widget.
SETTING_NAMES = {
    "discriminator": "a discriminator of width {}",
    "channels": "features of {} channels",
    "first_images": "--start weights of {} images",
}


class Panel(NamedTuple):
    """One chart of a lesson's losses. relative: each line is divided by its first value."""

    title: str
    names: tuple[str, ...]
    relative: bool = False


class Lesson:
    """What is learned: networks, optimisers and batches, one step at a time. A context manager; leaving it stops its
    threads.

    A subclass sets `kept` and writes `step` and `weights`.
    """

    name = "lesson"  # of its files
    panels: tuple[Panel, ...] = (Panel("Loss", ("loss",)),)
    log_every = LOG_EVERY  # steps that one row of the log is the mean of

    def __init__(self, identity: Mapping[str, Any] | None = None) -> None:
        """identity: settings that a run cannot change once it has begun."""
        self.identity = dict(identity or {})
        self.kept: dict[str, Any] = {}  # by name: what has a state_dict, or lists of that or of tensors
        self.closing: list[Any] = []  # contexts to leave, such as a Prefetch

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        """Takes step number `step`, from 0, at `progress` (0 to 1) of the run.

        Returns losses by name, and columns of pictures [B,C,S,S] in [-1,1] to look at: what it saw and what it made.
        """
        raise NotImplementedError

    def weights(self) -> dict[str, Tensor]:
        """What the model file holds."""
        raise NotImplementedError

    def notes(self) -> dict[str, Any]:
        """The model file's metadata."""
        return {}

    def variants(self) -> dict[str, dict[str, Tensor]]:
        """What further model files hold, by what is added to the file's name."""
        return {}

    def sheet(self) -> Tensor | None:
        """What it makes now, as rows of pictures [N,3,h,w] in [0,1], looked at after each save; None: nothing."""
        return None

    def state(self) -> dict[str, Any]:
        """Everything a later run needs to continue."""
        return {name: _state_of(part) for name, part in self.kept.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        for name, part in self.kept.items():
            _load_into(part, state[name])

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *stop: Any) -> None:
        for context in self.closing:
            context.__exit__(*stop)


class Goal(NamedTuple):
    """When a lesson ends: after this many steps or minutes of training in all, whichever comes first; 0 is no limit.
    If both are 0 there is nothing to do."""

    steps: int = 0
    minutes: float = 0.0

    def progress(self, course: Course) -> float:
        """The fraction of the run that is done, 0 to 1."""
        parts = [done / limit for done, limit in ((course.steps, self.steps), (course.minutes, self.minutes)) if limit]
        return min(1.0, max(parts, default=1.0))


@dataclass
class Course:
    """How far a lesson has come. rows: mean losses, each with the step at which they end."""

    steps: int = 0
    minutes: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)


class Moment(NamedTuple):
    """What `watch` is told after every step."""

    lesson: Lesson
    course: Course
    progress: float
    shown: list[Tensor]


Watch = Callable[[Moment], None]
Saved = Callable[[Course], None]


def learn(
    lesson: Lesson,
    state_dir: Path,
    goal: Goal,
    *,
    watch: Watch = lambda moment: None,
    saved: Saved = lambda course: None,
    save_every: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
) -> Course:
    """Trains a lesson to its goal, resuming from the state in `state_dir` if there is one.

    watch: called after each step; may raise to stop, and the run is saved then. saved: called after each save, for the
    model file; not if a photo could not be read. save_every: seconds. state_dir gets <name>.state and <name>.jsonl.

    ValueError: a state of other settings, or a damaged one; a loss or weight that became NaN or infinite; NoBatch:
    photos that cannot be read (the run is saved then); files.NotWritten: a full disk.
    """
    run = Run(lesson, state_dir, goal, clock)
    while run.progress < 1:
        try:
            watch(run.step())
        except NoBatch:
            run.save()
            raise
        except BaseException:
            if not run.in_step:  # in the middle of one, half of the networks may have learned: the last save stays
                run.save()
                saved(run.course)
            raise
        first = run.course.steps == 1  # a full disk is told before hours are spent
        if (first or run.since_save() > save_every) and run.progress < 1:
            run.save()
            saved(run.course)
            run.saved_at = run.clock()  # a save may take longer than save_every
    run.save()
    saved(run.course)
    return run.course


class Run:
    """A lesson on the way to its goal: counts, means and files."""

    def __init__(self, lesson: Lesson, state_dir: Path, goal: Goal, clock: Callable[[], float]) -> None:
        self.lesson, self.goal, self.clock = lesson, goal, clock
        self.path = state_dir / f"{lesson.name}.state"
        self.course, (self.sums, self.counts) = resume(lesson, self.path)
        self.saved_steps = self.course.steps
        self.minutes_before = self.course.minutes
        self.started = self.saved_at = clock()
        self.in_step = False

    @property
    def progress(self) -> float:
        return self.goal.progress(self.course)

    def since_save(self) -> float:
        """Seconds."""
        return self.clock() - self.saved_at

    def step(self) -> Moment:
        course = self.course
        self.in_step = True
        losses, shown = self.lesson.step(course.steps, self.progress)
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        course.steps += 1
        course.minutes = self.minutes_before + (self.clock() - self.started) / 60
        # the first one by itself: where the curves begin
        if course.steps == 1 or course.steps % self.lesson.log_every == 0:
            self.row()
        self.in_step = False
        return Moment(self.lesson, course, self.progress, shown)

    def row(self) -> None:
        """Closes a row of the log: mean losses since the last one."""
        if not self.counts:
            return
        self._check()
        means = {name: float(value) / self.counts[name] for name, value in self.sums.items()}
        self.course.rows.append({"step": self.course.steps, "minutes": round(self.course.minutes, 3), **means})
        self.sums, self.counts = {}, {}

    def _check(self) -> None:
        """ValueError: a loss since the last row that is NaN or infinite."""
        if not all(math.isfinite(float(value)) for value in self.sums.values()):
            raise _diverged(self.course)

    def save(self) -> None:
        """Writes the state and the log, if there was a step since the last save. The row that has begun goes on after
        it: curves do not tell when a run was saved."""
        course = self.course
        if self.progress >= 1:
            self.row()
        if course.steps == self.saved_steps:
            return
        self._check()
        content = {"identity": self.lesson.identity, "lesson": self.lesson.state(), "steps": course.steps}
        content["begun"] = [{name: value.cpu() for name, value in self.sums.items()}, self.counts]
        if not all(bool(torch.isfinite(value).all()) for value in _tensors(content) if value.is_floating_point()):
            raise _diverged(course)
        files.replace_torch(self.path, {**content, "minutes": course.minutes, "rows": course.rows})
        lines = "".join(json.dumps(row) + "\n" for row in course.rows)
        files.replace(self.path.with_suffix(".jsonl"), lines.encode())
        self.saved_steps, self.saved_at = course.steps, self.clock()


# --- what is kept in files --------------------------------------------------------------------------------------------


def resume(lesson: Lesson, path: Path) -> tuple[Course, Begun]:
    """Loads the state in a file into the lesson, if there is one; and the row that had begun."""
    if not path.is_file():
        return Course(), ({}, {})
    state = read_state(path)
    check_identity(state["identity"], lesson.identity, path.parent)
    try:
        lesson.load(state["lesson"])
    except torch.OutOfMemoryError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise _damaged(path, error) from error
    sums, counts = state["begun"]
    return Course(state["steps"], state["minutes"], state["rows"]), (sums, counts)


def read_state(path: Path) -> dict[str, Any]:
    """ValueError: not the state of a training, or damaged."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: state[name] for name in ("identity", "lesson", "steps", "minutes", "rows")}
        found["begun"] = state.get("begun", [{}, {}])
        _check_state(found)
        return found
    except PermissionError:
        raise
    except Exception as error:  # every kind of damage raises its own
        raise _damaged(path, error) from error


def _check_state(state: Mapping[str, Any]) -> None:
    """ValueError or TypeError: values that `learn` never writes."""
    if type(state["steps"]) is not int or state["steps"] < 0:
        raise ValueError(f"steps {state['steps']!r}")
    if not isinstance(state["minutes"], (int, float)) or not 0 <= state["minutes"] < math.inf:
        raise ValueError(f"minutes {state['minutes']!r}")
    for name in ("identity", "lesson"):
        if not isinstance(state[name], dict):
            raise TypeError(name)
    if not all(isinstance(row, dict) and "step" in row for row in state["rows"]):
        raise TypeError("rows")
    sums, counts = state["begun"]
    if set(sums) != set(counts) or not all(isinstance(value, Tensor) and value.numel() == 1 for value in sums.values()):
        raise ValueError("begun")


def check_identity(known: Mapping[str, Any], asked: Mapping[str, Any], state_dir: Path) -> None:
    """ValueError: the training kept in this folder began with other settings than the ones asked for now."""
    differing = [
        f"{SETTING_NAMES.get(name, name + ' {}').format(known.get(name))} instead of {asked[name]}"
        for name in asked
        if known.get(name) != asked[name]
    ]
    if differing:
        raise ValueError(
            f"The training kept in {state_dir} began with {', '.join(differing)}. Set that back to continue, choose "
            "another name or folder, or start anew."
        )


def forget(state_dir: Path, *names: str) -> None:
    """Deletes what trainings kept in their folder: the lessons of these names, or all. ValueError: see `locked`."""
    if not state_dir.is_dir():
        return
    with locked(state_dir):
        for path in list(state_dir.iterdir()):
            if names and path.name.split(".")[0] not in names:
                continue
            if path.suffix in (".state", ".jsonl", ".part", ".finished"):
                path.unlink()


@contextmanager
def locked(state_dir: Path, *model_paths: Path) -> Iterator[None]:
    """Keeps a training's folder and model files for this process alone. ValueError: another process has them."""
    try:
        with files.locked(state_dir, *model_paths):
            yield
    except files.Locked as error:
        raise ValueError(
            f"Another process is training in {state_dir} right now. Wait until it ends, or choose another name."
        ) from error


def _state_of(part: Any) -> Any:
    if isinstance(part, (list, tuple)):
        return [_state_of(one) for one in part]
    return part if isinstance(part, Tensor) else part.state_dict()


def _load_into(part: Any, state: Any) -> None:
    if isinstance(part, (list, tuple)):
        if len(part) != len(state):
            raise IndexError(f"{len(state)} instead of {len(part)}")
        for one, held in zip(part, state, strict=True):
            _load_into(one, held)
    elif isinstance(part, Tensor):
        with torch.no_grad():
            part.copy_(state)
    else:
        part.load_state_dict(state)


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for part in content.values():
            yield from _tensors(part)
    elif isinstance(content, (list, tuple)):
        for part in content:
            yield from _tensors(part)


def _diverged(course: Course) -> ValueError:
    return ValueError(
        f"Training diverged before step {course.steps}: a loss or weight became NaN or infinite. The last saved state "
        "is kept. Resume in float32 precision or with a larger batch, or start anew."
    )


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is not the state of a training, or it is damaged ({type(error).__name__}). Start anew, or delete it."
    )
