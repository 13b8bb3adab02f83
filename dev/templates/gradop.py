"""The graphs of GradOP: paintings with a prompt, and words in painted regions."""

from __future__ import annotations

from typing import Any

from templates.parts import FIXED, SD15, Graph, drawing, join, node, note

FOUR_SECTIONS = "the painting\nSDEdit, strength 0.4\nSDEdit, strength 0.7\nGradOP+"


class Base:
    """The model of a graph: which node gives MODEL, CLIP and VAE, and what suits it."""

    def __init__(
        self,
        key: str,
        spec: dict[str, Any],
        outputs: tuple[str, str, str],
        side: int,
        cfg: float,
        words: str,
        **solve: Any,
    ) -> None:
        """words: what to say of prompts. solve: what GradOpSolve is set to, other than its defaults."""
        self.key, self.spec, self.side, self.cfg, self.words, self.solve = key, spec, side, cfg, words, solve
        self.model, self.clip, self.vae = ((key, output) for output in outputs)


def starter() -> Base:
    words = (
        "Words the starter knows: lake, meadow, sand dunes, snowfield, mountains, hills, forest, conifers, cabin, "
        "path, flowers, sun, moon, clouds; by day, at sunset, at dawn, at night."
    )
    loader = node("SketchStarterModels", 0, (300, 0))
    return Base("models", loader, ("model", "clip", "vae"), 128, 4.0, words, strength=0.7, rounds=5)


def sd15() -> Base:
    loader = node("CheckpointLoaderSimple", 0, (320, 0), models=[SD15], ckpt_name=SD15["name"])
    words = "Write the prompt as for any picture; the negative prompt avoids the look of a painting."
    return Base("checkpoint", loader, ("MODEL", "CLIP", "VAE"), 512, 7.0, words)


def prompts(base: Base, prompt: str, without: str) -> Graph:
    """Loader, prompt and negative prompt, schedule and empty latent."""
    nodes = {
        base.key: base.spec,
        "prompt": node("CLIPTextEncode", 1, (340, 110), named="prompt", text=prompt),
        "without": node("CLIPTextEncode", 1, (340, 80), named="negative prompt", text=without),
        "empty": node("EmptyLatentImage", 1, width=base.side, height=base.side),
        "schedule": node("BasicScheduler", 1, scheduler="normal", steps=25),
    }
    links = [
        (*base.clip, "prompt", "clip"),
        (*base.clip, "without", "clip"),
        (*base.model, "schedule", "model"),
    ]
    return {"nodes": nodes, "links": links}


def walk(base: Base, key: str, column: int, sampler: tuple, sigmas: tuple, latent: tuple, **more: Any) -> Graph:
    """A SamplerCustom with its VAE Decode, called `key` and `key picture`. shared: its noise is that of `seed`, for
    pictures that are compared."""
    positive, model = more.get("positive", ("prompt", "CONDITIONING")), more.get("model", base.model)
    shared = [("seed", "INT", key, "noise_seed")] if more.get("shared", True) else []
    nodes = {
        key: node("SamplerCustom", column, (300, 0), named=key, add_noise=True, noise_seed=1, cfg=base.cfg),
        f"{key} picture": node("VAEDecode", column + 1),
    }
    links = [
        (*model, key, "model"),
        (*positive, key, "positive"),
        ("without", "CONDITIONING", key, "negative"),
        (*sampler, key, "sampler"),
        (*sigmas, key, "sigmas"),
        (*latent, key, "latent_image"),
        (key, "output", f"{key} picture", "samples"),
        *shared,
        (*base.vae, f"{key} picture", "vae"),
    ]
    return {"nodes": nodes, "links": links}


def common_seed() -> dict[str, Any]:
    """One seed for several walks, another in each run."""
    return node("PrimitiveInt", 1, named="seed of all", value=1, fixed="increment")  # the editor's name of that widget


def painting(base: Base, file: str) -> dict[str, Any]:
    return drawing(file, size=base.side)


def larger(base: Base, column: int) -> dict[str, Any]:
    return node("ImageScaleBy", column, upscale_method="lanczos", scale_by=512 / base.side)


