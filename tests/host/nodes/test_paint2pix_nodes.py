"""Paint2pix's doors in the real host, on small networks of random weights: files, batches, states, faults, Cancel."""

from __future__ import annotations

import folder_paths
import pytest
import torch
from safetensors.torch import save_file

DECODER = {"widths": (16, 8, 8, 4), "style_dim": 16, "mappings": 2}  # 32 pixels, 8 styles
UNITS = ((8, 8, 2), (8, 12, 2), (12, 16, 2))  # 3 stages
LAYERS = {"first_layer": 0, "last_layer": 17}
SETTINGS = {"passes": 2, "use_pass": 0, "strength": 1.0, "clip": 1.0, **LAYERS}


@pytest.fixture(scope="module")
def doors(pack, room):
    return room("nodes.paint2pix")


@pytest.fixture(scope="module")
def networks(room):
    whole, stylegan = room("networks.paint2pix.whole"), room("networks.paint2pix.stylegan2")
    encoders = room("networks.paint2pix.encoders")

    def painter(channels=12, seed=0, **decoder):
        torch.manual_seed(seed)
        encoder = {"in_channels": channels, "units": UNITS, "style_dim": 16, "halvings": (3,) * 8}
        net = whole.Painter(encoder=encoder, decoder={**DECODER, **decoder})
        net.latent_avg.normal_()
        return net

    class Made:
        canvas, identity, six = painter(), painter(6, 1), painter(6, 2)
        torch.manual_seed(3)
        watercolour = stylegan.Generator(**DECODER)
        larger = stylegan.Generator(widths=(8, 8, 4, 4, 4), style_dim=16, mappings=1)
        face = encoders.FaceNetwork(units=UNITS, features=16, side=2)

    return Made


@pytest.fixture
def folder(tmp_path, networks, monkeypatch):
    """models/sketch_paint2pix with a file of each kind, as their programs save them."""
    known = [str(tmp_path)], {".pt", ".sft"}
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "sketch_paint2pix", known)
    folder_paths.filename_list_cache.pop("sketch_paint2pix", None)
    for name in ("canvas", "identity"):
        weights = getattr(networks, name).state_dict()
        mean = weights.pop("latent_avg")
        content = {"state_dict": weights, "latent_avg": mean, "opts": {"device": "cuda", "input_nc": 12}}
        torch.save(content, tmp_path / f"{name}.pt")
    torch.save({"state_dict": weights, "opts": {}}, tmp_path / "no mean.pt")
    save_file(weights, tmp_path / "no mean.sft")
    for name in ("watercolour", "larger", "face"):
        torch.save(getattr(networks, name).state_dict(), tmp_path / f"{name}.pt")
    yield tmp_path
    folder_paths.filename_list_cache.pop("sketch_paint2pix", None)


@pytest.fixture
def painter(doors, folder):
    return doors.SketchPaint2pixLoader.execute("canvas.pt", "identity.pt", doors.OWN).result[0]


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes():
    with torch.inference_mode():
        yield


def picture(count=1, height=64, width=64, seed=0):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def test_prediction(doors, painter, networks, room):
    """The same as the maths on the network itself; without a state strength changes nothing."""
    paint = room("pipelines.paint2pix")
    image, passes, state = doors.SketchPaint2pixPredict.execute(painter, picture(2), **SETTINGS).result
    wanted = [list(paint.predict(networks.canvas.eval(), 2 * one[None].movedim(-1, 1) - 1, 2)) for one in picture(2)]
    pictures = torch.cat([made[-1].picture for made in wanted]).movedim(1, -1) / 2 + 0.5
    assert torch.allclose(image, pictures.clamp(0, 1), atol=1e-5)
    assert image.shape == (2, 32, 32, 3)
    assert passes.shape == (4, 32, 32, 3)
    assert torch.equal(passes[2:], image)
    assert torch.equal(state.before, state.after)
    half = doors.SketchPaint2pixPredict.execute(painter, picture(2), **{**SETTINGS, "strength": 0.5}).result[0]
    assert torch.equal(half, image)
    first = doors.SketchPaint2pixPredict.execute(painter, picture(2), **{**SETTINGS, "use_pass": 1}).result[0]
    assert torch.equal(first, passes[:2])


