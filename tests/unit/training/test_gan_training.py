"""Training of the sketch GAN: runs that survive anything, and none of the release's crashes."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from helpers import TESTS


@pytest.fixture(scope="module")
def lessons(room):
    return room("training.sketchgan.lessons")


@pytest.fixture(scope="module")
def training(room):
    return room("training.loop")


# --- runs -------------------------------------------------------------------------------------------------------------


def all_equal(one, other):
    assert one.keys() == other.keys()
    different = [key for key in one if not torch.equal(one[key], other[key])]
    assert not different, different[:5]


def test_a_whole_run_and_what_it_leaves(nest, training, room, tmp_path):
    trained = nest.train(tmp_path, 2, 2, save_every=1e9)
    file = tmp_path / "gan.safetensors"
    all_equal(load_file(file), trained.weights)
    network = room("networks").build(load_file(file))
    assert (network.size, network.width, network.kind) == (128, 8, "art")
    kept = {path.name for path in (tmp_path / "gan.training").iterdir()}
    states = {"autoencoder.state", "gan.state"}
    assert kept == {*states, "autoencoder.jsonl", "gan.jsonl", "autoencoder.finished", "lock"}
    assert trained.courses["gan"].steps == trained.courses["autoencoder"].steps == 2
    lines = (tmp_path / "gan.training" / "gan.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 2
    assert "perceptual" in json.loads(lines[-1])
    assert len(trained.plots) == 2
    assert trained.preview.height == 5 * 128
    before = file.stat().st_mtime_ns
    again = nest.train(tmp_path, 2, 2)
    assert again.courses["gan"].steps == 2
    assert file.stat().st_mtime_ns >= before
    all_equal(again.weights, trained.weights)
    assert len(again.plots) == 2, "the autoencoder's curves from what is kept"
    assert again.courses["autoencoder"] == trained.courses["autoencoder"]


def test_between_the_stages(nest, tmp_path):
    """The generator learns without the autoencoder's networks in memory, and no file that is replaced is mapped, which
    Windows refuses. Then other settings are refused, with or without a state of the generator."""
    drafting, seen = [], []
    maps = Path("/proc/self/maps")

    def watch(moment):
        if moment.lesson.name == "autoencoder":
            drafting.append(weakref.ref(moment.lesson.nets.decoder))
        else:
            seen.append([there() is None for there in drafting])
            mapped = maps.read_text() if maps.is_file() else ""
            assert not [name for name in ("gan.safetensors", "autoencoder.finished") if name in mapped]

    gc.disable()
    try:
        nest.train(tmp_path, 1, 1, watch)
    finally:
        gc.enable()
    assert seen == [[True]]
    others = (
        ({"width": 16}, "width 8 instead of 16"),
        ({"size": 256}, "size 128 instead of 256"),
        ({"kind": "shoe"}, "kind art instead of shoe"),
    )
    for _ in range(2):
        for own, words in others:
            with pytest.raises(ValueError, match=words):
                nest.train(tmp_path, 1, 2, **own)
        (tmp_path / "gan.training" / "gan.state").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "own",
    [{}, {"kind": "shoe"}, {"mutual_information": 0.5, "accumulation_steps": 2}],
    ids=["art", "shoe", "leak, pieces"],
)
def test_taken_up_after_cancel_it_ends_the_same(nest, tmp_path, own):
    """Cancel between any two steps: the rest, done later, gives bit-identical weights."""
    whole = nest.train(tmp_path / "whole", 3, 2, save_every=1e9, **own)

    class Cancel(Exception):
        pass

    stops = iter([("autoencoder", 1), ("autoencoder", 2), ("gan", 1)])
    wanted = next(stops)

    def watch(moment):
        if (moment.lesson.name, moment.course.steps) == wanted:
            raise Cancel

    for _ in range(3):
        with pytest.raises(Cancel):
            nest.train(tmp_path / "parts", 3, 2, watch, save_every=1e9, **own)
        wanted = next(stops, None)
    parts = nest.train(tmp_path / "parts", 3, 2, save_every=1e9, **own)
    all_equal(whole.weights, parts.weights)
    states = [torch.load(tmp_path / n / "gan.training" / "gan.state", weights_only=True) for n in ("whole", "parts")]
    for a, b in zip(*(list(known_tensors(state)) for state in states), strict=True):
        assert torch.equal(a, b)


def known_tensors(content):
    if isinstance(content, torch.Tensor):
        yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from known_tensors(part)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_twenty_times(training, tmp_path):
    """kill -9 at random moments: no file is ever half, at most one step is lost, and the end is the same."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "dev")])}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "helpers.gan_nest"]
    with subprocess.Popen(command, cwd=TESTS, env=environment, text=True, stdin=-1, stdout=-1) as nest:
        stdin, stdout = nest.stdin, nest.stdout
        assert stdin
        assert stdout
        assert stdout.readline() == "ready\n"

        def begin(folder):
            stdin.write(f"train {folder} 3 3\n")
            stdin.flush()

        def until(*words):
            said = []
            for line in stdout:
                said.append(line.split())
                if said[-1][0] in words:
                    return said
            raise AssertionError("the nest died")

        begin(tmp_path / "whole")
        until("ended")
        rng, kills, finished = random.Random(4), 0, 0
        reached: dict[str, int] = {}
        while kills < 20 or not finished:
            folder = tmp_path / f"parts_{finished}"
            begin(folder)
            said = until("pid")
            pid = int(said[-1][1])
            if kills % 3 == 2:  # some runs get a step or two further
                said += until("step", "ended")
            if kills < 20 and ["ended"] not in said:
                time.sleep(rng.uniform(0, 0.5))
                with contextlib.suppress(ProcessLookupError):  # it was through before
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
            if ["ended"] not in said:
                said += until("ended")
            for _, stage, step in (line for line in said if line[0] == "step"):
                reached[stage] = max(reached.get(stage, 0), int(step))
            for path in folder.rglob("*.state"):
                lost = reached.get(path.stem, 0) - training.read_state(path)["steps"]
                assert lost <= 1, f"{path.stem} lost {lost} steps"
            for path in (*folder.rglob("*.safetensors"), *folder.rglob("*.finished")):
                assert load_file(path)
            if ["done"] in said:
                all_equal(load_file(tmp_path / "whole" / "gan.safetensors"), load_file(folder / "gan.safetensors"))
                finished, reached = finished + 1, {}
        stdin.close()


