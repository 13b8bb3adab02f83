"""Tiny random MODELs, VAEs and CONDITIONING of the families people own, made from the host's own classes.

For "works on any model" tests: the noise schedule, latent format and calling convention are the family's real ones,
only the network is small (a step at 8x8 takes a few milliseconds) and its weights are random. Import comfy only
inside functions, so that this module can be imported without the host.
"""

from __future__ import annotations

from typing import Any

import torch

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "use_linear_in_transformer": False,
    "legacy": False,
    "context_dim": 16,
    "adm_in_channels": None,
}
# SDXL's pooled width plus six size embeddings of 256: encode_adm fixes the 1536, the pooled width is ours.
SDXL_UNET = {**UNET, "use_linear_in_transformer": True, "num_classes": "sequential", "adm_in_channels": 16 + 1536}
SD3_DIT = {
    "in_channels": 16,
    "patch_size": 2,
    "depth": 1,
    "adm_in_channels": 16,
    "context_size": None,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 16, "out_features": 64}},
    "num_patches": 4096,
    "pos_embed_max_size": 64,
    "pos_embed_scaling_factor": None,
}
FLUX_DIT = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 16,
    "context_in_dim": 16,
    "hidden_size": 48,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [8, 8, 8],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}

FAMILIES = ("sd15", "sd15_v", "sdxl", "sdxl_v", "edm", "edm_v", "sd3", "flux")


def model(
    family: str = "sd15",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    cast: torch.dtype | None = None,
    network: dict[str, Any] | None = None,
) -> Any:
    """A MODEL (host ModelPatcher) of one of FAMILIES. cast: what its weights are cast to at each use (None: nothing).
    network: changes of its network's configuration.

    sd15, sdxl: eps, discrete. sd15_v, sdxl_v: v, discrete. edm: EDM (Playground 2.5). edm_v: v on the EDM schedule
    (CosXL). sd3: rectified flow with shift 3. flux: the Flux flow. Heads of 8 channels, context width 16.
    """
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models as known

    kind, config, marks = {
        "sd15": (known.SD15, UNET, {}),
        "sd15_v": (_V, UNET, {}),
        "sdxl": (known.SDXL, SDXL_UNET, {}),
        "sdxl_v": (known.SDXL, SDXL_UNET, {"v_pred": torch.zeros(0)}),
        "edm": (known.SDXL, SDXL_UNET, {"edm_mean": torch.zeros(4), "edm_std": torch.ones(4)}),
        "edm_v": (known.SDXL, SDXL_UNET, {"edm_vpred.sigma_max": torch.tensor(120.0)}),
        "sd3": (known.SD3, SD3_DIT, {}),
        "flux": (known.Flux, FLUX_DIT, {}),
    }[family]
    settings = (kind() if kind is _V else kind)({**config, **(network or {})})
    if "num_head_channels" in settings.unet_config:
        settings.unet_config["num_head_channels"] = 8
        settings.unet_config["num_heads"] = -1
    settings.set_inference_dtype(dtype, cast)
    device = comfy.model_management.get_torch_device()
    made = settings.get_model(marks, device="cpu")
    _randomise(made.diffusion_model, seed)
    return comfy.model_patcher.CoreModelPatcher(
        made, load_device=device, offload_device=comfy.model_management.unet_offload_device()
    )


def _V() -> type:
    """SD1.5 with v prediction: the host knows it as SD2 by weight statistics only, so it is said here."""
    import comfy.model_base
    import comfy.supported_models

    class VPrediction(comfy.supported_models.SD15):
        def model_type(self, state_dict: dict, prefix: str = "") -> Any:
            return comfy.model_base.ModelType.V_PREDICTION

    return VPrediction


def _randomise(network: torch.nn.Module, seed: int) -> None:
    """Fan-in scaled normal weights. The host's layers leave memory uninitialised, so every parameter is written."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1:
                fan_in = weight[0].numel()
                weight.copy_(torch.randn(weight.shape, generator=generator) * fan_in**-0.5)
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.02)


def vae(channels: int = 4, *, seed: int = 0) -> Any:
    """A random VAE of TAESD layout: 8x8 pixels a latent pixel, `channels` 4 (sd15, sdxl, edm) or 16 (sd3, flux)."""
    import comfy.sd
    import comfy.taesd.taesd

    network = comfy.taesd.taesd.TAESD(latent_channels=channels)
    _randomise(network, seed)
    with torch.no_grad():
        network.vae_scale.fill_(1.0)
        network.vae_shift.fill_(0.0)
    return comfy.sd.VAE(sd={k: v.clone() for k, v in network.state_dict().items()})


def clip(family: str = "sd15", *, seed: int = 0) -> Any:
    """A CLIP with the host's own tokenizer and a random text encoder, for the models above (context width 16).

    sd15: one encoder of width 16. sdxl: two of width 8, as SDXL joins them; their pooled width of 8 wants a model with
    network={"adm_in_channels": 8 + 1536}.
    """
    import comfy.sd
    import comfy.sdxl_clip
    from comfy import sd1_clip, supported_models_base

    known = {
        "sd15": (sd1_clip.SD1ClipModel, sd1_clip.SD1Tokenizer, 16),
        "sdxl": (comfy.sdxl_clip.SDXLClipModel, comfy.sdxl_clip.SDXLTokenizer, 8),
    }
    encoder, tokenizer, width = known[family]
    small = {"hidden_size": width, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    sizes = {f"clip_{name}_model_config": {**small, "hidden_act": "quick_gelu"} for name in "lg"}
    made = comfy.sd.CLIP(supported_models_base.ClipTarget(tokenizer, encoder), model_options=sizes)
    _randomise(made.cond_stage_model, seed)
    return made


def cond(*, seed: int = 0, batch: int = 1) -> list[list[Any]]:
    """CONDITIONING that every family above accepts: context [batch, 6, 16], pooled [batch, 16]."""
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(batch, 16, generator=generator)
    return [[torch.randn(batch, 6, 16, generator=generator), {"pooled_output": pooled}]]


def latent(family: str = "sd15", *, batch: int = 1, height: int = 8, width: int = 8, seed: int = 0) -> dict[str, Any]:
    """A LATENT with unit-variance samples [batch, 4 or 16, height, width]."""
    channels = 16 if family in ("sd3", "flux") else 4
    return {"samples": torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))}


def sample(patcher: Any, sigmas: torch.Tensor, latent_image: torch.Tensor, **options: Any) -> torch.Tensor:
    """One walk through the host's own sampling path: returns the clean latent. Options: sampler (a SAMPLER), noise (a
    tensor or None), mask, seed, cfg, positive, negative."""
    import comfy.sample
    import comfy.samplers

    noise = options.get("noise")
    if noise is None:
        noise = comfy.sample.prepare_noise(latent_image, options.get("seed", 0))
    return comfy.sample.sample_custom(
        patcher,
        noise,
        options.get("cfg", 1.0),
        options.get("sampler") or comfy.samplers.sampler_object("euler"),
        sigmas,
        options.get("positive") or cond(),
        options.get("negative") or cond(seed=1),
        latent_image,
        noise_mask=options.get("mask"),
        disable_pbar=True,
        seed=options.get("seed", 0),
    )
