"""The graphs of Paint2pix on the published networks of faces: twins of those in paint2pix.py, and a person is kept."""

from __future__ import annotations

from typing import Any

from templates.paint2pix import BLACK, SESSION, predict
from templates.parts import (
    CANVAS,
    FIXED,
    IDENTITY,
    WATERCOLOUR,
    Graph,
    app,
    canvas,
    drawing,
    group,
    join,
    node,
    note,
    save,
    show,
)

FACE = (340, 380)
ALIGNED = "Faces as in FFHQ: aligned, in the middle (Align Face does it)."


def loader(named: str = "the published networks", *more: dict[str, str], **widgets: Any) -> Graph:
    """more: files other than the canvas encoder's."""
    return node("SketchPaint2pixLoader", (300, 0), named, [CANVAS, *more], canvas=CANVAS["name"], **widgets)


def paint_see_paint_on() -> Graph:
    """Two predictions, the first one's state handed on to the second; then the photo's person, and variations."""
    nodes = {
        "note": note(
            "Paint, see, paint on",
            "A few strokes become a face. Paint on the face, Run again: only what your strokes ask for changes.",
            "The published networks: download both files. Faces as in FFHQ: aligned, in the middle.",
            "strength: how far the new strokes go.",
            width=440,
        ),
        "painter": loader("the published networks", IDENTITY, identity=IDENTITY["name"]),
        "canvas": drawing("green hills.png", "your first strokes (of a face)", size=256),
        "first": predict("see"),
        "seen": show("the first picture", FACE),
        "more": canvas("paint on it", 32, 512),
        "second": predict("strength is the knob", strength=1.0),
        "changed": show("after your new strokes", FACE),
        "person": drawing("photo - evening lake.png", "photo of a person to keep", size=256),
        "identity": node("SketchPaint2pixIdentity", (300, 0), "with that person's face", seed=1, **FIXED),
        "kept": show("the same person, your change", FACE),
        "variations": node("SketchPaint2pixVariations", (300, 0), "other pictures of it", count=4, seed=1),
        "save": save("paint, see, paint on", "variations, saved"),
    }
    links = [
        *(("painter", "painter", key, "painter") for key in ("first", "second", "identity", "variations")),
        ("canvas", "image", "first", "canvas"),
        ("first", "image", "seen", "images"),
        ("first", "image", "more", "ground"),
        ("more", "image", "second", "canvas"),
        ("first", "state", "second", "state"),
        ("second", "image", "changed", "images"),
        ("second", "state", "identity", "state"),
        ("person", "image", "identity", "identity"),
        ("identity", "image", "kept", "images"),
        ("identity", "state", "variations", "state"),
        ("variations", "image", "save", "images"),
    ]
    groups = [
        [
            group("draw", "first strokes", ["note", "canvas"]),
            group("model", "faces, 1024 pixels", ["painter"]),
        ],
        [group("walk", "see", ["first", "seen"])],
        [group("draw", "paint on", ["more"])],
        [group("walk", "strength is the knob", ["second", "changed"])],
        [group("walk", "keep a person", ("person", ["identity", "kept"]))],
        [group("result", "four variations", ["variations", "save"])],
    ]
    return join({"nodes": nodes, "links": links}, groups=groups)


def paint_over_many_runs() -> Graph:
    """What was accepted last is the ground; the next strokes go on it."""
    nodes = {
        "note": note(
            "Paint over many runs",
            "Paint a face, Run, look. Run again after other strokes: nothing is kept yet.",
            "You like it? Switch accept on, Run once, switch it off, clear the canvas: your picture is the ground now.",
            width=440,
        ),
        "painter": loader(),
        "last": node("SketchSession", (300, 0), "what you accepted last", name=SESSION),
        "canvas": canvas("paint on it", 32, 512, paper=BLACK),
        "predict": predict("strength is the knob"),
        "look": show("the picture now", (420, 470)),
        "accept": node("SketchSession", (300, 0), "accept keeps it", name=SESSION),
        "save": save("painted over many runs", "what is kept, saved", (380, 400)),
    }
    links = [
        ("painter", "painter", "predict", "painter"),
        ("last", "image", "canvas", "ground"),
        ("last", "state", "predict", "state"),
        ("canvas", "image", "predict", "canvas"),
        ("predict", "image", "look", "images"),
        ("predict", "image", "accept", "image"),
        ("predict", "state", "accept", "state"),
        ("accept", "image", "save", "images"),
    ]
    groups = [
        [group("draw", "on what you accepted", ["note", "last", "canvas"])],
        [group("model", "faces, 1024 pixels", ["painter"]), group("walk", "strength is the knob", ["predict"])],
        [group("result", "look, then accept", ["look", "accept"])],
        [group("result", "kept", ["save"])],
    ]
    shown = app([("canvas", "painting"), ("predict", "strength"), ("accept", "accept")], "look")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


