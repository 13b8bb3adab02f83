"""`python3 dev/run.py thumbnails [NAME ...]`: thumbnails of the templates and README's pictures, of what `demo` made.

Run `python3 dev/run.py demo` with the same NAMEs first: all templates, or those whose names contain one. A twin that
waits for a model of the user's shows the starter's result under its name.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from runtime.rooms import PACK, room

DEMO = PACK / "demo_output"
PICTURES = PACK / "docs" / "pictures"
SIDE = 512
LETTERS = 15  # of a line on a thumbnail that shows a name
STROKES = "02 Strokes to photo - sketch to image"
EDIT = "04 Strokes on your photo - inpaint with a mask"
LINES = "09 Line drawing and exemplar - sketch to photo"
PAIRS = "11 Folders in pairs - batch of sketches"
PROMPT = "12 Paint with a prompt - GradOP"
BESIDE = "13 Paint with a prompt, compared - GradOP and img2img"
COLOUR = "14 Words by colour - regional prompt"
TIED = "15 Words by colour, compared - regional prompt"
MATRIX = "20 Every sketch in every style - matrix"
FOUND = "27 Find photos by drawing - image search"
WHY = "28 Why this photo - matches explained"
FOUND_PAINTED = "29 Draw, find, paint - sketch to photo"
SKETCHED = "31 Sketch and photo - DiffSketching"
DRAWN_INTO = "32 Draw into your photo - inpaint by sketch"
BLENDED = "33 Between two noises - morph, interpolation"
LIVE = "36 Paint live - SDEdit"
WORDED = "37 Paint with words - GradOP, regional prompt"
CHOSEN = "38 Paint, choose, go on - img2img, ranked"
YOURS = "on your SD1.5 or SDXL"
TODAY = ("Z-Image-Turbo", "Krea 2 Turbo", "Qwen-Image")
DOGS = "as published, on AFHQ dogs"


class Card(NamedTuple):
    """What stands on a thumbnail: the results, small pictures of what went in, and a line of text.

    guide: the kind of node whose pictures went in. words: for a twin that waits for a model or for the user's paint.
    of: whose results it shows, if not its own. results: the kind of node that has them; "" if nobody has any here: then
    the template's name stands there.
    """

    guide: str | None = None
    words: str = ""
    of: str = ""
    results: str = "SaveImage"


PAINTED = {
    "34 Paint, see, paint on - progressive synthesis": Card(),
    "41 Paint over many runs - painting session": Card("SketchCanvas", results="PreviewImage"),
    "42 Strokes on a photo - real image editing": Card(),
    "43 The same strokes as a watercolour - artistic content": Card("SketchCanvas"),
}
TEMPLATES = {
    "01 Paint here - img2img": Card("SketchCanvas", results="PreviewImage"),
    STROKES: Card("SketchLoader"),
    f"{STROKES} (SD1.5)": Card("SketchLoader", YOURS, STROKES),
    f"{STROKES} (SDXL)": Card("SketchLoader", "on your SDXL", STROKES),
    **{f"{STROKES} ({name})": Card("SketchLoader", f"on {name}", STROKES) for name in TODAY},
    f"{STROKES} (LSUN church)": Card("SketchLoader", "on the LSUN church prior", STROKES),
    "03 Best of four - img2img, ranked": Card("SketchLoader", results="PreviewImage"),
    "45 Many variants, the best kept - pruning, ranked": Card("SketchLoader"),
    EDIT: Card("PreviewImage"),
    "05 Paint on your photo - inpaint sketch": Card("PreviewImage", "paint on your own photo", EDIT),
    "06 Cut and paste - photo collage": Card("PreviewImage"),
    "07 Find the right t0 - denoise strength": Card(),
    "08 Photo to strokes and back": Card("PreviewImage"),
    LINES: Card("SketchLoader"),
    f"{LINES} (SD1.5)": Card("SketchLoader", YOURS, LINES),
    f"{LINES} (Z-Image-Turbo)": Card("SketchLoader", "on Z-Image-Turbo", LINES),
    "10 Line drawing on a KSampler - scribble": Card("SketchLoader"),
    PAIRS: Card(results="PreviewImage"),  # its sheet of stages says more than its results
    PROMPT: Card("SketchCanvas", results="PreviewImage"),
    f"{PROMPT} (SD1.5)": Card("SketchCanvas", YOURS, PROMPT, "PreviewImage"),
    BESIDE: Card(),
    f"{BESIDE} (SD1.5)": Card(None, YOURS, BESIDE),
    COLOUR: Card("PreviewImage"),
    f"{COLOUR} (SD1.5)": Card("PreviewImage", YOURS, COLOUR),
    f"{COLOUR} (Z-Image-Turbo)": Card("PreviewImage", "on Z-Image-Turbo", COLOUR),
    f"{COLOUR} (Qwen-Image)": Card("PreviewImage", "on Qwen-Image", COLOUR),
    TIED: Card(),
    f"{TIED} (SD1.5)": Card(None, YOURS, TIED),
    "16 Words by mask - regional prompt": Card("SketchLoader"),
    "17 Where words act - attention maps": Card(),
    "18 Sketch and style - one pass, no prompt": Card("SketchLoader"),
    "19 Between two styles - style mixing": Card(),
    MATRIX: Card(),
    "21 Photo in another style - style transfer": Card("SketchLoader"),
    "22 Colours of another picture - color transfer": Card("SketchLoader"),
    "23 Train your own - sketch GAN from a folder": Card(),
    "24 Finish at full size - upscale and refine (SD1.5)": Card("SketchLoader", YOURS, STROKES),
    "25 cat2dog as published (AFHQ)": Card("SketchLoader", DOGS, LINES),
    "26 wild2dog as published (AFHQ)": Card("SketchLoader", DOGS, LINES),
    FOUND: Card(),
    f"{FOUND} (CLIP vision)": Card(None, "with your CLIP vision model", FOUND),
    f"{FOUND} (Sketchy, as published)": Card(None, "the paper's own, for any object", FOUND),
    WHY: Card(),
    f"{WHY} (Sketchy, as published)": Card(None, "the paper's own, for any object", WHY),
    FOUND_PAINTED: Card(),
    f"{FOUND_PAINTED} (CLIP vision)": Card(None, "with your CLIP vision model", FOUND_PAINTED),
    "30 Train your own image search - sketch retriever": Card(),
    "31 Sketch and class - DiffSketching": Card("SketchLoader"),
    SKETCHED: Card("SketchLoader"),
    "31 Sketch and class - DiffSketching (ImageNet)": Card("SketchLoader", "on ImageNet, 1000 classes", SKETCHED),
    DRAWN_INTO: Card("SketchLoader"),
    f"{DRAWN_INTO} (ImageNet)": Card("SketchLoader", "on ImageNet", DRAWN_INTO),
    BLENDED: Card(),
    f"{BLENDED} (ImageNet)": Card(None, "on ImageNet", BLENDED),
    "39 Train your own - pixel prior from a folder": Card(words="from a folder of photos", results=""),
    **PAINTED,
    **{f"{name} (faces, as published)": Card(words="for the published face networks", results="") for name in PAINTED},
    "35 Paint live - sketch GAN": Card("SketchCanvas", results="PreviewImage"),
    "35 Paint live - sketch GAN (SD1.5 scribble)": Card("SketchCanvas", "on SD1.5 and its scribble", results=""),
    LIVE: Card("SketchCanvas", results="PreviewImage"),
    f"{LIVE} (SD1.5)": Card("SketchCanvas", YOURS, LIVE, "PreviewImage"),
    f"{LIVE} (Z-Image-Turbo)": Card("SketchCanvas", "on Z-Image-Turbo", LIVE, "PreviewImage"),
    WORDED: Card("SketchCanvas", results="PreviewImage"),
    f"{WORDED} (SD1.5)": Card("SketchCanvas", YOURS, WORDED, "PreviewImage"),
    f"{WORDED} (Z-Image-Turbo)": Card("SketchCanvas", "on Z-Image-Turbo", WORDED, "PreviewImage"),
    CHOSEN: Card(results="PreviewImage"),
    f"{CHOSEN} (SD1.5)": Card(None, YOURS, CHOSEN, "PreviewImage"),
    f"{CHOSEN} (Z-Image-Turbo)": Card(None, "on Z-Image-Turbo", CHOSEN, "PreviewImage"),
    "40 Change a photo, keep its shapes - edit model (Flux.2 Klein)": Card(words="on Flux.2 Klein", results=""),
    "44 Train your own - Paint2pix from a folder": Card(words="from a folder of photos", results=""),
}


def load(template: str, kind: str) -> list[Image.Image]:
    """The pictures that nodes of this kind have shown; of the canvas the sample that lies on it or below it."""
    if kind == "SketchCanvas":
        text = (PACK / "workflows" / f"{template}.json").read_text(encoding="utf-8")
        [first, *_] = re.findall(r'"([^"]+) \(sample\)\.png \[temp\]"', text)
        return [Image.open(PACK / "starter" / "samples" / f"{first}.png").convert("RGB")]
    paths = sorted(DEMO.glob(f"{template}-{kind}-*.png"))
    return [Image.open(path).convert("RGB") for path in paths]


def named(template: str) -> Image.Image:
    """The words of a template's name, one below the other."""
    sheet = Image.new("RGB", (SIDE, SIDE), "#2b2d36")
    words = "\n".join(textwrap.wrap(template.split(" - ")[0].split(" ", 1)[1], LETTERS))
    ImageDraw.Draw(sheet).multiline_text(
        (SIDE / 2, SIDE / 2 + 22), words, "white", ImageFont.load_default(64), "mm", 24, "center"
    )
    return sheet


