"""Paint2pix's canvas encoder as a lesson (Singh et al., ECCV 2022, arXiv 2208.08092, section 3).

What the paper says: one body with two stems reads [C_t, y, C_t+1, y] and gives w_t for the canvas and w_t+1 for the
updated one, in passes as ReStyle's; a prediction loss on y_t = G(w_t), an edit loss on w_t+1. The training program and
its weights were not released: how the losses are measured and summed, the passes and the joint learning of a decoder
are our formulation; e4e's discriminator of codes is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.optim import Adam

from ...networks.paint2pix.encoders import FaceNetwork
from ...networks.paint2pix.stylegan2 import Discriminator
from ...networks.paint2pix.whole import Painter
from ...pictures.features import Features
from ...pipelines.paint2pix import face_features, identity_loss, pooled, predict
from ..batches import Prefetch, generator_of, to_device
from ..loop import Lesson, Losses, Panel
from ..supervised import cosine
from ..weights import follow, set_rates, settle, uninterrupted
from . import losses
from .canvases import Batch
from .judge import Judge
from .settings import Settings
from .stylegan import fresh_noise, random_styles

DRAW = 40  # stream of random numbers
SETTLING = 6  # batches that the batch norms' statistics of a file are taken from
MEAN_RATE = 0.005  # share by which the mean style follows where the decoder learns
FACE = 256  # side of the pictures that a face network is shown


class PainterLesson(Lesson):
    """A canvas encoder with both stems, its decoder frozen or learning along.

    canvases(step): a Batch. network: whose decoder_rate decides what learns. percept: percept(a, b) -> [B] of pictures
    in [-1,1] (see `losses` of the sketch GAN), needed where features has a weight. face: IR-SE50, where identity has
    one. discriminator: where adversarial has one; then random styles are judged, too, if the decoder learns. show:
    canvases of the sheet.
    """

    name = "painter"
    panels = (
        Panel("Prediction (first = 1)", ("pixels", "features", "identity"), True),
        Panel("Edit (first = 1)", ("edit", "apart"), True),
        Panel("Adversarial", ("adversarial", "random", "discriminator")),
    )

    def __init__(
        self,
        canvases: Callable[[int], Batch],
        network: Painter,
        settings: Settings,
        *,
        percept: Callable[[Tensor, Tensor], Tensor] | None = None,
        face: FaceNetwork | None = None,
        discriminator: Discriminator | None = None,
        adaptive: bool = False,
        device: torch.device | str = "cpu",
        show: Batch | None = None,
    ) -> None:
        settings.check()
        learns = settings.decoder_rate > 0
        super().__init__({**shape_of(network), "decoder": "learns" if learns else "frozen"})
        self.settings, self.device, self.canvases = settings, torch.device(device), canvases
        self.percept, self.show = percept, show
        self.face = face and face.to(device).eval().requires_grad_(False)
        self.network = network.to(device).requires_grad_(True)
        self.network.encoder.train()
        self.network.decoder.train().requires_grad_(learns)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = Adam(self.network.encoder.parameters(), settings.learning_rate)
        self.artist = Adam(self.network.decoder.parameters(), settings.decoder_rate, (0.0, 0.99)) if learns else None
        self.judge: Judge | None = None
        if settings.adversarial and discriminator is not None:
            rate = settings.decoder_rate or settings.learning_rate
            self.judge = Judge(discriminator, learning_rate=rate, r1=settings.r1, adaptive=adaptive, device=device)
        self.half = partial(torch.autocast, self.device.type, torch.bfloat16, enabled=settings.bfloat16)
        self.kept = {"networks": self._learning(), "optimiser": self.optimiser, "mean": self.network.latent_avg}
        self.kept |= {"artist": self.artist} if self.artist else {}
        self.kept |= {"judge": self.judge.kept} if self.judge else {}
        self.ahead = Prefetch(canvases)
        self.closing = [self.ahead]

    def _learning(self) -> list[torch.nn.Module]:
        """The networks that change, each with its average; a frozen decoder is not kept."""
        both = [self.network, self.average]
        return [*(net.encoder for net in both), *(net.decoder for net in both if self.settings.decoder_rate)]

    # -- one step ------------------------------------------------------------------------------------------------------

    def step(self, step: int, progress: float) -> tuple[Losses, list[Tensor]]:
        own, batch = self.settings, to_device(self.ahead(step), self.device)
        rng = generator_of(own.seed, DRAW, step)
        factor = cosine(1.0, step, progress)
        set_rates([(self.optimiser, own.learning_rate * factor)])
        if self.artist:
            set_rates([(self.artist, own.decoder_rate * factor)])
        due = progress >= own.adversarial_from and step % own.adversarial_every == 0
        judge = self.judge if due else None
        with torch.no_grad(), self.half():  # a context of its own: casts of weights without gradients are cached in it
            start, seen = self._before(batch, rng)
        with self.half():
            found, picture = self._prediction(batch, step, start, seen)
            made = [picture]
            if judge is not None:
                found["adversarial"] = own.adversarial * judge.convinced(picture, rng)
                if self.artist:
                    made.append(self._random(max(2, len(picture) // 2), rng))
                    found["random"] = own.adversarial * judge.convinced(made[1], rng)
        self._step(torch.stack([value.float() for value in found.values()]).sum())
        found = {name: value.detach() for name, value in found.items()}
        if judge is not None:
            found |= judge.learn(batch.photo, made, step // own.adversarial_every, rng, self.half, factor)
        self._follow(min(own.ema, (1 + step) / (10 + step)))
        return found, [_enlarged(batch.canvas, picture), picture.detach().float(), batch.photo]

    def _prediction(self, batch: Batch, step: int, start: Tensor, seen: Tensor) -> tuple[Losses, Tensor]:
        """The weighted losses of one pass, and y_t."""
        own, network = self.settings, self.network
        w = start + network.encoder(seen).float()
        picture = network.decoder(w)
        found = {"pixels": own.pixels * losses.pixels(picture, batch.photo)}
        if own.features and self.percept is not None:
            found["features"] = own.features * self.percept(picture.float(), batch.photo).mean()
        features = None
        if own.identity and self.face is not None:
            features = self._features(picture)
            with torch.no_grad():
                wanted = self._features(batch.photo)
            found["identity"] = own.identity * identity_loss(features, wanted)
        if own.length:
            found["length"] = own.length * losses.length(w, network.latent_avg)
        if (own.edit or own.apart) and step % own.edit_every == 0:
            updated = start + network.encoder(seen, updated=True).float()
            other = network.decoder(updated)
            found["edit"] = own.edit * losses.follows(other, batch.updated, batch.painted)
            found["apart"] = own.apart * losses.apart(updated, w)
            if features is not None:
                found["identity"] = found["identity"] + own.identity * identity_loss(self._features(other), features)
        return found, picture

    def _before(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The code that this step's pass starts from, and what the encoder sees: [C_t, y, C_t+1, y]."""
        network, count = self.network, len(batch.canvas)
        code = network.latent_avg.expand(count, -1, -1)
        result = network.decoder(network.latent_avg[None]).expand(count, -1, -1, -1)
        passes = 1 + int(torch.randint(self.settings.passes, (), generator=rng))
        seen = seen_by(network, batch, result)
        for _ in range(passes - 1):
            code = code + network.encoder(seen).float()
            seen = seen_by(network, batch, network.decoder(code))
        return code, seen

    def _random(self, count: int, rng: torch.Generator) -> Tensor:
        """Pictures of random styles, so that the mapping network stays one of this decoder; the mean style follows."""
        decoder = self.network.decoder
        w = random_styles(decoder, count, rng, self.device)
        self.network.latent_avg.lerp_(w.detach().mean((0, 1)).expand_as(self.network.latent_avg), MEAN_RATE)
        return decoder(w, fresh_noise(decoder, count, rng, self.device))

    def _features(self, picture: Tensor) -> Tensor:
        assert self.face is not None
        return face_features(self.face, pooled(picture.float(), FACE))

    def _step(self, loss: Tensor) -> None:
        optimisers = [self.optimiser, *([self.artist] if self.artist else [])]
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()

    def _follow(self, keep: float) -> None:
        slow, moving = self.average, self.network
        pairs = [(slow.encoder, moving.encoder), *([(slow.decoder, moving.decoder)] if self.artist else [])]
        for kept, learned in pairs:
            follow(kept.parameters(), learned.parameters(), keep)
        self.average.latent_avg.copy_(self.network.latent_avg)

    # -- what it leaves ------------------------------------------------------------------------------------------------

    def load(self, state: Any) -> None:
        super().load(state)
        self.average.latent_avg.copy_(self.network.latent_avg)

    @torch.no_grad()
    def settled(self) -> Painter:
        """The averaged networks for use, with batch-norm statistics of their own."""
        network = copy.deepcopy(self.average)

        def run(i: int) -> None:
            batch = to_device(self.canvases(i), self.device)
            code = network.latent_avg.expand(len(batch.canvas), -1, -1)
            for _ in range(self.settings.passes):
                seen = seen_by(network, batch, network.decoder(code))
                network.encoder(seen, updated=True)
                code = code + network.encoder(seen)

        settle([network.encoder], run, SETTLING)
        return network

    def weights(self) -> dict[str, Tensor]:
        return {key: value.detach().cpu() for key, value in self.settled().state_dict().items()}

    def notes(self) -> dict[str, Any]:
        return {"encoder_type": "ProgressiveBackboneEncoder", "formulation": "SketchSynth", **asdict(self.settings)}

    def sheet(self) -> Tensor:
        """Rows (canvas, prediction, picture) [N,3,S,3S] in [0,1], of canvases that no step sees."""
        batch = to_device(self.show or self.canvases(10**6), self.device)
        return rows(self.settled(), batch, self.settings.passes)


