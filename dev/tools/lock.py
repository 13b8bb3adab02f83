"""`python3 dev/run.py lock [--upgrade]`: renew dev/runtime/locks/*.txt after a pin in dev/runtime/provision.py changed.

Each file lists packages of exact versions with the sha256 of every file of theirs, for every supported Python and
system. uv works them out, in a virtual environment that goes away; it looks at wheels only, so no package's code runs.
Versions stay where they still fit; --upgrade takes the newest ones.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from runtime.inprocess import NO_HOST, find_host
from runtime.provision import LOCKS, PACK, TOOLS, TORCH, say, venv_python

UV = "uv==0.13.9"
OPTIONS = ("--universal", "--python-version", "3.10", "--generate-hashes", "--no-annotate", "--no-build", "--no-config")
BUILD = ("setuptools>=69",)  # what the host's source distribution names as its build system


def pins(lock: str) -> dict[str, set[str]]:
    """The versions of each package in the text of a lock file: more than one where they differ between systems."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE):
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(version)
    return found


def main() -> int:
    host = find_host()
    if host is None:
        sys.exit(NO_HOST)
    needs = (host / "requirements.txt").read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory(prefix="sketchsynth-lock-") as made:
        folder = Path(made)
        venv.create(folder / "venv", with_pip=True)
        python = venv_python(folder / "venv")
        subprocess.run([python, "-m", "pip", "install", "--quiet", UV], check=True)
        for name, wanted in (("host", (*TORCH, *PACK, *needs)), ("build", BUILD), ("tools", TOOLS)):
            asked = folder / f"{name}.in"
            asked.write_text("\n".join(wanted), encoding="utf-8")
            same = ["--constraint", LOCKS["host"]] if name != "host" else []
            comment = ["--custom-compile-command", "python3 dev/run.py lock"]
            command = [python, "-m", "uv", "pip", "compile", "--quiet", *OPTIONS, *comment, *same, asked]
            subprocess.run([*command, *sys.argv[1:], "--output-file", LOCKS[name]], check=True)
            say(f"{LOCKS[name]}: {len(pins(LOCKS[name].read_text(encoding='utf-8')))} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
