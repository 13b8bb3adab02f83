"""Sketches for training: a sketch extractor (TOM) learns a drawing style, and draws whole folders of photos."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
from comfy_api.latest import io

from .. import host
from ..networks.frozen import gradients
from ..pictures.extractors import Extractor
from ..pictures.features import Features
from .extractors import EXTRACTORS, comparing, load_extractor, load_features, room_to_draw
from .parts import search
from .parts.checks import check_numbers
from .parts.folders import input_folder, model_state, prefix_of
from .parts.model_files import STARTER
from .parts.pictures import to_image
from .parts.sockets import ExtractorSocket
from .parts.training import (
    ANEW,
    PRECISIONS,
    Teller,
    batch_input,
    common_inputs,
    features_input,
    first,
    folder_input,
    goal_of,
    left_out,
    minutes_input,
    model_and_state,
    name_input,
    picture_outputs,
    plain_name,
    shown,
    size_input,
    started,
    state_below,
    steps_input,
    summary,
    tidy,
    valid,
)
from .sketchgan import PAPER

SPANS = {"extractor": (0.0, 1.0)}  # of the progress bar
FORMS = ("TOM", "PhotoSketch")
INKED, GREY = "ink and paper (published)", "as drawn, with greys"


class SketchTrainExtractor(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchTrainExtractor",
            display_name="Train Sketch Extractor",
            category="sketch/training",
            description="Trains a small network to draw photos as you do. TOM learns the style of sketches that need "
            "not match the photos; PhotoSketch learns from drawings of these very photos, several of each if there "
            "are.",
            search_aliases=[
                *(*PAPER, "TOM", "train line art", "unpaired style transfer", "AAAI 2021", *search.TRAINING),
                *("PhotoSketch", "DiffSketching", "pix2pix", "photosketch_train"),
            ],
            is_output_node=True,
            inputs=[
                name_input("my sketch extractor", "models/sketch_extractors"),
                folder_input("photos", "A folder of photos, ideally 100 or more."),
                folder_input(
                    "sketches",
                    "TOM: a folder of 20 or more sketches in one style, dark on light, of any subject. PhotoSketch: "
                    "drawings named as their photos are, in this folder or in a sub-folder for each set.",
                ),
                features_input(
                    "TOM needs the feature maps of a VGG: a VGG16 or LPIPS file. If not connected: the built-in "
                    "network. PhotoSketch needs none.",
                    optional=True,
                ),
                size_input(
                    "Side in pixels of the squares it trains on. Published: 256. The trained extractor draws any size. "
                    "PhotoSketch: at most 512."
                ),
                io.Int.Input(
                    "width",
                    default=128,
                    min=8,
                    max=256,
                    step=8,
                    tooltip="Width of the network, 8 to 256, a multiple of 8. Published: 128 (19 MB), PhotoSketch 64 "
                    "(45 MB). TOM at 32, PhotoSketch at 16 are fast enough on a CPU.",
                ),
                steps_input(5000, "Published: 5000, PhotoSketch 400000.", 1_000_000),
                minutes_input(),
                batch_input(4, "Published: 4, PhotoSketch 2. More need more memory.", 2, 64),
                io.Int.Input(
                    "keep",
                    default=1,
                    min=1,
                    max=10,
                    tooltip="How many stages of the run are saved as files, 1 to 10, as name-1, name-2 ... and name; "
                    "each draws slightly differently. For Synthesize Sketch Sets; the paper trains on ten sets.",
                ),
                *common_inputs(
                    "the saved state (<name>.training) and all stages it wrote; the first save replaces "
                    "<name>.safetensors"
                ),
                io.Combo.Input(
                    "form",
                    options=list(FORMS),
                    optional=True,
                    tooltip="What is learned. TOM: a style, from any sketches. PhotoSketch: what people draw of a "
                    "photo, from one or more drawings of each; only the nearest one counts.",
                ),
                io.Int.Input(
                    "blocks",
                    default=9,
                    min=1,
                    max=16,
                    optional=True,
                    advanced=True,
                    tooltip="Residual blocks of PhotoSketch, 1 to 16. Published: 9. TOM ignores it.",
                ),
            ],
            outputs=[
                ExtractorSocket.Output(
                    "extractor",
                    display_name="extractor",
                    tooltip="For Photo to Sketch, Shape Energy and Shape Inversion.",
                ),
                ExtractorSocket.Output(
                    "stages",
                    display_name="stages",
                    is_output_list=True,
                    tooltip="All saved stages, the finished one last. For Synthesize Sketch Sets.",
                ),
                *picture_outputs("Photos, and how the network draws them now."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls, name: str | None = None, photos: str | None = None, sketches: str | None = None
    ) -> bool | str:
        return valid(name, photos, sketches)

    @classmethod
    def fingerprint_inputs(cls, photos: str | None = None, sketches: str | None = None, **_: Any) -> str:
        return state_below(photos, sketches)

    @classmethod
    def execute(
        cls,
        name: str,
        photos: str,
        sketches: str,
        size: str,
        width: int,
        steps: int,
        minutes: float,
        batch: int,
        keep: int,
        precision: str,
        seed: int,
        save_minutes: float,
        begin: str,
        features: Features | None = None,
        form: str = FORMS[0],
        blocks: int = 9,
    ) -> io.NodeOutput:
        from ..training.sketchgan import runs
        from ..training.sketchgan.losses import check_batch

        check_numbers(minutes=minutes, save_minutes=save_minutes)
        check_batch(batch)
        own = {"width": width, "batch": batch, "seed": seed, "bfloat16": precision == PRECISIONS[1]}
        if form == FORMS[1]:
            lesson_on, skipped = _photosketch(photos, sketches, int(size), blocks, own)
        else:
            lesson_on, skipped = _tom(photos, sketches, int(size), features, own)
        model_path, state_dir = model_and_state(EXTRACTORS, name)
        goal = goal_of(steps, minutes)
        if begin == ANEW:
            runs.forget_stages(model_path, state_dir)
        with started(cls, model_path, state_dir, begin, save_minutes, SPANS) as (device, options):
            lesson = lesson_on(device)
            paths, trained = runs.train_extractor(lesson, model_path, state_dir, goal, keep=keep, options=options)
        stages = [load_extractor(path.name) for path in paths]
        told = [summary(trained.courses, model_path), *filter(None, [runs.lacking(paths, keep)])]
        text = "\n".join(told) + left_out(skipped)
        return io.NodeOutput(stages[-1], stages, *shown(trained), ui=host.text_on_node(cls, text))


def _tom(
    photos: str, sketches: str, size: int, features: Features | None, own: dict[str, Any]
) -> tuple[Callable[[Any], Any], list[str]]:
    """What makes TOM's lesson on a device, and what was left out. Raises before anything is deleted."""
    from ..training import photos as photo_folders
    from ..training.sketchgan.extractor import ExtractorLesson, five_taps

    look = comparing(features or load_features(STARTER))
    five_taps(look, size)
    found = [
        photo_folders.alone(input_folder(folder), prefix_of(role, folder))
        for role, folder in (("exemplars", photos), ("sketches", sketches))
    ]
    seen, wanted = (photo_folders.Store(pictures, size) for pictures in found)
    skipped = [reason for part in found for reason in part.left_out]
    return lambda device: ExtractorLesson(seen, wanted, look, **own, device=device), skipped


