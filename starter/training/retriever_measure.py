"""How well the starter's retriever finds scenes that it never saw, by ground, with clean and roughened sketches, beside
two searches that learn nothing: by pixels, and by histograms of edges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from ... import files
from ...networks import build
from ...pictures.ranking import distances, ranked, recalled_at, scores
from ...pictures.retrieval import photo_for_retrieval
from ...training.batches import generator_of
from .retriever import HELD_OUT, SEEN, SIZE, ground_of, prepared, scenes
from .rough import roughened

AT_ONCE = 50
RERANKED = 20  # of the best by [Ret] that the relation network looks at
Table = dict[str, dict[str, float]]


def pixels(ink: Tensor) -> Tensor:
    """[N,D]: darkness [N,S,S] on a grid of 32 x 32, without its mean."""
    small = avg_pool2d(ink[:, None], ink.shape[-1] // 32).flatten(1)
    return small - small.mean(1, keepdim=True)


def edge_histograms(grey: Tensor) -> Tensor:
    """[N,D]: eight directions of gradients of pictures [N,S,S] in 8 x 8 cells, each of length one (HOG)."""
    down, right = torch.gradient(grey, dim=(1, 2))
    strength, angle = (down.square() + right.square()).sqrt(), torch.atan2(down, right) % torch.pi
    which = (angle / torch.pi * 8).long().clamp(max=7)
    bins = torch.nn.functional.one_hot(which, 8).movedim(-1, 1) * strength[:, None]
    return normalize(avg_pool2d(bins, grey.shape[-1] // 8), dim=1).flatten(1)


def found(distance: Tensor, grounds: np.ndarray) -> Table:
    """Acc@1, Acc@10 and mAP of the one right photo, and mAP of photos of the same ground, for kinds of grounds."""
    own = torch.eye(len(distance))
    same = torch.from_numpy(grounds[:, None] == grounds)
    relevant = ranked(distance, own)
    groups = {"all": np.ones(len(grounds), bool), "seen": np.isin(grounds, SEEN), "unseen": ~np.isin(grounds, SEEN)}
    groups |= {str(ground): grounds == ground for ground in sorted(set(grounds.tolist()))}
    table: Table = {}
    for name, rows in groups.items():
        of = torch.from_numpy(rows)
        table[name] = {
            "queries": int(rows.sum()),
            "acc1": float(recalled_at(relevant[of], 1).mean()),
            "acc10": float(recalled_at(relevant[of], 10).mean()),
            "map": scores(distance[of], own[of]).plain_map_all,
            "ground map": scores(distance[of], same[of]).map_all,
        }
    return table


@torch.inference_mode()
def searches(network: Any, photos: np.ndarray, drawn: Tensor, rerank: bool = True) -> dict[str, Tensor]:
    """Distances [N,N] of sketches [N,S,S] in [0,1] to photos [N,S,S,3] by each way to search; the relation network's
    takes most of the time."""
    seen = torch.stack([photo_for_retrieval(photo, network.size) for photo in photos])
    theirs = torch.cat([network.tokens(part) for part in seen.split(AT_ONCE)])
    asked = torch.stack([prepared(one, network.size) for one in drawn])
    mine = torch.cat([network.tokens(part) for part in asked.split(AT_ONCE)])
    ret = distances(mine[:, 0], theirs[:, 0])
    grey = torch.from_numpy(np.array(photos)).float().mean(3) / 255
    return {
        "Ret": ret,
        **({"Ret, then RN": reranked(network, mine, theirs, ret)} if rerank else {}),
        "pixels": distances(pixels(1 - drawn), pixels(1 - grey)),
        "edge histograms": distances(edge_histograms(drawn), edge_histograms(grey)),
    }


def reranked(network: Any, mine: Tensor, theirs: Tensor, ret: Tensor) -> Tensor:
    """Distances in which the best by [Ret] come first, by their z-score there less that of the relation network."""
    again = ret + 10
    for i, row in enumerate(ret):
        best = row.argsort()[:RERANKED]
        score = network.relation(mine[i : i + 1].expand(len(best), -1, -1), theirs[best])
        again[i, best] = standard(row[best]) - standard(score.float())
    return again


def standard(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std().clamp_min(1e-6)


def measured(weights: Path, folder: Path, count: int, report: Callable[[str], None] = print) -> dict[str, Table]:
    """Tables by way to search and kind of sketch; scenes are rendered into `folder` once."""
    seeds = list(range(HELD_OUT, HELD_OUT + count))
    photos, sketches = scenes(folder, "held_out", seeds)
    grounds = np.array([ground_of(seed) for seed in seeds])
    network = build(files.read_weights(weights), num_heads=3)
    true = torch.from_numpy(np.array(sketches)).float() / 255
    tables: dict[str, Table] = {}
    for kind, strength in (("true lines", None), ("rough", 1.0), ("very rough", 2.0)):
        drawn = true if strength is None else roughened(true, generator_of(47, count), strength)
        for way, distance in searches(network, photos, drawn, kind == "rough").items():
            tables[f"{way}, {kind}"] = table = found(distance, grounds)
            report(
                f"{way}, {kind}: "
                + "; ".join(
                    f"{name} " + " ".join(f"{key} {value:.3f}" for key, value in row.items() if key != "queries")
                    for name, row in table.items()
                    if name in ("all", "seen", "unseen")
                )
            )
    report(f"{count} scenes of {SIZE} px: {', '.join(f'{name} {(grounds == name).sum()}' for name in set(grounds))}")
    return tables
