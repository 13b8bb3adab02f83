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
from templates.build import built, in_editor, marked, opened, tidy

WRAP = """
async ({keys, name, inputs, outputs}) => {
  const graph = window.app.graph
  graph.nodes.forEach((node, i) => { node.properties.key = keys[i] })
  const { subgraph, node } = graph.convertToSubgraph(new Set(graph.nodes))
  const made = Object.fromEntries(subgraph.nodes.map(inner => [inner.properties.key, inner]))
  for (const inner of subgraph.nodes) delete inner.properties.key
  for (const own of [...subgraph.inputs]) subgraph.removeInput(own)  // the editor puts seeds on the node by itself
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
ANY_MODEL = (
    "For a text-to-image model connect its prompts to positive and negative, for a pixel prior a Pixel Prior Label."
)
BLUEPRINTS = {
    "SketchSynth - SDEdit": Blueprint(
        "02 Strokes to photo - sketch to image",
        ("encode", "repeat", "t0", "ddpm", "sampler", "decode"),
        {
            ("prior", "model"): "model",
            ("prior", "vae"): "vae",
            ("label", "conditioning"): "",
            ("drawing", "image"): "strokes",
        },
        {
            "vae": [("decode", "vae")],
            "t0": [("t0", "t0")],
            "steps": [("t0", "steps")],
            "variations": [("repeat", "amount")],
            "sampler_name": [("ddpm", "sampler_name")],
            "cfg": [("sampler", "cfg")],
            "seed": [("sampler", "noise_seed")],
        },
        [("IMAGE", "decode", "IMAGE"), ("LATENT", "sampler", "output")],
        {"repeat": {"amount": 1}},
        "Turns strokes, a collage or a drawn-over photo into a picture: SDEdit as one node, on any image model. t0 "
        f"says how much may change: 0.4 on pixel models, 0.6 on latent ones. {ANY_MODEL}",
        ["SDEdit", "img2img", "image to image", "strokes to image", "sketch to image", "denoise"],
    ),
    "SketchSynth - Inversion-by-Inversion": Blueprint(
        "09 Line drawing and exemplar - sketch to photo",
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
        f"any image model: first the sketch's shape, then the exemplar's colours. {ANY_MODEL}",
        ["Inversion-by-Inversion", "sketch to image", "line art to photo", "exemplar", "training-free guidance"],
    ),
    "SketchSynth - GradOP": Blueprint(
        "12 Paint with a prompt - GradOP",
        ("solve", "of painting", "empty", "schedule", "GradOP+", "GradOP+ picture"),
        {
            ("models", "model"): "model",
            ("models", "vae"): "vae",
            ("prompt", "CONDITIONING"): "positive",
            ("without", "CONDITIONING"): "negative",
            ("small", "IMAGE"): "painting",
        },
        {
            "rounds": [("solve", "rounds")],
            "strength": [("solve", "strength")],
            "learning_rate": [("solve", "learning_rate")],
            "steps": [("schedule", "steps")],
            "variations": [("empty", "batch_size")],
            "cfg": [("GradOP+", "cfg")],
            "seed": [("GradOP+", "noise_seed")],
        },
        [("IMAGE", "GradOP+ picture", "IMAGE"), ("LATENT", "GradOP+", "output")],
        {"solve": {"strength": 0.8, "rounds": 3}, "empty": {"batch_size": 1}, "GradOP+": {"cfg": 7.0}},
        "Paints what the prompt says with the colours and layout of your painting: GradOP+ as one node, on any latent "
        "image model. The result has the painting's size; rounds says how closely the painting is followed.",
        ["GradOP", "GradOP+", "stroke painting", "guided painting", "img2img", "paint with words"],
    ),
    "SketchSynth - Words by colour": Blueprint(
        "14 Words by colour - regional prompt",
        ("legend", "tie", "encode", "repeat", "sampler", "decode"),
        {
            ("models", "model"): "model",
            ("models", "clip"): "clip",
            ("models", "vae"): "vae",
            ("without", "CONDITIONING"): "negative",
            ("painting", "image"): "painting",
        },
        {
            "prompt": [("tie", "prompt")],
            "legend": [("legend", "legend")],
            "soft_edge": [("legend", "soft_edge")],
            "strength": [("tie", "strength")],
            "denoise": [("sampler", "denoise")],
            "steps": [("sampler", "steps")],
            "variations": [("repeat", "amount")],
            "cfg": [("sampler", "cfg")],
            "seed": [("sampler", "seed")],
        },
        [("IMAGE", "decode", "IMAGE"), ("LATENT", "sampler", "LATENT"), ("regions", "legend", "preview")],
        {"repeat": {"amount": 1}, "sampler": {"cfg": 7.0}},
        "Ties words of the prompt to the colours of a painting, by a legend such as #6c8a88: a lake, and paints the "
        "picture from it, on SD1.5, SD2 or SDXL: regions and sampler as one node.",
        ["Words by colour", "regional prompt", "paint with words", "cross-attention", "segmentation map", "GradOP"],
    ),
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
        "bare": True,
        "groups": [[pruned(group, blueprint.inside)] for band in graph["groups"] for group in band],
        "nodes": {key: graph["nodes"][key] for key in blueprint.inside},
        "links": [link for link in graph["links"] if link[0] in blueprint.inside and link[2] in blueprint.inside],
    }
    for key, widgets in blueprint.settings.items():
        inner["nodes"][key]["widgets"] |= widgets
    return inner, list(inputs.items())


def pruned(group: dict[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
    """A group with only these nodes in it, none perhaps."""

    def kept(part: Any) -> Any:
        if isinstance(part, str):
            return part if part in inside else None
        return type(part)(one for one in map(kept, part) if one)

    return {**group, "inside": kept(group["inside"])}


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
            opened(page)
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
