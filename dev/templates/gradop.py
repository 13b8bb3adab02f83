"""The graphs of GradOP: paintings with a prompt, and words in painted regions."""

from __future__ import annotations

from typing import Any

from templates.models import Base, sd15, starter
from templates.parts import (
    FIXED,
    MODELS_UPSCALER,
    Graph,
    app,
    by_model,
    canvas,
    drawing,
    group,
    join,
    model_size,
    node,
    note,
    save,
    show,
)

FOUR = "the painting\nSDEdit, strength 0.4\nSDEdit, strength 0.7\nGradOP+"
WORDS = {
    "prompt": "the sun, clouds, snowy mountains, a lake, conifers, by day",
    "green": "clouds, hills, a meadow, a path, conifers, a cabin, by day",
    "photo": "photo of a mountain lake, snow-capped peaks, conifers, a red cabin on the shore, morning light",
    "valley": "photo of green hills under a cloudy sky, a meadow, a path, conifers, a red cabin, morning light",
    "without": "painting, drawing, blurry, flat colours",
}


def prompts(base: Base, prompt: str, without: str) -> Graph:
    """Loader, prompt and negative prompt."""
    nodes = {
        **base.nodes,
        "prompt": node("CLIPTextEncode", (340, 120), "what to paint", text=prompt),
        "without": node("CLIPTextEncode", (340, 90), base.avoid, text=without),
    }
    return {"nodes": nodes, "links": [*base.links, (*base.clip, "prompt", "clip"), (*base.clip, "without", "clip")]}


def from_noise(base: Base, painting: tuple[str, str], steps: int = 0) -> Graph:
    """The whole schedule, of `steps` or of what suits the model, and an empty latent of the painting's size."""
    nodes = {
        "of painting": node("GetImageSize", named="the painting's size"),
        "empty": node(base.empty, named="how many results", batch_size=1),
        "schedule": node("BasicScheduler", scheduler=base.scheduler, steps=steps or base.steps),
    }
    links = [
        (*painting, "of painting", "image"),
        ("of painting", "width", "empty", "width"),
        ("of painting", "height", "empty", "height"),
        (*base.model, "schedule", "model"),
    ]
    return {"nodes": nodes, "links": links}


def walk(base: Base, key: str, sampler: tuple, sigmas: tuple, latent: tuple, **more: Any) -> Graph:
    """A SamplerCustom with its VAE Decode, called `key` and `key picture`. shared: its noise is that of `seed`, for
    pictures that are compared."""
    positive, model = more.get("positive", ("prompt", "CONDITIONING")), more.get("model", base.model)
    shared = [("seed", "INT", key, "noise_seed")] if more.get("shared", True) else []
    nodes = {
        key: node("SamplerCustom", (282, 0), key, add_noise=True, noise_seed=1, cfg=base.cfg),
        f"{key} picture": node("VAEDecode"),
    }
    links = [
        (*model, key, "model"),
        (*positive, key, "positive"),
        ("without", "CONDITIONING", key, "negative"),
        (*sampler, key, "sampler"),
        (*sigmas, key, "sigmas"),
        (*latent, key, "latent_image"),
        (key, "output", f"{key} picture", "samples"),
        *shared,
        (*base.vae, f"{key} picture", "vae"),
    ]
    return {"nodes": nodes, "links": links}


def common_seed() -> dict[str, Any]:
    """One seed for several walks, another in each run."""
    return node(
        "PrimitiveInt", named="one seed for all", value=1, fixed="increment"
    )  # the editor's name of that widget


def painting(base: Base, file: str) -> Graph:
    return drawing(file, "your painting", size=base.side)


