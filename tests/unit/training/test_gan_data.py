"""What the sketch GAN trains on: pictures and batches as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import sketchgan_golden as known


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The recorded source files as folders, and what the official dataset classes made of them."""
    tensors, scalars = known.recorded("datasets")
    root = tmp_path_factory.mktemp("datasets")
    for i in range(2):
        for folder, key in (("rgb", "rgb"), ("1", "k1_"), ("2", "k2_"), ("3", "k3_")):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(tensors[f"src.{key}{i}"].numpy()).save(root / folder / f"im{i}.png")
    return root, tensors, scalars


@pytest.fixture
def store(data, recorded):
    root = recorded[0]
    pictures = data.paired(root / "rgb", [root / "1", root / "2", root / "3"])
    assert (pictures.count, pictures.sets, pictures.left_out) == (2, 3, [])
    return data.Store(pictures, 40)


@pytest.mark.parametrize(
    ("name", "item", "corner"), [("paired0", 0, (0, 0)), ("paired1", 1, (3, 4)), ("paired2", 0, (4, 4))]
)
def test_pairs_as_published(augment, store, recorded, name, item, corner):
    _, tensors, scalars = recorded
    assert [tuple(draw[2] for draw in scalars[f"{name}.randint"])] == [corner]
    for which in range(3):
        photo, sketch = augment.pair(store, which, item, augment.Corner(*corner))
        assert (photo - tensors[f"{name}.rgb"]).abs().max() < 1e-6
        assert (sketch - tensors[f"{name}.k{which + 1}"]).abs().max() < 1e-6


def test_whole_pictures_as_published(data, store, recorded):
    _, tensors, _ = recorded
    for name, picture in (("rgb", store.pictures.photo(0)), ("k2", store.pictures.sketch(1, 0))):
        found = data.tensor(data.squashed(picture, 40))
        assert (found - tensors[f"paired_nocrop.{name}"]).abs().max() < 1e-6


@pytest.mark.parametrize(("name", "mirrored", "corner"), [("ss0", False, (2, 1)), ("ss1", True, (0, 4))])
def test_self_supervised_items_as_published(augment, data, store, recorded, name, mirrored, corner):
    """All but what torchvision drew at random by itself. Mirrored pictures are mirrored behind the resize, not before
    it, which may round one level of 255 the other way."""
    _, tensors, _ = recorded
    turn = augment.Turn(augment.Corner(6, 6), 0.0, False)
    made = augment.self_supervised(store, 1, mirrored, augment.Corner(*corner), turn, np.random.default_rng(0))
    turned, photo, sketch, bold, *erased = made
    level = 2 / 255 * mirrored + 1e-6
    assert (photo - tensors[f"{name}.rgb_org"]).abs().max() < level
    assert (sketch - tensors[f"{name}.skt"]).abs().max() < level
    assert (bold - tensors[f"{name}.skt_bold"]).abs().max() < level
    source = Image.fromarray(tensors[f"{name}.input_to_rd"].numpy())
    whole = data.tensor(data.squashed(source, 52))[:, 6:46, 6:46]
    assert (turned - whole).abs().max() < level
    for gone, kept in zip(erased, (sketch, bold), strict=True):
        assert ((gone == kept) | (gone == 1)).all()


def test_erasing_statistics(augment, recorded):
    stats = recorded[2]["erase_stats_2000"]
    rng = np.random.default_rng(1)
    gone = np.array([(augment.erased(np.zeros((40, 40), np.uint8), rng) == 255).mean() for _ in range(2000)])
    assert (gone > 0).mean() == pytest.approx(stats["touched"], abs=0.015)
    assert gone.mean() == pytest.approx(stats["mean_area"], abs=0.004)
    assert gone.max() < 0.21


def test_turned_pictures(augment):
    """Turned about the middle by up to 30 degrees, black corners, nothing in between two pixels."""
    picture = np.full((52, 52, 3), 200, np.uint8)
    found = augment.turned(picture, augment.Turn(augment.Corner(3, 5), 25.0, True), 40)
    assert found.shape == (40, 40, 3)
    assert set(np.unique(found)) == {0, 200}
    assert found[20, 20, 0] == 200
    rng = np.random.default_rng(0)
    turns = [augment.draw_turn(rng, 40) for _ in range(500)]
    angles = [turn.angle for turn in turns]
    assert -30 <= min(angles) < -28
    assert 28 < max(angles) <= 30
    corners = {turn.corner.top for turn in turns}
    assert (min(corners), max(corners)) == (0, 12)
    assert {augment.draw_corner(rng, 40).left for _ in range(200)} == set(range(5)), "both ends, as published"


