"""The node definitions, one file per system, each ending in its own NODES; what they share is in parts/."""

from __future__ import annotations

from . import (
    drawing,
    explain_match,
    extractors,
    find_photos,
    gradop,
    inversion,
    metrics,
    pairs,
    priors,
    regions,
    report,
    retrieval,
    sdedit,
    sketchgan,
    starter,
    style,
    train_extractor,
    train_gan,
    train_retriever,
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
    *gradop.NODES,
    *style.NODES,
    *regions.NODES,
    *sketchgan.NODES,
    *retrieval.NODES,
    *find_photos.NODES,
    *explain_match.NODES,
    *train_extractor.NODES,
    *train_gan.NODES,
    *train_retriever.NODES,
    *pairs.NODES,
    *report.NODES,
    *metrics.NODES,
]
