"""SDEdit's nodes in one graph, posted to a live ComfyUI over HTTP."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import save_file

from helpers.golden_files import load_file


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


@pytest.fixture(scope="module")
def prior(server, golden):
    """The golden DDPM network, put where a user puts a pixel prior."""
    folder = server.base / "models" / "sketch_priors"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(load_file(golden / "sdedit" / "weights_a.safetensors"), folder / "golden.safetensors")
    options = {
        "num_head_channels": 64,
        "num_heads": 4,
        "attention_order": "legacy",
        "image_size": 0,
        "precision": "auto",
    }
    return node("SketchPriorLoader", prior="golden.safetensors", **options)


@pytest.fixture(scope="module")
def guide(server):
    """A picture of many colours, 32x32, uploaded as the editor does it."""
    pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = Image.fromarray(pixels.numpy())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return server.upload("guide.png", file.getvalue()), picture


def graph(prior, name):
    """Edit the right half of a picture, two rounds by SketchSDESampler."""
    t0 = {"t0": 0.3, "meaning": "published noise level", "steps": 5, "seed": 1}
    return {
        "prior": prior,
        "label": node("SketchPriorLabel", class_id=-1),
        "image": node("LoadImage", image=name),
        "encode": node("VAEEncode", pixels=["image", 0], vae=["prior", 1]),
        "keep": node("SolidMask", value=0.0, width=32, height=32),
        "edit": node("SolidMask", value=1.0, width=16, height=32),
        "mask": node("MaskComposite", destination=["keep", 0], source=["edit", 0], x=16, y=0, operation="add"),
        "masked": node("SetLatentNoiseMask", samples=["encode", 0], mask=["mask", 0]),
        "t0": node("NoiseToT0", model=["prior", 0], latent=["masked", 0], **t0),
        "steps": node("SketchSDESampler", variance="large", kept="published"),
        "repeat": node("SketchRepeatSampler", sampler=["steps", 0], repeats=2),
        "walk": node(
            "SamplerCustom",
            model=["prior", 0],
            add_noise=True,
            noise_seed=7,
            cfg=1.0,
            positive=["label", 0],
            negative=["label", 0],
            sampler=["repeat", 0],
            sigmas=["t0", 0],
            latent_image=["masked", 0],
        ),
        "decode": node("VAEDecode", samples=["walk", 0], vae=["prior", 1]),
        "result": node("PreviewImage", images=["decode", 0]),
    }


def pictures(server, outputs, at="result"):
    return [Image.open(io.BytesIO(server.picture(image))).convert("RGB") for image in outputs[at]["images"]]


def test_edit_a_picture(server, prior, guide):
    name, original = guide
    outputs = server.run(graph(prior, name))
    assert outputs["t0"]["text"][0].endswith("signal is left, 5 steps."), "the mask is no trouble: noised is not wired"
    (result,) = pictures(server, outputs)
    left, right = (0, 0, 16, 32), (16, 0, 32, 32)
    assert ImageChops.difference(result.crop(left), original.crop(left)).getbbox() is None, "kept pixels changed"
    assert ImageChops.difference(result.crop(right), original.crop(right)).getbbox() is not None


def test_noised_and_look_in_a_graph(server, prior, guide):
    """`noised` goes on with add_noise off as the plain way does with it on; `look` decodes to something to look at."""
    nodes = graph(prior, guide[0])
    for key in ("keep", "edit", "mask", "masked"):
        del nodes[key]
    nodes["t0"]["inputs"]["latent"] = nodes["walk"]["inputs"]["latent_image"] = ["encode", 0]
    nodes["t0"]["inputs"]["seed"] = nodes["walk"]["inputs"]["noise_seed"]
    going_on = {**nodes["walk"]["inputs"], "add_noise": False, "latent_image": ["t0", 1]}
    nodes["walk2"] = node("SamplerCustom", **going_on)
    for end, source in (("2", ["walk2", 0]), ("look", ["t0", 2])):
        nodes["decode" + end] = node("VAEDecode", samples=source, vae=["prior", 1])
        nodes["result" + end] = node("PreviewImage", images=["decode" + end, 0])
    outputs = server.run(nodes)
    (plain,), (continued,), (look,) = (pictures(server, outputs, "result" + end) for end in ("", "2", "look"))
    assert max(high for _, high in ImageChops.difference(plain, continued).getextrema()) <= 1  # pyright: ignore[reportGeneralTypeIssues]
    assert ImageChops.difference(plain, look).getbbox() is not None


def test_sweep_runs_what_follows_once_for_each_walk(server, prior, guide):
    nodes = graph(prior, guide[0])
    del nodes["t0"]
    options = {"first": 0.1, "last": 0.5, "count": 3, "steps": 3, "meaning": "published noise level"}
    nodes["sweep"] = node("SketchT0Sweep", model=["prior", 0], **options)
    nodes["walk"]["inputs"]["sigmas"] = ["sweep", 0]
    nodes["labels"] = node("PreviewAny", source=["sweep", 1])
    outputs = server.run(nodes)
    assert outputs["labels"]["text"] == ["t0 0.10", "t0 0.30", "t0 0.50"]
    results = pictures(server, outputs)
    assert len({picture.tobytes() for picture in results}) == 3
