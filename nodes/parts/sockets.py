"""The pack's own sockets. Their values are immutable."""

from __future__ import annotations

from comfy_api.latest import io

ClassifierSocket = io.Custom("SKETCH_CLASSIFIER")
ExtractorSocket = io.Custom("SKETCH_EXTRACTOR")
FeaturesSocket = io.Custom("SKETCH_FEATURES")
GANSocket = io.Custom("SKETCH_GAN")
RegionsSocket = io.Custom("SKETCH_REGIONS")
StyleSocket = io.Custom("SKETCH_STYLE")
