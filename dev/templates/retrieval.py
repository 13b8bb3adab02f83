"""The graphs of ZSE-SBIR: photos found by sketch, explained, and painted with."""

from __future__ import annotations

from typing import Any

from templates.inversion import two_stages
from templates.parts import STARTER, STARTER_LINES, ZSE, Graph, drawing, join, node, note

PHOTOS = "sample photos (built in)"
SKETCH = "sketch - lake at sunset.png"
ALONE = "only the connected clip_vision"
CLIP_H = {
    "name": "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
    "url": "https://huggingface.co/h94/IP-Adapter/resolve/main/models/image_encoder/model.safetensors",
    "directory": "clip_vision",
}


def loader(**more: Any) -> dict[str, Any]:
    return node("SketchRetrieverLoader", 0, (300, 0), **{"retriever": STARTER_LINES, **more})


def index(column: int = 1) -> dict[str, Any]:
    return node("SketchPhotoIndex", column, (300, 0), folder=PHOTOS)


def searching(text: str, retriever: dict[str, Any], **found: Any) -> Graph:
    """A sketch, a folder, and a sheet of what was found in it."""
    nodes = {
        "note": note(text, height=360),
        "retriever": retriever,
        "drawing": drawing(SKETCH, 1, size=256, named="sketch"),
        "index": index(),
        "find": node("SketchFindPhotos", 2, (300, 0), count=8, **found),
        "save": node("SaveImage", 3, (640, 660), filename_prefix="SketchSynth/found"),
        "best": node("PreviewImage", 3, (640, 320), named="the photos at full size"),
    }
    links = [
        ("retriever", "retriever", "index", "retriever"),
        ("drawing", "image", "find", "sketch"),
        ("index", "index", "find", "index"),
        ("find", "sheet", "save", "images"),
        ("find", "photos", "best", "images"),
    ]
    return {"nodes": nodes, "links": links}


def search_my_photos() -> Graph:
    text = (
        "## Find photos by drawing one\n\n*ZSE-SBIR*: a network sees your sketch and every photo of a folder, and the "
        "photos come out best first, with their scores. No names or tags are used.\n\n- Choose another sample "
        "for *sketch*, upload your own, or draw one.\n- **folder** in *Index Photos*: a folder of your own inside "
        "ComfyUI's *input* or *output* folder. It is looked at once; later runs read only new photos.\n- **mode**: "
        "*Ret, then RN* looks again at the best ones, patch by patch.\n- The built-in network knows landscapes of the "
        "starter world. For photos of anything use the version of this graph for CLIP vision or for the published file."
    )
    return searching(text, loader(), mode="Ret, then RN on the best 200")


def twin_sketchy() -> Graph:
    text = (
        "## Find photos by drawing one, with the published network\n\nThe paper's own network, trained on 100 classes "
        "of Sketchy Extended and meant for sketches of anything.\n\n- Download it from the address that *Load Sketch "
        "Retriever* names, and put it into `models/sketch_retrievers`.\n- Choose a **folder** of your own photos.\n- "
        "Indexing takes about a second per photo on a CPU, and a hundredth of that on a GPU."
    )
    retriever = loader(retriever=ZSE["name"])
    return searching(text, {**retriever, "models": [ZSE]}, mode="Ret, then RN on the best 200")


def twin_clip() -> Graph:
    text = (
        "## Find photos by drawing one, with CLIP vision\n\nAny CLIP, SigLIP or DINO vision model that you have can "
        "compare a sketch with photos.\n\n- Choose your model in *Load CLIP Vision*, and a **folder** of your own "
        "photos.\n- Choose a network in *Load Sketch Retriever* as well, and both look together: their scores are "
        "added.\n- **mode** stays at *Ret*: only ZSE-SBIR has a relation network."
    )
    graph = searching(text, loader(retriever=ALONE), mode="Ret")
    graph["nodes"]["vision"] = node("CLIPVisionLoader", 0, (300, 0), models=[CLIP_H], clip_name=CLIP_H["name"])
    order = ["note", "vision", "retriever"]
    graph["nodes"] = {key: graph["nodes"][key] for key in [*order, *(k for k in graph["nodes"] if k not in order)]}
    graph["links"].append(("vision", "CLIP_VISION", "retriever", "clip_vision"))
    return graph


