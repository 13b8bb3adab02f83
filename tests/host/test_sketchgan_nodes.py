"""The sketch GAN's doors in the real host: recorded numbers, batches, sizes, seeds, statistics, Cancel, bad files."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import convert
import graph
import sketchgan_golden as known

LIMIT = 5e-5
VGG8 = ((8, 8), (16, 16), (32, 32, 32), (64, 64, 64), (64, 64, 64))


@pytest.fixture(scope="module")
def doors(pack, room):
    return room("nodes.sketchgan")


@pytest.fixture(scope="module")
def pictures(room):
    return room("guidance.gan_pictures")


@pytest.fixture(scope="module")
def files(room):
    return room("networks.sketchgan")


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes():
    with torch.inference_mode():
        yield


def model_folder(name):
    import folder_paths

    path = Path(folder_paths.get_folder_paths(name)[0])
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def folder(doors):
    """models/sketch_gan of the test host, empty before and after."""
    path = model_folder(doors.FOLDER)
    yield path
    for file in path.iterdir():
        file.unlink()


@pytest.fixture(scope="module")
def published(room):
    """A published GAN file of width 8 with random weights, and statistics that fit them; by kind and size."""
    ae, gan = room("networks.sketchgan_ae"), room("networks.sketchgan_gan")

    def make(kind="art", size=128):
        with torch.inference_mode(False), torch.no_grad():
            torch.manual_seed(0)
            style = ae.StyleEncoder(width=8, classes=4, spectral=True)
            content = ae.ContentEncoder(width=8, spectral=True)
            decoder = ae.Decoder(width=8, size=size, spectral=True)
            generator = gan.refiner(kind, width=8, size=size, spectral=True)
            for layer in (layer for net in (style, content, decoder, generator) for layer in net.modules()):
                if isinstance(layer, nn.BatchNorm2d):
                    layer.momentum = 1.0
                if type(layer).__name__ == "Noise":
                    layer.weight.fill_(0.1)
            styles = style(smooth(4, 3, size))
            noise = [torch.randn(shape) for shape in generator.noise_shapes(4)]
            generator(decoder(content(smooth(4, 1, size)), styles), styles, noise)
            parts = {"style_encoder": style, "content_encoder": content, "decoder": decoder}
            return {
                "ig": {f"module.{key}": value for key, value in generator.state_dict().items()},
                "id": gan.Discriminator(width=8).state_dict(),
                "ae": {f"{name}.{k}": value for name, part in parts.items() for k, value in part.state_dict().items()},
                "ig_ema": [value * 1.02 for value in generator.parameters()],
                "opt_ig": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4}]},
            }

    return make


def smooth(count, channels, height, width=0, seed=0):
    """Smooth random pictures [count,channels,height,width] in [-1,1]."""
    coarse = torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return nn.functional.interpolate(coarse, (height, width or height), mode="bilinear")


def image(count, height, width=0, seed=0):
    return (smooth(count, 3, height, width, seed).movedim(1, -1) + 1) / 2


def as_image(x):
    """From [-1,1] with 1 or 3 channels to IMAGE."""
    return ((x.float() + 1) / 2).movedim(1, -1).expand(-1, -1, -1, 3)


def load(doors, name):
    return doors.SketchGANLoader.execute(name).result[0]


def style_of(doors, gan, photo, collage=None):
    return doors.SketchGANStyle.execute(gan, photo, collage or "each picture by itself").result[0]


def decode(doors, gan, sketch, style, refine=True, seed=3, statistics="of the training", frame=None):
    frame = frame or "stretched and restored"
    return doors.SketchGANDecode.execute(gan, sketch, style, refine, seed, statistics, frame).result


def worst(found, expected):
    return float((found.double() - expected.double()).abs().max())


@pytest.fixture
def small(doors, folder, published):
    """The art GAN of 128 pixels behind its socket."""
    torch.save(published(), folder / "small.pth")
    return load(doors, "small.pth")


# --- recorded numbers -------------------------------------------------------------------------------------------------


def golden_autoencoder(room):
    ae = room("networks.sketchgan_ae")
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


def test_the_recorded_autoencoder_through_the_doors(doors, folder, room):
    """Own, blended and level-mixed styles of the official code, from a published file and whole IMAGEs."""
    tensors, _ = known.recorded("ae_nfc8")
    torch.save({**golden_autoencoder(room), "opt_s": {"state": {}}}, folder / "12000.pth")
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


def test_the_recorded_generator_behind_the_socket(doors, folder, room, pictures):
    """The generator of a published GAN file gives the recorded picture; the door gives what it gives at its noise."""
    generator = room("networks.sketchgan_gan").refiner("art", width=8, spectral=True)
    generator = known.fill(generator, "g.", 12).float()
    parts = zip(("style_encoder", "content_encoder", "decoder"), golden_autoencoder(room).values(), strict=True)
    ae = {f"{name}.{key}": value for name, part in parts for key, value in part.items()}
    torch.save({"ig": generator.state_dict(), "id": {}, "ae": ae}, folder / "18.pth")
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
def test_a_picture_does_not_depend_on_its_batch(doors, folder, published, pictures, kind, statistics):
    """Batches of 1, 2 and 3: each picture is the one that its sketch, style and seed give alone."""
    torch.save(published(kind), folder / "g.pth")
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


def test_seeds(doors, small):
    sketch, style = image(1, 128, seed=1), style_of(doors, small, image(1, 128, seed=2))
    first = decode(doors, small, sketch, style)
    torch.manual_seed(99)
    again, other = decode(doors, small, sketch, style), decode(doors, small, sketch, style, seed=4)
    assert torch.equal(first[0], again[0])
    assert worst(first[0], other[0]) > 1e-3
    assert torch.equal(first[1], other[1]), "the draft has no noise"
    last = decode(doors, small, sketch.expand(2, -1, -1, -1), style, seed=2**64 - 1)[0]
    assert worst(last[1], decode(doors, small, sketch, style, seed=0)[0][0]) < LIMIT, "seeds go round"


def test_one_sketch_in_many_styles_and_many_in_one(doors, small):
    sketch, photo = image(3, 128, seed=1), image(3, 128, seed=2)
    styles = style_of(doors, small, photo)
    many = decode(doors, small, sketch[:1], styles)
    assert worst(many[1][2], decode(doors, small, sketch[:1], style_of(doors, small, photo[2:]))[1][0]) < LIMIT
    one = decode(doors, small, sketch, style_of(doors, small, photo[:1]))
    assert one[0].shape == many[0].shape == (3, 128, 128, 3)
    assert worst(one[1], many[1]) > 0.01
    with pytest.raises(ValueError, match="The sketch has a batch of 2 and the style one of 3"):
        decode(doors, small, sketch[:2], styles)


def test_statistics_keep_nothing(doors, small, pictures):
    """Three ways, three pictures; what the network holds stays as it is, to the bit."""
    before = copy.deepcopy(small.network.state_dict())
    sketch, style = image(2, 128, seed=1), style_of(doors, small, image(2, 128, seed=2))
    made = [decode(doors, small, sketch, style, statistics=name)[0] for name in pictures.STATISTICS]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert worst(made[i], made[j]) > 1e-3
    assert torch.equal(decode(doors, small, sketch, style)[0], made[0])
    after = small.network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not any(module.training for module in small.network.modules())


def test_refine_off(doors, small):
    sketch, style = image(1, 128, seed=1), style_of(doors, small, image(1, 128, seed=2))
    refined, draft = decode(doors, small, sketch, style, refine=False)
    assert torch.equal(refined, draft)
    assert torch.equal(draft, decode(doors, small, sketch, style)[1])


# --- sizes, dtypes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(96, 200), (333, 127), (8, 8), (1, 5)])
@pytest.mark.parametrize("frame", [0, 1])
def test_any_size(doors, small, pictures, height, width, frame):
    """The result has the sketch's shape and the network's size; exemplars may have any other."""
    sketch, style = image(2, height, width, seed=1), style_of(doors, small, image(1, 77, 50, seed=2))
    refined, draft = decode(doors, small, sketch, style, frame=pictures.FRAMES[frame])
    longer = 128 / max(height, width)
    assert refined.shape == draft.shape == (2, max(1, round(longer * height)), max(1, round(longer * width)), 3)
    assert torch.isfinite(refined).all()
    assert 0 <= float(refined.min()) <= float(refined.max()) <= 1


def test_larger_results_than_drafts(doors, folder, published, room):
    """1024 pixels: the draft stays at 512."""
    content = published(size=512)
    generator = room("networks.sketchgan_gan").refiner("art", width=8, size=1024, spectral=True)
    content["ig"] = generator.state_dict()
    del content["ig_ema"]
    torch.save(content, folder / "large.pth")
    node = doors.SketchGANLoader.execute("large.pth")
    assert node.result[1] == 1024
    refined, draft = decode(doors, node.result[0], image(1, 90, 60), style_of(doors, node.result[0], image(1, 64)))
    assert refined.shape == (1, 1024, 683, 3)
    assert draft.shape == (1, 512, 341, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_and_images(doors, folder, files, published, small, dtype):
    """Files in half precision compute in float32, as the other networks beside a MODEL; so do pictures."""
    folded = files.for_use(files.flat(published()))
    halved = {key: value.to(dtype) if value.is_floating_point() else value for key, value in folded.items()}
    save_file(halved, folder / "half.safetensors")
    gan = load(doors, "half.safetensors")
    assert next(gan.network.parameters()).dtype == torch.float32
    sketch, photo = image(1, 128, seed=1), image(1, 128, seed=2)
    exact = decode(doors, small, sketch, style_of(doors, small, photo))
    made = decode(doors, gan, sketch.to(dtype), style_of(doors, gan, photo.to(dtype)))
    for found, expected in zip(made, exact, strict=True):
        assert found.dtype == torch.float32
        assert float((found - expected).abs().mean()) < 0.02


def test_channels(doors, small):
    """A grey sketch, one with transparency, and a grey exemplar are read like their three equal channels."""
    grey = image(1, 128, seed=1)[..., :1]
    three, four = grey.expand(-1, -1, -1, 3), torch.cat([grey.expand(-1, -1, -1, 3), torch.rand(1, 128, 128, 1)], -1)
    found = [decode(doors, small, x, style_of(doors, small, x))[0] for x in (grey, three, four)]
    assert worst(found[0], found[1]) < LIMIT
    assert worst(found[1], found[2]) < LIMIT


# --- collage, matrix --------------------------------------------------------------------------------------------------


def test_a_collage_is_one_style(doors, small, pictures):
    photos = image(4, 128, seed=2)
    style = style_of(doors, small, photos, pictures.ROWS)
    assert len(style) == 1
    stitched = torch.cat([torch.cat([photos[0], photos[1]], 1), torch.cat([photos[2], photos[3]], 1)])[None]
    same = style_of(doors, small, stitched)
    assert all(worst(a, b) < LIMIT for a, b in zip(style.levels, same.levels, strict=True))
    assert all(worst(a, b) > 1e-3 for a, b in zip(style.levels, style_of(doors, small, photos[:1]).levels, strict=True))


def test_matrix(doors, small, pictures):
    """Every cell is what Decode paints of its sketch and exemplar at that seed, and stands where it should."""
    sketches, exemplars = image(2, 64, 128, seed=1), image(3, 128, seed=2)
    run = doors.SketchGANMatrix.execute
    sheet, cells = run(small, sketches, exemplars, "refined", 64, 7, pictures.RUNNING, pictures.STRETCHED).result
    assert cells.shape == (6, 64, 128, 3)
    alone = decode(doors, small, sketches[1:], style_of(doors, small, exemplars[2:]), seed=7)
    assert worst(cells[5], alone[0][0]) < LIMIT
    assert sheet.shape[0] == 1
    drafts = run(small, sketches, exemplars, "drafts", 64, 7, pictures.RUNNING, pictures.STRETCHED).result
    assert worst(drafts[1][5], alone[1][0]) < LIMIT
    assert drafts[0].shape == sheet.shape
    both = run(small, sketches, exemplars, "refined and drafts", 64, 7, pictures.RUNNING, pictures.STRETCHED).result
    assert torch.equal(both[1], cells)
    rows = (both[0].shape[1] - sheet.shape[1]) / (64 // 2)
    assert 2 <= rows < 3, "two more rows of half a cell's height, with gaps"


# --- Cancel -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2])
def test_cancel(doors, small, pictures, after):
    """Pressed when so many pictures are done, it is heard before the next one is; the next run is as ever."""
    import comfy.model_management

    sketch, style = image(3, 128, seed=1), style_of(doors, small, image(1, 128, seed=2))
    before = decode(doors, small, sketch, style, statistics=pictures.OWN)
    done = []

    class Bar:
        def update(self, count):
            done.append(count)
            comfy.model_management.interrupt_current_processing(len(done) == after)

    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            doors.decode(small, sketch, style, [3, 4, 5], Bar(), True, pictures.OWN, pictures.STRETCHED)
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert done == [1] * after
    assert all(map(torch.equal, decode(doors, small, sketch, style, statistics=pictures.OWN), before))


def test_under_the_hosts_management(doors, small):
    import comfy.model_management

    comfy.model_management.unload_all_models()
    style = style_of(doors, small, image(1, 128))
    loaded = [model.model for model in comfy.model_management.current_loaded_models]
    assert any(model is small.patcher or model.is_clone(small.patcher) for model in loaded)
    decode(doors, small, image(1, 128), style)
    comfy.model_management.unload_all_models()
    decode(doors, small, image(1, 128), style)


# --- files ------------------------------------------------------------------------------------------------------------


def test_every_form_of_a_file(doors, folder, files, published, small):
    """Nested pickle, flat safetensors of training, and converted ones both ways: the same pictures."""
    flat = files.flat(published())
    save_file({key: value.clone().contiguous() for key, value in flat.items()}, folder / "flat.safetensors")
    convert.convert(folder / "small.pth", folder / "use.safetensors")
    convert.convert(folder / "small.pth", folder / "all.safetensors", training=True)
    use, whole = load_file(folder / "use.safetensors"), load_file(folder / "all.safetensors")
    assert not any(key.endswith(("weight_orig", "weight_u")) or key.startswith("id.") for key in use)
    assert whole.keys() == flat.keys()
    assert all(torch.equal(value, flat[key]) for key, value in whole.items())
    sketch, photo = image(1, 128, seed=1), image(1, 128, seed=2)
    expected = decode(doors, small, sketch, style_of(doors, small, photo))
    for name in ("flat", "use", "all"):
        gan = load(doors, f"{name}.safetensors")
        made = decode(doors, gan, sketch, style_of(doors, gan, photo))
        assert max(map(worst, made, expected)) < 1e-5, name


def test_the_averaged_weights_are_used(doors, folder, published, small):
    content = published()
    del content["ig_ema"]
    torch.save(content, folder / "bare.pth")
    bare = load(doors, "bare.pth")
    sketch, photo = image(1, 128, seed=1), image(1, 128, seed=2)
    one, other = (decode(doors, gan, sketch, style_of(doors, gan, photo)) for gan in (small, bare))
    assert worst(one[0], other[0]) > 1e-4
    assert torch.equal(one[1], other[1])


def test_the_built_in_one(doors, files, published, monkeypatch, tmp_path):
    """Read from the pack's own folder once it is there; until then the sentence says so."""
    assert doors.SketchGANLoader.define_schema().inputs[0].options[0] == "starter (built in)"
    path = tmp_path / "gan.safetensors"
    monkeypatch.setattr(doors, "STARTER_GAN", path)
    assert doors.SketchGANLoader.validate_inputs("starter (built in)") == (
        f"The built-in weights are missing ({path}): the pack is incomplete, install it again."
    )
    folded = files.for_use(files.flat(published()))
    save_file({k: v.half() if v.is_floating_point() else v for k, v in folded.items()}, path)
    assert doors.SketchGANLoader.validate_inputs("starter (built in)") is True
    node = doors.SketchGANLoader.execute("starter (built in)")
    assert (node.result[0].name, node.result[1]) == ("starter (built in)", 128)
    assert "Sketch GAN, art: 128 x 128 pixels, width 8." in node.ui.as_dict()["text"][0]


