"""Every family of the host's own list of models has a tiny model on which the methods run, or a reason why not."""

from __future__ import annotations

import pytest
import torch

from helpers import methods, tiny
from helpers.tiny_families import FAMILIES, LIKE, OTHERS, STARTS
from runtime import inprocess

POPULAR = ("zimage", "krea2", "qwen_image", "flux2", "anima", "sd3")


def test_the_hosts_list_is_all_known(host_nodes):
    """A family that a new ComfyUI brings fails here until it has a tiny model or a reason."""
    import comfy.supported_models

    listed = {kind.__name__ for kind in comfy.supported_models.models}
    own = {family.kind for family in FAMILIES.values()}
    assert listed - own - set(LIKE) - set(OTHERS) == set()
    assert set(LIKE.values()) <= set(FAMILIES)
    assert own.isdisjoint(LIKE)
    assert own.isdisjoint(OTHERS)


def test_those_that_paint_nothing_are_refused_by_name(room, host_nodes):
    import comfy.supported_models

    refused = room("host").NOT_PICTURES
    for name, reason in OTHERS.items():
        if "makes" in reason:
            bases = [base.__name__ for base in getattr(comfy.supported_models, name).__mro__]
            assert any(one.startswith(base) for one in refused for base in bases), f"{name} {reason}, but is not"


@pytest.mark.parametrize("family", POPULAR)
@torch.inference_mode()
def test_popular_families_in_batches_odd_sizes_and_half_precision(room, family):
    """Three pictures at once, sides that are no multiple of the patch, bfloat16: every method keeps the shape."""
    bench = methods.Bench(room, family)
    bench.model = tiny.model(family, dtype=torch.bfloat16)
    bench.latent = tiny.latent(family, batch=3, height=9, width=13)
    bench.samples = bench.latent["samples"]
    for name in ("SDEdit", "Jump", "ILVR", "Energies", "GradOP"):
        assert methods.tried(bench, name) == "yes"


@pytest.mark.parametrize("family", POPULAR)
@torch.inference_mode()
def test_what_asks_for_nothing_changes_no_bit(room, family):
    """Weight 0 of an energy, a mask that keeps all, a mask that keeps nothing."""
    bench = methods.Bench(room, family, wide=True)
    energy, terms, decoders = (room(f"guidance.{name}") for name in ("energy", "terms", "decoders"))
    plain = bench.sample()
    nothing = energy.Energy("colour", 0.0, terms.colour(bench.painting, grid=2), decoder=decoders.LINEAR)
    assert torch.equal(bench.sample(energy.attach(bench.model, nothing)), plain)
    area = bench.samples.shape[-2:]
    sampler = room("nodes.sdedit").SketchSDESampler.execute("small", "published").args[0]
    free = bench.sample(sampler=sampler)
    assert torch.allclose(bench.sample(sampler=sampler, mask=torch.ones(1, *area)), free, atol=1e-5)
    kept = bench.sample(sampler=sampler, mask=torch.zeros(1, *area))
    assert torch.allclose(kept, bench.samples, atol=1e-4)


def told_in_the_page():
    """The cells of docs/MODELS.md by family and method."""
    lines = (inprocess.PACK / "docs" / "MODELS.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    heads = next(row for row in rows if row[0] == "family" and "Energies" in row)
    return {row[0]: dict(zip(heads[1:], row[1:], strict=True)) for row in rows if len(row) == len(heads) > 2}


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_the_page_tells_what_happens(room, family):
    """Two methods of each family, run again; the whole page is renewed by `python3 dev/run.py families`."""
    told = told_in_the_page()[FAMILIES[family].title]
    assert list(told) == list(methods.METHODS)
    bench = methods.Bench(room, family)
    for method in ("Energies", "Regions"):
        assert (methods.tried(bench, method) == "yes") == (told[method] == "yes"), method
    assert set(STARTS) <= set(FAMILIES)
