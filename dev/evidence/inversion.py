"""Inversion-by-Inversion's claim on the starter world, a part of `python3 dev/run.py evidence`.

Sketches of held-out scenes with exemplar photos of other scenes: the method whole, without each of its parts, and the
baselines that it stands on. Judged by contours, colours and distance to renders, none of which an energy is made of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from evidence.page import Page, Store
from runtime import inprocess

FIRST = 10_300_000  # seeds of the sketched scenes
RENDERS = 10_000_000  # seeds of the renders that results are measured against
SIDE = 64  # all pictures are measured at
EXEMPLARS = 50_000  # seeds after those of the sketched scenes
STEPS, T0 = 25, 0.5
SHAPE, COLOUR, GRID, REPEATS, LIMIT = 1.0, 5.0, 4, 2, 1.0
EXTRACTOR = "starter (built in)"
ILVR_GRID, EGSDE_GRID = 8, 8
ILVR_LEVEL = "matched"
DECIDES = (
    *("host.py", "nodes/inversion.py", "nodes/walks.py", "networks/adm.py", "networks/infodraw.py"),
    *(f"guidance/{room}.py" for room in ("decoders", "energy", "noise", "run", "terms")),
    *(f"pictures/{room}.py" for room in ("edges", "extractors", "fit", "lowpass")),
    "networks/frozen.py",
    *(f"samplers/{room}.py" for room in ("ilvr", "levels", "repeat", "sde")),
    *("starter/world.py", "starter/noise.py", "starter/weights/prior.safetensors"),
    "starter/weights/extractor.safetensors",
)


class Result(NamedTuple):
    """One way, judged over all pairs."""

    contours: float
    palette: float
    low: float
    distance: float


HEADS = ("contours", "palette distance", "4x4 colours, rms", "distance to renders")


def contour_agreement(pictures: Any, sketches: Any) -> Any:
    """[B]: how well the picture's slopes tell the sketch's lines from its paper, 0.5 by chance, 1 at best.

    The area under the ROC curve of the slope of brightness (Sobel, largest of 3x3, since lines are drawn a pixel off):
    independent of contrast, and no part of any energy.
    """
    import torch
    import torch.nn.functional as F

    grey = pictures.mean(-1)[:, None]
    across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])[None, None]
    padded = F.pad(grey, (1,) * 4, mode="replicate")
    slope = (F.conv2d(padded, across).square() + F.conv2d(padded, across.mT).square()).sqrt()
    slope = F.max_pool2d(slope, 3, 1, 1)[:, 0].flatten(1)
    line = (sketches.mean(-1) < 0.5).flatten(1)
    scores = []
    for values, inked in zip(slope, line, strict=True):
        ranks = values.argsort().argsort().float()
        on, off = int(inked.sum()), int((~inked).sum())
        scores.append((ranks[inked].sum() - on * (on - 1) / 2) / max(on * off, 1))
    return torch.stack(scores)


class Pairs(NamedTuple):
    """Sketches, the photos of their own scenes, and exemplars, [N,side,side,3] in [0,1]; renders to measure against."""

    sketches: Any
    own: Any
    exemplars: Any
    references: Any

    def judge(self, pictures: Any, small: Any = None) -> Result:
        """Pictures [N,side,side,3] made of these sketches and exemplars; small: them at the renders' size, if that is
        another one."""
        measures, lowpass = inprocess.room("pictures.measures"), inprocess.room("pictures.lowpass")
        low, wanted = (lowpass.low_pass(p.movedim(-1, 1), grid=GRID) for p in (pictures, self.exemplars))
        return Result(
            contour_agreement(pictures, self.sketches).mean().item(),
            measures.palette_distance(pictures, self.exemplars).mean().item(),
            (low - wanted).square().mean((1, 2, 3)).sqrt().mean().item(),
            measures.patch_distance(pictures if small is None else small, self.references).mean,
        )


def rendered(first: int, part: str, count: int, side: int = SIDE) -> Any:
    """The images or the sketches of `count` scenes, [count,side,side,3] in [0,1]."""
    import numpy as np
    import torch

    world = inprocess.room("starter.world").World(side)
    found = torch.from_numpy(np.stack([getattr(world.render(first + i), part) for i in range(count)])).float() / 255
    return found if found.ndim == 4 else found[..., None].expand(-1, -1, -1, 3).contiguous()


def held_out(count: int, samples: int, side: int = SIDE) -> Pairs:
    """`count` pairs, to be measured against `samples` renders."""
    scenes = (rendered(FIRST, "sketch", count, side), rendered(FIRST, "image", count, side))
    exemplars = rendered(FIRST + EXEMPLARS, "image", count, side)
    return Pairs(*scenes, exemplars, rendered(RENDERS, "image", samples, side))


def executed(node: Any, **inputs: Any) -> tuple[Any, ...]:
    """The outputs of a node, with its defaults for what is not given: of a choice, the first one."""
    usual = {}
    for one in node.define_schema().inputs:
        default = getattr(one, "default", None)
        usual[one.id] = one.options[0] if default is None and getattr(one, "options", None) else default
    return node.execute(**{**usual, **inputs}).args


def kept(count: int) -> Store:
    """Where the pictures of every way over so many pairs are kept."""
    settings = (count, STEPS, T0, SHAPE, COLOUR, GRID, REPEATS, LIMIT, ILVR_GRID, EGSDE_GRID, 3)
    return Store("evidence_inversion", settings, DECIDES)


class Ways:
    """Every way from a sketch and an exemplar to a picture, on the starter prior in the host."""

    def __init__(self, lab: Any, sketches: Any, exemplars: Any) -> None:
        self.lab, self.sketches, self.exemplars = lab, sketches, exemplars
        self.doors, self.walks = inprocess.room("nodes.inversion"), inprocess.room("nodes.walks")
        self.extractor = inprocess.room("nodes.extractors").load_extractor(EXTRACTOR)

    def stage(
        self, a: int, b: int, shape: float, colour: float, latent: Any = None, *, steps: int = STEPS, **scaling: Any
    ) -> dict[str, Any]:
        """One stage as a graph has it: Appearance Energy, Shape Inversion, SamplerCustom; the first one, or what
        follows a latent. scaling: `scale` and `inner_steps` of both energies, if not the published ones."""
        lab, seed = self.lab, FIRST + a + (latent is not None)
        model, sampler, sigmas, begin = executed(
            self.doors.ShapeInversion,
            model=self._coloured(a, b, colour, GRID, **scaling) if colour else lab.model,
            vae=lab.vae,
            sketch=self.sketches[a:b],
            extractor=self.extractor,
            latent=latent,
            **{"weight": shape, "t0": T0, "steps": steps, "repeats": 1 if latent is None else REPEATS, "limit": LIMIT},
            **scaling,
        )
        return {"samples": lab.sample_latent(begin, sigmas, sampler, seed, model)["samples"]}

    def _coloured(self, a: int, b: int, colour: float, grid: int, **scaling: Any) -> Any:
        """The prior under an Appearance Energy of the exemplars."""
        door, settings = self.doors.AppearanceEnergyGuidance, {"colour_weight": colour, "grid": grid, "limit": LIMIT}
        return executed(door, model=self.lab.model, exemplar=self.exemplars[a:b], **settings, **scaling)[0]

    def one_stage(self, a: int, b: int, shape: float = SHAPE, colour: float = 0.0, **how: Any) -> Any:
        return self.lab.vae.decode(self.stage(a, b, shape, colour, **how)["samples"])

    def two_stages(self, a: int, b: int, shape: float = SHAPE, colour: float = COLOUR, **how: Any) -> Any:
        first = self.stage(a, b, shape, 0.0, **how)
        return self.lab.vae.decode(self.stage(a, b, shape, colour, first, **how)["samples"])

    def sdedit(self, a: int, b: int, model: Any = None) -> Any:
        return self.lab.walk(self.lab.encode(self.sketches[a:b]), T0, FIRST + a, steps=STEPS, model=model)

    def ilvr(self, a: int, b: int) -> Any:
        reference = self.lab.encode(self.exemplars[a:b])
        (sampler,) = self.walks.SketchILVRSampler.execute(reference, ILVR_GRID, 0.0, 1.0, 1.0, ILVR_LEVEL).args
        return self.lab.walk(self.lab.encode(self.sketches[a:b]), T0, FIRST + a, steps=STEPS, sampler=sampler)

    def egsde(self, a: int, b: int) -> Any:
        """Its faithful energy; the domain extractor that it also wants exists for no two domains of this world."""
        return self.sdedit(a, b, self._coloured(a, b, COLOUR, EGSDE_GRID))


def pairs(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """The table: every way over `count` pairs of a sketch and an exemplar, measured against `samples` renders."""
    store = kept(count)
    if fresh:
        store.forget()
    held = held_out(count, samples)
    sketches, exemplars = held.sketches, held.exemplars
    ways = Ways(lab, sketches, exemplars)
    results = {
        "SDEdit from the sketch": store.get("sdedit", count, ways.sdedit),
        "ILVR": store.get("ilvr", count, ways.ilvr),
        "EGSDE, its faithful energy": store.get("egsde", count, ways.egsde),
        "stage 1 only": store.get("one", count, ways.one_stage),
        "without shape energy": store.get("shapeless", count, lambda a, b: ways.two_stages(a, b, shape=0.0)),
        "without appearance energy": store.get("colourless", count, lambda a, b: ways.two_stages(a, b, colour=0.0)),
        "whole": store.get("whole", count, ways.two_stages),
    }

    rows = {name: held.judge(pictures) for name, pictures in results.items()}
    bounds = {"(the sketches' own scenes)": held.judge(held.own), "(the exemplars themselves)": held.judge(exemplars)}
    page.numbers |= {name: row._asdict() for name, row in rows.items()}
    page.text(
        "## Inversion-by-Inversion: a sketch and an exemplar",
        f"{count} held-out sketches, each with the photo of another scene as exemplar, with the template's settings: "
        f"t0 {T0}, {STEPS} steps per run, the second stage run {REPEATS} times, shape weight {SHAPE} with the "
        f"starter's extractor, colour weight {COLOUR} on a {GRID}x{GRID} grid. The baselines run once, from the same "
        "t0. Contours: area under the ROC curve for telling the sketch's lines from its paper by the brightness "
        "gradient of the result (0.5 is chance). Colours: distance of the palette, and of the 4x4 low-pass, to those "
        "of the exemplar. Distance to renders as above. Higher is better in the first column only.",
    )
    page.table(["", *HEADS], [[name, *row] for name, row in {**rows, **bounds}.items()])
    whole = rows.pop("whole")
    beaten = {
        head: [name for name, row in rows.items() if (row[i] > whole[i] if i == 0 else row[i] < whole[i])]
        for i, head in enumerate(HEADS)
    }
    page.text(
        *(
            f"{head}: the whole method is {'the best' if not better else 'beaten by ' + ', '.join(better)}."
            for head, better in beaten.items()
        )
    )
    shown = min(8, count)
    listed = [*sketches[:shown], *exemplars[:shown], *[p for r in results.values() for p in r[:shown]]]
    page.sheet("inversion_examples", listed, columns=shown, rows=["sketch", "exemplar", *results])
