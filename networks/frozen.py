"""Differentiating through frozen networks; the only place that does it.

ComfyUI runs nodes inside torch.inference_mode(), loads weights there, and may keep them on another device than the one
that computes. A gradient needs ordinary tensors on that device. So a network is *prepared* once per run: that gives a
function which calls it with its own copies of the weights, differentiable in its inputs. The shared network is never
changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


class _Caller(nn.Module):
    """A module whose forward is `call(module, ...)`, so that functional_call can reach any of its methods."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *inputs: Any) -> Any:
        return self.call(self.module, *inputs)


class _Recomputed(nn.Module):
    """A block that saves only its inputs for the backward pass and runs again there: less memory, more time."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        weights = dict(self.block.named_parameters())  # the copies: in place now, but not when it runs again
        weights |= dict(self.block.named_buffers())

        def run(*inputs: Any) -> Any:
            return functional_call(self.block, weights, inputs, settings)

        return checkpoint(run, *inputs, use_reentrant=False, preserve_rng_state=False)


def _recomputing(module: nn.Module, blocks: tuple[type, ...]) -> nn.Module:
    """A twin of `module` that shares its weights and recomputes every block of these classes; `module` is unchanged."""
    found = isinstance(module, blocks)
    twin = copy.copy(module)
    twin._parameters, twin._buffers = dict(module._parameters), dict(module._buffers)
    twin._modules = {
        name: None if child is None else _recomputing(child, () if found else blocks)
        for name, child in module._modules.items()
    }
    return _Recomputed(twin) if found else twin


@dataclass(frozen=True, eq=False)
class Frozen:
    """A network behind a host ModelPatcher: gradients pass through it, but its weights get none.

    call(module, *inputs): how it is called. parts: prefixes of the names of the parameters it needs (all by default).
    dtype: what it computes in; None keeps the weights' own. recompute: classes of blocks whose inner values are not
    saved for the backward pass but computed again.
    """

    patcher: Any
    call: Callable[..., Any]
    parts: tuple[str, ...] = ("",)
    dtype: torch.dtype | None = torch.float32
    recompute: tuple[type, ...] = ()

    def prepare(self, device: torch.device | str) -> Callable[..., Any]:
        """The network as a function of its inputs, with copies of its weights on `device`; for `gradients()`.

        Inputs should be of `dtype` and on `device`; outputs are.
        """
        weights, call = self.prepare_changeable(device)
        return lambda *inputs: call(weights, *inputs)

    def prepare_changeable(self, device: torch.device | str) -> tuple[dict[str, Tensor], Callable[..., Any]]:
        """The copies of the weights by name, and the network as a function of (weights, *inputs): other weights of the
        same names may be given, which may have gradients."""
        module = self.patcher.model
        if self.recompute:
            module = _recomputing(module, self.recompute)
        caller = _Caller(module, self.call)

        def copied(value: Tensor) -> Tensor:
            kind = self.dtype if value.is_floating_point() else None
            return value.detach().to(device=device, dtype=kind, copy=True)

        with gradients():
            weights = {
                name: copied(value)
                for name, value in (*module.named_parameters(), *module.named_buffers())
                if name.startswith(self.parts)
            }

        def call(weights: dict[str, Tensor], *inputs: Any) -> Any:
            return functional_call(caller, {f"module.{name}": value for name, value in weights.items()}, inputs)

        return weights, call


@contextmanager
def gradients() -> Iterator[None]:
    """Inside, newly made tensors can carry gradients, even though nodes run in torch.inference_mode()."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def ordinary(value: Tensor) -> Tensor:
    """A tensor that autograd can save: a copy if `value` was made in inference mode. For use inside `gradients()`."""
    return value.clone() if value.is_inference() else value.detach()
