"""The index of a folder: whole on disk, and up to date at the price of what changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import PACK, TESTS
from helpers.colours import Colours


def picture(path, colour, size=(12, 8), **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, tuple(colour)).save(path, **settings)


def contents(index, retriever, state):
    return index.read(state / index.FILE, retriever.key())


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def test_all_photos_below_the_folder(index, retriever, photos, state):
    done = index.update(state, photos, retriever)
    assert (done.count, done.read, done.dropped, done.left_out, done.outside) == (40, 40, 0, [], [])
    held = contents(index, retriever, state)
    wanted = {str(path.relative_to(photos)).replace(os.sep, "/") for path in photos.rglob("*.png")}
    assert {photo.name for photo in held.photos} == wanted
    assert torch.allclose(held.vectors.norm(dim=1), torch.ones(40), atol=1e-6)
    for photo, vector in zip(held.photos, held.vectors, strict=True):
        seen = retriever.photos([Image.open(photos / photo.name)])
        assert torch.allclose(vector, retriever.parts[0].vectors(seen[0])[0], atol=1e-6), photo.name


def test_a_second_run_reads_only_what_changed(index, retriever, colours, photos, state):
    index.update(state, photos, retriever)
    written = (state / index.FILE).stat().st_mtime_ns
    colours.seen = 0
    again = index.update(state, photos, retriever)
    assert (again.count, again.read, colours.seen) == (40, 0, 0)
    assert (state / index.FILE).stat().st_mtime_ns == written, "nothing changed, so nothing is written"

    picture(photos / "new.png", (9, 9, 9))
    picture(photos / "01.png", (1, 2, 250), size=(50, 50))
    (photos / "02.png").unlink()
    done = index.update(state, photos, retriever)
    assert (done.count, done.read, done.dropped, colours.seen) == (40, 2, 1, 2)
    held = contents(index, retriever, state)
    names = [photo.name for photo in held.photos]
    assert "02.png" not in names
    assert len(set(names)) == 40
    changed = held.vectors[names.index("01.png")]
    assert changed[2] > 0.5, "the vector is that of the new content"


def test_another_network_makes_it_anew(index, room, retriever, photos, state):
    index.update(state, photos, retriever)
    other = room("pipelines.retrieval.retriever").Retriever((Colours("2"),))
    assert index.update(state, photos, other).read == 40
    assert contents(index, retriever, state) is None


def test_damaged_photos_are_named_and_left_out(index, retriever, colours, photos, state):
    whole = (photos / "04.png").read_bytes()
    (photos / "04.png").write_bytes(whole[: len(whole) // 2])
    (photos / "05.png").write_bytes(b"")
    (photos / "06.jpg").write_text("no picture at all")
    done = index.update(state, photos, retriever)
    assert done.count == 38
    assert [reason.split(":")[0] for reason in done.left_out] == ["04.png", "05.png", "06.jpg"]
    colours.seen = 0
    again = index.update(state, photos, retriever)
    assert (again.left_out, colours.seen) == (done.left_out, 0)
    (photos / "04.png").write_bytes(whole)
    done = index.update(state, photos, retriever)
    assert (done.count, done.read) == (39, 1)
    assert [reason.split(":")[0] for reason in done.left_out] == ["05.png", "06.jpg"]


def test_only_damaged_photos(index, retriever, tmp_path, state):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"None of the photos .* can be read"):
        index.update(state, tmp_path / "bad", retriever)


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_no_photos(index, retriever, tmp_path, state, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("words")
    with pytest.raises(ValueError, match=r"hold no photos|There is no folder"):
        index.update(state, tmp_path / folder, retriever)


class Cancel(BaseException):
    """Not an Exception, as little as the host's own."""


def test_cancel_keeps_what_is_done(index, retriever, colours, photos, state):
    def stop(progress):
        if progress.done >= 16:
            raise Cancel

    with pytest.raises(Cancel):
        index.update(state, photos, retriever, watch=stop)
    assert len(contents(index, retriever, state).photos) == 16
    colours.seen = 0
    done = index.update(state, photos, retriever)
    assert (done.count, done.read, colours.seen) == (40, 24, 24)


def test_progress(index, retriever, photos, state):
    told = []
    index.update(state, photos, retriever, watch=told.append)
    assert [(p.done, p.total) for p in told] == [(16, 40), (32, 40), (40, 40)]
    assert told[-1].rate > 0


