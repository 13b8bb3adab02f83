"""A lesson from a loss: AdamW, warm-up and cosine decay, averages of the weights. Most trainings need no more."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

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
    weights themselves. Several fractions: as many averages; the first is saved and shown, the others are `variants`.
    weight_decay, betas: AdamW's. optimiser: makes another one from parameters and learning rate. autocast: bfloat16
    where it is safe. began: fraction of the whole course of learning that the first weights have behind them: the
    cosine goes on from there. steady: no warm-up, no decay and no limit on gradients, as several trainings were
    published.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        batches: Callable[[int], Any],
        *,
        learning_rate: float,
        ema: float | Sequence[float] = 0.0,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.99),
        optimiser: Callable[[Iterable[nn.Parameter], float], Optimizer] | None = None,
        steady: bool = False,
        warmup: int = 50,
        autocast: bool = False,
        began: float = 0.0,
        device: torch.device | str = "cpu",
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(identity)
        self.name, self.task, self.batches, self.device = name, task.to(device).train(), batches, torch.device(device)
        self.learning_rate, self.warmup, self.autocast = learning_rate, warmup, autocast
        self.rates = tuple(rate for rate in (ema if isinstance(ema, Sequence) else (ema,)) if rate)
        self.began = min(1.0, began)
        self.averages: list[Task] = [copy.deepcopy(self.task) for _ in self.rates]
        self.average: Task = self.averages[0] if self.averages else self.task
        trained = [value for value in self.task.parameters() if value.requires_grad]
        adamw = partial(torch.optim.AdamW, betas=betas, weight_decay=weight_decay)
        self.optimiser: Optimizer = (optimiser or adamw)(trained, learning_rate)
        self.steady = steady
        self.kept = {"task": self.task, "optimiser": self.optimiser}
        self.kept |= {"average": self.average} if self.averages else {}
        self.kept |= {"averages": self.averages[1:]} if self.averages[1:] else {}
        self.seen: list[Tensor] = []  # the last sheet, for who watches
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
        for average, rate in zip(self.averages, self.rates, strict=True):
            self._follow(average, min(rate, (1 + step) / (12 + step)))
        return {"loss": loss.detach()}, self.seen

    @torch.no_grad()
    def _follow(self, average: Task, keep: float) -> None:
        """An average keeps this fraction of itself; buffers are copied."""
        for mean, value in zip(average.parameters(), self.task.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
        for mean, value in zip(average.buffers(), self.task.buffers(), strict=True):
            mean.copy_(value)

    def weights(self) -> dict[str, Tensor]:
        return self._looked_at(self.average.weights)

    def variants(self) -> dict[str, dict[str, Tensor]]:
        rest = zip(self.rates[1:], self.averages[1:], strict=True)
        return {f"ema {rate:g}": average.weights() for rate, average in rest}

    def notes(self) -> dict[str, Any]:
        return self._looked_at(self.average.notes)

    def sheet(self) -> Tensor | None:
        """The task's sheet of a batch that no step sees."""
        rows = self._looked_at(lambda: self.average.sheet(to_device(self.batches(10**6), self.device)))
        self.seen = [] if rows is None or rows.shape[-1] % rows.shape[-2] else [_squares(row) for row in rows]
        return rows

    @torch.no_grad()
    def _looked_at(self, look: Callable[[], Any]) -> Any:
        """What `look` gives while the average is in eval mode."""
        self.average.eval()
        try:
            return look()
        finally:
            self.task.train()


def _squares(row: Tensor) -> Tensor:
    """A row of square pictures [3,h,n*h] in [0,1] as [n,3,h,h] in [-1,1]."""
    return row.unflatten(-1, (-1, row.shape[-2])).movedim(2, 0).cpu() * 2 - 1


def cosine(learning_rate: float, step: int, progress: float, warmup: int = 50) -> float:
    """Linear warm-up over the first steps, then a cosine to a fiftieth of `learning_rate` where progress is 1."""
    decay = 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress))
    return learning_rate * min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * decay)
