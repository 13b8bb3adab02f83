"""Rooms of the pack without the host: `room("networks.adm")` imports a sub-module as the pack itself would."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
NAME = "sketchsynth_rooms"


def room(name: str):
    """A sub-module of the pack; the root __init__.py, which wants the host, is not run."""
    if NAME not in sys.modules:
        package = types.ModuleType(NAME)
        package.__path__ = [str(PACK)]
        sys.modules[NAME] = package
    return importlib.import_module(f"{NAME}.{name}")
