"""`python3 dev/run.py test`: ruff, format, pyright, and the tests in two processes at once.

Each process has its own temporary folders and, where it starts a ComfyUI, its own port. Its output and a JUnit file
with the seconds of every test stay in .reports/.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runtime.provision import Place, provide, provide_browser, say, tool_env

PACK = Path(__file__).resolve().parents[2]
REPORTS = PACK / ".reports"
# The split: two processes that take about as long as each other. The first one never imports ComfyUI.
PROCESSES = {"unit": ("tests/unit",), "host": ("tests/host", "tests/browser")}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TOLD_EVERY = 60.0  # seconds between two lines on how far the tests are


class Counts(NamedTuple):
    """Tests by how they ended; an error in a fixture counts as a failure."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def test(words: list[str]) -> int:
    """Run every check and test, whatever fails. Words go to a single pytest. Returns the exit code."""
    place = provide(tools=True)
    browser = provide_browser(place)
    # Another interpreter's name in the environment would make pyright look there instead of into ours.
    extra = {**tool_env(), **({"SKETCHSYNTH_CHROMIUM": str(browser)} if browser else {})}
    environment = place.environment(extra)
    if words:
        unclean = check(place, environment)
        tests = subprocess.run([str(place.python), "-m", "pytest", *words], cwd=PACK, env=environment, check=False)
        return tests.returncode or int(unclean)
    return test_all(place, environment)


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
    """The checks beside both test processes; then both summaries, and the sum as the last line."""
    REPORTS.mkdir(exist_ok=True)
    # One thread each: processes that share two cores would otherwise wait for each other's threads.
    environment = {**dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 2) // 2))), **environment}
    began = time.perf_counter()
    running = {name: start(name, paths, place, environment) for name, paths in PROCESSES.items()}
    try:
        unclean = check(place, environment)
        say(f"tests run in {len(running)} processes: {' and '.join(running)}")
        spent = wait(running, began)
    except BaseException:
        for process in running.values():
            process.terminate()
            process.wait()
        raise
    total = Counts()
    for name, process in running.items():
        counts = counted(REPORTS / f"{name}.xml")
        if counts is None or (process.returncode and not counts.failed):  # ended before, or beside, its tests
            counts = Counts(*(counts or Counts()))._replace(failed=1)
        say(f"\n===== {name}: {' '.join(PROCESSES[name])}, {spent[name] / 60:.1f} minutes, exit {process.returncode}")
        say(output_of(name).rstrip())
        total = Counts(*(a + b for a, b in zip(total, counts, strict=True)))
    if unclean:
        say("\nnot clean: see the checks above the tests")
    say(f"\n{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return int(unclean or total.failed > 0 or any(process.returncode for process in running.values()))


def start(name: str, paths: Sequence[str], place: Place, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A pytest of its own, writing to .reports/NAME.txt and NAME.xml."""
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    options = ["-q", "--durations=10", f"--junitxml={report}", "-p", "no:cacheprovider"]
    command = [str(place.python), "-m", "pytest", *options, *paths]
    with (REPORTS / f"{name}.txt").open("wb") as out:
        return subprocess.Popen(
            command, cwd=PACK, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )


def wait(running: dict[str, subprocess.Popen[bytes]], began: float) -> dict[str, float]:
    """Until all have ended, with a line now and then. Returns the seconds that each took since `began`."""
    spent: dict[str, float] = {}
    said = time.perf_counter()
    while len(spent) < len(running):
        time.sleep(0.5)
        now = time.perf_counter()
        for name, process in running.items():
            if name not in spent and process.poll() is not None:
                spent[name] = now - began
        if now - said >= TOLD_EVERY:
            said = now
            say(f"  {(now - began) / 60:.0f} min: {', '.join(f'{name} {progress(name, spent)}' for name in running)}")
    return spent


def progress(name: str, ended: dict[str, float]) -> str:
    """How far a process is, from the percentages that pytest prints at the ends of its lines."""
    found = re.findall(r"\[ *(\d+%)\]$", output_of(name), re.MULTILINE)
    return "ended" if name in ended else found[-1] if found else "begins"


def output_of(name: str) -> str:
    return (REPORTS / f"{name}.txt").read_text(encoding="utf-8", errors="replace")


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
