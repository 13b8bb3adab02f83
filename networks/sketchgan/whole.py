"""The whole sketch GAN, and what its files hold (arXiv 2012.09290).

Published files are nested: an autoencoder is {s, c, d}, a GAN {ae, ig, id, ig_ema}, a TOM {g, ds}, each beside its
optimisers; ig_ema is a bare list. `flat` gives them plain names, which our own training also saves. For inference the
spectral norms are folded and the averaged weights used; such files are read too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..weights import under
from . import autoencoder
from . import refiner as refiners
from .autoencoder import ContentEncoder, Decoder, StyleEncoder
from .keys import AE_KEYS, FOLDED_KEYS, GAN_KEYS, TOM_KEYS
from .layers import fold
from .refiner import Refiner, draft_size, refiner

ENCODERS = ("style_encoder", "content_encoder", "decoder")
PARTS = {"s": "style_encoder", "c": "content_encoder", "d": "decoder", "ig": "generator"}
FILES = {"GAN": GAN_KEYS, "autoencoder": AE_KEYS, "TOM": TOM_KEYS, "folded": FOLDED_KEYS}


class SketchGAN(nn.Module):
    """From a sketch and a style to a picture. All pictures are in [-1,1]; in a sketch paper is 1 and ink -1.

    size: the side of the result; drafts (what the autoencoder works at) are `draft`, 512 where size is 1024. kind: of
    the generator, one of keys.KINDS, or None for an autoencoder alone. least: see Decoder.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        size: int = 512,
        kind: str | None = "art",
        least: int = 0,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"ops": ops, "dtype": dtype, "device": device}
        self.width, self.size, self.kind, self.draft = width, size, kind, draft_size(size)
        self.style_encoder = StyleEncoder(width=width, **kw)
        self.content_encoder = ContentEncoder(width=width, **kw)
        self.decoder = Decoder(width=width, size=self.draft, least=least, **kw)
        self.generator: Refiner | None = None
        if kind is not None:
            self.generator = refiner(kind, width=width, size=size, **kw)

    def styles(self, picture: Tensor) -> autoencoder.Maps:
        """Style vectors [B,2n], [B,4n], [B,8n] of pictures [B,3,draft,draft]."""
        return self.style_encoder(picture)

    def drafts(self, sketch: Tensor, styles: Sequence[Tensor]) -> Tensor:
        """The autoencoder's picture [B,3,draft,draft] of a sketch [B,1,draft,draft]."""
        return self.decoder(self.content_encoder(sketch), styles)

    def refined(
        self,
        draft: Tensor,
        styles: Sequence[Tensor],
        noise: Sequence[Tensor],
        flips: Tensor | None = None,
        batch: bool = False,
    ) -> Tensor:
        """The generator's picture [B,3,size,size] of a draft; see Refiner."""
        assert self.generator is not None, "an autoencoder alone"
        return self.generator(draft, styles, noise, flips, batch)

    def forward(self, sketch: Tensor, picture: Tensor, noise: Sequence[Tensor], **settings: Any) -> Tensor:
        styles = self.styles(picture)
        draft = self.drafts(sketch, styles)
        return draft if self.generator is None else self.refined(draft, styles, noise, **settings)


class Facts(NamedTuple):
    """What a file holds. what: "GAN", "autoencoder", "TOM" or "folded" (for use only); width: nfc (of TOM: its channels
    / 4); size: side of the results (0 for TOM, which fits all); kind: of the generator, or None; classes: of the
    training classifier, or None; averaged: whether there are averaged (EMA) weights."""

    what: str
    width: int
    size: int
    kind: str | None
    classes: int | None
    averaged: bool


def flat(content: Any, depth: int = 4) -> dict[str, Tensor]:
    """What a file holds as one dict: `ae.`, `ig.`, `id.`, `ig_ema.` of a GAN, `s.`, `c.`, `d.` of an autoencoder, `g.`,
    `ds.` of a TOM. Optimisers are left out, `module.` of DataParallel is taken away, and the ig_ema list gets the names
    of the generator's parameters, in their order.

    ValueError: an ig_ema list that does not fit the generator.
    """
    if not isinstance(content, Mapping) or not depth:  # a mapping may hold itself
        return {}
    found: dict[str, Tensor] = {}
    for name, part in content.items():
        if isinstance(part, Tensor):
            found[str(name).removeprefix("module.")] = part
        elif isinstance(part, Mapping) and not str(name).startswith("opt"):
            found |= {f"{name}.{key}": value for key, value in flat(part, depth - 1).items()}
    averaged = content.get("ig_ema")
    if isinstance(averaged, Sequence):
        found |= _named(averaged, found)
    return found


