"""The graphs of the self-supervised sketch GAN, and of colour transfer without a network."""

from __future__ import annotations

from typing import Any

from templates.parts import (
    STARTER_LINES,
    UPSCALER,
    Graph,
    app,
    drawing,
    group,
    join,
    larger,
    node,
    note,
    save,
    show,
    upscaled,
)

LINES = ("line drawing - lake and peaks.png", "line drawing - three conifers.png", "mountains and cabin.svg")
BUILT_IN = "samples (built in)"
PHOTOS = ("photo - evening lake.png", "photo - mountain meadow.png", "photo - moonlit peaks.png")
ONE_PASS = "the built-in sketch GAN"


def loader() -> Graph:
    return node("SketchGANLoader", (300, 0), gan=STARTER_LINES)


def extractor() -> Graph:
    return node("SketchExtractorLoader", (300, 0), "finds lines", extractor=STARTER_LINES)


def sketch_at(file: str, named: str, **more: Any) -> Graph:
    """The built-in sketch GAN paints 128 x 128 pixels; a sketch of twice that keeps its lines thin."""
    return drawing(file, named, size=256, **more)


def decode(named: str = "paint the sketch", **widgets: Any) -> Graph:
    return node("SketchGANDecode", (300, 0), named, seed=1, **widgets)


