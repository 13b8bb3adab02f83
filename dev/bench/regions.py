"""What regions with words cost: steps with Cross-Attention Region Map over plain ones on an SD1.5-shaped random model.

`python3 dev/run.py bench_regions [--rounds 9] [--side 512] [--small]` renews its own section of docs/BENCH.md. Steps
are timed inside one sampling run, each round once plain and once with each method, in an order that turns round by
round. --small takes the tests' tiny model instead and writes nothing: a check that the bench itself works.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.energies import memory_now, memory_peak, timed
from bench.page import BENCH, in_host, renew
from bench.real_size import UNET, sd15
from runtime import inprocess
from runtime.provision import say

HEADING = "Regions with words on SD1.5's shape"
MOST = 1.05  # a step with regions over a plain one, both with a negative prompt
PLAIN = "plain"
WORDS = ((2,), (5, 6), (9, 10))  # the places of three phrases, five tokens


def prompts(width: int, side: int) -> dict[str, list]:
    """CONDITIONING of 77 random tokens: plain, and with three soft regions for each method."""
    import torch

    regions, patch = inprocess.room("guidance.regions.regions"), inprocess.room("guidance.regions.patch")
    generator = torch.Generator().manual_seed(3)
    context = torch.randn(1, 77, width, generator=generator)
    named = tuple(
        regions.Named(regions.Region(torch.rand(1, side, side, generator=generator).gt(0.6).float(), "", 1.2), places)
        for places in WORDS
    )
    placed = {method: regions.Placed(named, regions.Pull(method)) for method in regions.METHODS}
    return {PLAIN: [[context, {}]]} | {method: [[context, {patch.REGIONS: one}]] for method, one in placed.items()}


def steps(cases: dict[str, list], rounds: int, found: dict[str, list[float]], memory: dict[str, Any]) -> Callable:
    """A sampler function that times one step under each of the positive prompts; it changes nothing of the sample."""

    def sample(model: Any, x: Any, sigmas: Any, extra_args: Any = None, callback: Any = None, disable: Any = None):
        level = sigmas[0] * x.new_ones([len(x)])
        guider = model.inner_model
        every = guider.conds["positive"]  # one prompt a case, prepared by the host for this run

        def step(number: int) -> float:
            guider.conds["positive"] = every[number : number + 1]
            return timed(lambda: model(x, level, **extra_args))

        names = list(cases)
        for number, name in enumerate(names):
            before = memory_now()
            step(number)
            memory[name] = None if before is None else memory_peak() - before
        for i in range(rounds):
            for number in range(len(names)):
                turned = (number + i) % len(names)
                found[names[turned]].append(step(turned))
        guider.conds["positive"] = every
        return x

    return sample


def measure(model: Any, width: int, side: int, rounds: int, cfg: float) -> tuple[dict[str, list[float]], dict]:
    """Seconds of every step, and the memory of the first, MiB, by case."""
    import comfy.sample
    import torch
    from comfy.samplers import KSAMPLER

    cases = prompts(width, side)
    found: dict[str, list[float]] = {name: [] for name in cases}
    memory: dict[str, Any] = {}
    patched = inprocess.room("guidance.regions.patch").patch(model)
    positive = [entry for one in cases.values() for entry in one]
    latent = torch.zeros(1, 4, side // 8, side // 8)
    noise, sigmas = torch.randn(latent.shape, generator=torch.Generator().manual_seed(2)), torch.tensor([2.03, 0.0])
    walk = KSAMPLER(steps(cases, rounds, found, memory))
    comfy.sample.sample_custom(
        patched, noise, cfg, walk, sigmas, positive, cases[PLAIN], latent, disable_pbar=True, seed=1
    )
    return found, memory


def section(model: Any, width: int, side: int, rounds: int) -> tuple[list[str], bool]:
    """The lines of the report, and whether the aim was reached."""
    lines = [
        f"A step at {side} px, batch 1, 77 tokens, three regions with five tokens in total, compared with a step for "
        f"the same prompt without regions; {rounds} interleaved rounds, medians "
        f"({str(model.model.get_dtype()).replace('torch.', '')}). Memory: peak above the level before, in the first "
        "step of each kind.",
        "",
        "| prompts | method | step, s | times plain | range | memory, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    reached = True
    for cfg, what in ((7.0, "positive and negative"), (1.0, "positive only")):
        found, memory = measure(model, width, side, rounds, cfg)
        for name, seconds in found.items():
            over = [a / b for a, b in zip(seconds, found[PLAIN], strict=True)]
            ratio = statistics.median(over)
            reached &= ratio <= MOST or name != "GradOP" or cfg == 1.0
            used = "" if memory[name] is None else f"{memory[name]:.0f}"
            cells = [what, name, f"{statistics.median(seconds):.3f}", f"**{ratio:.3f}**"]
            cells += [f"{min(over):.2f} to {max(over):.2f}", used]
            lines.append(f"| {' | '.join(cells)} |")
            say("  " + ", ".join(cells[:4]))
    return [*lines, "", f"Target: at most {MOST} for GradOP with a negative prompt."], reached


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench_regions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds, 7 or more to be worth writing down")
    parser.add_argument("--side", type=int, default=512, help="pixels of the pictures")
    parser.add_argument("--small", action="store_true", help="a tiny model, nothing written")
    parser.add_argument("--output", type=Path, default=BENCH)
    options = parser.parse_args()

    def work() -> bool:
        if options.small:
            sys.path.append(str(inprocess.PACK / "tests"))
            from helpers import tiny

            section(tiny.model("sd15"), 16, options.side, options.rounds)
            return True
        say(f"{HEADING} ...")
        lines, reached = section(sd15(), UNET["context_dim"], options.side, options.rounds)
        renew(options.output, {HEADING: lines})
        return reached

    return 0 if in_host(work) else 1


if __name__ == "__main__":
    sys.exit(main())
