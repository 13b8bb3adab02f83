"""Makes the drawings of starter/samples: what somebody with a broad brush, a pen or a mouse might bring.

    python3 dev/run.py make_samples         # needs Pillow, numpy and resvg-py; same files every time

Scenes and colours are those of the starter world, so that its prior knows what they mean. Painted on a sheet of 1024
pixels with a brush of many bristles, and reduced to 256.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from runtime.rooms import room

SAMPLES = Path(__file__).resolve().parents[2] / "starter" / "samples"
SHEET, SIDE = 1024, 256
Point = tuple[float, float]
Colour = tuple[int, ...]


class Canvas:
    """A sheet in unit coordinates (0..1, y down) and the hand that paints on it."""

    def __init__(self, seed: int, ground: Colour) -> None:
        self.hand = np.random.default_rng(seed)
        self.sheet = Image.new("RGB", (SHEET, SHEET), ground)

    def wobble(self, points: np.ndarray, amount: float) -> np.ndarray:
        """Points along a hand-drawn version of the polyline `points` [n, 2]: evenly spaced, gently off the line."""
        legs = np.linalg.norm(np.diff(points, axis=0), axis=1)
        along = np.concatenate(([0], legs.cumsum()))
        at = np.linspace(0, along[-1], max(8, int(along[-1] * 240)))
        path = np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], axis=1)
        knots = self.hand.normal(0, amount, (max(3, len(at) // 24), 2))
        steps = np.linspace(0, 1, len(at)), np.linspace(0, 1, len(knots))
        return path + np.stack([np.interp(steps[0], steps[1], knots[:, axis]) for axis in (0, 1)], axis=1)

    def stroke(self, points: list[Point], width: float, colour: Colour, onto: Image.Image | None = None) -> None:
        """One pull of a round brush: bristles side by side, each a little off in colour, some lifting early."""
        path = self.wobble(np.array(points), width * 0.08)
        along = np.gradient(path, axis=0)
        aside = along[:, ::-1] * (1, -1) / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        pen = ImageDraw.Draw(onto or self.sheet)
        bristles = max(5, round(width * 160))
        for offset in self.hand.permutation(np.linspace(-0.5, 0.5, bristles)):
            round_end = int(min(width * 120 * (1 - np.sqrt(1 - 4 * offset**2)), len(path) / 3))
            first = round_end + self.hand.integers(0, 1 + len(path) // 16)
            last = len(path) - round_end - self.hand.integers(0, 1 + len(path) // 10)
            trace = (path + aside * offset * width)[first : max(last, first + 2)]
            shade = tuple(int(np.clip(c + self.hand.normal(0, 4), 0, 255)) for c in colour)
            pen.line([tuple(p) for p in trace * SHEET], fill=shade, width=round(SHEET * width / bristles * 1.9))

    def band(self, top: float, bottom: float, upper: Colour, lower: Colour, strokes: int) -> None:
        """Broad strokes across the sheet, from one colour to another."""
        for k, y in enumerate(np.linspace(top, bottom, strokes)):
            share = k / max(strokes - 1, 1)
            colour = tuple(round(u + (v - u) * share) for u, v in zip(upper, lower, strict=True))
            lean = self.hand.normal(0, 0.008)
            self.stroke([(-0.3, y - lean), (1.3, y + lean)], 1.5 * (bottom - top) / strokes, colour)

    def shape(self, outline: list[Point], colours: list[Colour], width: float, lean: float) -> None:
        """An area filled with strokes of changing colour that keep inside its wobbly outline."""
        area = Image.new("L", (SHEET, SHEET))
        corners = np.array([*outline, outline[0]])
        edge = self.wobble(corners, min(0.004, 0.03 * float(np.ptp(corners, axis=0).min())))
        ImageDraw.Draw(area).polygon([tuple(p) for p in edge * SHEET], fill=255)
        paint = Image.new("RGB", (SHEET, SHEET), colours[0])
        width = min(width, float((edge.max(axis=0) - edge.min(axis=0)).min()))
        low, high = edge.min(axis=0), edge.max(axis=0)
        for _ in range(int(1.6 * (high - low).prod() / (width * width * 3)) + 4):
            x, y = self.hand.uniform(low, high)
            colour = colours[self.hand.integers(len(colours))]
            reach = width * 1.6
            self.stroke([(x - reach, y - reach * lean), (x + reach, y + reach * lean)], width, colour, paint)
        self.sheet.paste(paint, mask=area)

    def ridge(self, line: list[Point], foot: float, colours: list[Colour], width: float, lean: float) -> None:
        """Land from one side of the sheet to the other: under `line`, down to `foot`."""
        self.shape([(line[0][0], foot), *line, (line[-1][0], foot)], colours, width, lean)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        turns = np.linspace(0, 2 * np.pi, 24)
        self.shape([(x + radius * np.cos(t), y + radius * np.sin(t)) for t in turns], [colour], radius * 0.8, 0.3)

    def conifer(self, x: float, foot: float, height: float, colours: list[Colour]) -> None:
        """A trunk line and dabs that widen downwards."""
        self.stroke([(x, foot - height), (x, foot)], height * 0.05, colours[0])
        for share in np.linspace(0.08, 0.95, 9):
            half, y = height * 0.2 * share, foot - height * (1 - share)
            colour = colours[self.hand.integers(len(colours))]
            self.stroke(
                [(x - half, y + half * 0.5), (x, y - half * 0.3), (x + half, y + half * 0.5)], height * 0.09, colour
            )

    def cabin(self, x: float, foot: float, width: float, wall: Colour, roof: Colour, window: Colour) -> None:
        left, right, eaves = x - width / 2, x + width / 2, foot - width * 0.5
        self.shape([(left, eaves), (right, eaves), (right, foot), (left, foot)], [wall], width * 0.25, 0.0)
        self.shape(
            [(left - width * 0.12, eaves), (x, eaves - width * 0.45), (right + width * 0.12, eaves)], [roof], 0.02, 0.3
        )
        pane = width * 0.12
        self.shape([(x - pane, foot - 0.33 * width), (x + pane, foot - 0.33 * width), (x + pane, foot - 0.08 * width),
                    (x - pane, foot - 0.08 * width)], [window], 0.02, 0.0)  # fmt: skip

    def save_strokes(self, name: str) -> None:
        """The strokes alone: what still has the sheet's own colour is clear."""
        sheet = np.asarray(self.sheet, np.float32)
        painted = (sheet != sheet[0, 0]).any(2, keepdims=True).astype(np.float32)
        parts = (painted * sheet, painted)
        colour, share = (part.reshape(SIDE, SHEET // SIDE, SIDE, SHEET // SIDE, -1).mean((1, 3)) for part in parts)
        pixels = np.concatenate([colour / share.clip(1e-6), 255 * share], 2)
        picture = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8), "RGBA")
        picture.save(SAMPLES / f"{name}.png", optimize=True)

    def save(self, name: str) -> None:
        small = self.sheet.filter(ImageFilter.GaussianBlur(1)).resize((SIDE, SIDE), Image.Resampling.BOX)
        small.save(SAMPLES / f"{name}.png", optimize=True)


