"""A training run that can be taken up: cancelled, it loses nothing; killed, at most what came after its last save.

A lesson holds the networks, optimisers and data of one stage (gan_lessons.py); `learn` drives it. All that a lesson
draws at random follows from its seed and the number of the step, so a run that is taken up ends as an uninterrupted
one does, to the bit. Inside ComfyUI, call `learn` within frozen.gradients().
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from .gan_ae_steps import Losses

ROW = 20  # steps that one row of the log is the mean of
POINTS = 200  # of a curve in a chart
SHOWN = 5  # pictures on a sheet


class Lesson(Protocol):
    """One stage of training."""

    name: str  # of its files
    identity: dict[str, Any]  # settings that a run cannot change once it has begun
    panels: tuple[Panel, ...]

    def step(self, step: int, share: float) -> tuple[Losses, list[Tensor]]:
        """One step, the `step`-th from 0, `share` (0 to 1) of the way. -> losses by name, and what was seen and made:
        columns of pictures [B,C,S,S] in [-1,1]."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that a later run goes on from: tensors, numbers, text, lists and dicts of them."""
        ...

    def load(self, state: dict[str, Any]) -> None: ...


class Panel(NamedTuple):
    """One chart of the losses. relative: each line is divided by its first value."""

    title: str
    names: tuple[str, ...]
    relative: bool = False


class Goal(NamedTuple):
    """When a lesson is over: after so many steps or minutes of learning in all, whichever is first; 0: no limit. With
    both 0 there is nothing to do."""

    steps: int = 0
    minutes: float = 0.0

    def share(self, course: Course) -> float:
        """How much of the way is behind, 0 to 1."""
        parts = [done / limit for done, limit in ((course.steps, self.steps), (course.minutes, self.minutes)) if limit]
        return min(1.0, max(parts, default=1.0))


@dataclass
class Course:
    """How far a lesson has come. rows: mean losses, each with the step that they end at."""

    steps: int = 0
    minutes: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)


class Moment(NamedTuple):
    """What `watch` is told after every step."""

    lesson: Lesson
    course: Course
    share: float
    shown: list[Tensor]


Watch = Callable[[Moment], None]


def learn(
    lesson: Lesson,
    place: Path,
    goal: Goal,
    *,
    watch: Watch = lambda moment: None,
    saved: Callable[[Course], None] = lambda course: None,
    save_every: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
) -> Course:
    """Trains a lesson to its goal, going on from the state in the folder `place` if there is one.

    watch: may raise to stop the run; the state is saved then. saved: called after each save on the way and at the end.
    save_every: seconds. The folder takes <name>.state and <name>.jsonl, both always whole.

    ValueError: a state of other settings, or one that cannot be read; losses or weights that are no numbers any more.
    """
    path = place / f"{lesson.name}.state"
    course = resume(lesson, path)
    window: Losses = {}
    counted, kept = 0, course.steps
    earlier, began = course.minutes, clock()
    last_save = began

    def keep() -> None:
        nonlocal kept, last_save
        note_row()
        content = {"identity": lesson.identity, "lesson": lesson.state(), "steps": course.steps}
        if not all(bool(torch.isfinite(x).all()) for x in _tensors(content) if x.is_floating_point()):
            raise _astray(course)
        write_state(path, {**content, "minutes": course.minutes, "rows": course.rows})
        lines = "".join(json.dumps(row) + "\n" for row in course.rows)
        replace(path.with_suffix(".jsonl"), lines.encode())
        kept, last_save = course.steps, clock()

    def note_row() -> None:
        nonlocal counted
        if not counted:
            return
        row = {name: float(value) / counted for name, value in window.items()}
        if not all(map(_is_number, row.values())):
            raise _astray(course)
        course.rows.append({"step": course.steps, "minutes": round(course.minutes, 3), **row})
        window.clear()
        counted = 0

    while (share := goal.share(course)) < 1:
        losses, shown = lesson.step(course.steps, share)
        for name, value in losses.items():
            window[name] = window.get(name, torch.zeros_like(value)) + value
        course.steps, counted = course.steps + 1, counted + 1
        course.minutes = earlier + (clock() - began) / 60
        if course.steps % ROW == 0:
            note_row()
        try:
            watch(Moment(lesson, course, goal.share(course), shown))
        except BaseException:  # Cancel: between two steps all is well
            keep()
            raise
        if clock() - last_save > save_every and goal.share(course) < 1:
            keep()
            saved(course)
            last_save = clock()
    if course.steps != kept:
        keep()
    saved(course)
    return course


