"""What DiffSketching's terms cost: a guided step over a plain one, for each term and both gradients.

`python3 dev/run.py bench_diffsketching [--part prior|latent] [--rounds 7] [--latent-rounds 1] [--side 256] [--shared]`
renews its sections of docs/BENCH.md. Timed as the energies are: inside one sampling run, in an order that turns round
by round. About ten minutes on one core; --side 512 takes four times as long.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.energies import PLAIN, Case, Clock, built_in, extractor_of, features_of, load_starter, run_steps, table
from bench.page import BENCH, in_host, renew
from bench.real_size import LINEAR, TAESD, VAE, randomise, sd15, vaes
from runtime import inprocess
from runtime.provision import say

PREDICTION, THROUGH = "to the prediction", "through the model"
CLASSES = 20


def own(module: str, kind: str, **shape: Any) -> Any:
    """A random network of ours behind a host ModelPatcher."""
    host = inprocess.room("host")
    network = getattr(inprocess.room(f"networks.{module}"), kind)(ops=host.NETWORK_OPS, **shape)
    return host.network_patcher(randomise(network).eval().requires_grad_(False))


def classifier(width: int, size: int) -> Any:
    """A noisy classifier of guided diffusion's shape for this side."""
    diffusion, pictures = inprocess.room("training.noisy_classifier"), inprocess.room("pictures.classifier")
    patcher = own("noisy_classifier", "NoisyClassifier", classes=CLASSES, **diffusion.published_shape(size, width))
    frozen = inprocess.room("networks.frozen").Frozen(patcher, lambda net, x, t: net(x, t))
    return pictures.Classifier("random", frozen, CLASSES, image_size=size)


class Terms:
    """DiffSketching's terms as its node attaches them."""

    def __init__(self, side: int, networks: dict[str, Any]) -> None:
        import torch

        self.doors, self.terms = inprocess.room("nodes.diffsketching"), inprocess.room("guidance.terms")
        self.key, self.networks = inprocess.room("guidance.energy").ENERGIES, networks
        generator = torch.Generator().manual_seed(1)
        self.sketch = (torch.rand(1, side, side, 1, generator=generator) > 0.1).float().expand(-1, -1, -1, 3)
        self.photo = torch.rand(1, side, side, 3, generator=generator)

    def of(
        self, model: Any, vae: Any, decoder: str, gradient: str, metric: str, weights: tuple[float, float, float]
    ) -> tuple[Any, list[Any]]:
        """The patched MODEL, and the energies of class, sketch and reference with a weight above 0."""
        scale, sketch, reference = weights
        found = self.doors.SketchDiffSketching.execute(
            model,
            self.sketch,
            class_id="0",
            class_scale=scale,
            sketch_weight=sketch,
            reference_weight=reference,
            gradient=gradient,
            start=0.0,
            end=1.0,
            decoder=decoder,
            limit=1.0,
            metric=metric,
            vae=vae,
            reference=self.photo,
            **self.networks,
        ).args[0]
        return found, list(found.model_options[self.key])

    def cases(
        self,
        model: Any,
        vae: Any,
        decoder: str,
        shown: str,
        rounds: int,
        metrics: tuple[str, ...],
        opened: bool = False,
    ) -> Iterator[Case]:
        """Each term alone and the whole, for both gradients. opened: see Case.open."""
        weights = {"reference": (0.0, 0.0, 1.0), "whole": (1.0, 1.0, 1.0)}
        for gradient in (PREDICTION, THROUGH):
            if gradient == PREDICTION:  # the class has one way only
                yield Case(
                    "class", shown, self.of(model, vae, decoder, gradient, "l2", (1.0, 0.0, 0.0))[1], rounds, opened
                )
            for metric in metrics:
                found = self.of(model, vae, decoder, gradient, metric, (0.0, 1.0, 0.0))[1]
                yield Case(f"sketch, {metric}, {gradient}", shown, found, rounds, opened)
            for name, some in weights.items():
                found = self.of(model, vae, decoder, gradient, metrics[-1], some)[1]
                yield Case(f"{name}, {gradient}", shown, found, rounds, opened)


def clock_of(options: argparse.Namespace) -> tuple[Clock, str]:
    """What seconds are counted by, and the sentence that says so."""
    if options.shared:
        return time.process_time, " The machine was busy with other work: seconds are this process's own."
    return time.perf_counter, ""