def mountain_lake() -> None:
    """A clear day: snowy mountains over a lake, a red cabin, conifers."""
    c = Canvas(1, (120, 165, 225))
    c.band(0.0, 0.42, (62, 122, 205), (172, 204, 238), 7)
    c.disc(0.74, 0.15, 0.052, (255, 250, 222))
    c.stroke([(0.05, 0.17), (0.2, 0.14), (0.36, 0.18)], 0.07, (236, 242, 250))
    c.stroke([(0.12, 0.2), (0.3, 0.21)], 0.045, (222, 232, 246))
    c.ridge(
        [(-0.05, 0.44), (0.12, 0.36), (0.26, 0.45), (0.45, 0.24), (0.62, 0.43), (0.8, 0.33), (1.05, 0.46)],
        0.58,
        [(112, 116, 142), (96, 100, 128), (128, 130, 154)],
        0.05,
        0.9,
    )
    c.shape(
        [(0.33, 0.36), (0.45, 0.235), (0.55, 0.35), (0.49, 0.34), (0.46, 0.4), (0.41, 0.345)],
        [(244, 247, 252)],
        0.03,
        0.7,
    )
    c.shape([(0.73, 0.375), (0.8, 0.325), (0.88, 0.375), (0.81, 0.372)], [(238, 242, 250)], 0.025, 0.5)
    c.shape([(0.05, 0.395), (0.12, 0.355), (0.18, 0.4), (0.12, 0.398)], [(238, 242, 250)], 0.025, 0.5)
    c.band(0.6, 1.0, (128, 160, 200), (66, 116, 184), 8)
    c.stroke([(0.36, 0.66), (0.56, 0.66)], 0.05, (160, 178, 206))
    c.stroke([(0.41, 0.72), (0.5, 0.72)], 0.04, (222, 230, 242))
    c.stroke([(-0.1, 0.585), (1.1, 0.58)], 0.045, (84, 104, 74))
    c.cabin(0.31, 0.6, 0.14, (166, 52, 44), (92, 34, 32), (60, 44, 50))
    for x, foot, height in ((0.06, 0.72, 0.3), (0.17, 0.64, 0.19), (0.83, 0.66, 0.24), (0.94, 0.8, 0.36)):
        c.conifer(x, foot, height, [(26, 66, 48), (36, 84, 58), (20, 52, 42)])
    c.save("mountain lake")