def compared(base: Base, prompt: str, without: str) -> Graph:
    start = {"meaning": "this model's own time", "steps": 20, "seed": 1, **FIXED}
    nodes = {
        "note": note(
            "GradOP+ beside img2img",
            "One painting, prompt and seed. img2img is flat or free; GradOP+ keeps the painting.",
            "rounds, 2 to 5: how closely.",
        ),
        "painting": painting(base, "mountain lake.png"),
        "encode": node("VAEEncode"),
        "euler": node("KSamplerSelect", sampler_name="euler"),
        "seed": common_seed(),
        "near": node("NoiseToT0", (290, 0), "img2img, close", t0=0.4, **start),
        "far": node("NoiseToT0", (290, 0), "img2img, free", t0=0.7, **start),
        "solve": node("GradOpSolve", (320, 0), "GradOP+: rounds is the knob", **base.solve),
        "words": node("PrimitiveStringMultiline", (300, 120), "labels of the sheet", value=FOUR),
        "all": node("BatchImagesNode", named="all four"),
        "sheet": node("SketchContactSheet", named="on one sheet", columns=2),
        "save": save(f"GradOP compared{base.end}", "img2img and GradOP+", (460, 520)),
    }
    links = [
        ("painting", "image", "encode", "pixels"),
        (*base.vae, "encode", "vae"),
        *((*base.model, key, "model") for key in ("near", "far")),
        *(("encode", "LATENT", key, "latent") for key in ("near", "far")),
        (*base.vae, "solve", "vae"),
        ("painting", "image", "solve", "painting"),
        ("euler", "SAMPLER", "solve", "sampler"),
        ("painting", "image", "all", "images.image0"),
        *((f"{key} picture", "IMAGE", "all", f"images.image{i}") for i, key in ((1, "close"), (2, "free"))),
        ("GradOP+ picture", "IMAGE", "all", "images.image3"),
        ("all", "IMAGE", "sheet", "images"),
        ("words", "STRING", "sheet", "labels"),
        ("sheet", "sheet", "save", "images"),
    ]
    groups = [
        [
            group("draw", "one painting", ["note", "painting"]),
            group("model", base.group, [*base.column, "prompt", "encode"]),
        ],
        [group("walk", "three ways", ["euler", "solve", "near", "far"])],
        [
            group(
                *("walk", "from one seed"),
                (["seed", "without", "schedule", "of painting", "empty"], ["GradOP+", "close", "free"]),
            )
        ],
        [
            group(
                *("result", "side by side"),
                (["GradOP+ picture", "close picture", "free picture", "words", "all", "sheet"], "save"),
            )
        ],
    ]
    euler, guide = ("euler", "SAMPLER"), ("encode", "LATENT")
    return join(
        {"nodes": nodes, "links": links},
        prompts(base, prompt, without),
        from_noise(base, ("painting", "image"), 25),
        walk(base, "close", euler, ("near", "sigmas"), guide),
        walk(base, "free", euler, ("far", "sigmas"), guide),
        walk(base, "GradOP+", ("solve", "sampler"), ("schedule", "SIGMAS"), ("empty", "LATENT")),
        groups=groups,
    )


def paint_here(base: Base, prompt: str, without: str) -> Graph:
    small = base.side < 512
    nodes = {
        "note": note(
            "Paint here, write, press Run",
            "Broad brush, flat colours; then say what it is.",
            base.words,
        ),
        "drawing": drawing("green hills.png", "what you paint on", size=0),
        "paint": canvas("paint here", 32, 512),
        "small": model_size(base.side),
        "solve": node("GradOpSolve", (320, 0), "how closely: rounds is the knob", **base.solve),
        "result": show("your painting, painted (right-click to save)", (420, 480)),
    }
    size, last = ("small", "IMAGE"), ("GradOP+ picture", "IMAGE")
    links = [
        ("drawing", "image", "paint", "ground"),
        ("paint", "image", "small", "image"),
        (*base.vae, "solve", "vae"),
        (*size, "solve", "painting"),
    ]
    if small:
        nodes |= by_model()
        links += [MODELS_UPSCALER, (*last, "larger", "image")]
        last = ("larger", "IMAGE")
    links += [(*last, "result", "images")]
    last_column = ["GradOP+", "GradOP+ picture", *(["larger"] if small else [])]
    groups = [
        [
            group("draw", "paint over the picture", (["note", "drawing"], "paint")),
            group("model", base.group, ([*base.column, "small"], ["prompt", "without"])),
        ],
        [group("walk", "rounds is the knob", (["solve", "of painting", "empty", "schedule"], last_column))],
        [group("result", "your painting, painted", ["result"])],
    ]
    graph = from_noise(base, size)
    graph["nodes"]["empty"]["widgets"]["batch_size"] = 4 if small else 2
    shown = app(
        [
            ("paint", "painting"),
            ("prompt", "text"),
            ("solve", "rounds"),
            ("empty", "batch_size"),
            ("GradOP+", "noise_seed"),
        ],
        "result",
    )
    return join(
        {"nodes": nodes, "links": links},
        prompts(base, prompt, without),
        graph,
        walk(base, "GradOP+", ("solve", "sampler"), ("schedule", "SIGMAS"), ("empty", "LATENT"), shared=False),
        groups=groups,
        app=shown,
    )


GRADOP = {
    "12 Paint with a prompt - GradOP": lambda: paint_here(starter(), WORDS["green"], ""),
    "12 Paint with a prompt - GradOP (SD1.5)": lambda: paint_here(sd15(), WORDS["valley"], WORDS["without"]),
    "13 Paint with a prompt, compared - GradOP and img2img": lambda: compared(starter(), WORDS["prompt"], ""),
    "13 Paint with a prompt, compared - GradOP and img2img (SD1.5)": lambda: compared(
        sd15(), WORDS["photo"], WORDS["without"]
    ),
}
