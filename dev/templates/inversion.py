"""The graphs of Inversion-by-Inversion: a line drawing gives the shapes, an exemplar the colours."""

from __future__ import annotations

from typing import Any

from templates.models import THREE, Base, sd15, z_image_turbo
from templates.parts import (
    AFHQ,
    ANIME,
    FIXED,
    RN101,
    STARTER,
    STARTER_LINES,
    UPSCALER,
    Graph,
    app,
    drawing,
    group,
    join,
    node,
    note,
    save,
    show,
    starter_walk,
    upscaled,
)


def loaders() -> dict[str, Any]:
    return {
        "prior": node("SketchPriorLoader", (290, 0), prior=STARTER),
        "lines": node("SketchExtractorLoader", (300, 0), "finds lines", extractor=STARTER_LINES),
        "label": node("SketchPriorLabel", named="no class: the starter has none"),
    }


def stage(key: str, latent: tuple[str, str] | None, model: tuple[str, str], **settings: Any) -> Graph:
    """One stage of Inversion-by-Inversion: a ShapeInversion and the SamplerCustom that walks it."""
    shape, walk = f"shape {key}", f"walk {key}"
    seed = settings.pop("seed", 1)
    links = [
        (*model, shape, "model"),
        ("prior", "vae", shape, "vae"),
        ("drawing", settings.pop("sketch", "image"), shape, "sketch"),
        (shape, "model", walk, "model"),
        ("label", "conditioning", walk, "positive"),
        ("label", "conditioning", walk, "negative"),
        (shape, "sampler", walk, "sampler"),
        (shape, "sigmas", walk, "sigmas"),
    ]
    if latent is not None:
        links += [(*latent, shape, "latent"), (shape, "latent", walk, "latent_image")]
    fixed = settings.pop("fixed", {})
    nodes = {
        shape: node("ShapeInversion", (320, 0), f"{key}: shape", **settings),
        walk: node("SamplerCustom", (282, 0), f"{key}: paint", add_noise=True, noise_seed=seed, cfg=1.0, **fixed),
    }
    return {"nodes": nodes, "links": links}


def two_stages(**settings: Any) -> list[Graph]:
    """The two stages with an extractor; the graph brings the nodes prior, lines, label, drawing and appearance. The
    noise of stage 1 stays the same: only the seed of stage 2 matters."""
    lines = {"nodes": {}, "links": [("lines", "extractor", f"shape stage {i}", "extractor") for i in (1, 2)]}
    one = {"weight": 1.0, "t0": 0.5, "steps": 25, **settings}
    first = stage("stage 1", None, ("prior", "model"), fixed=FIXED, **one)
    second = stage("stage 2", ("walk stage 1", "output"), ("appearance", "model"), repeats=2, seed=2, **one)
    return [first, second, lines]


