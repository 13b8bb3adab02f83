"""What a node is wired to in the prompt that runs, {id: {"class_type", "inputs"}} (hidden=[io.Hidden.prompt])."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Prompt = Mapping[str, Any]

# Nodes of ComfyUI that hand on the same picture: encoded, larger, more of it, with a mask.
SAME_PICTURE = {
    *("VAEEncode", "VAEEncodeTiled", "VAEEncodeForInpaint", "SetLatentNoiseMask"),
    *("ImageScale", "ImageScaleBy", "ImageScaleToTotalPixels", "ImageCrop", "ImagePadForOutpaint", "RepeatImageBatch"),
    *("RepeatLatentBatch", "LatentFromBatch", "LatentUpscale", "LatentUpscaleBy", "LatentCrop", "ImageBatch"),
}


class Use(NamedTuple):
    """An input that gets the picture: the node's type, the input's name, and all its inputs."""

    type: str
    input: str
    inputs: Mapping[str, Any]


def uses(prompt: Prompt | None, node_id: str | None, slot: int) -> Iterator[Use]:
    """Every input that output `slot` of a node feeds, also through nodes of SAME_PICTURE, nearest first. None without a
    prompt, as in tests."""
    found, seen = [(str(node_id), slot)], set()
    while found and prompt:
        source = found.pop(0)
        for key, node in prompt.items():
            for name, value in node.get("inputs", {}).items():
                if isinstance(value, list) and tuple(value) == source:
                    yield Use(node.get("class_type", ""), name, node["inputs"])
                    if node.get("class_type") in SAME_PICTURE and key not in seen:
                        seen.add(key)
                        found.append((str(key), 0))


def only_looked_at(prompt: Prompt | None, node_id: str | None) -> bool:
    """Whether of Noise to t0 only the third output, `look`, is used: it shows where a walk starts, and starts none."""
    first, second, third = (next(uses(prompt, node_id, slot), None) for slot in range(3))
    return third is not None and first is None and second is None


def comes_from(prompt: Prompt | None, node_id: str | None, name: str, wanted: str) -> bool:
    """Whether input `name` of a node comes from a node of type `wanted`, with nothing but SAME_PICTURE between."""
    nodes = prompt or {}
    found, seen = [nodes.get(str(node_id), {}).get("inputs", {}).get(name)], set()
    while found:
        link = found.pop()
        if not isinstance(link, list) or not link or str(link[0]) in seen:
            continue
        seen.add(str(link[0]))
        node = nodes.get(str(link[0]), {})
        if node.get("class_type") == wanted:
            return True
        if node.get("class_type") in SAME_PICTURE:
            found += node.get("inputs", {}).values()
    return False


def refuse_label(prompt: Prompt | None, node_id: str | None) -> None:
    """ValueError: a sampler on the first output of Noise to t0, for a MODEL that reads words, gets the label of a pixel
    prior. The sampler is ComfyUI's own, and torch would fail there."""
    for use in uses(prompt, node_id, 0):
        for name in ("positive", "negative"):
            link = use.inputs.get(name)
            source = (prompt or {}).get(str(link[0]), {}) if isinstance(link, list) else {}
            if source.get("class_type") == "SketchPriorLabel":
                raise ValueError(
                    f"{name} of the sampler comes from Pixel Prior Label, but this model reads words. Connect CLIP "
                    "Text Encode, with the model's CLIP, to it."
                )


def noised_used_wrongly(prompt: Prompt | None, node_id: str | None, masked: bool) -> list[str]:
    """What goes wrong in silence with a sampler that gets `noised`, the second output of Noise to t0. masked: whether
    its latent has a mask."""
    told = []
    for use in uses(prompt, node_id, 1):
        if use.input != "latent_image":
            continue
        if masked:
            told.append(
                "noised has no mask, because a sampler would keep its noisy pixels. Give the sampler the clean LATENT "
                "with the mask, and turn add_noise on."
            )
        elif use.inputs.get("add_noise") in (True, "enable"):
            told.append(
                "noised is noisy already, and the sampler adds noise once more. Turn its add_noise off, or give it the "
                "clean LATENT."
            )
    return list(dict.fromkeys(told))
