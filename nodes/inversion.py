"""Inversion-by-Inversion's doors: a line drawing and an exemplar photo guide any sampler of any model.

A stage of the method is one ShapeInversion, plus any energies, in front of a SamplerCustom; the next takes its LATENT.
"""

from __future__ import annotations

from typing import Any

from comfy.samplers import KSAMPLER
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..guidance import decoders, terms
from ..guidance.energy import NEXT, POINTS, PUBLISHED, STATE, Energy, attach
from ..pictures.extractors import EDGES
from ..pictures.features import Domain, Features, clip_vision_features
from ..samplers import levels, sde
from ..samplers.repeat import RepeatSampler
from .extractors import ExtractorSocket, FeaturesSocket
from .sdedit import STEPS_TIP, T0_TIP

PAPER = ["Inversion-by-Inversion", "sketch to image", "training-free guidance", "energy guidance"]
BLURS = ("both", "sample", "exemplar", "none")

MODEL_TIP = "The model that will paint: pixel priors, SD1.5, SDXL, EDM and flow image models."
VAE_TIP = (
    "The model's VAE, or its TAESD, which is several times faster and needs far less memory. Pixel priors: theirs."
)
SKETCH_TIP = "Dark lines on white paper. One, or one for each picture of the batch; fitted to the working size."
EXTRACTOR_TIP = (
    "What draws lines from the picture, from Load Sketch Extractor. Left open: edges, which need no weights."
)
WEIGHT_TIP = "0 to 100. 0 changes nothing. Published: .1 to .6 for the shape, 2 for the colours, at every picture size."
METRIC_TIP = (
    "How the lines are compared. l2: squared differences, as published. l1: gentler on stray lines. cosine: only where "
    "ink is, not how dark. lpips needs features. 'cosine, published' is the release's own, and has no effect."
)
START_TIP = (
    "From which share of the model's schedule on it pulls, 0 to 1. 0 is pure noise, 0.6 about t0 0.4 on pixel priors; "
    "a walk from t0 sees only what lies below it."
)
END_TIP = "Until which share of the schedule it pulls, 0 to 1. Below 1 the last steps are free to paint fine detail."
DECODER_TIP = (
    "How a latent model's prediction becomes a picture. auto: the VAE that is connected, or the model's linear colour "
    "map where that is enough. linear needs no VAE and next to no time. Pixel priors ignore it."
)
POINT_TIP = (
    "denoised: asked of the model's prediction, works with every sampler. published: asked of a trial next sample, "
    "exactly as in the paper, for pixel priors with ddpm, euler_ancestral or SketchSDESampler."
)
LIMIT_TIP = (
    "Caps the pull at this share of the noise still in the picture, 0 to 10: strong pulls and few steps then cannot "
    "run away. 0: no cap, as published."
)


def _window() -> list:
    return [
        io.Float.Input("start", default=0.0, min=0.0, max=1.0, step=0.01, tooltip=START_TIP, advanced=True),
        io.Float.Input("end", default=1.0, min=0.0, max=1.0, step=0.01, tooltip=END_TIP, advanced=True),
    ]


def _decoder() -> Any:
    return io.Combo.Input("decoder", options=list(decoders.KINDS), tooltip=DECODER_TIP, advanced=True)


def _point() -> Any:
    return io.Combo.Input("point", options=list(POINTS), tooltip=POINT_TIP, advanced=True)


def _limit() -> Any:
    return io.Float.Input("limit", default=1.0, min=0.0, max=10.0, step=0.05, tooltip=LIMIT_TIP, advanced=True)


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
            "energies; any sampler and scheduler follows.",
            search_aliases=[*PAPER, "sketch guidance", "line art guidance", "shape"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Image.Input("sketch", tooltip=SKETCH_TIP),
                io.Vae.Input("vae", optional=True, tooltip=VAE_TIP),
                ExtractorSocket.Input("extractor", optional=True, tooltip=EXTRACTOR_TIP),
                FeaturesSocket.Input("features", optional=True, tooltip="Only for the metric lpips."),
                io.Float.Input("weight", default=0.5, min=0.0, max=100.0, step=0.05, tooltip=WEIGHT_TIP),
                _metric(),
                *_window(),
                _decoder(),
                _point(),
                io.Combo.Input(
                    "target",
                    options=list(terms.TARGETS),
                    advanced=True,
                    tooltip="Range of the sketch in the comparison. The published one never meets the extractor's "
                    "0 to 1: black lines pull twice as hard and never come to rest.",
                ),
                io.Boolean.Input(
                    "rescale",
                    default=True,
                    advanced=True,
                    tooltip="Maps the picture from -1..1 to the extractor's 0..1 first, as published. Off is an "
                    "ablation of the release.",
                ),
                _limit(),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with this pull added.")],
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
    ) -> io.NodeOutput:
        if metric == terms.LPIPS and not isinstance(features, Features):
            raise ValueError(
                "The metric lpips compares in a feature network: connect Load Sketch Features to features."
            )
        opener = terms.shape(sketch, extractor or EDGES, metric, target=target, rescale=rescale, features=features)
        eye = decoders.choose(model, vae, decoder)
        pull = Energy("shape", weight, opener, start, end, eye, point, limit=limit)
        return io.NodeOutput(attach(model, pull))


class AppearanceEnergyGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AppearanceEnergyGuidance",
            display_name="Appearance Energy",
            category="sketch/inversion",
            description="Pulls every step towards an exemplar photo: its colours on a coarse grid, and, with a feature "
            "network, its materials. Chain it with Shape Energy.",
            search_aliases=[*PAPER, "exemplar", "colour transfer", "style reference", "EGSDE", "ILVR"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Image.Input(
                    "exemplar",
                    tooltip="The photo whose look is wanted; its layout counts as coarsely as the grid. One, or one "
                    "for each picture of the batch; fitted to the working size, the middle cut out.",
                ),
                io.Vae.Input("vae", optional=True, tooltip=VAE_TIP),
                FeaturesSocket.Input(
                    "features", optional=True, tooltip="From Load Sketch Features, for feature_weight."
                ),
                io.ClipVision.Input("clip_vision", optional=True, tooltip="Any CLIP vision model instead of features."),
                io.Float.Input("colour_weight", default=5.0, min=0.0, max=100.0, step=0.1, tooltip=WEIGHT_TIP),
                io.Int.Input(
                    "grid",
                    default=4,
                    min=1,
                    max=256,
                    tooltip="Cells along the shorter side on which colours are compared, 1 to 256. 4 as published "
                    "(N = side / 4): the layout of the exemplar's colours. 1: only its mean colour.",
                ),
                io.Float.Input(
                    "feature_weight",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="0 to 1000; 0: off, and no network is run. Try 0.5 with style. At the published point the "
                    "release's CLIP term hardly moves anything at its own weight of 0.5.",
                ),
                io.Combo.Input(
                    "feature_metric",
                    options=list(terms.FEATURE_METRICS),
                    tooltip="style: mean and spread of each channel, wherever in the picture. l2, l1, cosine: place by "
                    "place, which also copies the layout (the published choice is l2).",
                ),
                *_window(),
                _decoder(),
                _point(),
                io.Combo.Input(
                    "blur",
                    options=list(BLURS),
                    advanced=True,
                    tooltip="Which of the two is reduced to the grid before comparing: both as published, the sample "
                    "only, the exemplar only, or none.",
                ),
                _limit(),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with these pulls added.")],
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
    ) -> io.NodeOutput:
        if feature_weight > 0 and features is None and clip_vision is None:
            raise ValueError(
                "feature_weight needs something to see with: connect Load Sketch Features or a CLIP vision model, or "
                "set feature_weight to 0."
            )
        if colour_weight > 0:
            opener = terms.colour(exemplar, grid=grid, blur=blur)
            eye = decoders.choose(model, vae, decoder, low_pass=blur == "both")
            model = attach(model, Energy("colour", colour_weight, opener, start, end, eye, point, limit=limit))
        if feature_weight > 0:
            features = features or clip_vision_features("CLIP vision", clip_vision)
            if not isinstance(features, Features):
                raise ValueError(f"'{features.name}' is a domain extractor, for Domain Energy; load a feature network.")
            opener = terms.feature(exemplar, features, feature_metric)
            eye = decoders.choose(model, vae, decoder)
            looks_at = STATE if point == PUBLISHED else NEXT
            pull = Energy("features", feature_weight, opener, start, end, eye, point, looks_at, limit)
            model = attach(model, pull)
        return io.NodeOutput(model)


