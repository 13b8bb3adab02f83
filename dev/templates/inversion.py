"""The graphs of Inversion-by-Inversion."""

from __future__ import annotations

from typing import Any

from templates.parts import AFHQ, ANIME, FIXED, RN101, SD15, STARTER, STARTER_LINES, Graph, drawing, join, node, note


def stage(key: str, column: int, latent: tuple[str, str] | None, model: tuple[str, str], **settings: Any) -> Graph:
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
    nodes = {
        shape: node("ShapeInversion", column, (320, 0), named=f"{key}: shape", **settings),
        walk: node("SamplerCustom", column + 1, (300, 0), add_noise=True, noise_seed=seed, cfg=1.0),
    }
    return {"nodes": nodes, "links": links}


def two_stages(**settings: Any) -> list[Graph]:
    """The two stages with an extractor; the graph brings the nodes prior, lines, label, drawing and appearance."""
    lines = {"nodes": {}, "links": [("lines", "extractor", f"shape stage {i}", "extractor") for i in (1, 2)]}
    one = {"weight": 1.0, "t0": 0.5, "steps": 25, **settings}
    first = stage("stage 1", 2, None, ("prior", "model"), **one)
    second = stage("stage 2", 4, ("walk stage 1", "output"), ("appearance", "model"), repeats=2, seed=2, **one)
    return [first, second, lines]


def sketch_and_exemplar() -> Graph:
    text = (
        "## A line sketch and an exemplar become a photo\n\n*Inversion-by-Inversion*, without any training. **Stage "
        "1** turns the sketch into an uncoloured photo of its shape; **stage 2** noises it again and gives it the "
        "exemplar's colours.\n\n- Choose other samples for *sketch* and *exemplar*, or upload your own.\n- **weight** "
        "of the shape: higher values follow the lines more strictly. **repeats** of stage 2: more runs follow them "
        "more closely without damaging the picture. **colour_weight** and **grid**: how strongly, and how precisely "
        "in place, the exemplar's colours are applied.\n- **t0** of stage 2: lower keeps more of stage 1.\n- For your "
        "own models use the same two nodes: see the SD1.5 version of this graph."
    )
    parts = {
        "nodes": {
            "note": note(text, height=380),
            "prior": node("SketchPriorLoader", 0, (280, 0), prior=STARTER),
            "lines": node("SketchExtractorLoader", 0, (280, 0), extractor=STARTER_LINES),
            "label": node("SketchPriorLabel", 0),
            "drawing": drawing("line drawing - lake and peaks.png", 1, named="sketch"),
            "exemplar": drawing("photo - evening lake.png", 1, named="exemplar"),
            "repeat": node("RepeatLatentBatch", 3, amount=4),
            "appearance": node("AppearanceEnergyGuidance", 3, (320, 0)),
            "decode 1": node("VAEDecode", 4),
            "show 1": node("PreviewImage", 4, (300, 300), named="after stage 1"),
            "decode": node("VAEDecode", 6),
            "larger": node("ImageScaleBy", 6, upscale_method="lanczos", scale_by=4.0),
            "save": node("SaveImage", 7, (480, 520), filename_prefix="SketchSynth/sketch and exemplar"),
        },
        "links": [
            ("shape stage 1", "latent", "repeat", "samples"),
            ("repeat", "LATENT", "walk stage 1", "latent_image"),
            ("walk stage 1", "output", "decode 1", "samples"),
            ("prior", "vae", "decode 1", "vae"),
            ("decode 1", "IMAGE", "show 1", "images"),
            ("prior", "model", "appearance", "model"),
            ("exemplar", "image", "appearance", "exemplar"),
            ("walk stage 2", "output", "decode", "samples"),
            ("prior", "vae", "decode", "vae"),
            ("decode", "IMAGE", "larger", "image"),
            ("larger", "IMAGE", "save", "images"),
        ],
    }
    return join(parts, *two_stages())


def published(key: str, column: int, latent: tuple[str, str] | None, model: tuple[str, str], **settings: Any) -> Graph:
    """A stage as the AFHQ settings have it."""
    return stage(
        *(key, column, latent, model),
        **{"t0": 0.4, "steps": 40, "point": "published", "target": "-1 to 1, as published", "limit": 0.0, **settings},
    )


