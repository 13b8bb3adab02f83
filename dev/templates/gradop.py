"""The graphs of GradOP: paintings with a prompt, and words in painted regions."""

from __future__ import annotations

from typing import Any

from templates.models import Base, qwen_image, sd15, starter, z_image_turbo
from templates.parts import (
    FIXED,
    Graph,
    app,
    canvas,
    drawing,
    group,
    join,
    larger,
    model_size,
    node,
    note,
    save,
    show,
)

FOUR = "the painting\nSDEdit, strength 0.4\nSDEdit, strength 0.7\nGradOP+"
LEGEND = "#6c8a88: a lake\n#808a66: a meadow"
LAND = "a clear sky, clouds, hills, a lake, a meadow, by day"
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
        nodes["larger"] = larger(512 / base.side)
        links += [(*last, "larger", "image")]
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


def regions(base: Base, prompt: str, without: str) -> Graph:
    """The smallest graph with words in regions: colours of the painting, a legend, and a plain KSampler."""
    small = base.side < 512
    nodes = {
        "note": note(
            "Words by colour",
            "Each colour of the painting gets words of the prompt. Here two kinds of land look alike: the legend says "
            "which is the lake.",
            "Empty legend: Run lists the colours.",
            width=688,
        ),
        "painting": painting(base, "two shores.png"),
        "legend": node(
            "SketchRegionsFromStrokes", (340, 260), "legend: colour and words", legend=LEGEND, soft_edge=2.0
        ),
        "show": show("which words go where", (300, 210)),
        **base.nodes,
        "tie": node(
            "CrossAttnRegionMap", (340, 0), "the prompt, tied to the regions", prompt=prompt, schedule="constant"
        ),
        "without": node("CLIPTextEncode", (340, 90), base.avoid, text=without),
        "encode": node("VAEEncode"),
        "repeat": node("RepeatLatentBatch", named="how many results", amount=4 if small else 2),
        "sampler": node(
            "KSampler",
            (282, 0),
            "denoise is the knob",
            seed=1,
            steps=base.steps,
            cfg=base.cfg,
            sampler_name=base.sampler,
            scheduler=base.scheduler,
            denoise=0.8,
        ),
        "decode": node("VAEDecode"),
        **({"larger": larger(512 / base.side)} if small else {}),
        "save": save(f"words by colour{base.end}"),
    }
    links = [
        *base.links,
        ("painting", "image", "legend", "image"),
        ("legend", "preview", "show", "images"),
        *((*base.model, "tie", "model"), (*base.clip, "tie", "clip"), ("legend", "regions", "tie", "regions")),
        (*base.clip, "without", "clip"),
        ("painting", "image", "encode", "pixels"),
        (*base.vae, "encode", "vae"),
        ("encode", "LATENT", "repeat", "samples"),
        ("tie", "model", "sampler", "model"),
        ("tie", "conditioning", "sampler", "positive"),
        ("without", "CONDITIONING", "sampler", "negative"),
        ("repeat", "LATENT", "sampler", "latent_image"),
        ("sampler", "LATENT", "decode", "samples"),
        (*base.vae, "decode", "vae"),
        *([("decode", "IMAGE", "larger", "image"), ("larger", "IMAGE", "save", "images")] if small else []),
        *([] if small else [("decode", "IMAGE", "save", "images")]),
    ]
    last_column = ["sampler", "decode", *(["larger"] if small else [])]
    groups = base.bands(
        group("draw", "a painting and its legend", ["note", ("painting", ["legend", "show"])]),
        ["without"],
        ["encode", "repeat"],
        group("walk", "the legend and the prompt are the knobs", (["tie"], last_column)),
        group("result", "the lake on its shore", ["save"]),
    )
    shown = app(
        [("painting", "image"), ("legend", "legend"), ("tie", "prompt"), ("sampler", "denoise"), ("sampler", "seed")],
        *("show", "save"),
    )
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def regions_compared(base: Base, prompt: str, without: str) -> Graph:
    legends = {"legend": LEGEND, "exchanged": LEGEND.replace("a lake", "?").replace("a meadow", "a lake")}
    labels = "the painting\nthe words alone\ntied by the legend\nlegend exchanged"
    nodes: dict[str, Any] = {
        "note": note(
            "With and without regions",
            "The prompt alone, the legend, and the legend with its words exchanged: one seed for all.",
            "schedule t/T, as published, fades with the noise.",
        ),
        "painting": painting(base, "two shores.png"),
        "seed": common_seed(),
        "solve": node("GradOpSolve", (320, 0), "follows the painting", **base.solve),
        "words": node("PrimitiveStringMultiline", (300, 120), "labels of the sheet", value=labels),
        "all": node("BatchImagesNode", named="all four"),
        "sheet": node("SketchContactSheet", named="on one sheet", columns=2),
        "save": save(f"words by colour, compared{base.end}", "alone, tied, exchanged", (460, 400)),
        "show": show("the regions and their words", (300, 200)),
    }
    links: list = [
        (*base.vae, "solve", "vae"),
        ("painting", "image", "solve", "painting"),
        ("painting", "image", "all", "images.image0"),
        ("words alone picture", "IMAGE", "all", "images.image1"),
        ("all", "IMAGE", "sheet", "images"),
        ("words", "STRING", "sheet", "labels"),
        ("sheet", "sheet", "save", "images"),
        ("legend", "preview", "show", "images"),
    ]
    latent, sigmas, solver = ("empty", "LATENT"), ("schedule", "SIGMAS"), ("solve", "sampler")
    walks = [walk(base, "words alone", solver, sigmas, latent)]
    for i, (key, legend) in enumerate(legends.items()):
        tie = f"tie {key}"
        nodes[key] = node(
            "SketchRegionsFromStrokes", (320, 130), key, legend=legend.replace("?", "a meadow"), soft_edge=2.0
        )
        nodes[tie] = node("CrossAttnRegionMap", (340, 0), f"words tied: {key}", prompt=prompt, schedule="constant")
        links += [
            ("painting", "image", key, "image"),
            (*base.model, tie, "model"),
            (*base.clip, tie, "clip"),
            (key, "regions", tie, "regions"),
            (f"{key} walk picture", "IMAGE", "all", f"images.image{i + 2}"),
        ]
        tied = {"model": (tie, "model"), "positive": (tie, "conditioning")}
        walks.append(walk(base, f"{key} walk", solver, sigmas, latent, **tied))
    groups = [
        [
            group("draw", "one painting, two legends", (["note", "painting"], ["legend", "exchanged", "show"])),
            group("model", base.group, (base.column, ["prompt", "without"])),
        ],
        [
            group(
                *("walk", "words tied to regions"),
                (["tie legend", "tie exchanged", "solve"], ["schedule", "of painting", "empty", "seed"]),
            )
        ],
        [group("walk", "from one seed", (["words alone", "legend walk", "exchanged walk"],))],
        [
            group(
                *("result", "side by side"),
                [
                    *("words alone picture", "legend walk picture", "exchanged walk picture"),
                    *("words", "all", "sheet", "save"),
                ],
            )
        ],
    ]
    scheduled = from_noise(base, ("painting", "image"), 25)
    return join({"nodes": nodes, "links": links}, prompts(base, prompt, without), scheduled, *walks, groups=groups)


