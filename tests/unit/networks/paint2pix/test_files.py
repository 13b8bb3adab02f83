"""Files of StyleGAN2, its encoders and face networks: any width and size from the keys; what does not fit, in words."""

from __future__ import annotations

import itertools

import pytest
import torch


@pytest.fixture(scope="module")
def networks(room):
    return room("networks")


@pytest.fixture(scope="module")
def whole(room):
    return room("networks.paint2pix.whole")


DECODER = {"widths": (16, 8, 8, 4, 4, 4), "style_dim": 16, "mappings": 2}  # 128 pixels
UNITS = ((8, 8, 2), (8, 8, 2), (8, 12, 2), (12, 16, 2), (16, 16, 4), (16, 16, 4))  # 3 stages: 1/8


def encoder(halvings=(3,) * 12, **settings):
    return {"in_channels": 12, "units": UNITS, "style_dim": 16, "halvings": halvings, **settings}


def small(whole, **settings):
    torch.manual_seed(0)
    net = whole.Painter(encoder=encoder(**settings), decoder=DECODER).eval()
    net.latent_avg.normal_()
    return net


@pytest.mark.parametrize(
    ("settings", "hints"),
    [
        ({"second_stem": True, "identities": True}, {}),
        ({"in_channels": 6}, {}),
        ({"in_channels": 3, "order": "each for itself"}, {"encoder_type": "BackboneEncoder"}),
        ({"in_channels": 3, "halvings": (3, 3, 3, *(4,) * 4, *(5,) * 5), "pyramid": (12, 8)}, {"encoder_type": None}),
    ],
    ids=["canvas", "ReStyle", "independent", "e4e"],
)
@torch.inference_mode()
def test_any_layout_from_its_keys(networks, whole, settings, hints):
    net = small(whole, **settings)
    built = networks.build(net.state_dict(), **hints)
    assert built.encoder.size == 64
    x = torch.randn(2, settings.get("in_channels", 12), 64, 64)
    assert torch.equal(built(x), net(x))
    assert built(x).shape == (2, 3, 128, 128)
    if hints.get("encoder_type") == "BackboneEncoder":
        assert not torch.allclose(networks.build(net.state_dict())(x), net(x))  # the keys do not tell


