"""FID, KID and LPIPS against recorded and independent numbers, and what is kept of sets."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from helpers import diffsketching
from helpers import sketchgan_golden as known


@pytest.fixture(scope="module")
def metrics(room):
    return room("pictures.metrics")


def normal(count, size, seed, shift=0.0, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=torch.Generator().manual_seed(99)) / size**0.5
    return scale * torch.randn(count, size, generator=rng) @ mix + shift


def test_frechet_distance_as_recorded(metrics):
    tensors, scalars = known.recorded("losses")
    found = metrics.frechet(tensors["fid_sample_feats"], tensors["fid_real_feats"])
    assert found == pytest.approx(scalars["fid"], rel=1e-6)


def test_frechet_distance_of_known_distributions(metrics):
    """Between N(0, 1) and N(m, s) of independent numbers it is |m|^2 + D (1 - s)^2."""
    x = torch.randn(200_00, 4, generator=torch.Generator().manual_seed(0))
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T)).T)  # covariance exactly 1
    assert metrics.frechet(x, 3 * x + 2) == pytest.approx(4 * 4 + 4 * 4, rel=1e-5)
    assert metrics.frechet(x, x.flip(0)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("counts", [(30, 40), (5, 7), (2, 60)])
def test_frechet_distance_by_the_plain_formula(metrics, counts):
    """By eigenvalues of C1 C2; few vectors make covariances without full rank, which need no help here."""
    a, b = normal(counts[0], 16, 1), normal(counts[1], 16, 2, 0.3, 1.5)
    c1, c2 = (np.cov(x.double().numpy(), rowvar=False) for x in (a, b))
    root = np.sqrt(np.linalg.eigvals(c1 @ c2).real.clip(0)).sum()
    gap = (a.double().mean(0) - b.double().mean(0)).square().sum().item()
    assert metrics.frechet(a, b) == pytest.approx(gap + np.trace(c1) + np.trace(c2) - 2 * root, rel=1e-5)
    assert metrics.frechet(a, b) == pytest.approx(metrics.frechet(b, a), rel=1e-9)


def test_kernel_distance_by_the_plain_formula(metrics):
    a, b = normal(9, 5, 1).double(), normal(6, 5, 2, 0.5).double()

    def kernel(x, y):
        return (float(x @ y) / 5 + 1) ** 3

    own = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    across = np.mean([kernel(x, y) for x in a for y in b])
    found = metrics.kernel_distance(a, b)
    assert found.value == pytest.approx(sum(own) - 2 * across, rel=1e-9)
    assert found.spread == 0


def test_kernel_distance_is_fair_and_sees_a_difference(metrics):
    """The same world in small sets: 0 on the mean. Subsets of large sets agree with the whole."""
    same = [metrics.kernel_distance(normal(20, 8, i), normal(20, 8, 100 + i)).value for i in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 60**0.5
    assert min(same) < 0
    a, b = normal(300, 8, 1), normal(260, 8, 2, 0.4)
    whole, drawn = metrics.kernel_distance(a, b), metrics.kernel_distance(a, b, most=100)
    assert whole.value > 5 * abs(np.mean(same))
    assert abs(drawn.value - whole.value) < drawn.spread
    assert drawn == metrics.kernel_distance(a, b, most=100), "the same draws every time"


def test_vectors_of_mixed_sizes_keep_their_order(metrics, monkeypatch):
    pictures = [torch.full((1, side, side, 3), i / 10) for i, side in enumerate((8, 8, 8, 16, 8, 8))]
    counts, groups = [], []

    def look(x):
        groups.append(tuple(x.shape))
        return x.mean((2, 3))

    monkeypatch.setattr(metrics, "AT_ONCE", 128)  # two of the small pictures
    found = metrics.vectors(pictures, look, "cpu", counts.append)
    assert groups == [(2, 3, 8, 8), (1, 3, 8, 8), (1, 3, 16, 16), (2, 3, 8, 8)]
    assert counts == [2, 1, 1, 2]
    assert torch.allclose(found[:, 0], torch.arange(6) / 10)


def test_pairs_are_compared_at_one_size(metrics):
    """Areas are averaged down to 256, small pairs stay, and a partner of another shape is cut, not squashed."""
    seen = []

    def distance(a, b):
        seen.append((tuple(a.shape), tuple(b.shape)))
        return (a - b).abs().mean((1, 2, 3))

    wide = torch.zeros(1, 64, 128, 3)
    wide[:, :, 32:96] = 1  # what is left of it in a square
    pairs = [(torch.zeros(1, 512, 768, 3), torch.ones(1, 512, 768, 3)), (torch.ones(1, 40, 40, 3), wide)]
    found = metrics.pair_distances(pairs, distance, "cpu")
    assert seen == [((1, 3, 256, 384),) * 2, ((1, 3, 40, 40),) * 2]
    assert found.tolist() == pytest.approx([1, 0], abs=1e-5)
    stripes = torch.zeros(1, 512, 512, 3)
    stripes[:, ::2] = 1
    grey = torch.full((1, 512, 512, 3), 0.5)
    assert float(metrics.pair_distances([(stripes, grey)], distance, "cpu")) == pytest.approx(0, abs=1e-6)


def test_vectors_are_kept(metrics, tmp_path, monkeypatch):
    made = []

    def make():
        made.append(len(made))
        return torch.full((2, 3), float(len(made)))

    folder = tmp_path / "a" / "b"
    first = metrics.kept(folder, "x", make)
    assert torch.equal(metrics.kept(folder, "x", make), first)
    assert made == [0]
    (folder / "x.safetensors").write_bytes(b"cut off")
    assert metrics.kept(folder, "x", make)[0, 0] == 2, "a damaged file is made again"
    assert torch.equal(metrics.kept(folder, "x", make), torch.full((2, 3), 2.0))

    def broken():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        metrics.kept(folder, "y", broken)
    monkeypatch.setattr(metrics, "KEPT", 2)
    os.utime(folder / "x.safetensors", (1, 1))
    for key in "pq":
        metrics.kept(folder, key, make)
    assert sorted(file.name for file in folder.iterdir()) == ["p.safetensors", "q.safetensors"], (
        "no parts; the oldest goes"
    )


# --- InceptionV3 ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inception():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=False).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # so that pictures are told apart
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.get_buffer("running_mean").normal_(0, 0.1)
            layer.get_buffer("running_var").uniform_(0.5, 1.5)
    network.fc = torch.nn.Linear(2048, 1000)
    return network


def unlike(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def last_layer(network, x):
    network.fc, kept = torch.nn.Identity(), network.fc
    with torch.no_grad():
        found = network(x)
    network.fc = kept
    return found


def as_fid(network):
    """The blocks of FID's network, after TensorFlow: means of pools do not count the rim, the last one is a maximum."""
    from torch.nn import functional as F

    def within(x, *_, **__):
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

    for name, block in network.named_children():
        if name.startswith("Mixed_") and hasattr(block, "branch_pool"):
            pool = (lambda x: F.max_pool2d(x, 3, stride=1, padding=1)) if name == "Mixed_7c" else within
            # torchvision's pools are calls of F.avg_pool2d inside forward: the filter behind gets its own input here
            block.branch_pool.register_forward_pre_hook(lambda _, __, pool=pool, block=block: (pool(block.seen),))
            block.register_forward_pre_hook(lambda block, given: setattr(block, "seen", given[0]))
    return network