def test_orders_are_permutations_again_and_again(batches):
    order = batches.Shuffled(5, 3)
    rounds = [[order(place) for place in range(5 * i, 5 * i + 5)] for i in range(4)]
    assert all(sorted(one) == list(range(5)) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert [batches.Shuffled(5, 3)(place) for place in (7, 2, 19)] == [rounds[1][2], rounds[0][2], rounds[3][4]]
    assert [batches.Shuffled(5, 4)(place) for place in range(5)] != rounds[0]


def test_sets_of_pictures_take_turns(gan_batches, data):
    """Each set is seen about 100 times; all sets of one shuffling are disjoint; the index says which of the set."""
    assert [gan_batches.set_number(step, 500, 32) for step in (0, 1561, 1562, 3124)] == [0, 0, 1, 2], "published: 1562"
    photos = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 20, 20, 3), np.uint8) * 30
    store = data.Store(data.Arrays(photos, [photos[..., 0]]), 8)
    made = gan_batches.SelfBatches(store, 3, 3, 1, seed=0)
    per_set = 100
    seen = []
    for number in range(3):
        batch = made(number * per_set)
        which = ((batch.original[:, 0, 0, 0] + 1) * 127.5 / 30).round().long().tolist()
        assert sorted(batch.index.tolist()) == [0, 1, 2]
        seen.append(dict(zip(batch.index.tolist(), which, strict=True)))
        later = made(number * per_set + 50)
        again = ((later.original[:, 0, 0, 0] + 1) * 127.5 / 30).round().long().tolist()
        assert dict(zip(later.index.tolist(), again, strict=True)) == seen[-1], "the same label, the same picture"
    assert len({*seen[0].values(), *seen[1].values()}) == 6, "two sets of three of seven pictures"


def test_a_set_of_more_pictures_than_there_are(gan_batches, data):
    """Some were removed since the classifier was made: every picture still has one label."""
    photos = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 20, 20, 3), np.uint8) * 30
    made = gan_batches.SelfBatches(data.Store(data.Arrays(photos, [photos[..., 0]]), 8), 6, 2, 1, seed=0)
    labels: dict[int, set[int]] = {}
    for step in range(12):
        batch = made(step)
        which = ((batch.original[:, 0, 0, 0] + 1) * 127.5 / 30).round().long().tolist()
        for index, picture in zip(batch.index.tolist(), which, strict=True):
            labels.setdefault(picture, set()).add(index)
    assert sorted(labels) == [0, 1, 2, 3]
    assert all(len(found) == 1 for found in labels.values())


def test_batches_that_cannot_be_read(batches):
    def make(step):
        if step == 2:
            raise ValueError("a.png is damaged.")
        return step

    with batches.Prefetch(make) as ahead:
        assert [ahead(0), ahead(1)] == [0, 1]
        for _ in range(2):
            with pytest.raises(batches.NoBatch, match=r"a\.png is damaged\. Replace or remove that file"):
                ahead(2)
        assert ahead(3) == 3


def test_pieces_see_what_one_batch_sees(gan_batches, data, nest):
    store = data.Store(nest.pictures(), 128)
    for one, two in (
        (gan_batches.SelfBatches(store, 4, 4, 1, 0), gan_batches.SelfBatches(store, 4, 2, 2, 0)),
        (gan_batches.PairBatches(store, 4, 1, 0), gan_batches.PairBatches(store, 2, 2, 0)),
    ):
        more = (1,) if isinstance(one, gan_batches.PairBatches) else ()
        whole, halves = one(3, *more), [two(3, *more, piece) for piece in range(2)]
        joined = [torch.cat(parts) for parts in zip(*(h[:2] for h in halves), strict=True)]
        assert all(torch.equal(a, b) for a, b in zip(whole[:2], joined, strict=True))


