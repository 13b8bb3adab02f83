"""What GradOP+ costs: `python3 dev/run.py bench_gradop [--rounds 7] [--vae-rounds 3] [--side 512]`, for BENCH.md.

On a UNet of SD1.5's shape with random weights short walks are taken through each decoder, and the time between the
host's callbacks tells a step from a gradient step; a whole walk has 50 of the ones and, as published, 3 x 12 of the
others. On the starter whole walks are timed, and what they end at is measured through its VAE.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.energies import memory_now, memory_peak, timed
from bench.page import BENCH, in_host, renew
from bench.real_size import LINEAR, TAESD, UNET, VAE, sd15, vaes
from runtime import inprocess
from runtime.provision import say

MIXED = "linear, then VAE"
HEADING, STARTER = "GradOP+ on SD1.5's shape", "GradOP+ on the starter"
MOST = {TAESD: 1.3, LINEAR: 1.3}
DECODERS = {LINEAR: "linear", TAESD: "fast vae", VAE: "vae"}
STEPS, MOVES = 50, 36  # of a published walk
EXACT = 1 / 3  # of the mixed decoder's gradient steps
LOSS_MOST = 1.1  # the linear map's final painting loss over the VAE's, on the starter


class Walk(NamedTuple):
    """Seconds of one step, of one gradient step, and of what a walk needs once before its first gradient step."""

    step: float
    move: float
    opening: float

    def over(self, share: float = 1.0, other: Walk | None = None) -> float:
        """A whole walk over a plain one; `other` takes the gradient steps that are not of this share."""
        moves = share * self.move + (0.0 if other is None else (1 - share) * other.move)
        opening = self.opening + (0.0 if other is None else other.opening)
        return 1 + (MOVES * moves + opening) / (STEPS * self.step)


def short_walk(model: Any, solver: Any, prompts: list, side: int) -> Walk:
    """Two steps with one round of two gradient steps between them, in the host's sampling."""
    import comfy.sample
    import torch

    times: list[float] = []
    latent = torch.zeros(1, 4, side // 8, side // 8)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(2))
    sigmas = torch.tensor([14.6, 2.0, 0.0])
    comfy.sample.sample_custom(
        *(model, noise, 7.5, solver, sigmas, prompts[0], prompts[1], latent),
        callback=lambda *_: times.append(time.perf_counter()),
        disable_pbar=True,
        seed=1,
    )
    first, begun, moved, second = times
    return Walk(second - moved, moved - begun, max(0.0, begun - first - (moved - begun)))


def section(
    model: Any, seen: dict[str, Any], options: argparse.Namespace, width: int = UNET["context_dim"]
) -> tuple[list[str], bool]:
    """The lines of the section, and whether every aim was reached. Inside the host; width: of the prompts' tokens."""
    import torch

    node = inprocess.room("nodes.gradop").GradOpSolve
    numbers = torch.Generator().manual_seed(1)
    painting = torch.rand(1, 8, 8, 3, generator=numbers).repeat_interleave(32, 1).repeat_interleave(32, 2)
    prompts = [[[torch.randn(1, 77, width, generator=numbers), {}]] for _ in range(2)]
    found: dict[str, list[Walk]] = {name: [] for name in DECODERS}
    memory: dict[str, float | None] = {}
    for i in range(options.rounds + 1):
        for name, decoder in list(DECODERS.items())[:: -1 if i % 2 else 1]:
            if name == VAE and i > options.vae_rounds:
                continue
            settings = ("GradOP+", 0.8, 1, 2, 0.1, "gaussian", 0.0, decoder, 0.001, 6)
            (solver,) = node.execute(seen[VAE], painting, *settings, fast_vae=seen[TAESD]).args
            before = memory_now()
            walk = short_walk(model, solver, prompts, options.side)
            if i == 0:  # the first round warms up, and is the one whose memory counts
                memory[name] = None if before is None else memory_peak() - before
                say(f"  first {name}: a step {walk.step:.2f} s, a gradient step {walk.move:.3f} s")
            else:
                found[name].append(walk)
    dtypes = f"{model.model.get_dtype()} UNet, {seen[VAE].vae_dtype} decoders".replace("torch.", "")
    lines = [
        f"Random weights of SD1.5's shape, {options.side} px, batch 1, euler, cfg 7.5 ({dtypes}). Short runs of the "
        f"SAMPLER, {options.rounds} interleaved rounds after a warm-up ({options.vae_rounds} through the VAE). A "
        f"whole run is {STEPS} steps and {MOVES} gradient steps, including loading the decoder, compared with {STEPS} "
        "plain steps of the same round. Memory: peak above the level before.",
        "",
        "| decoder | step, s | gradient step, s | whole run, times plain | range | memory, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    ratios = {name: [walk.over() for walk in walks] for name, walks in found.items()}
    ratios[MIXED] = [a.over(EXACT, b) for a, b in zip(found[VAE], found[LINEAR], strict=False)]
    fine = True
    for name, over in ratios.items():
        walks = found.get(name)
        ratio = statistics.median(over)
        fine &= ratio <= MOST.get(name, ratio)
        spent = [f"{statistics.median(getattr(w, what) for w in walks):.3f}" if walks else "" for what in Walk._fields]
        used = "" if memory.get(name) is None else f"{memory[name]:.0f}"
        cells = [name, *spent[:2], f"**{ratio:.2f}**", f"{min(over):.2f} to {max(over):.2f}", used]
        lines.append(f"| {' | '.join(cells)} |")
        say(f"  {name}: {ratio:.2f} times the plain walk")
    lines += ["", f"Target: at most {MOST[TAESD]} with TAESD and with the linear map."]
    return lines, fine


def told(seconds: dict[str, list[float]], losses: dict[str, list[float]], rounds: int) -> tuple[list[str], bool]:
    """The starter's section, and whether the targets are met."""
    from evidence.gradop import CFG, SIDE
    from evidence.gradop import STEPS as FEW

    over = {
        name: statistics.median(a / b for a, b in zip(s, seconds["plain"], strict=True)) for name, s in seconds.items()
    }
    loss = {name: statistics.mean(found) for name, found in losses.items()}
    share = loss["linear"] / loss["vae"]
    lines = [
        f"Whole runs including the VAE decode, {SIDE} px, batch 1, {FEW} steps of euler, cfg {CFG}, 3 rounds of 12 "
        f"gradient steps on the predicted image; {rounds} interleaved rounds, each with another painting and prompt. "
        "Painting loss: mean squared difference between the blurred result and the painting.",
        "",
        "| decoder | run, s | times plain | painting loss |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {statistics.median(seconds[name]):.2f} | **{over[name]:.2f}** | {loss[name]:.5f} |"
            for name in seconds
        ),
        "",
        f"Target: linear takes at most {MOST[LINEAR]} times plain, and its loss is at most {LOSS_MOST} times the "
        f"VAE's (measured: {share:.2f}).",
    ]
    say(f"  starter: linear {over['linear']:.2f}, vae {over['vae']:.2f}, loss of linear over vae {share:.2f}")
    return lines, over["linear"] <= MOST[LINEAR] and share <= LOSS_MOST


def starter_section(rounds: int) -> tuple[list[str], bool]:
    """Whole walks on the starter: plain, through the linear map and through the VAE; and their final painting loss."""
    import torch

    from evidence.gradop import SIDE, TextLab

    lab = TextLab()
    world = inprocess.room("starter.world").World(SIDE)
    painters = inprocess.room("pictures.painters")
    blur = painters.Painter()
    seconds: dict[str, list[float]] = {"plain": [], "linear": [], "vae": []}
    losses: dict[str, list[float]] = {name: [] for name in seconds}
    for i in range(rounds + 1):
        scene = world.render(10_600_000 + i)
        painting = torch.from_numpy(scene.strokes).float()[None] / 255
        prompt, latent = lab.prompts([scene.caption]), lab.empty(1)

        def run(name: str, painting: Any = painting, prompt: list = prompt, latent: Any = latent, i: int = i) -> Any:
            rounds_of = 0 if name == "plain" else 3
            decoder = "linear" if name == "plain" else name
            variant = "GradOP+ on the predicted image"
            settings = (variant, 0.8, rounds_of, 12, 0.1, "gaussian", 0.0, decoder, 0.001, 6)
            (solver,) = lab.gradop.GradOpSolve.execute(lab.vae, painting, *settings).args
            return lab.walk(prompt, solver, lab.schedule(), latent, i)

        names = list(seconds)
        for name in names[i % 3 :] + names[: i % 3]:
            pictures: list = []

            def walked(name: str = name, pictures: list = pictures, run: Callable = run) -> Any:
                pictures.append(run(name))
                return pictures[0]

            took = timed(walked)
            if i > 0:
                seconds[name].append(took)
                painted = blur(pictures[0].movedim(-1, 1), cell=8.0).movedim(1, -1)  # as the node's own painter sees it
                losses[name].append((painted - painting).square().mean().item())
    return told(seconds, losses, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_gradop", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds, 7 or more to be worth writing down")
    parser.add_argument("--vae-rounds", type=int, default=3, help="of them through the VAE, half a minute each")
    parser.add_argument("--starter-rounds", type=int, default=21)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--output", type=Path, default=BENCH)
    options = parser.parse_args()

    def work() -> bool:
        whole, reached = starter_section(options.starter_rounds)
        renew(options.output, {STARTER: whole})
        lines, fine = section(sd15(), vaes(), options)
        renew(options.output, {HEADING: lines})
        return fine and reached

    return 0 if in_host(work) else 1


if __name__ == "__main__":
    sys.exit(main())
