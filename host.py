"""The only file that uses names of ComfyUI (0.30.0) which are not clearly public.

tests/host/test_host_names.py reads this file and checks every host name in it against the host.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import comfy.conds
import comfy.latent_formats
import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.model
import comfy.ldm.modules.diffusionmodules.openaimodel
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.ops
import comfy.patcher_extension
import comfy.samplers
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import comfy.taesd.taesd
import comfy.utils
import comfy.weight_adapter
import folder_paths
import torch
from comfy_api.latest import io, ui
from server import PromptServer
from torch import Tensor

from . import files
from .networks.frozen import Frozen, ordinary
from .networks.schedules import LINEAR
from .networks.schedules import sigmas as schedule_sigmas

PACK = Path(__file__).parent
DTYPES = [torch.float16, torch.bfloat16, torch.float32]  # what pixel networks run in, in the host's order of preference
CLASS_KEY = "sketch_class"  # the CONDITIONING key of a class number
VARIANCE = "sketch_variance"  # in transformer_options: a function that gets the learned variances of each call


# --- pixel priors as MODEL and VAE ------------------------------------------------------------------------------------


class PixelSpace(comfy.latent_formats.LatentFormat):
    """A LATENT that is the picture itself: 3 channels in [-1, 1], one latent pixel per pixel."""

    latent_channels = 3
    spacial_downscale_ratio = 1

    def __init__(self) -> None:
        self.latent_rgb_factors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


class PixelConfig(comfy.supported_models_base.BASE):
    """What BaseModel expects of a configuration. The host calls DDPM's and ADM's linear schedule "sqrt_linear"."""

    latent_format = PixelSpace
    sampling_settings = {  # noqa: RUF012 - declared so by BASE
        "beta_schedule": "sqrt_linear",
        "linear_start": 1e-4,
        "linear_end": 0.02,
        "timesteps": 1000,
    }


class PixelNetwork(torch.nn.Module):
    """A network of ours under the host's calling convention: eps only, ignores text and ControlNets.

    A function under VARIANCE in transformer_options gets channels 3 to 5, the learned variances, and what its rows are
    (cond_or_uncond). time_scale: what the network's own time is, times the index of the level.
    """

    def __init__(self, network: torch.nn.Module, dtype: torch.dtype, time_scale: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.time_scale = time_scale

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, **options: Any) -> Tensor:
        out = self.network(x, t if self.time_scale == 1 else t * self.time_scale, y)
        told = options.get("transformer_options", {})
        if VARIANCE in told and out.shape[1] == 6:
            told[VARIANCE](out[:, 3:].detach().float(), list(told.get("cond_or_uncond", [0])))
        return out[:, :3]


class FractionalLevels(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """The native levels, with fractional time labels between them, which DPM-Solver++ (arXiv 2211.01095) needs.

    The host rounds a sigma to the nearest level, which is up to half a label off. Native levels stay whole numbers.
    clip: predictions are cut to [-1, 1], as guided diffusion's clip_denoised does.
    """

    clip = False

    def calculate_denoised(self, sigma: Tensor, model_output: Tensor, model_input: Tensor) -> Tensor:
        denoised = super().calculate_denoised(sigma, model_output, model_input)
        return denoised.clamp(-1, 1) if self.clip else denoised

    def percent_to_sigma(self, percent: float) -> float:
        """As the host's, for any number of levels."""
        if len(self.sigmas) == 1000 or not 0 < percent < 1:
            return super().percent_to_sigma(percent)
        return self.sigma(torch.tensor((1 - percent) * (len(self.sigmas) - 1))).item()

    def timestep(self, sigma: Tensor) -> Tensor:
        # on the CPU: Apple's GPUs have no float64. Linear in log alpha, -log(1 + sigma^2) / 2
        bent, table = (0.5 * torch.log1p(level.double().cpu() ** 2) for level in (sigma, self.sigmas))
        after = torch.searchsorted(table, bent).clamp(1, len(table) - 1)
        share = (bent - table[after - 1]) / (table[after] - table[after - 1])
        return (after - 1 + share).clamp(0, len(table) - 1).float().to(sigma.device)


class OwnModel(comfy.model_base.BaseModel):
    """A model of this pack."""

    def process_latent_in(self, latent: Tensor) -> Tensor:
        """ValueError: a latent of another model. The host calls this for every latent before it samples."""
        _check_channels(latent, self.latent_format)
        return super().process_latent_in(latent)


class PixelPrior(OwnModel):
    """A pixel-space eps model. network: from networks.build.

    ladder: what it was trained with, as keywords: noise_schedule and diffusion_steps (networks.schedules; the linear
    one of 1000 by default), rescale_timesteps (its time runs to 1000 whatever the steps), clip_denoised.
    """

    def __init__(
        self,
        network: Any,
        *,
        noise_schedule: str = LINEAR,
        diffusion_steps: int = 1000,
        rescale_timesteps: bool = False,
        clip_denoised: bool = False,
    ) -> None:
        dtype = next(network.parameters()).dtype
        config = PixelConfig({"disable_unet_model_creation": True})
        config.set_inference_dtype(dtype, _compute_dtype(dtype))
        super().__init__(config, comfy.model_base.ModelType.EPS)
        self.model_sampling = FractionalLevels(config)
        self.model_sampling.clip = clip_denoised
        if (noise_schedule, diffusion_steps) != (LINEAR, 1000):
            self.model_sampling.set_sigmas(schedule_sigmas(noise_schedule, diffusion_steps))
            self.model_sampling.num_timesteps = diffusion_steps
        time_scale = 1000 / diffusion_steps if rescale_timesteps else 1.0
        self.diffusion_model = PixelNetwork(network, dtype, time_scale)
        comfy.model_management.archive_model_dtypes(self.diffusion_model)
        self.num_classes: int | None = network.num_classes
        # Peak of live activations, counted from the CPU allocator's events during one forward (torch.profiler with
        # profile_memory): 10.0 (AFHQ 256) to 15.6 (channel_mult 1,2,3,4) values per pixel and model channel, the same
        # at 64, 128 and 256 px. The host's unit is 0.01 MiB per pixel and byte of dtype.
        self.memory_usage_factor = 16 * network.model_channels / (0.01 * 1024 * 1024)

    def memory_required(self, input_shape: list[int], cond_shapes: Mapping[str, Any] | None = None) -> float:
        """Bytes for one call. Always the host's formula for torch's attention, because our networks use that."""
        area = input_shape[0] * math.prod(input_shape[2:])
        size = comfy.model_management.dtype_size(self.get_dtype_inference())
        return area * size * 0.01 * self.memory_usage_factor * 1024 * 1024

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """The class number, if the network has classes. Text in the CONDITIONING is ignored, and the node says so."""
        label, words = kwargs.get(CLASS_KEY), kwargs.get("cross_attn")
        if words is not None and words.shape[-1] > 1 and words.any():  # zeroed ones are no prompt
            say_where_it_runs(
                "A pixel prior has no words, so the prompt has no effect. Connect Pixel Prior Label to positive and "
                "negative, or use a text-to-image model."
            )
        if self.num_classes is None:
            if label is not None:
                raise ValueError(
                    f"This pixel prior has no classes, got class {label}. Set class_id of Pixel Prior Label to -1."
                )
            return {}
        choices = f"0 to {self.num_classes - 1}"
        if label is None:
            raise ValueError(
                f"This pixel prior paints one of {self.num_classes} classes. Connect Pixel Prior Label with a class_id "
                f"of {choices} to both positive and negative."
            )
        labels = list(label) if isinstance(label, (list, tuple)) else [label]
        for one in labels:
            if not 0 <= one < self.num_classes:
                raise ValueError(f"Class {one} does not exist in this pixel prior. Choose a class_id of {choices}.")
        return {"y": comfy.conds.CONDRegular(torch.tensor(labels, device=kwargs["device"]))}


