"""Load, index, find and explain, as the host runs them: in inference mode, with its folders and its Cancel."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from helpers import retrievers

COUNT = 21


@pytest.fixture
def home(tmp_path, monkeypatch, room):
    """Input, output, user and model folders of their own: 20 photos of several sizes in input/photos, one of them lies
    on its side by its EXIF data, and one in a sub-folder; and two retrievers."""
    import folder_paths

    for kind in ("input", "output", "user"):
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
        (tmp_path / kind).mkdir()
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})  # or later tests would find these folders' files
    folder = room("nodes.parts.retrieval").FOLDER
    known = folder_paths.folder_names_and_paths[folder][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, folder, ([str(tmp_path / "models")], known))
    for seed, name in enumerate(("small", "other")):
        retrievers.save(room, tmp_path / "models" / f"{name}.safetensors", seed=seed)
    rng = np.random.default_rng(0)
    (tmp_path / "input" / "photos" / "trip").mkdir(parents=True)
    for i in range(COUNT - 1):
        blocks = np.kron(rng.integers(0, 256, (4, 5, 3)), np.ones((9 + i, 12, 1))).astype(np.uint8)
        Image.fromarray(blocks).save(tmp_path / "input" / "photos" / ("trip" if i == 3 else ".") / f"{i:02}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32), (10, 200, 10)).save(tmp_path / "input" / "photos" / "side.jpg", exif=exif)
    return tmp_path


@pytest.fixture
def doors(room):
    return room("nodes.retrieval")


@pytest.fixture
def run(room):
    """run("SketchPhotoIndex", ...) -> the node's outputs."""
    known = {node.__name__: node for node in room("nodes").NODES}

    def call(name, **inputs):
        with torch.inference_mode():  # as the host runs nodes
            return known[name].execute(**inputs).args

    return call


@pytest.fixture
def retriever(run, home):
    return run("SketchRetrieverLoader", retriever="small.safetensors")[0]


@pytest.fixture
def index(run, retriever):
    return run("SketchPhotoIndex", folder="photos", retriever=retriever)[0]


def drawing(width=90, height=70, paper="white", ink="black", pen=3):
    sheet = Image.new("RGB", (width, height), paper)
    pencil = ImageDraw.Draw(sheet)
    pencil.line([(20, 50), (45, 15), (70, 50)], fill=ink, width=pen)
    return torch.from_numpy(np.array(sheet)).float()[None] / 255


def find(run, index, sketch=None, **own):
    settings = {"mode": "Ret", "count": 5, "threshold": -100.0}
    sketch = drawing() if sketch is None else sketch
    return run("SketchFindPhotos", sketch=sketch, index=index, **{**settings, **own})


def test_a_sketch_finds_photos(run, index):
    photos, scores, names, sketches, sheet = find(run, index)
    assert len(photos) == len(scores) == len(names) == len(sketches) == 5
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)
    for photo, name in zip(photos, names, strict=True):
        with Image.open(index.folder / name) as file:
            size = file.size if name != "side.jpg" else file.size[::-1]
        assert tuple(photo.shape) == (1, size[1], size[0], 3), f"{name}: full size"
    assert sheet.shape[0] == 1
    assert sheet.min() >= 0
    assert sheet.max() <= 1


def test_photos_are_upright(run, index):
    photos, _, names, *_ = find(run, index, count=COUNT)
    assert sorted(names) == sorted([f"{i:02}.png" for i in range(20) if i != 3] + ["trip/03.png", "side.jpg"])
    assert photos[names.index("side.jpg")].shape[1:3] == (64, 32)


