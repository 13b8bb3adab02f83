"""The graphs of DiffSketching: each prediction is drawn and compared with a sketch, while the model paints."""

from __future__ import annotations

from typing import Any

from templates.editing import kept_outside
from templates.inversion import loaders
from templates.parts import (
    CLASSIFIER,
    FIXED,
    IMAGENET,
    PHOTOSKETCH,
    STARTER_LINES,
    UPSCALER,
    Graph,
    app,
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
from templates.retrieval import PHOTOS

OWN_PRIOR = "39 Train your own - pixel prior from a folder"
CLASSES = ("lake at sunset", "lake by day", "lake at dawn", "lake at night")
PAINTER = "the built-in painter, and what finds lines"
STEPS = "ddim25"


def method(**widgets: Any) -> Graph:
    return node("SketchDiffSketching", (320, 0), "the weights are the knobs", **widgets)


def empty(count: int) -> dict[str, Graph]:
    """The noise that a picture begins from has the sketch's size."""
    return {
        "of drawing": node("GetImageSize", named="the sketch's size"),
        "empty": node("EmptyLatentImage", named="how many results", batch_size=count),
    }


EMPTY_LINKS = [
    ("drawing", "image", "of drawing", "image"),
    ("of drawing", "width", "empty", "width"),
    ("of drawing", "height", "empty", "height"),
]
METHOD_LINKS = [
    ("prior", "model", "diff", "model"),
    ("prior", "vae", "diff", "vae"),
    ("drawing", "image", "diff", "sketch"),
    ("lines", "extractor", "diff", "extractor"),
]


def sketch_and_photo() -> Graph:
    nodes = {
        "note": note(
            "A sketch and a photo",
            "Each step is drawn in lines and compared with your sketch; the photo lends colours and light.",
            "sketch_weight: how strictly the lines. reference_weight: how much of the photo.",
            "A class as well: the ImageNet version.",
            width=664,
        ),
        **loaders(),
        "drawing": drawing("line drawing - lake and peaks.png", "your sketch"),
        "photo": drawing("photo - evening lake.png", "reference: its content"),
        "diff": method(reference_weight=0.1),
        **empty(4),
        "steps": node("SketchRespacedSteps", named="25 steps", respacing=STEPS),
        "ddpm": node("KSamplerSelect", sampler_name="ddpm"),
        "sampler": node("SamplerCustom", (300, 0), "paint, from noise", add_noise=True, noise_seed=1, cfg=1.0),
        "decode": node("VAEDecode"),
        **upscaled(),
        "save": save("sketch and photo"),
    }
    links = [
        *METHOD_LINKS,
        *EMPTY_LINKS,
        ("photo", "image", "diff", "reference"),
        ("prior", "model", "steps", "model"),
        ("diff", "model", "sampler", "model"),
        ("label", "conditioning", "sampler", "positive"),
        ("label", "conditioning", "sampler", "negative"),
        ("ddpm", "SAMPLER", "sampler", "sampler"),
        ("steps", "sigmas", "sampler", "sigmas"),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        UPSCALER,
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = [
        [
            group("draw", "a sketch, and a photo for the content", ["note", ("drawing", "photo")]),
            group("model", PAINTER, ("prior", ["lines", "label"])),
        ],
        [
            group(
                *("walk", "the weights are the knobs"),
                (["diff"], ["of drawing", "empty", "steps", "ddpm"], ["sampler", "decode", "upscaler", "larger"]),
            )
        ],
        [group("result", "your sketch, painted", ["save"])],
    ]
    shown = app(
        [
            *(("drawing", "image"), ("photo", "image"), ("diff", "sketch_weight"), ("diff", "reference_weight")),
            ("sampler", "noise_seed"),
        ],
        "save",
    )
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def sketch_and_class() -> Graph:
    graph = sketch_and_photo()
    nodes = graph["nodes"]
    nodes["note"] = note(
        "A sketch and a class",
        "class_id: a ground and an hour. lake, meadow, dunes or snowfield; by day, at sunset, at dawn, under an "
        "overcast sky or at night. Several with commas: one for each result.",
        "class_scale: how strongly the class. sketch_weight: how strictly the lines.",
        width=664,
    )
    nodes["classifier"] = node("SketchClassifierLoader", (300, 0), "knows grounds and hours", classifier=STARTER_LINES)
    nodes["diff"] = method(class_id=", ".join(CLASSES), reference_weight=0.0)
    nodes["save"] = save("sketch and class")
    del nodes["photo"]
    graph["links"] = [
        *(link for link in graph["links"] if link[0] != "photo"),
        ["classifier", "classifier", "diff", "classifier"],
    ]
    graph["groups"][0] = [
        group("draw", "a sketch", ["note", "drawing"]),
        group("model", PAINTER, ("prior", ["lines", "label"])),
    ]
    graph["groups"][1] = [
        group(
            *("walk", "the class is the knob"),
            (
                ["classifier", "diff"],
                ["of drawing", "empty", "steps", "ddpm"],
                ["sampler", "decode", "upscaler", "larger"],
            ),
        )
    ]
    graph["groups"][2] = [group("result", "your sketch, at four hours", ["save"])]
    graph["app"] = app(
        [
            *(("drawing", "image"), ("diff", "class_id"), ("diff", "class_scale"), ("diff", "sketch_weight")),
            ("sampler", "noise_seed"),
        ],
        "save",
    )
    return graph


def twin_imagenet() -> Graph:
    """Sketch, reference and class at 256 pixels, on guided diffusion's unconditional prior and its classifier."""
    graph = sketch_and_photo()
    nodes = graph["nodes"]
    nodes["note"] = note(
        "A sketch and a class",
        "class_id is one of ImageNet's 1000 numbers; 975 is a lakeside.",
        "class_scale: how strongly the class; 10 for this model. Three files to download; it wants a GPU.",
        width=664,
    )
    nodes |= imagenet_loaders()
    nodes["label"]["title"] = "no class here: the classifier has it"
    nodes["classifier"] = node(
        "SketchClassifierLoader", (300, 0), "knows the classes", [CLASSIFIER], classifier=CLASSIFIER["name"]
    )
    nodes["diff"] = method(class_id="975", class_scale=10.0, reference_weight=0.5)
    for key in ("drawing", "photo"):
        nodes[key]["widgets"]["size"] = 256
    nodes["empty"]["widgets"]["batch_size"] = 1
    nodes["save"] = save("sketch and class")
    not_enlarged(graph)
    graph["links"].append(["classifier", "classifier", "diff", "classifier"])
    graph["groups"] = [
        [
            group("draw", "a sketch, and a photo for the content", ["note", ("drawing", "photo")]),
            group("model", "as in the paper", ("prior", ["lines", "classifier"])),
        ],
        [
            group(
                *("walk", "class and weights are the knobs"),
                (["diff"], ["of drawing", "empty", "steps", "ddpm", "label"], ["sampler", "decode"]),
            )
        ],
        [group("result", "your sketch, as that class", ["save"])],
    ]
    graph["app"] = None
    return graph


def edit_by_sketch() -> Graph:
    """The photo's own lines with the sketch in them are the guide; only near the sketch the photo is painted anew."""
    nodes = {
        "note": note(
            "Draw into your photo",
            "Draw what should stand there, on a clear background. Only there the photo is repainted. The rest stays as "
            "it is, to the pixel.",
            "t0 0.5 keeps the light, 0.8 makes room for more.",
            width=664,
        ),
        **loaders(),
        "photo": drawing("photo - evening lake.png", "your photo", size=0),
        "drawing": drawing("lines - two peaks.svg", "what should stand there"),
        "grow": node("GrowMask", named="room around the lines", expand=6),
        "small": model_size(64),
        "trace": node("SketchPhotoToSketch", (300, 0), "the photo's own lines"),
        "guide": node("ImageCompositeMasked", named="your lines in them", x=0, y=0, resize_source=True),
        "look": show("what it should look like, in lines"),
        "encode": node("VAEEncode"),
        "mask": node("SetLatentNoiseMask", named="repaint only there"),
        "diff": method(),
        "save": save("edit by sketch"),
    }
    links = [
        *(link for link in METHOD_LINKS if link[0] != "drawing"),
        ("guide", "IMAGE", "diff", "sketch"),
        ("photo", "image", "small", "image"),
        ("small", "IMAGE", "trace", "image"),
        ("lines", "extractor", "trace", "extractor"),
        ("trace", "sketch", "guide", "destination"),
        ("drawing", "image", "guide", "source"),
        ("drawing", "mask", "grow", "mask"),
        ("grow", "MASK", "guide", "mask"),
        ("guide", "IMAGE", "look", "images"),
        ("small", "IMAGE", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
        ("encode", "LATENT", "mask", "samples"),
        ("grow", "MASK", "mask", "mask"),
        ("diff", "model", "sampler", "model"),
        ("paste", "IMAGE", "save", "images"),
    ]
    walk = starter_walk(("mask", "LATENT"), 0.8, 2)
    walk["links"] = [link for link in walk["links"] if link[:4] != ("prior", "model", "sampler", "model")]
    walk["nodes"]["t0"]["widgets"]["steps"] = 20
    groups = [
        [
            group("draw", "a photo, and what should stand in it", ["note", ("photo", "drawing")]),
            group("model", PAINTER, ("prior", ["lines", "label"])),
        ],
        [
            group("walk", "your lines among the photo's", (["grow", "small", "trace"], ["guide", "look"])),
            group("walk", "only there: weight and t0 are the knobs", (["encode", "mask", "repeat", "ddpm"], ["diff"])),
        ],
        [group("walk", "paint", ["t0", "sampler", "decode", "upscaler", "larger"])],
        [group("result", "the rest is kept to the pixel", ["copies", "paste", "save"])],
    ]
    shown = app(
        [
            *(("photo", "image"), ("drawing", "image"), ("diff", "sketch_weight"), ("t0", "t0")),
            ("sampler", "noise_seed"),
        ],
        *("look", "save"),
    )
    return join(
        {"nodes": nodes, "links": links},
        walk,
        kept_outside(("photo", "image"), ("grow", "MASK"), 2),
        groups=groups,
        app=shown,
    )


def between_two_noises() -> Graph:
    nodes = {
        "note": note(
            "Between two noises",
            "One sketch, from the first picture to another in six steps.",
            "Another end: change the second noise's seed. Smooth only with samplers that add no noise, such as euler.",
        ),
        **loaders(),
        "drawing": drawing("line drawing - lake and peaks.png", "your sketch"),
        "diff": method(),
        **empty(1),
        "first": node("RandomNoise", named="the first noise", noise_seed=3, **FIXED),
        "second": node("RandomNoise", named="the second noise", noise_seed=8),
        "blend": node("SketchNoiseBlend", (300, 0), "count is the knob", count=6),
        "steps": node("SketchRespacedSteps", named="25 steps", respacing=STEPS),
        "euler": node("KSamplerSelect", sampler_name="euler"),
        "guider": node("BasicGuider", named="the model and its label"),
        "sampler": node("SamplerCustomAdvanced", (300, 0), "paint each of them"),
        "decode": node("VAEDecode"),
        **upscaled(),
        "sheet": node("SketchContactSheet", named="on one sheet", columns=3, cell=256),
        "save": save("between two noises", "from the first to the second", (440, 380)),
    }
    links = [
        *METHOD_LINKS,
        *EMPTY_LINKS,
        ("prior", "model", "steps", "model"),
        ("first", "NOISE", "blend", "noise"),
        ("second", "NOISE", "blend", "other_noise"),
        ("diff", "model", "guider", "model"),
        ("label", "conditioning", "guider", "conditioning"),
        ("blend", "noise", "sampler", "noise"),
        ("guider", "GUIDER", "sampler", "guider"),
        ("euler", "SAMPLER", "sampler", "sampler"),
        ("steps", "sigmas", "sampler", "sigmas"),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        UPSCALER,
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "sheet", "images"),
        ("blend", "labels", "sheet", "labels"),
        ("sheet", "sheet", "save", "images"),
    ]
    groups = [
        [
            group("draw", "one sketch", ("note", "drawing")),
            group("model", PAINTER, ("prior", ["lines", "label"])),
        ],
        [
            group(
                *("walk", "from one noise to the other"),
                (
                    ["diff", "of drawing", "empty"],
                    ["first", "second", "blend", "steps", "euler"],
                    ["guider", "sampler", "decode", "upscaler", "larger", "sheet"],
                ),
            )
        ],
        [group("result", "all the pictures between", ["save"])],
    ]
    shown = app([("drawing", "image"), ("diff", "sketch_weight"), ("blend", "count"), ("second", "noise_seed")], "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def imagenet_loaders() -> dict[str, Graph]:
    """The published prior, and PhotoSketch."""
    return {
        "prior": node("SketchPriorLoader", (300, 0), "ImageNet, 256 pixels", [IMAGENET], prior=IMAGENET["name"]),
        "lines": node("SketchExtractorLoader", (300, 0), "finds lines", [PHOTOSKETCH], extractor=PHOTOSKETCH["name"]),
    }


def on_imagenet(graph: Graph, taller: int) -> Graph:
    """The graph with the published prior, at 256 pixels. taller: pixels that the note needs in addition."""
    nodes = graph["nodes"]
    nodes |= imagenet_loaders()
    nodes["note"]["widgets"][""] += "\n\n# Two files to download; it wants a GPU."
    nodes["note"]["box"][1] += taller
    nodes["drawing"]["widgets"]["size"] = 256
    nodes["label"]["title"] = "no class: this prior has none"
    not_enlarged(graph)
    graph["groups"][0][1] = group("model", "as in the paper", ("prior", ["lines", "label"]))
    return graph


def edit_on_imagenet() -> Graph:
    graph = on_imagenet(edit_by_sketch(), 45)
    for key in ("repeat", "copies"):
        graph["nodes"][key]["widgets"]["amount"] = 1
    graph["nodes"]["small"] = model_size(256)
    return graph


def between_on_imagenet() -> Graph:
    return on_imagenet(between_two_noises(), 72)


def train_your_own_prior() -> Graph:
    nodes = {
        "note": note(
            "Train a diffusion model on your own photos",
            "As it is, it takes 30 steps: to see how it works. It paints noise by then.",
            "Your own: a folder of photos; with class_cond, a sub-folder for each class. A prior worth keeping wants a "
            "GPU, thousands of photos and 100000 steps.",
            "Run again goes on after a stop. Then choose it in Load Pixel Prior of any other template.",
            width=440,
        ),
        "train": node(
            "SketchTrainPrior",
            (360, 0),
            "train: photos, name, steps",
            name="sample photos",
            photos=PHOTOS,
            width=16,
            depth=1,
            steps=30,
            batch=8,
            learning_rate=0.001,
            weighting="min-SNR",
            ema_rate="0.9",
        ),
        "plot": show("the loss", (340, 300)),
        "samples": show("what it paints now, of nothing", (420, 200)),
        "label": node("SketchPriorLabel", named="no class: class_cond is off"),
        "drawing": drawing("strokes - cabin and trees.png", "strokes to try it on"),
        "encode": node("VAEEncode"),
        "t0": node("NoiseToT0", (290, 0), "t0: how much may change", t0=0.5, steps=20, seed=1, **FIXED),
        "ddpm": node("KSamplerSelect", sampler_name="ddpm"),
        "sampler": node("SamplerCustom", (282, 0), "paint, from t0 down", add_noise=True, noise_seed=1, cfg=1.0),
        "decode": node("VAEDecode"),
        "larger": larger(4.0),
        "save": save("painted by your own prior", "your strokes, painted by your prior"),
    }
    links = [
        ("train", "plot", "plot", "images"),
        ("train", "preview", "samples", "images"),
        ("drawing", "image", "encode", "pixels"),
        ("train", "vae", "encode", "vae"),
        ("train", "model", "t0", "model"),
        ("encode", "LATENT", "t0", "latent"),
        ("train", "model", "sampler", "model"),
        ("label", "conditioning", "sampler", "positive"),
        ("label", "conditioning", "sampler", "negative"),
        ("ddpm", "SAMPLER", "sampler", "sampler"),
        ("t0", "sigmas", "sampler", "sigmas"),
        ("encode", "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decode", "samples"),
        ("train", "vae", "decode", "vae"),
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = [
        [group("draw", "strokes to try it on", ["note", "drawing"])],
        [group("model", "trained on a folder of photos", ("train", ["plot", "samples"]))],
        [
            group("walk", "paint with it", (["encode", "label", "t0"], ["ddpm", "sampler"], ["decode", "larger"])),
            group("result", "your strokes, painted by your prior", ["save"]),
        ],
    ]
    return join({"nodes": nodes, "links": links}, groups=groups)


DIFFSKETCHING = {
    "31 Sketch and class - DiffSketching": sketch_and_class,
    "31 Sketch and photo - DiffSketching": sketch_and_photo,
    "31 Sketch and class - DiffSketching (ImageNet)": twin_imagenet,
    "32 Draw into your photo - inpaint by sketch": edit_by_sketch,
    "33 Between two noises - morph, interpolation": between_two_noises,
    "32 Draw into your photo - inpaint by sketch (ImageNet)": edit_on_imagenet,
    "33 Between two noises - morph, interpolation (ImageNet)": between_on_imagenet,
    OWN_PRIOR: train_your_own_prior,
}
