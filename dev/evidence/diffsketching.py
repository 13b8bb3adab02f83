"""DiffSketching's claim on the starter world, a part of `python3 dev/run.py evidence`.

Sketches of held-out scenes with a class, and a reference photo of that class: the whole method, each of its terms
alone, the exact gradient, and what stands beside it. Judged by contours, by a classifier trained apart, by distance to
renders, and by how much results of one sketch differ.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

from bench.energies import memory_now, memory_peak
from evidence import class_judge, inversion
from evidence.gan import Gan
from evidence.inversion import FIRST, SIDE, contour_agreement, rendered
from evidence.page import Page, Store
from runtime import inprocess, machine
from runtime.provision import say

REFERENCES = 11_000_000  # seeds that reference photos are looked for from, SPAN for each sketch
SPAN = 100
RESPACING, SAMPLER = "ddim25", "ddpm"
SEEDS = 4  # of which diversity is measured
DIVERSE = 4  # diversity on every fourth sketch
TUNED = 20  # sketches at most that are fine-tuned on
OTHER = 1_000_000  # from the seed that is tuned to one that is not
LOSSES = ("image", "sketch")  # of a row of the log
DECIDES = (
    *("host.py", "nodes/diffsketching.py", "networks/adm.py", "networks/noisy_classifier.py", "networks/infodraw.py"),
    *(f"guidance/{room}.py" for room in ("decoders", "energy", "noise", "run", "terms")),
    *(f"pictures/{room}.py" for room in ("classifier", "distances", "extractors", "features", "fit", "preprocess")),
    *("networks/frozen.py", "networks/vgg.py", "samplers/levels.py", "starter/world.py", "starter/noise.py"),
    *(f"starter/weights/{name}.safetensors" for name in ("prior", "extractor", "features", "classifier")),
)
TUNING_DECIDES = ("nodes/train_diffsketching.py", "training/finetune.py", "samplers/finetune.py", *DECIDES)
CLASS, SKETCH, REFERENCE, WHOLE = "classifier alone", "sketch term alone", "reference term alone", "whole"
THROUGH = "whole, through the model"
SDEDIT, GAN = "SDEdit from the sketch", "sketch GAN"


class Row(NamedTuple):
    """One way, judged over all sketches."""

    contours: float
    classes: float
    distance: float
    diversity: float


HEADS = ("contours", "class told", "distance to renders", "diversity")


class Wanted(NamedTuple):
    """sketches, own scenes and references [N,SIDE,SIDE,3] in [0,1], the wanted classes [N] and their names; renders to
    measure against."""

    sketches: Any
    own: Any
    references: Any
    classes: Any
    names: list[str]
    renders: Any


def wanted(count: int, samples: int) -> Wanted:
    """`count` sketches, each with a class of its own ground and the hour of another scene, and that scene's photo."""
    import numpy as np
    import torch

    world = inprocess.room("starter.world").World(SIDE)
    room = inprocess.room("starter.training.classifier")
    hours = len(inprocess.room("starter.world").HOURS)
    photos, classes = [], []
    for i in range(count):
        ground = room.class_of(world.render(FIRST + i).caption) // hours
        for j in range(SPAN):
            scene = world.render(REFERENCES + SPAN * i + j)
            if room.class_of(scene.caption) // hours == ground:
                break
        photos.append(scene.image)
        classes.append(room.class_of(scene.caption))
    references = torch.from_numpy(np.stack(photos)).float() / 255
    names = [room.NAMES[number] for number in classes]
    sketches, own = (rendered(FIRST, part, count) for part in ("sketch", "image"))
    renders = rendered(inversion.RENDERS, "image", samples)
    return Wanted(sketches, own, references, torch.tensor(classes), names, renders)