class SketchDomainEnergy(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchDomainEnergy",
            display_name="Domain Energy (EGSDE)",
            category="sketch/inversion",
            description="Pulls away from what is typical of the source's domain, seen by a noise-aware domain network "
            "(EGSDE). For pixel priors.",
            search_aliases=[*PAPER, "EGSDE", "domain specific extractor", "DSE"],
            inputs=[
                io.Model.Input("model", tooltip="A pixel prior: domain extractors see noisy pixels."),
                FeaturesSocket.Input("features", tooltip="A domain extractor (EGSDE's DSE) from Load Sketch Features."),
                io.Image.Input(
                    "source", tooltip="The picture whose domain is to be left. One, or one for each picture."
                ),
                io.Float.Input(
                    "weight", default=500.0, min=0.0, max=100000.0, step=1.0, tooltip="0 to 100000. EGSDE takes 500."
                ),
                *_window(),
                _point(),
                _limit(),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with this pull added.")],
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
    ) -> io.NodeOutput:
        if not isinstance(features, Domain):
            raise ValueError(
                f"'{features.name}' is no domain extractor: a domain energy needs one that knows noise levels, such as "
                "EGSDE's. Load its file with Load Sketch Features."
            )
        if decoders.choose(model, None, "linear") is not decoders.PIXELS:
            raise ValueError("A domain extractor sees noisy pixels, so the domain energy works on pixel priors only.")
        opener = terms.domain(source, features)
        pull = Energy("domain", weight, opener, start, end, decoders.PIXELS, point, STATE, limit)
        return io.NodeOutput(attach(model, pull))


class ShapeInversion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ShapeInversion",
            display_name="Shape Inversion",
            category="sketch/inversion",
            description="One stage of Inversion-by-Inversion: the sketch (or the stage before) is noised to t0 and "
            "walked back under a shape energy. Connect everything to one SamplerCustom; its LATENT begins the next.",
            search_aliases=[*PAPER, "line art to photo", "two stage"],
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP + " Other energies may be on it already."),
                io.Vae.Input("vae", tooltip=VAE_TIP),
                io.Image.Input("sketch", tooltip=SKETCH_TIP),
                ExtractorSocket.Input("extractor", optional=True, tooltip=EXTRACTOR_TIP),
                io.Sampler.Input(
                    "sampler", optional=True, tooltip="Left open: SketchSDESampler, the published steps on every model."
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="Where this stage begins: the LATENT of the stage before. Left open: the sketch itself.",
                ),
                io.Float.Input("weight", default=0.5, min=0.0, max=100.0, step=0.05, tooltip=WEIGHT_TIP),
                _metric(),
                io.Float.Input("t0", default=0.4, min=0.01, max=1.0, step=0.01, tooltip=T0_TIP),
                io.Int.Input("steps", default=40, min=0, max=1000, tooltip=STEPS_TIP),
                io.Int.Input(
                    "repeats",
                    default=1,
                    min=1,
                    max=10,
                    tooltip="How often the stage is walked, 1 to 10, each from its own result (published: 3, 2, 1).",
                ),
                *_window(),
                _decoder(),
                _point(),
                io.Combo.Input("target", options=list(terms.TARGETS), advanced=True, tooltip="As on Shape Energy."),
                _limit(),
            ],
            outputs=[
                io.Model.Output("patched", display_name="model", tooltip="The model under the shape energy."),
                io.Sampler.Output("stepper", display_name="sampler", tooltip="The sampler, repeated."),
                io.Sigmas.Output("sigmas", tooltip="Levels from t0 to 0."),
                io.Latent.Output(
                    "start_latent", display_name="latent", tooltip="Where the stage begins, not yet noised."
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
    ) -> io.NodeOutput:
        if metric == terms.LPIPS:
            raise ValueError("The metric lpips needs features: use Shape Energy in front, and weight 0 here.")
        opener = terms.shape(sketch, extractor or EDGES, metric, target=target)
        pull = Energy("shape", weight, opener, start, end, decoders.choose(model, vae, decoder), point, limit=limit)
        stepper = sampler or KSAMPLER(sde.sample_sde)
        family = host.noise_family(model)
        walk = levels.walk(family, levels.start_sigma(family, t0)[0], steps)
        begin = latent or {"samples": vae.encode(sketch[..., :3])}
        return io.NodeOutput(
            attach(model, pull), RepeatSampler(stepper, repeats) if repeats > 1 else stepper, walk, begin
        )


NODES = [ShapeInversion, AppearanceEnergyGuidance, SketchShapeEnergy, SketchDomainEnergy]
