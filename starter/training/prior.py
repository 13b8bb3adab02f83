"""Trains the starter prior: an unconditional ADM network on renders of the starter world.

Epsilon prediction on the published linear schedule with min-SNR weighting (Hang et al. 2023, gamma 5) and an
exponential moving average of the weights. Resumable: the state file holds everything, is replaced atomically and loses
at most one save interval. Uses a GPU where there is one, else bf16 autocast on the CPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

from ...networks.adm import ADM
from ...samplers.levels import published_sigmas
from ...training.supervised import export, initialise, min_snr_loss
from .dataset import rendered_images

# the shape of the network: everything a loader cannot read from the keys keeps the published default
SHAPE = {
    "in_channels": 3,
    "out_channels": 3,
    "model_channels": 64,
    "num_res_blocks": 1,
    "channel_mult": (0.5, 1, 1.5, 2),
    "attention_levels": (3,),
    "num_heads": 4,
    "norm_groups": 8,  # 32 groups of one channel would take each picture's mean colour out of the last layer
    "use_scale_shift_norm": True,
    "resblock_updown": False,
}


def batches(images: np.ndarray, batch: int, start: int, device: torch.device):
    """Endless batches [batch, 3, H, W] in -1..1, half of them mirrored; `start` counts the batches already drawn."""
    step = start
    while True:
        rng = np.random.default_rng([7, step])
        picked = torch.from_numpy(images[np.sort(rng.integers(0, len(images), batch))]).to(device)
        flip = torch.from_numpy(rng.random(batch) < 0.5).to(device)
        picked = torch.where(flip[:, None, None, None], picked.flip(2), picked)
        yield (picked.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()
        step += 1


def sample(network, alphas_cumprod, count: int, size: int, steps: int, device, seed=0) -> torch.Tensor:
    """Ancestral samples [count, 3, size, size] for the sample sheet.

    Clipped deterministic steps (DDIM) leave noise in them: at the highest levels a small error of epsilon is a large
    one of the picture, and what clipping cuts off stays in the sample for good.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, size, size, generator=generator).to(device)
    times = torch.linspace(len(alphas_cumprod) - 1, 0, steps).round().long().tolist()
    for now, after in pairwise([*times, -1]):
        a, b = alphas_cumprod[now], alphas_cumprod[after] if after >= 0 else torch.tensor(1.0)
        epsilon = network(x, torch.full((count,), float(now), device=device)).float()
        clean = ((x - (1 - a).sqrt() * epsilon) / a.sqrt()).clamp(-1, 1)
        beta = 1 - a / b
        mean = (b.sqrt() * beta * clean + (1 - beta).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + (beta * (1 - b) / (1 - a)).sqrt() * torch.randn(x.shape, generator=generator).to(device)
    return x


def sheet(samples: torch.Tensor, path: Path, zoom=2) -> None:
    """Samples [N, 3, H, W] as one picture, eight to a row."""
    tiles = ((samples.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = [np.concatenate(tiles[i : i + 8], 1) for i in range(0, len(tiles), 8)]
    picture = Image.fromarray(np.concatenate(rows, 0))
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST).save(path)


def notes(seen: int, size: int) -> dict[str, Any]:
    """What the exported file says of itself: all that a loader cannot read from the keys."""
    stated = {"num_heads": SHAPE["num_heads"], "num_head_channels": 0, "use_new_attention_order": False}
    return {"images_seen": str(seen), **stated, "norm_groups": SHAPE["norm_groups"], "image_size": size}


def learning_rate(seen: int, total: int, peak: float, first: int = 0) -> float:
    """Short warm-up from the `first` image on (a new optimiser's), then a cosine to peak / 20 at `total`."""
    warm = min(1.0, (seen - first + 1) / 6000)
    fall = 0.5 + 0.5 * np.cos(np.pi * min(1.0, seen / total))
    return float(peak * warm * (0.05 + 0.95 * fall))


def train(
    folder: Path,
    images: np.ndarray,
    *,
    total: int,
    batch: int,
    peak: float,
    save_every: float,
    compile: bool = False,
    start: Path | None = None,
) -> None:
    """Trains until `total` images are seen; goes on from folder/state.pt, else from the weights `start`, else anew."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = images.shape[1]
    network = ADM(**SHAPE)
    initialise(network)
    seen, seconds = 0, 0.0
    if start is not None:
        with safe_open(start, "pt") as weights:
            network.load_state_dict({name: weights.get_tensor(name).float() for name in weights.keys()})  # noqa: SIM118
            seen = int(weights.metadata()["images_seen"])
    # on 2 CPU cores plain layout, eager, was fastest (27 images/s; channels_last 17: its group norm is slow backwards;
    # channels_last compiled 26 after 90 s of compiling), on a GPU the other way round
    network.to(device)
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    average = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=0.0)
    first = seen
    state_path = folder / "state.pt"
    if state_path.is_file():
        state = torch.load(state_path, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        seen, seconds, first = state["seen"], state["seconds"], state["first"]
        print(f"resumed at {seen} images, {seconds / 60:.0f} min of training so far", flush=True)
    forward = torch.compile(network) if compile else network
    sigmas = published_sigmas()
    alphas_cumprod = 1 / (1 + sigmas**2)
    generator = torch.Generator().manual_seed(11 + seen)
    log = (folder / "log.jsonl").open("a")
    source = batches(images, batch, seen // batch, device)
    losses: list[float] = []
    saved = started = time.monotonic()
    while seen < total:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(seen, total, peak, first)
        clean = next(source)
        with torch.autocast(device.type, torch.bfloat16):
            loss = min_snr_loss(forward, clean, sigmas, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        seen += batch
        step = seen // batch
        keep = min(0.9992, (1 + step) / (12 + step))
        with torch.no_grad():
            for mean, value in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
        losses.append(loss.item())
        now = time.monotonic()
        if step % 100 == 0:
            elapsed = seconds + now - started
            line = {
                "seen": seen,
                "minutes": round(elapsed / 60, 2),
                "loss": round(float(np.mean(losses)), 5),
                "lr": round(learning_rate(seen, total, peak, first), 7),
                "machine": platform.processor() or platform.machine(),
                "device": str(device),
                "threads": torch.get_num_threads(),
            }
            print(json.dumps(line), file=log, flush=True)
            print(f"{seen:>8} images  {elapsed / 60:6.1f} min  loss {np.mean(losses):.4f}", flush=True)
            losses = []
        if now - saved > save_every or seen >= total:
            saved = now
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "seen": seen,
                "seconds": seconds + now - started,
                "first": first,
            }
            torch.save(state, state_path.with_suffix(".part"))
            os.replace(state_path.with_suffix(".part"), state_path)
            export(average.state_dict(), folder / "prior.safetensors", notes(seen, size))
            with torch.no_grad():
                sheet(sample(average, alphas_cumprod, 24, size, 25, device), folder / f"samples_{seen:07d}.png")
    print(
        f"done: {seen} images in {(seconds + time.monotonic() - started) / 60:.0f} min; weights in {folder}", flush=True
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="train prior", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where state, log and sample sheets go; resumed from"
    )
    parser.add_argument(
        "--images", type=int, default=250_000, help="images to see in all (the learning rate ends there)"
    )
    parser.add_argument("--scenes", type=int, default=36_000, help="different renders to draw from")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--peak", type=float, default=6e-4, help="highest learning rate")
    parser.add_argument("--save-every", type=float, default=300, help="seconds between saves")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights (.safetensors) to go on from where there is no state file")
    parser.add_argument("--compile", action="store_true", help="worth its start-up time on a GPU")
    choice = parser.parse_args(argv)
    if choice.threads:
        torch.set_num_threads(choice.threads)
    choice.folder.mkdir(parents=True, exist_ok=True)
    images = rendered_images(choice.folder.parent, choice.scenes, choice.size)
    train(
        choice.folder,
        images,
        total=choice.images,
        batch=choice.batch,
        peak=choice.peak,
        save_every=choice.save_every,
        compile=choice.compile,
        start=choice.start,
    )
