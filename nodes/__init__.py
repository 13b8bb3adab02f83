"""The doors: one file a system, each ending in its own NODES list."""

from __future__ import annotations

from . import drawing, priors, report, sdedit

NODES = [*drawing.NODES, *priors.NODES, *sdedit.NODES, *report.NODES]
