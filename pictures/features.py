"""Maps of pictures from frozen networks, and distances between them: what an appearance energy compares.

`Features` and `Domain` are values of the SKETCH_FEATURES socket. They hold no tensors of a run: `prepare` makes a plain
function that lives as long as the run does. All distances give one number per image, so a batch of any size means the
same for each of its members; `theirs` may be a batch of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate, layer_norm

from ..networks.frozen import Frozen, ordinary

Maps = list[Tensor]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
TAPS = ("intended", "published")


@dataclass(frozen=True, eq=False)
class Features:
    """A frozen network that looks at pictures.

    kind: "clip", "vgg", "inception" or "clip vision". taps: the names of the maps, in order. preprocess: from a picture
    to the network's input. published: fed and compared as in Inversion-by-Inversion's release, see `features`. size:
    the shorter side that larger pictures are reduced to, where smaller ones stay as they are (0: no limit).
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
        """LPIPS on this network, to be opened like it."""
        return Perceptual(self)

    def summary(self, smooth: bool = False) -> Summary:
        """The whole picture in one vector, to compare sets of pictures by. ValueError: the file is cut too short."""
        if self.kind == "inception" and not self.network.patcher.model.deep:
            raise ValueError(
                f"'{self.name}' holds only the first layers of InceptionV3, and sets of pictures are compared by its "
                "last one. Load the whole file (pt_inception-2015-12-05), or leave the features open."
            )
        return Summary(self, smooth)


@dataclass(frozen=True, eq=False)
class Perceptual:
    """LPIPS (Zhang et al. 2018) on a feature network, with the weights of the channels that its file holds, if any."""

    features: Features

    def prepare(self, device: torch.device | str) -> Callable[[Tensor, Tensor], Tensor]:
        """distance(a, b) -> [B], both [B or 1,3,H,W] in the range of Features.prepare."""
        own = self.features.network
        stages = Frozen(own.patcher, lambda net, x: net(x), ("features",))  # whichever of them `taps` names
        network = (stages if self.features.kind == "vgg" else own).prepare(device)
        stored = getattr(own.patcher.model, "lin", None)
        lin = stored and [ordinary(weight).to(device, torch.float32) for weight in stored]
        look = self.features.preprocess
        return lambda a, b: perceptual_distance(network(look(a)), network(look(b)), lin)


@dataclass(frozen=True, eq=False)
class Summary:
    """A picture as one vector [D]: what the last layer sees, on the mean over the picture.

    InceptionV3 sees it as FID is published: brought to 299 x 299 whatever its shape, bilinear, without smoothing.
    smooth: smoothed, as it should be where pictures are reduced (Parmar et al. 2022). VGG sees it at a shorter side of
    its own size (256 where it has none), smaller ones enlarged, so that sets of two sizes are seen alike.
    """

    features: Features
    smooth: bool = False

    def prepare(self, device: torch.device | str, size: int = 0) -> Callable[[Tensor], Tensor]:
        """look(x [B,3,H,W] float32 in [0,1] on `device`) -> [B,D]. size: shorter side that pictures are brought to
        before anything else (VGG: at which it sees them); 0: none."""
        known = self.features
        if known.kind == "inception":
            whole = Frozen(known.network.patcher, lambda net, x: net.whole(x)).prepare(device)
            return lambda x: whole(known.preprocess(_scaled(self._sized(x, size), 299, 299, self.smooth)))
        look = known.prepare(device)
        side = size or (known.size or 256 if known.kind == "vgg" else 0)

        def last(x: Tensor) -> Tensor:
            found = look(self._sized(x, side))[-1]
            return found.mean((2, 3)) if found.ndim == 4 else found

        return last

    def _sized(self, x: Tensor, side: int) -> Tensor:
        return _scaled(x, *_shorter_side(x, side)) if side else x


@dataclass(frozen=True, eq=False)
class Domain:
    """EGSDE's extractor: a network that was trained to tell two domains apart on noised pictures."""

    name: str
    network: Frozen

    def prepare(self, device: torch.device | str) -> Callable[[Tensor, Tensor], Tensor]:
        """look(x [B,3,H,W] in VP units (picture in [-1,1], noised), t [B] noise level 0..999) -> map [B,C,h,w]."""
        return self.network.prepare(device)

    def likeness(self, mine: Tensor, theirs: Tensor) -> Tensor:
        """[B]: mean cosine of two maps of the same noise level (EGSDE's realism energy, to be made small)."""
        return (_unit(mine) * _unit(theirs)).sum(1).mean((1, 2))


