"""The sketch GAN's trainings outside the host: `train gan`, `train tom` and `train sketches`, on any folder of photos;
the GAN also on the starter world."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from runtime import machine
from runtime.rooms import PACK, room

WEIGHTS = PACK / "starter" / "weights"
CHUNK = 250


# --- what the starter GAN is trained on -------------------------------------------------------------------------------


def _lines(job: tuple[int, int]) -> np.ndarray:
    first, size = job
    return np.stack([scene.sketch for scene in room("starter.world").render_batch(range(first, first + CHUNK), size)])


def _drawn(photos: np.ndarray, draw: Any) -> Iterator[np.ndarray]:
    with torch.no_grad():
        for first in range(0, len(photos), 25):
            seen = torch.tensor(photos[first : first + 25]).movedim(-1, 1).float() / 255
            yield (draw(seen)[:, 0].clamp(0, 1) * 255).round().byte().numpy()


def world(folder: Path, count: int, size: int, renders: Path | None, workers: int) -> Any:
    """Renders of seeds 0 to count-1 and three sketch sets: drawn by the built-in extractor, by edges without weights,
    and the world's own lines, which are true to the pixel and go last. Kept in files."""
    count = -(-count // CHUNK) * CHUNK
    if renders is not None:
        photos = np.load(renders, mmap_mode="r")[:count]
    else:
        photos = room("starter.training.dataset").rendered_images(folder, count, size, workers)
    if photos.shape != (count, size, size, 3):
        raise SystemExit(f"{renders} holds {list(photos.shape)}; {count} renders of {size} pixels are needed.")
    network = read_network(WEIGHTS / "extractor.safetensors")
    extractor = room("pictures.extractors").extractor("starter", SimpleNamespace(model=network)).prepare("cpu")
    edges = room("pictures.edges").draw_edges

    def kept(name: str, make: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
        return _kept(folder / f"{name}_{size}_{count}.npy", (count, size, size), make)

    with room("starter.training.maps").processes(workers) as pool:
        lines = kept("lines", lambda: pool.map(_lines, [(first, size) for first in range(0, count, CHUNK)]))
    drawn = [kept(name, partial(_drawn, photos, draw)) for name, draw in (("extractor", extractor), ("edges", edges))]
    return room("training.photos").Arrays(photos, [*drawn, lines])


def _kept(path: Path, shape: tuple[int, ...], make: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
    """What make() gives in pieces, as a memory-mapped file that is made once."""
    if not path.is_file():
        part = path.with_suffix(".part")
        whole = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        done, began = 0, time.monotonic()
        for piece in make():
            whole[done : done + len(piece)] = piece
            done += len(piece)
            if done % 1000 == 0:
                print(
                    f"{path.stem}: {done} of {shape[0]}, {done / (time.monotonic() - began):.0f} a second", flush=True
                )
        whole.flush()
        os.replace(part, path)
    return np.load(path, mmap_mode="r")


# --- what all of them share -------------------------------------------------------------------------------------------


def read_network(path: Path) -> Any:
    from safetensors.torch import load_file

    content = load_file(path) if path.suffix in (".safetensors", ".sft") else torch.load(path, weights_only=True)
    return room("networks").build(room("networks.sketchgan.whole").flat(content))


def read_features(path: Path | None) -> Any:
    path = path or WEIGHTS / "features.safetensors"
    return room("pictures.features").features(path.name, SimpleNamespace(model=read_network(path)))


def options(name: str, about: str, **minutes: Any) -> argparse.ArgumentParser:
    parser = room("training.command").options(name, about, **minutes)
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--photos", type=Path, help="a folder of photos")
    parser.add_argument("--features", type=Path, help="a VGG16 or LPIPS file instead of the built-in network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--half", dest="bfloat16", action="store_true", help="bfloat16 where it is safe")
    return parser


def watched(choice: argparse.Namespace, images_per_step: int) -> Any:
    """How a run is watched and saved."""
    console = room("training.command").Console(choice.folder, images_per_step)
    return room("training.sketchgan.runs").Options(console, 60 * choice.save_minutes)


# --- the commands -----------------------------------------------------------------------------------------------------


def gan_options() -> argparse.ArgumentParser:
    parser = options(
        "gan",
        "Trains a sketch GAN: first its autoencoder, then its generator. Without --photos on renders "
        "of the starter world, at 128 pixels.",
        minutes=45.0,
    )
    parser.add_argument(
        "--sketches",
        type=Path,
        nargs="+",
        help="folders with a sketch of each photo, the cleanest last, or one folder of such folders",
    )
    parser.add_argument("--scenes", type=int, default=6000, help="of the starter world")
    parser.add_argument("--renders", type=Path, help="world_128_N.npy of another training, instead of rendering them")
    parser.add_argument("--prepare", action="store_true", help="only make the renders and their sketches")
    parser.add_argument("--draft-share", type=float, default=0.4, help="of the minutes, for the autoencoder")
    parser.add_argument(
        "--steps", type=int, nargs=2, default=(0, 0), metavar=("AE", "GAN"), help="at most; 0: no limit"
    )
    parser.add_argument("--kind", choices=("art", "shoe", "face"), default="art")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--discriminator", "--judge", type=int, default=32, help="its width: 8, 16, 32, 64")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--classes", type=int, default=500, help="photos the style encoder tells apart at a time")
    parser.add_argument(
        "--accumulation-steps", "--pieces", type=int, default=1, help="batches per step (gradient accumulation)"
    )
    parser.add_argument(
        "--ae-rate", "--rate", type=float, default=5.0, help="a factor on the autoencoder's published learning rates"
    )
    parser.add_argument("--gan-rate", type=float, default=2.0, help="and on the generator's")
    parser.add_argument(
        "--decay-share", "--rest", type=float, default=0.3, help="fraction of each stage over which its rate falls to 0"
    )
    parser.add_argument(
        "--mutual-information", "--leak", type=float, default=0.0, help="weight of that term (ours), 0.1 to 1"
    )
    parser.add_argument("--full", action="store_true", help="weights in fp32 instead of fp16")
    parser.add_argument(
        "--export", type=Path, help="where the finished weights are copied, such as starter/weights/gan.safetensors"
    )
    return parser


def gan(argv: list[str]) -> None:
    parser = gan_options()
    choice = parser.parse_args(argv)
    room("training.command").begin(choice, "autoencoder", "gan")
    if choice.photos is None:
        pictures = world(choice.folder, choice.scenes, choice.size, choice.renders, max(1, choice.threads))
    else:
        data = room("training.photos")
        given = choice.sketches or parser.error("--photos needs --sketches")
        pictures = data.paired(choice.photos, [one for folder in given for one in data.set_folders(folder)])
        print("\n".join([f"{pictures.count} photos, {pictures.sets} sketch sets", *pictures.left_out]), flush=True)
    if choice.prepare:
        return
    lessons, runs = (room(f"training.sketchgan.{name}") for name in ("lessons", "runs"))
    settings = lessons.Settings(**{field.name: getattr(choice, field.name) for field in fields(lessons.Settings)})
    parts, goal = (choice.draft_share, 1 - choice.draft_share), room("training.loop").Goal
    goals = tuple(goal(steps, part * choice.minutes) for steps, part in zip(choice.steps, parts, strict=True))
    if goals[0] == goal():
        raise ValueError("Set --minutes or the first of --steps above 0: there is nothing to learn otherwise.")
    file = choice.folder / "gan.safetensors"
    trained = runs.train_gan(
        pictures,
        read_features(choice.features),
        settings,
        file,
        choice.folder,
        goals,
        device=choice.device,
        options=watched(choice, settings.images_per_step),
        half_file=not choice.full,
        notes={
            "trained_on": "SketchSynth starter world" if choice.photos is None else choice.photos.name,
            "pictures": pictures.count,
            "machine": f"{machine.processor()}, {torch.get_num_threads()} threads",
        },
    )
    trained.preview.save(choice.folder / "preview.png")
    room("training.curves").stacked(trained.plots).save(choice.folder / "curves.png")
    for name, course in trained.courses.items():
        print(f"{name}: {course.steps} steps, {course.minutes:.1f} minutes", flush=True)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB", flush=True)
    if choice.export:
        shutil.copyfile(file, choice.export)


def tom(argv: list[str]) -> None:
    parser = options("tom", "Trains a sketch extractor (TOM) on photos and on sketches that belong to other pictures.")
    parser.add_argument("--sketches", type=Path, required=True, help="a folder of sketches in one style")
    parser.add_argument("--steps", type=int, default=5000, help="at most; 0: no limit")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--keep", type=int, default=1, help="stages of the run that become files: sketch styles")
    choice = parser.parse_args(argv)
    if choice.photos is None:
        parser.error("--photos is needed")
    data, goal = room("training.photos"), room("training.loop").Goal
    extractor, runs = (room(f"training.sketchgan.{name}") for name in ("extractor", "runs"))
    file = choice.folder / "extractor.safetensors"
    if choice.anew:
        runs.forget_stages(file, choice.folder)
    room("training.command").begin(choice, "extractor")
    stores = [data.Store(data.alone(folder), choice.size) for folder in (choice.photos, choice.sketches)]
    own = {name: getattr(choice, name) for name in ("width", "batch", "seed", "bfloat16", "device")}
    lesson = extractor.ExtractorLesson(*stores, read_features(choice.features), **own)
    files, trained = runs.train_extractor(
        lesson,
        file,
        choice.folder,
        goal(choice.steps, choice.minutes),
        keep=choice.keep,
        options=watched(choice, choice.batch),
    )
    trained.plots[0].save(choice.folder / "curves.png")
    trained.preview.save(choice.folder / "preview.png")
    print("\n".join([*map(str, files), *filter(None, [runs.lacking(files, choice.keep)])]), flush=True)


def sketches(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="train sketches", description="Draws all photos of a folder, one folder per drawing style."
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the folders of sketches go")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--extractors", nargs="+", default=["edges", "starter"], help="edges, starter, or files")
    parser.add_argument("--size", type=int, default=512, help="shorter side that larger photos are reduced to; 0: none")
    parser.add_argument("--grey", action="store_true", help="as drawn, not black on white alone")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    parser.add_argument("--threads", type=int, default=0)
    choice = parser.parse_args(argv)
    if choice.threads:
        torch.set_num_threads(choice.threads)
    sets, extractors = room("training.sketchgan.sets"), room("pictures.extractors")
    photos = room("training.photos").by_name(choice.photos)
    for number, name in enumerate(choice.extractors, 1):
        if name == "edges":
            extractor = extractors.EDGES
        else:
            path = WEIGHTS / "extractor.safetensors" if name == "starter" else Path(name)
            extractor = extractors.extractor(name, SimpleNamespace(model=read_network(path)))
        folder = choice.folder / f"{number} {Path(name).stem}"  # numbered as the node does: stems may be equal
        own = {"size": choice.size, "inked": not choice.grey, "again": choice.again}
        with room("networks.frozen").gradients():
            skipped = sets.synthesise(photos, extractor.prepare("cpu"), folder, **own)
        print("\n".join([f"{folder}: {len(photos) - len(skipped)} sketches", *skipped]), flush=True)


COMMANDS = {"gan": gan, "tom": tom, "sketches": sketches}
