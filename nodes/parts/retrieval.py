"""What the nodes of sketch search share: common inputs, loading networks, and sheets of sketches and photos."""

from __future__ import annotations

import comfy.model_management
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ... import host
from ...pipelines.retrieval.retriever import INVERT, Retriever, SketchNetwork, memory_needed
from .model_files import STARTER, WEIGHTS, read_network, starter_or_file

FOLDER = "sketch_retrievers"
STARTER_RETRIEVER = WEIGHTS / "retriever.safetensors"
PAPER = ("ZSE-SBIR", "sketch-based image retrieval", "SBIR", "find by sketch", "image search", "CVPR 2023")
SCORES = "With Ret: cosine, -1 to 1 (with two networks: a sum of z-scores); with RN: 0 to 1."
SKETCH_TIP = "Dark lines on light paper, as from Load Sketch, of any size; it is cropped to its ink. "
INVERT_INPUT = io.Combo.Input(
    "invert",
    options=list(INVERT),
    advanced=True,
    tooltip="auto: a drawing whose edges are mostly dark has light lines on dark paper, and is inverted. yes: always. "
    "no: never.",
)


def load_network(name: str, heads: int = 0) -> SketchNetwork:
    """The ZSE-SBIR network behind one option of the loader."""
    path = starter_or_file("sketch retriever", FOLDER, name, STARTER, STARTER_RETRIEVER)
    hints = {"num_heads": heads} if heads else {}
    network, _ = read_network(path, ("retriever",), hints, copied=True)
    return SketchNetwork(name, host.network_patcher(network))


def load(retriever: Retriever) -> torch.device:
    """Has the host load a retriever's networks; the device of the first."""
    comfy.model_management.load_models_gpu(retriever.patchers, memory_required=memory_needed(retriever))
    return retriever.patchers[0].load_device


def on_white(image: Tensor) -> Tensor:
    if image.shape[-1] != 4:
        return image
    return image[..., :3] * image[..., 3:] + 1 - image[..., 3:]


def sheet_of(
    sketches: list[Image.Image], photos: list[list[Image.Image]], labels: list[list[str]], cell: int
) -> Image.Image:
    """One sketch and its photos as a compact sheet; several sketches as one row each."""
    from ...pictures.charts import contact_sheet  # imported lazily: most sessions draw no sheets

    if len(sketches) == 1:
        return contact_sheet([sketches[0], *photos[0]], ["sketch", *labels[0]], cell=cell)
    columns = 1 + max(map(len, photos))
    cells: list[Image.Image | None] = []
    words: list[str] = []
    for sketch, found, under in zip(sketches, photos, labels, strict=True):
        empty = columns - 1 - len(found)
        cells += [sketch, *found, *[None] * empty]
        words += ["sketch", *under, *[""] * empty]
    return contact_sheet(cells, words, columns=columns, cell=cell)
