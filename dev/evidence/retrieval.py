"""ZSE-SBIR's claim on the starter world, a part of `python3 dev/run.py evidence`.

Sketches of held-out scenes search the photos of all of them: is the scene found, and is what comes first of its kind?
Two of the four grounds were never learned from. And whether a photo that was found is a better exemplar for
Inversion-by-Inversion than one at random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from evidence import inversion
from evidence.page import Page, Store, weights_of
from runtime import inprocess, machine
from runtime.provision import say

FIRST = 30_000_000  # seeds of the scenes
MOST = 1000  # scenes
SIDE = 128  # of photos and sketches
RELATED = 1000  # sketches, at most, that the relation network ranks: half an hour on one core, a pair in 2 ms
PAINTED = 12  # sketches that are painted with exemplars
CELLS, BINS = 8, 9  # of the edge histograms
ROUGH = {"as drawn": 0.0, "roughened as in training": 1.0, "roughened twice as much": 2.0}
DECIDES = ("starter/world.py", "starter/noise.py")
PAINTS = (*inversion.DECIDES, "networks/retrieval/*.py", "starter/weights/retriever.safetensors")
REAL = (
    "All of this is the starter world. Sketches and photos of real things were not measured here: that wants the "
    "published Sketchy file or a CLIP vision model, and neither was on this machine. `python3 dev/run.py retrieve "
    "evaluate` measures both on Sketchy, TU-Berlin, QuickDraw or any folders of classes."
)
HEADS = ["", "sketches", "Acc@1", "Acc@10", "mAP by ground"]


class Scenes(NamedTuple):
    """Photos [N,S,S,3] and sketches [N,S,S] of scenes, in [0,1], and the ground of each."""

    photos: Any
    sketches: Any
    grounds: list[str]


def scenes(count: int) -> Scenes:
    """As many of each ground."""
    learned, world = inprocess.room("starter.training.retriever"), inprocess.room("starter.world")
    grounds = list(world.GROUNDS)
    seeds = [learned.seeds_of([ground], count // len(grounds), FIRST) for ground in grounds]
    flat = [seed for some in seeds for seed in some]
    store, painter = Store("evidence_scenes", (count, SIDE, FIRST), DECIDES), world.World(SIDE)

    def make(first: int, last: int) -> Any:
        import numpy as np
        import torch

        made = [painter.render(seed) for seed in flat[first:last]]
        both = [np.concatenate([scene.image, scene.sketch[..., None]], 2) for scene in made]
        return torch.from_numpy(np.stack(both)).float() / 255

    held = store.get("scenes", len(flat), make, 50)
    named = [ground for ground, some in zip(grounds, seeds, strict=True) for _ in some]
    return Scenes(held[..., :3], held[..., 3], named)


# --- ways to compare --------------------------------------------------------------------------------------------------


class Network:
    """The built-in retriever behind its doors."""

    def __init__(self) -> None:
        parts = inprocess.room("nodes.parts.retrieval")
        self.path = parts.STARTER_RETRIEVER
        pipeline = inprocess.room("pipelines.retrieval.retriever")
        self.search = inprocess.room("pipelines.retrieval.search")
        self.part = parts.load_network(inprocess.room("nodes.parts.model_files").STARTER)
        self.retriever = pipeline.Retriever((self.part,))
        parts.load(self.retriever)

    def photos(self, photos: Any) -> Any:
        """The network's inputs."""
        pil = inprocess.room("nodes.parts.pictures").to_pil
        return self.retriever.photos(pil(photos))[0]

    def sketches(self, sketches: Any) -> Any:
        return self.retriever.sketches([one.expand(3, -1, -1).movedim(0, -1).numpy() for one in sketches], "no")[0]

    def tokens(self, inputs: Any) -> Any:
        """[N,D]: retrieval tokens."""
        return self.retriever.embed([inputs])[0]

    def ret(self, sketches: Any, photos: Any) -> Any:
        """Distances [Q,N] of the sketches' inputs to the tokens of photos."""
        return inprocess.room("pictures.ranking").distances(self.tokens(sketches), photos)

    def rn(self, sketches: Any, photos: Any) -> Any:
        """Distances [Q,N] by the relation network."""
        evaluate = inprocess.room("pipelines.retrieval.evaluate")
        as_bytes = [((inputs + 1) * 127.5).round().byte() for inputs in (sketches, photos)]
        return -evaluate.relations(self.part, *as_bytes, lambda *now: None)


