"""The graphs of words in painted regions: by colour, by mask, compared, and where words act."""

from __future__ import annotations

from typing import Any

from templates.gradop import WORDS, common_seed, from_noise, painting, prompts, walk
from templates.models import Base, qwen_image, sd15, starter, z_image_turbo
from templates.parts import FIXED, MODELS_UPSCALER, Graph, app, by_model, drawing, group, join, node, note, save, show

LEGEND = "#6c8a88: a lake\n#808a66: a meadow"
LAND = "a clear sky, clouds, hills, a lake, a meadow, by day"
PHOTO_LAND = "photo of a clear sky with clouds, hills, a lake, a meadow, by day"


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
        **(by_model() if small else {}),
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
        (*(("larger", "IMAGE") if small else ("decode", "IMAGE")), "save", "images"),
        *([MODELS_UPSCALER, ("decode", "IMAGE", "larger", "image")] if small else []),
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
        **by_model(),
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
        MODELS_UPSCALER,
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


REGIONS = {
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
