"""Extractors, feature networks and their distances reproduce recorded numbers of the official code."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from helpers.golden_files import load_file

LIMIT = 1e-5  # of the largest value
SAMPLE = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def networks(room):
    return room("networks")


@pytest.fixture(scope="module")
def recorded(golden):
    return lambda name: load_file(golden / "invbyinv" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def patcher(networks):
    """Weights as a thing that holds their network, as a host ModelPatcher does."""
    return lambda weights, **hints: SimpleNamespace(model=networks.build(weights, **hints))


@pytest.fixture(scope="module")
def looks(room):
    return room("pictures.features")


@pytest.fixture(scope="module")
def imagenet(room):
    """Mean and standard deviation of R, G and B."""
    return room("pictures.preprocess").IMAGENET


@pytest.fixture
def gradients(room):
    with room("networks.frozen").gradients():
        yield


def worst(found, expected):
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def random_weights(shapes):
    generator = torch.Generator().manual_seed(1)
    return {
        key: torch.randn(shape, generator=generator) / max(1, torch.Size(shape[1:]).numel()) ** 0.5
        for key, shape in shapes.items()
    }


def vgg_weights(*stages):
    """Random weights of a VGG under torchvision's keys; each stage is a tuple of widths."""
    shapes, place, channels = {}, 0, 3
    for stage in stages:
        for width in stage:
            shapes |= {f"features.{place}.weight": (width, channels, 3, 3), f"features.{place}.bias": (width,)}
            place, channels = place + 2, width
        place += 1
    return random_weights(shapes)


# --- extractors -------------------------------------------------------------------------------------------------------


def test_informative_drawings(networks, recorded):
    network, known = networks.build(recorded("weights_infodraw_nb1")), recorded("forward_infodraw")
    x = known["nb1_x"].requires_grad_()
    out = network(x)
    (gradient,) = torch.autograd.grad((out * known["nb1_w"]).sum(), x)
    assert worst(out, known["nb1_out"]) < LIMIT
    assert worst(gradient, known["nb1_grad"]) < LIMIT
    assert worst(network(known["nb1_x_odd"]), known["nb1_out_odd"]) < LIMIT


def hash_filled(name, shape, salt=11):
    """The rule by which the recorded three-block generator was filled (its .json states it)."""
    import zlib

    import numpy as np

    def scramble(z):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    count = int(np.prod(shape))
    start = (zlib.crc32(name.encode()) * 0x100000001 + salt * 0x9E3779B97F4A7C15 + 1) % 2**64
    with np.errstate(over="ignore"):
        z = scramble((np.arange(count, dtype=np.uint64) + np.uint64(start)) * np.uint64(0x9E3779B97F4A7C15))
    spread = 0.1 if len(shape) == 1 else 1.7 / np.prod(shape[1:], dtype=np.float64) ** 0.5
    values = spread * (2 * ((z >> np.uint64(40)).astype(np.float64) / 2**24) - 1)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def test_any_number_of_blocks(networks, recorded, golden):
    keys = json.loads((golden / "invbyinv" / "keys_infodraw_nb3_netG_A.json").read_text())["keys"]
    weights, known = {key: hash_filled(key, shape) for key, shape in keys.items()}, recorded("forward_infodraw")
    assert worst(weights["model0.1.weight"][:2], known["nb3_example_model0.1.weight"]) < 1e-6
    network = networks.build({f"module.{key}": value for key, value in weights.items()})
    assert sum(p.numel() for p in network.parameters()) == 4_290_945
    assert worst(network(known["nb3_x"]), known["nb3_out"]) < LIMIT


def test_narrow_extractor_is_the_same_network(networks, room):
    make = room("networks.infodraw").InformativeDrawings
    narrow = make(widths=(8, 12, 20), blocks=2).eval()
    x = SAMPLE[..., :48]
    assert torch.equal(networks.build(narrow.state_dict())(x), narrow(x))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (5, 3), (1, 70), (100, 9)])
