"""convert: published pickles become .safetensors that the nodes load alike, and nothing in them is run."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors import safe_open

from helpers.golden_files import load_file
from tools import convert


@pytest.fixture(scope="module")
def drawings(golden):
    return load_file(golden / "invbyinv" / "weights_infodraw_nb1.safetensors")


def test_an_extractor(pack, room, drawings, tmp_path):
    """A .pth of DataParallel: the keys come out as published, every value as it was, and the loader takes both."""
    source = tmp_path / "netG_A_latest.pth"
    torch.save({f"module.{key}": value for key, value in drawings.items()}, source)
    made = convert.convert(source, tmp_path / "netG_A_latest.safetensors")
    written = load_file(made)
    assert written.keys() == drawings.keys()
    assert all(torch.equal(written[key], drawings[key]) for key in drawings)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    experts = room("nodes.extractors")
    drawn = [experts.read_network(str(path), ("extractor",), {})[0](picture) for path in (source, made)]
    assert torch.equal(*drawn)
    with pytest.raises(ValueError, match="there already"):
        convert.convert(source, made)


def test_averaged_weights_shared_tensors_and_metadata(pack, drawings, tmp_path):
    """Of a training program's file the averaged weights are taken; views of one memory are written out."""
    averaged = {key: value + 1 for key, value in drawings.items()}
    all_in_one = torch.cat([value.flatten() for value in averaged.values()])
    views = dict(zip(averaged, all_in_one.split([value.numel() for value in averaged.values()]), strict=True))
    views = {key: view.view(averaged[key].shape) for key, view in views.items()}
    source = tmp_path / "training.ckpt"
    torch.save({"model": drawings, "ema": views, "epoch": 3}, source)
    written = load_file(convert.convert(source, tmp_path / "out" / "training.safetensors"))
    assert all(torch.equal(written[key], averaged[key]) for key in averaged)

    from safetensors.torch import save_file

    stating = tmp_path / "stating.safetensors"
    save_file(drawings, stating, {"image_size": json.dumps(64)})
    with safe_open(convert.convert(stating, tmp_path / "again" / "stating.safetensors"), "pt") as file:
        assert file.metadata() == {"image_size": "64"}


def test_what_is_refused(pack, tmp_path):
    class Program:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    bad = tmp_path / "program.pth"
    bad.write_bytes(pickle.dumps(Program()))
    with pytest.raises(ValueError, match="more than tensors"):
        convert.convert(bad, tmp_path / "program.safetensors")
    assert not (tmp_path / "ran").exists()
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "strange.pth")
    with pytest.raises(ValueError, match="no network known"):
        convert.convert(tmp_path / "strange.pth", tmp_path / "strange.safetensors")
    assert not list(tmp_path.glob("*.partial"))
    assert not list(tmp_path.glob("*.safetensors"))
