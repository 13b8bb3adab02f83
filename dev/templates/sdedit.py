"""The graphs of SDEdit: strokes become pictures."""

from __future__ import annotations

from typing import Any

from templates.models import THREE, Base, krea2_turbo, qwen_image, sd15, sdxl, z_image_turbo
from templates.parts import (
    CHURCH,
    FIXED,
    STARTER,
    UPSCALER,
    Graph,
    app,
    canvas,
    drawing,
    group,
    join,
    larger,
    model_size,
    node,
    not_enlarged,
    note,
    save,
    show,
    starter_walk,
    upscaled,
)

T0 = "t0 is the knob: 0.3 stays close, 0.6 invents more."
PAINTER = "the built-in landscape painter"
LAKE = "photo of a mountain lake, snow-capped peaks, conifers, a red cabin on the shore, morning light"
WITHOUT = "painting, drawing, blurry, flat colours"
TODAYS = f"{THREE} t0 0.4 to 0.65 keeps the layout; higher invents more."


def bands(draw: Any, model: Any, walk: Any, result: Any, *says: str) -> list[list[Graph]]:
    """What to paint with its model below it, then the walk with its knob beside the drawing, then the result."""
    return [
        [group("draw", says[0], draw), group("model", says[1], model)],
        [group("walk", says[2], walk)],
        [group("result", says[3], result)],
    ]


