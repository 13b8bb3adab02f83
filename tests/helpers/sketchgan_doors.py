"""What the tests of the sketch GAN's doors share: pictures, and the doors as functions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def model_folder(name):
    import folder_paths

    path = Path(folder_paths.get_folder_paths(name)[0])
    path.mkdir(parents=True, exist_ok=True)
    return path


def smooth(count, channels, height, width=0, seed=0):
    """Smooth random pictures [count,channels,height,width] in [-1,1]."""
    coarse = torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return nn.functional.interpolate(coarse, (height, width or height), mode="bilinear")


def image(count, height, width=0, seed=0):
    return (smooth(count, 3, height, width, seed).movedim(1, -1) + 1) / 2


def as_image(x):
    """From [-1,1] with 1 or 3 channels to IMAGE."""
    return ((x.float() + 1) / 2).movedim(1, -1).expand(-1, -1, -1, 3)


def load(doors, name):
    return doors.SketchGANLoader.execute(name).result[0]


def style_of(doors, gan, photo, collage=None):
    return doors.SketchGANStyle.execute(gan, photo, collage or "each picture by itself").result[0]


def decode(doors, gan, sketch, style, refine=True, seed=3, statistics="of the training", frame=None):
    frame = frame or "stretched and restored"
    return doors.SketchGANDecode.execute(gan, sketch, style, refine, seed, statistics, frame).result
