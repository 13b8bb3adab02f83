"""The graphs of SDEdit."""

from __future__ import annotations

from templates.parts import CHURCH, SD15, STARTER, Graph, drawing, join, node, note, starter_walk


def strokes_to_photo() -> Graph:
    text = (
        "## SDEdit: strokes to photo\n\nNoise is added to your strokes up to **t0**, and the model denoises them from "
        "there.\n\n- **t0** is the main setting: 0.3 stays close to the strokes, 0.6 invents more.\n- Choose another "
        "sample in *Load Sketch*, or upload your own painting: sky on top, land below.\n- *start* shows what the "
        "model starts from.\n- Everything here is built in. For your own models open the SD1.5 version of this graph."
    )
    parts = {
        "nodes": {
            "note": note(text),
            "drawing": drawing("mountain lake.png"),
            "encode": node("VAEEncode", 1),
            "show strokes": node("PreviewImage", 1, (250, 250), named="your strokes"),
            "decode look": node("VAEDecode", 3),
            "show look": node("PreviewImage", 3, (250, 250), named="start: the strokes at t0"),
            "save": node("SaveImage", 5, (480, 520), filename_prefix="SketchSynth/strokes to photo"),
        },
        "links": [
            ("drawing", "image", "encode", "pixels"),
            ("drawing", "image", "show strokes", "images"),
            ("prior", "vae", "encode", "vae"),
            ("t0", "look", "decode look", "samples"),
            ("prior", "vae", "decode look", "vae"),
            ("decode look", "IMAGE", "show look", "images"),
            ("larger", "IMAGE", "save", "images"),
        ],
    }
    return join(parts, starter_walk(1, ("encode", "LATENT"), 0.4))


def paint_here() -> Graph:
    text = (
        "## Paint here, press Run\n\nPaint over the picture in the **Painter** with a broad brush and flat colours, "
        "and leave the details to the model.\n\n- Start from an empty page: disconnect the image going into the "
        "Painter and choose its background colour.\n- Press Run again for four other versions of the same strokes.\n- "
        "Raise **t0** if the result looks painted, lower it if it ignores your strokes."
    )
    parts = {
        "nodes": {
            "note": note(text),
            "drawing": drawing("green hills.png", size=512),
            "paint": node("Painter", 1, (480, 560)),
            "small": node("ImageScale", 2, upscale_method="area", width=64, height=64, crop="center"),
            "encode": node("VAEEncode", 2),
            "save": node("SaveImage", 6, (480, 520), filename_prefix="SketchSynth/paint here"),
        },
        "links": [
            ("drawing", "image", "paint", "image"),
            ("paint", "IMAGE", "small", "image"),
            ("small", "IMAGE", "encode", "pixels"),
            ("prior", "vae", "encode", "vae"),
            ("larger", "IMAGE", "save", "images"),
        ],
    }
    return join(parts, starter_walk(2, ("encode", "LATENT"), 0.4))


def edit_with_mask() -> Graph:
    text = (
        "## Edit a photo with strokes and a mask\n\nStrokes are painted over a photo, and the model repaints only "
        "where they are (and a little around them). Every pixel outside the mask stays exactly as it was.\n\n- The "
        "strokes are a picture with a transparent background: the **mask** of *Load Sketch* is where there is "
        "paint.\n- **Grow Mask** sets how much space the model gets around the strokes.\n- t0 0.25 to 0.45 blends the "
        "strokes into the photo."
    )
    parts = {
        "nodes": {
            "note": note(text),
            "photo": drawing("photo - mountain meadow.png", named="photo"),
            "strokes": drawing(
                "strokes - cabin and trees.png", kind="colour painting", paper="#4a5c2c", named="strokes"
            ),
            "put": node("ImageCompositeMasked", 1, x=0, y=0),
            "show": node("PreviewImage", 1, (250, 250), named="photo with strokes"),
            "grow": node("GrowMask", 1, expand=3),
            "encode": node("VAEEncode", 1),
            "mask": node("SetLatentNoiseMask", 1),
            "save": node("SaveImage", 6, (480, 520), filename_prefix="SketchSynth/edited photo"),
        },
        "links": [
            ("photo", "image", "put", "destination"),
            ("strokes", "image", "put", "source"),
            ("strokes", "mask", "put", "mask"),
            ("strokes", "mask", "grow", "mask"),
            ("put", "IMAGE", "show", "images"),
            ("put", "IMAGE", "encode", "pixels"),
            ("prior", "vae", "encode", "vae"),
            ("encode", "LATENT", "mask", "samples"),
            ("grow", "MASK", "mask", "mask"),
            ("larger", "IMAGE", "save", "images"),
        ],
    }
    return join(parts, starter_walk(2, ("mask", "LATENT"), 0.3))


