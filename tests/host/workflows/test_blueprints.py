"""Every blueprint of subgraphs/: one node that holds a whole method, served by the host, and a picture comes out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from helpers import PACK
from runtime.comfy_server import NAME
from tools import graph

BLUEPRINTS = sorted((PACK / "subgraphs").glob("*.json"))
STARTER = "starter landscapes (built in)"
TEMPLATES = {
    "SketchSynth - SDEdit": "02 Strokes to photo - sketch to image",
    "SketchSynth - Inversion-by-Inversion": "09 Line drawing and exemplar - sketch to photo",
    "SketchSynth - GradOP": "12 Paint with a prompt - GradOP",
    "SketchSynth - Words by colour": "14 Words by colour - regional prompt",
}

every_blueprint = pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda path: path.stem)


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def parts(workflow: dict) -> tuple[dict, dict]:
    (root,), (subgraph,) = workflow["nodes"], workflow["definitions"]["subgraphs"]
    return root, subgraph


def test_there_are_blueprints():
    assert [path.stem for path in BLUEPRINTS] == sorted(TEMPLATES)


@every_blueprint
def test_one_node_and_nothing_else(blueprint):
    """Else the editor shows an error to everybody at every start."""
    workflow = read(blueprint)
    root, subgraph = parts(workflow)
    assert root["type"] == subgraph["id"]
    assert workflow["links"] == []
    assert all(entry["link"] is None for entry in root["inputs"])
    assert not any(entry["links"] for entry in root["outputs"])
    assert [entry["name"] for entry in root["inputs"]] == [entry["name"] for entry in subgraph["inputs"]]
    assert [entry["name"] for entry in root["outputs"]] == [entry["name"] for entry in subgraph["outputs"]]
    assert len({entry["name"] for entry in root["inputs"]}) == len(root["inputs"])
    promoted = [entry["name"] for entry in root["inputs"] if entry.get("widget")]
    assert len(root["widgets_values"]) == len(promoted)
    assert None not in root["widgets_values"]
    assert root["title"] == subgraph["name"] == blueprint.stem
    assert blueprint.stem.startswith("SketchSynth"), "names of blueprints are shared with the host's own"
    assert subgraph["category"]
    assert len(workflow["extra"]["BlueprintDescription"]) > 60
    assert blueprint.stem.removeprefix("SketchSynth - ") in workflow["extra"]["BlueprintSearchAliases"]


@every_blueprint
def test_links_agree_with_both_their_ends(blueprint):
    _, subgraph = parts(read(blueprint))
    nodes = {node["id"]: node for node in subgraph["nodes"]}
    links = {link["id"]: link for link in subgraph["links"]}
    assert len(links) == len(subgraph["links"])
    for key, link in links.items():
        if link["origin_id"] == graph.SUBGRAPH_INPUT:
            assert key in subgraph["inputs"][link["origin_slot"]]["linkIds"]
        else:
            assert key in nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["links"]
        if link["target_id"] == graph.SUBGRAPH_OUTPUT:
            assert subgraph["outputs"][link["target_slot"]]["linkIds"] == [key]
        else:
            assert nodes[link["target_id"]]["inputs"][link["target_slot"]]["link"] == key
    named = [key for entry in subgraph["inputs"] + subgraph["outputs"] for key in entry["linkIds"]]
    named += [entry["link"] for node in nodes.values() for entry in node["inputs"] if entry["link"] is not None]
    assert set(named) == set(links)


@every_blueprint
def test_it_is_still_its_template(blueprint, server):
    """Every inner node stands in the template with the same settings, but for those that stand on the blueprint."""
    info = server.object_info()
    _, subgraph = parts(read(blueprint))
    theirs = read(PACK / "workflows" / f"{TEMPLATES[blueprint.stem]}.json")["nodes"]
    for node in subgraph["nodes"]:
        shown = {entry["name"] for entry in node["inputs"] if entry.get("widget") and entry["link"] is not None}

        def kept(one, shown=shown):
            named = graph.widget_inputs(one, info[one["type"]])
            return {name: value for name, value in named.items() if name not in shown}

        same = [kept(one) == kept(node) for one in theirs if one["type"] == node["type"]]
        assert any(same), f"{node['type']}: run `dev/run.py blueprints`"


@every_blueprint
def test_the_host_serves_it(blueprint, server):
    listed = server.get_json("/global_subgraphs")
    (key,) = (key for key, entry in listed.items() if entry["name"] == blueprint.stem)
    assert listed[key]["info"]["node_pack"] == f"custom_nodes.{NAME}"
    assert json.loads(server.get_json(f"/global_subgraphs/{key}")["data"]) == read(blueprint)


# Where a blueprint's sockets are fed from: (node, output).
PIXELS = {
    "model": ("prior", 0),
    "vae": ("prior", 1),
    "positive": ("label", 0),
    "negative": ("label", 0),
    "strokes": ("painting", 0),
    "sketch": ("sketch", 0),
    "exemplar": ("exemplar", 0),
}
TEXT = {
    "model": ("models", 0),
    "clip": ("models", 1),
    "vae": ("models", 2),
    "positive": ("words", 0),
    "negative": ("words", 0),
    "painting": ("painting", 0),
}


class Around:
    """A graph round a blueprint's node: loaders in front, previews behind."""

    def __init__(self, blueprint: Path) -> None:
        self.workflow = read(blueprint)
        self.root, _ = parts(self.workflow)
        self.names = [entry["name"] for entry in self.root["inputs"]]
        sources = TEXT if "painting" in self.names else PIXELS
        used = {source for name, (source, _) in sources.items() if name in self.names}
        if sources is TEXT:
            self.put("models", "SketchStarterModels", ["landscapes 128 px"], ["MODEL", "CLIP", "VAE"])
            self.put("words", "CLIPTextEncode", ["hills, a lake, by day"], ["CONDITIONING"], clip="CLIP")
            self.link(self.nodes["models"], 1, self.nodes["words"], 0)
        else:
            self.put("prior", "SketchPriorLoader", [STARTER], ["MODEL", "VAE"])
            self.put("label", "SketchPriorLabel", [-1], ["CONDITIONING"])
        pictures = {
            "sketch": "line drawing - lake and peaks",
            "exemplar": "photo - evening lake",
            "painting": "two shores",
        }
        for key, name in pictures.items():
            if key in used:
                values = [f"{name} (sample).png [temp]", "auto", "#ffffff", "auto", 64]
                self.put(key, "SketchLoader", values, ["IMAGE", "MASK"])
        for name, (source, slot) in sources.items():
            if name in self.names:
                self.link(self.nodes[source], slot, self.root, self.names.index(name))
        self.put("show", "PreviewImage", [], [], images="IMAGE")
        self.put("decode", "VAEDecode", [], ["IMAGE"], samples="LATENT", vae="VAE")
        self.put("show latent", "PreviewImage", [], [], images="IMAGE")
        self.link(self.root, 0, self.nodes["show"], 0)
        self.link(self.root, 1, self.nodes["decode"], 0)
        source, slot = sources["vae"]
        self.link(self.nodes[source], slot, self.nodes["decode"], 1)
        self.link(self.nodes["decode"], 0, self.nodes["show latent"], 0)

    @property
    def nodes(self) -> dict[str, dict]:
        return {node.get("title", ""): node for node in self.workflow["nodes"]}

    def put(self, key: str, kind: str, values: list, outputs: list[str], **inputs: str) -> None:
        self.workflow["nodes"].append(
            {
                "id": 100 + len(self.workflow["nodes"]),
                "type": kind,
                "title": key,
                "widgets_values": values,
                "inputs": [{"name": name, "type": given, "link": None} for name, given in inputs.items()],
                "outputs": [{"name": name, "type": name} for name in outputs],
            }
        )

    def link(self, source: dict, slot: int, target: dict, place: int) -> None:
        key = len(self.workflow["links"]) + 1
        self.workflow["links"].append([key, source["id"], slot, target["id"], place, target["inputs"][place]["type"]])
        target["inputs"][place]["link"] = key

    def set(self, **values) -> None:
        promoted = [entry["name"] for entry in self.root["inputs"] if entry.get("widget")]
        for name, value in values.items():
            self.root["widgets_values"][promoted.index(name)] = value


