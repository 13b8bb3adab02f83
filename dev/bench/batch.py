"""What `python3 batch` costs: stub servers with a service time of their own, from one to a hundred.

`python3 dev/run.py bench_batch [--seconds 2] [--servers 1,10,50,100] [--items 25] [--total 0]` renews its own section
of docs/BENCH.md and the curve in docs/pictures. The stub (tests/helpers/stub_comfy.py) answers as ComfyUI does and
waits instead of computing, so the command's own work is all that is measured; both share this machine. Efficiency:
the servers' service time over the time that they were there for. --total 30000 makes as many items in each run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.page import BENCH, renew
from runtime import machine
from runtime.provision import say
from runtime.rooms import PACK, room

HEADING = "Batch: one command, many servers"
CURVE = PACK / "docs" / "pictures" / "batch_scaling.png"
LEAST = 0.9  # efficiency at 100 servers and 2 s an item
FILES = 200  # of each of the two folders


class Measured(NamedTuple):
    """One run. cpu: the command's processor seconds; memory: its peak in MiB."""

    servers: int
    items: int
    wall: float
    efficiency: float
    cpu: float
    memory: float


@contextmanager
def stubs(count: int, seconds: float) -> Iterator[str]:
    """The addresses of so many stub servers in a process of their own."""
    program = PACK / "tests" / "helpers" / "stub_comfy.py"
    command = [sys.executable, str(program), "--ports", str(count), "--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def measure(folder: Path, count: int, seconds: float, items: int) -> Measured:
    """One run of the command over pairs of `folder`'s files."""
    sys.path.append(str(PACK / "tests"))
    from helpers import stub_comfy

    (folder / "graph.json").write_text(json.dumps(stub_comfy.graph()), encoding="utf-8")
    out = folder / f"out{count}"
    words = ["--set", f"sketch.image={folder / 'files'}", "--set", f"style.image={folder / 'files'}"]
    words += ["--seed", "Paint.seed", "--total", str(items), "--out", str(out)]
    with stubs(count, seconds) as addresses:
        command = [sys.executable, str(PACK / "batch"), str(folder / "graph.json"), "--servers", addresses, *words]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the command ended with {process.returncode}")
    summary = json.loads((out / "_batch" / "summary.json").read_text(encoding="utf-8"))
    assert summary["done"] == items
    wall = summary["seconds"]
    memory = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    return Measured(count, items, wall, items * seconds / count / wall, used.ru_utime + used.ru_stime, memory)


def section(found: list[Measured], seconds: float) -> list[str]:
    """The lines of the report."""
    lines = [
        f"Stub servers that take {seconds:g} s an item, two items in flight on each; {FILES} x {FILES} pairs, uploads "
        "and results included. Stubs and command share this machine: on a busy one these are lower bounds. Short runs "
        "include the start, in which every server is given its first files.",
        "",
        "| servers | items | seconds | efficiency | command's processor time, ms an item | peak memory, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        cells = [str(one.servers), str(one.items), f"{one.wall:.1f}", f"**{one.efficiency:.3f}**"]
        cells += [f"{1000 * one.cpu / one.items:.1f}", f"{one.memory:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"Target: at least {LEAST} at 100 servers and 2 s.",
        "",
        "![The curve](pictures/batch_scaling.png)",
    ]


def draw(found: list[Measured], path: Path) -> None:
    """Efficiency over servers."""
    charts = room("pictures.charts")
    points = [(float(one.servers), one.efficiency) for one in found]
    goal = [(points[0][0], LEAST), (points[-1][0], LEAST)]
    series = [charts.Series("measured", points), charts.Series("target", goal, dashed=True)]
    labels = {"x_label": "servers", "y_label": "efficiency"}
    charts.line_chart(series, title="One command, many servers", **labels, size=(720, 400)).save(path)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench_batch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="service time of an item")
    parser.add_argument("--servers", default="1,10,25,50,100", help="how many, with commas")
    parser.add_argument("--items", type=int, default=25, help="items for each server")
    parser.add_argument("--total", type=int, default=0, help="items of each run instead")
    parser.add_argument("--output", type=Path, default=BENCH)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="sketchsynth-batch-") as made:
        folder = Path(made)
        (folder / "files").mkdir()
        for number in range(FILES):
            (folder / "files" / f"{number:03d}.png").write_bytes(b"%d" % number * 20_000)
        for count in map(int, options.servers.split(",")):
            found.append(measure(folder, count, options.seconds, options.total or options.items * count))
            say(f"  {found[-1]}")
    renew(options.output, {HEADING: section(found, options.seconds)}, machine.busy())
    if len(found) > 1:
        draw(found, CURVE)
    return 0 if all(one.efficiency >= LEAST for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
