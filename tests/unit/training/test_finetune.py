"""DiffSketching's fine-tuning: the recorded rounds of its figure's algorithm, and a walk that gives gradients."""

from __future__ import annotations

import pytest
import torch

from helpers import diffsketching as golden
from helpers.diffsketching import off, worst


@pytest.fixture(scope="module")
def finetune(room):
    return room("training.finetune")


def test_rounds_as_recorded(room, finetune):
    """Three rounds of SGD on the whole UNet: losses, gradients, pictures and weights."""
    note, recorded = golden.note("official_finetune_step"), golden.recorded("official_finetune_step")
    networks, schedules = room("networks"), room("networks.schedules")
    seed, unet = note["seed"], note["unet"]
    weights = golden.adm_weights(room, unet, note["unet_seed"], "unet.", note["unet_gain"])
    net = networks.build(weights, num_head_channels=unet["num_head_channels"]).requires_grad_(True)
    look = networks.build(golden.resnet_weights(room, seed))
    width, blocks = note["photosketch"].values()
    draw = networks.build(golden.photosketch_weights(room, width, blocks, seed))
    stored = golden.recorded("official_lpips")
    alex = networks.build(golden.lpips_weights(seed, [stored[k] for k in sorted(stored) if k.startswith("w.")]))
    mean, std = (torch.tensor(v)[:, None, None] for v in room("pictures.preprocess").IMAGENET)
    running, distance = room("networks.photosketch").RUNNING, room("pictures.distances").perceptual_distance

    steps = note["diffusion"]["steps"]
    kept = schedules.respaced(steps, note["diffusion"]["timestep_respacing"])
    table = schedules.sigmas("linear", steps)[kept].float()
    index = {float(sigma): float(t) for sigma, t in zip(table, kept, strict=True)}
    sigmas = torch.cat([table.flip(0), torch.zeros(1)])

    def predict(x, sigma):
        t = torch.tensor([index[sigma]])
        eps = net(x / (1 + sigma**2) ** 0.5, t, recorded["y"])[:, :3]
        return (x - sigma * eps).clamp(-1, 1)

    def seen(x):
        return alex((((x + 1) / 2).expand(-1, 3, -1, -1) - mean) / std)

    with torch.no_grad():
        goal, lines = look(recorded["ref_pm1"])[0], seen(recorded["sketch_pm1"])
    start = recorded["ref_pm1"] + sigmas[0] * recorded["eps"]
    lesson = finetune.FineTuneLesson(
        net,
        lambda: finetune.walk(predict, start, sigmas),
        lambda x: (look(x)[0] - goal).abs().mean(),
        lambda x: distance(seen(draw(x, running)), lines, list(alex.lin)).mean(),
        net.state_dict,
        learning_rate=note["sgd"]["lr"],
        optimiser=finetune.SGD,
    )
    for k in range(note["iterations"]):
        losses, (picture,) = lesson.step(k, 0.0)
        if f"k{k}.sample" in recorded:
            assert worst(picture, recorded[f"k{k}.sample"]) < 2e-3
        assert float(losses["image"]) == pytest.approx(float(recorded[f"k{k}.loss_image"]), rel=1e-4)
        assert float(losses["sketch"]) == pytest.approx(float(recorded[f"k{k}.loss_percept"]), rel=1e-4)
        norm = torch.stack([p.grad.norm() for p in net.parameters() if p.grad is not None]).norm()
        assert float(norm) == pytest.approx(float(recorded[f"k{k}.grad_norm"]), rel=1e-2)
        if k == 0:
            for key in ("out.2.weight", "input_blocks.0.0.weight"):
                assert off(net.get_parameter(key).grad, recorded[f"k0.grad.{key}"]) < 5e-3
            assert net.get_parameter("out.2.weight").grad[3:].abs().max() == 0, "eta 0 asks for no variance"
    for key in ("out.2.weight", "input_blocks.0.0.weight"):
        assert worst(net.get_parameter(key), recorded[f"final.{key}"]) < 1e-3


def test_recomputed_steps_have_the_same_gradients(finetune):
    weight = torch.randn(3, 3, generator=golden.torch_seed(0)).requires_grad_()
    x = torch.randn(2, 3, generator=golden.torch_seed(1))
    sigmas = torch.tensor([4.0, 2.0, 0.5, 0.0])
    found = []
    for recompute in (True, False):
        end = finetune.walk(lambda x, sigma: torch.tanh(x @ weight / (1 + sigma)), x, sigmas, recompute)
        found.append((end, *torch.autograd.grad(end.square().sum(), weight)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize("kind", ["ADAM", "SGD"])
def test_adam_begins_with_small_steps_and_sgd_as_published(finetune, kind):
    """On a loss of slope 1 Adam moves by its rate, SGD of momentum 0.9 by 1, 1.9, 2.71, ... of it."""
    kind = getattr(finetune, kind)
    weight = torch.nn.Module()
    one = torch.nn.Parameter(torch.zeros(()))
    weight.register_parameter("one", one)
    lesson = finetune.FineTuneLesson(
        weight,
        lambda: one.expand(1, 3, 4, 4),
        lambda x: x.mean(),
        None,
        weight.state_dict,
        learning_rate=0.01,
        optimiser=kind,
    )
    moved, before = [], 0.0
    for k in range(8):
        lesson.step(k, 0.0)
        now = one.item()
        moved.append((before - now) / 0.01)
        before = now
    if kind == finetune.ADAM:
        assert moved == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1], rel=1e-3)
    else:
        assert moved == pytest.approx([(1 - 0.9**n) / 0.1 for n in range(1, 9)], rel=1e-3)


def test_a_run_that_goes_on_ends_where_an_uninterrupted_one_does(room, finetune, tmp_path):
    loop = room("training.loop")

    def lesson():
        torch.manual_seed(0)
        tuned = torch.nn.Linear(3, 3)
        return finetune.FineTuneLesson(
            tuned,
            lambda: tuned(torch.ones(1, 3))[:, :, None, None].expand(1, 3, 4, 4),
            lambda x: (x - 0.5).abs().mean(),
            None,
            tuned.state_dict,
            learning_rate=0.05,
            optimiser=finetune.ADAM,
        )

    once, twice = lesson(), lesson()
    course = loop.learn(once, tmp_path / "a", loop.Goal(6))
    loop.learn(lesson(), tmp_path / "b", loop.Goal(3))
    loop.learn(twice, tmp_path / "b", loop.Goal(6))
    for key, value in once.weights().items():
        assert torch.equal(value, twice.weights()[key])
    assert course.rows[-1]["image"] > 0
