"""`python3 batch` on real servers: pairs of the starter, on one, two and four of them at once.

`python3 dev/run.py bench_batch_servers [--pairs 300] [--servers 1,2,4] [--size 256]` renews its own section of
docs/BENCH.md: the sketch GAN, in one pass. With `--sampled` each pair is sampled in 25 steps; that is a section of its
own. Every run must give the pictures of the first one, bit for bit. Bare HTTP: all prompts are posted to one server and
their pictures fetched as they come, by the fewest requests that do it. What the servers say of their own times is taken
out: they vary more from run to run than all that is around them.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.page import BENCH, renew
from runtime import machine
from runtime.comfy_server import PACK, ComfyServer
from runtime.provision import say
from runtime.rooms import room
from tools.graph import to_prompt


class Work(NamedTuple):
    """A graph of pairs: its template, what it calls the two drawings, which node has the seed, and its section."""

    template: str
    sketch: str
    photo: str
    seeded: str
    heading: str


ONE_PASS = Work(
    "18 Sketch and style - one pass, no prompt",
    *("your sketch", "style: its colours", "SketchGANDecode", "Batch: real servers"),
)
SAMPLED = Work(
    "10 Line drawing on a KSampler - scribble",
    *("your lines", "exemplar: its colours", "KSampler", "Batch: real servers, sampled pairs"),
)
PHOTOS = 15  # of the pairs; the rest of their number are sketches


def prepare(work: Work, folder: Path, pairs: int, size: int) -> Path:
    """The template at this size, and scenes of the starter world as folders of sketches and of photos."""
    from PIL import Image

    scenes = room("starter.world").render_batch(range(max(PHOTOS, pairs // PHOTOS)), 64)
    for name, count in (("sketches", pairs // PHOTOS), ("photos", PHOTOS)):
        (folder / name).mkdir()
        for number, scene in enumerate(scenes[:count]):
            picture = scene.sketch if name == "sketches" else scene.image
            Image.fromarray(picture).save(folder / name / f"{number:03d}.png")
    graph = json.loads((PACK / "workflows" / f"{work.template}.json").read_text(encoding="utf-8"))
    for node in graph["nodes"]:
        if node["type"] == "SketchLoader":
            node["widgets_values"] = [size if value in (64, 256) else value for value in node["widgets_values"]]
        if node["type"] == "EmptyLatentImage":
            node["widgets_values"][-1] = 1  # one picture a pair
    path = folder / "graph.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return path


def command(work: Work, graph: Path, servers: list[ComfyServer], out: Path, *more: str) -> float:
    """Seconds of one run of the command."""
    words = ["--set", f"{work.sketch}={graph.parent / 'sketches'}", "--set", f"{work.photo}={graph.parent / 'photos'}"]
    words += ["--servers", ",".join(f"127.0.0.1:{server.port}" for server in servers)]
    words += ["--seed", f"{work.seeded}.seed", "--out", str(out), *more]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, str(PACK / "batch"), str(graph), *words],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def bare(work: Work, graph: Path, server: ComfyServer, items: list[dict[str, str]]) -> tuple[float, dict[str, bytes]]:
    """Seconds of plain requests for the same items, and the pictures by their items' names."""
    workflow = json.loads(graph.read_text(encoding="utf-8"))
    prompt = to_prompt(workflow, server.object_info())
    titles = {str(node["id"]): node.get("title") for node in workflow["nodes"]}
    sketch, photo = (next(key for key, title in titles.items() if title == name) for name in (work.sketch, work.photo))
    decode = next(key for key, node in prompt.items() if node["class_type"] == work.seeded)
    began = time.perf_counter()
    sent: dict[tuple[str, str], str] = {}
    posted = []
    for item in items:
        for key, folder, name in ((sketch, "sketches", item["sketch"]), (photo, "photos", item["photo"])):
            if (folder, name) not in sent:
                sent[folder, name] = server.upload(f"{folder}{name}", (graph.parent / folder / name).read_bytes())
            prompt[key]["inputs"]["image"] = sent[folder, name]
        prompt[decode]["inputs"]["seed"] = int(item["seed"])
        posted.append((item["name"], server.submit(prompt)))
    found = {}
    for name, prompt_id in posted:
        outputs = server.wait(prompt_id)
        saved = [one for output in outputs.values() for one in output.get("images", []) if one["type"] == "output"]
        found[name] = server.picture(saved[0])
    return time.perf_counter() - began, found