def _photosketch(
    photos: str, sketches: str, size: int, blocks: int, own: dict[str, Any]
) -> tuple[Callable[[Any], Any], list[str]]:
    """The same for PhotoSketch's lesson. ValueError: a size it is not trained at, or no photo has its drawings."""
    from ..training import photos as photo_folders
    from ..training.photosketch import PhotoSketchLesson, check_size

    check_size(size)
    found = photo_folders.paired(input_folder(photos), photo_folders.set_folders(input_folder(sketches)))
    store = photo_folders.Store(found, size)
    return lambda device: PhotoSketchLesson(store, **own, blocks=blocks, device=device), found.left_out


class SketchSynthesizeSets(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchSynthesizeSets",
            display_name="Synthesize Sketch Sets",
            category="sketch/training",
            description="Draws every photo of a folder with one or more extractors and saves the sketches under the "
            "photos' file names, one folder per extractor. Train Sketch GAN learns from them.",
            search_aliases=[*PAPER, "batch line art", "folder to folder", "synthetic sketches", "dataset", "TOM"],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                folder_input("photos", "A folder of photos."),
                io.String.Input(
                    "name",
                    default="sketch sets",
                    tooltip="The folder inside ComfyUI's input folder to which the sketches are saved; each extractor "
                    "gets its own sub-folder.",
                ),
                ExtractorSocket.Input(
                    "extractor",
                    optional=True,
                    tooltip="What draws: an extractor from Load Sketch Extractor, or all stages from Train Sketch "
                    "Extractor.",
                ),
                io.String.Input(
                    "more",
                    default="edges (no weights)",
                    multiline=True,
                    tooltip="More extractors, one per line, by their names in Load Sketch Extractor. The last set "
                    "should be the cleanest: training uses it twice as often. At most ten sets in total.",
                ),
                io.Combo.Input(
                    "lines",
                    options=[INKED, GREY],
                    tooltip="ink and paper: everything brighter than 0.7 becomes white, the rest black. as drawn: "
                    "greys are kept.",
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    min=0,
                    max=4096,
                    step=8,
                    tooltip="Shorter side in pixels to which larger photos are reduced before they are drawn, 8 to "
                    "4096. 0: not reduced. The size at which the GAN is trained is enough.",
                ),
                io.Boolean.Input(
                    "again",
                    default=False,
                    tooltip="Off: existing sketches are kept, however they were drawn, so an interrupted run resumes. "
                    "On: all are drawn again; use it after changing lines, size or an extractor.",
                ),
            ],
            outputs=[
                io.String.Output("folder", display_name="folder", tooltip="For the sets input of Train Sketch GAN."),
                io.Image.Output(
                    "preview", display_name="preview", tooltip="Five photos, each with its sketch from every set."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, photos: Any = None, name: Any = None) -> bool | str:
        return valid(first(name), first(photos))

    @classmethod
    def fingerprint_inputs(cls, photos: Any = None, more: Any = None, **_: Any) -> str:
        return state_below(first(photos)) + model_state(EXTRACTORS, *_lines(first(more) or ""))

    @classmethod
    def execute(
        cls,
        photos: list[str],
        name: list[str],
        more: list[str],
        lines: list[str],
        size: list[int],
        again: list[bool],
        extractor: list[Extractor] | None = None,
    ) -> io.NodeOutput:
        from ..training import photos as photo_folders
        from ..training.sketchgan import sets

        source = input_folder(photos[0])
        named = photo_folders.by_name(source, prefix_of("exemplars", photos[0]))
        drawers = [*(extractor or []), *(load_extractor(line) for line in _lines(more[0]))]
        if not 1 <= len(drawers) <= 10:
            raise ValueError(
                f"Sketch sets need 1 to 10 extractors, got {len(drawers)}. Connect one to extractor, or "
                "name some in more."
            )
        home = Path(folder_paths.get_input_directory()) / plain_name(name[0])
        folders = [home / f"{i} {tidy(drawer.name)}" for i, drawer in enumerate(drawers, 1)]
        there = 0 if again[0] else sum((f / f"{stem}.png").is_file() for f in folders for stem in named)
        tell = Teller(cls.hidden and cls.hidden.unique_id, len(named) * len(drawers))

        def watch(number: int, done: int) -> None:
            tell(number * len(named) + done, lambda: f"{folders[number].name}: {done} of {len(named)}")

        own = {"size": size[0], "inked": lines[0] == INKED, "again": again[0]}
        pixels = 2 * (size[0] or 2048) ** 2  # of a photo twice as long as it is wide
        skipped: list[str] = []  # the same photos for every extractor
        for number, (drawer, folder) in enumerate(zip(drawers, folders, strict=True)):
            device = room_to_draw(drawer, pixels, comfy.model_management.get_torch_device())
            with gradients():
                skipped = sets.synthesise(
                    named, drawer.prepare(device), folder, **own, device=device, watch=partial(watch, number)
                )
        drawn = [path for stem, path in named.items() if all((f / f"{stem}.png").is_file() for f in folders)]
        if not drawn:
            raise ValueError(f"None of the photos in {source} could be drawn. The first: {skipped[0]}")
        sheet = to_image(sets.sheet_of(drawn[:5], folders))
        text = f"{len(drawn)} photos, {len(folders)} sketch sets in input/{name[0]}."
        if there:
            text += (
                f"\n{there} of {len(named) * len(folders)} sketches existed already and were kept. Turn on again to "
                "redraw them."
            )
        others = [folder.name for folder in photo_folders.set_folders(home) if folder not in folders]
        if others:
            text += (
                "\nTraining would also use these sets in the same folder, which are not from this run: "
                f"{', '.join(others)}. Delete them, or choose another name."
            )
        text += left_out(skipped)
        return io.NodeOutput(plain_name(name[0]), sheet, ui=host.text_on_node(cls, text))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


NODES = [SketchTrainExtractor, SketchSynthesizeSets]
