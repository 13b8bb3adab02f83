"""batch/items.py: folders, tables and pairings; names and seeds that stay the same."""

from __future__ import annotations

import pytest


@pytest.fixture
def make(graph, items):
    """make("sketch.image=...", pairing="name", seeds=["Paint.seed"]) -> Items."""

    def made(*settings, seeds=(), pairing="every", total=None):
        axes, fixed = items.settle([items.axis_of(graph, setting) for setting in settings])
        chosen = [items.seed_of(graph, seed) for seed in seeds]
        return items.Items(axes, pairing, fixed=fixed, seeds=chosen, total=total)

    return made


@pytest.fixture
def two(folder):
    sketches = folder("sketches", "a.png", "b.svg", "cats/a.png", "notes.txt", ".hidden.png", ".git/c.png")
    return f"sketch.image={sketches}", f"style.image={folder('photos', 'a.jpg', 'cats/a.webp')}"


def names(found):
    return [item.name for item in found]


def test_every_combination_of_two_folders(make, two):
    found = make(*two)
    assert names(found) == ["a__a", "b__a", "cats/a__a", "a__cats-a", "b__cats-a", "cats/a__cats-a"]
    assert found[4].index == 4
    assert [(target.label, value.name) for target, value in found[4].values] == [
        ("sketch.image", "b.svg"),
        ("style.image", "a.webp"),
    ]
    with pytest.raises(IndexError):
        found[6]


def test_files_of_the_same_name(make, two):
    found = make(*two, pairing="name")
    assert names(found) == ["a", "cats/a"]
    assert [[value.suffix for _, value in item.values] for item in found] == [[".png", ".jpg"], [".png", ".webp"]]


def test_in_order_the_shorter_folder_starts_again(make, two):
    assert names(make(*two, pairing="order")) == ["a__a", "b__cats-a", "cats/a__a"]
    assert names(make(*two, pairing="order", total=6))[3:] == ["a__cats-a", "b__a", "cats/a__cats-a"]


def test_no_two_folders_need_pairing(make, two):
    assert names(make(two[0], pairing="name")) == ["a", "b", "cats/a"]
    assert names(make()) == ["result"]


def test_more_than_there_are(make, two):
    with pytest.raises(ValueError, match="6 different items, but a total of 7"):
        make(*two, total=7)
    found = make(*two, seeds=["Paint.seed"], total=14)
    assert names(found)[5:8] == ["cats/a__cats-a", "a__a__2", "b__a__2"]
    assert names(found)[-1] == "b__a__3"
    assert len({item.values[-1][1] for item in found}) == 14


def test_a_seed_depends_on_the_name_alone(make, two, items):
    few, many = make(two[0], seeds=["Paint.seed=5"]), make(*two, seeds=["Paint.seed=5"])
    again = make(*two, seeds=["Paint.seed=6"], total=2)
    assert [item.values[-1][1] for item in again] == [seed.values[-1][1] + 1 for seed in list(many)[:2]]
    assert few[0].values[-1][1] != many[0].values[-1][1]
    assert all(0 <= item.values[-1][1] < 2 * items.SEEDS for item in many)


def test_seeds_stay_within_the_inputs_limits(graph, items):
    seed = items.seed_of(graph, "Paint.seed")
    small = seed._replace(target=seed.target._replace(spec=["INT", {"max": 99}]))
    found = {small.of(f"item {number}") for number in range(500)}
    assert min(found) >= 0
    assert 99 >= max(found) > 90


def test_one_file_and_one_value_are_the_same_for_all(make, two, folder):
    photo = folder("one", "photo.png") / "photo.png"
    found = make(two[0], f"style.image={photo}", "Paint.strength=0.75")
    assert names(found) == ["a", "b", "cats/a"]
    assert all([value for _, value in item.values][:2] == [photo, 0.75] for item in found)


def test_a_pattern_takes_any_ending(make, folder):
    place = folder("raw", "a.bin", "b.png", "deep/c.bin")
    assert names(make(f"sketch.image={place}/*.bin")) == ["a"]
    assert names(make(f"sketch.image={place}/**/*.bin")) == ["a", "deep/c"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["sketch.image=/nowhere"], "There is no file or folder '/nowhere'"),
        (["sketch.image={empty}"], "holds no files to read"),
        (["sketch.image={empty}/*.png"], "holds no files to read"),
        (["sketch.image"], "sets nothing"),
        (["Paint.strength=2"], "must be 0.0 to 1.0"),
        (["sketch.image={alike}"], "'a' and 'a' would give results of the same name"),
        (["sketch.image={dots}"], "would give results of the same name"),
    ],
)
def test_what_is_wrong_is_said(make, folder, settings, says):
    places = {"empty": folder("empty", "notes.txt"), "alike": folder("alike", "a.png", "a.jpg")}
    places["dots"] = folder("dots", "v1.2.png", "v1_2.png")
    with pytest.raises(ValueError, match=says):
        make(*(setting.format(**places) for setting in settings))


def test_pairs_of_one_name_are_refused(make, folder):
    sketches, photos = folder("s", "x.png", "x__y.png"), folder("p", "y__z.png", "z.png")
    with pytest.raises(ValueError, match="'x' with 'y__z' and 'x__y' with 'z' would give"):
        make(f"sketch.image={sketches}", f"style.image={photos}")


def test_no_common_name(make, folder):
    with pytest.raises(ValueError, match="No name is in all of the folders"):
        make(f"sketch.image={folder('s', 'x.png')}", f"style.image={folder('p', 'y.png')}", pairing="name")


def test_names_that_every_system_can_write(items):
    assert items._safe("a:b?*.c/ con /..") == "a_b___c/_con/__"
    assert items._safe("Ünïcode 猫") == "Ünïcode 猫"


def test_an_input_twice(graph, items):
    with pytest.raises(ValueError, match=r"sketch\.image is set twice"):
        items.check_once([graph.find("sketch.image"), graph.find("#2.image")])


def test_a_table(graph, items, folder):
    place = folder("table", "a.png", "deep/b.png")
    (place / "t.csv").write_text("\ufeffname,sketch.image,Paint.strength\none,a.png,0.1\n,deep/b.png,1\n\n", "utf-8")
    axis = items.axis_of_csv(graph, place / "t.csv")
    found = items.Items([axis])
    assert names(found) == ["one", "00002__b"]
    assert [value for _, value in found[1].values] == [place / "deep/b.png", 1.0]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("sketch.image\nmissing.png\n", "Row 1 of .* there is no file"),
        ("Paint.seed\n1\nx\n", "Row 2 of .* needs a whole number"),
        ("Paint.seed,name\n1\n", "has 1 cells, its first line 2"),
        ("Paint.seed\n", "no rows"),
        ("Paint.speed\n1\n", "that node's inputs are"),
        ("Paint.seed,name\n1,../x\n", "leads out of the output folder"),
        ("Paint.seed,name\n1,x\n2,X\n", "same name"),
    ],
)
def test_a_table_that_does_not_fit(graph, items, tmp_path, table, says):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(ValueError, match=says):
        items.Items([items.axis_of_csv(graph, tmp_path / "t.csv")])


def test_a_seed_needs_whole_numbers(graph, items):
    with pytest.raises(ValueError, match="so it is no seed"):
        items.seed_of(graph, "Paint.strength")