def sketch_and_exemplar() -> Graph:
    nodes = {
        "note": note(
            "A line drawing becomes a photo",
            "Lines give the shapes, the exemplar the colours.",
            "weight: how strictly the lines. colour_weight: how strongly the colours.",
            "Your own model: the SD1.5 version.",
            width=638,
        ),
        **loaders(),
        "drawing": drawing("line drawing - lake and peaks.png", "your lines"),
        "exemplar": drawing("photo - evening lake.png", "exemplar: its colours"),
        "repeat": node("RepeatLatentBatch", named="how many results", amount=4),
        "appearance": node("AppearanceEnergyGuidance", (320, 0), "the exemplar's colours"),
        "decode 1": node("VAEDecode"),
        "show 1": show("after stage 1: shapes, no colours yet"),
        "decode": node("VAEDecode"),
        **upscaled(),
        "save": save("sketch and exemplar"),
    }
    links = [
        ("shape stage 1", "latent", "repeat", "samples"),
        ("repeat", "LATENT", "walk stage 1", "latent_image"),
        ("walk stage 1", "output", "decode 1", "samples"),
        ("prior", "vae", "decode 1", "vae"),
        ("decode 1", "IMAGE", "show 1", "images"),
        ("prior", "model", "appearance", "model"),
        ("exemplar", "image", "appearance", "exemplar"),
        ("walk stage 2", "output", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        UPSCALER,
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = [
        [
            group("draw", "lines, and a photo for the colours", ["note", ("drawing", "exemplar")]),
            group("model", "the built-in painter, and what finds lines", ("prior", ["lines", "label"])),
        ],
        [
            group(
                *("walk", "stage 1, the shapes: weight is the knob"),
                ("shape stage 1", ["repeat", "walk stage 1"], ["decode 1", "show 1"]),
            ),
            group(
                *("walk", "stage 2, the colours: colour_weight is the knob"),
                ("appearance", "shape stage 2", "walk stage 2"),
            ),
        ],
        [group("result", "your lines, its colours", ["decode", "upscaler", "larger", "save"])],
    ]
    shown = app(
        [
            *(
                ("drawing", "image"),
                ("exemplar", "image"),
                ("shape stage 1", "weight"),
                ("appearance", "colour_weight"),
            ),
            ("walk stage 2", "noise_seed"),
        ],
        "save",
    )
    return join({"nodes": nodes, "links": links}, *two_stages(), groups=groups, app=shown)


def published(key: str, latent: tuple[str, str] | None, model: tuple[str, str], **settings: Any) -> Graph:
    """A stage as the AFHQ settings have it."""
    return stage(
        *(key, latent, model),
        **{"t0": 0.4, "steps": 40, "point": "published", "target": "-1 to 1, as published", "limit": 0.0, **settings},
    )


def afhq(title: str, beast: str, prefix: str, weights: tuple, repeats: tuple, **appearance: Any) -> Graph:
    """Three stages from t0 .4 on the published checkpoints; the exemplar's look in the second only."""
    nodes = {
        "note": note(
            f"As in the paper: {title}",
            f"A sketch of a dog, a photo of a {beast}, at 256 pixels. Three stages; the second uses the exemplar.",
            f"steps 0 as published: {400 * sum(repeats)} model calls. 40 for a quick look.",
            width=638,
        ),
        "prior": node("SketchPriorLoader", (290, 0), "AFHQ dogs", [AFHQ], prior=AFHQ["name"]),
        "label": node("SketchPriorLabel", named="no class: this model has none"),
        "lines": node("SketchExtractorLoader", (300, 0), "finds lines", [ANIME], extractor=ANIME["name"]),
        "drawing": drawing("line drawing - lake and peaks.png", "sketch (of a dog)", size=256),
        "exemplar": drawing("photo - evening lake.png", f"exemplar (a {beast})", size=256),
        "appearance": node(
            "AppearanceEnergyGuidance",
            (320, 0),
            "the exemplar's look",
            colour_weight=2.0,
            limit=0.0,
            point="published",
            **appearance,
        ),
        "decode": node("VAEDecode"),
        "save": save(prefix),
    }
    links = [
        *(("lines", "extractor", f"shape stage {i}", "extractor") for i in (1, 2, 3)),
        ("shape stage 1", "latent", "walk stage 1", "latent_image"),
        ("prior", "model", "appearance", "model"),
        ("exemplar", "image", "appearance", "exemplar"),
        ("walk stage 3", "output", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        ("decode", "IMAGE", "save", "images"),
    ]
    stages = [
        published(
            f"stage {i}",
            (f"walk stage {i - 1}", "output") if i > 1 else None,
            ("appearance" if i == 2 else "prior", "model"),
            repeats=repeats[i - 1],
            weight=weights[i - 1],
            seed=i,
            fixed=FIXED if i < 3 else {},
        )
        for i in (1, 2, 3)
    ]
    groups = [
        [
            group("draw", "a sketch, and a photo for the look", ["note", ("drawing", "exemplar")]),
            group("model", "the paper's own", (["prior", "label"], ["lines"])),
        ],
        [
            group("walk", "stage 1", ("shape stage 1", "walk stage 1")),
            group("walk", "stage 2", ("appearance", "shape stage 2", "walk stage 2")),
        ],
        [group("walk", "stage 3", ("shape stage 3", "walk stage 3"))],
        [group("result", "", ["decode", "save"])],
    ]
    return join({"nodes": nodes, "links": links}, *stages, groups=groups)


def twin_cat2dog() -> Graph:
    """Stages of 3, 2 and 1 walks; colours and CLIP features as published."""
    look = {"feature_weight": 0.5, "feature_metric": "l2"}
    graph = afhq("cat2dog", "cat", "cat2dog", (0.5, 0.6, 0.5), (3, 2, 1), **look)
    graph["nodes"]["clip"] = node(
        "SketchFeatureLoader",
        (300, 0),
        "CLIP RN101",
        [RN101],
        features=RN101["name"],
        taps="published",
        feeding="as published",
    )
    graph["links"].append(["clip", "features", "appearance", "features"])
    graph["groups"][0][1]["inside"] = (["prior", "label"], ["lines", "clip"])
    return graph


def twin_wild2dog() -> Graph:
    """Stages of 3, 3 and 1 walks under weaker lines; colours only."""
    return afhq("wild2dog", "fox, a lion or a wolf", "wild2dog", (0.1, 0.3, 0.1), (3, 3, 1))


def folders_in_pairs() -> Graph:
    start = {"t0": 0.5, "steps": 25, **FIXED}
    nodes = {
        "note": note(
            "Folders of sketches and exemplars",
            "Put two folders into ComfyUI's input folder, press R, choose them here.",
            "Run makes every pair, and a sheet of its stages.",
        ),
        **loaders(),
        "drawing": node("SketchPairs", (320, 0), "which folders, and how they pair", size=64, frame="square, crop"),
        "appearance": node("AppearanceEnergyGuidance", (320, 0), "the exemplar's colours"),
        "decode 1": node("VAEDecode", named="end of stage 1"),
        "decode 2": node("VAEDecode", named="end of stage 2"),
        **upscaled(),
        "look 1": node("NoiseToT0", (290, 0), "start of stage 1", seed=1, **start),
        "look 2": node("NoiseToT0", (290, 0), "start of stage 2", seed=2, **start),
        "decode look 1": node("VAEDecode"),
        "decode look 2": node("VAEDecode"),
        "stages": node("BatchImagesNode"),
        "sheet": node("SketchContactSheet", named="one sheet for each pair", cell=160),
        "show": show("the stages of every pair", (440, 210)),
        "prefix": node("StringConcatenate", (300, 150), "name of the files", string_a="SketchSynth/pairs/"),
        "save": node("SaveImage", (440, 210), "the results, saved by name"),
    }
    links = [
        ("shape stage 1", "latent", "walk stage 1", "latent_image"),
        ("drawing", "exemplar", "appearance", "exemplar"),
        ("prior", "model", "appearance", "model"),
        ("prior", "model", "look 1", "model"),
        ("prior", "model", "look 2", "model"),
        ("shape stage 1", "latent", "look 1", "latent"),
        ("walk stage 1", "output", "look 2", "latent"),
        *((key, "look", f"decode {key}", "samples") for key in ("look 1", "look 2")),
        *((f"walk stage {i}", "output", f"decode {i}", "samples") for i in (1, 2)),
        *(("prior", "vae", f"decode {key}", "vae") for key in ("1", "2", "look 1", "look 2")),
        ("drawing", "sketch", "stages", "images.image0"),
        ("drawing", "exemplar", "stages", "images.image1"),
        ("decode look 1", "IMAGE", "stages", "images.image2"),
        ("decode 1", "IMAGE", "stages", "images.image3"),
        ("decode look 2", "IMAGE", "stages", "images.image4"),
        ("decode 2", "IMAGE", "stages", "images.image5"),
        ("stages", "IMAGE", "sheet", "images"),
        ("drawing", "name", "sheet", "labels"),
        ("sheet", "sheet", "show", "images"),
        UPSCALER,
        ("decode 2", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
        ("drawing", "name", "prefix", "string_b"),
        ("prefix", "STRING", "save", "filename_prefix"),
    ]
    groups = [
        [
            group("draw", "folders in pairs", ["note", "drawing"]),
            group("model", "the built-in painter", ["prior", "lines"]),
        ],
        [
            group(
                "walk",
                "stage 1",
                ("shape stage 1", "walk stage 1", "look 1", ["decode look 1", "decode 1", "upscaler"]),
            ),
            group(
                *("walk", "stage 2"),
                (
                    ["appearance", "label"],
                    "shape stage 2",
                    ["look 2", "walk stage 2"],
                    ["decode look 2", "decode 2", "larger"],
                ),
            ),
        ],
        [group("result", "a sheet for each pair, files by name", ["stages", "sheet", "show", "prefix", "save"])],
    ]
    widgets = [("drawing", name) for name in ("sketches", "exemplars", "pairing", "limit")]
    shown = app([*widgets, ("appearance", "colour_weight")], "show", "save")
    graph = join({"nodes": nodes, "links": links}, *two_stages(sketch="sketch"), groups=groups, app=shown)
    graph["nodes"]["walk stage 2"]["widgets"] |= FIXED
    return graph


def energies_on_a_ksampler() -> Graph:
    nodes = {
        "note": note(
            "Lines and colours on a KSampler",
            "Two patches steer any model and any sampler: one to your lines, one to the exemplar's colours.",
            "Bypass one (Ctrl+B) to see what it does.",
            width=638,
        ),
        **loaders(),
        "drawing": drawing("line drawing - three conifers.png", "your lines"),
        "exemplar": drawing("photo - quiet lake.png", "exemplar: its colours"),
        "shape": node("SketchShapeEnergy", (320, 0), "follow the lines", weight=1.0),
        "appearance": node("AppearanceEnergyGuidance", (320, 0), "take the colours"),
        "of drawing": node("GetImageSize", named="the drawing's size"),
        "empty": node("EmptyLatentImage", named="how many results", batch_size=4),
        "sampler": node(
            "KSampler",
            (282, 0),
            "any sampler",
            seed=1,
            steps=25,
            cfg=1.0,
            sampler_name="euler_ancestral",
            scheduler="karras",
        ),
        "decode": node("VAEDecode"),
        **upscaled(),
        "save": save("energies"),
    }
    links = [
        ("prior", "model", "shape", "model"),
        ("drawing", "image", "shape", "sketch"),
        ("lines", "extractor", "shape", "extractor"),
        ("shape", "model", "appearance", "model"),
        ("exemplar", "image", "appearance", "exemplar"),
        ("appearance", "model", "sampler", "model"),
        ("label", "conditioning", "sampler", "positive"),
        ("label", "conditioning", "sampler", "negative"),
        ("drawing", "image", "of drawing", "image"),
        ("of drawing", "width", "empty", "width"),
        ("of drawing", "height", "empty", "height"),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "LATENT", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        UPSCALER,
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = [
        [
            group("draw", "lines, and a photo for the colours", ["note", ("drawing", "exemplar")]),
            group("model", "the built-in painter, and what finds lines", ("prior", ["lines", "label", "of drawing"])),
        ],
        [
            group(
                *("walk", "the two weights are the knobs"),
                (["shape"], ["appearance", "empty"], ["sampler", "decode", "upscaler", "larger"]),
            )
        ],
        [group("result", "your lines, its colours", ["save"])],
    ]
    shown = app(
        [
            *(("drawing", "image"), ("exemplar", "image"), ("shape", "weight"), ("appearance", "colour_weight")),
            ("sampler", "seed"),
        ],
        "save",
    )
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def energies(base: Base) -> Graph:
    """On a model of the user's. A distilled one takes its own sampler and steps, and the energies their own scale."""
    distilled = base.distilled
    sampler, steps = (base.sampler, base.steps) if distilled else ("euler_ancestral", 30)
    scale: dict[str, Any] = {"scale": "auto", "inner_steps": 4} if distilled else {}
    nodes = {
        "note": note(
            "On your own model",
            THREE if distilled else "Start with weight 0.5 and colour_weight 5. The prompt says what the lines show.",
            *(["The prompt says what the lines show."] if distilled else []),
            "A TAESD on vae is several times faster.",
            width=638,
        ),
        **base.nodes,
        "drawing": drawing("line drawing - lake and peaks.png", "your lines", size=base.side),
        "exemplar": drawing("photo - evening lake.png", "exemplar: its colours", size=base.side),
        "positive": node(
            "CLIPTextEncode", (360, 140), "what the lines show", text="photo of a mountain lake with a cabin at sunset"
        ),
        "negative": node(
            "CLIPTextEncode", (360, 100), base.avoid, text="" if distilled else "drawing, sketch, lines, blurry"
        ),
        "shape": node("SketchShapeEnergy", (320, 0), "follow the lines", **scale),
        "appearance": node("AppearanceEnergyGuidance", (320, 0), "take the colours", **scale),
        "of drawing": node("GetImageSize", named="the drawing's size"),
        "empty": node(base.empty, named="how many results", batch_size=1),
        "sampler": node(
            "KSampler",
            (282, 0),
            "any sampler",
            seed=1,
            steps=steps,
            cfg=base.cfg,
            sampler_name=sampler,
            scheduler=base.scheduler,
        ),
        "decode": node("VAEDecode"),
        "save": save(f"sketch and exemplar{base.end}"),
    }
    links = [
        *base.links,
        (*base.clip, "positive", "clip"),
        (*base.clip, "negative", "clip"),
        (*base.model, "shape", "model"),
        ("drawing", "image", "shape", "sketch"),
        (*base.vae, "shape", "vae"),
        ("shape", "model", "appearance", "model"),
        ("exemplar", "image", "appearance", "exemplar"),
        ("appearance", "model", "sampler", "model"),
        ("positive", "CONDITIONING", "sampler", "positive"),
        ("negative", "CONDITIONING", "sampler", "negative"),
        ("drawing", "image", "of drawing", "image"),
        ("of drawing", "width", "empty", "width"),
        ("of drawing", "height", "empty", "height"),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "LATENT", "decode", "samples"),
        (*base.vae, "decode", "vae"),
        ("decode", "IMAGE", "save", "images"),
    ]
    groups = base.bands(
        group("draw", "lines, and a photo for the colours", ["note", ("drawing", "exemplar")]),
        ["of drawing"],
        ["positive", "negative"],
        group("walk", "the two weights are the knobs", (["shape"], ["appearance", "empty"], ["sampler", "decode"])),
        group("result", "your lines, its colours", ["save"]),
    )
    shown = app(
        [
            *(("drawing", "image"), ("exemplar", "image"), ("positive", "text"), ("shape", "weight")),
            *(("appearance", "colour_weight"), ("sampler", "seed")),
        ],
        "save",
    )
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def pruned() -> Graph:
    """Many variants of a painting, of which those that keep its colours best are finished."""
    nodes = {
        "note": note(
            "Eight begin, two are finished",
            "Half of them leave on the way, twice: those that lose your colours. The best comes first.",
            "keep: how many are finished.",
        ),
        "drawing": drawing("mountain lake.png", "your strokes"),
        "encode": node("VAEEncode"),
        "appearance": node(
            "AppearanceEnergyGuidance", (320, 0), "keep its colours", colour_weight=0.5, grid=24, scale="auto"
        ),
        "prune": node("SketchPruneSampler", named="who is finished", keep=2),
        "save": save("pruned", "the best two, best first"),
    }
    links = [
        ("drawing", "image", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("prior", "model", "appearance", "model"),
        ("drawing", "image", "appearance", "exemplar"),
        ("appearance", "model", "sampler", "model"),
        ("ddpm", "SAMPLER", "prune", "sampler"),
        ("prune", "sampler", "sampler", "sampler"),
        ("larger", "IMAGE", "save", "images"),
    ]
    walk = starter_walk(("encode", "LATENT"), 0.5, 8)
    walk["links"] = [link for link in walk["links"] if link[2:] not in (("sampler", "model"), ("sampler", "sampler"))]
    groups = [
        [
            group("draw", "your strokes", ("note", "drawing")),
            group("model", "the built-in painter", ("prior", ["encode", "repeat"])),
        ],
        [
            group(
                *("walk", "t0 and keep are the knobs"),
                (["t0", "ddpm", "prune"], ["appearance", "label"], ["sampler", "decode", "upscaler", "larger"]),
            )
        ],
        [group("result", "best first", ["save"])],
    ]
    shown = app([("drawing", "image"), ("t0", "t0"), ("prune", "keep"), ("sampler", "noise_seed")], "save")
    return join({"nodes": nodes, "links": links}, walk, groups=groups, app=shown)


INVERSION = {
    "09 Line drawing and exemplar - sketch to photo": sketch_and_exemplar,
    "09 Line drawing and exemplar - sketch to photo (SD1.5)": lambda: energies(sd15()),
    "09 Line drawing and exemplar - sketch to photo (Z-Image-Turbo)": lambda: energies(z_image_turbo()),
    "10 Line drawing on a KSampler - scribble": energies_on_a_ksampler,
    "45 Many variants, the best kept - pruning, ranked": pruned,
    "11 Folders in pairs - batch of sketches": folders_in_pairs,
    "25 cat2dog as published (AFHQ)": twin_cat2dog,
    "26 wild2dog as published (AFHQ)": twin_wild2dog,
}
