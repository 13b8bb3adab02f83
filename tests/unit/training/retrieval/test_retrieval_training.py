"""Training a retriever on folders: classes and pairs, what is drawn, starts, validation, and bit-exact resuming."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

TINY = {
    "width": 32,
    "depth": 2,
    "heads": 2,
    "inner": 32,
    "grid": 4,
    "patch": 8,
    "channels": (4, 8, 32),
    "cross_inner": 16,
    "folded": 8,
    "anchors": 4,
    "hidden": (8, 4),
}


@pytest.fixture(scope="module")
def sampling(room):
    return room("training.retrieval.data")


@pytest.fixture(scope="module")
def runs(room):
    return room("training.retrieval.run")


@pytest.fixture(scope="module")
def starts(room):
    return room("training.retrieval.starts")


@pytest.fixture
def tiny(runs, monkeypatch):
    monkeypatch.setattr(runs, "SMALL", TINY)
    return runs.Settings(network="small", batch=4, learning_rate=2e-3, dropout=0.1, seed=3)


def paint(path, kind, number, sketch):
    """A shape at its own place, as a photo in colours or as black lines on white."""
    rng = np.random.default_rng([kind, number])
    image = Image.new("RGB", (48, 40), "white" if sketch else tuple(int(v) for v in rng.integers(120, 250, 3)))
    pixels = np.array(image)
    x, y = rng.integers(8, 26, 2)
    box = np.zeros(pixels.shape[:2], bool)
    if kind % 3 == 0:
        box[y - 4 : y + 12, x : x + 4] = True
    elif kind % 3 == 1:
        box[y : y + 4, x - 4 : x + 16] = True
    else:
        box[y : y + 10, x : x + 10] = True
        box[y + 3 : y + 7, x + 3 : x + 7] = False
    pixels[box] = 0 if sketch else rng.integers(0, 90, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def classes(tmp_path):
    """Six classes of four photos and three sketches."""
    for kind in range(6):
        for number in range(4):
            paint(tmp_path / f"photos/class {kind}/{number}.png", kind, number, False)
        for number in range(3):
            paint(tmp_path / f"sketches/class {kind}/s{number}.png", kind, 10 + number, True)
    return tmp_path


def kinds_of(sampling, folder):
    return sampling.kinds_in(folder / "sketches", folder / "photos").kinds


# --- folders ----------------------------------------------------------------------------------------------------------


def test_classes(sampling, classes):
    (classes / "photos/only photos").mkdir()
    (classes / "photos/class 0/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = sampling.kinds_in(classes / "sketches", classes / "photos")
    assert [kind.name for kind in found.kinds] == [f"class {i}" for i in range(6)]
    assert all(len(kind.sketches) == 3 and len(kind.photos) == 4 for kind in found.kinds)
    assert any("only photos" in reason for reason in found.left_out)
    assert any("broken" in reason for reason in found.left_out)


def test_pairs_by_name(sampling, tmp_path):
    for i in range(3):
        paint(tmp_path / f"photos/boat {i}.png", i, i, False)
    for name in ("boat 0", "boat 1", "boat 1-2", "boat 1-3", "stray"):
        paint(tmp_path / f"sketches/{name}.png", 0, 1, True)
    found = sampling.kinds_in(tmp_path / "sketches", tmp_path / "photos")
    assert {kind.name: len(kind.sketches) for kind in found.kinds} == {"boat 0": 1, "boat 1": 3}
    assert any("stray" in reason for reason in found.left_out)
    assert any("boat 2" in reason and "no sketch" in reason for reason in found.left_out)


def test_folders_that_do_not_serve(sampling, classes):
    with pytest.raises(ValueError, match="There is no folder"):
        sampling.kinds_in(classes / "nowhere", classes / "photos")
    (classes / "one/class 1").mkdir(parents=True)
    paint(classes / "one/class 1/a.png", 0, 0, True)
    with pytest.raises(ValueError, match="have 1 classes in common, expected two or more"):
        sampling.kinds_in(classes / "one", classes / "photos")


def test_split(sampling, classes, tmp_path):
    kinds = kinds_of(sampling, classes)
    (tmp_path / "names.txt").write_text("class 1\n\nclass 4\n")
    for text in ("class 1,class 4", str(tmp_path / "names.txt")):
        learned, tested = sampling.split(kinds, sampling.listed(text))
        assert [kind.name for kind in tested] == ["class 1", "class 4"]
        assert len(learned) == 4
    learned, tested = sampling.split(kinds, [], 0.34, seed=1)
    assert (len(learned), len(tested)) == (4, 2)
    assert sampling.split(kinds, [], 0.34, seed=1) == (learned, tested)
    assert len(sampling.split(kinds, [], 0.9)[0]) == 2
    with pytest.raises(ValueError, match="There is no class 'class 9' among the 6"):
        sampling.split(kinds, ["class 9"])
    with pytest.raises(ValueError, match="1 classes are left to learn from"):
        sampling.split(kinds, [f"class {i}" for i in range(5)])
    assert [kind.name for kind in sampling.chosen(kinds, ["class 3", "class 0"])] == ["class 0", "class 3"]


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_fair_draws(sampling, classes):
    """Every picture alike; other photos are of another class, second sketches another one of the same class."""
    kinds = kinds_of(sampling, classes)
    draws = [sampling.drawn(kinds, np.random.default_rng([0, i])) for i in range(2000)]
    of = {path: i for i, kind in enumerate(kinds) for path in (*kind.sketches, *kind.photos)}
    for draw in draws:
        assert of[draw.sketch] == of[draw.sketch_again] == of[draw.photo] == draw.kind != of[draw.photo_other]
        assert draw.sketch != draw.sketch_again
    for drawn, count in (
        (Counter(draw.photo for draw in draws), 24),
        (Counter(draw.photo_other for draw in draws), 24),
        (Counter(draw.sketch for draw in draws), 18),
    ):
        assert len(drawn) == count
        assert min(drawn.values()) > 0.5 * 2000 / count


def test_published_draws(sampling, classes):
    """The first sketch and photo of a class never come, and two sketches may be the same."""
    kinds = kinds_of(sampling, classes)
    draws = [sampling.drawn(kinds, np.random.default_rng([0, i]), published=True) for i in range(500)]
    firsts = {path for kind in kinds for path in (kind.sketches[0], kind.photos[0])}
    seen = {path for draw in draws for path in draw[1:]}
    assert not seen & firsts
    assert len(seen) == 6 * (2 + 3)
    assert any(draw.sketch == draw.sketch_again for draw in draws)
    alone = [sampling.Kind(kind.name, kind.sketches[:1], kind.photos[:1]) for kind in kinds[:2]]
    assert sampling.drawn(alone, np.random.default_rng(0), published=True).sketch in firsts


def test_batch(sampling, classes):
    kinds, seen = kinds_of(sampling, classes), sampling.Seen(32)
    batch = sampling.batch(kinds, seen, 5, 0, False, 7)
    assert batch["sketch"].shape == batch["photo"].shape == (10, 3, 32, 32)
    assert batch["group"].shape == (5,)
    assert -1 <= batch["photo"].min() < batch["photo"].max() <= 1
    again = sampling.batch(kinds, sampling.Seen(32, keep=0), 5, 0, False, 7)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert not torch.equal(batch["photo"], sampling.batch(kinds, seen, 5, 0, False, 8)["photo"])


def test_white_on_black_is_the_same_drawing(sampling, tmp_path):
    """As for a search; otherwise a folder of edge pictures would be learned as black squares."""
    sheet = Image.new("L", (60, 50), "white")
    sheet.paste(0, (20, 10, 24, 40))
    sheet.save(tmp_path / "dark.png")
    sheet.point(lambda value: 255 - value).save(tmp_path / "light.png")
    seen = sampling.Seen(32)
    assert torch.equal(seen.sketch(tmp_path / "light.png"), seen.sketch(tmp_path / "dark.png"))


def test_blank_sketches_are_named(sampling, tmp_path):
    Image.new("RGB", (30, 30), "white").save(tmp_path / "empty.png")
    with pytest.raises(ValueError, match=r"'empty\.png': The sketch is blank"):
        sampling.Seen(32).sketch(tmp_path / "empty.png")


# --- where a training begins ------------------------------------------------------------------------------------------


def tiny_network(room, seed=0, **other):
    network = room("networks.retrieval.network").Retriever(**TINY | other)
    return room("training.retrieval.task").initialised(network, seed)


def as_timm(key: str) -> str:
    names = {"cls": "cls_token", "pos_embedding": "pos_embed"}
    rules = (
        ("embedding.", "patch_embed.proj."),
        ("transformer.encoder_norm.", "norm."),
        ("layer_norm_input", "norm1"),
        ("layer_norm_out", "norm2"),
        ("attention.to_qkv", "attn.qkv"),
        ("attention.to_out.0", "attn.proj"),
        ("mlp.net.0", "mlp.fc1"),
        ("mlp.net.3", "mlp.fc2"),
    )
    key = names.get(key, key)
    for ours, theirs in rules:
        key = key.replace(ours, theirs)
    return re.sub(r"transformer\.layers\.(\d+)\.0\.", r"blocks.\1.", key)


def as_torchvision(key: str) -> str:
    key = {"cls": "class_token", "pos_embedding": "encoder.pos_embedding"}.get(key, key)
    for ours, theirs in (
        ("embedding.", "conv_proj."),
        ("transformer.encoder_norm.", "encoder.ln."),
        ("layer_norm_input", "ln_1"),
        ("layer_norm_out", "ln_2"),
        ("attention.to_qkv.", "self_attention.in_proj_"),
        ("attention.to_out.0", "self_attention.out_proj"),
        ("mlp.net.0", "mlp.linear_1"),
        ("mlp.net.3", "mlp.linear_2"),
    ):
        key = key.replace(ours, theirs) if not key.startswith("encoder.pos") else key
    return re.sub(r"transformer\.layers\.(\d+)\.0\.", r"encoder.layers.encoder_layer_\1.", key)


def as_hugging_face(key: str) -> str:
    key = {"cls": "embeddings.cls_token", "pos_embedding": "embeddings.position_embeddings"}.get(key, key)
    for ours, theirs in (
        ("transformer.encoder_norm.", "layernorm."),
        ("layer_norm_input", "layernorm_before"),
        ("layer_norm_out", "layernorm_after"),
        ("attention.to_out.0", "attention.output.dense"),
        ("mlp.net.0", "intermediate.dense"),
        ("mlp.net.3", "output.dense"),
    ):
        key = key.replace(ours, theirs)
    if key.startswith("embedding."):
        key = key.replace("embedding.", "embeddings.patch_embeddings.projection.")
    return "vit." + re.sub(r"transformer\.layers\.(\d+)\.0\.", r"encoder.layer.\1.", key)


def encoder_of(network):
    return {k: v for k, v in network.sa.model.state_dict().items() if not k.startswith("scale.")}


@pytest.mark.parametrize("names", ["published", "timm", "torchvision", "hugging face"])
def test_start_from_a_vit(room, starts, tmp_path, names):
    """SAM ViT-B/16 as released, with NumPy numbers and a classifier beside it, and other programs' names."""
    source, network = tiny_network(room, 1), tiny_network(room, 2)
    known = encoder_of(source)
    rename = {"published": str, "timm": as_timm, "torchvision": as_torchvision, "hugging face": as_hugging_face}[names]
    weights = {}
    for key, value in known.items():
        if names == "hugging face" and "to_qkv" in key:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                weights[rename(key).replace("attention.to_qkv", f"attention.attention.{part}")] = rows
        else:
            weights[rename(key)] = value
    weights |= {"head.weight": torch.zeros(9, 32), "head.bias": torch.zeros(9)}
    torch.save({"model": weights, "epoch": 3, "map_all": np.float64(0.5)}, tmp_path / "vit.pth")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert "second stem" in starts.begin_from(network, tmp_path / "vit.pth")
    for key, value in network.state_dict().items():
        short = key.removeprefix("sa.model.")
        assert torch.equal(value, known[short] if short in known else before[key]), key


