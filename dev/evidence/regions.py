"""Words in painted regions on the starter world, a part of `python3 dev/run.py evidence`.

Paintings whose land is of one colour, which two kinds of ground may have: nothing but the regions' words says which of
them is where. Judged pixel by pixel, by a segmenter that was trained on the world.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any, NamedTuple

from evidence import segmenter
from evidence.gradop import FIRST, SIDE, STEPS, TextLab
from evidence.page import Page, Store
from runtime import inprocess

CASES = 120
ROUNDS, STRENGTH, WEIGHT, SCHEDULE = 3, 1.0, 2.0, "constant"
GROUNDS = {"a lake": "water", "a meadow": "meadow", "sand dunes": "sand", "a snowfield": "snow"}
HOURS = ("by day", "at sunset", "at dawn", "under an overcast sky", "at night")
HORIZON = 0.55
DECIDES = (
    *("host.py", "nodes/gradop.py", "nodes/regions.py", "nodes/starter.py", "networks/taesd.py", "networks/text.py"),
    *("samplers/gradop.py", "samplers/canvas.py", "samplers/window.py"),
    *("dev/evidence/segmenter.py", "dev/evidence/regions.py"),
    *("guidance/decoders.py", "guidance/noise.py", "networks/frozen.py", "pictures/fit.py", "pictures/painters.py"),
    "guidance/regions/attention.py",
    *(f"guidance/regions/{room}.py" for room in ("legend", "patch", "regions", "words")),
    *("starter/world.py", "starter/noise.py"),
    *("starter/weights/text.safetensors", "starter/weights/vae.safetensors"),
)


class Case(NamedTuple):
    """One painting: two grounds beside each other, or one behind the other, at one hour."""

    first: str
    second: str
    hour: str
    beside: bool

    @property
    def prompt(self) -> str:
        return f"a clear sky, {self.first}, {self.second}, {self.hour}"

    def masks(self) -> list[Any]:
        """Where the first and the second ground are, [SIDE,SIDE] of 0 and 1."""
        import torch

        at = (torch.arange(SIDE) + 0.5) / SIDE
        x, y = at[None, :].expand(SIDE, SIDE), at[:, None].expand(SIDE, SIDE)
        land = y > HORIZON
        first = x < 0.5 if self.beside else y < (1 + HORIZON) / 2
        return [(land & first).float(), (land & ~first).float()]

    def painting(self, colours: Colours) -> Any:
        """[SIDE,SIDE,3]: the hour's sky above one colour, halfway between those of the two grounds."""
        import torch

        first, second = (colours.mean(GROUNDS[name], self.hour) for name in (self.first, self.second))
        land = torch.stack(self.masks()).sum(0)[..., None]
        return land * (first + second) / 2 + (1 - land) * colours.mean("sky", self.hour)


def cases(count: int) -> list[Case]:
    """Every order of two grounds, side by side and one behind the other, at every hour; `count` of them, spread out."""
    every = [
        Case(a, b, hour, beside) for hour in HOURS for beside in (True, False) for a, b in permutations(GROUNDS, 2)
    ]
    return [every[i * len(every) // count] for i in range(count)]


class Colours:
    """Mean colours of grounds and skies at each hour, measured on renders of the world."""

    def __init__(self, scenes: list) -> None:
        import torch

        labels = inprocess.room("starter.world").LABELS
        self.seen: dict[tuple[str, str], list] = {}
        for scene in scenes:
            image = torch.from_numpy(scene.image).float() / 255
            index = torch.from_numpy(scene.labels).long()
            hour = scene.caption.rsplit(", ", 1)[1]
            for name in ("sky", *GROUNDS.values()):
                if (here := index == labels.index(name)).any():
                    self.seen.setdefault((name, hour), []).append(image[here].mean(0))

    def mean(self, name: str, hour: str) -> Any:
        import torch

        return torch.stack(self.seen[name, hour]).mean(0)


class How(NamedTuple):
    """What ties the words to their regions, as the nodes are set."""

    method: str
    weight: float
    schedule: str
    last: float  # end of the schedule's window


WAYS = {
    "words alone": None,
    "CrossAttnRegionMap, GradOP": How("GradOP", WEIGHT, SCHEDULE, 0.5),
    "the same at its defaults": How("GradOP", 1.0, "t/T", 0.5),
    "paint with words": How("paint with words", WEIGHT, "window", 1.0),
}


def paint(lab: TextLab, case: Any, painting: Any, seed: int, how: How | None) -> Any:
    """GradOP+ of the painting; case: its prompt, first, second and masks(); how: what ties the words to their regions,
    or None."""
    from comfy.samplers import sampler_object

    doors = inprocess.room("nodes.regions")
    settings = ("GradOP+ on the predicted image", 0.8, ROUNDS, 12, 0.1, "gaussian", 0.0, "auto", 0.001, 6)
    (solver,) = lab.gradop.GradOpSolve.execute(lab.vae, painting, *settings, sampler=sampler_object("euler")).args
    model, positive = lab.model, lab.prompts([case.prompt])
    if how is not None:
        regions: Any = ()
        for words, mask in zip((case.first, case.second), case.masks(), strict=True):
            (regions,) = doors.SketchPaintRegion.execute(mask[None], words, how.weight, regions).args
        settings = (case.prompt, regions, STRENGTH, how.schedule, 0.0, how.last, how.method)
        model, positive = doors.CrossAttnRegionMap.execute(model, lab.clip, *settings).args
    return lab.walk(positive, solver, lab.schedule(), lab.empty(1), seed, model)


class Judged(NamedTuple):
    """pictures [cases,SIDE,SIDE,3] of each of WAYS; scores [cases,2] of each, the share of a region's pixels that are
    what its words say; right: the segmenter's own share on held-out renders."""

    paintings: Any
    pictures: dict[str, Any]
    scores: dict[str, Any]
    right: float

    def gain(self) -> str:
        plain, tied = (self.scores[name].mean().item() for name in list(WAYS)[:2])
        return f"Tied words are {100 * (tied - plain):.1f} points better (aim: 25)."

    def sheet(self, page: Page, name: str, shown: list[int]) -> None:
        pictures = [row[i] for row in (self.paintings, *self.pictures.values()) for i in shown]
        page.sheet(name, pictures, columns=len(shown), rows=["painting", *WAYS])


def judged(store: Store, listed: list, names: dict[str, tuple[str, ...]], seed: int) -> Judged:
    """Paints every case in each of WAYS. names: what the segmenter may call a region of these words."""
    import torch

    lab = TextLab()
    world = inprocess.room("starter.world")
    place = world.World(SIDE)
    colours = Colours([place.render(FIRST + 20_000 + i) for i in range(400)])
    paintings = torch.stack([case.painting(colours) for case in listed])
    net, right = segmenter.trained(SIDE, lab.vae)

    def all_of(name: str, how: How | None) -> Any:
        def make(a: int, b: int) -> Any:
            return torch.cat([paint(lab, listed[i], paintings[i : i + 1], seed + i, how) for i in range(a, b)])

        return store.get(name, len(listed), make)

    pictures = {name: all_of(name, how) for name, how in WAYS.items()}

    def accuracy(pictures: Any) -> Any:
        rows = []
        for case, found in zip(listed, segmenter.named(net, pictures), strict=True):
            regions = zip((case.first, case.second), case.masks(), strict=True)
            wanted = [(torch.tensor([world.LABELS.index(n) for n in names[words]]), mask) for words, mask in regions]
            rows.append([(torch.isin(found, labels) * mask).sum() / mask.sum() for labels, mask in wanted])
        return torch.tensor(rows)

    return Judged(paintings, pictures, {name: accuracy(found) for name, found in pictures.items()}, right)


def regions(page: Page, count: int, fresh: bool) -> None:
    """The table: label accuracy inside the painted regions, without and with their words tied to them."""
    import torch

    store = Store("evidence_regions", (count, STEPS, ROUNDS, STRENGTH, WEIGHT, SCHEDULE, 1), DECIDES)
    if fresh:
        store.forget()
    listed = cases(count)
    found = judged(store, listed, {words: (ground,) for words, ground in GROUNDS.items()}, FIRST + 30_000)
    scores, right = found.scores, found.right
    beside = torch.tensor([case.beside for case in listed])
    page.numbers |= {name: score.mean().item() for name, score in scores.items()} | {"segmenter": right}
    page.text(
        "## Words in painted regions",
        f"{count} paintings of a flat sky over land in one flat colour, halfway between the colours of two kinds of "
        "ground (lake, meadow, dunes, snowfield; every pair in both orders, side by side and one behind the other, "
        f"at five hours), each with a prompt that names both. GradOP+ ({ROUNDS} rounds, {STEPS} steps) paints them "
        f"with the words alone, and with the words tied to their regions (strength {STRENGTH:g}, schedule {SCHEDULE}, "
        f"weight {WEIGHT:g}; the nodes' defaults are t/T and 1). Label accuracy: the fraction of a region's pixels "
        f"that a segmenter labels with its word; the segmenter is right on {right:.0%} of the pixels of held-out "
        "renders after a round trip through the VAE. No training picture of the model has two kinds of ground.",
    )
    page.table(
        ["", "all", "side by side", "one behind the other", "worse of the two regions"],
        [
            [name, *(f"{100 * v:.1f} %" for v in (s.mean(), s[beside].mean(), s[~beside].mean(), s.amin(1).mean()))]
            for name, s in scores.items()
        ],
    )
    page.text(found.gain())
    shown = [i * count // 8 for i in range(8)] if count >= 8 else list(range(count))
    found.sheet(page, "regions_examples", shown)
    page.text("The prompts, from left to right:", *(f"{k + 1}. {listed[i].prompt}" for k, i in enumerate(shown)))
