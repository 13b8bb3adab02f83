"""Networks recognised by their keys. Pure torch: nothing here depends on the host or the nodes.

A new layout is one more row in LAYOUTS: what it is called, the keys that tell it apart, and how to read its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import files
from .errors import Unsupported
from .paint2pix import keys as paint2pix_keys
from .sketchgan import keys as sketchgan_keys
from .weights import with_counters


class _Lazy:
    """A module of this folder, imported when one of its functions is first called: a session needs one or two."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, function: str) -> Any:
        def call(*inputs: Any, **settings: Any) -> Any:
            return getattr(import_module(f".{self._name}", __name__), function)(*inputs, **settings)

        return call


_adm, _ddpm, _infodraw, _clip, _vgg = (_Lazy(name) for name in ("adm", "ddpm", "infodraw", "clip_resnet", "vgg"))
_inception, _dse, _tom, _sketchgan = (_Lazy(name) for name in ("inception", "dse", "sketchgan.tom", "sketchgan.whole"))
_painter, _stylegan, _encoders = (_Lazy(f"paint2pix.{name}") for name in ("whole", "stylegan2", "encoders"))
_retrieval = _Lazy("retrieval.network")
_classifier, _resnet, _alexnet, _photosketch = (
    _Lazy(name) for name in ("noisy_classifier", "resnet", "alexnet", "photosketch")
)


class Layout(NamedTuple):
    """One supported family of checkpoints."""

    name: str
    role: str  # what such a network is for: one of ROLES
    has: tuple[str, ...]  # keys that must all be there
    has_not: tuple[str, ...]  # parts of key names of relatives that this class cannot run
    network: Callable[..., nn.Module]
    config_from: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Any]]
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict  # from these keys to the network's own