def again(first: Any, second: Any, best: int) -> Any:
    """Distances of a search whose `best` nearest are put in the order of `second`."""
    import torch

    places, ranks = (one.argsort(dim=1, stable=True).argsort(dim=1).float() for one in (first, second))
    return torch.where(places < best, ranks - first.shape[1], places)


def pixels(pictures: Any) -> Any:
    """[N,D]: brightness at 32 x 32, centred."""
    import torch.nn.functional as F

    grey = pictures.mean(-1) if pictures.ndim == 4 else pictures
    small = F.interpolate(grey[:, None], (32, 32), mode="area").flatten(1)
    return small - small.mean(1, keepdim=True)


def edges(pictures: Any) -> Any:
    """[N,D]: histograms of the directions of edges in 8 x 8 cells, 9 bins each, every cell normalised (as HOG)."""
    import torch
    import torch.nn.functional as F

    grey = pictures.mean(-1) if pictures.ndim == 4 else pictures
    across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])[None, None]
    padded = F.pad(grey[:, None], (1,) * 4, mode="replicate")
    dx, dy = F.conv2d(padded, across), F.conv2d(padded, across.mT)
    strength, turn = (dx.square() + dy.square()).sqrt(), torch.atan2(dy, dx).remainder(torch.pi) / torch.pi * BINS
    bins = torch.cat([strength * ((turn - i).remainder(BINS) < 1) for i in range(BINS)], 1)
    cells = F.adaptive_avg_pool2d(bins, CELLS)
    return (cells / (cells.norm(dim=1, keepdim=True) + 0.05)).flatten(1)


def features(pictures: Any) -> Any:
    """[N,D]: the built-in feature network's last layer, averaged over the picture."""
    import torch

    experts = inprocess.room("nodes.extractors")
    known = experts.usable(experts.load_features(experts.STARTER))
    with inprocess.room("networks.frozen").gradients():
        look = known.summary().prepare(known.network.patcher.load_device)
    colour = pictures if pictures.ndim == 4 else pictures[..., None].expand(-1, -1, -1, 3)
    with torch.inference_mode():
        return torch.cat([look(some.movedim(-1, 1)) for some in colour.split(50)])


def lines(pictures: Any) -> Any:
    """[N,S,S]: photos drawn by the built-in extractor."""
    import torch

    doors = inprocess.room("nodes.extractors")
    extractor = doors.load_extractor(doors.STARTER)
    drawn = [doors.SketchPhotoToSketch.execute(some, extractor).args[0][..., 0] for some in pictures.split(50)]
    return torch.cat(drawn)


def baselines(held: Scenes) -> dict[str, Any]:
    """Distances [N,N] without a retriever."""
    apart = inprocess.room("pictures.ranking").distances
    drawn, by_edges = lines(held.photos), edges(held.sketches)
    return {
        "raw pixels (32 x 32)": apart(pixels(held.sketches), pixels(held.photos)),
        "edge histograms (as HOG)": apart(by_edges, edges(held.photos)),
        "edge histograms, photos drawn by the built-in extractor": apart(by_edges, edges(drawn)),
        "built-in feature network": apart(features(held.sketches), features(held.photos)),
    }


# --- judging ----------------------------------------------------------------------------------------------------------


