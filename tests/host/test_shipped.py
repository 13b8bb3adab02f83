"""The registry's archive, unpacked: ComfyUI takes it, and every module in it imports without what stays behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from helpers import PACK
from helpers.host import need_host
from helpers.shipped import shipped

IMPORTS = """
import importlib, sys
from pathlib import Path
sys.path.append(sys.argv[2])
from runtime import inprocess
inprocess.PACK = Path(sys.argv[1])
inprocess.prepare_host(inprocess.find_host())
sys.path.remove(sys.argv[2])
root = inprocess.load_pack()
assert Path(root.__file__).parent == inprocess.PACK
for name in sys.argv[3:]:
    inprocess.room(name)
"""


def test_what_ships_imports_by_itself(tmp_path):
    need_host()
    pack = tmp_path / "sketchsynth"
    files = shipped()
    for path in files:
        if not path.startswith(("starter/weights/", "workflows/")):  # nothing that an import reads
            (pack / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACK / path, pack / path)
    modules = [
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in files if path.endswith(".py")
    ]
    modules.remove("__init__")  # the root, which load_pack imports
    assert {"nodes.sdedit", "training.loop", "host"} <= set(modules)
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(pack), str(PACK / "dev"), *modules],
        cwd=tmp_path,
        env={**os.environ, "COMFYUI_PATH": str(need_host())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
