"""GradOP's claim on the starter world, a part of `python3 dev/run.py evidence`.

Strokes and captions of held-out scenes on the text-conditioned starter: how faithful results are to the painting, and
how near to what the model paints for the same words alone. Image to image trades one for the other along a curve, by
its strength; GradOP and GradOP+ are said to lie above that curve.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from evidence.page import Page, Store
from runtime import inprocess

FIRST = 10_500_000  # seeds of the painted scenes
SIDE, STEPS, CFG = 128, 20, 4.0
STRENGTHS = (0.2, 0.35, 0.5, 0.65, 0.8)
REPEATED = ((0.35, 2), (0.35, 3))  # strength, walks
ROUNDS = (1, 2, 3, 4, 5)
LATER = ((0.7, 5), (0.6, 5))  # strength, rounds
FINE = 7 * SIDE / 512  # sigma in pixels of the published painter in proportion; the node's own is a latent pixel's size
OWN = "the same, strength 0.7, the node's own painter"
LATE = "the same, later"
FASTER = "and learning rate 0.2"
MANY = 8  # rounds
AGAIN = (0.5, 0.7)  # GradOP's strength: how much of the walk is done again
ALONE = 3  # pictures of the words alone for every caption
FEW = 4  # every so many pictures are painted over with strokes, which takes half a second each
DECIDES = (
    *("host.py", "nodes/gradop.py", "nodes/starter.py", "nodes/sdedit.py", "networks/taesd.py", "networks/text.py"),
    *("samplers/gradop.py", "samplers/canvas.py", "samplers/window.py", "samplers/levels.py", "samplers/repeat.py"),
    *("guidance/decoders.py", "guidance/noise.py", "networks/frozen.py", "pictures/fit.py", "pictures/painters.py"),
    *("starter/world.py", "starter/noise.py", "starter/weights/text.safetensors", "starter/weights/vae.safetensors"),
)


class Result(NamedTuple):
    """One way, judged over all pairs."""

    blurred: float
    strokes: float
    alone: float
    renders: float


HEADS = ("painting, blurred", "painting, as strokes", "distance to words alone", "distance to renders")


class TextLab:
    """The text-conditioned starter in the host, and the nodes to walk with."""

    def __init__(self) -> None:
        starter = inprocess.room("nodes.starter")
        self.model, self.clip, self.vae = starter.SketchStarterModels.execute(*starter.SETS).args[:3]
        self.sdedit, self.gradop = inprocess.room("nodes.sdedit"), inprocess.room("nodes.gradop")

    def prompts(self, texts: list[str]) -> list:
        """CONDITIONING of as many prompts as the batch has pictures."""
        import torch

        found = [self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text)) for text in texts]
        return [[torch.cat([one[0][0] for one in found]), {}]]

    def schedule(self) -> Any:
        from comfy.samplers import calculate_sigmas

        return calculate_sigmas(self.model.get_model_object("model_sampling"), "normal", STEPS)

    def walk(self, positive: list, sampler: Any, sigmas: Any, latent: Any, seed: int, model: Any = None) -> Any:
        """SamplerCustom and VAE decode; the negative prompt is empty."""
        from comfy_extras.nodes_custom_sampler import SamplerCustom

        nothing = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(""))
        settings = (model or self.model, True, seed, CFG, positive, nothing, sampler, sigmas, {"samples": latent})
        return self.vae.decode(SamplerCustom.execute(*settings).args[0]["samples"]).cpu()

    def empty(self, count: int) -> Any:
        import torch

        return torch.zeros(count, 4, SIDE // 8, SIDE // 8)


class Ways(NamedTuple):
    """Every way from strokes and captions to pictures a..b."""

    lab: TextLab
    paintings: Any
    captions: list[str]

    def euler(self) -> Any:
        from comfy.samplers import sampler_object

        return sampler_object("euler")

    def alone(self, a: int, b: int) -> Any:
        """Pictures of the words alone, again and again through all captions, from seeds that no painting has."""
        said = [self.captions[i % len(self.captions)] for i in range(a, b)]
        lab = self.lab
        return lab.walk(lab.prompts(said), self.euler(), lab.schedule(), lab.empty(b - a), FIRST + 10_000 + a)

    def image_to_image(self, a: int, b: int, strength: float, repeats: int = 1) -> Any:
        """SDEdit on a latent model: the painting encoded, noised to `strength` of the model's own time, and walked."""
        lab = self.lab
        guide = lab.vae.encode(self.paintings[a:b])
        settings = (strength, "this model's own time", STEPS, FIRST + a)
        sigmas = lab.sdedit.NoiseToT0.execute(lab.model, {"samples": guide}, *settings).args[0]
        (sampler,) = lab.sdedit.SketchRepeatSampler.execute(self.euler(), repeats).args
        return lab.walk(lab.prompts(self.captions[a:b]), sampler, sigmas, guide, FIRST + a)

    def gradop(
        self,
        a: int,
        b: int,
        variant: str,
        rounds: int = 3,
        strength: float = 0.8,
        steps: int = 12,
        blur: float = FINE,
        rate: float = 0.1,
    ) -> Any:
        lab = self.lab
        settings = (variant, strength, rounds, steps, rate, "gaussian", blur, "auto", 0.001, 6)
        (solver,) = lab.gradop.GradOpSolve.execute(lab.vae, self.paintings[a:b], *settings).args
        return lab.walk(lab.prompts(self.captions[a:b]), solver, lab.schedule(), lab.empty(b - a), FIRST + a)


