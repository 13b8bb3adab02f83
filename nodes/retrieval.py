"""Photos found by sketch (ZSE-SBIR): load a retriever, and index a folder of photos."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from .. import files, host
from ..pipelines.retrieval import index as indexes
from ..pipelines.retrieval.folder import list_photos
from ..pipelines.retrieval.index import PhotoIndex
from ..pipelines.retrieval.retriever import Embedder, Retriever, VisionModel
from .parts.folders import model_state, photo_folder, photo_folders
from .parts.model_files import STARTER, built_in, is_there
from .parts.retrieval import FOLDER, PAPER, STARTER_RETRIEVER, load, load_network
from .parts.sockets import IndexSocket, RetrieverSocket
from .parts.training import Teller, left_out, tidy

ALONE = "only the connected clip_vision"

host.register_model_folder(FOLDER)


class SketchRetrieverLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchRetrieverLoader",
            display_name="Load Sketch Retriever",
            category="sketch/loaders",
            description="Loads the network that compares sketches with photos: the small built-in one, a ZSE-SBIR "
            "file, any CLIP vision model (CLIP, SigLIP, DINO), or both kinds together.",
            search_aliases=[*PAPER, "load retriever", "CLIP", "SigLIP", "DINO", "sketch search"],
            inputs=[
                io.Combo.Input(
                    "retriever",
                    options=[*built_in(STARTER_RETRIEVER), *host.model_files(FOLDER), ALONE],
                    tooltip="The built-in network knows the starter's landscapes. Otherwise a ZSE-SBIR file in "
                    "models/sketch_retrievers (.safetensors, .sft, .pt, .pth, .ckpt), as published or trained here. "
                    "The last option uses no file.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="A CLIP, SigLIP or DINO vision model from Load CLIP Vision. With a file chosen as well, "
                    "both networks look, and their z-scores are added.",
                ),
                io.Int.Input(
                    "heads",
                    default=0,
                    min=0,
                    max=64,
                    advanced=True,
                    tooltip="Attention heads of the encoder, which a file's tensors do not reveal, 1 to 64. 0: as the "
                    "file states, else one per 64 channels (12 as published).",
                ),
            ],
            outputs=[
                RetrieverSocket.Output(
                    "retriever", display_name="retriever", tooltip="For Index Photos and Explain Match."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, retriever: str | None = None) -> bool | str:
        return retriever == ALONE or is_there("sketch retriever", FOLDER, retriever, STARTER, STARTER_RETRIEVER)

    @classmethod
    def fingerprint_inputs(cls, retriever: str | None = None, **_: Any) -> str:
        return model_state(FOLDER, retriever)

    @classmethod
    def execute(cls, retriever: str, clip_vision: Any = None, heads: int = 0) -> io.NodeOutput:
        parts: list[Embedder] = []
        if retriever != ALONE:
            parts.append(load_network(retriever, heads))
        if clip_vision is not None:
            parts.append(VisionModel("CLIP vision", clip_vision))
        if not parts:
            raise ValueError(
                f"'{ALONE}' is chosen, but nothing is connected. Connect Load CLIP Vision, or choose a file."
            )
        return io.NodeOutput(Retriever(tuple(parts)))


class SketchPhotoIndex(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchPhotoIndex",
            display_name="Index Photos",
            category="sketch/retrieval",
            description="Looks at every photo of a folder once and keeps what the network saw, so that a search takes "
            "a moment. The next run reads only new and changed photos. Cancelling loses nothing.",
            search_aliases=[*PAPER, "photo library", "index folder", "image database", "embeddings", "gallery"],
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=photo_folders(),
                    tooltip="The photos: a folder inside ComfyUI's input or output folder, with all its sub-folders, "
                    "or the samples that come with the pack. A dot is the input or output folder itself. Links that "
                    "lead out of the folder are not followed.",
                ),
                RetrieverSocket.Input("retriever", tooltip="From Load Sketch Retriever. Each has its own index."),
            ],
            outputs=[
                IndexSocket.Output("index", display_name="index", tooltip="For Find Photos by Sketch."),
                io.Int.Output("count", display_name="count", tooltip="How many photos are in it."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None = None) -> bool | str:
        try:
            if folder is not None:
                photo_folder(folder)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder: str | None = None, **_: Any) -> str:
        if folder is None:
            return ""
        return hashlib.sha256(repr(list_photos(photo_folder(folder)).photos).encode()).hexdigest()

    @classmethod
    def execute(cls, folder: str, retriever: Retriever) -> io.NodeOutput:
        photos = photo_folder(folder)
        place = index_folder(photos, retriever)
        tell = Teller(cls.hidden and cls.hidden.unique_id, 1000)
        load(retriever)

        def watch(now: indexes.Progress) -> None:
            text = f"{now.done} of {now.total} photos, {now.rate:.1f} per second"
            tell(round(1000 * now.done / now.total), lambda: text)

        done = indexes.update(place, photos, retriever, watch=watch)
        index = PhotoIndex(place / indexes.FILE, photos, retriever, done.count)
        return io.NodeOutput(index, done.count, ui=host.text_on_node(cls, _said(done)))


def index_folder(photos: Path, retriever: Retriever, home: Path | None = None) -> Path:
    """Where the index of a folder by a retriever is kept. home: None: under ComfyUI's user folder."""
    key = hashlib.sha256(f"{photos}\0{retriever.key()}".encode(errors="surrogateescape")).hexdigest()[:12]
    home = home or Path(folder_paths.get_system_user_directory("sketchsynth")) / "photo_indexes"
    return home / f"{tidy(photos.name)[:60]} {key}"


def _said(done: indexes.Updated) -> str:
    text = f"{done.count} photos; {done.read} read now"
    text += f", {done.dropped} dropped because they are gone" if done.dropped else ""
    outside = [f"{files.writable(name)}: a link that leads out of the folder" for name in done.outside]
    return text + left_out([*done.left_out, *outside])


NODES = [SketchRetrieverLoader, SketchPhotoIndex]
