"""The retrieval network against the official code: the encoder, token selection, cross-attention, the relation network,
and the whole published model, all from random weights."""

from __future__ import annotations

import json

import pytest
import torch

from helpers import detfill
from helpers.golden_files import load_file

SMALL = {
    "width": 64,
    "depth": 2,
    "heads": 1,
    "inner": 96,
    "grid": 4,
    "patch": 8,
    "channels": (8, 16, 64),
    "cross_inner": 48,
    "folded": 24,
    "anchors": 4,
    "hidden": (8, 4),
}


@pytest.fixture(scope="module")
def retrieval(room):
    return room("networks.retrieval.network")


@pytest.fixture(scope="module")
def vit(room):
    return room("networks.retrieval.vit")


@pytest.fixture(scope="module")
def cross(room):
    return room("networks.retrieval.cross")


def recorded(golden, name):
    notes = json.loads((golden / f"zse_sbir/{name}.json").read_text())
    return notes, load_file(golden / f"zse_sbir/{name}.safetensors")


def near(mine, known, tolerance=1e-4):
    assert mine.shape == known.shape
    error = float((mine.float() - known.float()).abs().max() / known.float().abs().max())
    assert error < tolerance, error


def loaded(module, weights):
    module.load_state_dict(weights, strict=True)
    return module.eval().requires_grad_(False)


def encoder(vit, notes):
    stems = [notes["state_dict"][f"scale.seq.{i}.weight"][0][0] for i in (0, 2, 4, 6)]
    config = notes["config"]
    net = vit.SketchViT(
        width=config["hidden_size"],
        depth=config["depth"],
        heads=config["heads"],
        inner=config["mlp_dim"],
        grid=config["image_size"] // config["patch_size"],
        patch=config["patch_size"],
        channels=stems,
    )
    return loaded(net, detfill.weights(notes["state_dict"], notes["seed"]))


@pytest.mark.parametrize("name", ["vit_small", "vit_keep"])
def test_encoder(vit, golden, name):
    """Both stems, all tokens, and which ones are kept where some are dropped."""
    notes, known = recorded(golden, name)
    net = encoder(vit, notes)
    x = detfill.smooth("input.image", (2, 3, net.size, net.size), notes["seed"])
    count = known["embed_patch"].shape[1]
    near(net.embedding(x)[:, :count], known["embed_patch"])
    near(net.scale(x)[:, :count], known["embed_scale"])
    tokens, kept = net.encode(x, notes.get("keep_rate"))
    near(tokens, known["features"])
    if name == "vit_keep":
        assert torch.equal(kept, known["kept"])
        assert torch.equal(known["kept"], known["idx.1"].gather(1, known["idx.2"]))
        assert known["left"].tolist() == [36, 33, 27]
    else:
        assert kept.tolist() == [list(range(36))] * 2


def test_cross_attention(cross, golden):
    notes, known = recorded(golden, "cross_attention")
    weights = detfill.weights(notes["state_dict"], notes["seed"])
    weights = {key: value for key, value in weights.items() if not key.startswith("encoder.layers.")}
    net = loaded(cross.CrossAttention(width=64, heads=8, inner=96), weights)
    sketch, photo = known["x"].chunk(2)
    near(torch.cat(net(sketch, photo)), known["y"])
    for mine, name in zip(net.maps(sketch, photo), ("attn1.0", "attn2.0"), strict=True):
        near(mine, known[name])


def test_relation(cross, golden):
    notes, known = recorded(golden, "relation_49")
    net = loaded(cross.Relation(anchors=49, hidden=(343, 49)), detfill.weights(notes["state_dict"], notes["seed"]))
    cosines = cross.anchor_cosines(known["p"], known["q"])
    near(cosines, known["cos"])
    near(net.logit(cosines), known["logit"])
    near(net(cosines), known["score"])
    zero = known["p"].clone()
    zero[1, 7] = 0
    assert torch.equal(cross.anchor_cosines(zero, known["q"])[1, 7], torch.zeros(49)), "0/0 counts as 0"


def test_cosines_do_not_overflow_in_half_precision(cross):
    x = torch.full((1, 2, 512), 200.0, dtype=torch.float16)
    assert torch.allclose(cross.anchor_cosines(x, -x), -torch.ones(1, 2, 2), atol=1e-5)


@pytest.fixture(scope="module")
def whole(networks, golden):
    """The published network at full width, and what the official code makes of a sketch and two photos."""
    notes, known = recorded(golden, "full_model")
    net = networks.build(detfill.weights(notes["state_dict"], notes["seed"]))
    sketch, photo = (
        detfill.smooth(f"input.{name}", (count, 3, 224, 224), notes["seed"])
        for name, count in (("sketch", 1), ("photo", 2))
    )
    with torch.inference_mode():
        tokens = net.tokens(sketch).expand(2, -1, -1), net.tokens(photo)
        return notes, known, net, sketch, tokens, net.cross(*tokens)


