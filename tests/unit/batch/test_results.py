"""batch/results.py: whole or not there, taken up where it stopped, one command at a time."""

from __future__ import annotations

import csv
import json

import pytest


@pytest.fixture
def results(room, tmp_path):
    return room("batch.results").Results(tmp_path / "out")


@pytest.fixture
def some(graph, items):
    """Three items without inputs."""
    return items.Items([items.Axis(["a", "cats/b", "c [x]"], [(), (), ()])])


def test_what_is_there_is_done(results):
    with results.opened({}):
        results.save("a", [(".png", b"1")])
        results.save("cats/b", [(".png", b"1"), (".txt", b"2")])
    assert results.done() == {"a", "cats/b"}
    assert (results.folder / "cats/b.2.txt").read_bytes() == b"2"


def test_further_files_come_before_the_one_that_counts(results, monkeypatch, room):
    """Killed in between, an item is not done."""
    written, whole = [], room("files").replace

    def replace(path, content):
        written.append(path.name)
        if path.name == "a.png":
            raise KeyboardInterrupt
        whole(path, content)

    monkeypatch.setattr(room("files"), "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        results.save("a", [(".png", b"1"), (".png", b"2"), (".png", b"3")])
    assert written == ["a.3.png", "a.2.png", "a.png"]
    assert results.done() == set()


def test_what_a_killed_command_left_is_cleared_away(results):
    (results.folder / "cats").mkdir(parents=True)
    half = results.folder / "cats/b.png.4711.part"
    half.write_bytes(b"half")
    mine = results.folder / "cats/mine.part"
    mine.write_bytes(b"a person's")
    assert results.done() == {"cats/mine"}
    with results.opened({}):
        assert not half.exists()
    assert mine.exists()


def test_a_run_is_taken_up_under_its_id(results, room):
    with results.opened({"graph": {"1": (1, 2)}}):
        first = results.run
    again = room("batch.results").Results(results.folder)
    with again.opened({"graph": {"1": [1, 2]}}):
        assert again.run == first
    with pytest.raises(ValueError, match=r"another graph or of other settings \(_batch/job\.json\)"), again.opened({}):
        pass


def test_one_command_at_a_time(results, room):
    second = room("batch.results").Results(results.folder)
    with results.opened({}), pytest.raises(ValueError, match="Another command writes to"), second.opened({}):
        pass
    with second.opened({}):
        pass


def test_the_books(results, some, items, graph):
    seeded = items.Items(some.axes, seeds=[items.Seed(graph.find("Paint.seed"), 3)])
    with results.opened({}):
        results.list_items(seeded)
        results.forget_failures()
        results.failed(seeded[1], 3, "a:8188", 'says "no", twice\nand again')
    listed = list(csv.reader((results.books / "items.csv").open(newline="")))
    assert listed[0] == ["name", "Paint.seed"]
    assert [row[0] for row in listed[1:]] == ["a", "cats/b", "c [x]"]
    assert int(listed[2][1]) == seeded[1].values[0][1]
    (told,) = csv.DictReader((results.books / "failed.csv").open(newline=""))
    assert (told["name"], told["tries"], told["why"]) == ("cats/b", "3", 'says "no", twice\nand again')
    assert json.loads(told["inputs"]) == {"Paint.seed": listed[2][1]}
    results.forget_failures()
    assert list(csv.DictReader((results.books / "failed.csv").open(newline=""))) == []


def test_a_contact_sheet_with_a_gap_where_nothing_came(results, some):
    from PIL import Image

    assert results.sheet(some) is None
    (results.folder / "cats").mkdir(parents=True)
    for name, colour in (("a", "#ff0000"), ("c [x]", "#0000ff")):
        picture = results.folder / f"{name}.png"
        Image.new("RGB", (40, 20), colour).save(picture)
    (results.folder / "cats/b.txt").write_text("no picture")
    with Image.open(results.sheet(some)) as sheet:
        assert sheet.width == 3 * 166 + 6
        colours = [sheet.getpixel((6 + 80 + place * 166, 6 + 40)) for place in range(3)]
    assert colours[0][0] > 150 > 60 > colours[0][2]
    assert colours[2][2] > 150 > 60 > colours[2][0]
    assert max(colours[1]) < 60


def test_names_are_not_patterns(results):
    results.folder.mkdir()
    (results.folder / "c x.png").write_bytes(b"")
    assert results.main_file("c [x]") is None
    (results.folder / "c [x].png").write_bytes(b"")
    assert results.main_file("c [x]").name == "c [x].png"
