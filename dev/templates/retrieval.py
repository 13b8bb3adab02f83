"""The graphs of ZSE-SBIR: photos found by sketch, explained, and painted with."""

from __future__ import annotations

from typing import Any

from templates.inversion import loaders, two_stages
from templates.parts import (
    CLIP_H,
    STARTER_LINES,
    UPSCALER,
    ZSE,
    Graph,
    app,
    drawing,
    group,
    join,
    node,
    note,
    save,
    show,
    upscaled,
)

PHOTOS = "sample photos (built in)"
SKETCH = "sketch - lake at sunset.png"
ALONE = "only the connected clip_vision"
BOTH = "Ret, then RN on the best 200"
KNOWS = "the built-in one knows landscapes"


def retriever(named: str = "compares sketch and photo", models: list | None = None, **more: Any) -> Graph:
    return node("SketchRetrieverLoader", (300, 0), named, models, **{"retriever": STARTER_LINES, **more})


def published() -> Graph:
    return retriever(models=[ZSE], retriever=ZSE["name"])


def vision() -> Graph:
    return node("CLIPVisionLoader", (300, 0), "your CLIP vision model", [CLIP_H], clip_name=CLIP_H["name"])


VISION = ("vision", "CLIP_VISION", "retriever", "clip_vision")


def index(named: str = "folder: your photos") -> Graph:
    return node("SketchPhotoIndex", (300, 0), named, folder=PHOTOS)


def sketch(named: str = "your sketch") -> Graph:
    return drawing(SKETCH, named, size=256)


def find(named: str = "best first", **widgets: Any) -> Graph:
    return node("SketchFindPhotos", (300, 0), named, **widgets)


def searching(about: Graph, network: Graph, mode: str, says: str = KNOWS) -> Graph:
    """A sketch, a folder, and a sheet of what was found in it."""
    nodes = {
        "note": about,
        "retriever": network,
        "drawing": sketch(),
        "index": index(),
        "find": find(mode=mode, count=8),
        "save": save("found", "the best eight, with their scores", (560, 580)),
        "best": show("the photos at full size", (560, 300)),
    }
    links = [
        ("retriever", "retriever", "index", "retriever"),
        ("drawing", "image", "find", "sketch"),
        ("index", "index", "find", "index"),
        ("find", "sheet", "save", "images"),
        ("find", "photos", "best", "images"),
    ]
    groups = [
        [group("draw", "what you look for", ("note", "drawing")), group("model", says, ("retriever",))],
        [group("walk", "folder is the knob", ["index", "find"])],
        [group("result", "the photos that look like it", ["save", "best"])],
    ]
    shown = app([("drawing", "image"), ("index", "folder"), ("find", "mode"), ("find", "count")], "save", "best")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def find_my_photos() -> Graph:
    about = note(
        "Draw it, find it",
        "Each photo of a folder is compared with your sketch. No names or tags are used.",
        "Your photos: a folder of ComfyUI's input or output folder.",
        "Photos of anything else: the CLIP or Sketchy version of this graph.",
    )
    return searching(about, retriever(), BOTH)


def twin_sketchy() -> Graph:
    about = note(
        "As in the paper: any object",
        "Trained on 100 classes of Sketchy, meant for sketches of anything.",
        "A first look takes about a second for each photo; a GPU is much faster.",
    )
    return searching(about, published(), BOTH, "the paper's own")


def twin_clip() -> Graph:
    about = note(
        "Draw it, find it, with CLIP",
        "Any CLIP, SigLIP or DINO vision model that you have looks for anything.",
        "Choose a retriever as well, and both look together: their scores are added.",
    )
    graph = searching(about, retriever(retriever=ALONE), "Ret", "your vision model")
    graph["nodes"]["vision"] = vision()
    graph["links"].append([*VISION])
    graph["groups"][0][1]["inside"] = ("vision", "retriever")
    return graph


