"""What graphs are made of: nodes, links, groups that say where they stand, App mode's inputs, and models to fetch."""

from __future__ import annotations

from typing import Any

Graph = dict[str, Any]
STARTER = "starter landscapes (built in)"
STARTER_LINES = "starter (built in)"
FIXED: dict[str, Any] = {"control_after_generate": "fixed"}  # every run walks from the same noise
SD15 = {
    "name": "v1-5-pruned-emaonly-fp16.safetensors",
    "url": "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors",
    "directory": "checkpoints",
}
SCRIBBLE = {
    "name": "control_v11p_sd15_scribble_fp16.safetensors",
    "url": "https://huggingface.co/comfyanonymous/ControlNet-v1-1_fp16_safetensors/resolve/main/"
    "control_v11p_sd15_scribble_fp16.safetensors",
    "directory": "controlnet",
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
CLIP_H = {
    "name": "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
    "url": "https://huggingface.co/h94/IP-Adapter/resolve/main/models/image_encoder/model.safetensors",
    "directory": "clip_vision",
}
IMAGENET = {
    "name": "256x256_diffusion_uncond.pt",
    "url": "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",
    "directory": "sketch_priors",
}
CLASSIFIER = {
    "name": "256x256_classifier.pt",
    "url": "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_classifier.pt",
    "directory": "sketch_classifiers",
}
PHOTOSKETCH = {
    "name": "latest_net_G.pth",
    "url": "https://drive.google.com/file/d/1TQf-LyS8rRDDapdcTnEgWzYJllPgiXdj/view",
    "directory": "sketch_extractors",
}
CANVAS = {
    "name": "canvas_encoder.pt",
    "url": "https://drive.google.com/file/d/1ufKEtDXEG6o96KjLh-i6EL7Ir9TlwPcs/view",
    "directory": "sketch_paint2pix",
}
IDENTITY = {
    "name": "id-encoder.pt",
    "url": "https://drive.google.com/file/d/1KT3YmSHgMJM3b7Ox9zciyo3FSELtJsyS/view",
    "directory": "sketch_paint2pix",
}
WATERCOLOUR = {
    "name": "stylegan2-watercolor.pt",
    "url": "https://drive.google.com/file/d/1WW_a589lv7R9-PNvKlVkVxITIZnW7xlv/view",
    "directory": "sketch_paint2pix",
}
# One colour code for all templates: the number, the word and the colour of a group.
KINDS = {
    "draw": ("1 Draw", "#6fa8dc"),
    "model": ("2 Model", "#c792ea"),
    "walk": ("3 Walk", "#f0a35e"),
    "result": ("4 Result", "#8fd18f"),
}
PICTURE = (300, 330)  # a preview among other nodes
RESULT = (420, 480)  # the picture that the graph is for


def node(
    type: str, /, box: tuple[int, int] = (0, 0), named: str = "", models: list | None = None, **widgets: Any
) -> Graph:
    """One node of a graph: its type, least width and height, title, and the widget values that are not the defaults."""
    return {"type": type, "box": list(box), "title": named, "models": models, "widgets": widgets}


def note(title: str, *lines: str, width: int = 350) -> Graph:
    """What to try, as first headings: only they are large enough to read with the whole graph in view."""
    letters = (width - 40) // 10  # of a line, in the classic renderer, which has the larger letters
    height = 24 + sum(18 + 27 * -(-len(line) // letters) for line in lines)
    text = "\n\n".join(f"# {line}" for line in lines)
    return {**node("MarkdownNote", (width, height), named=title), "widgets": {"": text}}


def group(kind: str, says: str, inside: list | tuple) -> Graph:
    """A titled box of nodes. inside: keys of nodes; a list stands one below the other, a tuple side by side."""
    word, colour = KINDS[kind]
    return {"title": f"{word}: {says}" if says else word, "color": colour, "inside": inside}


def app(inputs: list[tuple[str, str]], *outputs: str) -> Graph:
    """What App mode shows: widgets as (node, widget), and the nodes whose pictures are the result."""
    return {"inputs": inputs, "outputs": list(outputs)}


def model_size(side: int) -> Graph:
    """To the model's size: the longer side in pixels, in the picture's own aspect. (`area` makes blocks of pixels where
    it enlarges.)"""
    method = "area" if side < 512 else "lanczos"
    return node("ImageScaleToMaxDimension", named="to the model's size", upscale_method=method, largest_size=side)


def drawing(file: str, named: str = "", **more: Any) -> Graph:
    """A sample, by its file name. The starter paints 64 x 64 pixels, so drawings come in at that size."""
    return node("SketchLoader", (290, 480), named, **{"image": sample(file), "size": 64, **more})


def sample(file: str) -> str:
    """A sample as an option of Load Sketch, or as a file of the canvas: nodes/parts/samples.py names it."""
    return f"{file.removesuffix('.png')} (sample).png [temp]"


def canvas(named: str, brush: int = 16, side: int = 256, **widgets: Any) -> Graph:
    """A Sketch Canvas. brush: its size in pixels of the painting. side: 256 for the starter, whose pictures have 64 or
    128."""
    widgets |= {"width": side, "height": side}
    return {**node("SketchCanvas", (450, 680), named, **widgets), "properties": {"brush_size": brush}}


def larger(scale: float) -> Graph:
    """Enlarged pixel by pixel: for pictures that are no landscapes of the starter's."""
    return node("ImageScaleBy", named=f"{scale:g} times larger", upscale_method="lanczos", scale_by=scale)


def upscaled() -> dict[str, Graph]:
    """The nodes that enlarge what the starter paints, four times."""
    return {"upscaler": node("SketchStarterUpscaler"), **by_model()}


def by_model() -> dict[str, Graph]:
    """The last of them alone, where Starter Models has the upscaler."""
    return {"larger": node("ImageUpscaleWithModel", named="4 times larger")}


def not_enlarged(graph: Graph) -> None:
    """Takes the upscaler out: for models whose pictures are large enough."""
    gone = ("larger", "upscaler")
    source = next(link[:2] for link in graph["links"] if tuple(link[2:]) == ("larger", "image"))
    for key in gone:
        graph["nodes"].pop(key, None)
    kept = [link for link in graph["links"] if link[2] not in gone]
    graph["links"] = [[*(source if link[0] == "larger" else link[:2]), *link[2:]] for link in kept]
    for band in graph["groups"]:
        for titled in band:
            titled["inside"] = _without(titled["inside"], gone)


def _without(inside: Any, gone: tuple[str, ...]) -> Any:
    """A group's columns and rows without these keys."""
    left = (part if isinstance(part, str) else _without(part, gone) for part in inside if part not in gone)
    return type(inside)(part for part in left if part)


UPSCALER = ("upscaler", "upscale_model", "larger", "upscale_model")  # the links from either loader
MODELS_UPSCALER = ("models", *UPSCALER[1:])


def save(prefix: str, named: str = "the result, saved", box: tuple[int, int] = RESULT) -> Graph:
    return node("SaveImage", box, named, filename_prefix=f"SketchSynth/{prefix}")


def show(named: str, box: tuple[int, int] = PICTURE) -> Graph:
    return node("PreviewImage", box, named)


def starter_walk(latent: tuple[str, str], t0: float, variations: int = 4) -> Graph:
    """Prior, label, t0 and sampler on the starter, from a LATENT to enlarged pictures."""
    nodes = {
        "prior": node("SketchPriorLoader", (290, 0), prior=STARTER),
        "label": node("SketchPriorLabel", named="no class: the starter has none"),
        "ddpm": node("KSamplerSelect", sampler_name="ddpm"),
        "repeat": node("RepeatLatentBatch", named="how many results", amount=variations),
        "t0": node("NoiseToT0", (290, 0), "t0: how much may change", t0=t0, steps=25, seed=1, **FIXED),
        "sampler": node("SamplerCustom", (282, 0), "paint, from t0 down", add_noise=True, noise_seed=1, cfg=1.0),
        "decode": node("VAEDecode"),
        **upscaled(),
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
        UPSCALER,
        ("decode", "IMAGE", "larger", "image"),
    ]
    return {"nodes": nodes, "links": links}


def join(*graphs: Graph, groups: list[list[Graph]], app: Graph | None = None) -> Graph:
    """All nodes and links together. groups: bands of groups from left to right, each band from top to bottom."""
    return {
        "nodes": {key: value for graph in graphs for key, value in graph["nodes"].items()},
        "links": [list(link) for graph in graphs for link in graph["links"]],
        "groups": groups,
        "app": app,
    }