@torch.inference_mode()
def test_a_picture_does_not_depend_on_its_batch(whole):
    net = small(whole)
    x = torch.randn(3, 12, 64, 64)
    single = torch.cat([net(one[None]) for one in x])
    assert torch.allclose(net(x), single, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_low_precision(networks, whole, dtype):
    net = small(whole)
    x = torch.randn(1, 12, 64, 64)
    made = networks.build(net.state_dict(), dtype=dtype)(x.to(dtype))
    assert made.dtype == dtype
    assert torch.nn.functional.cosine_similarity(made.float().flatten(), net(x).flatten(), dim=0) > 0.99


def test_published_files(networks, whole):
    """{state_dict, latent_avg, opts}: as one dict; a mean style of one layer is repeated."""
    weights = small(whole, in_channels=6).state_dict()
    mean = weights.pop("latent_avg")
    content = {"state_dict": weights, "latent_avg": mean[0], "opts": {"encoder_type": "BackboneEncoder"}, "epoch": 3}
    found, stated = whole.flat(content)
    assert stated == {"encoder_type": "BackboneEncoder"}
    net = networks.build(found, **stated)
    assert torch.equal(net.latent_avg, mean[:1].expand_as(mean))
    assert net.encoder.order == "each for itself"
    assert whole.flat({"state_dict": {"other": mean}}) is None
    assert whole.flat([mean]) is None


def test_what_does_not_fit_is_said(networks, whole, room):
    weights = small(whole).state_dict()
    without_mean = {key: value for key, value in weights.items() if key != "latent_avg"}
    with pytest.raises(ValueError, match="no latent_avg"):
        networks.build(without_mean)
    fewer = {key: value for key, value in weights.items() if not key.startswith("encoder.styles.11.")}
    with pytest.raises(ValueError, match=r"makes 11 styles, but its decoder of 128 pixels takes 12"):
        networks.build(fewer)
    with pytest.raises(ValueError, match="'Other' is not known"):
        networks.build(weights, encoder_type="Other")
    net = small(whole)
    with pytest.raises(ValueError, match="12 channels of 64 x 64 pixels, got 12 of 32 x 64"):
        net.encoder(torch.zeros(1, 12, 64, 32))
    with pytest.raises(ValueError, match="12 styles of 16 numbers, got"):
        net.decoder(torch.zeros(1, 10, 16))
    other = room("networks.paint2pix.stylegan2").Generator(widths=(16, 8, 8), style_dim=16, mappings=1)
    with pytest.raises(ValueError, match="trained for 128 pixels"):
        whole.with_decoder(net, other)


@torch.inference_mode()
def test_another_decoder(whole, room):
    """The artistic mode: only the decoder differs, and the network itself stays as it was."""
    net, x = small(whole), torch.randn(1, 12, 64, 64)
    before = net(x)
    torch.manual_seed(1)
    other = room("networks.paint2pix.stylegan2").Generator(**DECODER)
    made = whole.with_decoder(net, other)
    assert torch.equal(made(x), other(net.codes(x)))
    assert torch.equal(net(x), before)


def test_generators_and_faces(networks, room):
    stylegan, encoders = room("networks.paint2pix.stylegan2"), room("networks.paint2pix.encoders")
    for widths, dim in (((8, 8), 4), ((8, 6, 4, 2), 12)):
        net = stylegan.Generator(widths=widths, style_dim=dim, mappings=3).eval()
        built = networks.build(net.state_dict())
        w = built.mapping(torch.randn(2, dim))[:, None].expand(-1, built.styles, -1)
        assert torch.equal(built(w), net(w))
        judge = stylegan.Discriminator(widths=widths)
        twin = stylegan.Discriminator(**stylegan.discriminator_config(judge.state_dict()))
        twin.load_state_dict(judge.state_dict())
        for batch in (1, 3, 6):
            assert torch.equal(twin(picture := torch.randn(batch, 3, net.size, net.size)), judge(picture))
    face = encoders.FaceNetwork(units=UNITS, features=16, side=3).eval()
    built = networks.build(face.state_dict())
    assert built.size == 24
    assert torch.allclose(built(x := torch.randn(2, 3, 24, 24)), face(x))
    assert torch.allclose(built(x).norm(dim=1), torch.ones(2))


def test_groups_of_the_discriminator(room):
    """Batches that four does not divide have smaller groups; equal pictures spread by nothing."""
    spread = room("networks.paint2pix.stylegan2").spread
    for batch in range(1, 9):
        assert spread(torch.ones(batch, 2, 4, 4)).amax() < 1e-3
        assert spread(torch.randn(batch, 2, 4, 4)).shape == (batch, 1, 4, 4)


@torch.inference_mode()
def test_steps(whole, room):
    """Strength 0 changes nothing, 1 arrives where nothing is clipped; masks; encoders of 3 channels make one pass."""
    paint = room("pipelines.paint2pix")
    before, after = torch.zeros(1, 12, 16), torch.full((1, 12, 16), 0.5)
    assert torch.equal(paint.edited(before, after, 0.0), before)
    assert torch.equal(paint.edited(before, after), after)
    assert torch.equal(paint.edited(before, 4 * after), torch.ones_like(after))  # clipped
    mask = paint.layer_mask([0, 3, 40], 12, before)
    assert paint.edited(before, after, mask=mask).sum((0, 2)).nonzero().flatten().tolist() == [0, 3]
    for channels, passes in itertools.product((3, 6, 12), (1, 3)):
        net = small(whole, in_channels=channels)
        painted = list(paint.predict(net, torch.zeros(2, 3, 64, 64), passes))
        assert len(painted) == (1 if channels == 3 else passes)
        assert painted[-1].picture.shape == (2, 3, 128, 128)
    net = small(whole, in_channels=6)
    code = torch.randn(2, 12, 16)
    picture = paint.pooled(net.decoder(code), 64)
    generator = torch.Generator().manual_seed(0)
    move = paint.identity_move(
        net, code, picture, -picture, torch.zeros(1, 12, 1), lambda: paint.noise_maps(net.decoder, generator), 2
    )
    assert not move.any()
