"""Searching an index of photos by sketch, and ranking connected pictures by one."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from .. import files, host
from ..pictures.drawings.raster import read_picture
from ..pictures.fit import all_rgb, as_rgb
from ..pipelines.retrieval import index as indexes
from ..pipelines.retrieval import search
from ..pipelines.retrieval.index import PhotoIndex
from ..pipelines.retrieval.retriever import INVERT, Retriever
from .parts.checks import check_numbers
from .parts.pictures import cell_input, to_image, to_pil
from .parts.retrieval import INVERT_INPUT, PAPER, SCORES, SKETCH_TIP, load, on_white, sheet_of
from .parts.sockets import IndexSocket, RetrieverSocket
from .parts.training import Teller

SPARE = 32  # more photos than asked for are ranked: some may have vanished since they were indexed


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
        inputs = index.retriever.sketches(list(sketch), invert)
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
        papers = to_pil(on_white(sketch))
        pictures = [[hit.picture for hit in found] for found in hits]
        sheet = sheet_of(papers, pictures, [[hit.label for hit in found] for found in hits], cell)
        flat = [hit for found in hits for hit in found]
        drawn = [sketch[i : i + 1, ..., :3] for i, found in enumerate(hits) for _ in found]
        text = "\n".join(f"{hit.score:.3f}  {hit.name}" for hit in flat[:20])
        return io.NodeOutput(
            [to_image(hit.picture) for hit in flat],
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
        given = sum(map(len, all_rgb(sketch, "sketch")))
        if given != 1:
            raise ValueError(f"Expected one sketch for all images, got {given}. Connect a single one.")
        pictures = [picture[None] for batch in all_rgb(images, "images") for picture in batch]
        papers = [to_pil(picture)[0] for picture in pictures]
        known = retriever[0]
        drawn = known.sketches([sketch[0][0]], (invert or INVERT)[0])
        tell = Teller(cls.hidden and cls.hidden.unique_id, 1000)
        load(known)

        def seen(done: int, total: int) -> None:
            tell(round(1000 * done / total), lambda: f"{done} of {total} pictures")

        ranking = search.rank_connected(known, drawn, known.photos(papers), mode[0], seen)
        labels = [f"{score:.3f} no. {row + 1}" for row, score in zip(ranking.rows, ranking.scores, strict=True)]
        shown = [papers[row] for row in ranking.rows]
        sheet = sheet_of(to_pil(on_white(sketch[0])), [shown], [labels], (cell or [256])[0])
        return io.NodeOutput(
            [pictures[row] for row in ranking.rows],
            ranking.scores,
            [row + 1 for row in ranking.rows],
            to_image(sheet),
            ui=host.text_on_node(cls, "\n".join(labels[:20])),
        )


class _Hit:
    """A photo that was found."""

    def __init__(self, name: str, score: float, picture: Image.Image) -> None:
        self.name, self.score, self.picture = files.writable(name), score, picture

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
            found.append(_Hit(name, score, read_picture(index.photo(name))))
        except (ValueError, OSError):  # gone since it was indexed; the next run of Index Photos drops it
            continue
    return found


NODES = [SketchFindPhotos, SketchRankImages]
