"""GradOP's door: a painting corrects a prompt's picture while it is sampled."""

from __future__ import annotations

import logging
from typing import Any

from comfy.samplers import ksampler
from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.painters import PAINTERS, Painter
from ..samplers import canvas, gradop


class GradOpSolve(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GradOpSolve",
            display_name="GradOP Solve",
            category="sketch/gradop",
            description="A SAMPLER for SamplerCustom that paints the prompt's own picture in the colours and places of "
            "your strokes. Start it from pure noise: an empty latent and the full schedule.",
            search_aliases=["GradOP", "GradOP+", "stroke to image", "guided image synthesis", "domain shift", "SDEdit"],
            inputs=[
                io.Vae.Input("vae", tooltip="The model's own VAE."),
                io.Image.Input(
                    "painting",
                    tooltip="Flat strokes or colour areas. One, or one for each picture of the batch. Any size: the "
                    "middle is fitted to the latent's shape.",
                ),
                io.Sampler.Input(
                    "sampler",
                    optional=True,
                    tooltip="How the walk steps, any SAMPLER. Left open: euler, which with cfg 7.5 and 50 steps of "
                    "ddim_uniform is what was published. It begins anew after each round.",
                ),
                io.Vae.Input(
                    "fast_vae",
                    optional=True,
                    tooltip="The model's TAESD, from Load VAE: gradient steps are then several times faster.",
                ),
                io.Combo.Input(
                    "variant",
                    options=list(canvas.VARIANTS),
                    tooltip="What the gradient steps move. The predicted image: what the model expects to paint. "
                    "GradOP+ (as released): the noisy state, taken for a clean latent. GradOP: a finished picture, "
                    "which is then noised to strength and painted again.",
                ),
                io.Float.Input(
                    "strength",
                    default=0.8,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="When the rounds begin: 0.8 (published) after a fifth of the steps. 0.01 to 1; lower is "
                    "later: closer to the painting, less free. GradOP: how much of the walk is done again.",
                ),
                io.Int.Input(
                    "rounds",
                    default=3,
                    min=0,
                    max=50,
                    tooltip="After how many steps in a row the painting corrects the walk, 0 to 50. Published: 3; "
                    "advised: 2 to 5, more is closer to the painting. 0: the plain sampler. GradOP has one.",
                ),
                io.Int.Input(
                    "gradient_steps",
                    default=12,
                    min=0,
                    max=500,
                    tooltip="Gradient steps of each round, 0 to 500. Published: 12; advised: 8 to 16. GradOP: 50. 0: "
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
                    tooltip="Length of a gradient step (Adam), 0.001 to 1. Published: 0.1: a round of 12 moves a "
                    "latent value by 1.2 at most.",
                ),
                io.Combo.Input(
                    "painter",
                    options=list(PAINTERS),
                    tooltip="How the picture is painted over before it is compared. gaussian: blurred (published); "
                    "only broad colours count. median + palette: flat strokes, slower. none: pixel by pixel.",
                ),
                io.Float.Input(
                    "painter_size",
                    default=0.0,
                    min=0.0,
                    max=200.0,
                    step=0.5,
                    tooltip="gaussian: sigma in pixels, 0 to 200; 0: 7 at 512x512, as published, in proportion at "
                    "other sizes, but 7/8 of a latent pixel or more. median: filter in pixels of a 256x256 picture; "
                    "0: 23.",
                ),
                io.Combo.Input(
                    "decoder",
                    options=list(canvas.DECODERS),
                    tooltip="Through what gradient steps see the latent. vae: exact, as published, and most of the "
                    "cost. fast vae: the connected TAESD. linear: the model's colour map, next to no cost. linear, "
                    "then vae: the last third exact. auto: the fast VAE if connected; linear for the gaussian painter, "
                    "unless as released; else both.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.001,
                    min=0.0,
                    max=10.0,
                    step=0.001,
                    round=0.0001,
                    advanced=True,
                    tooltip="GradOP only: how strongly the first picture is held, 0 to 10. Published: 0.001.",
                ),
                io.Int.Input(
                    "colours",
                    default=6,
                    min=2,
                    max=256,
                    advanced=True,
                    tooltip="median + palette only: colours of the palette, 2 to 256.",
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