def test_other_settings_on_the_same_name(nest, tmp_path):
    nest.train(tmp_path, 1, 0)
    with pytest.raises(ValueError, match=r"width 8 instead of 16.*another name or folder, or start anew"):
        nest.train(tmp_path, 1, 0, width=16)
    assert nest.train(tmp_path, 2, 0, batch=3, bfloat16=True).courses["autoencoder"].steps == 2, "these may change"


def test_a_damaged_state_is_told(nest, training, tmp_path):
    nest.train(tmp_path, 1, 0)
    path = tmp_path / "gan.training" / "autoencoder.state"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not the state of a training, or it is damaged"):
        nest.train(tmp_path, 2, 0)
    training.forget(path.parent)
    assert not path.exists()
    assert nest.train(tmp_path, 1, 0).courses["autoencoder"].steps == 1


@pytest.fixture(scope="module")
def counting(training):
    """A lesson without networks."""

    class Counting(training.Lesson):
        name = "counting"

        def __init__(self, bad: int = -1):
            super().__init__({"size": 1})
            self.total, self.bad = torch.zeros(1), bad
            self.kept = {"total": self.total}

        def step(self, step, progress):
            self.total += float("nan") if step == self.bad else step
            return {"loss": self.total.sum()}, []

    return Counting


def test_pictures_that_cannot_be_read_lose_nothing(training, counting, batches, tmp_path):
    class Torn(counting):
        def step(self, step, share):
            if step == 7:
                raise batches.NoBatch("a.png is damaged")
            return super().step(step, share)

    with pytest.raises(ValueError, match=r"a\.png is damaged"):
        training.learn(Torn(), tmp_path, training.Goal(10))
    assert training.read_state(tmp_path / "counting.state")["steps"] == 7
    assert training.learn(counting(), tmp_path, training.Goal(10)).steps == 10


def test_cancel_renews_the_model_file(training, counting, tmp_path):
    def watch(moment):
        if moment.course.steps == 3:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        training.learn(
            counting(), tmp_path, training.Goal(9), watch=watch, saved=lambda course: seen.append(course.steps)
        )
    assert seen == [1, 3]


def test_one_process_at_a_time(training, tmp_path):
    (tmp_path / "lock").write_text("of a process that crashed")
    left = [tmp_path / "gan.state.123.part", tmp_path / "a.safetensors.45.part"]
    foreign = tmp_path / "lines.part"
    for path in (*left, foreign):
        path.touch()
    with training.locked(tmp_path, tmp_path / "a.safetensors"):
        assert not any(path.exists() for path in left)
        assert foreign.exists()
        with pytest.raises(ValueError, match="Another process is training"), training.locked(tmp_path):
            pass
        with pytest.raises(ValueError, match="Another process is training"):
            training.forget(tmp_path)
    with training.locked(tmp_path):
        pass