def test_no_more_passes_than_learned(doors, folder, networks):
    """A file that states them, with its own decoder or another; what was asked for is said on the node."""
    save_file(networks.canvas.state_dict(), folder / "once.sft", {"passes": "1"})
    for decoder in (doors.OWN, "watercolour.pt"):
        painter = doors.SketchPaint2pixLoader.execute("once.sft", "none", decoder).result[0]
        found = doors.SketchPaint2pixPredict.execute(painter, picture(), **{**SETTINGS, "passes": 3})
        assert "1 of 3 passes" in found.ui.as_dict()["text"][0]
        once = doors.SketchPaint2pixPredict.execute(painter, picture(), **{**SETTINGS, "passes": 1})
        assert torch.equal(found.result[0], once.result[0])
        assert once.ui is None
    save_file(networks.canvas.state_dict(), folder / "never.sft", {"passes": "0"})
    with pytest.raises(ValueError, match="passes to '0', expected a whole number above 0"):
        doors.SketchPaint2pixLoader.execute("never.sft", "none", doors.OWN)


def test_strength_moves_from_the_state(doors, painter):
    start = doors.SketchPaint2pixPredict.execute(painter, picture(), **SETTINGS).result
    for strength, layers in ((0.0, LAYERS), (1.0, {"first_layer": 9, "last_layer": 17})):
        settings = {**SETTINGS, **layers, "strength": strength}
        kept, _, state = doors.SketchPaint2pixPredict.execute(
            painter, picture(seed=1), **settings, state=start[2]
        ).result
        assert torch.equal(state.after, start[2].after)
        assert torch.allclose(kept, start[0], atol=1e-5)
    settings = {**SETTINGS, "clip": 100.0}
    moved, passes, state = doors.SketchPaint2pixPredict.execute(
        painter, picture(3, seed=1), **settings, state=start[2]
    ).result
    assert torch.allclose(moved, passes[3:], atol=1e-4)  # nothing clipped: the prediction itself
    assert torch.equal(state.before, start[2].after.expand(3, -1, -1))


def test_any_canvas(doors, painter):
    """Other sizes, aspects, channels; a canvas that is not square is said."""
    for canvas in (picture(height=37, width=90), picture()[..., :1], torch.rand(1, 64, 64, 4), picture().half()):
        assert doors.SketchPaint2pixPredict.execute(painter, canvas, **SETTINGS).result[0].isfinite().all()
    shown = doors.SketchPaint2pixPredict.execute(painter, picture(height=37, width=90), **SETTINGS).ui.as_dict()
    assert "90 x 37 was squeezed into 64 x 64" in shown["text"][0]
    assert doors.SketchPaint2pixPredict.execute(painter, picture(), **SETTINGS).ui is None


def test_another_decoder(doors, painter, folder, networks):
    """Artistic content: the same codes, another hand."""
    artist = doors.SketchPaint2pixLoader.execute("canvas.pt", "none", "watercolour.pt").result[0]
    state = doors.SketchPaint2pixPredict.execute(painter, picture(), **{**SETTINGS, "passes": 1}).result[2]
    other = doors.SketchTransferEdit.execute(artist, state, state, 1.0, **LAYERS).result[0]
    wanted = networks.watercolour(state.after).movedim(1, -1) / 2 + 0.5
    assert torch.allclose(other, wanted.clamp(0, 1), atol=1e-5)


def test_identity(doors, painter):
    """By the encoder, by optimisation, in the chosen layers only; a seed gives the same picture again."""
    state = doors.SketchPaint2pixPredict.execute(painter, picture(2), **SETTINGS).result[2]
    few = {"first_layer": 0, "last_layer": 2}
    for method, steps in ((doors.ENCODER, 1), (doors.ENCODER, 3), (doors.OPTIMISE, 2)):
        call = (painter, state, picture(seed=5), method, steps, "face.pt", 7)
        if method == doors.OPTIMISE:  # the published crop is of 256 pixels
            assert painter.network.encoder.size == 64
        image, kept = doors.SketchPaint2pixIdentity.execute(*call, **few).result
        again = doors.SketchPaint2pixIdentity.execute(*call, **few).result[0]
        assert torch.equal(image, again)
        moved = (kept.after - state.after).abs().amax((0, 2)) > 0
        assert moved.nonzero().flatten().tolist() == [0, 1, 2]
        assert torch.equal(kept.before, state.before)


