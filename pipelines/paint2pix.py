"""From an unfinished painting to a picture and on: Paint2pix (Singh et al., ECCV 2022, arXiv 2208.08092).

Pictures are squares [B,3,S,S] in [-1,1]; codes w are [B,styles,style_dim]. Layers are numbers of styles, 0 is coarsest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

if TYPE_CHECKING:
    from ..networks.paint2pix.encoders import FaceNetwork
    from ..networks.paint2pix.stylegan2 import Generator
    from ..networks.paint2pix.whole import Painter

PASSES = 5  # of the canvas encoder, as published
CLIP = 1.0  # beta: the largest move of one number of the code
FACE_CROP = slice(35, 223), slice(32, 220)  # rows and columns of an aligned face in 256 x 256


@dataclass(frozen=True, eq=False)
class Paint2pix:
    """The networks behind host ModelPatchers: the value of the SKETCH_PAINTER socket. identity: None without one."""

    name: str
    canvas: Any
    identity: Any = None

    @property
    def network(self) -> Painter:
        return self.canvas.model


@dataclass(frozen=True, eq=False)
class State:
    """Where a painting stands: the value of the SKETCH_STATE socket. Codes [B,styles,style_dim], float32, on the CPU.

    before: the code that the last prediction started from; after: the one it ended at. painter: the networks' name.
    """

    before: Tensor
    after: Tensor
    painter: str

    def __len__(self) -> int:
        return len(self.after)

    @property
    def move(self) -> Tensor:
        """What the last strokes changed: delta_w."""
        return self.after - self.before


def check_state(network: Painter, state: State) -> None:
    """ValueError: a state of networks with another number of styles or another style dimension."""
    if state.after.shape[1:] != network.latent_avg.shape:
        mine, theirs = (" x ".join(map(str, shape)) for shape in (network.latent_avg.shape, state.after.shape[1:]))
        raise ValueError(
            f"This state comes from {state.painter}, whose codes are {theirs}; these networks' are {mine}. Use a state "
            "that the same networks made."
        )


class Painted(NamedTuple):
    """One pass: its picture at the decoder's size, and its code."""

    picture: Tensor
    code: Tensor


def pooled(picture: Tensor, side: int) -> Tensor:
    """Averaged to side x side, as every pass sees the result of the one before; smaller pictures repeat pixels."""
    return adaptive_avg_pool2d(picture, side)


def average_picture(network: Painter) -> Tensor:
    """What the mean style paints: [1,3,S,S], at the encoder's size."""
    return pooled(network.decoder(network.latent_avg[None]), network.encoder.size)


def seen(network: Painter, picture: Tensor, result: Tensor) -> Tensor:
    """What the encoder is given: 12 channels are (canvas, result, the same canvas, result), as the demo does between
    strokes; 6 are (picture, result), 3 the picture alone."""
    if network.in_channels == picture.shape[1]:
        return picture
    pair = torch.cat([picture, result.expand(len(picture), -1, -1, -1)], 1)
    return pair if network.in_channels == pair.shape[1] else torch.cat([pair, pair], 1)


def passes_of(network: Painter, asked: int) -> int:
    """How many passes are made where so many are asked for: one by an encoder of 3 channels, which does not see
    results, and no more than another has learned, as far as that is known. A further one would add a code once more."""
    return 1 if network.in_channels == 3 else min(asked, network.passes or asked)


def predict(network: Painter, canvas: Tensor, passes: int = PASSES) -> Iterator[Painted]:
    """ReStyle's passes (arXiv 2104.02699, eq. 1-2): w_k = E(canvas, y) + w_(k-1), y = G(w_k); w_-1 is the mean style.

    canvas: [B,3,side,side], side = network.encoder.size. Never more passes than the encoder has learned (`passes_of`).
    The stored noise maps are used, so a canvas always gives the same pictures.
    """
    result, code = average_picture(network), None
    for _ in range(passes_of(network, passes)):
        code = network.codes(seen(network, canvas, result), code)
        picture = network.decoder(code)
        result = pooled(picture, network.encoder.size)
        yield Painted(picture, code)


