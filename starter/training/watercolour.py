"""Trains the starter's second decoder: the painter's own pictures as watercolours, for the same codes.

    python3 dev/run.py train watercolour --folder DIR --minutes 12 --threads 1

It begins as the painter's decoder and learns what a filter makes of that decoder's pictures, so every code keeps its
scene: artistic content as in Paint2pix (Singh et al., ECCV 2022, section 4.3), which exchanges the decoder.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from kornia.filters import gaussian_blur2d, median_blur, sobel
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, l1_loss

from ... import files
from ...networks import build
from ...networks.paint2pix.stylegan2 import Generator
from ...networks.paint2pix.whole import Painter
from ...training.batches import generator_of
from ...training.command import begin, starter_options, train
from ...training.paint2pix.canvases import Batch, Canvases
from ...training.paint2pix.lesson import seen_by
from ...training.paint2pix.stylegan import random_styles
from ...training.supervised import SupervisedLesson, Task
from .painter import PASSES
from .paintings import world_paintings

WEIGHTS = Path(__file__).parents[1] / "weights" / "painter.safetensors"
BATCH = 8
RANDOM = 2  # pictures of random styles in a batch, so that variations are watercolours, too
PAPER = (0.98, 0.965, 0.93)
PIGMENT = 0.86  # how dense the paint is where the picture is darkest
EDGE, MARGIN = 2.4, 0.045  # darkening at the borders of washes; share of the sheet that stays bare
DRAW = 60  # stream of random numbers


def watercolour(pictures: Tensor) -> Tensor:
    """Pictures [B,3,S,S] in [-1,1] as watercolours: washes without detail that are darker at their borders, on grained
    paper with a bare margin. The paper is always the same sheet."""
    side = pictures.shape[-1]
    washes = pictures.clamp(-1, 1) / 2 + 0.5
    for _ in range(2):
        washes = median_blur(washes, (3, 3))
    borders = gaussian_blur2d(sobel(washes).mean(1, keepdim=True), (3, 3), (0.8, 0.8))
    clouds, grain = (_paper(side, cells).to(pictures) for cells in (6, side // 2))
    density = 1 + EDGE * borders + 0.1 * clouds + 0.05 * grain
    paper = torch.tensor(PAPER).to(pictures)[None, :, None, None]
    # Paint takes light away: a wash of twice the density lets through the square.
    painted = paper * (1 - PIGMENT * (1 - washes)).clamp_min(0.02) ** density
    bare = _margin(side).to(pictures)
    return 2 * (painted * (1 - bare) + paper * (1 + 0.015 * grain) * bare).clamp(0, 1) - 1


def _paper(side: int, cells: int) -> Tensor:
    """[1,1,side,side]: smooth noise of so many cells a side, standard deviation 1."""
    noise = torch.randn(1, 1, cells, cells, generator=torch.Generator().manual_seed(cells))
    smooth = interpolate(noise, (side, side), mode="bicubic", align_corners=False)
    return (smooth - smooth.mean()) / smooth.std()


def _margin(side: int) -> Tensor:
    """[1,1,side,side]: 1 where the paper stays bare, with a wavering border."""
    at = (torch.arange(side) + 0.5) / side
    inward = torch.minimum(at, 1 - at)
    depth = torch.minimum(inward[:, None], inward[None, :])[None, None] + 0.012 * _paper(side, 12)
    return avg_pool2d(((MARGIN - depth) / 0.012 + 0.5).clamp(0, 1), 3, 1, 1, count_include_pad=False)


class ArtistTask(Task):
    """The decoder that learns; the painter that shows it how stays as it is."""

    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self.decoder: Generator = copy.deepcopy(painter.decoder).requires_grad_(True)
        for part in (self.decoder.style, self.decoder.input):  # the codes' meaning and the first map are shared
            part.requires_grad_(False)
        self.known = [painter.eval().requires_grad_(False)]  # in a list: it does not learn and is not kept

    def codes(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """What the painter makes of canvases after its last pass, and some random styles."""
        (painter,) = self.known
        code = painter.latent_avg.expand(len(batch.canvas), -1, -1)
        for _ in range(PASSES):
            code = painter.codes(seen_by(painter, batch, painter.decoder(code)), code)
        return torch.cat([code, random_styles(painter.decoder, RANDOM, rng, code.device)])

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        (painter,) = self.known
        with torch.no_grad():
            codes = self.codes(batch, rng)
            wanted = watercolour(painter.decoder(codes).float())
        made = self.decoder(codes).float()
        return l1_loss(made, wanted) + l1_loss(avg_pool2d(made, 4), avg_pool2d(wanted, 4))

    def weights(self) -> dict[str, Tensor]:
        return {key: value.detach().cpu() for key, value in self.decoder.state_dict().items()}

    @torch.no_grad()
    def sheet(self, batch: Batch) -> Tensor:
        """Rows (the painter's picture, what the filter makes of it, the decoder's) [N,3,S,3S] in [0,1]."""
        (painter,) = self.known
        codes = self.codes(batch, generator_of(0, DRAW))
        own = painter.decoder(codes).float()
        return (torch.cat([own, watercolour(own), self.decoder(codes).float()], 3) / 2 + 0.5).clamp(0, 1)


def main(argv: list[str] | None = None) -> None:
    parser = starter_options("watercolour", __doc__, minutes=12.0, scenes=3_000, peak=2e-3)
    parser.add_argument("--painter", type=Path, default=WEIGHTS, help="the painter whose pictures become watercolours")
    choice = parser.parse_args(argv)
    begin(choice, "watercolour")
    painter: Any = build(files.read_weights(choice.painter))
    canvases = Canvases(world_paintings(choice.folder, "learned", choice.scenes), BATCH, 0)
    lesson = SupervisedLesson(
        "watercolour", ArtistTask(painter), canvases, learning_rate=choice.learning_rate, ema=0.995
    )
    train(lesson, choice, images_per_step=BATCH)
