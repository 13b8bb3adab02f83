"""Templates can be read: nothing overlaps, every node stands in a group, wires go round nodes, notes are legible.

The places in workflows/*.json were laid out for the larger of both renderers' sizes (dev/templates/layout.py), which
tests/browser/test_layout.py measures again in the real editor.
"""

from __future__ import annotations

import json
import re
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from helpers import PACK
from templates import layout
from templates.layout import TITLE, Box, crosses
from templates.parts import KINDS

TEMPLATES = sorted((PACK / "workflows").glob("*.json"))
NOTES = ("Note", "MarkdownNote")
KEYWORDS = (
    "img2img",
    "sketch to image",
    "inpaint",
    "scribble",
    "regional prompt",
    "style transfer",
    "upscale",
    "collage",
    "image search",
    "morph",
    "progressive synthesis",
)
TWIN = re.compile(r" \((SD1\.5|LSUN church|AFHQ|CLIP vision|ImageNet)\)$|as published")
WINDOW = (1866, 1005)  # pixels of a 1920 x 1080 screen that show the graph
FIT = 0.75  # the share of the window that the editor's fit fills
SHOWN = 8 / 14  # the zoom from which the classic renderer shows letters: those of widgets, of 14 pixels, have 8 there
EXPERT = re.compile(r"as published|full size|find, paint")  # three stages, or two models: larger than one screen

every_template = pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)


def read(template: Path) -> dict:
    return json.loads(template.read_text(encoding="utf-8"))


def boxes(workflow: dict) -> dict[int, Box]:
    return {node["id"]: Box(*node["pos"], *node["size"]) for node in workflow["nodes"]}


def group_boxes(workflow: dict) -> list[Box]:
    return [Box(*group["bounding"]) for group in workflow["groups"]]


def apart(a: Box, b: Box) -> bool:
    return a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y


def holds(outer: Box, inner: Box) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def fit(workflow: dict) -> float:
    """How far the editor zooms out to show all of it."""
    shapes = [*(box.with_title() for box in boxes(workflow).values())]
    width = max(b.x + b.width for b in shapes) - min(b.x for b in shapes)
    height = max(b.y + b.height for b in shapes) - min(b.y for b in shapes)
    return FIT * min(WINDOW[0] / (width + 20), WINDOW[1] / (height + 20))


def widget(node: dict, name: str) -> object:
    """The value of a widget of a node whose values all have an input of their own."""
    return node["widgets_values"][[entry["name"] for entry in node["inputs"] if entry.get("widget")].index(name)]


def sockets(node: dict) -> list[dict]:
    return [entry for entry in node.get("inputs") or [] if not entry.get("widget")]


def input_places(node: dict, slot: int) -> list[tuple[float, float]]:
    """Where a wire may end: sockets come first. How tall the widgets above a widget's own socket are is not saved."""
    x, y = node["pos"]
    entry, plain = node["inputs"][slot], sockets(node)
    if entry in plain:
        return [(x, y + 14 + 20 * plain.index(entry))]
    rows = max(len(plain), len(node.get("outputs") or []))
    return [(x, y + below) for below in range(20 * rows + 14, int(node["size"][1]), 8)]


