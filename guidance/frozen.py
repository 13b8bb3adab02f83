"""Gradients through frozen networks: the one home of them.

ComfyUI runs nodes inside torch.inference_mode(), loads weights there, and may keep them on another device than the one
that computes. A gradient needs ordinary tensors on that device. So a network is *opened* once a run: a function that
calls it with its own copies of the weights, differentiable in its inputs. The shared network is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class _Door(nn.Module):
    """A module whose forward is `call(module, ...)`, so that functional_call reaches any method of it."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *inputs: Any) -> Any:
        return self.call(self.module, *inputs)


@dataclass(frozen=True, eq=False)
class Frozen:
    """A network behind a host ModelPatcher that gradients pass through and never into.

    call(module, *inputs): what is done with it. parts: beginnings of the names of the parameters it needs (all of them
    by default). dtype: what it computes in; None keeps the weights' own.
    """

    patcher: Any
    call: Callable[..., Any]
    parts: tuple[str, ...] = ("",)
    dtype: torch.dtype | None = torch.float32

    def open(self, device: torch.device | str) -> Callable[..., Any]:
        """The network as a function of its inputs, with copies of its weights on `device`; for `gradients()`.

        Inputs should be of `dtype` and on `device`; outputs are.
        """
        module = self.patcher.model
        door = _Door(module, self.call)

        def copied(value: Tensor) -> Tensor:
            kind = self.dtype if value.is_floating_point() else None
            return value.detach().to(device=device, dtype=kind, copy=True)

        with gradients():
            weights = {
                f"module.{name}": copied(value)
                for name, value in (*module.named_parameters(), *module.named_buffers())
                if name.startswith(self.parts)
            }
        return lambda *inputs: torch.func.functional_call(door, weights, inputs)


@contextmanager
def gradients() -> Iterator[None]:
    """Inside, tensors made anew carry gradients, even while a node runs in torch.inference_mode()."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def ordinary(value: Tensor) -> Tensor:
    """A tensor that autograd may save: a copy where `value` was made in inference mode. For use in `gradients()`."""
    return value.clone() if value.is_inference() else value.detach()
