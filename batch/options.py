"""The options of the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from .items import PAIRINGS

ABOUT = """Runs a ComfyUI graph over folders, pairs or a table, on one or many servers.

  python3 batch "workflows/18 Sketch and style - one pass, no prompt.json" \\
      --set "your sketch=sketches/" --set "style: its colours=photos/" \\
      --servers 127.0.0.1:8188,192.168.0.7:8188 --out results

An input is named by its node's title, as the editor shows it, and its own name ("KSampler.seed"; --inputs lists them).
The title alone is the file of a node that loads one. A folder sets one file after the other; other values stay the
same for all items. The output folder is the truth: the same command goes on where it
stopped. DIR/_batch holds failed.csv, items.csv, summary.json and contact_sheet.jpg."""


def parser() -> argparse.ArgumentParser:
    """Every option of the command."""
    made = argparse.ArgumentParser(
        prog="python3 batch", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("graph", type=Path, metavar="GRAPH.json", help="a graph saved with Save or Export (API)")
    add("--inputs", action="store_true", help="list what --set can name, and end")
    _add_items(made)
    _add_servers(made)
    _add_results(made)
    return made


def _add_items(made: argparse.ArgumentParser) -> None:
    what = made.add_argument_group("what to run")
    add = what.add_argument
    add("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help="a folder, a pattern, a file or a value")
    add("--csv", type=Path, metavar="FILE", help="a table: inputs in the first line, an item in each other one")
    add(
        "--pairs",
        choices=PAIRINGS,
        default="every",
        help="of several folders: every combination (default), files of "
        "the same name, or in order, the shorter folder from its start again",
    )
    add(
        "--seed",
        action="append",
        default=[],
        metavar="NODE.INPUT[=BASE]",
        help="a seed of its own for every item, made of the item's name",
    )
    add("--total", type=_positive, metavar="N", help="how many items; more than there are need --seed")


def _add_servers(made: argparse.ArgumentParser) -> None:
    where = made.add_argument_group("where")
    add = where.add_argument
    add(
        "--servers",
        action="append",
        default=[],
        metavar="A:PORT,B:PORT",
        help="ComfyUI servers, http:// or https:// (default: 127.0.0.1:8188)",
    )
    add(
        "--header",
        action="append",
        default=[],
        metavar="NAME: VALUE",
        help="sent with every request; @FILE reads "
        "lines of them, so that passwords do not show in the list of processes",
    )
    add("--ca", metavar="FILE", help="certificates to trust for https://, in PEM form")
    add("--allow-missing", action="store_true", help="leave out servers that do not answer or cannot run the graph")
    add(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask scheduler whose workers talk to the servers (default: this process does)",
    )


def _add_results(made: argparse.ArgumentParser) -> None:
    out = made.add_argument_group("results")
    add = out.add_argument
    add("--out", type=Path, metavar="DIR", help="the output folder")
    keep = out.add_mutually_exclusive_group()
    keep.add_argument(
        "--final",
        dest="keep",
        action="store_const",
        const="final",
        default="saved",
        help="only what the last output node gives, not what is saved on the way there",
    )
    keep.add_argument("--all", dest="keep", action="store_const", const="all", help="previews, too")
    more = made.add_argument_group("limits")
    add = more.add_argument
    add("--in-flight", type=_positive, default=2, metavar="N", help="items in a server's queue at a time (default: 2)")
    add("--tries", type=_positive, default=3, metavar="N", help="how often an item may fail (default: 3)")
    add(
        "--item-timeout",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="seconds after which a running item hangs "
        "(default: 10 times the slowest so far, at least 120; 3600 for the first)",
    )
    add(
        "--patience",
        type=_seconds,
        default=600.0,
        metavar="S",
        help="seconds to wait while no server answers (default: 600)",
    )


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return value
