"""What the registry's archive carries: the files in git without those that .comfyignore names."""

from __future__ import annotations

import os
import subprocess

import pytest

from helpers import PACK


def tracked(*options: str) -> set[str]:
    """Paths below the pack's root of the files in git; options go to `git ls-files`."""
    if not (PACK / ".git").exists() and not os.environ.get("CI"):
        pytest.skip("This folder is not a git checkout, so what would ship is not known.")
    command = ["git", "ls-files", "-z", *options]
    found = subprocess.run(command, cwd=PACK, check=True, capture_output=True).stdout.decode()
    return {path for path in found.split("\0") if (PACK / path).is_file()}


def shipped() -> list[str]:
    """What is in the archive. git applies the list itself, whose syntax is that of .gitignore."""
    return sorted(tracked() - tracked("--cached", "--ignored", "--exclude-from=.comfyignore"))
