"""Paint2pix's claims on the starter world, a part of `python3 dev/run.py evidence`.

Unfinished canvases of held-out scenes, back to front: how near to renders and how faithful to the canvas predictions
are, beside SDEdit on the pixel prior and GradOP+ on the text starter from the same canvases. And painting on: how much
of what was not painted over changes with every accepted step, beside SDEdit on the same composite at equal realism.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from evidence import gradop, sdedit
from evidence.page import Page, Store, weights_of
from evidence.sdedit import HELD_OUT, SIZE, Lab, Plan
from runtime import inprocess, machine
from runtime.provision import say

FIRST = 10_800_000  # seeds of the painted scenes: none of the starter's networks learned from them
FRACTIONS = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the painting that is finished
PASSES = 1  # of the canvas encoder: as many as the starter's learned
T0S = (0.3, 0.5, 0.7)  # SDEdit's strengths on canvases
STEPS = 5  # accepted ones after the first picture
STEP_T0S = (0.2, 0.35, 0.5, 0.7)  # SDEdit's strengths after a step
GRADOP = {"rounds": 3, "strength": 0.7, "blur": 0.0, "rate": 0.2}  # the best three rounds of the part `gradop`
RENDERS = 300  # that distances are measured to
SOME, GOING_ON = 24, 12  # of 100 canvases: those that SDEdit and GradOP+ paint, and SDEdit after a step
LEAST = 0.05  # share of a picture that has to be left unpainted by a step
SHOWN, SHOWN_STEPS = 6, 4  # scenes on the sheets
WEIGHTS = inprocess.PACK / "starter" / "weights" / "painter.safetensors"
CANVASES = ("starter/world.py", "starter/noise.py", "starter/training/paintings.py", "training/paint2pix/canvases.py")
DECIDES = (*CANVASES, *sdedit.DECIDES, *gradop.DECIDES)
PAINTS = (
    *DECIDES,
    "networks/paint2pix/*.py",
    "pipelines/paint2pix.py",
    "nodes/paint2pix.py",
    "nodes/parts/painting.py",
)


# --- what is painted --------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """Held-out scenes [N,...] and their paintings on black.

    photos [N,64,64,3]; canvases [N,32,32,3] and where they are painted [N,32,32], by fraction; new: the same of the
    strokes of each step alone, the first picture's before the accepted ones'. All in [0,1].
    """

    photos: Any
    canvases: dict[float, Any]
    painted: dict[float, Any]
    new: list[tuple[Any, Any]]


def moments(times: Any, layers: int, parts: int) -> list[float]:
    """The times until which the strokes of the first `layers` levels are painted part by part, as many in each. times:
    of `order_of`."""
    import numpy as np

    known = np.sort(times[:layers][times[:layers] <= 1])
    return [float(known[-(-len(known) * (i + 1) // parts) - 1]) for i in range(parts)]


def held_out(count: int, folder: Path) -> Held:
    """`count` scenes; their paintings are kept in a folder."""
    import numpy as np
    import torch

    world, canvases = inprocess.room("starter.training.paintings"), inprocess.room("training.paint2pix.canvases")
    known = world.world_paintings(folder, "held_out", count, FIRST, SIZE)
    black = np.zeros((world.SIDE, world.SIDE, 3), np.uint8)
    whole: dict[float, list] = {fraction: [] for fraction in FRACTIONS}
    new: list[list] = [[] for _ in range(STEPS + 1)]
    for i in range(count):
        painting = known.painting(i)
        times = canvases.order_of(painting, np.random.default_rng([FIRST, i]))
        for fraction, found in whole.items():
            found.append(canvases.filled(painting, times, fraction, black))
        before = 0.0
        for found, until in zip(new, moments(times, world.LAYERS, STEPS + 1), strict=True):
            found.append(canvases.filled(painting, np.where(times > before, times, 2.0), until, black))
            before = until

    def stacked(pairs: list) -> tuple[Any, Any]:
        pictures, covered = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
        return pictures.float() / 255, covered

    made = {fraction: stacked(found) for fraction, found in whole.items()}
    photos = torch.from_numpy(np.array(known.photos)).float() / 255
    pictures, painted = ({fraction: pair[place] for fraction, pair in made.items()} for place in (0, 1))
    return Held(photos, pictures, painted, [stacked(found) for found in new])


def sized(pictures: Any, side: int = SIZE) -> Any:
    return inprocess.room("pictures.fit").scale_image(pictures, side, side)


def painted_over(ground: Any, strokes: Any, where: Any) -> Any:
    """Strokes [N,s,s,3] on a ground [N,S,S,3] at its size, where they are: [N,s,s] of bool."""
    times = ground.shape[1] // strokes.shape[1]
    return enlarged(strokes, times).where(enlarged(where, times)[..., None], ground)


def enlarged(pictures: Any, times: int) -> Any:
    """[N,s,s,...] with every pixel repeated, so that strokes stay flat."""
    return pictures.repeat_interleave(times, 1).repeat_interleave(times, 2)


# --- ways to paint ----------------------------------------------------------------------------------------------------


def painter_of(network: Any, name: str) -> Any:
    """A SKETCH_PAINTER behind a host ModelPatcher."""
    return inprocess.room("pipelines.paint2pix").Paint2pix(name, inprocess.room("host").network_patcher(network))


def built_in(weights: Path) -> Any:
    """The SKETCH_PAINTER of a file."""
    read = inprocess.room("nodes.parts.painting").read_network
    return painter_of(read(str(weights), ("painter",), {}, copied=True)[0], weights.stem)


class Painter:
    """Paint2pix's networks behind its node."""

    def __init__(self, weights: Path) -> None:
        self.painter = built_in(weights)
        self.node = inprocess.room("nodes.paint2pix").SketchPaint2pixPredict

    def predict(self, canvas: Any, state: Any = None) -> tuple[Any, Any]:
        """Pictures of 64 px, as the Store keeps them, and the state; the node's own strength, clip and layers."""
        settings = (self.painter, canvas, PASSES, 0, 1.0, 1.0, 0, inprocess.room("nodes.paint2pix").MOST)
        image, _, state = self.node.execute(*settings, state).args
        return (sized(image) * 255).byte().float() / 255, state

    def accepted(self, new: list[tuple[Any, Any]]) -> Any:
        """[N,1 + STEPS,64,64,3]: a first picture, then each step's strokes on the one before, with its state; as the
        two session nodes do over many Runs."""
        import torch

        picture, state, made = torch.zeros(len(new[0][0]), SIZE, SIZE, 3), None, []
        for strokes, where in new:
            picture, state = self.predict(painted_over(picture, strokes, where), state)
            made.append(picture)
        return torch.stack(made, 1)


