"""How PhotoSketch learns (Li et al., arXiv 1901.00542): photos with several drawings each, a generator, and a
discriminator of pairs. Of the drawings of a photo only the nearest one counts, so that what people draw differently is
not averaged into a blur.

    python3 dev/run.py train photosketch --photos PHOTOS --sketches SETS --folder DIR --width 16 --minutes 60

SETS has a sub-folder for each set of drawings, named as their photos are; without sub-folders it is the one set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, binary_cross_entropy_with_logits, grid_sample
from torch.optim import Adam

from ..networks.photosketch import OWN, PairDiscriminator, PhotoSketch, initialised
from . import photos as photo_folders
from .batches import Prefetch, Shuffled, places_of, to_device
from .command import begin, photo_options, train_on_photos
from .loop import Losses, Panel
from .photos import Store, tensor
from .sketchgan.extractor import DrawingLesson, first_photos
from .weights import seeded

SIZES = (64, 128, 256, 512)
RATE, BETAS = 2e-4, (0.5, 0.999)
STROKES = 200.0  # weight of the distance to the nearest drawing
BLOCKS = 9  # published
TURN, JITTER = 10.0, 0.2  # degrees, and the share by which brightness and contrast vary: ours
STREAM = 31  # of random numbers


class Drawn(NamedTuple):
    """photo [B,3,S,S]; drawings [B,K,S,S]: K of each photo; all in [-1,1]."""

    photo: Tensor
    drawings: Tensor


class DrawnBatches:
    """batches(step) -> photos with all their drawings: the same random square of each, turned and mirrored alike; the
    photo's brightness and contrast vary. All follows from seed and step."""

    def __init__(self, store: Store, batch: int, seed: int) -> None:
        self.store, self.batch, self.seed = store, batch, seed
        self.order = Shuffled(store.pictures.count, seed, STREAM)

    def __call__(self, step: int) -> Drawn:
        items = [self._item(place) for place in places_of(step, self.batch)]
        photos, drawings = (torch.stack(parts) for parts in zip(*items, strict=True))
        return Drawn(photos, drawings)

    def _item(self, place: int) -> tuple[Tensor, Tensor]:
        i, rng, size = self.order(place), np.random.default_rng([self.seed, STREAM, place]), self.store.side
        sets = range(self.store.pictures.sets)
        whole = torch.cat([tensor(self.store.photo(i)), *(tensor(self.store.sketch(which, i)) for which in sets)])
        top, left = map(int, rng.integers(0, whole.shape[-1] - size + 1, 2))
        whole = turned(whole, float(rng.uniform(-TURN, TURN)), bool(rng.random() < 0.5))
        square = whole[:, top : top + size, left : left + size]
        gain, shift = 1 + rng.uniform(-JITTER, JITTER), rng.uniform(-JITTER, JITTER)
        return (gain * square[:3] + shift).clamp(-1, 1), square[3:]


def turned(picture: Tensor, degrees: float, mirrored: bool) -> Tensor:
    """A picture [C,H,W] turned about its middle, its corners filled by reflection, and mirrored or not."""
    angle = np.deg2rad(degrees)
    flip = -1.0 if mirrored else 1.0
    matrix = torch.tensor([[flip * np.cos(angle), -np.sin(angle), 0], [flip * np.sin(angle), np.cos(angle), 0]])
    grid = affine_grid(matrix[None].float(), [1, *picture.shape], align_corners=False)
    return grid_sample(picture[None], grid, padding_mode="reflection", align_corners=False)[0]


def nearest_distance(drawn: Tensor, drawings: Tensor) -> Tensor:
    """The mean absolute difference of drawn [B,1,S,S] to the nearest of drawings [B,K,S,S], averaged over the batch."""
    return (drawn - drawings).abs().mean((2, 3)).min(1).values.mean()


def check_size(size: int) -> None:
    """ValueError: a side that it is not trained at."""
    if size not in SIZES:
        raise ValueError(
            f"PhotoSketch is trained at {', '.join(map(str, SIZES))} px here, got {size}. Choose one of them."
        )