def strokes_on_a_photo() -> Graph:
    """A photo as the painter knows it, strokes on that, its person brought back, and the edit on another photo."""
    nodes = {
        "note": note(
            "Strokes on a photo",
            "The painter finds the codes of a face; your strokes change them. strength 0.5 is half of the edit, 1.5 "
            "exaggerates.",
            ALIGNED,
            "On the right the same edit changes another face.",
            width=638,
        ),
        "photo": drawing("photo - mountain meadow.png", "your photo (of a face)", size=256),
        "other": drawing("photo - quiet lake.png", "another face", size=256),
        "painter": loader("the published networks", IDENTITY, identity=IDENTITY["name"]),
        "known": predict("the photo's codes"),
        "other known": predict("the other's codes"),
        "strokes": canvas("paint on it", 32, 512),
        "edited": predict("strength is the knob"),
        "identity": node("SketchPaint2pixIdentity", (300, 0), "the same person", seed=1, **FIXED),
        "changed": show("your photo, changed", FACE),
        "transfer": node("SketchTransferEdit", (300, 0), "the same edit on the other"),
        "save": save("strokes on a photo", "the other face, changed alike", (380, 420)),
    }
    links = [
        *(("painter", "painter", key, "painter") for key in ("known", "other known", "edited", "identity", "transfer")),
        ("photo", "image", "known", "canvas"),
        ("other", "image", "other known", "canvas"),
        ("known", "image", "strokes", "ground"),
        ("strokes", "image", "edited", "canvas"),
        ("known", "state", "edited", "state"),
        ("edited", "state", "identity", "state"),
        ("photo", "image", "identity", "identity"),
        ("identity", "image", "changed", "images"),
        ("edited", "state", "transfer", "edit"),
        ("other known", "state", "transfer", "state"),
        ("transfer", "image", "save", "images"),
    ]
    groups = [
        [
            group("draw", "two faces", ["note", ("photo", "other")]),
            group("model", "faces, 1024 pixels", ["painter"]),
        ],
        [group("walk", "find their codes", ["known", "other known"])],
        [group("draw", "paint on the first", ["strokes"])],
        [group("walk", "strength is the knob", (["edited", "identity"], ["changed"]))],
        [group("result", "the same edit, again", ["transfer", "save"])],
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
        "canvas": canvas("paint a face here", 32, 512, paper=BLACK),
        "painter": loader(),
        "artist": loader("paints watercolours", WATERCOLOUR, decoder=WATERCOLOUR["name"]),
        "photo": predict("as a photo"),
        "watercolour": predict("as a watercolour"),
        "seen": show("a face", FACE),
        "save": save("watercolour", "the same face, painted", (420, 480)),
    }
    links = [
        ("painter", "painter", "photo", "painter"),
        ("artist", "painter", "watercolour", "painter"),
        *(("canvas", "image", key, "canvas") for key in ("photo", "watercolour")),
        ("photo", "image", "seen", "images"),
        ("watercolour", "image", "save", "images"),
    ]
    groups = [
        [group("draw", "strokes on black", ["note", "canvas"])],
        [group("model", "two decoders", ["painter", "artist"])],
        [group("walk", "the same codes", ["photo", "watercolour"])],
        [group("result", "twice", ["seen", "save"])],
    ]
    shown = app([("canvas", "painting")], "seen", "save")
    return join({"nodes": nodes, "links": links}, groups=groups, app=shown)


PAINT2PIX_FACES = {
    "34 Paint, see, paint on - progressive synthesis (faces, as published)": paint_see_paint_on,
    "41 Paint over many runs - painting session (faces, as published)": paint_over_many_runs,
    "42 Strokes on a photo - real image editing (faces, as published)": strokes_on_a_photo,
    "43 The same strokes as a watercolour - artistic content (faces, as published)": in_another_style,
}
