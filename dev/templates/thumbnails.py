"""`python3 dev/run.py thumbnails [NAME ...]`: thumbnails of the templates and README's pictures, of what `demo` made.

Run `python3 dev/run.py demo` with the same NAMEs first: all templates, or those whose names contain one. A twin that
waits for a model of the user's shows the starter's result under its name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from runtime.rooms import PACK, room

DEMO = PACK / "demo_output"
PICTURES = PACK / "docs" / "pictures"
SIDE = 512
TWIN_OF = "SDEdit - strokes to photo"
BOTH = "Inversion-by-Inversion - sketch and exemplar"
PAIRS = "Inversion-by-Inversion - folders in pairs"  # its sheet of stages says more than its results
# template -> (the kind of node that shows what went in, or None; a line of text for twins; whose results a twin shows)
TEMPLATES = {
    "SDEdit - strokes to photo": ("PreviewImage", ""),
    "SDEdit - paint here and press Run": ("Painter", ""),
    "SDEdit - edit a photo with strokes": ("PreviewImage", ""),
    "SDEdit - cut and paste": ("PreviewImage", ""),
    "SDEdit - t0 sweep": (None, ""),
    "SDEdit - strokes to photo (SD1.5)": ("PreviewImage", "on your SD1.5 or SDXL", TWIN_OF),
    "SDEdit - strokes to photo (LSUN church)": ("PreviewImage", "on the LSUN church prior", TWIN_OF),
    BOTH: ("SketchLoader", ""),
    "Inversion-by-Inversion - energies on a KSampler": ("SketchLoader", ""),
    "Inversion-by-Inversion - sketch and exemplar (SD1.5)": ("SketchLoader", "on your SD1.5 or SDXL", BOTH),
    PAIRS: (None, ""),
    "Inversion-by-Inversion - cat2dog as published (AFHQ)": ("SketchLoader", "as published, on AFHQ dogs", BOTH),
    "Inversion-by-Inversion - wild2dog as published (AFHQ)": ("SketchLoader", "as published, on AFHQ dogs", BOTH),
    "GradOP - next to SDEdit": (None, ""),
    "GradOP - paint here and press Run": ("Painter", ""),
    "GradOP - words in painted regions": (None, ""),
    "GradOP - next to SDEdit (SD1.5)": (None, "on your SD1.5 or SDXL", "GradOP - next to SDEdit"),
    "GradOP - paint here and press Run (SD1.5)": (
        "Painter",
        "on your SD1.5 or SDXL",
        "GradOP - paint here and press Run",
    ),
    "GradOP - words in painted regions (SD1.5)": (None, "on your SD1.5 or SDXL", "GradOP - words in painted regions"),
    "Sketch GAN - sketch and style": ("SketchLoader", ""),
    "Sketch GAN - style mixing": (None, ""),
    "Sketch GAN - matrix": (None, ""),
    "Sketch GAN - style transfer from a photo": ("SketchLoader", ""),
    "Sketch GAN - train your own from a folder": (None, ""),
    "DiffSketching - sketch to photo": ("SketchLoader", ""),
    "DiffSketching - edit by sketch": ("SketchLoader", ""),
    "DiffSketching - between two noises": (None, ""),
    "DiffSketching - sketch and class (ImageNet 256)": (
        "SketchLoader",
        "with a class, on ImageNet 256",
        "DiffSketching - sketch to photo",
    ),
}


def load(template: str, kind: str) -> list[Image.Image]:
    paths = sorted(DEMO.glob(f"{template}-{kind}-*.png"))
    return [Image.open(path).convert("RGB") for path in paths]


def thumbnail(template: str, guide: str | None, words: str, twin_of: str = "") -> Image.Image:
    """Up to four results, what went in as insets, and for a twin whose model it wants."""
    source = twin_of or template
    results = load(source, "PreviewImage" if template == PAIRS else "SaveImage")
    if not results:
        sys.exit(f"No picture of '{source}' in {DEMO}: run `python3 dev/run.py demo` first.")
    if len(results) == 1:
        card = results[0]
        card.thumbnail((SIDE * 3 // 2, SIDE))
    else:
        card = Image.new("RGB", (SIDE, SIDE))
        for i, result in enumerate(results[:4]):
            card.paste(
                result.resize((SIDE // 2, SIDE // 2), Image.Resampling.LANCZOS), (i % 2 * SIDE // 2, i // 2 * SIDE // 2)
            )
    if guide:
        insets = load(source, guide)[: 2 if guide == "SketchLoader" else 1]
        side = 176 if len(insets) == 1 else 132
        for i, inset in enumerate(insets):
            framed = Image.new("RGB", (side + 8, side + 8), "white")
            framed.paste(inset.resize((side, side), Image.Resampling.LANCZOS), (4, 4))
            card.paste(framed, (12 + i * (side + 16), SIDE - side - 20))
    if words:
        draw = ImageDraw.Draw(card)
        draw.rectangle((0, 0, SIDE, 44), fill="#16171b")
        draw.text((SIDE / 2, 22), words, fill="white", font=ImageFont.load_default(24), anchor="mm")
    return card


def hero() -> Image.Image:
    """Strokes on the left, their four landscapes on the right: one row for each of two paintings."""
    rows = []
    for template, guide in (
        ("SDEdit - strokes to photo", "PreviewImage"),
        ("SDEdit - paint here and press Run", "Painter"),
    ):
        tiles = [load(template, guide)[0], *load(template, "SaveImage")[:4]]
        rows.append(
            np.concatenate([np.asarray(tile.resize((256, 256), Image.Resampling.LANCZOS)) for tile in tiles], 1)
        )
    return Image.fromarray(np.concatenate(rows, 0))


def inversion() -> Image.Image:
    """Sketch, exemplar, the uncoloured photo of stage 1, and results."""
    tiles = [*load(BOTH, "SketchLoader")[:2], load(BOTH, "PreviewImage")[0], *load(BOTH, "SaveImage")[:3]]
    return Image.fromarray(
        np.concatenate([np.asarray(tile.resize((256, 256), Image.Resampling.LANCZOS)) for tile in tiles], 1)
    )


def gradop() -> Image.Image:
    """The two sheets: SDEdit beside GradOP+, and words in painted regions."""
    sheets = [load(name, "SaveImage")[0] for name in ("GradOP - next to SDEdit", "GradOP - words in painted regions")]
    card = Image.new(
        "RGB", (sum(s.width for s in sheets) + 24, max(s.height for s in sheets)), sheets[0].getpixel((0, 0))
    )
    card.paste(sheets[0], (0, 0))
    card.paste(sheets[1], (sheets[0].width + 24, 0))
    return card


def world() -> Image.Image:
    """Two rows of renders."""
    scenes = room("starter.world").render_batch(range(10_000_000, 10_000_012), 192)
    rows = [np.concatenate([scene.image for scene in scenes[i : i + 6]], 1) for i in (0, 6)]
    return Image.fromarray(np.concatenate(rows, 0))


def matrix() -> Image.Image:
    """Every sketch in every style, by the sketch GAN."""
    return load("Sketch GAN - matrix", "SaveImage")[0]


# README's pictures, and a template that each is of
MADE = {
    "hero": (hero, "SDEdit - strokes to photo"),
    "inversion": (inversion, BOTH),
    "gradop": (gradop, "GradOP - words in painted regions"),
    "sketch_gan": (matrix, "Sketch GAN - matrix"),
    "world": (world, "world"),
}


def main() -> int:
    PICTURES.mkdir(parents=True, exist_ok=True)
    names = sys.argv[1:]

    def wanted(template: str) -> bool:
        return not names or any(name in template for name in names)

    for template, settings in filter(lambda item: wanted(item[0]), TEMPLATES.items()):
        thumbnail(template, *settings).save(PACK / "workflows" / f"{template}.jpg", quality=88)
        print(f"{template}.jpg")
    for name, (make, template) in MADE.items():
        if wanted(template):
            make().save(PICTURES / f"{name}.jpg", quality=88)
            print(f"{Path('docs/pictures') / name}.jpg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
