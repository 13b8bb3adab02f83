"""The retrieval network's training: a lesson that is validated now and then, and whose best weights are kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...networks.retrieval.network import Retriever
from ...pictures.ranking import Scores, distances, scores
from ...pipelines.retrieval.evaluate import relations
from ...pipelines.retrieval.retriever import SketchNetwork
from ..loop import Losses, Panel
from ..supervised import SupervisedLesson
from .data import Kind, Seen
from .task import RetrievalTask

AT_ONCE = 16  # pictures per pass of a validation


class Validation(NamedTuple):
    """Searches photos of classes that are not learned from, for their sketches: scores by [Ret] distance, or by the
    relation network, which looks at every pair.

    every: only every so-many-th sketch and photo of each class (published: 20).
    """

    kinds: Sequence[Kind]
    seen: Seen
    every_sketch: int = 1
    every_photo: int = 1
    by_relation: bool = False

    def __call__(self, network: Retriever, device: torch.device) -> Scores:
        sketches = [(i, path) for i, kind in enumerate(self.kinds) for path in kind.sketches[:: self.every_sketch]]
        photos = [(i, path) for i, kind in enumerate(self.kinds) for path in kind.photos[:: self.every_photo]]
        labels = [torch.tensor([i for i, _ in group]) for group in (sketches, photos)]
        places = [path for _, path in sketches], [path for _, path in photos]
        far = (self._related if self.by_relation else self._apart)(network, *places, device)
        return scores(far, labels[0][:, None] == labels[1])

    def _apart(
        self, network: Retriever, sketches: Sequence[Path], photos: Sequence[Path], device: torch.device
    ) -> Tensor:
        mine = embedded(network, self.seen.sketch, sketches, device)
        return distances(mine, embedded(network, self.seen.photo, photos, device))

    @torch.no_grad()
    def _related(
        self, network: Retriever, sketches: Sequence[Path], photos: Sequence[Path], device: torch.device
    ) -> Tensor:
        looking = SketchNetwork("in training", SimpleNamespace(model=network, load_device=device))
        pictures = [self.seen.sketch(path) for path in sketches], [self.seen.photo(path) for path in photos]
        mine, theirs = (((torch.stack(some) + 1) * 127.5).round().byte() for some in pictures)
        return -relations(looking, mine, theirs, lambda what, done, total: None)


@torch.no_grad()
def embedded(
    network: Retriever, load: Callable[[Path], Tensor], paths: Sequence[Path], device: torch.device | str
) -> Tensor:
    """[N,D] on the CPU: the [Ret] vectors of pictures that `load` reads [3,S,S], a few at a time. The network must be
    in eval mode."""
    parts = [
        network.tokens(torch.stack([load(path) for path in paths[first : first + AT_ONCE]]).to(device))[:, 0]
        for first in range(0, len(paths), AT_ONCE)
    ]
    return torch.cat(parts).float().cpu()


class RetrievalLesson(SupervisedLesson):
    """A SupervisedLesson of a RetrievalTask; every `validate_every` steps from `validate_from` on, the weights are
    validated, and the model file holds the best ones by mAP@all. Without a validation it holds the last ones."""

    panels = (Panel("Loss", ("loss",)), Panel("Validation: mean average precision", ("map",)))

    def __init__(
        self,
        task: RetrievalTask,
        batches: Callable[[int], Any],
        *,
        validation: Callable[[Retriever, torch.device], Scores] | None = None,
        validate_every: int = 200,
        validate_from: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__("retriever", task, batches, **settings)
        self.validation, self.every, self.first = validation, max(1, validate_every), validate_from
        self.found = torch.full((4,), -1.0, dtype=torch.float64)  # best mAP, its P@100 and step, and the last mAP
        if validation is not None:
            self.best = copy.deepcopy(self.average)
            self.kept |= {"best": self.best, "found": self.found}

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        losses, shown = super().step(step, progress)
        if self.validation is None:
            return losses, shown
        if step + 1 >= self.first and (step + 1) % self.every == 0:
            self.validate(step + 1)
        return {**losses, "map": self.found[3].clamp_min(0)}, shown

    def validate(self, step: int) -> Scores:
        """Scores of the weights as they are; they become the best ones if their mAP is higher."""
        assert self.validation is not None
        validation, device = self.validation, self.device
        found: Scores = self._looked_at(lambda: validation(self.average.network, device))  # pyright: ignore
        self.found[3] = found.map_all
        if found.map_all > float(self.found[0]):
            self.found[:3] = torch.tensor([found.map_all, found.precision_100, step], dtype=torch.float64)
            self.best.load_state_dict(self.average.state_dict())
        return found

    def weights(self) -> dict[str, Tensor]:
        return self.best.weights() if self.found[0] >= 0 else super().weights()

    def notes(self) -> dict[str, Any]:
        best, precision, step, _ = self.found.tolist()
        found = (
            {"map_all": round(best, 6), "precision_100": round(precision, 6), "step": int(step)} if best >= 0 else {}
        )
        return {**super().notes(), **found}
