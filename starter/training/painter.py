"""Trains the starter's painter: Paint2pix's canvas encoder and a StyleGAN2 decoder for landscapes, both from nothing.

They learn together on the starter world's own canvases, back to front: predictions by pixels and by the starter's
feature network, edits by the second stem, and, from a part of the run on, by a discriminator that also judges pictures
of random styles. Predicts 64 x 64 pixels from canvases of 32 x 32; the starter's upscaler makes 256 of them.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ... import files
from ...networks import build
from ...networks.paint2pix.encoders import Unit
from ...networks.paint2pix.whole import Painter
from ...pictures.features import Features, features
from ...training.batches import generator_of
from ...training.command import begin, starter_options, train
from ...training.paint2pix import new
from ...training.paint2pix.canvases import Batch, Canvases
from ...training.paint2pix.lesson import PainterLesson, percept_of
from ...training.paint2pix.settings import Settings
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
R1 = 0.3  # weight of the gradient penalty: small pictures and batches want less than the published 10
HELD_OUT = 5_000_000  # seeds from here on are never learned from
SHOWN = 12
FEATURES = Path(__file__).parents[1] / "weights" / "features.safetensors"


def new_starter(seed: int = 11) -> Painter:
    """Its networks with first weights: 5.5 million parameters, 11 MB in fp16."""
    decoder = {"widths": WIDTHS, "style_dim": STYLE_DIM, "mappings": MAPPINGS}
    (network,) = seeded(seed, lambda: new.new_painter(BODY, decoder))
    new.set_mean(network, generator_of(seed, WEIGHTS))
    return network


def painter_lesson(canvases: Canvases, settings: Settings, show: Batch | None = None) -> PainterLesson:
    known = features("features", SimpleNamespace(model=build(files.read_weights(FEATURES))))
    assert isinstance(known, Features)
    (discriminator,) = seeded(12, lambda: new.new_discriminator(JUDGE))
    return PainterLesson(
        canvases,
        new_starter(),
        settings,
        percept=percept_of(known, SIZE, "cpu") if settings.features else None,
        discriminator=discriminator if settings.adversarial else None,
        show=show,
    )


def main(argv: list[str] | None = None) -> None:
    parser = starter_options("starter-painter", __doc__, minutes=600.0, scenes=5_000, peak=1e-3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--decoder-rate", type=float, default=2e-3, help="of decoder and discriminator")
    parser.add_argument("--features", type=float, default=1.0, help="weight of the feature network's distance")
    parser.add_argument("--adversarial", type=float, default=0.2, help="weight of the discriminator; 0: none")
    parser.add_argument("--adversarial-from", type=float, default=0.25, help="fraction of the run at which it joins")
    parser.add_argument("--adversarial-every", type=int, default=2, help="steps between two of its losses")
    parser.add_argument("--edit-every", type=int, default=4, help="steps between two edit losses")
    parser.add_argument("--float32", action="store_true", help="no bfloat16, which is slower here")
    parser.add_argument("--workers", type=int, default=1, help="processes that paint the scenes at first")
    parser.add_argument("--prepare", action="store_true", help="only paint the scenes")
    choice = parser.parse_args(argv)
    begin(choice, "painter")
    paintings = world_paintings(choice.folder, "learned", choice.scenes, workers=choice.workers)
    shown = world_paintings(choice.folder, "held_out", SHOWN, HELD_OUT)
    if choice.prepare:
        return
    settings = Settings(
        batch=choice.batch,
        passes=2,
        learning_rate=choice.learning_rate,
        decoder_rate=choice.decoder_rate,
        features=choice.features,
        identity=0.0,
        edit_every=choice.edit_every,
        adversarial=choice.adversarial,
        adversarial_from=choice.adversarial_from,
        adversarial_every=choice.adversarial_every,
        r1=R1,
        bfloat16=not choice.float32,
    )
    show = Canvases(shown, SHOWN, 3)(0)
    lesson = painter_lesson(Canvases(paintings, choice.batch, 0), settings, show)
    train(lesson, choice, images_per_step=choice.batch)