class PhotoSketchLesson(DrawingLesson):
    """PhotoSketch's generator against a discriminator of photo and drawing, as its own repository trains it: BCE, Adam
    of 2e-4 with betas (.5, .999), steady for half of the run and then falling to 0."""

    panels = (
        Panel("Sketch extractor: distance to the nearest drawing", ("nearest",)),
        Panel("Sketch extractor: judged", ("adversarial", "discriminator")),
    )

    def __init__(
        self,
        store: Store,
        *,
        width: int = 64,
        blocks: int = BLOCKS,
        batch: int = 2,
        seed: int = 0,
        bfloat16: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        """store: photos with one drawing or more each."""
        check_size(store.side)
        super().__init__({"form": "PhotoSketch", "size": store.side, "width": width, "blocks": blocks})
        self.photos, self.device, self.bfloat16 = store, torch.device(device), bfloat16
        self.generator, self.discriminator = (
            net.to(device).train()
            for net in seeded(
                seed,
                lambda: initialised(PhotoSketch(width=width, blocks=blocks)),
                lambda: initialised(PairDiscriminator(size=store.side, width=width)),
            )
        )
        self.optimisers = [Adam(net.parameters(), RATE, BETAS) for net in (self.generator, self.discriminator)]
        self.kept = {"networks": [self.generator, self.discriminator], "optimisers": self.optimisers}
        self.ahead = Prefetch(DrawnBatches(store, batch, seed))
        self.closing = [self.ahead]

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        batch = to_device(self.ahead(step), self.device)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1.0, 2 * (1 - progress))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            drawn = self.generator(batch.photo)
        drawn = drawn.float()
        wrong = self._discriminator_loss(batch, drawn.detach())
        self._take(1, wrong)
        adversarial = _called(self._judged(batch.photo, drawn), True)
        nearest = nearest_distance(drawn, batch.drawings)
        self._take(0, adversarial + STROKES * nearest)
        found = {"nearest": nearest.detach(), "adversarial": adversarial.detach(), "discriminator": wrong.detach()}
        return found, [batch.photo, drawn.detach(), batch.drawings[:, :1]]

    def _judged(self, photo: Tensor, drawing: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.discriminator(photo, drawing).float()

    def _discriminator_loss(self, batch: Drawn, drawn: Tensor) -> Tensor:
        """Half of what it gets wrong about the drawn one, and about all of the photo's drawings."""
        sets = batch.drawings.shape[1]
        real = [_called(self._judged(batch.photo, batch.drawings[:, k : k + 1]), True) for k in range(sets)]
        return 0.5 * (torch.stack(real).mean() + _called(self._judged(batch.photo, drawn), False))

    def _take(self, which: int, loss: Tensor) -> None:
        self.optimisers[which].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[which].step()

    def weights(self) -> dict[str, Tensor]:
        return self.generator.state_dict()

    def notes(self) -> dict[str, Any]:
        return {"image_size": self.identity["size"]}

    @torch.no_grad()
    def drawn(self) -> list[Tensor]:
        photos = first_photos(self.photos)
        self.generator.eval()
        try:
            return [photos, self.generator(photos.to(self.device), OWN).cpu()]
        finally:
            self.generator.train()


def _called(logits: Tensor, genuine: bool) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(genuine)))


def main(argv: list[str] | None = None) -> None:
    parser = photo_options("photosketch", __doc__, batch=2)
    parser.add_argument("--sketches", type=Path, required=True, help="sets of drawings, named as their photos are")
    parser.add_argument("--image-size", type=int, choices=SIZES, default=256)
    parser.add_argument("--width", type=int, default=64, help="8 to 128, a multiple of 8")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="residual blocks, 1 to 16")
    choice = parser.parse_args(argv)
    begin(choice, "extractor")
    found = photo_folders.paired(choice.photos, photo_folders.set_folders(choice.sketches))
    lesson = PhotoSketchLesson(
        Store(found, choice.image_size),
        width=choice.width,
        blocks=choice.blocks,
        batch=choice.batch,
        seed=choice.seed,
        bfloat16=choice.bf16,
        device=choice.device,
    )
    train_on_photos(lesson, choice, found.left_out)
