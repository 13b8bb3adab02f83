"""Whole SDEdit chains of the official code, replayed with its recorded noise through the host's own sampling path."""

from __future__ import annotations

import pytest
import torch

from helpers.golden_files import load_file

TOLERANCE = 1e-3  # seen: 4.1e-5 through the host's ddpm, 1.5e-5 through ours, 3.7e-5 over two masked rounds
NO_PROMPT = [[torch.zeros(1, 1, 1), {}]]


@pytest.fixture(scope="module")
def prior(room, golden):
    """The official code's tiny DDPM network as a real pixel MODEL of the host."""
    weights = load_file(golden / "sdedit" / "weights_a.safetensors")
    return room("host").pixel_model(room("networks").build(weights))


class Recorded:
    """One golden run: its guide in [-1, 1], its noise_mask (the host's way round) and its noise, draw by draw."""

    def __init__(self, path, level, rounds):
        self.tensors = load_file(path)
        self.noises = self.tensors["noises"]
        self.level, self.rounds = level, rounds
        self.guide = (2 * self.tensors["image"] - 1).expand(self.noises.shape[1], -1, -1, -1)
        self.mask = 1 - self.tensors["mask"][:1, None]
        self.calls = 0

    def start_noise(self, k=0):
        return self.noises[k * (1 + self.level)]

    def step_noise(self, sigma, sigma_next):
        """The official code also draws for the last step, where no noise is added: that draw is skipped here."""
        k, j = divmod(self.calls, self.level - 1)
        self.calls += 1
        return self.noises[k * (1 + self.level) + 1 + j]


@torch.inference_mode()
def walk(prior, room, run, sampler, mask=None):
    """Samples on NoiseToT0's native grid. Returns the result and each input of the model (variance preserving)."""
    import comfy.sample

    node = room("nodes.sdedit").NoiseToT0
    sigmas = node.execute(prior, {"samples": run.guide}, run.level / 1000, "published noise level", 0, 0)[0]
    assert len(sigmas) == run.level + 1
    inputs = []

    def watch(i, denoised, x, total):
        inputs.append(x / (1 + sigmas[i % run.level] ** 2) ** 0.5)
        assert total == run.rounds * run.level

    samples = comfy.sample.sample_custom(
        prior,
        run.start_noise(),
        1.0,
        sampler,
        sigmas,
        NO_PROMPT,
        NO_PROMPT,
        run.guide,
        noise_mask=mask,
        callback=watch,
        disable_pbar=True,
        seed=0,
    )
    return samples, inputs


def compare(run, samples, inputs, keep=None):
    """The largest difference to the official run, over its result and every model input it recorded."""
    worst = (samples - run.tensors[f"samples_{run.rounds - 1}"]).abs().max()
    for name, expected in run.tensors.items():
        if name.startswith("x_in_"):
            k, i = map(int, name.split("_")[2:])
            worst = max(worst, (inputs[k * run.level + run.level - 1 - i] - expected).abs().max())
    print(f"largest difference {float(worst):.2e}")
    assert worst < TOLERANCE


@pytest.mark.parametrize("ours", [False, True], ids=["host ddpm", "SketchSDESampler"])
def test_unmasked_chain(prior, room, golden, ours):
    import comfy.samplers

    run = Recorded(golden / "sdedit" / "run_nomask_small_t60_k1.safetensors", 60, 1)
    sampler = comfy.samplers.ksampler("ddpm")
    if ours:
        sampler = room("nodes.sdedit").SketchSDESampler.execute("small", "host")[0]
    sampler.extra_options = {**sampler.extra_options, "noise_sampler": run.step_noise}
    compare(run, *walk(prior, room, run, sampler))
    assert run.calls == 59


def masked(room, run, variance, kept):
    inner = room("nodes.sdedit").SketchSDESampler.execute(variance, kept)[0]
    inner.extra_options = {**inner.extra_options, "noise_sampler": run.step_noise}
    return room("samplers.repeat").RepeatSampler(inner, run.rounds, run.start_noise)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_masked_chain_of_two_rounds(prior, room, golden, variance):
    run = Recorded(golden / "sdedit" / f"run_mask_{variance}_t50_k2.safetensors", 50, 2)
    compare(run, *walk(prior, room, run, masked(room, run, variance, "published, noise left in"), run.mask))
    assert run.calls == 2 * 49


def test_first_round_alone(prior, room, golden):
    run = Recorded(golden / "sdedit" / "run_mask_small_t50_k2.safetensors", 50, 1)
    samples, _ = walk(prior, room, run, masked(room, run, "small", "published, noise left in"), run.mask)
    assert (samples - run.tensors["samples_0"]).abs().max() < TOLERANCE


def test_kept_pixels_can_be_clean(prior, room, golden):
    """The default of the published rule: the same picture, with the 1% noise taken out of the kept pixels."""
    run = Recorded(golden / "sdedit" / "run_mask_small_t50_k2.safetensors", 50, 2)
    samples, _ = walk(prior, room, run, masked(room, run, "small", "published"), run.mask)
    keep = (run.mask == 0).expand_as(samples)
    assert keep.any()
    assert torch.equal(samples[keep], run.guide[keep])
    official = run.tensors["samples_1"]
    assert (samples - official)[~keep].abs().max() < TOLERANCE
    assert 0.003 < (samples - official)[keep].std() < 0.03, "what the official result has there is about 1% noise"