def test_inception_is_torchvisions(inception, room):
    network = room("networks").build(inception.state_dict())
    x = torch.rand(2, 3, 299, 299) * torch.tensor([0.2, 2.0])[:, None, None, None] - 1
    assert not network.fid
    with torch.no_grad():
        found = network.whole(x)
    assert unlike(found[0], found[1]) > 0.1
    assert unlike(found, last_layer(inception, x)) < 1e-5


def test_inception_of_fid_has_other_pools(inception, room):
    import copy

    weights = {key: value for key, value in inception.state_dict().items() if not key.startswith("AuxLogits")}
    weights["fc.weight"], weights["fc.bias"] = torch.zeros(1008, 2048), torch.zeros(1008)
    weights = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}  # as published
    network = room("networks").build(weights)
    x = torch.rand(1, 3, 299, 299) * 2 - 1
    expected = last_layer(as_fid(copy.deepcopy(inception)), x)
    with torch.no_grad():
        found = network.whole(x)
    assert network.fid
    assert unlike(last_layer(inception, x), expected) > 1e-2
    assert unlike(found, expected) < 1e-5


def test_what_inception_sees(inception, room):
    """The published way: 299 x 299 from any shape, bilinear, not smoothed. size comes first."""
    from types import SimpleNamespace

    looks, gradients = room("pictures.features"), room("networks.frozen").gradients
    network = room("networks").build(inception.state_dict())
    known_features = looks.features("net.pth", SimpleNamespace(model=network))
    x = torch.rand(1, 3, 320, 420, generator=torch.Generator().manual_seed(1))

    def at(x, **settings):
        return torch.nn.functional.interpolate(x, mode="bilinear", **settings)

    with gradients(), torch.no_grad():
        published = known_features.summary().prepare("cpu")(x)
        smooth = known_features.summary(smooth=True).prepare("cpu")(x)
        small = known_features.summary().prepare("cpu", 64)(x)
        assert unlike(published, last_layer(inception, 2 * at(x, size=(299, 299)) - 1)) < 1e-5
        reduced = at(at(x, size=(64, 84), antialias=True), size=(299, 299))
        assert unlike(small, last_layer(inception, 2 * reduced - 1)) < 1e-5
    assert unlike(smooth, published) > 1e-3
    stem = {key: value for key, value in inception.state_dict().items() if key.startswith(("Conv2d_1", "Conv2d_2"))}
    short = looks.features("stem.pth", SimpleNamespace(model=room("networks").build(stem)))
    with pytest.raises(ValueError, match=r"'stem.pth' holds only the first layers .* Load the whole file"):
        short.summary()


