"""What energies cost, a part of `python3 dev/run.py bench`: steps, the accelerated walk, and peak memory.

`python3 dev/run.py bench_energies [--part prior|latent|walk] [--rounds 7] [--latent-rounds 3] [--side 512]` renews only
those sections of docs/BENCH.md.

Steps are timed inside one sampling run, where everything is opened once: each round asks the model for one prediction
under every set of energies and one under none, in an order that turns round by round.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.page import BENCH, in_host, renew
from bench.real_size import LINEAR, TAESD, VAE, published, sd15, vaes
from runtime import inprocess
from runtime.provision import say

MOST_CHAINED, LEAST_WALK = 1.3, 3.0
PLAIN = "plain step"
HALF = "VAE, half size"


@dataclass(frozen=True, eq=False)
class Case:
    """One kind of step: the energies that pull in it, and how often it is timed.

    open: whether all that it needs was opened by cases before it, so that its first step counts.
    """

    name: str
    decoder: str
    energies: list[Any]
    rounds: int
    open: bool = False


class Found(NamedTuple):
    """What a case took: seconds of every round, and the most memory of its first step beside what was there before.

    memory: MiB, None where it cannot be told.
    """

    seconds: list[float]
    memory: float | None


# --- energies, made by the nodes --------------------------------------------------------------------------------------


class Pulls:
    """Energies as the nodes attach them, collected from the MODEL that they leave."""

    def __init__(self, side: int) -> None:
        import torch

        self.inversion = inprocess.room("nodes.inversion")
        self.key = inprocess.room("guidance.energy").ENERGIES
        generator = torch.Generator().manual_seed(1)
        self.sketch = (torch.rand(1, side, side, 1, generator=generator) > 0.1).float().expand(-1, -1, -1, 3)
        self.photo = torch.rand(1, side, side, 3, generator=generator)

    def shape(self, model: Any, vae: Any, decoder: str, extractor: Any = None) -> Any:
        settings = (self.sketch, 0.5, "l2", 0.0, 1.0, decoder, "denoised", "0 to 1", True, 0.0)
        return self.inversion.SketchShapeEnergy.execute(model, *settings, vae=vae, extractor=extractor).args[0]

    def colour(self, model: Any, vae: Any, decoder: str, features: Any = None) -> Any:
        """The colours alone, or the features alone."""
        weights = (0.0, 4, 0.5) if features else (2.0, 4, 0.0)
        settings = (self.photo, *weights, "style", 0.0, 1.0, decoder, "denoised", "both", 0.0)
        return self.inversion.AppearanceEnergyGuidance.execute(model, *settings, vae=vae, features=features).args[0]

    def domain(self, model: Any, extractor: Any) -> Any:
        settings = (extractor, self.photo, 500.0, 0.0, 1.0, "denoised", 0.0)
        return self.inversion.SketchDomainEnergy.execute(model, *settings).args[0]

    def last(self, model: Any) -> Any:
        return model.model_options[self.key][-1]


def shared(energy: Any, measures: dict[Any, Any], of: Any) -> Any:
    """The energy, its measure prepared only once for all energies `of` the same thing that see it at one size: the
    linear map shows it as small as the latent."""

    def prepare(context: Any) -> Any:
        key = of, context.height, context.width
        if key not in measures:
            measures[key] = energy.prepare(context)
        return measures[key]

    return replace(energy, prepare=prepare)


# --- timing -----------------------------------------------------------------------------------------------------------


def memory_now() -> float | None:
    """MiB in use; from now on `memory_peak` counts. None where the highest use cannot be set back."""
    import comfy.model_management as management
    import torch

    if management.get_torch_device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else freed memory, kept for later, hides what a step takes
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return None
    return memory_peak()


def memory_peak() -> float:
    """MiB at most in use since `memory_now`: of the GPU where ComfyUI computes on one, else of main memory."""
    import comfy.model_management as management
    import torch

    if management.get_torch_device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 2**10 if found else 0.0


Clock = Callable[[], float]


def timed(work: Callable[[], Any], clock: Clock = time.perf_counter) -> float:
    began = clock()
    work().sum().item()  # .item() waits for a GPU
    return clock() - began


def steps(cases: Sequence[Case], found: dict[Case, Found], clock: Clock) -> Callable:
    """A sampler function that times steps under each case and fills `found`; it changes nothing about the sample."""
    key = inprocess.room("guidance.energy").ENERGIES

    def sample(model: Any, x: Any, sigmas: Any, extra_args: Any = None, callback: Any = None, disable: Any = None):
        options = extra_args["model_options"]
        level = sigmas[0] * x.new_ones([len(x)])

        def step(case: Case) -> float:
            settings = {**extra_args, "model_options": {**options, key: case.energies}}
            return timed(lambda: model(x, level, **settings), clock)

        for case in cases:  # opens what is opened once a run
            before = memory_now()
            seconds = step(case)
            found[case] = Found([seconds] if case.open else [], None if before is None else memory_peak() - before)
            say(f"  first {case.name} {case.decoder}: {seconds:.2f} s")
        for i in range(max(case.rounds for case in cases)):
            turn = i % len(cases)
            for case in (*cases[turn:], *cases[:turn]):
                if i + case.open < case.rounds:
                    found[case].seconds.append(step(case))
        return x

    return sample


def run_steps(
    model: Any, cases: Sequence[Case], latent: Any, sigma: float, prompt: Any, clock: Clock = time.perf_counter
) -> dict[Case, Found]:
    """clock: time.process_time for a machine that is shared, where only the work of this process should count."""
    import comfy.sample
    import torch
    from comfy.samplers import KSAMPLER

    found: dict[Case, Found] = {}
    noise, sigmas = torch.randn(latent.shape, generator=torch.Generator().manual_seed(2)), torch.tensor([sigma, 0.0])
    walk = KSAMPLER(steps(cases, found, clock))
    comfy.sample.sample_custom(model, noise, 1.0, walk, sigmas, prompt, prompt, latent, disable_pbar=True, seed=1)
    return found


def ratios(case: Case, over: Case, found: dict[Case, Found]) -> list[float]:
    """Of the rounds that both were timed in."""
    return [a / b for a, b in zip(found[case].seconds, found[over].seconds, strict=False)]


def table(found: dict[Case, Found]) -> list[str]:
    """Markdown rows: seconds, ratio over the plain step, rounds, memory."""
    plain = next(case for case in found if case.name == PLAIN)
    lines = ["| energy | decoder | step, s | times plain | range | rounds | memory, MiB |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for case, one in found.items():
        over = ratios(case, plain, found)
        memory = "" if one.memory is None else f"{one.memory:.0f}"
        cells = [case.name, case.decoder, f"{statistics.median(one.seconds):.3f}", f"**{statistics.median(over):.2f}**"]
        cells += [f"{min(over):.2f} to {max(over):.2f}", str(len(one.seconds)), memory]
        lines.append(f"| {' | '.join(cells)} |")
        say("  " + ", ".join(cells[:4]))
    return lines


# --- the parts --------------------------------------------------------------------------------------------------------


def built_in() -> tuple[Any, Any]:
    """The starter's extractor and feature network."""
    experts = inprocess.room("nodes.extractors")
    return experts.load_extractor(experts.STARTER), experts.load_features(experts.STARTER)