def why_this_photo() -> Graph:
    nodes = {
        "note": note(
            "Why this photo?",
            "Red lines join what looks alike in sketch and photo.",
            "Rebuilt: your sketch, put together from patches of the photo.",
            "Any photo can be connected to Explain Match.",
        ),
        "retriever": retriever(),
        "drawing": sketch(),
        "index": index(),
        "find": find("the best photo", mode=BOTH, count=1),
        "explain": node("SketchExplainMatch", (300, 0), "how many lines", lines=16),
        "save": save("why this photo", "what looks alike", (600, 400)),
        "rebuilt": show("your sketch, rebuilt from the photo", (300, 330)),
        "attention": show("where the network looks", (600, 400)),
    }
    links = [
        ("retriever", "retriever", "index", "retriever"),
        ("drawing", "image", "find", "sketch"),
        ("index", "index", "find", "index"),
        ("find", "sketches", "explain", "sketch"),
        ("find", "photos", "explain", "photo"),
        ("retriever", "retriever", "explain", "retriever"),
        ("explain", "lines", "save", "images"),
        ("explain", "rebuilt", "rebuilt", "images"),
        ("explain", "attention", "attention", "images"),
    ]
    groups = [
        [group("draw", "what you look for", ("note", "drawing")), group("model", KNOWS, ("retriever",))],
        [group("walk", "lines is the knob", (["index", "find"], ["explain", "rebuilt"]))],
        [group("result", "what belongs together", ["save", "attention"])],
    ]
    shown = app([("drawing", "image"), ("index", "folder"), ("explain", "lines")], "save", "rebuilt", "attention")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def why_as_published() -> Graph:
    """The same, explained by the network of the paper."""
    graph = why_this_photo()
    graph["nodes"]["retriever"] = published()
    graph["groups"][0][1] = group("model", "the paper's own", ("retriever",))
    return graph


def draw_find_paint() -> Graph:
    """Inversion-by-Inversion for each exemplar that the sketch itself found; the results ranked by the sketch."""
    nodes = {
        "note": note(
            "Draw, find, paint",
            "Your sketch finds its own exemplars, and is painted in the colours of each.",
            "count: with how many photos. The result that looks most like the sketch comes first.",
            width=764,
        ),
        **loaders(),
        "retriever": retriever(),
        "sketch": sketch(),
        "drawing": node("ImageScaleBy", (300, 0), "to the model's size", upscale_method="lanczos", scale_by=0.25),
        "index": index(),
        "find": find("count is the knob", mode=BOTH, count=3),
        "found": show("the exemplars"),
        "repeat": node("RepeatLatentBatch", named="how many results with each", amount=2),
        "appearance": node("AppearanceEnergyGuidance", (320, 0), "the exemplar's colours"),
        "decode": node("VAEDecode"),
        **upscaled(),
        "rank": node("SketchRankImages", (300, 0), "best first"),
        "save": save("draw find paint", "all results, best first", (600, 620)),
    }
    links = [
        ("retriever", "retriever", "index", "retriever"),
        ("sketch", "image", "drawing", "image"),
        ("sketch", "image", "find", "sketch"),
        ("index", "index", "find", "index"),
        ("find", "photos", "found", "images"),
        ("shape stage 1", "latent", "repeat", "samples"),
        ("repeat", "LATENT", "walk stage 1", "latent_image"),
        ("prior", "model", "appearance", "model"),
        ("find", "photos", "appearance", "exemplar"),
        ("walk stage 2", "output", "decode", "samples"),
        ("prior", "vae", "decode", "vae"),
        UPSCALER,
        ("decode", "IMAGE", "larger", "image"),
        ("larger", "IMAGE", "rank", "images"),
        ("sketch", "image", "rank", "sketch"),
        ("retriever", "retriever", "rank", "retriever"),
        ("rank", "sheet", "save", "images"),
    ]
    groups = [
        [
            group("draw", "a sketch", ["note", ("sketch", ["drawing"])]),
            group("model", "finds photos, finds lines, paints", ("prior", ["retriever", "lines", "label"])),
        ],
        [
            group("walk", "a folder to search: count is the knob", (["index", "find"], "found")),
            group("walk", "paint the shapes", ("shape stage 1", ["repeat", "walk stage 1"])),
        ],
        [group("walk", "paint the colours", ["appearance", "shape stage 2", "walk stage 2"])],
        [group("result", "your sketch in their colours", (["decode", "upscaler", "larger", "rank"], "save"))],
    ]
    stages = two_stages(sketch="IMAGE")
    shown = app(
        [
            *(("sketch", "image"), ("index", "folder"), ("find", "count")),
            *(("appearance", "colour_weight"), ("walk stage 2", "noise_seed")),
        ],
        *("found", "save"),
    )
    return join({"nodes": nodes, "links": links}, *stages, groups=groups, app=shown)


