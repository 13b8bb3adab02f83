"""Maps of pictures from frozen networks: what an appearance energy compares.

`Features` and `Domain` are values of the SKETCH_FEATURES socket. They hold no tensors of a run: `prepare` makes a plain
function that lives as long as the run does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from ..networks.frozen import Frozen, ordinary
from .distances import Maps, clip_distance, feature_distance, perceptual_distance, unit
from .preprocess import for_clip, for_inception, for_vgg, scaled, shorter_side, squared

TAPS = ("intended", "published")
BY_FILE, BY_IMAGENET, BY_HALVES = "as the file's kind", "ImageNet's means", "-1 to 1"
NORMALISATIONS = (BY_FILE, BY_IMAGENET, BY_HALVES)


@dataclass(frozen=True, eq=False)
class Features:
    """A frozen network that turns pictures into maps.

    kind: "clip", "vgg", "alexnet", "resnet", "inception" or "clip vision". taps: the names of the maps, in order.
    preprocess: from a picture to the network's input. published: fed and compared as in Inversion-by-Inversion's
    release, see `features`. size: the shorter side that larger pictures are reduced to, where smaller ones stay as they
    are (0: no limit).
    """

    name: str
    network: Frozen
    kind: str
    taps: tuple[str, ...]
    preprocess: Callable[[Tensor], Tensor]
    published: bool = False
    size: int = 0

    def prepare(self, device: torch.device | str) -> Callable[[Tensor], Maps]:
        """look(x [B,3,H,W] float32 in [0,1] on `device`; published: in [-1,1]) -> the maps of `taps`, each [B,C,h,w];
        a summary of the whole picture is [B,C]. Values outside the range are not cut.

        Call it and use it inside frozen.gradients(); look is differentiable in x.
        """
        network = self.network.prepare(device)
        return lambda x: network(self.preprocess(x))

    def distance(self, mine: Maps, theirs: Maps, metric: str = "l2") -> Tensor:
        """[B]: the published comparison of two pictures' maps; CLIP has its own, whatever the metric."""
        return clip_distance(mine, theirs) if self.kind == "clip" else feature_distance(mine, theirs, metric)

    def perceptual(self) -> Perceptual:
        """LPIPS on this network, prepared like it."""
        return Perceptual(self)

    def summary(self, smooth: bool = False, everything: bool = False) -> Summary:
        """The whole picture as one vector, to compare sets of pictures by; everything: see Seen. ValueError: the file
        lacks it."""
        if self.kind == "inception" and not self.network.patcher.model.deep:
            raise ValueError(
                f"'{self.name}' holds only the first layers of InceptionV3, but sets of pictures are compared by its "
                "last one. Load the whole file (pt_inception-2015-12-05), or leave the features open."
            )
        return Summary(self, smooth, everything)

    def seen(self, vectors: Tensor) -> Seen:
        """The parts of vectors [N,D] from summary(everything=True)."""
        if self.kind != "inception":
            return Seen(vectors)
        network = self.network.patcher.model
        depth = network.depth
        rest = vectors[:, depth:]
        if not network.classes:
            return Seen(vectors[:, :depth], rest)
        spatial, logits = rest[:, : -network.classes], rest[:, -network.classes :]
        return Seen(vectors[:, :depth], spatial, logits, ordinary(network.fc.bias).float().cpu())


class Seen(NamedTuple):
    """What a network saw of N pictures: summary [N,D]; InceptionV3 only: sFID's spatial features [N,2023], and (if its
    file has its classes) the logits without the bias [N,C] and the bias [C]."""

    summary: Tensor
    spatial: Tensor | None = None
    logits: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Perceptual:
    """LPIPS (Zhang et al. 2018) on a feature network, with the weights of the channels that its file holds, if any."""

    features: Features

    def prepare(self, device: torch.device | str) -> Callable[[Tensor, Tensor], Tensor]:
        """distance(a, b) -> [B], both [B or 1,3,H,W] in the range of Features.prepare."""
        own = self.features.network
        stages = Frozen(own.patcher, lambda net, x: net(x), ("features",))  # whichever of them `taps` names
        network = (stages if self.features.kind in ("vgg", "alexnet") else own).prepare(device)
        stored = getattr(own.patcher.model, "lin", None)
        lin = stored and [ordinary(weight).to(device, torch.float32) for weight in stored]
        look = self.features.preprocess
        return lambda a, b: perceptual_distance(network(look(a)), network(look(b)), lin)