def desert_sunset() -> None:
    """Evening over dunes."""
    c = Canvas(2, (222, 130, 84))
    c.band(0.0, 0.5, (92, 66, 128), (246, 150, 82), 8)
    c.stroke([(0.1, 0.13), (0.34, 0.11), (0.5, 0.14)], 0.05, (216, 130, 128))
    c.stroke([(0.55, 0.22), (0.82, 0.2)], 0.04, (238, 150, 118))
    c.disc(0.66, 0.36, 0.06, (255, 226, 142))
    c.ridge(
        [(-0.05, 0.49), (0.16, 0.44), (0.4, 0.51), (0.62, 0.47), (0.85, 0.5), (1.05, 0.45)],
        0.6,
        [(166, 94, 62), (152, 84, 58)],
        0.05,
        0.2,
    )
    c.ridge(
        [(-0.05, 0.6), (0.2, 0.56), (0.5, 0.62), (0.78, 0.56), (1.05, 0.59)],
        1.05,
        [(204, 128, 70), (214, 138, 76), (192, 118, 64)],
        0.07,
        0.15,
    )
    c.ridge(
        [(-0.05, 0.8), (0.25, 0.77), (0.6, 0.88), (1.05, 0.78)],
        1.05,
        [(178, 106, 58), (188, 114, 60), (164, 96, 54)],
        0.08,
        0.2,
    )
    c.stroke([(0.2, 0.575), (0.35, 0.63), (0.52, 0.65)], 0.03, (168, 96, 58))
    c.stroke([(0.78, 0.575), (0.66, 0.64), (0.6, 0.7)], 0.03, (226, 152, 88))
    c.save("desert sunset")


def two_shores() -> None:
    """Hardly two colours of land under a day's sky: words must say which of them is what."""
    c = Canvas(8, (120, 165, 225))
    c.band(0.0, 0.5, (74, 128, 204), (176, 204, 234), 7)
    c.stroke([(0.55, 0.16), (0.74, 0.13), (0.9, 0.17)], 0.07, (232, 240, 248))
    c.ridge([(-0.05, 0.5), (0.2, 0.47), (0.5, 0.51), (0.8, 0.46), (1.05, 0.5)], 0.62, [(104, 116, 136)], 0.05, 0.3)
    c.shape([(-0.1, 0.55), (1.1, 0.55), (1.1, 1.1), (-0.1, 1.1)], [(108, 138, 136)], 0.09, 0.05)
    c.shape([(0.56, 0.555), (1.1, 0.555), (1.1, 1.1), (0.42, 1.1), (0.5, 0.8)], [(128, 138, 102)], 0.09, 0.1)
    c.save("two shores")


def moonlit_cabin() -> None:
    """Night: a lit window between conifers."""
    c = Canvas(3, (16, 26, 58))
    c.band(0.0, 0.55, (10, 14, 40), (34, 50, 92), 7)
    c.disc(0.72, 0.19, 0.06, (238, 242, 250))
    c.stroke([(0.12, 0.2), (0.4, 0.17)], 0.05, (40, 54, 88))
    c.ridge(
        [(-0.05, 0.5), (0.14, 0.42), (0.34, 0.52), (0.56, 0.38), (0.78, 0.5), (1.05, 0.43)],
        0.65,
        [(24, 34, 62), (20, 30, 56), (30, 40, 70)],
        0.05,
        0.7,
    )
    c.ridge(
        [(-0.05, 0.62), (0.3, 0.6), (0.7, 0.63), (1.05, 0.6)],
        1.05,
        [(14, 26, 26), (18, 32, 30), (12, 22, 24)],
        0.07,
        0.1,
    )
    c.cabin(0.46, 0.7, 0.15, (38, 30, 34), (22, 18, 24), (255, 212, 110))
    for x, foot, height in ((0.12, 0.78, 0.34), (0.24, 0.72, 0.22), (0.8, 0.74, 0.28), (0.91, 0.84, 0.38)):
        c.conifer(x, foot, height, [(8, 18, 22), (12, 26, 28), (6, 14, 18)])
    c.save("moonlit cabin")


def green_hills() -> None:
    """An overcast morning over meadows."""
    c = Canvas(4, (190, 198, 206))
    c.band(0.0, 0.45, (164, 176, 190), (210, 216, 220), 6)
    for x, y, reach in ((0.2, 0.12, 0.16), (0.62, 0.08, 0.2), (0.45, 0.22, 0.14)):
        c.stroke([(x - reach, y), (x, y - 0.02), (x + reach, y + 0.01)], 0.06, (226, 230, 234))
    c.ridge(
        [(-0.05, 0.45), (0.2, 0.37), (0.42, 0.45), (0.68, 0.36), (1.05, 0.46)],
        0.6,
        [(104, 136, 110), (94, 126, 104)],
        0.05,
        0.3,
    )
    c.ridge(
        [(-0.05, 0.52), (0.3, 0.49), (0.62, 0.55), (1.05, 0.5)],
        0.75,
        [(88, 130, 76), (78, 118, 70), (98, 140, 80)],
        0.06,
        0.25,
    )
    c.ridge([(-0.05, 0.68), (0.4, 0.62), (1.05, 0.7)], 1.05, [(96, 148, 58), (84, 134, 54), (108, 160, 64)], 0.08, 0.2)
    c.stroke([(0.56, 1.02), (0.5, 0.84), (0.58, 0.72), (0.55, 0.65)], 0.045, (176, 160, 118))
    c.cabin(0.7, 0.68, 0.13, (196, 188, 174), (112, 70, 56), (70, 76, 84))
    for x, foot, height in ((0.1, 0.8, 0.3), (0.22, 0.72, 0.2), (0.88, 0.78, 0.26)):
        c.conifer(x, foot, height, [(34, 84, 50), (44, 98, 58), (28, 70, 46)])
    c.save("green hills")


KEY = (255, 0, 255)  # no stroke has it


def first_strokes() -> None:
    """Five broad strokes of a beginning on nothing, back to front: sky, lighter sky, a cloud, far hills, a meadow."""
    c = Canvas(11, KEY)
    c.stroke([(-0.15, 0.12), (1.15, 0.1)], 0.34, (76, 132, 218))
    c.stroke([(-0.15, 0.36), (1.15, 0.35)], 0.3, (150, 190, 234))
    c.stroke([(0.52, 0.22), (0.9, 0.21)], 0.13, (236, 240, 248))
    c.stroke([(-0.15, 0.5), (0.3, 0.46), (0.6, 0.5), (1.15, 0.47)], 0.1, (110, 128, 136))
    c.stroke([(-0.2, 0.79), (1.2, 0.79)], 0.56, (108, 148, 64))
    c.save_strokes("strokes - a beginning")


def more_strokes() -> None:
    """Three strokes that go on: two conifers and a second cloud."""
    c = Canvas(12, KEY)
    c.stroke([(0.2, 0.56), (0.2, 0.9)], 0.1, (30, 50, 36))
    c.stroke([(0.34, 0.64), (0.34, 0.9)], 0.08, (34, 60, 40))
    c.stroke([(0.12, 0.16), (0.36, 0.15)], 0.12, (240, 242, 248))
    c.save_strokes("strokes - going on")


