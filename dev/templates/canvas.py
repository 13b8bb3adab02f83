"""The graphs of the Sketch Canvas: paint and see at once, paint with words, choose and go on."""

from __future__ import annotations

from typing import Any

from templates.gan import ONE_PASS, PHOTOS, decode, loader, sketch_at
from templates.gradop import from_noise, walk
from templates.models import KNOWN, Base, sd15, starter, z_image_turbo
from templates.parts import (
    FIXED,
    MODELS_UPSCALER,
    SCRIBBLE,
    Graph,
    app,
    by_model,
    canvas,
    group,
    join,
    larger,
    model_size,
    node,
    note,
    sample,
    show,
    starter_walk,
)
from templates.sdedit import PAINTER, T0, own_walk

LIVE = "Run (On Change), in the menu beside Run: then every stroke becomes a picture."
INK = "#1b1b1b:\n#ffffff:"
LAND = """#7da4dd: a clear sky
#e5f0fd: clouds
#63677f: hills
#6c8a88: a lake
#858c5d: a meadow
#1e4734: conifers
#a5482f: a cabin"""
PROMPT = "a clear sky, clouds, hills, a lake, a meadow, by day"
PHOTO_PROMPT = "photo of a lake and a meadow below wooded hills, clear sky, a few clouds, morning light"
LAKE = "photo of a mountain lake below snowy peaks, conifers on the shore, clear sky, morning light"
HILLS = "photo of green hills below a clear sky, a few clouds, morning light"
WITHOUT = "painting, drawing, blurry, flat colours"
RESULT = (420, 470)


def live(graph: Graph) -> Graph:
    """The same noise in every run: only the strokes change the picture."""
    for spec in graph["nodes"].values():
        if {"seed", "noise_seed"} & set(spec["widgets"]):
            spec["widgets"] |= FIXED
    return graph


def live_gan() -> Graph:
    nodes = {
        "note": note("Draw, and it is painted", "Draw lines on the canvas, dark on light.", LIVE, width=440),
        "canvas": canvas("draw here", 4, photo=sample("line drawing - lake and peaks.png"), palette=INK),
        "gan": loader(),
        "photo": sketch_at(PHOTOS[0], "style: its colours"),
        "style": node("SketchGANStyle", (300, 0), "read the style"),
        "decode": decode(),
        "larger": larger(4.0),  # the upscaler takes as long as the GAN
        "result": show("your drawing, painted", RESULT),
    }
    links = [
        ("gan", "gan", "style", "gan"),
        ("photo", "image", "style", "image"),
        ("gan", "gan", "decode", "gan"),
        ("canvas", "image", "decode", "sketch"),
        ("style", "style", "decode", "style"),
        ("decode", "refined", "larger", "image"),
        ("larger", "IMAGE", "result", "images"),
    ]
    groups = [
        [group("draw", "lines", ["note", "canvas"])],
        [group("model", f"{ONE_PASS}, and a style", ("photo", ["gan", "style"]))],
        [group("walk", "one pass", ["decode", "larger"])],
        [group("result", "after every stroke", ["result"])],
    ]
    shown = app([("canvas", "painting"), ("photo", "image"), ("decode", "seed")], "result")
    return live(join({"nodes": nodes, "links": links}, groups=groups, app=shown))


