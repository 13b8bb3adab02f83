"""`python3 dev/run.py test`: ruff, format, pyright, and the tests in three parts, two of them at a time.

`--host VERSION` runs the tests on another ComfyUI, `--frontend VERSION` (or `newest`) with another editor; what
follows them goes to one pytest, as always.

Each part is a pytest with its own temporary folders and, where it starts a ComfyUI server, its own port. Its output and
a JUnit file with the seconds of every test stay in .reports/.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from runtime.comfy_server import FRONTEND
from runtime.provision import (
    Place,
    StepFailed,
    other_frontend,
    other_host,
    provide,
    provide_browser,
    say,
    tool_env,
)

PACK = Path(__file__).resolve().parents[2]
REPORTS = PACK / ".reports"
# The split: what runs ComfyUI in its own process, what needs none of it, and what drives a server and a browser, whose
# pictures want a core of their own: beside the first part it takes 29 minutes instead of 12, so it comes last. Two at a
# time, as most machines for tests have two cores.
PARTS = {
    "host": ("tests/host", "--ignore=tests/host/workflows"),
    "unit": ("tests/unit",),
    "live": ("tests/host/workflows", "tests/browser"),
}
AT_A_TIME = 2
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TOLD_EVERY = 60.0  # seconds between two lines on how far the tests are


class Counts(NamedTuple):
    """Tests by how they ended; an error in a fixture counts as a failure."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def test(words: list[str]) -> int:
    """Run every check and test, whatever fails. Words go to a single pytest. Returns the exit code."""
    asked, words = another(words)
    place = provide(tools=True)
    browser = provide_browser(place)
    if "host" in asked:
        place = other_host(place, asked["host"])
    if "frontend" in asked:
        os.environ[FRONTEND] = str(other_frontend(place, asked["frontend"]))
    # Another interpreter's name in the environment would make pyright look there instead of into ours.
    extra = {**tool_env(), **({"SKETCHSYNTH_CHROMIUM": str(browser)} if browser else {})}
    environment = place.environment(extra)
    if words:
        unclean = check(place, environment)
        tests = subprocess.run([str(place.python), "-m", "pytest", *words], cwd=PACK, env=environment, check=False)
        return tests.returncode or int(unclean)
    return test_all(place, environment)


def another(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """What --host and --frontend in front of the words ask for, and the other words."""
    asked: dict[str, str] = {}
    while words and words[0] in ("--host", "--frontend"):
        if len(words) < 2:
            raise StepFailed(f"{words[0]} needs a version.")
        asked[words[0].removeprefix("--")] = words[1]
        words = words[2:]
    return asked, words


def check(place: Place, environment: dict[str, str]) -> bool:
    """ruff, format and pyright. Returns whether one of them found something."""
    checks = {
        "ruff": ["ruff", "check", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "pyright": ["pyright", "--pythonpath", str(place.python)],
    }
    failed = []
    for name, command in checks.items():
        began = time.perf_counter()
        if subprocess.run([str(place.python), "-m", *command], cwd=PACK, env=environment, check=False).returncode:
            failed.append(name)
        say(f"{name}: {'FAILED' if name in failed else 'ok'}, {time.perf_counter() - began:.1f} s")
    if failed:
        say(f"not clean: {', '.join(failed)} (the tests run all the same)")
    return bool(failed)


def test_all(place: Place, environment: dict[str, str]) -> int:
    """The checks beside the parts of the tests; then the parts' summaries, and the sum as the last line."""
    REPORTS.mkdir(exist_ok=True)
    # A share of the cores each: with more threads the parts would wait for each other's.
    environment = {**dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // AT_A_TIME))), **environment}
    parts = [Part(name, words, place, environment) for name, words in PARTS.items()]
    try:
        with ThreadPoolExecutor(1) as beside:
            checked = beside.submit(check, place, environment)
            run_all(parts)
        unclean = checked.result()
    except BaseException:
        for part in parts:
            part.stop()
        raise
    total = Counts()
    for part in parts:
        say(f"\n===== {part.name}: {' '.join(part.words)}, {part.seconds / 60:.1f} minutes, exit {part.returncode}")
        say(part.output().rstrip())
        total = Counts(*(a + b for a, b in zip(total, part.counts(), strict=True)))
    if unclean:
        say("\nnot clean: see what ruff or pyright said above")
    say(f"\n{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return int(unclean or total.failed > 0)


def run_all(parts: list[Part]) -> None:
    """Run the parts, the next one as soon as one ends, with a line now and then."""
    said = began = time.perf_counter()
    while any(part.seconds == 0 for part in parts):
        running = [part for part in parts if part.is_running()]
        for part in [part for part in parts if part.process is None][: AT_A_TIME - len(running)]:
            part.start()
        time.sleep(0.5)
        if time.perf_counter() - said >= TOLD_EVERY:
            said = time.perf_counter()
            say(f"  {(said - began) / 60:.0f} min: {', '.join(f'{part.name} {part.progress()}' for part in parts)}")


class Part:
    """One pytest, writing to .reports/NAME.txt and NAME.xml. seconds: how long it took, 0 until it has ended."""

    def __init__(self, name: str, words: Sequence[str], place: Place, environment: dict[str, str]) -> None:
        self.name, self.words, self.place, self.environment = name, words, place, environment
        self.process: subprocess.Popen[bytes] | None = None
        self.began = self.seconds = 0.0
        self.report, self.text = REPORTS / f"{name}.xml", REPORTS / f"{name}.txt"
        self.report.unlink(missing_ok=True)
        self.text.unlink(missing_ok=True)

    def start(self) -> None:
        options = ["-q", "--durations=10", f"--junitxml={self.report}", "-p", "no:cacheprovider"]
        command = [str(self.place.python), "-m", "pytest", *options, *self.words]
        self.began = time.perf_counter()
        with self.text.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=PACK, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    def is_running(self) -> bool:
        if self.process is None or self.seconds:
            return False
        if self.process.poll() is None:
            return True
        self.seconds = time.perf_counter() - self.began
        return False

    def stop(self) -> None:
        """After Ctrl+C, which it got too: let it end its ComfyUI and its browser before it is ended."""
        if self.process is None:
            return
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait()

    @property
    def returncode(self) -> int | None:
        return self.process.returncode if self.process else None

    def output(self) -> str:
        return self.text.read_text(encoding="utf-8", errors="replace") if self.text.exists() else ""

    def progress(self) -> str:
        """How far it is, from the percentages that pytest prints at the ends of its lines."""
        if self.process is None or self.seconds:
            return "ended" if self.seconds else "waits"
        found = re.findall(r"\[ *(\d+%)\]$", self.output(), re.MULTILINE)
        return found[-1] if found else "0%"

    def counts(self) -> Counts:
        """How its tests ended. A pytest that failed for another reason than a test counts as one failure."""
        found = counted(self.report) or Counts()
        return found._replace(failed=1) if self.returncode and not found.failed else found


def counted(report: Path) -> Counts | None:
    """The counts in a JUnit file; None if pytest ended before it wrote one."""
    try:
        suite = ElementTree.parse(report).getroot().find("testsuite")
    except (OSError, ElementTree.ParseError):
        return None
    if suite is None:
        return None
    tests, failures, errors, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
    return Counts(tests - failures - errors - skipped, failures + errors, skipped)
