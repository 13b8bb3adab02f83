"""Trains a sketch retriever (ZSE-SBIR) on folders of sketches and photos. Where both have sub-folders, those of the
same name are a class; otherwise every photo is a class of its own, with the sketches of its name.

The defaults are the published settings: ViT-B/16 at 224 px, which wants a GPU and --start with a ViT (SAM ViT-B/16).
`--network small --learning_rate 1e-3 --contrast 1 --dropout 0 --decay` learns on a CPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ... import files
from ..command import begin, learn_in_folder, options
from ..loop import Course, Goal
from .data import Kind, chosen, kinds_in, listed, split
from .lesson import RetrievalLesson
from .run import NETWORKS, Settings, retrieval_lesson

SKETCHES, PHOTOS = ("sketch", "sketches"), ("photo", "photos", "image", "images")  # sub-folders of --data_path


def _parser() -> argparse.ArgumentParser:
    parser = options("retriever", __doc__, folder=("-s", "--save"))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    known = Settings()
    data = parser.add_argument_group("pictures")
    data.add_argument("--data_path", type=Path, help="a folder with the sub-folders sketches and photos")
    data.add_argument("--sketches", type=Path, help="folder of sketches, in place of --data_path")
    data.add_argument("--photos", type=Path, help="folder of photos, in place of --data_path")
    data.add_argument("--choose_cls", help="learn from these classes only: comma-separated, or a text file, one a line")
    data.add_argument("--cls_number", type=int, default=0, help="learn from the first so many classes; 0: all")
    data.add_argument("--test_class", help="classes to validate on, never learned from: comma-separated or a text file")
    data.add_argument(
        "--held_out",
        type=float,
        default=0.0,
        help="without --test_class: the share of classes to validate on, 0 to 0.9",
    )
    data.add_argument("--test_sk", type=int, default=20, help="validate with every so-many-th sketch")
    data.add_argument("--test_im", type=int, default=20, help="validate with every so-many-th photo")
    data.add_argument("--testall", action="store_true", help="validate with all of them")
    data.add_argument(
        "-r",
        "--retrieval",
        choices=("sa", "rn"),
        default="sa",
        help="validate by the retrieval tokens (sa), or by the relation network (rn, as published), pair by pair",
    )
    net = parser.add_argument_group("network")
    net.add_argument("--network", choices=NETWORKS, default=known.network)
    net.add_argument(
        "-a", "--anchors", "--anchor_number", type=int, default=known.anchors, help="49, 144 or 196; small: always 16"
    )
    net.add_argument("--start", "--load", type=Path, help="begin from this retriever or ViT")
    net.add_argument("--dropout", type=float, default=known.dropout, help="0 to 0.9")
    learning = parser.add_argument_group("learning")
    learning.add_argument("--batch", type=int, default=known.batch, help="items of two sketches and two photos")
    learning.add_argument("--epoch", type=int, default=30, help="ends after this many; 0: after --minutes")
    learning.add_argument("--datasetLen", type=int, default=10_000, help="items of one epoch")
    learning.add_argument("--validate_from", type=int, default=10, help="the first epoch that is validated")
    learning.add_argument("--learning_rate", type=float, default=known.learning_rate)
    learning.add_argument("--weight_decay", type=float, default=known.weight_decay)
    learning.add_argument(
        "--contrast", type=float, default=known.contrast, help="weight of the contrast, ours; 0: none"
    )
    learning.add_argument("--decay", action="store_true", help="warm-up, cosine and an average of the weights")
    learning.add_argument("--published_sampling", action="store_true", help="draw items with the published faults")
    learning.add_argument("--seed", type=int, default=known.seed)
    learning.add_argument("-c", "--choose_cuda", "--device", default="cpu", help="cpu, or a GPU: cuda, or its number")
    learning.add_argument("--bf16", action="store_true", help="compute in bfloat16 where it is safe")
    return parser


def _folders(choice: argparse.Namespace) -> tuple[Path, Path]:
    """Where sketches and photos are. ValueError: not said."""
    found = []
    for given, names in ((choice.sketches, SKETCHES), (choice.photos, PHOTOS)):
        inside = [choice.data_path / name for name in names] if choice.data_path else []
        place = given or next((path for path in inside if path.is_dir()), None)
        if place is None:
            raise ValueError(
                f"Say where the {names[1]} are: --data_path with a sub-folder {' or '.join(names)}, or --{names[1]}."
            )
        found.append(place)
    return found[0], found[1]


def _classes(choice: argparse.Namespace) -> tuple[list[Kind], list[Kind]]:
    """Classes to learn from, and to validate on; says what was left out."""
    found = kinds_in(*_folders(choice))
    for reason in found.left_out[:10]:
        print(f"left out: {reason}")
    if len(found.left_out) > 10:
        print(f"left out: {len(found.left_out) - 10} more")
    tested = listed(choice.test_class) if choice.test_class else []
    learned, testing = split(found.kinds, tested, choice.held_out, choice.seed)
    if choice.choose_cls:
        learned = chosen(learned, listed(choice.choose_cls))
    learned = learned[: choice.cls_number or None]
    print(f"{len(learned)} classes to learn from, {len(testing)} to validate on", flush=True)
    return learned, testing


def main(argv: list[str] | None = None) -> None:
    choice = _parser().parse_args(argv)
    begin(choice, "retriever")
    learned, tested = _classes(choice)
    steps_per_epoch = max(1, choice.datasetLen // choice.batch)
    device = f"cuda:{choice.choose_cuda}" if choice.choose_cuda.isdigit() else choice.choose_cuda
    settings = Settings(
        network=choice.network,
        anchors=choice.anchors if choice.network == "published" else 16,
        batch=choice.batch,
        learning_rate=choice.learning_rate,
        weight_decay=choice.weight_decay,
        dropout=choice.dropout,
        contrast=choice.contrast,
        fair=not choice.published_sampling,
        steady=not choice.decay,
        seed=choice.seed,
    )
    lesson = retrieval_lesson(
        settings,
        learned,
        tested,
        start=choice.start,
        every_sketch=1 if choice.testall else choice.test_sk,
        every_photo=1 if choice.testall else choice.test_im,
        validate_every=steps_per_epoch,
        validate_from=choice.validate_from * steps_per_epoch,
        by_relation=choice.retrieval == "rn",
        device=torch.device(device),
        autocast=choice.bf16,
        say=print,
    )
    _learn(lesson, choice, choice.epoch * steps_per_epoch)


def _learn(lesson: RetrievalLesson, choice: argparse.Namespace, steps: int) -> Course:
    if not steps and not choice.minutes:
        raise ValueError("Set --epoch or --minutes above 0, so that the training ends.")

    def saved(course: Course) -> None:
        notes = {"minutes": f"{course.minutes:.1f}", **lesson.notes()}
        files.replace_weights(choice.folder / "retriever.safetensors", lesson.weights(), notes)

    return learn_in_folder(lesson, choice, Goal(steps, choice.minutes), saved, 4 * choice.batch)
