"""`python3 dev/run.py coverage [WORDS...]`: which lines of the pack no test runs. Words go to pytest; without them all
tests run, which takes about twice as long as `test`.

The servers that tests start are measured, too. Writes .reports/coverage.txt (a line per file, the least covered first,
with the missing lines) and leaves its data in .reports/coverage/.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
REPORTS = PACK / ".reports"
PACKAGES = ("coverage==7.17.5", "pytest==9.2.0", "playwright==1.65.2")
SETTINGS = """
[run]
source = {pack}
omit = {pack}/dev/*, {pack}/tests/*
data_file = {data}/data
parallel = true
# Servers and training processes; a server is ended by SIGTERM.
patch = subprocess
sigterm = true
disable_warnings = no-data-collected, module-not-imported

[report]
sort = cover
show_missing = true
skip_empty = true
include_namespace_packages = true
exclude_also =
    if TYPE_CHECKING:
    \\.\\.\\.$
"""


def ready() -> bool:
    """Whether coverage is there. It goes into our own environment on demand, never into a person's ComfyUI."""
    wanted = [package for package in PACKAGES if importlib.util.find_spec(package.partition("==")[0]) is None]
    install = [sys.executable, "-m", "pip", "install", "--quiet", *wanted]
    if not wanted:
        return True
    if os.environ.get("SKETCHSYNTH_PROVISIONED"):
        return subprocess.run(install, check=False).returncode == 0
    print(f"Nothing is installed into your ComfyUI unasked. First: {' '.join(install)}")
    return False


def main() -> int:
    if not ready():
        return 1
    data = REPORTS / "coverage"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    settings = data / "settings.ini"
    settings.write_text(SETTINGS.format(pack=PACK.as_posix(), data=data.as_posix()), encoding="utf-8")

    def coverage(*words: str, **options) -> int:
        command = [sys.executable, "-m", "coverage", words[0], f"--rcfile={settings}", *words[1:]]
        return subprocess.run(command, cwd=PACK, check=False, **options).returncode

    tests = coverage("run", "-m", "pytest", "-q", *sys.argv[1:])
    coverage("combine", "--quiet")
    with (REPORTS / "coverage.txt").open("w", encoding="utf-8") as report:
        coverage("report", stdout=report)
    print((REPORTS / "coverage.txt").read_text(encoding="utf-8"))
    return tests


if __name__ == "__main__":
    sys.exit(main())
