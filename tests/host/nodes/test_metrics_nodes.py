"""SketchImageMetrics as the host calls it: images and folders, what is kept, what it says, and refusals."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image, ImageFilter

NO_FOLDER = "the connected images"


@pytest.fixture(scope="module")
def doors(room):
    return room("nodes.metrics")


@pytest.fixture(scope="module")
def renders(room):
    """Forty pictures of the starter world [40,64,64,3], uint8."""
    return [scene.image for scene in room("starter.world").render_batch(range(500, 540), 64)]


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch, host_nodes):
    """Input and user folders of their own, inside of inference mode as the host runs nodes."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    (tmp_path / "input").mkdir()
    with torch.inference_mode():
        yield tmp_path


def tensor(pictures):
    return torch.stack([torch.from_numpy(picture).float() / 255 for picture in pictures])


def judge(doors, results=None, references=None, *, folders=(NO_FOLDER, NO_FOLDER), limit=4000, size=0, **options):
    """(fid, kid, lpips, report, numbers); lists, as the host passes them."""
    settings = ([folders[0]], [folders[1]], [limit], [size], ["as published"])
    out = doors.SketchImageMetrics.execute(*settings, results=results, references=references, **options)
    *values, numbers = out.args[:5]
    numbers = json.loads(numbers)
    for value, key in zip(out.args[5:], ("inception", "sfid", "precision", "recall"), strict=True):
        assert value == numbers.get(key) or (value != value and key not in numbers)
    return *values, numbers


def kept(folders):
    return sorted((folders / "user" / "__sketchsynth" / "metrics").glob("*"))


def test_worse_pictures_score_worse(doors, renders):
    real, other = tensor(renders[:20]), tensor(renders[20:])
    blurred = [Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2)) for picture in renders[20:]]
    blurred = torch.stack([torch.frombuffer(bytearray(one.tobytes()), dtype=torch.uint8) for one in blurred])
    blurred = blurred.reshape(other.shape).float() / 255
    fid, kid, _, report, numbers = judge(doors, [other], [real])
    worse = judge(doors, [blurred], [real])
    assert worse[0] > 1.2 * fid
    assert worse[1] > kid + 0.02
    assert numbers["fid"] == fid
    assert "20 results and 20 references for 128 features" in report
    assert "not with published FIDs" in report
    pairs = judge(doors, [blurred], [other])
    assert 0.05 < pairs[2] < 1
    assert len(pairs[4]["lpips_of_each"]) == 20
    same = judge(doors, [other], [other])
    assert same[0] == pytest.approx(0, abs=1e-4)
    assert same[2] == 0
    assert (same[4]["precision"], same[4]["recall"]) == (1, 1)
    assert worse[4]["precision"] < numbers["precision"]
    assert "inception" not in numbers, "the built-in network has no classes"


def test_lists_of_any_sizes(doors, renders):
    """Two sizes are compared alike where `size` says at which."""
    small = tensor(renders)
    large = torch.nn.functional.interpolate(small.movedim(-1, 1), scale_factor=2, mode="nearest").movedim(1, -1)
    mixed = [small[:7], large[7:20, :, :120], small[20:]]
    fid, _, lpips, report, numbers = judge(doors, mixed, [small], size=64)
    assert fid < 1
    assert lpips < 0.2
    assert "40 results, 40 references, brought to 64 px first" in report
    assert not math.isnan(numbers["lpips"])


def test_folders_are_the_same_pictures(doors, renders, folders):
    folder = folders / "input" / "real"
    folder.mkdir()
    for i, picture in enumerate(renders[:12]):
        Image.fromarray(picture).save(folder / f"{i:02}.png")
    (folder / "notes.txt").write_text("not a picture")
    results = tensor(renders[12:20])
    by_folder = judge(doors, [results], folders=(NO_FOLDER, "real"))
    by_image = judge(doors, [results], [tensor(renders[:12])])
    assert by_folder[:2] == pytest.approx(by_image[:2], rel=1e-4)
    assert math.isnan(by_folder[2])
    assert "No LPIPS" in by_folder[3]
    assert "lpips" not in by_folder[4]
    fewer = judge(doors, [results], limit=3, folders=(NO_FOLDER, "real"))
    assert "3 results, 6 references" in fewer[3]
    assert doors.SketchImageMetrics.validate_inputs([None], ["real"]) is True
    assert "no folder 'lost'" in doors.SketchImageMetrics.validate_inputs([NO_FOLDER], ["lost"])
    before = doors.SketchImageMetrics.fingerprint_inputs([NO_FOLDER], ["real"])
    Image.fromarray(renders[30]).save(folder / "00.png")
    assert doors.SketchImageMetrics.fingerprint_inputs([NO_FOLDER], ["real"]) != before


def test_sets_are_kept_until_a_picture_changes(doors, renders, folders, room, monkeypatch):
    looked = []
    metrics = room("pictures.metrics")
    monkeypatch.setattr(metrics, "vectors", lambda *given, true=metrics.vectors: looked.append(1) or true(*given))
    results, references = tensor(renders[:4]), tensor(renders[4:9])
    first = judge(doors, [results], [references])
    assert (len(looked), len(kept(folders))) == (2, 2)
    assert judge(doors, [results], [references])[:2] == first[:2]
    assert len(looked) == 2, "both sets are known"
    changed = references.clone()
    changed[2, 5, 5] += 0.01
    assert judge(doors, [results], [changed])[:2] != first[:2]
    assert len(looked) == 3
    judge(doors, [results], [references], size=32)
    assert len(looked) == 5, "seen at another size"
    assert all(path.suffix == ".safetensors" for path in kept(folders))


