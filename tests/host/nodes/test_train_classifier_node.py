"""A noisy classifier of one's own classes: trained in the graph, loaded at once, and taken up again."""

from __future__ import annotations

import pytest
import torch

from helpers.kinds import write_kinds


@pytest.fixture(scope="module")
def doors(room):
    return room("nodes.train_diffsketching")


@pytest.fixture
def places(tmp_path, monkeypatch, doors):
    """An input folder with two classes of photos, and a model folder."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, doors.CLASSIFIERS, ([str(models)], {".safetensors"}))
    write_kinds(tmp_path / "input" / "kinds")
    return models


@torch.inference_mode()
def trained(doors, **changes):
    settings = {"name": "mine", "photos": "kinds", "size": "64", "width": 16, "depth": 1, "steps": 3, "minutes": 0.0}
    settings |= {"batch": 4, "learning_rate": 1e-3, "weight_decay": 0.05, "noise_schedule": "linear"}
    settings |= {"precision": "float32", "seed": 0, "save_minutes": 5.0, "begin": "go on where it stopped"}
    return doors.SketchTrainClassifier.execute(**settings | changes)


def test_trains_and_loads(doors, places):
    out = trained(doors)
    classifier, plot = out.args
    assert classifier.names == ("dark", "light")
    assert classifier.numbers("light").tolist() == [1]
    assert classifier.image_size == 64
    assert plot.ndim == 4
    assert (places / "mine.safetensors").is_file()
    again = trained(doors, steps=4).args[0]
    assert again.classes == 2
    with pytest.raises(ValueError, match="began with width 16 instead of 32"):
        trained(doors, width=32, steps=5)


def test_faults(doors, places, tmp_path):
    with pytest.raises(ValueError, match="has 0 sub-folders, but classes are learned from two or more"):
        trained(doors, photos="kinds/dark")
    (tmp_path / "input" / "kinds" / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        trained(doors)
    with pytest.raises(ValueError, match="both 0, so nothing would be trained"):
        trained(doors, steps=0)


@pytest.mark.parametrize(("size", "width"), [(64, 16), (64, 48), (128, 32), (256, 128), (512, 64)])
def test_shapes_by_the_published_table(room, size, width):
    module = room("training.noisy_classifier")
    shape = module.published_shape(size, width)
    net = room("networks.noisy_classifier").NoisyClassifier(classes=3, **shape, device="meta")
    found = room("networks").build(
        net.state_dict(),
        num_head_channels=shape["num_head_channels"],
        norm_groups=shape["norm_groups"],
        image_size=size,
        num_res_blocks=2,
    )
    assert (found.levels, found.image_size) == (len(shape["channel_mult"]), size)
    if width == 128:
        assert (shape["norm_groups"], shape["num_head_channels"]) == (32, 64), "as published"
