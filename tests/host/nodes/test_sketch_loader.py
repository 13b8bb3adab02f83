"""SketchLoader and SketchPhotoToStrokes as the host runs them: samples, uploads, and what a wrong file says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import time
import urllib.parse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

DEFAULTS = {
    "kind": "auto",
    "paper": "#ffffff",
    "invert": "auto",
    "size": 0,
    "frame": "keep aspect",
    "drawing_index": 0,
}
READS = (
    ".png, .apng, .jpg, .jpeg, .jpe, .jfif, .webp, .gif, .bmp, .dib, .tif, .tiff, .avif, .tga, .ppm, .pgm, .pbm, .pnm, "
    ".pfm, .psd, .jp2, .jpx, .jpf, .j2k, .ico, .icns, .dds, .pcx, .qoi, .sgi, .rgb, .ras, .xbm, .xpm, .fits, .fit, "
    ".exr, .hdr, .dpx, .xwd, .svg, .svgz, .ndjson"
)
SAMPLES = ("mountain lake", "desert sunset", "moonlit cabin", "green hills")
MARK = " (sample).png [temp]"


@pytest.fixture(scope="module")
def loader(room):
    return room("nodes.drawing").SketchLoader


@pytest.fixture
def inputs(monkeypatch, tmp_path, loader) -> Path:
    """An input folder of our own, and a file beside it that is none of the pack's business."""
    import folder_paths

    folder = tmp_path / "input"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "secret.png")
    monkeypatch.setattr(folder_paths, "input_directory", str(folder))
    return folder


def load(loader, file: str, **more):
    """IMAGE and MASK as a graph gets them."""
    return loader.execute(image=file, **{**DEFAULTS, **more}).result


@pytest.fixture
def temp(monkeypatch, tmp_path) -> Path:
    """A temp folder of our own, not made yet."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    return tmp_path / "temp"


def options(loader) -> list[str]:
    return loader.INPUT_TYPES()["required"]["image"][1]["options"]


# --- finding drawings ------------------------------------------------------------------------------------------------


def test_a_fresh_node_shows_a_sample(loader, inputs):
    default = loader.INPUT_TYPES()["required"]["image"][1]["default"]
    assert default == "mountain lake (sample).png [temp]"
    assert loader.validate_inputs(image=default) is True
    image, mask = load(loader, default)
    assert image.shape == (1, 256, 256, 3)
    assert mask.shape == (1, 256, 256)
    assert image.dtype == mask.dtype == torch.float32
    assert image.std() > 0.1
    assert 0 <= image.min() < image.max() <= 1


@pytest.mark.parametrize(("size", "shown"), [(0, (900, 602)), (800, (400, 268))])
def test_what_the_node_shows(loader, inputs, temp, size, shown):
    """At its own size it is shown whole, so that a Painter's canvas has one size before and after the run."""
    Image.new("RGB", (900, 602), "green").save(inputs / "photo.png")
    (entry,) = loader.execute(image="photo.png", **{**DEFAULTS, "size": size}).ui["images"]
    assert Image.open(temp / entry["filename"]).size == shown


def test_every_sample_is_an_option_and_loads(loader, inputs):
    samples = [option for option in options(loader) if option.endswith(MARK)]
    assert {name + MARK for name in SAMPLES} < set(samples)
    assert options(loader)[: len(samples)] == samples, "samples first"
    for sample in samples:
        assert loader.validate_inputs(image=sample) is True
        image, mask = load(loader, sample, size=64)
        assert max(image.shape[1:3]) == 64
        assert mask.shape == image.shape[:3]
        assert mask.max() > 0.5


def test_the_editor_finds_a_picture_of_every_sample(loader, inputs, temp):
    """Where ComfyUI's /view looks for it, and again after somebody has emptied the temp folder."""
    import folder_paths

    for _ in range(2):
        pictures = [Path(folder_paths.get_annotated_filepath(option)) for option in options(loader)]
        assert len(pictures) >= 15
        assert {picture.parent for picture in pictures} == {temp}
        for picture in pictures:
            with Image.open(picture) as opened:
                assert opened.format == "PNG"
                opened.load()
        shutil.rmtree(temp)
    assert not list(inputs.iterdir()), "nothing is put into the input folder"


