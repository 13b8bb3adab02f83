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
    return training.TextTask(UNetModel, TINY, **settings)


def source(training, lesson, captions):
    known = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(1)).half().numpy()
    return lambda step: training.batch(known, captions, lesson.words, 4, step)


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
    batch = source(training, lesson, scenes[1])(0)
    assert falls(lesson, batch, 12, 3e-3) < 0.9
    lesson.loss(batch, torch.Generator()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in lesson.parameters())
    assert lesson.text.embed.weight.grad.abs().max() > 0, "the text encoder learns with the UNet"


def test_code_loss_falls_with_and_without_the_feature_network(coding, room, scenes):
    look = room("networks.vgg").VGG(widths=((4,), (4,), (4,))).requires_grad_(False)
    batch = coding.crops(scenes[0], 2, 32, 0)
    for network in (None, look):
        torch.manual_seed(0)
        lesson = coding.VAETask(network)
        assert falls(lesson, batch, 25, 3e-4) < 0.9
        assert all(not name.startswith("look") for name, _ in lesson.named_parameters())


def test_file_has_the_level_and_the_narrow_network(coding):
    """The exported TAESD is as wide as every other and computes what the lesson does."""
    torch.manual_seed(0)
    lesson = coding.VAETask()
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
    lesson = coding.VAETask()
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
    lesson = coding.VAETask()
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


class Interrupted(BaseException):
    """As ComfyUI's Cancel: no Exception."""


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("where", ["between", "within"])
def test_an_interrupted_run_resumes_to_the_bit(training, room, scenes, tmp_path, ema, where):
    """Cancel between two steps keeps them all; in the middle of a step, what was saved before."""
    loop, supervised = room("training.loop"), room("training.supervised")

    def lesson(stop=99):
        task = prompts(training)
        loss = task.loss

        def interrupted(batch, rng):
            found = loss(batch, rng)
            if int(rng.initial_seed()) == stop:
                raise Interrupted
            return found

        task.loss = interrupted
        batches = source(training, task, scenes[1])
        return supervised.SupervisedLesson("text", task, batches, learning_rate=1e-3, ema=ema)

    def run(folder, stop=99, watch=lambda moment: None):
        with lesson(stop) as made:
            loop.learn(made, tmp_path / folder, loop.Goal(6), watch=watch, save_every=-1.0 if stop < 99 else 1e9)
            return made.weights()

    def cancel(moment):
        if moment.course.steps == 4:
            raise Interrupted

    whole = run("whole")
    with pytest.raises(Interrupted):
        run("parts", 4 if where == "within" else 98, cancel if where == "between" else lambda moment: None)
    assert loop.read_state(tmp_path / "parts" / "text.state")["steps"] == 4
    parts = run("parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    start = prompts(training).weights()
    assert any(not torch.equal(whole[key], value) for key, value in start.items()), "something was learned"


def test_export_says_what_a_loader_needs(training, room, scenes, tmp_path):
    lesson = prompts(training)
    room("files").replace_weights(tmp_path / "text.safetensors", lesson.weights(), lesson.notes(), half=True)
    weights = load_file(tmp_path / "text.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert {key.split(".")[0] for key in weights} == {"unet", "text"}
    with safe_open(tmp_path / "text.safetensors", "pt") as file:
        notes = file.metadata()
    assert json.loads(notes["unet"])["context_dim"] == json.loads(notes["text"])["width"]
    assert len(json.loads(notes["words"])) + 4 == len(weights["text.embed.weight"])


def test_crops_and_prompts_follow_from_the_step(training, coding, room, scenes):
    images, captions = scenes
    shapes = [coding.crops(images, 4, 16, step).shape for step in range(9)]
    assert shapes == [(4, 3, 16, 16)] * 7 + [(1, 3, 32, 32)] + [(4, 3, 16, 16)], "every eighth: whole pictures"
    assert torch.equal(coding.crops(images, 4, 16, 9), coding.crops(images, 4, 16, 9))
    assert not torch.equal(coding.crops(images, 4, 16, 8), coding.crops(images, 4, 16, 9))
    batch = source(training, prompts(training), captions)
    assert all(torch.equal(a, b) for a, b in zip(batch(1), batch(1), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(batch(0), batch(1), strict=True))


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
