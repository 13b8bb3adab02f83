"""Between IMAGE tensors and PIL images, for nodes that draw sheets and charts."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor


def to_pil(batch: Tensor) -> list[Image.Image]:
    """[N,H,W,C] in [0,1], one image per picture: a 4th channel is dropped, a single one becomes grey."""
    colours = batch[..., :3].expand(-1, -1, -1, 3)
    return [Image.fromarray(p) for p in (colours.clamp(0, 1) * 255).round().byte().cpu().numpy()]


def to_image(picture: Image.Image) -> Tensor:
    """[1,H,W,3] in [0,1]."""
    return torch.from_numpy(np.array(picture)).float()[None] / 255


def cell_input(more: str = "") -> io.Int.Input:
    """The size of the pictures on a sheet; more: what the tooltip says in addition."""
    tip = f"Longer side of every picture on the sheet, 32 to 2048 pixels.{more}"
    return io.Int.Input("cell", default=256, min=32, max=2048, step=8, tooltip=tip)