def test_a_damaged_copy_is_replaced_and_never_read(loader, inputs, temp):
    sample = "mountain lake (sample).png [temp]"
    options(loader)
    copy = temp / "mountain lake (sample).png"
    whole = copy.read_bytes()
    copy.write_bytes(b"")
    assert load(loader, sample)[0].shape == (1, 256, 256, 3)
    assert sample in options(loader)
    assert copy.read_bytes() == whole


def test_without_their_pictures_samples_still_load(loader, inputs, temp, caplog):
    (temp / "cut-out - red cabin (sample).png").mkdir(parents=True)  # where a file cannot be written
    assert "mountain lake (sample).png [temp]" in options(loader)
    assert "will not show the samples" in caplog.text
    assert load(loader, "mountain lake (sample).png [temp]")[0].shape == (1, 256, 256, 3)


@pytest.mark.parametrize("name", ["doodles.ndjson", "mountains and cabin.svg"])
def test_previews_show_the_sample(loader, inputs, temp, name):
    """Samples that no browser shows have a picture, made by `dev/run.py make_samples`."""
    option = f"{name} (sample).png [temp]"
    drawn = load(loader, option, size=256)[0][0].numpy()
    assert option in options(loader)
    with Image.open(temp / f"{name} (sample).png") as opened:
        shown = np.asarray(opened.convert("RGB"), np.float32) / 255
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 0.01


def test_input_files_are_listed_and_those_below(loader, inputs, room):
    """Names with / as the editor writes them. Nothing that is no drawing, that is hidden, that lies outside, or that
    belongs to a widget or to a run of `python3 batch`."""
    for name in (
        *("a.png", "B.JPG", "c.svg", "d.ndjson", "e.jfif", "f.SVGZ", "notes.txt", "model.safetensors"),
        *("sub/e.png", "sub/deep/f.webp", "sub/notes.txt", ".cache/g.png"),
        *("clipspace/clipspace-mask-1.png", "clipspace-painted-masked-2.png"),
        f"{room('batch.task').FOLDER}/0a1b.png",
    ):
        (inputs / name).parent.mkdir(exist_ok=True)
        (inputs / name).write_bytes(b"x")
    (inputs.parent / "elsewhere").mkdir()
    (inputs.parent / "elsewhere" / "h.png").write_bytes(b"x")
    with contextlib.suppress(OSError):  # Windows without the right to make links
        os.symlink(inputs.parent / "elsewhere", inputs / "link")
        os.symlink(inputs, inputs / "sub" / "loop")
        os.symlink(inputs / "nowhere.png", inputs / "broken.png")
    assert [option for option in options(loader) if not option.endswith(MARK)] == [
        *("B.JPG", "a.png", "c.svg", "d.ndjson", "e.jfif", "f.SVGZ", "sub/e.png", "sub/deep/f.webp"),
    ]


def test_thousands_of_input_files_are_listed_at_once(loader, inputs):
    """ComfyUI asks for the list several times for each prompt: 17 microseconds a file were too many for a batch."""
    (inputs / "many").mkdir()
    for number in range(3000):
        (inputs / "many" / f"{number}.png").touch()
    spent = []
    for _ in range(5):
        began = time.process_time()
        listed = options(loader)
        spent.append(time.process_time() - began)
    assert len(listed) > 3000
    assert min(spent) < 0.04


def test_a_missing_input_folder_breaks_nothing(loader, inputs):
    inputs.rmdir()
    assert all(option.endswith(MARK) for option in options(loader))


@pytest.mark.parametrize(
    "name", ["a.png", "sub/pasted.png", "a.png [input]", "with space (1).png", "größe.png", "a.png [temp]"]
)
def test_names_the_editor_makes(loader, inputs, temp, name):
    """Of uploads, pasted pictures, the mask editor, and Paste (Clipspace) of what Preview Image shows."""
    path = (temp if "[temp]" in name else inputs) / name.split(" [")[0]
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (10, 6), "blue").save(path)
    assert loader.validate_inputs(image=name) is True
    assert load(loader, name)[0].shape == (1, 6, 10, 3)


def test_a_link_is_checked_when_it_runs(loader, inputs):
    """The host validates a linked input as None."""
    assert loader.validate_inputs(image=None) is True
    assert loader.fingerprint_inputs(image=None, **DEFAULTS) == ""


