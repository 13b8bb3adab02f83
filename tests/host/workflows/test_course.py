"""What the templates promise in their notes, seen in their results."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from helpers import PACK
from tools import graph

SAMPLES = PACK / "starter" / "samples"


@pytest.fixture(scope="module")
def info(server) -> dict:
    return server.object_info()


def prompt_of(name: str, info: dict, **settings: dict) -> dict:
    """A template as a prompt, with other values for all nodes of a type."""
    text = (PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8")
    prompt = graph.to_prompt(json.loads(text), info)
    for node in prompt.values():
        node["inputs"] |= settings.get(node["class_type"], {})
    return prompt


def pictures(server, prompt: dict, kind: str) -> list[np.ndarray]:
    """What nodes of a type show, as RGB of 0 to 255."""
    outputs = server.run(prompt)
    results = [shown for key, shown in outputs.items() if prompt[key]["class_type"] == kind]
    images = [image for shown in results for image in shown["images"]]
    return [np.asarray(Image.open(io.BytesIO(server.picture(image))).convert("RGB")) for image in images]


def test_a_photo_is_kept_to_the_pixel_outside_the_mask(server, info):
    few = {"RepeatLatentBatch": {"amount": 2}, "RepeatImageBatch": {"amount": 2}, "NoiseToT0": {"steps": 4}}
    results = pictures(server, prompt_of("04 Strokes on your photo - inpaint with a mask", info, **few), "SaveImage")
    photo = np.asarray(Image.open(SAMPLES / "photo - mountain meadow.png").convert("RGB"))
    alpha = np.asarray(Image.open(SAMPLES / "strokes - cabin and trees.png").getchannel("A"))
    ink = Image.fromarray(np.where(alpha > 0, 255, 0).astype(np.uint8))
    near = np.asarray(ink.filter(ImageFilter.MaxFilter(2 * 13 + 1))) > 0  # the template grows the mask by 12
    assert 0.1 < near.mean() < 0.9
    assert len(results) == 2
    for result in results:
        assert result.shape == photo.shape
        assert (result[~near] == photo[~near]).all()
        assert (result[near] != photo[near]).mean() > 0.2


WIDE = {
    "01 Paint here - img2img": "PreviewImage",
    "02 Strokes to photo - sketch to image": "SaveImage",
    "10 Line drawing on a KSampler - scribble": "SaveImage",
    "14 Words by colour - regional prompt": "SaveImage",
}


@pytest.mark.parametrize(("name", "kind"), WIDE.items())
def test_a_wide_drawing_stays_wide(server, info, name, kind):
    """3:2 in, 3:2 out, whether the size comes by a latent, an empty latent, or the Painter."""
    held = io.BytesIO()
    Image.open(SAMPLES / "two shores.png").convert("RGB").resize((384, 256)).save(held, "PNG")
    few = {"NoiseToT0": {"steps": 2}, "KSampler": {"steps": 2}}
    one = {"RepeatLatentBatch": {"amount": 1}, "EmptyLatentImage": {"batch_size": 1}}
    wide = {"SketchLoader": {"image": server.upload("wide.png", held.getvalue())}}
    (result,) = pictures(server, prompt_of(name, info, **few, **one, **wide), kind)
    height, width = result.shape[:2]
    assert width / height == pytest.approx(1.5, abs=0.11)  # 64 x 40: sides of so few pixels are multiples of 8
