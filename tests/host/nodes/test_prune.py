"""The prune sampler in the real host: who leaves, what is left, any sampler and family, masks, Cancel, and refusals."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from helpers import tiny
from helpers.walked import FAMILIES, every_model, guide, ladder, named, run


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def models(room, golden):
    return every_model(room, golden)


@pytest.fixture
def pruning(room):
    def make(sampler, keep=2, first=0.3, last=0.6):
        return room("nodes.walks").SketchPruneSampler.execute(named(sampler), keep, first, last)[0]

    return make


def painted(room, model, weight=1.0, value=0.5, **settings):
    """The MODEL with one energy: squared distance to one grey, whose slope is steep enough to tell pictures apart."""
    energy, terms, decoders = (room(f"guidance.{name}") for name in ("energy", "terms", "decoders"))
    goal = torch.full((1, 8, 8, 3), value)
    decoder = decoders.choose(model, None, low_pass=True)
    pull = energy.Energy("colour", weight, terms.colour(goal, grid=4), decoder=decoder, **settings)
    return energy.attach(model, pull)


def test_cuts(room):
    cuts = room("samplers.prune").cuts
    assert cuts(10, 8, 2, 0.3, 0.6) == [(3, 4), (6, 2)]
    assert cuts(20, 8, 1, 0.3, 0.6) == [(6, 4), (9, 2), (12, 1)]
    assert cuts(10, 5, 2, 0.3, 0.6) == [(3, 3), (6, 2)]
    assert cuts(10, 4, 2, 0.3, 0.6) == [(3, 2)], "a single halving comes first"
    assert cuts(10, 2, 2, 0.3, 0.6) == cuts(10, 1, 2, 0.3, 0.6) == []
    assert cuts(2, 16, 1, 0.3, 0.6) == [(1, 1)], "several halvings at one step are one"
    assert cuts(1, 16, 1, 0.3, 0.6) == [], "a single step can't be cut"
    assert cuts(4, 8, 2, 1.0, 1.0) == [], "after the last step the ranking cuts"
    assert cuts(4, 8, 2, 0.0, 0.0) == [(1, 2)], "nothing is known before the first step"


def test_ranking(room):
    """Published weights are one sum; dials count by their share of standard deviations; other batches are not read."""
    prune, energy = room("samplers.prune"), room("guidance.energy")

    def one(name, weight, auto=False):
        return energy.Energy(name, weight, lambda context: None, auto=auto)

    far, near = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.0, 30.0, 10.0])
    assert prune.ranking({one("a", 1.0): far}, 3, 1).tolist() == [1, 2, 0]
    assert prune.ranking({one("a", 1.0): far, one("b", 0.001): near}, 3, 1).tolist() == [1, 2, 0]
    assert prune.ranking({one("a", 1.0): far, one("b", 1.0): near}, 3, 1).tolist() == [0, 2, 1]
    by_dial = {one("a", 0.9, True): far, one("b", 0.1, True): near * 1e6}
    assert prune.ranking(by_dial, 3, 1).tolist() == [1, 2, 0], "no matter in which units"
    assert prune.ranking({one("a", 1.0): far, one("old", 9.0): torch.ones(7)}, 3, 1).tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="none of this MODEL's acts in the first 4 steps"):
        prune.ranking({}, 3, 4)
    wild = torch.tensor([float("nan"), 1.0, 2.0])
    assert set(prune.ranking({one("a", 1.0): wild}, 3, 1).tolist()) == {0, 1, 2}, "each row once"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_best_are_finished(models, room, pruning, family):
    """As deterministic walks of the whole batch, of which only the best go on; ranked, best first."""
    model = painted(room, models[family], 1e-6)
    latent, pixel = guide(family, batch=6, height=16, width=16), family == "pixel"
    sigmas, sizes = ladder(room, model, 0.6, 8), []
    whole = run(model, "euler", sigmas, latent, pixel=pixel)

    def watch(i, denoised, x, total):
        sizes.append((i, len(x), total))

    out = run(model, pruning("euler"), sigmas, latent, pixel=pixel, watch=watch)
    assert sizes == [(i, size, 8) for i, size in enumerate([6, 6, 3, 3, 3, 2, 2, 2])]
    assert out.shape == (2, *whole.shape[1:])
    from_whole = [(whole - one).abs().flatten(1).amax(1) for one in out]
    rows = [int(far.argmin()) for far in from_whole]
    assert all(float(far.min()) <= 1e-4 * float(whole.abs().max()) for far in from_whole), "walks as in the whole batch"
    assert len(set(rows)) == 2
    if pixel:
        coarse = room("pictures.lowpass").low_passer(16, 16, torch.device("cpu"), grid=4)(whole)
        ranks = coarse.square().sum((1, 2, 3)).argsort().argsort()
        assert ranks[rows[0]] < ranks[rows[1]], "best first"


@pytest.mark.parametrize("inner", ["euler", "dpmpp_2m", "euler_ancestral", "uni_pc", "ddpm", "dpmpp_sde", "heun"])
def test_any_sampler(models, room, pruning, inner):
    model = painted(room, models["sd15"], 0.01)
    latent = guide("sd15", batch=4)
    latent["noise_mask"] = torch.ones(1, 8, 8)
    latent["noise_mask"][..., :4] = 0
    sigmas = ladder(room, model, 0.5, 6)
    out = run(model, pruning(inner), sigmas.clone(), latent)
    assert out.shape == (2, *latent["samples"].shape[1:])
    assert torch.isfinite(out).all()
    assert torch.equal(out, run(model, pruning(inner), sigmas.clone(), latent)), "same seed"
    kept = out[..., :4]
    same = (kept[:, None] - latent["samples"][None, :, ..., :4]).abs().flatten(2).amax(2).amin(1)
    assert float(same.max()) < 5e-3 * float(out.abs().max()), "what the mask keeps is its own picture's"
    everyone = run(model, pruning(inner, 4), sigmas.clone(), latent)
    plain = run(model, inner, sigmas.clone(), latent)
    for one in everyone:
        assert any(torch.equal(one, other) for other in plain), "none left: inner itself, in another order"


def test_own_noise_after_each_cut(models, room, pruning):
    """A second stretch does not draw the noise of the first one again."""
    model, drawn = painted(room, models["sd15"], 0.01), []
    sampler = room("nodes.sdedit").SketchSDESampler.execute("small", "host")[0]
    inner = pruning(sampler, 4)
    latent = guide("sd15", batch=8)
    run(model, inner, ladder(room, model, 0.9, 6), latent, watch=lambda i, d, x, n: drawn.append(x[0].clone()))
    flat = torch.stack([(b - a).flatten() for a, b in pairwise(drawn)])
    assert (torch.corrcoef(flat) - torch.eye(len(flat))).abs().max() < 0.9


def test_repeats_and_time_travel(models, room, pruning):
    doors = room("nodes.walks")
    travel = doors.SketchTimeTravelSampler.execute(named("euler"), 1, 1, 0.0, 1.0)[0]
    model = painted(room, models["flux"], 0.01)
    assert len(run(model, pruning(travel), ladder(room, model, 0.8, 6), guide("flux", batch=4))) == 2
    for around in (
        lambda inner: doors.SketchTimeTravelSampler.execute(inner, 1, 1, 0.0, 1.0),
        lambda inner: room("nodes.sdedit").SketchRepeatSampler.execute(inner, 2),
        pruning,
    ):
        with pytest.raises(ValueError, match="ends with fewer pictures than it begins with"):
            around(pruning("euler"))


def test_what_it_cannot_rank(models, room, pruning):
    plain, latent = models["sd15"], guide("sd15", batch=4)
    sigmas = ladder(room, plain, 0.9, 8)
    with pytest.raises(ValueError, match="this one has none"):
        run(plain, pruning("euler"), sigmas, latent)
    with pytest.raises(ValueError, match="none of this MODEL's acts in the first 2 steps"):
        run(painted(room, plain, start=0.9), pruning("euler"), sigmas, latent)
    apart = [[torch.cat([tiny.cond()[0][0], tiny.cond()[0][0] + 1]), tiny.cond()[0][1]]]
    with pytest.raises(ValueError, match="one prompt, label and control picture"):
        run(painted(room, plain), pruning("euler"), sigmas, latent, prompt=apart)
    alike = [[tiny.cond()[0][0].repeat(2, 1, 1), tiny.cond()[0][1]]]
    assert len(run(painted(room, plain), pruning("euler"), sigmas, latent, prompt=alike)) == 2
    with pytest.raises(ValueError, match="first_cut"):
        pruning("euler", 2, 0.7, 0.3)


def test_guides_of_their_own_are_refused(models, room, pruning):
    """A guide per picture can't be compared: the pictures that stay would be held to others' guides."""
    energy, terms, decoders = (room(f"guidance.{name}") for name in ("energy", "terms", "decoders"))
    goals = torch.rand(4, 8, 8, 3)
    model = models["pixel"]
    decoder = decoders.choose(model, None, low_pass=True)
    guided = energy.attach(model, energy.Energy("colour", 1.0, terms.colour(goals, grid=4), decoder=decoder))
    with pytest.raises(ValueError, match="4"):
        run(guided, pruning("euler"), ladder(room, model, 0.9, 8), guide("pixel", batch=4), pixel=True)


def test_cancel(models, room, pruning):
    import comfy.model_management

    model, latent = painted(room, models["sd15"], 0.01), guide("sd15", batch=4)
    sigmas = ladder(room, model, 0.9, 8)
    before = run(model, pruning("ddpm"), sigmas, latent)

    def press_cancel(i, denoised, x, total):
        if i == 4:
            comfy.model_management.interrupt_current_processing(True)
            comfy.model_management.throw_exception_if_processing_interrupted()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(model, pruning("ddpm"), sigmas, latent, watch=press_cancel)
    comfy.model_management.interrupt_current_processing(False)
    assert torch.equal(run(model, pruning("ddpm"), sigmas, latent), before)
