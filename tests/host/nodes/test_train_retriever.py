"""Train Sketch Retriever as the host runs it: classes, pairs and sketch sets, Cancel and resuming, starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from helpers import retrievers

GO_ON, ANEW = "go on where it stopped", "start anew"
KINDS = ("boat", "house", "tree")


@pytest.fixture
def home(tmp_path, monkeypatch, room):
    """Three classes of two sketches and two photos; the same photos and sketches in pairs; and two sketch sets."""
    import folder_paths

    for kind in ("input", "user"):
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})  # or later tests would find these folders' files
    folder = room("nodes.parts.retrieval").FOLDER
    known = folder_paths.folder_names_and_paths[folder][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, folder, ([str(tmp_path / "models")], known))
    rng = np.random.default_rng(0)
    for number, kind in enumerate(KINDS):
        for i in range(2):
            photo = Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8))
            sketch = Image.new("RGB", (40, 40), "white")
            ImageDraw.Draw(sketch).line([(5, 5 + 9 * number), (30, 8 + i)], "black", 3)
            for path, picture in (
                (f"classes/photos/{kind}/{i}.png", photo),
                (f"classes/sketches/{kind}/{i}.png", sketch),
                (f"pairs/photos/{kind}{i}.png", photo),
                (f"pairs/sketches/{kind}{i}.png", sketch),
                (f"sets/1 one/{kind}{i}.png", sketch),
                (f"sets/2 two/{kind}{i}.png", sketch),
            ):
                (tmp_path / "input" / path).parent.mkdir(parents=True, exist_ok=True)
                picture.save(tmp_path / "input" / path)
    (tmp_path / "models").mkdir()
    return tmp_path


def train(room, **own):
    settings = {
        "name": "mine",
        "photos": "classes/photos",
        "sketches": "classes/sketches",
        "network": "small, as built in",
        "steps": 2,
        "minutes": 0.0,
        "batch": 2,
        "learning_rate": 1e-3,
        "start": "new weights",
        "held_out": 0.0,
        "test_classes": "",
        "validate_every": 1,
        "anchors": "49",
        "contrast": 1.0,
        "dropout": 0.0,
        "weight_decay": 0.01,
        "schedule": "warm-up and decay",
        "sampling": "every picture alike",
        "precision": "float32",
        "seed": 0,
        "save_minutes": 5.0,
        "begin": GO_ON,
    }
    with torch.inference_mode():  # as the host runs nodes
        return room("nodes.train_retriever").SketchTrainRetriever.execute(**{**settings, **own}).args


def test_from_classes_to_a_search(room, home, monkeypatch):
    """What comes out works in the other doors, and its file in the loader."""
    import folder_paths

    told = []
    monkeypatch.setattr(room("host"), "say_on_node", lambda _, text: told.append(text))
    retriever, plot, preview = train(room, test_classes="tree")
    for picture in (plot, preview):
        assert picture.ndim == 4
        assert picture.std() > 0.01
    assert "2 classes learned, 1 held out" in told[-1]
    assert "best mAP 1.000" in told[-1], "with one class held out, everything found is right"
    known = {node.__name__: node for node in room("nodes").NODES}
    with torch.inference_mode():
        index, count = known["SketchPhotoIndex"].execute("pairs/photos", retriever).args
        loaded = known["SketchRetrieverLoader"].execute("mine.safetensors").args[0]
        again = known["SketchPhotoIndex"].execute("pairs/photos", loaded).args[0]
    assert count == 6
    assert again.path == index.path, "the same network"
    assert "mine.safetensors" in folder_paths.get_filename_list("sketch_retrievers")


@pytest.mark.parametrize("way", ["pairs", "sets"])
def test_pairs_and_sketch_sets(room, home, way, monkeypatch):
    told = []
    monkeypatch.setattr(room("host"), "say_on_node", lambda _, text: told.append(text))
    own = {"sketches": "pairs/sketches"} if way == "pairs" else {"sets": "sets"}
    train(room, photos="pairs/photos", steps=1, **own)
    assert "6 classes learned, 0 held out" in told[-1]
    kinds = room("nodes.train_retriever").kinds_of(
        home / "input/pairs/photos", home / "input" / own.get("sets", "pairs/sketches"), way == "sets"
    )
    assert {len(kind.sketches) for kind in kinds.kinds} == {2 if way == "sets" else 1}


def test_a_resumed_run_ends_as_an_uninterrupted_one(room, home, monkeypatch):
    import comfy.model_management as host

    whole = train(room, name="whole", steps=3)[0]
    watch = room("nodes.parts.training").Watch
    real, calls = watch.__call__, []

    def stop(self, moment):
        calls.append(moment.course.steps)
        if len(calls) == 2:
            raise host.InterruptProcessingException
        real(self, moment)

    monkeypatch.setattr(watch, "__call__", stop)
    with pytest.raises(host.InterruptProcessingException):
        train(room, steps=3)
    assert (home / "models" / "mine.safetensors").is_file(), "cancelling saves"
    monkeypatch.setattr(watch, "__call__", real)
    resumed = train(room, steps=3)[0]
    mine, theirs = (one.parts[0].network.state_dict() for one in (resumed, whole))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_the_published_settings_are_a_choice(room, home):
    settings = {"network": "ViT-B/16, as published", "anchors": "196", "batch": 15, "learning_rate": 1e-5}
    settings |= {"weight_decay": 0.01, "dropout": 0.1, "contrast": 0.0, "sampling": "as published"}
    settings |= {"schedule": "constant, as published", "precision": "bfloat16", "seed": 2021}
    made, autocast = room("nodes.train_retriever").settings_from(**settings)
    assert made == room("training.retrieval.run").Settings(anchors=196, fair=False)
    assert autocast


def test_begins_from_a_file(room, home):
    first = train(room, name="first", steps=1)[0]
    began = train(room, name="second", steps=1, start="first.safetensors", learning_rate=1e-7)[0]
    mine, theirs = (one.parts[0].network.state_dict() for one in (began, first))
    assert max(float((mine[key] - theirs[key]).abs().max()) for key in theirs) < 1e-4
    retrievers.save(room, home / "models" / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors"):
        train(room, name="third", start="other.safetensors")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"steps": 0}, "nothing would be trained"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number"),
        ({"batch": 0}, "batch must be from 1"),
        ({"test_classes": "zebra"}, "no class 'zebra'"),
        ({"photos": "pairs/photos", "sketches": "classes/sketches"}, "holds no pictures"),
        ({"photos": "nowhere"}, "There is no folder 'nowhere'"),
        ({"name": "../x"}, "cannot be a file name"),
        ({"start": "gone.pth"}, "was not found in models/sketch_retrievers"),
    ],
)
def test_bad_input_is_said(room, home, own, message):
    with pytest.raises(ValueError, match=message):
        train(room, **own)
    assert not list((home / "models").iterdir())


def test_widgets_are_checked_before_the_run(room, home):
    door = room("nodes.train_retriever").SketchTrainRetriever
    assert door.validate_inputs("mine", "classes/photos", "classes/sketches") is True
    assert "There is no folder" in door.validate_inputs("mine", "nowhere", "classes/sketches")
    assert door.validate_inputs("mine", "classes/photos", "nowhere", sets=None) is True, "linked: known at run time"
    before = door.fingerprint_inputs("classes/photos", "classes/sketches")
    Image.new("RGB", (9, 9)).save(home / "input/classes/photos/boat/new.png")
    assert door.fingerprint_inputs("classes/photos", "classes/sketches") != before