@pytest.mark.parametrize("kind", ["network", "edges"])
def test_extractor_draws_any_size(room, patcher, recorded, gradients, kind, size):
    extractors = room("pictures.extractors")
    choice = (
        extractors.EDGES if kind == "edges" else extractors.extractor("x", patcher(recorded("weights_infodraw_nb1")))
    )
    draw = choice.prepare("cpu")
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(2)).requires_grad_()
    drawn = draw(x)
    assert drawn.shape == (2, 1, *size)
    assert 0 <= float(drawn.detach().min()) <= float(drawn.detach().max()) <= 1
    (gradient,) = torch.autograd.grad((drawn * torch.rand_like(drawn)).sum(), x)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0 or min(size) < 5
    assert torch.allclose(drawn[:1], draw(x[:1]), atol=1e-5), "members of a batch do not see each other"


def test_a_frozen_extractor_is_never_changed(room, patcher, recorded):
    """Weights loaded in inference mode, as the host does it, still pass gradients on and stay as they are."""
    extractors, frozen = room("pictures.extractors"), room("networks.frozen")
    with torch.inference_mode():
        held = patcher(recorded("weights_infodraw_nb1"))
        before = {key: value.clone() for key, value in held.model.state_dict().items()}
        image = torch.rand(1, 3, 16, 16)
        with frozen.gradients():
            x = frozen.ordinary(image).requires_grad_()
            (gradient,) = torch.autograd.grad(extractors.extractor("x", held).prepare("cpu")(x).sum(), x)
        assert gradient.abs().max() > 0
        assert all(torch.equal(value, before[key]) for key, value in held.model.state_dict().items())
        assert not any(p.requires_grad for p in held.model.parameters())


# --- edges ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def draw_edges(room):
    return room("pictures.edges").draw_edges


def test_edges_follow_the_contours_of_the_starter_world(room, draw_edges):
    """Ink where the true line sketch has it, blurred by a pixel of a 64-pixel picture: what an energy compares."""
    from torch.nn.functional import avg_pool2d

    for size in (64, 128):
        scenes = room("starter.world").render_batch(range(900, 916), size)
        images = torch.stack([torch.from_numpy(scene.image) for scene in scenes]).movedim(-1, 1).float() / 255
        sketches = torch.stack([torch.from_numpy(scene.sketch) for scene in scenes])[:, None].float() / 255
        near = 2 * (size // 64) + 1
        ink, true = (avg_pool2d(1 - x, near, 1, near // 2).flatten(1) for x in (draw_edges(images), sketches))
        ink, true = ink - ink.mean(1, keepdim=True), true - true.mean(1, keepdim=True)
        assert torch.cosine_similarity(ink, true).mean() > 0.5
        assert draw_edges(images).mean() > 0.75, "mostly paper"


def test_flat_pictures_have_no_lines(draw_edges):
    for colour in (0.0, 0.3, 1.0):
        assert draw_edges(torch.full((1, 3, 32, 32), colour)).min() > 0.99


def test_edges_see_colour_where_brightness_is_equal(draw_edges):
    x = torch.zeros(1, 3, 32, 32)
    x[:, 0, :, :16] = 0.6  # red of the luminance of the green beside it
    x[:, 1, :, 16:] = 0.6 * 0.299 / 0.587
    drawn = draw_edges(x)[0, 0]
    assert drawn[:, 15:17].max() < 0.5
    assert drawn[:, :8].min() > 0.95


# --- CLIP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taps", ["published", "intended"])
@pytest.mark.parametrize("prefix", ["", "visual."])
def test_clip_distance(looks, patcher, recorded, gradients, taps, prefix):
    """The recorded energy is a mean over the batch; ours is one number an image."""
    known = recorded("clip_distance")
    weights = {prefix + key: value for key, value in recorded("weights_clip_modified_resnet").items()}
    if prefix:
        weights["transformer.resblocks.0.ln_1.weight"] = torch.zeros(3)
    clip = looks.features("clip", patcher(weights), taps=taps, published=True)
    look = clip.prepare("cpu")
    x = known["a"].requires_grad_()
    assert worst(clip.preprocess(known["b"])[..., ::7, ::7], known["b_aug_crop"]) < LIMIT
    mine, theirs = look(x), look(known["b"])
    assert list(mine[-1].shape) == known[f"{taps}_final_shape"].long().tolist()
    energy = clip.distance(mine, theirs)
    assert energy.shape == (2,)
    (gradient,) = torch.autograd.grad(energy.mean(), x)
    assert worst(energy.mean(), known[f"{taps}_energy"]) < LIMIT
    assert worst(gradient, known[f"{taps}_grad"]) < LIMIT


def test_clip_as_trained_sees_the_whole_picture(looks, patcher, recorded, gradients):
    clip = looks.features("clip", patcher(recorded("weights_clip_modified_resnet")))
    x = torch.rand(1, 3, 48, 96).requires_grad_()
    assert clip.preprocess(x).shape == (1, 3, 224, 448)
    maps = clip.prepare("cpu")(x)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (8, 56, 112),
        (32, 56, 112),
        (64, 28, 56),
        (128, 14, 28),
        (256, 7, 14),
        (16,),
    ]
    (gradient,) = torch.autograd.grad(maps[-1].square().sum(), x)
    assert (gradient.abs().amax((0, 1, 2)) > 0).all(), "no column is cut off"


def test_published_keys(networks, golden):
    """Every key and shape of the real networks; the parameter counts are the published ones."""
    for name, kind in (("keys_clip_rn101_visual", "ClipResNet"), ("keys_infodraw_nb3_netG_A", "InformativeDrawings")):
        known = json.loads((golden / "invbyinv" / f"{name}.json").read_text())
        keys = {key: torch.empty(shape, device="meta") for key, shape in known["keys"].items()}
        network = networks.build(keys)
        assert type(network).__name__ == kind
        assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in keys.items()}
        assert sum(p.numel() for p in network.parameters()) == known["params"]


# --- VGG, LPIPS, InceptionV3, AdaIN -----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine"])
def test_feature_distances(room, looks, patcher, recorded, gradients, metric):
    """The recorded stand-in for VGG is two filters with a pool between; its last ReLU is what was compared."""
    known = {k.split("/")[1]: v for k, v in recorded("step_feature").items() if k.startswith(f"stub_{metric}/")}
    call = room("networks.frozen").Frozen(
        patcher(recorded("weights_featstub")), lambda net, x: net(x, ("relu2_1",)), ("features",)
    )
    stub = looks.Features("stub", call, "vgg", ("relu2_1",), lambda x: x, published=True)
    look = stub.prepare("cpu")
    y = known["y"].requires_grad_()
    energy = stub.distance(look(y), look(known["x0"]), metric)
    (gradient,) = torch.autograd.grad(energy.sum(), y)
    assert worst(energy.sum(), known["energysum_feature"]) < LIMIT
    assert worst(gradient, known["grad_feature"]) < LIMIT


def test_lpips(room, looks, patcher, recorded, gradients):
    """The recorded shape energy: the drawing of a trial sample against the sketch, in the recorded stand-in."""
    known = {k.split("/")[1]: v for k, v in recorded("step_shape").items() if k.startswith("lpips/")}
    stored = recorded("weights_lpipsstub")
    held = patcher(
        {"features.0.weight": stored["conv.weight"], "features.0.bias": stored["conv.bias"], "lin.0": stored["lin"]}
    )
    call = room("networks.frozen").Frozen(held, lambda net, x: net(x))
    stub = looks.Features("stub", call, "vgg", ("relu1_1",), lambda x: x, published=True)
    distance = stub.perceptual().prepare("cpu")
    draw = room("pictures.extractors").extractor("x", patcher(recorded("weights_infodraw_nb1"))).prepare("cpu")

    t = int(known["t"][0])
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = (1 - beta).cumprod(0)
    spread = float((beta[t] * (1 - kept[t - 1]) / (1 - kept[t])).sqrt()) if t else 0.0
    y = known["y"].requires_grad_()
    trial = known["mean_init"] + spread * known["noise0"] + (y - y.detach()) / float((1 - beta[t]).sqrt())
    drawn = draw(((trial + 1) / 2).clamp(0, 1)).expand(-1, 3, -1, -1)
    energy = distance(drawn, known["ref"])
    (gradient,) = torch.autograd.grad(energy.sum(), y)
    assert energy.shape == (2,)
    assert worst(energy.sum(), known["energysum_shape"]) < LIMIT
    assert worst(gradient, known["grad_shape"]) < LIMIT


VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def test_vgg16_is_read_from_its_keys(networks):
    keys = vgg_shapes = {k: torch.empty(v.shape, device="meta") for k, v in vgg_weights(*VGG16).items()}
    assert sorted({int(k.split(".")[1]) for k in vgg_shapes}) == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    network = networks.build({**keys, "classifier.0.weight": torch.empty(4096, 25088, device="meta")})
    assert network.taps == ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
    assert sum(p.numel() for p in network.parameters()) == 14_714_688  # torchvision's count for vgg16().features


def test_vgg_against_torchvision(networks, looks, imagenet, patcher, gradients):
    """The same maps as torchvision's own VGG, its normalisation included."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    theirs = torchvision.models.vgg16(weights=None).eval()
    vgg = looks.features("vgg", patcher(theirs.state_dict()))
    normalised = torchvision.transforms.functional.normalize(SAMPLE, *imagenet)
    maps = vgg.prepare("cpu")(SAMPLE)
    for end, found in zip((4, 9, 16, 23, 30), maps, strict=True):
        assert worst(found, theirs.features[:end](normalised)) < LIMIT
    published = looks.features("vgg", patcher(theirs.state_dict()), taps="published", published=True)
    raw = 2 * SAMPLE - 1
    assert worst(published.prepare("cpu")(raw)[0], theirs.features(raw)) < LIMIT


def test_lpips_files(looks, imagenet, patcher, gradients):
    """The whole state dict of the lpips package: torchvision's numbers in slices, and a weight for every channel."""
    stages = ((4, 4), (6, 6), (8, 8, 8), (8, 8, 8), (8, 8, 8))
    plain = vgg_weights(*stages)
    bounds = {0: 1, 5: 2, 10: 3, 17: 4, 24: 5}
    renamed = {}
    for key, value in plain.items():
        place = int(key.split(".")[1])
        renamed[f"net.slice{max(s for first, s in bounds.items() if place >= first)}.{place}.{key.split('.')[2]}"] = (
            value
        )
    for i, stage in enumerate(stages):
        weight = torch.rand(1, stage[-1], 1, 1)
        renamed |= {f"lin{i}.model.1.weight": weight, f"lins.{i}.model.1.weight": weight}
    renamed |= {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}
    held = patcher(renamed)
    a, b = SAMPLE, SAMPLE.flip(-1)
    found = looks.features("lpips", held).perceptual().prepare("cpu")(a, b)
    network = patcher(plain).model
    mean, std = (torch.tensor(values)[:, None, None] for values in imagenet)
    expected = torch.zeros(2)
    for i, (u, v) in enumerate(zip(network((a - mean) / std), network((b - mean) / std), strict=True)):
        u, v = (m / (m.square().sum(1, keepdim=True).sqrt() + 1e-10) for m in (u, v))
        expected += (renamed[f"lin{i}.model.1.weight"] * (u - v).square()).sum(1).mean((1, 2))
    assert worst(found, expected) < LIMIT
    assert looks.features("vgg", patcher(plain)).perceptual().prepare("cpu")(a, a).abs().max() == 0


def test_perceptual_gradients_survive_empty_maps(looks, patcher, gradients):
    dead = {k: v * 0 - (k.endswith("bias")) * 1.0 for k, v in vgg_weights((4,), (4,)).items()}
    x = SAMPLE.clone().requires_grad_()
    energy = looks.features("vgg", patcher(dead)).perceptual().prepare("cpu")(x, SAMPLE.flip(0))
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    assert torch.isfinite(gradient).all()


def test_large_pictures_are_reduced_and_small_ones_grow(looks, patcher):
    held = patcher(vgg_weights((2,), (2,), (2,), (2,), (2,)))
    preprocess = looks.features("vgg", held, size=64).preprocess
    assert preprocess(torch.rand(1, 3, 128, 256)).shape == (1, 3, 64, 128)
    assert preprocess(torch.rand(1, 3, 48, 50)).shape == (1, 3, 48, 50)
    assert preprocess(torch.rand(1, 3, 8, 16)).shape == (1, 3, 32, 64)


def test_inception_against_torchvision(looks, imagenet, patcher, gradients):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    theirs = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    held = patcher(theirs.state_dict())
    x = torch.rand(1, 3, 299, 299)
    for published, seen in ((False, torchvision.transforms.functional.normalize(x, *imagenet)), (True, x)):
        h = theirs._transform_input(seen)
        for layer in (theirs.Conv2d_1a_3x3, theirs.Conv2d_2a_3x3, theirs.Conv2d_2b_3x3, theirs.maxpool1):
            h = layer(h)
        (found,) = looks.features("inception", held, published=published).prepare("cpu")(x)
        assert found.shape == (1, 64, 73, 73)
        assert worst(found, h) < LIMIT


def test_adain_networks(networks, room):
    """Encoder and decoder under the published key numbers; the layers behind relu4_1 are left out."""
    vgg = room("networks.vgg")
    encoder, decoder = vgg.AdaINEncoder(), vgg.AdaINDecoder()
    weights = encoder.state_dict()
    numbers = [int(key.split(".")[0]) for key in weights if key.endswith("weight")]
    assert numbers == [0, 2, 5, 9, 12, 16, 19, 22, 25, 29]
    numbers = [int(key.split(".")[0]) for key in decoder.state_dict() if key.endswith("weight")]
    assert numbers == [1, 5, 8, 11, 14, 18, 21, 25, 28]
    built = networks.build({**weights, "32.weight": torch.zeros(512, 512, 3, 3), "32.bias": torch.zeros(512)})
    assert torch.equal(built(SAMPLE), encoder(SAMPLE))
    back = networks.build(decoder.state_dict())(built(SAMPLE))
    assert back.shape == SAMPLE.shape


# --- DSE --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["dse", "dse_hi"])
def test_domain_energy(looks, patcher, recorded, gradients, case):
    known = {k.split("/")[1]: v for k, v in recorded("step_dse").items() if k.startswith(f"{case}/")}
    domain = looks.features("dse", patcher(recorded("weights_dse"), num_head_channels=32))
    assert isinstance(domain, looks.Domain)
    look = domain.prepare("cpu")
    y = known["y"].requires_grad_()
    energy = domain.likeness(look(y, known["t"]), look(known["xt"], known["t"]))
    (gradient,) = torch.autograd.grad(energy.sum(), y)
    assert energy.shape == (2,)
    assert worst(energy.sum(), known["energysum_dse"]) < LIMIT
    assert worst(gradient, known["grad_dse"]) < LIMIT


def test_published_domain_extractor(networks, golden):
    """Six levels of two blocks are found although halving blocks look like any other; the head is left out."""
    keys = json.loads((golden / "invbyinv" / "keys_egsde_dse256.json").read_text())["keys"]
    network = networks.build({k: torch.empty(v, device="meta") for k, v in keys.items()}, num_head_channels=64)
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == {
        k: tuple(v) for k, v in keys.items() if not k.startswith("I2Iout")
    }
    x = torch.empty(1, 3, 256, 256, device="meta")
    assert network(x, torch.empty(1, device="meta")).shape == (1, 512, 8, 8)


@pytest.mark.parametrize(
    "config",
    [
        {"num_res_blocks": 1, "channel_mult": (1, 1, 2), "attention_levels": ()},
        {"num_res_blocks": 2, "channel_mult": (1, 2, 2, 3), "attention_levels": (2, 3)},
        {"num_res_blocks": 3, "channel_mult": (1, 2), "attention_levels": (1,)},
        {"num_res_blocks": 2, "channel_mult": (1, 2, 2), "attention_levels": (1,), "resblock_updown": False},
    ],
)
def test_domain_extractors_are_read_from_the_keys(networks, room, config):
    torch.manual_seed(0)
    made = room("networks.dse").DSE(model_channels=32, num_head_channels=32, **config).eval()
    found = networks.build({**made.state_dict(), "I2Iout.0.weight": torch.ones(3)}, num_head_channels=32)
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([300.0])
    assert torch.equal(found(x, t), made(x, t))


# --- recognition ------------------------------------------------------------------------------------------------------


def test_roles_keep_kinds_apart(networks, recorded):
    kinds = {
        "extractor": recorded("weights_infodraw_nb1"),
        "features": vgg_weights((4,), (4,)),
        "domain": recorded("weights_dse"),
    }
    for role, weights in kinds.items():
        assert networks.recognise(weights, *networks.ROLES).role == role
        assert networks.recognise(weights, role).role == role
        assert networks.recognise(weights, "prior") is None, "a prior loader does not take it"
    assert "VGG" not in networks.supported("prior")
    assert "VGG" in networks.supported("features")


def test_relatives_are_refused(networks):
    alexnet = random_weights({"features.0.weight": (64, 3, 11, 11), "features.0.bias": (64,)})
    with pytest.raises(ValueError, match=r"look like VGG but do not fit.*\[64, 3, 11, 11\]"):
        networks.build(alexnet)
    normed = {**vgg_weights((4,), (4,)), "features.1.running_mean": torch.zeros(4)}
    with pytest.raises(ValueError, match="not of a supported kind"):
        networks.build(normed)