def why_this_photo() -> Graph:
    text = (
        "## Why this photo?\n\nThe best photo for a sketch, and what the network saw in the two.\n\n- Above: the "
        "patches that belong together, strongest in red.\n- In the middle: the sketch put together from patches of the "
        "photo.\n- Below: where each head of the retrieval token looks.\n- **lines**: how many are drawn. **count** of "
        "*Find Photos by Sketch*: more photos are explained one by one.\n- Connect any photo to *Explain Match*, and "
        "see how well it matches."
    )
    nodes = {
        "note": note(text, height=380),
        "retriever": loader(),
        "drawing": drawing(SKETCH, 1, size=256, named="sketch"),
        "index": index(),
        "find": node("SketchFindPhotos", 2, (300, 0), mode="Ret, then RN on the best 200", count=1),
        "explain": node("SketchExplainMatch", 3, (300, 0), lines=16),
        "save": node("SaveImage", 4, (640, 360), filename_prefix="SketchSynth/why this photo"),
        "rebuilt": node("PreviewImage", 4, (320, 320), named="the sketch, rebuilt from the photo"),
        "attention": node("PreviewImage", 5, (640, 460), named="where the retrieval token looks"),
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
    return {"nodes": nodes, "links": links}


def draw_find_paint() -> Graph:
    text = (
        "## Draw, find, paint\n\nA sketch finds its own exemplars in a folder of photos, and *Inversion-by-Inversion* "
        "paints it with their colours. Everything behind *Find Photos by Sketch* runs once per photo; at the end all "
        "results stand in the order in which they match the sketch.\n\n- Choose another *sketch*, and your own "
        "**folder** in *Index Photos*.\n- **count**: how many photos it paints with. **amount** of *Repeat Latent "
        "Batch*: how many pictures with each.\n- **colour_weight** of *Appearance Energy*: how strongly the photo's "
        "colours are applied."
    )
    parts = {
        "nodes": {
            "note": note(text, height=400),
            "prior": node("SketchPriorLoader", 0, (280, 0), prior=STARTER),
            "lines": node("SketchExtractorLoader", 0, (280, 0), extractor=STARTER_LINES),
            "label": node("SketchPriorLabel", 0),
            "retriever": loader(),
            "drawing": drawing(SKETCH, 1, size=256, named="sketch"),
            "small": node("ImageScale", 1, upscale_method="lanczos", width=64, height=64, crop="center"),
            "index": index(),
            "find": node("SketchFindPhotos", 2, (300, 0), mode="Ret, then RN on the best 200", count=3),
            "found": node("PreviewImage", 3, (420, 280), named="the exemplars that were found"),
            "repeat": node("RepeatLatentBatch", 3, amount=2),
            "appearance": node("AppearanceEnergyGuidance", 3, (320, 0)),
            "decode": node("VAEDecode", 6),
            "larger": node("ImageScaleBy", 6, upscale_method="lanczos", scale_by=4.0),
            "rank": node("SketchRankImages", 7, (300, 0)),
            "save": node("SaveImage", 8, (640, 660), filename_prefix="SketchSynth/draw find paint"),
        },
        "links": [
            ("retriever", "retriever", "index", "retriever"),
            ("drawing", "image", "small", "image"),
            ("drawing", "image", "find", "sketch"),
            ("index", "index", "find", "index"),
            ("find", "photos", "found", "images"),
            ("shape stage 1", "latent", "repeat", "samples"),
            ("repeat", "LATENT", "walk stage 1", "latent_image"),
            ("prior", "model", "appearance", "model"),
            ("find", "photos", "appearance", "exemplar"),
            ("walk stage 2", "output", "decode", "samples"),
            ("prior", "vae", "decode", "vae"),
            ("decode", "IMAGE", "larger", "image"),
            ("larger", "IMAGE", "rank", "images"),
            ("drawing", "image", "rank", "sketch"),
            ("retriever", "retriever", "rank", "retriever"),
            ("rank", "sheet", "save", "images"),
        ],
    }
    graph = join(parts, *two_stages())
    for link in graph["links"]:
        if link[0] == "drawing" and link[2].startswith("shape"):
            link[:2] = ["small", "IMAGE"]
    return graph


def train_your_own() -> Graph:
    text = (
        "## Train a network on your own photos and sketches\n\nAs set up, this takes a few steps on the sample photos "
        "and drawings of them, enough to see how it works; the network that comes out knows nothing yet. For your own:"
        "\n\n- Photos and sketches in **classes**: a folder *photos* and a folder *sketches* with sub-folders of the "
        "same names. Or in **pairs**: sketches named like their photos. Or let *Synthesize Sketch Sets* draw your "
        "photos, as here.\n- Set **steps** to thousands, **batch** to 15 and more.\n- With a GPU, choose "
        "*ViT-B/16* as **network**, a ViT as **start**, and a **learning_rate** of 0.00001, as published.\n- "
        "**held_out**: a tenth of the classes is never learned from, and measures the network (mAP).\n- Cancelling "
        "loses nothing: press Run again to continue."
    )
    nodes = {
        "note": note(text, height=480),
        "lines": node("SketchExtractorLoader", 0, (280, 0), extractor=STARTER_LINES),
        "draw": node("SketchSynthesizeSets", 1, (300, 0), photos=PHOTOS, name="drawn sample photos", size=256),
        "drawn": node("PreviewImage", 1, (300, 300), named="photos and their sketches"),
        "train": node(
            "SketchTrainRetriever",
            2,
            (340, 0),
            name="sample photos",
            photos=PHOTOS,
            sketches=PHOTOS,
            steps=12,
            batch=4,
            validate_every=6,
        ),
        "drawing": drawing(SKETCH, 3, size=256, named="sketch"),
        "index": index(3),
        "plot": node("PreviewImage", 4, (420, 300), named="losses and validation"),
        "preview": node("PreviewImage", 4, (420, 420), named="what its sketches find"),
        "find": node("SketchFindPhotos", 4, (300, 0), count=8),
        "save": node("SaveImage", 5, (640, 660), filename_prefix="SketchSynth/found by your own"),
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
    return {"nodes": nodes, "links": links}


RETRIEVAL = {
    "Retrieval - search my photos": search_my_photos,
    "Retrieval - why this photo": why_this_photo,
    "Retrieval - draw, find, paint": draw_find_paint,
    "Retrieval - train your own": train_your_own,
    "Retrieval - search my photos (Sketchy, as published)": twin_sketchy,
    "Retrieval - search my photos (CLIP vision)": twin_clip,
}