def shape_of(network: Painter) -> dict[str, Any]:
    """What a run cannot change once it has begun."""
    return {
        "size": network.decoder.size,
        "styles": network.decoder.styles,
        "style_dim": network.decoder.style_dim,
        "encoder_side": network.encoder.size,
    }


def seen_by(network: Painter, batch: Batch, result: Tensor) -> Tensor:
    """[B,12,side,side]: the canvas, the result so far, the updated canvas, the result again."""
    y = pooled(result, network.encoder.size).to(batch.canvas)
    return torch.cat([batch.canvas, y, batch.updated, y], 1)


@torch.no_grad()
def rows(network: Painter, batch: Batch, passes: int) -> Tensor:
    """Canvases, what a network predicts for each, and the finished pictures, side by side: [N,3,S,3S] in [0,1]."""
    *_, last = predict(network, batch.canvas, passes)
    parts = [_enlarged(batch.canvas, last.picture), last.picture.float(), batch.photo]
    return (torch.cat(parts, 3) / 2 + 0.5).clamp(0, 1)


def _enlarged(canvas: Tensor, picture: Tensor) -> Tensor:
    return interpolate(canvas, picture.shape[2:], mode="nearest")


def percept_of(features: Features, size: int, device: torch.device | str) -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS on a feature network, percept(a, b) -> [B] of pictures in [-1,1], compared at 256 pixels at most and at
    half of 128 and 256."""
    distance = uninterrupted(features).perceptual().prepare(device)
    side = min(256, max(64, size // 2))
    return lambda a, b: distance(pooled(a, side) / 2 + 0.5, pooled(b, side) / 2 + 0.5)
