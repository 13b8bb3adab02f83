"""Trainings of Paint2pix as the nodes and the command start them: settings, pictures, one lesson."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ...networks.paint2pix.stylegan2 import generator_config
from ...networks.paint2pix.whole import Painter
from ...pictures.features import Features
from ..batches import generator_of
from ..photos import Pictures, Store
from ..weights import WEIGHTS, seeded
from . import new
from .canvases import Canvases, PhotoPaintings
from .lesson import PainterLesson, percept_of
from .settings import Settings
from .stylegan import Photos, StyleGANLesson
from .stylegan import Settings as StyleGANSettings


@dataclass(frozen=True)
class Networks:
    """What a canvas encoder's training begins from.

    start: a canvas encoder's file, or a StyleGAN2's; None: a decoder of this size and width, which learns along.
    encoder: new.PUBLISHED or new.SMALL, for one that is new. face: IR-SE50.
    """

    start: Path | None = None
    encoder: str = new.SMALL
    size: int = 128
    width: int = 128
    face: Path | None = None


def painter_lesson(
    pictures: Pictures,
    networks: Networks,
    settings: Settings,
    *,
    features: Features | None = None,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> PainterLesson:
    """The lesson for these photos. features: what predictions are compared by, needed where their weight is not 0.

    ValueError: settings out of range, a start that is neither, no decoder that learns where there is no start.
    """
    settings.check()
    enough(pictures, settings.batch)
    if settings.features and features is None:
        raise ValueError(
            "The weight of features is above 0, which needs a feature network. Connect one, or set it to 0."
        )
    network, encoder_is_new = beginning(networks, settings, say)
    face = None
    if networks.face is not None:
        face = new.read_face(networks.face)
        if encoder_is_new:
            say(f"{new.begin_body(network.encoder, face)} tensors of the encoder begin from {networks.face.name}.")
    size = network.decoder.size
    discriminator = None
    if settings.adversarial:
        channels = generator_config(network.decoder.state_dict())["widths"]
        (discriminator,) = seeded(settings.seed + 1, lambda: new.new_discriminator(channels))
    paintings = PhotoPaintings(pictures, size, network.encoder.size)
    return PainterLesson(
        Canvases(paintings, settings.batch, settings.seed),
        network,
        settings,
        percept=features and percept_of(features, size, device),
        face=face,
        discriminator=discriminator,
        adaptive=pictures.count < 20_000,
        device=device,
    )


def beginning(networks: Networks, settings: Settings, say: Callable[[str], None]) -> tuple[Painter, bool]:
    """The first weights, and whether the encoder is new. ValueError: see painter_lesson."""
    start = new.read_start(networks.start) if networks.start else None
    if start is not None and start.painter is not None:
        say(f"Encoder and decoder begin from {start.name}.")
        return new.fitted(start.painter), False
    if start is None and not settings.decoder_rate:
        raise ValueError(
            "A new encoder needs a decoder: begin from a StyleGAN2 file, or let one learn along (decoder_rate above 0)."
        )
    if start is not None and start.decoder is not None:
        config = generator_config(start.decoder.state_dict())
        say(f"The decoder begins from {start.name}; the encoder is new.")
    else:
        new.check_sizes(networks.size, networks.width)
        config = {"widths": new.widths(networks.size, networks.width), "style_dim": networks.width}
    (network,) = seeded(settings.seed, lambda: new.new_painter(networks.encoder, config))
    if start is not None and start.decoder is not None:
        network.decoder.load_state_dict(start.decoder.state_dict())
    new.set_mean(network, generator_of(settings.seed, WEIGHTS))
    return network, True


def stylegan_lesson(pictures: Pictures, settings: StyleGANSettings, device: torch.device | str) -> StyleGANLesson:
    """The lesson for these photos. ValueError: settings out of range, fewer photos than a batch."""
    settings.check()
    enough(pictures, settings.batch)
    store = Store(pictures, settings.size)
    return StyleGANLesson(Photos(store, settings.batch, settings.seed, settings.mirror), settings, device)


def enough(pictures: Pictures, batch: int) -> None:
    """ValueError: fewer photos than a batch."""
    if pictures.count < batch:
        raise ValueError(
            f"A batch of {batch} needs {batch} photos or more, got {pictures.count}. Add some, or lower batch."
        )
