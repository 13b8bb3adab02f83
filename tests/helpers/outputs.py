"""What a run of a template over HTTP gives: pictures that show something, and no warnings."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

# Of texts on nodes that warn of something.
HINTS = (
    "is pure noise",
    "noised is noisy",
    "noised has no",
    "lines without colours",
    "Nothing is drawn",
    "looks like a photo",
    "set size",
)


def check_pictures(server: Any, outputs: dict[str, Any], *, flat: bool = False) -> None:
    """At least one image came out, and none of them is a single flat colour."""
    images = [image for shown in outputs.values() for image in shown.get("images", [])]
    assert images, f"no picture came out: {outputs}"
    for image in images:
        pixels = np.asarray(Image.open(io.BytesIO(server.picture(image))).convert("RGB"))
        assert min(pixels.shape[:2]) >= 16
        assert flat or pixels.std() > 4, f"{image['filename']} is blank"


def check_without_hints(outputs: dict[str, Any]) -> None:
    """A template that runs needs no warning."""
    said = [text for shown in outputs.values() for text in shown.get("text", [])]
    assert [text for text in said if any(hint in text for hint in HINTS)] == []
