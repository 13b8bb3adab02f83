"""Pixel-space priors (ADM and DDPM checkpoints) as MODEL and VAE, and the class label of those that have classes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from comfy_api.latest import io

from .. import files, host, networks
from ..networks.schedules import SCHEDULES
from .parts.folders import model_state
from .parts.model_files import WEIGHTS, is_there, read_role, starter_or_file

FOLDER = "sketch_priors"
STARTER = "starter landscapes (built in)"
STARTER_FILE = WEIGHTS / "prior.safetensors"
ORDERS = {"legacy": False, "new": True}
PRECISIONS = {"auto": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LADDER = ("noise_schedule", "diffusion_steps", "rescale_timesteps", "clip_denoised")  # see host.PixelPrior
SIDES = {4: 64, 5: 128, 6: 256, 7: 512}  # guided diffusion's own table: how many levels a network for this side has

host.register_model_folder(FOLDER)


class SketchPriorLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPriorLoader",
            display_name="Load Pixel Prior",
            category="sketch/loaders",
            description="Loads a diffusion model that works on pixels (guided diffusion/ADM or DDPM), or the small "
            "built-in one, as MODEL and VAE for any sampler. Use cfg 1, and Pixel Prior Label as positive and "
            "negative.",
            search_aliases=[
                "SDEdit",
                "ADM",
                "guided diffusion",
                "DDPM",
                "DDIM",
                "pixel diffusion",
                "unconditional",
                "prior",
            ],
            inputs=[
                io.Combo.Input(
                    "prior",
                    options=[STARTER, *host.model_files(FOLDER)],
                    tooltip="The built-in landscapes, or a file in models/sketch_priors (.safetensors, .sft, .pt, "
                    ".pth, .ckpt) with ADM or DDPM weights of 3 colour channels.",
                ),
                io.Int.Input(
                    "num_head_channels",
                    default=64,
                    min=0,
                    max=512,
                    advanced=True,
                    tooltip="Channels per attention head of an ADM network, 0 to 512; 64 in nearly all published "
                    "ones. 0: num_heads decides. A value stored in the file takes precedence.",
                ),
                io.Int.Input(
                    "num_heads",
                    default=4,
                    min=1,
                    max=64,
                    advanced=True,
                    tooltip="Number of attention heads of an ADM network, 1 to 64; used only if num_head_channels is "
                    "0.",
                ),
                io.Combo.Input(
                    "attention_order",
                    options=list(ORDERS),
                    advanced=True,
                    tooltip="How an ADM network lays out its heads, which the file does not tell. new: for networks "
                    "trained with use_new_attention_order. If pictures come out garbled, try the other one.",
                ),
                io.Int.Input(
                    "image_size",
                    default=0,
                    min=0,
                    max=2048,
                    step=8,
                    advanced=True,
                    tooltip="Side in pixels that the network was trained at, 8 to 2048; only sets the size output. 0: "
                    "the value in the file, or the usual one for its number of levels. The network itself runs at any "
                    "size.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    advanced=True,
                    tooltip="Data type of the weights. auto: ComfyUI's choice for this machine (float16 on most "
                    "GPUs). float32 reproduces published numbers exactly.",
                ),
                io.Combo.Input(
                    "noise_schedule",
                    options=list(SCHEDULES),
                    optional=True,
                    advanced=True,
                    tooltip="The noise schedule that the network was trained with. linear for nearly all published "
                    "ones; cosine for some of improved diffusion. A value stored in the file takes precedence.",
                ),
                io.Int.Input(
                    "diffusion_steps",
                    default=1000,
                    min=21,
                    max=10000,
                    optional=True,
                    advanced=True,
                    tooltip="Number of noise levels it was trained with, 21 to 10000; 1000 in nearly all published "
                    "ones. A value stored in the file takes precedence.",
                ),
                io.Boolean.Input(
                    "rescale_timesteps",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="On: the network was trained with times that run to 1000 whatever diffusion_steps is. A "
                    "value stored in the file takes precedence.",
                ),
                io.Boolean.Input(
                    "clip_denoised",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="On: every prediction is cut to the range of pictures before the energies look at it, as "
                    "in guided diffusion's own sampling. Needed for its exact numbers.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="For any sampler, at cfg 1; works on pixels."),
                io.Vae.Output(
                    "vae", display_name="vae", tooltip="Converts IMAGE to this model's LATENT and back, without loss."
                ),
                io.Int.Output(
                    "size", display_name="size", tooltip="Side of the pictures the network was trained on, in pixels."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, prior: str | None = None) -> bool | str:
        return is_there("pixel prior", FOLDER, prior, STARTER, STARTER_FILE)

    @classmethod
    def fingerprint_inputs(cls, prior: str | None = None, **_: Any) -> str:
        return model_state(FOLDER, prior)

    @classmethod
    def execute(
        cls,
        prior: str,
        num_head_channels: int,
        num_heads: int,
        attention_order: str,
        image_size: int,
        precision: str,
        noise_schedule: str = SCHEDULES[0],
        diffusion_steps: int = 1000,
        rescale_timesteps: bool = False,
        clip_denoised: bool = False,
    ) -> io.NodeOutput:
        settings = {
            "num_head_channels": num_head_channels,
            "num_heads": num_heads,
            "use_new_attention_order": ORDERS[attention_order],
            "noise_schedule": noise_schedule,
            "diffusion_steps": diffusion_steps,
            "rescale_timesteps": rescale_timesteps,
            "clip_denoised": clip_denoised,
        }
        model, size = load_prior(prior_file(prior), settings, precision)
        return io.NodeOutput(model, host.pixel_vae(), image_size or size)


class SketchPriorLabel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPriorLabel",
            display_name="Pixel Prior Label",
            category="sketch/loaders",
            description="The CONDITIONING for a pixel prior, which has no text encoder: empty, or a class number for "
            "priors that were trained with classes. Connect it to positive and negative.",
            search_aliases=["SDEdit", "ADM", "class label", "class id", "empty conditioning", "ImageNet class"],
            inputs=[
                io.Int.Input(
                    "class_id",
                    default=-1,
                    min=-1,
                    max=99999,
                    tooltip="-1 to 99999. -1: no class, for most priors. For a prior with classes: 0 up to its number "
                    "of classes minus one; the sampler reports the range if the number does not fit.",
                ),
                io.String.Input(
                    "per_image",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Class numbers of 0 to 99999 with commas between them, one for each image of the batch, "
                    "instead of class_id. Empty: all get class_id.",
                ),
            ],
            outputs=[
                io.Conditioning.Output("conditioning", tooltip="For positive and negative of any sampler or guider.")
            ],
        )

    @classmethod
    def execute(cls, class_id: int, per_image: str = "") -> io.NodeOutput:
        label: dict[str, Any] = {host.CLASS_KEY: class_id} if class_id >= 0 else {}
        if per_image.strip():
            parts = [part.strip() for part in per_image.split(",")]
            if not all(part.isdecimal() for part in parts):
                raise ValueError(
                    f"per_image must be whole numbers with commas between them, got {files.quote(per_image)}. Try 3, 7."
                )
            label = {host.CLASS_KEY: [int(part) for part in parts]}
        return io.NodeOutput(
            [[torch.zeros(1, 1, 1), label]]
        )  # zeros, not None: nodes such as ConditioningZeroOut compute


def prior_file(name: str) -> str:
    """The path behind one option of the loader."""
    return starter_or_file("pixel prior", FOLDER, name, STARTER, STARTER_FILE)


def load_prior(
    path: str, settings: Mapping[str, Any], precision: str = "auto", disable_dynamic: bool = False
) -> tuple[Any, int]:
    """(MODEL, side it was trained at) from a checkpoint file.

    settings: hints for networks.build, and LADDER; values stored in the file take precedence. The host calls this for
    copies too.
    ValueError: not a pixel prior, or an unsupported variant.
    """
    weights, stated = read_role(path, ("prior",))
    network: Any = networks.build(
        weights, **{**settings, **stated}, **host.pixel_settings(weights, PRECISIONS[precision])
    )
    if network.in_channels != 3 or network.out_channels not in (3, 6):
        raise ValueError(
            f"A pixel prior has 3 input channels and 3 or 6 output channels; {files.quote(os.path.basename(path))} has "
            f"{network.in_channels} and {network.out_channels}. Upsamplers and latent models are unsupported; load "
            "another file."
        )
    reload = (load_prior, (path, settings, precision), 0)
    ladder = {key: value for key, value in {**settings, **stated}.items() if key in LADDER}
    model = host.pixel_model(network, reload=reload, disable_dynamic=disable_dynamic, **ladder)
    return model, stated.get("image_size") or SIDES.get(network.levels, 256)


NODES = [SketchPriorLoader, SketchPriorLabel]
