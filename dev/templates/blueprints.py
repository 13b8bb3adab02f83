"""`python3 dev/run.py blueprints`: builds subgraphs/*.json in the real editor, each from one of the templates.

A blueprint is one node that holds a whole method. Everything of its template that goes on inside is taken over with its
settings; what came from outside becomes a socket, and the widgets named here stand on the node. So a change of the
template is a change of the blueprint after the next build.
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any, NamedTuple

from runtime.comfy_server import PACK
from templates.all import TEMPLATES
from templates.build import built, in_editor, marked, tidy

WRAP = """
async ({keys, name, inputs, outputs}) => {
  const graph = window.app.graph
  graph.nodes.forEach((node, i) => { node.properties.key = keys[i] })
  const { subgraph, node } = graph.convertToSubgraph(new Set(graph.nodes))
  const made = Object.fromEntries(subgraph.nodes.map(inner => [inner.properties.key, inner]))
  for (const inner of subgraph.nodes) delete inner.properties.key
  for (const [called, targets] of inputs) {
    const slots = targets.map(([key, id]) => [made[key].inputs.find(slot => slot.name === id), made[key]])
    const input = subgraph.addInput(called, slots[0][0].type)
    for (const [slot, owner] of slots)
      if (!input.connect(slot, owner)) throw new Error(`the editor refused ${called} -> ${owner.type}.${slot.name}`)
  }
  for (const [called, key, id] of outputs) {
    const slot = made[key].outputs.find(one => one.name === id || one.localized_name === id)
    if (!subgraph.addOutput(called, slot.type).connect(slot, made[key])) throw new Error(`no output ${called}`)
  }
  await new Promise(done => setTimeout(done, 600))
  subgraph.name = node.title = name
  node.pos = [0, 0]
  node.size = [320, node.computeSize()[1]]
  return JSON.parse(JSON.stringify(graph.serialize()))  // leaves out what is undefined, as saving does
}
"""


class Blueprint(NamedTuple):
    """One node made of the nodes `inside` of a template.

    sockets: (node, output) outside -> the socket's name ("" takes the name of the input it goes to). more: further
    sockets and the widgets that stand on the node, by name, with the inputs they go to. settings: widget values that
    differ from the template's.
    """

    template: str
    inside: tuple[str, ...]
    sockets: dict[tuple[str, str], str]
    more: dict[str, list[tuple[str, str]]]
    outputs: list[tuple[str, str, str]]
    settings: dict[str, dict[str, Any]]
    description: str
    aliases: list[str]


SHAPES, WALKS = ("shape stage 1", "shape stage 2"), ("walk stage 1", "walk stage 2")
BLUEPRINTS = {
    "SketchSynth - Inversion-by-Inversion": Blueprint(
        "Inversion-by-Inversion - sketch and exemplar",
        (SHAPES[0], "repeat", WALKS[0], "appearance", SHAPES[1], WALKS[1], "decode"),
        {
            ("prior", "model"): "model",
            ("prior", "vae"): "vae",
            ("label", "conditioning"): "",
            ("drawing", "image"): "sketch",
            ("exemplar", "image"): "exemplar",
        },
        {
            "vae": [("appearance", "vae")],
            "extractor": [(shape, "extractor") for shape in SHAPES],
            "features": [("appearance", "features")],
            "shape_weight": [(shape, "weight") for shape in SHAPES],
            "colour_weight": [("appearance", "colour_weight")],
            "grid": [("appearance", "grid")],
            "feature_weight": [("appearance", "feature_weight")],
            "t0": [(shape, "t0") for shape in SHAPES],
            "steps": [(shape, "steps") for shape in SHAPES],
            "repeats_stage_2": [(SHAPES[1], "repeats")],
            "variations": [("repeat", "amount")],
            "cfg": [(walk, "cfg") for walk in WALKS],
            "seed": [(WALKS[0], "noise_seed")],
            "seed_stage_2": [(WALKS[1], "noise_seed")],
        },
        [("IMAGE", "decode", "IMAGE"), ("LATENT", WALKS[1], "output")],
        {"repeat": {"amount": 1}, **{shape: {"weight": 0.5} for shape in SHAPES}},
        "Turns a line sketch and an exemplar photo into a picture, in the two stages of Inversion-by-Inversion, on "
        "any image model: first the sketch's shape, then the exemplar's colours. For a text-to-image model connect "
        "its prompts to positive and negative, for a pixel prior a Pixel Prior Label.",
        ["Inversion-by-Inversion", "sketch to image", "line art to photo", "exemplar", "training-free guidance"],
    )
}


def parts(blueprint: Blueprint) -> tuple[dict[str, Any], list[tuple[str, list]]]:
    """The inner graph, as BUILD takes it, and (input's name, its targets) in the order of the node's sockets."""
    graph = TEMPLATES[blueprint.template]()
    inputs: dict[str, list] = {}
    for outside, called in blueprint.sockets.items():
        for *source, target, name in graph["links"]:
            if tuple(source) == outside and target in blueprint.inside:
                inputs.setdefault(called or name, []).append((target, name))
    for called, targets in blueprint.more.items():
        inputs.setdefault(called, []).extend(targets)
    inner = {
        "nodes": {key: graph["nodes"][key] for key in blueprint.inside},
        "links": [link for link in graph["links"] if link[0] in blueprint.inside and link[2] in blueprint.inside],
    }
    for key, widgets in blueprint.settings.items():
        inner["nodes"][key]["widgets"] |= widgets
    return inner, list(inputs.items())


def finished(name: str, blueprint: Blueprint, graph: dict[str, Any]) -> dict[str, Any]:
    """The saved graph with what the editor's browser of nodes shows, and ids that the next build repeats."""
    (subgraph,) = graph["definitions"]["subgraphs"]
    subgraph |= {"name": name, "category": "sketch", "description": blueprint.description}
    graph = tidy(graph)
    graph["extra"] = {"BlueprintDescription": blueprint.description, "BlueprintSearchAliases": blueprint.aliases}
    left = min(inner["pos"][0] for inner in subgraph["nodes"])
    right = max(inner["pos"][0] + inner["size"][0] for inner in subgraph["nodes"])
    subgraph["inputNode"]["bounding"][:2] = [left - 60 - subgraph["inputNode"]["bounding"][2], 60]
    subgraph["outputNode"]["bounding"][:2] = [right + 60, 60]
    text = json.dumps(graph)
    for one in (subgraph, *subgraph["inputs"], *subgraph["outputs"]):
        text = text.replace(one["id"], str(uuid.uuid5(uuid.NAMESPACE_URL, f"sketchsynth/{name}/{one['name']}")))
    return json.loads(text)


def main() -> int:
    with in_editor() as (page, info):
        for name, blueprint in BLUEPRINTS.items():
            inner, inputs = parts(blueprint)
            built(page, marked(inner, info))
            wanted = {"keys": list(inner["nodes"]), "name": name, "inputs": inputs, "outputs": blueprint.outputs}
            graph = finished(name, blueprint, page.evaluate(WRAP, wanted))
            path = PACK / "subgraphs" / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(graph, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"{path.name}: {len(inner['nodes'])} nodes, {len(inputs)} inputs", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