@pytest.mark.parametrize("name", ["official_metrics", "metrics_interp"])
def test_scores_of_guided_diffusion(metrics, name):
    """FID, Inception score in parts, precision and recall, as the official evaluator gives them."""
    note, tensors = diffsketching.note(name), diffsketching.recorded(name)
    mine = tensors["sample" if "sample" in tensors else "gen"]
    assert metrics.frechet(mine, tensors["ref"]) == pytest.approx(note["fid"], rel=1e-4)
    probabilities = tensors["sample_probs" if "sample_probs" in tensors else "probs"]
    sizes = {"one_split": 5000, "split_20": 20}
    for key, score in note["inception_score"].items():
        size = sizes.get(key) or int(key)
        assert metrics.class_score(probabilities, size) == pytest.approx(score, rel=1e-4)
        assert metrics.inception_score(probabilities.double().log() + 3, size) == pytest.approx(score, rel=1e-4)
    found = metrics.overlap(mine, tensors["ref"], 3)
    assert found == pytest.approx((note["precision"], note["recall"]), abs=1e-9)
    if "radii_ref" in tensors:
        for key, vectors in (("radii_ref", tensors["ref"]), ("radii_sample", mine)):
            assert torch.allclose(metrics.radii(vectors).float(), tensors[key].flatten(), rtol=1e-4)


def test_overlap_of_clear_cases(metrics):
    near = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    assert metrics.overlap(near, near) == (1, 1)
    assert metrics.overlap(near, near + 100) == (0, 0)
    few = near[:1].expand(40, -1) + 1e-3 * near  # one of the kinds, over and over
    found = metrics.overlap(few, near)
    assert found.precision == 1
    assert found.recall < 0.2


def test_spatial_features_and_logits(inception, room):
    """sFID's features are the first seven channels of one branch in the fourth of the middle blocks."""
    network = room("networks").build(inception.state_dict())
    x = torch.rand(1, 3, 299, 299) * 2 - 1
    seen = {}
    inception.Mixed_6d.branch1x1.register_forward_hook(lambda _, __, out: seen.update(spatial=out))
    with torch.no_grad():
        logits = inception.eval()(x)
        summary, spatial, plain = network.everything(x)
    assert spatial.shape == (1, 7 * 17 * 17)
    assert unlike(spatial, seen["spatial"][:, :7].flatten(1)) < 1e-5
    assert unlike(plain + inception.fc.bias, logits) < 1e-4
    assert unlike(summary, network.whole(x)) < 1e-6
