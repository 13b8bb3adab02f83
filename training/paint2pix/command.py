"""Trains Paint2pix's canvas encoder (`train paint2pix`) or a StyleGAN2 (`train stylegan`) on a folder of photos.

The encoder begins from a StyleGAN2 of yours (rosinality's layout) or from a canvas encoder, with its decoder as it is
or learning along (--decoder_rate); without --start both are new. The paper's training program was not released: how
canvases are made and losses are weighted is our formulation.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from ... import files, networks
from ...pictures.features import Features, features
from .. import photos
from ..command import begin, learn_in_folder, options
from ..loop import Course, Goal, Lesson
from . import run
from .new import ENCODERS, SMALL
from .settings import Settings
from .stylegan import Settings as StyleGANSettings

BUILT_IN = Path(__file__).parents[2] / "starter" / "weights" / "features.safetensors"
LABELS = {  # of options that need one
    "passes": "of the encoder, 1 to 5",
    "decoder_rate": "learning rate of decoder and discriminator; 0: the decoder stays as it is",
    "pixels": "weight of the squared difference to the photo",
    "features": "weight of LPIPS on the feature network",
    "identity": "weight of IR-SE50's likeness, with --face",
    "edit": "weight of following the updated canvas",
    "apart": "weight of staying close to the code of the canvas before",
    "edit_every": "steps between two edit losses",
    "length": "weight of the code's distance to the mean style (WNorm)",
    "adversarial": "weight of a discriminator; 0: none",
    "adversarial_from": "fraction of the run at which it joins",
    "adversarial_every": "steps between two of its losses",
    "r1": "weight of the discriminator's gradient penalty",
    "ema": "fraction of the averaged weights that stays at a step",
    "size": "pixels of a new decoder",
    "width": "of a new decoder's widest maps and of its styles; 512 as published",
    "mappings": "layers from z to w",
}


def _parser(name: str, settings: Any) -> argparse.ArgumentParser:
    """The options of every training, and one for each setting."""
    parser = options(name, __doc__)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--steps", type=int, default=0, help="at most; 0: no limit")
    parser.add_argument("--device", default="cpu", help="such as cuda")
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, bool):
            parser.add_argument(f"--{field.name}", action=argparse.BooleanOptionalAction, default=value)
        else:
            label = LABELS.get(field.name, "")
            parser.add_argument(f"--{field.name}", type=type(value), default=value, help=f"{label} (default: {value})")
    return parser


def _chosen(kind: Any, choice: argparse.Namespace) -> Any:
    return kind(**{field.name: getattr(choice, field.name) for field in fields(kind)})


def _pictures(choice: argparse.Namespace) -> photos.Folders:
    found = photos.alone(choice.photos)
    print("\n".join([f"{found.count} photos", *found.left_out[:20]]), flush=True)
    return found


def painter(argv: list[str] | None = None) -> None:
    parser = _parser("paint2pix", Settings())
    parser.add_argument("--start", type=Path, help="a StyleGAN2 generator or a canvas encoder to begin from")
    parser.add_argument("--encoder", choices=tuple(ENCODERS), default=SMALL, help="for a new one")
    parser.add_argument("--size", type=int, default=128, help=LABELS["size"])
    parser.add_argument("--width", type=int, default=128, help=LABELS["width"])
    parser.add_argument("--face", type=Path, help="IR-SE50 (model_ir_se50.pth), for aligned faces")
    parser.add_argument("--feature_file", type=Path, help="a VGG16 or LPIPS file instead of the built-in network")
    choice = parser.parse_args(argv)
    begin(choice, "painter")
    settings = _chosen(Settings, choice)
    parts = run.Networks(choice.start, choice.encoder, choice.size, choice.width, choice.face)
    known = _features(choice.feature_file) if settings.features else None
    pictures, say = _pictures(choice), partial(print, flush=True)
    lesson = run.painter_lesson(pictures, parts, settings, features=known, device=choice.device, say=say)
    _learn(lesson, choice)


def stylegan(argv: list[str] | None = None) -> None:
    choice = _parser("stylegan", StyleGANSettings()).parse_args(argv)
    begin(choice, "stylegan")
    _learn(run.stylegan_lesson(_pictures(choice), _chosen(StyleGANSettings, choice), choice.device), choice)


def _features(path: Path | None) -> Features:
    """ValueError: not a network whose maps LPIPS compares."""
    path = path or BUILT_IN
    network = networks.build(files.read_tensors(path))
    found = features(path.name, SimpleNamespace(model=network))
    if not isinstance(found, Features) or found.kind not in ("vgg", "alexnet", "clip"):
        raise ValueError(f"{files.quote(path.name)} cannot compare pictures. Give an LPIPS or VGG16 file.")
    return found


def _learn(lesson: Lesson, choice: argparse.Namespace) -> Course:
    """Trains to --steps or --minutes; each save writes <lesson>.safetensors."""
    if not choice.steps and not choice.minutes:
        raise ValueError("Set --steps or --minutes above 0, so that the training ends.")
    path = choice.folder / f"{lesson.name}.safetensors"

    def saved(course: Course) -> None:
        notes = {"minutes": f"{course.minutes:.1f}", "threads": torch.get_num_threads(), **lesson.notes()}
        files.replace_weights(path, lesson.weights(), notes)

    return learn_in_folder(lesson, choice, Goal(choice.steps, choice.minutes), saved, choice.batch, path)
