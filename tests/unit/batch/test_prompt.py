"""batch/prompt.py: what the editor does on Run, done without it."""

from __future__ import annotations

import pytest

from runtime.rooms import room

graph = room("batch.prompt")

INFO = {
    "Loader": {
        "input": {
            "required": {"image": [["a.png", "b.png"], {"image_upload": True}]},
            "optional": {"scale": ["FLOAT", {"default": 1.5}]},
        },
        "output": ["IMAGE"],
        "display_name": "Load",
    },
    "Sample": {
        "input": {
            "required": {
                "image": ["IMAGE"],
                "seed": ["INT", {"default": 0}],
                "steps": ["INT", {"default": 20}],
                "mode": ["COMBO", {"options": ["x", "y"], "control_after_generate": True}],
                "model": ["MODEL"],
            },
            "optional": {
                "strength": ["FLOAT", {"default": 1.0, "forceInput": True}],
                "names": ["COMBO", {"options": ["p", "q"]}],
            },
        },
        "output": ["IMAGE", "MASK"],
        "display_name": "Sample",
    },
    "Pick": {
        "input": {
            "required": {
                "kind": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "flat", "inputs": {"required": {}}},
                            {"key": "round", "inputs": {"required": {"radius": ["INT", {"default": 3}]}}},
                        ]
                    },
                ],
                "last": ["STRING", {"default": ""}],
            }
        },
        "output": ["IMAGE"],
        "display_name": "Pick",
    },
    "Show": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "display_name": "Show"},
}


def node(key, kind, values=(), inputs=(), outputs=("IMAGE",), **more):
    return {
        "id": key,
        "type": kind,
        "widgets_values": list(values),
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs],
        "outputs": [{"name": one, "type": one} for one in outputs],
        **more,
    }


def inputs_of(nodes, links, key="9", **more):
    return graph.to_prompt({"nodes": nodes, "links": links, **more}, INFO)[key]["inputs"]


def test_widget_values_are_named():
    sample = node(9, "Sample", [7, "randomize", 30, "y", "fixed", "", "q"])
    assert inputs_of([sample], []) == {"seed": 7, "steps": 30, "mode": "y", "names": "q"}


def test_upload_button_stands_between_required_and_optional():
    assert inputs_of([node(9, "Loader", ["b.png", "image", 2.0])], []) == {"image": "b.png", "scale": 2.0}


def test_missing_trailing_values_take_the_default():
    assert inputs_of([node(9, "Loader", ["b.png"])], []) == {"image": "b.png", "scale": 1.5}


def test_dynamic_combo_unfolds_its_choice():
    assert inputs_of([node(9, "Pick", ["round", 5, "end"])], []) == {"kind": "round", "kind.radius": 5, "last": "end"}
    assert inputs_of([node(9, "Pick", ["flat", "end"])], []) == {"kind": "flat", "last": "end"}


def test_lists_are_wrapped():
    assert inputs_of([node(9, "Pick", ["flat", [1, 2]])], [])["last"] == {"__value__": [1, 2]}


def test_links_muted_and_notes():
    nodes = [
        node(1, "Loader", ["a.png", "image", 1.0]),
        node(2, "Loader", ["a.png", "image", 1.0], mode=graph.NEVER),
        node(3, "Note", ["hello"]),
        node(8, "Show", inputs=[("images", "IMAGE", 2)]),
        node(9, "Show", inputs=[("images", "IMAGE", 1)]),
    ]
    prompt = graph.to_prompt({"nodes": nodes, "links": [[1, 1, 0, 9, 0, "IMAGE"], [2, 2, 0, 8, 0, "IMAGE"]]}, INFO)
    assert sorted(prompt) == ["1", "8", "9"]
    assert prompt["9"] == {"class_type": "Show", "inputs": {"images": ["1", 0]}, "_meta": {"title": "Show"}}
    assert prompt["8"]["inputs"] == {}


def test_bypass_hands_on_the_input_of_its_type():
    nodes = [
        node(1, "Loader", ["a.png", "image", 1.0]),
        node(2, "Sample", [], [("model", "MODEL", None), ("image", "IMAGE", 1)], ("IMAGE", "MASK"), mode=graph.BYPASS),
        node(9, "Show", inputs=[("images", "IMAGE", 2)]),
    ]
    assert inputs_of(nodes, [[1, 1, 0, 2, 1, "IMAGE"], [2, 2, 0, 9, 0, "IMAGE"]]) == {"images": ["1", 0]}


def test_reroute_and_primitive_dissolve():
    nodes = [
        node(1, "Loader", ["a.png", "image", 1.0]),
        node(2, "Reroute", [], [("", "*", 1)], ("*",)),
        node(3, "PrimitiveNode", [42, "fixed"], outputs=("INT",)),
        node(9, "Sample", [7, "fixed", 30, "y", "fixed", "", "p"], [("image", "IMAGE", 2), ("seed", "INT", 3)]),
    ]
    links = [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 9, 0, "IMAGE"], [3, 3, 0, 9, 1, "INT"]]
    found = inputs_of(nodes, links)
    assert found["image"] == ["1", 0]
    assert found["seed"] == 42


def test_subgraph_unfolds():
    inner = {
        "id": "uuid",
        "inputs": [{"name": "picture"}, {"name": "seed"}],
        "nodes": [
            node(5, "Sample", [1, "fixed", 9, "x", "fixed", "", "p"], [("image", "IMAGE", 1), ("seed", "INT", 2)])
        ],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 5, "target_slot": 0, "type": "IMAGE"},
            {"id": 2, "origin_id": -10, "origin_slot": 1, "target_id": 5, "target_slot": 1, "type": "INT"},
            {"id": 3, "origin_id": 5, "origin_slot": 1, "target_id": -20, "target_slot": 0, "type": "MASK"},
        ],
    }
    instance = node(4, "uuid", [77], [("picture", "IMAGE", 1), ("seed", "INT", None)], ("MASK",))
    instance["inputs"][1]["widget"] = {"name": "seed"}
    nodes = [node(1, "Loader", ["a.png", "image", 1.0]), instance, node(9, "Show", inputs=[("images", "IMAGE", 2)])]
    workflow = {
        "nodes": nodes,
        "links": [[1, 1, 0, 4, 0, "IMAGE"], [2, 4, 0, 9, 0, "MASK"]],
        "definitions": {"subgraphs": [inner]},
    }
    prompt = graph.to_prompt(workflow, INFO)
    assert sorted(prompt) == ["1", "4:5", "9"]
    assert prompt["4:5"]["inputs"]["image"] == ["1", 0]
    assert prompt["4:5"]["inputs"]["seed"] == 77
    assert prompt["9"]["inputs"] == {"images": ["4:5", 1]}


def test_unknown_node_is_named():
    with pytest.raises(graph.GraphError, match=r"node 9 is of type 'Nobody'"):
        graph.to_prompt({"nodes": [node(9, "Nobody")], "links": []}, INFO)


def test_missing_files_are_found():
    prompt = graph.to_prompt({"nodes": [node(9, "Loader", ["c.png", "image", 1.0])], "links": []}, INFO)
    assert graph.missing_files(prompt, INFO) == [("9", "image", "c.png")]
