"""The graphs that change a photo: by strokes, by cut-outs, and by words on an edit model."""

from __future__ import annotations

from templates.models import THREE, flux2_klein
from templates.parts import (
    Graph,
    app,
    canvas,
    drawing,
    group,
    join,
    model_size,
    node,
    note,
    sample,
    save,
    show,
    starter_walk,
)
from templates.sdedit import PAINTER, bands

FINER = 128  # pixels of the longer side, where pieces of a photo keep their shapes: the starter paints any size


def finer(walk: Graph) -> Graph:
    """The walk at FINER, with fewer steps."""
    walk["nodes"]["t0"]["widgets"]["steps"] = 15
    return walk


def kept_outside(photo: tuple[str, str], mask: tuple[str, str], variations: int) -> Graph:
    """The results, put into the photo at its own size: every pixel outside the mask is the photo's own."""
    nodes = {
        "copies": node("RepeatImageBatch", named="one photo for each result", amount=variations),
        "paste": node("ImageCompositeMasked", named="repainted there only", x=0, y=0, resize_source=True),
    }
    links = [
        (*photo, "copies", "image"),
        ("copies", "IMAGE", "paste", "destination"),
        ("larger", "IMAGE", "paste", "source"),
        (*mask, "paste", "mask"),
    ]
    return {"nodes": nodes, "links": links}