def extractor_of(name: str, patcher: Any) -> Any:
    return inprocess.room("pictures.extractors").extractor(name, patcher)


def features_of(name: str, patcher: Any) -> Any:
    return inprocess.room("pictures.features").features(name, patcher)


def load_starter() -> tuple[Any, Any, Any]:
    priors = inprocess.room("nodes.priors")
    model, vae, *_ = priors.SketchPriorLoader.execute(priors.STARTER, 64, 4, "legacy", 0, "auto").args
    return model, vae, priors.SketchPriorLabel.execute(-1).args[0]


def prior_part(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Each energy on the starter pixel prior."""
    import torch

    model, vae, label = load_starter()
    pulls = Pulls(64)
    extractor, features = built_in()
    drawn = extractor_of("InformativeDrawings", published("infodraw_nb3_netG_A"))
    clip = features_of("CLIP RN101", published("clip_rn101_visual"))
    domain = features_of("EGSDE's extractor", published("egsde_dse256", num_head_channels=64))
    patched = {
        "shape, edges": pulls.shape(model, vae, "auto"),
        "shape, InformativeDrawings": pulls.shape(model, vae, "auto", drawn),
        "shape, starter's extractor": pulls.shape(model, vae, "auto", extractor),
        "colours": pulls.colour(model, vae, "auto"),
        "features, CLIP RN101": pulls.colour(model, vae, "auto", clip),
        "features, starter's network": pulls.colour(model, vae, "auto", features),
        "domain, EGSDE's extractor": pulls.domain(model, domain),
    }
    energies = {name: pulls.last(one) for name, one in patched.items()}
    cases = [Case(PLAIN, "", [], options.rounds)]
    cases += [Case(name, "", [energy], options.rounds) for name, energy in energies.items()]
    both = [energies["shape, edges"], energies["colours"]]
    cases.append(Case("shape, edges, and colours", "", both, options.rounds))
    walking = patched["shape, edges"].clone()  # brings the run's state; every case says itself what pulls
    found = run_steps(walking, cases, torch.zeros(1, 3, 64, 64), 2.03, label)
    lines = [
        "A step is one call of the MODEL by a sampler, on the starter prior at 64 px, batch 1, cfg 1. Networks that "
        "cannot be shipped have random weights of the published sizes. Memory: peak above the level before, in the "
        "first step of each kind, which also loads its networks.",
        "",
        *table(found),
    ]
    return lines, True


def latent_part(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Each energy through each decoder on an SD1.5-shaped model, and two chained ones over one."""
    import torch

    model, seen = sd15(), vaes()
    pulls = Pulls(options.side)
    clip = features_of("CLIP RN101", published("clip_rn101_visual"))
    measures: dict[Any, Any] = {}
    energies: dict[tuple[str, str], Any] = {}
    for decoder in (LINEAR, TAESD, VAE, HALF):
        for name, door, more in (
            ("shape, edges", pulls.shape, None),
            ("colours", pulls.colour, None),
            ("features, CLIP RN101", pulls.colour, clip),
        ):
            kind = {LINEAR: "linear", HALF: "vae, half size"}.get(decoder, "vae")
            # attached to the plain model: on one MODEL they would all be reserved for at once
            vae = seen.get(decoder, seen[VAE])
            energies[name, decoder] = shared(pulls.last(door(model, vae, kind, more)), measures, name)
    rounds = options.latent_rounds
    cases = [Case(PLAIN, "", [], rounds)]
    for (name, decoder), energy in energies.items():
        again = decoder == VAE and name != "shape, edges"  # the costly decode once more: a single step says enough
        cases.append(Case(name, decoder, [energy], 1 if again else rounds, open=again))
    one = next(case for case in cases if (case.name, case.decoder) == ("shape, edges", VAE))
    pair = [energies["shape, edges", VAE], energies["colours", VAE]]
    two = Case("shape, edges, and colours", VAE, pair, rounds, open=True)
    walking = pulls.shape(model, seen[VAE], "vae")
    prompt = [[torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(3)), {}]]
    side = options.side // 8
    found = run_steps(walking, [*cases, two], torch.zeros(1, 4, side, side), 2.03, prompt)
    chained = statistics.median(ratios(two, one, found))
    say(f"  two chained energies over one: {chained:.3f}")
    dtypes = f"{model.model.get_dtype()} UNet, {seen[VAE].vae_dtype} decoders".replace("torch.", "")
    lines = [
        f"A UNet of SD1.5's shape (860 M parameters), an SD VAE and a TAESD, all with random weights, {options.side} "
        f"px, batch 1, cfg 1 ({dtypes}). With a negative prompt the plain step takes twice as long, the energies the "
        "same time. With decoder auto, colours use the linear map.",
        "",
        *table(found),
        "",
        f"Two chained energies with the VAE, relative to one: **{chained:.3f}** (target: below {MOST_CHAINED}).",
    ]
    return lines, chained < MOST_CHAINED