def wires(workflow: dict) -> list[tuple[tuple[int, int], list[list[tuple[float, float]]]]]:
    """(source node, target node) and all points of every wire, reroutes included, for each place where it may end."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    turns = {one["id"]: one for one in workflow["extra"].get("reroutes", [])}
    last = {one["id"]: one["parentId"] for one in workflow["extra"].get("linkExtensions", [])}
    found = []
    for key, source, out, target, slot, _ in workflow["links"]:
        x, y = nodes[source]["pos"]
        way, here = [], last.get(key)
        while here is not None:
            way.append(tuple(turns[here]["pos"]))
            here = turns[here].get("parentId")
        start = (x + nodes[source]["size"][0], y + 14 + 20 * out)
        ends = input_places(nodes[target], slot)
        found.append(((source, target), [[start, *way[::-1], end] for end in ends]))
    return found


@every_template
def test_no_node_covers_another(template):
    found = {key: box.with_title() for key, box in boxes(read(template)).items()}
    assert [(a, b) for a, b in combinations(found, 2) if not apart(found[a], found[b])] == []


@every_template
def test_every_node_stands_in_one_group(template):
    workflow = read(template)
    groups = group_boxes(workflow)
    assert [(a, b) for a, b in combinations(range(len(groups)), 2) if not apart(groups[a], groups[b])] == []
    for key, box in boxes(workflow).items():
        inside = [group for group in groups if holds(group, box.with_title())]
        assert len(inside) == 1, f"node {key} stands in {len(inside)} groups"
        assert box.y - TITLE >= inside[0].y + 40, f"node {key} covers its group's title"


@every_template
def test_groups_have_one_colour_code(template):
    workflow = read(template)
    kinds = dict(KINDS.values())
    for group in workflow["groups"]:
        word = group["title"].split(":")[0]
        assert group["color"] == kinds[word], group["title"]
    words = {group["title"].split(":")[0] for group in workflow["groups"]}
    assert {KINDS["draw"][0], KINDS["walk"][0], KINDS["result"][0]} <= words


@every_template
def test_no_wire_runs_through_a_node(template):
    workflow = read(template)
    found = boxes(workflow)
    assert [ends for ends, ways in wires(workflow) if all(layout.crossed(way, ends, found) for way in ways)] == []


@every_template
def test_notes_are_legible_at_fit_zoom(template):
    workflow = read(template)
    notes = [node for node in workflow["nodes"] if node["type"] in NOTES]
    assert notes
    for note in notes:
        lines = [line for line in note["widgets_values"][0].splitlines() if line]
        assert all(line.startswith("# ") for line in lines), "only first headings are large enough"
        assert fit(workflow) >= (SHOWN if not EXPERT.search(template.stem) else SHOWN * 0.8)
        letters = (note["size"][0] - 40) / 10
        rows = sum(-(-len(line) // letters) for line in lines)
        assert note["size"][1] >= 27 * rows + 14 * (len(lines) - 1), "a note is cut off"


@every_template
def test_what_to_paint_stands_at_the_top_left(template):
    """The first group draws, and within the first two groups' width there is the knob."""
    workflow = read(template)
    first = min(workflow["groups"], key=lambda group: (group["bounding"][0], group["bounding"][1]))
    assert first["title"].startswith(KINDS["draw"][0])


@every_template
def test_painting_works_in_both_renderers(template):
    """ComfyUI's own Painter is for Nodes 2.0 only."""
    assert not [node for node in read(template)["nodes"] if node["type"] == "Painter"]


@every_template
def test_strokes_stay_where_they_are(template):
    """The editor does not scale a Painter's strokes if its picture changes size with the first run."""
    workflow = read(template)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    feeds = [(nodes[link[1]], nodes[link[3]]) for link in workflow["links"]]
    under = [source for source, target in feeds if target["type"] == "Painter" and source["type"] == "SketchLoader"]
    assert [widget(node, "size") for node in under] == [0] * len(under)


@every_template
def test_app_mode_names_what_is_there(template):
    workflow = read(template)
    shown = workflow["extra"].get("linearData")
    if shown is None:
        assert TWIN.search(template.stem) or "compared" in template.stem or len(workflow["nodes"]) >= 10
        return
    nodes = {str(node["id"]): node for node in workflow["nodes"]}
    paints = any(nodes[key]["type"] == "Painter" for key, _ in shown["inputs"])
    assert workflow["extra"]["linearMode"] is paints, "graphs, except where the classic renderer has no canvas"
    assert shown["outputs"]
    assert {nodes[key]["type"] for key in shown["outputs"]} <= {"SaveImage", "PreviewImage"}
    for key, name in shown["inputs"]:
        assert name in [entry["name"] for entry in nodes[key]["inputs"]], (nodes[key]["type"], name)


@every_template
def test_one_seed_matters(template):
    """Of the seeds that change by themselves there is one at most."""
    free = ("randomize", "increment", "decrement")
    changing = [
        node["title"] if "title" in node else node["type"]
        for node in read(template)["nodes"]
        if any(value in free for value in node.get("widgets_values") or [])
        and not any(entry["name"] in ("seed", "noise_seed") and entry.get("link") for entry in node["inputs"])
    ]
    assert len(changing) <= 1