def next_to_sdedit(base: Base, prompt: str, without: str, prefix: str) -> Graph:
    text = (
        "## GradOP+ next to SDEdit\n\nThe same strokes, prompt and seed. **SDEdit** is a trade-off: close to the "
        "strokes but flat, or realistic but far from them. **GradOP+** paints what the prompt describes and, early "
        "on, corrects it a few times so that a blurred version of it matches your strokes.\n\n- **rounds** (2 to 5) "
        "sets how closely the painting is followed.\n- **strength** sets when: lower values begin later and stay "
        "closer to the strokes.\n- GradOP+ starts from an *empty* latent and a full schedule.\n- **seed of all** "
        "increases with each Run, which gives three new pictures from the same noise."
    )
    start = {"meaning": "this model's own time", "steps": 25, "seed": 1, **FIXED}
    nodes = {
        "note": note(text, height=340),
        "painting": painting(base, "mountain lake.png"),
        "encode": node("VAEEncode", 1),
        "euler": node("KSamplerSelect", 1, sampler_name="euler"),
        "seed": common_seed(),
        "near": node("NoiseToT0", 2, (300, 0), named="SDEdit 0.4", t0=0.4, **start),
        "far": node("NoiseToT0", 2, (300, 0), named="SDEdit 0.7", t0=0.7, **start),
        "solve": node("GradOpSolve", 2, (320, 0), **base.solve),
        "words": node("PrimitiveStringMultiline", 4, (300, 110), named="labels", value=FOUR_SECTIONS),
        "all": node("BatchImagesNode", 5),
        "sheet": node("SketchContactSheet", 5, columns=2),
        "save": node("SaveImage", 6, (560, 620), filename_prefix=prefix),
    }
    links = [
        ("painting", "image", "encode", "pixels"),
        (*base.vae, "encode", "vae"),
        *((*base.model, key, "model") for key in ("near", "far")),
        *(("encode", "LATENT", key, "latent") for key in ("near", "far")),
        (*base.vae, "solve", "vae"),
        ("painting", "image", "solve", "painting"),
        ("euler", "SAMPLER", "solve", "sampler"),
        ("painting", "image", "all", "images.image0"),
        *((f"{key} picture", "IMAGE", "all", f"images.image{i}") for i, key in ((1, "SDEdit 0.4"), (2, "SDEdit 0.7"))),
        ("GradOP+ picture", "IMAGE", "all", "images.image3"),
        ("all", "IMAGE", "sheet", "images"),
        ("words", "STRING", "sheet", "labels"),
        ("sheet", "sheet", "save", "images"),
    ]
    euler, guide = ("euler", "SAMPLER"), ("encode", "LATENT")
    return join(
        {"nodes": nodes, "links": links},
        prompts(base, prompt, without),
        walk(base, "SDEdit 0.4", 3, euler, ("near", "sigmas"), guide),
        walk(base, "SDEdit 0.7", 3, euler, ("far", "sigmas"), guide),
        walk(base, "GradOP+", 3, ("solve", "sampler"), ("schedule", "SIGMAS"), ("empty", "LATENT")),
    )


def paint_here(base: Base, prompt: str, without: str, prefix: str) -> Graph:
    text = (
        "## Paint here, write, press Run\n\nPaint broad flat colours in the **Painter** and describe the scene in "
        f"the **prompt**: GradOP+ makes the picture follow your colours and layout.\n\n- {base.words}\n- Press Run "
        "again for other pictures of the same strokes.\n- To start from an empty page, disconnect the image from the "
        "Painter."
    )
    small = base.side < 512
    nodes = {
        "note": note(text, height=340),
        "drawing": drawing("green hills.png", size=512),
        "paint": node("Painter", 1, (480, 560)),
        "solve": node("GradOpSolve", 2, (320, 0), **base.solve),
        "repeat": node("RepeatLatentBatch", 2, amount=4 if small else 2),
        **({"larger": larger(base, 5)} if small else {}),
        "save": node("SaveImage", 5, (480, 520), filename_prefix=prefix),
    }
    last = ("larger", "IMAGE") if small else ("GradOP+ picture", "IMAGE")
    links = [
        ("drawing", "image", "paint", "image"),
        ("paint", "IMAGE", "solve", "painting"),
        (*base.vae, "solve", "vae"),
        ("empty", "LATENT", "repeat", "samples"),
        *([("GradOP+ picture", "IMAGE", "larger", "image")] if small else []),
        (*last, "save", "images"),
    ]
    return join(
        {"nodes": nodes, "links": links},
        prompts(base, prompt, without),
        walk(base, "GradOP+", 3, ("solve", "sampler"), ("schedule", "SIGMAS"), ("repeat", "LATENT"), shared=False),
    )


