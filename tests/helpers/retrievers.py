"""Small networks for retrieval: ZSE-SBIR's layout with random weights, and a CLIP_VISION of the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

SIDE = 64  # of the small network's input


def weights(room: Any, seed: int = 0, **changes: Any) -> dict[str, torch.Tensor]:
    """The published layout at a width of 32 with 4 x 4 patches."""
    settings = {"width": 32, "depth": 2, "heads": 4, "inner": 48, "grid": 4, "patch": 16, "channels": (8, 8, 16, 32)}
    settings |= {"cross_heads": 8, "cross_inner": 40, "folded": 24, "anchors": 4, "hidden": (9, 5)}
    with torch.inference_mode(False), torch.no_grad():
        rng = torch.Generator().manual_seed(seed)
        network = room("networks.retrieval.network").Retriever(**{**settings, **changes})
        for name, value in network.named_parameters():
            plain = name.endswith((".a", "norm.weight")) or ("layer_norm" in name and name.endswith("weight"))
            value.copy_(torch.ones_like(value) if plain else 0.3 * torch.randn(value.shape, generator=rng))
        return {name: value.clone() for name, value in network.state_dict().items()}


def save(room: Any, path: Path, seed: int = 0, **changes: Any) -> Path:
    """A file for Load Sketch Retriever; its 4 heads are stated in it, as the trainings do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights(room, seed, **changes), path, {"num_heads": "4"})
    return path


VISION: dict[str, dict[str, Any]] = {  # what the host's other vision models are told beyond clip_vision's settings
    "siglip": {"model_type": "siglip_vision_model", "hidden_act": "gelu_pytorch_tanh"},
    "siglip2 naflex": {
        "model_type": "siglip2_vision_model",
        "hidden_act": "gelu_pytorch_tanh",
        "image_size": -1,
        "num_patches": 16,
    },
    "dinov2": {"model_type": "dinov2", "layer_norm_eps": 1e-6, "use_swiglu_ffn": False},
    "dinov3": {
        "model_type": "dinov3",
        "layer_norm_eps": 1e-5,
        "num_register_tokens": 4,
        "rope_theta": 100.0,
        "use_gated_mlp": True,
        "gated_mlp_act": "silu",
    },
}


def clip_vision(seed: int = 0, **changes: Any) -> Any:
    """A CLIP_VISION of the host's own class, random and small: 32 pixels, vectors of 12 numbers. changes: of its
    configuration, such as one of VISION."""
    from comfy.clip_vision import ClipVisionModel

    config = {
        "num_channels": 3,
        "hidden_act": "quick_gelu",
        "hidden_size": 16,
        "image_size": 32,
        "intermediate_size": 32,
        "model_type": "clip_vision_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "patch_size": 8,
        "projection_dim": 12,
        **changes,
    }
    torch.manual_seed(seed)
    model = ClipVisionModel(config)
    with torch.no_grad():
        for value in model.model.parameters():
            value.copy_(0.3 * torch.randn(value.shape))
    return model