def without(content, key):
    part, _, rest = key.partition(".")
    return {**content, part: {k: v for k, v in content[part].items() if not k.endswith(rest)}}


FAULTS = {
    "TOM": (
        lambda make: {"g": tom_weights(), "ds": {}},
        "'p.pth' is a sketch extractor (TOM), not a sketch GAN. Put it into models/sketch_extractors and load it with "
        "Load Sketch Extractor.",
    ),
    "something else": (
        lambda make: {"b": torch.zeros(2), "a": torch.zeros(2)},
        "'p.pth' is not a sketch GAN known here (first keys: a, b). Supported are: sketch GAN; sketch GAN, autoencoder "
        "alone; sketch GAN, folded.",
    ),
    "lacking a tensor": (
        lambda make: without(make(), "ae.decoder.dmi_8.weight_a"),
        "These weights look like sketch GAN but do not fit it: tensors 1 missing (such as decoder.dmi_8.weight_a). The "
        "file may be damaged or a variant that is not supported.",
    ),
    "averages without a generator": (
        lambda make: {key: value for key, value in make().items() if key != "ig"},
        "'p.pth' looks like a sketch GAN, but its generator lacks the tensor 'from_noise_32.1.weight'. The file may be "
        "damaged.",
    ),
    "averages of another network": (
        lambda make: {**make(), "ig_ema": make()["ig_ema"][:-1]},
        "The averaged weights (ig_ema) of this sketch GAN do not fit its generator: 97 tensors for 98 parameters, or "
        "other shapes. The file may be damaged.",
    ),
    "parts of two sizes": (
        lambda make: {"ae": make(size=256)["ae"], "ig": make()["ig"]},
        "This sketch GAN's autoencoder (width 8, 256 pixels) and its generator (width 8, 128 pixels) do not belong "
        "together: convert it again from the files of one training run.",
    ),
    "an unknown size": (
        lambda make: {"ae": {**make()["ae"], "decoder.base_feat": torch.zeros(1, 64, 6, 6)}},
        "The sketch autoencoder works at 128, 256 or 512 pixels a side, not 384: choose one of those sizes.",
    ),
}