def judged(distance: Any, own: list[int], grounds: list[str]) -> list[float]:
    """Acc@1 and Acc@10 of finding the sketch's own scene, and mAP of finding its ground. own: the scene of each row."""
    import torch

    ranking = inprocess.room("pictures.ranking")
    exact = torch.arange(distance.shape[1]) == torch.tensor(own)[:, None]
    alike = torch.tensor([[grounds[i] == other for other in grounds] for i in own])
    found = ranking.ranked(distance, exact)
    by_ground = ranking.plain_average_precision(ranking.ranked(distance, alike))
    return [ranking.recalled_at(found, k).mean().item() for k in (1, 10)] + [by_ground.mean().item()]


def spread(count: int, most: int) -> list[int]:
    """At most so many of the scenes, of all grounds alike."""
    return list(range(0, count, max(1, count // most)))[:most]


def weights_line(path: Any) -> str:
    notes, size, short = weights_of(path)
    return (
        f"The built-in retriever: {size / 1e6:.1f}M parameters, {notes.get('image_size', SIDE)} px, "
        f"{notes.get('minutes', 'an unknown number of')} minutes of training on "
        f"{notes.get('machine', 'an unknown machine')}, sha256 {short}.... Measured on {machine.describe()}."
    )


def retrieval(lab: Any, page: Page, count: int, samples: int, fresh: bool) -> None:
    """All of it, over `count` scenes; the painted results are measured against `samples` renders."""
    count = min(count, MOST)
    held, network = scenes(count - count % 4), Network()
    count = len(held.grounds)
    say("  looking at photos and sketches")
    inputs, everyone = network.photos(held.photos), list(range(count))
    photos = network.tokens(inputs)
    by_ret = network.ret(network.sketches(held.sketches), photos)
    some = spread(count, RELATED)
    say(f"  relation network: {len(some)} sketches")
    by_rn = network.rn(network.sketches(held.sketches[some]), inputs)
    rows = {"Ret": (by_ret, everyone)}
    rows |= {"Ret, on fewer sketches": (by_ret[some], some)} if len(some) < count else {}
    ways = {"RN": (by_rn, some), "Ret, then RN on the best 200": (again(by_ret[some], by_rn, 200), some)}
    rows |= ways | {name: (distance, everyone) for name, distance in baselines(held).items()}
    table = {name: judged(distance, own, held.grounds) for name, (distance, own) in rows.items()}
    page.numbers |= table
    page.text(
        "## Finding photos by sketch",
        weights_line(network.path),
        f"{count} sketches against {count} photos of the same scenes, none of them ever seen in training. Acc@1, "
        "Acc@10: the share of sketches whose own scene comes first, or among the first ten. mAP by ground: photos of "
        "the same ground (lake, meadow, dunes, snowfield) count as relevant; plain average precision. By chance: "
        f"{1 / count:.4f}, {min(1, 10 / count):.4f} and 0.25.",
    )
    page.table(HEADS, [[name, len(rows[name][1]), *values] for name, values in table.items()])
    _grounds(page, {"Ret": (by_ret, everyone), **ways}, held.grounds)
    _rough(page, network, held, photos, by_ret)
    _exemplars(page, lab, network, held, photos, samples, fresh)
    page.text(REAL)


def by_ground(ways: dict[str, tuple[Any, list[int]]], grounds: list[str], seen: tuple[str, ...]) -> list[list[Any]]:
    """Rows of the table by ground, then for the grounds learned from and for the others. ways: distances [Q,N] by name,
    and the scene of each of their rows. grounds: of every scene. seen: those learned from."""
    kinds = {f"{one} ({'learned' if one in seen else 'never seen'})": (one,) for one in dict.fromkeys(grounds)}
    kinds |= {"learned": seen, "never seen": tuple(one for one in dict.fromkeys(grounds) if one not in seen)}
    rows = []
    for way, (distance, own) in ways.items():
        for name, some in kinds.items():
            of = [row for row, scene in enumerate(own) if grounds[scene] in some]
            if of:
                rows.append([f"{way}: {name}", len(of), *judged(distance[of], [own[row] for row in of], grounds)])
    return rows


def _grounds(page: Page, ways: dict[str, tuple[Any, list[int]]], grounds: list[str]) -> None:
    seen = inprocess.room("starter.training.retriever").SEEN
    rows = by_ground(ways, grounds, seen)
    page.text(f"By ground. Only scenes of {' and '.join(seen)} were learned from: the others are zero-shot.")
    page.table(HEADS, rows)
    page.numbers["by ground"] = {row[0]: row[2:] for row in rows}


def _rough(page: Page, network: Network, held: Scenes, photos: Any, clean: Any) -> None:
    """photos: their tokens. clean: the distances of the sketches as drawn."""
    import torch

    rough, rows, by_edges = inprocess.room("starter.training.rough").roughened, [], edges(held.photos)
    for name, strength in ROUGH.items():
        drawn = rough(held.sketches, torch.Generator().manual_seed(7), strength) if strength else held.sketches
        inked = [i for i in range(len(drawn)) if float(drawn[i].min()) < 0.35]  # some lose all their lines
        distance = network.ret(network.sketches(drawn[inked]), photos) if strength else clean[inked]
        apart = inprocess.room("pictures.ranking").distances(edges(drawn[inked]), by_edges)
        rows.append([name, len(inked), *judged(distance, inked, held.grounds)])
        rows.append([f"{name}: edge histograms", len(inked), *judged(apart, inked, held.grounds)])
    page.text(
        "Sketches made rough: wobble at two scales, slight turns and shifts, gaps, missing parts, pens of one to five "
        "pixels."
    )
    page.table(HEADS, rows)
    page.numbers["rough"] = {row[0]: row[2:] for row in rows}


def _exemplars(page: Page, lab: Any, network: Network, held: Scenes, photos: Any, samples: int, fresh: bool) -> None:
    """Inversion-by-Inversion with the best photo that is not the sketch's own, and with one at random."""
    import torch

    scale = inprocess.room("pictures.fit").scale_image
    some = spread(len(held.grounds), PAINTED)
    distance = network.ret(network.sketches(held.sketches[some]), photos)
    distance[torch.arange(len(some)), some] = torch.inf
    found = distance.argmin(1).tolist()
    drawn = torch.randint(len(held.grounds) - 1, (len(some),), generator=torch.Generator().manual_seed(3)).tolist()
    chance = [i + (i >= own) for i, own in zip(drawn, some, strict=True)]
    small = inversion.SIDE
    sketches = scale(held.sketches[some][..., None].expand(-1, -1, -1, 3), small, small)
    store = Store("evidence_retrieval", (len(held.grounds), PAINTED, small), PAINTS)
    if fresh:
        store.forget()
    references = inversion.rendered(inversion.RENDERS, "image", samples)
    own, rows, shown = scale(held.photos[some], small, small), [], [sketches]
    ways: dict[str, Callable[[], Any]] = {"retrieved": lambda: found, "at random": lambda: chance}
    for name, pick in ways.items():
        exemplars = scale(held.photos[pick()], small, small)
        painted = store.get(name, len(some), inversion.Ways(lab, sketches, exemplars).two_stages)
        measured = inversion.Pairs(sketches, own, own, references).judge(painted)
        grounds = sum(held.grounds[i] == held.grounds[j] for i, j in zip(pick(), some, strict=True)) / len(some)
        rows.append([name, len(some), grounds, measured.contours, measured.palette, measured.distance])
        shown += [exemplars, painted]
    page.text(
        "Exemplars for Inversion-by-Inversion: the best photo that is not of the sketch's own scene, against one at "
        "random. Same ground: the share of exemplars of the sketch's ground. Palette: distance to the photo of the "
        "sketch's own scene. Contours and distance to renders as above.",
    )
    page.table(["exemplar", "sketches", "same ground", "contours", "palette", "distance to renders"], rows)
    page.numbers["exemplars"] = {row[0]: row[2:] for row in rows}
    few = min(8, len(some))
    names = ["sketch", "retrieved", "painted with it", "at random", "painted with it"]
    page.sheet("retrieval_examples", [picture for kind in shown for picture in kind[:few]], columns=few, rows=names)
