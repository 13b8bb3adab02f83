"""How DiffSketching's feature network learns: a ResNet-50 tells the classes of photos, and its last map then compares
pictures. Published for Sketchy's 125 classes: cross-entropy, SGD of 0.001 with momentum 0.9 at a steady rate, batches
of 256, 100 epochs, pictures of 256 pixels scaled to [-1, 1], begun from ImageNet's weights. Its release saves nothing.

    python3 dev/run.py train features --photos PHOTOS --folder DIR --network ResNet-14 --width 16 --minutes 60
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import files
from ..networks import build
from ..networks.resnet import IMAGENET, ResNet
from . import labelled
from .command import begin, own_rates, photo_options, train_on_photos
from .photos import Store
from .supervised import SupervisedLesson, Task

NETWORKS = {"ResNet-50": (3, 4, 6, 3), "ResNet-26": (2, 2, 2, 2), "ResNet-14": (1, 1, 1, 1)}  # blocks in each layer
MOMENTUM = 0.9
ADAMW, SGD = "AdamW", "SGD (published)"
OPTIMISERS = (ADAMW, SGD)
Batch = tuple[Tensor, Tensor]  # pictures [B,3,H,W] in [-1,1], and their classes [B]


class FeatureTask(Task):
    """The ResNet, its loss and its export, in torchvision's names. names: of the classes. size: side of its pictures,
    32 or more. start: weights of a ResNet of the same width and depth; its last layer is not taken.

    ValueError: `start` is not of this width and depth.
    """

    def __init__(
        self,
        names: Sequence[str],
        size: int,
        *,
        width: int = 64,
        depths: Sequence[int] = NETWORKS["ResNet-50"],
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.names, self.size = list(names), size
        self.network = ResNet(width=width, depths=depths, classes=len(self.names))
        initialise(self.network)
        if start is not None:
            self._begin_with(start)

    def _begin_with(self, start: Mapping[str, Tensor]) -> None:
        own = self.network.state_dict()
        body = {key: value.float() for key, value in start.items() if not key.startswith("fc.") and key != IMAGENET}
        needed = {key for key in own if not key.startswith("fc.") and key != IMAGENET}
        if set(body) != needed or any(body[key].shape != own[key].shape for key in needed):
            raise ValueError(
                "The network to begin with has another width or depth than the one to train. Choose the same network "
                "and width, or connect nothing."
            )
        self.network.load_state_dict({**own, **body})

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        pictures, classes = batch
        return cross_entropy(self.network.classify(pictures).float(), classes)

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def notes(self) -> dict[str, Any]:
        return {"image_size": self.size, "classes": self.names}

    @torch.no_grad()
    def accuracy(self, batch: Batch) -> float:
        """The share of these pictures whose class is told."""
        pictures, classes = batch
        return float((self.network.classify(pictures).argmax(1) == classes).float().mean())


def initialise(network: ResNet) -> None:
    """He's start (arXiv 1502.01852), as torchvision's ResNets begin."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def feature_lesson(
    found: labelled.Labelled,
    size: int,
    *,
    network: str,
    width: int,
    batch: int,
    seed: int,
    optimiser: str = ADAMW,
    start: Mapping[str, Tensor] | None = None,
    device: Any = "cpu",
    **rates: Any,
) -> tuple[SupervisedLesson, Callable[[], str]]:
    """The lesson of a feature network on labelled photos, and judge() -> a line about the photos kept apart. network:
    of NETWORKS. rates: learning_rate and others of SupervisedLesson."""
    store = Store(found.photos, size, square=True)
    learned, held = labelled.split(found.photos.count)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task = FeatureTask(found.names, size, width=width, depths=NETWORKS[network], start=start)
    source = labelled.LabelledBatches(store, found.classes, learned, batch, seed)
    identity = {"network": network, "width": width, "size": size, "optimiser": optimiser}
    identity["classes"] = ", ".join(found.names)
    if optimiser == SGD:
        rates["steady"] = True
        rates["optimiser"] = partial(torch.optim.SGD, momentum=MOMENTUM, weight_decay=rates.pop("weight_decay", 0.0))
    lesson = SupervisedLesson("features", task, source, device=device, identity=identity, **rates)

    def judge() -> str:
        unseen = labelled.LabelledBatches(store, found.classes, held, min(64, len(held)), seed)(0)
        pictures, classes = (part.to(device) for part in unseen)
        average: Any = lesson.average.eval()
        return f"Classes told of photos kept apart: {average.accuracy((pictures, classes)):.0%}."

    return lesson, judge


def main(argv: list[str] | None = None) -> None:
    parser = photo_options("features", __doc__, learning_rate=1e-3, batch=32)
    parser.add_argument("--image-size", type=int, default=256, help="side in pixels, 64 or more")
    parser.add_argument("--network", choices=list(NETWORKS), default="ResNet-50")
    parser.add_argument("--width", type=int, default=64, help="8 to 128, a multiple of 8")
    parser.add_argument("--sgd", action="store_true", help="SGD with momentum 0.9, as published")
    parser.add_argument("--start", type=Path, help="a ResNet file to begin with, such as ImageNet's")
    choice = parser.parse_args(argv)
    begin(choice, "features")
    found = labelled.by_class(choice.photos)
    lesson, judge = feature_lesson(
        found,
        choice.image_size,
        network=choice.network,
        width=choice.width,
        optimiser=SGD if choice.sgd else ADAMW,
        start=_read(choice.start) if choice.start else None,
        **own_rates(choice),
    )
    train_on_photos(lesson, choice, found.photos.left_out)
    print(judge(), flush=True)


def _read(path: Path) -> dict[str, Tensor]:
    """The weights of a ResNet file in torchvision's names. ValueError: it holds something else."""
    network = build(files.read_tensors(path))
    if not isinstance(network, ResNet):
        raise ValueError(f"{path} holds no ResNet. Give --start another file.")
    return network.state_dict()
