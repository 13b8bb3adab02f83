"""What GradOP+ costs: `python3 dev/run.py bench_gradop [--pairs 7] [--side 512] [--steps 50]`, for BENCH.md.

A UNet of SD1.5's shape with random weights, euler, cfg 7.5, GradOP+ as published: the whole run over the plain one,
through the VAE, a TAESD and the linear map, in interleaved rounds, with the most memory beside what was there before.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inprocess
import machine
from bench_energies import memory_now, memory_peak, renewed, timed
from provision import say
from real_size import LINEAR, TAESD, UNET, VAE, sd15, vaes

PACK = inprocess.PACK
PLAIN, MIXED = "plain", "linear, then VAE"
HEADING = "GradOP+ over plain sampling"
MOST = {TAESD: 1.3, LINEAR: 1.3}
DECODERS = {VAE: "vae", TAESD: "fast vae", LINEAR: "linear", MIXED: "linear, then vae"}


def walks(model: Any, seen: dict[str, Any], options: argparse.Namespace, width: int) -> dict[str, Callable[[], Any]]:
    """Each way of sampling the same latent from the same seed. width: of the prompts' tokens."""
    import comfy.samplers
    import torch
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    node = inprocess.room("nodes.gradop").GradOpSolve
    numbers = torch.Generator().manual_seed(1)
    painting = torch.rand(1, 8, 8, 3, generator=numbers).repeat_interleave(32, 1).repeat_interleave(32, 2)
    prompts = [[[torch.randn(1, 77, width, generator=numbers), {}]] for _ in range(2)]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "ddim_uniform", options.steps)
    side = options.side // 8
    latent = {"samples": torch.zeros(1, 4, side, side)}

    def walk(sampler: Any) -> Any:
        return SamplerCustom.execute(model, True, 1, 7.5, *prompts, sampler, sigmas, latent).args[0]["samples"]

    def solve(decoder: str) -> Any:
        settings = ("GradOP+", 0.8, 3, 12, 0.1, "gaussian", 0.0, decoder, 0.001, 6)
        return walk(node.execute(seen[VAE], painting, *settings, fast_vae=seen[TAESD]).args[0])

    ways: dict[str, Callable[[], Any]] = {PLAIN: lambda: walk(comfy.samplers.sampler_object("euler"))}
    return ways | {name: lambda decoder=decoder: solve(decoder) for name, decoder in DECODERS.items()}


def section(
    model: Any, seen: dict[str, Any], options: argparse.Namespace, width: int = UNET["context_dim"]
) -> tuple[list[str], bool]:
    """The lines of the section, and whether every aim was reached. Inside the host."""
    ways = walks(model, seen, options, width)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    memory: dict[str, float | None] = {}
    for i in range(options.pairs + 1):
        names = list(ways)[i % len(ways) :] + list(ways)[: i % len(ways)]
        for name in names:
            before = memory_now()
            took = timed(ways[name])
            if i == 0:  # the first round warms up, and is the one whose memory counts
                memory[name] = None if before is None else memory_peak() - before
                say(f"  first {name}: {took:.2f} s")
            else:
                seconds[name].append(took)
    dtypes = f"{model.model.get_dtype()} UNet, {seen[VAE].vae_dtype} decoders".replace("torch.", "")
    lines = [
        f"Random weights of SD1.5's shape, {options.side} px, batch 1, {options.steps} steps of euler, cfg 7.5, 3 "
        f"rounds of 12 gradient steps ({dtypes}). {options.pairs} interleaved rounds after a warm-up; memory: most in "
        "use beside what was there before.",
        "",
        "| walk | seconds | over plain | single | memory, MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    fine = True
    for name, found in seconds.items():
        over = [a / b for a, b in zip(found, seconds[PLAIN], strict=True)]
        ratio, most = statistics.median(over), memory[name]
        fine &= ratio <= MOST.get(name, ratio)
        cells = [name, f"{statistics.median(found):.2f}", f"**{ratio:.2f}**", f"{min(over):.2f} to {max(over):.2f}"]
        lines.append(f"| {' | '.join([*cells, '' if most is None else f'{most:.0f}'])} |")
        say(f"  {name}: {ratio:.2f} times the plain walk")
    lines += ["", f"Aim: at most {MOST[TAESD]} with a TAESD and with the linear map."]
    return lines, fine


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_gradop", description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="interleaved rounds, 7 or more to be worth writing down")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--output", type=Path, default=PACK / "docs" / "BENCH.md")
    options = parser.parse_args()
    from bench import in_host

    def work(_: Any) -> bool:
        lines, fine = section(sd15(), vaes(), options)
        page = options.output.read_text(encoding="utf-8") if options.output.exists() else "# Bench\n"
        found = {HEADING: [f"Machine: {machine.describe()}.", "", *lines]}
        options.output.write_text(renewed(page, found), encoding="utf-8")
        return fine

    return 0 if in_host(work) else 1


if __name__ == "__main__":
    sys.exit(main())
