"""Dials against published weights on the starter world, a part of `python3 dev/run.py evidence`.

Shape energy, appearance energy, and Inversion-by-Inversion with both, at 25 steps and at few.
"""

from __future__ import annotations

from typing import Any

from evidence import inversion
from evidence.inversion import COLOUR, FIRST, GRID, LIMIT, REPEATS, SHAPE, T0, Pairs
from evidence.page import Page, Store
from runtime import inprocess

MOST = 50  # pairs
DIAL = 0.5  # of both energies with auto: their default
INNER = 4  # inner steps where there are few steps
STEPS = (25, 8, 4)
DECIDES = (*inversion.DECIDES, "guidance/scaling.py")


class Scaled:
    """Inversion-by-Inversion's stages as a graph has them, with either scale."""

    def __init__(self, lab: Any, held: Pairs) -> None:
        self.lab, self.held = lab, held
        self.doors = inprocess.room("nodes.inversion")
        self.extractor = inprocess.room("nodes.extractors").load_extractor(inversion.EXTRACTOR)

    def stage(
        self, a: int, b: int, scale: str, steps: int, seed: int, *, shape: bool, colour: bool, latent: Any = None
    ) -> dict[str, Any]:
        lab, auto = self.lab, scale == "auto"
        shared = {"scale": scale, "inner_steps": INNER if steps < STEPS[0] else 1, "limit": LIMIT}
        model = lab.model
        if colour:
            weight = DIAL if auto else COLOUR
            model = executed(
                self.doors.AppearanceEnergyGuidance,
                **{"model": model, "exemplar": self.held.exemplars[a:b], "colour_weight": weight, "grid": GRID},
                **shared,
            )[0]
        weight = (DIAL if auto else SHAPE) if shape else 0.0
        model, sampler, sigmas, begin = executed(
            self.doors.ShapeInversion,
            **{"model": model, "vae": lab.vae, "sketch": self.held.sketches[a:b], "extractor": self.extractor},
            **{"weight": weight, "t0": T0, "steps": steps, "repeats": REPEATS if latent else 1, "latent": latent},
            **shared,
        )
        return {"samples": lab.sample_latent(begin, sigmas, sampler, seed, model)["samples"]}

    def picture(self, latent: dict[str, Any]) -> Any:
        return self.lab.vae.decode(latent["samples"])

    def lines(self, a: int, b: int, scale: str, steps: int) -> Any:
        return self.picture(self.stage(a, b, scale, steps, FIRST + a, shape=True, colour=False))

    def colours(self, a: int, b: int, scale: str, steps: int) -> Any:
        return self.picture(self.stage(a, b, scale, steps, FIRST + a, shape=False, colour=True))

    def whole(self, a: int, b: int, scale: str, steps: int) -> Any:
        first = self.stage(a, b, scale, steps, FIRST + a, shape=True, colour=False)
        return self.picture(self.stage(a, b, scale, steps, FIRST + a + 1, shape=True, colour=True, latent=first))


def executed(node: Any, **inputs: Any) -> tuple[Any, ...]:
    """The outputs of a node, with its defaults for what is not given: of a choice, the first one."""
    usual = {}
    for one in node.define_schema().inputs:
        default = getattr(one, "default", None)
        usual[one.id] = one.options[0] if default is None and getattr(one, "options", None) else default
    return node.execute(**{**usual, **inputs}).args


def dials(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """The table over `count` pairs, measured against `samples` renders."""
    count = min(count, MOST)
    store = Store("evidence_dials", (count, STEPS, T0, DIAL, SHAPE, COLOUR, GRID, REPEATS, INNER), DECIDES)
    if fresh:
        store.forget()
    held = inversion.held_out(count, samples)
    scaled = Scaled(lab, held)
    ways = {
        **{(name, STEPS[0]): make for name, make in (("shape", scaled.lines), ("colours", scaled.colours))},
        **{("whole", steps): scaled.whole for steps in STEPS},
    }
    rows, pictures = [], {}
    for (name, steps), make in ways.items():
        for scale in ("published", "auto"):
            key = f"{name}, {steps} steps, {scale}"
            pictures[key] = store.get(
                key, count, lambda a, b, make=make, scale=scale, steps=steps: make(a, b, scale, steps)
            )
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