def tom_weights():
    return {
        "decode_32.main.2.weight": torch.zeros(2),
        "decode_64.main.2.weight": torch.zeros(2),
        "final.0.bias": torch.zeros(3),
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_file(doors, folder, published, fault):
    content, sentence = FAULTS[fault]
    torch.save(content(published), folder / "p.pth")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        load(doors, "p.pth")
    assert str(caught.value) == sentence


def test_other_loaders_send_it_here(room, folder, published):
    path = model_folder("sketch_extractors") / "p.pth"
    torch.save(published(), path)
    try:
        with pytest.raises(ValueError, match=r"'p\.pth' is a sketch GAN.*load it with Load Sketch GAN\."):
            room("nodes.experts").load_extractor("p.pth")
    finally:
        path.unlink()


def test_a_missing_file(doors, folder):
    assert doors.SketchGANLoader.validate_inputs(gan="mine.pth") == (
        f"The sketch GAN 'mine.pth' was not found in models/sketch_gan ({folder}). Put it there, or choose another; "
        "models_manifest.json in the pack's folder lists files that work."
    )
    assert doors.SketchGANLoader.validate_inputs() is True


def test_a_style_of_another_width(doors, small, pictures):
    style = pictures.Style(tuple(torch.zeros(1, times * 16) for times in (2, 4, 8)))
    with pytest.raises(ValueError, match="This style comes from a sketch GAN of width 16, but this one has width 8"):
        decode(doors, small, image(1, 128), style)


# --- TOM as an extractor ----------------------------------------------------------------------------------------------


@pytest.fixture
def experts(room):
    yield room("nodes.experts")
    for name in ("sketch_extractors", "sketch_features"):
        for file in model_folder(name).iterdir():
            file.unlink()


def golden_tom(room):
    """The recorded TOM's generator in float32, and its VGG of an eighth of the width."""
    g = known.fill(room("networks.tom").Generator(channels=32, width=16, spectral=True), "g.", 14)
    vgg = known.fill(room("networks.vgg").VGG(widths=VGG8), "vgg.", 14, 1.4)
    return ({k: v.float() if v.is_floating_point() else v for k, v in net.state_dict().items()} for net in (g, vgg))


def test_photo_to_sketch_with_a_tom(experts, room):
    """The recorded drawing, by a published file with its VGG connected, and by one that brings it along."""
    g, vgg = golden_tom(room)
    torch.save({"g": g, "ds": {}}, model_folder("sketch_extractors") / "700_model.pth")
    torch.save(vgg, model_folder("sketch_features") / "vgg.pth")
    own = {**{f"g.{k}": v for k, v in g.items()}, **{f"vgg.{k}": v for k, v in vgg.items()}}
    save_file(own, model_folder("sketch_extractors") / "own.safetensors")
    tensors, _ = known.recorded("tom_im128")
    photo = as_image(known.grown(tensors["in.content_thumb"], 128))
    step = 128 // tensors["out.g_eval.strided"].shape[-1]
    expected = (tensors["out.g_eval.strided"].mean(1) + 1) / 2
    features = experts.load_features("vgg.pth")
    for name, connected in (("700_model.pth", features), ("own.safetensors", None), ("own.safetensors", features)):
        tom = experts.SketchExtractorLoader.execute(name, connected).result[0]
        (sketch,) = experts.SketchPhotoToSketch.execute(photo, tom).result
        assert sketch.shape == photo.shape
        assert worst(sketch[:, ::step, ::step, 0], expected) < 1e-5
    middle = float(sketch.median())
    (inked,) = experts.SketchPhotoToSketch.execute(photo, tom, middle).result
    assert set(inked.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(inked == 1, sketch > middle)
    odd = experts.SketchPhotoToSketch.execute(image(2, 37, 90), tom).result[0]
    assert odd.shape == (2, 37, 90, 3)


def test_a_tom_without_its_vgg(experts, room):
    g, _ = golden_tom(room)
    torch.save({"g": g, "ds": {}}, model_folder("sketch_extractors") / "t.pth")
    wide = room("networks.vgg").VGG(widths=[[2 * width for width in stage] for stage in VGG8]).state_dict()
    torch.save(
        {k: v for k, v in wide.items() if k.startswith("features.")}, model_folder("sketch_features") / "wide.pth"
    )
    with pytest.raises(
        ValueError, match=r"'t\.pth' is a TOM without the feature network.*Load Sketch Features\) to features"
    ):
        experts.load_extractor("t.pth")
    with pytest.raises(
        ValueError, match=r"looks at the 32 channels of a VGG's third stage; 'wide\.pth' has 64 of them"
    ):
        experts.load_extractor("t.pth", experts.load_features("wide.pth"))
    other = room("guidance.features").Domain("dse.pth", None)
    with pytest.raises(ValueError, match=r"looks through a VGG, which 'dse\.pth' is not\. Load VGG16 for features"):
        experts.load_extractor("t.pth", other)


# --- over HTTP --------------------------------------------------------------------------------------------------------


def test_a_whole_graph_on_the_live_host(server, published):
    """Sketch, style, mix, matrix, and a photo drawn and painted anew, all widgets at their defaults."""
    path = server.base / "models" / "sketch_gan"
    path.mkdir(parents=True, exist_ok=True)
    torch.save(published(), path / "tiny.pth")
    info = server.object_info()

    def node(class_type, **inputs):
        return {"class_type": class_type, "inputs": {**graph.widget_inputs({}, info[class_type]), **inputs}}

    gan, styles = {"gan": ["gan", 0]}, {"style_a": ["style", 0], "style_b": ["other", 0]}
    prompt = {
        "gan": node("SketchGANLoader", gan="tiny.pth"),
        "sketch": node("SketchLoader", file="sample: line drawing - lake and peaks.png"),
        "photo": node("SketchLoader", file="sample: photo - evening lake.png", size=64),
        "meadow": node("SketchLoader", file="sample: photo - mountain meadow.png", size=64),
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