def published_networks(size: int) -> dict[str, Any]:
    """PhotoSketch, LPIPS-alex and ResNet-50 of the published sizes, and a classifier of width 128; random weights."""
    return {
        "extractor": extractor_of("PhotoSketch", own("photosketch", "PhotoSketch")),
        "perceptual": features_of("AlexNet", own("alexnet", "AlexNet")),
        "features": features_of("ResNet-50", own("resnet", "ResNet")),
        "classifier": classifier(128, size),
    }


def prior_part(options: argparse.Namespace) -> list[str]:
    """Both sets of networks on the starter pixel prior."""
    import torch

    model, vae, label = load_starter()
    extractor, features = built_in()
    doors = inprocess.room("nodes.diffsketching")
    starter = doors.load_classifier(doors.STARTER) if doors.STARTER_CLASSIFIER.is_file() else classifier(32, 64)
    built = {"extractor": extractor, "perceptual": features, "features": features, "classifier": starter}
    cases = [Case(PLAIN, "", [], options.rounds)]
    for words, networks in (("built in", built), ("published sizes", published_networks(64))):
        cases += Terms(64, networks).cases(model, vae, "auto", words, options.rounds, ("l2", "lpips"))
    walking = Terms(64, built).of(model, vae, "auto", PREDICTION, "l2", (1.0, 1.0, 1.0))[0]
    clock, told = clock_of(options)
    found = run_steps(walking, cases, torch.zeros(1, 3, 64, 64), 2.03, label, clock)
    return [
        "A step is one call of the MODEL by a sampler, on the starter prior at 64 px, batch 1, cfg 1; the second "
        "column says which networks look. Those of the published sizes (PhotoSketch, LPIPS-alex, ResNet-50, a "
        "classifier of width 128) have random weights. The class always looks at the noisy state. Memory as above."
        + told,
        "",
        *table(found),
    ]


def latent_part(options: argparse.Namespace) -> list[str]:
    """The published networks through each decoder on an SD1.5-shaped model."""
    import torch

    model, seen = sd15(), vaes()
    terms = Terms(options.side, published_networks(256))
    cases = [Case(PLAIN, "", [], options.latent_rounds)]
    for decoder in (LINEAR, TAESD, VAE):
        kind = "linear" if decoder == LINEAR else "vae"
        once = decoder == VAE  # costly, and most of it was opened by the others: its first step is the one that counts
        rounds = 1 if once else options.latent_rounds
        cases += terms.cases(model, seen[decoder], kind, decoder, rounds, ("l2",), once)
    walking = terms.of(model, seen[VAE], "vae", PREDICTION, "l2", (1.0, 1.0, 1.0))[0]
    prompt = [[torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(3)), {}]]
    side = options.side // 8
    clock, told = clock_of(options)
    found = run_steps(walking, cases, torch.zeros(1, 4, side, side), 2.03, prompt, clock)
    return [
        f"A UNet of SD1.5's shape, an SD VAE and a TAESD, all with random weights, {options.side} px, batch 1, cfg 1; "
        "networks of the published sizes. The classifier looks at the decoded prediction. The VAE's steps are first "
        "ones; the first of them, class, also opens the decoder. Memory as above." + told,
        "",
        *table(found),
    ]


PARTS: dict[str, tuple[str, Callable[[argparse.Namespace], list[str]]]] = {
    "prior": ("DiffSketching on a pixel prior", prior_part),
    "latent": ("DiffSketching on SD1.5's shape", latent_part),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench_diffsketching", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", dest="parts", choices=list(PARTS), help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--latent-rounds", type=int, default=1, help="rounds on the SD1.5-shaped model")
    parser.add_argument("--side", type=int, default=256, help="pixels of the SD1.5-shaped pictures")
    parser.add_argument(
        "--shared", action="store_true", help="count this process's own seconds: others use the machine"
    )
    parser.add_argument("--output", type=Path, default=BENCH)
    options = parser.parse_args()

    def work() -> bool:
        for part in options.parts or PARTS:
            heading, make = PARTS[part]
            say(f"{heading} ...")
            renew(options.output, {heading: make(options)})
        return True

    return 0 if in_host(work) else 1


if __name__ == "__main__":
    sys.exit(main())
