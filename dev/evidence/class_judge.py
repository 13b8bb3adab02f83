"""A judge for evidence: names ground and hour of a clean starter picture. Trained here, apart from the noisy classifier
that guides, and never shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence import judge
from evidence.page import Store
from runtime import inprocess
from runtime.provision import say

SCENES, HELD_OUT, STEPS, BATCH = 4000, 400, 1500, 32
FIRST = 13_000_000  # seeds, of no scene that anything else was trained on or is measured on
DECIDES = (
    *("dev/evidence/class_judge.py", "dev/evidence/judge.py"),
    *("starter/world.py", "starter/noise.py", "starter/training/classifier.py"),
)


def network(classes: int) -> Any:
    """[B,3,H,W] in [0,1] to logits [B,classes]; sides of 16 or more."""
    from torch import nn

    def block(inside: int, outside: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, 3, 2, 1), nn.GroupNorm(8, outside), nn.ReLU()]

    layers = [layer for a, b in ((3, 32), (32, 64), (64, 96), (96, 128)) for layer in block(a, b)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128 * 16, classes))


def trained(side: int) -> tuple[Any, float]:
    """The network in eval mode, and the fraction of held-out renders whose class it tells; trained once."""
    names = inprocess.room("starter.training.classifier").NAMES
    folder = Store("evidence_class_judge", (side, SCENES, HELD_OUT, STEPS, BATCH), DECIDES).folder

    def train() -> tuple[Any, float]:
        net = network(len(names))
        say("  rendering scenes for the judge of classes")
        pictures, classes = scenes(FIRST, SCENES + HELD_OUT, side)
        net = learned(net, pictures[:SCENES], classes[:SCENES], folder)
        right = (told(net, pictures[SCENES:].movedim(1, -1)) == classes[SCENES:]).float().mean().item()
        return net, right

    return judge.trained_once(folder / "judge.pt", 6, lambda: network(len(names)), train)


def scenes(first: int, count: int, side: int) -> tuple[Any, Any]:
    """Renders [N,3,H,W] in [0,1] and their classes [N]."""
    import numpy as np
    import torch

    world, class_of = (
        inprocess.room("starter.world").World(side),
        inprocess.room("starter.training.classifier").class_of,
    )
    rendered = [world.render(first + i) for i in range(count)]
    images = torch.from_numpy(np.stack([scene.image for scene in rendered])).movedim(-1, 1).float() / 255
    return images, torch.tensor([class_of(scene.caption) for scene in rendered])


def learned(net: Any, seen: Any, classes: Any, folder: Path) -> Any:
    """The network, trained on the renders with a little noise, half of them mirrored."""
    import torch

    def batch(step: int) -> tuple:
        rng = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(seen), (BATCH,), generator=rng)
        pictures = seen[chosen] + 0.04 * torch.randn(seen[chosen].shape, generator=rng)
        return (pictures.flip(-1) if step % 2 else pictures), classes[chosen]

    return judge.learned("judge", net, batch, STEPS, folder, tell_every=250)


def told(net: Any, pictures: Any) -> Any:
    """The classes [B] of pictures [B,H,W,3] in [0,1]."""
    import torch

    with torch.no_grad():
        return torch.cat([net(part.movedim(-1, 1)).argmax(1) for part in pictures.split(100)])
