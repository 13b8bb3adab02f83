"""Tiny random configurations of every family of the host's list that paints pictures, and why the others do not.

Only sizes are small: patches, channels, latent dimensions, noise and calling conventions are the family's own. All read
text of width 16 (and a pooled output of 16, where they have one), as tiny.cond makes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Family(NamedTuple):
    """kind: the class in comfy.supported_models. unit: the smallest side a latent may have. also: more that its prompt
    carries, as ones of these shapes. title: what people call it. video: frames are its time axis. marks: tensors in the
    checkpoint that the host tells variants by. v: v prediction, which the host tells by the weights' statistics.
    """

    kind: str
    config: dict[str, Any]
    title: str
    unit: int = 8
    also: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - never written to
    video: bool = False
    marks: dict[str, float] = {}  # noqa: RUF012
    v: bool = False


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
_SDXL = {**UNET, "use_linear_in_transformer": True, "num_classes": "sequential", "adm_in_channels": 16 + 1536}
_SD3 = {
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
_FLUX = {
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
_FLUX2 = {
    **_FLUX,
    "in_channels": 128,
    "out_channels": 128,
    "vec_in_dim": None,
    "hidden_size": 64,
    "axes_dim": [8, 8, 8, 8],
    "theta": 2000,
    "patch_size": 1,
    "qkv_bias": False,
    "global_modulation": True,
    "mlp_silu_act": True,
    "ops_bias": False,
    "default_ref_method": "index",
    "ref_index_scale": 10.0,
    "txt_ids_dims": [3],
}
_CHROMA = {name: value for name, value in _FLUX.items() if name != "guidance_embed"} | {
    "vec_in_dim": None,
    "in_channels": 64,
    "out_channels": 64,
    "in_dim": 64,
    "out_dim": 48,
    "hidden_dim": 32,
    "n_layers": 1,
}
_RADIANCE = {
    **_CHROMA,
    "in_channels": 3,
    "out_channels": 3,
    "patch_size": 16,
    "nerf_hidden_size": 8,
    "nerf_mlp_ratio": 2,
    "nerf_depth": 1,
    "nerf_max_freqs": 2,
    "nerf_tile_size": 512,
    "nerf_final_head_type": "conv",
    "nerf_embedder_dtype": None,
    "use_x0": False,
    "use_sequential_txt_ids": False,
}
_LUMINA = {
    "patch_size": 2,
    "in_channels": 16,
    "dim": 48,
    "cap_feat_dim": 16,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "qk_norm": True,
    "n_heads": 2,
    "n_kv_heads": 2,
    "multiple_of": 16,
    "axes_dims": [8, 8, 8],
    "axes_lens": [300, 512, 512],
    "rope_theta": 256.0,
    "ffn_dim_multiplier": 1.0,
}
_ZIMAGE = {  # its modulation is 256 wide whatever the network is
    **_LUMINA,
    "dim": 256,
    "n_heads": 4,
    "n_kv_heads": 4,
    "axes_dims": [16, 24, 24],
    "z_image_modulation": True,
    "time_scale": 1000.0,
    "pad_tokens_multiple": 32,
}
_ZIMAGE_PIXELS = {
    **_ZIMAGE,
    "patch_size": 8,
    "in_channels": 3,
    "decoder_in_channels": 192,
    "decoder_hidden_size": 16,
    "decoder_num_res_blocks": 1,
    "decoder_max_freqs": 2,
}
_COSMOS2 = {
    "max_img_h": 240,
    "max_img_w": 240,
    "max_frames": 128,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "model_channels": 64,
    "num_blocks": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "crossattn_emb_channels": 16,
    "pos_emb_cls": "rope3d",
    "pos_emb_learnable": True,
    "use_adaln_lora": True,
    "adaln_lora_dim": 8,
    "extra_per_block_abs_pos_emb": False,
}
_WAN = {
    "model_type": "t2v",
    "patch_size": (1, 2, 2),
    "in_dim": 16,
    "dim": 32,
    "ffn_dim": 32,
    "freq_dim": 16,
    "text_dim": 16,
    "out_dim": 16,
    "num_heads": 2,
    "num_layers": 1,
}
_HUNYUAN = {
    **_FLUX,
    "mlp_ratio": 2.0,
    "theta": 256,
    "patch_size": [1, 2, 2],
    "byt5": False,
    "meanflow": False,
    "use_cond_type_embedding": False,
    "vision_in_dim": None,
    "meanflow_sum": False,
}
del _HUNYUAN["txt_ids_dims"]
_OMNIGEN = {
    "hidden_size": 48,
    "num_layers": 1,
    "num_refiner_layers": 1,
    "num_attention_heads": 2,
    "num_kv_heads": 2,
    "multiple_of": 16,
    "axes_dim_rope": [8, 8, 8],
    "axes_lens": [300, 512, 512],
    "in_channels": 16,
    "patch_size": 2,
}
_QWEN = {
    "num_layers": 2,
    "attention_head_dim": 24,
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "axes_dims_rope": [8, 8, 8],
}
_KANDINSKY = {
    "in_text_dim": 16,
    "in_text_dim2": 16,
    "time_dim": 16,
    "model_dim": 48,
    "ff_dim": 48,
    "num_text_blocks": 1,
    "num_visual_blocks": 1,
    "axes_dims": [8, 8, 8],
}
_PIXART = {
    "num_heads": 2,
    "patch_size": 2,
    "hidden_size": 48,
    "in_channels": 4,
    "depth": 1,
    "caption_channels": 16,
    "model_max_length": 6,
    "pe_interpolation": 1.0,
}
_HYDIT = {
    "hidden_size": 64,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "text_states_dim": 16,
    "text_states_dim_t5": 16,
    "text_len": 6,
    "text_len_t5": 6,
}
_COUNTED = {"attention_mask": (1, 6)}  # of which these take the number of words
_HYDIT_ALSO = {"conditioning_mt5xl": (1, 6, 16), "attention_mask": (1, 6), "attention_mask_mt5xl": (1, 6)}

FAMILIES = {
    "sd15": Family("SD15", UNET, "Stable Diffusion 1.5"),
    "sd15_v": Family("SD15", UNET, "Stable Diffusion 2 (v)", v=True),
    "sdxl": Family("SDXL", _SDXL, "SDXL"),
    "sdxl_v": Family("SDXL", _SDXL, "SDXL with v prediction", marks={"v_pred": 0.0}),
    "edm": Family("SDXL", _SDXL, "Playground 2.5", marks={"edm_mean": 0.0, "edm_std": 1.0}),
    "edm_v": Family("SDXL", _SDXL, "CosXL", marks={"edm_vpred.sigma_max": 120.0}),
    "sd3": Family("SD3", _SD3, "Stable Diffusion 3 and 3.5"),
    "zimage": Family("ZImage", _ZIMAGE, "Z-Image, Z-Image-Turbo"),
    "krea2": Family(
        "Krea2",
        {
            "features": 64,
            "tdim": 16,
            "txtdim": 8,
            "heads": 2,
            "kvheads": 1,
            "multiplier": 1,
            "layers": 2,
            "txtlayers": 2,
            "txtheads": 1,
            "txtkvheads": 1,
        },
        "Krea 2",
    ),
    "qwen_image": Family("QwenImage", _QWEN, "Qwen-Image, Qwen-Image-Edit"),
    "flux2": Family("Flux2", _FLUX2, "Flux.2 dev, Flux.2 Klein"),
    "anima": Family("Anima", _COSMOS2, "Anima"),
    "flux": Family("Flux", _FLUX, "Flux.1 dev, Krea, Kontext"),
    "schnell": Family("FluxSchnell", {**_FLUX, "guidance_embed": False}, "Flux.1 schnell"),
    "boogu": Family(
        "Boogu",
        {**_OMNIGEN, "num_double_stream_layers": 1, "instruction_feat_dim": 16, "image_model": "boogu"},
        "Boogu",
        also=_COUNTED,
    ),
    "ideogram4": Family(
        "Ideogram4",
        {
            "num_layers": 2,
            "num_attention_heads": 2,
            "attention_head_dim": 24,
            "intermediate_size": 48,
            "adaln_dim": 16,
            "llm_features_dim": 16,
            "mrope_section": (4, 4, 4),
        },
        "Ideogram 4",
    ),
    "chroma": Family("Chroma", _CHROMA, "Chroma"),
    "radiance": Family("ChromaRadiance", _RADIANCE, "Chroma Radiance", 32),
    "lumina2": Family("Lumina2", _LUMINA, "Lumina 2, NewBie"),
    "zimage_pixels": Family("ZImagePixelSpace", _ZIMAGE_PIXELS, "Z-Image in pixels", 32),
    "longcat": Family(
        "LongCatImage", {**_FLUX, "guidance_embed": False, "vec_in_dim": None, "txt_ids_dims": [1, 2]}, "LongCat-Image"
    ),
    "cosmos_predict2": Family("CosmosT2IPredict2", _COSMOS2, "Cosmos-Predict2"),
    "joyimage": Family(
        "JoyImage",
        {
            "hidden_size": 48,
            "num_attention_heads": 2,
            "text_dim": 16,
            "mlp_width_ratio": 2.0,
            "num_layers": 2,
            "rope_dim_list": [8, 8, 8],
        },
        "JoyImage",
    ),
    "mage_flow": Family("MageFlow", {**_QWEN, "in_channels": 128, "out_channels": 128}, "MageFlow"),
    "lens": Family(
        "Lens",
        {
            "num_layers": 2,
            "attention_head_dim": 24,
            "num_attention_heads": 2,
            "enc_hidden_dim": 4,
            "axes_dims_rope": [8, 8, 8],
        },
        "Lens",
    ),
    "ernie": Family(
        "ErnieImage",
        {
            "hidden_size": 48,
            "num_attention_heads": 2,
            "num_layers": 2,
            "ffn_hidden_size": 48,
            "text_in_dim": 16,
            "rope_axes_dim": (8, 8, 8),
        },
        "Ernie-Image",
    ),
    "omnigen2": Family("Omnigen2", {**_OMNIGEN, "text_feat_dim": 16}, "OmniGen 2", also=_COUNTED),
    "hidream": Family(
        "HiDream",
        {
            "attention_head_dim": 24,
            "axes_dims_rope": [8, 8, 8],
            "caption_channels": [16, 16],
            "max_resolution": [128, 128],
            "in_channels": 16,
            "llama_layers": [0, 1],
            "num_attention_heads": 2,
            "num_routed_experts": 2,
            "num_activated_experts": 1,
            "num_layers": 1,
            "num_single_layers": 1,
            "out_channels": 16,
            "patch_size": 2,
            "text_emb_dim": 16,
        },
        "HiDream-I1",
        also={"conditioning_llama3": (1, 2, 6, 16)},
    ),
    "kandinsky5": Family("Kandinsky5Image", _KANDINSKY, "Kandinsky 5 Image"),
    "hunyuan_image": Family(
        "HunyuanImage21",
        {
            **_HUNYUAN,
            "patch_size": [1, 1],
            "in_channels": 64,
            "out_channels": 64,
            "vec_in_dim": None,
            "axes_dim": [12, 12],
        },
        "HunyuanImage 2.1",
    ),
    "pixeldit": Family(
        "PixelDiTT2I",
        {
            "num_groups": 2,
            "hidden_size": 48,
            "pixel_hidden_size": 8,
            "pixel_attn_hidden_size": 32,
            "pixel_num_groups": 2,
            "patch_depth": 1,
            "pixel_depth": 1,
            "txt_embed_dim": 16,
            "txt_max_length": 300,
        },
        "PixelDiT",
        32,
    ),
    "auraflow": Family(
        "AuraFlow",
        {"dim": 48, "n_layers": 2, "n_double_layers": 1, "n_heads": 2, "global_conddim": 48, "cond_seq_dim": 16},
        "AuraFlow, Pony V7",
    ),
    "pixart": Family("PixArtSigma", {**_PIXART, "micro_condition": False}, "PixArt Alpha and Sigma", 36),
    "hydit": Family("HunyuanDiT", _HYDIT, "Hunyuan-DiT", also=_HYDIT_ALSO),
    "hidream_o1": Family(
        "HiDreamO1",
        {
            "text_config_overrides": {
                "vocab_size": 32,
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "rope_dims": [4, 2, 2],
            },
            "vision_config_overrides": {
                "hidden_size": 16,
                "num_heads": 2,
                "intermediate_size": 16,
                "depth": 1,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": (0,),
            },
        },
        "HiDream-O1",
        64,
        also={"text_input_ids": (1, 6)},
    ),
    "wan21": Family("WAN21_T2V", _WAN, "Wan 2.1, 2.2 text to video", video=True),
    "wan22": Family("WAN22_T2V", {**_WAN, "in_dim": 48, "out_dim": 48}, "Wan 2.2 5B", video=True),
    "hunyuan_video": Family("HunyuanVideo", _HUNYUAN, "HunyuanVideo", video=True),
    "cosmos": Family(
        "CosmosT2V",
        {
            "max_img_h": 240,
            "max_img_w": 240,
            "max_frames": 128,
            "in_channels": 16,
            "out_channels": 16,
            "patch_spatial": 2,
            "patch_temporal": 1,
            "model_channels": 64,
            "num_blocks": 1,
            "num_heads": 2,
            "mlp_ratio": 2.0,
            "block_x_format": "THWBD",
            "crossattn_emb_channels": 16,
            "pos_emb_cls": "rope3d",
            "pos_emb_learnable": True,
            "use_adaln_lora": True,
            "adaln_lora_dim": 8,
            "extra_per_block_abs_pos_emb": True,
            "extra_per_block_abs_pos_emb_type": "learnable",
        },
        "Cosmos 1",
        video=True,
    ),
}

# Classes of the host's list whose network and noise are those of a family above; only sizes differ.
LIKE = {
    "SD20": "sd15_v",
    "SSD1B": "sdxl",
    "KOALA_700M": "sdxl",
    "KOALA_1B": "sdxl",
    "Segmind_Vega": "sdxl",
    "SDXLRefiner": "sdxl",
    "PixArtAlpha": "pixart",
    "HunyuanDiT1": "hydit",
    "HunyuanImage21Refiner": "hunyuan_image",
    "CosmosI2VPredict2": "cosmos_predict2",
    "CosmosI2V": "cosmos",
    "HunyuanVideo15": "hunyuan_video",
    "HunyuanVideo15_SR_Distilled": "hunyuan_video",
    "HunyuanVideoI2V": "hunyuan_video",
    "HunyuanVideoSkyreelsI2V": "hunyuan_video",
    "Kandinsky5": "kandinsky5",
    **dict.fromkeys(
        (
            *("WAN21_CausalAR_T2V", "WAN21_I2V", "WAN21_FunControl2V", "WAN21_Vace", "WAN21_Camera", "WAN22_Camera"),
            *("WAN22_S2V", "WAN21_HuMo", "WAN22_Animate", "WAN21_SCAIL", "WAN21_SCAIL2", "WAN22_WanDancer"),
        ),
        "wan21",
    ),
}

# Why the others have no tiny model.
OWN_INPUTS = "needs inputs of its own at every step (a picture, a mask or a camera)"
NO_MAP = "video; not tried, its autoencoder has no public small form"
OTHERS = {
    **dict.fromkeys(
        (
            *("Stable_Zero123", "SD15_instructpix2pix", "SDXL_instructpix2pix", "SD_X4Upscaler", "FluxInpaint"),
            *("SD21UnclipL", "SD21UnclipH", "Stable_Cascade_C", "Stable_Cascade_B", "PiD"),
        ),
        OWN_INPUTS,
    ),
    **dict.fromkeys(("GenmoMochi", "LTXV", "CogVideoX_T2V", "CogVideoX_I2V", "CogVideoX_Inpaint"), NO_MAP),
    **dict.fromkeys(("StableAudio", "StableAudio3", "ACEStep", "ACEStep15"), "makes sound: refused by name"),
    **dict.fromkeys(
        ("Hunyuan3Dv2", "Hunyuan3Dv2_1", "Hunyuan3Dv2mini", "TripoSplat"), "makes 3D shapes: refused by name"
    ),
    **dict.fromkeys(("LTXAV", "MiniMaxH3"), "makes video with sound: refused by name"),
    **dict.fromkeys(("SVD_img2vid", "SV3D_u", "SV3D_p"), "makes frames as a batch: refused by name"),
    **dict.fromkeys(("RT_DETR_v4", "DepthAnything3", "SAM3", "SAM31", "SeedVR2"), "no picture from noise: refused"),
    "LotusD": "predicts without noise: refused by name",
    "WAN21_FlowRVS": "predicts without noise: refused by name",
}

# What the host's own templates sample a family with, where they have one.
STARTS = {  # read in comfyui_workflow_templates 0.11
    "sd15": "20 to 30 steps, CFG 7, euler or dpmpp_2m, normal",
    "sdxl": "20 to 30 steps, CFG 6 to 8, euler or dpmpp_2m, normal",
    "sd3": "20 to 30 steps, CFG 4 to 4.5, euler, sgm_uniform",
    "zimage": "8 steps, CFG 1 (Turbo); 25 steps, CFG 4 (base); res_multistep, simple",
    "krea2": "8 steps, CFG 1 (Turbo), euler, simple",
    "qwen_image": "20 to 50 steps, CFG 2.5 to 4; 4 or 8 steps, CFG 1 with a Lightning LoRA; euler, simple",
    "flux2": "4 steps, CFG 1 (Klein distilled); 20 steps, CFG 5 (Klein base); 20 steps, guidance 4 (dev); euler",
    "anima": "30 steps, CFG 4, euler or er_sde, simple",
    "flux": "20 steps, CFG 1, guidance 3.5 (Kontext 2.5), euler, simple",
    "schnell": "4 steps, CFG 1, euler, simple",
    "boogu": "25 steps, dpmpp_2m, simple; 4 steps, CFG 1, lcm, sgm_uniform (Turbo)",
    "chroma": "26 steps, CFG 3.5, euler, beta",
    "radiance": "CFG 3.5, euler",
    "lumina2": "20 to 30 steps, CFG 4 to 5.5, res_multistep, simple",
    "longcat": "20 steps, CFG 4, guidance 4, euler, simple",
    "joyimage": "40 steps, CFG 4, euler, normal",
    "mage_flow": "30 steps, CFG 5; 4 steps, CFG 1 (Turbo); euler, simple",
    "lens": "20 steps; 4 steps (Turbo); euler, simple",
    "ernie": "20 steps, CFG 4; 8 steps, CFG 1 (Turbo); euler, simple",
    "omnigen2": "20 steps, euler, simple",
    "hidream": "50 steps, CFG 5, uni_pc (full); 28 steps, CFG 1, lcm (dev)",
    "hidream_o1": "40 steps, dpmpp_2m_sde, normal",
    "kandinsky5": "50 steps, CFG 3.5, euler, simple",
    "pixeldit": "30 steps, CFG 4, er_sde, simple",
    "wan21": "20 steps, CFG 6, uni_pc, simple",
}
