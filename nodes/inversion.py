"""Inversion-by-Inversion: a line drawing and an exemplar photo guide any sampler on any model.

A stage of the method is one ShapeInversion, plus any energies, feeding one SamplerCustom; the next takes its LATENT.
"""

from __future__ import annotations

from typing import Any

from comfy.samplers import KSAMPLER
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..guidance import decoders, terms
from ..guidance.energy import NEXT, POINTS, PUBLISHED, STATE, Energy, attach
from ..guidance.scaling import SCALES, check_dial
from ..pictures.extractors import EDGES
from ..pictures.features import Domain, Features, clip_vision_features
from ..pictures.fit import as_rgb
from ..samplers import levels, sde
from ..samplers.repeat import RepeatSampler
from .parts import search
from .parts.checks import check_numbers, latent_samples
from .parts.inputs import window_inputs
from .parts.sockets import ExtractorSocket, FeaturesSocket
from .sdedit import STEPS_TIP, T0_TIP, t0_input

PAPER = ["Inversion-by-Inversion", "sketch to image", "training-free guidance", "energy guidance"]
BLURS = ("both", "sample", "exemplar", "none")
AT_STATE = "published, at the state"

MODEL_TIP = "The model to sample with: pixel priors, SD1.5, SDXL, EDM and flow image models."
VAE_TIP = (
    "The model's VAE, or its TAESD, which is several times faster and needs far less memory. For pixel priors, the "
    "VAE from their loader."
)
SKETCH_TIP = "Dark lines on white paper. One image, or one per image of the batch; it is fitted to the working size."
EXTRACTOR_TIP = (
    "What draws the lines of the picture, from Load Sketch Extractor. If not connected: edges, which need no weights."
)
WEIGHT_TIP = (
    "0 to 100. 0 has no effect. Published: 0.1 to 0.6 for shape, 2 for colours. The effect does not depend "
    "on picture size."
)
METRIC_TIP = (
    "How the lines are compared. l2: squared differences, as published. l1: more tolerant of stray lines. cosine: "
    "only where ink is, not how dark. lpips needs features. 'cosine, published' is that of the released code and has "
    "no effect."
)
START_TIP = (
    "Fraction of the model's schedule at which the energy begins to act, 0 (pure noise) to 1. 0.6 is about t0 0.4 on "
    "pixel priors. Sampling from t0 covers only the part below t0."
)
END_TIP = (
    "Fraction of the schedule at which it stops acting, 0 to 1. Below 1, the last steps are free to paint fine detail."
)
DECODER_TIP = (
    "How a latent model's prediction is decoded. auto: the connected VAE, or the model's linear latent-to-RGB map "
    "where that is enough. linear needs no VAE and almost no time. vae, half size: half as wide and high, for about a "
    "quarter of the VAE's time and memory; fine lines count less. Pixel priors ignore it."
)
POINT_TIP = (
    "Where the energy is evaluated. denoised: at the model's prediction; works with every sampler. published: at a "
    "trial next sample, exactly as in the paper; for pixel priors with ddpm, euler_ancestral or SDE Sampler."
)
STATE_TIP = POINT_TIP + (
    " At the state: the same, but the colours of the noisy picture itself are compared, which is EGSDE's exact step."
)
LIMIT_TIP = (
    "Caps each shift at this fraction of the noise still in the picture, 0 to 10, so that strong weights or few steps "
    "cannot diverge. 0: no cap, as published."
)


SCALE_TIP = (
    "What weights mean. published: as in the papers; how strong one is depends on the energy and the model. auto: a "
    "dial from 0 to 1, the same for every model, size, decoder and energy; try 0.5. Works at point denoised."
)
INNER_STEPS_TIP = (
    "How often the slope is taken in each step, 1 to 20, each time where the last one led and with its share of the "
    "weight. 1: once, as published. 4 makes few steps (4 to 8) follow better and looks at the picture four times as "
    "often. Works at point denoised."
)
SLOPE_EVERY_TIP = (
    "A new slope at every so-many-th call of the model, 1 to 8; the calls between follow the last one. 1: always a new "
    "one, as published. Through a whole VAE, 4 costs a quarter and is almost as close in 20 steps and more. Works at "
    "point denoised."
)


