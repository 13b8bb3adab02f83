"""Photos found by sketch (ZSE-SBIR): load a retriever, index a folder, search it, and see why a photo matches."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from .. import files, host
from ..pictures.drawings.raster import read_picture
from ..pictures.fit import all_rgb, as_rgb, pair_batches
from ..pipelines.retrieval import index as indexes
from ..pipelines.retrieval import search
from ..pipelines.retrieval.folder import list_photos
from ..pipelines.retrieval.index import PhotoIndex
from ..pipelines.retrieval.retriever import INVERT, Embedder, Retriever, SketchNetwork, VisionModel, memory_needed
from .parts.checks import check_numbers
from .parts.folders import model_state, photo_folder, photo_folders
from .parts.model_files import STARTER, WEIGHTS, is_there, read_network, starter_or_file
from .parts.pictures import cell_input, to_image, to_pil
from .parts.sockets import IndexSocket, RetrieverSocket
from .parts.training import Teller, left_out, tidy

FOLDER = "sketch_retrievers"
STARTER_RETRIEVER = WEIGHTS / "retriever.safetensors"
ALONE = "only the connected clip_vision"
PAPER = ("ZSE-SBIR", "sketch-based image retrieval", "SBIR", "find by sketch", "image search", "CVPR 2023")
SPARE = 32  # more photos than asked for are ranked: some may have vanished since they were indexed
SCORES = "With Ret: cosine, -1 to 1 (with two networks: a sum of z-scores); with RN: 0 to 1."
PATCHES = {"where the sketch has ink": False, "everywhere": True}

host.register_model_folder(FOLDER)

SKETCH_TIP = "Dark lines on light paper, as from Load Sketch, of any size; it is cropped to its ink. "
INVERT_INPUT = io.Combo.Input(
    "invert",
    options=list(INVERT),
    advanced=True,
    tooltip="auto: a drawing whose edges are mostly dark has light lines on dark paper, and is inverted. yes: always. "
    "no: never.",
)


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
                    options=[*_built_in(), *host.model_files(FOLDER), ALONE],
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


class SketchFindPhotos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchFindPhotos",
            display_name="Find Photos by Sketch",
            category="sketch/retrieval",
            description="Finds the photos of an index that look most like a sketch, best first, at full size: to look "
            "at, or as exemplars for Appearance Energy, IP-Adapter and the like.",
            search_aliases=[*PAPER, "search photos", "exemplar", "similar images", "reverse image search"],
            inputs=[
                io.Image.Input("sketch", tooltip=SKETCH_TIP + "A batch is searched for one by one."),
                IndexSocket.Input("index", tooltip="From Index Photos."),
                io.Combo.Input(
                    "mode",
                    options=list(search.MODES),
                    tooltip="Ret: by the retrieval tokens, for any number of photos. Ret, then RN: the relation "
                    "network looks again at the best 200, and only they are results; ZSE-SBIR only. RN: it looks at "
                    "every pair, which takes as long as indexing.",
                ),
                io.Int.Input(
                    "count", default=8, min=1, max=1000, tooltip="Most photos per sketch, 1 to 1000; 200 after RN."
                ),
                io.Float.Input(
                    "threshold",
                    default=-100.0,
                    min=-100.0,
                    max=100.0,
                    step=0.01,
                    tooltip=f"Photos with a lower score are left out, -100 (none is) to 100. {SCORES}",
                ),
                INVERT_INPUT,
                cell_input(),
            ],
            outputs=[
                io.Image.Output(
                    "photos",
                    display_name="photos",
                    is_output_list=True,
                    tooltip="A list: the photos, upright, at full size, best first; those of the next sketch follow.",
                ),
                io.Float.Output("scores", display_name="scores", is_output_list=True, tooltip=f"A list. {SCORES}"),
                io.String.Output(
                    "names", display_name="names", is_output_list=True, tooltip="A list: their paths inside the folder."
                ),
                io.Image.Output(
                    "sketches",
                    display_name="sketches",
                    is_output_list=True,
                    tooltip="A list: the sketch that each photo was found for, so that both can be used in pairs.",
                ),
                io.Image.Output(
                    "sheet", display_name="sheet", tooltip="One picture: each sketch, and its photos with their scores."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        sketch: Tensor,
        index: PhotoIndex,
        mode: str,
        count: int,
        threshold: float,
        invert: str = INVERT[0],
        cell: int = 256,
    ) -> io.NodeOutput:
        check_numbers(threshold=threshold)
        as_rgb(sketch, "sketch")  # its checks only: what is transparent matters here
        rows = index.open()
        inputs = index.retriever.sketches([picture.cpu().numpy() for picture in sketch], invert)
        load(index.retriever)
        tell = Teller(cls.hidden and cls.hidden.unique_id, 1000)

        def seen(done: int, total: int) -> None:
            tell(round(1000 * done / total), lambda: f"relation network: {done} of {total} pairs")

        rankings = search.rank(index, rows, inputs, mode, count + SPARE, seen=seen)
        hits = [_hits(index, rows, ranking, count, threshold) for ranking in rankings]
        if not any(hits):
            best = max((ranking.scores[0] for ranking in rankings if ranking.scores), default=float("nan"))
            raise ValueError(
                f"No photo reaches the threshold {threshold:g}; the best score is {best:.3g}. Lower the threshold."
            )
        papers = to_pil(_on_white(sketch))
        photos = [[to_pil(hit.photo)[0] for hit in found] for found in hits]
        sheet = _sheet(papers, photos, [[hit.label for hit in found] for found in hits], cell)
        flat = [hit for found in hits for hit in found]
        drawn = [sketch[i : i + 1, ..., :3] for i, found in enumerate(hits) for _ in found]
        text = "\n".join(f"{hit.score:.3f}  {hit.name}" for hit in flat[:20])
        return io.NodeOutput(
            [hit.photo for hit in flat],
            [hit.score for hit in flat],
            [hit.name for hit in flat],
            drawn,
            to_image(sheet),
            ui=host.text_on_node(cls, text),
        )


class SketchRankImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchRankImages",
            display_name="Rank Images by Sketch",
            category="sketch/retrieval",
            description="Puts pictures in the order in which they look like a sketch, best first: the results of "
            "several seeds or exemplars, or any other batch and list.",
            search_aliases=[*PAPER, "sort images", "choose best", "rank results", "compare"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="The pictures, 1 or more: lists, batches, mixed sizes."),
                io.Image.Input("sketch", tooltip=SKETCH_TIP + "One for all."),
                RetrieverSocket.Input("retriever", tooltip="From Load Sketch Retriever."),
                io.Combo.Input(
                    "mode",
                    options=[search.RET, search.RN],
                    tooltip="Ret: by the retrieval tokens. RN: by the relation network; ZSE-SBIR only.",
                ),
                INVERT_INPUT,
                cell_input(),
            ],
            outputs=[
                io.Image.Output(
                    "ranked", display_name="ranked", is_output_list=True, tooltip="A list: the pictures, best first."
                ),
                io.Float.Output("scores", display_name="scores", is_output_list=True, tooltip=f"A list. {SCORES}"),
                io.Int.Output(
                    "numbers",
                    display_name="numbers",
                    is_output_list=True,
                    tooltip="A list: which of the connected pictures each one is, from 1.",
                ),
                io.Image.Output("sheet", display_name="sheet", tooltip="One picture: the sketch and the ranking."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: list[Tensor],
        sketch: list[Tensor],
        retriever: list[Retriever],
        mode: list[str],
        invert: list[str] | None = None,
        cell: list[int] | None = None,
    ) -> io.NodeOutput:
        if sum(map(len, sketch)) != 1:
            raise ValueError(f"Expected one sketch for all images, got {sum(map(len, sketch))}. Connect a single one.")
        as_rgb(sketch[0], "sketch")
        pictures = [picture[None] for batch in all_rgb(images, "images") for picture in batch]
        papers = [to_pil(picture)[0] for picture in pictures]
        known = retriever[0]
        drawn = known.sketches([sketch[0][0].cpu().numpy()], (invert or INVERT)[0])
        tell = Teller(cls.hidden and cls.hidden.unique_id, 1000)
        load(known)

        def seen(done: int, total: int) -> None:
            tell(round(1000 * done / total), lambda: f"{done} of {total} pictures")

        ranking = search.rank_connected(known, drawn, known.photos(papers), mode[0], seen)
        labels = [f"{score:.3f} no. {row + 1}" for row, score in zip(ranking.rows, ranking.scores, strict=True)]
        shown = [papers[row] for row in ranking.rows]
        sheet = _sheet(to_pil(_on_white(sketch[0])), [shown], [labels], (cell or [256])[0])
        return io.NodeOutput(
            [pictures[row] for row in ranking.rows],
            ranking.scores,
            [row + 1 for row in ranking.rows],
            to_image(sheet),
            ui=host.text_on_node(cls, "\n".join(labels[:20])),
        )


class SketchExplainMatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchExplainMatch",
            display_name="Explain Match",
            category="sketch/retrieval",
            description="Shows why a photo matches a sketch: lines between patches that belong together, the sketch "
            "rebuilt from patches of the photo, and where the retrieval token looks.",
            search_aliases=[*PAPER, "correspondence", "attention map", "explainable", "patch matching", "why"],
            inputs=[
                io.Image.Input("sketch", tooltip=SKETCH_TIP + "One for all photos, or one per photo."),
                io.Image.Input("photo", tooltip="The photo to compare it with, such as one that was found."),
                RetrieverSocket.Input(
                    "retriever", tooltip="From Load Sketch Retriever, with a ZSE-SBIR network in it."
                ),
                io.Int.Input(
                    "lines",
                    default=24,
                    min=1,
                    max=400,
                    tooltip="How many of the strongest correspondences are drawn, 1 to 400, at most one per patch of "
                    "the sketch.",
                ),
                io.Combo.Input(
                    "patches",
                    options=list(PATCHES),
                    tooltip="Which patches of the sketch are replaced by patches of the photo: those with lines in "
                    "them, or the paper too.",
                ),
                io.Int.Input(
                    "head",
                    default=0,
                    min=-1,
                    max=64,
                    advanced=True,
                    tooltip="Whose attention the masks show: 0: every head's, one mask each. 1 to 64: that head's. -1: "
                    "the mean of all.",
                ),
                INVERT_INPUT,
            ],
            outputs=[
                io.Image.Output(
                    "lines",
                    display_name="lines",
                    tooltip="Sketch and photo side by side; red lines join the most similar patches, blue ones the "
                    "least similar of those drawn.",
                ),
                io.Image.Output(
                    "rebuilt",
                    display_name="rebuilt",
                    tooltip="The sketch, each patch replaced by the most similar patch of the photo.",
                ),
                io.Image.Output(
                    "attention",
                    display_name="attention",
                    tooltip="A sheet: where each head of the retrieval token looks in the sketch and in the photo.",
                ),
                io.Mask.Output(
                    "sketch_masks",
                    display_name="sketch masks",
                    tooltip="That attention in the sketch, cropped as the network sees it, 0 to 1, one mask per head.",
                ),
                io.Mask.Output(
                    "photo_masks",
                    display_name="photo masks",
                    tooltip="That attention in the photo, at the photo's size, 0 to 1, one mask per head.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        sketch: Tensor,
        photo: Tensor,
        retriever: Retriever,
        lines: int,
        patches: str,
        head: int = 0,
        invert: str = INVERT[0],
    ) -> io.NodeOutput:
        from ..pipelines.retrieval import explain  # imported lazily: most sessions explain nothing

        as_rgb(sketch, "sketch")
        photo = as_rgb(photo, "photo")
        network = retriever.sketch_network
        alone = Retriever((network,))
        batch = max(len(sketch), len(photo))
        sketch, photo = pair_batches(sketch, batch, "sketch", "photo"), pair_batches(photo, batch, "photo", "sketch")
        seen = alone.sketches([picture.cpu().numpy() for picture in sketch], invert)[0]
        device = load(alone)
        shown = [
            explain.explain(network.network, device, mine, theirs, lines, PATCHES[patches], head)
            for mine, theirs in zip(seen, to_pil(photo), strict=True)
        ]
        drawn, rebuilt, attention, mine, theirs = zip(*shown, strict=True)
        pictures = [torch.cat([to_image(one) for one in kind]) for kind in (drawn, rebuilt, attention)]
        return io.NodeOutput(*pictures, torch.cat(mine), torch.cat(theirs))


# --- what the doors share ---------------------------------------------------------------------------------------------


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


def index_folder(photos: Path, retriever: Retriever, home: Path | None = None) -> Path:
    """Where the index of a folder by a retriever is kept. home: None: under ComfyUI's user folder."""
    key = hashlib.sha256(f"{photos}\0{retriever.key()}".encode(errors="surrogateescape")).hexdigest()[:12]
    home = home or Path(folder_paths.get_system_user_directory("sketchsynth")) / "photo_indexes"
    return home / f"{tidy(photos.name)[:60]} {key}"