def test_published_network(whole, room):
    notes, known, net, _, (sketch, photo), after = whole
    assert (net.size, net.patch, net.anchors, net.keep_rate) == (224, 16, 49, None)
    unused = sum(
        torch.Size(shape).numel() for key, (shape, *_) in notes["state_dict"].items() if "encoder.layers." in key
    )
    assert len(notes["state_dict"]) == 210
    assert sum(value.numel() for value in net.parameters()) + unused == notes["params"] == 102_180_632
    chosen = notes["token_index"]
    near(sketch[:1, chosen], known["sa_sketch"])
    near(photo[:, chosen], known["sa_photo"])
    near(torch.cat(after)[:, 0], known["ca_cls"])
    near(torch.cat(after)[:, chosen], known["ca_tokens_sel"])
    distances = room("pictures.ranking").distances
    near(distances(sketch[:1, 0], photo[:, 0]), known["dist_sa"])


def test_published_scores(whole, cross):
    _, known, net, _, tokens, after = whole
    with torch.inference_mode():
        folded = [net.fold(part) for part in after]
        near(folded[0][:1].transpose(1, 2).unflatten(2, (7, 7)), known["down_fea_0"])
        near(cross.anchor_cosines(*folded), known["cos_scores"])
        near(net.relation(*tokens), known["rn_score"][:, 0], 1e-5)
        near(-net.relation(*tokens)[None], known["dist_rn"], 1e-5)
        for mine, name in zip(net.cross_attention(*tokens), ("sketch", "photo"), strict=True):
            near(mine[0], known[f"attn_{name}_layer"], 6e-4)  # which was kept in half precision


def test_correspondence(whole, cross, golden):
    """Cosines of all sketch tokens with all photo tokens, and where [Ret] looks."""
    _, _, net, x, tokens, after = whole
    known = recorded(golden, "correspondence")[1]
    with torch.inference_mode():
        for name, (sketch, photo) in (("sa", tokens), ("ca", after)):
            cosines = cross.anchor_cosines(sketch[:1, 1:], photo[:1, 1:])[0]
            near(cosines, known[f"{name}.cos"], 1e-3)  # which was kept in half precision
            clear = known[f"{name}.margin"] > 1e-3
            assert torch.equal(cosines.argmax(1)[clear], known[f"{name}.best"][clear])
            best = cosines.topk(2, 1).values
            near(best[:, 0] - best[:, 1], known[f"{name}.margin"], 1e-3)
        near(net.ret_attention(x)[0], known["ret_attention"])


def small(retrieval, **other):
    torch.manual_seed(5)
    net = retrieval.Retriever(**SMALL | other)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"anchors": 16, "hidden": (64, 16)},
        {"width": 128, "heads": 2, "channels": (4, 8, 16, 128), "patch": 16, "cross_count": 2},
        {"grid": 5, "depth": 1},  # an odd grid: its last row and column are not folded
        {"grid": 14, "depth": 12, "anchors": 144, "hidden": (12, 144), "inner": 8},
        {"grid": 14, "depth": 5, "anchors": 144, "hidden": (12, 144), "inner": 8},
    ],
    ids=["small", "all tokens", "wider", "odd grid", "selection", "selection at another depth"],
)
def test_built_from_its_keys(networks, retrieval, other):
    """The same keys, settings and answers; batches of any size give what each pair gives alone."""
    net = small(retrieval, **other)
    again = networks.build({f"module.{key}": value for key, value in net.state_dict().items()})
    assert networks.recognise(net.state_dict(), "retriever").name == "ZSE-SBIR"
    assert (again.size, again.patch, again.anchors) == (net.size, net.patch, net.anchors)
    x = torch.randn(6, 3, net.size, net.size, generator=torch.Generator().manual_seed(1))
    tokens = again.tokens(x)
    assert torch.equal(tokens, net.tokens(x))
    assert tokens.shape[1] == 1 + (144 if net.keep_rate else net.grid**2)
    scores = again.relation(tokens[:3], tokens[3:])
    assert scores.shape == (3,)
    assert bool(((scores > 0) & (scores < 1)).all())
    for i in range(3):
        alone = again.relation(again.tokens(x[i : i + 1]), again.tokens(x[i + 3 : i + 4]))
        assert torch.allclose(alone, scores[i : i + 1], atol=1e-5)