# --- from a network to a value of the socket --------------------------------------------------------------------------


def features(
    name: str, patcher: Any, *, taps: str = "intended", published: bool = False, size: int = 0
) -> Features | Domain:
    """Features or Domain around a host ModelPatcher that holds one of our networks.

    taps: what CLIP and VGG are asked for: "intended", or "published", which is what Inversion-by-Inversion really
    compared (CLIP: see ClipResNet; VGG: the last pool only).
    published: pictures are fed in [-1,1] as if that were what the networks want, and CLIP sees the middle square only.
    Otherwise each network is fed as it was trained, and sees the whole picture.
    size: the shorter side that pictures are brought to first, in pixels; 0: CLIP's own, InceptionV3's 299. VGG works at
    any size: larger pictures are reduced to `size`, with 0 none is.
    """
    # imported here, where a network is there to be told: most sessions have none
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
        return Features(name, call, "clip", names, partial(_for_clip, size or network.size, published), published)
    if isinstance(network, VGG):
        names = ("features",) if taps == "published" else network.taps
        call = Frozen(patcher, lambda net, x: net(x, names), ("features",))
        way = "as trained" if not published else "raw" if network.lin is None else "LPIPS"
        preprocess = partial(_for_vgg, size, 2 ** len(network.taps), way)
        return Features(name, call, "vgg", names, preprocess, published, size)
    if isinstance(network, Inception):
        call = Frozen(patcher, lambda net, x: net(x), STEM)
        preprocess = partial(_for_inception, size or 299, published)
        return Features(name, call, "inception", ("pool1",), preprocess, published)
    raise ValueError(f"A {type(network).__name__} network cannot serve as features.")


def clip_vision_features(name: str, model: Any) -> Features:
    """Features around a CLIP_VISION of the host: the last but one layer as a map, and the picture's own vector.

    ValueError: an encoder that cuts pictures into a varying number of pieces.
    """
    if model.model_type == "siglip2_vision_model":
        raise ValueError(
            "This CLIP_VISION (SigLIP 2 NaFlex) sees pictures in a varying number of pieces, which cannot be compared "
            "place by place. Load a CLIP, SigLIP or DINO encoder with a fixed size instead."
        )
    preprocess = partial(_squared, model.image_size, tuple(model.image_mean), tuple(model.image_std))
    return Features(name, Frozen(model.patcher, _vision_maps), "clip vision", ("penultimate", "pooled"), preprocess)


def _vision_maps(model: Any, x: Tensor) -> Maps:
    """Tokens of the last but one layer on their grid, evened out over channels (a few are hundreds of times as large as
    the others), and the projected summary.

    The host's layers add to their input in place, which spoils what autograd keeps of it; so it keeps copies.
    """
    weights = {weight.data_ptr() for weight in model.parameters()}

    def kept(saved: Tensor) -> Tensor:
        return saved if saved.data_ptr() in weights else saved.clone()

    with torch.autograd.graph.saved_tensors_hooks(kept, lambda saved: saved):
        _, tokens, vector, *_ = model(pixel_values=x, intermediate_output=-2)
    side = math.isqrt(tokens.shape[1])
    grid = tokens[:, -side * side :].float()  # a summary token and registers stand before the picture's own
    grid = layer_norm(grid, grid.shape[-1:]).transpose(1, 2).unflatten(2, (side, side))
    return [grid, vector.float().mean(1) if vector.ndim == 3 else vector.float()]


# --- what the networks want to see ------------------------------------------------------------------------------------


def _normalised(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]


def _scaled(x: Tensor, height: int, width: int, antialias: bool = True) -> Tensor:
    if (height, width) == tuple(x.shape[-2:]):
        return x
    return interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=antialias)


