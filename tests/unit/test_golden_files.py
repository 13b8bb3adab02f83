"""The golden numbers as files: how large they are, that tests read all of them, and that drawn tensors are the recorded
ones."""

from __future__ import annotations

import json
import re

import pytest
import torch

from helpers import GOLDEN, TESTS
from helpers.golden_files import load_file, normals

MOST_BYTES = 45_000_000  # every clone carries them
DRAWN = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.draws.json"))


def test_normals_are_those_of_torch():
    """38 numbers: two whole blocks, and a last one that overlaps."""
    generator = torch.Generator().manual_seed(7)
    torch.rand(5, generator=generator)
    expected = torch.randn(38, generator=generator)
    assert torch.allclose(torch.from_numpy(normals(7, 5, 38)), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_tensors_are_the_recorded_ones(name):
    """Sum, sum of magnitudes, and sum against cos(.7 i), over all of a file's drawn tensors in the order of names."""
    table = json.loads((GOLDEN / name).read_text(encoding="utf-8"))
    tensors = load_file(GOLDEN / name.replace(".draws.json", ".safetensors"))
    flat = torch.cat([tensors[key].flatten().double() for key in sorted(table["tensors"])])
    wave = torch.cos(0.7 * torch.arange(len(flat), dtype=torch.float64))
    found = [float(flat.sum()), float(flat.abs().sum()), float((flat * wave).sum())]
    assert found == pytest.approx(table["check"], rel=0, abs=1e-8 * table["check"][1])


def test_size():
    sizes = {path.relative_to(GOLDEN).as_posix(): path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()}
    print(f"tests/golden: {sum(sizes.values()) / 1e6:.1f} MB in {len(sizes)} files")
    assert sum(sizes.values()) < MOST_BYTES, sorted(sizes.items(), key=lambda item: -item[1])[:10]


def test_every_file_is_read():
    """By its name, or its start or end in an f-string, in the code of a test or helper; or it stands in a cases.json
    that a test walks; or a README says what for."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    names = {word.rpartition("/")[2].split(".")[0] for word in re.findall(r"[\w./{}]+", code)}
    literal = {name for name in names if len(re.sub(r"{.*?}", "", name)) > 4}
    patterns = [re.compile(re.sub(r"\\{.*?\\}", r"\\w+", re.escape(name))) for name in literal]
    notes = "\n".join(path.read_text(encoding="utf-8") for path in GOLDEN.rglob("README.md"))
    listed = {
        case["file"].split(".")[0]
        for path in GOLDEN.rglob("cases.json")
        for case in json.loads(path.read_text(encoding="utf-8"))["cases"]
    }
    stems = {path.name.split(".")[0] for path in GOLDEN.rglob("*") if path.is_file() and path.name != "README.md"}
    assert not sorted(
        stem for stem in stems - listed if f"`{stem}`" not in notes and not any(one.fullmatch(stem) for one in patterns)
    )
