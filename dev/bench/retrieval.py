"""`python3 dev/run.py bench_retrieval`: what indexing and searching photos costs."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from bench.page import BENCH, in_host, renew
from runtime import inprocess
from runtime.provision import say

SIZES = (1_000, 100_000, 1_000_000)  # rows of an index
WIDTH = 512
FOLDER = 10_000  # photos of a folder that is indexed once more without a change
COPIES = 25  # of each sample photo: an index of 2,000 shows whether memory grows with it
RUNS = 5


def memory() -> dict[str, float]:
    """This process's memory in MB: its own, and pages of mapped files, which the system can take back. Linux only."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return {"own": float("nan"), "mapped": float("nan")}
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return {name: int(lines[key].split()[0]) / 1024 for name, key in (("own", "RssAnon"), ("mapped", "RssFile"))}


def vectors(rows: int) -> torch.Tensor:
    made = torch.empty(rows, WIDTH)
    for first in range(0, rows, 50_000):
        part = made[first : first + 50_000]
        part.copy_(normalize(torch.randn(part.shape), dim=1))
    return made


def searched(rows: int, folder: Path) -> tuple[float, float, float, float]:
    """Seconds to open an index and to search it, the first time and after that; and own MB that the search took."""
    index, search = (inprocess.room(f"pipelines.retrieval.{name}") for name in ("index", "search"))
    path = folder / f"{rows}.safetensors"
    photos = [index.Photo(f"folder/{i:07}.jpg", i, i) for i in range(rows)]
    network = inprocess.room("pipelines.retrieval.retriever").Retriever((Nothing(),))
    index.write(path, network.key(), index.Contents(photos, vectors(rows), {}))
    del photos
    query = [normalize(torch.randn(1, WIDTH), dim=1)]
    before, began = memory()["own"], time.perf_counter()
    held = index.PhotoIndex(path, folder, network, rows).open()
    opened, times = time.perf_counter() - began, []
    for _ in range(RUNS):
        began = time.perf_counter()
        found = search.best(held.vectors, query, 200)[0]
        held.name(found.rows[0])
        times.append(time.perf_counter() - began)
    grown = memory()["own"] - before
    del held
    path.unlink()
    return opened, times[0], min(times[1:]), grown


class Nothing:
    """A network that must not be asked: every photo is known."""

    name, side, patcher = "nothing", 128, None

    def digest(self) -> str:
        return "nothing"

    def photo(self, picture: Any) -> Any:
        raise AssertionError("an unchanged photo was read")


def unchanged(folder: Path) -> float:
    """Seconds that a second run takes on a folder of FOLDER photos."""
    index, retrievers = (inprocess.room(f"pipelines.retrieval.{name}") for name in ("index", "retriever"))
    for part in range(20):
        (folder / "photos" / f"{part}").mkdir(parents=True)
        for i in range(FOLDER // 20):
            (folder / "photos" / f"{part}" / f"{i}.jpg").write_bytes(b"%d" % i)
    network = retrievers.Retriever((Nothing(),))
    listed = index.list_photos(folder / "photos").photos
    (folder / "state").mkdir()
    held = index.Contents(listed, vectors(len(listed)), {})
    index.write(folder / "state" / index.FILE, network.key(), held)
    began = time.perf_counter()
    done = index.update(folder / "state", folder / "photos", network)
    assert (done.count, done.read) == (FOLDER, 0)
    return time.perf_counter() - began


def indexed(folder: Path) -> tuple[int, float, float]:
    """The sample photos through the built-in network: how many, photos per second, and the relation network's pairs
    per second with their photos read again."""
    doors, folders = (inprocess.room(f"nodes.parts.{name}") for name in ("retrieval", "folders"))
    index, search, retrievers = (
        inprocess.room(f"pipelines.retrieval.{name}") for name in ("index", "search", "retriever")
    )
    network = retrievers.Retriever((doors.load_network(inprocess.room("nodes.parts.model_files").STARTER),))
    doors.load(network)
    began = time.perf_counter()
    done = index.update(folder / "samples", folders.PHOTOS, network)
    rate = done.count / (time.perf_counter() - began)
    known = index.PhotoIndex(folder / "samples" / index.FILE, folders.PHOTOS, network, done.count)
    rows = known.open()
    sketch = torch.ones(64, 64, 3)
    sketch[20:40, 30] = 0
    began = time.perf_counter()
    search.rank(known, rows, network.sketches([sketch]), search.RN, 10)
    return done.count, rate, done.count / (time.perf_counter() - began)


def peak_of_indexing(folder: Path) -> tuple[int, float]:
    """How many photos were indexed, and own MB at the most while they were, above those before. Linux only."""
    doors, folders = (inprocess.room(f"nodes.parts.{name}") for name in ("retrieval", "folders"))
    index, retrievers = (inprocess.room(f"pipelines.retrieval.{name}") for name in ("index", "retriever"))
    network = retrievers.Retriever((doors.load_network(inprocess.room("nodes.parts.model_files").STARTER),))
    doors.load(network)
    for path in Path(folders.PHOTOS).iterdir():
        for copy in range(COPIES):
            target = folder / "many" / f"{copy}" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    before, most, done = memory()["own"], 0.0, threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, memory()["own"])

    watch = threading.Thread(target=look)
    watch.start()
    try:
        count = index.update(folder / "many state", folder / "many", network).count
    finally:
        done.set()
        watch.join()
    return count, most - before


def measure() -> list[str]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        count, rate, pairs = indexed(folder)
        say(f"{rate:.0f} photos per second, {pairs:.0f} pairs per second")
        many, peak = peak_of_indexing(folder)
        say(f"{many} photos: {peak:.0f} MB")
        again = unchanged(folder)
        say(f"second run: {again:.2f} s")
        lines = [
            f"The built-in network (64 px) indexes {rate:.0f} photos per second ({count} photos of 256 px), and its "
            f"relation network looks at {pairs:.0f} pairs per second, reading the photos again. Indexing {many} photos "
            f"takes {peak:.0f} MB of own memory at the most, beside the loaded network. A second run of an "
            f"unchanged folder of {FOLDER} photos takes {again:.2f} s.",
            "",
            f"Searching an index of random vectors of {WIDTH} numbers, one sketch, the best 200. Own memory is what "
            "the process allocates; the index itself is memory-mapped, pages that the system takes back when others "
            "need them.",
            "",
            "| photos | file | opening | first search | next searches | own memory |",
            "|---|---|---|---|---|---|",
        ]
        for rows in SIZES:
            opened, first, later, grown = searched(rows, folder)
            size = rows * (4 * WIDTH + 16 + 19) / 1e6
            lines.append(
                f"| {rows} | {size:.0f} MB | {opened:.3f} s | {first:.3f} s | {later:.4f} s | {max(0, grown):.0f} MB |"
            )
            say(lines[-1])
    return lines


def main() -> int:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())
    threads = torch.get_num_threads()
    found = in_host(measure)
    head = f"{threads} thread{'s' * (threads > 1)} of torch."
    if hasattr(os, "getloadavg"):  # other work on the machine makes everything slower
        head += f" Load average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    renew(BENCH, {"Finding photos by sketch": [head, "", *found]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