def when_inputs() -> list[io.Input]:
    return window_inputs(START_TIP, END_TIP, advanced=True)


def decoder_input() -> Any:
    return io.Combo.Input("decoder", options=list(decoders.KINDS), tooltip=DECODER_TIP, advanced=True)


def _point(*more: str, tooltip: str = POINT_TIP) -> Any:
    return io.Combo.Input("point", options=[*POINTS, *more], tooltip=tooltip, advanced=True)


def limit_input(default: float = 1.0) -> Any:
    return io.Float.Input("limit", default=default, min=0.0, max=10.0, step=0.05, tooltip=LIMIT_TIP, advanced=True)


def scale_input() -> Any:
    return io.Combo.Input("scale", options=list(SCALES), optional=True, tooltip=SCALE_TIP)


def inner_steps_input(tooltip: str = INNER_STEPS_TIP) -> Any:
    return io.Int.Input("inner_steps", default=1, min=1, max=20, optional=True, advanced=True, tooltip=tooltip)


def slope_every_input(tooltip: str = SLOPE_EVERY_TIP) -> Any:
    return io.Int.Input("slope_every", default=1, min=1, max=8, optional=True, advanced=True, tooltip=tooltip)


def _metric() -> Any:
    return io.Combo.Input("metric", options=list(terms.SHAPE_METRICS), tooltip=METRIC_TIP)


class SketchShapeEnergy(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchShapeEnergy",
            display_name="Shape Energy",
            category="sketch/inversion",
            description="Pulls every step towards pictures whose line drawing is your sketch. Chain it with other "
            "energies; works with any sampler and scheduler.",
            search_aliases=[*PAPER, "sketch guidance", "line art guidance", "shape", *search.SKETCH],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Image.Input("sketch", tooltip=SKETCH_TIP),
                io.Vae.Input("vae", optional=True, tooltip=VAE_TIP),
                ExtractorSocket.Input("extractor", optional=True, tooltip=EXTRACTOR_TIP),
                FeaturesSocket.Input(
                    "features",
                    optional=True,
                    tooltip="Only for the lpips metric: a feature network from Load Sketch Features.",
                ),
                io.Float.Input("weight", default=0.5, min=0.0, max=100.0, step=0.05, tooltip=WEIGHT_TIP),
                _metric(),
                *when_inputs(),
                decoder_input(),
                _point(),
                io.Combo.Input(
                    "target",
                    options=list(terms.TARGETS),
                    advanced=True,
                    tooltip="Value range of the sketch in the comparison. The published range never matches the "
                    "extractor's 0 to 1: black lines pull twice as hard and never settle.",
                ),
                io.Boolean.Input(
                    "rescale",
                    default=True,
                    advanced=True,
                    tooltip="Maps the picture from -1..1 to the extractor's 0..1 first, as published. Off is an "
                    "ablation from the released code.",
                ),
                limit_input(),
                scale_input(),
                inner_steps_input(),
                slope_every_input(),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with this energy added.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        sketch: Tensor,
        weight: float,
        metric: str,
        start: float,
        end: float,
        decoder: str,
        point: str,
        target: str,
        rescale: bool,
        limit: float,
        vae: Any = None,
        extractor: Any = None,
        features: Any = None,
        scale: str = SCALES[0],
        inner_steps: int = 1,
        slope_every: int = 1,
    ) -> io.NodeOutput:
        check_numbers(weight=weight, start=start, end=end, limit=limit)
        sketch = as_rgb(sketch, "sketch")
        if metric == terms.LPIPS and not isinstance(features, Features):
            raise ValueError("The lpips metric needs a feature network. Connect Load Sketch Features to features.")
        opener = terms.shape(sketch, extractor or EDGES, metric, target=target, rescale=rescale, features=features)
        eye = decoders.choose(model, vae, decoder)
        shared = _scaling(scale, inner_steps, slope_every, weight=weight)
        return io.NodeOutput(
            attach(model, Energy("shape", weight, opener, start, end, eye, point, limit=limit, **shared))
        )


class AppearanceEnergyGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AppearanceEnergyGuidance",
            display_name="Appearance Energy",
            category="sketch/inversion",
            description="Pulls every step towards an exemplar photo: its colours on a coarse grid and, with a feature "
            "network, its materials. Chain it with Shape Energy.",
            search_aliases=[*PAPER, "colour transfer", "EGSDE", "ILVR", *search.STYLE],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Image.Input(
                    "exemplar",
                    tooltip="The photo whose look you want; its layout counts only as finely as grid. One image, or "
                    "one per image of the batch; it is cropped around its centre and resized to the working size.",
                ),
                io.Vae.Input("vae", optional=True, tooltip=VAE_TIP),
                FeaturesSocket.Input(
                    "features", optional=True, tooltip="From Load Sketch Features; used if feature_weight is above 0."
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="Any CLIP vision model, used if features is not connected."
                ),
                io.Float.Input("colour_weight", default=5.0, min=0.0, max=100.0, step=0.1, tooltip=WEIGHT_TIP),
                io.Int.Input(
                    "grid",
                    default=4,
                    min=1,
                    max=256,
                    tooltip="Number of cells along the shorter side on which colours are compared, 1 to 256. "
                    "Published: 4 (N = side / 4), the layout of the exemplar's colours. 1: only its mean colour.",
                ),
                io.Float.Input(
                    "feature_weight",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="0 to 1000. 0: off, and no network runs. Try 0.5 with style. At point published, the "
                    "released CLIP term has almost no effect at its own weight of 0.5.",
                ),
                io.Combo.Input(
                    "feature_metric",
                    options=list(terms.FEATURE_METRICS),
                    tooltip="style: mean and standard deviation of each channel over the whole picture. l2, l1, "
                    "cosine: position by position, which also copies the layout. Published: l2.",
                ),
                *when_inputs(),
                decoder_input(),
                _point(AT_STATE, tooltip=STATE_TIP),
                io.Combo.Input(
                    "blur",
                    options=list(BLURS),
                    advanced=True,
                    tooltip="Which side is reduced to the grid before comparing: both (published), only the sample, "
                    "only the exemplar, or none.",
                ),
                limit_input(),
                io.Combo.Input(
                    "colour_metric",
                    options=list(terms.COLOUR_METRICS),
                    optional=True,
                    advanced=True,
                    tooltip="How the colours are compared. l2: squared differences, as published. 'cosine, published' "
                    "is EGSDE's other form: only a colour's direction from grey counts. Needs a far larger weight.",
                ),
                scale_input(),
                inner_steps_input(),
                slope_every_input(),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with these energies added.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        exemplar: Tensor,
        colour_weight: float,
        grid: int,
        feature_weight: float,
        feature_metric: str,
        start: float,
        end: float,
        decoder: str,
        point: str,
        blur: str,
        limit: float,
        vae: Any = None,
        features: Any = None,
        clip_vision: Any = None,
        colour_metric: str = terms.L2,
        scale: str = SCALES[0],
        inner_steps: int = 1,
        slope_every: int = 1,
    ) -> io.NodeOutput:
        check_numbers(colour_weight=colour_weight, feature_weight=feature_weight, start=start, end=end, limit=limit)
        exemplar = as_rgb(exemplar, "exemplar")
        if feature_weight > 0 and features is None and clip_vision is None:
            raise ValueError(
                "feature_weight is above 0, but no feature network is connected. Connect Load Sketch Features or a "
                "CLIP vision model, or set feature_weight to 0."
            )
        weights = {"colour_weight": colour_weight, "feature_weight": feature_weight}
        shared = {"limit": limit, **_scaling(scale, inner_steps, slope_every, **weights)}
        colours_of = NEXT
        if point == AT_STATE:
            point, colours_of = PUBLISHED, STATE
        if colour_weight > 0:
            opener = terms.colour(exemplar, grid=grid, blur=blur, metric=colour_metric)
            eye = decoders.choose(model, vae, decoder, low_pass=blur == "both")
            pull = Energy("colour", colour_weight, opener, start, end, eye, point, colours_of, **shared)
            model = attach(model, pull)
        if feature_weight > 0:
            features = features or clip_vision_features("CLIP vision", clip_vision)
            if not isinstance(features, Features):
                raise ValueError(
                    f"'{features.name}' is a domain extractor, which only Domain Energy can use. Load a "
                    "feature network instead."
                )
            opener = terms.feature(exemplar, features, feature_metric)
            eye = decoders.choose(model, vae, decoder)
            looks_at = STATE if point == PUBLISHED else NEXT
            pull = Energy("features", feature_weight, opener, start, end, eye, point, looks_at, **shared)
            model = attach(model, pull)
        return io.NodeOutput(model)


