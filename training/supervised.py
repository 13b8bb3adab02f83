"""What the starter's trainings share: their arguments, a resumable run of a lesson, its rate, the loss of diffusion
models, and how files and sheets are written.

A lesson is a module that holds the networks it trains, with `loss(batch, rng)`, `weights()` for the exported file,
`notes()` for its metadata and `sheet(batch)`, a picture [N,3,h,w] of how it stands.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn


def arguments(
    name: str, about: str | None, *, minutes: float, scenes: int, peak: float, learning: str = "of learning in all"
) -> argparse.ArgumentParser:
    """Those of every training, to which each adds its own; for `chosen`."""
    parser = argparse.ArgumentParser(prog=f"train {name}", description=about)
    parser.add_argument("--folder", type=Path, required=True, help="where state, log, sheets and weights go")
    parser.add_argument("--minutes", type=float, default=minutes, help=learning)
    parser.add_argument("--scenes", type=int, default=scenes, help="different renders to draw from")
    parser.add_argument("--peak", type=float, default=peak, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=0)
    return parser


def chosen(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The arguments given, with torch's threads set and the folder there."""
    choice = parser.parse_args(argv)
    if choice.threads:
        torch.set_num_threads(choice.threads)
    choice.folder.mkdir(parents=True, exist_ok=True)
    return choice


def initialise(network: nn.Module) -> None:
    """Guided-diffusion's start: the last convolution of every residual branch and of the network begins at zero."""
    for name, parameter in network.named_parameters():
        if ".out_layers.3." in name or ".proj_out." in name or name.startswith("out.2."):
            nn.init.zeros_(parameter)


def min_snr_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    clean: Tensor,
    sigmas: Tensor,
    rng: torch.Generator,
    gamma: float = 5.0,
) -> Tensor:
    """Squared error of epsilon under min-SNR weights (Hang et al. 2023), times stratified over the batch.

    predict(x, t [B] float): the noise in x, which is clean [B,C,H,W] noised to sigmas[t] at variance 1. sigmas [T]:
    sqrt((1 - abar) / abar) of every time. rng, on the CPU, draws times (rand, randperm), then noise (randn).
    """
    count, device = len(clean), clean.device
    spread = (torch.arange(count) + torch.rand(count, generator=rng)) / count
    t = (spread * len(sigmas)).long().clamp_max(len(sigmas) - 1)[torch.randperm(count, generator=rng)]
    ratio = sigmas[t].view(-1, 1, 1, 1).to(device)
    noise = torch.randn(clean.shape, generator=rng).to(device)
    found = predict((clean + ratio * noise) / (1 + ratio**2).sqrt(), t.float().to(device)).float()
    snr = ratio**-2
    return (snr.clamp_max(gamma) / snr * (found - noise).square()).mean()


def export(weights: Mapping[str, Tensor], path: Path, notes: Mapping[str, Any]) -> None:
    """fp16 safetensors with notes in the metadata (text as it is, the rest as JSON); replaces the file at once."""
    part = path.with_suffix(".part")
    stated = {"format": "pt", "trained_on": "SketchSynth starter world"}
    stated |= {key: note if isinstance(note, str) else json.dumps(note) for key, note in notes.items()}
    save_file({key: value.detach().cpu().half().contiguous() for key, value in weights.items()}, part, metadata=stated)
    os.replace(part, path)


def picture(sheet: Tensor, path: Path, zoom: int = 2) -> None:
    """Rows [N,3,h,w] in [0,1] under one another."""
    tall = torch.cat(list(sheet.float().cpu().clamp(0, 1)), 1).movedim(0, -1)
    image = Image.fromarray((tall * 255).round().byte().numpy())
    image.resize((zoom * image.width, zoom * image.height), Image.Resampling.NEAREST).save(path)


def learning_rate(peak: float, steps: int, progress: float) -> float:
    """Short warm-up, then a cosine that ends at a fiftieth of `peak` where `progress` is 1."""
    fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress))
    return peak * min(1.0, (steps + 1) / 50) * (0.02 + 0.98 * fall)


def learn(
    lesson: Any,
    source: Callable[[int], Iterator[Any]],
    *,
    name: str,
    folder: Path,
    minutes: float,
    peak: float,
    keep: float = 0.0,
    save_every: float = 120.0,
    decay: float = 0.0,
    autocast: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> list[float]:
    """Trains a lesson until it has learned for `minutes` in all; the rate falls to nothing at their end.

    source(steps) gives the batches from the one after `steps` on. keep: how much of the averaged weights stays at every
    step; what is exported and shown is the average. 0: the weights themselves. decay: AdamW's.
    folder takes name.pt (everything a later run goes on from), name.jsonl, name.safetensors and name.png.
    clock: seconds; a run that is taken up repeats an uninterrupted one to the bit if its clock does.

    Returns the mean loss of every hundred steps (of the rest, if fewer) of this run.
    """
    optimiser = torch.optim.AdamW(lesson.parameters(), peak, betas=(0.9, 0.99), weight_decay=decay)
    average = copy.deepcopy(lesson) if keep else lesson
    steps, learned = 0, 0.0
    state_path = folder / f"{name}.pt"
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        lesson.load_state_dict(state["lesson"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        steps, learned = state["steps"], state["minutes"]
        print(f"{name}: resumed at {learned:.1f} minutes", flush=True)
    rng = torch.Generator()
    batches = source(steps)
    log = (folder / f"{name}.jsonl").open("a")
    means: list[float] = []
    losses: list[float] = []
    saved = started = clock()
    before = learned
    lesson.train()
    while True:
        done = learned >= minutes
        if done or clock() - saved > save_every:
            state = {"lesson": lesson.state_dict(), "average": average.state_dict(), "steps": steps}
            torch.save(
                {**state, "optimiser": optimiser.state_dict(), "minutes": learned}, state_path.with_suffix(".part")
            )
            os.replace(state_path.with_suffix(".part"), state_path)
            average.eval()
            with torch.no_grad():
                notes = {"minutes": f"{learned:.1f}", **average.notes()}
                export(average.weights(), folder / f"{name}.safetensors", notes)
                picture(average.sheet(next(source(10**6))), folder / f"{name}.png")
            lesson.train()
            saved = clock()
        if (done and losses) or len(losses) == 100:
            means.append(float(np.mean(losses)))
            line = {"steps": steps, "minutes": round(learned, 2), "loss": round(means[-1], 5)}
            line |= {"machine": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
            print(json.dumps(line), file=log, flush=True)
            print(f"{name} {steps:>6} steps {learned:6.1f} min  loss {means[-1]:.4f}", flush=True)
            losses = []
        if done:
            log.close()
            return means
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(peak, steps, learned / minutes)
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            loss = lesson.loss(next(batches), rng.manual_seed(steps))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(lesson.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        steps += 1
        if keep:
            share = 1 - min(keep, (1 + steps) / (12 + steps))
            with torch.no_grad():
                for mean, value in zip(average.parameters(), lesson.parameters(), strict=True):
                    mean.lerp_(value, share)
        learned = before + (clock() - started) / 60
