"""`python3 dev/run.py evidence [PART...] [--pairs N] [--quick] [--fresh] [--output DIR]`: the papers' claims.

All of it on the starter world, sampled in the real host with the pack's own nodes, batch by batch; each finished batch
is kept in the cache folder, so an interrupted run goes on where it stopped; only a change of weights or sampling code
starts again.
Writes DIR/EVIDENCE.md and the pictures in DIR/evidence (docs/ unless told otherwise; --quick, a smoke run, never writes
there).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from evidence import (
    colours,
    dials,
    diffsketching,
    gan,
    gradop,
    inversion,
    paint2pix,
    pruning,
    regions,
    retrieval,
    sdedit,
    upscaler,
)
from evidence.page import Page
from evidence.sdedit import Lab, Plan
from runtime import inprocess
from runtime.provision import say

PACK = inprocess.PACK
FULL = Plan(1000, 3, 100, tuple(round(0.1 * i, 1) for i in range(1, 10)), (1, 2, 3), 8, 16, True, regions.CASES)
QUICK = Plan(24, 2, 8, (0.2, 0.5, 0.8), (1, 2), 1, 2, False, 4)

# Each part writes on its page with what `lab` samples, as much as `plan` says; the last word forgets kept batches.
PARTS: dict[str, Callable[[Lab, Plan, Page, bool], None]] = {
    "sdedit": sdedit.sdedit,
    "inversion": lambda lab, plan, page, fresh: inversion.pairs(lab, page, plan.strokes, plan.samples, fresh),
    "dials": lambda lab, plan, page, fresh: dials.dials(lab, page, plan.strokes, plan.samples, fresh),
    "latent_dials": lambda lab, plan, page, fresh: dials.latent_dials(page, plan.strokes, plan.samples, fresh),
    "pruning": lambda lab, plan, page, fresh: pruning.pruning(lab, page, plan.strokes, plan.samples, fresh),
    "gradop": lambda lab, plan, page, fresh: gradop.pairs(page, plan.strokes, fresh),
    "regions": lambda lab, plan, page, fresh: regions.regions(page, plan.cases, fresh),
    "colours": lambda lab, plan, page, fresh: colours.colours(page, plan.cases, fresh),
    "gan": lambda lab, plan, page, fresh: gan.pairs(lab, page, plan.strokes, plan.samples, fresh),
    "diffsketching": lambda lab, plan, page, fresh: diffsketching.sketches_and_classes(
        lab, page, plan.strokes, plan.samples, fresh
    ),
    "upscaler": lambda lab, plan, page, fresh: upscaler.upscaler(lab, page, plan.strokes, fresh),
    "finetuning": lambda lab, plan, page, fresh: diffsketching.tuning(
        lab, page, min(diffsketching.TUNED, plan.strokes), plan.samples, fresh
    ),
    "retrieval": lambda lab, plan, page, fresh: retrieval.retrieval(lab, page, plan.samples, plan.samples, fresh),
    "paint2pix": paint2pix.paint2pix,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="evidence", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them if left out")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute or two: its numbers mean nothing")
    parser.add_argument("--pairs", type=int, help="drawings in each part, 100 unless told otherwise")
    parser.add_argument("--fresh", action="store_true", help="forget batches kept from an earlier run")
    parser.add_argument("--output", type=Path, help="where EVIDENCE.md and evidence/ go")
    parser.add_argument("--painter", type=Path, default=paint2pix.WEIGHTS, help="weights on trial, for paint2pix")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part is called {unknown[0]}; there are {', '.join(PARTS)}")
    host = inprocess.find_host()
    if host is None:
        sys.exit(inprocess.NO_HOST)
    inprocess.prepare_host(host)
    inprocess.load_pack()
    import comfy.utils
    import torch

    comfy.utils.PROGRESS_BAR_ENABLED = False  # ours are enough
    plan = QUICK if options.quick else FULL
    plan = plan._replace(strokes=options.pairs) if options.pairs else plan
    output = options.output or (Path(tempfile.mkdtemp(prefix="evidence-")) if options.quick else PACK / "docs")
    parts = {**PARTS, "paint2pix": partial(paint2pix.paint2pix, weights=options.painter)}
    began = time.perf_counter()
    with torch.inference_mode():
        lab = Lab()
        for name in options.parts or PARTS:
            page = Page(output, name)
            parts[name](lab, plan, page, options.fresh)
            page.write(tuple(PARTS))
            say(f"{output / 'EVIDENCE.md'}: part {name}, {time.perf_counter() - began:.0f} s so far")
    return 0


if __name__ == "__main__":
    sys.exit(main())