def test_the_fingerprint_is_the_content(loader, inputs):
    (inputs / "a.png").write_bytes(b"one")
    (inputs / "b.png").write_bytes(b"one")
    first = loader.fingerprint_inputs(image="a.png", **DEFAULTS)
    assert first == loader.fingerprint_inputs(image="b.png", **{**DEFAULTS, "size": 64})
    (inputs / "a.png").write_bytes(b"two")
    assert loader.fingerprint_inputs(image="a.png", **DEFAULTS) != first


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (50, 100)),
        ({"size": 64}, (32, 64)),
        ({"size": 200}, (96, 200)),
        ({"size": 64, "frame": "square, pad with paper"}, (64, 64)),
        ({"size": 64, "frame": "square, crop"}, (64, 64)),
        ({"frame": "square, crop"}, (50, 50)),
    ],
)
def test_sizes_and_frames(loader, inputs, settings, shape):
    Image.new("RGB", (100, 50), "blue").save(inputs / "a.png")
    image, mask = load(loader, "a.png", **settings)
    assert image.shape == (1, *shape, 3)
    assert mask.shape == (1, *shape)


def test_paper_colour(loader, inputs):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(inputs / "a.png")
    image, mask = load(loader, "a.png", paper="#ff8000")
    assert torch.equal(image, load(loader, "a.png", paper="#FF800080")[0]), "the widget's opacity is not the paper's"
    assert torch.allclose(image, torch.tensor([1, 128 / 255, 0]).expand(1, 4, 4, 3), atol=1e-6)
    assert mask.max() == 0


def test_drawing_index(loader, inputs):
    rows = [{"drawing": [[[0, x], [0, 255]]]} for x in (10, 120, 255)]
    (inputs / "a.ndjson").write_text("\n".join(map(json.dumps, rows)))
    masks = [load(loader, "a.ndjson", drawing_index=k)[1] for k in range(3)]
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


def masked_picture(folder: Path, name: str) -> None:
    """As the mask editor saves it: colours everywhere, transparent where a mask is painted (left half)."""
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:, :32, 3] = 0
    (folder / name).parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    Image.fromarray(pixels[..., :3]).save(folder / "plain.png")


@pytest.mark.parametrize("name", ["clipspace-painted-masked-17.png [input]", "clipspace/clipspace-mask-17.png [input]"])
def test_the_mask_editor_paints_the_mask_and_leaves_the_picture(loader, inputs, name):
    masked_picture(inputs, name.removesuffix(" [input]"))
    image, mask = load(loader, name)
    assert torch.equal(image, load(loader, "plain.png")[0]), "what lies under the mask is still there"
    assert mask[0, :, :32].min() == 1
    assert mask[0, :, 32:].max() == 0
    assert "mask editor" in loader.execute(image=name, **DEFAULTS).ui["text"][0]
    framed, smaller = load(loader, name, size=32, frame="square, pad with paper")
    assert framed.shape == (1, 32, 32, 3)
    assert smaller[0, :4].max() == 0, "the sheet around the picture is no mask"
    assert smaller[0, 4:28, :15].min() == 1


def test_elsewhere_transparency_is_paper(loader, inputs):
    """The same picture under a person's own name, and a file of the mask editor in which no mask is painted."""
    masked_picture(inputs, "mine.png")
    image, mask = load(loader, "mine.png")
    assert (image[0, :, :32] == 1).all()
    assert mask[0, :, :32].max() == 0
    shutil.copy(inputs / "plain.png", inputs / "clipspace-painted-masked-18.png")
    image, mask = load(loader, "clipspace-painted-masked-18.png [input]")
    assert torch.equal(image, load(loader, "plain.png")[0])
    assert torch.equal(mask, load(loader, "plain.png")[1])


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (Image.new("RGB", (40, 40), "blue"), ["Taken for a colour painting"]),
        (Image.fromarray(np.pad(np.full((2, 30), 255, np.uint8), ((19, 19), (5, 5)))), ["line drawing", "Inverted"]),
    ],
)
def test_the_node_says_what_auto_has_decided(loader, inputs, picture, words):
    """A picture and a text: the editor shows both. What a person has chosen is not repeated."""
    picture.save(inputs / "a.png")
    shown = loader.execute(image="a.png", **DEFAULTS).ui
    assert shown["images"]
    assert all(word in shown["text"][0] for word in words)
    chosen = loader.execute(image="a.png", **{**DEFAULTS, "kind": "colour painting", "invert": "no"}).ui
    assert "text" not in chosen


