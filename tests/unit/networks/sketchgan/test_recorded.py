"""The sketch GAN's networks reproduce recorded outputs of the official ones."""

from __future__ import annotations

import copy
import os

import pytest
import torch
from torch import nn

from helpers import sketchgan_golden as known
from helpers.sketchgan_golden import noises, worst

LIMIT = 5e-5
SLOW = bool(os.environ.get("SKETCHSYNTH_SLOW"))  # the face generator is wide whatever the width: one flip will do
VGG8 = ((8, 8), (16, 16), (32, 32, 32), (64, 64, 64), (64, 64, 64))  # VGG16 an eighth as wide
VGG16 = tuple(tuple(8 * width for width in stage) for stage in VGG8)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def agrees(image, tensors, name, limit=LIMIT):
    """Every 8th pixel and a dense window of a 512-pixel picture."""
    step = image.shape[-1] // tensors[f"{name}.strided"].shape[-1]
    assert worst(image[..., ::step, ::step], tensors[f"{name}.strided"]) < limit
    assert worst(image[..., 170:194, 170:194], tensors[f"{name}.crop"]) < limit


def autoencoder(ae, width=8, seed=11, classes=6):
    """The recorded autoencoder in training form, float64."""
    style = known.fill(ae.StyleEncoder(width=width, classes=classes, spectral=True), "s.", seed)
    content = known.fill(ae.ContentEncoder(width=width, spectral=True), "c.", seed)
    return style, content, known.fill(ae.Decoder(width=width, spectral=True), "d.", seed)


def ae_file(*parts):
    return {key: part.state_dict() for key, part in zip("scd", parts, strict=True)}


# --- autoencoder ------------------------------------------------------------------------------------------------------


def test_autoencoder(networks, files, ae):
    """Folded, in float32: styles, content maps, and pictures under own, swapped, blended and mixed styles."""
    tensors, _ = known.recorded("ae_nfc8")
    network = networks.build(
        {k: v.float() if v.is_floating_point() else v for k, v in files.flat(ae_file(*autoencoder(ae))).items()}
    )
    sketch, picture = known.grown(tensors["in.sketch_thumb"]).float(), known.grown(tensors["in.rgb_thumb"]).float()
    styles, content = network.styles(picture), network.content_encoder(sketch)
    for name, style in zip((32, 16, 8), styles, strict=True):
        assert worst(style, tensors[f"eval.style_{name}"]) < LIMIT
    for name, found in zip((32, 16, 8), (content[0][..., ::2, ::2], *content[1:]), strict=True):
        assert worst(found, tensors[f"eval.content_{name}"]) < LIMIT
    agrees(network.decoder(content, styles), tensors, "eval.decoded")
    agrees(network.drafts(sketch, [style.flip(0) for style in styles]), tensors, "eval.swapped")
    blended = [0.25 * style[:1] + 0.75 * style[1:] for style in styles]
    agrees(network.drafts(sketch[:1], blended), tensors, "eval.interp_0p25_0p75")
    mixed = [styles[0][1:], styles[1][:1], styles[2][:1]]
    agrees(network.drafts(sketch[:1], mixed), tensors, "eval.levelmix")

    odd = [tensors[key].float() for key in ("in.sketch_odd", "in.rgb_odd")]  # brought to 512 by nearest pixels
    sketch, picture = (nn.functional.interpolate(x, (512, 512)) for x in odd)
    styles = network.styles(picture)
    for name, style in zip((32, 16, 8), styles, strict=True):
        assert worst(style, tensors[f"forward.style_{name}"]) < LIMIT
    agrees(network.drafts(sketch, styles), tensors, "forward.image")
    with pytest.raises(ValueError, match="512x512 pixels"):
        network.drafts(sketch[..., :256, :256], styles)


def test_autoencoder_in_training_form(ae):
    """float64, with the batch's statistics and norm vectors that move a step; and the classifier."""
    tensors, _ = known.recorded("ae_nfc8")
    nets = autoencoder(ae)
    style, content, decoder = (net.train() for net in nets)
    sketch, picture = known.grown(tensors["in.sketch_thumb"]), known.grown(tensors["in.rgb_thumb"])
    styles, maps = style(picture), content(sketch)
    for name, found in zip((32, 16, 8), styles, strict=True):
        assert worst(found, tensors[f"train.style_{name}"]) < 1e-6
    assert worst(style.which(styles[2]), tensors["train.cls_logits"]) < 1e-6
    agrees(decoder(maps, styles), tensors, "train.decoded", 1e-6)
    assert worst(style.eval().which(tensors["eval.style_8"].double()), tensors["eval.cls_logits"]) < 1e-6


