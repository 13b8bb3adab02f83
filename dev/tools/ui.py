"""`python3 dev/run.py ui [--port N]`: ComfyUI's editor with the pack in it, until Ctrl+C.

Models, inputs and results live in the `home` folder of the cache, or, with COMFYUI_PATH, in that ComfyUI's own
folders of models; whatever is drawn or made stays there from one start to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import webbrowser
from pathlib import Path

from runtime.comfy_server import ComfyServer, ServerDied, cpu_flags
from runtime.provision import home
from tools.demo import models_folder


def first_settings(base: Path) -> None:
    """In a home that is new, the editor lists templates from A to Z: ComfyUI lists those of packs as the disk does."""
    path = base / "user" / "default" / "comfy.settings.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"Comfy.Templates.SortBy": "alphabetical"}), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="ui", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8188, help="default 8188, ComfyUI's own")
    parser.add_argument("--no-window", action="store_true", help="do not open a browser window")
    options = parser.parse_args()
    base, models = home(), models_folder()
    models.mkdir(parents=True, exist_ok=True)
    first_settings(base)
    python, comfyui = Path(sys.executable), Path(os.environ["COMFYUI_PATH"])
    own = models == base / "models"
    flags = ("--disable-api-nodes", "--preview-method", "auto", *cpu_flags())
    print(f"starting ComfyUI in {base} ...", flush=True)
    try:
        with ComfyServer(
            python, comfyui, base, models=None if own else models, port=options.port, flags=flags
        ) as server:
            print(
                f"\n  {server.address}\n\nTemplates > Extensions > sketchsynth. Models: {models}. Ctrl+C ends it.",
                flush=True,
            )
            if not options.no_window:
                webbrowser.open(server.address)
            assert server.process is not None
            server.process.wait()
    except KeyboardInterrupt:
        print("\nended")
    except ServerDied as failure:
        print(failure)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
