"""Trains the starter's painter: Paint2pix's canvas encoder and a StyleGAN2 decoder for landscapes, both from nothing.

In three parts. Layout: both learn finished canvases by their pixels, at 16, 32 and 64 pixels. Texture: the same at 64
pixels, by the starter's feature network and a discriminator, too, which also judges pictures of random styles.
Canvases: the encoder alone learns the starter world's own canvases at every stage, back to front, and edits by the
second stem; the decoder stays as it is, as in the paper, and the discriminator goes on judging: what is not painted yet
is anywhere, and its mean is a mist. Begun with unfinished canvases, or with a decoder that goes on learning from them,
all pictures get the same horizon, since that mean has no layout either.

Predicts 64 x 64 pixels from canvases of 32 x 32; the starter's upscaler makes 256 of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from ... import files
from ...networks import build
from ...networks.paint2pix.encoders import Unit
from ...networks.paint2pix.stylegan2 import Discriminator
from ...networks.paint2pix.whole import Painter
from ...pictures.features import Features, features
from ...training.batches import Shuffled, generator_of, places_of
from ...training.command import begin, starter_options, train
from ...training.paint2pix import new
from ...training.paint2pix.canvases import PHOTOS, Batch, Canvases, Paintings, filled
from ...training.paint2pix.lesson import PainterLesson, percept_of
from ...training.paint2pix.settings import Settings
from ...training.photos import tensor
from ...training.weights import WEIGHTS, seeded
from .paintings import SIZE, world_paintings

WIDTHS = (160, 160, 128, 64, 32)  # channels at 4, 8, ... 64 pixels
STYLE_DIM, MAPPINGS = 128, 4
JUDGE = (128, 128, 96, 64, 32)  # of the discriminator
BODY = {  # of the encoder, at 32 px
    "units": tuple(
        Unit(before, out, out // 8) for before, out in ((32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 128))
    ),
    "halvings": 2,
}
PASSES = 1  # a second one adds the first one's code again before it has learned to look, and layout is lost
R1 = 0.3  # weight of the gradient penalty: small pictures and batches want less than the published 10
HELD_OUT = 5_000_000  # seeds from here on are never learned from
SHOWN = 12
TEXTURE = "painter_texture"  # name of the second part
FEATURES = Path(__file__).parents[1] / "weights" / "features.safetensors"


def new_starter(seed: int = 11, size: int = SIZE) -> Painter:
    """Its networks with first weights: 5.5 million parameters, 11 MB in fp16. size: of its pictures, 16, 32 or 64."""
    decoder = {"widths": WIDTHS[: size.bit_length() - 2], "style_dim": STYLE_DIM, "mappings": MAPPINGS}
    (network,) = seeded(seed, lambda: new.new_painter(BODY, decoder))
    new.set_mean(network, generator_of(seed, WEIGHTS))
    return network


# --- finished canvases, at growing sizes ------------------------------------------------------------------------------


class Growth(NamedTuple):
    """A stage that learns finished canvases: pixels a side of its pictures, and its steps."""

    size: int
    steps: int


GROWTH = (Growth(16, 1500), Growth(32, 1500), Growth(64, 900))


class Finished:
    """The batch of a step: finished canvases and their pictures, `size` pixels a side, mirrored or not."""

    def __init__(self, paintings: Paintings, batch: int, size: int) -> None:
        self.paintings, self.batch, self.size = paintings, batch, size
        self.order = Shuffled(paintings.count, 0, PHOTOS)

    def __call__(self, step: int) -> Batch:
        canvases, photos = zip(*(self._one(place) for place in places_of(step, self.batch)), strict=True)
        canvas, photo = (torch.stack([tensor(one) for one in many]) for many in (canvases, photos))
        return Batch(canvas, canvas, adaptive_avg_pool2d(photo, self.size), torch.ones_like(canvas[:, :1]))

    def _one(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        i = self.order(place)
        painting = self.paintings.painting(i)
        ground = np.zeros((painting.side, painting.side, 3), np.uint8)
        canvas, _ = filled(painting, np.zeros(painting.colours.shape[:2]), 1.0, ground)
        mirrored = np.random.default_rng([0, place]).random() < 0.5
        canvas, photo = (one[:, ::-1] if mirrored else one for one in (canvas, self.paintings.photo(i)))
        return canvas, photo


def grown(small: Painter, size: int) -> Painter:
    """A painter of larger pictures that begins with what a small one learned: its picture, enlarged."""
    network = new_starter(size=size)
    known, found = network.state_dict(), small.state_dict()
    with torch.no_grad():
        for to_rgb in network.decoder.to_rgbs:
            to_rgb.conv.weight.zero_()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
        for key, value in found.items():
            if key != "latent_avg":
                known[key].copy_(value)
        network.latent_avg.copy_(small.latent_avg[:1])  # the same for all layers
    return network


def settings_of(choice: argparse.Namespace, **own: Any) -> Settings:
    """What all parts share; weights are 0 unless told otherwise."""
    weights = dict.fromkeys(("features", "identity", "edit", "apart"), 0.0)
    shared = {"batch": choice.batch, "passes": PASSES, "r1": R1, "bfloat16": not choice.float32}
    return Settings(**{**weights, **shared, "learning_rate": choice.learning_rate, **own})


def painter_lesson(
    name: str,
    canvases: Callable[[int], Batch],
    network: Painter,
    settings: Settings,
    show: Batch | None = None,
    discriminator: Discriminator | None = None,
) -> PainterLesson:
    percept = None
    if settings.features:
        known = features("features", SimpleNamespace(model=build(files.read_weights(FEATURES))))
        assert isinstance(known, Features)
        percept = percept_of(known, SIZE, "cpu")
    if settings.adversarial and discriminator is None:
        (discriminator,) = seeded(12, lambda: new.new_discriminator(JUDGE))
    lesson = PainterLesson(canvases, network, settings, percept=percept, discriminator=discriminator, show=show)
    lesson.name = name
    return lesson


def learn_layout(paintings: Paintings, choice: argparse.Namespace) -> Painter:
    """The networks after all stages of GROWTH."""
    network = new_starter(size=GROWTH[0].size)
    settings = settings_of(choice, decoder_rate=choice.decoder_rate)
    for size, steps in GROWTH:
        batches = Finished(paintings, choice.batch, size)
        lesson = painter_lesson(f"painter_{size}", batches, grown(network, size), settings)
        train(lesson, with_minutes(choice, 0.0), steps=steps, images_per_step=choice.batch)
        network = lesson.settled()
    return network


def learn_texture(
    network: Painter, paintings: Paintings, choice: argparse.Namespace
) -> tuple[Painter, Discriminator | None]:
    """The networks after the discriminator has had its say, and the discriminator."""
    settings = settings_of(
        choice,
        learning_rate=choice.learning_rate / 4,
        decoder_rate=choice.decoder_rate / 2,
        features=choice.features,
        adversarial=choice.adversarial,
        adversarial_from=0.02,
        adversarial_every=choice.adversarial_every,
    )
    lesson = painter_lesson(TEXTURE, Finished(paintings, choice.batch, SIZE), network, settings)
    train(lesson, with_minutes(choice, choice.texture_minutes), images_per_step=choice.batch)
    network = lesson.settled()
    stems = network.encoder.input_layer, network.encoder.input_layer_updated_canvas
    stems[1].load_state_dict(stems[0].state_dict())
    return network, lesson.judge and lesson.judge.network


def with_minutes(choice: argparse.Namespace, minutes: float) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(choice), "minutes": minutes})


# --- canvases at every stage ------------------------------------------------------------------------------------------


class Half:
    """The batch of a step: half of it canvases at every stage, half of it finished ones, so that those stay known."""

    def __init__(self, paintings: Paintings, batch: int) -> None:
        self.parts = Canvases(paintings, batch - batch // 2, 0), Finished(paintings, batch // 2, SIZE)

    def __call__(self, step: int) -> Batch:
        return Batch(*(torch.cat(parts) for parts in zip(*(part(step) for part in self.parts), strict=True)))


def main(argv: list[str] | None = None) -> None:
    parser = starter_options(
        "starter-painter", __doc__, minutes=50.0, scenes=5_000, peak=2.5e-3, minutes_help="of the last part"
    )
    parser.add_argument("--texture-minutes", type=float, default=150.0, help="of the second part")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--decoder-rate", type=float, default=2.5e-3, help="of the decoder, in the first part")
    parser.add_argument("--features", type=float, default=0.2, help="weight of the feature network's distance")
    parser.add_argument("--adversarial", type=float, default=0.1, help="weight of the discriminator")
    parser.add_argument("--adversarial-every", type=int, default=2, help="steps between two of its losses")
    parser.add_argument("--edit-every", type=int, default=4, help="steps between two edit losses")
    parser.add_argument("--float32", action="store_true", help="no bfloat16, which is slower here")
    parser.add_argument("--workers", type=int, default=1, help="processes that paint the scenes at first")
    parser.add_argument("--prepare", action="store_true", help="only paint the scenes")
    choice = parser.parse_args(argv)
    begin(choice, "painter", TEXTURE, *(f"painter_{size}" for size, _ in GROWTH))
    paintings = world_paintings(choice.folder, "learned", choice.scenes, workers=choice.workers)
    shown = world_paintings(choice.folder, "held_out", SHOWN, HELD_OUT)
    if choice.prepare:
        return
    network, discriminator = learn_texture(learn_layout(paintings, choice), paintings, choice)
    settings = settings_of(
        choice,
        learning_rate=choice.learning_rate / 8,
        features=choice.features,
        adversarial=2 * choice.adversarial,
        adversarial_every=choice.adversarial_every,
        edit=1.0,
        apart=0.1,
        edit_every=choice.edit_every,
    )
    show = Canvases(shown, SHOWN, 3)(0)
    lesson = painter_lesson("painter", Half(paintings, choice.batch), network, settings, show, discriminator)
    train(lesson, choice, images_per_step=choice.batch)
