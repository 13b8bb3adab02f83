"""Dials against published weights on the starter world, a part of `python3 dev/run.py evidence`.

Shape energy, appearance energy, and Inversion-by-Inversion with both, at 25 steps and at few.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from evidence import inversion
from evidence.inversion import COLOUR, GRID, REPEATS, SHAPE, T0
from evidence.page import Page, Store

MOST = 50  # pairs
DIAL = 0.5  # of both energies with auto: their default
INNER = 4  # inner steps where there are few steps
STEPS = (25, 8, 4)
WEIGHTS = {"published": (SHAPE, COLOUR), "auto": (DIAL, DIAL)}  # of shape and colours
DECIDES = (*inversion.DECIDES, "guidance/scaling.py")


def dials(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """The table over `count` pairs, measured against `samples` renders."""
    count = min(count, MOST)
    store = Store("evidence_dials", (count, STEPS, T0, DIAL, SHAPE, COLOUR, GRID, REPEATS, INNER), DECIDES)
    if fresh:
        store.forget()
    held = inversion.held_out(count, samples)
    ways = inversion.Ways(lab, held.sketches, held.exemplars)
    rows, pictures = [], {}
    for name, steps in (("shape", STEPS[0]), ("colours", STEPS[0]), *(("whole", steps) for steps in STEPS)):
        for scale, (shape, colour) in WEIGHTS.items():
            key = f"{name}, {steps} steps, {scale}"
            weights = {"shape": (shape, 0.0), "colours": (0.0, colour), "whole": (shape, colour)}[name]
            how = {"steps": steps, "scale": scale, "inner_steps": INNER if steps < STEPS[0] else 1}
            make = partial(ways.two_stages if name == "whole" else ways.one_stage, **how)
            pictures[key] = store.get(key, count, lambda a, b, make=make, weights=weights: make(a, b, *weights))
            judged = held.judge(pictures[key])
            rows.append([key, *judged])
            page.numbers[key] = judged._asdict()
    page.text(
        "## Dials and published weights",
        f"{count} of the pairs above. Published: shape weight {SHAPE}, colour weight {COLOUR}. Auto: {DIAL} for both, "
        f"the default. Whole: two stages with three runs in all, from t0 {T0}. With {INNER} inner steps at "
        f"{' and '.join(map(str, STEPS[1:]))} steps, one at {STEPS[0]}. Both scales cost the same.",
    )
    page.table(["", *inversion.HEADS], rows)
    shown = min(6, count)
    listed = [*held.sketches[:shown], *held.exemplars[:shown]]
    named = [key for key in pictures if key.startswith("whole")]
    listed += [picture for key in named for picture in pictures[key][:shown]]
    page.sheet("dials", listed, columns=shown, rows=["sketch", "exemplar", *(key[7:] for key in named)])