@dataclass(frozen=True, eq=False)
class Summary:
    """A picture as one vector [D]: the last layer's output, averaged over the picture.

    InceptionV3's input is that of the published FID: resized to 299 x 299 whatever its shape, bilinear, without
    antialiasing. smooth: with antialiasing, as it should be for reduced pictures (Parmar et al. 2022). VGG, AlexNet
    and ResNet get a shorter side of their own size (256 if they have none), enlarging smaller pictures, so that sets of
    two sizes compare.
    everything: with InceptionV3's other parts behind it, which Features.seen takes apart.
    """

    features: Features
    smooth: bool = False
    everything: bool = False

    def prepare(self, device: torch.device | str, size: int = 0) -> Callable[[Tensor], Tensor]:
        """look(x [B,3,H,W] float32 in [0,1] on `device`) -> [B,D]. size: shorter side that pictures are resized to
        first (VGG: its input); 0: not resized."""
        known = self.features
        if known.kind == "inception":
            call = _everything if self.everything else lambda net, x: net.whole(x)
            whole = Frozen(known.network.patcher, call).prepare(device)
            return lambda x: whole(known.preprocess(scaled(self._sized(x, size), 299, 299, self.smooth)))
        look = known.prepare(device)
        side = size or (known.size or 256 if known.kind in ("vgg", "alexnet", "resnet") else 0)

        def last(x: Tensor) -> Tensor:
            found = look(self._sized(x, side))[-1]
            return found.mean((2, 3)) if found.ndim == 4 else found

        return last

    def _sized(self, x: Tensor, side: int) -> Tensor:
        return scaled(x, *shorter_side(x, side)) if side else x


def _everything(network: Any, x: Tensor) -> Tensor:
    return torch.cat([part for part in network.everything(x) if part is not None], 1)


@dataclass(frozen=True, eq=False)
class Domain:
    """EGSDE's extractor: a network trained to tell two domains apart on noised pictures."""

    name: str
    network: Frozen

    def prepare(self, device: torch.device | str) -> Callable[[Tensor, Tensor], Tensor]:
        """look(x [B,3,H,W] in VP units (picture in [-1,1], noised), t [B] noise level 0..999) -> map [B,C,h,w]."""
        return self.network.prepare(device)

    def likeness(self, mine: Tensor, theirs: Tensor, metric: str = "cosine") -> Tensor:
        """[B]: how alike two maps [B,C,h,w] of the same noise level are: EGSDE's realism energy, which is minimised.

        cosine: mean over positions of the cosine of their channels. l2: minus the sum of squared differences.
        """
        if metric == "l2":
            return -(mine - theirs).square().sum((1, 2, 3))
        return (unit(mine) * unit(theirs)).sum(1).mean((1, 2))


# --- from a network to a value of the socket --------------------------------------------------------------------------


