"""How a pixel prior learns (Nichol and Dhariwal, arXiv 2102.09672; Dhariwal and Nichol, arXiv 2105.05233): a UNet finds
the noise in pictures at every level, on one's own photos, with or without classes.

    python3 dev/run.py train pixel-prior --photos PHOTOS --folder DIR --image-size 64 --num-channels 32 --minutes 60
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..networks.adm import ADM
from ..networks.schedules import LINEAR, SCHEDULES
from ..networks.schedules import sigmas as ladder
from . import labelled
from .command import begin, own_rates, photo_options, train_on_photos
from .diffusion import (
    EVEN,
    LEVELS,
    SAMPLERS,
    SIDES,
    Variances,
    adm_shape,
    min_snr_weight,
    noised,
    times_of,
    zero_last_layers,
)
from .supervised import SupervisedLesson, Task

PLAIN, MIN_SNR = "even (published)", "min-SNR"
WEIGHTINGS = (PLAIN, MIN_SNR)  # of the levels' squared errors
EMA = (0.9999,)  # published
SHOWN = 8  # samples in a row of the sheet


@dataclass(frozen=True)
class Settings:
    """What a training cannot change once it has begun. In brackets, what guided diffusion calls it.

    size: side in pixels [image_size]. width, depth: of the network [num_channels, num_res_blocks]. scale_shift: how the
    time enters its blocks [use_scale_shift_norm]. class_cond: sub-folders are classes. learn_sigma: the network learns
    its variances, too. schedule, steps: of the noise [noise_schedule, diffusion_steps]. sampler: which levels a step
    learns at, of SAMPLERS [schedule_sampler]. weighting: of the levels' errors, of WEIGHTINGS. ema: fractions of the
    averaged weights that stay at each step [ema_rate].
    """

    size: int = 64
    width: int = 128
    depth: int = 2
    scale_shift: bool = True
    class_cond: bool = False
    learn_sigma: bool = False
    schedule: str = LINEAR
    steps: int = LEVELS
    sampler: str = EVEN
    weighting: str = PLAIN
    ema: tuple[float, ...] = EMA

    def shape(self, classes: int | None, dropout: float = 0.0) -> dict[str, Any]:
        """The arguments of ADM."""
        return {
            **adm_shape(self.size, self.width, self.depth),
            "out_channels": 6 if self.learn_sigma else 3,
            "num_classes": classes,
            "use_scale_shift_norm": self.scale_shift,
            "resblock_updown": True,
            "dropout": dropout,
        }


class PriorTask(Task):
    """The network, its loss and its export.

    shape: arguments of ADM. size: side of its pictures. names: of its classes, if it has any. schedule, steps: the
    ladder. sampler: of SAMPLERS. weighting: of WEIGHTINGS. rows: of the sheet, of SHOWN samples each. A batch is
    pictures [B,3,H,W] in [-1,1], or these and their classes [B].
    """

    def __init__(
        self,
        shape: dict[str, Any],
        size: int,
        *,
        names: Sequence[str] = (),
        schedule: str = LINEAR,
        steps: int = LEVELS,
        sampler: str = EVEN,
        weighting: str = PLAIN,
        rows: int = 1,
    ) -> None:
        super().__init__()
        self.shape, self.size, self.names, self.rows = shape, size, list(names), rows
        self.schedule, self.weighting = schedule, weighting
        self.network = ADM(**shape)
        zero_last_layers(self.network)
        self.sigmas = ladder(schedule, steps).float()
        self.times = times_of(sampler, steps)
        self.variances = Variances(schedule, steps) if self.network.out_channels == 6 else None

    def loss(self, batch: Any, rng: torch.Generator) -> Tensor:
        """Squared error of the noise; with learned variances also 0.001 of the variational bound (arXiv 2102.09672,
        equation 16), whose sum over the ladder is estimated by this step's levels."""
        clean, classes = batch if isinstance(batch, tuple) else (batch, None)
        t, weight = self.times.draw(len(clean), rng)
        x, noise = noised(clean, self.sigmas[t], rng)
        found = self.network(x, t.float().to(x.device), classes).float()
        rows = (found[:, :3] - noise).square().mean((1, 2, 3))
        if self.weighting == MIN_SNR:
            rows = rows * min_snr_weight(self.sigmas[t]).to(rows)
        if self.variances:
            bits = self.variances.loss(clean, x, found[:, :3], found[:, 3:], t)
            rows = rows + 0.001 * len(self.sigmas) * bits
        self.times.told(t, rows.detach())
        return (weight.to(rows) * rows).mean()

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        """All that a loader cannot read from the keys."""
        stated = {
            key: self.shape[key] for key in ("num_heads", "num_head_channels", "norm_groups") if key in self.shape
        }
        ladder = {"noise_schedule": self.schedule, "diffusion_steps": len(self.sigmas)}
        names = {"classes": self.names} if self.names else {}
        return {**stated, "use_new_attention_order": False, "image_size": self.size, **ladder, **names}

    def sheet(self, batch: Any) -> Tensor:
        """Samples [rows, 3, h, 8w], eight in a row; of the classes by turns."""
        device = (batch[0] if isinstance(batch, tuple) else batch).device
        count = self.rows * SHOWN
        y = torch.arange(count, device=device) % len(self.names) if self.names else None
        found = sample(self.network, 1 / (1 + self.sigmas**2), count, self.size, 25, device, y=y)
        return found.unflatten(0, (self.rows, SHOWN)).movedim(1, 3).flatten(3) / 2 + 0.5


