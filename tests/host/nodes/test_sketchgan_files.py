"""Files of the sketch GAN and of TOM in the real host: every form, averaged weights, the built-in one, bad ones."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import sketchgan_golden as known
from helpers.sketchgan_doors import as_image, decode, image, load, model_folder, style_of
from helpers.sketchgan_golden import worst
from tools import convert

VGG8 = ((8, 8), (16, 16), (32, 32, 32), (64, 64, 64), (64, 64, 64))


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


# --- files ------------------------------------------------------------------------------------------------------------


def test_every_form_of_a_file(doors, gan_folder, files, published_gan, small_gan):
    """Nested pickle, flat safetensors of training, and converted ones both ways: the same pictures."""
    flat = files.flat(published_gan())
    save_file({key: value.clone().contiguous() for key, value in flat.items()}, gan_folder / "flat.safetensors")
    convert.convert(gan_folder / "small.pth", gan_folder / "use.safetensors")
    convert.convert(gan_folder / "small.pth", gan_folder / "all.safetensors", training=True)
    use, whole = load_file(gan_folder / "use.safetensors"), load_file(gan_folder / "all.safetensors")
    assert not any(key.endswith(("weight_orig", "weight_u")) or key.startswith("id.") for key in use)
    assert whole.keys() == flat.keys()
    assert all(torch.equal(value, flat[key]) for key, value in whole.items())
    sketch, photo = image(1, 128, seed=1), image(1, 128, seed=2)
    expected = decode(doors, small_gan, sketch, style_of(doors, small_gan, photo))
    for name in ("flat", "use", "all"):
        gan = load(doors, f"{name}.safetensors")
        made = decode(doors, gan, sketch, style_of(doors, gan, photo))
        assert max(map(worst, made, expected)) < 1e-5, name


def test_the_averaged_weights_are_used(doors, gan_folder, published_gan, small_gan):
    content = published_gan()
    del content["ig_ema"]
    torch.save(content, gan_folder / "bare.pth")
    bare = load(doors, "bare.pth")
    sketch, photo = image(1, 128, seed=1), image(1, 128, seed=2)
    one, other = (decode(doors, gan, sketch, style_of(doors, gan, photo)) for gan in (small_gan, bare))
    assert worst(one[0], other[0]) > 1e-4
    assert torch.equal(one[1], other[1])


def test_the_built_in_one(doors, files, published_gan, monkeypatch, tmp_path):
    """Read from the pack's own gan_folder once it is there; until then the sentence says so."""
    assert doors.SketchGANLoader.define_schema().inputs[0].options[0] == "starter (built in)"
    path = tmp_path / "gan.safetensors"
    monkeypatch.setattr(doors, "STARTER_GAN", path)
    assert doors.SketchGANLoader.validate_inputs("starter (built in)") == (
        f"The built-in weights are missing ({path}). The pack is incomplete; install it again."
    )
    folded = files.for_use(files.flat(published_gan()))
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
        "'p.pth' is not a sketch GAN of a known kind (first keys: a, b). Supported are: sketch GAN; sketch GAN, "
        "autoencoder alone; sketch GAN, folded.",
    ),
    "lacking a tensor": (
        lambda make: without(make(), "ae.decoder.dmi_8.weight_a"),
        "These weights look like sketch GAN but do not fit it: tensors 1 missing (such as decoder.dmi_8.weight_a). The "
        "file may be damaged or a variant that is not supported.",
    ),
    "averages without a generator": (
        lambda make: {key: value for key, value in make().items() if key != "ig"},
        "'p.pth' looks like a sketch GAN, but the tensor 'from_noise_32.1.weight' is missing. The file may be damaged.",
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
def test_bad_file(doors, gan_folder, published_gan, fault):
    content, sentence = FAULTS[fault]
    torch.save(content(published_gan), gan_folder / "p.pth")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        load(doors, "p.pth")
    assert str(caught.value) == sentence


def test_other_loaders_send_it_here(room, gan_folder, published_gan):
    path = model_folder("sketch_extractors") / "p.pth"
    torch.save(published_gan(), path)
    try:
        with pytest.raises(ValueError, match=r"'p\.pth' is a sketch GAN.*load it with Load Sketch GAN\."):
            room("nodes.extractors").load_extractor("p.pth")
    finally:
        path.unlink()


def test_a_missing_file(doors, gan_folder):
    assert doors.SketchGANLoader.validate_inputs(gan="mine.pth") == (
        f"The sketch GAN 'mine.pth' was not found in models/sketch_gan ({gan_folder}). Put it there, or choose "
        "another; models_manifest.json in the pack's folder lists files that work."
    )
    assert doors.SketchGANLoader.validate_inputs() is True


def test_a_style_of_another_width(doors, small_gan, pictures):
    style = pictures.Style(tuple(torch.zeros(1, times * 16) for times in (2, 4, 8)))
    with pytest.raises(ValueError, match="This style comes from a sketch GAN of width 16, but this one has width 8"):
        decode(doors, small_gan, image(1, 128), style)


# --- TOM as an extractor ----------------------------------------------------------------------------------------------


@pytest.fixture
def experts(room):
    yield room("nodes.extractors")
    for name in ("sketch_extractors", "sketch_features"):
        for file in model_folder(name).iterdir():
            file.unlink()


def golden_tom(room):
    """The recorded TOM's generator in float32, and its VGG of an eighth of the width."""
    g = known.fill(room("networks.sketchgan.tom").Generator(channels=32, width=16, spectral=True), "g.", 14)
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
    with pytest.raises(ValueError, match=r"'t\.pth' is a TOM sketch extractor saved without its VGG.*\) to features"):
        experts.load_extractor("t.pth")
    with pytest.raises(
        ValueError,
        match=r"expects a VGG of 5 stages with 32 channels in the third; 'wide\.pth' has .* 64 channels there",
    ):
        experts.load_extractor("t.pth", experts.load_features("wide.pth"))
    other = room("pictures.features").Domain("dse.pth", None)
    with pytest.raises(
        ValueError, match=r"needs a VGG, and 'dse\.pth' is not one\. Load VGG16 in Load Sketch Features"
    ):
        experts.load_extractor("t.pth", other)
