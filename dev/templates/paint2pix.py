"""The graph of Paint2pix: paint, see, paint on. It needs the published files; there is no built-in network."""

from __future__ import annotations

from typing import Any

from templates.parts import CANVAS, FIXED, IDENTITY, Graph, canvas, drawing, group, join, node, note, save, show

FACE = (340, 380)


def predict(named: str, **widgets: Any) -> Graph:
    return node("SketchPaint2pixPredict", (300, 0), named, **widgets)


def paint_see_paint_on() -> Graph:
    """Two predictions, the first one's state handed on to the second; then the photo's person, and variations."""
    nodes = {
        "note": note(
            "Paint, see, paint on",
            "A few strokes become a face. Paint on the face, Run again: only what your strokes ask for changes.",
            "No built-in network: download both files. Faces as in FFHQ: aligned, in the middle.",
            "strength: how far the new strokes go.",
            width=440,
        ),
        "painter": node(
            *("SketchPaint2pixLoader", (300, 0), "the published networks", [CANVAS, IDENTITY]),
            canvas=CANVAS["name"],
            identity=IDENTITY["name"],
        ),
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


PAINT2PIX = {"34 Paint, see, paint on - progressive synthesis (faces, as published)": paint_see_paint_on}
