"""Photo to line drawing, differentiable: what a shape energy compares with a sketch.

An `Extractor` is the value of the SKETCH_EXTRACTOR socket. It holds no tensors of a run: `prepare` makes a plain
function that lives as long as the run does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..networks.frozen import Frozen

MULTIPLE = 4  # InformativeDrawings halves the sides twice
SMALLEST = 8


@dataclass(frozen=True, eq=False)
class Extractor:
    """A way to draw a photo in lines. network: InformativeDrawings, PhotoSketch or TOM, or None for edges without
    weights.

    bytes_per_pixel: peak memory of one drawing, per pixel of the photo.
    """

    name: str
    network: Frozen | None
    bytes_per_pixel: int = 0

    def prepare(self, device: torch.device | str) -> Callable[[Tensor], Tensor]:
        """draw(x [B,3,H,W] float32 in [0,1] on `device`) -> [B,1,H,W] in [0,1], 1 = paper, 0 = ink; any H, W.

        Call it and use it inside frozen.gradients(); draw is differentiable in x.
        """
        if self.network is None:
            from .edges import draw_edges

            return draw_edges
        return partial(_padded, self.network.prepare(device))


EDGES = Extractor("edges (no weights)", None)


def extractor(name: str, patcher: Any, statistics: str = "") -> Extractor:
    """An Extractor around a host ModelPatcher that holds an InformativeDrawings, PhotoSketch or TOM network.

    statistics: which ones PhotoSketch's norms use (photosketch.STATISTICS), "" for each photo's own.
    """
    from ..networks.photosketch import OWN, PhotoSketch
    from ..networks.sketchgan.tom import TOM

    network = patcher.model
    if isinstance(network, PhotoSketch):  # it sees and draws in [-1, 1]
        call = Frozen(patcher, lambda network, x: (network(2 * x - 1, statistics or OWN) + 1) / 2)
        return Extractor(name, call, 6 * network.width * 4)
    # six maps of 64 channels; or TOM's last upsampling: four times its last map's channels, padded, and two results
    last: Any = network.g.final[0] if isinstance(network, TOM) else None
    needed = 6 * 64 * 4 if last is None else 24 * last.in_channels
    return Extractor(name, Frozen(patcher, lambda network, x: network(x)), needed)


def _padded(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The network's drawing of the picture padded to the sides it needs, cropped again."""
    height, width = x.shape[-2:]
    down, right = (max(SMALLEST, -(-side // MULTIPLE) * MULTIPLE) - side for side in (height, width))
    if down or right:
        mode = "reflect" if down < height and right < width else "replicate"
        x = pad(x, (0, right, 0, down), mode=mode)
    return network(x).mean(1, keepdim=True)[..., :height, :width]