class SketchDomainEnergy(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchDomainEnergy",
            display_name="Domain Energy (EGSDE)",
            category="sketch/inversion",
            description="Pushes away from what is typical of the source's domain, as judged by a noise-aware domain "
            "network (EGSDE). For pixel priors.",
            search_aliases=[*PAPER, "EGSDE", "domain specific extractor", "DSE"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="A pixel prior, from Load Pixel Prior: domain extractors work on noisy pixels."
                ),
                FeaturesSocket.Input("features", tooltip="A domain extractor (EGSDE's DSE) from Load Sketch Features."),
                io.Image.Input(
                    "source", tooltip="A picture of the domain to leave. One, or one per image of the batch."
                ),
                io.Float.Input(
                    "weight",
                    default=500.0,
                    min=0.0,
                    max=100000.0,
                    step=1.0,
                    tooltip="0 to 100000. EGSDE uses 500. 0 has no effect.",
                ),
                *when_inputs(),
                _point(),
                limit_input(),
                io.Combo.Input(
                    "metric",
                    options=list(terms.DOMAIN_METRICS),
                    optional=True,
                    advanced=True,
                    tooltip="How alike source and sample look to the extractor. cosine: as published. l2: EGSDE's "
                    "other form, squared differences, which needs a far smaller weight.",
                ),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with this energy added.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        features: Any,
        source: Tensor,
        weight: float,
        start: float,
        end: float,
        point: str,
        limit: float,
        metric: str = terms.COSINE,
    ) -> io.NodeOutput:
        check_numbers(weight=weight, start=start, end=end, limit=limit)
        source = as_rgb(source, "source")
        if not isinstance(features, Domain):
            raise ValueError(
                f"'{features.name}' is not a domain extractor. Domain Energy needs one that was trained on noisy "
                "pictures, such as EGSDE's. Load its file with Load Sketch Features."
            )
        if not host.is_pixels(model):
            raise ValueError(
                "Domain Energy works on pixel priors only, because domain extractors see noisy pixels. "
                "Use a model from Load Pixel Prior."
            )
        opener = terms.domain(source, features, metric)
        pull = Energy("domain", weight, opener, start, end, decoders.PIXELS, point, STATE, limit)
        return io.NodeOutput(attach(model, pull))


