"""Small charts and labelled contact sheets, drawn with Pillow alone: the host has no plotting library.

Sizes and positions are in pixels of the finished picture; charts are drawn three times as large and reduced, which
smooths their lines. Pictures are PIL images, both in and out.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

PAPER, INK, FAINT, GRID = "#fcfbf8", "#26292e", "#6b7077", "#e4e2dc"
COLOURS = ("#2f6db3", "#d9752b", "#3a9467", "#b8413e", "#7657a6", "#6e7681")
OVERSIZE = 3
MEASURED = 1000  # letters of a word that are looked at: no more fit on a sheet
WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "Arial Unicode.ttf", "DejaVuSans.ttf")


class Series(NamedTuple):
    """One line of a chart. `points`: (x, y); those that are not finite are left out. `dashed`: a reference level, drawn
    thin and without marks. `labels`: a word beside each point; the points are then marks without a line."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False
    labels: Sequence[str] = ()


def line_chart(
    series: Sequence[Series],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    x_names: Sequence[str] = (),
    from_zero: bool = True,
    size: tuple[int, int] = (800, 520),
) -> Image.Image:
    """Lines with marks over axes with round ticks, and a legend if there are several series.

    `x_names` writes words under x = 0, 1, 2, ... instead of numbers, as many as fit. `from_zero` starts the y axis at 0
    if all values are positive, so that a small difference does not look like a large one.
    """
    width, height = size
    pen = _Pen(width, height)
    points = [p for s in series for p in s.points if all(map(math.isfinite, p))] or [(0.0, 0.0)]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x_ticks = [float(i) for i in range(len(x_names))] or ticks(min(xs), max(xs), 8)
    y_ticks = ticks(min(0.0, *ys) if from_zero else min(ys), max(ys), 6)
    x_words = list(x_names) or tick_words(x_ticks)
    y_words = tick_words(y_ticks)

    top = 16 + 34 * bool(title) + 26 * (len(series) > 1)
    left = 26 + 24 * bool(y_label) + max(pen.width_of(word, 15) for word in y_words)
    box = left, top + 10, width - 26, height - 40 - 26 * bool(x_label)
    margin = 0.4 if x_names else 0.0  # words need room beside the first and the last point
    across = _Scale(min(*x_ticks, *xs) - margin, max(*x_ticks, *xs) + margin, box[0], box[2])
    up = _Scale(min(*y_ticks, *ys), max(*y_ticks, *ys), box[3], box[1])

    pen.text((left - 12, 14), title, 21, INK, "la")
    _legend(pen, series, left - 12, top - 12)
    for tick, word in zip(y_ticks, y_words, strict=True):
        pen.line([(box[0], up(tick)), (box[2], up(tick))], GRID, 1)
        pen.text((box[0] - 9, up(tick)), word, 15, FAINT, "rm")
    free_from = -math.inf
    for tick, word in zip(x_ticks, x_words, strict=True):
        half = pen.width_of(word, 15) / 2
        pen.line([(across(tick), box[3]), (across(tick), box[3] + 5)], FAINT, 1)
        if across(tick) - half > free_from:
            pen.text((across(tick), box[3] + 10), word, 15, FAINT, "ma")
            free_from = across(tick) + half + 8
    pen.line([(box[0], box[3]), (box[2], box[3])], FAINT, 1.2)
    pen.text(((box[0] + box[2]) / 2, height - 14), x_label, 16, INK, "mb")
    pen.sideways((14, (box[1] + box[3]) / 2), y_label, 16, INK)

    for one, colour in zip(series, _colours(series), strict=True):
        places = [(across(x), up(y)) for x, y in one.points if math.isfinite(x) and math.isfinite(y)]
        if one.dashed:
            pen.dashes(places, colour, 1.6)
            continue
        if len(places) > 1 and not one.labels:
            pen.line(places, colour, 2.6)
        for place in places:
            pen.dot(place, 4.6, colour)
        _name_points(pen, places, one.labels, box)
    return pen.finish()


def side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Charts in one row, tops aligned, on the charts' paper."""
    sheet = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), PAPER)
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width
    return sheet


def contact_sheet(
    pictures: Sequence[Image.Image | None],
    labels: Sequence[str] = (),
    *,
    columns: int = 0,
    cell: int = 256,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
) -> Image.Image:
    """Pictures in rows, each centred in `cell` x `cell` pixels with its own aspect; None leaves a cell empty.

    `labels` go below the pictures (as many as there are), `row_labels` left of the rows, `column_labels` above the
    columns; long ones are wrapped. `columns` 0 makes the sheet about as wide as high.
    """
    fitted = [None if picture is None else _fit(picture, cell) for picture in pictures]
    columns = min(columns or math.ceil(math.sqrt(len(fitted))), len(fitted))
    rows = range(math.ceil(len(fitted) / columns))
    wide = max((p.width for p in fitted if p is not None), default=cell)
    size = max(13, min(20, round(wide / 11)))
    line, gap = round(size * 1.3), max(6, round(wide / 32))
    pen = _Pen(1, 1, over=1)
    under = [pen.wrap(label, size, wide, 3) for label in labels[: len(fitted)]]
    beside = [pen.wrap(label, size, 190, 4) for label in row_labels[: len(rows)]]
    above = [pen.wrap(label, size, wide, 2) for label in column_labels[:columns]]

    def of_row(things: Sequence, row: int) -> Sequence:
        return things[row * columns : (row + 1) * columns]

    left = gap + round(max((pen.width_of(word, size) + 2 * gap for words in beside for word in words), default=0))
    top = gap + round((size + 6) * 1.5) * bool(title) + line * max(map(len, above), default=0) + gap // 2 * bool(above)
    tops, feet = [], []  # of each row of pictures
    for row in rows:
        tops.append(top)
        feet.append(top + max((p.height for p in of_row(fitted, row) if p is not None), default=cell))
        words = max(map(len, of_row(under, row)), default=0)
        top = feet[-1] + words * line + gap // 2 * bool(words) + gap

    pen = _Pen(left + columns * (wide + gap), top, over=1)
    middles = [left + column * (wide + gap) + wide / 2 for column in range(columns)]
    pen.text((gap, gap), title, size + 6, INK, "la")
    for middle, words in zip(middles, above, strict=False):
        pen.lines((middle, tops[0] - gap // 2 - line * len(words)), words, size, line, "ma")
    for head, foot, words in zip(tops, feet, beside, strict=False):
        pen.lines((left - 2 * gap, (head + foot - line * len(words)) / 2), words, size, line, "ra")
    for number, words in enumerate(under):
        pen.lines((middles[number % columns], feet[number // columns] + gap // 2), words, size, line, "ma")
    sheet = pen.finish()
    for number, picture in enumerate(fitted):
        if picture is not None:
            head, foot = tops[number // columns], feet[number // columns]
            corner = middles[number % columns] - picture.width / 2, (head + foot - picture.height) / 2
            sheet.paste(picture, (round(corner[0]), round(corner[1])))
    return sheet


def write_on(picture: Image.Image, words: Sequence[tuple[tuple[float, float], str]], size: int) -> Image.Image:
    """A copy of the picture with dark words in a pale outline, each centred on its place (x, y) and kept inside."""
    pen = _Pen(1, 1, over=1)
    pen.draw_on(picture)
    for (x, y), word in words:
        half = pen.width_of(word, size) / 2 + 3
        inside = (
            min(max(x, half), max(half, picture.width - half)),
            min(max(y, 0.7 * size), max(0.7 * size, picture.height - 0.7 * size)),
        )
        pen.draw.text(inside, word, fill=INK, font=pen.font(word, size), anchor="mm", stroke_width=2, stroke_fill=PAPER)
    return pen.picture


def ticks(low: float, high: float, most: int) -> list[float]:
    """About `most` round numbers, 1, 2 or 5 times a power of ten apart, that cover low to high."""
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [step * i for i in range(first, last + 1)]


def tick_words(values: Sequence[float]) -> list[str]:
    """The values with enough decimals to tell them apart."""
    steps = [b - a for a, b in pairwise(values)] or [abs(values[0]) or 1.0]
    decimals = max(0, -math.floor(math.log10(min(steps)) + 1e-9))
    return [f"{value:.{decimals}f}" for value in values]


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    """The whole picture, as large as fits into cell x cell."""
    scale = cell / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    way = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    return picture.convert("RGB") if size == picture.size else picture.convert("RGB").resize(size, way)


def _colours(series: Sequence[Series]) -> list[str]:
    """One colour per line; reference levels are grey and use up no colour."""
    fresh = iter(COLOURS * (1 + len(series) // len(COLOURS)))
    return [FAINT if one.dashed else next(fresh) for one in series]


def _legend(pen: _Pen, series: Sequence[Series], left: float, y: float) -> None:
    if len(series) < 2:
        return
    for one, colour in zip(series, _colours(series), strict=True):
        if one.dashed:
            pen.dashes([(left, y), (left + 24, y)], colour, 1.6)
        else:
            pen.line([(left, y), (left + 24, y)], colour, 2.6)
            pen.dot((left + 12, y), 4.6, colour)
        pen.text((left + 32, y), one.name, 15, INK, "lm")
        left += 32 + pen.width_of(one.name, 15) + 22


def _name_points(
    pen: _Pen, places: Sequence[tuple[float, float]], words: Sequence[str], box: tuple[float, ...]
) -> None:
    """Each word beside its point, where it covers no earlier one: right, left, above or below; otherwise right."""
    taken: list[tuple[float, float, float, float]] = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    for (x, y), word in zip(places, words, strict=False):
        wide = pen.width_of(word, 14)
        corners = ((x + 9, y - 8), (x - 9 - wide, y - 8), (x - wide / 2, y - 25), (x - wide / 2, y + 9))
        spots = [(left, top, left + wide, top + 16) for left, top in corners]
        free = [s for s in spots if s[0] >= box[0] and s[2] <= box[2] + 20 and not any(_overlap(s, t) for t in taken)]
        spot = (free or spots)[0]
        pen.text((spot[0], (spot[1] + spot[3]) / 2), word, 14, INK, "lm")
        taken.append(spot)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class _Scale(NamedTuple):
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / ((self.high - self.low) or 1.0)


class _Pen:
    """Draws on a picture `over` times as large, in coordinates of the finished one. Text alone works with `over` 1."""

    def __init__(self, width: int, height: int, over: int = OVERSIZE) -> None:
        from PIL import ImageDraw  # imported lazily, because it loads the fonts

        self.over = over
        self.picture = Image.new("RGB", (width * over, height * over), PAPER)
        self.draw = ImageDraw.Draw(self.picture)
        self.fonts: dict[tuple[int, bool], FreeTypeFont | ImageFont] = {}

    def draw_on(self, picture: Image.Image) -> None:
        """Continues on a copy of a finished picture."""
        from PIL import ImageDraw

        self.picture = picture.convert("RGB").copy()
        self.draw = ImageDraw.Draw(self.picture)

    def font(self, words: str, size: int) -> FreeTypeFont | ImageFont:
        key = size, words.isascii()
        if key not in self.fonts:
            self.fonts[key] = _font(words, size * self.over)
        return self.fonts[key]

    def big(self, place: tuple[float, float]) -> tuple[float, float]:
        return place[0] * self.over, place[1] * self.over

    def finish(self) -> Image.Image:
        return self.picture.reduce(self.over)

    def line(self, places: Sequence[tuple[float, float]], colour: str, width: float) -> None:
        self.draw.line([self.big(p) for p in places], fill=colour, width=round(width * self.over), joint="curve")

    def dashes(self, places: Sequence[tuple[float, float]], colour: str, width: float, dash: float = 7) -> None:
        for (x0, y0), (x1, y1) in pairwise(places):
            length = math.hypot(x1 - x0, y1 - y0) or 1.0
            for i in range(math.ceil(length / (2 * dash))):
                a, b = (min(1.0, part * dash / length) for part in (2 * i, 2 * i + 1))
                self.line(
                    [(x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0))], colour, width
                )

    def dot(self, place: tuple[float, float], radius: float, colour: str) -> None:
        (x, y), r = self.big(place), radius * self.over
        self.draw.ellipse([x - r, y - r, x + r, y + r], fill=colour, outline=PAPER, width=round(1.4 * self.over))

    def text(self, place: tuple[float, float], words: str, size: int, colour: str, anchor: str) -> None:
        self.draw.text(self.big(place), words, fill=colour, font=self.font(words, size), anchor=anchor)

    def lines(self, place: tuple[float, float], lines: Sequence[str], size: int, spacing: float, anchor: str) -> None:
        for i, words in enumerate(lines):
            self.text((place[0], place[1] + i * spacing), words, size, INK, anchor)

    def sideways(self, place: tuple[float, float], words: str, size: int, colour: str) -> None:
        """Text rotated by 90 degrees, with the middle of its left edge at `place`."""
        slip = _Pen(max(1, math.ceil(self.width_of(words, size))), round(size * 1.4))
        slip.text((0, size * 0.7), words, size, colour, "lm")
        turned = slip.picture.transpose(Image.Transpose.ROTATE_90)
        x, y = self.big(place)
        self.picture.paste(turned, (round(x), round(y - turned.height / 2)))

    def width_of(self, words: str, size: int) -> float:
        return self.draw.textlength(words, font=self.font(words, size)) / self.over

    def _head(self, word: str, size: int, width: float) -> int:
        """How many of its letters fit into `width`, at least 1."""
        return max(1, bisect_right(range(1, len(word)), width, key=lambda n: self.width_of(word[:n], size)))

    def wrap(self, words: str, size: int, width: float, most: int) -> list[str]:
        """The words in at most `most` lines of at most `width`; text that does not fit ends in three dots."""
        lines: list[str] = []
        for word in words.split():
            if len(lines) > most:  # the rest does not fit either, however long it is
                break
            word = word[:MEASURED]
            if lines and self.width_of(f"{lines[-1]} {word}", size) <= width:
                lines[-1] += f" {word}"
                continue
            while self.width_of(word, size) > width and len(word) > 1:  # broken anywhere, which is correct for Chinese
                head = self._head(word, size, width)
                lines.append(word[:head])
                word = word[head:]
            lines.append(word)
        if len(lines) > most:
            last = lines[most - 1]
            while self.width_of(last + "...", size) > width and last:
                last = last[:-1]
            lines[most - 1] = last.rstrip() + "..."
        return lines[:most]


def _font(words: str, size: int) -> FreeTypeFont | ImageFont:
    """Pillow's own font, which only has ASCII; for other words the first of WIDE_FONTS that this machine has."""
    from PIL import ImageFont

    if not words.isascii():
        for name in WIDE_FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)
