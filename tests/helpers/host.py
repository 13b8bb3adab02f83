"""ComfyUI in this process, for the tests that need it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from runtime import inprocess


@cache
def need_host() -> Path:
    """ComfyUI's folder. The first call puts it on sys.path, before anything imports comfy; ends the run without it."""
    host = inprocess.find_host()
    if host is None:
        pytest.exit(f"{inprocess.NO_HOST} Only tests/unit runs without it.", returncode=4)
    inprocess.prepare_host(host)
    return host