def test_start_from_a_retriever(room, starts, tmp_path):
    source, network = tiny_network(room, 1), tiny_network(room, 2)
    unused = {key.replace("layer1", "layers"): value for key, value in source.state_dict().items() if "layer1" in key}
    torch.save({"model": source.state_dict() | unused, "map_all": np.float32(0.5)}, tmp_path / "best.pth")
    assert "Everything begins" in starts.begin_from(network, tmp_path / "best.pth")
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in network.state_dict().items())
    for ending in ("sft", "SAFETENSORS"):
        save_file(source.state_dict(), tmp_path / f"best.{ending}")
        assert "Everything begins" in starts.begin_from(network, tmp_path / f"best.{ending}")
    other = tiny_network(room, 2, anchors=16, hidden=(8, 4))
    assert "but the relation network" in starts.begin_from(other, tmp_path / "best.pth")
    assert torch.equal(other.conv2d.weight, source.conv2d.weight)


def test_starts_that_do_not_fit(room, starts, tmp_path):
    network = tiny_network(room)
    with pytest.raises(ValueError, match="There is no file"):
        starts.begin_from(network, tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match=r"'text\.pth' cannot be read"):
        starts.begin_from(network, tmp_path / "text.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="neither a retriever nor a ViT"):
        starts.begin_from(network, tmp_path / "other.pth")
    torch.save(tiny_network(room, depth=1).sa.model.state_dict(), tmp_path / "short.pth")
    with pytest.raises(ValueError, match=r"are missing \(such as transformer\.layers\.1"):
        starts.begin_from(network, tmp_path / "short.pth")
    torch.save(tiny_network(room, inner=48).sa.model.state_dict(), tmp_path / "wide.pth")
    with pytest.raises(ValueError, match=r"has the shape \[48, 32\], expected \[32, 32\]"):
        starts.begin_from(network, tmp_path / "wide.pth")


def test_positions_of_another_grid(starts):
    """A ramp stays a ramp, and [Ret]'s own position is untouched."""
    ramp = torch.linspace(-1, 1, 6)[None, :].expand(6, 6).reshape(1, 36, 1)
    grown = starts.positions(torch.cat([torch.full((1, 1, 1), 7.0), ramp], 1), 12)
    assert grown.shape == (1, 145, 1)
    assert grown[0, 0] == 7
    assert torch.allclose(grown[0, 1:].reshape(12, 12), grown[0, 1:13, 0].expand(12, 12), atol=1e-5)
    assert bool((grown[0, 2:13].diff(dim=0) > 0).all())


# --- the training itself ----------------------------------------------------------------------------------------------


def course(room, folder, lesson, steps, **other):
    loop = room("training.loop")
    with lesson:
        return loop.learn(lesson, folder, loop.Goal(steps), **other)


@pytest.mark.parametrize("validated", [False, True])
def test_interrupted_runs_end_alike(room, runs, sampling, tiny, classes, tmp_path, validated):
    """Stopped after three steps and resumed: to the bit what an unbroken run gives, the best weights and the log too.
    With dropout; validated: also with an average, a cosine, and validations before and after the stop."""
    learned, tested = sampling.split(kinds_of(sampling, classes), ["class 1", "class 2"])
    settings = runs.Settings(**{**vars(tiny), "contrast": 0.5, "steady": False}) if validated else tiny

    def lesson():
        tests = tested if validated else ()
        return runs.retrieval_lesson(settings, learned, tests, every_sketch=1, every_photo=2, validate_every=2)

    def stop(moment):
        if moment.course.steps == 3:
            raise KeyboardInterrupt

    unbroken, resumed = lesson(), lesson()
    course(room, tmp_path / "unbroken", unbroken, 6)
    with pytest.raises(KeyboardInterrupt):
        course(room, tmp_path / "broken", lesson(), 6, watch=stop)
    assert course(room, tmp_path / "broken", resumed, 6).steps == 6
    ours, theirs = unbroken.state(), resumed.state()
    for name in ("task", "best") if validated else ("task",):
        assert all(torch.equal(value, theirs[name][key]) for key, value in ours[name].items())
    assert torch.equal(unbroken.found, resumed.found)
    assert (float(unbroken.found[0]) >= 0) == validated
    assert all(torch.equal(value, resumed.weights()[key]) for key, value in unbroken.weights().items())


def test_best_weights_are_kept(room, runs, sampling, tiny, classes):
    """The model file holds those with the highest mAP, whatever is learned after them."""
    kinds = kinds_of(sampling, classes)
    ranking = room("pictures.ranking")
    values = iter([0.4, 0.7, 0.6])

    def validation(network, device):
        assert not network.training
        return ranking.Scores(next(values), 0.0, 0.25, 0.0, 0.0, 0.0)

    lesson = runs.retrieval_lesson(tiny, kinds, kinds[:2], validate_every=1)
    lesson.validation = validation
    with lesson:
        for step in range(3):
            losses, _ = lesson.step(step, 0.1)
            if step == 1:
                best = {key: value.clone() for key, value in lesson.task.weights().items()}
    assert float(losses["map"]) == pytest.approx(0.6)
    assert lesson.notes()["map_all"] == 0.7
    assert lesson.notes()["step"] == 2
    assert all(torch.equal(value, best[key]) for key, value in lesson.weights().items())
    assert any(not torch.equal(value, best[key]) for key, value in lesson.task.weights().items())


def test_validation_by_the_relation_network(room, runs, sampling, tiny, classes):
    """mAP from the score of every pair, one by one."""
    kinds, seen = kinds_of(sampling, classes)[:2], sampling.Seen(32)
    network = runs.new_network(tiny).eval().requires_grad_(False)
    found = room("training.retrieval.lesson").Validation(kinds, seen, by_relation=True)(network, torch.device("cpu"))
    sketches = [(kind.name, network.tokens(seen.sketch(path)[None])) for kind in kinds for path in kind.sketches]
    photos = [(kind.name, network.tokens(seen.photo(path)[None])) for kind in kinds for path in kind.photos]
    score = torch.tensor([[float(network.relation(mine, theirs)) for _, theirs in photos] for _, mine in sketches])
    same = torch.tensor([[mine == theirs for theirs, _ in photos] for mine, _ in sketches])
    assert found.map_all == pytest.approx(room("pictures.ranking").scores(-score, same).map_all, abs=0.02)


def test_it_learns(room, runs, sampling, tiny, classes):
    """A few shapes are told apart after a few steps; held-out validation runs on the side."""
    kinds = kinds_of(sampling, classes)
    settings = runs.Settings(**{**vars(tiny), "contrast": 1.0, "batch": 6, "dropout": 0.0})
    lesson = runs.retrieval_lesson(settings, kinds[:3], kinds[:3], every_sketch=1, every_photo=1, validate_every=40)
    with lesson:
        losses = [float(lesson.step(step, step / 40)[0]["loss"]) for step in range(40)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])
    assert float(lesson.found[0]) > 0.5
    again = room("networks").build(lesson.weights(), **{k: v for k, v in lesson.notes().items() if k == "num_heads"})
    assert again.size == 32


