"""The graphs of Paint2pix: paint, see, paint on; over many runs; on a photo; in another style; your own network.

On the starter's painter of landscapes, whose 64 pixels are enlarged. paint2pix_faces.py has their twins.
"""

from __future__ import annotations

from typing import Any

from templates.parts import (
    FIXED,
    STARTER_LINES,
    Graph,
    app,
    by_model,
    canvas,
    drawing,
    group,
    join,
    node,
    note,
    sample,
    save,
    show,
    upscaled,
)
from templates.retrieval import PHOTOS

PLACE = (340, 380)
BLACK = "#000000"  # what unpainted canvases are in training
BEGINNING, MORE = sample("strokes - a beginning.png"), sample("strokes - going on.png")
ARTIST = "watercolour (built in)"
SESSION = "my painting"
ONLY = "Only what your strokes ask for changes."


def predict(named: str, **widgets: Any) -> Graph:
    return node("SketchPaint2pixPredict", (300, 0), named, **widgets)


def painter(named: str = "paints landscapes", **widgets: Any) -> Graph:
    return node("SketchPaint2pixLoader", (300, 0), named, canvas=STARTER_LINES, **widgets)


def enlarged(*keys: str) -> list[tuple[str, str, str, str]]:
    """The links from the upscaler to these nodes."""
    return [("upscaler", "upscale_model", key, "upscale_model") for key in keys]


