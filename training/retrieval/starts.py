"""Weights to begin from: a retriever, or a plain ViT such as the published SAM ViT-B/16, by the names of its release,
of timm, of torchvision or of Hugging Face."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ... import files
from ...networks.retrieval.network import Retriever, for_use

ENCODER = "sa.model."
PREFIXES = ("module.", "model.", "vit.", "visual.", "encoder.vit.", ENCODER)
# Names of plain ViTs -> the encoder's, after the prefixes are gone; {i}: number of the layer.
TIMM = {
    "cls_token": "cls",
    "pos_embed": "pos_embedding",
    "patch_embed.proj": "embedding",
    "norm": "transformer.encoder_norm",
    "blocks.{i}.norm1": "layer_norm_input",
    "blocks.{i}.norm2": "layer_norm_out",
    "blocks.{i}.attn.qkv": "attention.to_qkv",
    "blocks.{i}.attn.proj": "attention.to_out.0",
    "blocks.{i}.mlp.fc1": "mlp.net.0",
    "blocks.{i}.mlp.fc2": "mlp.net.3",
}
TORCHVISION = {
    "class_token": "cls",
    "encoder.pos_embedding": "pos_embedding",
    "conv_proj": "embedding",
    "encoder.ln": "transformer.encoder_norm",
    "encoder.layers.encoder_layer_{i}.ln_1": "layer_norm_input",
    "encoder.layers.encoder_layer_{i}.ln_2": "layer_norm_out",
    "encoder.layers.encoder_layer_{i}.self_attention.in_proj": "attention.to_qkv",
    "encoder.layers.encoder_layer_{i}.self_attention.out_proj": "attention.to_out.0",
    "encoder.layers.encoder_layer_{i}.mlp.linear_1": "mlp.net.0",
    "encoder.layers.encoder_layer_{i}.mlp.linear_2": "mlp.net.3",
    "encoder.layers.encoder_layer_{i}.mlp.0": "mlp.net.0",
    "encoder.layers.encoder_layer_{i}.mlp.3": "mlp.net.3",
}
HUGGING_FACE = {
    "embeddings.cls_token": "cls",
    "embeddings.position_embeddings": "pos_embedding",
    "embeddings.patch_embeddings.projection": "embedding",
    "layernorm": "transformer.encoder_norm",
    "encoder.layer.{i}.layernorm_before": "layer_norm_input",
    "encoder.layer.{i}.layernorm_after": "layer_norm_out",
    "encoder.layer.{i}.attention.attention.query": "attention.to_q",
    "encoder.layer.{i}.attention.attention.key": "attention.to_k",
    "encoder.layer.{i}.attention.attention.value": "attention.to_v",
    "encoder.layer.{i}.attention.output.dense": "attention.to_out.0",
    "encoder.layer.{i}.intermediate.dense": "mlp.net.0",
    "encoder.layer.{i}.output.dense": "mlp.net.3",
}


def begin_from(network: Retriever, path: Path) -> str:
    """Loads what a file holds into the network; returns what was taken, as a sentence.

    A retriever with the same encoder gives all of it (with other anchors, all but the relation network); a ViT gives
    the encoder without its second stem. ValueError: neither, of another size, or a file that cannot be read.
    """
    weights = _flat(files.read_tensors(path))
    if f"{ENCODER}cls" in weights:
        return _from_retriever(network, for_use(weights), path)
    found = encoder_weights(weights)
    known = network.sa.model.state_dict()
    wanted = [key for key in known if not key.startswith("scale.")]
    missing = [key for key in wanted if key not in found]
    if missing:
        raise ValueError(
            f"{files.quote(path.name)} is neither a retriever nor a ViT that fits: {len(missing)} of {len(wanted)} "
            f"tensors of the encoder are missing (such as {missing[0]}). Give a ViT with "
            f"{len(network.sa.model.transformer.blocks())} layers and a class token."
        )
    found["pos_embedding"] = positions(found["pos_embedding"], network.grid)
    _load(network, {f"{ENCODER}{key}": found[key] for key in wanted}, path)
    return f"The encoder begins from the ViT in {path.name}; its second stem and all behind the encoder are new."


def _from_retriever(network: Retriever, weights: dict[str, Tensor], path: Path) -> str:
    known = network.state_dict()
    missing = [key for key in known if key not in weights]
    if missing:
        raise ValueError(
            f"{files.quote(path.name)} is a retriever that does not fit: {len(missing)} tensors are missing (such as "
            f"{missing[0]}). Choose the settings that it was trained with."
        )
    fits = all(known[key].shape == weights[key].shape for key in known if key.startswith("rn."))
    _load(network, {key: weights[key] for key in known if fits or not key.startswith("rn.")}, path)
    return f"Everything{'' if fits else ' but the relation network'} begins from the retriever in {path.name}."


@torch.no_grad()
def _load(network: Retriever, weights: Mapping[str, Tensor], path: Path) -> None:
    known = dict(network.named_parameters())
    for key, value in weights.items():
        if known[key].shape != value.shape:
            raise ValueError(
                f"{files.quote(path.name)} does not fit: {key} has the shape {list(value.shape)}, expected "
                f"{list(known[key].shape)}. Choose the size of network that it was made for."
            )
        known[key].copy_(value)


def encoder_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a ViT by the encoder's names; what it does not have (a classifier, say) is left out."""
    stripped = {_without_prefixes(key): value for key, value in weights.items()}
    for names in (TIMM, TORCHVISION, HUGGING_FACE):
        renamed = _renamed(stripped, names)
        if "cls" in renamed and "embedding.weight" in renamed:
            return _joined(renamed)
    return dict(stripped)