def walk_part(options: argparse.Namespace) -> tuple[list[str], bool]:
    """The published walk and the accelerated one over the same sketches, seeds and levels: time, and what came out."""
    import torch
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    from evidence.inversion import contour_agreement

    inversion, walks = inprocess.room("nodes.inversion"), inprocess.room("nodes.walks")
    model, vae, label = load_starter()
    world = inprocess.room("starter.world").World(64)
    (jump,) = walks.SketchJumpSampler.execute(0.1225, 3, 0.01, 10, "clean").args
    count, levels = options.rounds, options.levels
    sketches = torch.stack([torch.from_numpy(world.render(10_400_000 + i).sketch) for i in range(count)]).float() / 255
    sketches = sketches[..., None].expand(-1, -1, -1, 3)
    settings = (0.5, "l2", 0.4, levels, 1, 0.0, 1.0, "auto", "denoised", "0 to 1", 0.0)
    calls = 0

    def seen(*_: Any) -> None:
        nonlocal calls
        calls += 1

    def walk(i: int, sampler: Any) -> Any:
        stage = inversion.ShapeInversion.execute(model, vae, sketches[i : i + 1], *settings, sampler=sampler).args
        pulled, stepper, sigmas, latent = stage
        done = SamplerCustom.execute(pulled, True, i, 1.0, label, label, stepper, sigmas, latent).args[0]
        return vae.decode(done["samples"])

    hook = model.model.diffusion_model.register_forward_hook(seen)
    ways = {"published": None, "accelerated": jump}
    found: dict[str, list[float]] = {way: [] for way in ways}
    pictures: dict[str, list[Any]] = {way: [] for way in ways}
    counted = {}
    for i in range(count):
        for way in list(ways)[:: 1 if i % 2 else -1]:
            calls, began = 0, time.perf_counter()
            pictures[way].append(walk(i, ways[way]))
            found[way].append(time.perf_counter() - began)
            counted[way] = calls
    hook.remove()
    over = [a / b for a, b in zip(found["published"], found["accelerated"], strict=True)]
    ratio = statistics.median(over)
    say(f"  published walk over accelerated walk: {ratio:.2f}")
    lines = [
        f"One shape-enhancing stage on the starter prior (shape 0.5, edges, t0 0.4, {counted['published']} levels, "
        f"batch 1) for {count} sketches and seeds: every level guided, compared with Jump Sampler at its defaults. "
        "Contours: as in EVIDENCE.md; 0.5 is chance.",
        "",
        "| sampler | model calls | seconds | contours |",
        "| --- | --- | --- | --- |",
    ]
    for way in ways:
        agreement = contour_agreement(torch.cat(pictures[way]).cpu(), sketches)
        cells = [way, str(counted[way]), f"{statistics.median(found[way]):.2f}", f"{agreement.mean():.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Published relative to accelerated: **{ratio:.2f}** ({min(over):.2f} to {max(over):.2f}; target: at least 3).",
    ]
    return lines, ratio >= LEAST_WALK


