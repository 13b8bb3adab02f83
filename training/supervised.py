"""A lesson from a loss: AdamW, warm-up and cosine decay, an average of the weights. Most trainings need no more."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .batches import Prefetch, to_device
from .loop import Lesson, Losses


class Task(nn.Module):
    """The networks of a supervised training and the loss they learn by. Its parameters learn; what does not is kept out
    of them (requires_grad_(False), or in a plain list)."""

    def loss(self, batch: Any, rng: torch.Generator) -> Tensor:
        """One number. rng, on the CPU, is seeded with the number of the step."""
        raise NotImplementedError

    def weights(self) -> dict[str, Tensor]:
        """What the model file holds."""
        raise NotImplementedError

    def notes(self) -> dict[str, Any]:
        """The model file's metadata."""
        return {}

    def sheet(self, batch: Any) -> Tensor | None:
        """The current results, as rows of pictures [N,3,h,w] in [0,1]; None: nothing to see."""
        return None


class SupervisedLesson(Lesson):
    """Minimises a task's loss.

    batches(step): tensors, or tuples or dicts of them; made one step ahead on a thread. learning_rate: the highest,
    reached after `warmup` steps; a cosine takes it to a fiftieth at the end of the run. ema: fraction of the averaged
    weights that stays at each step (they follow faster at first); what is saved and shown is the average. 0: the
    weights themselves. weight_decay, betas: AdamW's. autocast: bfloat16 where it is safe. began: fraction
    of the whole course of learning that the first weights have behind them: the cosine goes on from there.
    steady: no warm-up, no decay and no limit on gradients, as several trainings were published.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        batches: Callable[[int], Any],
        *,
        learning_rate: float,
        ema: float = 0.0,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.99),
        steady: bool = False,
        warmup: int = 50,
        autocast: bool = False,
        began: float = 0.0,
        device: torch.device | str = "cpu",
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(identity)
        self.name, self.task, self.batches, self.device = name, task.to(device).train(), batches, torch.device(device)
        self.learning_rate, self.warmup, self.ema, self.autocast = learning_rate, warmup, ema, autocast
        self.began = min(1.0, began)
        self.average: Task = copy.deepcopy(self.task) if ema else self.task
        trained = [value for value in self.task.parameters() if value.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, learning_rate, betas=betas, weight_decay=weight_decay)
        self.steady = steady
        self.kept = {"task": self.task, "optimiser": self.optimiser} | ({"average": self.average} if ema else {})
        self.rng = torch.Generator()
        self.ahead = Prefetch(batches)
        self.closing = [self.ahead]

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        batch = to_device(self.ahead(step), self.device)
        if not self.steady:
            for group in self.optimiser.param_groups:
                group["lr"] = cosine(self.learning_rate, step, self.began + (1 - self.began) * progress, self.warmup)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            loss = self.task.loss(batch, self.rng.manual_seed(step))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if not self.steady:
            nn.utils.clip_grad_norm_(self.task.parameters(), 1.0)
        self.optimiser.step()
        if self.ema:
            self._follow(min(self.ema, (1 + step) / (12 + step)))
        return {"loss": loss.detach()}, []

    @torch.no_grad()
    def _follow(self, keep: float) -> None:
        """The average keeps this fraction of itself; buffers are copied."""
        for mean, value in zip(self.average.parameters(), self.task.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
        for mean, value in zip(self.average.buffers(), self.task.buffers(), strict=True):
            mean.copy_(value)

    def weights(self) -> dict[str, Tensor]:
        return self._looked_at(self.average.weights)

    def notes(self) -> dict[str, Any]:
        return self._looked_at(self.average.notes)

    def sheet(self) -> Tensor | None:
        """The task's sheet of a batch that no step sees."""
        return self._looked_at(lambda: self.average.sheet(to_device(self.batches(10**6), self.device)))

    @torch.no_grad()
    def _looked_at(self, look: Callable[[], Any]) -> Any:
        """What `look` gives while the average is in eval mode."""
        self.average.eval()
        try:
            return look()
        finally:
            self.task.train()


def cosine(learning_rate: float, step: int, progress: float, warmup: int = 50) -> float:
    """Linear warm-up over the first steps, then a cosine to a fiftieth of `learning_rate` where progress is 1."""
    decay = 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress))
    return learning_rate * min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * decay)