def sample(
    network: Any,
    alphas_cumprod: Tensor,
    count: int,
    size: int,
    steps: int,
    device: Any,
    *,
    seed: int = 0,
    y: Any = None,
) -> Tensor:
    """Ancestral samples [count, 3, size, size] for the sample sheet. y: their classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, size, size, generator=generator).to(device)
    times = torch.linspace(len(alphas_cumprod) - 1, 0, steps).round().long().tolist()
    return denoised(network, alphas_cumprod, x, times, generator, y=y)


def denoised(
    network: Any, alphas_cumprod: Tensor, x: Tensor, times: list[int], generator: torch.Generator, *, y: Any = None
) -> Tensor:
    """x [B,3,H,W], noised to times[0], after ancestral steps at these times, falling, and one to the clean picture.

    Clipped deterministic steps (DDIM) leave noise in them: at the highest levels a small error of epsilon is a large
    one of the picture, and what clipping cuts off stays in the sample for good.
    """
    for now, after in pairwise([*times, -1]):
        a, b = alphas_cumprod[now], alphas_cumprod[after] if after >= 0 else torch.tensor(1.0)
        epsilon = network(x, torch.full((len(x),), float(now), device=x.device), y).float()[:, :3]
        clean = ((x - (1 - a).sqrt() * epsilon) / a.sqrt()).clamp(-1, 1)
        beta = 1 - a / b
        mean = (b.sqrt() * beta * clean + (1 - beta).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + (beta * (1 - b) / (1 - a)).sqrt() * torch.randn(x.shape, generator=generator).to(x.device)
    return x


def photos_of(folder: Path, class_cond: bool) -> labelled.Labelled:
    """The photos in and below a folder; with class_cond those in its sub-folders, which are the classes.

    ValueError: none, or fewer than two classes."""
    return labelled.by_class(folder) if class_cond else labelled.below(folder)


def prior_lesson(
    found: labelled.Labelled,
    settings: Settings,
    *,
    batch: int,
    seed: int,
    dropout: float = 0.0,
    device: Any = "cpu",
    **rates: Any,
) -> SupervisedLesson:
    """The lesson of a pixel prior on photos. dropout: 0 to below 1, in the residual blocks. rates: learning_rate and
    others of SupervisedLesson."""
    names = found.names if settings.class_cond else []
    source = labelled.batches_of(found, settings.size, batch, seed, classes=settings.class_cond)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task = PriorTask(
            settings.shape(len(names) or None, dropout),
            settings.size,
            names=names,
            schedule=settings.schedule,
            steps=settings.steps,
            sampler=settings.sampler,
            weighting=settings.weighting,
        )
    identity = {**asdict(settings), "ema": ", ".join(f"{rate:g}" for rate in settings.ema)}
    identity["classes"] = ", ".join(names)
    return SupervisedLesson("prior", task, source, ema=settings.ema, device=device, identity=identity, **rates)


def rates_of(text: str) -> tuple[float, ...]:
    """The EMA rates that a text names, with commas between them. ValueError: none, or not fractions below 1."""
    try:
        rates = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        rates = ()
    if not rates or not all(0 <= rate < 1 for rate in rates) or len(set(rates)) < len(rates) or len(rates) > 4:
        raise ValueError(
            f"ema_rate is one to four different numbers of 0 to below 1 with commas between them, got '{text}'. Try "
            "0.9999 or 0.9999, 0.999."
        )
    return rates


def main(argv: list[str] | None = None) -> None:
    known = Settings()
    parser = photo_options("pixel-prior", __doc__, learning_rate=1e-4, batch=16)
    parser.add_argument("--image-size", type=int, choices=[int(side) for side in SIDES], default=known.size)
    parser.add_argument("--num-channels", type=int, default=known.width, help="16 to 256, a multiple of 16")
    parser.add_argument("--num-res-blocks", type=int, default=known.depth)
    parser.add_argument("--no-scale-shift-norm", action="store_true", help="without use_scale_shift_norm")
    parser.add_argument("--class-cond", action="store_true", help="sub-folders are classes")
    parser.add_argument("--learn-sigma", action="store_true", help="learn the variances, too")
    parser.add_argument("--noise-schedule", choices=SCHEDULES, default=known.schedule)
    parser.add_argument("--diffusion-steps", type=int, default=known.steps)
    parser.add_argument("--schedule-sampler", choices=SAMPLERS, default=known.sampler)
    parser.add_argument("--min-snr", action="store_true", help="weight the levels' errors by min-SNR; ours")
    parser.add_argument("--ema-rate", default=", ".join(map(str, known.ema)), help="one or several, with commas")
    parser.add_argument("--dropout", type=float, default=0.0)
    choice = parser.parse_args(argv)
    begin(choice, "prior")
    settings = Settings(
        size=choice.image_size,
        width=choice.num_channels,
        depth=choice.num_res_blocks,
        scale_shift=not choice.no_scale_shift_norm,
        class_cond=choice.class_cond,
        learn_sigma=choice.learn_sigma,
        schedule=choice.noise_schedule,
        steps=choice.diffusion_steps,
        sampler=choice.schedule_sampler,
        weighting=MIN_SNR if choice.min_snr else PLAIN,
        ema=rates_of(choice.ema_rate),
    )
    found = photos_of(choice.photos, settings.class_cond)
    lesson = prior_lesson(found, settings, dropout=choice.dropout, **own_rates(choice))
    train_on_photos(lesson, choice, found.photos.left_out)
