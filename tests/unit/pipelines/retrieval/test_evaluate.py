"""Data sets' folders, and the published and the plain scores on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn.functional import pairwise_distance

RED, GREEN, BLUE = (220, 20, 20), (20, 200, 20), (20, 20, 220)
KINDS = {"apple": RED, "hot air balloon": GREEN, "whale": BLUE}


@pytest.fixture
def room_of(room):
    return room("pipelines.retrieval.evaluate")


@pytest.fixture
def classes(tmp_path):
    """Three classes of four sketches and five photos; colours vary around the class's own."""
    rng = np.random.default_rng(0)
    for kind, colour in KINDS.items():
        for what, count in (("sketches", 4), ("photos", 5)):
            folder = tmp_path / what / kind
            folder.mkdir(parents=True)
            for i in range(count):
                near = tuple(int(v) for v in np.clip(np.array(colour) + rng.integers(-90, 90, 3), 0, 255))
                Image.new("RGB", (16, 16), near).save(folder / f"{kind}-{i}.png")
    return tmp_path


def test_folders_of_classes(room_of, classes):
    gallery = room_of.of_classes(classes / "sketches", classes / "photos")
    assert (len(gallery.sketches), len(gallery.photos)) == (12, 15)
    assert {item.kind for item in gallery.photos} == set(KINDS)
    some = room_of.of_classes(classes / "sketches", classes / "photos", ["whale"])
    assert (len(some.sketches), len(some.photos)) == (4, 5)
    with pytest.raises(ValueError, match="no pictures in sub-folders of the tested classes"):
        room_of.of_classes(classes / "sketches", classes / "photos", ["zebra"])
    with pytest.raises(ValueError, match="There is no folder"):
        room_of.of_classes(classes / "nowhere", classes / "photos")


@pytest.mark.parametrize(
    ("data", "split", "folder", "sketches", "photos"),
    [
        ("sketchy", "", "zeroshot1", "sketch_tx_000000000000_ready_filelist_zero.txt", "all_photo_filelist_zero.txt"),
        ("sketchy", "21", "zeroshot0", "sketch_tx_000000000000_ready_filelist_zero.txt", "all_photo_filelist_zero.txt"),
        ("tu-berlin", "", "zeroshot", "png_ready_filelist_zero.txt", "ImageResized_ready_filelist_zero.txt"),
        ("quickdraw", "30", "zeroshot", "sketch_filelist_zero.txt", "all_photo_filelist_zero.txt"),
    ],
)
def test_file_lists(room_of, tmp_path, data, split, folder, sketches, photos):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / sketches).write_text("sketch/hot air balloon/a b.png 3\nsketch/whale/c.png 7\n\n")
    (tmp_path / folder / photos).write_text("photo/whale/d.jpg 7\n")
    gallery = room_of.listed(tmp_path, data, split)
    assert gallery.sketches == [
        (tmp_path / "sketch/hot air balloon/a b.png", "3"),
        (tmp_path / "sketch/whale/c.png", "7"),
    ]
    assert gallery.photos == [(tmp_path / "photo/whale/d.jpg", "7")]


def test_missing_lists_are_said(room_of, tmp_path):
    with pytest.raises(ValueError, match=r"no list of sketches in .*zeroshot1"):
        room_of.listed(tmp_path, "sketchy")
    with pytest.raises(ValueError, match="has the splits 25, 21"):
        room_of.listed(tmp_path, "sketchy", "30")


def test_the_published_quick_tests(room_of):
    """The sizes that the paper's code gives for its quick and its full tests."""
    full = {"sketchy": (15229, 17101), "tu-berlin": (2400, 27989), "quickdraw": (92291, 54151)}
    quick = {"sketchy": (762, 1711), "tu-berlin": (800, 1400), "quickdraw": (770, 1806)}
    for data, (sketches, photos) in full.items():
        gallery = room_of.Gallery([None] * sketches, [None] * photos)
        assert tuple(map(len, room_of.thinned(gallery, room_of.THINNED[data]))) == quick[data]


def test_scores(room_of, room, classes, retriever, colours, monkeypatch):
    """Against distances and metrics computed here, picture by picture."""
    monkeypatch.setattr(room_of, "AT_ONCE", 5)
    monkeypatch.setattr(colours, "sketch", lambda picture, invert=False: colours.photo(Image.fromarray(picture)))
    gallery = room_of.of_classes(classes / "sketches", classes / "photos")
    told = []
    done = room_of.evaluate(gallery, retriever, tell=lambda *now: told.append(now))

    def look(items):
        seen = torch.stack([colours.photo(Image.open(item.path)) for item in items])
        return colours.vectors(seen)

    mine, theirs = look(gallery.sketches), look(gallery.photos)
    apart = torch.stack([pairwise_distance(one[None], theirs) for one in mine])
    same = torch.tensor([[s.kind == p.kind for p in gallery.photos] for s in gallery.sketches])
    expected = room("pictures.ranking").scores(apart, same)
    assert done.ret == pytest.approx(expected)
    assert 0.4 < done.ret.map_all < 1
    assert done.ret.map_all >= done.ret.plain_map_all - 1e-5
    assert done.rn is None
    assert told[-1] == ("photos", 15, 15)


def test_damaged_files_are_left_out(room_of, classes, retriever, colours, monkeypatch):
    monkeypatch.setattr(colours, "sketch", lambda picture, invert=False: colours.photo(Image.fromarray(picture)))
    (classes / "photos" / "apple" / "apple-0.png").write_bytes(b"nothing")
    done = room_of.evaluate(room_of.of_classes(classes / "sketches", classes / "photos"), retriever)
    assert [line.split(":")[0] for line in done.left_out] == ["apple-0.png"]


def test_the_relation_network_on_every_pair(room_of, room, tmp_path):
    """A real network, small and random: each score is what it gives for the pair alone."""
    from types import SimpleNamespace

    from helpers import retrievers

    network = room("networks").build(retrievers.weights(room), num_heads=4)
    pipeline = room("pipelines.retrieval.retriever")
    own = pipeline.SketchNetwork("small", SimpleNamespace(model=network, load_device=torch.device("cpu")))
    rng = np.random.default_rng(0)
    for kind in ("a", "b"):
        for what in ("sketches", "photos"):
            (tmp_path / what / kind).mkdir(parents=True)
            for i in range(3):
                sheet = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
                if what == "sketches":
                    sheet = Image.new("RGB", (40, 40), "white")
                    ImageDraw.Draw(sheet).line([tuple(rng.integers(0, 40, 2).tolist()) for _ in range(3)], "black", 2)
                sheet.save(tmp_path / what / kind / f"{i}.png")
    gallery = room_of.of_classes(tmp_path / "sketches", tmp_path / "photos")
    found = []
    monkey = pytest.MonkeyPatch()
    real = room_of.scores
    monkey.setattr(room_of, "scores", lambda apart, same: found.append(apart) or real(apart, same))
    with torch.inference_mode():
        done = room_of.evaluate(gallery, pipeline.Retriever((own,)), relation=True)
        sketch = own.sketch(np.asarray(Image.open(gallery.sketches[4].path)))
        photo = own.photo(Image.open(gallery.photos[1].path))
        alone = network.relation(network.tokens(sketch[None]), network.tokens(photo[None]))
    monkey.undo()
    assert -found[0][4, 1] == pytest.approx(float(alone), abs=2e-3)  # tokens of sketches are kept in half precision
    assert done.rn is not None
    assert 0 <= done.rn.map_all <= 1