def test_saves_take_a_small_share_of_the_time(index, retriever, photos, state, monkeypatch):
    """One at the end, and one for every `save_every` seconds before it."""
    saves = []
    monkeypatch.setattr(index, "write", lambda path, key, held: saves.append(len(held.photos)))
    ticking = iter(range(10_000))
    index.update(state, photos, retriever, save_every=1e9, clock=lambda: next(ticking))
    assert saves == [40]
    saves.clear()
    index.update(state, photos, retriever, save_every=0.0, clock=lambda: 0.5 * next(ticking))
    assert saves[-1] == 40
    assert len(saves) <= 2, "a save that takes half a second is followed by ten seconds of work"


def test_a_folder_that_changes_while_it_is_read(index, retriever, photos, state):
    """Files vanish and change between the listing and the reading."""

    def disturb(progress):
        if progress.done == 16:
            shutil.rmtree(photos / "trip")
            for path in sorted(photos.glob("*.png"))[-3:]:
                picture(path, (200, 10, 10), size=(40, 40))

    done = index.update(state, photos, retriever, watch=disturb)
    assert done.left_out == []
    last = index.update(state, photos, retriever)
    left = sorted(str(path.name) for path in photos.rglob("*.png"))
    assert sorted(photo.name for photo in contents(index, retriever, state).photos) == left
    assert last.count == len(left)
    held = contents(index, retriever, state)
    reddest = {photo.name for photo, vector in zip(held.photos, held.vectors, strict=True) if vector.argmax() == 0}
    assert reddest >= set(left[-3:]), "the changed ones are those of their new content"


def test_a_damaged_index_is_made_anew(index, retriever, photos, state):
    index.update(state, photos, retriever)
    path = state / index.FILE
    for spoiled in (b"", path.read_bytes()[:200], os.urandom(500)):
        path.write_bytes(spoiled)
        assert contents(index, retriever, state) is None
        assert index.update(state, photos, retriever).read == 40
        assert len(contents(index, retriever, state).photos) == 40


@pytest.mark.skipif(os.name == "nt", reason="links need a permission on Windows")
def test_links_that_lead_out_are_not_followed(index, retriever, photos, tmp_path, state):
    picture(tmp_path / "private" / "secret.png", (1, 1, 1))
    (photos / "away").symlink_to(tmp_path / "private")
    (photos / "secret.png").symlink_to(tmp_path / "private" / "secret.png")
    (photos / "round").symlink_to(photos)
    (photos / "broken.png").symlink_to(tmp_path / "nowhere.png")
    done = index.update(state, photos, retriever)
    assert done.count == 40
    assert {"away", "secret.png"} <= set(done.outside)
    names = [photo.name for photo in contents(index, retriever, state).photos]
    assert not any("secret" in name for name in names)


def test_no_path_out_of_the_folder(index, retriever, photos, state):
    held = index.PhotoIndex(state / index.FILE, photos, retriever, 40)
    for name in ("../private.png", "trip/../../x.png", "/etc/passwd"):
        with pytest.raises(ValueError, match="outside the folder"):
            held.photo(name)
    assert held.photo("trip/00.png") == photos / "trip" / "00.png"


@pytest.mark.skipif(os.name == "nt", reason="links need a permission on Windows")
def test_a_link_that_takes_a_photos_place(index, retriever, photos, tmp_path, state):
    """It may lead out of the folder after that was looked through."""
    index.update(state, photos, retriever)
    held = index.PhotoIndex(state / index.FILE, photos, retriever, 40)
    picture(tmp_path / "private" / "secret.png", (1, 1, 1))
    (photos / "trip" / "00.png").unlink()
    (photos / "trip" / "00.png").symlink_to(tmp_path / "private" / "secret.png")
    with pytest.raises(ValueError, match="outside the folder"):
        held.photo("trip/00.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_photo(index, retriever, photos, state):
    """Reading one would wait for ever, and Cancel with it."""
    os.mkfifo(photos / "pipe.png")
    assert index.update(state, photos, retriever).count == 40


@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_names_of_broken_bytes(index, retriever, photos, state):
    name = os.fsdecode(b"caf\xe9 \xff.png")
    try:
        picture(photos / name, (3, 3, 3))
    except OSError:
        pytest.skip("this file system takes no such name")
    (photos / os.fsdecode(b"bad\xe9.png")).write_bytes(b"x")
    done = index.update(state, photos, retriever)
    assert done.count == 41
    done.left_out[0].encode()
    assert name in [photo.name for photo in contents(index, retriever, state).photos]
    assert index.update(state, photos, retriever).read == 0


def test_formats_and_directions(index, room, photos, state):
    """Upright by EXIF, transparent ones on white, grey and 16-bit ones, with endings in capitals."""

    class Halves(Colours):
        """Brightness of the upper and of the lower half."""

        def vectors(self, inputs):
            halves = inputs.mean(1).unflatten(1, (2, -1)).mean((2, 3))
            return torch.nn.functional.normalize(halves + 1.01, dim=1)

    for path in photos.rglob("*.png"):
        path.unlink()
    top = np.zeros((20, 20), np.uint8)
    top[:10] = 255
    upright = Image.fromarray(top).convert("RGB")
    upright.save(photos / "plain.JPG", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright.rotate(90, expand=True).save(photos / "turned.jpg", exif=exif, quality=95)
    upright.convert("L").save(photos / "grey.tif")
    Image.fromarray(top.astype(np.uint16) * 257).save(photos / "deep.png")
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 10, 20, 20))
    clear.save(photos / "clear.webp", lossless=True)
    retriever = room("pipelines.retrieval.retriever").Retriever((Halves(),))
    assert index.update(state, photos, retriever).count == 5
    for photo, vector in zip(
        *[getattr(contents(index, retriever, state), k) for k in ("photos", "vectors")], strict=True
    ):
        assert vector[0] > 0.99, photo.name


