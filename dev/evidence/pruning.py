"""Pruning on the starter world, a part of `python3 dev/run.py evidence`.

Are the best of many, chosen on the way, as good as the best of many that were all finished?
"""

from __future__ import annotations

from typing import Any

from evidence import inversion
from evidence.dials import executed
from evidence.inversion import FIRST, Pairs
from evidence.page import Page, Store
from runtime import inprocess

MANY, FEW = 8, 2
T0, STEPS, DIAL = 0.9, 20, 0.5
MOST = 24  # sketches: each is painted three times as many times as MANY
NAMES = {"all": (MANY, MANY), "four": (4, 4), "pruned": (MANY, FEW)}  # how many begin and how many are finished
DECIDES = (*inversion.DECIDES, "guidance/scaling.py", "samplers/again.py", "samplers/prune.py")


class Variants:
    """Variants of each sketch under a shape and an appearance energy, ranked by them."""

    def __init__(self, lab: Any, held: Pairs) -> None:
        self.lab, self.held = lab, held
        self.inversion, self.walks = inprocess.room("nodes.inversion"), inprocess.room("nodes.walks")
        self.extractor = inprocess.room("nodes.extractors").load_extractor(inversion.EXTRACTOR)

    def paint(self, number: int, begin: int, keep: int) -> Any:
        """[keep,SIDE,SIDE,3], best first: of sketch `number`, of which `begin` variants begin."""
        import comfy.samplers

        lab, here = self.lab, slice(number, number + 1)
        (model,) = executed(
            self.inversion.AppearanceEnergyGuidance,
            **{"model": lab.model, "exemplar": self.held.exemplars[here], "colour_weight": DIAL, "scale": "auto"},
        )
        model, _, sigmas, latent = executed(
            self.inversion.ShapeInversion,
            **{"model": model, "vae": lab.vae, "sketch": self.held.sketches[here], "extractor": self.extractor},
            **{"t0": T0, "steps": STEPS, "weight": DIAL, "scale": "auto"},
        )
        euler = comfy.samplers.sampler_object("euler_ancestral")
        (sampler,) = self.walks.SketchPruneSampler.execute(euler, keep, 0.3, 0.6).args
        many = {"samples": latent["samples"].repeat(begin, 1, 1, 1)}
        return lab.vae.decode(lab.sample_latent(many, sigmas, sampler, FIRST + number, model)["samples"])


def pruning(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """The table over `count` sketches, measured against `samples` renders."""
    count = min(count, MOST)
    store = Store("evidence_pruning", (count, MANY, FEW, T0, STEPS, DIAL), DECIDES)
    if fresh:
        store.forget()
    held = inversion.held_out(count, samples)
    variants = Variants(lab, held)
    found = {
        name: store.get(name, count * keep, lambda a, b, n=begin, k=keep: variants.paint(a // k, n, k), batch=keep)
        for name, (begin, keep) in NAMES.items()
    }

    def judged(pictures: Any) -> inversion.Result:
        each = len(pictures) // count
        sketches, own, exemplars = (part.repeat_interleave(each, 0) for part in held[:3])
        return Pairs(sketches, own, exemplars, held.references).judge(pictures)

    def best(name: str) -> Any:
        keep = NAMES[name][1]
        return found[name].unflatten(0, (count, keep))[:, :FEW].flatten(0, 1)

    stops = inprocess.room("samplers.prune").cuts(STEPS, MANY, FEW, 0.3, 0.6)
    begins, sizes = [0, *(step for step, _ in stops)], [MANY, *(left for _, left in stops)]
    ends = [*begins[1:], STEPS]
    calls = sum(size * (end - begin) for size, begin, end in zip(sizes, begins, ends, strict=True))
    rows = {
        "two, not chosen (mean of the eight)": (FEW * STEPS, judged(found["all"])),
        "best two of four": (4 * STEPS, judged(best("four"))),
        "eight begun, pruned to two": (calls, judged(found["pruned"])),
        "best two of eight": (MANY * STEPS, judged(best("all"))),
    }
    page.numbers |= {name: {"calls": cost, **row._asdict()} for name, (cost, row) in rows.items()}
    page.text(
        "## Pruning: many variants, the best finished",
        f"{count} of the pairs above, each in {MANY} variants from t0 {T0} in {STEPS} steps of `euler_ancestral`, "
        f"under a Shape Energy and an Appearance Energy at dial {DIAL}. Ranked by these energies, two are wanted. "
        "Pruned: Prune Sampler as it comes. Model calls: pictures times steps. The judges are none of the energies.",
    )
    page.table(["", "model calls", *inversion.HEADS], [[name, cost, *row] for name, (cost, row) in rows.items()])
    shown = min(6, count)
    each = {name: pictures.unflatten(0, (count, NAMES[name][1])) for name, pictures in found.items()}
    columns = range(shown)
    listed = [held.sketches[i] for i in columns]
    listed += [held.exemplars[i] for i in columns]
    listed += [each["pruned"][i, k] for k in range(FEW) for i in columns]
    listed += [each["all"][i, -1] for i in columns]
    page.sheet(
        "pruning", listed, columns=shown, rows=["sketch", "exemplar", "pruned: best", "second", "worst of eight"]
    )
