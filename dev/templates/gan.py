"""The graphs of the self-supervised sketch GAN."""

from __future__ import annotations

from typing import Any

from templates.parts import STARTER_LINES, Graph, drawing, join, node, note

LINES = ("line drawing - lake and peaks.png", "line drawing - three conifers.png", "mountains and cabin.svg")
BUILT_IN = "samples (built in)"
PHOTOS = ("photo - evening lake.png", "photo - mountain meadow.png", "photo - moonlit peaks.png")


def loader(column: int = 0) -> dict[str, Any]:
    return node("SketchGANLoader", column, (280, 0), gan=STARTER_LINES)


def sketch_at(file: str, column: int = 0, **more: Any) -> dict[str, Any]:
    """The built-in sketch GAN paints 128 x 128 pixels; a sketch of twice that keeps its lines thin."""
    return drawing(file, column, size=256, **more)


def decode(column: int, **widgets: Any) -> dict[str, Any]:
    return node("SketchGANDecode", column, (300, 0), seed=1, **widgets)


def larger(column: int) -> dict[str, Any]:
    return node("ImageScaleBy", column, upscale_method="lanczos", scale_by=4.0)


def sketch_and_style() -> Graph:
    text = (
        "## Sketch and style: a picture in one pass\n\nThe *self-supervised sketch GAN*: the sketch sets the shapes, "
        "the style picture the colours and textures. No prompt and no sampling steps; the same seed gives the same "
        "picture.\n\n- Choose other samples for *sketch* and *style*, or upload your own.\n- *draft* is what the "
        "autoencoder paints; **refine** adds the generator's detail.\n- Another **seed** changes fine detail only.\n- "
        "Your own network: train one on your photos, or put a file into models/sketch_gan and choose it in *Load "
        "Sketch GAN*."
    )
    nodes = {
        "note": note(text, height=360),
        "gan": loader(),
        "sketch": sketch_at(LINES[1], named="sketch"),
        "photo": sketch_at(PHOTOS[0], 1, named="style"),
        "style": node("SketchGANStyle", 2, (300, 0)),
        "decode": decode(2),
        "show": node("PreviewImage", 3, (300, 300), named="draft"),
        "larger": larger(3),
        "save": node("SaveImage", 4, (480, 520), filename_prefix="SketchSynth/sketch and style"),
    }
    links = [
        ("gan", "gan", "style", "gan"),
        ("photo", "image", "style", "image"),
        ("gan", "gan", "decode", "gan"),
        ("sketch", "image", "decode", "sketch"),
        ("style", "style", "decode", "style"),
        ("decode", "draft", "show", "images"),
        ("decode", "refined", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    return join({"nodes": nodes, "links": links})


def style_mixing() -> Graph:
    text = (
        "## Styles between two pictures\n\n*Mix Sketch GAN Styles* goes from one style to another in eight **steps**, "
        "and the same sketch is painted in each of them. Below that, a collage of both pictures is read as one style, "
        "the published way to mix styles.\n\n- **level_8** is the broad part of a style, **level_32** its fine "
        "texture. Shares of 1, 0, 0 take only the broad part of the second picture.\n- **steps** 1 gives a single mix."
    )
    nodes = {
        "note": note(text, height=320),
        "gan": loader(),
        "sketch": sketch_at(LINES[1], named="sketch"),
        "photo a": sketch_at(PHOTOS[0], 1, named="style a"),
        "photo b": sketch_at(PHOTOS[2], 1, named="style b"),
        "style a": node("SketchGANStyle", 2, (300, 0)),
        "style b": node("SketchGANStyle", 2, (300, 0)),
        "both": node("BatchImagesNode", 2),
        "collage": node("SketchGANStyle", 3, (300, 0), collage="collage: strips, left to right"),
        "mix": node("SketchGANMixStyles", 3, (300, 0), level_8=1.0, level_16=1.0, level_32=1.0, steps=8),
        "decode": decode(4),
        "decode collage": decode(4),
        "sheet": node("SketchContactSheet", 5, columns=4, cell=256),
        "larger": larger(5),
        "save": node("SaveImage", 6, (700, 420), filename_prefix="SketchSynth/style mixing"),
        "show": node("PreviewImage", 6, (300, 300), named="the collage's style"),
    }
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
        ("decode collage", "refined", "larger", "image"),
        ("larger", "IMAGE", "show", "images"),
    ]
    return join({"nodes": nodes, "links": links})


def matrix() -> Graph:
    text = (
        "## Every sketch in every style\n\nSketches on the left, style pictures at the top. All pictures use the same "
        "noise, so they differ only in sketch and style.\n\n- **show**: adds the drafts to the refined pictures, as "
        "in the paper's figures.\n- Batches may have any length: add more images in *Batch Images*."
    )
    nodes = {
        "note": note(text),
        "gan": loader(),
        **{f"sketch {i}": sketch_at(file, 0 if i == 0 else 1, frame="square, crop") for i, file in enumerate(LINES)},
        **{f"photo {i}": sketch_at(file, 2) for i, file in enumerate(PHOTOS)},
        "sketches": node("BatchImagesNode", 3),
        "exemplars": node("BatchImagesNode", 3),
        "matrix": node("SketchGANMatrix", 3, (300, 0), seed=1),
        "save": node("SaveImage", 4, (700, 720), filename_prefix="SketchSynth/matrix"),
    }
    links = [
        *((f"sketch {i}", "image", "sketches", f"images.image{i}") for i in range(len(LINES))),
        *((f"photo {i}", "image", "exemplars", f"images.image{i}") for i in range(len(PHOTOS))),
        ("gan", "gan", "matrix", "gan"),
        ("sketches", "IMAGE", "matrix", "sketches"),
        ("exemplars", "IMAGE", "matrix", "exemplars"),
        ("matrix", "sheet", "save", "images"),
    ]
    return join({"nodes": nodes, "links": links})


def style_transfer() -> Graph:
    text = (
        "## A photo in the style of another\n\nThe photo is first turned into a line drawing, then painted in the "
        "style of the other photo: its colours are lost, its shapes stay.\n\n- Here the built-in extractor draws. The "
        "published one is a *TOM*, trained with the GAN: choose its file in *Load Sketch Extractor*, and set "
        "**threshold** to 0.7 in *Photo to Sketch*.\n- You can edit the sketch before it is painted: save it, change "
        "it, and load it again."
    )
    nodes = {
        "note": note(text, height=320),
        "gan": loader(),
        "lines": node("SketchExtractorLoader", 0, (280, 0), extractor=STARTER_LINES),
        "photo": sketch_at(PHOTOS[1], 1, named="photo"),
        "other": sketch_at(PHOTOS[0], 1, named="style"),
        "draw": node("SketchPhotoToSketch", 2, (280, 0)),
        "show": node("PreviewImage", 2, (300, 300), named="its lines"),
        "style": node("SketchGANStyle", 3, (300, 0)),
        "decode": decode(3),
        "larger": larger(4),
        "save": node("SaveImage", 5, (480, 520), filename_prefix="SketchSynth/style transfer"),
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
        ("decode", "refined", "larger", "image"),
        ("larger", "IMAGE", "save", "images"),
    ]
    return join({"nodes": nodes, "links": links})


def train_your_own() -> Graph:
    text = (
        "## Train a network on your own photos\n\nAs set up, this memorises the four sample photos in a minute or "
        "two, which is enough to see how it works. At the end it paints one of them from its line drawing. For your "
        "own network:\n\n- Put 500 photos or more into a folder inside ComfyUI's *input* folder, choose it as "
        "**photos** in both nodes, and use another **name**.\n- Set **draft_steps** and **gan_steps** to thousands "
        "(20000 each, on a GPU), **size** to 256 or 512, **width** to 32 or 64, **batch** to 8, and both rates to "
        "1.\n- Cancelling, or even a crash, loses little: press Run again to continue. Once training is done, Run "
        "only paints.\n- **Load Sketch GAN** then lists the network under its name."
    )
    nodes = {
        "note": note(text, height=460),
        "lines": node("SketchExtractorLoader", 0, (280, 0), extractor=STARTER_LINES),
        "features": node("SketchFeatureLoader", 0, (280, 0)),
        "draw": node("SketchSynthesizeSets", 1, (300, 0), photos=BUILT_IN, name="sample sketch sets", size=256),
        "drawn": node("PreviewImage", 1, (300, 300), named="photos and their sketches"),
        "train": node(
            "SketchTrainGAN",
            2,
            (340, 0),
            name="four samples",
            photos=BUILT_IN,
            size="128",
            width=16,
            draft_steps=160,
            gan_steps=60,
            batch=4,
            rate=5.0,
            gan_rate=3.0,
            sketches=BUILT_IN,
        ),
        "plot": node("PreviewImage", 3, (420, 300), named="losses"),
        "preview": node("SaveImage", 3, (420, 320), filename_prefix="SketchSynth/train your own"),
        "photo": sketch_at(PHOTOS[1], 3, named="one of the four"),
        "sketch": node("SketchPhotoToSketch", 4, (300, 0)),
        "style": node("SketchGANStyle", 4, (300, 0)),
        "decode": decode(4),
        "larger": larger(5),
        "painted": node("PreviewImage", 5, (480, 520), named="painted by the new network"),
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
    return join({"nodes": nodes, "links": links})


SKETCH_GAN = {
    "Sketch GAN - sketch and style": sketch_and_style,
    "Sketch GAN - style mixing": style_mixing,
    "Sketch GAN - matrix": matrix,
    "Sketch GAN - style transfer from a photo": style_transfer,
    "Sketch GAN - train your own from a folder": train_your_own,
}
