"""The UNets reproduce recorded outputs of the official networks, from nothing but their weights and the hints."""

from __future__ import annotations

import json

import pytest
import torch

from helpers.golden_files import load_file

ADM_CASES = ("plain", "classcond", "learnsigma")


@pytest.fixture(scope="module")
def networks(room):
    return room("networks")


def adm_case(golden, name):
    """(weights, hints, recorded tensors) of one recorded ADM network."""
    config = json.loads((golden / f"adm/forward_adm_{name}.json").read_text())["meta"]["config"]
    hints = {key: config[key] for key in ("num_heads", "num_head_channels", "use_new_attention_order")}
    weights = load_file(golden / f"adm/weights_adm_{name}.safetensors")
    return weights, hints, load_file(golden / f"adm/forward_adm_{name}.safetensors")


@pytest.mark.parametrize("name", ADM_CASES)
def test_adm_forward(networks, golden, name):
    weights, hints, recorded = adm_case(golden, name)
    net = networks.build(weights, **hints)
    y = recorded.get("y")
    for t, out in (("t", "out"), ("t_float", "out_tfloat")):
        assert (net(recorded["x"], recorded[t], y) - recorded[out]).abs().max() < 1e-4
    assert (net.embed(recorded["t"], y, torch.float32) - recorded["emb"]).abs().max() < 1e-5
    assert net.num_classes == (5 if name == "classcond" else None)
    assert net.out_channels == (6 if name == "learnsigma" else 3)


def test_wrong_hints_are_seen_in_the_output(networks, golden):
    """Heads and head order change nothing in the shapes: the golden outputs must tell them apart."""
    weights, hints, recorded = adm_case(golden, "classcond")
    for wrong in ({"num_head_channels": 32}, {"use_new_attention_order": True}):
        out = networks.build(weights, **{**hints, **wrong})(recorded["x"], recorded["t"], recorded["y"])
        assert (out - recorded["out"]).abs().max() > 1e-2


def test_ddpm_forward(networks, golden):
    net = networks.build(load_file(golden / "sdedit/weights_a.safetensors"))
    recorded = load_file(golden / "sdedit/unet_forward_a.safetensors")
    assert (net(recorded["x"], recorded["t"]) - recorded["eps"]).abs().max() < 1e-4
    single = torch.cat([net(x[None], t[None]) for x, t in zip(recorded["x"], recorded["t"], strict=True)])
    assert (single - recorded["eps_single"]).abs().max() < 1e-4


@pytest.mark.parametrize(
    "source",
    [
        "adm/keys_adm_plain",
        "adm/keys_adm_classcond",
        "adm/keys_adm_learnsigma",
        "adm/keys_adm_afhq256",
        "sdedit/published_config_keys",
    ],
)
def test_published_keys(networks, golden, source):
    """Every key and shape of the published networks, and none besides."""
    keys = {
        k: torch.empty(v, device="meta") for k, v in json.loads((golden / f"{source}.json").read_text())["keys"].items()
    }
    net = networks.build({f"module.{key}": value for key, value in keys.items()}, num_head_channels=32)
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in keys.items()}
    if "afhq" in source:
        assert sum(p.numel() for p in net.parameters()) == 93_563_910
        assert (net.out_channels, len(keys)) == (6, 362)
    if "sdedit" in source:
        assert sum(p.numel() for p in net.parameters()) == 113_673_219


def to_diffusers(key, newer):
    """A key of SDEdit's network as diffusers names it (levels counted the other way on the way up)."""
    parts = key.split(".")
    attention = {"norm": "group_norm", "q": "query", "k": "key", "v": "value", "proj_out": "proj_attn"}
    if newer:
        attention |= {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
    block = {"temb_proj": "time_emb_proj", "nin_shortcut": "conv_shortcut"}
    where = {"down": "down_blocks.", "up": "up_blocks."}.get(parts[0])
    if where:
        where += parts[1] if parts[0] == "down" else str(1 - int(parts[1]))
        if parts[2] in ("downsample", "upsample"):
            return f"{where}.{parts[2]}rs.0.{'.'.join(parts[3:])}"
        kind, names = ("resnets", block) if parts[2] == "block" else ("attentions", attention)
        return f"{where}.{kind}.{parts[3]}.{names.get(parts[4], parts[4])}.{parts[5]}"
    if parts[0] == "mid":
        kind, names = ("resnets", block) if "block" in parts[1] else ("attentions", attention)
        return f"mid_block.{kind}.{int(parts[1][-1]) - 1}.{names.get(parts[2], parts[2])}.{parts[3]}"
    if parts[0] == "temb":
        return f"time_embedding.linear_{int(parts[2]) + 1}.{parts[3]}"
    return key.replace("norm_out", "conv_norm_out")


@pytest.mark.parametrize("newer", [False, True])
def test_diffusers_names(networks, golden, newer):
    weights = {
        to_diffusers(k, newer): v[:, :, 0, 0] if ".attn" in k and v.ndim == 4 else v
        for k, v in load_file(golden / "sdedit/weights_a.safetensors").items()
    }
    assert "down_blocks.1.attentions.0.to_q.weight" in weights or not newer
    recorded = load_file(golden / "sdedit/unet_forward_a.safetensors")
    net = networks.build(weights)
    assert (net(recorded["x"], recorded["t"]) - recorded["eps"]).abs().max() < 1e-4


@pytest.mark.parametrize("name", [*ADM_CASES, "ddpm"])
@pytest.mark.parametrize("size", [(16, 16), (24, 40), (17, 31), (1, 8)])
def test_any_size_and_batch(networks, golden, name, size):
    """Sizes that do not halve evenly give an answer of their own size, and batch members do not see each other."""
    if name == "ddpm":
        net = networks.build(load_file(golden / "sdedit/weights_a.safetensors"))
    else:
        weights, hints, _ = adm_case(golden, name)
        net = networks.build(weights, **hints)
    x = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))
    t, y = torch.tensor([0.0, 400.5, 999.0]), torch.tensor([0, 4, 2]) if net.num_classes else None
    out = net(x, t, y)
    assert out.shape == (3, net.out_channels, *size)
    assert torch.isfinite(out).all()
    for i in (0, 2):
        single = net(x[i : i + 1], t[i : i + 1], None if y is None else y[i : i + 1])
        assert (single - out[i : i + 1]).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(networks, golden, dtype):
    weights, hints, recorded = adm_case(golden, "learnsigma")
    net = networks.build({k: v.half() for k, v in weights.items()}, dtype=dtype, **hints)
    assert {p.dtype for p in net.parameters()} == {dtype}
    out = net(recorded["x"].to(dtype), recorded["t_float"])
    assert out.dtype == dtype
    error = (out.float() - recorded["out_tfloat"]).std() / recorded["out_tfloat"].std()
    assert error < (0.01 if dtype is torch.float16 else 0.05)