def test_full_width_autoencoder(networks, published):
    tensors, scalars = known.recorded("ae_nfc64_hash")
    keys = {"s": "ckpt_ae['s'] (nfc 64, nbr_cls 500)", "c": "ckpt_ae['c']", "d": "ckpt_ae['d']"}
    flat = {
        f"{short}.{key}": value
        for short, name in keys.items()
        for key, value in known.weights(published["state_dicts"][name], f"{short}.", 16).items()
    }
    network = networks.build(flat)
    styles = network.styles(known.grown(tensors["in.rgb_thumb"]).float())
    content = network.content_encoder(known.grown(tensors["in.sketch_thumb"]).float())
    for name, found, level in zip((32, 16, 8), styles, content, strict=True):
        assert worst(found, tensors[f"style_{name}"]) < LIMIT
        assert float(level.min()) == pytest.approx(scalars[f"content_{name}.stats"]["min"], abs=LIMIT)
    agrees(network.decoder(content, styles), tensors, "image")


def test_blocks(room):
    """Mask injection, squeeze and excite, and both residual blocks, whose second training call is another."""
    layers = room("networks.sketchgan.layers")
    tensors, _ = known.recorded("ae_nfc8")
    make = layers.Layers(spectral=True)

    def loaded(block, name):
        start = f"blk.{name}."
        block.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
        return block.double().eval()

    feat = tensors["blk.feat"].double()
    inject = loaded(layers.DualMaskInjection(16, make), "dmi")
    for mask in ("half", "full"):
        assert worst(inject(feat, tensors[f"blk.mask_{mask}"].double()), tensors[f"blk.dmi_{mask}"]) < 1e-6
    excite = loaded(layers.SqueezeExcite(32, make), "se")
    assert worst(excite(tensors["blk.feat32"].double()), tensors["blk.se_out"]) < 1e-6
    assert worst(layers.GLU()(feat), tensors["blk.glu"]) < 1e-6
    for name, maker in (("resG", layers.generating_residual), ("resE", layers.encoding_residual)):
        block, options = loaded(maker(16, make), name), layers.CallOptions()
        assert worst(block(feat, options), tensors[f"blk.{name}_eval"]) < 1e-6
        block.train()
        assert worst(block(feat, options), tensors[f"blk.{name}_train1"]) < 1e-6
        assert worst(block(feat, options), tensors[f"blk.{name}_train2"]) < 1e-6


# --- refinement -------------------------------------------------------------------------------------------------------


def refinement(gan, kind, seed):
    tensors, scalars = known.recorded(f"gen_{kind}_nfc8_512")
    network = known.fill(gan.refiner(kind, width=8, spectral=True), "g.", seed)
    draft = known.grown(tensors["in.image_thumb"])
    styles = [tensors[f"in.style_{name}"].double() for name in (32, 16, 8)]
    return network, draft, styles, tensors, scalars


def buffers_agree(network, recorded):
    state = network.state_dict()
    for key, expected in recorded.items():
        assert known.checks(state[key]) == pytest.approx(expected, rel=1e-8, abs=1e-8 * expected[1] + 1e-12), key


def test_art_generator(gan):
    network, draft, styles, tensors, scalars = refinement(gan, "art", 12)
    assert [list(s) for s in network.noise_shapes(2)] == scalars["eval.noise_shapes_in_call_order"]
    agrees(network(draft, styles, noises(network, 12)), tensors, "eval.image")
    agrees(network(draft, styles, noises(network, 12 + 77)), tensors, "eval.image_noise_seed_plus77")


def test_art_generator_with_batch_statistics(gan):
    """As in training mode, but with norm vectors as they are, and nothing is kept."""
    network, draft, styles, tensors, scalars = refinement(gan, "art", 12)
    before = copy.deepcopy(network.state_dict())
    agrees(network(draft, styles, noises(network, 12), batch=True), tensors, "train.image")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    network.train()
    agrees(network(draft, styles, noises(network, 12)), tensors, "train.image", 1e-6)
    buffers_agree(network, scalars["train.buffers_checks"])


def test_face_generator(gan):
    network, draft, styles, tensors, scalars = refinement(gan, "face", 15)
    assert [list(s) for s in network.noise_shapes(1)] == scalars["eval.noise_shapes_in_call_order"]
    half = [style.float() for style in styles]
    for rows, columns in ((0, 1), (0, 0), (1, 1)) if SLOW else ((0, 1),):
        made = network.float()(draft.float(), half, noises(network, 15, 1), torch.tensor([[rows, columns]]).bool())
        agrees(made, tensors, f"eval.image.flip{rows}{columns}")


def test_face_generator_in_training(gan):
    network, draft, styles, tensors, scalars = refinement(gan, "face", 15)
    made = network.train()(draft, styles, noises(network, 15, 1), torch.zeros(1, 2, dtype=torch.bool))
    agrees(made, tensors, "train.image.flip00", 1e-6)
    buffers_agree(network, scalars["train.buffers_checks"])


