"""Folders of photos by class, for trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_kinds(home: Path, count: int = 3, size: tuple[int, int] = (40, 48)) -> Path:
    """Two classes that a small network tells apart at once: `light` and `dark` pictures with some noise."""
    for name, grey in (("light", 220), ("dark", 30)):
        folder = home / name
        folder.mkdir(parents=True)
        for i in range(count):
            noise = np.random.default_rng(i).integers(-20, 20, (*size, 3))
            Image.fromarray((grey + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return home