def said_by(loader, room, monkeypatch, file: str, consumer: tuple[str, str] = ("VAEEncode", "pixels"), **more) -> str:
    """What the node says as node "draw", whose image goes to an input of a node; VAE Encode leads to Noise to t0."""
    monkeypatch.setattr(room("host"), "say_on_node", lambda node_id, text: None)
    prompt = {
        "draw": {"class_type": "SketchLoader", "inputs": {"image": file}},
        "next": {"class_type": consumer[0], "inputs": {consumer[1]: ["draw", 0]}},
        "t0": {"class_type": "NoiseToT0", "inputs": {"latent": ["next", 0]}},
    }
    wired = type("Wired", (loader,), {"hidden": SimpleNamespace(unique_id="draw", prompt=prompt)})
    return "\n".join(wired.execute(image=file, **{**DEFAULTS, **more}).ui.get("text", []))


@pytest.mark.parametrize(
    ("file", "consumer", "told"),
    [
        ("line drawing - lake and peaks" + MARK, ("VAEEncode", "pixels"), True),
        ("mountain lake" + MARK, ("VAEEncode", "pixels"), False),
        ("strokes - cabin and trees" + MARK, ("VAEEncode", "pixels"), False),
        ("line drawing - lake and peaks" + MARK, ("ShapeInversion", "sketch"), False),
    ],
)
def test_lines_that_go_to_noise_to_t0_are_told(loader, room, inputs, monkeypatch, file, consumer, told):
    assert ("lines without colours" in said_by(loader, room, monkeypatch, file, consumer)) == told


def test_an_empty_drawing_is_told(loader, room, inputs, monkeypatch):
    Image.new("RGBA", (16, 16), (200, 30, 30, 0)).save(inputs / "clear.png")
    Image.new("RGB", (16, 16), "white").save(inputs / "white.png")
    for name in ("clear.png", "white.png"):
        assert "Nothing is drawn here" in said_by(loader, room, monkeypatch, name)
    for sample in ("mountain lake", "line drawing - three conifers", "cut-out - red cabin"):
        assert "Nothing is drawn" not in said_by(loader, room, monkeypatch, sample + MARK)


def test_a_huge_drawing_as_drawn_is_told(loader, room, inputs, monkeypatch):
    Image.new("RGB", (5000, 16), "red").save(inputs / "wide.png")
    assert "5000 x 16 pixels" in said_by(loader, room, monkeypatch, "wide.png")
    assert "pixels" not in said_by(loader, room, monkeypatch, "wide.png", size=1024)
    assert "pixels" not in said_by(loader, room, monkeypatch, "mountain lake" + MARK)


# --- wrong inputs: the table ------------------------------------------------------------------------------------------


def svg(body: str, prolog: str = "") -> bytes:
    return f'{prolog}<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{body}</svg>'.encode()


def png(**more) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG", **more)
    return buffer.getvalue()


CUT = png()[:5000]
DOODLE = json.dumps({"drawing": [[[0, 9], [0, 9]]]}).encode()
OUTSIDE = "{!r} lies outside ComfyUI's input folder, where drawings are read from. Copy it there and choose it."

# Found when the graph is queued: the editor marks the node, nothing runs. Widget text: sentence.
AT_ONCE = {
    "": "No drawing is chosen. Choose a sample, or upload a drawing of your own.",
    "  ": "No drawing is chosen. Choose a sample, or upload a drawing of your own.",
    "missing.png": "'missing.png' is not in ComfyUI's input folder. Copy it there, or choose another drawing.",
    "folder.png": "'folder.png' is not in ComfyUI's input folder. Copy it there, or choose another drawing.",
    "notes.txt": f"notes.txt is not a drawing this node reads. It reads {READS}.",
    "../secret.png": OUTSIDE.format("../secret.png"),
    "../../../../../../etc/passwd": OUTSIDE.format("../../../../../../etc/passwd"),
    "/etc/passwd": OUTSIDE.format("/etc/passwd"),
    "a/../../secret.png": OUTSIDE.format("a/../../secret.png"),
    "link.png": OUTSIDE.format("link.png"),
}

