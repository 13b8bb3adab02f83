"""Inversion-by-Inversion's energies on a live ComfyUI: Cancel in the middle of a guided run leaves nothing behind."""

from __future__ import annotations

import re
import time

import pytest

from runtime.comfy_server import PromptFailed
from tools import graph

LEVELS = 400  # every native level from t0 .4: long enough to be caught in the middle


@pytest.fixture(scope="module")
def node(server):
    """node(type, **inputs): a node of a prompt, its other widgets at their defaults."""
    info = server.object_info()

    def made(class_type, **inputs):
        return {"class_type": class_type, "inputs": {**graph.widget_inputs({}, info[class_type]), **inputs}}

    return made


@pytest.fixture(scope="module")
def walk(node):
    """walk(pulled, steps): from the built-in prior to a picture, with or without energies on the MODEL."""

    def prompt(pulled, steps):
        nodes = {
            "prior": node("SketchPriorLoader", prior="starter landscapes (built in)"),
            "label": node("SketchPriorLabel"),
            "sketch": node("SketchLoader", image="line drawing - lake and peaks (sample).png [temp]", size=64),
            "photo": node("SketchLoader", image="photo - evening lake (sample).png [temp]", size=64),
            "latent": node("VAEEncode", pixels=["sketch", 0], vae=["prior", 1]),
            "t0": node("NoiseToT0", model=["prior", 0], latent=["latent", 0], t0=0.4, steps=steps, seed=1),
            "ddpm": node("KSamplerSelect", sampler_name="ddpm"),
            "walk": node(
                "SamplerCustom",
                model=["prior", 0],
                positive=["label", 0],
                negative=["label", 0],
                sampler=["ddpm", 0],
                sigmas=["t0", 0],
                latent_image=["latent", 0],
                noise_seed=7,
                cfg=1.0,
            ),
            "decode": node("VAEDecode", samples=["walk", 0], vae=["prior", 1]),
            "result": node("PreviewImage", images=["decode", 0]),
        }
        if pulled:
            nodes["shape"] = node("SketchShapeEnergy", model=["prior", 0], sketch=["sketch", 0])
            nodes["colour"] = node("AppearanceEnergyGuidance", model=["shape", 0], exemplar=["photo", 0])
            nodes["walk"]["inputs"]["model"] = ["colour", 0]
        return nodes

    return prompt


def computed(server, prompt):
    """The picture of a prompt, as bytes; its walk is really done, not taken from the server's cache."""
    number = server.submit(prompt)
    (image,) = server.wait(number)["result"]["images"]
    told = dict(server.get_json(f"/history/{number}")[number]["status"]["messages"])
    assert "walk" not in told["execution_cached"]["nodes"]
    return server.picture(image)


def test_cancel_in_the_middle_of_a_guided_run(server, walk):
    """The plain MODEL and the guided one give the same bits before and after; both prompts share the loaded prior."""
    plain = computed(server, walk(False, 6))
    guided = computed(server, walk(True, 6))
    assert plain != guided
    before = len(server.log_text())
    number = server.submit(walk(True, 0))
    steps = re.compile(rf"\b(\d+)/{LEVELS}\b")
    ends = time.monotonic() + 600
    while not any(5 <= int(step) < LEVELS for step in steps.findall(server.log_text()[before:])):
        assert time.monotonic() < ends, server.log_tail()
        time.sleep(0.02)
    server.interrupt()
    with pytest.raises(PromptFailed, match="interrupted"):
        server.wait(number)
    done = max(map(int, steps.findall(server.log_text()[before:])))
    assert done < LEVELS, "it was stopped on the way"
    assert computed(server, walk(False, 6)) == plain
    assert computed(server, walk(True, 6)) == guided