def pictures(server, outputs, at):
    return [Image.open(io.BytesIO(server.picture(image))).convert("RGB") for image in outputs[str(at)]["images"]]


@every_blueprint
def test_it_runs_as_one_node(blueprint, server):
    """Few steps on the built-in models: two pictures, the same from IMAGE and LATENT, others with another seed."""
    info = server.object_info()
    around = Around(blueprint)
    around.set(steps=4, variations=2, cfg=1.0, seed=3)
    outputs = server.run(graph.to_prompt(around.workflow, info))
    shown, decoded = (pictures(server, outputs, around.nodes[key]["id"]) for key in ("show", "show latent"))
    assert [picture.size for picture in shown] == [(64, 64)] * 2
    assert all(ImageChops.difference(a, b).getbbox() is None for a, b in zip(shown, decoded, strict=True))
    around.set(seed=4)
    other = pictures(server, server.run(graph.to_prompt(around.workflow, info)), around.nodes["show"]["id"])
    assert ImageChops.difference(shown[0], other[0]).getbbox() is not None


def test_what_stands_on_the_node_reaches_what_is_in_it(server):
    """Inversion-by-Inversion, whose widgets go to two stages."""
    info = server.object_info()
    around = Around(PACK / "subgraphs" / "SketchSynth - Inversion-by-Inversion.json")
    around.set(steps=2, variations=2, t0=0.37, shape_weight=0.8, cfg=1.0)
    prompt = graph.to_prompt(around.workflow, info)
    inner = [node for key, node in prompt.items() if ":" in key]
    stages = [node["inputs"] for node in inner if node["class_type"] == "ShapeInversion"]
    assert [(stage["t0"], stage["steps"], stage["weight"]) for stage in stages] == [(0.37, 2, 0.8)] * 2
    assert all("extractor" not in stage for stage in stages), "sockets left open stay open"
    seeds = [node["inputs"]["noise_seed"] for node in inner if node["class_type"] == "SamplerCustom"]
    assert len(set(seeds)) == 2, "the stages draw their own noise"
    shown = pictures(server, server.run(prompt), around.nodes["show"]["id"])
    around.set(colour_weight=20.0)
    again = server.run(graph.to_prompt(around.workflow, info))
    other = pictures(server, again, around.nodes["show"]["id"])
    assert ImageChops.difference(shown[0], other[0]).getbbox() is not None