# Found when the file is read. Name: (content, settings, sentence).
WHEN_READ = {
    "empty.png": (b"", {}, "empty.png is empty (0 bytes). Save or copy the drawing again."),
    "corrupt.png": (
        b"\x00" * 500,
        {},
        "corrupt.png is not a picture of a kind read here, or is damaged from its first bytes. Export it as PNG.",
    ),
    "text.jpg": (
        b"<html>not found</html>",
        {},
        "text.jpg is a web page, which is not read here. Save its picture itself.",
    ),
    "cut.png": (
        CUT,
        {},
        r"cut\.png is damaged or cut off \(image file is truncated.*\)\. "
        r"Copy or download it again, or export it anew as PNG\.",
    ),
    "entity.svg": (
        svg("<title>&x;</title>", '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        {},
        "entity.svg: it refers to 'file:///etc/passwd' outside of the drawing, which is never read. "
        "Save it as plain SVG, or export it as PNG.",
    ),
    "words.svg": (
        svg("<text>hello</text>"),
        {},
        "words.svg: nothing is left to draw. Its text is left out, since fonts differ from machine to machine: convert "
        "it to paths in your drawing program (Object to Path, Create Outlines).",
    ),
    "photo.svg": (
        svg('<image href="file:///etc/passwd"/>'),
        {},
        "photo.svg: nothing is left to draw. Its linked pictures are left out: embed them in your drawing program.",
    ),
    "bomb.svg": (
        svg("<title>&b;</title>", f'<!DOCTYPE svg [<!ENTITY a "{"M" * 5000}"><!ENTITY b "{"&a;" * 500}">]>'),
        {},
        "bomb.svg: its entity &b; expands to more than 1 million characters: refused. Save it as plain SVG, or export "
        "it as PNG.",
    ),
    "half.svg": (
        b"<svg><g>",
        {},
        "half.svg: not well-formed XML (no element found: line 1, column 8). "
        "Save the drawing again, or export it as PNG.",
    ),
    "empty.ndjson": (b"", {}, "empty.ndjson is empty (0 bytes). Save or copy the drawing again."),
    "blank.ndjson": (b"\n\n", {}, "blank.ndjson holds no drawing: every line of it is blank."),
    "few.ndjson": (
        DOODLE,
        {"drawing_index": 7},
        "few.ndjson holds 1 drawings, numbered 0 to 0; number 7 was asked for.",
    ),
    "broken.ndjson": (
        b"{",
        {},
        "broken.ndjson, drawing 0: not JSON (Expecting property name enclosed in double quotes: line 1 column 2 "
        "(char 1)). A QuickDraw file has one JSON drawing a line.",
    ),
    "odd size.png": (
        png(),
        {"size": 100},
        "The size must be 0 (as drawn) or a multiple of 8, got 100. Try 96.",
    ),
    "colour.png": (
        png(),
        {"paper": "cream"},
        "The paper's colour must be written #rrggbb, such as #ffffff, got 'cream'.",
    ),
}


@pytest.fixture
def bad(inputs) -> Path:
    (inputs / "folder.png").mkdir()
    (inputs / "a").mkdir()
    (inputs / "notes.txt").write_text("hello")
    for name, (content, _, _) in WHEN_READ.items():
        (inputs / name).write_bytes(content)
    return inputs


@pytest.mark.parametrize("file", AT_ONCE)
def test_told_before_anything_runs(loader, bad, file):
    if file == "link.png":
        try:
            os.symlink(bad.parent / "secret.png", bad / "link.png")
        except OSError:
            pytest.skip("no symbolic links on this system")
    assert loader.validate_inputs(image=file) == AT_ONCE[file]
    with pytest.raises(ValueError, match=re.escape(AT_ONCE[file])):
        load(loader, file)


def test_an_unknown_sample_names_the_samples(loader, inputs):
    sentence = loader.validate_inputs(image="../../README.md (sample).png [temp]")
    assert sentence.startswith(
        "There is no '../../README.md (sample).png [temp]'. The samples are 'cut-out - red cabin (sample).png [temp]', "
    )
    assert "'mountain lake (sample).png [temp]'" in sentence


@pytest.mark.parametrize("file", WHEN_READ)
def test_told_when_read(loader, bad, file):
    _, settings, sentence = WHEN_READ[file]
    assert loader.validate_inputs(image=file) is True
    pattern = sentence if "\\" in sentence else re.escape(sentence)
    with pytest.raises(ValueError, match=f"^{pattern}$"):
        load(loader, file, **settings)


def test_after_a_fault_the_node_works_on(loader, bad):
    with pytest.raises(ValueError, match="empty"):
        load(loader, "empty.png")
    Image.new("RGB", (8, 8), "red").save(bad / "empty.png")
    assert load(loader, "empty.png")[0].shape == (1, 8, 8, 3)


# --- photo to strokes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_photo_to_strokes(room, batch):
    photo = torch.rand(batch, 40, 56, 3, generator=torch.Generator().manual_seed(0))
    (strokes,) = room("nodes.drawing").SketchPhotoToStrokes.execute(image=photo, median_size=5, colours=3).result
    assert strokes.shape == photo.shape
    assert all(len(torch.unique(one.reshape(-1, 3), dim=0)) <= 3 for one in strokes)


# --- over HTTP, on a live host ---------------------------------------------------------------------------------------


def graph(file: str, **more) -> dict:
    return {
        "1": {"class_type": "SketchLoader", "inputs": {"image": file, **DEFAULTS, **more}},
        "2": {"class_type": "SketchPhotoToStrokes", "inputs": {"image": ["1", 0], "median_size": 9, "colours": 4}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "strokes"}},
        "4": {"class_type": "MaskToImage", "inputs": {"mask": ["1", 1]}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "ink"}},
    }


