"""Settings with which the long templates run in tests: they show that the graph works, not that it learns much."""

from __future__ import annotations

from typing import Any

QUICK: dict[str, dict[str, Any]] = {
    "SketchTrainGAN": {"draft_steps": 16, "gan_steps": 8},
    "SketchTrainPrior": {"steps": 8},
    "SketchTrainPaint2pix": {"steps": 6},
    "ShapeInversion": {"steps": 10},
    "NoiseToT0": {"steps": 10},
    "SketchT0Sweep": {"steps": 8},
}


def quick(prompt: dict[str, dict]) -> dict[str, dict]:
    """A prompt of the API with those settings."""
    return {
        key: {**node, "inputs": {**node["inputs"], **QUICK.get(node["class_type"], {})}} for key, node in prompt.items()
    }