def test_discriminator(gan):
    tensors, scalars = known.recorded("disc_ndf8_im512")
    network = known.fill(gan.Discriminator(width=8), "id.", 13)
    small = known.grown(tensors["in256.thumb"], 256)
    assert worst(network(small), tensors["eval.out256"]) < 1e-6
    assert worst(network(known.grown(tensors["in512.thumb"])), tensors["eval.out512"]) < 1e-6
    network.train()
    assert worst(network(small), tensors["train.out256.call1"]) < 1e-6
    assert worst(network(small), tensors["train.out256.call2"]) < 1e-6
    buffers_agree(network, scalars["train.buffers_checks"])


def test_published_first_weights_of_the_discriminator(gan):
    network = gan.Discriminator(width=8)
    network.start(torch.Generator().manual_seed(0))
    values = dict(network.named_parameters())
    assert float(values["main.5.down_main.3.weight_orig"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(values["main.5.down_main.1.weight"].mean()) == pytest.approx(1, abs=0.01)
    assert float(values["main.5.down_main.1.bias"].abs().max()) == 0
    twin = gan.Discriminator(width=8)
    twin.start(torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))


# --- sketch extractor -------------------------------------------------------------------------------------------------


def narrow_vgg(room):
    return known.fill(room("networks.vgg").VGG(widths=VGG8), "vgg.", 14, 1.4)


def test_taps(room, tom):
    tensors, _ = known.recorded("tom_im128")
    vgg, photo = narrow_vgg(room), known.grown(tensors["in.content_thumb"], 128)
    maps = tom.taps(vgg, photo, 128)
    for i, found in enumerate(maps, 1):
        step = 4 if i < 3 else 1
        assert worst(found[..., ::step, ::step], tensors[f"cf_{i}"]) < 1e-5
    assert all(map(torch.equal, maps, tom.taps(vgg, photo))), "at the trained size nothing is averaged"
    assert worst(tom.taps(vgg, photo[..., :100, :80], 128)[2], tensors["cf_3_odd_input"]) < 1e-5


def test_taps_of_the_full_network(networks, tom):
    tensors, _ = known.recorded("tom_vgg16_full")
    vgg = networks.build(vgg16_weights())
    for i, found in enumerate(tom.taps(vgg, known.grown(tensors["in_thumb"], 128).float(), 128), 1):
        chosen = found[:, :: 8 if i < 4 else 4]
        chosen = chosen[..., ::2, ::2] if i < 4 else chosen
        assert worst(chosen, tensors[f"feat_{i}"]) < LIMIT


def vgg16_weights():
    shapes, place, channels = {}, 0, 3
    for stage in VGG16:
        for width in stage:
            shapes |= {f"features.{place}.weight": (width, channels, 3, 3), f"features.{place}.bias": (width,)}
            place, channels = place + 2, width
        place += 1
    return known.weights(shapes, "vgg16.", 42, 1.4)


def test_tom(tom):
    tensors, _ = known.recorded("tom_im128")
    network = known.fill(tom.Generator(channels=32, width=16, spectral=True), "g.", 14)
    tap = tensors["cf_3"].double()
    for mode in ("eval", "train"):
        made = network.train(mode == "train")(tap)
        assert worst(made[..., ::4, ::4], tensors[f"out.g_{mode}.strided"]) < 1e-5
        assert worst(made[..., 42:66, 42:66], tensors[f"out.g_{mode}.crop"]) < 1e-5
    judge = known.fill(tom.StyleDiscriminator(channels=48), "ds.", 14)
    stack = torch.cat([tensors[f"gram_pooled_{i}"] for i in (2, 3, 4)], 1).double()
    for mode in ("eval", "train"):
        assert worst(judge.train(mode == "train")(stack), tensors[f"out.ds_{mode}"]) < 1e-5


@pytest.mark.parametrize("size", [(64, 64), (37, 90), (9, 200)])
def test_tom_as_an_extractor(room, networks, files, tom, size):
    """With a feature network beside it, it draws photos of any size, in the range of the other extractors."""
    vgg = narrow_vgg(room).float()
    g = known.fill(tom.Generator(channels=32, width=16, spectral=True), "g.", 14).float()
    flat = tom.with_features(files.flat({"g": g.state_dict(), "ds": {}}), vgg.state_dict())
    network = networks.build(flat)
    assert networks.recognise(flat, "extractor").name == "TOM"
    assert network.in_channels == 3
    photo = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    drawn = network(photo)
    assert drawn.shape == (2, 1, *size)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    assert set(network.inked(drawn).unique().tolist()) <= {0.0, 1.0}
    if size == (64, 64):
        expected = (g(tom.taps(vgg, 2 * photo - 1, 64)[2]).mean(1, keepdim=True) + 1) / 2
        assert worst(drawn, expected) < 1e-5
    alone = networks.build(files.flat({"g": g.state_dict()}))
    assert alone.in_channels == 32
    with pytest.raises(ValueError, match="brings no feature network"):
        alone(photo)
