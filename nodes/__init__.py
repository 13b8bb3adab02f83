"""The node definitions, one file per system, each ending in its own NODES; what they share is in parts/."""

from __future__ import annotations

from . import (
    diffsketching,
    drawing,
    extractors,
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
    train_diffsketching,
    train_extractor,
    train_gan,
    walks,
)

NODES = [
    *drawing.NODES,
    *priors.NODES,
    *starter.NODES,
    *extractors.NODES,
    *sdedit.NODES,
    *inversion.NODES,
    *walks.NODES,
    *diffsketching.NODES,
    *gradop.NODES,
    *style.NODES,
    *regions.NODES,
    *sketchgan.NODES,
    *train_diffsketching.NODES,
    *train_extractor.NODES,
    *train_gan.NODES,
    *pairs.NODES,
    *report.NODES,
    *metrics.NODES,
]