def test_settings_out_of_range_are_told(runs, sampling, classes):
    kinds = kinds_of(sampling, classes)
    for wrong, message in (
        ({"batch": 0}, "batch must be from 1 to 4096, got 0"),
        ({"network": "huge"}, "network must be one of published, small"),
        ({"anchors": 50}, "anchors must be one of 49, 144, 196, got 50"),
        ({"dropout": 1.0}, "dropout must be from 0.0 to 0.9"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.retrieval_lesson(runs.Settings(**wrong), kinds)


@pytest.mark.parametrize(("anchors", "sizes"), [(49, (343, 49)), (144, (1728, 144)), (196, (2744, 196))])
def test_published_relation_networks(room, runs, anchors, sizes):
    """For every published number of anchors, the network as the reference makes it, and the tokens that it compares."""
    assert runs.relation_sizes(anchors) == sizes
    network = room("networks.retrieval.network").Retriever(anchors=anchors, hidden=sizes, device="meta")
    assert network.rn.rn[0].weight.shape == (sizes[0], anchors**2)
    tokens = network.tokens(torch.zeros(1, 3, 224, 224, device="meta"))
    assert tokens.shape == (1, 1 + (144 if anchors == 144 else 196), 768)
    assert network.fold(tokens).shape == (1, anchors, 512 if anchors == 49 else 768)
    assert network.relation(tokens, tokens).shape == (1,)


def test_command(room, runs, classes, monkeypatch, capsys, tmp_path):
    """With the published options; once more, it goes on."""
    monkeypatch.setattr(runs, "SMALL", TINY)
    command = room("training.retrieval.command")
    words = ["--folder", str(tmp_path / "run"), "--data_path", str(classes), "--test_class", "class 1,class 2"]
    words += ["--network", "small", "--batch", "3", "--datasetLen", "6", "--epoch", "2", "--validate_from", "1"]
    words += ["--testall", "-c", "cpu", "-a", "49", "--choose_cls", "class 0,class 3,class 4", "--cls_number", "3"]
    command.main(words)
    printed = capsys.readouterr().out
    assert "3 classes to learn from, 2 to validate on" in printed
    weights = room("files").read_weights(tmp_path / "run/retriever.safetensors")
    assert room("networks").build(weights).size == 32
    rows = [json.loads(line) for line in (tmp_path / "run/retriever.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 4
    assert 0 < rows[-1]["map"] <= 1
    command.main([*words, "--epoch", "3", "--start", str(tmp_path / "run/retriever.safetensors")])
    rows = [json.loads(line) for line in (tmp_path / "run/retriever.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 6
    seed = ["-s", str(tmp_path / "seed"), *words[2:], "-r", "rn", "-a", "196"]  # the published command's own names
    command.main(seed)
    rows = [json.loads(line) for line in (tmp_path / "seed/retriever.jsonl").read_text().splitlines()]
    assert 0 < rows[-1]["map"] <= 1
    with pytest.raises(ValueError, match="Say where the photos are: --data_path"):
        command.main(["--folder", str(tmp_path / "x"), "--sketches", str(classes / "sketches")])
