"""Fine-tuning in the host: the losses fall, the LoRA is found by the host's own loader, and a run can be taken up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers import tiny
from helpers.diffsketching import torch_seed

NO_PROMPT = [[torch.zeros(1, 1, 1), {}]]


@pytest.fixture(scope="module")
def doors(room):
    return room("nodes.train_diffsketching")


@pytest.fixture
def loras(tmp_path, monkeypatch):
    """models/loras of the test host."""
    import folder_paths

    place = tmp_path / "loras"
    place.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(place)], {".safetensors"}))
    return place


@pytest.fixture(scope="module")
def prior(room):
    priors = room("nodes.priors")
    return priors.load_prior(priors.prior_file(priors.STARTER), {}, "float32")[0], room("host").pixel_vae()


def ring(size):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    far = ((y - size / 2) ** 2 + (x - size / 2) ** 2).sqrt()
    return (1 - (far - size / 4).abs().lt(1.5).float())[None, :, :, None].expand(1, -1, -1, 3)


def photo(size, seed=0):
    coarse = torch.rand(1, 3, 4, 4, generator=torch_seed(seed))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").movedim(1, -1).contiguous()


@torch.inference_mode()
def tuned(doors, model, vae, size, prompt, **changes):
    settings = {"rounds": 3, "minutes": 0.0, "steps": 2, "t0": 0.6, "rank": 2, "learning_rate": 0.01}
    settings |= {"optimiser": "Adam", "sketch_weight": 1.0, "reference_weight": 1.0, "decoder": "auto", "seed": 0}
    settings |= {"save_minutes": 5.0, "begin": "go on where it stopped", **changes}
    name = settings.pop("name", "mine")
    return doors.SketchFineTune.execute(model, name, prompt, ring(size), photo(size), vae, **settings).args


def losses(place):
    import json

    return [json.loads(line) for line in (place / "mine.training" / "lora.jsonl").read_text().splitlines()]


def test_losses_fall_on_the_starter(doors, prior, loras, all_nodes):
    model, vae = prior
    own = {"learning_rate": 0.001, "steps": 3}
    first = tuned(doors, model, vae, 32, NO_PROMPT, rounds=1, **own)
    assert (loras / "mine.safetensors").is_file()
    found, name, plot, preview = tuned(doors, model, vae, 32, NO_PROMPT, rounds=8, **own)
    rows = losses(loras)
    assert rows[-1]["image"] + rows[-1]["sketch"] < 0.97 * (rows[0]["image"] + rows[0]["sketch"])
    assert name == "mine.safetensors"
    assert plot.ndim == preview.ndim == 4
    latent, sigmas = torch.zeros(1, 3, 32, 32), torch.tensor([1.0, 0.5, 0.0])
    walk = {"positive": NO_PROMPT, "negative": NO_PROMPT}
    with torch.inference_mode():
        after = tiny.sample(found, sigmas, latent, **walk)
        plain = tiny.sample(model, sigmas, latent, **walk)
        loaded = all_nodes["LoraLoaderModelOnly"]().load_lora_model_only(model, "mine.safetensors", 1.0)[0]
        assert torch.allclose(after, tiny.sample(loaded, sigmas, latent, **walk), atol=1e-5)
        assert torch.equal(plain, tiny.sample(model, sigmas, latent, **walk)), "the MODEL that came in stays bare"
    assert not torch.allclose(after, plain, atol=1e-3), "it paints something else"
    assert first


def test_the_defaults_go_down_from_the_first_round(doors, prior, loras):
    model, vae = prior
    usual = {one.id: getattr(one, "default", None) for one in doors.SketchFineTune.define_schema().inputs}
    kept = ("steps", "t0", "rank", "learning_rate", "sketch_weight", "reference_weight")
    tuned(doors, model, vae, 32, NO_PROMPT, rounds=4, **{name: usual[name] for name in kept})
    rows = losses(loras)
    assert [row["step"] for row in rows] == [1, 2, 3, 4], "every round has its row"
    sums = [row["image"] + row["sketch"] for row in rows]
    assert sums == sorted(sums, reverse=True)


def test_a_run_that_goes_on_is_an_uninterrupted_one(doors, prior, loras):
    from safetensors.torch import load_file

    model, vae = prior
    for rounds in (2, 4):
        tuned(doors, model, vae, 16, NO_PROMPT, rounds=rounds)
    tuned(doors, model, vae, 16, NO_PROMPT, rounds=4, name="other")
    one, other = (load_file(Path(loras) / f"{name}.safetensors") for name in ("mine", "other"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    with pytest.raises(ValueError, match="began with rank 2 instead of 3"):
        tuned(doors, model, vae, 16, NO_PROMPT, rounds=5, rank=3)


@pytest.mark.parametrize("family", ["sd15", "sd3"])
def test_latent_models(doors, loras, family):
    model = tiny.model(family)
    vae = tiny.vae(16 if family == "sd3" else 4)
    found = tuned(doors, model, vae, 32, tiny.cond(), rounds=2)[0]
    assert len(found.patches) > 4
    assert losses(loras)[-1]["step"] == 2


def test_optimisers_are_the_training_s(doors, room):
    assert doors.OPTIMISERS == room("training.finetune").OPTIMISERS


def test_faults(doors, prior, loras):
    model, vae = prior
    with pytest.raises(ValueError, match="Both weights are 0"):
        tuned(doors, model, vae, 16, NO_PROMPT, sketch_weight=0.0, reference_weight=0.0)
    with pytest.raises(ValueError, match="learning_rate must be a number"):
        tuned(doors, model, vae, 16, NO_PROMPT, learning_rate=float("nan"))
    with pytest.raises(ValueError, match="cannot be a file name"):
        tuned(doors, model, vae, 16, NO_PROMPT, name="../x")
    (loras / "mine.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="is there already"):
        tuned(doors, model, vae, 16, NO_PROMPT)
