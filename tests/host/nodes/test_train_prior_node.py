"""A pixel prior and a feature network of one's own photos: trained in the graph, loaded at once, and taken up again."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from helpers import tiny
from helpers.kinds import write_kinds

GO_ON = "go on where it stopped"


@pytest.fixture
def places(tmp_path, monkeypatch, room):
    """An input folder with two classes of photos; the model folder of the priors and of the features."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    models = tmp_path / "models"
    models.mkdir()
    for folder in (room("nodes.priors").FOLDER, room("nodes.extractors").FEATURES):
        monkeypatch.setitem(folder_paths.folder_names_and_paths, folder, ([str(models)], {".safetensors"}))
    write_kinds(tmp_path / "input" / "kinds")
    return models


@torch.inference_mode()
def trained(room, **changes):
    doors = room("nodes.train_prior")
    settings = {"name": "mine", "photos": "kinds", "class_cond": True, "size": "64", "width": 16, "depth": 1}
    settings |= {"steps": 2, "minutes": 0.0, "batch": 2, "learning_rate": 1e-3, "rate": doors.WARM}
    settings |= {"weight_decay": 0.0, "dropout": 0.1, "learn_sigma": True, "use_scale_shift_norm": True}
    settings |= {"noise_schedule": "cosine", "diffusion_steps": 500, "weighting": "min-SNR", "precision": "float32"}
    settings |= {"seed": 0, "save_minutes": 5.0, "begin": GO_ON, "ema_rate": "0.99, 0.9"}
    return doors.SketchTrainPrior.execute(**settings | changes)


@torch.inference_mode()
def test_trains_with_classes_and_loads(room, places):
    priors = room("nodes.priors")
    model, vae, names, plot, preview = trained(room).args
    assert names == "0 dark\n1 light"
    assert plot.ndim == preview.ndim == 4
    assert preview.shape[2] == 2 * 8 * 64, "eight samples in a row"
    assert model.model.num_classes == 2
    assert model.model.model_sampling.num_timesteps == 500
    with safe_open(places / "mine.safetensors", "pt") as file:
        notes = file.metadata()
    assert json.loads(notes["classes"]) == ["dark", "light"]
    assert notes["noise_schedule"] == "cosine"
    first, second = (load_file(places / f"{name}.safetensors") for name in ("mine", "mine (ema 0.9)"))
    assert first.keys() == second.keys()

    again = trained(room, steps=3).args[0]
    assert again.model.num_classes == 2
    with pytest.raises(ValueError, match="began with learn_sigma True instead of False"):
        trained(room, learn_sigma=False, steps=4)
    with pytest.raises(ValueError, match=r"began with ema 0.99, 0.9 instead of 0.99"):
        trained(room, ema_rate="0.99", steps=4)

    for name in ("mine.safetensors", "mine (ema 0.9).safetensors"):
        loaded, size = priors.SketchPriorLoader.execute(name, 64, 4, "legacy", 0, "float32").args[::2]
        assert size == 64
        (label,) = priors.SketchPriorLabel.execute(1).args
        sigmas = torch.tensor([2.0, 0.5, 0.0])
        found = tiny.sample(loaded, sigmas, torch.zeros(1, 3, 64, 64), cfg=1.0, positive=label, negative=label)
        assert found.isfinite().all()
    assert vae.decode(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 64, 3)


def test_without_classes_all_photos_below_the_folder_count(room, places):
    plain = {"learn_sigma": False, "noise_schedule": "linear", "diffusion_steps": 1000, "dropout": 0.0}
    model, _, names, _, _ = trained(room, class_cond=False, ema_rate="0.9", steps=1, **plain).args
    assert names == ""
    assert model.model.num_classes is None
    found = room("training.prior").photos_of(places.parent / "input", class_cond=False)
    assert found.photos.count == 6
    assert not (places / "mine (ema 0.9).safetensors").exists(), "one average is the file itself"


def test_faults(room, places):
    with pytest.raises(ValueError, match="has 0 sub-folders, but classes are learned from two or more"):
        trained(room, photos="kinds/dark")
    with pytest.raises(ValueError, match="both 0, so nothing would be trained"):
        trained(room, steps=0)
    for text in ("", "1", "x", "0.9, 0.9", "0.1, 0.2, 0.3, 0.4, 0.5"):
        with pytest.raises(ValueError, match="ema_rate is one to four different numbers"):
            trained(room, ema_rate=text)
    assert not list(places.iterdir()), "nothing was begun"


