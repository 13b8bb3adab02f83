"""The training nodes as the host runs them: in inference mode, with its folders, its progress bar and its Cancel."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import gan_nest

GO_ON, ANEW = "go on where it stopped", "start anew"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An input folder with 5 photos and 3 sketches of other things; model folders of its own."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})  # or later tests would find these folders' files
    for key in ("sketch_gan", "sketch_extractors"):
        known = folder_paths.folder_names_and_paths[key][1]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, ([str(tmp_path / key)], known))
    rng = np.random.default_rng(0)
    for name, count in (("photos", 5), ("drawings", 3)):
        (tmp_path / "input" / name).mkdir(parents=True)
        for i in range(count):
            blocks = np.kron(rng.integers(0, 256, (4, 5, 3)), np.ones((12, 12, 1))).astype(np.uint8)
            Image.fromarray(blocks if name == "photos" else (blocks > 127).astype(np.uint8) * 255).save(
                tmp_path / "input" / name / f"{name} {i}.png"
            )
    return tmp_path


@pytest.fixture
def features(room, monkeypatch):
    monkeypatch.setattr(gan_nest, "room", room)
    network = gan_nest.features().network.patcher.model
    return room("pictures.features").features("tiny", room("host").network_patcher(network))


@pytest.fixture
def bar():
    """What the host's progress bar was told: (value, total, preview)."""
    import comfy.utils

    told, before = [], comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(lambda value, total, preview, **_: told.append((value, total, preview)))
    yield told
    comfy.utils.set_progress_bar_global_hook(before)


def train_gan(room, features, **own):
    settings = {
        "name": "mine",
        "photos": "photos",
        "sketches": "sketch sets",
        "features": features,
        "kind": "art",
        "size": "128",
        "width": 8,
        "draft_steps": 2,
        "gan_steps": 2,
        "minutes": 0.0,
        "batch": 2,
        "accumulate": 1,
        "pictures_in_a_set": 4,
        "information": 0.0,
        "precision": "float32",
        "seed": 0,
        "save_minutes": 5.0,
        "begin": GO_ON,
    }
    with torch.inference_mode():  # as the host runs nodes
        return room("nodes.train_gan").SketchTrainGAN.execute(**{**settings, **own}).args


def draw_sets(room, **own):
    settings = {
        "photos": "photos",
        "name": "sketch sets",
        "more": "edges (no weights)",
        "lines": "ink and paper (published)",
        "size": 64,
        "again": False,
    }
    listed = {key: [value] for key, value in {**settings, **own}.items() if key != "extractor"}
    with torch.inference_mode():
        return room("nodes.train_extractor").SketchSynthesizeSets.execute(**listed, extractor=own.get("extractor")).args


def train_extractor(room, features, **own):
    settings = {
        "name": "pen",
        "photos": "photos",
        "sketches": "drawings",
        "features": features,
        "size": "128",
        "width": 8,
        "steps": 3,
        "minutes": 0.0,
        "batch": 2,
        "keep": 2,
        "precision": "float32",
        "seed": 0,
        "save_minutes": 5.0,
        "begin": GO_ON,
    }
    with torch.inference_mode():
        return room("nodes.train_extractor").SketchTrainExtractor.execute(**{**settings, **own}).args


def is_image(value):
    return value.ndim == 4 and value.shape[-1] == 3 and value.min() >= 0 and value.max() <= 1