def afhq(title: str, beast: str, prefix: str, weights: tuple, repeats: tuple, **appearance: Any) -> Graph:
    """Three stages from t0 .4 on the published checkpoints; the exemplar's look in the second only."""
    calls = 400 * sum(repeats)
    text = (
        f"## Inversion-by-Inversion as published: {title}\n\nThe paper's setting on its own checkpoints: AFHQ dogs at "
        f"256 pixels, a sketch of a dog, a photo of a {beast}. Three stages; the second also uses the exemplar.\n\n- "
        f"**steps** 0 uses every native level, as published: {calls} model calls. Use 40 for a quick look.\n- A *Jump "
        "Sampler* connected to the sampler inputs is the published accelerated sampler."
    )
    parts = {
        "nodes": {
            "note": note(text, height=380),
            "prior": node("SketchPriorLoader", 0, (280, 0), models=[AFHQ], prior=AFHQ["name"]),
            "label": node("SketchPriorLabel", 0),
            "lines": node("SketchExtractorLoader", 0, (280, 0), models=[ANIME], extractor=ANIME["name"]),
            "drawing": drawing("line drawing - lake and peaks.png", 1, size=256, named="sketch (of a dog)"),
            "exemplar": drawing("photo - evening lake.png", 1, size=256, named=f"exemplar (a {beast})"),
            "appearance": node(
                "AppearanceEnergyGuidance", 3, (320, 0), colour_weight=2.0, limit=0.0, point="published", **appearance
            ),
            "decode": node("VAEDecode", 8),
            "save": node("SaveImage", 8, (480, 520), filename_prefix=f"SketchSynth/{prefix}"),
        },
        "links": [
            *(("lines", "extractor", f"shape stage {i}", "extractor") for i in (1, 2, 3)),
            ("shape stage 1", "latent", "walk stage 1", "latent_image"),
            ("prior", "model", "appearance", "model"),
            ("exemplar", "image", "appearance", "exemplar"),
            ("walk stage 3", "output", "decode", "samples"),
            ("prior", "vae", "decode", "vae"),
            ("decode", "IMAGE", "save", "images"),
        ],
    }
    stages = [
        published(
            f"stage {i}",
            2 * i,
            (f"walk stage {i - 1}", "output") if i > 1 else None,
            ("appearance" if i == 2 else "prior", "model"),
            repeats=repeats[i - 1],
            weight=weights[i - 1],
            seed=i,
        )
        for i in (1, 2, 3)
    ]
    return join(parts, *stages)


def twin_cat2dog() -> Graph:
    """Stages of 3, 2 and 1 walks; colours and CLIP features as published."""
    look = {"feature_weight": 0.5, "feature_metric": "l2"}
    graph = afhq("cat2dog", "cat", "cat2dog", (0.5, 0.6, 0.5), (3, 2, 1), **look)
    graph["nodes"]["clip"] = node(
        "SketchFeatureLoader",
        0,
        (280, 0),
        models=[RN101],
        features=RN101["name"],
        taps="published",
        feeding="as published",
    )
    graph["links"].append(["clip", "features", "appearance", "features"])
    return graph


def twin_wild2dog() -> Graph:
    """Stages of 3, 3 and 1 walks under weaker lines; colours only."""
    return afhq("wild2dog", "fox, a lion or a wolf", "wild2dog", (0.1, 0.3, 0.1), (3, 3, 1))


def folders_in_pairs() -> Graph:
    text = (
        "## Folders of sketches and exemplars, in pairs\n\nPairs a folder of sketches with a folder of exemplars. The "
        "whole graph runs once per pair and puts all stages on one sheet: sketch, exemplar, start and end of stage 1, "
        "start and end of stage 2.\n\n- Choose your own folders in *Sketch and Exemplar Pairs*; they must be in "
        "ComfyUI's input folder.\n- **pairing**: one by one, or every sketch with every exemplar.\n- *Save Image* "
        "saves each result as exemplar-to-sketch."
    )
    nodes = {
        "note": note(text, height=340),
        "prior": node("SketchPriorLoader", 0, (280, 0), prior=STARTER),
        "lines": node("SketchExtractorLoader", 0, (280, 0), extractor=STARTER_LINES),
        "label": node("SketchPriorLabel", 0),
        "drawing": node("SketchPairs", 0, (300, 0), size=64, frame="square, crop"),
        "appearance": node("AppearanceEnergyGuidance", 3, (320, 0)),
        "decode 1": node("VAEDecode", 4),
        "decode 2": node("VAEDecode", 6),
        "look 1": node("NoiseToT0", 3, (300, 270), named="start of stage 1", t0=0.5, steps=25, seed=1, **FIXED),
        "look 2": node("NoiseToT0", 5, (300, 270), named="start of stage 2", t0=0.5, steps=25, seed=2, **FIXED),
        "decode look 1": node("VAEDecode", 4),
        "decode look 2": node("VAEDecode", 6),
        "stages": node("BatchImagesNode", 7),
        "sheet": node("SketchContactSheet", 7, cell=160),
        "show": node("PreviewImage", 8, (640, 520), named="the stages of every pair"),
        "save": node("SaveImage", 8, (300, 300)),
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
        ("decode 2", "IMAGE", "save", "images"),
        ("drawing", "name", "save", "filename_prefix"),
    ]
    graph = join({"nodes": nodes, "links": links}, *two_stages(sketch="sketch"))
    for key in ("walk stage 1", "walk stage 2"):
        graph["nodes"][key]["widgets"] |= FIXED
    return graph


def energies_on_a_ksampler() -> Graph:
    text = (
        "## Energies on a stock KSampler\n\nThe energies of Inversion-by-Inversion are MODEL patches, so they work "
        "with any sampler, scheduler and prompt. Here they steer a plain text-to-image graph from pure noise.\n\n- "
        "Bypass one of the two energies to see what it does.\n- **end** 0.9 leaves the last steps free to paint "
        "detail.\n- You can choose any sampler in the KSampler."
    )
    nodes = {
        "note": note(text),
        "prior": node("SketchPriorLoader", 0, (280, 0), prior=STARTER),
        "lines": node("SketchExtractorLoader", 0, (280, 0), extractor=STARTER_LINES),
        "label": node("SketchPriorLabel", 0),
        "drawing": drawing("line drawing - three conifers.png", 1, named="sketch"),
        "exemplar": drawing("photo - quiet lake.png", 1, named="exemplar"),
        "shape": node("SketchShapeEnergy", 2, (320, 0), weight=1.0),
        "appearance": node("AppearanceEnergyGuidance", 3, (320, 0)),
        "empty": node("EmptyLatentImage", 3, width=64, height=64, batch_size=4),
        "sampler": node(
            "KSampler", 4, (300, 0), seed=1, steps=30, cfg=1.0, sampler_name="euler_ancestral", scheduler="karras"
        ),
        "decode": node("VAEDecode", 5),
        "larger": node("ImageScaleBy", 5, upscale_method="lanczos", scale_by=4.0),
        "save": node("SaveImage", 6, (480, 520), filename_prefix="SketchSynth/energies"),
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
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "LATENT", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    return join({"nodes": nodes, "links": links})


def energies_sd15() -> Graph:
    text = (
        "## A sketch and an exemplar on SD1.5\n\nThe same energies on your own checkpoint. The shape energy decodes "
        "with the VAE at every step; a TAESD connected to *vae* is several times faster and needs a fraction of the "
        "memory. The colours need no VAE.\n\n- Start with weight 0.5 and colour_weight 5; the prompt says what the "
        "sketch shows."
    )
    nodes = {
        "note": note(text),
        "checkpoint": node("CheckpointLoaderSimple", 0, (320, 0), models=[SD15], ckpt_name=SD15["name"]),
        "drawing": drawing("line drawing - lake and peaks.png", size=512, named="sketch"),
        "exemplar": drawing("photo - evening lake.png", 1, size=512, named="exemplar"),
        "positive": node("CLIPTextEncode", 1, (360, 140), text="photo of a mountain lake with a cabin at sunset"),
        "negative": node("CLIPTextEncode", 1, (360, 100), text="drawing, sketch, lines, blurry"),
        "shape": node("SketchShapeEnergy", 2, (320, 0)),
        "appearance": node("AppearanceEnergyGuidance", 3, (320, 0)),
        "empty": node("EmptyLatentImage", 3, width=512, height=512, batch_size=1),
        "sampler": node(
            "KSampler", 4, (300, 0), seed=1, steps=30, cfg=7.0, sampler_name="euler_ancestral", scheduler="normal"
        ),
        "decode": node("VAEDecode", 5),
        "save": node("SaveImage", 5, (480, 520), filename_prefix="SketchSynth/sketch and exemplar SD15"),
    }
    links = [
        ("checkpoint", "CLIP", "positive", "clip"),
        ("checkpoint", "CLIP", "negative", "clip"),
        ("checkpoint", "MODEL", "shape", "model"),
        ("drawing", "image", "shape", "sketch"),
        ("checkpoint", "VAE", "shape", "vae"),
        ("shape", "model", "appearance", "model"),
        ("exemplar", "image", "appearance", "exemplar"),
        ("appearance", "model", "sampler", "model"),
        ("positive", "CONDITIONING", "sampler", "positive"),
        ("negative", "CONDITIONING", "sampler", "negative"),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "LATENT", "decode", "samples"),
        ("checkpoint", "VAE", "decode", "vae"),
        ("decode", "IMAGE", "save", "images"),
    ]
    return join({"nodes": nodes, "links": links})


INVERSION = {
    "Inversion-by-Inversion - sketch and exemplar": sketch_and_exemplar,
    "Inversion-by-Inversion - folders in pairs": folders_in_pairs,
    "Inversion-by-Inversion - cat2dog as published (AFHQ)": twin_cat2dog,
    "Inversion-by-Inversion - wild2dog as published (AFHQ)": twin_wild2dog,
    "Inversion-by-Inversion - energies on a KSampler": energies_on_a_ksampler,
    "Inversion-by-Inversion - sketch and exemplar (SD1.5)": energies_sd15,
}
