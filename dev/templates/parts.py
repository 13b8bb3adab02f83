"""What graphs are made of: {nodes: {key: node(...)}, links: [(from, output, to, input)]}, and models to fetch."""

from __future__ import annotations

from typing import Any

Graph = dict[str, Any]
STARTER = "starter landscapes (built in)"
STARTER_LINES = "starter (built in)"
FIXED: dict[str, Any] = {
    "control_after_generate": "fixed"
}  # the start that is shown is the start that is walked from, in every run
SD15 = {
    "name": "v1-5-pruned-emaonly-fp16.safetensors",
    "url": "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors",
    "directory": "checkpoints",
}
CHURCH = {
    "name": "ddpm-ema-church-256.pt",
    "url": "https://huggingface.co/google/ddpm-ema-church-256/resolve/main/diffusion_pytorch_model.bin",
    "directory": "sketch_priors",
}
AFHQ = {
    "name": "afhq_dog_4m.pt",
    "url": "https://drive.google.com/file/d/14OG_o3aa8Hxmfu36IIRyOgRwEP6ngLdo/view?usp=sharing",
    "directory": "sketch_priors",
}
ANIME = {
    "name": "netG_A_latest.pth",
    "url": "https://drive.google.com/file/d/1up167zkluR-RIUdr433JbQU43_w9hbgg/view?usp=sharing",
    "directory": "sketch_extractors",
}
RN101 = {
    "name": "open_clip_model.safetensors",
    "url": "https://huggingface.co/timm/resnet101_clip.openai/resolve/main/open_clip_model.safetensors",
    "directory": "sketch_features",
}
ZSE = {
    "name": "best_checkpoint.pth",
    "url": "https://drive.google.com/file/d/16HAlzuibGoQhhozcz4_vVO3rGZEyLqcw/view?usp=sharing",
    "directory": "sketch_retrievers",
}


def node(
    type: str, column: int, box: tuple[int, int] = (0, 0), named: str = "", models: list | None = None, **widgets: Any
):
    """One node of a graph: its type, its column, and the widget values that differ from the defaults."""
    return {"type": type, "column": column, "box": list(box), "title": named, "models": models, "widgets": widgets}


def note(text: str, column: int = 0, height: int = 300) -> dict[str, Any]:
    return {**node("MarkdownNote", column, (400, height), named="What to try"), "widgets": {"": text}}


def drawing(file: str, column: int = 0, **more: Any) -> dict[str, Any]:
    """A sample, by its file name. The starter paints 64 x 64 pixels, so drawings come in at that size."""
    option = f"{file.removesuffix('.png')} (sample).png [temp]"  # as nodes/parts/samples.py names it
    return node("SketchLoader", column, (280, 480), **{"file": option, "size": 64, **more})


def starter_walk(first: int, latent: tuple[str, str], t0: float, variations: int = 4) -> Graph:
    """Prior, label, t0 and sampler on the starter, from a LATENT to pictures four times enlarged."""
    nodes = {
        "prior": node("SketchPriorLoader", 0, (280, 0), prior=STARTER),
        "label": node("SketchPriorLabel", first),
        "ddpm": node("KSamplerSelect", first, sampler_name="ddpm"),
        "repeat": node("RepeatLatentBatch", first, amount=variations),
        "t0": node("NoiseToT0", first + 1, (300, 0), t0=t0, steps=30, seed=1),
        "sampler": node("SamplerCustom", first + 2, (300, 0), add_noise=True, noise_seed=1, cfg=1.0),
        "decode": node("VAEDecode", first + 3),
        "larger": node("ImageScaleBy", first + 3, upscale_method="lanczos", scale_by=4.0),
    }
    links = [
        (*latent, "repeat", "samples"),
        ("prior", "model", "t0", "model"),
        ("repeat", "LATENT", "t0", "latent"),
        ("prior", "model", "sampler", "model"),
        ("label", "conditioning", "sampler", "positive"),
        ("label", "conditioning", "sampler", "negative"),
        ("ddpm", "SAMPLER", "sampler", "sampler"),
        ("t0", "sigmas", "sampler", "sigmas"),
        ("repeat", "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        ("decode", "IMAGE", "larger", "image"),
    ]
    return {"nodes": nodes, "links": links}


def join(*graphs: Graph) -> Graph:
    return {
        "nodes": {key: value for graph in graphs for key, value in graph["nodes"].items()},
        "links": [list(link) for graph in graphs for link in graph["links"]],
    }