def by_mask(base: Base) -> Graph:
    nodes = {
        "note": note(
            "Words by mask",
            "Paint where each phrase belongs: mask of a drawing, a canvas or the mask editor. Two regions are chained.",
            "weight above 1 insists more.",
            width=638,
        ),
        "one": drawing("region - lake.png", "where the lake is", size=base.side),
        "two": drawing("region - forest.png", "where the forest is", size=base.side),
        "lake": node("SketchPaintRegion", (300, 0), "first phrase", phrase="a lake", weight=1.5),
        "forest": node("SketchPaintRegion", (300, 0), "second phrase", phrase="a forest", weight=1.5),
        **base.nodes,
        "tie": node(
            "CrossAttnRegionMap",
            (340, 0),
            "the prompt, tied to the regions",
            prompt="clouds, hills, a lake, a forest, a meadow, by day",
            schedule="constant",
        ),
        "without": node("CLIPTextEncode", (340, 90), "what to avoid", text=""),
        "of painting": node("GetImageSize", named="the drawing's size"),
        "empty": node("EmptyLatentImage", named="how many results", batch_size=4),
        "sampler": node(
            "KSampler", (282, 0), "from noise", seed=1, steps=20, cfg=base.cfg, sampler_name="euler", scheduler="normal"
        ),
        "decode": node("VAEDecode"),
        "larger": larger(512 / base.side),
        "save": save("words by mask"),
    }
    links = [
        ("one", "mask", "lake", "mask"),
        ("two", "mask", "forest", "mask"),
        ("lake", "regions", "forest", "regions"),
        *((*base.model, "tie", "model"), (*base.clip, "tie", "clip"), ("forest", "regions", "tie", "regions")),
        (*base.clip, "without", "clip"),
        ("one", "image", "of painting", "image"),
        ("of painting", "width", "empty", "width"),
        ("of painting", "height", "empty", "height"),
        ("tie", "model", "sampler", "model"),
        ("tie", "conditioning", "sampler", "positive"),
        ("without", "CONDITIONING", "sampler", "negative"),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "LATENT", "decode", "samples"),
        (*base.vae, "decode", "vae"),
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = [
        [
            group("draw", "two masks", ["note", ("one", "two")]),
            group("model", base.group, ([*base.column, "without"], ["of painting"])),
        ],
        [
            group(
                *("walk", "phrases and weights are the knobs"),
                (["lake", "forest", "tie", "empty"], ["sampler", "decode", "larger"]),
            )
        ],
        [group("result", "lake and forest where you want them", ["save"])],
    ]
    shown = app(
        [
            *(("one", "image"), ("lake", "phrase"), ("two", "image"), ("forest", "phrase"), ("tie", "prompt")),
            ("sampler", "seed"),
        ],
        "save",
    )
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def attention_maps(base: Base) -> Graph:
    nodes = {
        "note": note(
            "Where words act",
            "Warm colours: where the model looks when it paints a word.",
            "One phrase of the prompt for each line. All of them must stand in the prompt.",
        ),
        **base.nodes,
        "words": node("PrimitiveStringMultiline", (400, 150), "what to paint", value=LAND),
        "prompt": node("CLIPTextEncode", (340, 90), "for the model"),
        "without": node("CLIPTextEncode", (340, 90), "what to avoid", text=""),
        "empty": node("EmptyLatentImage", width=base.side, height=base.side, batch_size=1),
        "sampler": node(
            "KSampler",
            (282, 0),
            "paint a picture",
            seed=1,
            steps=20,
            cfg=base.cfg,
            sampler_name="euler",
            scheduler="normal",
        ),
        "decode": node("VAEDecode"),
        "maps": node(
            "SketchAttentionMaps", (340, 0), "phrases is the knob", phrases="clouds\nhills\na lake\na meadow", **FIXED
        ),
        "picture": show("the picture", (340, 360)),
        "sheet": node("SketchContactSheet", named="on one sheet", columns=2, cell=256),
        "save": save("where words act", "where each word acts"),
    }
    links = [
        ("words", "STRING", "prompt", "text"),
        ("words", "STRING", "maps", "prompt"),
        (*base.clip, "prompt", "clip"),
        (*base.clip, "without", "clip"),
        (*base.model, "sampler", "model"),
        ("prompt", "CONDITIONING", "sampler", "positive"),
        ("without", "CONDITIONING", "sampler", "negative"),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "LATENT", "decode", "samples"),
        (*base.vae, "decode", "vae"),
        ("decode", "IMAGE", "picture", "images"),
        (*base.model, "maps", "model"),
        (*base.clip, "maps", "clip"),
        ("prompt", "CONDITIONING", "maps", "conditioning"),
        ("sampler", "LATENT", "maps", "latent"),
        ("decode", "IMAGE", "maps", "image"),
        ("maps", "heat maps", "sheet", "images"),
        ("sheet", "sheet", "save", "images"),
    ]
    groups = [
        [
            group("draw", "words instead of strokes", ["note", "words"]),
            group("model", base.group, (base.column, ["prompt", "without", "empty"])),
        ],
        [group("walk", "phrases is the knob", (["sampler", "decode", "picture"], ["maps", "sheet"]))],
        [group("result", "where each word acts", ["save"])],
    ]
    shown = app([("words", "value"), ("maps", "phrases"), ("sampler", "seed")], "picture", "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


PHOTO_LAND = "photo of a clear sky with clouds, hills, a lake, a meadow, by day"
GRADOP = {
    "12 Paint with a prompt - GradOP": lambda: paint_here(starter(), WORDS["green"], ""),
    "12 Paint with a prompt - GradOP (SD1.5)": lambda: paint_here(sd15(), WORDS["valley"], WORDS["without"]),
    "13 Paint with a prompt, compared - GradOP and img2img": lambda: compared(starter(), WORDS["prompt"], ""),
    "13 Paint with a prompt, compared - GradOP and img2img (SD1.5)": lambda: compared(
        sd15(), WORDS["photo"], WORDS["without"]
    ),
    "14 Words by colour - regional prompt": lambda: regions(starter(), LAND, ""),
    "14 Words by colour - regional prompt (SD1.5)": lambda: regions(sd15(), PHOTO_LAND, WORDS["without"]),
    "14 Words by colour - regional prompt (Z-Image-Turbo)": lambda: regions(z_image_turbo(), PHOTO_LAND, ""),
    "14 Words by colour - regional prompt (Qwen-Image)": lambda: regions(qwen_image(), PHOTO_LAND, WORDS["without"]),
    "15 Words by colour, compared - regional prompt": lambda: regions_compared(starter(), LAND, ""),
    "15 Words by colour, compared - regional prompt (SD1.5)": lambda: regions_compared(
        sd15(), PHOTO_LAND, WORDS["without"]
    ),
    "16 Words by mask - regional prompt": lambda: by_mask(starter()),
    "17 Where words act - attention maps": lambda: attention_maps(starter()),
}