def paint_here() -> Graph:
    nodes = {
        "note": note(
            "Paint here, press Run",
            "Paint over the picture: broad brush, flat colours, no details. Press Run.",
            T0,
        ),
        "drawing": drawing("green hills.png", "what you paint on", size=0),
        "paint": canvas("paint here", 32, 512),
        "small": model_size(64),
        "encode": node("VAEEncode"),
        "result": show("four versions (right-click to save)", (420, 480)),
    }
    links = [
        ("drawing", "image", "paint", "ground"),
        ("paint", "image", "small", "image"),
        ("small", "IMAGE", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("larger", "IMAGE", "result", "images"),
    ]
    groups = bands(
        (["note", "drawing"], "paint"),
        ("prior", ["small", "encode", "repeat"]),
        (["t0", "label", "ddpm"], ["sampler", "decode", "upscaler", "larger"]),
        ["result"],
        *("paint over the picture", PAINTER, "t0 is the knob", "four versions"),
    )
    shown = app([("paint", "painting"), ("t0", "t0"), ("repeat", "amount"), ("sampler", "noise_seed")], "result")
    return join({"nodes": nodes, "links": links}, starter_walk(("encode", "LATENT"), 0.4), groups=groups, app=shown)


def strokes_to_photo() -> Graph:
    nodes = {
        "note": note(
            "Strokes become a photo",
            T0,
            "Choose another drawing, or upload yours: sky on top, land below.",
            "Your own model: the SD1.5 version of this graph.",
        ),
        "drawing": drawing("mountain lake.png", "your strokes"),
        "encode": node("VAEEncode"),
        "decode look": node("VAEDecode"),
        "look": show("the strokes, noised up to t0"),
        "save": save("strokes to photo"),
    }
    links = [
        ("drawing", "image", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("t0", "look", "decode look", "samples"),
        ("prior", "vae", "decode look", "vae"),
        ("decode look", "IMAGE", "look", "images"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = bands(
        ("note", "drawing"),
        ("prior", ["encode", "repeat"]),
        (["t0", "label", "ddpm", "decode look", "look"], ["sampler", "decode", "upscaler", "larger"]),
        ["save"],
        *("your strokes", PAINTER, "t0 is the knob", "four photos"),
    )
    shown = app([("drawing", "image"), ("t0", "t0"), ("repeat", "amount"), ("sampler", "noise_seed")], "save")
    return join({"nodes": nodes, "links": links}, starter_walk(("encode", "LATENT"), 0.4), groups=groups, app=shown)


def best_of_four() -> Graph:
    nodes = {
        "note": note(
            "Four results, best first",
            "Best means closest to your strokes: the mean difference of all pixels' colours.",
            "Connect photos of the same kind to references: then looking real counts, too.",
        ),
        "drawing": drawing("desert sunset.png", "your strokes"),
        "encode": node("VAEEncode"),
        "rank": node("SketchFaithfulnessReport", (300, 300), "who is closest to the strokes"),
        "first": node("ImageFromBatch", named="only the best", batch_index=0, length=1),
        "all": show("all four, best first", (380, 420)),
        "save": save("best of four", "the best one, saved", (380, 400)),
    }
    links = [
        ("drawing", "image", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("larger", "IMAGE", "rank", "results"),
        ("drawing", "image", "rank", "guide"),
        ("rank", "ranked", "all", "images"),
        ("rank", "ranked", "first", "image"),
        ("first", "IMAGE", "save", "images"),
    ]
    groups = bands(
        ("note", "drawing"),
        ("prior", ["encode", "repeat"]),
        (["t0", "label", "ddpm"], ["sampler", "decode", "upscaler", "larger"]),
        (["rank", "first"], ["all", "save"]),
        *("your strokes", PAINTER, "t0 is the knob", "best first"),
    )
    shown = app([("drawing", "image"), ("t0", "t0"), ("sampler", "noise_seed")], "all", "save")
    return join({"nodes": nodes, "links": links}, starter_walk(("encode", "LATENT"), 0.5), groups=groups, app=shown)


def sweep() -> Graph:
    nodes = {
        "note": note(
            "Find the right t0",
            "One painting, one seed, nine values of t0. Pick the picture that looks real and still follows your "
            "painting.",
            "Use its t0 in the other graphs.",
        ),
        "drawing": drawing("desert sunset.png", "your strokes"),
        "prior": node("SketchPriorLoader", (290, 0), prior=STARTER),
        "encode": node("VAEEncode"),
        "label": node("SketchPriorLabel", named="no class: the starter has none"),
        "ddpm": node("KSamplerSelect", sampler_name="ddpm"),
        "sweep": node("SketchT0Sweep", (320, 0), "t0 from first to last", first=0.1, last=0.9, count=9, steps=20),
        "sampler": node("SamplerCustom", (282, 0), "paint at each t0", add_noise=True, noise_seed=1, cfg=1.0),
        "decode": node("VAEDecode"),
        **upscaled(),
        "sheet": node("SketchContactSheet", named="all on one sheet"),
        "save": save("t0 sweep", "t0 from low to high", (600, 640)),
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
        UPSCALER,
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "sheet", "images"),
        ("sweep", "labels", "sheet", "labels"),
        ("sheet", "sheet", "save", "images"),
    ]
    groups = bands(
        ("note", "drawing"),
        ("prior", ["encode", "label"]),
        (["sweep", "ddpm"], ["sampler", "decode", "upscaler", "larger", "sheet"]),
        ["save"],
        *("your strokes", PAINTER, "many values of t0", "close to the strokes ... free"),
    )
    shown = app([("drawing", "image"), ("sweep", "first"), ("sweep", "last"), ("sweep", "count")], "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def photo_to_strokes() -> Graph:
    nodes = {
        "note": note(
            "Photo to strokes, and back",
            "The photo becomes flat strokes, the strokes become other photos of the same scene.",
            "Few colours and a large median make it forget more.",
            T0,
        ),
        "photo": drawing("photo - evening lake.png", "your photo", size=256),
        "strokes": node("SketchPhotoToStrokes", (300, 0), "how coarse the strokes are", median_size=23, colours=6),
        "show": show("the strokes"),
        "small": model_size(64),
        "encode": node("VAEEncode"),
        "save": save("photo to strokes and back"),
    }
    links = [
        ("photo", "image", "strokes", "image"),
        ("strokes", "strokes", "show", "images"),
        ("strokes", "strokes", "small", "image"),
        ("small", "IMAGE", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = bands(
        ("note", "photo", ["strokes", "show"]),
        ("prior", ["small", "encode"], ["repeat", "label", "ddpm"]),
        (["t0"], ["sampler", "decode", "upscaler", "larger"]),
        ["save"],
        *("a photo, simplified", PAINTER, "t0 is the knob", "the same scene, painted anew"),
    )
    shown = app(
        [
            ("photo", "image"),
            ("strokes", "median_size"),
            ("strokes", "colours"),
            ("t0", "t0"),
            ("sampler", "noise_seed"),
        ],
        *("show", "save"),
    )
    return join({"nodes": nodes, "links": links}, starter_walk(("encode", "LATENT"), 0.5), groups=groups, app=shown)


def own_walk(base: Base, pixels: tuple[str, str], t0: float, prompt: str, variations: int = 1) -> Graph:
    """A model of the user's, prompts, t0 and sampler, from a picture to pictures. A distilled model walks its full
    number of steps from t0."""
    sampler, steps = (base.sampler, base.steps) if base.distilled else ("ddpm", 30)
    named = "how many results"
    several = {"repeat": node("RepeatLatentBatch", named=named, amount=variations)} if variations > 1 else {}
    latent = "repeat" if several else "encode"
    nodes = {
        **base.nodes,
        "positive": node("CLIPTextEncode", (360, 140), "what the strokes show", text=prompt),
        "negative": node("CLIPTextEncode", (360, 100), base.avoid, text=WITHOUT if base.cfg > 1 else ""),
        "encode": node("VAEEncode"),
        **several,
        "stepper": node("KSamplerSelect", sampler_name=sampler),
        "t0": node("NoiseToT0", (290, 0), "t0: how much may change", t0=t0, steps=steps, seed=1, **FIXED),
        "sampler": node("SamplerCustom", (282, 0), "paint, from t0 down", add_noise=True, noise_seed=1, cfg=base.cfg),
        "decode": node("VAEDecode"),
    }
    links = [
        *base.links,
        (*pixels, "encode", "pixels"),
        (*base.vae, "encode", "vae"),
        (*base.clip, "positive", "clip"),
        (*base.clip, "negative", "clip"),
        (*base.model, "t0", "model"),
        *([("encode", "LATENT", "repeat", "samples")] if several else []),
        (latent, "LATENT", "t0", "latent"),
        (*base.model, "sampler", "model"),
        ("positive", "CONDITIONING", "sampler", "positive"),
        ("negative", "CONDITIONING", "sampler", "negative"),
        ("stepper", "SAMPLER", "sampler", "sampler"),
        ("t0", "sigmas", "sampler", "sigmas"),
        (latent, "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decode", "samples"),
        (*base.vae, "decode", "vae"),
    ]
    return {"nodes": nodes, "links": links}


def on_your_model(base: Base, about: str, t0: float = 0.6) -> Graph:
    """about: which models it suits, and what to know of t0 there."""
    nodes = {
        "note": note("On your own model", about, "The prompt says what the strokes show."),
        "drawing": drawing("mountain lake.png", "your strokes", size=base.side),
        "save": save(f"strokes to photo{base.end}"),
    }
    links = [("decode", "IMAGE", "save", "images")]
    groups = base.bands(
        group("draw", "your strokes", ("note", "drawing")),
        ["encode"],
        ["positive", "negative"],
        group("walk", "t0 is the knob", (["t0", "stepper"], ["sampler", "decode"])),
        group("result", "the photo", ["save"]),
    )
    shown = app([("drawing", "image"), ("positive", "text"), ("t0", "t0"), ("sampler", "noise_seed")], "save")
    walk = own_walk(base, ("drawing", "image"), t0, LAKE)
    return join({"nodes": nodes, "links": links}, walk, groups=groups, app=shown)


def full_size() -> Graph:
    base = sd15()
    nodes = {
        "note": note(
            "Finish at full size",
            "The built-in painter sketches at 64 pixels; your model repaints it at 512.",
            "A low t0 adds detail only. For SDXL: 4 times larger in place of 2.",
        ),
        "drawing": drawing("mountain lake.png", "your strokes"),
        "first encode": node("VAEEncode"),
        "save": save("full size"),
    }
    links = [
        ("first larger", "IMAGE", "twice", "image"),
        ("twice", "IMAGE", "encode", "pixels"),
        ("decode", "IMAGE", "save", "images"),
    ]
    first = starter_walk(("first encode", "LATENT"), 0.4, 1)
    renamed = {key: f"first {key}" for key in ("t0", "sampler", "decode", "larger", "ddpm")}
    first = {
        "nodes": {renamed.get(key, key): spec for key, spec in first["nodes"].items()},
        "links": [(renamed.get(a, a), out, renamed.get(b, b), name) for a, out, b, name in first["links"]],
    }
    first["nodes"]["twice"] = larger(2.0)
    first["nodes"]["first t0"]["title"] = "t0 of the small picture"
    first["nodes"]["first sampler"]["title"] = "a small picture"
    first["nodes"]["first sampler"]["widgets"] |= FIXED
    del first["nodes"]["repeat"]
    first["links"] = [
        ("first encode", "LATENT", *link[2:]) if link[0] == "repeat" else link
        for link in first["links"]
        if link[2] != "repeat"
    ]
    nodes["small"] = show("the small picture, enlarged")
    links += [
        ("drawing", "image", "first encode", "pixels"),
        ("prior", "vae", "first encode", "vae"),
        ("twice", "IMAGE", "small", "images"),
    ]
    groups = [
        [
            group("draw", "your strokes", ["note", "drawing"]),
            group("model", PAINTER, ("prior", ["first encode", "label", "first ddpm"])),
        ],
        [
            group(
                *("walk", "a small picture first"),
                (["first t0"], ["first sampler", "first decode", "upscaler", "first larger", "twice", "small"]),
            )
        ],
        [
            group("model", "your checkpoint and its words", ([*base.column, "stepper"], ["positive", "negative"])),
            group("walk", "t0 of the finish is the knob", (["encode", "t0"], ["sampler", "decode"])),
        ],
        [group("result", "at full size", ["save"])],
    ]
    shown = app([("drawing", "image"), ("positive", "text"), ("t0", "t0"), ("sampler", "noise_seed")], "save")
    second = own_walk(base, ("twice", "IMAGE"), 0.45, LAKE)
    second["links"] = [link for link in second["links"] if link[2:] != ("encode", "pixels")]
    return join({"nodes": nodes, "links": links}, first, second, groups=groups, app=shown)


def twin_church() -> Graph:
    graph = strokes_to_photo()
    nodes = graph["nodes"]
    nodes["note"] = note(
        "As in the paper: LSUN church",
        "Strokes of a building, 256 pixels, t0 0.5. steps 0 are all 500 native levels; 30 for a quick look.",
        "Download it, rename it to ddpm-ema-church-256.pt, put it into models/sketch_priors.",
    )
    nodes["prior"] = node("SketchPriorLoader", (290, 0), "LSUN church, 256 pixels", [CHURCH], prior=CHURCH["name"])
    nodes["drawing"]["widgets"]["size"] = 256
    nodes["t0"]["widgets"] |= {"t0": 0.5, "steps": 30}
    nodes["repeat"]["widgets"]["amount"] = 1
    nodes["save"] = save("strokes to church")
    not_enlarged(graph)
    graph["groups"] = bands(
        ("note", "drawing"),
        ("prior", ["encode", "repeat"]),
        (["t0", "label", "ddpm", "decode look", "look"], ["sampler", "decode"]),
        ["save"],
        *("strokes of a building", "the paper's own", "t0 is the knob", "the photo"),
    )
    return graph


SDEDIT = {
    "01 Paint here - img2img": paint_here,
    "02 Strokes to photo - sketch to image": strokes_to_photo,
    "02 Strokes to photo - sketch to image (SD1.5)": lambda: on_your_model(
        sd15(), "Any SD1.5 model. t0 0.5 to 0.7; from 0.73 up it is pure noise there."
    ),
    "02 Strokes to photo - sketch to image (SDXL)": lambda: on_your_model(
        sdxl(), "Any SDXL model. t0 0.5 to 0.7: higher invents more."
    ),
    "02 Strokes to photo - sketch to image (Z-Image-Turbo)": lambda: on_your_model(z_image_turbo(), TODAYS),
    "02 Strokes to photo - sketch to image (Krea 2 Turbo)": lambda: on_your_model(krea2_turbo(), TODAYS),
    "02 Strokes to photo - sketch to image (Qwen-Image)": lambda: on_your_model(qwen_image(), TODAYS),
    "02 Strokes to photo - sketch to image (LSUN church)": twin_church,
    "03 Best of four - img2img, ranked": best_of_four,
    "07 Find the right t0 - denoise strength": sweep,
    "08 Photo to strokes and back": photo_to_strokes,
    "24 Finish at full size - upscale and refine (SD1.5)": full_size,
}