def test_pictures_are_kept_while_there_is_room(data, nest):
    pictures = nest.pictures()
    store = data.Store(pictures, 128, keep=3 * 140 * 140 + 10)
    first, second = store.photo(0), store.photo(1)
    assert store.photo(0) is first
    assert store.photo(1) is not second
    assert np.array_equal(store.photo(1), second)


def test_names_pair_whatever_their_ending(data, tmp_path):
    """The release looked for the very same file name, which its own sketches did not have (section 14, 7 and 8)."""
    for folder, names in (("p", ("a.jpg", "b.png", "c.png", "d.png")), ("s", ("a.png", "b.jpg", "d.png"))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (30, 20), "white").save(tmp_path / folder / name)
    (tmp_path / "p" / "d.png").write_bytes(b"\x89PNG no more")
    found = data.paired(tmp_path / "p", [tmp_path / "s"])
    assert [path.name for path in found.photos] == ["a.jpg", "b.png"]
    assert len(found.left_out) == 2
    assert "c.png: no sketch of this name in s" in found.left_out
    assert found.photo(0).mode == "RGB"
    assert found.sketch(0, 0).mode == "L"
    assert found.sketch(0, 0).size == (30, 20)
    Image.new("L", (9, 9)).save(tmp_path / "p" / "a.png")
    with pytest.raises(ValueError, match=r"a\.jpg and a\.png|a\.png and a\.jpg"):
        data.paired(tmp_path / "p", [tmp_path / "s"])
    (tmp_path / "e").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        data.paired(tmp_path / "e", [tmp_path / "s"])
    with pytest.raises(ValueError, match="There is no folder"):
        data.alone(tmp_path / "nowhere")
    assert data.set_folders(tmp_path / "s") == [tmp_path / "s"]
    assert data.set_folders(tmp_path) == [tmp_path / name for name in "eps"]


def test_cut_off_pictures_are_left_out(data, tmp_path):
    """Photos and sketches, in whichever format; whole ones pass, with something behind their end, too."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for folder in ("p", "1 s", "10 s", "2 s"):
        (tmp_path / folder).mkdir()
    for name in ("a.jpg", "b.png", "c.webp", "d.bmp", "e.jpg", "f.png", "g.png", "h.png"):
        noise.save(tmp_path / "p" / name)
        for sketches in ("1 s", "10 s", "2 s"):
            noise.convert("L").save(tmp_path / sketches / f"{name[0]}.png")
    for name in ("a.jpg", "b.png", "c.webp", "d.bmp"):
        path = tmp_path / "p" / name
        path.write_bytes(path.read_bytes()[:-500])
    with (tmp_path / "p" / "e.jpg").open("ab") as file:
        file.write(b"and a note")
    (tmp_path / "1 s" / "f.png").write_bytes(b"")
    cut = (tmp_path / "10 s" / "g.png").read_bytes()[:-500]
    (tmp_path / "10 s" / "g.png").write_bytes(cut + bytes(500))
    found = data.paired(tmp_path / "p", [tmp_path / name for name in ("1 s", "10 s", "2 s")])
    assert [path.name for path in found.photos] == ["e.jpg", "h.png"]
    assert sorted(reason[0] for reason in found.left_out) == list("abcdfg")
    assert any(reason.startswith("g.png: its sketch in 10 s: g.png is damaged") for reason in found.left_out)
    assert [path.name for path in data.alone(tmp_path / "p").photos] == ["e.jpg", "f.png", "g.png", "h.png"]


def test_sets_by_their_numbers(data, tmp_path):
    """The tenth is the cleanest, not the second; without a number by name, behind those."""
    for name in ("10 m", "2 m", "clean", "1 m"):
        (tmp_path / name).mkdir()
    assert [path.name for path in data.set_folders(tmp_path)] == ["1 m", "2 m", "10 m", "clean"]


def test_transparent_and_grey_pictures(data, tmp_path):
    ink = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    ink.putpixel((2, 2), (0, 0, 0, 255))
    ink.save(tmp_path / "ink.png")
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    found = np.asarray(data.read(tmp_path / "ink.png", "L"))
    assert (found[0, 0], found[2, 2]) == (255, 0), "transparent is paper"
    assert abs(int(np.asarray(data.read(tmp_path / "deep.png", "RGB"))[0, 0, 0]) - 156) < 2
