"""batch/graph.py and values.py: inputs found by the names that people see, values held to the server's limits."""

from __future__ import annotations

import json

import pytest

from helpers import stub_comfy


def editor_graph() -> dict:
    """The same graph in the editor's form; the loaders keep their own titles."""
    nodes = [
        {"id": 2, "type": "LoadSketch", "title": "sketch", "widgets_values": ["sample.png", "image", 64]},
        {"id": 1, "type": "Model", "widgets_values": ["small.safetensors"]},
        {
            "id": 4,
            "type": "Paint",
            "inputs": [
                {"name": "model", "type": "MODEL", "link": 1},
                {"name": "sketch", "type": "IMAGE", "link": 2},
            ],
            "outputs": [{"name": "IMAGE", "type": "IMAGE"}],
            "widgets_values": [7, "randomize", 0.5],
        },
        {
            "id": 6,
            "type": "SaveImage",
            "inputs": [{"name": "images", "type": "IMAGE", "link": 3}],
            "widgets_values": ["x"],
        },
    ]
    # The upload button's own value comes last among the required ones.
    nodes[0]["widgets_values"] = ["sample.png", 64, "image"]
    links = [[1, 1, 0, 4, 0, "MODEL"], [2, 2, 0, 4, 1, "IMAGE"], [3, 4, 0, 6, 0, "IMAGE"]]
    return {"nodes": nodes, "links": links}


@pytest.mark.parametrize(
    ("wanted", "key", "name"),
    [
        ("sketch.image", "2", "image"),
        ("Sketch.Image", "2", "image"),
        ("style", "3", "image"),
        ("#2", "2", "image"),
        ("#3.image", "3", "image"),
        ("Paint.seed", "4", "seed"),
        ("Save Image.filename prefix", "6", "filename_prefix"),
        ("SaveImage.filename_prefix", "6", "filename_prefix"),
        ("Load Model.file", "1", "file"),
    ],
)
def test_an_input_by_name(graph, wanted, key, name):
    target = graph.find(wanted)
    assert (target.node, target.name) == (key, name)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("Load Sketch.image", r"fits more than one input: #2\.image \(sketch\.image\), #3\.image"),
        ("Paint.strenght", "that node's inputs are seed, strength"),
        ("skech.image", r"Did you mean sketch\.image"),
        ("Paint.sketch", "gets its value from the node 'sketch'"),
        ("seed", "names no input"),
        ("Paint", "names no input"),
        ("Load Sketch", r"fits more than one input: #2\.image"),
    ],
)
def test_a_wrong_name_is_explained(graph, wanted, says):
    with pytest.raises(ValueError, match=says):
        graph.find(wanted)


def test_a_title_comes_before_the_name_of_a_type(graphs):
    source = stub_comfy.graph()
    source["3"]["_meta"]["title"] = "Load Sketch"
    assert graphs.Graph(source, stub_comfy.INFO).find("Load Sketch.image").node == "3"


def test_display_names_of_inputs(graphs):
    info = json.loads(json.dumps(stub_comfy.INFO))
    info["LoadSketch"]["input"]["required"]["image"][1]["display_name"] = "drawing file"
    found = graphs.Graph(stub_comfy.graph(), info).find("sketch.drawing file")
    assert (found.name, found.takes_files) == ("image", True)


def test_inputs_inside_a_dynamic_combo(graphs):
    options = [
        {"key": "plain", "inputs": {}},
        {"key": "fine", "inputs": {"required": {"scale": ["FLOAT", {"max": 2.0}]}}},
    ]
    info = {
        "Pick": {
            "input": {"required": {"kind": ["COMFY_DYNAMICCOMBO_V3", {"options": options}]}},
            "output_node": True,
        }
    }
    source = {"1": stub_comfy.node("Pick", kind="fine", **{"kind.scale": 1.0})}
    assert graphs.Graph(source, info).find("Pick.kind.scale").options["max"] == 2.0


def test_both_forms_give_the_same_prompt_and_the_saved_graph_follows(graphs):
    editor = graphs.Graph(editor_graph(), stub_comfy.INFO)
    seed, image = editor.find("Paint.seed"), editor.find("sketch.image")
    body = json.loads(editor.body([(seed, 99), (image, "folder/new.png")]))
    assert body["prompt"]["4"]["inputs"] == {"seed": 99, "strength": 0.5, "model": ["1", 0], "sketch": ["2", 0]}
    assert body["prompt"]["2"]["inputs"] == {"image": "folder/new.png", "size": 64}
    kept = {one["id"]: one["widgets_values"] for one in body["extra_data"]["extra_pnginfo"]["workflow"]["nodes"]}
    assert kept == {2: ["folder/new.png", 64, "image"], 1: ["small.safetensors"], 4: [99, "randomize", 0.5], 6: ["x"]}
    plain = graphs.Graph(stub_comfy.graph(), stub_comfy.INFO)
    assert "extra_data" not in json.loads(plain.body([(plain.find("Paint.seed"), 99)]))


def test_the_source_is_left_as_it_is(graphs):
    source = stub_comfy.graph()
    made = graphs.Graph(source, stub_comfy.INFO)
    made.body([(made.find("Paint.seed"), 99)])
    assert source == stub_comfy.graph()


def test_the_last_output_is_the_saved_end(graph, graphs):
    assert graph.last_output() == "6"
    source = stub_comfy.graph()
    source["7"] = stub_comfy.node("LoadSketch", image="sample.png", size=1)
    source["6"] = stub_comfy.node("PreviewImage", images=["7", 0])
    assert graphs.Graph(source, stub_comfy.INFO).last_output() == "5"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"6": None, "5": None}, "no output node"),
        ({"4": stub_comfy.node("Nobody")}, "'Nobody', which this ComfyUI does not have"),
    ],
)
def test_graphs_that_cannot_run(graphs, change, says):
    source = {key: one for key, one in {**stub_comfy.graph(), **change}.items() if one}
    with pytest.raises(graphs.GraphError, match=says):
        graphs.Graph(source, stub_comfy.INFO)


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "not JSON"), ("[]", "holds no graph"), ('{"a": 1}', "holds no graph"), (None, "cannot be read")],
)
def test_files_that_are_no_graph(graphs, tmp_path, content, says):
    path = tmp_path / "graph.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=says):
        graphs.read(path)


def test_a_body_as_posted_is_a_graph_too(graphs, tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps({"prompt": stub_comfy.graph(), "client_id": "x"}))
    assert graphs.read(path) == stub_comfy.graph()


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        ("Paint.seed", " 12 ", 12),
        ("Paint.strength", "0.25", 0.25),
        ("Load Model.file", "large.safetensors", "large.safetensors"),
        ("Save Image.filename_prefix", " a b ", " a b "),
    ],
)
def test_values(room, graph, wanted, text, value):
    assert room("batch.values").parse(graph.find(wanted), text) == value


@pytest.mark.parametrize(
    ("wanted", "text", "says"),
    [
        ("Paint.seed", "1.5", r"Paint\.seed needs a whole number, got '1.5'"),
        ("Paint.seed", "-1", "must be 0 to"),
        ("Paint.strength", "half", "needs a number"),
        ("Paint.strength", "nan", "must be 0.0 to 1.0"),
        ("Load Model.file", "huge.safetensors", r"not among the choices \(small.safetensors, large.safetensors\)"),
    ],
)
def test_values_that_do_not_fit(room, graph, wanted, text, says):
    with pytest.raises(ValueError, match=says):
        room("batch.values").parse(graph.find(wanted), text)
