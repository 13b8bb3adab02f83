"""What the benches share: ComfyUI around the work, and their page, of which each renews its own sections."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime import inprocess, machine
from runtime.provision import say

# Sections of a bench: its heading, and what measures it: its lines, and whether every target was reached.
Parts = dict[str, tuple[str, Callable[[argparse.Namespace], tuple[list[str], bool]]]]
BENCH = inprocess.PACK / "docs" / "BENCH.md"


def in_host(work: Callable[[], Any]) -> Any:
    """work() inside ComfyUI with the pack in it, with gradients off as the host runs nodes."""
    host = inprocess.find_host()
    if host is None:
        sys.exit(inprocess.NO_HOST)
    inprocess.prepare_host(host)
    import comfy.utils
    import torch

    comfy.utils.PROGRESS_BAR_ENABLED = False
    inprocess.load_pack()
    with torch.inference_mode():
        return work()


def in_parts(parts: Parts, options: argparse.Namespace, head: Callable[[], list[str]] = list) -> int:
    """Measures the chosen parts (options.parts; None: all) inside ComfyUI. Each is written to options.output before the
    next begins, below the lines of head(); with options.small only said. Returns the exit code: 1 where a target was
    missed, never with options.small."""

    def work() -> bool:
        fine = True
        for part in options.parts or parts:
            heading, measure = parts[part]
            say(f"{heading} ...")
            lines, reached = measure(options)
            fine &= reached
            lines = [*head(), *lines]
            if options.small:
                say("\n".join(lines))
            else:
                renew(options.output, {heading: lines})
        return fine or options.small

    return 0 if in_host(work) else 1


def renew(path: Path, found: dict[str, list[str]], where: str | None = None) -> None:
    """Writes these sections (heading: lines) into the page, each with the machine they were measured on. where: says it
    for measurements without ComfyUI around them."""
    page = path.read_text(encoding="utf-8") if path.exists() else "# Bench\n"
    where = where or machine.describe()
    sections = {heading: [f"Machine: {where}.", "", *lines] for heading, lines in found.items()}
    path.write_text(renewed(page, sections), encoding="utf-8")
    say(f"{path} renewed")


def renewed(page: str, found: dict[str, list[str]]) -> str:
    """A page of `## ` sections with these in the place of those of the same heading, or at its end."""
    first, *rest = re.split(r"^## ", page, flags=re.M)
    parts = {piece.split("\n", 1)[0]: piece.split("\n", 1)[1] for piece in rest}
    parts |= {heading: "\n" + "\n".join(lines) + "\n" for heading, lines in found.items()}
    return first.rstrip("\n") + "".join(f"\n\n## {heading}\n\n{text.strip()}" for heading, text in parts.items()) + "\n"
