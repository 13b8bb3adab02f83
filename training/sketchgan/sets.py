"""Sketches of a whole folder of photos, for the sketch GAN to train on: one folder per drawing style, names kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ... import files
from ..photos import read

INK = 0.7  # what is lighter is paper, as published


def synthesise(
    photos: dict[str, Path],
    draw: Callable[[Tensor], Tensor],
    folder: Path,
    *,
    size: int = 512,
    inked: bool = True,
    again: bool = False,
    device: torch.device | str = "cpu",
    watch: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """Draws every photo into folder/<its name>.png; what is there already stays, unless `again`.

    photos: see training.photos.by_name. draw: as Extractor.prepare gives it, [1,3,H,W] -> [1,1,H,W] in [0,1]. size:
    larger photos are first reduced to this shorter side; 0: none is. inked: black lines on white, nothing between
    (published); otherwise as drawn. watch(done): called after each photo; may raise to stop. Files are whole or not
    there.

    -> photos that could not be drawn, each with the reason.
    """
    skipped = []
    for done, (name, path) in enumerate(photos.items(), 1):
        target = folder / f"{name}.png"
        if again or not target.is_file():
            try:
                photo = read(path, "RGB")
            except ValueError as error:
                skipped.append(str(error))
            else:
                files.replace(target, _png(draw(_seen(photo, size).to(device)), inked))
        watch(done)
    return skipped


def _seen(photo: Image.Image, size: int) -> Tensor:
    scale = size / min(photo.size) if size else 1.0
    if scale < 1:
        sides = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
        photo = photo.resize(sides, Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(photo)).movedim(-1, 0)[None].float() / 255


def _png(drawing: Tensor, inked: bool) -> bytes:
    drawing = drawing[0, 0].detach().float().cpu()
    values = (drawing > INK).float() if inked else drawing.clamp(0, 1)
    held = io.BytesIO()
    Image.fromarray((values * 255).round().byte().numpy()).save(held, "PNG")
    return held.getvalue()


def sheet_of(photos: Sequence[Path], folders: Sequence[Path], cell: int = 192) -> Image.Image:
    """Rows of a photo and its sketches of every set."""
    rows = [[read(p, "RGB"), *(read(folder / f"{p.stem}.png", "RGB") for folder in folders)] for p in photos]
    whole = Image.new("RGB", (cell * (1 + len(folders)), cell * max(1, len(rows))), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            picture.thumbnail((cell, cell))
            whole.paste(picture, (x * cell, y * cell))
    return whole
