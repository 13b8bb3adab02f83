"""SketchPairs and SketchAdaINStyle as the host runs them."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

IN_ORDER, ALL = "in order, the shorter folder repeats", "every sketch with every exemplar"
KEEP = "keep aspect"


@pytest.fixture
def doors(room):
    return room("nodes.pairs").SketchPairs


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An input folder with 2 sketches of different shapes and 3 exemplars, each of one colour."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
    for name, size in (("b.png", (32, 32)), ("a.png", (48, 32))):
        paper = Image.new("RGB", size, "white")
        paper.paste((0, 0, 0), (8, 8, 10, 24))
        (tmp_path / "sketches").mkdir(exist_ok=True)
        paper.save(tmp_path / "sketches" / name)
    for name, colour in (("red.png", (255, 0, 0)), ("green.jpg", (0, 255, 0)), ("blue.png", (0, 0, 255))):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (90, 70), colour).save(tmp_path / "photos" / name, quality=100)
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    (tmp_path / "empty" / "below").mkdir(parents=True)
    return tmp_path


def pair(doors, pairing=IN_ORDER, limit=20, size=0, sketches="sketches", exemplars="photos", frame=KEEP):
    out = doors.execute(sketches, exemplars, pairing, limit, size, frame)
    return *out.args, out.ui.as_dict()["text"][0]


def test_in_order(doors, folders):
    sketches, exemplars, names, text = pair(doors)
    assert names == ["blue-to-a", "green-to-b", "red-to-a"], "sorted by name, the shorter folder again"
    assert [tuple(s.shape) for s in sketches] == [(1, 32, 48, 3), (1, 32, 32, 3), (1, 32, 48, 3)]
    assert [e.shape for e in exemplars] == [s.shape for s in sketches]
    assert [int(e.mean((0, 1, 2)).argmax()) for e in exemplars] == [2, 1, 0]
    first, *notes = text.splitlines()
    assert first == "3 pairs from 2 sketches and 3 exemplars."
    assert notes == ["a.png, b.png: Taken for a line drawing: its own paper is exchanged for yours."]


def test_all_combinations_and_limit(doors, folders):
    names = pair(doors, ALL)[2]
    assert names == ["blue-to-a", "blue-to-b", "green-to-a", "green-to-b", "red-to-a", "red-to-b"]
    assert pair(doors, ALL, limit=3)[2] == names[:3]
    assert pair(doors, limit=1)[2] == ["blue-to-a"]


def test_size_and_frame(doors, folders):
    sketches, exemplars, _, _ = pair(doors, size=64, frame="square, pad with paper")
    assert {tuple(x.shape) for x in (*sketches, *exemplars)} == {(1, 64, 64, 3)}


def test_samples_serve_at_once(doors, folders):
    """With an empty input folder, and beside folders of one's own."""
    built_in = doors.define_schema().inputs[0].options[0]
    sketches, exemplars, names, text = pair(doors, ALL, size=64, sketches=built_in, exemplars=built_in)
    assert text.startswith("8 pairs from 2 sketches and 4 exemplars.\nline drawing - ")
    assert text.count("Taken for a line drawing: its own paper is exchanged for yours.") == 1, "once for both"
    assert all(name.startswith("photo - ") and "-to-line drawing - " in name for name in names)
    assert all(sketch.median() > 0.9 for sketch in sketches), "lines on white paper"
    assert all(exemplar.std() > 0.05 for exemplar in exemplars)
    assert pair(doors, sketches=built_in)[2][0].startswith("blue-to-line drawing")
    assert doors.validate_inputs(built_in, built_in) is True
    assert doors.fingerprint_inputs(built_in, built_in) != doors.fingerprint_inputs(built_in, "photos")


