#!/usr/bin/env python3
"""SketchSynth's one launcher. Needs Python 3.10 or newer and nothing else; it sets up the rest by itself.

Use it:
  python3 dev/run.py demo          set up, run every starter template without a window, write a gallery of results
  python3 dev/run.py ui            open the ComfyUI editor with the pack in it
  python3 dev/run.py models        list the models of models_manifest.json: found, missing, or with a wrong hash
  python3 dev/run.py convert       checkpoint -> .safetensors
  python3 dev/run.py metrics       FID, KID and LPIPS of two folders of pictures
  python3 dev/run.py retrieve      find photos by sketch in any folder; measure it on Sketchy, TU-Berlin, QuickDraw
  python3 dev/run.py train         train the starter's networks, or others on your own pictures

Check and measure it:
  python3 dev/run.py test          set up, run ruff, pyright and all tests (words after it go to one pytest)
  python3 dev/run.py test --host 0.27.0 --frontend newest [...]   the same on another ComfyUI or editor
  python3 dev/run.py coverage      which lines no test runs (words after it go to pytest)
  python3 dev/run.py evidence      measure what the papers claim, and write docs/EVIDENCE.md
  python3 dev/run.py bench         measure cost side by side, and write docs/BENCH.md
  python3 dev/run.py bench_energies, bench_gradop, bench_regions, bench_gan, bench_retrieval, bench_diffsketching,
                    bench_paint2pix   renew their own sections of that page
  python3 dev/run.py bench_batch, bench_batch_servers   the same for `python3 batch`, on stub servers and on real ones
  python3 dev/run.py bench_live    from pen up to picture, in the editor
  python3 dev/run.py fuzz          hostile drawings, model files, training states, prompts and tensors, counted
  python3 dev/run.py soak          many runs and cancelled ones in one server: memory, and the same pictures
  python3 dev/run.py import_time   what importing the pack costs
  python3 dev/run.py families      every method on a tiny model of every family, into docs/MODELS.md

Renew what is made from something else:
  python3 dev/run.py snapshot      tests/schema_snapshot.json, after a deliberate change of a node's inputs
  python3 dev/run.py lock          dev/runtime/locks: every package with its hashes, after a changed pin
  python3 dev/run.py locales       locales/en from the nodes; lists what the translations lack
  python3 dev/run.py templates     workflows/*.json, built in the real editor
  python3 dev/run.py blueprints    subgraphs/*.json, each from a template
  python3 dev/run.py thumbnails    the pictures beside the templates and in the README, after `demo`
  python3 dev/run.py hero          the README's first picture: a painting that comes alive, in the real editor
  python3 dev/run.py template_shots  every template in both renderers, looked at in .shots/ and docs/evidence
  python3 dev/run.py help_pictures the pictures of the help pages, after `demo`
  python3 dev/run.py make_samples  the drawings in starter/samples
  python3 dev/run.py make_photos   the photos and line drawings there

The set-up goes into a cache folder (SKETCHSYNTH_CACHE chooses another one); COMFYUI_PATH uses an installed ComfyUI,
with COMFYUI_PYTHON where its Python is not beside it.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

DEV = Path(__file__).resolve().parent
if str(DEV) not in sys.path:  # with PYTHONSAFEPATH
    sys.path.insert(0, str(DEV))
from runtime.provision import StepFailed, provide, say  # noqa: E402
from runtime.testing import test  # noqa: E402

PACK = DEV.parent
TOOLS = {
    "demo": "tools.demo",
    "ui": "tools.ui",
    "models": "tools.models",
    "convert": "tools.convert",
    "metrics": "tools.metrics",
    "retrieve": "tools.retrieve",
    "train": "tools.train",
    "coverage": "tools.line_coverage",
    "fuzz": "tools.fuzz",
    "soak": "tools.soak",
    "import_time": "tools.import_time",
    "families": "tools.families",
    "snapshot": "tools.snapshot",
    "lock": "tools.lock",
    "locales": "tools.locales",
    "evidence": "evidence.all",
    "bench": "bench.walk",
    "bench_energies": "bench.energies",
    "bench_gradop": "bench.gradop",
    "bench_regions": "bench.regions",
    "bench_gan": "bench.gan",
    "bench_paint2pix": "bench.paint2pix",
    "bench_diffsketching": "bench.diffsketching",
    "bench_retrieval": "bench.retrieval",
    "bench_batch": "bench.batch",
    "bench_batch_servers": "bench.batch_servers",
    "bench_live": "bench.live",
    "templates": "templates.build",
    "blueprints": "templates.blueprints",
    "thumbnails": "templates.thumbnails",
    "hero": "templates.hero",
    "template_shots": "templates.shots",
    "help_pictures": "templates.help_pictures",
    "make_samples": "templates.make_samples",
    "make_photos": "templates.make_photos",
}
INSIDE = "--inside"  # not for people: this Python is the environment's own, the next word is a module of dev/


def tool(module: str, words: list[str]) -> int:
    """Run a module of dev/ with the environment's Python. Returns its exit code."""
    place = provide()
    command = [str(place.python), __file__, INSIDE, module, *words]
    return subprocess.run(command, cwd=PACK, env=place.environment(), check=False).returncode


def main() -> int:
    command, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if command == INSIDE:
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)  # alter_sys: its worker processes find it
        return 0
    try:
        if command == "test":
            return test(words)
        if command in TOOLS:
            return tool(TOOLS[command], words)
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