ROLES = (
    "prior",
    "extractor",
    "features",
    "domain",
    "style",
    "classifier",
    "gan",
    "retriever",
    "painter",
    "stylegan",
    "face",
)
LAYOUTS = (
    Layout(
        "ADM (guided diffusion)",
        "prior",
        (
            "time_embed.0.weight",
            "input_blocks.0.0.weight",
            "middle_block.1.qkv.weight",
            "output_blocks.0.0.in_layers.0.weight",
            "out.2.weight",
        ),
        ("transformer_blocks", "encoder_kv"),
        _adm.ADM,
        _adm.config_from,
    ),
    Layout(
        "DDPM (SDEdit, DDIM)",
        "prior",
        (
            "temb.dense.0.weight",
            "conv_in.weight",
            "down.0.block.0.norm1.weight",
            "mid.attn_1.q.weight",
            "up.0.block.0.norm1.weight",
            "conv_out.weight",
        ),
        (),
        _ddpm.DDPM,
        _ddpm.config_from,
    ),
    Layout(
        "DDPM (diffusers, google/ddpm-*)",
        "prior",
        (
            "time_embedding.linear_1.weight",
            "conv_in.weight",
            "down_blocks.0.resnets.0.norm1.weight",
            "mid_block.resnets.0.norm1.weight",
            "mid_block.attentions.0.group_norm.weight",
            "conv_norm_out.weight",
        ),
        ("transformer_blocks", "class_embedding", "encoder_hid"),
        _ddpm.DDPM,
        _ddpm.config_from,
        _ddpm.from_diffusers,
    ),
    Layout(
        "InformativeDrawings",
        "extractor",
        ("model0.1.weight", "model1.0.weight", "model1.3.weight", "model3.0.weight", "model4.1.weight"),
        (),
        _infodraw.InformativeDrawings,
        _infodraw.config_from,
    ),
    Layout(
        "CLIP ResNet, picture half",
        "features",
        ("conv1.weight", "conv3.weight", "layer4.0.conv1.weight", "attnpool.positional_embedding"),
        (),
        _clip.ClipResNet,
        _clip.config_from,
    ),
    Layout(
        "CLIP ResNet",
        "features",
        ("visual.conv1.weight", "visual.layer4.0.conv1.weight", "visual.attnpool.positional_embedding"),
        (),
        _clip.ClipResNet,
        _clip.config_from,
        _clip.visual_half,
    ),
    Layout(
        "ResNet (torchvision)",
        "features",
        ("conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "layer4.0.conv3.weight"),
        ("attnpool",),
        _resnet.ResNet,
        _resnet.config_from,
        _resnet.from_torchvision,
    ),
    Layout(
        "ResNet (DiffSketching)",
        "features",
        ("0.weight", "1.running_var", "4.0.downsample.0.weight", "7.0.conv3.weight"),
        (),
        _resnet.ResNet,
        _resnet.config_from,
        _resnet.from_sequential,
    ),
    Layout(
        "ResNet (DiffSketching's feature training)",
        "features",
        ("features.0.weight", "features.1.running_var", "features.7.0.conv3.weight", "fc.weight"),
        (),
        _resnet.ResNet,
        _resnet.config_from,
        _resnet.from_training,
    ),
    Layout(
        "AlexNet",
        "features",
        ("features.0.weight", "features.3.weight", "features.6.weight", "features.8.weight", "features.10.weight"),
        ("running_mean", "squeeze", "features.2.weight", "features.5.weight", "features.12.", "features.13."),
        _alexnet.AlexNet,
        _alexnet.config_from,
        _vgg.without_classifier,
    ),
    Layout(
        "LPIPS (AlexNet)",
        "features",
        ("net.slice1.0.weight", "net.slice5.10.weight", "lin0.model.1.weight"),
        (),
        _alexnet.AlexNet,
        _alexnet.config_from,
        _vgg.from_lpips,
    ),
    Layout(
        "VGG",
        "features",
        ("features.0.weight", "features.0.bias"),
        ("running_mean", "squeeze"),
        _vgg.VGG,
        _vgg.config_from,
        _vgg.without_classifier,
    ),
    Layout(
        "LPIPS (VGG)",
        "features",
        ("net.slice1.0.weight", "net.slice5.28.weight", "lin0.model.1.weight"),
        (),
        _vgg.VGG,
        _vgg.config_from,
        _vgg.from_lpips,
    ),
    Layout(
        "InceptionV3",
        "features",
        ("Conv2d_1a_3x3.conv.weight", "Conv2d_2a_3x3.conv.weight", "Conv2d_2b_3x3.conv.weight"),
        (),
        _inception.Inception,
        _inception.config_from,
        _inception.without_auxiliary,
    ),
    Layout(
        "DSE (EGSDE)",
        "domain",
        ("time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.1.qkv.weight", "I2Iout.0.weight"),
        ("output_blocks",),
        _dse.DSE,
        _dse.config_from,
        _dse.encoder_only,
    ),
    Layout(
        "noisy classifier (guided diffusion)",
        "classifier",
        ("time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.1.qkv.weight", "out.0.weight"),
        ("output_blocks", "I2Iout", "transformer_blocks", "encoder_kv"),
        _classifier.NoisyClassifier,
        _classifier.config_from,
    ),
    Layout(
        "AdaIN encoder",
        "style",
        ("0.weight", "2.weight", "5.weight", "9.weight", "12.weight", "16.weight", "29.weight"),
        (),
        _vgg.AdaINEncoder,
        _vgg.no_config,
        _vgg.up_to_relu4_1,
    ),
    Layout(
        "AdaIN decoder",
        "style",
        ("1.weight", "5.weight", "8.weight", "11.weight", "14.weight", "18.weight", "28.weight"),
        (),
        _vgg.AdaINDecoder,
        _vgg.no_config,
    ),
    Layout(
        "PhotoSketch",
        "extractor",
        ("model.1.weight", "model.2.running_var", "model.7.weight", "model.10.conv_block.1.weight"),
        (),
        _photosketch.PhotoSketch,
        _photosketch.config_from,
        with_counters,
    ),
    Layout("TOM", "extractor", sketchgan_keys.TOM_KEYS, (), _tom.TOM, _tom.config_from, _tom.for_drawing),
    *(
        Layout(name, "gan", keys, (), _sketchgan.SketchGAN, _sketchgan.config_from, _sketchgan.for_use)
        for name, keys in (
            ("sketch GAN", sketchgan_keys.GAN_KEYS),
            ("sketch GAN, autoencoder alone", sketchgan_keys.AE_KEYS),
            ("sketch GAN, folded", sketchgan_keys.FOLDED_KEYS),
        )
    ),
    Layout(
        "ZSE-SBIR",
        "retriever",
        ("sa.model.pos_embedding", "sa.model.cls", "sa.model.scale.seq.0.weight"),
        (),
        _retrieval.Retriever,
        _retrieval.config_from,
        _retrieval.for_use,
    ),
    Layout(
        "Paint2pix, ReStyle, e4e, pSp",
        "painter",
        paint2pix_keys.PAINTER_KEYS,
        (),
        _painter.Painter,
        _painter.config_from,
        _painter.for_use,
    ),
    Layout(
        "StyleGAN2 (rosinality)",
        "stylegan",
        paint2pix_keys.GENERATOR_KEYS,
        (),
        _stylegan.Generator,
        _stylegan.generator_config,
    ),
    Layout("IR-SE (ArcFace)", "face", paint2pix_keys.FACE_KEYS, (), _encoders.FaceNetwork, _encoders.face_config),
)


def supported(role: str, *more: str) -> str:
    """The names of the layouts of these roles, for messages."""
    return "; ".join(layout.name for layout in LAYOUTS if layout.role in (role, *more))


def recognise(state_dict: Mapping[str, Any], role: str, *more: str) -> Layout | None:
    """The layout of these keys (without any `module.` prefix) in one of these roles, or None."""
    for layout in LAYOUTS:
        if (
            layout.role in (role, *more)
            and all(key in state_dict for key in layout.has)
            and not any(part in key for key in state_dict for part in layout.has_not)
        ):
            return layout
    return None


def strip_module(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries without the `module.` that DataParallel puts in front of every key."""
    return {key.removeprefix("module."): value for key, value in state_dict.items()}


def build(
    state_dict: Mapping[str, Tensor],
    *,
    ops: Any = nn,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **hints: Any,
) -> nn.Module:
    """The network that these weights belong to, loaded and in eval mode, parameters frozen.

    ops: where the layer classes come from. dtype, device: of the weights (None: float32, where they are). Tensors that
    need no conversion are used as they are, not copied.
    hints: num_heads (4), num_head_channels (-1: num_heads decides), use_new_attention_order (False), norm_groups (32)
    for ADM; num_heads and cross_heads for ZSE-SBIR (None: as published); hints that the layout does not need are
    ignored. Networks have in_channels, out_channels, num_classes
    (None without classes), model_channels and levels.

    ValueError: the keys belong to no supported layout, or to a variant of one that differs in some tensor.
    """
    state_dict = strip_module(state_dict)
    layout = recognise(state_dict, *ROLES)
    if layout is None:
        seen = ", ".join(sorted(state_dict)[:4]) or "none at all"
        raise ValueError(
            f"These weights are not of a supported kind (first keys: {seen}). Supported are: {supported(*ROLES)}."
        )
    try:
        state_dict = layout.rename(state_dict)
        config = layout.config_from(state_dict, hints)
    except KeyError as missing:
        raise ValueError(f"These weights look like {layout.name}, but tensor {missing} is missing.") from missing
    except (IndexError, TypeError, ZeroDivisionError, RuntimeError) as error:  # a tensor of another rank, say
        raise _does_not_fit(layout, "their shapes are not its") from error
    _check(layout, config, state_dict)
    network = layout.network(**config, ops=ops, dtype=dtype, device="meta")

    def kind(value: Tensor) -> torch.dtype:  # norms' counters stay integers
        return (dtype or torch.float32) if value.is_floating_point() else value.dtype

    weights = {key: value.to(device=device, dtype=kind(value)) for key, value in state_dict.items()}
    network.load_state_dict(weights, strict=True, assign=True)
    setattr(network, "built_as", (layout, config))  # noqa: B010 - for `plain`; nn.Module is typed for tensors only
    return network.eval().requires_grad_(False)


def plain(network: nn.Module) -> nn.Module:
    """A copy of a network from `build`, of torch's own layers, in float32 on the CPU: without what ComfyUI's layers do
    besides computing (casting, offloading, raising Cancel). A network from elsewhere is returned as it is."""
    if not hasattr(network, "built_as"):
        return network
    layout, config = getattr(network, "built_as")  # noqa: B009 - as above
    twin = layout.network(**config, device="meta")
    weights = {key: _copied(value) for key, value in network.state_dict().items()}
    twin.load_state_dict(weights, strict=True, assign=True)
    return twin.eval().requires_grad_(False)


def _copied(value: Tensor) -> Tensor:
    value = value.detach().cpu().clone()
    return value.float() if value.is_floating_point() else value


def _check(layout: Layout, config: dict[str, Any], state_dict: Mapping[str, Tensor]) -> None:
    """Compares key by key before anything is built, because the host's layers accept weights of any shape."""
    try:
        wanted = layout.network(**config, device="meta").state_dict()
    except Unsupported:  # a sentence of ours
        raise
    except Exception as error:  # torch refuses sizes that no file of this layout has, each in its own words
        raise _does_not_fit(layout, f"no network has such sizes or settings: {str(error).splitlines()[0]}") from error
    missing, extra = sorted(wanted.keys() - state_dict.keys()), sorted(state_dict.keys() - wanted.keys())
    both = sorted(wanted.keys() & state_dict.keys())
    wrong = [key for key in both if wanted[key].shape != state_dict[key].shape]
    faults = [
        f"{len(keys)} {what} (such as {files.quote(keys[0])[1:-1]})"
        for what, keys in (("missing", missing), ("unknown", extra))
        if keys
    ]
    if wrong:
        key = wrong[0]
        shapes = list(state_dict[key].shape), list(wanted[key].shape)
        faults.append(f"{len(wrong)} of another shape (such as {key}: {shapes[0]}, expected {shapes[1]})")
    if faults:
        raise _does_not_fit(layout, f"tensors {'; '.join(faults)}")
    for key in both:
        if not wanted[key].is_floating_point():
            continue
        if not state_dict[key].is_floating_point():
            raise _does_not_fit(layout, f"{key} holds {state_dict[key].dtype} instead of real numbers")
        if not _is_finite(state_dict[key]):
            raise _does_not_fit(layout, f"{key} contains NaN or infinite values")


def _is_finite(value: Tensor) -> bool:
    """One sum tells, and costs a quarter of looking at each number; only then is each looked at."""
    if value.is_meta:
        return True
    value = value.float() if value.itemsize == 1 else value  # float8 has no sum
    return bool(value.sum(dtype=torch.float64).isfinite()) or bool(value.float().isfinite().all())


def _does_not_fit(layout: Layout, why: str) -> ValueError:
    return ValueError(
        f"These weights look like {layout.name} but do not fit it: {why}. The file may be damaged or a variant that is "
        "not supported."
    )
