"""A judge for evidence: names what is at every pixel of a starter picture. Trained here, never shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence import judge
from evidence.page import Store
from runtime import inprocess
from runtime.provision import say

SCENES, HELD_OUT, STEPS, BATCH = 1200, 100, 900, 8
FIRST = 12_000_000  # seeds, of no scene that anything else was trained on or is measured on
DECIDES = (
    *("dev/evidence/segmenter.py", "dev/evidence/judge.py"),
    *("starter/world.py", "starter/noise.py", "starter/weights/vae.safetensors"),
)


def network(classes: int) -> Any:
    """A small U-Net: [B,3,H,W] in [0,1] to logits [B,classes,H/2,W/2]; H and W are multiples of 16."""
    import torch
    from torch import nn

    def block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1),
            nn.GroupNorm(8, outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1),
            nn.GroupNorm(8, outside),
            nn.ReLU(),
        )

    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (32, 48, 64, 96)
            self.down = nn.ModuleList(block(a, b, 2) for a, b in zip((3, *widths[:-1]), widths, strict=True))
            self.up = nn.ModuleList(block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
            self.out = nn.Conv2d(widths[0], classes, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for down in self.down:
                x = down(x)
                kept.append(x)
            for up, skip in zip(self.up, kept[-2::-1], strict=True):
                x = up(torch.cat([nn.functional.interpolate(x, skip.shape[-2:]), skip], 1))
            return self.out(x)

    return Segmenter()


def trained(side: int, vae: Any) -> tuple[Any, float]:
    """The network in eval mode, and the fraction of pixels of held-out scenes that it names correctly; trained once.

    Every scene is seen as it was rendered and as `vae` gives it back: results come out of that VAE.
    """
    labels = inprocess.room("starter.world").LABELS
    folder = Store("evidence_segmenter", side, DECIDES).folder

    def train() -> tuple[Any, float]:
        say("  rendering and coding scenes for the segmenter")
        seen, wanted = scenes(side, vae)
        net = learned(network(len(labels)), seen[:SCENES], wanted[:SCENES], folder)
        held_out = named(net, seen[SCENES:, 1].movedim(1, -1))[:, ::2, ::2]
        return net, (held_out == wanted[SCENES:]).float().mean().item()

    return judge.trained_once(folder / "segmenter.pt", 5, lambda: network(len(labels)), train)


def scenes(side: int, vae: Any) -> tuple[Any, Any]:
    """Scenes as rendered and as the VAE gives them back [N,2,3,H,W], and their labels at half the size."""
    import numpy as np
    import torch

    world = inprocess.room("starter.world").World(side)
    rendered = [world.render(FIRST + i) for i in range(SCENES + HELD_OUT)]
    images = torch.from_numpy(np.stack([scene.image for scene in rendered])).float() / 255
    labels = torch.from_numpy(np.stack([scene.labels for scene in rendered])).long()[:, ::2, ::2]
    with torch.inference_mode():
        coded = torch.cat([vae.decode(vae.encode(images[i : i + 50])).cpu() for i in range(0, len(images), 50)])
    return torch.stack([images, coded.clone()], 1).movedim(-1, 2), labels


def learned(net: Any, seen: Any, labels: Any, folder: Path) -> Any:
    """The network, trained on every scene's two pictures, half of them mirrored."""
    import torch

    def batch(step: int) -> tuple:
        rng = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(seen), (BATCH,), generator=rng)
        pictures, wanted = seen[chosen, torch.randint(2, (BATCH,), generator=rng)], labels[chosen]
        return (pictures.flip(-1), wanted.flip(-1)) if step % 2 else (pictures, wanted)

    return judge.learned("segmenter", net, batch, STEPS, folder, tell_every=100, autocast=True)


def named(net: Any, pictures: Any) -> Any:
    """Labels [B,H,W] of pictures [B,H,W,3] in [0,1]."""
    import torch

    found = [net(part.movedim(-1, 1)).argmax(1) for part in pictures.split(25)]
    return torch.cat(found).repeat_interleave(2, 1).repeat_interleave(2, 2)
