"""Parts of a state dict."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def under(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The entries under `name.`, without it."""
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(f"{name}.")}
