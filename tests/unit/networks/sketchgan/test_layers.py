"""The sketch GAN's files are told apart by their keys and built, at any size and in any form."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers.sketchgan_golden import noises, worst


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def pictures(count, channels, size, seed=0):
    """Smooth random pictures [count,channels,size,size] in [-1,1], float32."""
    coarse = torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return nn.functional.interpolate(coarse, (size, size), mode="bilinear")


def small_gan(ae, gan, kind="art", size=128):
    """A published GAN file of width 8 with random weights, and statistics that fit them up to 256 pixels."""
    torch.manual_seed(0)
    draft = min(size, 512)
    parts = {
        "style_encoder": ae.StyleEncoder(width=8, classes=4, spectral=True),
        "content_encoder": ae.ContentEncoder(width=8, spectral=True),
        "decoder": ae.Decoder(width=8, size=draft, spectral=True),
    }
    generator = gan.refiner(kind, width=8, size=size, spectral=True)
    if size <= 256:
        style, content, decoder = parts.values()
        for layer in (layer for network in (*parts.values(), generator) for layer in network.modules()):
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0
        styles = style(pictures(4, 3, size))
        generator(decoder(content(pictures(4, 1, size)), styles), styles, noises(generator, 9, 4))
    return {
        "ig": generator.state_dict(),
        "id": gan.Discriminator(width=8).state_dict(),
        "ae": {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()},
        "ig_ema": [value * 1.02 for value in generator.parameters()],
        "opt_ig": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4}]},
    }


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "ckpt_ae['s'] (nfc 64, nbr_cls 500)",
        "ckpt_ae['c']",
        "ckpt_ae['d']",
        "ckpt_gan['ig'] art 512",
        "ckpt_gan['ig'] art 1024",
        "ckpt_gan['ig'] shoe 512",
        "ckpt_gan['ig'] face 512",
        "ckpt_gan['ig'] face 1024",
        "ckpt_gan['id']",
        "tom 'g'",
        "tom 'ds'",
    ],
)
def test_published_keys(ae, gan, tom, published, name):
    """Every key and shape at full width, in the published order, and none besides."""
    meta = {"spectral": True, "device": "meta"}
    if "'ig'" in name:
        kind, size = name.split()[-2:]
        network = gan.refiner(kind, size=int(size), **meta)
        order = published["ig_ema_order"].get(f"ig_ema {kind} {size}")
        assert order is None or [key for key, _ in network.named_parameters()] == order
    else:
        makers = {
            "ckpt_ae['s'] (nfc 64, nbr_cls 500)": lambda **kw: ae.StyleEncoder(classes=500, **kw),
            "ckpt_ae['c']": ae.ContentEncoder,
            "ckpt_ae['d']": ae.Decoder,
            "ckpt_gan['id']": gan.Discriminator,
            "tom 'g'": tom.Generator,
            "tom 'ds'": tom.StyleDiscriminator,
        }
        network = makers[name](**meta)
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert list(shapes.items()) == list(published["state_dicts"][name].items())


@pytest.mark.parametrize(("kind", "size"), [("art", 512), ("art", 1024), ("shoe", 512), ("face", 512), ("face", 1024)])
def test_full_width_files_are_described_and_built(networks, files, published, kind, size):
    def part(name):
        return {k: torch.empty(s, device="meta") for k, s in published["state_dicts"][name].items()}

    weights = part(f"ckpt_gan['ig'] {kind} {size}")
    order = published["ig_ema_order"].get(f"ig_ema {kind} {size}")
    content = {
        "ig": {f"module.{k}": v for k, v in weights.items()},
        "ae": part("ckpt_gan['ae']"),
        "id": part("ckpt_gan['id']"),
    }
    content |= {"ig_ema": [weights[key] for key in order]} if order else {}
    flat = files.flat(content)
    assert files.describe(flat) == ("GAN", 64, size, kind, 500, bool(order))
    assert networks.recognise(flat, "gan").name == "sketch GAN"
    network = networks.build(flat)
    assert (network.width, network.size, network.draft, network.kind) == (64, size, 512, kind)
    millions = {("art", 512): 49.81, ("art", 1024): 49.82, ("face", 512): 5.66, ("face", 1024): 5.68}.get((kind, size))
    count = sum(p.numel() for p in network.generator.parameters()) / 1e6
    assert millions is None or count == pytest.approx(millions, abs=0.01)


def test_autoencoders_and_toms_are_described(networks, files, ae, published):
    def part(name):
        return {k: torch.empty(s, device="meta") for k, s in published["state_dicts"][name].items()}

    names = {"s": "ckpt_ae['s'] (nfc 64, nbr_cls 500)", "c": "ckpt_ae['c']", "d": "ckpt_ae['d']"}
    flat = files.flat({**{short: part(name) for short, name in names.items()}, "opt_s": {"state": {}}})
    assert files.describe(flat) == ("autoencoder", 64, 512, None, 500, False)
    network = networks.build(flat)
    assert network.generator is None
    assert not any("final_cls" in key for key in network.state_dict())
    flat = files.flat({"g": part("tom 'g'"), "ds": part("tom 'ds'")})
    assert files.describe(flat) == ("TOM", 128, 0, None, None, False)
    assert networks.recognise(flat, "extractor").name == "TOM"
    assert networks.recognise(flat, "gan") is None
    assert files.describe({"conv_in.weight": torch.zeros(1)}) is None
    assert files.flat([torch.zeros(1)]) == {}


def test_misfits_are_refused(networks, files, ae, gan):
    content = small_gan(ae, gan)
    with pytest.raises(ValueError, match=r"ig_ema.*97 tensors for 98"):
        files.flat({**content, "ig_ema": content["ig_ema"][:-1]})
    other = {**content, "ig": small_gan(ae, gan, size=256)["ig"]}
    other.pop("ig_ema")
    with pytest.raises(ValueError, match="do not belong together"):
        networks.build(files.flat(other))
    odd = dict(content["ae"])
    odd["decoder.base_feat"] = torch.zeros(1, 64, 6, 6)
    alone = files.flat({"ae": odd})
    for ask in (files.describe, networks.build):
        with pytest.raises(ValueError, match="384"):
            ask(alone)
    with pytest.raises(ValueError, match="128, 256, 512 or 1024 pixels a side, not 768"):
        gan.refiner("art", size=768)
    with pytest.raises(ValueError, match="multiple of 8"):
        gan.refiner("face", width=12)
    lacking = files.flat(content)
    del lacking["ae.decoder.dmi_8.weight_a"]
    with pytest.raises(ValueError, match=r"dmi_8\.weight_a"):
        networks.build(lacking)


def test_averaged_weights_are_used_with_the_generators_statistics(networks, files, ae, gan):
    content = small_gan(ae, gan)
    built = networks.build(files.flat(content)).generator
    bare = networks.build(files.flat({k: v for k, v in content.items() if k != "ig_ema"})).generator
    averaged = gan.refiner("art", width=8, size=128, spectral=True)
    averaged.load_state_dict(content["ig"])
    for value, kept in zip(averaged.parameters(), content["ig_ema"], strict=True):
        value.copy_(kept)
    averaged.eval()
    draft, styles = pictures(1, 3, 128), [torch.randn(1, n) for n in (16, 32, 64)]
    expected = averaged(draft, styles, noises(averaged, 3, 1))
    assert worst(built(draft, styles, noises(built, 3, 1)), expected) < 1e-4
    assert worst(bare(draft, styles, noises(bare, 3, 1)), expected) > 1e-3


def test_folded_files_are_the_same_network(networks, files, ae, gan):
    """What a conversion for use writes: no norm vectors, no discriminator, no classifier, and the same pictures."""
    flat = files.flat(small_gan(ae, gan))
    folded = files.for_use(flat)
    assert not any(key.endswith(("weight_orig", "weight_u", "weight_v")) for key in folded)
    assert files.describe(folded) == ("folded", 8, 128, "art", None, False)
    sketch, picture = pictures(2, 1, 128), pictures(2, 3, 128)
    one, other = networks.build(flat), networks.build(folded)
    draws = noises(one.generator, 5)
    assert torch.equal(one(sketch, picture, draws), other(sketch, picture, draws))


def test_layers_come_from_the_host(networks, files, ae, gan):
    """Whatever has weights is made by `ops`, or is a bare parameter."""

    def marked(base):
        return type(f"Own{base.__name__}", (base,), {})

    names = ("Conv2d", "ConvTranspose2d", "Linear", "BatchNorm2d")
    ops = SimpleNamespace(**{name: marked(getattr(nn, name)) for name in names})
    for kind in ("art", "face"):
        network = networks.build(files.flat(small_gan(ae, gan, kind)), ops=ops)
        kinds = {type(layer) for layer in network.modules() if isinstance(layer, tuple(getattr(nn, n) for n in names))}
        assert kinds == {getattr(ops, name) for name in names}


# --- other sizes, other kinds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "size"), [("art", 128), ("art", 256), ("shoe", 128), ("face", 128)])
@pytest.mark.parametrize("batch", [1, 3])
def test_smaller_sizes(networks, files, ae, gan, kind, size, batch):
    """Our extension: sides are read from the shapes, members of a batch do not see each other, nothing is kept."""
    network = networks.build(files.flat(small_gan(ae, gan, kind, size)), dtype=torch.float64)
    assert (network.size, network.draft, network.kind) == (size, size, kind)
    sketch, picture = pictures(batch, 1, size).double(), pictures(batch, 3, size).double()
    draws = noises(network.generator, 1, batch)
    flips = torch.tensor([[True, False]] * batch) if kind == "face" else None
    before = copy.deepcopy(network.state_dict())
    made = network(sketch, picture, draws, flips=flips)
    assert made.shape == (batch, 3, size, size)
    single = network(sketch[:1], picture[:1], [x[:1] for x in draws], flips=None if flips is None else flips[:1])
    assert worst(made[:1], single) < 1e-5
    whole = network(sketch, picture, draws, flips=flips, batch=True)
    assert torch.isfinite(whole).all()
    assert worst(whole, made) > 1e-3
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert gan.Discriminator(width=8, size=size).eval()(made.float()).shape == (batch, 1, 1, 1)


def test_1024_is_512_and_a_doubling(networks, files, ae, gan):
    network = networks.build(files.flat(small_gan(ae, gan, size=1024)))
    assert (network.size, network.draft) == (1024, 512)
    assert network.generator.noise_shapes(1)[-1] == (1, 1, 1024, 1024)
    made = network.refined(
        torch.zeros(1, 3, 512, 512), [torch.zeros(1, n) for n in (16, 32, 64)], noises(network.generator, 1, 1)
    )
    assert made.shape == (1, 3, 1024, 1024)


def test_noise_and_drafts_must_fit(gan):
    network = gan.refiner("art", width=8, size=128).eval()
    styles, draft = [torch.zeros(1, n) for n in (16, 32, 64)], torch.zeros(1, 3, 128, 128)
    with pytest.raises(ValueError, match="noise_shapes"):
        network(draft, styles, noises(network, 0, 2))
    with pytest.raises(ValueError, match="128x128 pixels, not 64x128"):
        network(draft[..., :64], styles, noises(network, 0, 1))


def test_shoes_follow_the_draft_alone(gan):
    network = gan.refiner("shoe", width=8, size=128).eval()
    draft, draws = torch.rand(1, 3, 128, 128), noises(network, 0, 1)
    one, other = (network(draft, [value * torch.ones(1, n) for n in (16, 32, 64)], draws) for value in (0, 3))
    assert torch.equal(one, other)


def test_shoes_use_up_the_draw_of_a_layer_that_they_ignore(gan):
    """As in the released code, where the style map is computed and replaced by zeros: noises go to the same layers as
    in art, whatever the first one is, and training renews the layer's statistics, but not its weights."""
    shoe, art = (gan.refiner(kind, width=8, size=128, spectral=True) for kind in ("shoe", "art"))
    assert shoe.noise_shapes(2) == art.noise_shapes(2)
    draft, styles, draws = pictures(2, 3, 128), [torch.randn(2, n) for n in (16, 32, 64)], noises(shoe, 0, 2)
    for name, value in shoe.named_parameters():
        if value.shape[0] == 1 and value.ndim == 4 and "weight" in name:
            value.fill_(0.5)  # the shares of noise, which start at 0
    made = shoe.eval()(draft, styles, draws, batch=True)
    for i, draw in enumerate(draws):
        changed = shoe(draft, styles, [*draws[:i], draw.flip(-1), *draws[i + 1 :]], batch=True)
        assert torch.equal(made, changed) == (i == 0), i
    before = copy.deepcopy(shoe.state_dict())
    with torch.enable_grad():
        shoe.train()(draft, styles, draws).sum().backward()
    after, layer = shoe.state_dict(), {key for key in before if key.startswith("from_style.")}
    changed = {key for key in layer if not torch.equal(before[key], after[key])}
    assert {key.rpartition(".")[2] for key in changed} >= {"running_mean", "running_var", "weight_u"}
    assert all(parameter.grad is None for parameter in shoe.from_style.parameters())


