"""Trains the starter's model of today's kind: a small transformer of joint attention and a text encoder, together.

Rectified flow with logit-normal times (Esser et al. 2024, arXiv 2403.03206), captions left out now and then for
classifier-free guidance, and an average of the weights. The transformer is the host's own class of Lumina 2 and
Z-Image, which comes from outside; it works on latents of the starter's VAE, of scenes at 256 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.taesd import TAESD
from ...training.command import begin, train
from ...training.diffusion import flow_loss, shifted_times
from ...training.supervised import SupervisedLesson
from .text import WINDOW, Batch, PromptTask, batch, encoded_scenes, prompt_options
from .text import Layers as UNetLayers

SIZE, SCENES = 256, 12_000
SHIFT = 2.0  # of times, in training and in samplers: latents of 32 x 32 are noisier to the eye than large ones
TEXT: dict[str, Any] = {"window": WINDOW, "width": 192, "layers": 2, "heads": 4}
TRANSFORMER: dict[str, Any] = {
    "patch_size": 2,
    "in_channels": 4,
    "dim": 256,
    "n_layers": 8,
    "n_refiner_layers": 1,
    "n_heads": 4,
    "n_kv_heads": 4,
    "multiple_of": 64,
    "ffn_dim_multiplier": 2.5,
    "qk_norm": True,
    "cap_feat_dim": TEXT["width"],
    "axes_dims": [16, 24, 24],
    "axes_lens": [64, 64, 64],
    "time_scale": 1000.0,
}


class Layers(UNetLayers):
    """The layers that the host's transformer is built from, as torch has them."""

    RMSNorm = nn.RMSNorm


def attend(_: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, mask: None = None, **__: Any) -> Tensor:
    """Attention of q [B,heads,n,c] on k, v [B,heads,m,c] -> [B,n,heads c], spelled out as in text.py; without masks."""
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
    return (weights.softmax(-1, dtype=weights.dtype) @ v).transpose(1, 2).flatten(2)


class FlowTask(PromptTask):
    """The transformer. transformer: the host's NextDiT; side: of the sheet's latents; the rest as PromptTask's."""

    network_name = "transformer"

    def __init__(
        self,
        transformer: Callable[..., nn.Module],
        shape: dict[str, Any] = TRANSFORMER,
        vae: TAESD | None = None,
        stated: dict[str, Any] | None = None,
        side: int = SIZE // 8,
    ) -> None:
        text = {**TEXT, "width": shape["cap_feat_dim"]}
        super().__init__(text, vae, {"image_size": 8 * side, "shift": SHIFT} | (stated or {}))
        self.shape, self.side = shape, side
        self.transformer = transformer(**shape, operations=Layers)
        begun(self.transformer)

    def velocity(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """noise - picture in x [B,4,h,w] at times t [B]."""
        options = {"optimized_attention_override": attend}
        return self.transformer(x, t, context, WINDOW, transformer_options=options).float()

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """flow_loss of the velocity that the transformer finds with the captions."""
        clean, tokens = batch
        return flow_loss(lambda x, t: self.velocity(x, t, self.speak(tokens)), clean, rng, SHIFT)

    def sample(self, texts: tuple[str, ...], steps: int = 20, cfg: float = 3.0, seed: int = 0) -> Tensor:
        """Latents [N,4,side,side] by Euler's method from noise, at classifier-free guidance `cfg`."""
        contexts = self.contexts(texts)
        x = torch.randn(len(texts), 4, self.side, self.side, generator=torch.Generator().manual_seed(seed))
        for now, after in pairwise(shifted_times(torch.linspace(1, 0, steps + 1), SHIFT).tolist()):
            told, free = self.velocity(x.repeat(2, 1, 1, 1), torch.full((2 * len(x),), now), contexts).chunk(2)
            x = x + (after - now) * (free + cfg * (told - free))
        return x


def begun(transformer: nn.Module) -> None:
    """First weights: what each layer adds, and the last layer, begin at zero, as in DiT (arXiv 2212.09748, 3.2)."""
    for name, parameter in transformer.named_parameters():
        if "adaLN_modulation" in name or name.startswith("final_layer.linear"):
            nn.init.zeros_(parameter)


def main(argv: list[str] | None = None, transformer: Callable[..., nn.Module] | None = None) -> None:
    """transformer: the host's NextDiT, which dev/tools/train.py brings along."""
    assert transformer is not None
    parser = prompt_options("flow", __doc__, minutes=120.0, scenes=SCENES, peak=1e-3)
    choice = parser.parse_args(argv)
    begin(choice, "flow")
    vae, colours, known, captions = encoded_scenes(choice, SIZE)
    torch.manual_seed(13)
    task = FlowTask(transformer, vae=vae, stated=colours)
    source, rate = partial(batch, known, captions, task.words, choice.batch), choice.learning_rate
    train(SupervisedLesson("flow", task, source, learning_rate=rate, ema=0.9995, autocast=True), choice)
