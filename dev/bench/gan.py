"""What the sketch GAN costs: `python3 dev/run.py bench_gan [--part decode|training] [--rounds 9]`, for BENCH.md.

Decoding: Sketch GAN Decode over the same networks called bare, in interleaved rounds. Training: steps of both stages as
they are, and with one thing changed at a time, in an order that turns round by round; what a step still has to wait for
belongs to it. --small takes small networks and writes nothing: a check that the bench itself works.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.energies import memory_now, memory_peak, timed
from bench.page import BENCH, Parts, in_parts
from bench.real_size import randomise
from runtime import inprocess
from runtime.provision import say

MOST = 1.05  # the node over its networks
SCENES = 12
PHOTO, SKETCH = 1024, 512  # sides of the files


class Found(NamedTuple):
    """What a case took: seconds of every round, and the most memory of its first run beside what was there before.

    memory: MiB, None where it cannot be told.
    """

    seconds: list[float]
    memory: float | None


def measured(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Found]:
    """Each case's seconds, as it says them itself; the first run warms up, and is the one whose memory counts."""
    found: dict[str, Found] = {}
    for name, run in cases.items():
        before = memory_now()
        seconds = run()
        found[name] = Found([], None if before is None else memory_peak() - before)
        say(f"  first {name}: {seconds:.2f} s")
    names = list(cases)
    for i in range(rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].seconds.append(cases[name]())
    return found


def ratios(one: Found, other: Found) -> list[float]:
    return [a / b for a, b in zip(one.seconds, other.seconds, strict=True)]


def mib(found: Found) -> str:
    return "" if found.memory is None else f"{found.memory:.0f}"


# --- decoding ---------------------------------------------------------------------------------------------------------


def random_gan(width: int, size: int) -> Any:
    """A SKETCH_GAN of random weights, with the host's layers and behind a host ModelPatcher."""
    host = inprocess.room("host")
    network = inprocess.room("networks.sketchgan.whole").SketchGAN(width=width, size=size, ops=host.NETWORK_OPS).eval()
    return inprocess.room("pipelines.sketchgan").GAN("random", host.network_patcher(randomise(network)))


def decoded(gan: Any, refine: bool, rounds: int) -> dict[str, Found]:
    """The node, and a copy of its networks in torch's own layers, from one sketch and one style."""
    import torch

    doors, pictures = inprocess.room("nodes.sketchgan"), inprocess.room("pipelines.sketchgan")
    noise = inprocess.room("pipelines.sketchgan").draw_noise
    size, draft = gan.network.size, gan.network.draft
    device = gan.patcher.load_device
    sketch = torch.from_numpy(inprocess.room("starter.world").World(draft).render(10_700_000).sketch).float() / 255
    sketch = sketch[None, ..., None].expand(-1, -1, -1, 3).contiguous()
    style = doors.encode(gan, torch.rand(1, size, size, 3, generator=torch.Generator().manual_seed(1)))
    bare = inprocess.room("networks").build(gan.network.state_dict(), device=device)
    seen, levels = pictures.squared(sketch, draft).to(device), [level.to(device) for level in style.levels]

    def node() -> Any:
        settings = (refine, 1, pictures.RUNNING, pictures.STRETCHED)
        return doors.SketchGANDecode.execute(gan, sketch, style, *settings).args[0]

    def networks() -> Any:
        made = bare.drafts(seen, levels)
        if not refine:
            return made
        return bare.refined(made, levels, *noise(bare.generator, 1, torch.Generator().manual_seed(1)))

    return measured({"node": lambda: timed(node), "networks": lambda: timed(networks)}, rounds)