@pytest.mark.parametrize("width", [8, 64])
def test_discriminators_of_1024_pixels(gan, width):
    """Training at 1024 uses the network for 512, with 13x13 logits; the release's own for 1024 halves once more."""
    networks = {size: gan.Discriminator(width=width, size=size, device="meta") for size in (256, 512, 1024)}
    assert {size: len(net.main) for size, net in networks.items()} == {256: 7, 512: 7, 1024: 8}
    shapes = {key: tuple(value.shape) for key, value in networks[1024].state_dict().items()}
    n = width // 4
    assert shapes["main.4.skip_conv.1.weight_orig"] == (16 * n, n, 4, 4)
    assert shapes["main.5.down_main.0.weight_orig"] == (32 * n, 16 * n, 3, 3)
    assert shapes["main.5.skip_conv.1.weight_orig"] == (32 * n, 2 * n, 4, 4)
    assert shapes["main.6.down_main.0.weight_orig"] == (64 * n, 32 * n, 3, 3)
    assert shapes["main.6.skip_conv.1.weight_orig"] == (64 * n, 4 * n, 4, 4)
    assert shapes["main.7.3.weight_orig"] == (1, 64 * n, 4, 4)
    if width == 8:
        picture = torch.zeros(1, 3, 1024, 1024)
        assert gan.Discriminator(width=8, size=512).eval()(picture).shape == (1, 1, 13, 13)
        deep = gan.Discriminator(width=8, size=1024).eval()
        assert deep(picture).shape == (1, 1, 5, 5)
        twin = gan.Discriminator(width=8, size=1024)
        twin.load_state_dict(deep.state_dict())


def test_flips_are_an_images_own(networks, files, ae, gan):
    network = networks.build(files.flat(small_gan(ae, gan, "face"))).generator
    draft = pictures(1, 3, 128).expand(2, -1, -1, -1)
    styles = [torch.randn(1, n).expand(2, -1) for n in (16, 32, 64)]
    draws = [x[:1].expand(2, *x.shape[1:]) for x in noises(network, 0, 2)]
    flipped = network(draft, styles, draws, torch.tensor([[False, False], [True, False]]))
    plain = network(draft, styles, draws)
    assert worst(flipped[0], plain[0]) < 1e-4
    assert worst(flipped[1], plain[1]) > 1e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights(networks, files, ae, gan, dtype):
    flat = files.flat(small_gan(ae, gan))
    exact, half = networks.build(flat), networks.build(flat, dtype=dtype)
    sketch, picture = pictures(1, 1, 128), pictures(1, 3, 128)
    draws = noises(exact.generator, 1, 1)
    for batch in (False, True):
        made = half(sketch.to(dtype), picture.to(dtype), draws, batch=batch)
        assert made.dtype == dtype
        off = (made.float() - exact(sketch, picture, draws, batch=batch)).abs().mean()
        assert float(off) < 0.05
