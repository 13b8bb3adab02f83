"""What Paint2pix costs: `python3 dev/run.py bench_paint2pix [--part predict|stroke|training]`, for BENCH.md.

Predicting: Paint2pix Predict over the same networks called bare, in interleaved rounds, on the built-in painter and on
random weights of the published sizes. A stroke: all that the server does between a saved stroke and the picture in a
file. Training: steps of the built-in painter's own lesson. --small takes small networks and writes nothing: a check
that the bench itself works.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.diffsketching import clock_of
from bench.energies import Clock, timed
from bench.gan import Found, measured, mib, ratios
from bench.page import BENCH, Parts, in_parts
from evidence.paint2pix import PASSES, WEIGHTS, built_in, painter_of
from runtime import inprocess
from runtime.provision import say

MOST = 1.05  # the node over its networks
CANVAS = 256  # pixels of the painting: the node's part is to make the encoder's square of it
CYCLE = 32  # steps in which edits, discriminator and gradient penalty come as often as in training
FIRST = 10_900_000  # seeds of the scenes


# --- predicting -------------------------------------------------------------------------------------------------------


def random_painter(small: bool) -> Any:
    """Random weights in the published layout: IR-SE50 at 256 pixels and a decoder of 1024, or small ones of 64."""
    host, new = inprocess.room("host"), inprocess.room("training.paint2pix.new")
    body = new.ENCODERS[new.SMALL if small else new.PUBLISHED]
    widths, style_dim = (new.widths(64, 16), 16) if small else (new.widths(1024, 512), 512)
    made = new.new_painter(body, {"widths": widths, "style_dim": style_dim, "mappings": 8})
    return painter_of(inprocess.room("networks").build(made.state_dict(), ops=host.NETWORK_OPS).eval(), "random")


def canvas_of(side: int) -> Any:
    """IMAGE: strokes of a scene."""
    import torch

    world = inprocess.room("starter.world").World(64)
    strokes = torch.from_numpy(world.render(FIRST).strokes).float()[None] / 255
    return inprocess.room("pictures.fit").scale_image(strokes, side, side)


def predicted(painter: Any, passes: int, again: bool, rounds: int, clock: Clock) -> dict[str, Found]:
    """The node, and a copy of its networks in torch's own layers. again: with the state of the picture before, which is
    one more call of the decoder."""
    doors, pipeline = inprocess.room("nodes.paint2pix"), inprocess.room("pipelines.paint2pix")
    network, device, canvas = painter.network, painter.canvas.load_device, canvas_of(CANVAS)
    settings = (painter, canvas, passes, 0, 1.0, 1.0, 0, doors.MOST)
    state = doors.SketchPaint2pixPredict.execute(*settings).args[2] if again else None
    bare = inprocess.room("networks").build(network.state_dict(), device=device).eval()
    seen = inprocess.room("nodes.parts.painting").squared(canvas, network.encoder.size, device)

    def node() -> Any:
        return doors.SketchPaint2pixPredict.execute(*settings, state).args[0]

    def networks() -> Any:
        *_, last = pipeline.predict(bare, seen, passes)
        return bare.decoder(last.code) if again else last.picture

    return measured({"node": lambda: timed(node, clock), "networks": lambda: timed(networks, clock)}, rounds)


def predict_part(options: argparse.Namespace) -> tuple[list[str], bool]:
    """The node over its networks called bare, and the memory of both."""
    clock, told = clock_of(options)
    cases = [
        ("built in, a first picture", built_in(options.painter), PASSES, False, options.rounds),
        ("built in, with a state", built_in(options.painter), PASSES, True, options.rounds),
        ("published sizes, random weights, with a state", random_painter(options.small), 1, True, options.large_rounds),
    ]
    lines = [
        f"Paint2pix Predict for one canvas of {CANVAS} px, compared with the same weights in plain torch layers on a "
        "canvas that already has the encoder's size; medians of interleaved rounds. Memory: peak above the level "
        f"before, in the first call.{told}",
        "",
        "| network | passes | rounds | node, s | bare, s | node / bare | range | memory, node, MiB | bare, MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    reached = []
    for what, painter, passes, again, rounds in cases:
        if not rounds:
            continue
        node, bare = predicted(painter, passes, again, rounds, clock).values()
        over = ratios(node, bare)
        reached.append(statistics.median(over) <= MOST)
        size = painter.network.decoder.size
        cells = [f"{what}, {size} px", str(passes), str(rounds)]
        cells += [f"{statistics.median(one.seconds):.4f}" for one in (node, bare)]
        cells += [f"**{statistics.median(over):.3f}**", f"{min(over):.3f} to {max(over):.3f}", mib(node), mib(bare)]
        lines.append(f"| {' | '.join(cells)} |")
        say("  " + ", ".join(cells))
    return [*lines, "", f"Target: at most {MOST} in every row."], all(reached)


# --- from a stroke to its picture -------------------------------------------------------------------------------------


def stroke_part(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Sketch Canvas, Paint2pix Predict with the last state, a PNG file."""
    import numpy as np
    from PIL import Image

    canvas, doors = inprocess.room("pictures.canvas"), inprocess.room("nodes.paint2pix")
    clock, told = clock_of(options)
    painter = built_in(options.painter)
    settings = (PASSES, 0, 1.0, 1.0, 0, doors.MOST)
    picture, _, state = doors.SketchPaint2pixPredict.execute(painter, canvas_of(CANVAS), *settings).args
    parts: dict[str, list[float]] = {"read the strokes and lay them over": [], "predict": [], "write the picture": []}
    with tempfile.TemporaryDirectory() as place:
        for i in range(options.rounds + 1):
            stroke = np.zeros((CANVAS, CANVAS, 4), np.uint8)
            stroke[60 + 4 * i : 100 + 4 * i, 40:200] = (90, 60 + 5 * (i % 20), 40, 255)
            file = Path(place) / "stroke.png"
            Image.fromarray(stroke).save(file)
            times = [clock()]
            ground = inprocess.room("pictures.fit").scale_image(picture, CANVAS, CANVAS)
            composite = canvas.lay_over(canvas.read_layer(file, CANVAS, CANVAS), ground)
            times.append(clock())
            picture, _, state = doors.SketchPaint2pixPredict.execute(painter, composite, *settings, state).args
            times.append(clock())
            Image.fromarray((picture[0] * 255).byte().numpy()).save(Path(place) / "picture.png", compress_level=4)
            times.append(clock())
            for part, (a, b) in zip(parts.values(), pairwise(times), strict=True):
                part.append(1000 * (b - a))
    strokes = list(zip(*parts.values(), strict=True))[1:]  # the first one warms up
    whole = [sum(one) for one in strokes]
    lines = [
        f"Milliseconds between a stroke that is saved and its picture in a file, over {len(whole)} strokes on a canvas "
        f"of {CANVAS} px, each on the picture before and with its state, {PASSES} pass of the built-in painter, "
        f"{painter.network.decoder.size} px. What the editor and the browser add: `bench_live`.{told}",
        "",
        "| part | median | fastest | slowest |",
        "| --- | --- | --- | --- |",
    ]
    for name, values in [*zip(parts, zip(*strokes, strict=True), strict=True), ("**all of it**", whole)]:
        lines.append(f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |")
        say(lines[-1])
    return lines, True


# --- training ---------------------------------------------------------------------------------------------------------


def lessons(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The built-in painter's lesson as it is trained, and with one thing changed at a time."""
    trainer, lesson = inprocess.room("starter.training.painter"), inprocess.room("training.paint2pix.lesson")
    new, canvases = inprocess.room("training.paint2pix.new"), inprocess.room("training.paint2pix.canvases")
    experts, settings = inprocess.room("nodes.extractors"), inprocess.room("training.paint2pix.settings").Settings
    known = inprocess.room("starter.training.paintings").world_paintings(folder, "bench", 2 * options.batch, FIRST)
    percept = lesson.percept_of(experts.load_features(experts.STARTER), trainer.SIZE, "cpu")
    usual = {
        "batch": options.batch,
        "decoder_rate": 2e-3,
        "learning_rate": 2e-3,
        "features": 1.0,
        "identity": 0.0,
        "edit_every": 4,
        "adversarial": 0.2,
        "adversarial_every": 2,
        "r1": trainer.R1,
        "bfloat16": True,
    }
    cases = {
        "as it is": {},
        "before the discriminator joins": {"adversarial": 0.0},
        "float32": {"bfloat16": False},
    }
    return {
        name: lesson.PainterLesson(
            canvases.Canvases(known, options.batch, 0),
            trainer.new_starter(),
            settings(**{**usual, **changed}),
            percept=percept,
            discriminator=new.new_discriminator(trainer.JUDGE),
        )
        for name, changed in cases.items()
    }


def training_part(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Rounds of CYCLE steps of every case."""
    clock, told = clock_of(options)
    with tempfile.TemporaryDirectory() as folder, inprocess.room("networks.frozen").gradients():
        made = lessons(options, Path(folder))

        def steps(lesson: Any) -> Callable[[], float]:
            number = iter(range(1 << 30))

            def cycle() -> float:
                began = clock()
                for _ in range(options.steps):
                    losses = lesson.step(next(number), 1.0)[0]
                    float(sum(losses.values()))  # waits for a GPU
                return clock() - began

            return cycle

        try:
            found = measured({name: steps(lesson) for name, lesson in made.items()}, options.training_rounds)
        finally:
            for lesson in made.values():
                for one in lesson.closing:
                    one.__exit__()
    lines = [
        f"The built-in painter's training at batch {options.batch}: {options.training_rounds} interleaved rounds of "
        f"{options.steps} steps, in which edits, discriminator and gradient penalty come as often as they do in "
        "training. Of what is listed, one thing is changed at a time. Memory: peak above the level before, in the "
        f"first round, which also creates Adam's moments.{told}",
        "",
        "| training | steps per second | range | memory, MiB |",
        "| --- | --- | --- | --- |",
    ]
    for name, one in found.items():
        rates = [options.steps / seconds for seconds in one.seconds]
        cells = [name, f"{statistics.median(rates):.2f}", f"{min(rates):.2f} to {max(rates):.2f}", mib(one)]
        lines.append(f"| {' | '.join(cells)} |")
        say("  " + ", ".join(cells))
    return lines, True


PARTS: Parts = {
    "predict": ("Paint2pix: predicting", predict_part),
    "stroke": ("Paint2pix: from stroke to picture", stroke_part),
    "training": ("Paint2pix: training", training_part),
}


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(
        prog="bench_paint2pix", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", dest="parts", choices=list(PARTS), help="only this one; repeatable")
    parser.add_argument("--painter", type=Path, default=WEIGHTS, help="weights on trial in the built-in ones' place")
    parser.add_argument("--rounds", type=int, default=21, help="of predictions and strokes")
    parser.add_argument(
        "--large-rounds", type=int, default=3, help="of the published sizes, half a minute each; 0: none"
    )
    parser.add_argument("--training-rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=CYCLE, help="in a round of training")
    parser.add_argument("--batch", type=int, default=16, help="pictures in a training step")
    parser.add_argument("--shared", action="store_true", help="seconds of this process: the machine has other work")
    parser.add_argument("--small", action="store_true", help="small networks, nothing written")
    parser.add_argument("--output", type=Path, default=BENCH)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())
    if not options.painter.is_file():
        parser.error(f"{options.painter} is not there; train it, or choose --painter")

    def threads() -> list[str]:
        count = torch.get_num_threads()
        return [f"{count} thread{'s' * (count > 1)} of torch.", ""]

    return in_parts(PARTS, options, threads)


if __name__ == "__main__":
    sys.exit(main())