PARTS: dict[str, tuple[str, Callable[[argparse.Namespace], tuple[list[str], bool]]]] = {
    "prior": ("Energies on a pixel prior", prior_part),
    "latent": ("Energies on SD1.5's shape", latent_part),
    "walk": ("The accelerated sampler", walk_part),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds, 7 or more to be worth writing down")
    parser.add_argument("--latent-rounds", type=int, default=3, help="rounds on the SD1.5-shaped model")
    parser.add_argument("--side", type=int, default=512, help="pixels of the SD1.5-shaped pictures")
    parser.add_argument("--levels", type=int, default=0, help="levels of the walks; 0: all native ones, as published")


def sections(parts: Sequence[str], options: argparse.Namespace) -> tuple[dict[str, list[str]], bool]:
    """The lines of each part under its heading, and whether every aim was reached. Inside the host."""
    found, fine = {}, True
    for part in parts:
        heading, work = PARTS[part]
        say(f"{heading} ...")
        lines, reached = work(options)
        found[heading] = lines
        fine &= reached
    return found, fine


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench_energies", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", dest="parts", choices=list(PARTS), help="only this one; repeatable")
    parser.add_argument("--output", type=Path, default=BENCH)
    arguments(parser)
    options = parser.parse_args()

    def work() -> bool:
        fine = True
        for part in options.parts or PARTS:  # each is written down before the next begins
            found, reached = sections([part], options)
            renew(options.output, found)
            fine &= reached
        return fine

    return 0 if in_host(work) else 1


if __name__ == "__main__":
    sys.exit(main())