def test_from_photos_to_a_gan(room, features, folders, bar, monkeypatch):
    """All three in a row, and what comes out works in the other doors."""
    monkeypatch.setattr(room("nodes.parts.training"), "SHOW_EVERY", 0.0)
    extractor, stages, plot, preview = train_extractor(room, features)
    assert [stage.name for stage in stages] == ["pen-1.safetensors", "pen.safetensors"]
    assert extractor is stages[-1]
    assert is_image(plot)
    assert is_image(preview)
    assert sorted(path.name for path in (folders / "sketch_extractors").iterdir()) == [
        "pen-1.safetensors",
        "pen.safetensors",
        "pen.training",
    ]
    with torch.inference_mode():
        image = torch.rand(1, 40, 50, 3)
        drawn = room("nodes.extractors").SketchPhotoToSketch.execute(image, extractor).args[0]
    assert drawn.shape == image.shape

    name, sheet = draw_sets(room, extractor=stages)
    assert name == "sketch sets"
    assert is_image(sheet)
    made = sorted(path.name for path in (folders / "input" / name).iterdir())
    assert made == ["1 pen-1", "2 pen", "3 edges (no weights)"]
    for folder in made:
        found = sorted(path.name for path in (folders / "input" / name / folder).iterdir())
        assert found == [f"photos {i}.png" for i in range(5)], "names kept"

    bar.clear()
    gan, plot, preview = train_gan(room, features, sketches="drawings", sets=name)
    assert is_image(plot)
    assert is_image(preview)
    values = [value for value, _, _ in bar]
    assert values == sorted(values)
    assert values[-1] == 1000
    kind, picture, _ = next(preview for _, _, preview in bar if preview)
    assert kind == "JPEG"
    assert picture.height > picture.width / 4
    doors = room("nodes.sketchgan")
    with torch.inference_mode():
        style = doors.SketchGANStyle.execute(gan, torch.rand(1, 60, 60, 3), doors.COLLAGES[0]).args[0]
        ways = doors.STATISTICS[0], doors.FRAMES[0]
        out = doors.SketchGANDecode.execute(gan, torch.rand(1, 64, 64, 3), style, True, 0, *ways)
    assert out.args[0].shape == (1, 128, 128, 3)
    listed = room("host").model_files("sketch_gan")
    assert listed == ["mine.safetensors"], "states are no models"


@pytest.mark.parametrize("where", ["between steps", "in the middle of a step"])
def test_cancel_keeps_everything_and_the_next_run_resumes(room, folders, bar, monkeypatch, where):
    """Wherever Cancel is pressed, the run ends bit for bit as the uninterrupted one. The built-in feature network has
    the host's layers, which would raise Cancel when half of the networks have learned."""
    import comfy.model_management as management

    draw_sets(room)
    features = room("nodes.extractors").load_features(room("nodes.extractors").STARTER)
    whole = train_gan(room, features, name="whole")[0]
    parts, lessons = room("nodes.parts.training"), room("training.sketchgan.lessons")
    told, pair_step = parts.Watch.__call__, lessons.ae_pair_step

    def after_the_first(self, moment):
        if moment.course.steps == 1:
            management.interrupt_current_processing(True)
        told(self, moment)

    def before_the_pair(*given, **own):
        management.interrupt_current_processing(True)
        return pair_step(*given, **own)

    with monkeypatch.context() as patched:
        if where == "between steps":
            patched.setattr(parts.Watch, "__call__", after_the_first)
        else:
            patched.setattr(lessons, "ae_pair_step", before_the_pair)
        try:
            with pytest.raises(management.InterruptProcessingException):
                train_gan(room, features)
        finally:
            management.interrupt_current_processing(False)
    state = folders / "sketch_gan" / "mine.training" / "autoencoder.state"
    assert room("training.loop").read_state(state)["steps"] == 1
    assert (folders / "sketch_gan" / "mine.safetensors").is_file(), "the model file is renewed"
    gan = train_gan(room, features)[0]
    assert room("training.loop").read_state(state)["steps"] == 2
    mine, theirs = gan.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_a_model_of_that_name_is_not_replaced_unasked(room, features, folders):
    """No kept training wrote it, so it may be the work of a day."""
    draw_sets(room)
    path = folders / "sketch_gan" / "mine.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"of another day")
    with pytest.raises(ValueError, match=r"mine\.safetensors is there already.*another name, or choose 'start anew'"):
        train_gan(room, features)
    assert path.read_bytes() == b"of another day"
    train_gan(room, features, begin="start anew", gan_steps=0)
    train_gan(room, features, gan_steps=0)
    assert path.read_bytes() != b"of another day"


def test_cancel_while_sets_are_drawn(room, folders):
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        draw_sets(room)
    management.interrupt_current_processing(False)
    first = folders / "input" / "sketch sets" / "1 edges (no weights)"
    assert len(list(first.iterdir())) == 1
    before = next(first.iterdir()).stat().st_mtime_ns
    draw_sets(room)
    assert len(list(first.iterdir())) == 5
    assert (first / "photos 0.png").stat().st_mtime_ns == before, "what is there stays"
    draw_sets(room, again=True)
    assert (first / "photos 0.png").stat().st_mtime_ns > before


