"""A judge for evidence: says what stands at every pixel of a starter picture. Trained here, never shipped."""

from __future__ import annotations

from typing import Any

from evidence.page import Store
from runtime import inprocess
from runtime.provision import say

SCENES, HELD_OUT, STEPS, BATCH = 1200, 100, 900, 8
FIRST = 12_000_000  # seeds, of no scene that anything else was trained on or is measured on
DECIDES = ("dev/evidence/segmenter.py", "starter/world.py", "starter/noise.py", "starter/weights/vae.safetensors")


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
    """The network in eval mode, and the share of pixels of held-out scenes that it names rightly; trained once.

    Every scene is seen as it was rendered and as `vae` gives it back: results come out of that VAE.
    """
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    world = inprocess.room("starter.world")
    folder = Store("evidence_segmenter", side, DECIDES).folder
    path = folder / "segmenter.pt"
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = network(len(world.LABELS))
        if path.exists():
            kept = torch.load(path, weights_only=True)
            net.load_state_dict(kept["weights"])
            return net.eval().requires_grad_(False), kept["right"]
        say("  rendering and coding scenes for the segmenter")
        place = world.World(side)
        scenes = [place.render(FIRST + i) for i in range(SCENES + HELD_OUT)]
        images = torch.from_numpy(np.stack([scene.image for scene in scenes])).float() / 255
        labels = torch.from_numpy(np.stack([scene.labels for scene in scenes])).long()[:, ::2, ::2]
        with torch.inference_mode():
            coded = torch.cat([vae.decode(vae.encode(images[i : i + 50])).cpu() for i in range(0, len(images), 50)])
        seen = torch.stack([images, coded.clone()], 1).movedim(-1, 2)  # [N, 2, 3, H, W]
        optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, STEPS)
        rng = torch.Generator().manual_seed(6)
        for step in range(STEPS):
            chosen = torch.randint(SCENES, (BATCH,), generator=rng)
            how = torch.randint(2, (BATCH,), generator=rng)
            pictures, wanted = seen[chosen, how], labels[chosen]
            if step % 2:
                pictures, wanted = pictures.flip(-1), wanted.flip(-1)
            with torch.autocast("cpu", torch.bfloat16):
                found = net(pictures)
            loss = cross_entropy(found.float(), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % 100 == 99:
                say(f"  segmenter: {step + 1} of {STEPS} steps, loss {loss.item():.3f}")
        net.eval().requires_grad_(False)
        right = (named(net, coded[SCENES:])[:, ::2, ::2] == labels[SCENES:]).float().mean().item()
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"weights": net.state_dict(), "right": right}, path)
    return net, right


def named(net: Any, pictures: Any) -> Any:
    """Labels [B,H,W] of pictures [B,H,W,3] in [0,1]."""
    import torch

    found = [net(part.movedim(-1, 1)).argmax(1) for part in pictures.split(25)]
    return torch.cat(found).repeat_interleave(2, 1).repeat_interleave(2, 2)
