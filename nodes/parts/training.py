"""What the training nodes share: common inputs, file locations, and progress reports."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.model_management
import folder_paths
import torch
from comfy.utils import ProgressBar
from comfy_api.latest import io

from ... import files, host
from ...networks.frozen import gradients
from .checks import check_numbers
from .folders import BUILT_IN, BUILT_IN_PHOTOS, ITSELF, are_there, input_folder, state_of
from .pictures import to_image
from .sockets import FeaturesSocket

if TYPE_CHECKING:  # imported lazily: most sessions train nothing
    from ...training.loop import Goal, Moment
    from ...training.one import Options, Trained

GO_ON, ANEW = "go on where it stopped", "start anew"
PRECISIONS = ("float32", "bfloat16")
SIZES = ("128", "256", "512", "1024")
SIDES = ("64", "128", "256", "512")  # as in training.diffusion: guided diffusion's table
SCHEDULE_SAMPLERS = ("uniform", "loss-second-moment")  # as in training.diffusion
LONGEST = 255 - len(".safetensors.4194304.part")  # bytes of a name, so that its temporary file can be named, too
DRAFT_SHARE = 0.4  # of a time budget, for the autoencoder
TOLD = 20  # how many skipped pictures the text on the node lists
SAY_EVERY, SHOW_EVERY = 2.0, 15.0  # seconds between two texts and between two previews


def discriminator_width(width: int) -> int:
    """The discriminator's width beside a generator's: 64 as published, less where that is narrow."""
    return 16 if width < 16 else 32 if width < 32 else 64


class Teller:
    """Reports a node's progress: raises on Cancel, moves the progress bar, and sends a text from time to time."""

    def __init__(self, node_id: str | None, total: int) -> None:
        self.node_id, self.bar = node_id, ProgressBar(total)
        self.said = time.monotonic()

    def __call__(self, value: int, text: Callable[[], str], preview: Any = None) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.bar.update_absolute(value, preview=preview)
        if time.monotonic() - self.said > SAY_EVERY:
            self.said = time.monotonic()
            host.say_on_node(self.node_id, text())


class Watch:
    """Called after every training step: reports progress, with curves and pictures from time to time.

    spans: the fractions of the progress bar at which each lesson starts and ends.
    """

    def __init__(self, node_id: str | None, spans: dict[str, tuple[float, float]]) -> None:
        self.tell, self.spans = Teller(node_id, 1000), spans
        self.shown = time.monotonic()

    def __call__(self, moment: Moment) -> None:
        first, last = self.spans[moment.lesson.name]
        preview = None
        if time.monotonic() - self.shown > SHOW_EVERY:
            self.shown = time.monotonic()
            preview = "JPEG", _seen(moment), None
        self.tell(round(1000 * (first + (last - first) * moment.progress)), lambda: _said(moment), preview)


def _seen(moment: Moment) -> Any:
    from ...training.curves import curves, sheet, stacked

    pictures = [sheet(moment.shown)] if moment.shown else []
    return stacked([curves(moment.lesson, moment.course.rows), *pictures])


def _said(moment: Moment) -> str:
    course = moment.course
    losses = [
        f"{k} {v:.3g}" for k, v in (course.rows[-1] if course.rows else {}).items() if k not in ("step", "minutes")
    ]
    return "\n".join([how_far(moment.lesson.name, course.steps, course.minutes, moment.progress), *losses])


def how_far(lesson: str, steps: int, minutes: float, progress: float) -> str:
    """A line such as: autoencoder: step 43 of 160, about 2 minutes left. minutes: of training so far, in all runs.
    progress: the fraction that is done, 0 to 1, by the limit that is reached first."""
    if progress <= 0:
        return f"{lesson}: step {steps}"
    total, left = max(steps, round(steps / progress)), minutes * (1 / progress - 1)
    if left >= 90:
        time_left = f"about {left / 60:.0f} hours"
    elif left >= 1.5:
        time_left = f"about {left:.0f} minutes"
    else:
        time_left = "about a minute" if left >= 0.75 else "less than a minute"
    return f"{lesson}: step {steps} of {total}, {time_left} left"


def summary(courses: dict[str, Any], file: Path) -> str:
    lines = [f"{name}: {course.steps} steps, {course.minutes:.1f} minutes" for name, course in courses.items()]
    text = "\n".join([*lines, f"Saved: {file}"])
    logging.info(text)
    return text


def left_out(reasons: Sequence[str]) -> str:
    """The end of a node's text: the pictures that were skipped, at most TOLD of them; empty if none were."""
    if not reasons:
        return ""
    more = [f"and {len(reasons) - TOLD} more"] if len(reasons) > TOLD else []
    return "\n".join(["", "Left out:", *reasons[:TOLD], *more])


