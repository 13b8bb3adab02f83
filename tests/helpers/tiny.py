"""Tiny random MODELs, VAEs and CONDITIONING of the families people own, made from the host's own classes.

For "works on any model" tests: the noise schedule, latent format and calling convention are the family's real ones,
only the network is small (a step at 8x8 takes a few milliseconds) and its weights are random. Import comfy only
inside functions, so that this module can be imported without the host. Their configurations: tiny_families.py.
"""

from __future__ import annotations

from typing import Any

import torch

from helpers import tiny_families

FAMILIES = ("sd15", "sd15_v", "sdxl", "sdxl_v", "edm", "edm_v", "sd3", "flux")


def model(
    family: str = "sd15",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    cast: torch.dtype | None = None,
    network: dict[str, Any] | None = None,
) -> Any:
    """A MODEL (host ModelPatcher) of one of tiny_families.FAMILIES. cast: what its weights are cast to at each use
    (None: nothing). network: changes of its network's configuration.

    sd15, sdxl: eps, discrete. sd15_v, sdxl_v: v, discrete. edm: EDM (Playground 2.5). edm_v: v on the EDM schedule
    (CosXL). sd3: rectified flow with shift 3. flux: the Flux flow. UNets have heads of 8 channels; context width 16.
    """
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models

    wanted = tiny_families.FAMILIES[family]
    kind = _with_v() if wanted.v else getattr(comfy.supported_models, wanted.kind)
    config = {**kind.unet_config, **wanted.config, **(network or {})}
    settings = kind(config)
    settings.unet_config.update(config)  # the host puts the family's own sizes over some of them
    if "num_head_channels" in settings.unet_config:
        settings.unet_config["num_head_channels"] = 8
        settings.unet_config["num_heads"] = -1
    settings.set_inference_dtype(dtype, cast)
    device = comfy.model_management.get_torch_device()
    made = settings.get_model({name: torch.tensor(value) for name, value in wanted.marks.items()}, device="cpu")
    _randomise(made.diffusion_model, seed)
    return comfy.model_patcher.CoreModelPatcher(
        made, load_device=device, offload_device=comfy.model_management.unet_offload_device()
    )


def _with_v() -> type:
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


def vae(channels: int = 4, *, seed: int = 0, kind: str = "taesd") -> Any:
    """A random VAE with 8x8 pixels a latent pixel and `channels` 4 (sd15, sdxl, edm) or 16 (sd3, flux).

    kind: taesd, or with a time axis and 16 channels wan (Wan 2.1's layout, which Qwen-Image, Krea 2 and Anima share) or
    taehv (its tiny autoencoder, which decodes to [0, 1]).
    """
    import comfy.ldm.wan.vae
    import comfy.sd
    import comfy.taesd.taehv
    import comfy.taesd.taesd

    if kind == "wan":
        network = comfy.ldm.wan.vae.WanVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True])
    elif kind == "taehv":
        network = comfy.taesd.taehv.TAEHV(latent_channels=16)
    else:
        network = comfy.taesd.taesd.TAESD(latent_channels=channels)
    _randomise(network, seed)
    if kind == "taesd":
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


def cond(family: str = "sd15", *, seed: int = 0, batch: int = 1) -> list[list[Any]]:
    """CONDITIONING of a family: context [batch, 6, 16], pooled [batch, 16], and what else its prompts carry."""
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(batch, 16, generator=generator)
    context = torch.randn(batch, 6, 16, generator=generator)
    also = {
        name: torch.ones(shape, dtype=torch.long if name.endswith(("ids", "mask")) else torch.float32)
        for name, shape in (tiny_families.FAMILIES[family].also if family in tiny_families.FAMILIES else {}).items()
    }
    return [[context, {"pooled_output": pooled, **also}]]


def latent(
    family: str = "sd15", *, batch: int = 1, height: int = 8, width: int = 8, seed: int = 0, frames: int = 1
) -> dict[str, Any]:
    """A LATENT of a family with unit-variance samples [batch, channels, height, width], or with a time axis of `frames`
    before the height."""
    import comfy.supported_models

    known = tiny_families.FAMILIES.get(family, tiny_families.FAMILIES["sd15"])
    form = getattr(comfy.supported_models, known.kind).latent_format
    time = [frames] if form.latent_dimensions == 3 else []
    shape = [batch, form.latent_channels, *time, height, width]
    return {"samples": torch.randn(shape, generator=torch.Generator().manual_seed(seed))}


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
