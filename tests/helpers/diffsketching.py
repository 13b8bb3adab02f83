"""The tiny networks of DiffSketching's golden numbers, filled by the rule of shared/golden/detfill.py."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import GOLDEN, detfill
from .golden_files import load_file

FOLDER = GOLDEN / "diffsketching"
LPIPS_WIDTHS = (64, 192, 384, 256, 256)


def note(name: str) -> dict[str, Any]:
    """The JSON of a golden file."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def recorded(name: str) -> dict[str, Tensor]:
    return load_file(FOLDER / f"{name}.safetensors")


def rule(key: str, shape: Sequence[int], gain: float = 1.0) -> tuple[float, float]:
    """Mean and spread of a tensor, from its name and shape."""
    if key.endswith("running_mean"):
        return 0.0, 0.1
    if key.endswith("running_var"):
        return 1.0, 0.1
    if len(shape) <= 1:
        return (1.0, 0.1) if key.endswith("weight") else (0.0, 0.1)
    return 0.0, gain / math.sqrt(math.prod(shape[1:]))


def filled(shapes: Mapping[str, Sequence[int]], seed: int, prefix: str = "", gain: float = 1.0) -> dict[str, Tensor]:
    """Weights of these names and shapes; counters are left out."""
    table = {key: [list(shape), *rule(key, shape, gain)] for key, shape in shapes.items()}
    kept = {key: row for key, row in table.items() if not key.endswith(("num_batches_tracked", "imagenet"))}
    return detfill.weights(kept, seed, prefix)


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def adm_weights(room: Any, config: Mapping[str, Any], seed: int, prefix: str = "", gain: float = 1.0) -> dict:
    """Weights of a guided-diffusion UNet of these create_model settings."""
    size = config["image_size"]
    levels = [level for level in range(len(config["channel_mult"])) if 2**level in config["attention_resolutions"]]
    network = room("networks.adm").ADM(
        model_channels=config["model_channels"],
        out_channels=config["out_channels"],
        num_res_blocks=config["num_res_blocks"],
        channel_mult=config["channel_mult"],
        attention_levels=levels,
        num_classes=config.get("num_classes"),
        num_head_channels=config["num_head_channels"],
        device="meta",
    )
    assert size
    return filled(shapes_of(network), seed, prefix, gain)


def classifier_weights(room: Any, config: Mapping[str, Any], seed: int, prefix: str = "") -> dict[str, Tensor]:
    """Weights of a guided-diffusion noisy classifier of these settings."""
    levels = [level for level in range(len(config["channel_mult"])) if 2**level in config["attention_resolutions"]]
    network = room("networks.noisy_classifier").NoisyClassifier(
        classes=config["out_channels"],
        pool=config["pool"],
        side=config["image_size"] // 2 ** (len(config["channel_mult"]) - 1),
        model_channels=config["model_channels"],
        num_res_blocks=config["num_res_blocks"],
        channel_mult=config["channel_mult"],
        attention_levels=levels,
        num_head_channels=config["num_head_channels"],
        device="meta",
    )
    return filled(shapes_of(network), seed, prefix)


def photosketch_weights(room: Any, width: int, blocks: int, seed: int, prefix: str = "netG.") -> dict[str, Tensor]:
    network = room("networks.photosketch").PhotoSketch(width=width, blocks=blocks, device="meta")
    return filled(shapes_of(network), seed, prefix)


def resnet_weights(room: Any, seed: int, prefix: str = "feature.") -> dict[str, Tensor]:
    """A ResNet-50 body under the names of DiffSketching's Sequential."""
    network = room("networks.resnet").ResNet(device="meta")
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    shapes = {re.sub(r"^\w+", lambda m: places.get(m[0], m[0]), k): v for k, v in shapes_of(network).items()}
    return filled({k: v for k, v in shapes.items() if k != "imagenet"}, seed, prefix)


def lpips_weights(seed: int, lin: Sequence[Tensor] | None = None, prefix: str = "lpips.") -> dict[str, Tensor]:
    """The lpips package's AlexNet; lin: its channel weights, else as sketch_losses has them."""
    sizes = {"1.0": (64, 3, 11), "2.3": (192, 64, 5), "3.6": (384, 192, 3), "4.8": (256, 384, 3), "5.10": (256, 256, 3)}
    shapes: dict[str, tuple[int, ...]] = {}
    for key, (out, channels, side) in sizes.items():
        shapes |= {f"net.slice{key}.weight": (out, channels, side, side), f"net.slice{key}.bias": (out,)}
    found = filled(shapes, seed, prefix)
    for i, width in enumerate(LPIPS_WIDTHS):
        own = detfill.tensor(f"{prefix}lins.{i}.model.1.weight", (1, width, 1, 1), seed, 0.5, 0.2)
        found[f"lin{i}.model.1.weight"] = own if lin is None else lin[i]
    return found


def worst(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found.float() - expected.float()).abs().max() / expected.float().abs().max())


def off(found: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference, relative to that of the values: for gradients with kinks."""
    return float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())


def pictures(tensor: Tensor) -> Tensor:
    """[B, C, H, W] in [0, 1] as IMAGE."""
    return tensor.movedim(1, -1).expand(-1, -1, -1, 3) if tensor.shape[1] == 1 else tensor.movedim(1, -1)


def torch_seed(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
