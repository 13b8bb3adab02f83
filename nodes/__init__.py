"""The doors: one file a system, each ending in its own NODES list."""

from __future__ import annotations

from . import drawing, experts, inversion, pairs, priors, report, sdedit, style, walks

NODES = [
    *drawing.NODES,
    *priors.NODES,
    *experts.NODES,
    *sdedit.NODES,
    *inversion.NODES,
    *walks.NODES,
    *style.NODES,
    *pairs.NODES,
    *report.NODES,
]