def everything(ways: Ways, store: Store, count: int) -> dict[str, dict[str, Any]]:
    """Families of ways: {family: {row: pictures}}."""
    gradop = inprocess.room("samplers.canvas")

    def made(name: str, make: Callable[[int, int], Any]) -> Any:
        return store.get(name, count, make)

    return {
        "SDEdit": {
            f"strength {s}": made(f"sdedit {s}", lambda a, b, s=s: ways.image_to_image(a, b, s)) for s in STRENGTHS
        },
        "SDEdit repeated": {
            f"strength {s}, K = {k}": made(f"sdedit {s} {k}", lambda a, b, s=s, k=k: ways.image_to_image(a, b, s, k))
            for s, k in REPEATED
        },
        "GradOP": {
            f"strength {s}": made(
                f"gradop {s}", lambda a, b, s=s: ways.gradop(a, b, gradop.TWO_WALKS, strength=s, steps=50)
            )
            for s in AGAIN
        },
        "GradOP+ as released": {
            f"rounds {k}": made(f"plus {k}", lambda a, b, k=k: ways.gradop(a, b, gradop.PLUS, k)) for k in ROUNDS[::2]
        },
        "GradOP+ on the predicted image": {
            f"rounds {k}": made(f"predicted {k}", lambda a, b, k=k: ways.gradop(a, b, gradop.PREDICTED, k))
            for k in ROUNDS
        },
        LATE: {
            f"strength {s}, rounds {k}": made(
                f"predicted {s} {k}", lambda a, b, s=s, k=k: ways.gradop(a, b, gradop.PREDICTED, k, s)
            )
            for s, k in LATER
        },
        OWN: {
            f"rounds {k}": made(f"broad {k}", lambda a, b, k=k: ways.gradop(a, b, gradop.PREDICTED, k, 0.7, blur=0.0))
            for k in (*ROUNDS, MANY)
        },
        FASTER: {
            f"rounds {k}": made(
                f"faster {k}", lambda a, b, k=k: ways.gradop(a, b, gradop.PREDICTED, k, 0.7, blur=0.0, rate=0.2)
            )
            for k in ROUNDS
        },
    }


def above(row: Result, curve: list[Result]) -> float | None:
    """How much nearer to the words alone a result is than image to image at the same faithfulness (between two of its
    strengths, a straight line); None outside its range."""
    for a, b in pairwise(sorted(curve, key=lambda one: one.blurred)):
        if a.blurred <= row.blurred <= b.blurred:
            share = (row.blurred - a.blurred) / max(b.blurred - a.blurred, 1e-9)
            return a.alone + share * (b.alone - a.alone) - row.alone
    return None


def chart(rows: dict[str, dict[str, Result]]) -> Any:
    """Families of ways as lines. Left out: repeated SDEdit, which lies on SDEdit's own, and two rows off the others."""
    charts = inprocess.room("pictures.charts")
    shown = {family: found for family, found in rows.items() if family not in ("SDEdit repeated", LATE)}
    names = ("SDEdit", "GradOP", "GradOP+ released", "predicted", "own painter", "rate 0.2")
    series = [
        charts.Series(name, [(row.blurred, row.alone) for row in sorted(found.values())])
        for name, found in zip(names, shown.values(), strict=True)
    ]
    return charts.line_chart(
        series,
        title="Faithful and in the prompt's own domain: down and to the left",
        x_label="rms between the painting and the result painted over",
        y_label="distance to the words alone, sd",
        size=(960, 560),
    )


def tell(page: Page, rows: dict[str, dict[str, Result]], bounds: dict[str, Result], count: int, alone: int) -> None:
    """The table of all ways, and how many of each family lie above SDEdit's curve. alone: pictures of words alone."""
    from safetensors import safe_open

    with safe_open(str(inprocess.PACK / "starter/weights/text.safetensors"), "pt") as file:
        minutes = file.metadata().get("minutes")
    page.text(
        "## GradOP: a painting and a prompt",
        f"{count} stroke paintings of held-out scenes with their captions, {SIDE} px, on the text-conditioned starter "
        f"({minutes} minutes of training on one core): {STEPS} steps of `euler`, cfg {CFG}. GradOP+ with 12 gradient "
        "steps per round and strength 0.8, GradOP with 50; decoder auto. The painter is the published Gaussian "
        f"scaled in proportion, {FINE:g} px, or the node's default, which is never finer than 7/8 of a latent pixel: "
        "7 px here, the size published for 512 px. Faithfulness: rms between the painting and the simplified result, "
        f"simplified by a Gaussian of {FINE:g} px and by the stroke simulation (median filter and six colours, on "
        f"every fourth picture), which is not used as a loss. Realism: distance (as above) to {alone} pictures "
        "of the same words alone, and to the paintings' photos. Lower is better everywhere.",
    )
    lines: list[list] = []
    for family, found in rows.items():
        for name, row in found.items():
            gain = above(row, list(rows["SDEdit"].values())) if family != "SDEdit" else None
            lines.append([f"{family}, {name}", *row, "" if gain is None else f"{gain:+.3f}"])
    page.table(["", *HEADS, "above SDEdit's curve by"], lines + [[name, *row, ""] for name, row in bounds.items()])
    gains = {
        family: [above(row, list(rows["SDEdit"].values())) for row in found.values()]
        for family, found in rows.items()
        if family != "SDEdit"
    }
    page.text(
        *(
            f"{family}: above SDEdit's curve in {sum(g is not None and g > 0 for g in found)} of {len(found)} rows"
            + (f", {sum(g is None for g in found)} outside its range." if None in found else ".")
            for family, found in gains.items()
        )
    )


def show(page: Page, paintings: Any, alone: Any, results: Any, captions: list[str], shown: int) -> None:
    """The first paintings and what some of the ways make of them."""
    listed = {
        "words alone": alone,
        "SDEdit 0.35": results["SDEdit"]["strength 0.35"],
        "SDEdit 0.5": results["SDEdit"]["strength 0.5"],
        "SDEdit 0.8": results["SDEdit"]["strength 0.8"],
        "GradOP 0.7": results["GradOP"]["strength 0.7"],
        "GradOP+ released, 3": results["GradOP+ as released"]["rounds 3"],
        "GradOP+ predicted, 3": results["GradOP+ on the predicted image"]["rounds 3"],
        "the same, 0.7, 5": results[LATE]["strength 0.7, rounds 5"],
        "own painter, 5": results[OWN]["rounds 5"],
        "and rate 0.2, 3": results[FASTER]["rounds 3"],
    }
    pictures = [*paintings[:shown], *[p for found in listed.values() for p in found[:shown]]]
    page.sheet("gradop_examples", pictures, columns=shown, rows=["painting", *listed])
    page.text("The prompts, from left to right:", *(f"{i + 1}. {c}" for i, c in enumerate(captions[:shown])))


def pairs(page: Page, count: int, fresh: bool) -> None:
    """The table and the chart over `count` pairs of a painting and a prompt."""
    import numpy as np
    import torch

    settings = (count, SIDE, STEPS, CFG, ALONE, 1)
    store = Store("evidence_gradop", settings, DECIDES)
    if fresh:
        store.forget()
    world = inprocess.room("starter.world").World(SIDE)
    scenes = [world.render(FIRST + i) for i in range(count)]

    def stacked(part: str) -> Any:
        return torch.from_numpy(np.stack([getattr(scene, part) for scene in scenes])).float() / 255

    photos, paintings = stacked("image"), store.get("paintings", count, lambda a, b: stacked("strokes")[a:b], count)
    ways = Ways(TextLab(), paintings, [scene.caption for scene in scenes])
    alone = store.get("alone", (ALONE + 1) * count, ways.alone)
    alone, other = alone[: ALONE * count], alone[ALONE * count :]
    results = everything(ways, store, count)
    measures, painters = inprocess.room("pictures.measures"), inprocess.room("pictures.painters")
    blur = painters.Painter()

    def blurred(pictures: Any) -> Any:
        return blur(pictures.movedim(-1, 1), 1.0).movedim(1, -1)

    drawn = painters.simulate_strokes(paintings[::FEW])

    def judge(pictures: Any) -> Result:
        return Result(
            measures.painted_distance(pictures, paintings, blurred).mean().item(),
            measures.painted_distance(pictures[::FEW], drawn, painters.simulate_strokes).mean().item(),
            measures.patch_distance(pictures, alone).mean,
            measures.patch_distance(pictures, photos).mean,
        )

    rows = {family: {name: judge(pictures) for name, pictures in found.items()} for family, found in results.items()}
    bounds = {
        "(the paintings themselves)": judge(paintings),
        "(the words alone, other seeds)": judge(other),
        "(the paintings' own photos)": judge(photos),
    }
    page.numbers |= {family: {name: row._asdict() for name, row in found.items()} for family, found in rows.items()}
    tell(page, rows, bounds, count, len(alone))
    page.chart("gradop", chart(rows))
    show(page, paintings, alone, results, ways.captions, min(8, count))