def regions(base: Base, prompt: str, without: str, prefix: str) -> Graph:
    text = (
        "## Words in painted regions\n\nThe two kinds of land have almost the same colour, so no sampler can tell "
        "them apart. **Regions from Strokes** splits the painting by colour, and the **legend** gives each colour "
        "words of the prompt; **Cross-Attention Region Map** steers these words into their regions.\n\n- The sheet "
        "shows the painting, the prompt alone, the legend as written, and the legend with its words swapped.\n- For "
        "other colours, clear the legend and run: the node lists the colours it finds.\n- **schedule** constant keeps "
        "the full strength, t/T (as published) fades with the noise. **Paint Region** uses masks instead of colours, "
        "with a weight."
    )
    legends = {"legend": LEGEND, "exchanged": LEGEND.replace("a lake", "?").replace("a meadow", "a lake")}
    nodes: dict[str, Any] = {
        "note": note(text, height=360),
        "painting": painting(base, "two shores.png"),
        "seed": common_seed(),
        "solve": node("GradOpSolve", 3, (320, 0), **base.solve),
        "words": node(
            "PrimitiveStringMultiline",
            5,
            (300, 110),
            named="labels",
            value="the painting\nthe words alone\ntied by the legend\nlegend exchanged",
        ),
        "all": node("BatchImagesNode", 6),
        "sheet": node("SketchContactSheet", 6, columns=2),
        "save": node("SaveImage", 7, (560, 620), filename_prefix=prefix),
    }
    links: list = [
        (*base.vae, "solve", "vae"),
        ("painting", "image", "solve", "painting"),
        ("painting", "image", "all", "images.image0"),
        ("words alone picture", "IMAGE", "all", "images.image1"),
        ("all", "IMAGE", "sheet", "images"),
        ("words", "STRING", "sheet", "labels"),
        ("sheet", "sheet", "save", "images"),
        ("legend", "preview", "show", "images"),
    ]
    walks = []
    latent, sigmas, solver = ("empty", "LATENT"), ("schedule", "SIGMAS"), ("solve", "sampler")
    walks.append(walk(base, "words alone", 4, solver, sigmas, latent))
    for i, (key, legend) in enumerate(legends.items()):
        tie = f"tie {key}"
        nodes[key] = node(
            "SketchRegionsFromStrokes", 2, (320, 130), named=key, legend=legend.replace("?", "a meadow"), soft_edge=2.0
        )
        nodes[tie] = node(
            "CrossAttnRegionMap", 3, (340, 0), named=f"words tied: {key}", prompt=prompt, schedule="constant"
        )
        links += [
            ("painting", "image", key, "image"),
            (*base.model, tie, "model"),
            (*base.clip, tie, "clip"),
            (key, "regions", tie, "regions"),
            (f"{key} walk picture", "IMAGE", "all", f"images.image{i + 2}"),
        ]
        tied = {"model": (tie, "model"), "positive": (tie, "conditioning")}
        walks.append(walk(base, f"{key} walk", 4, solver, sigmas, latent, **tied))
    nodes["show"] = node("PreviewImage", 2, (300, 300), named="the regions and their words")
    return join({"nodes": nodes, "links": links}, prompts(base, prompt, without), *walks)


LEGEND = "#6c8a88: a lake\n#808a66: a meadow"
WORDS = {
    "prompt": "the sun, clouds, snowy mountains, a lake, conifers, by day",
    "green": "clouds, hills, a meadow, a path, conifers, a cabin, by day",
    "photo": "photo of a mountain lake, snow-capped peaks, conifers, a red cabin on the shore, morning light",
    "valley": "photo of green hills under a cloudy sky, a meadow, a path, conifers, a red cabin, morning light",
    "without": "painting, drawing, blurry, flat colours",
}
GRADOP = {
    "GradOP - next to SDEdit": lambda: next_to_sdedit(
        starter(), WORDS["prompt"], "", "SketchSynth/GradOP next to SDEdit"
    ),
    "GradOP - paint here and press Run": lambda: paint_here(
        starter(), WORDS["green"], "", "SketchSynth/GradOP paint here"
    ),
    "GradOP - words in painted regions": lambda: regions(
        starter(), "a clear sky, clouds, hills, a lake, a meadow, by day", "", "SketchSynth/words in regions"
    ),
    "GradOP - next to SDEdit (SD1.5)": lambda: next_to_sdedit(
        sd15(), WORDS["photo"], WORDS["without"], "SketchSynth/GradOP next to SDEdit SD15"
    ),
    "GradOP - paint here and press Run (SD1.5)": lambda: paint_here(
        sd15(), WORDS["valley"], WORDS["without"], "SketchSynth/GradOP paint here SD15"
    ),
    "GradOP - words in painted regions (SD1.5)": lambda: regions(
        sd15(),
        "photo of a clear sky with clouds, hills, a lake, a meadow, by day",
        WORDS["without"],
        "SketchSynth/words in regions SD15",
    ),
}