def goal_of(steps: int, minutes: float) -> Goal:
    """ValueError: both limits are 0."""
    from ...training.loop import Goal

    if not steps and not minutes:
        raise ValueError("Steps and minutes are both 0, so nothing would be trained. Set one of them.")
    return Goal(steps, minutes)


def gan_goals(draft_steps: int, gan_steps: int, minutes: float) -> tuple[Goal, Goal]:
    from ...training.loop import Goal

    return goal_of(draft_steps, DRAFT_SHARE * minutes), Goal(gan_steps, (1 - DRAFT_SHARE) * minutes)


@contextmanager
def started(
    node: type[io.ComfyNode],
    model_path: Path,
    state_dir: Path,
    begin: str,
    save_minutes: float,
    spans: dict[str, tuple[float, float]],
) -> Iterator[tuple[torch.device, Options]]:
    """A training in a node: the device, emptied of everything else since a training needs all there is, and how the run
    is watched and saved; gradients are on inside. Forgets an earlier training if `begin` says so. spans: see Watch.

    ValueError: a model file of that name which no kept training wrote."""
    from ...training.loop import forget
    from ...training.one import Options

    if begin == ANEW:
        forget(state_dir)
    elif model_path.is_file() and not any(state_dir.glob("*.state")):
        raise ValueError(
            f"{model_path} is there already, and the training that made it is not kept. Choose another name, or choose "
            f"'{ANEW}' to replace that file."
        )
    device = comfy.model_management.get_torch_device()
    host.make_room(device, comfy.model_management.get_total_memory(device))
    with gradients():
        yield device, Options(Watch(node.hidden and node.hidden.unique_id, spans), 60 * save_minutes)


def shown(trained: Trained) -> tuple[torch.Tensor, torch.Tensor]:
    """The plot and the preview of a training, as IMAGEs."""
    from ...training.curves import stacked

    return to_image(stacked(trained.plots)), to_image(trained.preview)


def model_and_state(folder: str, name: str) -> tuple[Path, Path]:
    """The model file of this name, and the folder next to it for the training state."""
    home = Path(folder_paths.get_folder_paths(folder)[0])
    return home / f"{plain_name(name)}.safetensors", home / f"{plain_name(name)}.training"


def plain_name(name: str) -> str:
    """The name, stripped. ValueError: it cannot be the name of a file or folder."""
    name = files.check_name(name, "result").strip()
    if not name or name.startswith(".") or re.search(r'[\\/:*?"<>|\x00-\x1f]', name):
        raise ValueError(f'{files.quote(name)} cannot be a file name. Remove \\ / : * ? " < > | and leading dots.')
    size = len(name.encode())
    if size > LONGEST:
        raise ValueError(
            f"The name {files.quote(name)} is too long: {size} bytes, and a file name holds {LONGEST}. Shorten it."
        )
    return name


def tidy(name: str) -> str:
    """An extractor's name, made fit for a folder."""
    return re.sub(r"[^\w .()-]+", "_", os.path.splitext(os.path.basename(name))[0]).strip(" .") or "extractor"


def first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def valid(name: str | None, *folders: str | None) -> bool | str:
    """True, or the error in the widgets. None: linked, known only at run time."""
    try:
        if name is not None:
            plain_name(name)
    except ValueError as error:
        return str(error)
    return are_there(*folders)


def state_below(*folders: str | None) -> str:
    """state_of all files in or below these folders. None: linked."""
    known = [input_folder(folder) for folder in folders if folder is not None]
    return state_of(path for folder in known for path in sorted(folder.rglob("*")))


def name_input(default: str, place: str) -> io.String.Input:
    return io.String.Input(
        "name",
        default=default,
        tooltip=f"The result is saved under this name in {place}, ready for its loader. The same name continues the "
        "same training.",
    )


def folder_input(name: str, tip: str) -> io.Combo.Input:
    return io.Combo.Input(
        name,
        options=[*folder_paths.get_input_subfolders(), BUILT_IN, BUILT_IN_PHOTOS, ITSELF],
        tooltip=f"{tip} Inside ComfyUI's input folder; a dot is that folder itself.",
    )


class PhotoTraining(io.ComfyNode):
    """A node that trains on one folder of photos: how its name and folder are checked, and when they have changed."""

    @classmethod
    def validate_inputs(cls, name: str | None = None, photos: str | None = None) -> bool | str:
        return valid(name, photos)

    @classmethod
    def fingerprint_inputs(cls, photos: str | None = None, **_: Any) -> str:
        return state_below(photos)


class SketchTraining(io.ComfyNode):
    """The same of a node that trains on photos and sketches. sets: of Synthesize Sketch Sets, in place of sketches; ""
    where nothing is connected, None where it is linked."""

    @classmethod
    def validate_inputs(
        cls, name: str | None = None, photos: str | None = None, sketches: str | None = None, sets: str | None = ""
    ) -> bool | str:
        return valid(name, photos, sketches if sets == "" else sets)

    @classmethod
    def fingerprint_inputs(
        cls, photos: str | None = None, sketches: str | None = None, sets: str | None = "", **_: Any
    ) -> str:
        return state_below(photos, sketches if sets == "" else sets)


