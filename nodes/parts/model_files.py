"""Model files: the path behind a loader's option, the kind of file, and the network in it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import files, host, networks
from ...networks.paint2pix.keys import PAINTER_KEYS
from ...networks.schedules import SCHEDULES

WEIGHTS = host.PACK / "starter" / "weights"
STARTER = "starter (built in)"
UNSET = {"num_head_channels": (-1, 0)}  # values that mean: by num_heads
DEEPEST = 8  # levels of nesting in which a file's weights are looked for
SETTINGS = (
    "num_heads",
    "num_head_channels",
    "cross_heads",
    "norm_groups",
    "use_new_attention_order",
    "image_size",
    "encoder_type",
    "passes",
    "num_res_blocks",
    "noise_schedule",
    "diffusion_steps",
    "rescale_timesteps",
    "classes",
)  # settings that keys and shapes do not reveal
SETTINGS_OF = {
    "classes": "classifier",
    "encoder_type": "painter",
    "passes": "painter",
}  # those that only files of this role state

# Files that people load here by mistake: part of a key name, what the file then is, and what to do with it.
VISION = "Load it with Load CLIP Vision and connect that to clip_vision."
RELATIVES = (
    ("vision_model.encoder.", "a CLIP vision model", VISION),
    ("visual.transformer.", "a CLIP vision model", VISION),
    (
        "lin0.model",
        "only the channel weights of LPIPS, without its network",
        "Save all of lpips.LPIPS(net='vgg').state_dict().",
    ),
    ("lora_", "a LoRA", "Apply it with Load LoRA to the model it was made for."),
    ("model.diffusion_model.", "a Stable Diffusion checkpoint", "Load it with Load Checkpoint instead."),
    ("transformer_blocks", "a latent diffusion model", "Load it with Load Diffusion Model instead."),
    ("decoder.conv_out.", "a VAE", "Load it with Load VAE instead."),
)

# By role of a layout: what such a file is called, and where it belongs.
ROLES = {
    "prior": ("a pixel prior", "Put it into models/sketch_priors and load it with Load Pixel Prior."),
    "extractor": ("a sketch extractor", "Put it into models/sketch_extractors and load it with Load Sketch Extractor."),
    "features": ("a feature network", "Put it into models/sketch_features and load it with Load Sketch Features."),
    "domain": ("a domain extractor", "Put it into models/sketch_features and load it with Load Sketch Features."),
    "style": ("half of an AdaIN style network", "Choose it in Style Injection (AdaIN)."),
    "classifier": (
        "a noisy classifier",
        "Put it into models/sketch_classifiers and load it with Load Sketch Classifier.",
    ),
    "gan": ("a sketch GAN", "Put it into models/sketch_gan and load it with Load Sketch GAN."),
    "retriever": (
        "a sketch retriever",
        "Put it into models/sketch_retrievers and load it with Load Sketch Retriever.",
    ),
    "painter": ("a painter", "Put it into models/sketch_paint2pix and load it with Load Paint2pix."),
    "stylegan": ("a StyleGAN2 generator", "Put it into models/sketch_paint2pix and choose it as the decoder."),
    "face": ("a face network", "Put it into models/sketch_paint2pix and choose it in Paint2pix Identity."),
}


def starter_or_file(role: str, folder: str, name: str, starter: str, weights: Path) -> str:
    """The path behind one option of a loader: the built-in `weights` for the option `starter`, else a model file."""
    if name != starter:
        return host.model_file(role, folder, name)
    if not weights.is_file():
        raise ValueError(f"The built-in weights are missing ({weights}). The pack is incomplete; install it again.")
    return str(weights)


def built_in(weights: Path) -> list[str]:
    """The option for the built-in weights, where they are there."""
    return [STARTER] if weights.is_file() else []


def is_there(role: str, folder: str, name: str | None, starter: str, weights: Path) -> bool | str:
    """True, or the message for a missing file; the host would only say that the value is not in its list.

    name: None if the input is linked. The rest: see starter_or_file.
    """
    try:
        if name is not None:
            starter_or_file(role, folder, name, starter, weights)
    except ValueError as error:
        return str(error)
    return True


def read_network(
    path: str, roles: tuple[str, ...], hints: Mapping[str, Any], *, copied: bool = False
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network in a file, of one of these roles, and what the file states about itself.

    copied: copies the weights. Otherwise the file stays memory-mapped, and on Windows no training could replace it.

    ValueError: it holds something else, or a variant that cannot be run here.
    """
    weights, stated = read_role(path, roles)
    if copied:
        weights = {key: value.clone() for key, value in weights.items()}
    return networks.build(weights, ops=host.NETWORK_OPS, **{**hints, **stated}), stated