def edit_with_mask() -> Graph:
    nodes = {
        "note": note(
            "Strokes on a photo",
            "Only the strokes and a little around them are repainted. All else stays your photo, to the pixel.",
            "t0 0.25 to 0.45 blends them in.",
            "The strokes have a clear background: that is the mask.",
            width=638,
        ),
        "photo": drawing("photo - mountain meadow.png", "your photo", size=0),
        "strokes": drawing(
            "strokes - cabin and trees.png", "strokes on nothing", kind="colour painting", paper="#4a5c2c", size=0
        ),
        "put": node("ImageCompositeMasked", named="strokes on the photo", x=0, y=0, resize_source=True),
        "show": show("photo with strokes"),
        "grow": node("GrowMask", named="room around the strokes", expand=12),
        "small": model_size(FINER),
        "encode": node("VAEEncode"),
        "mask": node("SetLatentNoiseMask", named="repaint only there"),
        "save": save("edited photo"),
    }
    links = [
        ("photo", "image", "put", "destination"),
        ("strokes", "image", "put", "source"),
        ("strokes", "mask", "put", "mask"),
        ("strokes", "mask", "grow", "mask"),
        ("put", "IMAGE", "show", "images"),
        ("put", "IMAGE", "small", "image"),
        ("small", "IMAGE", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("encode", "LATENT", "mask", "samples"),
        ("grow", "MASK", "mask", "mask"),
        ("paste", "IMAGE", "save", "images"),
    ]
    groups = [
        [
            group("draw", "strokes on your photo", ["note", ("photo", "strokes")]),
            group("model", PAINTER, ("prior", ["put", "small", "encode"], ["grow", "mask", "repeat"])),
        ],
        [
            group(
                "walk", "t0 is the knob", (["t0", "show", "label", "ddpm"], ["sampler", "decode", "upscaler", "larger"])
            )
        ],
        [group("result", "the rest is kept to the pixel", ["copies", "paste", "save"])],
    ]
    shown = app(
        [("photo", "image"), ("strokes", "image"), ("grow", "expand"), ("t0", "t0"), ("sampler", "noise_seed")], "save"
    )
    return join(
        {"nodes": nodes, "links": links},
        finer(starter_walk(("mask", "LATENT"), 0.25, 2)),
        kept_outside(("photo", "image"), ("grow", "MASK"), 2),
        groups=groups,
        app=shown,
    )


def paint_on_photo() -> Graph:
    nodes = {
        "note": note(
            "Paint on your photo",
            "Choose your photo, paint on it, press Run. What you do not paint stays as it is, to the pixel.",
            width=440,
        ),
        "photo": drawing("photo - quiet lake.png", "your photo", size=0),
        "paint": canvas("paint on it", 32, 512),
        "grow": node("GrowMask", named="room around your paint", expand=8),
        "small": model_size(FINER),
        "encode": node("VAEEncode"),
        "mask": node("SetLatentNoiseMask", named="repaint only there"),
        "result": show("your photo, repainted (right-click to save)", (420, 480)),
    }
    links = [
        ("photo", "image", "paint", "ground"),
        ("paint", "image", "small", "image"),
        ("paint", "mask", "grow", "mask"),
        ("small", "IMAGE", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("encode", "LATENT", "mask", "samples"),
        ("grow", "MASK", "mask", "mask"),
        ("paste", "IMAGE", "result", "images"),
    ]
    groups = bands(
        (["note", "photo"], "paint"),
        ("prior", ["small", "encode"], ["grow", "mask", "repeat"]),
        (["t0", "label", "ddpm"], ["sampler", "decode", "upscaler", "larger"]),
        ["copies", "paste", "result"],
        *("paint on your photo", PAINTER, "t0 is the knob", "the rest is kept to the pixel"),
    )
    walk = finer(starter_walk(("mask", "LATENT"), 0.3, 2))
    shown = app([("photo", "image"), ("paint", "painting"), ("t0", "t0"), ("sampler", "noise_seed")], "result")
    return join(
        {"nodes": nodes, "links": links},
        walk,
        kept_outside(("photo", "image"), ("grow", "MASK"), 2),
        groups=groups,
        app=shown,
    )


def cut_and_paste() -> Graph:
    nodes = {
        "note": note(
            "Cut and paste",
            "A low t0 blends seams and light: 0.1 keeps the piece, 0.3 redraws it.",
            "x and y move the piece.",
            width=638,
        ),
        "photo": drawing("photo - mountain meadow.png", "the photo", size=256),
        "piece": drawing(
            "cut-out - red cabin.png", "the piece, cut out", kind="colour painting", paper="#6b2a20", size=0
        ),
        "put": node("ImageCompositeMasked", named="where the piece goes: x, y", x=112, y=124),
        "show": show("pasted"),
        "small": model_size(FINER),
        "encode": node("VAEEncode"),
        "twice": node("SketchRepeatSampler", named="twice: blends more", repeats=2),
        "save": save("cut and paste"),
    }
    links = [
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
    ]
    walk = finer(starter_walk(("encode", "LATENT"), 0.12, 2))
    walk["links"] = [link for link in walk["links"] if link[:2] != ("ddpm", "SAMPLER")]
    groups = bands(
        ["note", ("photo", "piece")],
        ("prior", ["put", "small"], ["encode", "repeat"]),
        (["t0", "show", "label", "ddpm"], ["twice", "sampler", "decode", "upscaler", "larger"]),
        ["save"],
        *("a piece into a photo", PAINTER, "t0 is the knob", "blended"),
    )
    shown = app(
        [("photo", "image"), ("piece", "image"), ("put", "x"), ("put", "y"), ("t0", "t0"), ("sampler", "noise_seed")],
        "save",
    )
    return join({"nodes": nodes, "links": links}, walk, groups=groups, app=shown)


def edit_in_place() -> Graph:
    """An edit model follows an instruction; the photo's own lines hold it in place."""
    base = flux2_klein()
    nodes = {
        "note": note(
            "Change a photo, keep its shapes",
            "Say what changes. Edit models often shift or zoom what was to stay: here the photo's own lines hold it.",
            "weight: how firmly. 0 is the edit model alone.",
            THREE,
            width=440,
        ),
        **base.nodes,
        "photo": node("SketchLoader", (290, 480), "your photo", image=sample("photo - mountain meadow.png"), size=1024),
        "lines": node("SketchPhotoToSketch", (290, 0), "its lines"),
        "instruction": node(
            "CLIPTextEncode", (360, 140), "what changes", text="Make it deep winter, with snow on the ground."
        ),
        "none": node("ConditioningZeroOut"),
        "encode": node("VAEEncode"),
        "reference": node("ReferenceLatent", named="the photo as reference"),
        "none reference": node("ReferenceLatent", named="the same beside it"),
        "shape": node("SketchShapeEnergy", (320, 0), "hold it in place", scale="auto", inner_steps=4),
        "of photo": node("GetImageSize", named="the photo's size"),
        "empty": node(base.empty, named="how many results", batch_size=1),
        "schedule": node("Flux2Scheduler", steps=base.steps),
        "euler": node("KSamplerSelect", sampler_name=base.sampler),
        "sampler": node("SamplerCustom", (282, 0), "walk from noise", add_noise=True, noise_seed=1, cfg=base.cfg),
        "decode": node("VAEDecode"),
        "save": save("edited in place"),
    }
    links = [
        *base.links,
        ("photo", "image", "lines", "image"),
        ("photo", "image", "encode", "pixels"),
        (*base.vae, "encode", "vae"),
        (*base.clip, "instruction", "clip"),
        ("instruction", "CONDITIONING", "none", "conditioning"),
        ("instruction", "CONDITIONING", "reference", "conditioning"),
        ("none", "CONDITIONING", "none reference", "conditioning"),
        *(("encode", "LATENT", key, "latent") for key in ("reference", "none reference")),
        (*base.model, "shape", "model"),
        ("lines", "sketch", "shape", "sketch"),
        (*base.vae, "shape", "vae"),
        ("photo", "image", "of photo", "image"),
        *(("of photo", side, key, side) for key in ("empty", "schedule") for side in ("width", "height")),
        ("shape", "model", "sampler", "model"),
        ("reference", "CONDITIONING", "sampler", "positive"),
        ("none reference", "CONDITIONING", "sampler", "negative"),
        ("euler", "SAMPLER", "sampler", "sampler"),
        ("schedule", "SIGMAS", "sampler", "sigmas"),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decode", "samples"),
        (*base.vae, "decode", "vae"),
        ("decode", "IMAGE", "save", "images"),
    ]
    groups = base.bands(
        group("draw", "a photo", ["note", "photo"]),
        [],
        ["instruction", "none"],
        group(
            *("walk", "weight is the knob"),
            (
                ["encode", "reference", "none reference", "lines"],
                ["shape", "of photo", "empty"],
                ["schedule", "euler", "sampler", "decode"],
            ),
        ),
        group("result", "changed, in its place", ["save"]),
    )
    shown = app([("photo", "image"), ("instruction", "text"), ("shape", "weight"), ("sampler", "noise_seed")], "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


EDITING = {
    "04 Strokes on your photo - inpaint with a mask": edit_with_mask,
    "05 Paint on your photo - inpaint sketch": paint_on_photo,
    "06 Cut and paste - photo collage": cut_and_paste,
    "40 Change a photo, keep its shapes - edit model (Flux.2 Klein)": edit_in_place,
}