def paint_see_paint_on() -> Graph:
    """Two predictions, the first one's state handed on to the second, and variations."""
    larger = by_model()["larger"]
    nodes = {
        "note": note(
            "Paint, see, paint on",
            "A few strokes on black become a place. Paint on that place, Run again.",
            ONLY,
            "strength: how far the new strokes go.",
            width=440,
        ),
        "painter": painter(),
        "canvas": canvas("your first strokes", 24, painting=BEGINNING, paper=BLACK),
        "first": predict("see", passes=1),
        **upscaled(),
        "seen": show("the first picture", PLACE),
        "more": canvas("paint on it", 12, painting=MORE),
        "second": predict("strength is the knob", passes=1, clip=3.0),
        "larger second": dict(larger),
        "changed": show("after your new strokes", PLACE),
        "variations": node(
            "SketchPaint2pixVariations", (300, 0), "the same place, otherwise", count=4, seed=1, **FIXED
        ),
        "larger variations": dict(larger),
        "save": save("paint, see, paint on", "variations, saved", (380, 420)),
    }
    links = [
        *(("painter", "painter", key, "painter") for key in ("first", "second", "variations")),
        *enlarged("larger", "larger second", "larger variations"),
        ("canvas", "image", "first", "canvas"),
        ("first", "image", "larger", "image"),
        ("larger", "IMAGE", "seen", "images"),
        ("larger", "IMAGE", "more", "ground"),
        ("more", "image", "second", "canvas"),
        ("first", "state", "second", "state"),
        ("second", "image", "larger second", "image"),
        ("larger second", "IMAGE", "changed", "images"),
        ("second", "state", "variations", "state"),
        ("variations", "image", "larger variations", "image"),
        ("larger variations", "IMAGE", "save", "images"),
    ]
    groups = [
        [group("draw", "first strokes", ["note", "canvas"]), group("model", "built in", (["painter"], ["upscaler"]))],
        [group("walk", "see", ["first", "larger", "seen"])],
        [group("draw", "paint on", ["more"])],
        [group("walk", "strength is the knob", ["second", "larger second", "changed"])],
        [group("result", "four variations", ["variations", "larger variations", "save"])],
    ]
    shown = app([("canvas", "painting"), ("more", "painting"), ("second", "strength")], "seen", "changed")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def paint_over_many_runs() -> Graph:
    """What was accepted last is the ground; the next strokes go on it."""
    nodes = {
        "note": note(
            "Paint over many runs",
            "Paint, Run, look. Run again after other strokes: nothing is kept yet.",
            "You like it? Switch accept on, Run once, switch it off, clear the canvas: your picture is the ground now.",
            width=440,
        ),
        "painter": painter(),
        "last": node("SketchSession", (300, 0), "what you accepted last", name=SESSION),
        "canvas": canvas("paint on it", 16, painting=BEGINNING, paper=BLACK),
        "predict": predict("strength is the knob", passes=1, clip=3.0),
        **upscaled(),
        "look": show("the picture now", (420, 470)),
        "accept": node("SketchSession", (300, 0), "accept keeps it", name=SESSION),
        "save": save("painted over many runs", "what is kept, saved", (380, 400)),
    }
    links = [
        ("painter", "painter", "predict", "painter"),
        *enlarged("larger"),
        ("last", "image", "canvas", "ground"),
        ("last", "state", "predict", "state"),
        ("canvas", "image", "predict", "canvas"),
        ("predict", "image", "larger", "image"),
        ("larger", "IMAGE", "look", "images"),
        ("larger", "IMAGE", "accept", "image"),
        ("predict", "state", "accept", "state"),
        ("accept", "image", "save", "images"),
    ]
    groups = [
        [group("draw", "on what you accepted", ["note", "last", "canvas"])],
        [
            group("model", "built in", (["painter"], ["upscaler"])),
            group("walk", "strength is the knob", ["predict", "larger"]),
        ],
        [group("result", "look, then accept", ["look", "accept"])],
        [group("result", "kept", ["save"])],
    ]
    shown = app([("canvas", "painting"), ("predict", "strength"), ("accept", "accept")], "look")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def strokes_on_a_photo() -> Graph:
    """A photo as the painter knows it, strokes on that, and the same edit on another photo."""
    larger = by_model()["larger"]
    nodes = {
        "note": note(
            "Strokes on a photo",
            "The painter finds the photo's codes; your strokes change them.",
            f"{ONLY} strength 0.5 is half of the edit, 1.5 exaggerates.",
            "On the right the same edit changes another photo.",
            width=638,
        ),
        "photo": drawing("photo - mountain meadow.png", "your photo", size=256),
        "other": drawing("photo - quiet lake.png", "another photo", size=256),
        "painter": painter(),
        "known": predict("the photo's codes", passes=1),
        "other known": predict("the other's codes", passes=1),
        **upscaled(),
        "strokes": canvas("paint on it", 12, painting=MORE),
        "edited": predict("strength is the knob", passes=1, clip=3.0),
        "larger edited": dict(larger),
        "changed": show("your photo, changed", PLACE),
        "transfer": node("SketchTransferEdit", (300, 0), "the same edit on the other"),
        "larger transfer": dict(larger),
        "save": save("strokes on a photo", "the other photo, changed alike", (380, 420)),
    }
    links = [
        *(("painter", "painter", key, "painter") for key in ("known", "other known", "edited", "transfer")),
        *enlarged("larger", "larger edited", "larger transfer"),
        ("photo", "image", "known", "canvas"),
        ("other", "image", "other known", "canvas"),
        ("known", "image", "larger", "image"),
        ("larger", "IMAGE", "strokes", "ground"),
        ("strokes", "image", "edited", "canvas"),
        ("known", "state", "edited", "state"),
        ("edited", "image", "larger edited", "image"),
        ("larger edited", "IMAGE", "changed", "images"),
        ("edited", "state", "transfer", "edit"),
        ("other known", "state", "transfer", "state"),
        ("transfer", "image", "larger transfer", "image"),
        ("larger transfer", "IMAGE", "save", "images"),
    ]
    groups = [
        [
            group("draw", "two photos", ["note", ("photo", "other")]),
            group("model", "built in", (["painter"], ["upscaler"])),
        ],
        [group("walk", "find their codes", ["known", "other known", "larger"])],
        [group("draw", "paint on the first", ["strokes"])],
        [group("walk", "strength is the knob", ["edited", "larger edited", "changed"])],
        [group("result", "the same edit, again", ["transfer", "larger transfer", "save"])],
    ]
    shown = app([("photo", "image"), ("strokes", "painting"), ("edited", "strength")], "changed", "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def in_another_style() -> Graph:
    """One painting through two decoders: artistic content."""
    nodes = {
        "note": note(
            "The same strokes as a watercolour",
            "One encoder, two decoders: each paints the same codes in its own way.",
            "decoder, in Load Paint2pix: any StyleGAN2 of the same size.",
            width=440,
        ),
        "canvas": canvas("your strokes", 24, painting=BEGINNING, paper=BLACK),
        "painter": painter(),
        "artist": painter("paints watercolours", decoder=ARTIST),
        "photo": predict("as a photo", passes=1),
        "watercolour": predict("as a watercolour", passes=1),
        **upscaled(),
        "larger watercolour": by_model()["larger"],
        "seen": show("a place", PLACE),
        "save": save("watercolour", "the same place, painted", (420, 480)),
    }
    links = [
        ("painter", "painter", "photo", "painter"),
        ("artist", "painter", "watercolour", "painter"),
        *enlarged("larger", "larger watercolour"),
        *(("canvas", "image", key, "canvas") for key in ("photo", "watercolour")),
        ("photo", "image", "larger", "image"),
        ("larger", "IMAGE", "seen", "images"),
        ("watercolour", "image", "larger watercolour", "image"),
        ("larger watercolour", "IMAGE", "save", "images"),
    ]
    groups = [
        [group("draw", "strokes on black", ["note", "canvas"])],
        [group("model", "two decoders", ["painter", "artist", "upscaler"])],
        [group("walk", "the same codes", ["photo", "larger", "watercolour", "larger watercolour"])],
        [group("result", "twice", ["seen", "save"])],
    ]
    shown = app([("canvas", "painting"), ("artist", "decoder")], "seen", "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def train_your_own() -> Graph:
    nodes = {
        "note": note(
            "Train Paint2pix on your own photos",
            "As it is, it takes 20 steps, to see how it works: it paints coloured mist by then.",
            "Your own: a folder of some thousand photos of one kind, a GPU, and a day. With a StyleGAN2 of yours at "
            "start only the encoder learns.",
            "Run again goes on after a stop. Then choose it in Load Paint2pix.",
            width=440,
        ),
        "train": node(
            "SketchTrainPaint2pix",
            (360, 0),
            "train: photos, name, steps",
            name="sample photos",
            photos=PHOTOS,
            decoder="learns along",
            size="64",
            width=32,
            steps=20,
            batch=4,
        ),
        "features": node("SketchFeatureLoader", (300, 0), "compares pictures", features=STARTER_LINES),
        "plot": show("the losses", (340, 300)),
        "rows": show("canvas, prediction, photo", (420, 200)),
        "canvas": canvas("strokes to try it on", 24, painting=BEGINNING, paper=BLACK),
        "predict": predict("what it makes of them", passes=1),
        "save": save("painted by your own painter", "your strokes, painted", (360, 400)),
    }
    links = [
        ("features", "features", "train", "features"),
        ("train", "plot", "plot", "images"),
        ("train", "preview", "rows", "images"),
        ("train", "painter", "predict", "painter"),
        ("canvas", "image", "predict", "canvas"),
        ("predict", "image", "save", "images"),
    ]
    groups = [
        [group("draw", "your photos", ["note", "features", "train"])],
        [group("model", "how it goes", ["plot", "rows"])],
        [group("walk", "try it", ["canvas", "predict"])],
        [group("result", "by your own painter", ["save"])],
    ]
    shown = app([("train", "name"), ("train", "photos"), ("train", "steps")], "plot", "rows", "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


PAINT2PIX = {
    "34 Paint, see, paint on - progressive synthesis": paint_see_paint_on,
    "41 Paint over many runs - painting session": paint_over_many_runs,
    "42 Strokes on a photo - real image editing": strokes_on_a_photo,
    "43 The same strokes as a watercolour - artistic content": in_another_style,
    "44 Train your own - Paint2pix from a folder": train_your_own,
}
