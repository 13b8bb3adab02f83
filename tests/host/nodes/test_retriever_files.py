"""Retriever files as the loaders read them: published pickles, and messages about everything else."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from helpers.host import need_host

need_host()

SMALL = {"width": 64, "depth": 1, "heads": 1, "inner": 32, "grid": 4, "patch": 8, "channels": (4, 8, 64)}
SMALL |= {"cross_inner": 16, "folded": 8, "anchors": 4, "hidden": (8, 4)}


@pytest.fixture(scope="module")
def model_files(room):
    return room("nodes.parts.model_files")


@pytest.fixture(scope="module")
def network(room):
    net = room("networks.retrieval.network").Retriever(**SMALL)
    return room("training.retrieval.task").initialised(net, 0).eval()


def saved(path, network, **beside):
    """As the published training saves it: with layers that are never used, and its best scores."""
    weights = network.state_dict()
    unused = {key.replace("layer1", "layers"): value for key, value in weights.items() if "layer1" in key}
    torch.save({"model": weights | unused, "epoch": 12, **beside}, path)
    return str(path)


@pytest.mark.parametrize(
    "number",
    [
        *(np.float64(0.7), np.float32(0.7), np.float16(0.7), np.longdouble(0.7), np.bool_(True), 0.7),
        *(np.int64(3), np.int16(3), np.uint8(3), np.uint64(3), np.str_("best")),
    ],
)
def test_published_pickles(model_files, network, tmp_path, number):
    """Numbers of NumPy are no obstacle."""
    path = saved(tmp_path / "best_checkpoint.pth", network, map_all=number, precision_100=number)
    found, _ = model_files.read_network(path, ("retriever",), {})
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(found.tokens(x), network.tokens(x), atol=1e-5)


class Runs:
    """Unpickled, it would leave a mark."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("beside", ["program", "array"])
def test_they_are_no_hole(model_files, network, tmp_path, beside):
    """What is not a tensor or a number is refused, and not run."""
    thing = Runs(tmp_path / "mark") if beside == "program" else np.array([Runs(tmp_path / "mark")], object)
    path = saved(tmp_path / "bad.pth", network, map_all=thing)
    with pytest.raises(ValueError, match=r"'bad\.pth' was not loaded: it holds more than tensors"):
        model_files.read_network(path, ("retriever",), {})
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("part", ["ca.encoder.layer2", "rn.", "conv2d.", "sa.model.transformer.encoder_norm"])
def test_missing_parts_are_named(model_files, network, tmp_path, part):
    weights = {key: value for key, value in network.state_dict().items() if not key.startswith(part)}
    torch.save({"model": weights}, tmp_path / "half.pth")
    with pytest.raises(ValueError, match=rf"look like ZSE-SBIR.*{part}"):
        model_files.read_network(str(tmp_path / "half.pth"), ("retriever",), {})


def test_kinds_are_not_mixed_up(model_files, network, tmp_path, room):
    path = saved(tmp_path / "retriever.pth", network)
    with pytest.raises(ValueError, match=r"is a sketch retriever \(ZSE-SBIR\), not a feature network"):
        model_files.read_network(path, ("features",), {})
    features = str(room("host").PACK / "starter" / "weights" / "features.safetensors")
    with pytest.raises(ValueError, match=r"is a feature network .*, not a sketch retriever"):
        model_files.read_network(features, ("retriever",), {})


def test_heads_of_cross_attention_are_stated(model_files, network, tmp_path):
    """As those of the encoder are: shapes reveal neither."""
    from safetensors.torch import save_file

    save_file(network.state_dict(), tmp_path / "four.safetensors", {"cross_heads": "4"})
    found, _ = model_files.read_network(str(tmp_path / "four.safetensors"), ("retriever",), {})
    assert found.ca.encoder.layer1[0].self_attn.heads == 4


def test_its_layers_are_the_hosts(model_files, network, tmp_path):
    """So that the host may keep weights elsewhere, or in half precision, and cast them."""
    found, _ = model_files.read_network(saved(tmp_path / "a.pth", network), ("retriever",), {})
    layers = [module for module in found.modules() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))]
    assert layers
    assert all(hasattr(layer, "comfy_cast_weights") for layer in layers)
