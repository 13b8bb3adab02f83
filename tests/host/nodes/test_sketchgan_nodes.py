"""The sketch GAN's doors in the real host: recorded numbers, batches, sizes, seeds, statistics, Cancel."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from helpers import sketchgan_golden as known
from helpers.sketchgan_doors import as_image, decode, image, load, style_of
from helpers.sketchgan_golden import worst
from tools import graph

LIMIT = 5e-5


@pytest.fixture(scope="module")
def doors(pack, room):
    return room("nodes.sketchgan")


@pytest.fixture(scope="module")
def pictures(room):
    return room("pipelines.sketchgan")


@pytest.fixture(scope="module")
def files(room):
    return room("networks.sketchgan.whole")


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes():
    with torch.inference_mode():
        yield


# --- recorded numbers -------------------------------------------------------------------------------------------------


def golden_autoencoder(room):
    ae = room("networks.sketchgan.autoencoder")
    parts = {
        "s": ae.StyleEncoder(width=8, classes=6, spectral=True),
        "c": ae.ContentEncoder(width=8, spectral=True),
        "d": ae.Decoder(width=8, spectral=True),
    }
    return {
        name: {
            k: v.float() if v.is_floating_point() else v
            for k, v in known.fill(part, f"{name}.", 11).state_dict().items()
        }
        for name, part in parts.items()
    }


def agrees(pictures, tensors, name):
    """IMAGE against every 8th pixel and a dense window of the recording."""
    found = 2 * pictures.movedim(-1, 1) - 1
    step = found.shape[-1] // tensors[f"{name}.strided"].shape[-1]
    assert worst(found[..., ::step, ::step], tensors[f"{name}.strided"]) < LIMIT
    assert worst(found[..., 170:194, 170:194], tensors[f"{name}.crop"]) < LIMIT


def test_the_recorded_autoencoder_through_the_doors(doors, gan_folder, room):
    """Own, blended and level-mixed styles of the official code, from a published file and whole IMAGEs."""
    tensors, _ = known.recorded("ae_nfc8")
    torch.save({**golden_autoencoder(room), "opt_s": {"state": {}}}, gan_folder / "12000.pth")
    node = doors.SketchGANLoader.execute("12000.pth")
    gan, size = node.result
    assert size == 512
    assert "autoencoder: 512 x 512 pixels, width 8" in node.ui.as_dict()["text"][0]
    sketch, photo = (as_image(known.grown(tensors[f"in.{name}_thumb"])) for name in ("sketch", "rgb"))
    style = style_of(doors, gan, photo)
    for name, level in zip((32, 16, 8), style.levels, strict=True):
        assert worst(level, tensors[f"eval.style_{name}"]) < LIMIT
    refined, draft = decode(doors, gan, sketch, style)
    assert torch.equal(refined, draft), "an autoencoder alone"
    agrees(draft, tensors, "eval.decoded")
    one, other = (style_of(doors, gan, photo[i : i + 1]) for i in (0, 1))
    mix = doors.SketchGANMixStyles.execute
    agrees(decode(doors, gan, sketch[:1], mix(one, other, 0.75, 0.75, 0.75, 1)[0])[1], tensors, "eval.interp_0p25_0p75")
    agrees(decode(doors, gan, sketch[:1], mix(one, other, 0.0, 0.0, 1.0, 1)[0])[1], tensors, "eval.levelmix")


def test_the_recorded_generator_behind_the_socket(doors, gan_folder, room, pictures):
    """The generator of a published GAN file gives the recorded picture; the door gives what it gives at its noise."""
    generator = room("networks.sketchgan.refiner").refiner("art", width=8, spectral=True)
    generator = known.fill(generator, "g.", 12).float()
    parts = zip(("style_encoder", "content_encoder", "decoder"), golden_autoencoder(room).values(), strict=True)
    ae = {f"{name}.{key}": value for name, part in parts for key, value in part.items()}
    torch.save({"ig": generator.state_dict(), "id": {}, "ae": ae}, gan_folder / "18.pth")
    gan = load(doors, "18.pth")
    network = gan.network

    tensors, _ = known.recorded("gen_art_nfc8_512")
    draft = known.grown(tensors["in.image_thumb"]).float()
    styles = [tensors[f"in.style_{name}"].float() for name in (32, 16, 8)]
    recorded = [known.noise(i, 12, shape) for i, shape in enumerate(network.generator.noise_shapes(2))]
    agrees(as_image(network.refined(draft, styles, recorded)), tensors, "eval.image")
    agrees(as_image(network.refined(draft, styles, recorded, batch=True)), tensors, "train.image")

    tensors, _ = known.recorded("ae_nfc8")
    sketch, photo = (known.grown(tensors[f"in.{name}_thumb"]).float() for name in ("sketch", "rgb"))
    style = style_of(doors, gan, as_image(photo))
    noise, _ = pictures.draws(network.generator, [3, 4])
    for statistics in pictures.STATISTICS[::2]:
        refined, draft = decode(doors, gan, as_image(sketch), style, statistics=statistics)
        expected = network(sketch, photo, noise, batch=statistics == pictures.BATCH)
        assert worst(2 * refined.movedim(-1, 1) - 1, expected) < LIMIT
        agrees(draft, tensors, "eval.decoded")


# --- batches, seeds, statistics ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["art", "shoe", "face"])
@pytest.mark.parametrize("statistics", [0, 1])
def test_a_picture_does_not_depend_on_its_batch(doors, gan_folder, published_gan, pictures, kind, statistics):
    """Batches of 1, 2 and 3: each picture is the one that its sketch, style and seed give alone."""
    torch.save(published_gan(kind), gan_folder / "g.pth")
    gan, statistics = load(doors, "g.pth"), pictures.STATISTICS[statistics]
    sketch, photo = image(3, 128, seed=1), image(3, 100, 160, seed=2)
    style = style_of(doors, gan, photo)
    assert [tuple(level.shape) for level in style.levels] == [(3, 16), (3, 32), (3, 64)]
    whole = decode(doors, gan, sketch, style, statistics=statistics)
    pair = decode(doors, gan, sketch[:2], style_of(doors, gan, photo[:2]), statistics=statistics)
    for i in range(3):
        alone = decode(
            doors, gan, sketch[i : i + 1], style_of(doors, gan, photo[i : i + 1]), seed=3 + i, statistics=statistics
        )
        for found, single in zip(whole, alone, strict=True):
            assert found.shape == (3, 128, 128, 3)
            assert worst(found[i], single[0]) < LIMIT
    assert worst(pair[0], whole[0][:2]) < LIMIT
    assert worst(whole[0], whole[1]) > 0.01, "the generator paints something of its own"


def test_seeds(doors, small_gan):
    sketch, style = image(1, 128, seed=1), style_of(doors, small_gan, image(1, 128, seed=2))
    first = decode(doors, small_gan, sketch, style)
    torch.manual_seed(99)
    again, other = decode(doors, small_gan, sketch, style), decode(doors, small_gan, sketch, style, seed=4)
    assert torch.equal(first[0], again[0])
    assert worst(first[0], other[0]) > 1e-3
    assert torch.equal(first[1], other[1]), "the draft has no noise"
    last = decode(doors, small_gan, sketch.expand(2, -1, -1, -1), style, seed=2**64 - 1)[0]
    assert worst(last[1], decode(doors, small_gan, sketch, style, seed=0)[0][0]) < LIMIT, "seeds go round"


def test_one_sketch_in_many_styles_and_many_in_one(doors, small_gan):
    sketch, photo = image(3, 128, seed=1), image(3, 128, seed=2)
    styles = style_of(doors, small_gan, photo)
    many = decode(doors, small_gan, sketch[:1], styles)
    assert worst(many[1][2], decode(doors, small_gan, sketch[:1], style_of(doors, small_gan, photo[2:]))[1][0]) < LIMIT
    one = decode(doors, small_gan, sketch, style_of(doors, small_gan, photo[:1]))
    assert one[0].shape == many[0].shape == (3, 128, 128, 3)
    assert worst(one[1], many[1]) > 0.01
    with pytest.raises(ValueError, match="The sketch has a batch of 2 and the style one of 3"):
        decode(doors, small_gan, sketch[:2], styles)


def test_statistics_keep_nothing(doors, small_gan, pictures):
    """Three ways, three pictures; what the network holds stays as it is, to the bit."""
    before = copy.deepcopy(small_gan.network.state_dict())
    sketch, style = image(2, 128, seed=1), style_of(doors, small_gan, image(2, 128, seed=2))
    made = [decode(doors, small_gan, sketch, style, statistics=name)[0] for name in pictures.STATISTICS]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert worst(made[i], made[j]) > 1e-3
    assert torch.equal(decode(doors, small_gan, sketch, style)[0], made[0])
    after = small_gan.network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not any(module.training for module in small_gan.network.modules())


def test_refine_off(doors, small_gan):
    sketch, style = image(1, 128, seed=1), style_of(doors, small_gan, image(1, 128, seed=2))
    refined, draft = decode(doors, small_gan, sketch, style, refine=False)
    assert torch.equal(refined, draft)
    assert torch.equal(draft, decode(doors, small_gan, sketch, style)[1])


# --- sizes, dtypes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(96, 200), (333, 127), (8, 8), (1, 5)])
@pytest.mark.parametrize("frame", [0, 1])
def test_any_size(doors, small_gan, pictures, height, width, frame):
    """The result has the sketch's shape and the network's size; exemplars may have any other."""
    sketch, style = image(2, height, width, seed=1), style_of(doors, small_gan, image(1, 77, 50, seed=2))
    refined, draft = decode(doors, small_gan, sketch, style, frame=pictures.FRAMES[frame])
    longer = 128 / max(height, width)
    assert refined.shape == draft.shape == (2, max(1, round(longer * height)), max(1, round(longer * width)), 3)
    assert torch.isfinite(refined).all()
    assert 0 <= float(refined.min()) <= float(refined.max()) <= 1


def test_larger_results_than_drafts(doors, gan_folder, published_gan, room):
    """1024 pixels: the draft stays at 512."""
    content = published_gan(size=512)
    generator = room("networks.sketchgan.refiner").refiner("art", width=8, size=1024, spectral=True)
    content["ig"] = generator.state_dict()
    del content["ig_ema"]
    torch.save(content, gan_folder / "large.pth")
    node = doors.SketchGANLoader.execute("large.pth")
    assert node.result[1] == 1024
    refined, draft = decode(doors, node.result[0], image(1, 90, 60), style_of(doors, node.result[0], image(1, 64)))
    assert refined.shape == (1, 1024, 683, 3)
    assert draft.shape == (1, 512, 341, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_and_images(doors, gan_folder, files, published_gan, small_gan, dtype):
    """Files in half precision compute in float32, as the other networks beside a MODEL; so do pictures."""
    folded = files.for_use(files.flat(published_gan()))
    halved = {key: value.to(dtype) if value.is_floating_point() else value for key, value in folded.items()}
    save_file(halved, gan_folder / "half.safetensors")
    gan = load(doors, "half.safetensors")
    assert next(gan.network.parameters()).dtype == torch.float32
    sketch, photo = image(1, 128, seed=1), image(1, 128, seed=2)
    exact = decode(doors, small_gan, sketch, style_of(doors, small_gan, photo))
    made = decode(doors, gan, sketch.to(dtype), style_of(doors, gan, photo.to(dtype)))
    for found, expected in zip(made, exact, strict=True):
        assert found.dtype == torch.float32
        assert float((found - expected).abs().mean()) < 0.02


def test_channels(doors, small_gan):
    """A grey sketch, one with transparency, and a grey exemplar are read like their three equal channels."""
    grey = image(1, 128, seed=1)[..., :1]
    three, four = grey.expand(-1, -1, -1, 3), torch.cat([grey.expand(-1, -1, -1, 3), torch.rand(1, 128, 128, 1)], -1)
    found = [decode(doors, small_gan, x, style_of(doors, small_gan, x))[0] for x in (grey, three, four)]
    assert worst(found[0], found[1]) < LIMIT
    assert worst(found[1], found[2]) < LIMIT


# --- collage, matrix --------------------------------------------------------------------------------------------------


def test_a_collage_is_one_style(doors, small_gan, pictures):
    photos = image(4, 128, seed=2)
    style = style_of(doors, small_gan, photos, pictures.ROWS)
    assert len(style) == 1
    stitched = torch.cat([torch.cat([photos[0], photos[1]], 1), torch.cat([photos[2], photos[3]], 1)])[None]
    same = style_of(doors, small_gan, stitched)
    assert all(worst(a, b) < LIMIT for a, b in zip(style.levels, same.levels, strict=True))
    assert all(
        worst(a, b) > 1e-3 for a, b in zip(style.levels, style_of(doors, small_gan, photos[:1]).levels, strict=True)
    )


def test_matrix(doors, small_gan, pictures):
    """Every cell is what Decode paints of its sketch and exemplar at that seed, and stands where it should."""
    sketches, exemplars = image(2, 64, 128, seed=1), image(3, 128, seed=2)
    run = doors.SketchGANMatrix.execute
    sheet, cells = run(small_gan, sketches, exemplars, "refined", 64, 7, pictures.RUNNING, pictures.STRETCHED).result
    assert cells.shape == (6, 64, 128, 3)
    alone = decode(doors, small_gan, sketches[1:], style_of(doors, small_gan, exemplars[2:]), seed=7)
    assert worst(cells[5], alone[0][0]) < LIMIT
    assert sheet.shape[0] == 1
    drafts = run(small_gan, sketches, exemplars, "drafts", 64, 7, pictures.RUNNING, pictures.STRETCHED).result
    assert worst(drafts[1][5], alone[1][0]) < LIMIT
    assert drafts[0].shape == sheet.shape
    both = run(small_gan, sketches, exemplars, "refined and drafts", 64, 7, pictures.RUNNING, pictures.STRETCHED).result
    assert torch.equal(both[1], cells)
    rows = (both[0].shape[1] - sheet.shape[1]) / (64 // 2)
    assert 2 <= rows < 3, "two more rows of half a cell's height, with gaps"


def test_matrix_of_grey_pictures(doors, small_gan, pictures):
    """One channel, as masks turned into images have."""
    sketches, exemplars = image(1, 64, seed=1).mean(-1, keepdim=True), image(1, 64, seed=2).mean(-1, keepdim=True)
    ways = "drafts", 64, 7, pictures.RUNNING, pictures.STRETCHED
    grey = doors.SketchGANMatrix.execute(small_gan, sketches, exemplars, *ways).result
    colours = [x.expand(-1, -1, -1, 3) for x in (sketches, exemplars)]
    assert all(map(torch.equal, grey, doors.SketchGANMatrix.execute(small_gan, *colours, *ways).result))


def test_a_photo_as_sketch_is_told(doors, small_gan, pictures, room, monkeypatch):
    """Once for all styles, by number in a batch; not for lines on paper."""
    monkeypatch.setattr(room("host"), "say_on_node", lambda node_id, text: None)
    lines, photo = torch.ones(1, 64, 64, 3), image(1, 64, seed=3)
    lines[:, 20:22] = 0
    styles = style_of(doors, small_gan, image(2, 128, seed=2))

    def told(sketch, style):
        ways = pictures.RUNNING, pictures.STRETCHED
        made = doors.SketchGANDecode.execute(small_gan, sketch, style, False, 0, *ways).ui
        return "" if made is None else made.as_dict()["text"][0]

    assert told(lines, styles) == ""
    assert told(photo, styles).startswith("The sketch looks like a photo or a painting")
    assert told(torch.cat([lines, photo]), styles).startswith("Sketch 1 (counted from 0) looks like a photo")
    ways = "drafts", 64, 7, pictures.RUNNING, pictures.STRETCHED
    assert doors.SketchGANMatrix.execute(small_gan, lines, image(1, 64), *ways).ui is None
    assert doors.SketchGANMatrix.execute(small_gan, photo, image(1, 64), *ways).ui is not None


# --- Cancel -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2])
def test_cancel(doors, small_gan, pictures, after):
    """Pressed when so many pictures are done, it is heard before the next one is; the next run is as ever."""
    import comfy.model_management

    sketch, style = image(3, 128, seed=1), style_of(doors, small_gan, image(1, 128, seed=2))
    before = decode(doors, small_gan, sketch, style, statistics=pictures.OWN)
    done = []

    class Bar:
        def update(self, count):
            done.append(count)
            comfy.model_management.interrupt_current_processing(len(done) == after)

    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            doors.decode(small_gan, sketch, style, [3, 4, 5], Bar(), True, pictures.OWN, pictures.STRETCHED)
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert done == [1] * after
    assert all(map(torch.equal, decode(doors, small_gan, sketch, style, statistics=pictures.OWN), before))


def test_under_the_hosts_management(doors, small_gan):
    import comfy.model_management

    comfy.model_management.unload_all_models()
    style = style_of(doors, small_gan, image(1, 128))
    loaded = [model.model for model in comfy.model_management.current_loaded_models]
    assert any(model is small_gan.patcher or model.is_clone(small_gan.patcher) for model in loaded)
    decode(doors, small_gan, image(1, 128), style)
    comfy.model_management.unload_all_models()
    decode(doors, small_gan, image(1, 128), style)


# --- over HTTP --------------------------------------------------------------------------------------------------------


def test_a_whole_graph_on_the_live_host(server, published_gan):
    """Sketch, style, mix, matrix, and a photo drawn and painted anew, all widgets at their defaults."""
    path = server.base / "models" / "sketch_gan"
    path.mkdir(parents=True, exist_ok=True)
    torch.save(published_gan(), path / "tiny.pth")
    info = server.object_info()

    def node(class_type, **inputs):
        return {"class_type": class_type, "inputs": {**graph.widget_inputs({}, info[class_type]), **inputs}}

    gan, styles = {"gan": ["gan", 0]}, {"style_a": ["style", 0], "style_b": ["other", 0]}
    prompt = {
        "gan": node("SketchGANLoader", gan="tiny.pth"),
        "sketch": node("SketchLoader", image="line drawing - lake and peaks (sample).png [temp]"),
        "photo": node("SketchLoader", image="photo - evening lake (sample).png [temp]", size=64),
        "meadow": node("SketchLoader", image="photo - mountain meadow (sample).png [temp]", size=64),
        "style": node("SketchGANStyle", image=["photo", 0], **gan),
        "other": node("SketchGANStyle", image=["meadow", 0], **gan),
        "mix": node("SketchGANMixStyles", **styles, steps=3),
        "decode": node("SketchGANDecode", sketch=["sketch", 0], style=["mix", 0], **gan),
        "result": node("PreviewImage", images=["decode", 0]),
        "matrix": node("SketchGANMatrix", sketches=["sketch", 0], exemplars=["photo", 0], **gan),
        "sheet": node("PreviewImage", images=["matrix", 0]),
        "lines": node("SketchPhotoToSketch", image=["meadow", 0], threshold=0.7),
        "anew": node("SketchGANDecode", sketch=["lines", 0], style=["style", 0], **gan),
        "transfer": node("PreviewImage", images=["anew", 0]),
    }

    def painted(outputs):  # pixels: the files also hold the prompt
        return [np.array(Image.open(io.BytesIO(server.picture(image)))) for image in outputs["result"]["images"]]

    outputs = server.run(prompt)
    assert "Sketch GAN, art: 128 x 128 pixels, width 8." in outputs["gan"]["text"][0]
    shots = painted(outputs)
    assert len({shot.tobytes() for shot in shots}) == 3, "three steps, three pictures"
    assert len(outputs["sheet"]["images"]) == len(outputs["transfer"]["images"]) == 1
    del prompt["matrix"], prompt["sheet"], prompt["anew"], prompt["transfer"]
    prompt["decode"]["inputs"]["seed"] = 5
    assert not np.array_equal(painted(server.run(prompt))[0], shots[0])
    prompt["decode"]["inputs"]["seed"] = 0
    assert all(map(np.array_equal, painted(server.run(prompt)), shots))