class Ways:
    """The method behind its node, from noise, on the starter prior in the host."""

    def __init__(self, lab: Any, held: Wanted) -> None:
        self.lab, self.held = lab, held
        self.doors, self.terms = inprocess.room("nodes.diffsketching"), inprocess.room("guidance.terms")
        self.extractor = inprocess.room("nodes.extractors").load_extractor(inversion.EXTRACTOR)
        self.classifier = self.doors.load_classifier(self.doors.STARTER)
        schema = self.doors.SketchDiffSketching.define_schema().inputs
        self.usual = {one.id: getattr(one, "default", None) for one in schema}
        self.usual |= {"gradient": self.doors.PREDICTION, "decoder": "auto", "metric": self.terms.L2}
        (self.sigmas,) = self.doors.SketchRespacedSteps.execute(lab.model, RESPACING).args

    def paint(self, a: int, b: int, seed: int = 0, **changes: Any) -> Any:
        """Pictures [b-a,SIDE,SIDE,3]: DiffSketching's defaults, with changes, and SamplerCustom."""
        import torch
        from comfy.samplers import sampler_object

        settings = {
            **self.usual,
            "vae": self.lab.vae,
            "extractor": self.extractor,
            "reference": self.held.references[a:b],
            "classifier": self.classifier,
            "class_id": ", ".join(self.held.names[a:b]),
            **changes,
        }
        model, sketch = settings.pop("model", None) or self.lab.model, self.held.sketches[a:b]
        settings.pop("sketch", None)
        (guided,) = self.doors.SketchDiffSketching.execute(model, sketch, **settings).args
        empty = {"samples": torch.zeros(b - a, 3, SIDE, SIDE)}
        return self.lab.sample(empty, self.sigmas, sampler_object(SAMPLER), FIRST + a + 10_000 * seed, guided)

    def ways(self) -> dict[str, Callable[[int, int, int], Any]]:
        """By name: make(first, last, number of the seed)."""
        off = {"class_scale": 0.0, "sketch_weight": 0.0, "reference_weight": 0.0}

        def alone(name: str) -> dict[str, float]:
            return {key: value for key, value in off.items() if key != name}

        changes: dict[str, dict[str, Any]] = {
            CLASS: alone("class_scale"),
            SKETCH: alone("sketch_weight"),
            REFERENCE: alone("reference_weight"),
            WHOLE: {},
            THROUGH: {"gradient": "through the model"},
        }
        return {name: lambda a, b, s, more=more: self.paint(a, b, s, **more) for name, more in changes.items()}


def beside(lab: Any, held: Wanted, count: int) -> dict[str, Callable[[int, int, int], Any]]:
    """SDEdit and the sketch GAN, which know no class; the GAN takes the reference as its style."""
    scale = inprocess.room("pictures.fit").scale_image
    prior, gan = inversion.Ways(lab, held.sketches, held.references), Gan(count)
    gan.exemplars = scale(held.references, gan.size, gan.size)

    def sdedit(a: int, b: int, s: int) -> Any:
        return lab.walk(lab.encode(prior.sketches[a:b]), inversion.T0, FIRST + a + 10_000 * s, steps=inversion.STEPS)

    def painted(a: int, b: int, s: int) -> Any:
        return scale(gan.paint(a, b, True, gan.pictures.RUNNING, seed=FIRST + a + 10_000 * s), SIDE, SIDE)

    return {SDEDIT: sdedit, GAN: painted}


def diversity(sets: list[Any]) -> float:
    """The mean feature distance (LPIPS on the built-in network) between results of one sketch from different seeds."""
    import torch

    features, frozen = inprocess.room("nodes.extractors"), inprocess.room("networks.frozen")
    network = features.load_features(features.STARTER)
    sets = [part.movedim(-1, 1) for part in sets]
    with frozen.gradients(), torch.no_grad():
        apart = network.perceptual().prepare("cpu")
        return (
            torch.stack([apart(one.clone(), other.clone()).mean() for one, other in combinations(sets, 2)])
            .mean()
            .item()
        )


