"""`python3 dev/run.py soak [--runs 500] [--cancels 100] [--seed 0] [--under SECONDS] [NAME ...]`: one server.

First every starter template (or those whose names contain a NAME) runs once: its pictures are the reference, and with
`--under` only those go on that took less than so many seconds. Then
`--runs` random ones follow, and every picture must be the same; memory, open files and threads are written down on the
way. Then `--cancels` runs are interrupted at random moments, each template in turn, and the run after each must give
the same pictures as at first; a training resumes there. No run uses results that ComfyUI kept of an earlier one.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from runtime.comfy_server import PACK, ComfyServer, Json, PromptFailed, ServerDied
from runtime.provision import say
from tools.graph import missing_files, to_prompt

REPORT_EVERY = 50


class Job(NamedTuple):
    """A template as a prompt, what its pictures are (a hash), and how long it takes."""

    name: str
    prompt: Json
    pictures: str
    seconds: float


class Soak:
    """Runs templates in one server and compares."""

    def __init__(self, server: ComfyServer, base: Path, names: list[str]) -> None:
        self.server, self.base, info = server, base, server.object_info()
        self.jobs: list[Job] = []
        for path in sorted((PACK / "workflows").glob("*.json")):
            if names and not any(name.lower() in path.stem.lower() for name in names):
                continue
            prompt = to_prompt(json.loads(path.read_text(encoding="utf-8")), info)
            if not missing_files(prompt, info):
                began = time.perf_counter()
                self.jobs.append(Job(path.stem, prompt, self.run(prompt), time.perf_counter() - began))
                say(f"  {self.jobs[-1].seconds:5.1f} s  {path.stem}")

    def run(self, prompt: Json) -> str:
        """A hash of the pictures of a run from scratch: nothing of an earlier one is left, no kept training either."""
        self.fresh()
        return self.digest(self.server.run(prompt))

    def fresh(self) -> None:
        self.server.post_json("/free", {"free_memory": True, "unload_models": False})
        time.sleep(0.2)  # it is done by the queue's thread
        for kept in (self.base / "models").glob("sketch_*/*"):
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()

    def digest(self, outputs: Json) -> str:
        from PIL import Image

        found = hashlib.sha256()
        for key in sorted(outputs):
            for image in outputs[key].get("images", []):
                picture = Image.open(io.BytesIO(self.server.picture(image)))
                found.update(f"{key} {picture.size}".encode() + picture.convert("RGB").tobytes())
        return found.hexdigest()

    def mixed(self, runs: int, rng: random.Random) -> list[str]:
        """Names of the runs whose pictures were others than at first."""
        wrong = []
        say(f"  at first: {self.state()}")
        for number in range(1, runs + 1):
            job = rng.choice(self.jobs)
            if self.run(job.prompt) != job.pictures:
                wrong.append(f"run {number}, {job.name}")
            if number % REPORT_EVERY == 0 or number == runs:
                say(f"  after {number} runs: {self.state()}; {len(wrong)} with other pictures")
        return wrong

    def cancelled(self, count: int, rng: random.Random) -> list[str]:
        """Names of the templates whose run after a Cancel was another than at first."""
        wrong, interrupted = [], 0
        order: list[Job] = []
        for number in range(1, count + 1):
            if not order:  # every template is cancelled as often as any other
                order = rng.sample(self.jobs, len(self.jobs))
            job = order.pop()
            self.fresh()
            prompt_id = self.server.submit(job.prompt)
            wait = rng.uniform(0, job.seconds)
            time.sleep(wait)
            self.server.interrupt()
            ended = "done before"
            try:
                self.server.wait(prompt_id)
            except PromptFailed as failure:
                ended = "interrupted" if "interrupted" in str(failure).lower() or not failure.details else str(failure)
            again = self.resumed(job)
            if again != job.pictures or ended not in ("interrupted", "done before"):
                wrong.append(f"{job.name}, cancelled after {wait:.2f} s: {ended}, next run {again[:8]}")
            interrupted += ended == "interrupted"
            if number % 10 == 0 or number == count:
                say(f"  {number} cancelled, {interrupted} of them midway, {len(wrong)} with other pictures after it")
        return wrong

    def resumed(self, job: Job) -> str:
        """The next run: without cached results, but with what a cancelled training kept."""
        self.server.post_json("/free", {"free_memory": True, "unload_models": False})
        time.sleep(0.2)
        return self.digest(self.server.run(job.prompt))

    def state(self) -> str:
        """Memory, open files and threads of the server, where the system tells."""
        process = self.server.process
        folder = Path(f"/proc/{process.pid}") if process is not None else Path("/nowhere")
        if not folder.is_dir():
            return "memory unknown here"
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        files = len(list((folder / "fd").iterdir()))
        return f"{int(status['VmRSS'].split()[0]) / 1024:.0f} MiB, {files} files, {int(status['Threads'])} threads"


def soak(names: list[str], runs: int, cancels: int, seed: int, under: float) -> list[str]:
    """What went wrong, as sentences."""
    base = Path(tempfile.mkdtemp(prefix="sketchsynth-soak-"))
    rng = random.Random(seed)
    try:
        with ComfyServer(Path(sys.executable), Path(os.environ["COMFYUI_PATH"]), base) as server:
            say("every template once:")
            one = Soak(server, base, names)
            one.jobs = [job for job in one.jobs if job.seconds < under]
            if not one.jobs:
                return ["There is no template with such a name, as quick as that, that runs on the starter."]
            say(f"{runs} runs:")
            wrong: list[Any] = one.mixed(runs, rng)
            say(f"{cancels} cancelled runs:")
            wrong += one.cancelled(cancels, rng)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only templates whose names contain one of these")
    for name, count in (("runs", 500), ("cancels", 100), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--under", type=float, default=float("inf"), help="only templates that take fewer seconds")
    options = parser.parse_args()
    try:
        wrong = soak(options.names, options.runs, options.cancels, options.seed, options.under)
    except ServerDied as failure:
        sys.exit(str(failure))
    say("\n".join(wrong) or "every picture was the same")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