def test_parts_are_a_process_own_and_never_stay(room, tmp_path, monkeypatch):
    seen = []

    def full(part, path):
        seen.append(Path(part).name)
        raise OSError("no space left")

    files = room("files")
    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(ValueError, match=r"could not be written \(no space left; \d+ MB free there\)"):
        files.replace(tmp_path / "a.safetensors", b"x")
    with pytest.raises(ValueError, match=r"could not be written \(no space left; \d+ MB free there\)"):
        files.replace_torch(tmp_path / "a.state", {})
    assert seen == [f"a.{kind}.{os.getpid()}.part" for kind in ("safetensors", "state")]
    assert not list(tmp_path.iterdir())


def test_refusals_speak_of_what_can_be_set(training, counting, tmp_path):
    known, asked = {"channels": 8, "discriminator": 16}, {"channels": 256, "discriminator": 32}
    with pytest.raises(ValueError, match="features of 8 channels instead of 256, a discriminator of width 16 instead"):
        training.check_identity(known, asked, tmp_path)
    with pytest.raises(ValueError, match="float32 precision"):
        training.learn(counting(bad=0), tmp_path, training.Goal(1))


def test_numbers_that_are_none_are_never_saved(training, counting, tmp_path):
    with pytest.raises(ValueError, match="diverged"):
        training.learn(counting(bad=6), tmp_path, training.Goal(10), save_every=-1)
    assert training.read_state(tmp_path / "counting.state")["steps"] == 6
    assert training.learn(counting(), tmp_path, training.Goal(10)).steps == 10, "the last good state goes on"


def test_minutes_and_steps_as_goals(training, counting, tmp_path):
    clock = iter(range(0, 10**6, 6))
    course = training.learn(
        counting(), tmp_path, training.Goal(minutes=2), clock=lambda: float(next(clock)), save_every=1e9
    )
    assert 5 <= course.steps <= 20
    assert course.minutes >= 2
    assert training.Goal(10, 4).progress(training.Course(5, 1)) == 0.5
    assert training.Goal(10, 4).progress(training.Course(1, 3)) == 0.75
    assert training.Goal().progress(training.Course()) == 1, "nothing to do"


def test_a_crash_loses_one_save_interval(training, counting, tmp_path):
    now = [0.0]

    class Crash(counting):
        def step(self, step, share):
            now[0] += 1
            if step == 17:
                raise RuntimeError("out of memory")
            return super().step(step, share)

    with pytest.raises(RuntimeError):
        training.learn(Crash(), tmp_path, training.Goal(30), save_every=4.5, clock=lambda: now[0])
    assert 12 <= training.read_state(tmp_path / "counting.state")["steps"] <= 17


# --- the crashes of the release (section 14) --------------------------------------------------------------------------


def test_batches_of_one_are_refused_before_anything_starts(nest, tmp_path):
    """17: no derangement of one exists; the release looked for it forever."""
    with pytest.raises(ValueError, match="batch size must be 2 or more"):
        nest.train(tmp_path, 1, 1, batch=1)
    assert not list(tmp_path.iterdir())


def test_another_number_of_pictures_in_a_set(nest, training, tmp_path):
    """6: the release could not load a checkpoint of another NBR_CLS. Here a run keeps the number it began with, at most
    as many as there were, whether photos are added or removed; in use it does not matter."""
    nest.train(tmp_path, 1, 0, classes=500)
    for steps, count in ((2, 5), (3, 8)):
        trained = nest.train(tmp_path, steps, 0, classes=7, seen=nest.pictures(count))
        assert trained.courses["autoencoder"].steps == steps
        state = training.read_state(tmp_path / "gan.training" / "autoencoder.state")
        assert len(state["lesson"]["networks"][0]["final_cls.1.bias"]) == 6
    assert not any("final_cls" in key for key in load_file(tmp_path / "gan.safetensors"))


def test_information_turned_on_later(nest, lessons, data):
    """What follows the style encoder begins as it is then, not as random first weights."""
    store = data.Store(nest.pictures(), 128)
    with lessons.AutoencoderLesson(store, nest.features(), nest.settings(), "cpu") as lesson:
        lesson.step(0, 0.0)
        state = lesson.state()
    with lessons.AutoencoderLesson(store, nest.features(), nest.settings(mutual_information=0.5), "cpu") as lesson:
        lesson.load(state)
        all_equal(lesson.mutual_information.style.state_dict(), lesson.nets.style.state_dict())


