"""The noisy classifier as a value of the SKETCH_CLASSIFIER socket: its classes by number and by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import files
from ..networks.frozen import Frozen

NEAREST = 5  # how many names a message lists


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network that names the class of a picture at any noise level. names: of the classes, empty if the file has
    none. image_size: the side it was trained at, 0 if unknown."""

    name: str
    network: Frozen
    classes: int
    names: tuple[str, ...] = ()
    image_size: int = 0

    def prepare(self, device: torch.device | str) -> Callable[[Tensor, Tensor], Tensor]:
        """look(x [B,3,H,W] in VP units (picture in [-1,1], noised), t [B] noise level 0..999) -> logits [B, classes].

        Call it and use it inside frozen.gradients(); look is differentiable in x.
        """
        return self.network.prepare(device)

    def numbers(self, text: str) -> Tensor:
        """The class numbers [n] that a text names: numbers or names with commas between them, one for each image.

        ValueError: none at all, a number that is not a class, or a name that the file does not have.
        """
        parts = [part.strip() for part in str(text).split(",") if part.strip()]
        if not parts:
            raise ValueError(f"class_id is empty. Give {self._choices()}.")
        return torch.tensor([self._number(part) for part in parts])

    def _number(self, part: str) -> int:
        if part.removeprefix("-").isdecimal():
            number = int(part)
            if not 0 <= number < self.classes:
                raise ValueError(f"Class {number} does not exist in '{self.name}'. Give {self._choices()}.")
            return number
        if not self.names:
            raise ValueError(
                f"'{self.name}' has no class names, got {files.quote(part)}. Give a number of 0 to {self.classes - 1}."
            )
        known = [name.casefold() for name in self.names]
        if part.casefold() not in known:
            raise ValueError(f"'{self.name}' has no class {files.quote(part)}. Give {self._choices()}.")
        return known.index(part.casefold())

    def _choices(self) -> str:
        numbers = f"a number of 0 to {self.classes - 1}"
        if not self.names:
            return numbers
        more = f" and {len(self.names) - NEAREST} more" if len(self.names) > NEAREST else ""
        return f"{numbers}, or a name: {', '.join(self.names[:NEAREST])}{more}"