def test_bad_settings_are_told_before_anything_starts(room, features, folders):
    draw_sets(room)
    for own, words in (
        ({"batch": 1}, "batch size must be 2 or more"),
        ({"batch": 6}, "A batch of 6 needs at least 6 photos"),
        ({"draft_steps": 0}, "nothing would be trained"),
        ({"name": "../x"}, "cannot be a file name"),
        ({"photos": "nowhere"}, "There is no folder 'nowhere'"),
        ({"width": 12}, "multiple of 8"),
    ):
        with pytest.raises(ValueError, match=words):
            train_gan(room, **{"features": features, **own})
    assert not list(folders.glob("sketch_gan/*"))
    with pytest.raises(ValueError, match="batch size must be 2 or more"):
        train_extractor(room, features, batch=1)
    with pytest.raises(ValueError, match="need 1 to 10 extractors"):
        draw_sets(room, more="")


def said(room, monkeypatch):
    """What the training nodes write on themselves."""
    told = []
    monkeypatch.setattr(room("host"), "text_on_node", lambda cls, text: told.append(text))
    return told


@pytest.mark.parametrize(
    ("steps", "minutes", "progress", "line"),
    [
        (43, 0.74, 43 / 160, "autoencoder: step 43 of 160, about 2 minutes left"),
        (1, 30.0, 0.001, "autoencoder: step 1 of 1000, about 500 hours left"),
        (50, 9.0, 0.9, "autoencoder: step 50 of 56, about a minute left"),
        (160, 3.0, 1.0, "autoencoder: step 160 of 160, less than a minute left"),
    ],
)
def test_progress_begins_with_what_is_left(room, steps, minutes, progress, line):
    assert room("nodes.parts.training").how_far("autoencoder", steps, minutes, progress) == line


def test_the_text_of_a_training_begins_so(room):
    """The losses come after it."""
    course = SimpleNamespace(steps=40, minutes=1.0, rows=[{"step": 40, "minutes": 1.0, "loss": 0.25}])
    moment = SimpleNamespace(lesson=SimpleNamespace(name="gan"), course=course, progress=0.25)
    assert room("nodes.parts.training")._said(moment).splitlines() == [
        "gan: step 40 of 160, about 3 minutes left",
        "loss 0.25",
    ]


def test_what_was_left_out_is_told(room, features, folders, monkeypatch):
    told = said(room, monkeypatch)
    for name in ("photos", "drawings"):
        (folders / "input" / name / "broken.png").write_bytes(b"nothing")
    train_extractor(room, features, steps=1, keep=1)
    assert told[-1].count("broken.png") == 2
    assert "Left out:" in told[-1]
    many = room("nodes.parts.training").left_out([f"{i}.png" for i in range(23)])
    assert many.endswith("19.png\nand 3 more")


def test_sets_that_were_there_are_told(room, folders, monkeypatch):
    told = said(room, monkeypatch)
    edges = "edges (no weights)"
    draw_sets(room, more=f"{edges}\n{edges}")
    assert told[-1] == "5 photos, 2 sketch sets in input/sketch sets."
    draw_sets(room, lines="as drawn, with greys")
    assert "5 of 5 sketches existed already and were kept" in told[-1]
    assert f"not from this run: 2 {edges}. Delete them" in told[-1]
    (folders / "input" / "sketch sets" / f"1 {edges}" / "photos 3.png").unlink()
    draw_sets(room)
    assert "4 of 5 sketches existed already" in told[-1]
    draw_sets(room, again=True)
    assert "existed already" not in told[-1]


def test_a_run_repeats_no_training(room):
    """The editor changes every number named seed at each Run, unless the input says no; begin tells what it costs."""
    for node, gone in (
        (room("nodes.train_gan").SketchTrainGAN, "<name>.training"),
        (room("nodes.train_extractor").SketchTrainExtractor, "all stages"),
    ):
        node.GET_SCHEMA()
        required = node.INPUT_TYPES()["required"]
        assert required["seed"][1]["control_after_generate"] is False
        tip = required["begin"][1]["tooltip"]
        assert gone in tip
        assert "Set it back before the next run" in tip