def live_scribble(base: Base) -> Graph:
    """Lines on a model of the user's, held by its scribble ControlNet, in few steps."""
    nodes = {
        "note": note(
            "Draw, and it is a photo",
            "Draw lines on the canvas, dark on light; the prompt says what they show.",
            LIVE,
            "A lower strength is freer with your lines. Too slow? Fewer steps.",
            width=440,
        ),
        "canvas": canvas("draw here", 8, base.side, photo=sample("line drawing - lake and peaks.png"), palette=INK),
        **base.nodes,
        "positive": node("CLIPTextEncode", (360, 140), "what the lines show", text=LAKE),
        "negative": node("CLIPTextEncode", (360, 100), base.avoid, text=WITHOUT),
        "scribble": node(
            *("ControlNetLoader", (360, 0), "its scribble ControlNet", [SCRIBBLE]),
            control_net_name=SCRIBBLE["name"],
        ),
        "white": node("ImageInvert", named="white lines on black"),
        "hold": node("ControlNetApplyAdvanced", (300, 0), "follow the lines", strength=0.9, end_percent=0.8),
        "of drawing": node("GetImageSize", named="the canvas's size"),
        "empty": node(base.empty, named="how many results", batch_size=1),
        "sampler": node(
            *("KSampler", (282, 0), "paint"),
            **{"seed": 1, "steps": 12, "cfg": base.cfg, "sampler_name": "dpmpp_2m", "scheduler": "karras"},
        ),
        "decode": node("VAEDecode"),
        "result": show("your drawing, as a photo", RESULT),
    }
    links = [
        *((*base.clip, key, "clip") for key in ("positive", "negative")),
        *((key, "CONDITIONING", "hold", key) for key in ("positive", "negative")),
        ("scribble", "CONTROL_NET", "hold", "control_net"),
        ("canvas", "image", "white", "image"),
        ("white", "IMAGE", "hold", "image"),
        ("canvas", "image", "of drawing", "image"),
        *(("of drawing", side, "empty", side) for side in ("width", "height")),
        (*base.model, "sampler", "model"),
        *(("hold", key, "sampler", key) for key in ("positive", "negative")),
        ("empty", "LATENT", "sampler", "latent_image"),
        ("sampler", "LATENT", "decode", "samples"),
        (*base.vae, "decode", "vae"),
        ("decode", "IMAGE", "result", "images"),
    ]
    groups = [
        [group("draw", "lines", ["note", "canvas"])],
        [group("model", base.group, [*base.column, "positive", "negative", "scribble"])],
        [group("walk", "strength is the knob", (["white", "hold", "of drawing"], ["empty", "sampler", "decode"]))],
        [group("result", "after every stroke", ["result"])],
    ]
    shown = app([("canvas", "painting"), ("positive", "text"), ("hold", "strength"), ("sampler", "seed")], "result")
    return live(join({"nodes": nodes, "links": links}, groups=groups, app=shown))


def from_canvas(t0: float, variations: int) -> Graph:
    """Canvas, encoder and the starter's walk, to pictures four times enlarged."""
    nodes = {
        "canvas": canvas("paint here", photo=sample("green hills.png")),
        "small": model_size(64),
        "encode": node("VAEEncode"),
    }
    links = [
        ("canvas", "image", "small", "image"),
        ("small", "IMAGE", "encode", "pixels"),
        ("prior", "vae", "encode", "vae"),
    ]
    return join({"nodes": nodes, "links": links}, starter_walk(("encode", "LATENT"), t0, variations), groups=[])


def live_sdedit() -> Graph:
    nodes = {
        "note": note("Paint, and it is a photo", "Broad brush, flat colours, no details.", LIVE, T0, width=440),
        "result": show("your strokes, as a photo", RESULT),
    }
    links = [("larger", "IMAGE", "result", "images")]
    groups = [
        [group("draw", "over the picture", ["note", "canvas"])],
        [group("model", PAINTER, ["prior", "label", "ddpm"])],
        [
            group(
                "walk",
                "t0 is the knob",
                (["small", "encode", "repeat", "t0"], ["sampler", "decode", "upscaler", "larger"]),
            )
        ],
        [group("result", "after every stroke", ["result"])],
    ]
    shown = app([("canvas", "painting"), ("t0", "t0"), ("sampler", "noise_seed")], "result")
    graph = join({"nodes": nodes, "links": links}, from_canvas(0.45, 1), groups=groups, app=shown)
    # To paint along: half the time of 16 steps of ddpm, no softer, and small strokes change little elsewhere.
    graph["nodes"]["ddpm"]["widgets"]["sampler_name"] = "dpmpp_2m"
    graph["nodes"]["t0"]["widgets"]["steps"] = 8
    return live(graph)