def listed(work: Work, out: Path) -> list[dict[str, str]]:
    """The items of a run: name, sketch, photo, seed."""
    found = []
    with (out / "_batch" / "items.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = {key.split(".")[0]: value for key, value in row.items()}
            files = {"sketch": Path(values[work.sketch]).name, "photo": Path(values[work.photo]).name}
            seed = next(value for key, value in row.items() if key.endswith(".seed"))
            found.append({"name": row["name"], "seed": seed, **files})
    return found


def own_seconds(servers: list[ComfyServer], pairs: int) -> float:
    """What the servers themselves took for the last `pairs` items."""
    found = [job for server in servers for job in server.get_json(f"/api/jobs?limit={pairs}")["jobs"]]
    times = sorted((job["execution_start_time"], job["execution_end_time"]) for job in found)[-pairs:]
    return sum(end - start for start, end in times) / 1000


def row(name: str, seconds: float, servers: list[ComfyServer], pairs: int) -> list[str]:
    own, load = own_seconds(servers, pairs), f"{os.getloadavg()[0]:.0f}"
    around = f"{seconds - own:.1f}" if len(servers) == 1 else ""
    found = [name, f"{seconds:.1f}", f"{own:.1f}", around, load]
    say(f"  {found}")
    return found


def pixels(content: bytes) -> bytes:
    from PIL import Image

    return Image.open(io.BytesIO(content)).convert("RGB").tobytes()


def results(out: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(out.glob("*.png"))}


def measure(work: Work, folder: Path, counts: list[int], pairs: int, size: int) -> list[str]:
    """The lines of the report. SystemExit: a run gave other pictures."""
    graph = prepare(work, folder, pairs, size)
    rows = []
    with ExitStack() as stack:
        servers = [
            stack.enter_context(ComfyServer(Path(sys.executable), Path(os.environ["COMFYUI_PATH"]), folder / f"s{i}"))
            for i in range(max(counts))
        ]
        for number, server in enumerate(servers):  # the first run of a server loads the networks
            command(work, graph, [server], folder / f"warm{number}", "--total", "2")
        first: dict[str, bytes] = {}
        for count in counts:
            out = folder / f"out{count}"
            seconds = command(work, graph, servers[:count], out)
            made = results(out)
            first = first or made
            if made != first:
                sys.exit(f"{count} servers gave other files than {counts[0]}")
            name = f"`python3 batch`, {count} server{'s' * (count > 1)}"
            rows.append(row(name, seconds, servers[:count], len(made)))
        seconds, plain = bare(work, graph, servers[0], listed(work, folder / f"out{counts[0]}"))
        if {name: pixels(one) for name, one in plain.items()} != {name: pixels(one) for name, one in first.items()}:
            sys.exit("bare requests gave other pictures")
        rows.insert(0, row("bare HTTP, 1 server", seconds, servers[:1], len(plain)))
    return [
        f'{len(first)} pairs through "{work.template}" at {size} px. Every run gave the same files, bit for bit; bare '
        "requests the same pixels. All servers, of one thread each, and the command share this machine's cores.",
        "",
        "| | seconds | servers' own time | around it | load average at its end |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench_batch_servers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--servers", default="1,2,4", help="how many at once, with commas")
    parser.add_argument("--size", type=int, default=0, help="pixels; 0: 256, or 64 of sampled pairs")
    parser.add_argument("--sampled", action="store_true", help="pairs that take 25 steps each, instead of one pass")
    parser.add_argument("--output", type=Path, default=BENCH)
    options = parser.parse_args()
    counts = [int(count) for count in options.servers.split(",")]
    # A thread each: several servers with as many threads as there are cores would wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="sketchsynth-batch-") as made:
        work, usual = (SAMPLED, 64) if options.sampled else (ONE_PASS, 256)
        lines = measure(work, Path(made), counts, options.pairs, options.size or usual)
        renew(options.output, {work.heading: lines}, machine.busy())
    return 0


if __name__ == "__main__":
    sys.exit(main())