def test_loaders_see_a_file_that_was_replaced(room, folders):
    """After training on under the same name they load anew; files that are built in or missing are no fault."""
    for module, door, folder in (
        ("nodes.sketchgan", "SketchGANLoader", "sketch_gan"),
        ("nodes.extractors", "SketchExtractorLoader", "sketch_extractors"),
    ):
        look = getattr(room(module), door).fingerprint_inputs
        for name in (None, "starter (built in)", "edges (no weights)", "gone.safetensors", "../gone.pth"):
            assert look(name) == look(None)
        (folders / folder).mkdir()
        file = folders / folder / "mine.safetensors"
        file.write_bytes(b"one")
        before = look("mine.safetensors")
        assert before == look("mine.safetensors") != look(None)
        file.write_bytes(b"another")
        assert look("mine.safetensors") != before
    sets = room("nodes.train_extractor").SketchSynthesizeSets.fingerprint_inputs
    before = sets(["photos"], ["mine.safetensors"])
    file.write_bytes(b"the third")
    assert sets(["photos"], ["mine.safetensors"]) != before


def test_a_loaded_gan_does_not_need_its_file(room, features, folders):
    """It may be replaced: on Windows a file that is mapped cannot be."""
    draw_sets(room)
    gan = train_gan(room, features, gan_steps=0, draft_steps=1)[0]
    before = {key: value.clone() for key, value in gan.network.state_dict().items()}
    file = folders / "sketch_gan" / "mine.safetensors"
    with file.open("r+b") as content:  # the very file, not a new one of its name
        content.write(bytes(file.stat().st_size))
    assert all(torch.equal(value, before[key]) for key, value in gan.network.state_dict().items())


def test_features_that_compare_no_pictures_are_refused(room, features, folders):
    """The same ones as Image Metrics refuses."""
    from dataclasses import replace

    draw_sets(room)
    for train in (train_gan, train_extractor):
        with pytest.raises(
            ValueError, match=r"LPIPS compares the feature maps of several layers, which 'tiny' \(inception\)"
        ):
            train(room, replace(features, kind="inception"))
        with pytest.raises(ValueError, match="Set feeding to 'as trained'"):
            train(room, replace(features, published=True))
        with pytest.raises(ValueError, match="domain extractor"):
            train(room, room("pictures.features").Domain("dse.pt", None))


def test_validation_and_fingerprints(room, folders):
    node = room("nodes.train_gan").SketchTrainGAN
    assert node.validate_inputs("a", "photos", "drawings") is True
    assert node.validate_inputs(None, None, None) is True, "links are known when they run"
    assert "cannot be a file name" in node.validate_inputs("a/b", "photos", "drawings")
    assert "no folder 'gone'" in node.validate_inputs("a", "gone", "drawings")
    sets = room("nodes.train_extractor").SketchSynthesizeSets
    assert sets.validate_inputs(["photos"], ["sketch sets"]) is True
    before = node.fingerprint_inputs("photos", "drawings")
    Image.new("L", (8, 8)).save(folders / "input" / "drawings" / "new.png")
    assert node.fingerprint_inputs("photos", "drawings") != before
    assert node.validate_inputs("a", "photos", "gone", sets=None) is True, "a link goes before sketches"
    assert node.validate_inputs("a", "photos", "gone", sets="drawings") is True
    assert "no folder 'gone'" in node.validate_inputs("a", "photos", "photos", sets="gone")
    assert node.fingerprint_inputs("photos", "gone", sets=None) == node.fingerprint_inputs("photos", None)
    folders_offered = next(i for i in node.define_schema().inputs if i.id == "photos").options
    assert {"photos", "drawings", "."} <= set(folders_offered)


def test_start_anew(room, features, folders):
    draw_sets(room)
    first = train_gan(room, features, gan_steps=0)[0]
    assert first.network.kind is None, "an autoencoder alone"
    with pytest.raises(ValueError, match="width 8 instead of 16"):
        train_gan(room, features, gan_steps=0, width=16)
    assert train_gan(room, features, gan_steps=0, width=16, begin=ANEW)[0].network.width == 16


@pytest.mark.parametrize(("width", "discriminator"), [(8, 16), (16, 32), (24, 32), (32, 64), (64, 64), (128, 64)])
def test_discriminator_width(room, width, discriminator):
    assert room("nodes.parts.training").discriminator_width(width) == discriminator