def pixel_settings(weights: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> dict[str, Any]:
    """`ops` and `dtype` for networks.build, chosen as the host chooses for its own diffusion models (dtype None)."""
    if dtype is None:
        dtype = comfy.model_management.unet_dtype(
            model_params=comfy.utils.calculate_parameters(weights),
            supported_dtypes=DTYPES,
            weight_dtype=comfy.utils.weight_dtype(weights),
        )
    return {"ops": comfy.ops.pick_operations(dtype, _compute_dtype(dtype)), "dtype": dtype}


def _compute_dtype(dtype: Any) -> torch.dtype | None:
    """What weights of this dtype are cast to for computing on this machine; None: nothing."""
    return comfy.model_management.unet_manual_cast(dtype, comfy.model_management.get_torch_device(), DTYPES)


def pixel_model(
    network: Any,
    *,
    reload: tuple[Callable, tuple] | tuple[Callable, tuple, int] | None = None,
    disable_dynamic: bool = False,
    **ladder: Any,
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL from a network of ours, built with the `ops` and `dtype` of pixel_settings. ladder: see PixelPrior.

    reload: (factory, arguments[, index]) that makes the same MODEL again (at that index of what it returns) and takes
    `disable_dynamic`; the host needs it for hooks, torch.compile and several GPUs.
    """
    device, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    patcher = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    model = patcher(PixelPrior(network, **ladder).to(offload), load_device=device, offload_device=offload)
    model.cached_patcher_init = reload
    return model


NETWORK_OPS = comfy.ops.disable_weight_init  # layers of networks beside the MODEL, for networks.build


def network_patcher(network: torch.nn.Module) -> comfy.model_patcher.ModelPatcher:
    """A network beside the MODEL (an extractor, a feature network) under the host's memory management."""
    device, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    return comfy.model_patcher.CoreModelPatcher(network.to(offload), load_device=device, offload_device=offload)


def make_room(device: torch.device, size: float) -> None:
    """Has the host unload models until `size` bytes are free on the device; for work outside of a sampler."""
    comfy.model_management.free_memory(size, device)


def pixel_vae() -> comfy.sd.VAE:
    """The host's pixel-space VAE in float32. Left alone it takes bfloat16 on GPUs, which keeps no more than 8 bits.

    Decoding lifts values by 4e-6: SaveImage cuts the fraction off, and (2v - 1 + 1) / 2 falls below v for 63 of the 256
    grey values, which would come back one darker. With it, pixels that a mask keeps are the same in the saved file.
    """
    vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
    vae.process_output = lambda image: image.add_(1.0).div_(2.0).add_(4e-6).clamp_(0.0, 1.0)
    return vae


# --- the built-in text-conditioned models -----------------------------------------------------------------------------


class _Listening:
    """A model of the text starters: ComfyUI's own, which says in words what is wired wrongly."""

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """ValueError: the label of a pixel prior."""
        _check_words(kwargs.get("cross_attn"))
        return super().extra_conds(**kwargs)  # pyright: ignore[reportAttributeAccessIssue]


class TextModel(_Listening, OwnModel):
    """The UNet on Stable Diffusion's noise levels."""


class FlowModel(_Listening, OwnModel, comfy.model_base.Lumina2):
    """The transformer of joint attention, a flow model."""


class TextConfig(comfy.supported_models_base.BASE):
    """A small network of one of the host's own classes: a UNet on Stable Diffusion's noise levels, which are the host's
    default, or a transformer on those of flow models."""

    unet_extra_config: dict = {}  # noqa: RUF012 - declared so by BASE; the file states every argument

    def __init__(self, notes: Mapping[str, Any]) -> None:
        self.flow = "transformer" in notes
        super().__init__(notes["transformer" if self.flow else "unet"])
        self.memory_usage_factor = 0.12 if self.flow else 0.25  # Lumina 2 is 9 times as wide and has 1.4; SD1.5 5, 1
        if self.flow:
            self.sampling_settings |= {"multiplier": 1.0, "shift": notes["shift"]}
        for name in ("scale_factor", "latent_rgb_factors", "latent_rgb_factors_bias"):
            setattr(self.latent_format, name, notes[name])

    def get_model(self, state_dict: Any, prefix: str = "", device: Any = None) -> TextModel | FlowModel:
        if self.flow:
            return FlowModel(self, device=device)
        return TextModel(self, model_type=self.model_type(state_dict, prefix), device=device)


def text_models(text: str, vae: str, disable_dynamic: bool = False) -> tuple[Any, comfy.sd.CLIP, comfy.sd.VAE]:
    """MODEL, CLIP and VAE from the files that starter/training/text.py or flow.py, and vae.py, write."""
    from .networks.text import END, PAD, START, TextEncoder, Words

    weights, metadata = read_weights(text)
    notes = {key: json.loads(note) for key, note in metadata.items() if note[0] in "[{0123456789"}
    config = TextConfig(notes)
    parts = ("transformer." if config.flow else "unet.", "text.")
    unet, encoder = ({k[len(part) :]: v for k, v in weights.items() if k.startswith(part)} for part in parts)
    shape = {"vocabulary": len(encoder["embed.weight"]), **notes["text"]}
    known = DTYPES[1:] if config.flow else DTYPES  # as the host's own Lumina 2, which overflows in float16
    dtype = comfy.model_management.unet_dtype(supported_dtypes=known, weight_dtype=comfy.utils.weight_dtype(unet))
    config.set_inference_dtype(dtype, _compute_dtype(dtype))
    device, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    patcher = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    model = patcher(config.get_model(unet).to(offload), load_device=device, offload_device=offload)
    model.model.load_model_weights(unet, assign=model.is_dynamic())

    settings = {"max_length": shape["window"], "embedding_size": shape["width"], "embedding_key": "starter"}
    settings |= {"tokenizer_class": Words, "tokenizer_args": {"words": notes["words"]}, "pad_token": PAD}
    settings["tokenizer_args"]["tell"] = say_where_it_runs
    tokenizer = partial(comfy.sd1_clip.SDTokenizer, "", **settings)
    network = partial(
        comfy.sd1_clip.SDClipModel,
        max_length=shape["window"],
        textmodel_json_config=shape,
        model_class=lambda config, dtype, device, ops: TextEncoder(**config, ops=ops, dtype=dtype, device=device),
        special_tokens={"start": START, "end": END, "pad": PAD},
    )
    target = comfy.supported_models_base.ClipTarget(
        partial(comfy.sd1_clip.SD1Tokenizer, tokenizer=tokenizer, name="starter"),
        partial(comfy.sd1_clip.SD1ClipModel, clip_model=network, name="starter"),
    )
    clip = comfy.sd.CLIP(target, state_dict=[encoder], disable_dynamic=disable_dynamic)
    decoder = comfy.sd.VAE(sd=read_weights(vae)[0])
    for i, part in enumerate((model, clip.patcher, decoder.patcher)):
        part.cached_patcher_init = (_text_patchers, (text, vae), i)
    return model, clip, decoder


def _text_patchers(text: str, vae: str, disable_dynamic: bool = False) -> list[Any]:
    model, clip, decoder = text_models(text, vae, disable_dynamic)
    return [model, clip.patcher, decoder.patcher]


def upscaler(path: str) -> Any:
    """UPSCALE_MODEL from a file, as the host's Load Upscale Model gives it: spandrel knows the layout by its keys."""
    from spandrel import ModelLoader

    found: Any = ModelLoader().load_from_state_dict(read_weights(path)[0]).eval()
    device, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    found.patcher = comfy.model_patcher.CoreModelPatcher(found.model, load_device=device, offload_device=offload)
    return found


def unknown_tokens(clip: comfy.sd.CLIP) -> frozenset[int]:
    """The tokens for words that a CLIP does not know. Stable Diffusion's is never used: it spells out every word."""
    parts = [part for part in vars(clip.tokenizer).values() if isinstance(part, comfy.sd1_clip.SDTokenizer)]
    known = [getattr(part.tokenizer, "unk_token_id", None) for part in parts]
    return frozenset(token for token in known if token is not None)


# --- the noise of any MODEL -------------------------------------------------------------------------------------------


class NoiseFamily(NamedTuple):
    """How a MODEL measures noise.

    discrete and edm: a sample is x0 + sigma * noise. flow: (1 - sigma) * x0 + sigma * noise_scale * noise.
    """

    kind: str  # "discrete", "edm" or "flow"
    sigmas: Tensor  # the model's own levels, ascending, float32, on the CPU
    sigma_data: float  # standard deviation of clean samples that the model assumes; 1 for flow
    noise_scale: float = 1.0  # of flows: 1 but for HiDream-O1, whose noise is 8 times as strong


def noise_family(model: Any) -> NoiseFamily:
    """The family a MODEL's noise belongs to, including model-sampling patches on the MODEL.

    ValueError: a family whose noise levels mean something else; names its classes.
    """
    return sampling_family(model.get_model_object("model_sampling"))


def sampling_family(sampling: Any) -> NoiseFamily:
    """noise_family of a model_sampling object, as a model has it while it samples."""
    kind = _noise_kind(sampling)
    if kind is not None:
        sigma_data = 1.0 if kind == "flow" else float(sampling.sigma_data)
        scale = float(getattr(sampling, "noise_scale", 1.0)) if kind == "flow" else 1.0
        return NoiseFamily(kind, sampling.sigmas.float().cpu(), sigma_data, scale)
    names = [base.__name__ for base in type(sampling).__mro__[1:-1] if base is not torch.nn.Module]
    raise ValueError(
        f"This MODEL's noise ({', '.join(names)}) is not supported by the sketch nodes. Supported are eps, v, EDM and "
        "flow models such as SD1.5, SDXL, SD3, Flux and the pixel priors."
    )


def _noise_kind(sampling: Any) -> str | None:
    """The kind; None where the samples between noise and picture are others than NoiseFamily says.

    Such predictions may derive from the host's eps and flow classes (image to image does), so what derives from eps
    counts only if it noises and scales as eps does, and of flows only the class itself.
    """
    known = comfy.model_sampling
    if isinstance(sampling, known.CONST):
        flow = isinstance(sampling, (known.ModelSamplingDiscreteFlow, known.ModelSamplingFlux))
        return "flow" if flow and not _predictions(sampling, known.CONST) else None
    if isinstance(sampling, known.COSMOS_RFLOW):  # a flow inside; its samples are x0 + sigma * noise
        return "edm" if isinstance(sampling, known.ModelSamplingContinuousEDM) else None
    if isinstance(sampling, known.EPS):
        if any(name in vars(other) for other in _predictions(sampling, known.EPS) for name in NOISING):
            return None
        if isinstance(sampling, known.ModelSamplingContinuousEDM):
            return "edm"
        if isinstance(sampling, known.ModelSamplingDiscrete):
            return "discrete"
    return None


NOISING = ("calculate_input", "noise_scaling", "inverse_noise_scaling")


def _predictions(sampling: Any, base: type) -> list[type]:
    """The classes derived from `base` that say what this object's network predicts. Its own class is a network too."""
    found = [one for one in type(sampling).__mro__ if issubclass(one, base) and one is not base]
    return [one for one in found if not issubclass(one, torch.nn.Module)]


ANCESTRAL = ("sample_ddpm", "sample_euler_ancestral")  # k-diffusion functions whose steps are ancestral


# --- patches on a MODEL that need more than one call of it ------------------------------------------------------------


def wrap_sampling(model: comfy.model_patcher.ModelPatcher, key: str, wrapper: Callable) -> None:
    """Puts wrapper(executor, *arguments of SAMPLER.sample) around every sampling run of this MODEL."""
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.SAMPLER_SAMPLE, key, wrapper)


def reserve(model: comfy.model_patcher.ModelPatcher, key: str, needed: Callable[[list[int]], float]) -> None:
    """Has the host keep at least needed(latent shape) bytes free for each step of this MODEL.

    The host estimates a run from the shape of its noise, so a call that needs more pretends to a larger batch.
    """

    def prepare(execute, model, shape, conds, **settings):
        own = model.model.memory_required([2 * shape[0], *shape[1:]])
        times = max(1, math.ceil(needed(list(shape)) / max(own, 1)))
        return execute(model, [shape[0] * times, *shape[1:]], conds, **settings)

    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING, key, prepare)