def test_the_published_selection(retrieval):
    """Layers 3, 6 and 9 of 12 drop a tenth; other depths at the same shares of the way."""
    assert retrieval.selection(12) == (1, 1, 1, 0.9, 1, 1, 0.9, 1, 1, 0.9, 1, 1)
    assert retrieval.selection(4) == (1, 0.9, 0.9, 0.9)
    assert [retrieval.selection(depth).count(0.9) for depth in range(4, 25)] == [3] * 21


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(networks, retrieval, dtype):
    net = small(retrieval)
    half = networks.build(net.state_dict(), dtype=dtype)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    tokens = half.tokens(x.to(dtype))
    assert tokens.dtype == dtype
    near(tokens, net.tokens(x), 0.02 if dtype is torch.float16 else 0.1)
    scores = half.relation(tokens[:2], tokens[2:]).float()
    assert torch.allclose(scores, net.relation(*net.tokens(x).chunk(2)), atol=0.02 if dtype is torch.float16 else 0.1)


def test_unused_layers_may_be_there_or_not(networks, retrieval):
    weights = small(retrieval).state_dict()
    unused = {key.replace("layer1", "layers"): value for key, value in weights.items() if "layer1" in key}
    assert unused
    keys = networks.build(weights).state_dict().keys()
    assert networks.build({**weights, **unused}).state_dict().keys() == keys


@pytest.mark.parametrize(
    "gone",
    [
        "sa.model.transformer.layers.1.0.attention.to_qkv.bias",
        "sa.model.embedding.weight",
        "ca.encoder.layer1.0.self_attn.linears.3.weight",
        "ca.encoder.layer2.0.feed_forward.w_1.weight",
        "ca.encoder.layer2.0.sublayer.1.norm.a",
        "rn.rn.0.weight",
        "rn.rn.6.bias",
        "conv2d.weight",
        "conv2d.bias",
    ],
)
def test_missing_tensors_are_named(networks, retrieval, gone):
    weights = small(retrieval).state_dict()
    del weights[gone]
    with pytest.raises(ValueError, match=f"look like ZSE-SBIR.*{gone}"):
        networks.build(weights)


@pytest.mark.parametrize("part", ["sa.", "ca.", "rn.", "conv2d."])
def test_missing_parts_are_told(networks, retrieval, part):
    weights = {key: value for key, value in small(retrieval).state_dict().items() if not key.startswith(part)}
    with pytest.raises(ValueError, match=r"look like ZSE-SBIR.*missing|not of a supported kind"):
        networks.build(weights)


def test_settings_that_do_not_fit(networks, retrieval):
    weights = small(retrieval).state_dict()
    with pytest.raises(ValueError, match="64 cannot be split into 5 heads"):
        networks.build(weights, num_heads=5)
    with pytest.raises(ValueError, match="64 cannot be split into 7 heads of cross-attention"):
        networks.build(weights, cross_heads=7)
    relation = {"rn.rn.0.weight": torch.zeros(27, 81), "rn.rn.0.bias": torch.zeros(27)}
    relation |= {"rn.rn.3.weight": torch.zeros(4, 27)}
    with pytest.raises(ValueError, match=r"9 anchors of 16 tokens\. Supported are 4, 16"):
        networks.build({**weights, **relation})
    net = networks.build(weights)
    with pytest.raises(ValueError, match=r"\[batch, 3, 32, 32\], got \[1, 3, 40, 40\]"):
        net.tokens(torch.zeros(1, 3, 40, 40))
    with pytest.raises(ValueError, match="each of the 2 layers"):
        net.tokens(torch.zeros(1, 3, 32, 32), keep_rate=(1, 0.9, 1))
    with pytest.raises(ValueError, match="pairs of equally many"):
        net.relation(torch.zeros(2, 17, 64), torch.zeros(1, 17, 64))
    with pytest.raises(ValueError, match="all 16 tokens of a picture, got 12"):
        net.relation(torch.zeros(1, 13, 64), torch.zeros(1, 13, 64))


def test_wrong_heads_are_seen_in_the_output(networks, golden, vit):
    """Heads change no shape: the golden outputs must tell them apart."""
    notes, known = recorded(golden, "vit_small")
    net = encoder(vit, {**notes, "config": {**notes["config"], "heads": 8}})
    x = detfill.smooth("input.image", (2, 3, 96, 96), notes["seed"])
    assert (net(x) - known["features"]).abs().max() > 0.05


def test_trains(retrieval):
    """Gradients reach every parameter, from tokens and scores; dropout acts only while it trains."""
    net = small(retrieval).requires_grad_(True)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    assert torch.equal(net.tokens(x), net.tokens(x))
    net.train()
    torch.manual_seed(0)
    assert not torch.equal(net.tokens(x), net.tokens(x))
    sketch, photo = net.cross(*net.tokens(x).chunk(2))
    (net.score(sketch, photo).sum() + sketch[:, 0].square().sum() + photo[:, 0].square().sum()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any() for p in net.parameters())
