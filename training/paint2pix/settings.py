"""How a canvas encoder learns, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How a canvas encoder learns.

    passes: of the encoder, 1 to 5; each step learns one of them. learning_rate: the encoder's, decoder_rate: the
    decoder's and the discriminator's; 0: the decoder stays as it is. pixels, features, identity: weights of the
    prediction loss (ReStyle's are 1, 0.8, 0.1). edit: of following the updated canvas; apart: of staying close to w_t;
    edit_every: steps between two of them. length: of WNorm. adversarial: of a StyleGAN2 discriminator, from the
    fraction adversarial_from of the run on, at every adversarial_every-th step. r1: weight of its gradient penalty.
    ema: fraction of the average that stays at a step.
    """

    batch: int = 4
    passes: int = 2
    learning_rate: float = 1e-4
    decoder_rate: float = 0.0
    pixels: float = 1.0
    features: float = 0.8
    identity: float = 0.1
    edit: float = 1.0
    apart: float = 0.1
    edit_every: int = 1
    length: float = 0.0
    adversarial: float = 0.0
    adversarial_from: float = 0.0
    adversarial_every: int = 1
    r1: float = 1.0
    ema: float = 0.999
    seed: int = 0
    bfloat16: bool = False

    def check(self) -> None:
        """ValueError: a value out of its range."""
        ranges = {
            "batch": (2, 512),
            "passes": (1, 5),
            "learning_rate": (1e-8, 1.0),
            "decoder_rate": (0.0, 1.0),
            "adversarial_from": (0.0, 1.0),
            "ema": (0.0, 1.0),
            "edit_every": (1, 1000),
            "adversarial_every": (1, 1000),
            **dict.fromkeys(("pixels", "features", "identity", "edit", "apart", "length", "adversarial"), (0.0, 1e3)),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low:g} to {high:g}, got {getattr(self, name):g}.")