def _named(averaged: Sequence[Any], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A bare list of tensors under the names of the generator's parameters."""
    kind, width, size = _generator(under(found, "ig"))
    network = refiner(kind, width=width, size=size, spectral=True, device="meta")
    named = dict(network.named_parameters())
    if [tuple(value.shape) for value in named.values()] != [tuple(value.shape) for value in averaged]:
        raise ValueError(
            f"The averaged weights (ig_ema) of this sketch GAN do not fit its generator: {len(averaged)} tensors for "
            f"{len(named)} parameters, or other shapes. The file may be damaged."
        )
    return {f"ig_ema.{name}": value for name, value in zip(named, averaged, strict=True)}


def _generator(weights: Mapping[str, Tensor]) -> tuple[str, int, int]:
    """Kind, width and size of a generator's weights, folded or not."""
    weights = {key.removesuffix("_orig"): value for key, value in weights.items()}
    face = "encode_1.0.weight" in weights
    kind = "face" if face else "shoe" if "bs_0" in weights else "art"
    grown = weights["from_style_32.0.weight" if face else "from_noise_32.1.weight"]
    width = weights["style.0.weight"].shape[1] // 14 if face else grown.shape[1] // 8
    size = 128 * grown.shape[-1]
    if size == 512 and "decode_1024.1.weight" in weights:
        size = 1024
    return kind, width, size


def parts(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of a flat file by network: style_encoder, content_encoder, decoder, and where it has them generator,
    generator_ema and discriminator; the norms as they stand in the file."""
    found = {name: under(weights, f"ae.{name}") or under(weights, name) for name in (*ENCODERS, "generator")}
    for short, name in (*PARTS.items(), ("id", "discriminator"), ("ig_ema", "generator_ema")):
        found[name] = under(weights, short) or found.get(name, {})
    return {name: part for name, part in found.items() if part}


def for_use(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of SketchGAN from a flat file: averaged parameters in place of the generator's own (its statistics
    and norm vectors stay, as published), norms folded, the training classifier and the discriminator left out."""
    found = parts(weights)
    if "generator" in found:
        found["generator"] |= found.get("generator_ema", {})
    return {
        f"{name}.{key}": value
        for name in (*ENCODERS, "generator")
        for key, value in fold(found.get(name, {})).items()
        if not key.startswith("final_cls.")
    }


def config_from(state_dict: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of SketchGAN for weights that `for_use` made. ValueError: sizes that do not belong together."""
    width = state_dict["content_encoder.cf_64.0.weight"].shape[0]
    drafts = 64 * state_dict["decoder.base_feat"].shape[-1]
    sizes: dict[str, Any] = {"width": width, "least": state_dict["decoder.to_rgb.0.weight"].shape[1]}
    generator = under(state_dict, "generator")
    if not generator:
        return {**sizes, "size": drafts, "kind": None}
    kind, own_width, size = _generator(generator)
    if (own_width, draft_size(size)) != (width, drafts):
        raise ValueError(
            f"This sketch GAN's autoencoder (width {width}, {drafts} pixels) and its generator (width {own_width}, "
            f"{size} pixels) do not belong together: convert it again from the files of one training run."
        )
    return {**sizes, "size": size, "kind": kind}


def describe(weights: Mapping[str, Tensor]) -> Facts | None:
    """What a flat file holds, or None for anything else. ValueError: as `config_from`, or a size unknown here."""
    what = next((name for name, keys in FILES.items() if all(key in weights for key in keys)), None)
    if what is None:
        return None
    if what == "TOM":
        first = weights.get("g.decode_32.main.1.weight_orig", weights.get("g.decode_32.main.1.weight"))
        return Facts(what, 0 if first is None else first.shape[0] // 4, 0, None, None, False)
    found = parts(weights)
    together = {f"{name}.{key}": value for name, part in found.items() for key, value in part.items()}
    config = config_from(together, {})
    known = autoencoder.SIZES if config["kind"] is None else refiners.SIZES
    if config["size"] not in known:
        raise ValueError(
            f"This sketch GAN was made for {config['size']} pixels a side; sizes known here are "
            f"{', '.join(map(str, known))}."
        )
    classes = found["style_encoder"].get("final_cls.1.weight")
    return Facts(
        what,
        config["width"],
        config["size"],
        config["kind"],
        None if classes is None else len(classes),
        "generator_ema" in found,
    )
