"""The pack's own sockets. Their values are immutable."""

from __future__ import annotations

from comfy_api.latest import io

ExtractorSocket = io.Custom("SKETCH_EXTRACTOR")
FeaturesSocket = io.Custom("SKETCH_FEATURES")
GANSocket = io.Custom("SKETCH_GAN")
PainterSocket = io.Custom("SKETCH_PAINTER")
RegionsSocket = io.Custom("SKETCH_REGIONS")
StateSocket = io.Custom("SKETCH_STATE")
StyleSocket = io.Custom("SKETCH_STYLE")
