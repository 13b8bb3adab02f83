"""The graph on an edit model: what changes is said in words, what stays is held by an energy."""

from __future__ import annotations

from templates.models import THREE, flux2_klein
from templates.parts import Graph, app, group, join, node, note, sample, save


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


EDITING = {"40 Change a photo, keep its shapes - edit model (Flux.2 Klein)": edit_in_place}
