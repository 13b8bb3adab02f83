"""Parts of a state dict."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def under(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The entries under `name.`, without it."""
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(f"{name}.")}


def with_counters(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same entries, with a counter for each batch norm: older files lack them."""
    counters = {
        key.replace("running_var", "num_batches_tracked"): torch.tensor(0)
        for key in weights
        if key.endswith(".running_var")
    }
    return counters | dict(weights)
