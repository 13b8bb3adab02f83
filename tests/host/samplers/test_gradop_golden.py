"""GradOP+ of the official code, replayed with its recorded noise through the SAMPLER in the host's own sampling path.

Its tiny network is a real UNet of the host's, its VAE a real VAE of the host's.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from helpers import tiny, tiny_families
from helpers.golden_files import load_file

TOLERANCE = 1e-3  # mean of absolute differences, as the golden numbers' README says
WIDTHS = {
    "channel_mult": [1, 1],
    "transformer_depth": [1, 0],
    "transformer_depth_output": [1, 1, 0, 0],
    "context_dim": 32,
}


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


class Toy(torch.nn.Module):
    """The golden runs' network: eps = sqrt(1 - abar) x + unet(x) / 4."""

    def __init__(self, unet, abar):
        super().__init__()
        self.unet, self.dtype = unet, torch.float32
        self.register_buffer("abar", abar)

    def forward(self, x, t, context=None, **_):
        return (1 - self.get_buffer("abar")[t.long()]).sqrt()[:, None, None, None] * x + 0.25 * self.unet(x, t, context)


@pytest.fixture(scope="module")
def model(golden, host_nodes):
    import comfy.utils

    patcher = tiny.model("sd15", network=WIDTHS)
    recorded = load_file(golden / "gradop" / "unet_a.safetensors")
    names = comfy.utils.unet_to_diffusers({**tiny_families.UNET, **WIDTHS})
    weights = {names[name]: value for name, value in recorded.items()}
    network = patcher.model
    network.diffusion_model.load_state_dict(weights)
    network.diffusion_model = Toy(network.diffusion_model, 1 / (1 + network.model_sampling.sigmas**2))
    return patcher


