"""A training run that can be taken up: cancelled, it loses nothing; killed, at most what came after its last save.

A lesson holds the networks, optimisers and data of one stage (gan_lessons.py); `learn` drives it. All that a lesson
draws at random follows from its seed and the number of the step, so a run that is taken up ends as an uninterrupted
one does, to the bit. Inside ComfyUI, call `learn` within frozen.gradients().
"""

from __future__ import annotations

import glob
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import torch
from PIL import Image
from safetensors.torch import load, save
from torch import Tensor

from .batches import NoBatch
from .sketchgan.autoencoder import Losses

ROW = 20  # steps that one row of the log is the mean of
POINTS = 200  # of a curve in a chart
SHOWN = 5  # pictures on a sheet
WORDS = {
    "judge": "a discriminator of width {}",
    "channels": "features of {} channels",
}  # settings no widget is named so


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

    watch: may raise to stop the run; the state is saved then. saved: called after each save, but not where pictures
    cannot be read. save_every: seconds. The folder takes <name>.state and <name>.jsonl, both always whole.

    ValueError: a state of other settings, or one that cannot be read; losses or weights that are no numbers any more;
    pictures that cannot be read (NoBatch): the state is saved then.
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
        try:
            losses, shown = lesson.step(course.steps, share)
        except NoBatch:
            if course.steps != kept:
                keep()
            raise
        except BaseException as stop:  # Cancel, which the host's layers hear inside a step: it will be done once more
            if course.steps != kept and not isinstance(stop, Exception):
                keep()
                saved(course)
            raise
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
            saved(course)
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
    check_identity(state["identity"], lesson.identity, path.parent)
    lesson.load(state["lesson"])
    return Course(state["steps"], state["minutes"], state["rows"])


def check_identity(known: Mapping[str, Any], asked: Mapping[str, Any], place: Path) -> None:
    """ValueError: the training kept in this folder was begun with other settings than are asked for now."""
    differing = [
        f"{WORDS.get(name, name + ' {}').format(known.get(name))} instead of {asked[name]}"
        for name in asked
        if known.get(name) != asked[name]
    ]
    if differing:
        raise ValueError(
            f"The training kept in {place} was begun with {', '.join(differing)}. Set that back to go on, choose "
            "another name, or start anew."
        )


def forget(place: Path) -> None:
    """Deletes what a training kept in its folder; nothing else in it. ValueError: see `locked`."""
    if not place.is_dir():
        return
    with locked(place):
        for path in list(place.iterdir()):
            if path.suffix in (".state", ".jsonl", ".part", ".finished"):
                path.unlink()


@contextmanager
def locked(place: Path, file: Path | None = None) -> Iterator[None]:
    """Keeps the folder of a training, and its model file, for this process alone. The system lifts the lock when the
    process ends, however it ends; parts of files that a killed one left are deleted first.

    ValueError: another process has it."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("ab") as lock:
        try:
            _lock(lock)
        except (BlockingIOError, PermissionError) as error:
            raise ValueError(
                f"Another process is training in {place} just now. Wait until it is done, or choose another name."
            ) from error
        except OSError:  # some network drives know no locks
            pass
        left = list(place.glob("*.part"))
        if file is not None:
            left += file.parent.glob(f"{glob.escape(file.stem)}*.part")
        for path in left:
            if path.suffixes[-2:-1] and path.suffixes[-2][1:].isdecimal():  # as _put names them
                path.unlink(missing_ok=True)
        yield


def _lock(file: IO[bytes]) -> None:
    """OSError: it is another's, or cannot be."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- files that are whole or not there --------------------------------------------------------------------------------


def replace(path: Path, content: bytes) -> None:
    """Writes a file so that whoever is stopped in between, by a kill or a power cut, leaves the old one whole."""
    _put(path, lambda file: file.write(content))


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """As `replace`, of what torch.load reads with weights_only."""
    _put(path, lambda file: torch.save(dict(state), file))


def _put(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Through a part of this process's own, which is gone if it could not be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_weights(path: Path, weights: Mapping[str, Tensor], notes: Mapping[str, Any], half: bool = False) -> None:
    """As `replace`, what `packed` gives."""
    replace(path, packed(weights, notes, half))


def packed(weights: Mapping[str, Tensor], notes: Mapping[str, Any], half: bool = False) -> bytes:
    """The content of a .safetensors file; half: in fp16. notes: for its metadata."""
    told = {"format": "pt", **{key: note if isinstance(note, str) else json.dumps(note) for key, note in notes.items()}}

    def plain(value: Tensor) -> Tensor:
        value = value.detach().cpu()
        return (value.half() if half and value.is_floating_point() else value).contiguous().clone()

    return save({key: plain(value) for key, value in weights.items()}, told)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Those of a .safetensors file, in memory: a mapped file could not be replaced on Windows."""
    return load(path.read_bytes())


def read_state(path: Path) -> dict[str, Any]:
    """ValueError: no state of a training."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: state[name] for name in ("identity", "lesson", "steps", "minutes", "rows")}
    except Exception as error:  # every kind of damage has its own
        raise ValueError(
            f"{path} is not the state of a training, or damaged ({type(error).__name__}). Start anew, or delete it."
        ) from error


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
        "saved state is kept. Go on from there in float32 precision or with a larger batch, or start anew."
    )


# --- what it looks like -----------------------------------------------------------------------------------------------


def curves(lesson: Lesson | type[Lesson], rows: Sequence[Mapping[str, float]]) -> Image.Image:
    """The losses of a lesson as charts side by side."""
    from ..pictures import charts  # here: only who asks for a picture needs it

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


def sheet(kinds: Sequence[Tensor], count: int = SHOWN) -> Image.Image:
    """`count` pictures beside each other, each kind [B,1 or 3,S,S] in [-1,1] a row."""
    shown = [kind[:count].detach().float().cpu().expand(-1, 3, -1, -1) for kind in kinds]
    side = min(256, shown[0].shape[-1])
    shown = [torch.nn.functional.interpolate(x, (side, side), mode="area") for x in shown]
    whole = torch.cat([torch.cat(list(row), 2) for row in shown], 1)
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
