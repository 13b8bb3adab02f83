"""`python3 batch GRAPH.json --set "Load Sketch=sketches/" --servers a:8188,b:8188 --out DIR`"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "sketchsynth_batch"

if __name__ == "__main__":
    # The pack's own __init__.py needs ComfyUI, which this command does not: its folder stands in as the parent package.
    # This folder must not be searched for modules, or `import graph` of another package would find ours.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != HERE]
    sys.modules[NAME] = types.ModuleType(NAME)
    sys.modules[NAME].__path__ = [str(HERE.parent)]
    sys.exit(importlib.import_module(f"{NAME}.batch.command").main())