def decode_part(options: argparse.Namespace) -> tuple[list[str], bool]:
    """The node over its networks called bare, and the memory of both."""
    doors = inprocess.room("nodes.sketchgan")
    side, width = (128, 8) if options.small else (512, 64)
    random = random_gan(width, side)
    cases = [(f"art, width {width}, {side} px", random, True), (f"its draft only, {side} px", random, False)]
    if doors.STARTER_GAN.is_file():
        starter = doors.load_gan(doors.STARTER)
        cases.append((f"the starter's, width {starter.network.width}, {starter.network.size} px", starter, True))
    lines = [
        "Sketch GAN Decode for one sketch at the network's size, compared with the same weights in plain torch "
        f"layers and freshly drawn noise; medians of {options.rounds} interleaved rounds. Weights are random except "
        "the starter's. Memory: peak above the level before, in the first call.",
        "",
        "| network | node, s | bare, s | node / bare | range | memory, node, MiB | bare, MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    reached = []
    for what, gan, refine in cases:
        node, bare = decoded(gan, refine, options.rounds).values()
        over = ratios(node, bare)
        reached.append(statistics.median(over) <= MOST)
        cells = [what, *(f"{statistics.median(one.seconds):.3f}" for one in (node, bare))]
        cells += [f"**{statistics.median(over):.3f}**", f"{min(over):.3f} to {max(over):.3f}", mib(node), mib(bare)]
        lines.append(f"| {' | '.join(cells)} |")
        say("  " + ", ".join(cells))
    return [*lines, "", f"Target: at most {MOST} in the first row."], reached[0]


# --- training ---------------------------------------------------------------------------------------------------------


def files(folder: Path) -> Any:
    """Photos (JPEG) and their sketches (PNG), as a user brings them."""
    from PIL import Image

    world, data = inprocess.room("starter.world").World(256), inprocess.room("training.photos")
    places = {"photos": folder / "photos", "sketches": folder / "sketches"}
    for place in places.values():
        place.mkdir()
    for i in range(SCENES):
        scene = world.render(i)
        photo, sketch = Image.fromarray(scene.image), Image.fromarray(scene.sketch)
        photo.resize((PHOTO, PHOTO)).save(places["photos"] / f"{i:02d}.jpg", quality=90)
        sketch.resize((SKETCH, SKETCH)).save(places["sketches"] / f"{i:02d}.png")
    return data.paired(places["photos"], [places["sketches"]])


def filled(store: Any) -> Any:
    """The store once every picture was read at every size that training wants."""
    wide = int(inprocess.room("training.sketchgan.augment").WIDE * store.side)
    for i in range(store.pictures.count):
        for read in (store.photo, lambda i: store.photo(i, wide), lambda i: store.sketch(0, i)):
            read(i)
        store.bold(0, i)
    return store


def plain(batch: Any) -> Any:
    """A batch with its channels in torch's first order."""
    if hasattr(batch, "contiguous"):
        return batch.contiguous()
    if isinstance(batch, (list, tuple)):
        parts = [plain(part) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else parts
    return batch


def plain_step(lesson: Any, step: int) -> Any:
    """A lesson's step from its parts, without channels_last; its networks are in torch's first order of channels."""
    steps, draft_steps = (
        inprocess.room("training.sketchgan.generator"),
        inprocess.room("training.sketchgan.autoencoder"),
    )
    to_device = inprocess.room("training.batches").to_device  # in torch's first order of channels
    if lesson.name == "gan":
        pieces = [(plain(to_device(batch, lesson.device)), draws) for batch, draws in lesson.ahead(step)]
        nets = (lesson.ae, lesson.generator, lesson.discriminator, lesson.optimisers)
        return steps.gan_step(*nets, pieces, lesson.percept, averaged=lesson.averaged)[0]
    pieces = [
        (plain(to_device(batch, lesson.device)), draws, plain(to_device(pair, lesson.device)), order)
        for batch, draws, pair, order in lesson.ahead(step)
    ]
    nets = (lesson.nets, lesson.optimisers)
    losses, _ = draft_steps.ae_self_step(*nets, [piece[:2] for piece in pieces], lesson.percept)
    return losses | draft_steps.ae_pair_step(*nets, [piece[2:] for piece in pieces], lesson.percept)[0]


def stepper(lesson: Any, stack: ExitStack, way: str) -> Callable[[], float]:
    """Seconds of one more step of a lesson. way: BARE or SINGLE take one thing away, anything else nothing."""
    ahead, number = lesson.ahead, iter(range(1 << 30))
    stack.callback(ahead.__exit__)
    if way == SINGLE:
        lesson.ahead = ahead.make
    if way == BARE:
        networks = (
            [*lesson.nets] if lesson.name == "autoencoder" else [*lesson.ae, lesson.generator, lesson.discriminator]
        )
        for network in networks:
            _first_order(network)

    def step() -> float:
        i = next(number)
        began = time.perf_counter()
        losses = plain_step(lesson, i) if way == BARE else lesson.step(i, 0.0)[0]
        float(sum(losses.values()))  # waits for a GPU
        if ahead.next is not None:
            ahead.next[1].result()
        return time.perf_counter() - began

    return step


def _first_order(network: Any) -> None:
    import torch

    network.to(memory_format=torch.contiguous_format)


BASE, SINGLE, BARE, HALF, PIECES, READ = "as it is", "no thread", "no channels_last", "bf16", "pieces", "no cache"
ONCE = "once"  # a step that is not measured: it also takes what a process needs once
SPEED_UPS = {  # what is measured with and without it
    "batches prefetched on a thread": (BASE, SINGLE),
    "channels_last": (BASE, BARE),
    "bfloat16": (HALF, BASE),
    "two half batches (accumulation)": (PIECES, BASE),
    "resized files kept in memory": (BASE, READ),
}


def training_part(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Steps of both stages with and without each thing that is to make them faster or smaller."""
    import comfy.model_management as management

    experts, frozen = inprocess.room("nodes.extractors"), inprocess.room("networks.frozen")
    data, lessons = inprocess.room("training.photos"), inprocess.room("training.sketchgan.lessons")
    side, width, judge = (128, 8, 8) if options.small else (256, options.width, 32)
    settings = lessons.Settings(size=side, width=width, discriminator=judge, batch=options.batch)
    changed = {
        HALF: replace(settings, bfloat16=True),
        PIECES: replace(settings, batch=options.batch // 2, accumulation_steps=2),
    }
    features, device = experts.load_features(experts.STARTER), management.get_torch_device()
    lines = [
        f"Steps at {side} px, art, width {width}, discriminator {judge}, batch {options.batch}, float32, the built-in "
        f"feature network; {SCENES} photos of {PHOTO} px as JPEG, sketches of {SKETCH} px as PNG; "
        f"{options.training_rounds} interleaved rounds of one step, medians. Of the settings that users can choose, "
        "one is changed at a time; the other rows switch off something that is always on. Memory: peak above the "
        "level before, in the first step, which also creates Adam's moments.",
        "",
        "| stage | feature | steps per second, with | without | with / without | range | memory, with, MiB | without |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    batches: list[str] = []
    with tempfile.TemporaryDirectory() as folder, frozen.gradients(), ExitStack() as stack:
        pictures = files(Path(folder))
        stores = {READ: data.Store(pictures, side, keep=0)}
        kept, drafts = filled(data.Store(pictures, side)), {}
        for stage in ("autoencoder", "generator"):
            runs, making = {}, {}
            for way in (ONCE, BASE, SINGLE, BARE, HALF, PIECES, READ):
                parts = (stores.get(way, kept), features, changed.get(way, settings))
                first = stage == "autoencoder"
                lesson = (
                    lessons.AutoencoderLesson(*parts, device)
                    if first
                    else lessons.GeneratorLesson(*parts, drafts, device)
                )
                drafts = drafts or lesson.weights(1)
                making[way] = lesson.ahead.make
                runs[way] = stepper(lesson, stack, way)
            say(f"  {stage}")
            runs.pop(ONCE)()
            found = measured(runs, options.training_rounds)
            for what, (with_it, without) in SPEED_UPS.items():
                sides = found[with_it], found[without]
                over = ratios(*reversed(sides))
                cells = [stage, what, *(f"{1 / statistics.median(one.seconds):.3f}" for one in sides)]
                cells += [f"**{statistics.median(over):.2f}**", f"{min(over):.2f} to {max(over):.2f}"]
                lines.append(f"| {' | '.join([*cells, *map(mib, sides)])} |")
                say("  " + ", ".join([*cells[1:], *map(mib, sides)]))
            spent = [_seconds(making[way], options.training_rounds) for way in (BASE, READ)]
            batches.append(f"{stage} {spent[0]:.3f} s ({spent[1]:.3f} s without the file cache)")
    return [*lines, "", f"Time to make the batches of one step: {'; '.join(batches)}."], True


def _seconds(make: Callable[[int], Any], rounds: int) -> float:
    """Median of so many steps' batches."""
    spent = []
    for step in range(rounds):
        began = time.perf_counter()
        make(step)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


PARTS: Parts = {
    "decode": ("Sketch GAN: decoding", decode_part),
    "training": ("Sketch GAN: training", training_part),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench_gan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", dest="parts", choices=list(PARTS), help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=9, help="of decoding, 7 or more to be worth writing down")
    parser.add_argument("--training-rounds", type=int, default=7, help="of each stage, one step a case")
    parser.add_argument("--width", type=int, default=16, help="of the networks that are trained; published 64")
    parser.add_argument("--batch", type=int, default=4, help="pictures in a training step, even, 4 or more")
    parser.add_argument("--small", action="store_true", help="small networks, nothing written")
    parser.add_argument("--output", type=Path, default=BENCH)
    options = parser.parse_args()

    return in_parts(PARTS, options)


if __name__ == "__main__":
    sys.exit(main())