def test_faces(nest, room, tmp_path):
    """2: 'face' left the generator class empty."""
    trained = nest.train(tmp_path, 1, 1, kind="face")
    assert room("networks").build(trained.weights).kind == "face"


@pytest.mark.skipif(not os.environ.get("SKETCHSYNTH_SLOW"), reason="1024 pixels: half a minute of one core")
def test_1024_pixels(nest, room, tmp_path):
    """1: the release compared drafts of 512 pixels with photos of 1024, and stopped."""
    trained = nest.train(tmp_path, 1, 1, size=1024, save_every=1e9)
    network = room("networks").build(trained.weights)
    assert (network.size, network.draft) == (1024, 512)


def test_bfloat16(nest, tmp_path):
    trained = nest.train(tmp_path, 2, 2, bfloat16=True)
    assert all(torch.isfinite(value).all() for value in trained.weights.values())
    assert all(value.dtype == torch.float32 for value in trained.weights.values() if value.is_floating_point())


def test_the_norms_are_settled(nest, lessons, data, batches):
    """What is saved has the statistics of many batches at its own weights: drafts in eval mode are as in training."""
    own = nest.settings()
    store = data.Store(nest.pictures(), 128)
    with lessons.AutoencoderLesson(store, nest.features(), own, "cpu") as lesson:
        for step in range(2):
            lesson.step(step, 0.0)
        before = lesson.state()["networks"][2]["feat_8_1.0.main.2.running_var"].clone()
        weights = lesson.weights(6)
        after = lesson.state()["networks"][2]["feat_8_1.0.main.2.running_var"]
    assert torch.equal(before, after), "the networks in training are left alone"
    settled = weights["decoder.feat_8_1.0.main.2.running_var"]
    assert (settled / before).log().abs().max() > 0.2


def test_the_average_holds_no_first_weights(nest, lessons, data):
    """A run of ten steps: a constant .999 would leave it at 99 parts of the random start."""
    own = nest.settings()
    store = data.Store(nest.pictures(), 128)
    with lessons.AutoencoderLesson(store, nest.features(), own, "cpu") as drafting:
        drafts = drafting.weights(1)
    with lessons.GeneratorLesson(store, nest.features(), own, drafts, "cpu") as lesson:
        start = [value.clone() for value in lesson.averaged]
        for step in range(4):
            lesson.step(step, 0.0)
        now = [value.detach() for value in lesson.generator.parameters()]
        gone = sum(float((a - n).norm()) for a, n in zip(lesson.averaged, now, strict=True))
        moved = sum(float((s - n).norm()) for s, n in zip(start, now, strict=True))
    assert gone < 0.5 * moved


def test_rates_follow_the_plan(nest, lessons, data):
    own = nest.settings(ae_rate=2.0, decay_share=0.5)
    assert [own.rate_factor(share) for share in (0, 0.5, 0.75, 1)] == [1.0, 1.0, 0.5, 0.0]
    assert nest.settings().rate_factor(1.0) == 1.0
    store = data.Store(nest.pictures(), 128)
    with lessons.AutoencoderLesson(store, nest.features(), own, "cpu") as lesson:
        lesson.step(0, 0.0)
        rates = [o.param_groups[0]["lr"] for o in lesson.optimisers]
        assert rates == [4e-4] * 4
        lesson.step(200, 0.75)  # the second set of 4 pictures at batch 2
        assert [o.param_groups[0]["lr"] for o in lesson.optimisers] == [1e-4, 2e-4, 2e-4, 1e-4]