def test_what_the_doors_repeat(room):
    """So that a session loads no training before it trains."""
    shared, diffusion, prior = room("nodes.parts.training"), room("training.diffusion"), room("training.prior")
    assert shared.SIDES == diffusion.SIDES
    assert shared.SCHEDULE_SAMPLERS == diffusion.SAMPLERS
    assert room("nodes.train_prior").WEIGHTINGS == prior.WEIGHTINGS
    doors, lesson = room("nodes.train_features"), room("training.features")
    assert tuple(lesson.NETWORKS) == doors.NETWORKS
    assert doors.OPTIMISERS == lesson.OPTIMISERS


# --- feature networks -------------------------------------------------------------------------------------------------


@torch.inference_mode()
def features(room, **changes):
    settings = {"name": "mine", "photos": "kinds", "network": "ResNet-14", "width": 8, "size": 64, "steps": 3}
    settings |= {"minutes": 0.0, "batch": 4, "learning_rate": 1e-3, "optimiser": "AdamW", "weight_decay": 0.0}
    settings |= {"precision": "float32", "seed": 0, "save_minutes": 5.0, "begin": GO_ON}
    return room("nodes.train_features").SketchTrainFeatures.execute(**settings | changes)


def test_features_train_and_load(room, places):
    found, plot = features(room).args
    assert (found.kind, found.taps, found.size) == ("resnet", ("layer4",), 64)
    assert plot.ndim == 4
    network = found.network.patcher.model
    assert network.classes == 2
    assert not network.imagenet, "pictures are scaled to [-1, 1], and the file says so"
    with torch.inference_mode(False), torch.no_grad():
        x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        (map_,) = found.prepare("cpu")(x)
    assert map_.shape == (2, 256, 2, 2)
    with pytest.raises(ValueError, match="began with width 8 instead of 16"):
        features(room, width=16, steps=4)


def test_features_begin_with_another_network(room, places):
    start = features(room).args[0]
    kept = {key: value.clone() for key, value in start.network.patcher.model.state_dict().items()}
    tuned = features(room, name="tuned", start=start, optimiser="SGD (published)", steps=1, learning_rate=1e-6).args[0]
    near = tuned.network.patcher.model.state_dict()
    assert torch.allclose(near["layer3.0.conv2.weight"], kept["layer3.0.conv2.weight"], atol=1e-4)
    with pytest.raises(ValueError, match="to begin with has another width or depth"):
        features(room, name="wide", start=start, width=16)
    with pytest.raises(ValueError, match="is a network of kind vgg, but a ResNet is trained here"):
        features(room, name="vgg", start=room("nodes.extractors").load_features("starter (built in)"))


# --- PhotoSketch ------------------------------------------------------------------------------------------------------


def test_photosketch_trains_and_loads(room, places, tmp_path, monkeypatch):
    import folder_paths
    from PIL import Image, ImageFilter

    doors, extractors = room("nodes.train_extractor"), room("nodes.extractors")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, doors.EXTRACTORS, ([str(places)], {".safetensors"}))
    photos, sets = tmp_path / "input" / "kinds" / "dark", tmp_path / "input" / "sets"
    for number in (1, 2):
        (sets / str(number)).mkdir(parents=True)
        for path in photos.iterdir():
            Image.open(path).convert("L").filter(ImageFilter.CONTOUR).save(sets / str(number) / path.name)
    settings = {"name": "pen", "photos": "kinds/dark", "sketches": "sets", "size": "128", "width": 8, "steps": 2}
    settings |= {"minutes": 0.0, "batch": 2, "keep": 1, "precision": "float32", "seed": 0, "save_minutes": 5.0}
    settings |= {"begin": GO_ON, "form": "PhotoSketch", "blocks": 1}

    @torch.inference_mode()
    def train(**changes):
        return doors.SketchTrainExtractor.execute(**settings | changes).args

    extractor, stages, plot, preview = train()
    assert stages == [extractor]
    assert plot.ndim == preview.ndim == 4
    drawn = extractors.SketchPhotoToSketch.execute(torch.rand(1, 40, 48, 3), extractor).args[0]
    assert drawn.shape == (1, 40, 48, 3)
    with pytest.raises(ValueError, match="began with blocks 1 instead of 2"):
        train(blocks=2, steps=3)
    with pytest.raises(ValueError, match="PhotoSketch is trained at 64, 128, 256, 512 px here, got 1024"):
        train(size="1024")
    with pytest.raises(ValueError, match="holds no pictures that can be read"):
        train(sketches="kinds", photos="kinds")
