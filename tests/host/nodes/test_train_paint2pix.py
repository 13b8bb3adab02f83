"""Train StyleGAN2 and Train Paint2pix as the host runs them: from photos to a painter, Cancel and resuming, faults."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import PACK

GO_ON = "go on where it stopped"


@pytest.fixture(scope="module")
def doors(pack, room):
    class Doors:
        FOLDER = room("nodes.parts.painting").FOLDER
        StyleGAN = room("nodes.train_stylegan").SketchTrainStyleGAN
        Paint2pix = room("nodes.train_paint2pix").SketchTrainPaint2pix

    return Doors


@pytest.fixture
def home(tmp_path, monkeypatch, doors, room):
    """An input folder with six photos, and an empty model folder."""
    import folder_paths

    monkeypatch.setattr(room("training.paint2pix.lesson"), "SETTLING", 1)
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    known = folder_paths.folder_names_and_paths[doors.FOLDER][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, doors.FOLDER, ([str(tmp_path / "models")], known))
    (tmp_path / "models").mkdir()
    (tmp_path / "input" / "places").mkdir(parents=True)
    for i in range(6):
        rng = np.random.default_rng(i)
        picture = np.zeros((40, 48, 3), np.uint8) + rng.integers(0, 256, 3, np.uint8)
        picture[20:] = rng.integers(0, 256, 3)
        Image.fromarray(picture).save(tmp_path / "input" / "places" / f"{i}.png")
    return tmp_path / "models"


@torch.inference_mode()
def stylegan(doors, **own):
    settings = {"name": "faces", "photos": "places", "size": "32", "width": 8, "steps": 1, "minutes": 0.0, "batch": 2}
    settings |= {"learning_rate": 0.002, "r1": 1.0, "augment": "as much as needed", "mirror": True}
    settings |= {"precision": "float32", "seed": 0, "save_minutes": 5.0, "begin": GO_ON}
    return doors.StyleGAN.execute(**settings | own).args


@torch.inference_mode()
def painter(doors, **own):
    settings = {
        "name": "mine",
        "photos": "places",
        "features": None,
        "start": "new weights",
        "decoder": "stays as it is",
    }
    settings |= {"new_encoder": "small", "size": "32", "width": 8, "steps": 1, "minutes": 0.0, "batch": 2}
    settings |= {"learning_rate": 1e-3, "passes": 1, "pixels": 1.0, "features_weight": 0.0, "face_network": "none"}
    settings |= {"identity": 0.1, "edit": 1.0, "apart": 0.1, "length": 0.0, "adversarial": 0.0, "adversarial_from": 0.3}
    settings |= {"precision": "float32", "seed": 0, "save_minutes": 5.0, "begin": GO_ON}
    return doors.Paint2pix.execute(**settings | own).args


def test_from_photos_to_a_painter(doors, home, room, monkeypatch):
    """One graph: a StyleGAN2, an encoder for it, a prediction; and its file in the loader at once."""
    import folder_paths

    told = []
    monkeypatch.setattr(room("host"), "say_on_node", lambda _, text: told.append(text))
    name, plot, preview = stylegan(doors)
    assert name == "faces.safetensors"
    for picture in (plot, preview):
        assert picture.ndim == 4
        assert picture.std() > 0.01
    made, _, preview = painter(doors, stylegan=name, start="gone.pt")
    assert preview.shape[0] == 1
    assert "The decoder begins from faces.safetensors; the encoder is new." in told[-1]
    known = {node.__name__: node for node in room("nodes").NODES}
    predict = {"passes": 2, "use_pass": 0, "strength": 1.0, "clip": 1.0, "first_layer": 0, "last_layer": 17}
    canvas = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        loaded, size = known["SketchPaint2pixLoader"].execute("mine.safetensors", "none", "the file's own").args
        assert size == 32
        assert {"mine.safetensors", name} <= set(folder_paths.get_filename_list(doors.FOLDER))
        pictures = [known["SketchPaint2pixPredict"].execute(p, canvas, **predict).args[0] for p in (made, loaded)]
        other = known["SketchPaint2pixLoader"].execute("mine.safetensors", "none", name).args[0]
    assert pictures[0].shape == (1, 32, 32, 3)
    assert torch.equal(*pictures)
    assert other.network.decoder.size == 32


def test_a_resumed_run_ends_as_an_uninterrupted_one(doors, home, room, monkeypatch):
    """Cancelled after a step, with a decoder that learns along and a discriminator."""
    import comfy.model_management as host

    own = {"decoder": "learns along", "adversarial": 0.05, "adversarial_from": 0.0}
    whole = painter(doors, name="whole", steps=3, **own)[0]
    watch = room("nodes.parts.training").Watch
    real, calls = watch.__call__, []

    def stop(self, moment):
        calls.append(moment)
        if len(calls) == 2:
            raise host.InterruptProcessingException
        real(self, moment)

    monkeypatch.setattr(watch, "__call__", stop)
    with pytest.raises(host.InterruptProcessingException):
        painter(doors, steps=3, **own)
    assert (home / "mine.safetensors").is_file(), "cancelling saves"
    monkeypatch.setattr(watch, "__call__", real)
    resumed = painter(doors, steps=3, **own)[0]
    mine, theirs = (one.network.state_dict() for one in (resumed, whole))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_faults(doors, home):
    for door, own, message in (
        (painter, {}, "A new encoder needs a decoder"),
        (painter, {"start": "gone.pt"}, "was not found in models/sketch_paint2pix"),
        (painter, {"face_network": "gone.pt", "decoder": "learns along"}, "was not found"),
        (painter, {"steps": 0}, "nothing would be trained"),
        (painter, {"batch": 7, "decoder": "learns along"}, "A batch of 7 needs 7 photos or more, got 6"),
        (painter, {"learning_rate": float("nan")}, "learning_rate must be a number"),
        (painter, {"photos": "nowhere"}, "There is no folder 'nowhere'"),
        (painter, {"name": "../x"}, "cannot be a file name"),
        (stylegan, {"batch": 7}, "A batch of 7 needs 7 photos or more, got 6"),
        (stylegan, {"width": 4}, "width must be from 8"),
        (stylegan, {"steps": 0}, "nothing would be trained"),
    ):
        with pytest.raises(ValueError, match=message):
            door(doors, **own)
    assert not list(home.glob("*.safetensors"))


def test_settings_of_another_run_are_refused(doors, home):
    stylegan(doors)
    with pytest.raises(ValueError, match="began with width 8 instead of 16"):
        stylegan(doors, width=16, steps=2)


def test_widgets_are_checked_before_the_run(doors, home, tmp_path):
    for door in (doors.StyleGAN, doors.Paint2pix):
        assert door.validate_inputs("mine", "places") is True
        assert "There is no folder" in door.validate_inputs("mine", "nowhere")
        before = door.fingerprint_inputs("places")
        Image.new("RGB", (9, 9)).save(tmp_path / "input" / "places" / f"{door.__name__}.png")
        assert door.fingerprint_inputs("places") != before


def test_the_built_in_painter_comes_first(doors, home, room, tmp_path, monkeypatch):
    """Where its weights are there; it loads as any file does."""
    painting = room("nodes.parts.painting")
    assert (painting.STARTER_PAINTER.parent) == PACK / "starter" / "weights"
    painter(doors, decoder="learns along")
    monkeypatch.setattr(painting, "STARTER_PAINTER", home / "mine.safetensors")
    assert painting.painters() == ["starter (built in)", "mine.safetensors"]
    loader = {node.__name__: node for node in room("nodes").NODES}["SketchPaint2pixLoader"]
    assert loader.validate_inputs("starter (built in)") is True
    with torch.inference_mode():
        assert loader.execute("starter (built in)", "none", "the file's own").args[1] == 32
    monkeypatch.setattr(painting, "STARTER_PAINTER", tmp_path / "gone.safetensors")
    assert painting.painters() == ["mine.safetensors"]
    assert "built-in weights are missing" in loader.validate_inputs("starter (built in)")