def _shorter_side(x: Tensor, size: int, multiple: int = 1) -> tuple[int, int]:
    """Height and width with a shorter side of `size`, both multiples of `multiple`, in about the picture's shape."""
    height, width = x.shape[-2:]
    scale = size / min(height, width)
    return tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (height, width))  # pyright: ignore


def _for_clip(size: int, published: bool, x: Tensor) -> Tensor:
    if not published:
        return _normalised(_scaled(x, *_shorter_side(x, size, 32)), *CLIP)
    height, width = x.shape[-2:]
    short = min(height, width)  # the longer side is cut to whole pixels, the middle as torchvision rounds it
    x = _scaled(x, int(size * height / short), int(size * width / short), antialias=False)
    top, left = (round((side - size) / 2) for side in x.shape[-2:])
    return _normalised(x[..., top : top + size, left : left + size], *CLIP)


def _for_vgg(size: int, smallest: int, way: str, x: Tensor) -> Tensor:
    short = min(x.shape[-2:])
    x = _scaled(x, *_shorter_side(x, max(min(size or short, short), smallest)))
    if way == "raw":
        return x
    return _normalised((x + 1) / 2 if way == "LPIPS" else x, *IMAGENET)


def _for_inception(size: int, published: bool, x: Tensor) -> Tensor:
    x = _scaled(x, size, size)
    if not published:
        return 2 * x - 1
    # torchvision's change from pictures normalised with IMAGENET, upon pictures that are not
    mean, std = (x.new_tensor(values)[:, None, None] for values in IMAGENET)
    return x * (std / 0.5) + (mean - 0.5) / 0.5


def _squared(size: int, mean: Sequence[float], std: Sequence[float], x: Tensor) -> Tensor:
    return _normalised(_scaled(x, size, size), mean, std)


# --- distances, one number per image ----------------------------------------------------------------------------------


def clip_distance(
    mine: Maps, theirs: Maps, weights: Sequence[float] = (0.0, 0.0, 1.0, 1.0, 0.0), pooled_weight: float = 0.1
) -> Tensor:
    """[B]: sum_l w_l mean((f_l - g_l)^2), and 0.1 (1 - cos) of the last entry, the pooled one.

    The published energy is the mean of it over the batch, so its gradient is smaller by 1/B. Where the pooled entry is
    a map [B,C,h,w], its channels are compared at every place.
    """
    *maps, pooled = mine
    *known, known_pooled = theirs
    unlike = 1 - cosine_similarity(pooled, known_pooled, dim=1)
    distance = pooled_weight * unlike.reshape(len(unlike), -1).mean(1)
    for weight, a, b in zip(weights, maps, known, strict=True):
        if weight:
            distance = distance + weight * (a - b).square().flatten(1).mean(1)
    return distance


def feature_distance(mine: Maps, theirs: Maps, metric: str = "l2") -> Tensor:
    """[B]: sums of squared (l2) or absolute (l1) differences, or of the cosine over channels (cosine), over all maps.

    Made small, the cosine drives apart what it compares; that is how it was published.
    """
    measure = {"cosine": partial(cosine_similarity, dim=1), "l1": lambda a, b: (a - b).abs()}.get(metric, _squares)
    return torch.stack([measure(a, b).flatten(1).sum(1) for a, b in zip(mine, theirs, strict=True)]).sum(0)


def perceptual_distance(mine: Maps, theirs: Maps, lin: Maps | None = None) -> Tensor:
    """[B]: squared differences of channel-normalised maps, weighted by `lin` ([C] a map; None: all alike, averaged over
    the maps), meant over places and added up over maps. Only maps [B,C,h,w] count."""
    pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a.ndim == 4]
    weights = [1 / len(pairs)] * len(pairs) if lin is None else [weight[:, None, None] for weight in lin]
    parts = [
        (weight * _squares(_unit(a), _unit(b))).sum(1).mean((1, 2))
        for weight, (a, b) in zip(weights, pairs, strict=True)
    ]
    return torch.stack(parts).sum(0)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square()


def _unit(x: Tensor) -> Tensor:
    """Every place's channels [B,C,h,w] at length one. Safe to differentiate where they are all zero."""
    return x / (x.square().sum(1, keepdim=True).clamp_min(1e-20).sqrt() + 1e-10)