@every_template
def test_files_go_into_one_folder(template):
    for node in read(template)["nodes"]:
        if node["type"] == "SaveImage" and not any(
            i["name"] == "filename_prefix" and i["link"] for i in node["inputs"]
        ):
            (prefix,) = node["widgets_values"]
            assert prefix.startswith("SketchSynth/")
            assert "." not in prefix.replace("SD1.5", "")


def test_names_make_a_course():
    """Numbers from 01 without a gap, a twin under the number of its starter, and the words that people search."""
    numbers = [int(path.stem[:2]) for path in TEMPLATES]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
    starters = {int(path.stem[:2]) for path in TEMPLATES if not TWIN.search(path.stem)}
    assert 1 in starters, "the first tile needs no model"
    text = " ".join(path.stem.lower() for path in TEMPLATES)
    assert [word for word in KEYWORDS if word not in text] == []
    for path in TEMPLATES:
        twin = re.search(r"^(.*) \((?:SD1\.5|LSUN church)\)$", path.stem)
        if twin and path.stem[:2] in {p.stem[:2] for p in TEMPLATES if p != path}:
            assert path.with_name(f"{twin[1]}.json").is_file(), path.stem


# --- the layout itself ---------------------------------------------------------------------------------------------


def test_crosses():
    box = Box(0, 0, 10, 10)
    assert crosses((-5, 5), (15, 5), box)
    assert crosses((-5, -5), (15, 15), box)
    assert crosses((5, 5), (20, 5), box)
    assert not crosses((-5, 11), (15, 11), box)
    assert not crosses((-5, 0), (15, 0), box), "along an edge is not through"
    assert not crosses((-5, 5), (-1, 5), box)
    assert not crosses((11, -5), (11, 15), box)


def test_place_columns_rows_and_groups():
    sizes = {"a": (100, 50), "b": (80, 40), "c": (60, 200)}
    bands = [
        [{"title": "1", "color": "#fff", "inside": (["a", "b"], "c")}],
        [{"title": "2", "color": "#000", "inside": ["d"]}],
    ]
    placed = layout.place(bands, {**sizes, "d": (10, 10)}, {"a": 7, "b": 0, "c": 0, "d": 0})
    a, b, c, d = (placed.nodes[key] for key in "abcd")
    assert (a.width, b.width) == (100, 100), "a column's nodes have one width"
    assert b.y == a.y + 50 + 7 + layout.ROW + TITLE
    assert c.x == a.x + 100 + layout.COLUMN
    assert c.y == a.y
    (_, _, first), (_, _, second) = placed.groups
    assert all(holds(first, one.with_title()) for one in (a, b, c))
    assert holds(second, d.with_title())
    assert apart(first, second)


def test_route_is_straight_where_it_may():
    nodes = {"a": Box(0, 0, 100, 100), "b": Box(300, 0, 100, 100)}
    assert layout.route((100, 14), (300, 14), ("a", "b"), "MODEL", nodes) == []


@pytest.mark.parametrize("kind", ["MODEL", "IMAGE", "other"])
def test_route_goes_round(kind):
    """A wall between the two ends: the wire turns, stays clear of it, and does not come back on itself."""
    nodes = {"a": Box(0, 0, 100, 100), "wall": Box(200, -300, 100, 500), "b": Box(400, 0, 100, 100)}
    start, end = (100, 50), (400, 50)
    way = layout.route(start, end, ("a", "b"), kind, nodes)
    assert way
    points = [start, *way, end]
    assert layout.crossed(points, ("a", "b"), nodes) == []
    assert layout.crossed([start, end], ("a", "b"), nodes) == ["wall"]
    assert all(x2 >= x1 for (x1, _), (x2, _) in pairwise(points))


def test_route_says_that_there_is_no_way():
    nodes = {"a": Box(0, 0, 100, 100), "b": Box(100, -30, 500, 900), "c": Box(300, 100, 50, 50)}
    with pytest.raises(ValueError, match="finds no way"):
        layout.route((100, 50), (300, 110), ("a", "c"), "MODEL", nodes)