def cut_and_paste() -> Graph:
    text = (
        "## Cut and paste\n\nA piece of one picture is pasted into another. SDEdit at a **low t0** blends the seams "
        "and the light.\n\n- x and y of *Image Composite Masked* move the piece.\n- t0 0.1 to 0.3: low values keep "
        "the piece as it is, high values let the model redraw it.\n- Two repeats (SDEdit's K) blend more than one at "
        "the same t0."
    )
    parts = {
        "nodes": {
            "note": note(text),
            "photo": drawing("photo - mountain meadow.png", size=0, named="photo"),
            "piece": drawing("cut-out - red cabin.png", kind="colour painting", paper="#6b2a20", size=0, named="piece"),
            "put": node("ImageCompositeMasked", 1, x=112, y=124),
            "show": node("PreviewImage", 1, (250, 250), named="pasted"),
            "small": node("ImageScale", 1, upscale_method="area", width=64, height=64, crop="center"),
            "encode": node("VAEEncode", 1),
            "twice": node("SketchRepeatSampler", 3, repeats=2),
            "save": node("SaveImage", 6, (480, 520), filename_prefix="SketchSynth/cut and paste"),
        },
        "links": [
            ("photo", "image", "put", "destination"),
            ("piece", "image", "put", "source"),
            ("piece", "mask", "put", "mask"),
            ("put", "IMAGE", "show", "images"),
            ("put", "IMAGE", "small", "image"),
            ("small", "IMAGE", "encode", "pixels"),
            ("prior", "vae", "encode", "vae"),
            ("larger", "IMAGE", "save", "images"),
            ("ddpm", "SAMPLER", "twice", "sampler"),
            ("twice", "sampler", "sampler", "sampler"),
        ],
    }
    walk = starter_walk(2, ("encode", "LATENT"), 0.12)
    walk["links"] = [link for link in walk["links"] if link[:2] != ("ddpm", "SAMPLER")]
    return join(parts, walk)