MOUNTAINS_AND_CABIN = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" width="256" height="256">
  <title>mountains and cabin</title>
  <g fill="none" stroke="#222" stroke-width="3" stroke-linecap="round" stroke-linejoin="round">
    <circle cx="196" cy="46" r="15"/>
    <path d="M6 132 L48 92 L66 108 L104 58 L140 104 L168 82 L214 128 L250 112"/>
    <path d="M90 77 l9 7 l6 -8 l7 9 l9 -5 M158 90 l6 5 l6 -5 l7 4" stroke-width="2"/>
    <path d="M4 152 C60 142 96 158 140 150 S220 142 252 154"/>
    <path d="M62 170 h52 v38 h-52 z M54 172 L88 142 L122 172 M100 152 v-14 h9 v22"/>
    <rect x="70" y="180" width="13" height="12"/>
    <path d="M94 208 v-24 h12 v24"/>
    <path d="M186 222 V206 M186 128 L168 158 h10 L162 184 h12 L154 206 h64 L198 184 h12 L194 158 h10 Z"/>
    <path d="M26 214 V202 M26 150 L14 172 h7 L10 190 h8 L6 202 h40 L34 190 h8 L31 172 h7 Z"/>
    <path d="M100 210 Q104 230 84 250 M112 210 q8 20 -2 40 M8 232 q30 -8 52 0 M150 238 q40 -10 92 -2" stroke-width="2"/>
  </g>
</svg>
"""

# Only what should stand in a photo: the rest is clear.
TWO_PEAKS = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" width="256" height="256">
  <title>lines - two peaks</title>
  <g fill="none" stroke="#222" stroke-width="3" stroke-linecap="round" stroke-linejoin="round">
    <path d="M30 142 L58 104 L70 112 L96 66 L118 100 L130 92 L160 132"/>
    <path d="M138 142 L176 84 L186 96 L204 76 L246 142"/>
    <path d="M82 90 l9 7 l6 -8 l7 9 l9 -5 M190 94 l7 6 l7 -7 l8 7 l6 -4" stroke-width="2"/>
  </g>
</svg>
"""

DOODLES = {
    "mountain": [
        [(0, 180), (60, 70), (84, 104), (128, 20), (186, 118), (206, 92), (255, 178)],
        [(104, 66), (118, 82), (129, 66), (141, 84), (152, 64)],
        [(2, 186), (70, 192), (150, 184), (254, 190)],
        [(196, 22), (210, 14), (226, 20), (232, 36), (222, 50), (204, 50), (194, 38), (196, 22)],
    ],
    "tree": [
        [(100, 255), (102, 200)],
        [(122, 254), (121, 200)],
        [(110, 0), (66, 72), (88, 70), (44, 134), (74, 132), (20, 201), (204, 200), (150, 132), (178, 134), (134, 70)],
        [(134, 70), (156, 72), (110, 0)],
        [(0, 250), (60, 255), (160, 252), (226, 255)],
    ],
    "house": [
        [(30, 110), (32, 240), (222, 238), (220, 108)],
        [(8, 116), (126, 10), (246, 114)],
        [(30, 110), (220, 108)],
        [(104, 240), (104, 164), (146, 164), (147, 239)],
        [(52, 134), (84, 134), (84, 164), (52, 165), (52, 134)],
        [(168, 134), (200, 133), (200, 164), (168, 165), (168, 134)],
        [(180, 52), (180, 20), (202, 20), (202, 72)],
        [(190, 12), (196, 2), (206, 6), (212, 0)],
    ],
}


def doodles() -> None:
    """QuickDraw's "simplified" form: strokes as x and y, 0 to 255."""
    lines = [
        json.dumps(
            {
                "word": word,
                "recognized": True,
                "drawing": [[list(axis) for axis in zip(*s, strict=True)] for s in strokes],
            }
        )
        for word, strokes in DOODLES.items()
    ]
    (SAMPLES / "doodles.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def preview(name: str) -> None:
    """What the editor shows of a sample that browsers do not show."""
    drawn = room("pictures.drawings").read_drawing(SAMPLES / name, size=SIDE)
    picture = Image.fromarray((drawn.rgb * 255).round().astype(np.uint8))
    picture.quantize(64).save(SAMPLES / "previews" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    (SAMPLES / "previews").mkdir(parents=True, exist_ok=True)
    for make in (mountain_lake, desert_sunset, moonlit_cabin, green_hills, two_shores, first_strokes, more_strokes):
        make()
    doodles()
    vectors = {"mountains and cabin.svg": MOUNTAINS_AND_CABIN, "lines - two peaks.svg": TWO_PEAKS}
    for name, text in vectors.items():
        (SAMPLES / name).write_text(text, encoding="utf-8", newline="\n")
    for name in ("doodles.ndjson", *vectors):
        preview(name)
