"""DiffSketching's fine-tuning, the algorithm of its overview figure (arXiv 2305.18812): a few rounds teach a diffusion
model to paint one picture so that its drawing is the sketch and its content the reference's.

Each round walks deterministically from the noised reference to a picture, with gradients, and takes one step down

    L = mean |E(x) - E(reference)| + mean LPIPS(P(x), sketch)

E a feature network, P a photo-to-sketch network, both frozen. The release computes this loss and passes it to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..networks.frozen import ordinary
from ..pictures.fit import fit_image
from .loop import Lesson, Panel

SGD, ADAM = "SGD (published)", "Adam"
OPTIMISERS = (ADAM, SGD)
MOMENTUM = 0.9
# Rounds in which Adam's steps grow: its first ones move every weight by the whole rate, however small the slope, and
# throw some sketches off for good.
WARM_UP = 6


def walk(predict: Callable[[Tensor, float], Tensor], x: Tensor, sigmas: Tensor, recompute: bool = True) -> Tensor:
    """Deterministic steps (DDIM at eta 0, Euler) from the state x [B,...] at sigmas[0] to the one at sigmas[-1], in the
    host's coordinates, differentiable in x and in what `predict` is made of.

    predict(x, sigma) -> the clean prediction. recompute: a step keeps only its state for the backward pass and is
    computed again there, so memory does not grow with the number of steps.
    """

    def step(x: Tensor, now: float, after: float) -> Tensor:
        denoised = predict(x, now)
        return denoised + after / now * (x - denoised)

    for now, after in pairwise(sigmas.tolist()):
        stepped: Any = checkpoint(step, x, now, after, use_reentrant=False) if recompute else step(x, now, after)
        x = stepped
    return x


class Losses:
    """The two losses of pictures [B,3,H,W] in [-1,1] against sketches and references, each IMAGE [1 or B,h,w,3].

    extractor: an Extractor. compare, look: Features that compare the drawings and the contents.
    """

    def __init__(
        self,
        sketch: Tensor,
        reference: Tensor,
        extractor: Any,
        compare: Any,
        look: Any,
        sketch_weight: float,
        weight: float,
    ) -> None:
        self.sketch, self.reference, self.extractor = sketch, reference, extractor
        self.compare, self.look, self.sketch_weight, self.weight = compare, look, sketch_weight, weight

    def prepare(self, device: torch.device, pictures: Tensor) -> tuple[Any, Any]:
        """image(pictures) and sketch(pictures), the means over the batch; None where a weight is 0. pictures: any of
        the working size."""
        height, width = pictures.shape[-2:]

        def goal(image: Tensor) -> Tensor:
            fitted = fit_image(image.float(), height, width).movedim(-1, 1)
            return ordinary(fitted.expand(len(pictures), -1, -1, -1).contiguous()).to(device)

        image: Any = None
        drawn: Any = None
        if self.weight:
            look, known = self.look.prepare(device), goal(self.reference)
            with torch.no_grad():
                maps = [found.detach() for found in look(known)]

            def content(pictures: Tensor) -> Tensor:
                pairs = zip(look((pictures + 1) / 2), maps, strict=True)
                return self.weight * torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()

            image = content
        if self.sketch_weight:
            draw, distance = self.extractor.prepare(device), self.compare.perceptual().prepare(device)
            lines = goal(self.sketch)

            def drawing(pictures: Tensor) -> Tensor:
                found = draw(((pictures + 1) / 2).clamp(0, 1)).expand(-1, 3, -1, -1)
                return self.sketch_weight * distance(found, lines).mean()

            drawn = drawing
        return image, drawn


class FineTuneLesson(Lesson):
    """Rounds of the figure's loop.

    tuned: what learns, modules or parameters. paint() -> pictures [B,3,H,W] in [-1,1], differentiable in it.
    image(pictures) and sketch(pictures) -> the two losses, one number each; None: that one is left out. weights() ->
    what the model file holds. learning_rate: constant with SGD, published 0.001; with Adam it grows to this over the
    first WARM_UP rounds.
    """

    name = "lora"
    panels = (Panel("Loss", ("image", "sketch")),)
    log_every = 1  # a round takes seconds, and there are few

    def __init__(
        self,
        tuned: nn.Module,
        paint: Callable[[], Tensor],
        image: Callable[[Tensor], Tensor] | None,
        sketch: Callable[[Tensor], Tensor] | None,
        weights: Callable[[], dict[str, Tensor]],
        *,
        learning_rate: float = 1e-3,
        optimiser: str = SGD,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(identity)
        self.paint, self.image, self.sketch, self.made = paint, image, sketch, weights
        self.optimiser = optimiser_of(tuned.parameters(), optimiser, learning_rate)
        self.learning_rate, self.warm_up = learning_rate, WARM_UP if optimiser == ADAM else 1
        self.kept = {"tuned": tuned, "optimiser": self.optimiser}

    def step(self, step: int, progress: float) -> tuple[dict[str, Tensor], list[Tensor]]:
        pictures = self.paint()
        losses = {
            name: measure(pictures)
            for name, measure in (("image", self.image), ("sketch", self.sketch))
            if measure is not None
        }
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack([*losses.values()]).sum().backward()
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * min(1.0, (step + 1) / self.warm_up)
        self.optimiser.step()
        return {name: loss.detach() for name, loss in losses.items()}, [pictures.detach().clamp(-1, 1)]

    def weights(self) -> dict[str, Tensor]:
        return self.made()


def optimiser_of(parameters: Iterable[nn.Parameter], kind: str, learning_rate: float) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, or Adam. What does not require a gradient is left out."""
    learning = [value for value in parameters if value.requires_grad]
    if kind == SGD:
        return torch.optim.SGD(learning, learning_rate, momentum=MOMENTUM)
    return torch.optim.Adam(learning, learning_rate)