@pytest.fixture(scope="module")
def vae(golden, host_nodes):
    import comfy.diffusers_convert
    import comfy.sd

    weights = comfy.diffusers_convert.convert_vae_state_dict(load_file(golden / "gradop" / "vae_a.safetensors"))
    shape = {"double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32}
    shape |= {"ch_mult": [1, 1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}
    loaded = comfy.sd.VAE(sd=weights, config={"params": {"ddconfig": shape, "embed_dim": 4}}, dtype=torch.float32)
    own = loaded.first_stage_model.state_dict()
    assert own.keys() == weights.keys()
    assert all(torch.equal(own[name], weights[name]) for name in own)
    return loaded


class Recorded:
    """One golden run: its tensors are its attributes, its settings `settings`."""

    def __init__(self, golden, name):
        path = golden / "gradop" / name
        self.settings = json.loads(path.with_suffix(".json").read_text())
        self.tensors = load_file(path.with_suffix(".safetensors"))

    def __getattr__(self, name: str) -> Any:
        return self.tensors[name]


class Watch:
    """What the host's callback hears: estimates of the gradient steps by round, and what each step of the model saw."""

    def __init__(self):
        self.moves, self.states, self.heard = [], [], []

    def __call__(self, i, x0, x, total):
        self.heard.append((i, total))
        if x0 is not x:
            self.states.append(x.clone())
            self.moves.append([])
        else:
            self.moves[-1].append(x0.clone())

    def optimised_after(self):
        return [i for i, moves in enumerate(self.moves) if moves]


def solver(room, vae, painting, settings, noises, decoder="vae", sampler=None):
    """GradOpSolve with the published variant, and recorded noise."""
    node = room("nodes.gradop").GradOpSolve
    numbers = (settings["strength"], settings["num_iterative_steps"], settings["grad_steps_per_iter"], settings["lr"])
    made = node.execute(vae, painting, "GradOP+", *numbers, "gaussian", 7.0, decoder, 0.001, 6, sampler).args[0]
    made.round_noise = noises.__getitem__
    return made


def run(model, sampler, sigmas, noise, latent=None, *, embeds=None, cfg=1.0):
    import comfy.sample

    watch = Watch()
    latent = torch.zeros_like(noise) if latent is None else latent
    positive, negative = [[[text[None], {}]] for text in (torch.zeros(2, 77, 32) if embeds is None else embeds.flip(0))]
    samples = comfy.sample.sample_custom(
        *(model, noise, cfg, sampler, sigmas, positive, negative, latent), callback=watch, disable_pbar=True, seed=0
    )
    assert watch.heard == [(i, watch.heard[0][1]) for i in range(watch.heard[0][1])], "the bar runs once"
    return model.model.process_latent_in(samples), watch


def unit(x, sigma):
    """A state in the host's coordinates, variance-preserving."""
    return x / (1 + float(sigma) ** 2) ** 0.5


def near(found, expected, least=0.0):
    error = (found - expected).abs().mean()
    print(f"mean difference {error:.1e} of {expected.abs().mean():.2f}")
    assert error < TOLERANCE
    assert expected.abs().mean() > least


@pytest.mark.parametrize("name", ["loop_small_default", "loop_small_20steps_k2_n6"])
def test_whole_loops(room, golden, model, vae, name):
    case = Recorded(golden, name)
    levels = [*case.timesteps.tolist(), 0]  # the released code ends at the lowest level, not at 0
    sigmas = model.model.model_sampling.sigmas[levels]
    sampler = solver(room, vae, case.painting[None] / 255, case.settings, case.noises)
    final, watch = run(
        model, sampler, sigmas, case.noises[0], embeds=case.prompt_embeds, cfg=case.settings["guidance_scale"]
    )
    assert watch.optimised_after() == case.opt_step_index.tolist()
    for k, i in enumerate(case.opt_step_index.tolist()):
        assert len(watch.moves[i]) == case.settings["grad_steps_per_iter"]
        near(watch.moves[i][-1], case.opt_out[k])
        assert (case.opt_out[k] - case.opt_in[k]).abs().mean() > 0.1, "the optimiser moves it far more than that"
        near(unit(watch.states[i + 1], sigmas[i + 1]), case.renoised[k])
    near(unit(final, sigmas[-1]), case.final_latents)


def test_its_image_to_image_baseline(room, golden, model):
    """Strength .8 of 50 steps, from a recorded latent of the painting: NoiseToT0 cuts the published ladder there."""
    from comfy.samplers import sampler_object

    case = Recorded(golden, "sdedit_baseline_small")
    table = model.model.model_sampling.sigmas
    ladder = table[[*range(981, 0, -20), 0]]
    guide = model.model.process_latent_out(case.init_latents)
    settings = ((case.t_enc.item() + 1) / 1000, "this model's own time", 0, 0, ladder)
    sigmas = room("nodes.sdedit").NoiseToT0.execute(model, {"samples": guide}, *settings).args[0]
    assert torch.equal(sigmas, table[[*case.timesteps.tolist(), 0]])
    final, watch = run(
        model, sampler_object("euler"), sigmas, case.noises[1], guide, embeds=case.prompt_embeds, cfg=7.5
    )
    for i, state in enumerate(watch.states):
        near(unit(state, sigmas[i]), case.step_in[i])
    near(unit(final, sigmas[-1]), case.final_latents)


def test_ddim_uniform_is_the_published_ladder(golden, model):
    import comfy.samplers

    case = Recorded(golden, "loop_small_default")
    own = comfy.samplers.calculate_sigmas(model.model.model_sampling, "ddim_uniform", 50)
    assert torch.equal(own, torch.cat([model.model.model_sampling.sigmas[case.timesteps], torch.zeros(1)]))


def test_the_window_at_512_pixels(room, golden, model, vae):
    """From the recorded tenth step on, three steps long: a latent of 64x64, two rounds of two gradient steps."""
    case = Recorded(golden, "loop_full512_k2_n2")
    sigmas = model.model.model_sampling.sigmas[case.timesteps[9:13]]
    sampler = solver(room, vae, case.painting[None] / 255, {**case.settings, "strength": 1.0}, case.noises)
    start = model.model.process_latent_out(case.step_in_9 * (1 + sigmas[0] ** 2).sqrt())
    cfg = case.settings["guidance_scale"]
    _, watch = run(model, sampler, sigmas, 0 * start, start, embeds=case.prompt_embeds, cfg=cfg)
    assert watch.optimised_after() == [0, 1]
    for k, step_in in enumerate((case.step_in_10, case.step_in_11)):
        near(watch.moves[k][-1], case.opt_out[k])
        near(unit(watch.states[k + 1], sigmas[k + 1]), step_in)


def landing(model, states):
    """A clone of the MODEL whose Euler steps end at these states, one call a step."""
    calls = iter(states)

    def network(apply, arguments):
        x, sigma = arguments["input"], arguments["timestep"][0]
        after, state = next(calls)
        return x - sigma * (state - x) / (after - sigma)

    patched = model.clone()
    patched.set_model_unet_function_wrapper(network)
    return patched


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("name", ["optim_a_n12", "optim_a_n4_rect_b2"])
def test_one_round_alone(room, golden, model, vae, name, recompute, monkeypatch):
    case = Recorded(golden, name)
    monkeypatch.setattr(room("host"), "does_not_fit", lambda *_: recompute)
    settings = {**case.settings, "strength": 1.0, "num_iterative_steps": 1}
    settings["grad_steps_per_iter"] = settings["num_grad_steps"]
    sigmas = torch.tensor([5.0, 4.0, 0.0])
    painting = case.target.movedim(1, -1)
    quiet = torch.zeros(2, *case.latents.shape)
    sampler = solver(room, vae, painting, settings, quiet)
    states = [(4.0, case.latents * (1 + 4.0**2) ** 0.5), (0.0, torch.zeros_like(case.latents))]
    _, watch = run(landing(model, states), sampler, sigmas, torch.ones_like(case.latents))
    for found, expected in zip(watch.moves[0], case.path, strict=True):
        near(found, expected, 0.1)
    near(watch.states[1], case.out)  # noised with zeros: what the walk goes on from


def rows():
    from helpers import GOLDEN

    return json.loads((GOLDEN / "gradop" / "window_table.json").read_text())["rows"]


@pytest.mark.parametrize("row", rows(), ids=lambda r: f"{r['num_inference_steps']}-{r['strength']}")
def test_window_table(room, model, vae, row):
    settings = {**row, "grad_steps_per_iter": 1, "lr": 0.1}
    table = model.model.model_sampling.sigmas
    noise, drawn, asked = torch.randn(1, 4, 8, 8), [], []

    def draw(k):
        drawn.append(k)
        return noise

    def network(apply, arguments):
        asked.append(int((table - float(arguments["timestep"][0])).abs().argmin()))
        return 0.1 * arguments["input"]

    patched = model.clone()
    patched.set_model_unet_function_wrapper(network)
    sampler = solver(room, vae, torch.full((1, 64, 64, 3), 0.5), settings, [], "linear")
    sampler.round_noise = draw
    _, watch = run(patched, sampler, table[[*row["timesteps"], 0]], noise)
    assert asked == row["timesteps"]
    assert watch.optimised_after() == row["opt_after_step_index"]
    assert [asked[i] for i in watch.optimised_after()] == row["opt_after_t"]
    assert [asked[i + 1] for i in watch.optimised_after()] == row["renoise_to_t"]
    assert len(drawn) == row["n_noise_draws"] - 1
