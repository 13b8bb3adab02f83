#!/usr/bin/env python3
"""SketchSynth's one launcher. Needs Python 3.10 or newer and nothing else; it sets up the rest by itself.

Use it:
  python3 dev/run.py demo          set up, run every starter template without a window, write a gallery of results
  python3 dev/run.py ui            open the ComfyUI editor with the pack in it
  python3 dev/run.py models        list the models of models_manifest.json: found, missing, or with a wrong hash
  python3 dev/run.py convert       checkpoint -> .safetensors
  python3 dev/run.py metrics       FID, KID and LPIPS of two folders of pictures
  python3 dev/run.py train         train the starter networks

Check and measure it:
  python3 dev/run.py test          set up, run ruff, pyright and all tests (words after it go to pytest)
  python3 dev/run.py evidence      measure what the papers claim, and write docs/EVIDENCE.md
  python3 dev/run.py bench         measure cost side by side, and write docs/BENCH.md
  python3 dev/run.py bench_energies, bench_gradop, bench_regions, bench_gan   renew their own sections of that page
  python3 dev/run.py import_time   what importing the pack costs

Renew what is made from something else:
  python3 dev/run.py snapshot      tests/schema_snapshot.json, after a deliberate change of a node's inputs
  python3 dev/run.py locales       locales/en from the nodes; lists what the translations lack
  python3 dev/run.py templates     workflows/*.json, built in the real editor
  python3 dev/run.py blueprints    subgraphs/*.json, each from a template
  python3 dev/run.py thumbnails    the pictures beside the templates and in the README, after `demo`
  python3 dev/run.py make_samples  the drawings in starter/samples
  python3 dev/run.py make_photos   the photos and line drawings there

The set-up goes into a cache folder (SKETCHSYNTH_CACHE chooses another one); COMFYUI_PATH uses an installed ComfyUI,
with COMFYUI_PYTHON where its Python is not beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from provision import Place, StepFailed, provide, provide_browser, say, tool_env

PACK = Path(__file__).resolve().parent.parent
DEV = PACK / "dev"


def run_inside(place: Place, words: list[str], extra: dict[str, str] | None = None) -> int:
    """Run the place's Python with these words, in the pack's folder, told where ComfyUI is. Returns its exit code."""
    environment = {**os.environ, "COMFYUI_PATH": str(place.comfyui), "PYTHONUTF8": "1", **(extra or {})}
    if place.ours:
        environment["SKETCHSYNTH_PROVISIONED"] = "1"  # its models folder is ours, not a person's
    return subprocess.run([str(place.python), *words], cwd=PACK, env=environment, check=False).returncode


def tool(name: str, words: list[str]) -> int:
    """A tool of this folder, inside the environment."""
    return run_inside(provide(), [str(DEV / f"{name}.py"), *words])


def test(words: list[str]) -> int:
    """ruff, format, pyright, then pytest with its summary as the last line. All of them run, whatever fails."""
    place = provide(tools=True)
    browser = provide_browser(place)
    # Another interpreter's name in the environment would make pyright look there instead of into ours.
    extra = {**tool_env(), **({"SKETCHSYNTH_CHROMIUM": str(browser)} if browser else {})}
    checks = {
        "ruff": ["-m", "ruff", "check", "."],
        "ruff format": ["-m", "ruff", "format", "--check", "."],
        "pyright": ["-m", "pyright", "--pythonpath", str(place.python)],
    }
    failed = []
    for name, command in checks.items():
        began = time.perf_counter()
        if run_inside(place, command, extra):
            failed.append(name)
        say(f"{name}: {'FAILED' if name in failed else 'ok'}, {time.perf_counter() - began:.1f} s")
    if failed:
        say(f"not clean: {', '.join(failed)} (the tests run all the same)")
    tests = run_inside(place, ["-m", "pytest", *(words or ["-q", "--durations=10"])], extra)
    return tests or int(bool(failed))


def main() -> int:
    command, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    try:
        if command == "test":
            return test(words)
        if (DEV / f"{command}.py").is_file() and command not in ("", "run", "provision"):
            return tool(command, words)
    except StepFailed as failure:
        say(f"\nStopped: {failure}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. The same command goes on from here.")
        return 130
    say(__doc__ or "")
    return 0 if command in ("", "-h", "--help", "help") else 2


if __name__ == "__main__":
    sys.exit(main())
