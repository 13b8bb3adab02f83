"""Rooms of the pack without the host: `room("networks.adm")` imports a sub-module as the pack itself would."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
NAME = "sketchsynth_rooms"

# The root __init__.py, which needs the host, is not run. Registered at import and not at the first room(): a spawned
# worker process imports this module, and then unpickles functions by their modules' names.
if NAME not in sys.modules:
    sys.modules[NAME] = types.ModuleType(NAME)
    sys.modules[NAME].__path__ = [str(PACK)]


def room(name: str):
    """A sub-module of the pack."""
    return importlib.import_module(f"{NAME}.{name}")
