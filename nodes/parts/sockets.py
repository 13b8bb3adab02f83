"""The pack's own sockets. Their values are immutable."""

from __future__ import annotations

from comfy_api.latest import io

ClassifierSocket = io.Custom("SKETCH_CLASSIFIER")
ExtractorSocket = io.Custom("SKETCH_EXTRACTOR")
FeaturesSocket = io.Custom("SKETCH_FEATURES")
GANSocket = io.Custom("SKETCH_GAN")
IndexSocket = io.Custom("SKETCH_INDEX")
PainterSocket = io.Custom("SKETCH_PAINTER")
RegionsSocket = io.Custom("SKETCH_REGIONS")
RetrieverSocket = io.Custom("SKETCH_RETRIEVER")
StateSocket = io.Custom("SKETCH_STATE")
StyleSocket = io.Custom("SKETCH_STYLE")
