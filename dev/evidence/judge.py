"""What the judges of evidence share: small networks that are trained here once, kept, and never shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime import inprocess
from runtime.provision import say


def trained_once(
    path: Path, seed: int, network: Callable[[], Any], train: Callable[[], tuple[Any, float]]
) -> tuple[Any, float]:
    """A network in eval mode and the fraction that it gets right, as `train` gives both: from `path` if it was trained
    before. seed: of its first weights."""
    import torch

    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if path.exists():
            kept, net = torch.load(path, weights_only=True), network()
            net.load_state_dict(kept["weights"])
            return net.eval().requires_grad_(False), kept["right"]
        path.parent.mkdir(parents=True, exist_ok=True)
        net, right = train()
        torch.save({"weights": net.state_dict(), "right": right}, path)
    return net, right


def learned(
    name: str, net: Any, batch: Callable[[int], tuple], steps: int, folder: Path, *, tell_every: int, **how: Any
) -> Any:
    """The network, trained to name classes: batch(step) gives pictures and the classes wanted of them, or of their
    pixels. tell_every: steps. how: as SupervisedLesson takes it."""
    import torch
    from torch.nn.functional import cross_entropy

    loop, supervised = inprocess.room("training.loop"), inprocess.room("training.supervised")

    class JudgeTask(supervised.Task):
        def __init__(self) -> None:
            super().__init__()
            self.network = net

        def loss(self, batch: Any, rng: torch.Generator) -> Any:
            pictures, wanted = batch
            return cross_entropy(self.network(pictures).float(), wanted)

    def watch(moment: Any) -> None:
        if moment.course.steps % tell_every == 0:
            say(f"  {name}: {moment.course.steps} of {steps} steps, loss {moment.course.rows[-1]['loss']:.3f}")

    with supervised.SupervisedLesson(name, JudgeTask(), batch, learning_rate=2e-3, **how) as lesson:
        loop.learn(lesson, folder, loop.Goal(steps), watch=watch)
    return net.eval().requires_grad_(False)