def in_bands(base: Base, draw: Graph, beside: list[str], result: Graph) -> list[list[Graph]]:
    """The bands of own_walk behind a canvas, which is too tall for a group below it."""
    words, steps = ["positive", "negative"], (["t0", "stepper"], ["sampler", "decode"])
    walk = group("walk", "t0 is the knob", steps)
    if len(base.nodes) > 1:
        return base.bands(draw, beside, words, walk, result)
    return [[draw], [group("model", base.group, [*base.column, *words, *beside])], [walk], [result]]


def live_on(base: Base, t0: float, steps: int) -> Graph:
    side = 512 if base.side == 512 else 768
    nodes = {
        "note": note(
            "Paint, and it is a photo",
            "Broad brush, flat colours; the prompt says what they show.",
            LIVE,
            "Too slow? A smaller canvas, or fewer steps.",
            width=440,
        ),
        "canvas": canvas("paint here", side // 16, side, photo=sample("green hills.png")),
        "result": show("your strokes, as a photo", RESULT),
    }
    groups = in_bands(
        *(base, group("draw", "over the picture", ["note", "canvas"]), ["encode"]),
        group("result", "after every stroke", ["result"]),
    )
    links = [("decode", "IMAGE", "result", "images")]
    shown = app([("canvas", "painting"), ("positive", "text"), ("t0", "t0"), ("sampler", "noise_seed")], "result")
    graph = join(
        {"nodes": nodes, "links": links},
        own_walk(base, ("canvas", "image"), t0, HILLS),
        groups=groups,
        app=shown,
    )
    if not base.distilled:
        graph["nodes"]["stepper"]["widgets"]["sampler_name"] = "dpmpp_2m"
    graph["nodes"]["t0"]["widgets"]["steps"] = steps
    return live(graph)


def choose_and_go_on() -> Graph:
    nodes = {
        "note": note(
            "Paint, choose, go on",
            "Run: four versions, the closest to your painting first.",
            "The arrow on the canvas makes the first one your new ground. Paint on it, Run again.",
            T0,
            width=440,
        ),
        "rank": node("SketchFaithfulnessReport", (300, 300), "who is closest to the painting"),
        "result": show("four versions, best first", (460, 500)),
    }
    links = [
        ("larger", "IMAGE", "rank", "results"),
        ("canvas", "image", "rank", "guide"),
        ("rank", "ranked", "result", "images"),
    ]
    groups = [
        [group("draw", "then take a result and go on", ["note", "canvas"])],
        [group("model", PAINTER, ["prior", "label", "ddpm"])],
        [
            group(
                "walk",
                "t0 is the knob",
                (["small", "encode", "repeat", "t0"], ["sampler", "decode", "upscaler", "larger"]),
            )
        ],
        [group("result", "best first", ["rank", "result"])],
    ]
    shown = app([("canvas", "painting"), ("repeat", "amount"), ("t0", "t0"), ("sampler", "noise_seed")], "result")
    return join({"nodes": nodes, "links": links}, from_canvas(0.45, 4), groups=groups, app=shown)


def with_words(base: Base, prompt: str, without: str) -> Graph:
    """GradOP+ follows the painting; its words act where their colours are."""
    small, side = base.side < 512, max(256, base.side)
    few: dict[str, Any] = (
        {"schedule": "constant"} if base.distilled else {}
    )  # they need their whole strength in each step
    nodes: dict[str, Any] = {
        "note": note(
            "Paint with words",
            "Each colour of the palette has words. Choose one and paint: its words act there.",
            KNOWN if small else "Click a colour and type other words; add your own with +.",
            width=440,
        ),
        "canvas": canvas(*("paint here", side // 16, side), painting=sample("two shores.png"), palette=LAND),
        **base.nodes,
        "tie": node("CrossAttnRegionMap", (340, 0), "the prompt, tied to the colours", prompt=prompt, **few),
        "without": node("CLIPTextEncode", (340, 90), base.avoid, text=without),
        "solve": node("GradOpSolve", (320, 0), "how closely: rounds is the knob", **base.solve),
        "result": show("painted by your words", RESULT),
    }
    links = [
        *base.links,
        *((*base.model, "tie", "model"), (*base.clip, "tie", "clip"), ("canvas", "regions", "tie", "regions")),
        (*base.clip, "without", "clip"),
        (*base.vae, "solve", "vae"),
    ]
    size, last = ("canvas", "image"), ("GradOP+ picture", "IMAGE")
    if small:
        nodes |= {"small": model_size(base.side), **by_model()}
        links += [MODELS_UPSCALER, ("canvas", "image", "small", "image"), (*last, "larger", "image")]
        size, last = ("small", "IMAGE"), ("larger", "IMAGE")
    links += [(*size, "solve", "painting"), (*last, "result", "images")]
    graph = from_noise(base, size)
    model, positive = ("tie", "model"), ("tie", "conditioning")
    sampled = walk(
        *(base, "GradOP+", ("solve", "sampler"), ("schedule", "SIGMAS"), ("empty", "LATENT")),
        **{"shared": False, "model": model, "positive": positive},
    )
    groups = [
        [group("draw", "each colour has words", ["note", "canvas"])],
        [group("model", base.group, [*base.column, "tie", "without"])],
        [
            group(
                *("walk", "rounds is the knob"),
                (
                    [*(["small"] if small else []), "solve", "of painting", "empty", "schedule"],
                    ["GradOP+", "GradOP+ picture", *(["larger"] if small else [])],
                ),
            )
        ],
        [group("result", "words where you painted them", ["result"])],
    ]
    shown = app([("canvas", "painting"), ("tie", "prompt"), ("solve", "rounds"), ("GradOP+", "noise_seed")], "result")
    return join({"nodes": nodes, "links": links}, graph, sampled, groups=groups, app=shown)


def choose_on(base: Base, t0: float) -> Graph:
    side = 512 if base.side == 512 else 1024
    nodes = {
        "note": note(
            "Paint, choose, go on",
            "Run: four versions, the closest to your painting first.",
            "The arrow on the canvas makes the first one your new ground. Paint on it, Run again.",
            "The prompt says what the strokes show.",
            width=440,
        ),
        "canvas": canvas("paint here", side // 16, side, photo=sample("green hills.png")),
        "rank": node("SketchFaithfulnessReport", (300, 300), "who is closest to the painting"),
        "result": show("four versions, best first", (460, 500)),
    }
    links = [
        ("decode", "IMAGE", "rank", "results"),
        ("canvas", "image", "rank", "guide"),
        ("rank", "ranked", "result", "images"),
    ]
    groups = in_bands(
        *(base, group("draw", "then take a result and go on", ["note", "canvas"]), ["encode", "repeat"]),
        group("result", "best first", ["rank", "result"]),
    )
    own = own_walk(base, ("canvas", "image"), t0, HILLS, 4)
    shown = app([("canvas", "painting"), ("positive", "text"), ("t0", "t0"), ("sampler", "noise_seed")], "result")
    return join({"nodes": nodes, "links": links}, own, groups=groups, app=shown)


CANVASES = {
    "35 Paint live - sketch GAN": live_gan,
    "35 Paint live - sketch GAN (SD1.5 scribble)": lambda: live_scribble(sd15()),
    "36 Paint live - SDEdit": live_sdedit,
    "36 Paint live - SDEdit (SD1.5)": lambda: live_on(sd15(), 0.6, 12),
    "36 Paint live - SDEdit (Z-Image-Turbo)": lambda: live_on(z_image_turbo(), 0.6, 4),
    "37 Paint with words - GradOP, regional prompt": lambda: with_words(starter(), PROMPT, ""),
    "37 Paint with words - GradOP, regional prompt (SD1.5)": lambda: with_words(sd15(), PHOTO_PROMPT, WITHOUT),
    "37 Paint with words - GradOP, regional prompt (Z-Image-Turbo)": lambda: with_words(
        z_image_turbo(), PHOTO_PROMPT, ""
    ),
    "38 Paint, choose, go on - img2img, ranked": choose_and_go_on,
    "38 Paint, choose, go on - img2img, ranked (SD1.5)": lambda: choose_on(sd15(), 0.65),
    "38 Paint, choose, go on - img2img, ranked (Z-Image-Turbo)": lambda: choose_on(z_image_turbo(), 0.6),
}
