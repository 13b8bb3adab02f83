"""Pruning on the starter world, a part of `python3 dev/run.py evidence`.

Are the best of many, chosen on the way, as good as the best of many that were all finished?
"""

from __future__ import annotations

from typing import Any

from evidence import inversion
from evidence.inversion import FIRST, Pairs, executed
from evidence.page import Page, Store
from runtime import inprocess

MANY, FEW = 8, 2
T0, STEPS = 0.9, 20
DIALS = {"ranking only": 0.05, "steering": 0.5}  # of both energies: hardly felt, or as usual
CUTS = (0.4, 0.7)  # the node's own
MOST = 12  # sketches
NAMES = {"all": (MANY, MANY), "four": (4, 4), "pruned": (MANY, FEW)}  # how many begin and how many are finished
DECIDES = (*inversion.DECIDES, "guidance/scaling.py", "samplers/again.py", "samplers/prune.py")


class Variants:
    """Variants of each sketch under a shape and an appearance energy, ranked by them."""

    def __init__(self, lab: Any, held: Pairs) -> None:
        self.lab, self.held = lab, held
        self.inversion, self.walks = inprocess.room("nodes.inversion"), inprocess.room("nodes.walks")
        self.extractor = inprocess.room("nodes.extractors").load_extractor(inversion.EXTRACTOR)

    def paint(self, number: int, begin: int, keep: int, dial: float) -> Any:
        """[keep,SIDE,SIDE,3], best first: of sketch `number`, of which `begin` variants begin."""
        import comfy.samplers

        lab, here = self.lab, slice(number, number + 1)
        (model,) = executed(
            self.inversion.AppearanceEnergyGuidance,
            **{"model": lab.model, "exemplar": self.held.exemplars[here], "colour_weight": dial, "scale": "auto"},
        )
        model, _, sigmas, latent = executed(
            self.inversion.ShapeInversion,
            **{"model": model, "vae": lab.vae, "sketch": self.held.sketches[here], "extractor": self.extractor},
            **{"t0": T0, "steps": STEPS, "weight": dial, "scale": "auto"},
        )
        euler = comfy.samplers.sampler_object("euler_ancestral")
        (sampler,) = self.walks.SketchPruneSampler.execute(euler, keep, *CUTS).args
        many = {"samples": latent["samples"].repeat(begin, 1, 1, 1)}
        return lab.vae.decode(lab.sample_latent(many, sigmas, sampler, FIRST + number, model)["samples"])


def pruning(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """The table over `count` sketches, measured against `samples` renders."""
    count = min(count, MOST)
    store = Store("evidence_pruning", (count, MANY, FEW, T0, STEPS, DIALS, CUTS), DECIDES)
    if fresh:
        store.forget()
    held = inversion.held_out(count, samples)
    variants = Variants(lab, held)

    def judged(pictures: Any) -> inversion.Result:
        each = len(pictures) // count
        sketches, own, exemplars = (part.repeat_interleave(each, 0) for part in held[:3])
        return Pairs(sketches, own, exemplars, held.references).judge(pictures)

    stops = inprocess.room("samplers.prune").cuts(STEPS, MANY, FEW, *CUTS)
    begins, sizes = [0, *(step for step, _ in stops)], [MANY, *(left for _, left in stops)]
    calls = sum(size * (end - begin) for size, begin, end in zip(sizes, begins, [*begins[1:], STEPS], strict=True))
    rows, listed, shown = [], [*held.sketches[:6], *held.exemplars[:6]], min(6, count)
    for kind, dial in DIALS.items():
        found = {}
        for name, (begin, keep) in NAMES.items():
            made = store.get(
                f"{name}, {kind}",
                count * keep,
                lambda a, b, n=begin, k=keep, dial=dial: variants.paint(a // k, n, k, dial),
                batch=keep,
            )
            found[name] = made.unflatten(0, (count, keep))
        rows += [
            [f"{kind}: {name}", cost, *judged(pictures.flatten(0, 1))]
            for name, cost, pictures in (
                ("two, not chosen (mean of eight)", FEW * STEPS, found["all"]),
                ("best two of four", 4 * STEPS, found["four"][:, :FEW]),
                ("eight begun, pruned to two", calls, found["pruned"]),
                ("best two of eight", MANY * STEPS, found["all"][:, :FEW]),
            )
        ]
        listed += [*found["pruned"][:6, 0], *found["all"][:6, 0], *found["all"][:6, -1]]
    page.numbers |= {row[0]: dict(zip(("calls", *inversion.Result._fields), row[1:], strict=True)) for row in rows}
    page.text(
        "## Pruning: many variants, the best finished",
        f"{count} of the pairs above, each in {MANY} variants from t0 {T0} in {STEPS} steps of `euler_ancestral`, "
        "under a Shape Energy and an Appearance Energy. Two are wanted, ranked by these energies. Pruned: Prune "
        f"Sampler as it comes. Ranking only: dials of {DIALS['ranking only']}; steering: {DIALS['steering']}. Model "
        "calls: pictures times steps. The judges are none of the energies.",
    )
    page.table(["", "model calls", *inversion.HEADS], rows)
    named = [f"{kind}: {name}" for kind in DIALS for name in ("pruned, best", "best of eight", "worst of eight")]
    page.sheet("pruning", listed, columns=shown, rows=["sketch", "exemplar", *named])