def test_tom_learns_and_is_an_extractor(nest, room, data, training, tmp_path):
    runs, drawing = room("training.sketchgan.runs"), room("training.sketchgan.extractor")
    pictures = nest.pictures()
    sketches = data.Arrays(np.repeat(pictures.drawings[0][..., None], 3, -1), [])

    def lesson(width=8):
        stores = [data.Store(source, 128) for source in (pictures, sketches)]
        return drawing.ExtractorLesson(*stores, nest.features(), width=width, batch=2)

    paths, trained = runs.train_extractor(
        lesson(), tmp_path / "t.safetensors", tmp_path / "t", training.Goal(4), keep=3
    )
    assert [path.name for path in paths] == ["t-1.safetensors", "t-2.safetensors", "t.safetensors"]
    first, last = load_file(paths[0]), load_file(paths[2])
    assert not torch.equal(first["g.final.0.weight_orig"], last["g.final.0.weight_orig"])
    assert {key.split(".")[0] for key in last} == {"g", "ds", "vgg"}
    network = room("networks").build(last)
    assert network.in_channels == 3
    assert network(torch.rand(1, 3, 37, 50)).shape == (1, 1, 37, 50)
    assert trained.preview.size == (5 * 128, 2 * 128)
    assert runs.lacking(paths, 3) == ""

    def again(keep):
        return runs.train_extractor(lesson(), tmp_path / "t.safetensors", tmp_path / "t", training.Goal(4), keep=keep)[
            0
        ]

    kept = [path.read_bytes() for path in paths]
    assert again(3) == paths
    assert [path.read_bytes() for path in paths[:2]] == kept[:2]
    foreign = tmp_path / "t-3.safetensors"
    foreign.write_bytes(b"another extractor")
    with pytest.raises(ValueError, match=r"t-3\.safetensors is there already and is not a stage of this training"):
        again(4)
    paths[1].write_bytes(b"trained anew under the name t-2")
    runs.forget_stages(tmp_path / "t.safetensors", tmp_path / "t")
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {f"t{i}.safetensors" for i in ("", "-2", "-3")}
    paths[1].unlink()
    late = again(3)
    assert late == [tmp_path / "t.safetensors"]
    assert "1 of 3 stages were kept" in runs.lacking(late, 3)
    with pytest.raises(ValueError, match="batch size must be 2 or more"):
        drawing.ExtractorLesson(data.Store(pictures, 128), data.Store(sketches, 128), nest.features(), batch=1)


def test_sets_are_drawn_and_trained_on(room, data, training, tmp_path):
    """7: names, and paper 1 and ink -1, from the drawing of photos to the batch."""
    sets, extractors = room("training.sketchgan.sets"), room("pictures.extractors")
    (tmp_path / "photos").mkdir()
    for i in range(3):
        picture = Image.new("RGB", (60, 40), (200, 220, 240))
        picture.paste((20, 40, 30), (10 + 8 * i, 8, 40, 30))
        picture.save(tmp_path / "photos" / f"photo {i}.jpg")
    (tmp_path / "photos" / "torn.png").write_bytes(b"\x89PNG no more")
    named = data.by_name(tmp_path / "photos")
    draw = extractors.EDGES.prepare("cpu")
    seen = []
    skipped = sets.synthesise(named, draw, tmp_path / "sets" / "1 edges", size=32, watch=seen.append)
    assert seen == [1, 2, 3, 4]
    assert len(skipped) == 1
    assert "torn.png" in skipped[0]
    sketch = Image.open(tmp_path / "sets" / "1 edges" / "photo 0.png")
    assert sketch.size == (48, 32)
    assert set(np.unique(np.asarray(sketch))) == {0, 255}
    before = (tmp_path / "sets" / "1 edges" / "photo 1.png").stat().st_mtime_ns
    (tmp_path / "sets" / "1 edges" / "photo 0.png").unlink()
    sets.synthesise(named, draw, tmp_path / "sets" / "1 edges", size=32)
    assert (tmp_path / "sets" / "1 edges" / "photo 1.png").stat().st_mtime_ns == before, "what is there stays"
    pictures = data.paired(tmp_path / "photos", data.set_folders(tmp_path / "sets"))
    assert pictures.count == 3
    augment = room("training.sketchgan.augment")
    _, drawn = augment.pair(data.Store(pictures, 32), 0, 0, augment.Corner(0, 0))
    assert drawn.min() < -0.5
    assert drawn.max() == 1
    assert drawn.median() > 0.9
    assert sets.sheet_of(pictures.photos, [tmp_path / "sets" / "1 edges"], 48).size == (96, 144)


def test_the_command_line_numbers_the_sets(room, tmp_path, capsys):
    """Two extractors of one name are two sets, and the tenth is the last."""
    from tools import train_gan

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 32), "white").save(tmp_path / "photos" / "a.png")
    folders = ["--photos", str(tmp_path / "photos"), "--folder", str(tmp_path / "sets")]
    train_gan.sketches([*folders, "--extractors", "edges", "edges", "--size", "32"])
    assert capsys.readouterr().out.count("1 sketches") == 2
    assert all((tmp_path / "sets" / name / "a.png").is_file() for name in ("1 edges", "2 edges"))
