"""DiffSketching's networks reproduce recorded outputs of the official code, from nothing but their weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helpers import detfill
from helpers import diffsketching as golden
from helpers.diffsketching import off, worst

CASES = {"classifier_attention": "", "classifier_spatial_v2": "", "official_classifier": "classifier."}
TINY = {"model_channels": 32, "num_res_blocks": 2, "channel_mult": (1, 2, 2), "attention_levels": (1, 2)}


@pytest.fixture(scope="module")
def networks(room):
    return room("networks")


def classifier_case(room, name):
    note = golden.note(name)
    weights = golden.classifier_weights(room, note["config"], note["seed"], CASES[name])
    hints = {"num_head_channels": note["config"]["num_head_channels"]}
    return weights, hints, golden.recorded(name)


@pytest.mark.parametrize("name", CASES)
def test_classifier(room, networks, name):
    weights, hints, recorded = classifier_case(room, name)
    net = networks.build(weights, **hints)
    x = recorded["x"].clone().requires_grad_()
    logits = net(x, recorded["t"])
    assert worst(logits, recorded["logits"]) < 1e-4
    chosen = logits.log_softmax(1)[range(len(x)), recorded["y"]]
    (grad,) = torch.autograd.grad(chosen.sum(), x)
    assert off(grad, recorded["grad"]) < 1e-4
    if "train_loss" in recorded:
        assert worst(F.cross_entropy(logits, recorded["y"], reduction="none"), recorded["train_loss"]) < 1e-4


@pytest.mark.parametrize("pool", ["adaptive", "attention", "spatial", "spatial_v2"])
@pytest.mark.parametrize("updown", [True, False])
def test_every_pool_is_recognised_from_its_keys(room, networks, pool, updown):
    made = room("networks.noisy_classifier").NoisyClassifier(
        classes=7, pool=pool, side=8, resblock_updown=updown, num_head_channels=32, **TINY
    )
    for p in made.parameters():
        p.data.normal_(generator=golden.torch_seed(p.numel())).mul_(0.1)
    found = networks.build(made.state_dict(), num_head_channels=32)
    assert (found.pool, found.classes, found.levels) == (pool, 7, 3)
    x, t = torch.randn(2, 3, 32, 32, generator=golden.torch_seed(0)), torch.tensor([3.0, 700.0])
    assert torch.equal(found(x, t), made.eval()(x, t))
    odd = found(x[..., :27], t)  # other sizes than in training
    assert odd.shape == (2, 7)
    assert odd.isfinite().all()
    one = found(x[1:], t[1:])
    assert worst(one, found(x, t)[1:]) < 1e-4, "images do not see one another"


def test_spatial_pools_see_the_means_of_every_block(room):
    made = (
        room("networks.noisy_classifier")
        .NoisyClassifier(classes=3, pool="spatial", hidden=16, num_head_channels=32, **TINY)
        .eval()
    )
    seen = []
    for block in [*made.input_blocks, made.middle_block]:
        block.register_forward_hook(lambda _, __, out: seen.append(out.mean((2, 3))))
    logits = made(torch.randn(1, 3, 16, 16, generator=golden.torch_seed(1)), torch.tensor([5.0]))
    first, _, last = made.out
    assert torch.allclose(last(F.relu(first(torch.cat(seen, 1)))), logits)


def test_published_classifier_layout(room, networks):
    """OpenAI's 256 px classifier: 54.1 M parameters; 215.1 M at the README's width of 256."""
    attention = {"num_res_blocks": 2, "channel_mult": (1, 1, 2, 2, 4, 4), "attention_levels": (3, 4, 5)}
    for width, millions in ((128, 54.1), (256, 215.1)):
        made = room("networks.noisy_classifier").NoisyClassifier(
            classes=1000, pool="attention", side=8, model_channels=width, **attention, device="meta"
        )
        found = networks.build(made.state_dict())
        assert sum(p.numel() for p in found.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
        assert (found.image_size, found.levels) == (256, 6)


def test_classifier_that_fits_two_networks_goes_by_its_image_size(room, networks):
    """Levels of equal width without attention: 2 levels of 2 blocks have the keys of 3 levels of 1."""
    settings = {"model_channels": 32, "channel_mult": (1, 1), "num_res_blocks": 2, "side": 16}
    made = room("networks.noisy_classifier").NoisyClassifier(
        classes=4, pool="attention", device="meta", **settings, num_head_channels=32
    )
    assert networks.build(made.state_dict(), num_head_channels=32).levels == 3
    assert networks.build(made.state_dict(), num_head_channels=32, image_size=32).levels == 2


def test_classifier_faults(room, networks):
    made = room("networks.noisy_classifier").NoisyClassifier(
        classes=4, pool="adaptive", norm_groups=8, model_channels=24, channel_mult=(1, 2), num_head_channels=24
    )
    with pytest.raises(ValueError, match="24 channels, which is not a multiple of 32"):
        networks.build(made.state_dict())
    weights = {k: v for k, v in made.state_dict().items() if not k.startswith("input_blocks.2")}
    with pytest.raises(ValueError, match=r"do not fit|are no levels"):
        networks.build(weights, norm_groups=8, num_head_channels=24)


def test_feature_network(room, networks):
    """The body of the sampling code, and the training's file with everything three times."""
    recorded = golden.recorded("official_feature")
    body = golden.resnet_weights(room, golden.note("official_feature")["seed"])
    assert len(body) == 318 - 53, "318 keys without the norms' 53 counters"
    net = networks.build(body)
    assert not net.imagenet
    assert not net.classes
    x = recorded["x"].clone().requires_grad_()
    (seen,) = net(x)
    assert worst(seen, recorded["feat_eval"]) < 1e-4
    loss = (seen - net(recorded["ref"])[0]).abs().mean()
    assert float(loss) == pytest.approx(float(recorded["loss_eval"]), rel=1e-4)
    (grad,) = torch.autograd.grad(loss, x)
    assert off(grad, recorded["grad_loss_eval"]) < 2e-3
    head = golden.filled({"weight": (125, 2048), "bias": (125,)}, golden.note("official_feature")["seed"], "fc.")
    whole = {f"module.features.{k}": v for k, v in body.items()} | {f"module.resnet.x{k}": v for k, v in body.items()}
    whole |= {f"module.fc.{k}": v for k, v in head.items()}
    trained = networks.build(whole)
    assert trained.classes == 125
    assert worst(trained.classify(recorded["x"]), recorded["logits125_eval"]) < 1e-4