def thumbnail(template: str, card: Card) -> Image.Image:
    """Up to four results, what went in as insets, and for a twin what it waits for."""
    source = card.of or template
    results = load(source, card.results) if card.results else [named(template)]
    if not results:
        sys.exit(f"No picture of '{source}' in {DEMO}: run `python3 dev/run.py demo` first.")
    if len(results) < 4:
        scale = min(SIDE * 1.5 / results[0].width, SIDE / results[0].height)
        size = (round(results[0].width * scale), round(results[0].height * scale))
        sheet = results[0].resize(size, Image.Resampling.LANCZOS)
    else:
        sheet = Image.new("RGB", (SIDE, SIDE))
        for i, result in enumerate(results[:4]):
            sheet.paste(
                result.resize((SIDE // 2, SIDE // 2), Image.Resampling.LANCZOS), (i % 2 * SIDE // 2, i // 2 * SIDE // 2)
            )
    if card.guide:
        insets = load(source, card.guide)[: 2 if card.guide == "SketchLoader" else 1]
        side = 176 if len(insets) == 1 else 132
        for i, inset in enumerate(insets):
            framed = Image.new("RGB", (side + 8, side + 8), "white")
            framed.paste(inset.resize((side, side), Image.Resampling.LANCZOS), (4, 4))
            sheet.paste(framed, (12 + i * (side + 16), SIDE - side - 20))
    if card.words:
        draw = ImageDraw.Draw(sheet)
        draw.rectangle((0, 0, SIDE, 44), fill="#16171b")
        draw.text((SIDE / 2, 22), card.words, fill="white", font=ImageFont.load_default(24), anchor="mm")
    return sheet


def hero() -> Image.Image:
    """Strokes on the left, their four landscapes on the right: one row for each of two paintings."""
    rows = []
    for template in (STROKES, "01 Paint here - img2img"):
        card = TEMPLATES[template]
        tiles = [load(template, card.guide or "")[0], *load(template, card.results)[:4]]
        rows.append(
            np.concatenate([np.asarray(tile.resize((256, 256), Image.Resampling.LANCZOS)) for tile in tiles], 1)
        )
    return Image.fromarray(np.concatenate(rows, 0))


def inversion() -> Image.Image:
    """Sketch, exemplar, the uncoloured photo of stage 1, and results."""
    tiles = [*load(LINES, "SketchLoader")[:2], load(LINES, "PreviewImage")[0], *load(LINES, "SaveImage")[:3]]
    return Image.fromarray(
        np.concatenate([np.asarray(tile.resize((256, 256), Image.Resampling.LANCZOS)) for tile in tiles], 1)
    )


def gradop() -> Image.Image:
    """The two sheets: SDEdit beside GradOP+, and words in painted regions."""
    sheets = [load(name, "SaveImage")[0] for name in (BESIDE, TIED)]
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
    return load(MATRIX, "SaveImage")[0]


# README's pictures, and a template that each is of
MADE = {
    "hero": (hero, STROKES),
    "inversion": (inversion, LINES),
    "gradop": (gradop, TIED),
    "sketch_gan": (matrix, MATRIX),
    "world": (world, "world"),
}


def main() -> int:
    PICTURES.mkdir(parents=True, exist_ok=True)
    names = sys.argv[1:]

    def wanted(template: str) -> bool:
        return not names or any(name in template for name in names)

    for template, card in filter(lambda item: wanted(item[0]), TEMPLATES.items()):
        thumbnail(template, card).save(PACK / "workflows" / f"{template}.jpg", quality=88)
        print(f"{template}.jpg")
    for name, (make, template) in MADE.items():
        if wanted(template):
            make().save(PICTURES / f"{name}.jpg", quality=88)
            print(f"{Path('docs/pictures') / name}.jpg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
