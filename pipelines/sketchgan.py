"""From pictures to the networks of the sketch GAN (Liu et al., AAAI 2021, arXiv 2012.09290) and back.

IMAGE is the host's [B, H, W, C] in [0, 1]; the networks work on squares of their own size in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..pictures.fit import fit_image, pair_batches, scale_image

if TYPE_CHECKING:
    from ..networks.sketchgan.refiner import Refiner
    from ..networks.sketchgan.whole import SketchGAN

STRETCHED, PADDED = "stretched and restored", "whole, paper around it"
FRAMES = (STRETCHED, PADDED)
RUNNING, OWN, BATCH = "of the training", "of each picture", "of the batch (as published)"
STATISTICS = (RUNNING, OWN, BATCH)
EACH, DOWN, ACROSS, ROWS, COLUMNS = (
    *("each picture by itself", "collage: strips, top to bottom", "collage: strips, left to right"),
    *("collage: 2x2, row by row", "collage: 2x2, column by column"),
)
COLLAGES = (EACH, DOWN, ACROSS, ROWS, COLUMNS)
PIXELS = 512 * 512  # of results per call of the networks


@dataclass(frozen=True, eq=False)
class GAN:
    """A sketch GAN behind a host ModelPatcher: the value of the SKETCH_GAN socket."""

    name: str
    patcher: Any

    @property
    def network(self) -> SketchGAN:
        return self.patcher.model


@dataclass(frozen=True, eq=False)
class Style:
    """Style vectors [B,2n], [B,4n], [B,8n], float32, on the CPU: the value of the SKETCH_STYLE socket.

    From the last to the first they act on ever finer maps. Their published names are 32, 16 and 8.
    """

    levels: tuple[Tensor, Tensor, Tensor]

    def __len__(self) -> int:
        return len(self.levels[0])

    def paired(self, batch: int) -> Style:
        """`batch` styles; see pair_batches."""
        one, two, three = (pair_batches(level, batch, "style", "sketch") for level in self.levels)
        return Style((one, two, three))


# --- styles -----------------------------------------------------------------------------------------------------------


def encode(network: SketchGAN, image: Tensor, device: torch.device | str) -> Style:
    """The styles of pictures (IMAGE), from the middle square of each; one at a time, so that any number fits."""
    found = []
    for picture in image:
        square = fit_image(_coloured(picture[None]), network.draft, network.draft)
        found.append([level.float().cpu() for level in network.styles(2 * square.movedim(-1, 1).to(device) - 1)])
    one, two, three = (torch.cat(level) for level in zip(*found, strict=True))
    return Style((one, two, three))


def collage(image: Tensor, arrangement: str, side: int) -> Tensor:
    """Pictures (IMAGE) stitched into one [1, side, side, 3], the published way to mix styles; EACH changes nothing.

    As published, strips are squeezed: each shows its whole picture. ValueError: too few pictures, or not four for 2x2.
    """
    if arrangement == EACH:
        return image
    count = len(image)
    if arrangement in (ROWS, COLUMNS) and count != 4:
        raise ValueError(f"A 2x2 collage takes 4 pictures in one batch, got {count}. Batch 4, or choose strips.")
    if count < 2:
        raise ValueError("A collage takes 2 or more pictures in one batch, got 1. Batch some, or choose none.")
    tiles = list(fit_image(_coloured(image), side, side))
    if arrangement in (DOWN, ACROSS):
        stitched = torch.cat(tiles, 0 if arrangement == DOWN else 1)
    else:
        first, second, third, fourth = tiles if arrangement == ROWS else (tiles[i] for i in (0, 2, 1, 3))
        stitched = torch.cat([torch.cat([first, second], 1), torch.cat([third, fourth], 1)])
    return scale_image(stitched[None], side, side)


def mix(one: Style, other: Style, shares: Sequence[float], steps: int = 1) -> Style:
    """From one style to the other: each level (32, 16, 8) interpolated by its share of `other`, in [0, 1].

    steps > 1: that many styles on the way, from `one` to the full shares, the whole batch at each.
    ValueError: styles of networks of different widths, or batches that do not pair.
    """
    if [level.shape[1] for level in one.levels] != [level.shape[1] for level in other.levels]:
        widths = " and ".join(str(style.levels[0].shape[1] // 2) for style in (one, other))
        raise ValueError(f"These styles come from sketch GANs of widths {widths}. Make both with the same sketch GAN.")
    batch = max(len(one), len(other))
    points = torch.linspace(0, 1, steps).tolist() if steps > 1 else [1.0]
    mixed = []
    for mine, theirs, share in zip(one.levels, other.levels, shares, strict=True):
        start = pair_batches(mine, batch, "style_a", "style_b")
        end = pair_batches(theirs, batch, "style_b", "style_a")
        mixed.append(torch.cat([torch.lerp(start, end, point * share) for point in points]))
    return Style((mixed[0], mixed[1], mixed[2]))


def check_style(network: SketchGAN, style: Style) -> None:
    """ValueError: a style from a network of another width."""
    width = style.levels[0].shape[1] // 2
    if width != network.width:
        raise ValueError(
            f"This style comes from a sketch GAN of width {width}, but this one has width {network.width}. Make the "
            "style with the same sketch GAN."
        )


# --- pictures ---------------------------------------------------------------------------------------------------------


def decode(
    network: SketchGAN,
    sketch: Tensor,
    style: Style,
    seeds: Sequence[int],
    device: torch.device | str,
    *,
    refine: bool = True,
    statistics: str = RUNNING,
    frame: str = STRETCHED,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Paints sketches (IMAGE, dark on light), one style each, a few at a time: pairs of IMAGE, refined and draft.

    seeds: one per picture, for the generator's noise and (faces) flips. refine False, or no generator: both are the
    draft. statistics: which statistics the generator's batch norms use; with OWN and RUNNING a picture does not depend
    on its batch, BATCH paints all at once. Results have the network's size along the longer side and the sketch's
    aspect.
    """
    height, width = sketch.shape[1:3]
    count = at_once(network, len(sketch), statistics)
    for start in range(0, len(sketch), count):
        part = slice(start, start + count)
        levels = [level[part].to(device) for level in style.levels]
        draft = refined = network.drafts(squared(sketch[part], network.draft, frame).to(device), levels)
        if refine and network.generator is not None:
            noise, flips = draws(network.generator, seeds[part])
            refined = network.refined(draft, levels, noise, flips, batch=statistics != RUNNING)
        made = restored(draft, height, width, frame)
        yield (made if refined is draft else restored(refined, height, width, frame)), made


