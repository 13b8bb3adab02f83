"""batch/check.py: what a server lacks is told before anything is queued."""

from __future__ import annotations

import json

import pytest

from helpers import stub_comfy


@pytest.fixture
def faults(room):
    """faults(change) -> what is wrong with the stub's graph on a server whose node list was changed so."""

    def made(change=lambda info: None, prompt=None, set_by_run=(), inputs=()):
        info = json.loads(json.dumps(stub_comfy.INFO))
        change(info)
        return room("batch.check").faults(prompt or stub_comfy.graph(), info, set_by_run, lambda name: name in inputs)

    return made


def test_nothing_is_wrong(faults):
    assert faults() == []


def test_a_missing_pack(faults):
    (fault,) = faults(lambda info: info.pop("Paint"))
    assert fault == "it has no node of type 'Paint' (Paint, #4): is its pack installed?"


def test_a_missing_model(faults):
    def other(info):
        info["Model"]["input"]["required"]["file"][0] = ["large.safetensors"]

    (fault,) = faults(other)
    assert fault == "Model.file: 'small.safetensors' is not among the choices (large.safetensors)."
    assert faults(other, set_by_run={("1", "file")}) == []


def test_a_missing_picture(faults):
    prompt = stub_comfy.graph()
    prompt["2"]["inputs"]["image"] = "folder/mine.png"
    (fault,) = faults(prompt=prompt)
    assert fault == "sketch.image: its input folder has no file 'folder/mine.png'."
    assert faults(prompt=prompt, inputs={"folder/mine.png"}) == []
    assert faults(prompt=prompt, set_by_run={("2", "image")}) == []


def test_a_missing_input_and_a_limit(faults):
    prompt = stub_comfy.graph()
    del prompt["4"]["inputs"]["sketch"]
    prompt["4"]["inputs"]["strength"] = 1.5
    assert faults(prompt=prompt) == [
        "Paint (#4) lacks its input sketch.",
        "Paint.strength must be 0.0 to 1.0, got 1.5.",
    ]


def test_inputs_from_links_are_left_alone(faults):
    prompt = stub_comfy.graph()
    prompt["4"]["inputs"]["strength"] = ["2", 1]
    assert faults(prompt=prompt) == []


def test_long_lists_are_cut(room):
    told = room("batch.check").told("a:8188", [f"fault {number}" for number in range(30)])
    assert told.startswith("a:8188 cannot run this graph:\n  fault 0\n")
    assert told.endswith("fault 19\n  ... and 10 more")