def sketch_and_style() -> Graph:
    nodes = {
        "note": note(
            "Sketch and style: one pass",
            "The sketch gives shapes, the style colours and textures. No prompt, no steps.",
            "seed changes fine detail only.",
            width=638,
        ),
        "gan": loader(),
        "sketch": sketch_at(LINES[1], "your sketch"),
        "photo": sketch_at(PHOTOS[0], "style: its colours"),
        "style": node("SketchGANStyle", (300, 0), "read the style"),
        "decode": decode(),
        "draft": show("draft, without the last detail"),
        **upscaled(),
        "save": save("sketch and style"),
    }
    links = [
        ("gan", "gan", "style", "gan"),
        ("photo", "image", "style", "image"),
        ("gan", "gan", "decode", "gan"),
        ("sketch", "image", "decode", "sketch"),
        ("style", "style", "decode", "style"),
        ("decode", "draft", "draft", "images"),
        UPSCALER,
        ("decode", "refined", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = [
        [
            group("draw", "a sketch, and a photo for the style", ["note", ("sketch", "photo")]),
            group("model", ONE_PASS, ["gan"]),
        ],
        [group("walk", "one pass", (["style"], ["decode", "upscaler", "larger", "draft"]))],
        [group("result", "your sketch in that style", ["save"])],
    ]
    shown = app([("sketch", "image"), ("photo", "image"), ("decode", "refine"), ("decode", "seed")], "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def style_mixing() -> Graph:
    nodes = {
        "note": note(
            "Between two styles",
            "One sketch in eight steps from style a to style b.",
            "level_8 is the broad part of a style, level_32 its fine texture.",
            "Below: both photos read as one style.",
            width=986,
        ),
        "gan": loader(),
        "sketch": sketch_at(LINES[1], "your sketch"),
        "photo a": sketch_at(PHOTOS[0], "style a"),
        "photo b": sketch_at(PHOTOS[2], "style b"),
        "style a": node("SketchGANStyle", (300, 0), "read style a"),
        "style b": node("SketchGANStyle", (300, 0), "read style b"),
        "both": node("BatchImagesNode", named="both photos"),
        "collage": node("SketchGANStyle", (300, 0), "both as one style", collage="collage: strips, left to right"),
        "mix": node("SketchGANMixStyles", (300, 0), "from a to b", level_8=1.0, level_16=1.0, level_32=1.0, steps=8),
        "decode": decode("paint eight steps"),
        "decode collage": decode("paint the collage's style"),
        "sheet": node("SketchContactSheet", named="on one sheet", columns=4, cell=256),
        **upscaled(),
        "save": save("style mixing", "from a to b", (480, 380)),
        "show": show("both as one style", (300, 360)),
    }
    nodes["decode collage"]["widgets"] |= {"control_after_generate": "fixed"}
    links = [
        *((f"photo {key}", "image", f"style {key}", "image") for key in "ab"),
        *(("gan", "gan", key, "gan") for key in ("style a", "style b", "collage", "decode", "decode collage")),
        *((f"style {key}", "style", "mix", f"style_{key}") for key in "ab"),
        ("photo a", "image", "both", "images.image0"),
        ("photo b", "image", "both", "images.image1"),
        ("both", "IMAGE", "collage", "image"),
        ("mix", "style", "decode", "style"),
        ("collage", "style", "decode collage", "style"),
        ("sketch", "image", "decode", "sketch"),
        ("sketch", "image", "decode collage", "sketch"),
        ("decode", "refined", "sheet", "images"),
        ("sheet", "sheet", "save", "images"),
        UPSCALER,
        ("decode collage", "refined", "larger", "image"),
        ("larger", "IMAGE", "show", "images"),
    ]
    groups = [
        [
            group("draw", "one sketch, two styles", ["note", ("sketch", "photo a", "photo b")]),
            group("model", ONE_PASS, ["gan"]),
        ],
        [
            group(
                *("walk", "the levels are the knobs"),
                (["style a", "style b", "both"], ["mix", "decode", "collage", "decode collage"]),
            )
        ],
        [group("result", "the sketch in every style between", ["sheet", "save", "upscaler", "larger", "show"])],
    ]
    shown = app(
        [("sketch", "image"), ("photo a", "image"), ("photo b", "image"), ("mix", "steps"), ("decode", "seed")], "save"
    )
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def matrix() -> Graph:
    drawn = {f"sketch {i}": sketch_at(file, f"sketch {i + 1}", frame="square, crop") for i, file in enumerate(LINES)}
    painted = {f"photo {i}": sketch_at(file, f"style {i + 1}") for i, file in enumerate(PHOTOS)}
    nodes = {
        "note": note(
            "Every sketch in every style",
            "One seed for all. More pictures: connect them to the two batches.",
            width=986,
        ),
        "gan": loader(),
        **drawn,
        **painted,
        "sketches": node("BatchImagesNode", named="all sketches"),
        "exemplars": node("BatchImagesNode", named="all styles"),
        "matrix": node("SketchGANMatrix", (300, 0), "paint all of them", seed=1),
        "save": save("matrix", "every sketch in every style", (700, 720)),
    }
    links = [
        *((f"sketch {i}", "image", "sketches", f"images.image{i}") for i in range(len(LINES))),
        *((f"photo {i}", "image", "exemplars", f"images.image{i}") for i in range(len(PHOTOS))),
        ("gan", "gan", "matrix", "gan"),
        ("sketches", "IMAGE", "matrix", "sketches"),
        ("exemplars", "IMAGE", "matrix", "exemplars"),
        ("matrix", "sheet", "save", "images"),
    ]
    groups = [
        [group("draw", "sketches", ["note", tuple(drawn)]), group("draw", "photos for the styles", tuple(painted))],
        [
            group("model", ONE_PASS, ["gan"]),
            group("walk", "one pass for each", ["sketches", "exemplars", "matrix"]),
        ],
        [group("result", "all of them on one sheet", ["save"])],
    ]
    return join({"nodes": nodes, "links": links}, groups=groups)


def style_transfer() -> Graph:
    nodes = {
        "note": note(
            "A photo in another style",
            "The photo becomes lines, the lines are painted in the style of the other photo.",
            "To change the lines: save them, edit them, load them as a sketch.",
            width=638,
        ),
        "gan": loader(),
        "lines": extractor(),
        "photo": sketch_at(PHOTOS[1], "your photo: its shapes"),
        "other": sketch_at(PHOTOS[0], "style: its colours"),
        "draw": node("SketchPhotoToSketch", (300, 0), "photo to lines"),
        "show": show("its lines"),
        "style": node("SketchGANStyle", (300, 0), "read the style"),
        "decode": decode("paint the lines"),
        **upscaled(),
        "save": save("style transfer"),
    }
    links = [
        ("photo", "image", "draw", "image"),
        ("lines", "extractor", "draw", "extractor"),
        ("draw", "sketch", "show", "images"),
        ("draw", "sketch", "decode", "sketch"),
        ("gan", "gan", "style", "gan"),
        ("other", "image", "style", "image"),
        ("gan", "gan", "decode", "gan"),
        ("style", "style", "decode", "style"),
        UPSCALER,
        ("decode", "refined", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = [
        [
            group("draw", "two photos", ["note", ("photo", "other")]),
            group("model", "the built-in sketch GAN, and what finds lines", ("lines", "gan")),
        ],
        [group("walk", "one pass", (["draw", "style", "show"], ["decode", "upscaler", "larger"]))],
        [group("result", "your photo in that style", ["save"])],
    ]
    shown = app([("photo", "image"), ("other", "image"), ("decode", "seed")], "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def colours_of_another() -> Graph:
    nodes = {
        "note": note(
            "Colours of another picture",
            "Mean and spread of the colours are carried over: AdaIN, no network needed.",
            "alpha is the knob: 0 is your photo, 1 the other's colours.",
        ),
        "content": drawing(PHOTOS[1], "your photo", size=256),
        "style": drawing(PHOTOS[0], "the colours", size=256),
        "adain": node("SketchAdaINStyle", (320, 0), "alpha is the knob"),
        "larger": larger(2.0),
        "save": save("colours of another picture"),
    }
    links = [
        ("content", "image", "adain", "content"),
        ("style", "image", "adain", "style"),
        ("adain", "image", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    groups = [
        [group("draw", "a photo, and another for the colours", ("note", "content", "style"))],
        [group("walk", "no model needed", ["adain", "larger"])],
        [group("result", "your photo in the other's colours", ["save"])],
    ]
    shown = app([("content", "image"), ("style", "image"), ("adain", "alpha")], "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def train_your_own() -> Graph:
    trained = {
        "name": "four samples",
        "photos": BUILT_IN,
        "size": "128",
        "width": 16,
        "draft_steps": 160,
        "gan_steps": 60,
        "batch": 4,
        "rate": 5.0,
        "gan_rate": 3.0,
        "sketches": BUILT_IN,
    }
    nodes = {
        "note": note(
            "Train on your own photos",
            "As it is, it learns four samples by heart in two minutes: to see how it works.",
            "Your own: 500 photos in a folder of input, another name, both steps 20000 on a GPU, width 32, batch 8, "
            "rates 1.",
            "Run again goes on after a stop.",
        ),
        "lines": extractor(),
        "features": node("SketchFeatureLoader", (300, 0)),
        "draw": node(
            "SketchSynthesizeSets",
            (320, 0),
            "your photos become sketches",
            photos=BUILT_IN,
            name="sample sketch sets",
            size=256,
        ),
        "drawn": show("photos and their sketches"),
        "train": node("SketchTrainGAN", (360, 0), "train: photos, name, steps", **trained),
        "plot": show("losses", (340, 300)),
        "preview": save("train your own", "what it paints while it learns", (340, 320)),
        "photo": sketch_at(PHOTOS[1], "one of the four"),
        "sketch": node("SketchPhotoToSketch", (300, 0), "photo to lines"),
        "style": node("SketchGANStyle", (300, 0), "read its style"),
        "decode": decode("paint with the new network"),
        "larger": larger(4.0),
        "painted": show("painted by your network", (400, 460)),
    }
    links = [
        ("lines", "extractor", "draw", "extractor"),
        ("features", "features", "train", "features"),
        ("draw", "folder", "train", "sets"),
        ("draw", "preview", "drawn", "images"),
        ("train", "plot", "plot", "images"),
        ("train", "preview", "preview", "images"),
        ("lines", "extractor", "sketch", "extractor"),
        ("photo", "image", "sketch", "image"),
        ("photo", "image", "style", "image"),
        ("train", "gan", "style", "gan"),
        ("train", "gan", "decode", "gan"),
        ("sketch", "sketch", "decode", "sketch"),
        ("style", "style", "decode", "style"),
        ("decode", "refined", "larger", "image"),
        ("larger", "IMAGE", "painted", "images"),
    ]
    groups = [
        [
            group("draw", "a folder of photos", ("note", ["draw", "drawn"])),
            group("model", "what finds lines, and what judges", ("lines", "features")),
        ],
        [group("walk", "train", (["train"], ["plot", "preview"]))],
        [group("draw", "a photo to try", ["photo"]), group("walk", "try it", ["sketch", "style"])],
        [group("result", "painted by your network", ["decode", "larger", "painted"])],
    ]
    return join({"nodes": nodes, "links": links}, groups=groups)


SKETCH_GAN = {
    "18 Sketch and style - one pass, no prompt": sketch_and_style,
    "19 Between two styles - style mixing": style_mixing,
    "20 Every sketch in every style - matrix": matrix,
    "21 Photo in another style - style transfer": style_transfer,
    "22 Colours of another picture - color transfer": colours_of_another,
    "23 Train your own - sketch GAN from a folder": train_your_own,
}