def sketches_and_classes(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """The table: every way over `count` sketches with a class, measured against `samples` renders."""
    store = Store("evidence_diffsketching", (count, RESPACING, SAMPLER, SPAN, 2), DECIDES)
    if fresh:
        store.forget()
    held, diverse = wanted(count, samples), -(-count // DIVERSE)
    net, right = class_judge.trained(SIDE)
    ways = {**beside(lab, held, count), **Ways(lab, held).ways()}
    measures = inprocess.room("pictures.measures")

    def judge(pictures: Any, spread: float) -> Row:
        classes = (class_judge.told(net, pictures) == held.classes).float().mean().item()
        contours = contour_agreement(pictures, held.sketches).mean().item()
        return Row(contours, classes, measures.patch_distance(pictures, held.renders).mean, spread)

    results, rows = {}, {}
    for name, make in ways.items():
        sets = [
            store.get(f"{name} {s}", count if s == 0 else diverse, lambda a, b, s=s, make=make: make(a, b, s))
            for s in range(SEEDS)
        ]
        results[name] = sets[0]
        rows[name] = judge(sets[0], diversity([part[:diverse] for part in sets]))
        say(f"  {name}: {', '.join(f'{head} {value:.3f}' for head, value in zip(HEADS, rows[name], strict=True))}")
    bounds = {"(the sketches' own scenes)": judge(held.own, 0.0), "(the references)": judge(held.references, 0.0)}
    page.numbers |= {name: row._asdict() for name, row in rows.items()} | {"judge": right}
    page.text(
        "## DiffSketching: a sketch and a class",
        f"{count} held-out sketches, each with a class (its own ground, the hour of another scene) and that scene's "
        f"photo as reference. From noise, {RESPACING} levels, host `{SAMPLER}`, the node's defaults; each term alone "
        "with the others at 0. SDEdit starts from the sketch and knows no class; the sketch GAN takes the reference as "
        "its style. Contours: as above. Class told: by a classifier trained apart on clean renders, which tells "
        f"{right:.0%} of held-out ones. Distance to renders as above. Diversity: mean LPIPS (built-in network) between "
        f"{SEEDS} seeds of {diverse} sketches. Less is better only in the third column.",
    )
    page.table(["", *HEADS], [[name, *row] for name, row in {**rows, **bounds}.items()])
    page.text(*verdicts(rows))
    shown = min(8, count)
    listed = [held.sketches, held.references, *results.values()]
    pictures = [picture for part in listed for picture in part[:shown]]
    page.sheet("diffsketching_examples", pictures, columns=shown, rows=["sketch", "reference", *results])


def verdicts(rows: dict[str, Row]) -> list[str]:
    """What beats the whole method in each column, and in contours and class together (their sum)."""
    said = []
    for i, head in enumerate(HEADS):
        sign = -1 if i == 2 else 1
        better = [name for name, row in rows.items() if sign * row[i] > sign * rows[WHOLE][i]]
        said.append(f"{head}: the whole method is {'beaten by ' + ', '.join(better) if better else 'the best'}.")
    both = {name: row.contours + row.classes for name, row in rows.items()}
    better = [name for name, value in both.items() if value > both[WHOLE]]
    said.append(f"Contours and class together: {'beaten by ' + ', '.join(better) if better else 'the best'}.")
    return said


# --- fine-tuning ------------------------------------------------------------------------------------------------------


class Tuned(NamedTuple):
    """One sketch before and after its fine-tuning: pictures [1,SIDE,SIDE,3] of the walk that was tuned, and of the same
    walk from noise never seen. rows: of the log, one a round. seconds: of the node, this
    process's own. memory: MiB, None: not told."""

    before: Any
    after: Any
    other_before: Any
    other_after: Any
    rows: list[dict[str, float]]
    seconds: float
    memory: float | None


def tuned(lab: Any, held: Wanted, i: int) -> Tuned:
    """One sketch: Fine-tune on a Sketch, then the same deterministic walk with and without its LoRA."""
    import tempfile
    from pathlib import Path

    import folder_paths

    doors = inprocess.room("nodes.train_diffsketching")
    sketch, reference = held.sketches[i : i + 1], held.references[i : i + 1]
    settings = usual_tuning(doors)
    settings |= {"model": lab.model, "name": "evidence", "positive": lab.label, "sketch": sketch, "vae": lab.vae}
    settings |= {"reference": reference, "seed": FIRST + i, "begin": "go on where it stopped"}
    settings |= {"optimiser": doors.OPTIMISERS[0], "decoder": "auto"}
    settings |= {"extractor": inprocess.room("nodes.extractors").load_extractor(inversion.EXTRACTOR)}
    places = dict(folder_paths.folder_names_and_paths)
    with tempfile.TemporaryDirectory() as home:
        folder_paths.folder_names_and_paths["loras"] = ([home], {".safetensors"})
        level, began = memory_now(), time.process_time()
        try:
            model = doors.SketchFineTune.execute(**settings).args[0]
        finally:
            folder_paths.folder_names_and_paths["loras"] = places["loras"]
        seconds, memory = time.process_time() - began, None if level is None else memory_peak() - level
        log = Path(home) / "evidence.training" / "lora.jsonl"
        rows = [json.loads(line) for line in log.read_text().splitlines()]

    def walk(seed: int, model: Any = None) -> Any:
        return lab.walk(
            lab.encode(reference), settings["t0"], seed, steps=settings["steps"], sampler="euler", model=model
        )

    seeds = (FIRST + i, FIRST + i + OTHER)
    before, after, other_before, other_after = [walk(seed, one) for seed in seeds for one in (None, model)]
    return Tuned(before, after, other_before, other_after, rows, seconds, memory)


def usual_tuning(doors: Any) -> dict[str, Any]:
    """The defaults of Fine-tune on a Sketch."""
    return {one.id: getattr(one, "default", None) for one in doors.SketchFineTune.define_schema().inputs}


def tuning(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """Losses, contours, time and memory of fine-tuning on each of `count` sketches, looked at beside `samples`
    renders."""
    import torch

    store = Store("evidence_finetune", (OTHER, 3), TUNING_DECIDES)
    if fresh:
        store.forget()
    held = wanted(count, samples)
    measures = inprocess.room("pictures.measures")

    def make(i: int, _: int) -> Any:
        found = tuned(lab, held, i)
        log = {"rows": found.rows, "seconds": found.seconds, "memory": found.memory}
        (store.folder / f"log {i}.json").write_text(json.dumps(log), encoding="utf-8")
        return torch.cat(found[:4], 2)  # side by side

    pictures = store.get("tuned", count, make, batch=1).split(SIDE, 2)
    logs = [json.loads((store.folder / f"log {i}.json").read_text(encoding="utf-8")) for i in range(count)]
    first, last = (torch.tensor([[log["rows"][k][n] for n in LOSSES] for log in logs]) for k in (0, -1))
    fell = {"their sum": int((last.sum(1) < first.sum(1)).sum())}
    fell |= {name: int((last[:, k] < first[:, k]).sum()) for k, name in enumerate(LOSSES)}
    usual = usual_tuning(inprocess.room("nodes.train_diffsketching"))
    timed = [log["seconds"] for log in logs if log["seconds"]]
    seconds = statistics.median(timed)
    memory = [log["memory"] for log in logs if log["memory"] is not None]
    agreement = [contour_agreement(part, held.sketches) for part in pictures]
    apart = [measures.patch_distance(part, held.renders).mean for part in pictures]
    means = [part.mean().item() for part in agreement]
    gains = {"the noise that was tuned": agreement[1] - agreement[0], "other noise": agreement[3] - agreement[2]}
    page.numbers |= {"of": count, "fell": fell, "first": first.mean(0).tolist(), "last": last.mean(0).tolist()}
    page.numbers |= {"contours": means, "distance": apart}
    page.numbers |= {"better": {name: int((gain > 0).sum()) for name, gain in gains.items()}}
    page.numbers |= {"seconds": seconds, "memory": max(memory, default=None)}
    page.text(
        "## DiffSketching: fine-tuning on one sketch",
        f"Fine-tune on a Sketch at its defaults ({usual['rounds']} rounds of {usual['steps']} steps, Adam at "
        f"{usual['learning_rate']:g}, sketch weight {usual['sketch_weight']:g}) on each of the first {count} sketches "
        f"with their references of the section above. From the first round to the last, the sum of both weighted "
        f"losses falls in {fell['their sum']} of {count} (mean {first.sum(1).mean():.3f} to {last.sum(1).mean():.3f}), "
        f"the sketch's in {fell['sketch']} ({first[:, 1].mean():.3f} to {last[:, 1].mean():.3f}), the reference's in "
        f"{fell['image']} ({first[:, 0].mean():.3f} to {last[:, 0].mean():.3f}).",
        "The same walk with and without the LoRA. Contours and distance to renders as above.",
    )
    heads = ["walk from", "contours, untuned", "tuned", "better in", "distance to renders, untuned", "tuned"]
    page.table(
        heads,
        [
            [name, *means[k : k + 2], f"{int((gain > 0).sum())} of {count}", *apart[k : k + 2]]
            for k, (name, gain) in zip((0, 2), gains.items(), strict=True)
        ],
    )
    page.text(
        f"A fine-tuning took {seconds:.0f} s of the processor (median of {len(timed)}), "
        f"{seconds / usual['rounds']:.1f} s a round, "
        + (f"and at most {max(memory):.0f} MiB above what was in use before. " if memory else "")
        + f"{machine.describe()}; {torch.get_num_threads()} threads."
    )
    shown = min(10, count)
    listed = (held.sketches, held.references, *pictures)
    names = ["sketch", "reference", "untuned", "tuned", "other noise, untuned", "other noise, tuned"]
    page.sheet("finetune_examples", [one for part in listed for one in part[:shown]], columns=shown, rows=names)
