"""`python3 dev/run.py import_time [--runs 5] [--host]`: what importing the pack costs, and what it leaves behind.

Each run is a fresh process: ComfyUI first, without its extra nodes, so that nothing heavy is there by accident; then
the pack through ComfyUI's own loader, as in its "Import times" list. Besides the seconds it reports which modules
outside the pack were newly imported, and every attribute of the host's modules that the import changed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime import inprocess

HOST_MODULES = (
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "nodes",
    "server",
    "torch",
)
# What the host itself fills in for every pack.
REGISTERED = {
    *(
        "nodes.NODE_CLASS_MAPPINGS",
        "nodes.NODE_DISPLAY_NAME_MAPPINGS",
        "nodes.EXTENSION_WEB_DIRS",
        "nodes.LOADED_MODULE_DIRS",
    ),
    *("folder_paths.folder_names_and_paths", "folder_paths.filename_list_cache", "folder_paths.cache_helper"),
}


def snapshot() -> dict[str, Any]:
    """Every attribute of the host's modules and of the classes they define; containers with their elements."""
    seen: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if module is None or name.split(".")[0] not in HOST_MODULES:
            continue
        if name.startswith("torch") and name not in (
            "torch",
            "torch.nn",
            "torch.nn.functional",
            "torch.nn.modules.module",
        ):
            continue
        for key, value in list(vars(module).items()):
            if isinstance(value, ModuleType) or key.startswith("__"):
                continue  # a sub-module that we are the first to import appears as an attribute: no change of behaviour
            seen[f"{name}.{key}"] = (value, _elements(value))
            if isinstance(value, type) and value.__module__ == name:
                seen.update(
                    {f"{name}.{key}.{k}": (v, None) for k, v in list(vars(value).items()) if not k.startswith("__abc")}
                )
    return seen


def _elements(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.items())
    return list(value) if isinstance(value, (list, tuple, set)) else None


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = []
    for key, (value, elements) in before.items():
        now = after.get(key)
        if key in REGISTERED or key.removesuffix("._abc_impl") != key:
            continue
        if now is None or now[0] is not value:
            found.append(f"{key} was replaced")
        elif elements is not None and not _same(elements, now[1]):
            found.append(f"{key} has other elements")
    return found


def _same(one: list, other: list) -> bool:
    def flat(entry: Any) -> tuple:
        return entry if isinstance(entry, tuple) else (entry,)

    pairs = zip(one, other, strict=True) if len(one) == len(other) else [((), (None,))]
    return all(
        len(flat(a)) == len(flat(b)) and all(x is y for x, y in zip(flat(a), flat(b), strict=True)) for a, b in pairs
    )


def measure_here() -> dict[str, Any]:
    """One measurement in this process, which must be fresh."""
    host = inprocess.find_host()
    if host is None:
        sys.exit(inprocess.NO_HOST)
    inprocess.prepare_host(host, cpu=True)
    for name in ("server", "execution", "comfy_api.latest", "comfy_config.config_parser"):
        importlib.import_module(name)  # what ComfyUI has loaded by the time it comes to custom nodes
    inprocess.host_nodes()
    before, modules = snapshot(), set(sys.modules)
    gc.collect()
    gc.freeze()  # our own snapshot is large, and walking it is no part of the import
    wall, cpu = time.perf_counter(), time.process_time()
    inprocess.load_pack()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ours = inprocess.pack_name()
    foreign = sorted(name for name in set(sys.modules) - modules if not name.startswith(ours))
    return {"seconds": wall, "cpu_seconds": cpu, "modules": foreign, "changes": changes(before, snapshot())}


def measure(runs: int = 1) -> list[dict[str, Any]]:
    """`runs` measurements, each in a fresh process.

    Compiled modules are kept, as Python does on a person's machine, whatever this process was told: the first run after
    a change compiles what changed, which takes as long again as all the rest.
    """
    command = inprocess.tool_command("tools.import_time", "--one")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": ""}
    found = []
    for _ in range(runs):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(f"importing the pack failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def listed_seconds(log: str) -> float | None:
    """Our line of the host's own "Import times" list; None if it is not there or the import failed."""
    found = re.search(r"([\d.]+) seconds: \S*[\\/]sketchsynth\s*$", log, re.MULTILINE)
    return float(found[1]) if found else None


def measure_host(runs: int) -> list[float | None]:
    """Start the real host `runs` times and read its list (it prints tenths of a second)."""
    from runtime.comfy_server import ComfyServer

    found = []
    for _ in range(runs):
        base = Path(tempfile.mkdtemp(prefix="sketchsynth-import-"))
        with ComfyServer(Path(sys.executable), Path(os.environ["COMFYUI_PATH"]), base, cpu=True) as server:
            found.append(listed_seconds(server.log_text()))
        shutil.rmtree(base, ignore_errors=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="import_time", description=__doc__)
    parser.add_argument(
        "--host", action="store_true", help="read the real host's list instead, from as many fresh starts"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_here()))
        return 0
    if options.host:
        listed = measure_host(options.runs)
        print(f"the host lists {listed}, median {statistics.median(one for one in listed if one is not None)}")
        return 0
    found = measure(options.runs)
    for key in ("seconds", "cpu_seconds"):
        values = [one[key] for one in found]
        print(f"{key}: median {statistics.median(values):.3f} of {[round(value, 3) for value in values]}")
    print(f"modules outside the pack: {', '.join(found[0]['modules']) or 'none'}")
    print(f"changes to the host: {', '.join(found[0]['changes']) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