def features(
    name: str,
    patcher: Any,
    *,
    taps: str = "intended",
    published: bool = False,
    size: int = 0,
    normalisation: str = BY_FILE,
) -> Features | Domain:
    """Features or Domain around a host ModelPatcher that holds one of our networks.

    taps: which layers of CLIP and VGG: "intended", or "published", those that Inversion-by-Inversion's release really
    compared (CLIP: see ClipResNet; VGG: the last pool only).
    published: pictures are fed in [-1,1] although the networks expect otherwise, and CLIP sees the middle square only.
    Otherwise each network is fed as it was trained, and sees the whole picture.
    size: the shorter side that pictures are resized to first, in pixels; 0: CLIP's own, InceptionV3's 299. VGG works at
    any size, as AlexNet and ResNet do: larger pictures are reduced to `size`; 0: none is.
    normalisation: one of NORMALISATIONS, for a ResNet: its names tell how it was trained, but not for certain.
    ValueError: a network of another kind.
    """
    # imported lazily: most sessions load no feature network
    from ..networks import alexnet, resnet
    from ..networks.clip_resnet import INTENDED, PUBLISHED, ClipResNet
    from ..networks.dse import DSE
    from ..networks.inception import STEM, Inception
    from ..networks.vgg import VGG

    network = patcher.model
    if isinstance(network, DSE):
        return Domain(name, Frozen(patcher, lambda net, x, t: net(x, t)))
    if isinstance(network, ClipResNet):
        module_short = taps == "published"
        parts = ("conv", "bn", "layer1", "layer2", "layer3") if module_short else ("",)
        call = Frozen(patcher, lambda net, x: net(x, module_short), parts)
        names = PUBLISHED if module_short else INTENDED
        return Features(name, call, "clip", names, partial(for_clip, size or network.size, published), published)
    if isinstance(network, VGG):
        names = ("features",) if taps == "published" else network.taps
        call = Frozen(patcher, lambda net, x: net(x, names), ("features",))
        way = "as trained" if not published else "raw" if network.lin is None else "LPIPS"
        preprocess = partial(for_vgg, size, 2 ** len(network.taps), way)
        return Features(name, call, "vgg", names, preprocess, published, size)
    if isinstance(network, alexnet.AlexNet):
        call = Frozen(patcher, lambda net, x: net(x), ("features",))
        way = "as trained" if not published else "raw" if network.lin is None else "LPIPS"
        preprocess = partial(for_vgg, size, alexnet.SMALLEST, way)
        return Features(name, call, "alexnet", network.taps, preprocess, published, size)
    if isinstance(network, resnet.ResNet):
        own = bool(network.imagenet) if normalisation == BY_FILE else normalisation == BY_IMAGENET
        way = "raw" if published else "as trained" if own else "-1 to 1"
        call = Frozen(patcher, lambda net, x: net(x), ("conv1", "bn1", "layer"))
        return Features(name, call, "resnet", ("layer4",), partial(for_vgg, size, 32, way), published, size)
    if isinstance(network, Inception):
        call = Frozen(patcher, lambda net, x: net(x), STEM)
        preprocess = partial(for_inception, size or 299, published)
        return Features(name, call, "inception", ("pool1",), preprocess, published)
    raise ValueError(f"A {type(network).__name__} network cannot serve as features.")


def clip_vision_features(name: str, model: Any) -> Features:
    """Features around a CLIP_VISION of the host: the last but one layer as a map, and the picture's own vector.

    ValueError: an encoder that cuts pictures into a variable number of patches.
    """
    if model.model_type == "siglip2_vision_model":
        raise ValueError(
            "This CLIP_VISION (SigLIP 2 NaFlex) produces a variable number of patches, so its feature maps cannot be "
            "compared. Load a CLIP, SigLIP or DINO encoder with a fixed size instead."
        )
    preprocess = partial(squared, model.image_size, tuple(model.image_mean), tuple(model.image_std))
    return Features(name, Frozen(model.patcher, _vision_maps), "clip vision", ("penultimate", "pooled"), preprocess)


def _vision_maps(model: Any, x: Tensor) -> Maps:
    """Tokens of the last but one layer on their grid, normalised over channels (a few are hundreds of times as large as
    the others), and the projected summary.

    The host's layers add to their input in place, which overwrites what autograd saved; so it saves copies.
    """
    weights = {weight.data_ptr() for weight in model.parameters()}

    def kept(saved: Tensor) -> Tensor:
        return saved if saved.data_ptr() in weights else saved.clone()

    with torch.autograd.graph.saved_tensors_hooks(kept, lambda saved: saved):
        _, tokens, vector, *_ = model(pixel_values=x, intermediate_output=-2)
    side = math.isqrt(tokens.shape[1])
    grid = tokens[:, -side * side :].float()  # a summary token and registers come before the picture's own
    grid = layer_norm(grid, grid.shape[-1:]).transpose(1, 2).unflatten(2, (side, side))
    return [grid, vector.float().mean(1) if vector.ndim == 3 else vector.float()]
