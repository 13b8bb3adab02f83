"""GradOpSolve in the real host: what it loads and keeps, and number formats."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from helpers import tiny
from helpers.gradop_walks import GRADOP, PLUS, empty, heard, ladder, run


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


def test_auto_takes_the_cheapest_decoder_that_will_do(room, models, vaes, solve, monkeypatch):
    module, seen = room("samplers.canvas"), []
    choose = module.choose
    monkeypatch.setattr(module, "choose", lambda model, vae, kind, **more: seen.append(vae) or choose(model, vae, kind))
    model, own, fast = models["sd15"], vaes[4], tiny.vae(seed=1)

    def chosen(**settings):
        seen.clear()
        run(model, solve(decoder="auto", rounds=1, gradient_steps=1, **settings), ladder(room, model), empty())
        return [*seen]

    assert chosen() == [None]
    assert chosen(variant=GRADOP) == [None]
    assert chosen(variant=PLUS) == [None, own]
    assert chosen(painter="none") == [None, own]
    assert chosen(fast_vae=fast) == [fast]
    monkeypatch.setattr(model.model.latent_format, "latent_rgb_factors", None)
    assert chosen() == [own]


def test_one_call_loads_everything(room, models, vaes, solve, monkeypatch):
    import comfy.model_management as management

    model, sigmas, calls = models["sd15"], ladder(room, models["sd15"]), []
    load = management.load_models_gpu

    def noted(together, *arguments, **settings):
        calls.append([patcher.model for patcher in together])
        return load(together, *arguments, **settings)

    monkeypatch.setattr(management, "load_models_gpu", noted)
    run(model, solve(), sigmas, empty())
    assert len(calls) == 1, "the linear map needs nothing beside the model"
    run(model, solve(decoder="linear, then vae"), sigmas, empty())
    assert len(calls) == 3
    assert calls[-1] == [model.model, vaes[4].patcher.model]


def test_what_is_loaded_for_the_run_counts(room, models, vaes, solve, monkeypatch):
    """Room for a decode is what the model, its ControlNets, the VAE and the copy of its decoder leave."""
    import comfy.model_management as management

    host, model, vae = room("host"), models["sd15"], vaes[4]
    beside = tiny.model("sdxl")
    guider = SimpleNamespace(model_patcher=model, loaded_models=[])
    network = vae.first_stage_model
    copy = sum(p.nbytes for p in (*network.taesd_decoder.parameters(), network.vae_scale, network.vae_shift))
    needed = 10 * copy
    full = 1.1 * (model.model_size() + vae.patcher.model_size()) + copy + needed
    monkeypatch.setattr(management, "get_total_memory", lambda *_: full + 1000)
    assert not host.does_not_fit(guider, [vae], needed)
    monkeypatch.setattr(management, "get_total_memory", lambda *_: full - 1000)
    assert host.does_not_fit(guider, [vae], needed)
    monkeypatch.setattr(management, "get_total_memory", lambda *_: full + 0.9 * beside.model_size())
    assert not host.does_not_fit(guider, [vae], needed)
    guider.loaded_models = [beside]
    assert host.does_not_fit(guider, [vae], needed)


def test_encoders_are_not_copied(room, models, host_nodes):
    """They stand on a device that nothing can be copied from."""
    choose, gradients = room("guidance.decoders").choose, room("networks.frozen").gradients
    model = models["sd15"]
    for vae, encoders in ((tiny.vae(), ["taesd_encoder"]), (sd_vae(), ["encoder", "quant_conv"])):
        network = vae.first_stage_model
        for name in encoders:
            getattr(network, name).to("meta")
        prepared = choose(model, vae, "vae").prepare(model.model, torch.device("cpu"))
        with gradients():
            latent = torch.randn(1, 4, 8, 8).requires_grad_()
            (slope,) = torch.autograd.grad(prepared.image(latent).square().sum(), latent)
        assert slope.abs().max() > 0


def sd_vae(dtype=torch.float32):
    """An SD-shaped VAE, an eighth as wide, with random weights."""
    import comfy.sd
    from comfy.ldm.models.autoencoder import AutoencoderKL

    shape = {"double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32}
    shape |= {"ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
    network = AutoencoderKL(ddconfig=shape, embed_dim=4)
    tiny._randomise(network, 0)
    config = {"params": {"ddconfig": shape, "embed_dim": 4}}
    return comfy.sd.VAE(sd=network.state_dict(), config=config, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recomputing_saves_memory_and_changes_no_bit(room, models, host_nodes, dtype):
    vae, choose = sd_vae(dtype), room("guidance.decoders").choose
    gradients = room("networks.frozen").gradients
    own = sum(value.numel() * value.element_size() for value in vae.first_stage_model.parameters())
    found = []
    with gradients():
        latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for recompute in (False, True):
        seen = {}

        def keep(tensor, seen=seen):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        prepared = choose(models["sd15"], vae, "vae", recompute=recompute).prepare(
            models["sd15"].model, torch.device("cpu")
        )
        with gradients():
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                image = prepared.image(latent)
            (slope,) = torch.autograd.grad(image.square().sum(), latent)
        found.append((slope, sum(seen.values())))
    (kept, much), (again, little) = found
    assert torch.equal(kept, again)
    print(f"{much / 2**20:.1f} and {little / 2**20:.1f} MiB, {own / 2**20:.1f} of weights")
    assert little < 0.4 * much


def small_vae(dtype):
    vae = tiny.vae()
    vae.first_stage_model.to(dtype)
    return vae


@pytest.mark.parametrize(
    ("made", "dtype", "recompute", "most"),
    [
        (small_vae, torch.float16, False, 0.33),
        (small_vae, torch.bfloat16, False, 0.48),
        (sd_vae, torch.bfloat16, False, 0.01),
        (sd_vae, torch.bfloat16, True, 0.01),
    ],
)
def test_half_precision_vaes(room, models, solve, made, dtype, recompute, most, monkeypatch):
    """Estimate, Adam and loss stay float32: the path is that of a float32 VAE, but for rounding in the slope.

    most: how far apart, in shares of the way; a lost slope would be all of it. The random TAESD's first slope is off by
    4 % in float16 and by 9 % in bfloat16, and Adam, which moves every value equally far, carries that on to .26 and
    .41 of the way. SD's decoder: .0015.
    """
    monkeypatch.setattr(room("host"), "does_not_fit", lambda *_: recompute)
    model, sigmas = models["sd15"], ladder(room, models["sd15"])
    paths = []
    for kind in (torch.float32, dtype):
        path = []

        def watch(i, x0, x, total, path=path):
            if x0 is x:
                assert x0.dtype == torch.float32
                path.append(x0.clone())

        sampler = solve(vae=made(kind), variant=PLUS, decoder="vae", gradient_steps=4, rounds=1)
        heard(model, sampler, sigmas, empty(), watch)
        paths.append(torch.stack(path))
    way = (paths[0][-1] - paths[0][0]).abs().mean()
    assert way > 0.05
    assert (paths[1] - paths[0]).abs().mean() < most * way


def test_a_vae_that_overflows_is_told(room, models, solve):
    vae = tiny.vae()
    with torch.no_grad():
        vae.first_stage_model.vae_scale.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"overflowed in half precision.* --fp32-vae"):
        run(models["sd15"], solve(vae=vae, decoder="vae"), ladder(room, models["sd15"]), empty())


def test_half_precision_models(room, solve):
    model = tiny.model("sd15", dtype=torch.bfloat16)
    assert torch.isfinite(run(model, solve(), ladder(room, model), empty())).all()