def test_unreadable_files_are_skipped_and_told(doors, folders):
    (folders / "sketches" / "0 broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    _, _, names, text = pair(doors)
    assert names == ["blue-to-a", "green-to-b", "red-to-a"]
    assert "0 broken.png" in text
    assert "Skipped" in text
    for name in ("a.png", "b.png"):
        (folders / "sketches" / name).unlink()
    with pytest.raises(ValueError, match="None of the files in the folder of sketches"):
        pair(doors)


def test_what_load_sketch_says_is_said_of_a_folder(doors, folders):
    for i in range(6):
        text = "" if i else '<text x="5" y="9">words</text>'
        drawn = f'{text}<path d="M9 9h60" stroke="#000"/>'
        (folders / "sketches" / f"c{i}.svg").write_text(f'<svg width="90" height="60">{drawn}</svg>')
    notes = pair(doors)[3].splitlines()[1:]
    assert [note for note in notes if note.startswith("c0.svg: Its text is left out")]
    assert [note for note in notes if note.startswith("c0.svg, c1.svg, c2.svg, c3.svg and 2 more: Taken for a line")]


def test_pictures_of_kinds_that_are_not_read(doors, folders):
    (folders / "photos" / "iphone.HEIC").write_bytes(b"\0\0\0\x24ftypheic" + bytes(40))
    text = pair(doors)[3]
    assert "iphone.HEIC is a HEIC photo" in text
    assert "notes.txt" not in text, "nobody takes it for a picture"
    (folders / "raws").mkdir()
    (folders / "raws" / "a.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    with pytest.raises(ValueError, match=r"contains no readable file.*a\.jxl is a JPEG XL picture"):
        pair(doors, exemplars="raws")


def test_folders_that_do_not_serve(doors, folders):
    with pytest.raises(ValueError, match="contains no readable file"):
        pair(doors, sketches="empty")
    with pytest.raises(ValueError, match="no folder 'gone'"):
        pair(doors, exemplars="gone")
    for outside in ("..", "../elsewhere", str(folders.parent), "sketches/../../x"):
        with pytest.raises(ValueError, match="outside"):
            pair(doors, sketches=outside)
        assert "outside" in doors.validate_inputs(outside, "photos")
    assert doors.validate_inputs("sketches", None) is True
    assert "no folder" in doors.validate_inputs("sketches", "gone")


def test_options_and_change(doors, folders):
    schema = doors.define_schema()
    assert schema.inputs[0].options == ["samples (built in)", "empty", "empty/below", "photos", "sketches", "."]
    before = doors.fingerprint_inputs("sketches", "photos")
    assert before == doors.fingerprint_inputs("sketches", "photos", limit=3)
    Image.new("RGB", (8, 8)).save(folders / "photos" / "new.png")
    assert before != doors.fingerprint_inputs("sketches", "photos")
    Image.new("RGB", (8, 8)).save(folders / "at the top.png")
    assert pair(doors, sketches=".")[2][0] == "blue-to-at the top"


# SketchAdaINStyle


@pytest.fixture
def style(room):
    return room("nodes.style")


def image(seed, height=40, width=56, batch=1):
    coarse = torch.rand(batch, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").movedim(1, -1)


def restyled(style, content, exemplar, alpha=1.0, keep=False, encoder="no network", decoder="no network"):
    return style.SketchAdaINStyle.execute(content, exemplar, alpha, keep, encoder, decoder)[0]


def test_style_without_a_network(style):
    with torch.inference_mode():
        content, exemplar = image(1, batch=2), image(2, 30, 30)
        out = restyled(style, content, exemplar)
        assert out.shape == content.shape
        assert (out.mean((1, 2)) - exemplar.mean((1, 2))).abs().max() < 0.03
        torch.testing.assert_close(restyled(style, content, exemplar, alpha=0.0), content)
        with pytest.raises(ValueError, match="batch of 3"):
            restyled(style, content, image(3, batch=3))


def test_style_with_networks(style, room, tmp_path, monkeypatch):
    """Random weights in AdaIN's published layout: the formula, the sizes, and wrong files named."""
    import folder_paths
    from safetensors.torch import save_file

    vgg = room("networks.vgg")
    generator = torch.Generator().manual_seed(0)
    for name, network in (("encoder", vgg.AdaINEncoder()), ("decoder", vgg.AdaINDecoder())):
        weights = {
            key: torch.randn(value.shape, generator=generator) * (value[0].numel() / 2) ** -0.5
            if value.ndim > 1
            else torch.full_like(value, 0.5 if key == "28.bias" else 0.0)
            for key, value in network.state_dict().items()
        }
        if name == "decoder":
            weights["28.weight"] *= 0.02  # a picture about 0.5, most of it within 0 and 1
        save_file(weights, tmp_path / f"{name}.safetensors")
    folders, extensions = folder_paths.folder_names_and_paths["sketch_features"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "sketch_features", ([str(tmp_path), *folders], extensions))
    files = "encoder.safetensors", "decoder.safetensors"
    with torch.inference_mode():
        content, exemplar = image(1, 36, 52), image(2)
        out = restyled(style, content, exemplar, 0.5, False, *files)
        halves = zip(("encoder", "decoder"), files, strict=True)
        look, paint = (style.load_half(half, file).network.patcher.model for half, file in halves)
        maps, wanted = look(content.movedim(-1, 1)), look(exemplar.movedim(-1, 1))
        expected = paint((room("pictures.style").adain(maps, wanted) + maps) / 2)[..., :36, :52].clamp(0, 1)
        assert ((expected > 0) & (expected < 1)).float().mean() > 0.1, "not all is cut off at 0 and 1"
        torch.testing.assert_close(out.movedim(-1, 1), expected, atol=1e-4, rtol=0)
        with pytest.raises(ValueError, match="is AdaIN's encoder, not its decoder"):
            restyled(style, content, exemplar, 1.0, False, files[0], files[0])
        with pytest.raises(ValueError, match="AdaIN's decoder is missing"):
            restyled(style, content, exemplar, 1.0, False, files[0], "no network")
    assert "was not found" in style.SketchAdaINStyle.validate_inputs(encoder="gone.pth")
    assert style.SketchAdaINStyle.validate_inputs(encoder=files[0], decoder="no network") is True
