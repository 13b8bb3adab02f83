"""What a training looks like: its losses as charts, its pictures as sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from ..pictures import charts
from .loop import Lesson

POINTS = 200  # of a curve
SHOWN = 5  # pictures in a row of a sheet


def curves(lesson: Lesson | type[Lesson], rows: Sequence[Mapping[str, float]]) -> Image.Image:
    """The losses of a lesson as charts side by side."""
    pictures = []
    for panel in lesson.panels:
        series = []
        for name in panel.names:
            points = _thinned([(row["step"], row[name]) for row in rows if name in row])
            if points:
                first = abs(points[0][1]) or 1.0
                series.append(charts.Series(name, [(x, y / first) for x, y in points] if panel.relative else points))
        if series:
            pictures.append(charts.line_chart(series, title=panel.title, x_label="step", size=(640, 420)))
    return charts.side_by_side(pictures or [charts.line_chart([], title="no steps yet", size=(640, 420))])


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most POINTS of them, each the mean of its neighbourhood."""
    group = -(-len(points) // POINTS) or 1
    parts = [points[i : i + group] for i in range(0, len(points), group)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def sheet(kinds: Sequence[Tensor], count: int = SHOWN) -> Image.Image:
    """`count` pictures side by side; each kind [B,1 or 3,S,S] in [-1,1] is a row."""
    shown = [kind[:count].detach().float().cpu().expand(-1, 3, -1, -1) for kind in kinds]
    side = min(256, shown[0].shape[-1])
    shown = [torch.nn.functional.interpolate(x, (side, side), mode="area") for x in shown]
    whole = torch.cat([torch.cat(list(row), 2) for row in shown], 1)
    return Image.fromarray((whole * 127.5 + 127.5).round().clamp(0, 255).byte().movedim(0, -1).numpy())


def picture(rows: Tensor, zoom: int = 2) -> Image.Image:
    """Rows [N,3,h,w] in [0,1] in a column, enlarged by `zoom`."""
    tall = torch.cat(list(rows.float().cpu().clamp(0, 1)), 1).movedim(0, -1)
    image = Image.fromarray((tall * 255).round().byte().numpy())
    return image.resize((zoom * image.width, zoom * image.height), Image.Resampling.NEAREST)


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures in a column, scaled to the width of the first."""
    scaled = [p.resize((pictures[0].width, round(p.height * pictures[0].width / p.width))) for p in pictures]
    whole = Image.new("RGB", (pictures[0].width, sum(p.height for p in scaled)), "white")
    top = 0
    for picture in scaled:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole
