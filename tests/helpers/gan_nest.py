"""Trains a tiny sketch GAN in processes that a test may kill: torch is imported once, each training is a fork of this.

Lines in: "train FOLDER AE_STEPS GAN_STEPS". Lines out: "pid N", from the training itself "step LESSON N" after each
step, "done", and "ended" once it is gone. Run as `python -m helpers.gan_nest` with tests/ and dev/ on PYTHONPATH.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from runtime.rooms import room


def pictures(count: int = 6, side: int = 40):
    """Smooth coloured photos and line sketches from a fixed seed."""
    rng = np.random.default_rng(3)
    photos = np.kron(rng.integers(0, 256, (count, 5, 5, 3)), np.ones((1, side // 5, side // 5, 1))).astype(np.uint8)
    sketches = [np.kron(rng.integers(0, 2, (count, 8, 8)) * 255, np.ones((1, 5, 5))).astype(np.uint8) for _ in range(2)]
    return room("training.photos").Arrays(photos, sketches)


def features():
    """A feature network of five narrow stages with weights from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = room("networks.vgg").VGG(widths=((4,), (6,), (8,), (8,), (8,))).eval().requires_grad_(False)
    return room("pictures.features").features("tiny", SimpleNamespace(model=network))


def settings(**own):
    small = {"size": 128, "width": 8, "discriminator": 8, "batch": 2, "classes": 4, "seed": 7}
    return room("training.sketchgan.lessons").Settings(**{**small, **own})


def train(
    folder: Path, ae_steps: int, gan_steps: int, watch=lambda moment: None, save_every: float = 0.0, seen=None, **own
):
    """As the node and the command line train, on `seen` (None: `pictures`). Saves after every step."""
    goal = room("training.loop").Goal
    return room("training.sketchgan.runs").train_gan(
        seen or pictures(),
        features(),
        settings(**own),
        folder / "gan.safetensors",
        folder / "gan.training",
        (goal(ae_steps), goal(gan_steps)),
        options=room("training.sketchgan.runs").Options(watch, save_every),
    )


def tell(moment) -> None:
    print(f"step {moment.lesson.name} {moment.course.steps}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    settings()
    features()
    print("ready", flush=True)
    for line in sys.stdin:
        _, folder, ae_steps, gan_steps = line.split()
        pid = os.fork()
        if pid == 0:
            train(Path(folder), int(ae_steps), int(gan_steps), tell)
            print("done", flush=True)
            os._exit(0)
        print(f"pid {pid}", flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