def test_resnet_files(room, networks):
    torchvision = room("networks.resnet").ResNet(classes=1000, device="meta").state_dict()
    del torchvision["imagenet"]
    net = networks.build(torchvision)
    assert net.imagenet
    assert net.classes == 1000
    assert sum(p.numel() for p in net.parameters()) == 25_557_032
    with pytest.raises(ValueError, match=r"1 unknown \(such as layer5.0.conv1.weight\)"):
        networks.build({**torchvision, "layer5.0.conv1.weight": torch.zeros(1)})
    body = {k: v.to("meta") for k, v in golden.resnet_weights(room, 0).items()}
    with pytest.raises(ValueError, match="unknown"):
        networks.build({**body, "8.0.conv1.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="missing"):
        networks.build({k: v for k, v in body.items() if k != "6.3.conv2.weight"})


def test_photosketch(room, networks):
    note, recorded = golden.note("official_photosketch"), golden.recorded("official_photosketch")
    settings = note["config"]["ngf"], note["config"]["n_blocks"], note["seed"]
    net = networks.build(golden.photosketch_weights(room, *settings))
    module = room("networks.photosketch")
    for statistics, key in ((module.OWN, "instance"), (module.RUNNING, "eval"), (module.BATCH, "train")):
        assert worst(net(recorded["x"], statistics), recorded[f"out_{key}"]) < 1e-4
    assert torch.equal(net(recorded["x"]), net(recorded["x"], module.OWN)), "the photo's own by default"
    x = recorded["x"].clone().requires_grad_()
    (grad,) = torch.autograd.grad(net(x, module.RUNNING).sum(), x)
    assert off(grad, recorded["grad_sum_eval"]) < 2e-3


def test_published_photosketch_layout(room, networks):
    made = room("networks.photosketch").PhotoSketch(device="meta")
    assert len(made.state_dict()) == 140
    assert all(key.startswith("model.") for key in made.state_dict())
    net = networks.build(made.state_dict())
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(11.38, abs=0.01)


def lpips(networks, room, weights):
    net = networks.build(weights)
    mean, std = (torch.tensor(v)[:, None, None] for v in room("pictures.preprocess").IMAGENET)
    lin = list(net.lin)

    def distance(a, b):  # both in [-1, 1]
        maps = [net((((x + 1) / 2).expand(-1, 3, -1, -1) - mean) / std) for x in (a, b)]
        return room("pictures.distances").perceptual_distance(*maps, lin)

    return distance


def test_lpips_of_alexnet(room, networks):
    recorded = golden.recorded("official_lpips")
    lin = [recorded[f"w.{key}"] for key in sorted(k[2:] for k in recorded if k.startswith("w."))]
    distance = lpips(networks, room, golden.lpips_weights(golden.note("official_lpips")["seed"], lin))
    a, b = recorded["a"].clone().requires_grad_(), recorded["b"]
    assert worst(distance(a, b), recorded["value_official"].flatten()) < 1e-4
    value = distance(a, 2 * b - 1)
    assert worst(value, recorded["value_b_to_pm1"].flatten()) < 1e-4
    assert worst(distance(2 * b - 1, b - 1), recorded["value_normalize"].flatten()) < 1e-4
    (grad,) = torch.autograd.grad(distance(a, b).sum(), a)
    assert min(off(grad, recorded["grad_a"]), off(torch.autograd.grad(value.sum(), a)[0], recorded["grad_a"])) < 2e-3


def test_alexnet_of_torchvision(networks):
    sizes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    weights = {f"features.{i}.bias": torch.zeros(out, device="meta") for i, (out, _, _) in sizes.items()}
    weights |= {f"features.{i}.weight": torch.zeros(o, c, s, s, device="meta") for i, (o, c, s) in sizes.items()}
    weights |= {"classifier.1.weight": torch.zeros(1, device="meta")}
    assert type(networks.build(weights)).__name__ == "AlexNet"


def test_losses_and_their_gradients(room, networks):
    """Both of DiffSketching's losses on one sample, and their slopes with respect to it."""
    note, recorded = golden.note("sketch_losses"), golden.recorded("sketch_losses")
    seed, config = note["seed"], note["netG"]
    draw = networks.build(golden.photosketch_weights(room, config["ngf"], config["n_blocks"], seed))
    look = networks.build(golden.resnet_weights(room, seed))
    distance = lpips(networks, room, golden.lpips_weights(seed))
    sample = recorded["sample"].clone().requires_grad_()
    seen = look(sample)[0]
    assert worst(seen[:, :64], recorded["eval.g_feature"]) < 1e-4
    loss = (seen - look(recorded["o_image"])[0]).abs().mean()
    assert float(loss) == pytest.approx(float(recorded["eval.loss_image"]), rel=1e-4)
    assert off(torch.autograd.grad(loss, sample)[0], recorded["diff.grad_image"]) < 2e-3
    module = room("networks.photosketch")
    drawn = draw(sample, module.RUNNING)
    assert worst(drawn, recorded["eval.g_sketch"]) < 1e-4
    assert worst(draw(sample, module.BATCH), recorded["train.g_sketch"]) < 1e-4
    unlike = distance(drawn, recorded["o_sketch"])
    assert worst(unlike, recorded["eval.loss_percept"].flatten()) < 1e-4
    assert off(torch.autograd.grad(unlike.sum(), sample)[0], recorded["diff.grad_percept"]) < 2e-3


def test_filling_rule():
    """The hash behind the weights, against its own recorded self test."""
    known = {("abc.weight", (2, 3), 0): [-0.3142306128030451, 1.2358706299119457, 1.7101836523476894]}
    for (name, shape, seed), values in known.items():
        assert detfill.draw(name, shape, seed).ravel()[:3].tolist() == pytest.approx(values)
