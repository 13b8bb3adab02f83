"""Random networks of the size that people own, for benches: SD1.5, its decoders, and published experts.

Import comfy only inside functions: inprocess.prepare_host() comes first.
"""

from __future__ import annotations

import json
from typing import Any

from runtime import inprocess

KEYS = inprocess.PACK / "tests" / "golden" / "invbyinv"  # key lists of the published networks
VAE, TAESD, LINEAR = "VAE", "TAESD", "linear"
# SD1.5 as the host detects it
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "use_linear_in_transformer": False,
    "legacy": False,
    "context_dim": 768,
    "adm_in_channels": None,
}
KL = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128}
KL |= {"ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}


def randomise(network: Any) -> Any:
    """Fan-in scaled normal weights, the same million numbers over and over: quick even for a whole UNet."""
    import torch

    block = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, weight in [*network.named_parameters(), *network.named_buffers()]:
            if weight.ndim < 2:
                weight.fill_(0 if name.endswith(("bias", "mean", "tracked", "shift")) else 1)
                continue
            flat, scale = weight.view(-1), weight[0].numel() ** -0.5
            for first in range(0, len(flat), len(block)):
                piece = flat[first : first + len(block)]
                piece.copy_(block[: len(piece)] * scale)
    return network


def published(keys: str, **hints: Any) -> Any:
    """A network of a published checkpoint's size, behind a host ModelPatcher."""
    import torch

    shapes = json.loads((KEYS / f"keys_{keys}.json").read_text(encoding="utf-8"))["keys"]
    host = inprocess.room("host")
    weights = {key: torch.zeros(shape) for key, shape in shapes.items()}
    network = inprocess.room("networks").build(weights, ops=host.NETWORK_OPS, **hints)
    return host.network_patcher(randomise(network))


def sd15() -> Any:
    """A MODEL of SD1.5's shape and size, in the dtype that the host would choose for it."""
    import comfy.model_management as management
    import comfy.model_patcher
    import comfy.supported_models as known

    settings = known.SD15(UNET)
    settings.set_inference_dtype(management.unet_dtype(model_params=860_000_000), None)
    network = settings.get_model({}, device="cpu")
    randomise(network.diffusion_model)
    return comfy.model_patcher.CoreModelPatcher(
        network, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )


def vaes() -> dict[str, Any]:
    """An SD-shaped VAE and a TAESD, in the dtype that the host would choose for them; none for the linear map."""
    import comfy.ldm.models.autoencoder as autoencoder
    import comfy.sd
    import comfy.taesd.taesd as taesd

    networks = {VAE: autoencoder.AutoencoderKL(ddconfig=KL, embed_dim=4), TAESD: taesd.TAESD(latent_channels=4)}
    return {name: comfy.sd.VAE(sd=randomise(network).state_dict()) for name, network in networks.items()} | {
        LINEAR: None
    }
