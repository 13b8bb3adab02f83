"""Pixel-space priors (ADM and DDPM checkpoints) as MODEL and VAE, and the class label of those that have classes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from comfy_api.latest import io

from .. import host, networks
from .parts.folders import model_state
from .parts.model_files import WEIGHTS, is_there, read_role, starter_or_file

FOLDER = "sketch_priors"
STARTER = "starter landscapes (built in)"
STARTER_FILE = WEIGHTS / "prior.safetensors"
ORDERS = {"legacy": False, "new": True}
PRECISIONS = {"auto": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
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
            "built-in one, as MODEL and VAE for every sampler. Use cfg 1; positive and negative: Pixel Prior Label.",
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
                    ".pth, .ckpt) with 3-channel ADM or DDPM weights trained on the linear noise schedule.",
                ),
                io.Int.Input(
                    "num_head_channels",
                    default=64,
                    min=0,
                    max=512,
                    advanced=True,
                    tooltip="Channels of one attention head of an ADM network, 0 to 512: 64 in nearly all published "
                    "ones. 0 lets num_heads decide. A file that states its own value goes first.",
                ),
                io.Int.Input(
                    "num_heads",
                    default=4,
                    min=1,
                    max=64,
                    advanced=True,
                    tooltip="Attention heads of an ADM network, 1 to 64; used only where num_head_channels is 0.",
                ),
                io.Combo.Input(
                    "attention_order",
                    options=list(ORDERS),
                    advanced=True,
                    tooltip="How an ADM network lays out its heads; it cannot be seen in the file. new: networks "
                    "trained with use_new_attention_order. If pictures come out as mush, try the other one.",
                ),
                io.Int.Input(
                    "image_size",
                    default=0,
                    min=0,
                    max=2048,
                    step=8,
                    advanced=True,
                    tooltip="The side it was trained at, 8 to 2048, given out as size. 0: what the file states, or "
                    "what its number of levels is usual for. The network itself runs at any size.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    advanced=True,
                    tooltip="Type of the weights. auto: as ComfyUI chooses for this machine (float16 on most GPUs). "
                    "float32 for exactly the published numbers.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="For every sampler, at cfg 1; works on pixels."),
                io.Vae.Output(
                    "vae", display_name="vae", tooltip="Turns IMAGE into this model's LATENT and back, exactly."
                ),
                io.Int.Output(
                    "size", display_name="size", tooltip="Side of the pictures it was trained on, in pixels."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, prior: str | None = None) -> bool | str:
        return is_there("pixel prior", FOLDER, prior, STARTER, STARTER_FILE)

    @classmethod
    def fingerprint_inputs(cls, prior: str | None, **_: Any) -> str:
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
    ) -> io.NodeOutput:
        settings = {
            "num_head_channels": num_head_channels,
            "num_heads": num_heads,
            "use_new_attention_order": ORDERS[attention_order],
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
            description="The CONDITIONING of a pixel prior, which knows no words: empty, or a class number for priors "
            "that were trained with classes. Connect it to positive and negative.",
            search_aliases=["SDEdit", "ADM", "class label", "class id", "empty conditioning", "ImageNet class"],
            inputs=[
                io.Int.Input(
                    "class_id",
                    default=-1,
                    min=-1,
                    max=99999,
                    tooltip="-1: no class, for most priors. 0 to one less than its number of classes for a prior that "
                    "has classes; the sampler says the range if it does not fit.",
                )
            ],
            outputs=[
                io.Conditioning.Output("conditioning", tooltip="For positive and negative of any sampler or guider.")
            ],
        )

    @classmethod
    def execute(cls, class_id: int) -> io.NodeOutput:
        label = {host.CLASS_KEY: class_id} if class_id >= 0 else {}
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

    settings: hints for networks.build; what the file itself states takes precedence. The host also calls this to make
    second copies. ValueError: not a pixel prior, or a variant that cannot be run here.
    """
    weights, stated = read_role(path, ("prior",))
    network: Any = networks.build(
        weights, **{**settings, **stated}, **host.pixel_settings(weights, PRECISIONS[precision])
    )
    if network.in_channels != 3 or network.out_channels not in (3, 6):
        raise ValueError(
            f"A pixel prior has 3 channels in and 3 or 6 out; '{os.path.basename(path)}' has {network.in_channels} in "
            f"and {network.out_channels} out. Upsamplers and latent models do not work here."
        )
    reload = (load_prior, (path, settings, precision), 0)
    model = host.pixel_model(network, reload=reload, disable_dynamic=disable_dynamic)
    return model, stated.get("image_size") or SIDES.get(network.levels, 256)


NODES = [SketchPriorLoader, SketchPriorLabel]