class ShapeInversion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ShapeInversion",
            display_name="Shape Inversion",
            category="sketch/inversion",
            description="One stage of Inversion-by-Inversion: the sketch (or the previous stage's result) is noised "
            "to t0 and denoised under a shape energy. Connect all outputs to one SamplerCustom; its LATENT starts the "
            "next stage.",
            search_aliases=[*PAPER, "line art to photo", "two stage", *search.SKETCH],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP + " Energies already on it stay."),
                io.Vae.Input("vae", tooltip=VAE_TIP),
                io.Image.Input("sketch", tooltip=SKETCH_TIP),
                ExtractorSocket.Input("extractor", optional=True, tooltip=EXTRACTOR_TIP),
                io.Sampler.Input(
                    "sampler",
                    optional=True,
                    tooltip="Any SAMPLER. If not connected: SDE Sampler, the published steps on every model.",
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="Where this stage starts: the LATENT of the previous stage. If not connected: the sketch "
                    "itself.",
                ),
                io.Float.Input("weight", default=0.5, min=0.0, max=100.0, step=0.05, tooltip=WEIGHT_TIP),
                _metric(),
                t0_input("t0", 0.4, T0_TIP),
                io.Int.Input("steps", default=40, min=0, max=1000, tooltip=STEPS_TIP),
                io.Int.Input(
                    "repeats",
                    default=1,
                    min=1,
                    max=10,
                    tooltip="How many times the stage runs, 1 to 10, each time from its own result. Published: 3, 2 "
                    "and 1 for the three stages.",
                ),
                *when_inputs(),
                decoder_input(),
                _point(),
                io.Combo.Input(
                    "target",
                    options=list(terms.TARGETS),
                    advanced=True,
                    tooltip="As in Shape Energy: the value range of the sketch in the comparison.",
                ),
                limit_input(),
                scale_input(),
                inner_steps_input(),
                slope_every_input(),
            ],
            outputs=[
                io.Model.Output("patched", display_name="model", tooltip="The model with the shape energy added."),
                io.Sampler.Output("stepper", display_name="sampler", tooltip="The sampler, with its repeats."),
                io.Sigmas.Output("sigmas", tooltip="Levels from t0 to 0."),
                io.Latent.Output(
                    "start_latent", display_name="latent", tooltip="Where the stage starts, not yet noised."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        sketch: Tensor,
        weight: float,
        metric: str,
        t0: float,
        steps: int,
        repeats: int,
        start: float,
        end: float,
        decoder: str,
        point: str,
        target: str,
        limit: float,
        extractor: Any = None,
        sampler: Any = None,
        latent: dict[str, Any] | None = None,
        scale: str = SCALES[0],
        inner_steps: int = 1,
        slope_every: int = 1,
    ) -> io.NodeOutput:
        check_numbers(weight=weight, t0=t0, start=start, end=end, limit=limit)
        sketch = as_rgb(sketch, "sketch")
        if metric == terms.LPIPS:
            raise ValueError(
                "Shape Inversion has no features input for the lpips metric. Put Shape Energy with lpips "
                "before this node and set weight to 0 here, or choose another metric."
            )
        opener = terms.shape(sketch, extractor or EDGES, metric, target=target)
        shared = {"limit": limit, **_scaling(scale, inner_steps, slope_every, weight=weight)}
        pull = Energy("shape", weight, opener, start, end, decoders.choose(model, vae, decoder), point, **shared)
        stepper = sampler or KSAMPLER(sde.sample_sde)
        family = host.noise_family(model)
        walk = levels.walk(family, levels.start_sigma(family, t0)[0], steps)
        begin = {"samples": host.encode(model, vae, sketch, "sketch")} if latent is None else latent
        latent_samples(model, begin)
        return io.NodeOutput(
            attach(model, pull), RepeatSampler(stepper, repeats) if repeats > 1 else stepper, walk, begin
        )


def _scaling(scale: str, inner_steps: int, slope_every: int, **weights: float) -> dict[str, Any]:
    """The arguments of Energy that say how its weights work. ValueError: scale is auto, and a weight is no dial."""
    return {"auto": check_dial(scale, **weights), "inner_steps": inner_steps, "slope_every": slope_every}


NODES = [ShapeInversion, AppearanceEnergyGuidance, SketchShapeEnergy, SketchDomainEnergy]