def differentiable(base: Any, device: torch.device) -> Callable[[Tensor, Mapping[str, Any]], Tensor]:
    """predict(x, arguments) -> the prediction after CFG, differentiable in x: what the host computed for these
    arguments of a post-CFG function, once more, with copies of the model's weights.

    base: the BaseModel that is being sampled. Call it and its backward pass inside `differentiating`. CFG's plain
    formula; functions that other nodes put in its place are not asked. The blocks of our own networks and of the host's
    transformers are computed again in the backward pass.
    """
    weights, call = _changeable(base).prepare_changeable(device)
    return lambda x, arguments: _asked(call, weights, x, arguments)


def _changeable(base: Any) -> Frozen:
    from .networks.adm import Block  # imported lazily: few sessions go through the model

    blocks = (Block, comfy.ldm.modules.attention.BasicTransformerBlock)
    return Frozen(SimpleNamespace(model=base), _predicted, ("diffusion_model.",), None, blocks)


def _asked(call: Callable[..., Tensor], weights: dict[str, Tensor], x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
    conds = [arguments["cond"], arguments["uncond"]]
    return call(weights, x, ordinary(arguments["sigma"]), conds, arguments["cond_scale"], arguments["model_options"])


@contextmanager
def differentiating(base: Any) -> Iterator[None]:
    """Inside, the host's layers use operations that have a gradient (its own switch for training), and may change in
    place what autograd keeps, as those of flow models do. base: the BaseModel.

    ValueError: a family some of whose operations have none (the host's fused ones, in Anima and others).
    """
    before = comfy.model_management.in_training
    comfy.model_management.in_training = True
    try:
        with torch.autograd.graph.allow_mutation_on_saved_tensors():
            yield
    except RuntimeError as error:
        if "no autograd formula" not in str(error):
            raise
        raise ValueError(
            f"{type(base).__name__} models have layers without a gradient in this ComfyUI, so nothing can be steered "
            "or trained through them. Set point to 'denoised', or use another model."
        ) from error
    finally:
        comfy.model_management.in_training = before


def _predicted(base: Any, x: Tensor, sigma: Tensor, conds: list, scale: float, options: dict[str, Any]) -> Tensor:
    wanted, unwanted = comfy.samplers.calc_cond_batch(base, conds, x, sigma, options)
    return wanted if conds[1] is None else unwanted + (wanted - unwanted) * scale


class Tuning(torch.nn.Module):
    """A LoRA in training on a BaseModel: one of the host's own weight adapters for every matrix and filter of the
    diffusion model, which are together its parameters.

    rank: 1 to the smallest side of each weight. seed: of the adapters' first halves; their others begin at zero, so the
    model begins as it is.
    """

    def __init__(self, base: Any, device: torch.device, rank: int, seed: int) -> None:
        super().__init__()
        self._weights, self._call = _changeable(base).prepare_changeable(device)
        kind = comfy.weight_adapter.adapter_maps["LoRA"]
        own = [name for name, _ in (*base.named_parameters(), *base.named_buffers())]
        own = [name for name in own if name.startswith("diffusion_model.")]
        # the file's names: blocks that are computed again carry a longer name inside
        self._told = dict(zip(self._weights, own, strict=True))
        self._names = [name for name, value in self._weights.items() if value.ndim > 1 and name.endswith(".weight")]
        adapters = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name in self._names:
                value = self._weights[name]
                small = min(rank, value.shape[0], value[0].numel())
                adapters.append(kind.create_train(value.cpu(), rank=small, alpha=float(small)).to(device))
        self.adapters = torch.nn.ModuleList(adapters)

    def changed(self) -> dict[str, Tensor]:
        """The diffusion model's weights with the adapters' share, differentiable in them."""
        tuned = {name: adapter(self._weights[name]) for name, adapter in zip(self._names, self.adapters, strict=True)}
        return {**self._weights, **tuned}

    def predict(self, weights: dict[str, Tensor], x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        """The prediction after CFG with `weights`, from `changed`; arguments as for `differentiable`."""
        return _asked(self._call, weights, x, arguments)

    def file(self) -> dict[str, Tensor]:
        """What a LoRA file holds, under names that the host's loader knows."""
        found: dict[str, Tensor] = {}
        for name, adapter in zip(self._names, self.adapters, strict=True):
            whole = self._told[name].removesuffix(".weight")
            for part in ("lora_up.weight", "lora_down.weight", "alpha"):
                found[f"{whole}.{part}"] = adapter.get_parameter(part).detach().clone()
        return found


def with_lora(model: Any, weights: Mapping[str, Tensor]) -> Any:
    """A clone of a MODEL with a LoRA at strength 1."""
    return comfy.sd.load_lora_for_models(model, None, dict(weights), 1.0, 0.0)[0]


def gradient_memory(model: Any) -> Callable[[list[int]], float]:
    """(latent shape) -> bytes for a prediction that is differentiated: a copy of the weights, and what its backward
    pass keeps, about three times a plain call (counted on the starter prior: 2.6)."""
    return lambda shape: model.model_size() + 3 * model.model.memory_required([2 * shape[0], *shape[1:]])


def wrap_prompts(
    model: comfy.model_patcher.ModelPatcher, key: str, prompts: Callable, network: Callable, whole: bool = False
) -> bool:
    """Puts `prompts` around every evaluation of a MODEL's prompts and `network` around every call of its network, once.

    prompts(executor, model, conds, x, sigma, model_options) sees each prompt's own dictionary with its uuid;
    network(executor, x, t, context, y, control, transformer_options, ...) sees the uuids of its rows. whole: `network`
    goes around the whole model instead, as (executor, x, sigma, concat, context, control, transformer_options, ...),
    because not every family's network lets itself be wrapped. False: they were there already.
    """
    kinds = comfy.patcher_extension.WrappersMP
    if model.get_wrappers(kinds.CALC_COND_BATCH, key):
        return False
    model.add_wrapper_with_key(kinds.CALC_COND_BATCH, key, prompts)
    model.add_wrapper_with_key(kinds.APPLY_MODEL if whole else kinds.DIFFUSION_MODEL, key, network)
    return True


def prompts_of(guider: Any) -> list[dict[str, Any]]:
    """The dictionaries of all prompts, positive and negative, that a guider samples with."""
    return [prompt for prompts in guider.conds.values() for prompt in prompts or []]


def wants_pooled(model: Any) -> bool:
    """Whether a MODEL cannot run without a prompt's pooled output."""
    return isinstance(model.model, (comfy.model_base.SDXL, comfy.model_base.SDXLRefiner))


def prompt_widths(model: Any) -> tuple[int | None, int | None]:
    """The width of the text vectors that a MODEL reads, and of the pooled output; None where it is not known, or the
    MODEL reads any."""
    config, base = getattr(model.model.model_config, "unet_config", {}), comfy.model_base
    if type(model.model) is base.Flux:  # what derives from it may read its text otherwise
        return config.get("context_in_dim"), config.get("vec_in_dim")
    if type(model.model) is base.SD3:
        reads = (config.get("context_embedder_config") or {}).get("params", {})
        return reads.get("in_features"), config.get("adm_in_channels")
    network = model.get_model_object("diffusion_model")
    if not isinstance(network, comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel):
        return None, None
    sizes = next((count for kind, count in ((base.SDXL, 6), (base.SDXLRefiner, 5)) if isinstance(model.model, kind)), 0)
    both = config.get("adm_in_channels") if sizes else None  # the pooled output and 256 for each size or score
    text = config.get("context_dim")
    return text if isinstance(text, int) else None, both - 256 * sizes if both else None


def check_prompt(model: Any, context: Any, values: Mapping[str, Any], what: str = "conditioning") -> None:
    """ValueError: text vectors [B, tokens, width] or a pooled output [B, width] that do not fit this MODEL, are empty,
    or hold NaN or infinite values."""
    for name, given, rank, wide in zip(
        ("text vectors", "a pooled output"),
        (context, values.get("pooled_output")),
        (3, 2),
        prompt_widths(model),
        strict=True,
    ):
        if not isinstance(given, Tensor):
            continue
        if given.numel() == 0 or not given.isfinite().all():
            held = "no numbers" if given.numel() == 0 else "NaN or infinite values"
            raise ValueError(f"{what} has {name} with {held}. Encode the prompt again, or fix what made it.")
        if wide is None:
            continue
        if given.ndim != rank or given.shape[-1] != wide:
            raise ValueError(
                f"{what} has {name} of the shape {list(given.shape)}, but this model reads a width of {wide}. Encode "
                "the prompt with this model's own CLIP."
            )


def check_run(guider: Any, samples: Tensor) -> None:
    """ValueError: the samples or a prompt of this run were made for another MODEL than the one it samples with.

    samples: of the latent's shape; the noise will do. Torch would fail on these in words of its own.
    """
    model = guider.model_patcher
    check_latent(model, samples)
    reads_words = not is_pixels(model)
    for side, prompts in getattr(guider, "conds", {}).items():
        if side == "negative" and getattr(guider, "cfg", 0.0) == 1.0:
            continue  # not used at CFG 1, so anything may be connected there
        for prompt in prompts or []:
            if reads_words:
                _check_words(prompt.get("cross_attn"))
            check_prompt(model, prompt.get("cross_attn"), prompt, f"{side} conditioning")


def prompts_differ(guider: Any) -> bool:
    """Whether a run's pictures have prompts, labels or control pictures of their own, so that none may leave the
    batch."""

    def differ(rows: Any) -> bool:
        return isinstance(rows, Tensor) and len(rows) > 1 and bool((rows != rows[:1]).any())

    for prompt in (one for prompts in guider.conds.values() for one in prompts or []):
        found = [getattr(part, "cond", None) for part in prompt.get("model_conds", {}).values()]
        control = prompt.get("control")
        while control is not None:
            found.append(getattr(control, "cond_hint_original", None))
            control = getattr(control, "previous_controlnet", None)
        if any(map(differ, found)):
            return True
    return False


TEXT_FIRST, IMAGE_FIRST, IMAGE_LAST, CROSS = "text, image", "image, text", "text, others, image", "cross-attention"


class TokenLayout(NamedTuple):
    """Where words and pixels stand among the tokens of a transformer's attention.

    order: TEXT_FIRST (the words, the image's tokens, then those of reference pictures), IMAGE_FIRST, IMAGE_LAST, or
    CROSS, where pixels look at words only. patch: side of an image token in latent pixels. before: tokens of the
    model's own before the words. multiple: words and image are each filled up to a multiple of this.
    """

    order: str
    patch: int
    before: int = 0
    multiple: int = 1


# order and patch (None: the network says it) by the class of comfy.model_base, first its own, then its bases
_LAYOUTS: dict[str, tuple[str, int | None]] = {
    **dict.fromkeys(("SD3", "Flux", "Lumina2", "QwenImage", "Krea2", "AuraFlow"), (TEXT_FIRST, None)),
    **dict.fromkeys(("Ideogram4", "MageFlow"), (TEXT_FIRST, 1)),
    "Lens": (IMAGE_FIRST, 1),
    "JoyImage": (IMAGE_FIRST, None),
    "Omnigen2": (IMAGE_LAST, None),
    **dict.fromkeys(("CosmosPredict2", "Anima", "WAN21"), (CROSS, None)),
}
_REGISTERS = {"AuraFlow": 8}
_WITHOUT = {
    **dict.fromkeys(("ErnieImage", "PixArt", "HunyuanDiT"), "tell their attention nothing that a patch could use"),
    **dict.fromkeys(("HunyuanVideo", "HunyuanImage21"), "mix all words with each other before pixels see them"),
    "Kandinsky5": "mix all words with each other before pixels see them",
    "HiDream": "read the words anew, by several encoders, in every block",
    "HiDreamO1": "read words and pixels in one sequence, from left to right",
    "PixelDiTT2I": "cut every prompt to a fixed number of words",
}


def token_layout(model: Any) -> TokenLayout | None:
    """How a MODEL's attention holds words and pixels; None for a UNet with cross-attention, which has its own way.

    ValueError: a family on which regions with words are impossible; names it and says why.
    """
    network = model.get_model_object("diffusion_model")
    if isinstance(network, comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel):
        return None
    names = [base.__name__ for base in type(model.model).__mro__]
    known = next((_LAYOUTS[name] for name in names if name in _LAYOUTS), None)
    if known is None:
        unknown = "have no words" if is_pixels(model) else "hold their words in a way that is not known"
        why = next((_WITHOUT[name] for name in names if name in _WITHOUT), unknown)
        family = type(model.model).__name__
        raise ValueError(
            f"{family} models {why}, so regions with words cannot work on them. Use another model: SD1.5, SDXL, "
            "SD3, Flux, Z-Image, Qwen-Image, Krea 2, Anima and others do."
        )
    order, patch = known
    for attribute in ("patch_size", "patch", "patch_spatial"):
        if patch is None:
            size = getattr(network, attribute, None)
            patch = size[-1] if isinstance(size, (tuple, list)) else size
    before = next((_REGISTERS[name] for name in names if name in _REGISTERS), 0)
    return TokenLayout(order, patch or 1, before, getattr(network, "pad_tokens_multiple", None) or 1)


def words_alone(base: Any, context: Tensor, values: Mapping[str, Any], noise: Tensor) -> Tensor:
    """The text vectors [1, n, width] as a BaseModel's network reads them, from one entry of a CONDITIONING, without the
    empty ones that fill it up. noise: of the run's shape and device."""
    told = {"device": noise.device, "noise": noise, "prompt_type": "positive"}
    told |= {"width": noise.shape[-1] * 8, "height": noise.shape[-2] * 8}
    made = base.extra_conds(**{**told, **values, "cross_attn": context.to(noise.device)})
    words = made["c_crossattn"].cond[:1]
    mask = made["attention_mask"].cond if "attention_mask" in made else None
    filled = words[0].abs().amax(-1) > 0
    if mask is not None and mask.shape[-1] == len(filled):
        filled &= mask.reshape(-1, len(filled))[0] > 0
    return words[:, filled] if filled.any() else words[:, :1]


def with_more_words(model_conds: Mapping[str, Any], more: Tensor, controlled: bool = False) -> dict[str, Any]:
    """A prompt's processed conditions with text vectors [1, n, width] after its own. controlled: a ControlNet, which
    would see all of them everywhere, gets the prompt's own only."""
    own, count = model_conds["c_crossattn"], more.shape[1]
    words = torch.cat([own.cond, more.to(own.cond).expand(len(own.cond), -1, -1)], 1)
    made = {**model_conds, "c_crossattn": comfy.conds.CONDRegular(words)}
    if controlled:
        made.setdefault("crossattn_controlnet", comfy.conds.CONDRegular(own.cond))
    if "attention_mask" in made:
        mask = made["attention_mask"].cond
        filled = (
            torch.zeros if mask.is_floating_point() and mask.max() <= 0 else torch.ones
        )  # added to scores, or 0 and 1
        new = filled(*mask.shape[:-1], count, dtype=mask.dtype, device=mask.device)
        made["attention_mask"] = comfy.conds.CONDRegular(torch.cat([mask, new], -1))
    if "num_tokens" in made:
        made["num_tokens"] = comfy.conds.CONDConstant(made["num_tokens"].cond + count)
    return made


NOT_PICTURES = {
    **dict.fromkeys(("StableAudio1", "StableAudio3", "ACEStep", "ACEStep15"), "sound"),
    **dict.fromkeys(("Hunyuan3Dv2", "Hunyuan3Dv2_1", "TripoSplat"), "3D shapes"),
    **dict.fromkeys(("LTXAV", "MiniMaxH3"), "video with sound"),
    **dict.fromkeys(("SVD_img2vid", "SV3D_u", "SV3D_p"), "video whose frames are a batch"),
    **dict.fromkeys(("RT_DETR_v4", "DepthAnything3", "SAM3", "SeedVR2"), "no pictures from noise"),
}
"""What families of the host's list make that no sketch node can work on, by the names of their classes."""


def check_image_model(model: Any) -> None:
    """ValueError: a MODEL whose noise family is unsupported, or whose latents are not images. Video models are images
    of one frame; check_latent refuses more."""
    names = [base.__name__ for base in type(model.model).__mro__]
    makes = next((NOT_PICTURES[name] for name in names if name in NOT_PICTURES), None)
    dimensions = model.get_model_object("latent_format").latent_dimensions
    if makes is None and dimensions not in (2, 3):
        makes = f"latents of {dimensions} dimension{'s' * (dimensions != 1)}"
    if makes is not None:
        raise ValueError(f"{names[0]} models make {makes}. The sketch nodes work on image models: load one of those.")
    noise_family(model)


def check_vae(model: Any, vae: Any, what: str = "vae") -> None:
    """ValueError: no VAE, one without weights, or one for other latents than this MODEL's."""
    if vae is None or getattr(vae, "first_stage_model", None) is None:
        raise ValueError(
            f"{what} holds no VAE: the checkpoint has none, or its file could not be read. Connect Load VAE with this "
            "model's VAE."
        )
    form = model.get_model_object("latent_format")
    made, wanted = (vae.latent_channels, vae.latent_dim), (form.latent_channels, form.latent_dimensions)
    if made != wanted:
        raise ValueError(
            f"{what} belongs to another model: its latents have {made[0]} channels and {made[1]} dimensions, this "
            f"model's {wanted[0]} and {wanted[1]}. Connect this model's own VAE."
        )


def encode(model: Any, vae: Any, image: Tensor, what: str = "image") -> Tensor:
    """The latent of an IMAGE by this MODEL's VAE. ValueError: as check_vae, or a picture below one latent pixel."""
    check_vae(model, vae)
    smallest = vae.spacial_compression_encode()
    if min(image.shape[1:3]) < smallest:
        raise ValueError(
            f"{what} is {image.shape[2]} x {image.shape[1]} pixels, but this VAE needs {smallest} or more on each "
            "side. Enlarge it."
        )
    if vae.latent_dim == 3:  # left alone, the host makes a batch of pictures the frames of one video
        return torch.cat([vae.encode(one[None]) for one in image])
    return vae.encode(image)


def decode(model: Any, vae: Any, samples: Tensor) -> Tensor:
    """The IMAGE [B, H, W, 3] of a LATENT's samples by this MODEL's VAE. ValueError: as check_vae."""
    check_vae(model, vae)
    image = vae.decode(samples)
    return (image[:, 0] if image.ndim == 5 else image)[..., :3]


def picture_range(vae: Any) -> tuple[float, float]:
    """(scale, shift) from what a VAE's network decodes to a picture in [-1, 1]: (1, 0), but (2, -1) for those video
    autoencoders (TAEHV) that decode to [0, 1]."""
    low, high = (float(vae.process_output(torch.tensor([value]))) for value in (0.25, 0.75))
    scale = (high - low) / 0.5
    return 2 * scale, 2 * (low - 0.25 * scale) - 1


_layers = comfy.ldm.modules.diffusionmodules.model
DECODER_BLOCKS = (_layers.ResnetBlock, _layers.AttnBlock, _layers.Upsample)  # building blocks of the VAEs of SD to Flux
ENCODER_SIDE = {"encoder", "quant_conv", "taesd_encoder"}  # parts of the host's VAEs that decoding does not use


def decoder_side(vae: Any) -> tuple[str, ...]:
    """The names of a VAE's parts that decoding may use: all but ENCODER_SIDE."""
    return tuple(sorted({_part(name) for name, _ in _weights(vae)} - ENCODER_SIDE))


def _weights(vae: Any) -> list[tuple[str, Tensor]]:
    return [*vae.first_stage_model.named_parameters(), *vae.first_stage_model.named_buffers()]


def _part(name: str) -> str:
    return name.partition(".")[0]


def _copied(vaes: list[Any]) -> int:
    """Bytes of a copy of the decoder side of each."""
    return sum(value.nbytes for vae in vaes for name, value in _weights(vae) if _part(name) not in ENCODER_SIDE)


def decoder_memory(vae: Any, recompute: bool = False) -> Callable[[list[int]], float]:
    """(latent shape) -> bytes of a decode and its backward pass, in multiples of the host's estimate of a plain decode.

    Peaks of live tensors, counted from the CPU allocator's events with an SD-shaped decoder: 2.76 with all values
    saved, 1.06 with the DECODER_BLOCKS recomputed, 0.31 for TAESD, which the host takes for a full VAE.
    """
    times = 1.1 if recompute else 2.8
    if isinstance(vae.first_stage_model, comfy.taesd.taesd.TAESD):
        times = 0.35
    return lambda shape: times * shape[0] * vae.memory_used_decode(shape, vae.vae_dtype)


def load_beside(guider: Any, vaes: list[Any], shape: list[int], needed: float) -> None:
    """Loads `vaes` beside the model that `guider` samples latents of this shape with.

    Keeps `needed` bytes free, or what the model's own steps need if that is more, and room for a copy of each decoder.
    Loads all in one call, because a call for a VAE alone may unload the model in the middle of a run.
    """
    own = guider.inner_model.memory_required([2 * shape[0], *shape[1:]])
    together = _together(guider, vaes)
    comfy.model_management.load_models_gpu(together, memory_required=max(own, needed) + _copied(vaes))


def does_not_fit(guider: Any, vaes: list[Any], needed: float) -> bool:
    """Whether `needed` bytes are too many for the device beside what load_beside keeps there: the model of `guider`,
    its ControlNets and the like, the VAEs and the copies of their decoders."""
    loaded = sum(patcher.model_size() for patcher in _together(guider, vaes))
    total = comfy.model_management.get_total_memory(guider.model_patcher.load_device)
    return needed > total - 1.1 * loaded - _copied(vaes)


def _together(guider: Any, vaes: list[Any]) -> list[Any]:
    return [guider.model_patcher, *guider.loaded_models, *(vae.patcher for vae in vaes)]


# --- model files ------------------------------------------------------------------------------------------------------

EXTENSIONS = {".safetensors", ".sft", ".pt", ".pth", ".ckpt"}


def register_model_folder(folder: str) -> None:
    """Adds models/<folder> to the host's model folders; paths from the user's own configuration stay first.

    The extensions are given explicitly, because a folder added by add_model_folder_path alone lists every file.
    """
    folder_paths.add_model_folder_path(folder, os.path.join(folder_paths.models_dir, folder))
    folder_paths.folder_names_and_paths[folder] = (folder_paths.get_folder_paths(folder), set(EXTENSIONS))


def model_files(folder: str) -> list[str]:
    """The names of the files in a model folder, sub-folders included."""
    try:
        return folder_paths.get_filename_list(folder)
    except FileNotFoundError:  # a folder that was listed before is gone, and the host asks when it last changed
        folder_paths.filename_list_cache.pop(folder, None)
        return folder_paths.get_filename_list(folder)


def model_file(role: str, folder: str, name: str) -> str:
    """The full path of a chosen model file. ValueError: not a name, outside the folder, or missing (with its url)."""
    files.check_name(name, "model file")
    if os.path.isabs(name) or ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise ValueError(f"{files.quote(name)} points outside models/{folder}. Choose a file inside that folder.")
    path = folder_paths.get_full_path(folder, name)
    if path is not None:
        return path
    url = next(
        (f["url"] for e in manifest() for f in e["files"] if (f["folder"], f["filename"]) == (folder, name)), None
    )
    advice = "Put it there, or choose another; models_manifest.json in the pack's folder lists files that work."
    if url:
        theirs = PurePosixPath(urlsplit(url).path).name
        rename = "." in theirs and theirs != PurePosixPath(name.replace("\\", "/")).name
        how = f"put it there, and rename {theirs} to {name}." if rename else "save it there under that name."
        advice = f"Download it from {url}{', ' if rename else ' and '}{how}"
    place = f"models/{folder} ({folder_paths.get_folder_paths(folder)[0]})"
    raise ValueError(f"The {role} {files.quote(name)} was not found in {place}. {advice}")


def manifest() -> list[dict[str, Any]]:
    """The entries of models_manifest.json."""
    return json.loads((PACK / "models_manifest.json").read_text(encoding="utf-8"))


def read_weights(path: str) -> tuple[Any, dict[str, str]]:
    """What a model file holds, read by the host's weights_only loader, and its safetensors metadata ({} if none).

    ValueError: damaged, or a pickle with more in it than tensors.
    """
    name = files.quote(os.path.basename(path))
    try:
        with open(path, "rb"):  # the loader calls a missing permission damage
            pass
        with files.numpy_numbers():
            content, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    except PermissionError as error:
        raise ValueError(f"{name} may not be read: ComfyUI's process lacks the permission. Change it.") from error
    except Exception as error:  # every kind of damage has its own exception type
        if isinstance(error, pickle.UnpicklingError) and ("GLOBAL" in str(error) or _is_bare_pickle(path)):
            raise ValueError(
                f"{name} was not loaded: it holds more than tensors, and reading such a file can run code. "
                "Use a .safetensors file, or save the plain state dict where the file was made."
            ) from error
        raise ValueError(
            f"{name} cannot be read: it is damaged, incomplete or not a {os.path.splitext(path)[1]} file. "
            "Download it again."
        ) from error
    return content, metadata or {}


def _is_bare_pickle(path: str) -> bool:
    """True for a file of pickle.dump: it begins with a protocol number, which torch.save never wrote."""
    with open(path, "rb") as file:
        return file.read(1) == b"\x80"


# --- SDEdit: a noised latent, and a node that says what it did --------------------------------------------------------


def check_latent(model: Any, samples: Tensor) -> None:
    """ValueError: samples with other dimensions or channels than this MODEL's latents have.

    The host packs several latents of different shapes into one [B, 1, N]; that passes.
    """
    form = model.get_model_object("latent_format")
    if samples.ndim == 3 and samples.shape[1] == 1:
        return
    if samples.ndim != form.latent_dimensions + 2:
        raise ValueError(
            f"This latent has the shape {list(samples.shape)}, but this model's latents have "
            f"{form.latent_dimensions + 2} dimensions. Encode the picture with this model's VAE."
        )
    if samples.numel() == 0:
        raise ValueError(f"This latent holds no picture, its shape is {list(samples.shape)}. Connect another one.")
    _check_channels(samples, form)
    if samples.ndim == 5 and samples.shape[2] > 1:
        raise ValueError(
            f"This latent holds {samples.shape[2]} frames of a video, and the sketch nodes work on pictures. Make an "
            f"empty latent of length 1, or encode one picture: {type(model.model).__name__} latents take a batch of "
            "pictures for a video."
        )


def _check_channels(samples: Tensor, form: comfy.latent_formats.LatentFormat) -> None:
    if samples.ndim > 3 and samples.shape[1] != form.latent_channels:
        raise ValueError(
            f"This latent was made with another model's VAE: it has {samples.shape[1]} channels, this model "
            f"{form.latent_channels}. Encode the picture with this model's VAE."
        )


def _check_words(words: Any) -> None:
    if isinstance(words, Tensor) and words.shape[-1] == 1:  # of Pixel Prior Label; a word has hundreds of values
        raise ValueError(
            "This prompt is a Pixel Prior Label, but the model reads words. Connect CLIP Text Encode, with the model's "
            "CLIP, to positive and negative."
        )


def is_pixels(model: Any) -> bool:
    """Whether a MODEL is a pixel prior: its latents are the pictures, and it has no words."""
    return isinstance(model.get_model_object("latent_format"), PixelSpace)


def paints_pixels(model: Any) -> bool:
    """Whether a MODEL's latents are pictures of 3 channels in [-1, 1]: pixel priors, and families without a VAE."""
    form = model.get_model_object("latent_format")
    return isinstance(form, (PixelSpace, comfy.latent_formats.ChromaRadiance))


def noise_latent(model: Any, latent: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """A LATENT's samples noised to sigma as a sampler would begin, in the host's leftover form before process_out.

    SamplerCustom with add_noise off continues from it exactly: inverse_noise_scaling undoes the (1 - sigma) by which a
    flow model's sampler multiplies every latent. As in the host, an empty latent stays as it is, and at sigma_max an
    eps model's noise is multiplied by sqrt(1 + sigma^2).
    """
    sampling = model.get_model_object("model_sampling")
    latent = latent.float()
    if torch.count_nonzero(latent) > 0:
        latent = model.get_model_object("process_latent_in")(latent)
    level, highest = torch.tensor(sigma), float(sampling.sigma_max)
    from_full_noise = sigma > highest or math.isclose(sigma, highest, rel_tol=1e-5)
    return sampling.inverse_noise_scaling(level, sampling.noise_scaling(level, noise.float(), latent, from_full_noise))


def text_on_node(node: type[io.ComfyNode], text: str) -> ui.PreviewText:
    """The `ui` of a NodeOutput that carries a text.

    The editor shows it only on some of core's own nodes, so the text is also sent to the node the way core's
    GetImageSize does it. The node needs hidden=[io.Hidden.unique_id].
    """
    say_on_node(node.hidden and node.hidden.unique_id, text)
    return ui.PreviewText(text)


def say_where_it_runs(text: str) -> None:
    """Logs a text and shows it on the node that is being executed: for parts of models, which do not know it."""
    logging.warning(text)
    server = getattr(PromptServer, "instance", None)  # there is none in tests and commands
    say_on_node(getattr(server, "last_node_id", None), text)


def say_on_node(node_id: str | None, text: str) -> None:
    """Shows a text on a node of the graph that is open, also while another node runs.

    Nodes 2.0 reads it as Markdown, where a line ends with two spaces.
    """
    if node_id:
        PromptServer.instance.send_progress_text(files.writable(text).replace("\n", "  \n"), node_id)
