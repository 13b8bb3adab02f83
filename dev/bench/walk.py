"""`python3 dev/run.py bench [--pairs 9] [--no-energies] [--output FILE]`: what our nodes cost beside the host's.

The walk: NoiseToT0, SketchSDESampler, SketchRepeatSampler (1) and SamplerCustom against the stock KSampler's `ddpm`
with as many steps on the same MODEL; pairs are interleaved and change order, so that a busy machine hurts both alike.
Peak memory is taken in a fresh process for each case. Then what energies cost (bench/energies.py, which also runs by
itself). Writes docs/BENCH.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import energies
from bench.page import BENCH, in_host, renewed
from runtime import inprocess, machine
from runtime.provision import say

PACK = inprocess.PACK
STEPS = 25
BATCHES = (1, 8)
CASES = ("ours", "stock")
MOST = 1.03  # ours over stock
MOST_IMPORT = 0.1  # seconds


class Bench:
    """Both walks on the same model, from the same strokes-like guide."""

    def __init__(self) -> None:
        import torch

        priors, doors = inprocess.room("nodes.priors"), inprocess.room("nodes.sdedit")
        self.model = priors.SketchPriorLoader.execute(priors.STARTER, 64, 4, "legacy", 0, "auto").args[0]
        (self.label,) = priors.SketchPriorLabel.execute(-1).args
        self.doors = doors
        self.guide = torch.rand(max(BATCHES), 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def ours(self, batch: int) -> Any:
        from comfy_extras.nodes_custom_sampler import SamplerCustom

        latent = {"samples": self.guide[:batch]}
        sigmas = self.doors.NoiseToT0.execute(self.model, latent, 0.5, "published noise level", STEPS, 1).args[0]
        (sampler,) = self.doors.SketchSDESampler.execute("small", "host").args
        (sampler,) = self.doors.SketchRepeatSampler.execute(sampler, 1).args
        return SamplerCustom.execute(self.model, True, 1, 1.0, self.label, self.label, sampler, sigmas, latent).args[0]

    def stock(self, batch: int) -> Any:
        nodes = inprocess.host_nodes()
        latent = {"samples": self.guide[:batch]}
        return nodes.common_ksampler(
            self.model, 1, STEPS, 1.0, "ddpm", "normal", self.label, self.label, latent, denoise=0.5
        )[0]

    def run(self, case: str, batch: int) -> float:
        began = time.perf_counter()
        getattr(self, case)(batch)["samples"].sum().item()  # .item() waits for a GPU
        return time.perf_counter() - began

    def calls(self, case: str, batch: int) -> int:
        """How often the network is called in one walk."""
        count = 0

        def seen(*_: Any) -> None:
            nonlocal count
            count += 1

        hook = self.model.model.diffusion_model.register_forward_hook(seen)
        try:
            self.run(case, batch)
        finally:
            hook.remove()
        return count

    def pairs(self, batch: int, count: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {case: [] for case in CASES}
        for i in range(count):
            for case in CASES if i % 2 else CASES[::-1]:
                found[case].append(self.run(case, batch))
        return found


def peak_memory() -> float:
    """Highest use so far of this process in MiB: of the GPU where ComfyUI computes on one, else of main memory."""
    import comfy.model_management as management
    import torch

    if management.get_torch_device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def memory_of(case: str) -> tuple[float, float]:
    """(after loading, after a walk of the largest batch), MiB, in a fresh process."""
    command = inprocess.tool_command("bench.walk", "--memory", case)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PACK)
    if done.returncode:
        raise RuntimeError(f"the memory case {case} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    loaded, peak = json.loads(done.stdout.splitlines()[-1])
    return loaded, peak


def show_memory(case: str) -> Callable[[], None]:
    def work() -> None:
        bench = Bench()
        loaded = peak_memory()
        bench.run(case, max(BATCHES))
        print(json.dumps([loaded, peak_memory()]))

    return work


def compared(pairs: int) -> tuple[list[str], bool]:
    """Our nodes beside the stock KSampler, and whether the target is met."""
    bench, fine = Bench(), True
    lines = [
        "## SDEdit compared with the stock KSampler",
        "",
        f"Starter prior, 64 px, {STEPS} steps of ddpm, {pairs} interleaved pairs of runs after one warm-up each. "
        "Ours: Noise to t0, SDE Sampler, Repeat Sampler (1), SamplerCustom. Stock: KSampler. The ratio is the "
        f"median of the pairs' ratios; target: at most {MOST}.",
        "",
        "| batch | network calls per run | ours, s | stock, s | ratio | range |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for batch in BATCHES:
        calls = [bench.calls(case, batch) for case in CASES]
        if calls != [STEPS, STEPS]:
            raise RuntimeError(f"not a fair pair: ours calls the network {calls[0]} times, stock {calls[1]} times")
        found = bench.pairs(batch, pairs)
        ratios = [ours / stock for ours, stock in zip(found["ours"], found["stock"], strict=True)]
        ratio = statistics.median(ratios)
        fine &= ratio <= MOST
        medians = [f"{statistics.median(found[case]):.3f}" for case in CASES]
        say(f"batch {batch}: {ratio:.3f} times the stock KSampler ({medians[0]} s over {medians[1]} s)")
        lines.append(
            f"| {batch} | {STEPS} | {medians[0]} | {medians[1]} | **{ratio:.3f}** | "
            f"{min(ratios):.3f} to {max(ratios):.3f} |"
        )
    return [*lines, ""], fine


def imported() -> tuple[list[str], bool]:
    """What importing the pack takes, and whether the target is met."""
    from tools import import_time

    seconds = [one["seconds"] for one in import_time.measure(5)]
    median = statistics.median(seconds)
    say(f"import: {median:.3f} s")
    lines = [
        "## Importing the pack",
        "",
        f"Median of 5 fresh processes, with ComfyUI's own loader: **{median:.3f} s** (target: "
        f"at most {MOST_IMPORT} s; all five: {', '.join(f'{one:.3f}' for one in seconds)}).",
        "",
    ]
    return lines, median <= MOST_IMPORT


def remembered() -> tuple[list[str], bool]:
    """Peak memory of a run."""
    lines = [
        "## Peak memory",
        "",
        f"One run with a batch of {max(BATCHES)} in a fresh process, in MiB.",
        "",
        "| | after loading | peak |",
        "| --- | --- | --- |",
    ]
    for case in CASES:
        loaded, peak = memory_of(case)
        say(f"peak memory, {case}: {peak:.0f} MiB")
        lines.append(f"| {case} | {loaded:.0f} | {peak:.0f} |")
    return lines, True


def write_report(options: argparse.Namespace) -> Callable[[], bool]:
    def work() -> bool:
        parts = [compared(options.pairs), imported(), remembered()]
        lines = ["# Bench", "", f"Made by `python3 dev/run.py bench`. Machine: {machine.describe()}.", ""]
        page = "\n".join([*lines, *(line for part, _ in parts for line in part)]) + "\n"
        fine = all(reached for _, reached in parts)
        if options.energies:
            found, reached = energies.sections(list(energies.PARTS), options)
            page = renewed(page, found)
            fine &= reached
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(page, encoding="utf-8")
        say(f"{options.output} written")
        return fine

    return work


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="interleaved pairs, 7 or more to be worth writing down")
    parser.add_argument("--output", type=Path, default=BENCH)
    parser.add_argument("--no-energies", dest="energies", action="store_false", help="leave the energies out")
    energies.arguments(parser)
    parser.add_argument("--memory", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        in_host(show_memory(options.memory))
        return 0
    return 0 if in_host(write_report(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
