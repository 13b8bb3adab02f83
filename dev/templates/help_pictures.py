"""`python3 dev/run.py help_pictures [NODE ...]`: the pictures of the help pages, of what `demo` made.

Run `python3 dev/run.py demo` first, for some nodes with the names of their templates. A help page shows its picture as
`![...](pictures/<node id>.jpg)`; the editor finds it beside the pages, in web/docs/pictures.
"""

from __future__ import annotations

import io
import sys
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from runtime.rooms import PACK
from templates.thumbnails import BESIDE, COLOUR, EDIT, FOUND, LINES, MATRIX, STROKES, TIED, WHY, load

FOLDER = PACK / "web" / "docs" / "pictures"
SIDE, GAP, LINE = 200, 8, 24
MOST = 40_000  # bytes of one picture
RANKED = "03 Best of four - img2img, ranked"
BACK = "08 Photo to strokes and back"
MASKS = "16 Words by mask - regional prompt"
ATTENTION = "17 Where words act - attention maps"
ONE_PASS = "18 Sketch and style - one pass, no prompt"
TRANSFER = "21 Photo in another style - style transfer"
COLOURS = "22 Colours of another picture - color transfer"


class Shot(NamedTuple):
    """One picture of a strip: what is said under it, and the template, kind of node and number that it comes from."""

    words: str
    template: str
    kind: str
    number: int = 0


PICTURES = {
    "SketchLoader": [
        Shot("a painting", STROKES, "SketchLoader"),
        Shot("lines", LINES, "SketchLoader"),
        Shot("strokes on nothing", EDIT, "SketchLoader", 1),
        Shot("an SVG", MATRIX, "SketchLoader", 2),
    ],
    "SketchPhotoToStrokes": [Shot("the photo", BACK, "SketchLoader"), Shot("its strokes", BACK, "PreviewImage")],
    "SketchPhotoToSketch": [Shot("the photo", TRANSFER, "SketchLoader"), Shot("its lines", TRANSFER, "PreviewImage")],
    "NoiseToT0": [
        Shot("your strokes", STROKES, "SketchLoader"),
        Shot("look: noised up to t0", STROKES, "PreviewImage"),
        Shot("sampled from there", STROKES, "SaveImage"),
    ],
    "SketchT0Sweep": [Shot("t0 from 0.1 to 0.9", "07 Find the right t0 - denoise strength", "SaveImage")],
    "SketchFaithfulnessReport": [
        Shot("the guide", RANKED, "SketchLoader"),
        *(Shot(f"number {i + 1}", RANKED, "PreviewImage", i) for i in range(4)),
    ],
    "ShapeInversion": [
        Shot("the sketch", LINES, "SketchLoader"),
        Shot("after stage 1", LINES, "PreviewImage"),
        Shot("after stage 2", LINES, "SaveImage"),
    ],
    "AppearanceEnergyGuidance": [
        Shot("the exemplar", LINES, "SketchLoader", 1),
        Shot("without it", LINES, "PreviewImage"),
        Shot("with it", LINES, "SaveImage"),
    ],
    "GradOpSolve": [Shot("one painting, three ways", BESIDE, "SaveImage")],
    "SketchRegionsFromStrokes": [
        Shot("the painting", COLOUR, "SketchLoader"),
        Shot("which words go where", COLOUR, "PreviewImage"),
        Shot("the result", COLOUR, "SaveImage"),
    ],
    "CrossAttnRegionMap": [Shot("with and without regions", TIED, "SaveImage")],
    "SketchPaintRegion": [
        Shot("mask of: a lake", MASKS, "SketchLoader"),
        Shot("mask of: a forest", MASKS, "SketchLoader", 1),
        Shot("the result", MASKS, "SaveImage"),
    ],
    "SketchAttentionMaps": [
        Shot("the picture", ATTENTION, "PreviewImage"),
        Shot("where each word acts", ATTENTION, "SaveImage"),
    ],
    "SketchGANDecode": [
        Shot("the sketch", ONE_PASS, "SketchLoader"),
        Shot("the style", ONE_PASS, "SketchLoader", 1),
        Shot("painted in one pass", ONE_PASS, "SaveImage"),
    ],
    "SketchGANMatrix": [Shot("every sketch in every style", MATRIX, "SaveImage")],
    "SketchAdaINStyle": [
        Shot("the content", COLOURS, "SketchLoader"),
        Shot("the style", COLOURS, "SketchLoader", 1),
        Shot("the result", COLOURS, "SaveImage"),
    ],
    "SketchFindPhotos": [
        Shot("the sketch", FOUND, "SketchLoader"),
        Shot("what it finds, best first", FOUND, "SaveImage"),
    ],
    "SketchExplainMatch": [
        Shot("what looks alike", WHY, "SaveImage"),
        Shot("rebuilt from the photo", WHY, "PreviewImage"),
    ],
}


def strip(shots: list[Shot]) -> Image.Image:
    """The pictures side by side at one height, each with its words below. A single one may be twice as high."""
    height = SIDE if len(shots) > 1 else 2 * SIDE
    pictures = []
    for shot in shots:
        found = load(shot.template, shot.kind)
        if len(found) <= shot.number:
            sys.exit(f"No picture of '{shot.template}': run `python3 dev/run.py demo` first.")
        picture = found[shot.number]
        width = max(1, round(picture.width * height / picture.height))
        pictures.append(picture.resize((width, height), Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (sum(p.width for p in pictures) + GAP * (len(pictures) - 1), height + LINE), "white")
    draw, left = ImageDraw.Draw(sheet), 0
    for shot, picture in zip(shots, pictures, strict=True):
        sheet.paste(picture, (left, 0))
        draw.text(
            (left + picture.width / 2, height + LINE / 2), shot.words, "#222222", ImageFont.load_default(14), "mm"
        )
        left += picture.width + GAP
    return sheet


def compressed(picture: Image.Image) -> bytes:
    """As JPEG, at the best quality that stays below MOST."""
    for quality in range(88, 40, -6):
        held = io.BytesIO()
        picture.save(held, "JPEG", quality=quality, optimize=True)
        if len(held.getvalue()) <= MOST:
            return held.getvalue()
    raise ValueError(f"The picture does not fit into {MOST} bytes.")


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        shots, path = PICTURES[name], FOLDER / f"{name}.jpg"
        path.write_bytes(compressed(strip(shots)))
        print(f"{path.name}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