KILLED = """
import os, sys, time
sys.path[:0] = [{dev!r}, {here!r}]
from pathlib import Path
from helpers.colours import Colours
from runtime.rooms import room

class Colours(Colours):  # of the same name, which counts for the index
    def vectors(self, inputs):
        time.sleep(0.1)
        return super().vectors(inputs)

retriever = room("pipelines.retrieval.retriever").Retriever((Colours(),))
index = room("pipelines.retrieval.index")
index.update(Path({state!r}), Path({photos!r}), retriever, save_every=0.0, watch=lambda p: print(p.done, flush=True))
"""


def test_a_killed_build_loses_at_most_one_save(index, retriever, colours, photos, state, tmp_path):
    script = tmp_path / "build.py"
    script.write_text(KILLED.format(dev=str(PACK / "dev"), here=str(TESTS), state=str(state), photos=str(photos)))
    build = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert build.stdout is not None
    while int(build.stdout.readline() or 99) < 32:
        pass
    build.kill()
    build.wait()
    held = contents(index, retriever, state)
    assert len(held.photos) >= 16
    (state / "index.safetensors.999.part").write_bytes(b"half a save")
    done = index.update(state, photos, retriever)
    assert (done.count, colours.seen) == (40, 40 - len(held.photos))
    assert not list(state.glob("*.part"))


def test_two_at_once(index, retriever, photos, state, room):
    with room("files").locked(state), pytest.raises(ValueError, match="Another process is indexing"):
        index.update(state, photos, retriever)


def test_a_full_disk_leaves_the_old_index(index, room, retriever, photos, state, monkeypatch):
    index.update(state, photos, retriever)
    before = (state / index.FILE).read_bytes()
    picture(photos / "new.png", (5, 5, 5))
    files = room("files")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(files.NotWritten, match="No space left"):
        index.update(state, photos, retriever)
    assert (state / index.FILE).read_bytes() == before


def test_ten_thousand_unchanged_photos_take_less_than_two_seconds(index, retriever, colours, tmp_path, state):
    folder = tmp_path / "many"
    for part in range(20):
        (folder / f"{part:02}").mkdir(parents=True)
        for i in range(500):
            (folder / f"{part:02}" / f"{i}.jpg").write_bytes(b"%d" % i)
    listed = index.list_photos(folder).photos
    vectors = torch.nn.functional.normalize(torch.randn(len(listed), 64), dim=1)
    state.mkdir()
    index.write(state / index.FILE, retriever.key(), index.Contents(listed, vectors, {}))
    began = time.process_time()
    done = index.update(state, folder, retriever)
    assert (done.count, done.read, colours.seen) == (10_000, 0, 0)
    assert time.process_time() - began < 2


def test_a_file_of_tensors(room, tmp_path):
    """files.write_tensors writes what safetensors itself reads, empty tensors and odd lengths too."""
    from safetensors.torch import load_file

    tensors = {
        "a": torch.arange(6).reshape(3, 2),
        "b": torch.randn(3, 5),
        "c": torch.tensor([1, 2, 3], dtype=torch.uint8),
    }
    tensors |= {"none": torch.empty(0, 4), "last": torch.empty(0, dtype=torch.uint8)}
    room("files").write_tensors(tmp_path / "x.safetensors", tensors, {"note": "é"})
    held = load_file(tmp_path / "x.safetensors")
    assert held.keys() == tensors.keys()
    assert all(torch.equal(held[key], value) for key, value in tensors.items())
