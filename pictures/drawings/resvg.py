"""Rendering SVG with resvg (the package resvg_py), in a process of its own with little time, memory and no files.

resvg is native code: a stack overflow in it would end the whole server, and it cannot be interrupted. A process costs
about 30 ms.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image

PACKAGE = "resvg-py"
SECONDS = 60  # of processor time, and twice as many by the clock
MEMORY = 6 << 30  # bytes of address space; 8192 x 8192 pixels with a few transparent layers need about 2 GB
_CHILD = Path(__file__).with_name("resvg_child.py")
_ADVICE = "Simplify it, or export it as PNG in your drawing program."


def available() -> Path:
    """The folder that holds the package resvg_py. ValueError, with the line that installs it, where there is none."""
    try:
        import resvg_py
    except ImportError as error:
        raise ValueError(
            f"SVG drawings need the package {PACKAGE}, which is not installed ({error}). Install it with\n"
            f'"{sys.executable}" -m pip install {PACKAGE}\n'
            "and restart ComfyUI, or export the drawing as PNG."
        ) from error
    return Path(resvg_py.__file__).parent.parent


def render(svg: str, seconds: int = SECONDS, memory: int = MEMORY) -> Image.Image:
    """The RGBA picture of a whole SVG document, as large as its width and height say.

    No fonts are read. Raises ValueError if the drawing needs more than `seconds` of processor time or `memory` bytes
    (as far as the system can limit them), or if resvg refuses it.
    """
    command = [sys.executable, "-I", "-S", str(_CHILD), str(available()), str(seconds), str(memory)]
    try:
        done = subprocess.run(
            command,
            input=svg.encode("utf-8", "replace"),
            capture_output=True,
            timeout=2 * seconds,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"drawing it took more than {2 * seconds} seconds. {_ADVICE}") from error
    except OSError as error:
        raise ValueError(f"the program that draws SVG could not be started ({error}).") from error
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode == 3:
        raise ValueError(f"it cannot be drawn ({said[:200]}). Save it again, or export it as PNG.")
    if done.returncode or not done.stdout:
        raise ValueError(
            f"drawing it needs more than {seconds} seconds of processor time or {memory >> 20} MB of memory, or it is "
            f"nested too deeply. {_ADVICE}"
        )
    picture = Image.open(io.BytesIO(done.stdout), formats=["PNG"])
    picture.load()
    return picture.convert("RGBA")
