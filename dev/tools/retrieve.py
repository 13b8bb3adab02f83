"""`python3 dev/run.py retrieve index|find|evaluate`: photos found by sketch, with folders and weights from anywhere.

  retrieve index PHOTOS                    look at every photo of a folder and its sub-folders once; later runs only at
                                           new and changed ones
  retrieve find PHOTOS SKETCH [SKETCH ...] the best photos for each sketch, the index brought up to date first
  retrieve evaluate sketchy|tu-berlin|quickdraw|classes ROOT
                                           mAP@all, mAP@200, P@100, P@200, as published and plain

Without --retriever the built-in network looks, which knows the starter's landscapes; a ZSE-SBIR file, a CLIP vision
file or both can be given. Indexes are kept in the launcher's cache folder.

The data sets' ROOT is their own folder with the file lists in it (Sketchy/zeroshot1, zeroshot0; TUBerlin/zeroshot;
QuickDraw/zeroshot). `classes` takes --sketches and --photos below ROOT, each with a sub-folder for each class.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.page import in_host
from runtime import inprocess
from runtime.provision import cache_root, say

SAY_EVERY = 5.0  # seconds between two lines


class Teller:
    """Prints how far it is, now and then."""

    def __init__(self) -> None:
        self.said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        if done == total or time.monotonic() - self.said > SAY_EVERY:
            self.said = time.monotonic()
            say(f"{what}: {done} of {total}")


def retriever(options: argparse.Namespace) -> Any:
    """The networks that were chosen. ValueError: a file that holds none."""
    doors = inprocess.room("nodes.parts.retrieval")
    pipeline = inprocess.room("pipelines.retrieval.retriever")
    parts = []
    if options.retriever is not None:
        read = inprocess.room("nodes.parts.model_files").read_network
        hints = {"num_heads": options.heads} if options.heads else {}
        network, _ = read(str(options.retriever), ("retriever",), hints)
        parts.append(pipeline.SketchNetwork(options.retriever.name, inprocess.room("host").network_patcher(network)))
    elif options.clip_vision is None:
        parts.append(doors.load_network(inprocess.room("nodes.parts.model_files").STARTER, options.heads))
    if options.clip_vision is not None:
        import comfy.clip_vision

        parts.append(pipeline.VisionModel(options.clip_vision.name, comfy.clip_vision.load(str(options.clip_vision))))
    made = pipeline.Retriever(tuple(parts))
    doors.load(made)
    return made


def index(options: argparse.Namespace) -> Any:
    """The index of the folder, up to date."""
    indexes = inprocess.room("pipelines.retrieval.index")
    network, folder = retriever(options), options.photos.resolve()
    place = inprocess.room("nodes.retrieval").index_folder(folder, network, cache_root() / "photo_indexes")
    tell, began = Teller(), time.monotonic()
    done = indexes.update(place, folder, network, watch=lambda now: tell("photos", now.done, now.total))
    say(f"{done.count} photos, {done.read} read now, {done.dropped} dropped, {time.monotonic() - began:.1f} s")
    say("\n".join(["Left out:", *done.left_out]) if done.left_out else f"Index: {place / indexes.FILE}")
    return indexes.PhotoIndex(place / indexes.FILE, folder, network, done.count)


def find(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The hits of every sketch."""
    search, drawings = inprocess.room("pipelines.retrieval.search"), inprocess.room("pictures.drawings")
    known = index(options)
    rows = known.open()
    sketches = [drawings.read_drawing(path).rgb for path in options.sketches]
    inputs = known.retriever.sketches(sketches)
    mode = {"ret": search.RET, "rn": search.RN, "ret-rn": search.BOTH}[options.mode]
    tell = Teller()
    rankings = search.rank(
        known, rows, inputs, mode, options.count, seen=lambda done, total: tell("pairs", done, total)
    )
    return [
        {
            "sketch": str(path),
            "photos": [
                {"name": rows.name(row), "score": score} for row, score in zip(one.rows, one.scores, strict=True)
            ],
        }
        for path, one in zip(options.sketches, rankings, strict=True)
    ]