def check_widgets(widgets: dict[str, Any], **more: float) -> None:
    """check_numbers of `more`, and of those widgets whose values are floats."""
    check_numbers(**more, **{name: value for name, value in widgets.items() if isinstance(value, float)})


def features_input(tip: str, optional: bool = False) -> io.Input:
    return FeaturesSocket.Input("features", optional=optional, tooltip=f"From Load Sketch Features. {tip}")


def size_input(tip: str) -> io.Combo.Input:
    return io.Combo.Input("size", options=list(SIZES), default="256", tooltip=tip)


def minutes_input(tip: str = "Maximum total training time in minutes, 0 to 100000") -> io.Float.Input:
    return io.Float.Input(
        "minutes",
        default=0.0,
        min=0.0,
        max=100_000.0,
        step=1.0,
        tooltip=f"{tip}. The run ends at this or at the step limit, whichever comes first. 0: no time limit.",
    )


def common_inputs(
    deleted: str = "the saved state (<name>.training); the first save replaces <name>.safetensors",
) -> list[io.Input]:
    """deleted: what `start anew` deletes, in words."""
    return [
        io.Combo.Input(
            "precision",
            options=list(PRECISIONS),
            advanced=True,
            tooltip="bfloat16: convolutions in half precision, faster and with less memory on newer GPUs, slower on "
            "most CPUs.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**31 - 1,
            control_after_generate=False,  # another seed is another training: the editor would start one at each Run
            tooltip="Seed of the initial weights and of all randomness, 0 to 2147483647. The same seed and photos "
            "give the same network on the same machine.",
        ),
        io.Float.Input(
            "save_minutes",
            default=5.0,
            min=0.0,
            max=1440.0,
            step=1.0,
            advanced=True,
            tooltip="Minutes between saves, 0 to 1440: the most that a crash can lose. Cancelling always saves. 0: "
            "saves after every step.",
        ),
        io.Combo.Input(
            "begin",
            options=[GO_ON, ANEW],
            tooltip="go on: continues from the saved state of this name, if there is one. start anew: deletes "
            f"{deleted}. Set it back before the next run, which would delete them again.",
        ),
    ]


def schedule_sampler_input() -> io.Combo.Input:
    return io.Combo.Input(
        "schedule_sampler",
        options=list(SCHEDULE_SAMPLERS),
        optional=True,
        advanced=True,
        tooltip="Which noise levels a step learns at. uniform: all alike. loss-second-moment: more often those with a "
        "large loss, once each has been seen ten times; for learn_sigma.",
    )


def ema_input(default: str, tip: str) -> io.String.Input:
    return io.String.Input(
        "ema_rate",
        default=default,
        optional=True,
        advanced=True,
        tooltip="How much of the averaged weights stays at each step, 0 to below 1; the average is what is saved. Up "
        "to four with commas between them: the first is <name>, each other one a file of its own, such as <name> (ema "
        f"0.99). {tip}",
    )


def labelled_photos_input() -> io.Combo.Input:
    return folder_input("photos", "A folder with a sub-folder of photos for each class, ideally 100 each.")


def steps_input(default: int, tip: str, most: int = 10_000_000) -> io.Int.Input:
    return io.Int.Input(
        "steps",
        default=default,
        min=0,
        max=most,
        tooltip=f"Total number of steps, 0 to {most}. {tip} 0: limited by minutes only.",
    )


def batch_input(default: int, tip: str = "", least: int = 1, most: int = 1024) -> io.Int.Input:
    return io.Int.Input(
        "batch", default=default, min=least, max=most, tooltip=f"Photos per step, {least} to {most}. {tip}".strip()
    )


def learning_rate_input(default: float, published: str) -> io.Float.Input:
    return io.Float.Input(
        "learning_rate",
        default=default,
        min=0.000001,
        max=0.1,
        step=0.0001,
        round=0.000001,
        tooltip=f"The highest learning rate, 0.000001 to 0.1. Published: {published}.",
    )


def weight_decay_input(default: float, published: str, advanced: bool = True) -> io.Float.Input:
    return io.Float.Input(
        "weight_decay",
        default=default,
        min=0.0,
        max=1.0,
        step=0.01,
        advanced=advanced,
        tooltip=f"0 to 1. Published: {published}.",
    )


def plot_output(tip: str = "The losses over the steps, for all runs under this name.") -> io.Image.Output:
    return io.Image.Output("plot", display_name="plot", tooltip=tip)


def picture_outputs(tip: str) -> list[io.Output]:
    return [plot_output(), io.Image.Output("preview", display_name="preview", tooltip=tip)]