def test_variations_and_transfer(doors, painter):
    state = doors.SketchPaint2pixPredict.execute(painter, picture(2), **SETTINGS).result[2]
    late = {"first_layer": 4, "last_layer": 17}
    image, varied = doors.SketchPaint2pixVariations.execute(painter, state, 3, 0.5, 0.7, 1, **late).result
    assert image.shape == (6, 32, 32, 3)
    assert torch.equal(varied.after[:, :4], state.after.repeat_interleave(3, 0)[:, :4])
    assert not torch.equal(varied.after[0], varied.after[1])
    none = doors.SketchPaint2pixVariations.execute(painter, state, 2, 0.0, 0.7, 1, **late).result[1]
    assert torch.equal(none.after, state.after.repeat_interleave(2, 0))
    edit = doors.SketchPaint2pixPredict.execute(painter, picture(seed=9), **SETTINGS, state=state).result[2]
    there = doors.SketchTransferEdit.execute(painter, edit, state, 1.0, **LAYERS).result[1]
    assert torch.allclose(there.after, edit.after, atol=1e-6)
    back = doors.SketchTransferEdit.execute(painter, edit, there, -1.0, **LAYERS).result[1]
    assert torch.allclose(back.after, state.after, atol=1e-5)


def test_wrong_files_are_said(doors, folder):
    load = doors.SketchPaint2pixLoader.execute
    for call, message in (
        (("no mean.pt", "none", doors.OWN), "no latent_avg"),
        (("no mean.sft", "none", doors.OWN), "no latent_avg"),
        (("face.pt", "none", doors.OWN), r"face\.pt' is a face network"),
        (("watercolour.pt", "none", doors.OWN), "is a StyleGAN2 generator"),
        (("canvas.pt", "canvas.pt", doors.OWN), "not an identity encoder: it takes 12 channels"),
        (("canvas.pt", "none", "larger.pt"), "64 pixels and 16 numbers per style, but the encoder was trained for 32"),
        (("canvas.pt", "none", "face.pt"), "not a StyleGAN2 generator"),
        ((doors.painting.EMPTY, "none", doors.OWN), "There is no file in models/sketch_paint2pix"),
    ):
        with pytest.raises(ValueError, match=message):
            load(*call)
    assert "not found" in doors.SketchPaint2pixLoader.validate_inputs("gone.pt")
    assert doors.SketchPaint2pixLoader.validate_inputs("canvas.pt") is True


def test_wrong_inputs_are_said(doors, painter, folder):
    state = doors.SketchPaint2pixPredict.execute(painter, picture(2), **SETTINGS).result[2]
    other = type(state)(state.before[:, :6], state.after[:, :6], "another painter")
    with pytest.raises(ValueError, match="comes from another painter, whose codes are 6 x 16; these networks' are 8 x"):
        doors.SketchPaint2pixPredict.execute(painter, picture(), **SETTINGS, state=other)
    with pytest.raises(ValueError, match="use_pass is 5, but 2 passes"):
        doors.SketchPaint2pixPredict.execute(painter, picture(), **{**SETTINGS, "use_pass": 5})
    with pytest.raises(ValueError, match="state has a batch of 2 and the canvas one of 3"):
        doors.SketchPaint2pixPredict.execute(painter, picture(3), **SETTINGS, state=state)
    with pytest.raises(ValueError, match="needs a face network"):
        doors.SketchPaint2pixIdentity.execute(painter, state, picture(), doors.OPTIMISE, 1, "none", 0, **LAYERS)
    alone = doors.SketchPaint2pixLoader.execute("canvas.pt", "none", doors.OWN).result[0]
    with pytest.raises(ValueError, match="has no identity encoder"):
        doors.SketchPaint2pixIdentity.execute(alone, state, picture(), doors.ENCODER, 1, "none", 0, **LAYERS)


def test_a_built_in_decoder_is_listed_where_it_is(doors, folder, networks, room, tmp_path, monkeypatch):
    painting = room("nodes.parts.painting")
    monkeypatch.setattr(painting, "STARTER_ARTIST", tmp_path / "gone.safetensors")
    assert painting.decoders()[0] == painting.OWN
    assert painting.WATERCOLOUR not in painting.decoders()
    monkeypatch.setattr(painting, "STARTER_ARTIST", tmp_path / "watercolour.safetensors")
    save_file(networks.watercolour.state_dict(), painting.STARTER_ARTIST)
    assert painting.decoders()[:2] == [painting.OWN, painting.WATERCOLOUR]
    own, other = (
        doors.SketchPaint2pixLoader.execute("canvas.pt", "none", one).args[0] for one in painting.decoders()[:2]
    )
    key = "to_rgb1.conv.weight"
    assert not torch.equal(*(one.network.decoder.state_dict()[key] for one in (own, other)))
    assert torch.equal(other.network.decoder.state_dict()[key], networks.watercolour.state_dict()[key])