def picture(server, entry: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(server.picture(entry))).convert("RGB"))


def test_a_sample_runs_on_a_live_host(server):
    outputs = server.run(graph("mountain lake (sample).png [temp]", size=64))
    assert picture(server, outputs["3"]["images"][0]).shape == (64, 64, 3)
    assert picture(server, outputs["1"]["images"][0]).shape == (64, 64, 3), "the node shows what it has read"
    again = server.run(graph("mountain lake (sample).png [temp]", size=64))
    assert again["1"]["images"] == outputs["1"]["images"], "and still does when nothing had to run, as after a reload"


def test_a_live_host_shows_every_sample(server):
    """As the editor asks: of the classic renderer, and of the picker of Nodes 2.0."""
    listed = server.object_info()["SketchLoader"]["input"]["required"]["image"]
    options = listed[1]["options"] if listed[0] == "COMBO" else listed[0]
    samples = [option for option in options if option.endswith(MARK)]
    assert len(samples) >= 15
    for sample in samples:
        for more in ({"subfolder": ""}, {}):
            asked = urllib.parse.urlencode({"filename": sample, "type": "input", **more})
            assert Image.open(io.BytesIO(server.get(f"/api/view?{asked}"))).format == "PNG"


def test_an_uploaded_svg_runs_on_a_live_host(server):
    """The host's upload route takes any file; the editor sends an SVG that is dropped on the node."""
    name = server.upload("arrow.svg", svg('<path d="M1 4.5H8" stroke="#000"/>'))
    outputs = server.run(graph(name, size=72))
    ink = picture(server, outputs["5"]["images"][0])
    assert ink.shape == (72, 72, 3)
    assert ink[36, 36].min() == 255
    assert ink[10, 10].max() == 0


@pytest.mark.parametrize("file", ["../../secret.png", "/etc/passwd", "missing.png", ""])
def test_a_live_host_refuses_with_our_sentence(server, file):
    from runtime.comfy_server import PromptRefused

    with pytest.raises(PromptRefused) as refused:
        server.submit(graph(file))
    (fault,) = refused.value.answer["node_errors"]["1"]["errors"]
    expected = AT_ONCE.get(file) or OUTSIDE.format(file)
    assert fault["details"] == f"image - {expected}"


def test_a_live_host_tells_our_sentence_when_it_fails(server):
    from runtime.comfy_server import PromptFailed

    name = server.upload("words.svg", WHEN_READ["words.svg"][0])
    with pytest.raises(PromptFailed) as failed:
        server.run(graph(name))
    assert failed.value.details["exception_message"].strip() == WHEN_READ["words.svg"][2]