def test_half_precision_file_gives_a_float32_network(networks, golden):
    weights, hints, _ = adm_case(golden, "plain")
    assert {p.dtype for p in networks.build({k: v.half() for k, v in weights.items()}, **hints).parameters()} == {
        torch.float32
    }


@pytest.mark.parametrize(
    "config",
    [
        {"num_res_blocks": 2, "channel_mult": (1, 2, 3), "attention_levels": (1, 2)},
        {"num_res_blocks": (1, 2, 3), "channel_mult": (1, 1, 2), "attention_levels": (0,), "resblock_updown": False},
        {"num_res_blocks": 1, "channel_mult": (0.5, 1), "attention_levels": (), "use_scale_shift_norm": False},
        {"num_res_blocks": 3, "channel_mult": (1,), "attention_levels": (0,), "num_classes": 7},
    ],
)
def test_config_is_read_from_the_keys(networks, room, config):
    """Built, saved, recognised and built again: the same keys and shapes, the same answers."""
    torch.manual_seed(0)
    net = room("networks.adm").ADM(model_channels=64, num_head_channels=32, **config).eval()
    again = networks.build(net.state_dict(), num_head_channels=32)
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3.0, 700.0])
    y = torch.tensor([1, 6]) if "num_classes" in config else None
    assert torch.equal(again(x, t, y), net(x, t, y))


def test_trains(networks, room):
    """Gradients reach every parameter under autocast in the channels-last layout, and the loss falls."""
    torch.manual_seed(0)
    net = room("networks.adm").ADM(
        model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_levels=(1,), num_head_channels=32
    )
    net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
    x = torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last)
    losses = []
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16):
            out = net(x, torch.tensor([1.0, 50.0, 400.0, 900.0]))
        loss = (out.float() - x).square().mean()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_errors_say_what_came(networks, golden):
    weights, hints, _ = adm_case(golden, "plain")
    with pytest.raises(ValueError, match=r"first keys: model\.a, model\.b.*Supported are: ADM.*DDPM"):
        networks.build({"model.b": torch.zeros(1), "model.a": torch.zeros(1)})
    lacking = {k: v for k, v in weights.items() if k != "out.2.bias"}
    with pytest.raises(ValueError, match=r"look like ADM.*1 missing \(such as out\.2\.bias\)"):
        networks.build(lacking, **hints)
    with pytest.raises(ValueError, match=r"1 unknown \(such as extra\)"):
        networks.build({**weights, "extra": torch.zeros(1)}, **hints)
    with pytest.raises(ValueError, match=r"1 of another shape \(such as out\.2\.bias: \[5\], expected \[3\]\)"):
        networks.build({**weights, "out.2.bias": torch.zeros(5)}, **hints)
    with pytest.raises(ValueError, match="64 channels cannot be split into 48 channels per head"):
        networks.build(weights, num_head_channels=48)
    for gone in ("output_blocks.1.0.out_layers.3.weight", "middle_block.0.emb_layers.1.weight"):
        with pytest.raises(ValueError, match=f"look like ADM.*'{gone}' is missing"):
            networks.build({k: v for k, v in weights.items() if k != gone}, **hints)
    classes = networks.build(adm_case(golden, "classcond")[0], num_head_channels=16)
    with pytest.raises(ValueError, match="5 classes"):
        classes(torch.zeros(1, 3, 16, 16), torch.zeros(1))