def test_a_photo_finds_itself(room, index, doors):
    """What a photo looks like to the network is what the index kept of it."""
    held = index.open()
    photo = Image.open(index.folder / held.name(7)).convert("RGB")
    with torch.inference_mode():
        doors.load(index.retriever)
        vectors = index.retriever.embed(index.retriever.photos([photo]))
    found = room("pipelines.retrieval.search").best(held.vectors, vectors, 1)[0]
    assert found.rows == [7]
    assert found.scores[0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_give_lists(run, index, batch):
    """Each sketch of a batch finds what it finds alone."""
    shapes = [drawing(), drawing(pen=7), drawing().flip(1)][:batch]
    photos, scores, names, sketches, _ = find(run, index, torch.cat(shapes), count=4)
    assert len(photos) == 4 * batch
    for i, shape in enumerate(shapes):
        alone = find(run, index, shape, count=4)
        assert names[4 * i : 4 * i + 4] == alone[2]
        assert scores[4 * i : 4 * i + 4] == pytest.approx(alone[1], abs=1e-5)
        assert all(torch.equal(sketch, shape) for sketch in sketches[4 * i : 4 * i + 4])


@pytest.mark.parametrize("mode", ["RN", "Ret, then RN on the best 200"])
def test_the_relation_network(run, index, mode):
    _, scores, names, *_ = find(run, index, mode=mode, count=COUNT)
    assert len(set(names)) == COUNT
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_both_relation_modes_agree_on_few_photos(run, index):
    """Which photos of equal scores come first may differ."""
    one, other = (find(run, index, mode=mode) for mode in ("RN", "Ret, then RN on the best 200"))
    assert one[1] == pytest.approx(other[1], abs=1e-5)


def test_threshold(run, index):
    _, scores, *_ = find(run, index, count=COUNT)
    wanted = scores[:7]
    assert find(run, index, count=COUNT, threshold=scores[6] - 1e-6)[1] == pytest.approx(wanted)
    with pytest.raises(ValueError, match="No photo reaches the threshold 2"):
        find(run, index, threshold=2.0)
    with pytest.raises(ValueError, match="threshold must be a number"):
        find(run, index, threshold=float("nan"))


# --- sketches of every kind -------------------------------------------------------------------------------------------


def test_white_on_black_is_the_same_drawing(run, index):
    assert find(run, index, drawing(paper="black", ink="white"))[1] == pytest.approx(find(run, index)[1], abs=1e-4)
    with pytest.raises(ValueError, match="blank"):
        find(run, index, torch.zeros(1, 40, 40, 3), invert="yes")


def test_transparency_is_paper(run, index):
    """Black lines on nothing, whose hidden colour is black, too."""
    lines = 1 - drawing().mean(-1, keepdim=True)
    clear = torch.cat([torch.zeros(1, 70, 90, 3), lines], -1)
    assert find(run, index, clear)[1] == pytest.approx(find(run, index)[1], abs=0.02)
    assert find(run, index, clear)[2][0] == find(run, index)[2][0]
    light = torch.cat([torch.ones(1, 70, 90, 3), lines], -1)
    for invert in ("auto", "yes"):  # white lines on nothing
        assert find(run, index, light, invert=invert)[1] == pytest.approx(find(run, index)[1], abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_every_precision(run, index, dtype):
    assert find(run, index, drawing().to(dtype))[2] == find(run, index)[2]


@pytest.mark.parametrize("sheet", [torch.zeros(1, 40, 40, 3), torch.zeros(1, 1, 1, 3)])
def test_a_sheet_all_of_ink_is_blank(run, index, sheet):
    with pytest.raises(ValueError, match="Sketch 1 of 1: The sketch is blank as the network sees it: its 64 x 64"):
        find(run, index, sheet, invert="no")
    with pytest.raises(ValueError, match="blank"):
        find(run, index, 1 - sheet, invert="yes")


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (3, 3), (17, 401)])
def test_thin_and_odd_drawings(run, index, size):
    sheet = torch.ones(1, *size, 3)
    sheet[:, size[0] // 2, size[1] // 2] = 0
    assert len(find(run, index, sheet)[0]) == 5


@pytest.mark.parametrize("value", [1.0, 0.6])
def test_a_blank_sketch_is_named(run, index, value):
    with pytest.raises(ValueError, match=r"Sketch 2 of 2: The sketch is blank"):
        find(run, index, torch.cat([drawing(), torch.full((1, 70, 90, 3), value)]))


def test_grey_sketches_have_one_channel(run, index):
    assert find(run, index, drawing()[..., :1])[2] == find(run, index)[2]


def test_a_bad_sketch(run, index):
    with pytest.raises(ValueError, match="NaN"):
        find(run, index, torch.full((1, 9, 9, 3), float("nan")))


# --- the index --------------------------------------------------------------------------------------------------------


def test_the_index_lies_in_the_user_folder(run, home, index, retriever):
    assert index.count == COUNT
    assert home / "user" in index.path.parents
    other = run("SketchRetrieverLoader", retriever="other.safetensors")[0]
    again = run("SketchPhotoIndex", folder="photos", retriever=other)[0]
    assert again.path != index.path, "each retriever has its own"
    assert run("SketchPhotoIndex", folder="photos", retriever=retriever)[0].path == index.path


def test_a_reloaded_network_uses_the_same_index(run, home, index):
    again = run("SketchRetrieverLoader", retriever="small.safetensors")[0]
    before = index.path.stat().st_mtime_ns
    assert run("SketchPhotoIndex", folder="photos", retriever=again)[0].path == index.path
    assert index.path.stat().st_mtime_ns == before


def test_output_folders_and_samples(run, home, retriever):
    (home / "output" / "made").mkdir()
    Image.new("RGB", (30, 20), "red").save(home / "output" / "made" / "a.webp")
    assert run("SketchPhotoIndex", folder="made [output]", retriever=retriever)[1] == 1
    assert run("SketchPhotoIndex", folder=". [output]", retriever=retriever)[1] == 1
    assert run("SketchPhotoIndex", folder="sample photos (built in)", retriever=retriever)[1] >= 60
    assert run("SketchPhotoIndex", folder=".", retriever=retriever)[1] == COUNT


def test_the_editor_offers_the_folders(home, room):
    (home / "output" / "made").mkdir()
    offered = room("nodes.parts.folders").photo_folders()
    assert offered == [
        *("sample photos (built in)", "photos", "photos/trip", ".", "made [output]", ". [output]"),
    ]


@pytest.mark.parametrize("folder", ["..", "../models", "/etc", "photos/../../models", "../user [output]", "x\0y"])
def test_no_folder_outside(run, home, doors, retriever, folder):
    assert doors.SketchPhotoIndex.validate_inputs(folder) is not True
    with pytest.raises(ValueError, match=r"outside ComfyUI's|not text"):
        run("SketchPhotoIndex", folder=folder, retriever=retriever)


def test_a_missing_folder(run, doors, retriever):
    with pytest.raises(ValueError, match="There is no folder 'nowhere' in ComfyUI's output folder"):
        run("SketchPhotoIndex", folder="nowhere [output]", retriever=retriever)


def test_the_host_runs_it_again_when_the_folder_changed(home, doors):
    before = doors.SketchPhotoIndex.fingerprint_inputs("photos")
    assert doors.SketchPhotoIndex.fingerprint_inputs("photos") == before
    Image.new("RGB", (9, 9)).save(home / "input" / "photos" / "trip" / "new.bmp")
    assert doors.SketchPhotoIndex.fingerprint_inputs("photos") != before
    assert doors.SketchPhotoIndex.validate_inputs(None) is True


def test_cancel(run, home, retriever, monkeypatch):
    """The host's own Cancel during the second batch: the first is kept, and the next run goes on from there."""
    import comfy.model_management as host

    seen = []
    network = type(retriever.parts[0])
    embed = network.vectors

    def vectors(self, inputs):
        seen.append(len(inputs))
        host.interrupt_current_processing(len(seen) == 2)
        return embed(self, inputs)

    monkeypatch.setattr(network, "vectors", vectors)
    with pytest.raises(host.InterruptProcessingException):
        run("SketchPhotoIndex", folder="photos", retriever=retriever)
    assert run("SketchPhotoIndex", folder="photos", retriever=retriever)[1] == COUNT
    assert seen == [16, 5, 5]


def test_photos_that_vanished_since_are_skipped(run, home, index):
    best = find(run, index)[2]
    (home / "input" / "photos" / best[0]).unlink()
    assert find(run, index, count=4)[2] == best[1:5]


def test_damaged_photos_are_said(run, home, retriever, room, monkeypatch):
    (home / "input" / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    told = []
    monkeypatch.setattr(room("host"), "say_on_node", lambda _, text: told.append(text))
    assert run("SketchPhotoIndex", folder="photos", retriever=retriever)[1] == COUNT
    assert "Left out:\nbroken.png" in told[-1]


def test_unchanged_folders_are_quick(run, home, index, retriever):
    began = time.process_time()
    run("SketchPhotoIndex", folder="photos", retriever=retriever)
    assert time.process_time() - began < 1


# --- retrievers -------------------------------------------------------------------------------------------------------


def test_clip_vision(run, home):
    vision = retrievers.clip_vision()
    with pytest.raises(ValueError, match="nothing is connected"):
        run("SketchRetrieverLoader", retriever="only the connected clip_vision")
    alone = run("SketchRetrieverLoader", retriever="only the connected clip_vision", clip_vision=vision)[0]
    index = run("SketchPhotoIndex", folder="photos", retriever=alone)[0]
    assert len(set(find(run, index, count=COUNT)[2])) == COUNT
    held = index.open()
    with torch.inference_mode():
        photo = Image.open(index.folder / held.name(2)).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(photo)).float()[None] / 255
        own = vision.encode_image(pixels, crop=False)["image_embeds"].float()
    assert torch.allclose(held.vectors[2], torch.nn.functional.normalize(own, dim=1)[0], atol=1e-4)
    for mode in ("RN", "Ret, then RN on the best 200"):
        with pytest.raises(ValueError, match="no relation network"):
            find(run, index, mode=mode)


@pytest.mark.parametrize("kind", list(retrievers.VISION))
def test_every_vision_model_of_the_host(run, home, kind):
    """Whatever fits its socket: SigLIP has no summary of its own, NaFlex no size, and DINOv3 no inner layers, which the
    host's own call asks for. A photo finds itself."""
    from comfy.clip_vision import IMAGE_ENCODERS

    settings = retrievers.VISION[kind]
    if settings["model_type"] not in IMAGE_ENCODERS:
        pytest.skip("this host has no such model")
    vision = retrievers.clip_vision(**settings)
    alone = run("SketchRetrieverLoader", retriever="only the connected clip_vision", clip_vision=vision)[0]
    assert alone.parts[0].side == 32
    index = run("SketchPhotoIndex", folder="photos", retriever=alone)[0]
    assert len(set(find(run, index, count=COUNT)[2])) == COUNT
    held = index.open()
    with torch.inference_mode():
        own = alone.embed(alone.photos([Image.open(index.folder / held.name(2)).convert("RGB")]))[0]
    assert torch.allclose(held.vectors[2], own[0], atol=1e-4)
    assert (held.vectors @ own[0]).argmax() == 2


def test_both_together(run, home, retriever):
    """z-scores of both, added; the relation network is the file's."""
    both = run("SketchRetrieverLoader", retriever="small.safetensors", clip_vision=retrievers.clip_vision())[0]
    assert len(both.parts) == 2
    index = run("SketchPhotoIndex", folder="photos", retriever=both)[0]
    _, scores, names, *_ = find(run, index, count=COUNT)
    assert sum(scores) == pytest.approx(0, abs=1e-2), "over all photos z-scores sum to 0"
    assert len(set(names)) == COUNT
    related = find(run, index, mode="RN", count=COUNT)
    alone = run("SketchPhotoIndex", folder="photos", retriever=retriever)[0]
    assert related[1] == pytest.approx(find(run, alone, mode="RN", count=COUNT)[1], abs=1e-5)


def test_other_files_are_told(home, doors, run):
    from safetensors.torch import save_file

    save_file({"lora_up.weight": torch.zeros(3, 3)}, home / "models" / "wrong.safetensors")
    with pytest.raises(ValueError, match="is a LoRA, not a sketch retriever"):
        run("SketchRetrieverLoader", retriever="wrong.safetensors")
    assert "was not found in models/sketch_retrievers" in doors.SketchRetrieverLoader.validate_inputs("gone.pth")
    with pytest.raises(ValueError, match="outside models/sketch_retrievers"):
        run("SketchRetrieverLoader", retriever="../x.pth")


def test_heads_can_be_given(home, room, run):
    from safetensors.torch import save_file

    save_file(retrievers.weights(room, 5), home / "models" / "plain.safetensors")
    for heads in (1, 2, 4, 8):
        loaded = run("SketchRetrieverLoader", retriever="plain.safetensors", heads=heads)[0]
        photo = torch.rand(1, 3, retrievers.SIDE, retrievers.SIDE)
        with torch.inference_mode():
            assert loaded.parts[0].network.ret_attention(photo).shape == (1, heads, 16)
    with pytest.raises(ValueError, match="cannot be split into 7 heads"):
        run("SketchRetrieverLoader", retriever="plain.safetensors", heads=7)


# --- ranking connected pictures ---------------------------------------------------------------------------------------


def rank_images(run, retriever, images, sketch=None, mode="Ret"):
    listed = {"images": images, "sketch": [drawing() if sketch is None else sketch], "retriever": [retriever]}
    return run("SketchRankImages", **listed, mode=[mode])


@pytest.mark.parametrize("mode", ["Ret", "RN"])
def test_pictures_are_ranked_as_the_index_does(run, index, mode):
    photos, scores, *_ = find(run, index, mode=mode, count=COUNT)
    mixed = [photos[i] for i in (4, 0, 20, 7, 1)]
    ranked, own, numbers, sheet = rank_images(run, index.retriever, mixed, mode=mode)
    wanted = sorted(range(5), key=lambda i: -scores[(4, 0, 20, 7, 1)[i]])
    assert own == pytest.approx([scores[(4, 0, 20, 7, 1)[i]] for i in wanted], abs=1e-5)
    assert [one.shape for one in ranked] == [mixed[number - 1].shape for number in numbers]
    assert all(torch.equal(one, mixed[number - 1]) for one, number in zip(ranked, numbers, strict=True))
    assert sheet.shape[0] == 1


@pytest.mark.parametrize("batches", [[1], [3], [2, 1, 17]])
def test_lists_and_batches_are_ranked_together(run, retriever, batches):
    torch.manual_seed(0)
    ranked, scores, numbers, _ = rank_images(run, retriever, [torch.rand(count, 20, 30, 3) for count in batches])
    assert sorted(numbers) == list(range(1, sum(batches) + 1))
    assert scores == sorted(scores, reverse=True)
    assert len(ranked) == sum(batches)


def test_one_sketch_only(run, retriever):
    with pytest.raises(ValueError, match="Expected one sketch for all images, got 2"):
        rank_images(run, retriever, [torch.rand(2, 8, 8, 3)], torch.cat([drawing()] * 2))


# --- explanation ------------------------------------------------------------------------------------------------------


def explain(run, retriever, sketch=None, photo=None, **own):
    settings = {"lines": 5, "patches": "where the sketch has ink"}
    sketch = drawing() if sketch is None else sketch
    photo = torch.rand(1, 50, 80, 3) if photo is None else photo
    return run("SketchExplainMatch", sketch=sketch, photo=photo, retriever=retriever, **{**settings, **own})


def test_explanation(run, retriever):
    lines, rebuilt, attention, sketch_masks, photo_masks = explain(run, retriever)
    assert lines.shape[1] == rebuilt.shape[1] == 448
    assert photo_masks.shape == (4, 50, 80), "one mask per head at the photo's size"
    assert sketch_masks.shape == (4, 448, 448)
    for picture in (lines, rebuilt, attention, sketch_masks, photo_masks):
        assert picture.min() >= 0
        assert picture.max() <= 1
    assert photo_masks.amax((1, 2)).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_are_explained_in_pairs(run, retriever, batch):
    photos = torch.rand(batch, 40, 60, 3)
    whole = explain(run, retriever, photo=photos)
    assert [len(one) for one in whole] == [batch, batch, batch, 4 * batch, 4 * batch]
    for i in range(batch):
        for mine, all_of_them in zip(explain(run, retriever, photo=photos[i : i + 1]), whole, strict=True):
            each = len(all_of_them) // batch
            assert torch.allclose(mine, all_of_them[i * each : (i + 1) * each], atol=1e-5)
    if batch > 1:
        with pytest.raises(ValueError, match="Give one"):
            explain(run, retriever, sketch=torch.cat([drawing()] * 5), photo=photos)


def test_one_head_or_the_mean(run, retriever):
    every = explain(run, retriever, photo=torch.full((1, 30, 30, 3), 0.3))[4]
    third = explain(run, retriever, photo=torch.full((1, 30, 30, 3), 0.3), head=3)[4]
    assert torch.equal(third, every[2:3])
    assert explain(run, retriever, head=-1)[4].shape == (1, 50, 80)
    with pytest.raises(ValueError, match="has 4 heads, got head 5"):
        explain(run, retriever, head=5)


def test_a_vision_model_explains_nothing(run, home):
    alone = run(
        "SketchRetrieverLoader", retriever="only the connected clip_vision", clip_vision=retrievers.clip_vision()
    )[0]
    with pytest.raises(ValueError, match="no retrieval token"):
        explain(run, alone)
