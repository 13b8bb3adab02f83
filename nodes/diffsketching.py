"""DiffSketching: a sketch and a class become an image. A noisy classifier steers the walk towards the class, and the
prediction is turned back into a sketch and compared with yours.

The released sampler guides nothing; the parts here are exact, and how they are joined is ours: see SketchDiffSketching.
"""

from __future__ import annotations

import os
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..guidance import decoders, terms
from ..guidance.energy import DENOISED, NEXT, STATE, THROUGH, Energy, attach
from ..networks.frozen import Frozen
from ..pictures.classifier import Classifier
from ..pictures.extractors import EDGES
from ..pictures.features import Domain, Features
from ..pictures.fit import as_rgb
from ..samplers import levels, noises
from .extractors import load_features
from .inversion import (
    EXTRACTOR_TIP,
    MODEL_TIP,
    SKETCH_TIP,
    VAE_TIP,
    decoder_input,
    inner_steps_input,
    limit_input,
    slope_every_input,
    when_inputs,
)
from .parts.checks import check_numbers
from .parts.folders import model_state
from .parts.model_files import STARTER, WEIGHTS, built_in, is_there, read_network, starter_or_file
from .parts.sockets import ClassifierSocket, ExtractorSocket, FeaturesSocket
from .priors import ORDERS

CLASSIFIERS = "sketch_classifiers"
STARTER_CLASSIFIER = WEIGHTS / "classifier.safetensors"
PAPER = ("DiffSketching", "sketch to image", "classifier guidance", "guided diffusion")
DARK = 0.4  # mean of a sketch below which it cannot be dark lines on white paper
PREDICTION = "to the prediction"
GRADIENTS = {PREDICTION: DENOISED, THROUGH: THROUGH}

CLASS_TIP = (
    "The class to paint: its number, or its name where the classifier's file has names. Several with commas between "
    "them: one for each image of the batch."
)
SCALE_TIP = (
    "Strength of the class, 0 to 1000; 0 has no effect. Published: 1 for class-conditional priors of 64 to 256 px, 10 "
    "with the unconditional one."
)
GRADIENT_TIP = (
    "Where the slopes of sketch and reference end. to the prediction: no pass through the model; works with every "
    "model. through the model: the exact gradient at the noisy state, which makes a step three to eight times as "
    "long, and longer with large extractors."
)
INNER_STEPS_TIP = (
    "How often the slopes of sketch and reference are taken in each step, 1 to 20, each time where the last one led "
    "and with its share of the weights. 4 makes few steps (4 to 8) follow better and draws the picture four times as "
    "often. Works with gradient 'to the prediction'."
)
SLOPE_EVERY_TIP = (
    "A new slope of sketch and reference at every so-many-th call of the model, 1 to 8; the calls between follow the "
    "last one. 1: always a new one. Through a whole VAE, 4 costs a quarter and is almost as close in 20 steps and "
    "more. Works with gradient 'to the prediction'."
)

host.register_model_folder(CLASSIFIERS)


class SketchClassifierLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchClassifierLoader",
            display_name="Load Sketch Classifier",
            category="sketch/loaders",
            description="Loads a noisy classifier of guided diffusion: a network that names the class of a picture at "
            "any noise level, so that it can steer a pixel prior towards a class.",
            search_aliases=[*PAPER, "noisy classifier", "ADM classifier", "ImageNet class"],
            inputs=[
                io.Combo.Input(
                    "classifier",
                    options=[*built_in(STARTER_CLASSIFIER), *host.model_files(CLASSIFIERS)],
                    tooltip="The built-in one knows the landscapes' grounds and hours. Otherwise a file in "
                    "models/sketch_classifiers (.safetensors, .sft, .pt, .pth, .ckpt) in guided diffusion's layout, "
                    "with any of its four pools.",
                ),
                io.Int.Input(
                    "num_head_channels",
                    default=64,
                    min=1,
                    max=512,
                    advanced=True,
                    tooltip="Channels per attention head, 1 to 512; 64 in all published classifiers. A value stored in "
                    "the file takes precedence.",
                ),
                io.Combo.Input(
                    "attention_order",
                    options=list(ORDERS),
                    advanced=True,
                    tooltip="How the attention blocks lay out their heads, which the file does not tell. legacy in "
                    "all published classifiers; the attention pool always uses the new order.",
                ),
                io.Int.Input(
                    "image_size",
                    default=0,
                    min=0,
                    max=2048,
                    step=8,
                    advanced=True,
                    tooltip="Side in pixels that the classifier was trained at, 8 to 2048. Needed only where keys fit "
                    "two networks. 0: the value in the file, or unknown.",
                ),
            ],
            outputs=[
                ClassifierSocket.Output(
                    "classifier_out",
                    display_name="classifier",
                    tooltip="For Class Guidance and DiffSketching.",
                ),
                io.String.Output(
                    "names",
                    display_name="names",
                    tooltip="The classes, one per line, as number and name; only the number of classes if the file has "
                    "no names.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, classifier: str | None = None) -> bool | str:
        return is_there("noisy classifier", CLASSIFIERS, classifier, STARTER, STARTER_CLASSIFIER)

    @classmethod
    def fingerprint_inputs(cls, classifier: str | None = None, **_: Any) -> str:
        return model_state(CLASSIFIERS, classifier)

    @classmethod
    def execute(cls, classifier: str, num_head_channels: int, attention_order: str, image_size: int) -> io.NodeOutput:
        hints: dict[str, Any] = {
            "num_head_channels": num_head_channels,
            "use_new_attention_order": ORDERS[attention_order],
        }
        if image_size:
            hints["image_size"] = image_size
        found = load_classifier(classifier, hints)
        numbered = [f"{i} {name}" for i, name in enumerate(found.names)]
        return io.NodeOutput(found, "\n".join(numbered) or f"{found.classes} classes without names")


class SketchClassGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchClassGuidance",
            display_name="Class Guidance",
            category="sketch/diffsketching",
            description="Steers every step towards a class of a noisy classifier, as guided diffusion does. Chain it "
            "with the energies; works with any sampler.",
            search_aliases=[*PAPER, "class conditional", "noisy classifier"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Pixel priors: the classifier looks at the noisy state, exactly as published. Other "
                    "models: it looks at the decoded prediction, as at a clean picture.",
                ),
                ClassifierSocket.Input("classifier", tooltip="From Load Sketch Classifier."),
                io.Vae.Input("vae", optional=True, tooltip=VAE_TIP),
                io.String.Input("class_id", default="0", tooltip=CLASS_TIP),
                io.Float.Input("scale", default=1.0, min=0.0, max=1000.0, step=0.1, tooltip=SCALE_TIP),
                *when_inputs(),
                decoder_input(),
                limit_input(0.0),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with this guidance added.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        classifier: Classifier,
        class_id: str,
        scale: float,
        start: float,
        end: float,
        decoder: str,
        limit: float,
        vae: Any = None,
    ) -> io.NodeOutput:
        check_numbers(scale=scale, start=start, end=end, limit=limit)
        eye = decoders.choose(model, vae, decoder)
        return io.NodeOutput(attach(model, class_energy(classifier, class_id, scale, start, end, eye, limit)))


class SketchDiffSketching(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchDiffSketching",
            display_name="DiffSketching",
            category="sketch/diffsketching",
            description="A sketch and a class become an image: each prediction is drawn and compared with your sketch, "
            "a noisy classifier pulls it towards the class, and a reference photo lends its content. The parts are the "
            "paper's; its released code joins them to nothing, so the joining is ours.",
            search_aliases=[*PAPER, "cross domain", "sketch guidance", "PhotoSketch", "LPIPS"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Image.Input("sketch", tooltip=SKETCH_TIP),
                io.Vae.Input("vae", optional=True, tooltip=VAE_TIP),
                ExtractorSocket.Input("extractor", optional=True, tooltip=EXTRACTOR_TIP),
                FeaturesSocket.Input(
                    "perceptual",
                    optional=True,
                    tooltip="What compares the two drawings, from Load Sketch Features: LPIPS with AlexNet as "
                    "published, or a VGG. If not connected: the built-in network.",
                ),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="A photo whose content the picture should have, place by place. One, or one per image of "
                    "the batch. Without it reference_weight has no effect.",
                ),
                FeaturesSocket.Input(
                    "features",
                    optional=True,
                    tooltip="What compares picture and reference, from Load Sketch Features: ResNet-50 as published. "
                    "If not connected: the built-in network.",
                ),
                ClassifierSocket.Input(
                    "classifier",
                    optional=True,
                    tooltip="From Load Sketch Classifier. Without it class_id and class_scale have no effect.",
                ),
                io.String.Input("class_id", default="0", tooltip=CLASS_TIP),
                io.Float.Input("class_scale", default=4.0, min=0.0, max=1000.0, step=0.1, tooltip=SCALE_TIP),
                io.Float.Input(
                    "sketch_weight",
                    default=1.0,
                    min=0.0,
                    max=1000.0,
                    step=0.05,
                    tooltip="Strength of the sketch, 0 to 1000; 0 has no effect. The paper gives no value.",
                ),
                io.Float.Input(
                    "reference_weight",
                    default=0.1,
                    min=0.0,
                    max=1000.0,
                    step=0.05,
                    tooltip="Strength of the reference, 0 to 1000; 0 has no effect. The paper gives no value.",
                ),
                io.Combo.Input("gradient", options=list(GRADIENTS), tooltip=GRADIENT_TIP),
                *when_inputs(),
                decoder_input(),
                limit_input(),
                io.Combo.Input(
                    "metric",
                    options=[terms.L2, terms.LPIPS, terms.L1, terms.COSINE],
                    advanced=True,
                    tooltip="How the drawings are compared. l2 follows the lines best, at a sketch_weight of about 1. "
                    "lpips: as published; try 0.05. l1, cosine: as in Shape Energy.",
                ),
                inner_steps_input(INNER_STEPS_TIP),
                slope_every_input(SLOPE_EVERY_TIP),
            ],
            outputs=[
                io.Model.Output("patched", display_name="model", tooltip="The model with the three energies added.")
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        sketch: Tensor,
        class_id: str,
        class_scale: float,
        sketch_weight: float,
        reference_weight: float,
        gradient: str,
        start: float,
        end: float,
        decoder: str,
        limit: float,
        metric: str,
        vae: Any = None,
        extractor: Any = None,
        perceptual: Any = None,
        reference: Tensor | None = None,
        features: Any = None,
        classifier: Classifier | None = None,
        inner_steps: int = 1,
        slope_every: int = 1,
    ) -> io.NodeOutput:
        check_numbers(class_scale=class_scale, sketch_weight=sketch_weight, reference_weight=reference_weight)
        check_numbers(start=start, end=end, limit=limit)
        sketch = dark_on_light(as_rgb(sketch, "sketch"))
        reference = None if reference is None else as_rgb(reference, "reference")
        eye, point = decoders.choose(model, vae, decoder), GRADIENTS[gradient]
        for name, count in (("inner_steps", inner_steps), ("slope_every", slope_every)):
            if count > 1 and point == THROUGH:
                raise ValueError(f"{name} works with gradient '{PREDICTION}' only. Choose that, or set {name} to 1.")
        shared: dict[str, Any] = {"limit": limit, "inner_steps": inner_steps, "slope_every": slope_every}
        if classifier is not None and class_scale > 0:
            model = attach(model, class_energy(classifier, class_id, class_scale, start, end, eye, limit))
        if sketch_weight > 0:
            look = feature_network("perceptual", perceptual) if metric == terms.LPIPS else None
            opener = terms.shape(sketch, extractor or EDGES, metric, features=look)
            model = attach(model, Energy("sketch", sketch_weight, opener, start, end, eye, point, **shared))
        if reference is not None and reference_weight > 0:
            opener = terms.feature(reference, feature_network("features", features), terms.L1)
            model = attach(model, Energy("reference", reference_weight, opener, start, end, eye, point, **shared))
        return io.NodeOutput(model)


class SketchRespacedSteps(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchRespacedSteps",
            display_name="Respaced Steps",
            category="sketch/diffsketching",
            description="Guided diffusion's fewer steps: some levels of the model's own ladder, exactly as its "
            "timestep_respacing chooses them. DDIM is the sampler euler; ancestral steps are SDE Sampler's.",
            search_aliases=[*PAPER, "timestep_respacing", "ddim25", "DDIM", "scheduler", "sigmas"],
            inputs=[
                io.Model.Input("model", tooltip="A model with a ladder of levels: pixel priors, SD1.5, SDXL."),
                io.String.Input(
                    "respacing",
                    default="ddim25",
                    tooltip="ddim25: every 40th of 1000 levels. 250: as many, evenly spaced. 90,60,60,20,20: the "
                    "ladder in equal sections, low noise first, each with its number of levels. Empty: all levels.",
                ),
            ],
            outputs=[io.Sigmas.Output("sigmas", tooltip="The levels, highest first, and 0.")],
        )

    @classmethod
    def execute(cls, model: Any, respacing: str) -> io.NodeOutput:
        return io.NodeOutput(levels.respaced_walk(host.noise_family(model), respacing))


class SketchNoiseBlend(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchNoiseBlend",
            display_name="Noise Blend",
            category="sketch/diffsketching",
            description="A list of noises from one to another: SamplerCustomAdvanced then runs once for each, and the "
            "pictures change step by step from the first to the second.",
            search_aliases=[*PAPER, "interpolation", "slerp", "noise interpolation", "morph", "latent walk"],
            inputs=[
                io.Noise.Input("noise", tooltip="Where the list begins, as from RandomNoise."),
                io.Noise.Input("other_noise", tooltip="Where it leads: RandomNoise with another seed."),
                io.Int.Input(
                    "count",
                    default=8,
                    min=1,
                    max=64,
                    tooltip="Number of noises, 1 to 64; at most 12 on the published arc. 1: the one halfway.",
                ),
                io.Combo.Input(
                    "way",
                    options=[noises.SLERP, noises.ARC, noises.PUBLISHED],
                    tooltip="slerp: the rotation from one to the other, even steps. whole arc: cos and sin over a "
                    "quarter circle. published arc: steps of 0.14 of it, 8 of which end at 0.98 and never reach the "
                    "second noise.",
                ),
            ],
            outputs=[
                io.Noise.Output("noises", display_name="noise", is_output_list=True, tooltip="One NOISE per step."),
                io.String.Output("labels", is_output_list=True, tooltip="One label per step, such as: 0.25"),
            ],
        )

    @classmethod
    def execute(cls, noise: Any, other_noise: Any, count: int, way: str) -> io.NodeOutput:
        steps = noises.places(way, count)
        made = [noises.BlendedNoise(noise, other_noise, way, step) for step in steps]
        return io.NodeOutput(made, [f"{step:.2f}" for step in steps])


def class_energy(
    classifier: Classifier, class_id: str, scale: float, start: float, end: float, eye: decoders.Decoder, limit: float
) -> Energy:
    """Class guidance for a model that `eye` decodes: at the noisy state of pixel priors, through score arithmetic; at
    the decoded prediction of all others."""
    numbers = classifier.numbers(class_id)
    if eye is decoders.PIXELS:
        opener = terms.class_score(classifier, numbers)
        return Energy("class", scale, opener, start, end, eye, THROUGH, STATE, limit)
    opener = terms.class_score(classifier, numbers, noisy=False)
    return Energy("class", scale, opener, start, end, eye, DENOISED, NEXT, limit)


def dark_on_light(sketch: Tensor) -> Tensor:
    """The sketch [B,H,W,3]. ValueError: its mean is dark, so its lines are white on black."""
    dark = (sketch.mean((1, 2, 3)) < DARK).nonzero()
    if len(dark):
        raise ValueError(
            f"Sketch {int(dark[0]) + 1} is white on black: its mean is {float(sketch[dark[0]].mean()):.2f} of 1. Dark "
            "lines on white paper were expected. Connect Invert Image, or set invert in Load Sketch."
        )
    return sketch


def feature_network(what: str, features: Any) -> Features:
    """The connected feature network, or the built-in one. ValueError: a domain extractor."""
    found = features or load_features(STARTER)
    if isinstance(found, Domain) or found.published:
        raise ValueError(
            f"'{found.name}' at {what} is not fed with clean pictures as in its training. Load a feature network in "
            "Load Sketch Features, with feeding 'as trained'."
        )
    return found


# --- files ------------------------------------------------------------------------------------------------------------


def load_classifier(name: str, hints: dict[str, Any] | None = None) -> Classifier:
    """The noisy classifier behind one option of the loader. hints: see networks.build; what the file states takes
    precedence. ValueError: it holds something else."""
    path = starter_or_file("noisy classifier", CLASSIFIERS, name, STARTER, STARTER_CLASSIFIER)
    network: Any
    network, stated = read_network(path, ("classifier",), hints or {})
    names = stated.get("classes", [])
    if network.in_channels != 3:
        raise ValueError(
            f"A noisy classifier takes 3 colour channels; '{os.path.basename(path)}' takes {network.in_channels}. Load "
            "another file."
        )
    if names and len(names) != network.classes:
        raise ValueError(
            f"The metadata of '{os.path.basename(path)}' names {len(names)} classes, but the classifier has "
            f"{network.classes}. Correct that entry, or remove it."
        )
    call = Frozen(host.network_patcher(network), lambda net, x, t: net(x, t))
    size = {**(hints or {}), **stated}.get("image_size") or network.image_size or 0
    return Classifier(name, call, network.classes, tuple(names), size)


NODES = [SketchClassifierLoader, SketchClassGuidance, SketchDiffSketching, SketchRespacedSteps, SketchNoiseBlend]