def layer_mask(layers: Iterable[int], styles: int, like: Tensor) -> Tensor:
    """[1,styles,1]: 1 at these layers; those that the decoder does not have are ignored."""
    chosen = set(layers)
    return torch.tensor([float(i in chosen) for i in range(styles)]).to(like)[None, :, None]


def edited(
    before: Tensor, after: Tensor, strength: float = 1.0, clip: float = CLIP, mask: Tensor | None = None
) -> Tensor:
    """before + strength clamp(after - before, -clip, clip), where mask is 1: the edit strength (demo: alpha and beta).

    strength: 0 keeps `before`, above 1 exaggerates. clip: since single numbers are clamped, `after` is reached at
    strength 1 only where no number moves by more.
    """
    move = (after - before).clamp(-clip, clip) * strength
    return before + (move if mask is None else move * mask)


def mixed(code: Tensor, other: Tensor, share: float, mask: Tensor) -> Tensor:
    """Where mask is 1, share of `other` and 1 - share of `code`: variations of the same strokes."""
    return code + mask * share * (other - code)


def identity_move(
    network: Painter,
    code: Tensor,
    picture: Tensor,
    identity: Tensor,
    mask: Tensor,
    noise: Callable[[], Sequence[Tensor]],
    steps: int = 1,
) -> Tensor:
    """delta_w [B,styles,style_dim] that brings `picture` closer to `identity`: passes of the identity encoder (6
    channels: identity, picture).

    picture: what `code` paints, pooled; identity: [B,3,side,side]. Only layers of `mask` move. noise: fresh noise maps
    for the decoder, drawn at each pass, as published; only steps above 1 depend on them.
    """
    start, result = code, picture
    for _ in range(steps):
        moved = network.codes(seen(network, identity, result), code)
        result = pooled(network.decoder(moved, noise()), network.encoder.size)
        code = code + (moved - code) * mask
    return code - start


def face_features(network: FaceNetwork, picture: Tensor) -> Tensor:
    """Features of length 1 of aligned faces [B,3,256,256]: the middle of the face, pooled to the network's size."""
    rows, columns = FACE_CROP
    return network(pooled(picture[:, :, rows, columns], network.size))


def identity_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """1 - cosine, mean over the batch."""
    return (1 - (features * wanted).sum(1)).mean()


class IdentityLosses(NamedTuple):
    """identity and picture as they are weighted into `total`, the move's length without its weight (as published)."""

    identity: float
    length: float
    picture: float
    total: float


def optimise_identity(
    decoder: Callable[[Tensor], Tensor],
    features: Callable[[Tensor], Tensor],
    code: Tensor,
    identity: Tensor,
    mask: Tensor,
    *,
    steps: int = 20,
    learning_rate: float = 5e-3,
    identity_weight: float = 1.0,
    picture_weight: float = 10.0,
    length_weight: float = 0.01,
) -> Iterator[tuple[Tensor, IdentityLosses]]:
    """The same by Adam on delta_w, for `gradients()`: identity loss + MSE to the picture before + the move's length.

    decoder: codes -> pictures [B,3,256,256]; features: of such pictures. identity: [B,3,256,256]. Yields delta_w after
    each step and the losses before it.
    """
    wanted, before = features(identity).detach(), decoder(code).detach()
    move = torch.zeros_like(code, requires_grad=True)
    optimiser = torch.optim.Adam([move], lr=learning_rate)
    for _ in range(steps):
        picture = decoder(code + move * mask)
        likeness = identity_weight * identity_loss(features(picture), wanted)
        change = picture_weight * (picture - before).square().mean()
        length = move.norm()  # its gradient at zero is zero
        total = likeness + length_weight * length + change
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses = IdentityLosses(*(loss.item() for loss in (likeness, length, change, total)))
        yield (move * mask).detach(), losses


def noise_maps(decoder: Generator, generator: torch.Generator) -> list[Tensor]:
    """Fresh noise for one call of the decoder, on the generator's device; the same for all pictures of a batch."""
    return [torch.randn(1, 1, side, side, generator=generator, device=generator.device) for side in decoder.sides]