def at_once(network: SketchGAN, batch: int, statistics: str) -> int:
    """How many of `batch` pictures are painted per call."""
    if statistics == BATCH:
        return batch
    return 1 if statistics == OWN else min(batch, max(1, PIXELS // network.size**2))


def memory_needed(network: SketchGAN, count: int) -> int:
    """Bytes for `count` pictures at once. Peaks of live values (torch.profiler): 16 bytes per pixel of the result and
    channel of the width, 1000 per pixel for faces; doubled for the convolutions' own workspace."""
    return 32 * max(64, network.width) * network.size**2 * count


def draw_noise(network: Refiner, batch: int, generator: torch.Generator) -> tuple[list[Tensor], Tensor | None]:
    """Noise and, for faces, flips [batch,2] for one call, on the generator's device."""
    place = generator.device
    noise = [torch.randn(shape, generator=generator, device=place) for shape in network.noise_shapes(batch)]
    flips = torch.rand(batch, 2, generator=generator, device=place) < 0.5 if network.kind == "face" else None
    return noise, flips


def draws(generator: Refiner, seeds: Sequence[int]) -> tuple[list[Tensor], Tensor | None]:
    """Noise and flips of a batch, each picture's from its own seed, on the CPU: the same on every machine."""
    drawn = [draw_noise(generator, 1, torch.Generator().manual_seed(seed)) for seed in seeds]
    noise = [torch.cat(maps) for maps in zip(*(maps for maps, _ in drawn), strict=True)]
    flips = [turned for _, turned in drawn if turned is not None]
    return noise, torch.cat(flips) if flips else None


def squared(sketch: Tensor, side: int, frame: str = STRETCHED) -> Tensor:
    """A sketch (IMAGE) as the networks' input: grey, [B, 1, side, side], paper 1, ink -1."""
    grey = sketch[..., :3].float().mean(-1, keepdim=True)
    height, width = _inside(grey.shape[1], grey.shape[2], side) if frame == PADDED else (side, side)
    picture = 2 * scale_image(grey, height, width).movedim(-1, 1) - 1
    top, left = (side - height) // 2, (side - width) // 2
    return pad(picture, (left, side - width - left, top, side - height - top), value=1.0)


def restored(picture: Tensor, height: int, width: int, frame: str = STRETCHED) -> Tensor:
    """A square picture [B, 3, S, S] in [-1, 1] as IMAGE with the aspect of height x width and the longer side S."""
    side = picture.shape[-1]
    height, width = _inside(height, width, side)
    image = (picture.float().movedim(1, -1) / 2 + 0.5).clamp(0, 1)
    if frame == STRETCHED:
        return scale_image(image, height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return image[:, top : top + height, left : left + width]


def _inside(height: int, width: int, side: int) -> tuple[int, int]:
    """height and width scaled so that the longer one is `side`."""
    longer = max(height, width)
    return max(1, round(side * height / longer)), max(1, round(side * width / longer))


def _coloured(image: Tensor) -> Tensor:
    """IMAGE in float32 with three channels: grey is repeated, transparency dropped."""
    return image[..., :3].float().expand(*image.shape[:3], 3)