def test_another_network_sees_another_thing(doors, room, renders, folders):
    """The file's name is not enough: the weights count."""
    from types import SimpleNamespace

    looks, host, vgg = room("pictures.features"), room("host"), room("networks.vgg").VGG
    results, references = [tensor(renders[:4])], [tensor(renders[4:8])]

    def network(seed):
        torch.manual_seed(seed)
        with torch.inference_mode(False):
            return looks.features("net.pth", host.network_patcher(vgg(widths=((4,), (4,), (4,))).requires_grad_(False)))

    fids = [judge(doors, results, references, features=[network(seed)])[0] for seed in (0, 1, 0)]
    assert fids[0] == fids[2] != fids[1]
    assert len(kept(folders)) == 4
    inception = SimpleNamespace(kind="inception", name="net.pth", published=False)
    with pytest.raises(
        ValueError, match=r"LPIPS compares the feature maps of several layers, which 'net.pth' \(inception\)"
    ):
        judge(doors, results, references, perceptual=[inception])
    fed = SimpleNamespace(kind="vgg", name="net.pth", published=True)
    with pytest.raises(ValueError, match=r"Set feeding to 'as trained' in Load Sketch Features"):
        judge(doors, results, references, features=[fed])


def save(folder, renders, names):
    folder.mkdir()
    for name, picture in zip(names, renders, strict=False):
        Image.fromarray(picture).save(folder / name)


def test_folders_are_paired_by_name(doors, renders, folders):
    save(folders / "input" / "one", renders, ["a.png", "b.png", "c.png"])
    save(folders / "input" / "other", renders, ["b.png", "c.png", "d.png"])
    _, _, lpips, report, _ = judge(doors, folders=("one", "other"))
    assert math.isnan(lpips)
    assert "No LPIPS, which compares pairs: the files of the two folders have other names" in report
    assert "first 'a' beside 'b'" in report
    save(folders / "input" / "same", renders, ["a.bmp", "b.webp", "c.png"])
    assert judge(doors, folders=("one", "same"))[2] < 0.1, "endings do not count"
    by_place = judge(doors, [tensor(renders[:3])], folders=(NO_FOLDER, "other"))
    assert by_place[2] == pytest.approx(0, abs=1e-6), "images have no names"
    fewer = judge(doors, [tensor(renders[:4])], folders=(NO_FOLDER, "other"))
    assert "compares pairs: there are 4 results and 3 references." in fewer[3]


def test_pairs_beyond_the_limit(doors, renders, folders):
    """The limit cuts results and references differently; the first results keep their partners."""
    names = [f"{i:02}.png" for i in range(9)]
    save(folders / "input" / "one", renders, names)
    save(folders / "input" / "other", renders[:9], names)
    for given in (judge(doors, folders=("one", "other"), limit=4), judge(doors, *2 * [[tensor(renders[:9])]], limit=4)):
        assert "4 results, 8 references" in given[3]
        assert given[4]["lpips_of_each"] == pytest.approx([0] * 4, abs=1e-6)
        assert "No LPIPS" not in given[3]


def test_one_channel_is_grey(room):
    """Not every network makes three of it by itself."""
    grey = torch.rand(2, 8, 8, 1)
    seen = torch.cat(list(room("pictures.sets").Connected([grey], 4)))
    assert torch.equal(seen, grey.expand(-1, -1, -1, 3))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_no_numbers(doors, renders, folders, value):
    broken = tensor(renders[4:9])
    broken[3, 5, 5] = value
    with pytest.raises(ValueError, match="Picture 4 of the references contains NaN or infinite values"):
        judge(doors, [tensor(renders[:4])], [broken])
    assert not kept(folders), "told before a network looks at anything"


def test_cancel_keeps_nothing_half_done(doors, renders, folders, monkeypatch):
    class Stop(Exception):
        pass

    class Bar:
        def __init__(self, total):
            self.left = 1

        def update(self, count):
            self.left -= 1
            if self.left < 0:
                raise Stop

    monkeypatch.setattr(doors, "ProgressBar", Bar)
    results, references = tensor(renders[:4]), tensor(renders[4:9])
    with pytest.raises(Stop):
        judge(doors, [results], [references])
    assert len(kept(folders)) == 1, "the finished set"
    monkeypatch.undo()


def test_faults(doors, renders, folders):
    some = [tensor(renders[:4])]
    with pytest.raises(ValueError, match=r"There are no references\. Connect images, or choose a folder"):
        judge(doors, some)
    with pytest.raises(ValueError, match="A set to compare needs 2 pictures or more, ideally hundreds; got 1 results"):
        judge(doors, [some[0][:1]], some)
    (folders / "input" / "empty").mkdir()
    with pytest.raises(ValueError, match="got 0 references"):
        judge(doors, some, folders=(NO_FOLDER, "empty"))
    with pytest.raises(ValueError, match="Got references twice: as images and as the folder 'empty'"):
        judge(doors, some, some, folders=(NO_FOLDER, "empty"))
    (folders / "input" / "empty" / "a.png").write_bytes(b"nothing")
    (folders / "input" / "empty" / "b.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.png"):
        judge(doors, some, folders=(NO_FOLDER, "empty"))
