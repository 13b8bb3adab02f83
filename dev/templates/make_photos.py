"""Makes the photos, line drawings, cut-out and transparent strokes of starter/samples: renders, and paint over them;
and the photos to search in starter/photos.

python3 dev/run.py make_photos          # same files every time
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from runtime.rooms import room
from templates.make_samples import SAMPLES, SIDE, Canvas

PHOTOS = {
    "photo - mountain meadow": 1087,
    "photo - quiet lake": 182,
    "photo - evening lake": 3023,
    "photo - moonlit peaks": 3042,
}
LINES = {"line drawing - lake and peaks": 3012, "line drawing - three conifers": 3002}
CABIN_SEED = 1123
COLLECTION = 20_000_000  # first seed of the photos to search; no training uses seeds from 10 million on
COLLECTION_SIDE = 256
PER_KIND = 4  # of each ground at each hour
SOUGHT = {"sketch - lake at sunset": ("lake", "sunset"), "sketch - cabin in the snow": ("snowfield", "day")}


def photos() -> None:
    world = room("starter.world").World(SIDE)
    for name, seed in PHOTOS.items():
        Image.fromarray(world.render(seed).image).save(SAMPLES / f"{name}.png", optimize=True)
    for name, seed in LINES.items():
        Image.fromarray(world.render(seed).sketch).save(SAMPLES / f"{name}.png", optimize=True)


def collection() -> None:
    """Photos of every ground at every hour, and sketches of two of them."""
    world = room("starter.world")
    photos = SAMPLES.parent / "photos"
    photos.mkdir(exist_ok=True)
    for old in photos.glob("*.jpg"):
        old.unlink()
    left = {(ground, hour): PER_KIND for ground in world.GROUNDS for hour in world.HOURS}
    renderer, seed, sought = world.World(COLLECTION_SIDE), COLLECTION, dict(SOUGHT)
    while any(left.values()):
        painting = world.Painting(renderer, np.random.default_rng(seed))
        kind = painting.ground, painting.light.hour
        if left[kind]:
            left[kind] -= 1
            scene = painting.finish(seed)
            name = f"{painting.ground} {scene.caption.split(', ')[-1]} {PER_KIND - left[kind]}"
            Image.fromarray(scene.image).save(photos / f"{name}.jpg", quality=82, optimize=True)
            for name in [name for name, wanted in sought.items() if wanted == kind and "cabin" in scene.caption]:
                Image.fromarray(world.World(SIDE).render(seed).sketch).save(SAMPLES / f"{name}.png", optimize=True)
                del sought[name]
        seed += 1


def cut_out() -> None:
    """A cabin cut along its own label, on nothing."""
    world = room("starter.world")
    scene = world.render(CABIN_SEED, SIDE)
    cabin = scene.labels == world.CABIN
    rows, columns = np.flatnonzero(cabin.any(1)), np.flatnonzero(cabin.any(0))
    box = (columns[0] - 2, rows[0] - 2, columns[-1] + 3, rows[-1] + 3)
    piece = np.dstack([scene.image, (cabin * 255).astype(np.uint8)])
    Image.fromarray(piece, "RGBA").crop(box).save(SAMPLES / "cut-out - red cabin.png", optimize=True)


def strokes() -> None:
    """A cabin, three conifers and a path on a clear sheet: painted on black and on white, alpha where both agree."""
    sheets = []
    for ground in ((0, 0, 0), (255, 255, 255)):
        c = Canvas(5, ground)
        c.stroke([(0.5, 1.02), (0.46, 0.86), (0.55, 0.74), (0.51, 0.66)], 0.05, (166, 146, 110))
        c.cabin(0.62, 0.72, 0.19, (160, 44, 38), (70, 54, 48), (110, 130, 160))
        for x, foot, height in ((0.16, 0.82, 0.38), (0.27, 0.74, 0.26), (0.88, 0.78, 0.3)):
            c.conifer(x, foot, height, [(22, 52, 28), (30, 64, 34), (16, 42, 24)])
        sheets.append(np.asarray(c.sheet.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32))
    black, white = sheets
    alpha = 1 - (white - black).mean(2) / 255
    paint = black / np.maximum(alpha, 1e-3)[..., None]
    both = np.dstack([paint.clip(0, 255), alpha * 255]).round().astype(np.uint8)
    Image.fromarray(both, "RGBA").save(SAMPLES / "strokes - cabin and trees.png", optimize=True)


def region(name: str, corners: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    """A flat shape with a soft edge on a clear sheet: where words belong. corners: in shares of the sheet."""
    sheet = Image.new("L", (4 * SIDE, 4 * SIDE))
    ImageDraw.Draw(sheet).polygon([(4 * SIDE * x, 4 * SIDE * y) for x, y in corners], fill=255)
    alpha = sheet.filter(ImageFilter.GaussianBlur(SIDE / 12)).resize((SIDE, SIDE), Image.Resampling.BOX)
    flat = Image.new("RGBA", (SIDE, SIDE), colour)
    flat.putalpha(alpha)
    flat.save(SAMPLES / f"{name}.png", optimize=True)


def regions() -> None:
    region("region - lake", [(0.0, 0.62), (0.42, 0.6), (0.56, 0.74), (0.46, 1.0), (0.0, 1.0)], (70, 120, 170))
    region("region - forest", [(0.6, 0.5), (1.0, 0.46), (1.0, 1.0), (0.66, 1.0), (0.6, 0.78)], (40, 80, 46))


if __name__ == "__main__":
    photos()
    collection()
    cut_out()
    strokes()
    regions()