def resume(lesson: Lesson, path: Path) -> Course:
    """Takes up the state in a file, if there is one."""
    if not path.is_file():
        return Course()
    state = read_state(path)
    known, asked = state["identity"], lesson.identity
    differing = [
        f"{name} {known.get(name)} instead of {asked[name]}" for name in asked if known.get(name) != asked[name]
    ]
    if differing:
        raise ValueError(
            f"The training kept in {path.parent} was begun with {', '.join(differing)}. Set that back to go on, choose "
            "another name, or start anew."
        )
    lesson.load(state["lesson"])
    return Course(state["steps"], state["minutes"], state["rows"])


def forget(place: Path) -> None:
    """Deletes what a training kept in its folder; nothing else in it."""
    for path in place.glob("*"):
        if path.suffix in (".state", ".jsonl", ".part", ".finished"):
            path.unlink()


# --- files that are whole or not there --------------------------------------------------------------------------------


def replace(path: Path, content: bytes) -> None:
    """Writes a file so that whoever is stopped in between, by a kill or a power cut, leaves the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_of(path).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part_of(path), path)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """As `replace`, of what torch.load reads with weights_only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_of(path).open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part_of(path), path)


def write_weights(path: Path, weights: Mapping[str, Tensor], notes: Mapping[str, Any], half: bool = False) -> None:
    """As `replace`, a .safetensors file; half: in fp16. notes: for its metadata."""
    told = {"format": "pt", **{key: note if isinstance(note, str) else json.dumps(note) for key, note in notes.items()}}

    def plain(value: Tensor) -> Tensor:
        value = value.detach().cpu()
        return (value.half() if half and value.is_floating_point() else value).contiguous().clone()

    replace(path, save({key: plain(value) for key, value in weights.items()}, told))


def read_state(path: Path) -> dict[str, Any]:
    """ValueError: no state of a training."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: state[name] for name in ("identity", "lesson", "steps", "minutes", "rows")}
    except Exception as error:  # every kind of damage has its own
        raise ValueError(
            f"{path} is not the state of a training, or damaged ({type(error).__name__}). Start anew, or delete it."
        ) from error


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for part in content.values():
            yield from _tensors(part)
    elif isinstance(content, (list, tuple)):
        for part in content:
            yield from _tensors(part)


def _is_number(value: float) -> bool:
    return value - value == 0


def _astray(course: Course) -> ValueError:
    return ValueError(
        f"The training went astray before step {course.steps}: its losses or weights are no numbers any more. The last "
        "saved state is kept. Go on from there with bf16 off or a larger batch, or start anew."
    )


# --- what it looks like -----------------------------------------------------------------------------------------------


def curves(lesson: Lesson, rows: Sequence[Mapping[str, float]]) -> Image.Image:
    """The losses of a lesson as charts side by side."""
    from . import charts  # here: only who asks for a picture needs it

    pictures = []
    for panel in lesson.panels:
        series = []
        for name in panel.names:
            points = _thinned([(row["step"], row[name]) for row in rows if name in row])
            if points:
                first = abs(points[0][1]) or 1.0
                series.append(charts.Series(name, [(x, y / first) for x, y in points] if panel.relative else points))
        if series:
            pictures.append(charts.line_chart(series, title=panel.title, x_label="step", size=(640, 420)))
    return charts.side_by_side(pictures or [charts.line_chart([], title="no steps yet", size=(640, 420))])


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most POINTS of them, each the mean of its neighbourhood."""
    group = -(-len(points) // POINTS) or 1
    parts = [points[i : i + group] for i in range(0, len(points), group)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def sheet(columns: Sequence[Tensor], count: int = SHOWN) -> Image.Image:
    """Rows of pictures [B,1 or 3,S,S] in [-1,1], each column one kind."""
    shown = [column[:count].detach().float().cpu().expand(-1, 3, -1, -1) for column in columns]
    side = min(256, shown[0].shape[-1])
    shown = [torch.nn.functional.interpolate(x, (side, side), mode="area") for x in shown]
    whole = torch.cat([torch.cat(list(row), 2) for row in zip(*shown, strict=True)], 1)
    return Image.fromarray((whole * 127.5 + 127.5).round().clamp(0, 255).byte().movedim(0, -1).numpy())


def under_one_another(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures in a column, brought to the width of the first."""
    scaled = [p.resize((pictures[0].width, round(p.height * pictures[0].width / p.width))) for p in pictures]
    whole = Image.new("RGB", (pictures[0].width, sum(p.height for p in scaled)), "white")
    top = 0
    for picture in scaled:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole
