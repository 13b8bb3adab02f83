"""Regions from the colours of a stroke painting and a legend with their words."""

from __future__ import annotations

from torch import Tensor

from ...pictures import palettes
from .regions import Regions, painted


def read_strokes(
    image: Tensor, entries: list[palettes.Entry], tolerance: float, soft: float, made: Regions, proposal: str
) -> tuple[Regions, list[Tensor], str]:
    """`made` and the regions of a legend, one mask [B, H, W] per entry, and a text about them for the node.

    tolerance, soft: see palettes.masks. A colour that the painting does not have makes no region. proposal: a legend of
    its own colours, for the error message. ValueError: it has none of the legend's colours.
    """
    colours = list(dict.fromkeys(one.colour for one in entries))  # two phrases may share a colour
    of_colour = dict(zip(colours, palettes.masks(image, colours, tolerance, soft), strict=True))
    masks = [of_colour[one.colour] for one in entries]
    lines = []
    for one, mask in zip(entries, masks, strict=True):
        share = float((mask > 0).float().mean())
        lines.append(f"{one.phrase}: {share:.0%}" if share else f"{one.phrase}: colour not found, no region")
        if share:
            made = painted(mask, one.phrase, 1.0, made)
    if not any(mask.any() for mask in masks):
        instead = f"take these:\n{proposal}" if proposal else "send the painting through Photo to Strokes."
        raise ValueError(
            f"The painting has no colour of the legend within tolerance {tolerance:g}. Raise it, or {instead}"
        )
    return made, masks, "\n".join(lines)