def positions(known: Tensor, grid: int) -> Tensor:
    """Position embeddings [1,1+N,D] for another grid: bicubic between those of the patches."""
    side = math.isqrt(known.shape[1] - 1)
    if side == grid:
        return known
    patches = known[:, 1:].float().transpose(1, 2).unflatten(2, (side, side))
    patches = interpolate(patches, (grid, grid), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    return torch.cat([known[:, :1].float(), patches], 1)


def _flat(content: Any, depth: int = 4) -> dict[str, Tensor]:
    """The largest group of named tensors in a file: {"model": {...}, "epoch": 3} is how trainings save."""
    if not isinstance(content, Mapping) or not depth:
        return {}
    found = [{key: value for key, value in content.items() if isinstance(value, Tensor)}]
    found += [_flat(value, depth - 1) for value in content.values()]
    return max(found, key=len)


def _without_prefixes(key: str) -> str:
    shorter = True
    while shorter:
        shorter = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
        key = key.removeprefix(shorter or "")
    return key


def _renamed(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in weights.items():
        numbered = re.sub(r"(?<=[._])\d+(?=\.)", "{i}", key, count=1)
        stem, ending = key, ""
        for tail in (".weight", ".bias", "_weight", "_bias"):
            if key.endswith(tail):
                stem, ending = key.removesuffix(tail), f".{tail[1:]}"
        short = numbered[: len(numbered) - (len(key) - len(stem))]
        if stem in names:
            renamed[names[stem] + ending] = value
        elif short in names:
            number = re.search(r"(?<=[._])\d+(?=\.)", key)
            renamed[f"transformer.layers.{number[0] if number else 0}.0.{names[short]}{ending}"] = value
    return renamed


def _joined(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """With separate layers of queries, keys and values put into one."""
    joined = {key: value for key, value in weights.items() if not re.search(r"attention\.to_[qkv]\.", key)}
    for key in weights:
        if ".attention.to_q." in key:
            parts = [weights.get(key.replace(".to_q.", f".to_{part}.")) for part in "qkv"]
            joined[key.replace(".to_q.", ".to_qkv.")] = torch.cat([part for part in parts if part is not None])
    return joined
