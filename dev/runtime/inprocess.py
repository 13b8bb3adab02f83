"""ComfyUI inside this process with the pack in it, without its server: for tests, benches and tools.

The name trap: our folder `nodes/` has the name of ComfyUI's `nodes.py`, and the pack's root is itself a package. So
ComfyUI goes first on sys.path, and the pack is loaded by ComfyUI's own `nodes.load_custom_node`, under the name the
host gives it.

    prepare_host(find_host())       # before any `import comfy`
    load_pack()                     # the root module; ValueError with the host's log if the host refuses it
    room("samplers.levels")         # a module of the pack
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

PACK = Path(__file__).resolve().parents[2]
DEV = PACK / "dev"
ROOMS = ("runtime", "tools", "bench", "evidence", "templates")
NO_HOST = "ComfyUI was not found: use `python3 dev/run.py`, or set COMFYUI_PATH to your ComfyUI folder."


def tool_command(module: str, *words: str) -> list[str]:
    """The command line that runs a module of dev/ ("tools.demo") in a fresh process of this Python."""
    return [sys.executable, str(DEV / "run.py"), "--inside", module, *words]


def find_host() -> Path | None:
    """COMFYUI_PATH, else the ComfyUI that dev/run.py put beside the running virtual environment."""
    named = os.environ.get("COMFYUI_PATH")
    place = Path(named) if named else Path(sys.prefix).parent / "ComfyUI"
    return place.resolve() if (place / "comfy" / "cli_args.py").is_file() else None


def prepare_host(host: Path, *, cpu: bool | None = None, base: Path | None = None) -> None:
    """Make `import comfy`, `import nodes` ... mean this host. Call before the first of them.

    cpu: True on a machine without a GPU, where comfy.model_management otherwise raises at import; None takes
    SKETCHSYNTH_DEVICE ("cpu" unless set, anything else uses the GPU). base: the folder of input, output and models;
    None makes an empty one that goes away with the process.
    """
    for name in ROOMS:  # imported while dev/ is still in front: a package called `tools` may be installed
        importlib.import_module(name)
    sys.path[:] = [str(host), *(p for p in sys.path if p not in ("", str(PACK), str(DEV), str(host))), str(DEV)]
    importlib.import_module("utils")  # now, as main.py does: some packages put a folder with a utils.py in front later
    from comfy.cli_args import args  # argparse only: no torch yet

    args.cpu = os.environ.get("SKETCHSYNTH_DEVICE", "cpu") == "cpu" if cpu is None else cpu
    if base is None:
        base = Path(tempfile.mkdtemp(prefix="sketchsynth-host-"))
        atexit.register(shutil.rmtree, base, ignore_errors=True)
    for folder in ("input", "output", "temp", "user", "custom_nodes", "models"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    args.base_directory = str(base)


def host_nodes() -> ModuleType:
    """The host's own `nodes` module."""
    nodes = importlib.import_module("nodes")
    assert not nodes.__file__ or Path(nodes.__file__).parent != PACK / "nodes", "call prepare_host() first"
    return nodes


def pack_name() -> str:
    """The name under which the host keeps our root module in sys.modules (nodes.load_custom_node)."""
    return str(PACK).replace(".", "_x_")


def try_load_pack() -> tuple[bool, str]:
    """Load the pack as the host does. Returns whether the host was content, and what it logged."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        content = asyncio.run(host_nodes().load_custom_node(str(PACK)))
    finally:
        logging.getLogger().removeHandler(handler)
    return content, "\n".join(lines)


def load_pack() -> ModuleType:
    content, log = try_load_pack()
    if not content:
        raise ValueError(f"the host refused the pack:\n{log}")
    return sys.modules[pack_name()]


def room(name: str) -> ModuleType:
    """A module of the loaded pack, e.g. room("samplers.levels"). Works even while another room is broken."""
    return importlib.import_module(f".{name}", package=pack_name())