def paint_with_clip() -> Graph:
    """Exemplars that a CLIP vision model finds, which knows more than landscapes."""
    graph = draw_find_paint()
    nodes, model = graph["nodes"], graph["groups"][0][1]
    nodes["retriever"] = retriever(retriever=ALONE)
    nodes["find"] = find("count is the knob", mode="Ret", count=3)
    nodes["vision"] = vision()
    graph["links"].append([*VISION])
    model["inside"] = ("prior", ["vision", "retriever", "lines", "label"])
    return graph


def train_your_own() -> Graph:
    nodes = {
        "note": note(
            "Train on your own photos",
            "As it is, it takes 12 steps: to see how it works. It has learned nothing by then.",
            "Your own: photos in classes, sketches in folders of the same names; or let them be drawn, as here. "
            "Thousands of steps, batch 15.",
            "On a GPU: ViT-B/16, start from a ViT, learning_rate 0.00001.",
            "Run again goes on after a stop.",
            width=704,
        ),
        "lines": node("SketchExtractorLoader", (300, 0), "finds lines", extractor=STARTER_LINES),
        "draw": node(
            "SketchSynthesizeSets",
            (320, 0),
            "your photos become sketches",
            photos=PHOTOS,
            name="drawn sample photos",
            size=256,
        ),
        "drawn": show("photos and their sketches", (320, 300)),
        "train": node(
            "SketchTrainRetriever",
            (360, 0),
            "train: photos, name, steps",
            name="sample photos",
            photos=PHOTOS,
            sketches=PHOTOS,
            steps=12,
            batch=4,
            validate_every=6,
        ),
        "plot": show("losses and validation", (340, 300)),
        "preview": show("what its sketches find", (340, 360)),
        "drawing": sketch("a sketch to try"),
        "index": index(),
        "find": find(count=8),
        "save": save("found by your own", "what your network finds", (400, 440)),
    }
    links = [
        ("lines", "extractor", "draw", "extractor"),
        ("draw", "folder", "train", "sets"),
        ("draw", "preview", "drawn", "images"),
        ("train", "retriever", "index", "retriever"),
        ("train", "plot", "plot", "images"),
        ("train", "preview", "preview", "images"),
        ("drawing", "image", "find", "sketch"),
        ("index", "index", "find", "index"),
        ("find", "sheet", "save", "images"),
    ]
    groups = [
        [
            group("draw", "a folder of photos, and what finds lines", ["note", ("lines", "draw"), "drawn"]),
        ],
        [group("walk", "train", (["train"], ["plot", "preview"]))],
        [group("draw", "a sketch to try", ["drawing"]), group("walk", "try it", ["index", "find"])],
        [group("result", "what your network finds", ["save"])],
    ]
    return join({"nodes": nodes, "links": links}, groups=groups)


FIND = "27 Find photos by drawing - image search"
WHY = "28 Why this photo - matches explained"
PAINT = "29 Draw, find, paint - sketch to photo"
RETRIEVAL = {
    FIND: find_my_photos,
    f"{FIND} (CLIP vision)": twin_clip,
    f"{FIND} (Sketchy, as published)": twin_sketchy,
    WHY: why_this_photo,
    f"{WHY} (Sketchy, as published)": why_as_published,
    PAINT: draw_find_paint,
    f"{PAINT} (CLIP vision)": paint_with_clip,
    "30 Train your own image search - sketch retriever": train_your_own,
}
