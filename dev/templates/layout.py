"""Where nodes, groups and wires of a template go, from the nodes' measured sizes. Plain numbers, no browser.

Nodes stand in columns and rows inside groups, groups in bands from left to right. Wires run straight where nothing is
in their way; where a node is, they go round its corners on reroutes, each type of wire at its own distance, so that
two wires round one corner stay apart.
"""

from __future__ import annotations

import heapq
from itertools import pairwise
from typing import Any, NamedTuple

TITLE = 30  # the bar above a node, outside its size
ROW, COLUMN = 20, 58  # free space between nodes: below each other (without the title), beside each other
PAD, HEAD, BETWEEN = 20, 46, 32  # inside a group at its sides, at its top for the title, and between groups
CLEAR = 5  # how close a wire may come to a node
MARGINS = {"MODEL": 12, "VAE": 18, "CLIP": 24, "CONDITIONING": 30, "LATENT": 36, "IMAGE": 42}
TURN = 150  # a turn costs as much as this length of wire

Point = tuple[float, float]


class Box(NamedTuple):
    """Left, top, width and height. A node's box begins below its title."""

    x: float
    y: float
    width: float
    height: float

    def with_title(self) -> Box:
        return Box(self.x, self.y - TITLE, self.width, self.height + TITLE)

    def grown(self, by: float) -> Box:
        return Box(self.x - by, self.y - by, self.width + 2 * by, self.height + 2 * by)


def crosses(a: Point, b: Point, box: Box) -> bool:
    """Whether the straight line from a to b passes through a box's inside (Liang and Barsky's clipping)."""
    low, high = 0.0, 1.0
    for start, end, least, most in (
        (a[0], b[0], box.x, box.x + box.width),
        (a[1], b[1], box.y, box.y + box.height),
    ):
        way = end - start
        if way == 0:
            if not least < start < most:
                return False
            continue
        first, second = sorted(((least - start) / way, (most - start) / way))
        low, high = max(low, first), min(high, second)
    return low < high


class Placed(NamedTuple):
    nodes: dict[str, Box]
    groups: list[tuple[str, str, Box]]  # title, colour, box


def place(bands: list[list[dict[str, Any]]], sizes: dict[str, Any], grows: dict[str, float]) -> Placed:
    """Every node and group. sizes: (width, height) by node. grows: what a node needs below it once it has run."""
    nodes: dict[str, Box] = {}
    groups: list[tuple[str, str, Box]] = []
    left = 0.0
    for band in bands:
        top, width = 0.0, 0.0
        inside: list[tuple[dict[str, Any], float, float]] = []
        for group in band:
            wide, high = extent(group["inside"], sizes, grows, last=group is band[-1])
            inside.append((group, top, high))
            width = max(width, wide)
            top += HEAD + high + PAD + BETWEEN
        for group, begins, high in inside:
            put(group["inside"], left + PAD, begins + HEAD, width, sizes, grows, nodes)
            box = Box(left, begins, width + 2 * PAD, HEAD + high + PAD)
            groups.append((group["title"], group["color"], box))
        left += width + 2 * PAD + BETWEEN
    return Placed(nodes, groups)


def extent(inside: Any, sizes: dict[str, Any], grows: dict[str, float], last: bool = False) -> tuple[float, float]:
    """Width and height of a node, a column (list) or a row (tuple), title bars included. last: nothing stands below, so
    that what grows needs no room."""
    if isinstance(inside, str):
        width, height = sizes[inside]
        return width, TITLE + height + (0 if last else grows[inside])
    if isinstance(inside, tuple):
        parts = [extent(part, sizes, grows, last) for part in inside] or [(0.0, 0.0)]
        return sum(part[0] for part in parts) + COLUMN * (len(parts) - 1), max(part[1] for part in parts)
    parts = [extent(part, sizes, grows, last and part is inside[-1]) for part in inside] or [(0.0, 0.0)]
    return max(part[0] for part in parts), sum(part[1] for part in parts) + ROW * (len(parts) - 1)


def put(
    inside: Any, x: float, y: float, width: float, sizes: dict[str, Any], grows: dict[str, float], nodes: dict[str, Box]
) -> None:
    """Sets nodes from (x, y). Those of a column become as wide as the column; a row's last part takes what is left."""
    if isinstance(inside, str):
        nodes[inside] = Box(x, y + TITLE, width, sizes[inside][1])
    elif isinstance(inside, tuple):
        for number, part in enumerate(inside):
            wide = extent(part, sizes, grows)[0] if number < len(inside) - 1 else width
            put(part, x, y, wide, sizes, grows, nodes)
            x, width = x + wide + COLUMN, width - wide - COLUMN
    else:
        for part in inside:
            put(part, x, y, width, sizes, grows, nodes)
            y += extent(part, sizes, grows)[1] + ROW


def route(start: Point, end: Point, ends: tuple[str, str], kind: str, nodes: dict[str, Box]) -> list[Point]:
    """The turns of a wire from an output at `start` to an input at `end`: none where the straight line is free.

    ends: the two nodes that it joins. The way is the shortest round the corners of all nodes, where a turn costs TURN
    and a step to the left counts twice.
    """
    foreign = [box.with_title().grown(CLEAR) for key, box in nodes.items() if key not in ends]
    own = [nodes[key].with_title().grown(-1) for key in ends]
    below = end[1] > start[1] and nodes[ends[0]].x == nodes[ends[1]].x
    walls = foreign if below or end[0] > start[0] else foreign + own
    if free(start, end, walls):
        return []
    walls = foreign + own
    margin = MARGINS.get(kind, 48)
    corners = []
    for box in (nodes[key].with_title().grown(margin) for key in nodes):
        corners += [(x, y) for x in (box.x, box.x + box.width) for y in (box.y, box.y + box.height)]
    points = [start, end, *(corner for corner in corners if not any(within(corner, wall) for wall in walls))]
    return shortest(points, walls)


def within(point: Point, box: Box) -> bool:
    return box.x < point[0] < box.x + box.width and box.y < point[1] < box.y + box.height


def free(a: Point, b: Point, walls: list[Box]) -> bool:
    return not any(crosses(a, b, wall) for wall in walls)


def shortest(points: list[Point], walls: list[Box]) -> list[Point]:
    """Dijkstra over what can be seen from where, from the first point to the second: the points between them."""
    best, before = {0: 0.0}, {}
    waiting = [(0.0, 0)]
    while waiting:
        cost, here = heapq.heappop(waiting)
        if here == 1:
            way = []
            while here := before[here]:
                way.append(points[here])
            return way[::-1]
        if cost > best[here]:
            continue
        a = points[here]
        for there, b in enumerate(points):
            across = b[0] - a[0]
            step = cost + TURN + (across if across > 0 else -2 * across) + abs(b[1] - a[1])
            if there != here and step < best.get(there, 1e9) and free(a, b, walls):
                best[there], before[there] = step, here
                heapq.heappush(waiting, (step, there))
    raise ValueError("A wire of a template finds no way between its nodes: leave more space.")


def crossed(way: list[Point], ends: tuple[Any, Any], nodes: dict[Any, Box]) -> list[Any]:
    """The foreign nodes, by key or id, that a wire with these points passes through."""
    return [
        key
        for key, box in nodes.items()
        if key not in ends and any(crosses(a, b, box.with_title()) for a, b in pairwise(way))
    ]
