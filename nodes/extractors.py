"""Nodes for the networks that energies see through: extractors, which draw lines, and feature networks."""

from __future__ import annotations

import os
from typing import Any

import torch
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor

from .. import files, host, networks
from ..networks.frozen import gradients, ordinary
from ..networks.photosketch import STATISTICS
from ..pictures.extractors import EDGES, Extractor, extractor
from ..pictures.features import (
    BY_FILE,
    NORMALISATIONS,
    TAPS,
    Domain,
    Features,
    clip_vision_features,
    features,
)
from ..pictures.fit import as_rgb
from .parts import search
from .parts.checks import check_numbers
from .parts.folders import model_state
from .parts.model_files import STARTER, WEIGHTS, built_in, is_there, read_network, starter_or_file
from .parts.sockets import ExtractorSocket, FeaturesSocket

EXTRACTORS, FEATURES = "sketch_extractors", "sketch_features"
CONNECTED = "the connected clip_vision"
STARTER_EXTRACTOR, STARTER_FEATURES = WEIGHTS / "extractor.safetensors", WEIGHTS / "features.safetensors"
FEEDING = {"as trained": False, "as published": True}
PAPER = ("Inversion-by-Inversion", "InvBy")

host.register_model_folder(EXTRACTORS)
host.register_model_folder(FEATURES)


class SketchExtractorLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchExtractorLoader",
            display_name="Load Sketch Extractor",
            category="sketch/loaders",
            description="Loads what draws the lines of a picture, so that a shape energy can compare them with your "
            "sketch: smooth edges, which need no weights, the small built-in network, InformativeDrawings, "
            "PhotoSketch, or a sketch GAN's TOM.",
            search_aliases=[
                *(*PAPER, "InformativeDrawings", "line art", "lineart", "photo to sketch", "edge detection"),
                *("TOM", "Self-Supervised Sketch-to-Image", "PhotoSketch", "DiffSketching"),
            ],
            inputs=[
                io.Combo.Input(
                    "extractor",
                    options=[EDGES.name, *built_in(STARTER_EXTRACTOR), *host.model_files(EXTRACTORS)],
                    tooltip="Edges need no weights and work on any picture. The built-in network knows only the "
                    "starter's landscapes. Otherwise an InformativeDrawings, PhotoSketch or TOM file in "
                    "models/sketch_extractors (.safetensors, .sft, .pt, .pth, .ckpt).",
                ),
                FeaturesSocket.Input(
                    "features",
                    optional=True,
                    tooltip="Only for a TOM file saved without its feature network, as the published ones are: the "
                    "VGG it was trained on (VGG16), from Load Sketch Features. All other extractors ignore it.",
                ),
                io.Combo.Input(
                    "statistics",
                    options=list(STATISTICS),
                    optional=True,
                    advanced=True,
                    tooltip="Which statistics PhotoSketch's norms use. the photo's own: as its release draws, one "
                    "photo at a time. running: those of its training. the batch's: as DiffSketching's release draws, "
                    "where photos of a batch change one another. Other extractors ignore it.",
                ),
            ],
            outputs=[
                ExtractorSocket.Output(
                    "extractor",
                    display_name="extractor",
                    tooltip="For Shape Energy, Shape Inversion and Photo to Sketch.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, extractor: str | None = None) -> bool | str:
        return extractor == EDGES.name or is_there(
            "sketch extractor", EXTRACTORS, extractor, STARTER, STARTER_EXTRACTOR
        )

    @classmethod
    def fingerprint_inputs(cls, extractor: str | None = None, **_: Any) -> str:
        return model_state(EXTRACTORS, extractor)

    @classmethod
    def execute(
        cls, extractor: str, features: Features | Domain | None = None, statistics: str = STATISTICS[0]
    ) -> io.NodeOutput:
        return io.NodeOutput(load_extractor(extractor, features, statistics))


class SketchFeatureLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchFeatureLoader",
            display_name="Load Sketch Features",
            category="sketch/loaders",
            description="Loads a frozen network that compares pictures by their features: the small built-in one, "
            "CLIP RN50 or RN101, VGG, AlexNet, ResNet-50, LPIPS, InceptionV3, EGSDE's domain extractor, or any CLIP "
            "vision model.",
            search_aliases=[
                *(*PAPER, "CLIP RN101", "VGG16", "LPIPS", "InceptionV3", "DSE", "EGSDE", "perceptual"),
                *("DiffSketching", "ResNet-50", "AlexNet"),
            ],
            inputs=[
                io.Combo.Input(
                    "features",
                    options=[*built_in(STARTER_FEATURES), *host.model_files(FEATURES), CONNECTED],
                    tooltip="The built-in network was trained on the starter's landscapes. Files belong in "
                    "models/sketch_features (.safetensors, .sft, .pt, .pth, .ckpt). A connected clip_vision takes "
                    "precedence.",
                ),
                io.Combo.Input(
                    "taps",
                    options=list(TAPS),
                    advanced=True,
                    tooltip="Which layers of CLIP ResNets and VGG are compared. intended: the output of each stage. "
                    "published: what the released code of Inversion-by-Inversion actually uses: earlier CLIP layers, "
                    "VGG's last pool.",
                ),
                io.Combo.Input(
                    "feeding",
                    options=list(FEEDING),
                    advanced=True,
                    tooltip="as trained: pictures are normalised as in the network's training. as published: fed in "
                    "-1..1 where 0..1 was meant, and the noisy state is compared. CLIP then has almost no effect.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=1024,
                    step=32,
                    advanced=True,
                    tooltip="Shorter side at which CLIP and InceptionV3 see pictures, and the maximum for VGG, AlexNet "
                    "and ResNet, 32 to 1024 px. 0: CLIP 224, InceptionV3 299, the built-in network 128, other networks "
                    "any size. Ignored for clip_vision.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="A CLIP, SigLIP or DINO vision model from Load CLIP Vision, instead of a file.",
                ),
                io.Combo.Input(
                    "normalisation",
                    options=list(NORMALISATIONS),
                    optional=True,
                    advanced=True,
                    tooltip="How a ResNet's pictures are normalised. as the file's kind: ImageNet's means for "
                    "torchvision's key names, -1 to 1 for those of DiffSketching's training. Other networks ignore "
                    "it.",
                ),
            ],
            outputs=[
                FeaturesSocket.Output(
                    "features",
                    display_name="features",
                    tooltip="For Appearance Energy, the lpips metric of Shape Energy, and (EGSDE's extractor) Domain "
                    "Energy.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, features: str | None = None) -> bool | str:
        return features == CONNECTED or is_there("feature network", FEATURES, features, STARTER, STARTER_FEATURES)

    @classmethod
    def fingerprint_inputs(cls, features: str | None = None, **_: Any) -> str:
        return model_state(FEATURES, features)

    @classmethod
    def execute(
        cls,
        features: str,
        taps: str,
        feeding: str,
        size: int,
        clip_vision: Any = None,
        normalisation: str = BY_FILE,
    ) -> io.NodeOutput:
        if clip_vision is not None:
            return io.NodeOutput(clip_vision_features("CLIP vision", clip_vision))
        return io.NodeOutput(load_features(features, taps, FEEDING[feeding], size, normalisation))


class SketchPhotoToSketch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPhotoToSketch",
            display_name="Photo to Sketch",
            category="sketch/drawing",
            description="Draws a photograph in dark lines on white, with the same extractor that a shape energy uses: "
            "see what the energy sees, or make a sketch to start from.",
            search_aliases=[*PAPER, "lineart preprocessor", "edges", "InformativeDrawings", *search.SKETCH],
            inputs=[
                io.Image.Input("image", tooltip="Photographs of any size, in batches too; each is drawn separately."),
                ExtractorSocket.Input(
                    "extractor",
                    optional=True,
                    tooltip="What draws, from Load Sketch Extractor. If not connected: edges, which need no weights.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    advanced=True,
                    tooltip="0 to 1. 0 keeps the soft lines as drawn. Above 0, everything brighter becomes paper and "
                    "the rest ink. Published with TOM: 0.7.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "sketch",
                    display_name="sketch",
                    tooltip="The drawings, same size and batch: 1 is paper, 0 is ink, equal in all channels.",
                )
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, extractor: Extractor = EDGES, threshold: float = 0.0) -> io.NodeOutput:
        check_numbers(threshold=threshold)
        image = as_rgb(image)
        progress = ProgressBar(len(image))  # Cancel takes effect at its updates
        drawn = []
        device = room_to_draw(extractor, image.shape[1] * image.shape[2], image.device)
        with gradients():
            draw = extractor.prepare(device)
            for photo in image:
                seen = ordinary(photo[None]).movedim(-1, 1).to(device, torch.float32)
                drawn.append(draw(seen).movedim(1, -1).expand(-1, -1, -1, 3).to(image.device))
                progress.update(1)
        sketch = torch.cat(drawn)
        return io.NodeOutput((sketch > threshold).to(sketch.dtype) if threshold else sketch)


def room_to_draw(extractor: Extractor, pixels: int, otherwise: torch.device) -> torch.device:
    """The device an extractor draws on, with memory freed for a photo of `pixels` pixels; edges draw on `otherwise`."""
    if extractor.network is None:
        return otherwise
    device = extractor.network.patcher.load_device
    host.make_room(device, extractor.bytes_per_pixel * pixels)
    return device


# --- files ------------------------------------------------------------------------------------------------------------


def load_extractor(name: str, features: Features | Domain | None = None, statistics: str = "") -> Extractor:
    """The extractor behind one option of the loader. features: the VGG of a TOM that was saved without one.
    statistics: see pictures.extractors.extractor."""
    if name == EDGES.name:
        return EDGES
    path = starter_or_file("sketch extractor", EXTRACTORS, name, STARTER, STARTER_EXTRACTOR)
    network: Any = read_network(path, ("extractor",), {}, copied=True)[0]
    if getattr(network, "vgg", True) is None:
        network = _with_features(files.quote(os.path.basename(path)), network, features)
    if network.in_channels != 3:
        raise ValueError(
            f"A sketch extractor takes 3 colour channels; {files.quote(os.path.basename(path))} takes "
            f"{network.in_channels}. Load another file."
        )
    return extractor(name, host.network_patcher(network), statistics)


def _with_features(name: str, tom: Any, features: Features | Domain | None) -> torch.nn.Module:
    """A TOM joined with the VGG in `features`.

    ValueError: features is missing, not a VGG, or of other widths than the TOM was trained on.
    """
    from ..networks import vgg
    from ..networks.sketchgan import tom as toms

    if features is None:
        raise ValueError(
            f"{name} is a TOM sketch extractor saved without its VGG. Connect that VGG (VGG16, from Load Sketch "
            "Features) to features."
        )
    if not isinstance(features, Features) or features.kind != "vgg":
        raise ValueError(
            f"A TOM sketch extractor needs a VGG, and '{features.name}' is not one. Load VGG16 in Load Sketch Features."
        )
    weights = features.network.patcher.model.state_dict()
    stages = vgg.config_from(weights, {})["widths"]
    if len(stages) != 5 or stages[2][-1] != tom.in_channels:
        seen = stages[2][-1] if len(stages) > 2 else "none"
        raise ValueError(
            f"{name} expects a VGG of 5 stages with {tom.in_channels} channels in the third; '{features.name}' has "
            f"{len(stages)} stages and {seen} channels there. Connect the VGG it was trained on."
        )
    return networks.build(toms.with_features(tom.state_dict(), weights), ops=host.NETWORK_OPS)


def load_features(
    name: str, taps: str = "intended", published: bool = False, size: int = 0, normalisation: str = BY_FILE
) -> Features | Domain:
    """The feature network behind one option of the loader."""
    if name == CONNECTED:
        raise ValueError(
            f"'{CONNECTED}' is chosen, but nothing is connected. Connect Load CLIP Vision, or choose a file."
        )
    path = starter_or_file("feature network", FEATURES, name, STARTER, STARTER_FEATURES)
    network, stated = read_network(path, ("features", "domain"), {"num_head_channels": 64})
    patcher = host.network_patcher(network)
    size = size or stated.get("image_size", 0)
    return features(name, patcher, taps=taps, published=published, size=size, normalisation=normalisation)


def usable(network: Features | Domain) -> Features:
    """ValueError: a network that is not fed clean pictures as in its training."""
    if isinstance(network, Domain):
        raise ValueError(
            f"'{network.name}' is a domain extractor, which only understands noised pictures. Load a feature network "
            "instead."
        )
    if network.published:
        raise ValueError(
            f"'{network.name}' is fed as in the released code of Inversion-by-Inversion, which is not how it was "
            "trained. Set feeding to 'as trained' in Load Sketch Features."
        )
    return network


def comparing(network: Features | Domain) -> Features:
    """ValueError: as in usable, or a network without the feature maps that LPIPS compares."""
    network = usable(network)
    if network.kind not in ("vgg", "alexnet", "clip"):
        raise ValueError(
            f"LPIPS compares the feature maps of several layers, which '{network.name}' ({network.kind}) does not "
            "provide. Load an LPIPS file, a VGG or the built-in features."
        )
    return network


NODES = [SketchExtractorLoader, SketchFeatureLoader, SketchPhotoToSketch]
