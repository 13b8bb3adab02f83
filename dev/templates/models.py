"""The models that graphs run on: the starter, SD1.5 and SDXL, and those that people run today.

Files, links, steps, CFG, sampler and scheduler as ComfyUI's own templates have them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from templates.parts import SD15, Graph, group, node

HUB = "https://huggingface.co"
KNOWN = "Words it knows: lake, meadow, snowfield, hills, forest, cabin, sun, moon; by day, at sunset, at night."
OWN_WORDS = "The prompt says what you painted."
THREE = "Missing a file? The editor offers the download."


@dataclass(frozen=True)
class Base:
    """The model of a graph, and what suits it.

    nodes, links: the loaders. model, clip, vae: the node and output that give each. side: pixels of its pictures.
    group: the title of the model's group. words: what to write. end: after the names of saved files. empty: the node
    of an empty latent. solve: what GradOP Solve is set to other than its defaults.
    """

    nodes: Graph
    model: tuple[str, str]
    clip: tuple[str, str]
    vae: tuple[str, str]
    side: int
    cfg: float
    group: str
    words: str
    end: str = ""
    links: list[tuple[str, str, str, str]] = field(default_factory=list)
    steps: int = 20
    sampler: str = "euler"
    scheduler: str = "normal"
    empty: str = "EmptyLatentImage"
    solve: dict[str, Any] = field(default_factory=dict)

    @property
    def distilled(self) -> bool:
        """Whether it paints in a few steps, which it then takes as they are."""
        return self.steps < 10

    @property
    def column(self) -> list[str]:
        """The keys of its nodes, one below the other."""
        return list(self.nodes)

    def bands(
        self, draw: Graph, beside: list[str], words: list[str], walk: Graph, *results: Graph
    ) -> list[list[Graph]]:
        """The groups of a graph from left to right: what is drawn, the model, the walk, the results.

        beside, words: nodes that stand with the loaders. One loader goes below the drawing; three go above the walk,
        side by side.
        """
        if len(self.nodes) == 1:
            model = group("model", self.group, ([*self.nodes, *beside], words))
            return [[draw, model], [walk], list(results)]
        network = [key for key in ("network", "shift") if key in self.nodes]
        model = group("model", self.group, (network, ["clip", "vae"], [*words, *beside]))  # right of what they read
        return [[draw], [model, walk], list(results)]

    @property
    def avoid(self) -> str:
        """The title of the negative prompt."""
        return "what to avoid" if self.cfg > 1 else "what to avoid: not read at CFG 1"


def starter() -> Base:
    loader = node("SketchStarterModels", (300, 0))
    return Base(
        {"models": loader},
        model=("models", "model"),
        clip=("models", "clip"),
        vae=("models", "vae"),
        side=128,
        cfg=4.0,
        group="the built-in painter and its words",
        words=KNOWN,
        solve={"strength": 0.7, "rounds": 5},
    )


def _checkpoint(file: dict[str, str], side: int, cfg: float, words: str, end: str) -> Base:
    loader = node("CheckpointLoaderSimple", (320, 0), "your model", [file], ckpt_name=file["name"])
    return Base(
        {"checkpoint": loader},
        model=("checkpoint", "MODEL"),
        clip=("checkpoint", "CLIP"),
        vae=("checkpoint", "VAE"),
        side=side,
        cfg=cfg,
        group="your checkpoint and its words",
        words=words,
        end=end,
    )


def sd15() -> Base:
    return _checkpoint(SD15, 512, 7.0, f"{OWN_WORDS} For SDXL set the size to 1024.", " SD15")


def sdxl() -> Base:
    name = "sd_xl_base_1.0.safetensors"
    url = f"{HUB}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/{name}"
    return _checkpoint({"name": name, "url": url, "directory": "checkpoints"}, 1024, 7.0, OWN_WORDS, " SDXL")


def _file(repository: str, folder: str, name: str, directory: str) -> dict[str, str]:
    place = f"{folder}/" if folder else ""
    return {"name": name, "url": f"{HUB}/{repository}/resolve/main/{place}{name}", "directory": directory}


def _three_files(
    named: str, network: dict[str, str], words: tuple[dict[str, str], str], vae: dict[str, str], **more: Any
) -> Base:
    """A diffusion model, its text encoder with the type that Load CLIP wants, and its VAE. shift: a node for it."""
    encoder, kind = words
    shift = more.pop("shift", None)
    nodes = {
        "network": node("UNETLoader", (320, 0), named, [network], unet_name=network["name"]),
        **({"shift": node("ModelSamplingAuraFlow", shift=shift)} if shift else {}),
        "clip": node("CLIPLoader", (320, 0), "its text encoder", [encoder], clip_name=encoder["name"], type=kind),
        "vae": node("VAELoader", (320, 0), "its VAE", [vae], vae_name=vae["name"]),
    }
    links = [("network", "MODEL", "shift", "model")] if shift else []
    model = ("shift" if shift else "network", "MODEL")
    told = {"scheduler": "simple", "empty": "EmptySD3LatentImage", "words": OWN_WORDS, **more}
    return Base(
        nodes, model, ("clip", "CLIP"), ("vae", "VAE"), 1024, group=f"{named} and its words", links=links, **told
    )


QWEN_VAE = _file("Comfy-Org/Qwen-Image_ComfyUI", "split_files/vae", "qwen_image_vae.safetensors", "vae")
QWEN_3 = _file(
    "Comfy-Org/z_image_turbo", "split_files/text_encoders", "qwen_3_4b.safetensors", "text_encoders"
)  # of Z-Image and of Flux.2 Klein


def z_image_turbo() -> Base:
    home = "Comfy-Org/z_image_turbo"
    return _three_files(
        "Z-Image-Turbo",
        _file(home, "split_files/diffusion_models", "z_image_turbo_bf16.safetensors", "diffusion_models"),
        (QWEN_3, "lumina2"),
        _file(home, "split_files/vae", "ae.safetensors", "vae"),
        **{"shift": 3.0, "steps": 8, "cfg": 1.0, "sampler": "res_multistep", "end": " Z-Image-Turbo"},
    )


def krea2_turbo() -> Base:
    home = "Comfy-Org/Krea-2"
    return _three_files(
        "Krea 2 Turbo",
        _file(home, "diffusion_models", "krea2_turbo_fp8_scaled.safetensors", "diffusion_models"),
        (_file(home, "text_encoders", "qwen3vl_4b_fp8_scaled.safetensors", "text_encoders"), "krea2"),
        QWEN_VAE,
        **{"steps": 8, "cfg": 1.0, "end": " Krea 2 Turbo"},
    )


def qwen_image() -> Base:
    home = "Comfy-Org/Qwen-Image_ComfyUI"
    return _three_files(
        "Qwen-Image",
        _file(home, "split_files/diffusion_models", "qwen_image_fp8_e4m3fn.safetensors", "diffusion_models"),
        (
            _file(home, "split_files/text_encoders", "qwen_2.5_vl_7b_fp8_scaled.safetensors", "text_encoders"),
            "qwen_image",
        ),
        QWEN_VAE,
        **{"shift": 3.1, "steps": 20, "cfg": 4.0, "end": " Qwen-Image"},
    )


def flux2_klein() -> Base:
    return _three_files(
        "Flux.2 Klein 4B",
        _file(
            *("Comfy-Org/flux2-klein", "split_files/diffusion_models", "flux-2-klein-4b.safetensors"),
            "diffusion_models",
        ),
        (QWEN_3, "flux2"),
        _file("Comfy-Org/flux2-dev", "split_files/vae", "flux2-vae.safetensors", "vae"),
        **{"steps": 4, "cfg": 1.0, "empty": "EmptyFlux2LatentImage", "end": " Flux.2 Klein"},
    )