def show(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Names and scores as text, and as a sheet if one is wanted."""
    from PIL import Image

    read = inprocess.room("pictures.drawings.raster").read_picture
    cells: list[Any] = []
    labels: list[str] = []
    for one in found:
        say(one["sketch"])
        say("\n".join(f"  {hit['score']:.4f}  {hit['name']}" for hit in one["photos"]))
        drawing = inprocess.room("pictures.drawings").read_drawing(one["sketch"]).rgb
        cells += [Image.fromarray((drawing * 255).round().astype("uint8"))]
        cells += [read(options.photos / hit["name"]) for hit in one["photos"]]
        labels += ["sketch", *(f"{hit['score']:.3f} {Path(hit['name']).stem}" for hit in one["photos"])]
    if options.sheet:
        charts = inprocess.room("pictures.charts")
        charts.contact_sheet(cells, labels, columns=1 + len(found[0]["photos"])).save(options.sheet)
        say(f"Sheet: {options.sheet}")


def evaluate(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The table of one data set."""
    room = inprocess.room("pipelines.retrieval.evaluate")
    every = (1, 1) if options.testall or options.data == "classes" else room.THINNED[options.data]
    if options.data == "classes":
        names = options.classes.read_text(encoding="utf-8").split("\n") if options.classes else []
        names = [name.strip() for name in names if name.strip()]
        gallery = room.of_classes(options.root / options.sketches, options.root / options.photos, names)
    else:
        gallery = room.listed(options.root, options.data, options.split)
    gallery = room.thinned(gallery, options.every or every)
    say(f"{len(gallery.sketches)} sketches, {len(gallery.photos)} photos")
    done = room.evaluate(gallery, retriever(options), options.mode != "ret", Teller())
    if done.left_out:
        say("\n".join(["Left out:", *done.left_out]))
    rows = {"Ret": done.ret, **({"RN": done.rn} if done.rn else {})}
    say("| by | mAP@all | mAP@200 | P@100 | P@200 | plain mAP@all | plain mAP@200 |\n|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        say(f"| {name} | {' | '.join(f'{value:.4f}' for value in row)} |")
    return {name: row._asdict() for name, row in rows.items()}


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="retrieve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--retriever", type=Path, metavar="FILE", help="a ZSE-SBIR network instead of the built-in one")
    shared.add_argument("--clip-vision", type=Path, metavar="FILE", help="a CLIP, SigLIP or DINO vision model")
    shared.add_argument("--heads", type=int, default=0, help="of the encoder; 0: as the file states, or width / 64")
    shared.add_argument("--json", type=Path, metavar="FILE", help="write the result here, too")
    modes = argparse.ArgumentParser(add_help=False)
    modes.add_argument(
        "--mode", choices=("ret", "rn", "ret-rn"), default="ret", help="by tokens, the relation network, or in turn"
    )
    commands = main.add_subparsers(dest="command", required=True)
    one = commands.add_parser("index", parents=[shared], help="look at the photos of a folder")
    one.add_argument("photos", type=Path)
    one = commands.add_parser("find", parents=[shared, modes], help="search a folder")
    one.add_argument("photos", type=Path)
    one.add_argument("sketches", type=Path, nargs="+", metavar="sketch", help="picture, SVG or QuickDraw file")
    one.add_argument("--count", type=int, default=8)
    one.add_argument("--sheet", type=Path, metavar="FILE", help="a picture of the sketches and their photos")
    one = commands.add_parser("evaluate", parents=[shared, modes], help="measure on a data set")
    one.add_argument("data", choices=("sketchy", "tu-berlin", "quickdraw", "classes"))
    one.add_argument("root", type=Path)
    one.add_argument("--split", default="", help="sketchy: 25 (default) or 21")
    one.add_argument("--testall", action="store_true", help="all files; otherwise those of the published quick test")
    one.add_argument("--every", type=int, nargs=2, metavar=("SKETCH", "PHOTO"), help="every n-th file only")
    one.add_argument("--sketches", default="sketches", help="classes: the folder below ROOT")
    one.add_argument("--photos", default="photos", help="classes: the folder below ROOT")
    one.add_argument("--classes", type=Path, metavar="FILE", help="classes: names of those to test, one a line")
    return main


def main() -> int:
    options = parser().parse_args()
    try:
        found = in_host(lambda: {"index": index, "find": find, "evaluate": evaluate}[options.command](options))
        if options.command == "find":
            show(found, options)
    except ValueError as fault:
        say(str(fault))
        return 1
    if options.json and options.command != "index":
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
