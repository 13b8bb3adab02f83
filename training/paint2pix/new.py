"""Untrained networks of StyleGAN2 and Paint2pix, published or small, and the weights that a training begins from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ... import files, networks
from ...networks.paint2pix import whole
from ...networks.paint2pix.encoders import Encoder, FaceNetwork, Unit
from ...networks.paint2pix.stylegan2 import Discriminator, Generator, mean_latent
from ...networks.paint2pix.whole import Painter

PUBLISHED, SMALL = "published", "small"
ENCODERS: dict[str, dict[str, Any]] = {
    # IR-SE50 at 256 px, 210 million parameters for 18 styles
    PUBLISHED: {
        "units": tuple(
            Unit(before, out, out // 16)
            for first, out, count in ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))
            for before in (first, *(out,) * (count - 1))
        ),
        "halvings": 4,
    },
    # learns on a CPU, at 64 px
    SMALL: {
        "units": tuple(
            Unit(before, out, out // 8)
            for before, out in ((32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 144), (144, 144))
        ),
        "halvings": 2,
    },
}
SIZES = (32, 64, 128, 256, 512, 1024)
MEAN_OF = 4096  # styles that the mean style is taken from, as published
QUIET = 0.1  # factor on the first weights of the heads: an untrained encoder stays near the mean style


def widths(size: int, width: int) -> tuple[int, ...]:
    """Channels at 4, 8, ... size pixels: `width`, and from 64 pixels on half as many at each doubling, 8 at least; 512
    gives the published ones."""
    sides = [2**i for i in range(2, size.bit_length())]
    return tuple(max(8, min(width, width * 64 // side)) for side in sides)


def check_sizes(size: int, width: int) -> None:
    """ValueError: a StyleGAN2 that there is not."""
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(map(str, SIZES))}, got {size}.")
    if not 8 <= width <= 512:
        raise ValueError(f"width must be from 8 to 512, got {width}.")


def new_generator(channels: Sequence[int], style_dim: int, mappings: int = 8) -> Generator:
    return Generator(widths=tuple(channels), style_dim=style_dim, mappings=mappings)


def new_discriminator(channels: Sequence[int]) -> Discriminator:
    return Discriminator(widths=tuple(channels))


def new_painter(body: str | Mapping[str, Any], decoder: Mapping[str, Any], in_channels: int = 12) -> Painter:
    """A canvas encoder with both stems for this decoder (arguments of Generator). body: PUBLISHED, SMALL, or another
    with the same two entries."""
    known = ENCODERS[body] if isinstance(body, str) else body
    styles = 2 * len(decoder["widths"])
    encoder = {
        "in_channels": in_channels,
        "units": known["units"],
        "style_dim": decoder["style_dim"],
        "halvings": (known["halvings"],) * styles,
        "second_stem": in_channels == 12,
    }
    network = Painter(encoder=encoder, decoder=decoder)
    with torch.no_grad():
        for head in network.encoder.styles:
            head.linear.weight.mul_(QUIET)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    return network


@torch.no_grad()
def set_mean(network: Painter, generator: torch.Generator) -> None:
    """The mean style of the decoder's mapping network, for all layers."""
    z = torch.randn(MEAN_OF, network.decoder.style_dim, generator=generator)
    network.latent_avg.copy_(mean_latent(network.decoder, z.to(network.latent_avg)).expand_as(network.latent_avg))


# --- what a training begins from --------------------------------------------------------------------------------------


class Start(NamedTuple):
    """What a file gives: a whole painter, or a decoder alone. config: the arguments of its class."""

    painter: Painter | None
    decoder: Generator | None
    name: str


def read_start(path: Path) -> Start:
    """A canvas encoder with its decoder, or a StyleGAN2 generator (rosinality's layout; of a training file the averaged
    weights, `g_ema`). ValueError: neither, or a file that cannot be read."""
    network = _read(path, "painter", "stylegan")
    if isinstance(network, Painter):
        return Start(network, None, path.name)
    assert isinstance(network, Generator)
    return Start(None, network, path.name)


def read_face(path: Path) -> FaceNetwork:
    """IR-SE50 or a relative. ValueError: another file."""
    network = _read(path, "face")
    assert isinstance(network, FaceNetwork)
    return network


def _read(path: Path, *roles: str) -> nn.Module:
    content = files.read_tensors(path)
    together = whole.flat(content)
    weights: Any = together[0] if together else content
    hints: Any = together[1] if together else {}
    if isinstance(weights, Mapping):
        weights = next((weights[key] for key in ("g_ema", "state_dict") if key in weights), weights)
    plain = isinstance(weights, Mapping) and all(isinstance(value, Tensor) for value in weights.values())
    weights = networks.strip_module(weights) if plain else {}
    if networks.recognise(weights, *roles) is None:
        wanted = "a face network such as model_ir_se50.pth" if "face" in roles else "a StyleGAN2 generator or a painter"
        raise ValueError(f"{files.quote(path.name)} is not {wanted}. Choose another file.")
    return networks.build({key: value.clone() for key, value in weights.items()}, **hints)


def fitted(network: Painter) -> Painter:
    """The same painter ready to learn from canvases. ValueError: an encoder of another kind."""
    if network.in_channels != 12:
        raise ValueError(
            f"This file's encoder takes {network.in_channels} channels, not the 12 of a canvas encoder. Begin from a "
            "canvas encoder or from a StyleGAN2 generator."
        )
    if not hasattr(network.encoder, "input_layer_updated_canvas"):
        raise ValueError("This canvas encoder has no second stem. Begin from a StyleGAN2 generator instead.")
    return network


def begin_body(encoder: Encoder, face: FaceNetwork) -> int:
    """Copies a face network's stem and body into an encoder of the same layout, as published: the stems' first channels
    are the face's. Returns how many tensors were copied; 0: another layout."""
    known, found = encoder.state_dict(), face.state_dict()
    body = [key for key in known if key.startswith("body.")]
    if any(key not in found or found[key].shape != known[key].shape for key in body):
        return 0
    first = found["input_layer.0.weight"]
    stems = [known[key] for key in known if key.startswith("input_layer") and key.endswith(".0.weight")]
    with torch.no_grad():
        for key in body:
            known[key].copy_(found[key])
        for stem in stems:
            stem[:, : first.shape[1]].copy_(first)
    return len(body) + len(stems)
