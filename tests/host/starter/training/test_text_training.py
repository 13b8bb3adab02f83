"""The text starter's lessons: loss falls, an interrupted run goes on to the bit, and what is saved loads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

TINY = {
    "image_size": 4,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": (1, 2),
    "num_heads": -1,
    "num_head_channels": 16,
    "use_spatial_transformer": True,
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1],
    "context_dim": 128,
    "use_linear_in_transformer": False,
    "legacy": False,
}


@pytest.fixture(scope="module")
def training(room):
    return room("starter.training.text")


@pytest.fixture(scope="module")
def coding(room):
    return room("starter.training.vae")


@pytest.fixture(scope="module")
def scenes(room):
    """Images [8,32,32,3] and captions of a few places."""
    made = room("starter.world").render_batch(range(8), 32)
    return np.stack([scene.image for scene in made]), [scene.caption for scene in made]


def prompts(training, **settings):
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    torch.manual_seed(0)
    return training.PromptLesson(UNetModel, TINY, **settings)


def source(training, lesson, captions):
    known = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(1)).half().numpy()
    return lambda steps: training.batches(known, captions, lesson.words, 4, steps)


def falls(lesson, batch, steps: int, rate: float) -> float:
    """The loss after some steps on one batch, over the first one's."""
    optimiser = torch.optim.AdamW(lesson.parameters(), rate)
    rng, losses = torch.Generator(), []
    for _ in range(steps):
        loss = lesson.loss(batch, rng.manual_seed(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses[-1] / losses[0]


def test_prompt_loss_falls_and_reaches_every_weight(training, scenes):
    lesson = prompts(training)
    batch = next(source(training, lesson, scenes[1])(0))
    assert falls(lesson, batch, 12, 3e-3) < 0.9
    lesson.loss(batch, torch.Generator()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in lesson.parameters())
    assert lesson.text.embed.weight.grad.abs().max() > 0, "the text encoder learns with the UNet"


def test_code_loss_falls_with_and_without_the_feature_network(coding, room, scenes):
    look = room("networks.vgg").VGG(widths=((4,), (4,), (4,))).requires_grad_(False)
    batch = next(coding.crops(scenes[0], 2, 32, 0))
    for network in (None, look):
        torch.manual_seed(0)
        lesson = coding.CodingLesson(network)
        assert falls(lesson, batch, 25, 3e-4) < 0.9
        assert all(not name.startswith("look") for name, _ in lesson.named_parameters())


def test_file_has_the_level_and_the_narrow_network(coding):
    """The exported TAESD is as wide as every other and computes what the lesson does."""
    torch.manual_seed(0)
    lesson = coding.CodingLesson()
    for module in lesson.modules():
        if isinstance(module, torch.nn.Conv2d):  # residual branches begin at zero
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    lesson.mean.copy_(torch.tensor([0.3, -0.2, 0.0, 0.1]))
    lesson.square.copy_(torch.tensor([4.0, 0.5, 1.0, 0.2]))
    lesson.requires_grad_(False)
    x, folded = torch.rand(1, 3, 32, 48) * 2 - 1, lesson.folded()
    assert folded.state_dict()["taesd_encoder.0.weight"].shape == (64, 3, 3, 3)
    latent = folded.encode(x)
    assert torch.allclose(latent * coding.SCALE, lesson.encode(x), rtol=1e-3, atol=1e-3 * float(lesson.encode(x).std()))
    z = torch.randn(1, 4, 4, 6)
    expected = lesson.network.decode(z)
    assert torch.allclose(folded.decode(z / coding.SCALE), expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_latents_are_brought_to_mean_0_and_deviation_1(coding, scenes):
    torch.manual_seed(0)
    lesson = coding.CodingLesson()
    last = lesson.network.taesd_encoder[-1]
    batch = torch.from_numpy(scenes[0][:2]).movedim(-1, 1).float() / 127.5 - 1
    with torch.no_grad():
        last.bias.fill_(0.7)
        last.weight[:3] *= 3
        last.weight[3] *= 30
        for _ in range(400):
            lesson.loss(batch, torch.Generator())
        z = lesson.encode(batch)
    assert z.mean((0, 2, 3)).abs().max() < 0.05
    assert (z.std((0, 2, 3)) - 1).abs().max() < 0.05


def test_training_begins_with_the_colours(coding, scenes):
    torch.manual_seed(0)
    batch = torch.from_numpy(scenes[0]).movedim(-1, 1).float() / 127.5 - 1
    lesson = coding.CodingLesson()
    with torch.no_grad():
        painted = lesson.network.decode(lesson.network.encode(batch))
    coarse, wanted = (torch.nn.functional.avg_pool2d(image, 8) for image in (painted, batch))
    assert (coarse - wanted).abs().mean() < 0.1


def test_linear_map_finds_a_linear_decoder(coding):
    rng = torch.Generator().manual_seed(0)
    factors, bias = torch.randn(4, 3, generator=rng), torch.randn(3, generator=rng)
    z = torch.randn(3, 4, 6, 5, generator=rng)
    image = torch.einsum("bchw,cd->bdhw", z, factors) + bias[:, None, None]
    found = coding.linear_map(z, torch.nn.functional.interpolate(image, scale_factor=8))
    assert torch.allclose(found[0], factors, atol=1e-4)
    assert torch.allclose(found[1], bias, atol=1e-4)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("keep", [0.0, 0.9])
def test_an_interrupted_run_goes_on_to_the_bit(training, room, scenes, tmp_path, keep):
    """A clock that stands still but for a minute a step makes runs repeatable."""
    learn = room("training.supervised").learn

    def run(folder, stop):
        folder.mkdir(exist_ok=True)
        lesson = prompts(training)
        minute, loss = iter(range(99)), lesson.loss
        now = [float(next(minute))]

        def step(batch, rng):
            if now[0] / 60 >= stop:
                raise Interrupted
            now[0] = 60.0 * next(minute)
            return loss(batch, rng)

        lesson.loss = step
        begin = source(training, lesson, scenes[1])
        settings = {"minutes": 6.0, "peak": 1e-3, "keep": keep, "save_every": 0.0}
        return learn(lesson, begin, name="text", folder=folder, clock=lambda: now[0], **settings)

    whole = run(tmp_path / "whole", 99)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", 4)
    assert len(whole) == 1
    run(tmp_path / "parts", 99)
    one, two = (load_file(tmp_path / place / "text.safetensors") for place in ("whole", "parts"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    start = prompts(training).weights()
    assert any(not torch.equal(one[key], value.half()) for key, value in start.items()), "something was learned"


def test_export_says_what_a_loader_needs(training, room, scenes, tmp_path):
    lesson = prompts(training)
    room("training.supervised").export(lesson.weights(), tmp_path / "text.safetensors", lesson.notes())
    weights = load_file(tmp_path / "text.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert {key.split(".")[0] for key in weights} == {"unet", "text"}
    with safe_open(tmp_path / "text.safetensors", "pt") as file:
        notes = file.metadata()
    assert json.loads(notes["unet"])["context_dim"] == json.loads(notes["text"])["width"]
    assert len(json.loads(notes["words"])) + 4 == len(weights["text.embed.weight"])


def test_crops_and_prompts_can_be_taken_up(training, coding, room, scenes):
    images, captions = scenes
    crops = coding.crops(images, 4, 16, 0)
    shapes = [next(crops).shape for _ in range(9)]
    assert shapes == [(4, 3, 16, 16)] * 7 + [(1, 3, 32, 32)] + [(4, 3, 16, 16)], "every eighth: whole pictures"
    assert torch.equal(next(crops), next(coding.crops(images, 4, 16, 9)))
    begin = source(training, prompts(training), captions)
    first = begin(0)
    next(first)
    assert all(torch.equal(a, b) for a, b in zip(next(first), next(begin(1)), strict=True))


def test_captions_vary_within_their_words(room):
    captions, text = room("starter.training.captions"), room("networks.text")
    scenes = room("starter.world").render_batch(range(12), 16)
    rng, words = np.random.default_rng(0), text.Words(captions.vocabulary())
    assert all(set(scene.caption.split(", ")) <= set(captions.VARIANTS) for scene in scenes)
    said = {captions.varied(scene.caption, rng) for scene in scenes for _ in range(20)}
    assert len(said) > 180
    assert all(text.UNKNOWN not in words(one)["input_ids"] for one in said)
    assert max(len(words(one)["input_ids"]) for one in said) <= 37


def test_words(room, caplog):
    text = room("networks.text")
    words = text.Words(["a", "lake", ","])
    assert words("A lake; a LAKE.")["input_ids"] == [1, 4, 5, 6, 4, 5, 6, 2]
    assert not caplog.records
    assert words("a castle, castle")["input_ids"] == [1, 4, 3, 6, 3, 2]
    assert [record.getMessage().split(".")[0] for record in caplog.records] == ["The starter does not know: castle"]
    assert text.padded([1, 4, 2], 5) == [1, 4, 2, 0, 0]
    assert text.padded([1, 4, 5, 6, 2], 4) == [1, 4, 5, 2]
