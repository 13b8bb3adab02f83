"""The doors: one file a system, each ending in its own NODES list."""

from __future__ import annotations

from . import drawing, experts, gradop, inversion, pairs, priors, regions, report, sdedit, starter, style, walks

NODES = [
    *drawing.NODES,
    *priors.NODES,
    *starter.NODES,
    *experts.NODES,
    *sdedit.NODES,
    *inversion.NODES,
    *walks.NODES,
    *gradop.NODES,
    *style.NODES,
    *regions.NODES,
    *pairs.NODES,
    *report.NODES,
]