def by_gradop(text: Callable[[], Any], canvas: Any, a: int, b: int) -> Any:
    """GradOP+ on canvases a..b, with the captions of their scenes, at its own size, reduced. text: makes the lab."""
    world = inprocess.room("starter.world").World(SIZE)
    captions = [world.render(FIRST + i).caption if a <= i < b else "" for i in range(b)]
    ways = gradop.Ways(text(), sized(canvas, gradop.SIDE), captions)
    return sized(ways.gradop(a, b, inprocess.room("samplers.canvas").PREDICTED, **GRADOP))


# --- canvases at five fractions ---------------------------------------------------------------------------------------


def some_of(count: int, wanted: int) -> int:
    """As many canvases of `count` as are wanted of 100, at least one; they take long."""
    return max(1, min(wanted, count * wanted // 100))


class Way(NamedTuple):
    """Pictures of one way by fraction, each [n,64,64,3], and its milliseconds of processor time a picture (None: not
    timed)."""

    name: str
    pictures: dict[float, Any]
    milliseconds: float | None = None

    @property
    def count(self) -> int:
        return len(next(iter(self.pictures.values())))

    def first(self, count: int) -> Way:
        return Way(self.name, {fraction: one[:count] for fraction, one in self.pictures.items()})


def at_fractions(lab: Lab, painter: Painter, held: Held, store: Store, painted: Store) -> list[Way]:
    """Paint2pix, SDEdit at T0S, GradOP+. painted: keeps what follows from the painter's weights."""
    some, text = some_of(len(held.photos), SOME), cache(gradop.TextLab)

    def way(name: str, keep: Store, count: int, make: Callable[[Any, int, int], Any], batch: int) -> Way:
        found, spent = {}, 0.0
        for fraction, canvas in held.canvases.items():
            key = f"{name} {fraction}"
            found[fraction] = keep.get(key, count, lambda a, b, canvas=canvas: make(canvas, a, b), batch)
            spent += keep.seconds[key]
        return Way(name, found, 1000 * spent / (count * len(found)))

    def walked(canvas: Any, a: int, b: int, t0: float) -> Any:
        return lab.walk(lab.encode(sized(canvas[a:b])), t0, FIRST + a)

    return [
        way("Paint2pix", painted, len(held.photos), lambda canvas, a, b: painter.predict(canvas[a:b])[0], 25),
        *(way(f"SDEdit, t0 {t0}", store, some, lambda canvas, a, b, t0=t0: walked(canvas, a, b, t0), 12) for t0 in T0S),
        way("GradOP+", store, some, lambda canvas, a, b: by_gradop(text, canvas, a, b), 4),
    ]


def bounds(held: Held) -> list[Way]:
    """The canvases themselves, and the photos that they are of."""
    canvases = {fraction: sized(canvas) for fraction, canvas in held.canvases.items()}
    return [Way("(canvases)", canvases), Way("(their photos)", dict.fromkeys(canvases, held.photos))]


def in_groups(ways: list[Way], edges: list[Way]) -> list[Way]:
    """Every way beside Paint2pix, canvases and photos of as many scenes: only sets of one size compare."""
    first, *others = ways
    rows: list[Way] = []
    for count in dict.fromkeys(way.count for way in ways):
        of_count = [way for way in others if way.count == count]
        rows += [first.first(count), *of_count, *(edge.first(count) for edge in edges)]
    return rows


def tell_fractions(page: Page, held: Held, ways: list[Way], references: Any) -> None:
    """Both tables, and what a picture takes."""
    measures = inprocess.room("pictures.measures")
    rows = in_groups(ways, bounds(held))
    least = min(where.float().mean().item() for where in held.painted.values())
    share = "so none of it is left black" if least == 1 else f"of which at least {least:.1%} are painted"
    page.text(
        "## Paint2pix: unfinished canvases",
        f"{len(held.photos)} held-out scenes, painted back to front on black, {_side(held)} px: after "
        f"{', '.join(f'{fraction:.0%}' for fraction in FRACTIONS)} of their strokes. The first layer, the sky, fills "
        f"the whole canvas, {share}. What is black is given to all ways as it is; SDEdit and GradOP+ must take "
        "it for the picture. "
        f"Paint2pix: {PASSES} pass, no state. SDEdit: the pixel prior at three strengths, {sdedit.STEPS} steps of "
        f"`{sdedit.WALK_SAMPLER}`. GradOP+: the text starter with the scene's caption, which the others do not know, "
        f"at {gradop.SIDE} px, {GRADOP['rounds']} rounds on the predicted image, strength {GRADOP['strength']}, rate "
        f"{GRADOP['rate']}, the node's own painter; reduced to {SIZE} px.",
        f"Distance to {len(references)} other renders, as above. It falls with the number of pictures: only rows of as "
        "many scenes compare. Those of fewer scenes are the first ones.",
    )
    names = [f"{fraction:.0%}" for fraction in FRACTIONS]
    distances, faithful = {}, {}
    for way in rows:
        key = f"{way.name}, {way.count}"
        distances[key] = [measures.patch_distance(one, references).mean for one in way.pictures.values()]
        faithful[key] = [
            measures.faithfulness(sized(one, _side(held)), held.canvases[f][: way.count], held.painted[f][: way.count])
            .rms.mean()
            .item()
            for f, one in way.pictures.items()
        ]
    page.text("Distance to renders, after each part of the strokes:")
    page.table(["", "scenes", *names], [[*key.rsplit(", ", 1), *values] for key, values in distances.items()])
    page.text(
        f"Faithfulness: rms between the canvas and the result, both at {_side(held)} px, where it is painted. An early "
        "canvas shows the sky where the ground will be: the photo itself is far from it."
    )
    page.table(["", "scenes", *names], [[*key.rsplit(", ", 1), *values] for key, values in faithful.items()])
    page.text(f"Milliseconds of processor time a picture, on all threads together, on {machine.describe()}:")
    timed = [way for way in ways if way.milliseconds is not None]
    page.table(["", "pictures", "ms"], [[w.name, w.count * len(FRACTIONS), f"{w.milliseconds:.0f}"] for w in timed])
    page.numbers |= {
        "distance": distances,
        "faithfulness": faithful,
        "milliseconds": {way.name: way.milliseconds for way in timed},
    }
    page.text(_beside(distances, faithful, ways))
    few = min(SHOWN, len(held.photos))
    sheet, labels = [], []
    for name, fraction in zip(names, FRACTIONS, strict=True):
        sheet += [*sized(held.canvases[fraction][:few]), *ways[0].pictures[fraction][:few]]
        labels += [f"{name} painted", "prediction"]
    page.sheet("paint2pix_examples", [*sheet, *held.photos[:few]], columns=few, rows=[*labels, "photo"])


def _side(held: Held) -> int:
    return held.canvases[FRACTIONS[0]].shape[1]


def _beside(distances: dict[str, list[float]], faithful: dict[str, list[float]], ways: list[Way]) -> str:
    """At how many fractions Paint2pix is nearer to renders, or more faithful, than each other way."""
    said = []
    for way in ways[1:]:
        mine, theirs = f"{ways[0].name}, {way.count}", f"{way.name}, {way.count}"
        nearer, closer = (
            sum(a < b for a, b in zip(found[mine], found[theirs], strict=True)) for found in (distances, faithful)
        )
        said.append(f"than {way.name} at {nearer} of {len(FRACTIONS)} fractions, and more faithful at {closer}")
    return f"Paint2pix is nearer to renders {'; '.join(said)}."


# --- painting on ------------------------------------------------------------------------------------------------------


class Change(NamedTuple):
    """What one way makes of a step, over the pictures that count.

    distance: to renders. features, pixels: mean change of what was not painted over, [n] each. strokes: rms to the new
    strokes, mean.
    """

    distance: float
    features: Any
    pixels: Any
    strokes: float


def compared() -> Callable[[Any, Any], Any]:
    """apart(one, other) -> [N]: LPIPS on the starter's feature network, of pictures [N,H,W,3] in [0,1]."""
    import torch

    doors, frozen = inprocess.room("nodes.extractors"), inprocess.room("networks.frozen")
    with frozen.gradients():
        apart = doors.load_features(doors.STARTER).perceptual().prepare("cpu")

    def distance(one: Any, other: Any) -> Any:
        with frozen.gradients(), torch.no_grad():
            return apart(*(part.movedim(-1, 1).clone() for part in (one, other)))

    return distance


def unpainted_change(before: Any, after: Any, where: Any, apart: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """[N] each: the feature distance and the mean absolute difference of two sets of pictures [N,H,W,3] outside a mask
    [N,H,W] of bool. For features the mask's inside is the same in both, so that none of them sees the strokes; both are
    per unpainted area."""
    rest = (~where).float()
    share = rest.mean((1, 2)).clamp_min(1e-6)
    kept = where[..., None]
    features = apart(before, before.where(kept, after)) / share
    pixels = ((after - before).abs().mean(-1) * rest).mean((1, 2)) / share
    return features, pixels


def nearest(wanted: float, others: dict[float, Change]) -> float:
    """The strength whose distance to renders is nearest to the wanted one: equal realism."""
    return min(others, key=lambda t0: abs(others[t0].distance - wanted))


class Step(NamedTuple):
    """One accepted step: how many pictures count, the share that its strokes cover, and every way's Change: `mine`,
    SDEdit's by strength, and `none`, where nothing happens."""

    count: int
    covered: float
    none: Change
    mine: Change
    others: dict[float, Change]


def going_on(lab: Lab, held: Held, pictures: Any, painted: Store, references: Any) -> tuple[list[Step], dict]:
    """Every step's numbers over as many scenes as SDEdit goes on with, and SDEdit's pictures, (step, t0): [n,64,64,3].
    pictures: accepted by Paint2pix, [N,1 + STEPS,64,64,3]."""
    count, apart, measures = some_of(len(held.photos), GOING_ON), compared(), inprocess.room("pictures.measures")
    found, made = [], {}
    for step in range(1, STEPS + 1):
        strokes, where = (part[:count] for part in held.new[step])
        before, after, wide = pictures[:count, step - 1], pictures[:count, step], enlarged(where, SIZE // _side(held))
        composite = painted_over(before, strokes, where)
        covered = wide.float().mean((1, 2))
        here = (covered > 0) & (covered <= 1 - LEAST)  # some scenes have fewer strokes than steps

        def change(result: Any, before=before, wide=wide, strokes=strokes, where=where, here=here) -> Change:
            changed = unpainted_change(before[here], result[here], wide[here], apart)
            follows = measures.faithfulness(sized(result, _side(held)), strokes, where).rms[here].mean().item()
            return Change(measures.patch_distance(result[here], references).mean, *changed, follows)

        for t0 in STEP_T0S:
            made[step, t0] = painted.get(
                f"step {step}, t0 {t0}",
                count,
                lambda a, b, t0=t0, composite=composite: lab.walk(lab.encode(composite[a:b]), t0, FIRST + a),
                12,
            )
        others = {t0: change(made[step, t0]) for t0 in STEP_T0S}
        found.append(Step(int(here.sum()), covered[here].mean().item(), change(before), change(after), others))
    return found, made


def tell_steps(page: Page, steps: list[Step], count: int) -> None:
    """After each step, beside SDEdit at equal realism; then all strengths over all steps."""
    import torch

    page.text(
        "## Paint2pix: painting on",
        f"{count} of the scenes, their layers in {STEPS + 1} parts with as many strokes in each: a first picture, then "
        f"{STEPS} steps, each with the next strokes on the picture that was accepted, predicted with its state "
        "(strength 1). SDEdit paints the same composite, whole: with a mask it would keep the rest, which could not "
        "follow the strokes either. Equal realism: the strength whose distance to renders is nearest to Paint2pix's.",
        "Change of what the step did not paint over: feature distance (LPIPS on the built-in network; what is painted "
        "over is taken from before) and mean absolute difference of values in [0,1], both per unpainted area. Lower: "
        "more is kept.",
    )
    rows, kept = [], 0
    for number, step in enumerate(steps, 1):
        t0 = nearest(step.mine.distance, step.others)
        other = step.others[t0]
        less = (step.mine.features < other.features).float().mean().item()
        kept += step.mine.features.mean() < other.features.mean()
        cells = [number, step.count, f"{step.covered:.0%}", step.mine.distance, f"{t0}", other.distance]
        cells += [part.mean().item() for part in (step.mine.features, other.features, step.mine.pixels, other.pixels)]
        rows.append([*cells, f"{less:.0%}"])
    heads = ["step", "pictures", "painted over", "distance to renders", "SDEdit's t0", "its distance"]
    heads += ["feature change", "SDEdit's feature change", "pixel change", "SDEdit's pixel change"]
    heads += ["pictures whose features change less"]
    page.table(heads, rows)
    page.numbers["steps"] = [dict(zip(heads, row, strict=True)) for row in rows]
    page.text(
        "At equal realism the unpainted part changes less with Paint2pix than with SDEdit, by features, after "
        f"{int(kept)} of {len(steps)} steps."
    )

    def over_all(changes: list[Change]) -> list[float]:
        """Steps weigh alike."""
        parts = [
            [one.distance for one in changes],
            [one.strokes for one in changes],
            [one.features.mean().item() for one in changes],
            [one.pixels.mean().item() for one in changes],
        ]
        return torch.tensor(parts).mean(1).tolist()

    ways = {"(nothing changed)": [step.none for step in steps], "Paint2pix": [step.mine for step in steps]}
    ways |= {f"SDEdit, t0 {t0}": [step.others[t0] for step in steps] for t0 in STEP_T0S}
    table = {name: over_all(changes) for name, changes in ways.items()}
    page.text("The same at every strength, mean of the steps; and how the new strokes are followed (rms inside them).")
    page.table(
        ["", "distance to renders", "rms to the strokes", "feature change", "pixel change"],
        [[name, *values] for name, values in table.items()],
    )
    page.numbers["over all steps"] = table


def show_steps(page: Page, held: Held, pictures: Any, steps: list[Step], made: dict) -> None:
    """From left to right: the first picture and every step; SDEdit at equal realism below."""
    import torch

    few = min(SHOWN_STEPS, some_of(len(held.photos), GOING_ON))
    empty, sheet, labels = torch.ones(SIZE, SIZE, 3), [], []
    chosen = [nearest(step.mine.distance, step.others) for step in steps]
    for i in range(few):
        grounds = [torch.zeros_like(pictures[i : i + 1, 0]), *pictures[i : i + 1].unbind(1)]
        for ground, (strokes, where) in zip(grounds[:-1], held.new, strict=True):
            sheet += painted_over(ground, strokes[i : i + 1], where[i : i + 1])
        sheet += [held.photos[i], *pictures[i], empty, empty]
        sheet += [*(made[step, t0][i] for step, t0 in enumerate(chosen, 1)), empty]
        labels += ["strokes on the accepted picture", "Paint2pix", "SDEdit on the same"]
    page.text(f"From left to right: a first picture, {STEPS} accepted steps, and the photo.")
    page.sheet("paint2pix_steps", sheet, columns=STEPS + 2, rows=labels)


# --- the part ---------------------------------------------------------------------------------------------------------


def paint2pix(lab: Lab, plan: Plan, page: Page, fresh: bool, weights: Path = WEIGHTS) -> None:
    """All of it, over as many scenes as `plan` has strokes. weights: of the painter."""
    if not weights.is_file():
        sys.exit(f"{weights} is not there: train it (`python3 dev/run.py train starter-painter`), or choose --painter.")
    notes, size, short = weights_of(weights)
    count, references = plan.strokes, min(RENDERS, plan.samples)
    settings = (FIRST, count, references, FRACTIONS, SOME, GOING_ON, T0S, GRADOP, STEPS)
    store = Store("evidence_paint2pix_canvases", settings, DECIDES, time.process_time)
    painted = Store("evidence_paint2pix", (*settings, PASSES, STEP_T0S, short), PAINTS, time.process_time)
    for one in (store, painted) if fresh else ():
        one.forget()
    say(f"batches are kept in {store.folder} and {painted.folder}")
    held, painter = held_out(count, store.folder), Painter(weights)
    renders = sdedit.render(store, "renders", HELD_OUT, references)
    page.text(
        f"Starter painter: {size / 1e6:.1f}M parameters, {notes.get('images_seen', 'an unknown number of')} images "
        f"seen, {notes.get('minutes', 'an unknown number of')} minutes of training on "
        f"{notes.get('machine', 'an unknown machine')}, sha256 {short}..."
    )
    say("canvases at five fractions")
    tell_fractions(page, held, at_fractions(lab, painter, held, store, painted), renders)
    say("painting on")
    accepted = painted.get("accepted", count, lambda a, b: painter.accepted([(s[a:b], w[a:b]) for s, w in held.new]))
    steps, made = going_on(lab, held, accepted, painted, renders)
    tell_steps(page, steps, some_of(count, GOING_ON))
    show_steps(page, held, accepted, steps, made)
    minutes = (sum(store.seconds.values()) + sum(painted.seconds.values())) / 60
    page.text(f"Painting took {minutes:.1f} minutes of processor time.")
