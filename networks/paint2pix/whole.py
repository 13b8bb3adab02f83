"""An encoder, its StyleGAN2 decoder and the mean style in one network, as files of Paint2pix, ReStyle, e4e and pSp hold
them: {state_dict: encoder.* and decoder.*, latent_avg, opts}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Unsupported
from ..weights import under
from .encoders import Encoder, encoder_config
from .keys import PAINTER_KEYS
from .stylegan2 import Generator, generator_config


class Painter(nn.Module):
    """Pictures in, pictures out, by way of StyleGAN2's styles; pictures are squares in [-1,1].

    `encoder` reads pictures of encoder.size pixels, `decoder` makes pictures of decoder.size, `latent_avg`
    [styles,style_dim] is where encoding starts. passes: how many the encoder has learned; None: not known.
    """

    latent_avg: Tensor

    def __init__(
        self,
        *,
        encoder: Mapping[str, Any],
        decoder: Mapping[str, Any],
        passes: int | None = None,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.passes = passes
        self.encoder = Encoder(**encoder, ops=ops, **kw)
        self.decoder = Generator(**decoder, ops=ops, **kw)
        self.register_buffer("latent_avg", torch.zeros(self.decoder.styles, self.decoder.style_dim, **kw))

    @property
    def in_channels(self) -> int:
        """Of the encoder: 12 reads canvases, 6 a picture and the result so far, 3 a picture alone."""
        return self.encoder.in_channels

    def codes(self, x: Tensor, start: Tensor | None = None, **settings: Any) -> Tensor:
        """start + encoder(x): [B,styles,style_dim]; start: None is the mean style."""
        start = self.latent_avg if start is None else start
        return self.encoder(x, **settings) + start.to(x)

    def forward(self, x: Tensor, start: Tensor | None = None, **settings: Any) -> Tensor:
        return self.decoder(self.codes(x, start, **settings))


def flat(content: Any) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """A published file as one dict, {encoder.*, decoder.*, latent_avg}, and what it states about itself (encoder_type);
    None for other files."""
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        return None
    weights = {str(key): value for key, value in content["state_dict"].items() if isinstance(value, Tensor)}
    if not all(key in weights for key in PAINTER_KEYS):
        return None
    if isinstance(content.get("latent_avg"), Tensor):
        weights["latent_avg"] = content["latent_avg"]
    options = content.get("opts")
    kind = options.get("encoder_type") if isinstance(options, Mapping) else None
    return weights, {} if kind is None else {"encoder_type": str(kind)}


def for_use(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of Painter. A mean style of one layer is repeated; other parts of the file are left out.

    Unsupported: there is no mean style.
    """
    found = {key: value for key, value in weights.items() if key.startswith(("encoder.", "decoder."))}
    if "latent_avg" not in weights:
        raise Unsupported(
            "This encoder file has no latent_avg, the mean style that encoding starts from. Use the whole checkpoint "
            "(it holds state_dict and latent_avg), or convert it again from there."
        )
    mean = weights["latent_avg"].reshape(-1, weights["latent_avg"].shape[-1])
    styles = generator_config(under(weights, "decoder"))["widths"]
    return {**found, "latent_avg": mean.repeat(2 * len(styles), 1) if len(mean) == 1 else mean}


def config_from(weights: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of Painter. Unsupported: an encoder for another number of styles than the decoder has."""
    encoder = encoder_config(under(weights, "encoder"), hints)
    decoder = generator_config(under(weights, "decoder"))
    made, wanted = len(encoder["halvings"]), 2 * len(decoder["widths"])
    if made != wanted:
        raise Unsupported(
            f"The encoder in this file makes {made} styles, but its decoder of {2 ** (wanted // 2 + 1)} pixels takes "
            f"{wanted}. They are not of one training run."
        )
    return {"encoder": encoder, "decoder": decoder, "passes": hints.get("passes")}


def with_decoder(network: Painter, decoder: Generator) -> Painter:
    """The same encoder and mean style with another decoder, as the artistic mode does; nothing is copied.

    ValueError: a decoder of another size or style dimension.
    """
    sizes = [(one.size, one.style_dim) for one in (network.decoder, decoder)]
    if sizes[0] != sizes[1]:
        mine, theirs = (f"{size} pixels and {dim} numbers per style" for size, dim in sizes)
        raise ValueError(f"This decoder has {theirs}, but the encoder was trained for {mine}. Choose such a decoder.")
    other = Painter.__new__(Painter)
    nn.Module.__init__(other)
    other.encoder, other.decoder, other.passes = network.encoder, decoder, network.passes
    other.register_buffer("latent_avg", network.latent_avg)
    return other.eval()