def _built_in() -> list[str]:
    return [STARTER] if STARTER_RETRIEVER.is_file() else []


def _said(done: indexes.Updated) -> str:
    text = f"{done.count} photos; {done.read} read now"
    text += f", {done.dropped} dropped because they are gone" if done.dropped else ""
    outside = [f"{files.writable(name)}: a link that leads out of the folder" for name in done.outside]
    return text + left_out([*done.left_out, *outside])


class _Hit:
    """A photo that was found."""

    def __init__(self, name: str, score: float, photo: Tensor) -> None:
        self.name, self.score, self.photo = files.writable(name), score, photo

    @property
    def label(self) -> str:
        return f"{self.score:.3f} {Path(self.name).stem}"


def _hits(index: PhotoIndex, rows: indexes.Rows, ranking: search.Ranking, count: int, threshold: float) -> list[_Hit]:
    """The first `count` photos that reach the threshold and can still be read, at full size."""
    found: list[_Hit] = []
    for row, score in zip(ranking.rows, ranking.scores, strict=True):
        if len(found) == count or score < threshold:
            break
        name = rows.name(row)
        try:
            found.append(_Hit(name, score, to_image(read_picture(index.photo(name)))))
        except (ValueError, OSError):  # gone since it was indexed; the next run of Index Photos drops it
            continue
    return found


def _on_white(image: Tensor) -> Tensor:
    if image.shape[-1] != 4:
        return image
    return image[..., :3] * image[..., 3:] + 1 - image[..., 3:]


def _sheet(
    sketches: list[Image.Image], photos: list[list[Image.Image]], labels: list[list[str]], cell: int
) -> Image.Image:
    """One sketch and its photos as a compact sheet; several sketches as one row each."""
    from ..pictures.charts import contact_sheet

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


NODES = [SketchRetrieverLoader, SketchPhotoIndex, SketchFindPhotos, SketchRankImages, SketchExplainMatch]