def read_role(path: str, roles: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights in a file that belong to a network of one of these roles, and the SETTINGS that its metadata states.

    ValueError: it holds something else.
    """
    name = files.quote(os.path.basename(path))
    if _is_program(path):
        raise ValueError(
            f"{name} is a TorchScript program, not plain weights; OpenAI released CLIP in this form. Use the same "
            "network as .safetensors (see models_manifest.json in the pack's folder for a download address)."
        )
    found, metadata = read_groups(path)
    weights = next((weights for weights in found if networks.recognise(weights, *roles)), None)
    if weights is None:
        raise ValueError(_what_it_is(name, found, roles))
    for key, value in weights.items():
        if value.is_meta or value.is_quantized or value.layout != torch.strided:
            kind = "no values" if value.is_meta else "quantized values" if value.is_quantized else "a sparse tensor"
            raise ValueError(
                f"{name} holds {kind} under {files.quote(key)}. Save plain, dense weights as .safetensors where "
                "the file was made."
            )
    asked = [key for key in SETTINGS if key in metadata and SETTINGS_OF.get(key, roles[0]) in roles]
    return weights, {key: _stated(name, key, metadata[key]) for key in asked}


def _stated(name: str, key: str, text: str) -> Any:
    """One of SETTINGS from a file's metadata. ValueError: not what it has to be."""
    if key == "encoder_type":
        return text  # checked where the network is built
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if key in ("use_new_attention_order", "rescale_timesteps"):
        wanted, fits = "true or false", isinstance(value, bool)
    elif key == "noise_schedule":
        wanted, fits = " or ".join(SCHEDULES), value in SCHEDULES
    elif key == "classes":
        wanted, fits = "a list of names", isinstance(value, list) and all(isinstance(name, str) for name in value)
    else:
        wanted, fits = "a whole number above 0", type(value) is int and (value > 0 or value in UNSET.get(key, ()))
    if not fits:
        raise ValueError(
            f"The metadata of {name} sets {key} to {files.quote(text)}, expected {wanted}. Correct that entry, or "
            "remove it."
        )
    return value


def _is_program(path: str) -> bool:
    """True for files written by torch.jit.save: a zip archive with code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _what_it_is(name: str, found: list[dict[str, Tensor]], roles: tuple[str, ...]) -> str:
    """The message for a file of another kind."""
    wanted = ROLES[roles[0]][0]
    for weights in found:
        layout = networks.recognise(weights, *networks.ROLES)
        if layout is not None:
            what, advice = ROLES[layout.role]
            return f"{name} is {what} ({layout.name}), not {wanted}. {advice}"
    keys = sorted({key for weights in found for key in weights})
    for piece, what, advice in RELATIVES:
        if any(piece in key for key in keys):
            return f"{name} is {what}, not {wanted}. {advice}"
    seen = (
        f"first keys: {', '.join(files.quote(key)[1:-1] for key in keys[:4])}"
        if keys
        else "there are no named tensors in it"
    )
    return f"{name} is not {wanted} of a known kind ({seen}). Supported are: {networks.supported(*roles)}."


def read_groups(path: str) -> tuple[list[dict[str, Tensor]], dict[str, str]]:
    """Every group of named tensors in a file, averaged ones first, and the file's metadata.

    A sketch GAN's networks belong together, so they form one group, with the names that sketchgan.flat gives them.
    """
    from ...networks.sketchgan import whole as sketchgan  # imported lazily: most files are not sketch GANs

    content, metadata = host.read_weights(path)
    if isinstance(content, Mapping) and all(key in content for key in PAINTER_KEYS):
        return _painter(content, metadata, path)
    try:
        together = sketchgan.flat(content)
    except (KeyError, IndexError, RuntimeError) as error:
        what = f"the tensor {error} is missing" if isinstance(error, KeyError) else "its tensors do not fit it"
        raise ValueError(
            f"{files.quote(os.path.basename(path))} looks like a sketch GAN, but {what}. The file may be damaged."
        ) from error
    if any(all(key in together for key in keys) for keys in sketchgan.FILES.values()):
        return [together], metadata
    found = [networks.strip_module(weights) for weights in _state_dicts(content)]
    return found, metadata


def _painter(
    weights: Mapping[str, Tensor], metadata: dict[str, str], path: str
) -> tuple[list[dict[str, Tensor]], dict[str, str]]:
    """An encoder with its decoder. Published files keep the mean style and the options beside the state_dict, which the
    host's loader leaves out."""
    from ...networks.paint2pix import whole as paint2pix  # imported lazily, as above

    whole = "latent_avg" in weights or Path(path).suffix.lower() in files.SAFE
    found = None if whole else paint2pix.flat(files.read_tensors(Path(path)))
    return ([dict(weights)], metadata) if found is None else ([found[0]], {**metadata, **found[1]})


def _state_dicts(content: Any, depth: int = DEEPEST) -> Iterator[dict[str, Tensor]]:
    """Every group of named tensors in a loaded file, averaged (EMA) weights first.

    Training programs nest them: {"ema": ..., "model": ...}, or [weights, optimiser, epoch, step, ema] as DDIM does.
    """
    if not depth:  # a list may hold itself
        return
    if isinstance(content, Mapping):
        tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if tensors:
            yield tensors
        for key in sorted(content, key=lambda key: "ema" not in str(key).lower()):
            yield from _state_dicts(content[key], depth - 1)
    elif isinstance(content, (list, tuple)):
        for part in reversed(content):
            yield from _state_dicts(part, depth - 1)
