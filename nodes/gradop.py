"""The GradOP node: during sampling, a painting corrects what the prompt produces."""

from __future__ import annotations

import logging
from typing import Any

from comfy.samplers import ksampler
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.fit import as_rgb
from ..pictures.painters import PAINTERS, Painter
from ..samplers import canvas, gradop
from .parts import search
from .parts.checks import check_numbers


class GradOpSolve(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GradOpSolve",
            display_name="GradOP Solve",
            category="sketch/gradop",
            description="A SAMPLER for SamplerCustom that paints what the prompt describes, with the colours and "
            "layout of your strokes. Start from pure noise: an empty latent and the full schedule.",
            search_aliases=[
                *("GradOP", "GradOP+", "stroke to image", "guided image synthesis", "domain shift", "SDEdit"),
                *(*search.STROKES, *search.IMG2IMG),
            ],
            inputs=[
                io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
                io.Image.Input(
                    "painting",
                    tooltip="Flat strokes or areas of colour. One image, or one per image of the batch. Any size: it "
                    "is cropped around its centre to the latent's shape and resized.",
                ),
                io.Sampler.Input(
                    "sampler",
                    optional=True,
                    tooltip="Any SAMPLER. If not connected: euler, as published (with cfg 7.5 and 50 steps of "
                    "ddim_uniform). It restarts after each round.",
                ),
                io.Vae.Input(
                    "fast_vae",
                    optional=True,
                    tooltip="The model's TAESD, from Load VAE. It makes gradient steps several times faster.",
                ),
                io.Combo.Input(
                    "variant",
                    options=list(canvas.VARIANTS),
                    tooltip="What the gradient steps change. The predicted image: the model's current prediction. "
                    "GradOP+ (as released): the noisy state, treated as a clean latent. GradOP: a finished picture, "
                    "which is then noised to strength and sampled again.",
                ),
                io.Float.Input(
                    "strength",
                    default=0.8,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="When the rounds begin, 0.01 to 1. Published: 0.8, after a fifth of the steps. Lower "
                    "begins later and stays closer to the painting. GradOP: the fraction of the steps that is "
                    "repeated.",
                ),
                io.Int.Input(
                    "rounds",
                    default=3,
                    min=0,
                    max=50,
                    tooltip="How many consecutive steps are followed by a correction, 0 to 50. Published: 3. "
                    "Recommended: 2 to 5; more is closer to the painting. 0: the plain sampler. GradOP always uses "
                    "one.",
                ),
                io.Int.Input(
                    "gradient_steps",
                    default=12,
                    min=0,
                    max=500,
                    tooltip="Gradient steps per round, 0 to 500. Published: 12. Recommended: 8 to 16; GradOP: 50. 0: "
                    "the plain sampler.",
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.1,
                    min=0.001,
                    max=1.0,
                    step=0.005,
                    round=0.001,
                    advanced=True,
                    tooltip="Learning rate of the gradient steps (Adam), 0.001 to 1. Published: 0.1, so that a round "
                    "of 12 changes a latent value by about 1.2 at most.",
                ),
                io.Combo.Input(
                    "painter",
                    options=list(PAINTERS),
                    tooltip="How the picture is simplified before it is compared with the painting. gaussian: blurred "
                    "(published), so only broad colours count. median + palette: flat strokes, slower. none: pixel by "
                    "pixel.",
                ),
                io.Float.Input(
                    "painter_size",
                    default=0.0,
                    min=0.0,
                    max=200.0,
                    step=0.5,
                    advanced=True,
                    tooltip="0 to 200. gaussian: sigma in pixels; 0 means 7 at 512x512, as published, scaled to other "
                    "sizes, but never below 7/8 of a latent pixel. median: filter size in pixels of a 256x256 "
                    "picture; 0 means 23.",
                ),
                io.Combo.Input(
                    "decoder",
                    options=list(canvas.DECODERS),
                    advanced=True,
                    tooltip="How gradient steps decode the latent. vae: exact, as published, and most of the cost. "
                    "fast vae: the connected TAESD. linear: the model's latent-to-RGB map, almost free. linear, then "
                    "vae: exact for the last third. auto: the fast VAE if connected; else linear for the gaussian "
                    "painter, except for GradOP+ (as released); else linear, then vae.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.001,
                    min=0.0,
                    max=10.0,
                    step=0.001,
                    round=0.0001,
                    advanced=True,
                    tooltip="GradOP only: how strongly the result is kept close to the first picture, 0 to 10. "
                    "Published: 0.001.",
                ),
                io.Int.Input(
                    "colours",
                    default=6,
                    min=2,
                    max=256,
                    advanced=True,
                    tooltip="median + palette only: number of colours in the palette, 2 to 256.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    "solver",
                    display_name="sampler",
                    tooltip="For SamplerCustom with an empty latent, add_noise on and a full schedule.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        vae: Any,
        painting: Tensor,
        variant: str,
        strength: float,
        rounds: int,
        gradient_steps: int,
        learning_rate: float,
        painter: str,
        painter_size: float,
        decoder: str,
        gamma: float,
        colours: int,
        sampler: Any = None,
        fast_vae: Any = None,
    ) -> io.NodeOutput:
        check_numbers(strength=strength, learning_rate=learning_rate, painter_size=painter_size, gamma=gamma)
        painting = as_rgb(painting, "painting")
        node_id = cls.hidden and cls.hidden.unique_id

        def tell(text: str) -> None:
            logging.info(f"GradOP: {text}")
            host.say_on_node(node_id, text)

        task = canvas.Task(
            vae,
            painting,
            fast_vae,
            variant,
            strength,
            rounds,
            gradient_steps,
            learning_rate,
            Painter(painter, painter_size, colours),
            decoder,
            gamma,
        )
        return io.NodeOutput(gradop.GradOpSampler(sampler or ksampler("euler"), task, tell=tell))


NODES = [GradOpSolve]
