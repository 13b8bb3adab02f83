"""The doors: one file a system, each ending in its own NODES; they share folders, model_files and training_parts."""

from __future__ import annotations

from . import (
    drawing,
    experts,
    gradop,
    inversion,
    metrics,
    pairs,
    priors,
    regions,
    report,
    sdedit,
    sketchgan,
    starter,
    style,
    training,
    training_sketches,
    walks,
)

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
    *sketchgan.NODES,
    *training_sketches.NODES,
    *training.NODES,
    *pairs.NODES,
    *report.NODES,
    *metrics.NODES,
]