def sweep() -> Graph:
    text = (
        "## t0 sweep\n\nOne painting, one seed, t0 from low to high on one sheet: find the t0 that looks realistic "
        "enough and still follows your painting.\n\n- **first**, **last** and **count** choose the columns.\n- Use "
        "the t0 you like in *SDEdit - strokes to photo*."
    )
    nodes = {
        "note": note(text, height=240),
        "prior": node("SketchPriorLoader", 0, (280, 0), prior=STARTER),
        "drawing": drawing("desert sunset.png"),
        "encode": node("VAEEncode", 1),
        "label": node("SketchPriorLabel", 1),
        "ddpm": node("KSamplerSelect", 1, sampler_name="ddpm"),
        "sweep": node("SketchT0Sweep", 1, (280, 0), first=0.1, last=0.9, count=9, steps=30),
        "sampler": node("SamplerCustom", 2, (300, 0), add_noise=True, noise_seed=1, cfg=1.0),
        "decode": node("VAEDecode", 3),
        "larger": node("ImageScaleBy", 3, upscale_method="lanczos", scale_by=3.0),
        "sheet": node("SketchContactSheet", 3),
        "save": node("SaveImage", 4, (640, 660), filename_prefix="SketchSynth/t0 sweep"),
    }
    links = [
        ("drawing", "image", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("prior", "model", "sweep", "model"),
        ("prior", "model", "sampler", "model"),
        ("label", "conditioning", "sampler", "positive"),
        ("label", "conditioning", "sampler", "negative"),
        ("ddpm", "SAMPLER", "sampler", "sampler"),
        ("sweep", "sigmas", "sampler", "sigmas"),
        ("encode", "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "sheet", "images"),
        ("sweep", "labels", "sheet", "labels"),
        ("sheet", "sheet", "save", "images"),
    ]
    return join({"nodes": nodes, "links": links})


def twin_sd15() -> Graph:
    text = (
        "## SDEdit on SD1.5\n\nThe same graph on your own checkpoint: choose any SD1.5 or SDXL model in *Load "
        "Checkpoint*.\n\n- Latent models need a higher **t0**, 0.5 to 0.7; on SD1.5, every t0 from 0.73 up is pure "
        "noise.\n- The prompt says what the strokes show; use your usual cfg.\n- For SDXL set the drawing's size to "
        "1024."
    )
    nodes = {
        "note": note(text),
        "checkpoint": node("CheckpointLoaderSimple", 0, (320, 0), models=[SD15], ckpt_name=SD15["name"]),
        "drawing": drawing("mountain lake.png", size=512),
        "positive": node(
            "CLIPTextEncode",
            1,
            (360, 140),
            text="photo of a mountain lake, snow-capped peaks, conifers, a red cabin on the shore, morning light",
        ),
        "negative": node("CLIPTextEncode", 1, (360, 100), text="painting, drawing, blurry, flat colours"),
        "encode": node("VAEEncode", 1),
        "ddpm": node("KSamplerSelect", 1, sampler_name="ddpm"),
        "t0": node("NoiseToT0", 2, (300, 0), t0=0.6, steps=30, seed=1),
        "sampler": node("SamplerCustom", 3, (300, 0), add_noise=True, noise_seed=1, cfg=7.0),
        "decode": node("VAEDecode", 4),
        "save": node("SaveImage", 4, (480, 520), filename_prefix="SketchSynth/strokes to photo SD15"),
    }
    links = [
        ("drawing", "image", "encode", "pixels"),
        ("checkpoint", "VAE", "encode", "vae"),
        ("checkpoint", "CLIP", "positive", "clip"),
        ("checkpoint", "CLIP", "negative", "clip"),
        ("checkpoint", "MODEL", "t0", "model"),
        ("encode", "LATENT", "t0", "latent"),
        ("checkpoint", "MODEL", "sampler", "model"),
        ("positive", "CONDITIONING", "sampler", "positive"),
        ("negative", "CONDITIONING", "sampler", "negative"),
        ("ddpm", "SAMPLER", "sampler", "sampler"),
        ("t0", "sigmas", "sampler", "sigmas"),
        ("encode", "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decode", "samples"),
        ("checkpoint", "VAE", "decode", "vae"),
        ("decode", "IMAGE", "save", "images"),
    ]
    return join({"nodes": nodes, "links": links})


def twin_church() -> Graph:
    text = (
        "## SDEdit on the published church prior\n\nThe paper's own setting: the LSUN church model at 256 pixels, "
        "strokes of a building, t0 0.5, every native level (steps 0, which means 500 of them), or 30 steps for a "
        "quick look.\n\nDownload the checkpoint (see models_manifest.json in the pack's folder) and put it into "
        "*models/sketch_priors* under the name the loader shows."
    )
    graph = strokes_to_photo()
    nodes = graph["nodes"]
    nodes["note"] = note(text)
    nodes["prior"] = node("SketchPriorLoader", 0, (280, 0), models=[CHURCH], prior=CHURCH["name"])
    nodes["drawing"]["widgets"]["size"] = 256
    nodes["t0"]["widgets"]["t0"] = 0.5
    nodes["repeat"]["widgets"]["amount"] = 1
    del nodes["larger"]
    nodes["save"]["widgets"]["filename_prefix"] = "SketchSynth/strokes to church"
    graph["links"] = [link for link in graph["links"] if "larger" not in (link[0], link[2])] + [
        ["decode", "IMAGE", "save", "images"]
    ]
    return graph


SDEDIT = {
    "SDEdit - strokes to photo": strokes_to_photo,
    "SDEdit - paint here and press Run": paint_here,
    "SDEdit - edit a photo with strokes": edit_with_mask,
    "SDEdit - cut and paste": cut_and_paste,
    "SDEdit - t0 sweep": sweep,
    "SDEdit - strokes to photo (SD1.5)": twin_sd15,
    "SDEdit - strokes to photo (LSUN church)": twin_church,
}
