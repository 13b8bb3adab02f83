"""The canvas encoder's lesson on tiny networks: it learns, resumes bit for bit, and leaves a file that loads."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def module(room):
    return room("training.paint2pix.lesson")


@pytest.fixture(scope="module")
def canvases(room, places):
    pictures = room("training.photos").alone(places)
    parts = room("training.paint2pix.canvases")
    return parts.Canvases(parts.PhotoPaintings(pictures, 32, 32), 4, 0)


def percept(a, b):
    return (a - b).abs().mean((1, 2, 3))


@pytest.fixture(scope="module")
def lesson(module, canvases, tiny, room):
    """lesson(**settings): everything on, the decoder learning."""

    def made(network=None, canvases=canvases, face=None, **settings):
        own = {"batch": 4, "learning_rate": 2e-3, "decoder_rate": 2e-3, "adversarial": 0.1, **settings}
        discriminator = None
        if own["adversarial"]:
            torch.manual_seed(5)
            discriminator = room("networks.paint2pix.stylegan2").Discriminator(widths=(8, 8, 8, 8))
        known = {"percept": percept, "face": face, "discriminator": discriminator, "adaptive": True}
        return module.PainterLesson(canvases, network or tiny(), module.Settings(**own), **known)

    return made


def train(room, lesson, folder, steps, **settings):
    loop = room("training.loop")
    with lesson:
        return loop.learn(lesson, folder, loop.Goal(steps), **settings)


def test_it_learns(room, lesson, canvases, tmp_path):
    """With a decoder that learns along; the prediction of canvases never seen gets closer, and the edit is followed."""
    own = lesson(adversarial=0.0, passes=1)
    course = train(room, own, tmp_path, 60)
    first, last = course.rows[0], course.rows[-1]
    assert last["pixels"] < 0.8 * first["pixels"]
    assert last["features"] < first["features"]
    assert last["edit"] < first["edit"]
    batch, network = canvases(999), own.settled()
    made = module_rows(room, network, batch)
    wanted = batch.photo / 2 + 0.5
    grey = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()
    assert (made - wanted).square().mean() < 0.9 * grey, "better than the mean colour"


def module_rows(room, network, batch):
    rows = room("training.paint2pix.lesson").rows(network, batch, 1)
    side = rows.shape[2]
    assert rows.shape == (4, 3, side, 3 * side)
    return rows[..., side : 2 * side]


def test_a_frozen_decoder_stays(room, lesson, tiny, tmp_path):
    network = tiny(3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    own = lesson(network=network, decoder_rate=0.0, adversarial=0.0, length=0.01)
    course = train(room, own, tmp_path, 20)
    after = own.weights()
    assert all(torch.equal(after[key], before[key]) for key in before if key.startswith(("decoder.", "latent_avg")))
    changed = [key for key, value in before.items() if key.startswith("encoder.") and value.is_floating_point()]
    assert all(not torch.equal(after[key], before[key]) for key in changed)
    assert "length" in course.rows[-1]
    kept = torch.load(tmp_path / "painter.state", weights_only=True)["lesson"]
    assert len(kept["networks"]) == 2, "a frozen decoder is not kept twice"


def test_a_resumed_run_ends_as_an_uninterrupted_one(room, lesson, tmp_path):
    """All losses on; stopped by Cancel in the middle, and continued in new networks."""
    whole = lesson(bfloat16=True)
    train(room, whole, tmp_path / "whole", 6)
    stopped = lesson(bfloat16=True)

    def stop(moment):
        if moment.course.steps == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(room, stopped, tmp_path / "parts", 6, watch=stop)
    resumed = lesson(bfloat16=True)
    train(room, resumed, tmp_path / "parts", 6)
    mine, theirs = resumed.weights(), whole.weights()
    assert [key for key in theirs if not torch.equal(mine[key], theirs[key])] == []
    assert torch.equal(resumed.judge.p, whole.judge.p)


def test_the_file_loads_at_once(room, lesson, tmp_path, canvases):
    """In the layout of the published files, recognised by its keys, the same picture as the lesson's own network."""
    own = lesson()
    train(room, own, tmp_path, 2)
    room("files").replace_weights(tmp_path / "mine.safetensors", own.weights(), own.notes())
    weights = load_file(tmp_path / "mine.safetensors")
    networks = room("networks")
    assert networks.recognise(weights, "painter") is not None
    network = networks.build(weights)
    assert hasattr(network.encoder, "input_layer_updated_canvas")
    batch = canvases(3)
    settled = own.settled()
    predict = room("pipelines.paint2pix").predict
    *_, mine = predict(network, batch.canvas, 2)
    *_, theirs = predict(settled, batch.canvas, 2)
    assert torch.allclose(mine.picture, theirs.picture, atol=1e-5)
    with safe_open(tmp_path / "mine.safetensors", "pt") as file:
        notes = file.metadata()
    assert notes["encoder_type"] == "ProgressiveBackboneEncoder"
    assert json.loads(notes["passes"]) == 2


def test_losses_are_weighted_and_optional(module, lesson, room, tiny):
    """Each part scales with its weight, and vanishes with it; identity by a face network; edits now and then."""
    torch.manual_seed(0)
    face = room("networks.paint2pix.encoders").FaceNetwork(
        units=((8, 8, 2), (8, 12, 2), (12, 16, 2)), features=16, side=2
    )

    def found(step=1, **settings):
        with lesson(network=tiny(), face=face.eval(), **{"adversarial": 0.0, "passes": 1, **settings}) as own:
            return own.step(step, 0.0)[0]

    plain = found()
    assert set(plain) == {"pixels", "features", "identity", "edit", "apart"}
    doubled = found(pixels=2.0, features=1.6, identity=0.2, edit=2.0, apart=0.2)
    for name, value in plain.items():
        assert doubled[name].item() == pytest.approx(2 * value.item(), rel=1e-4), name
        assert value > 0
    assert set(found(features=0.0, identity=0.0, edit=0.0, apart=0.0)) == {"pixels"}
    assert "edit" not in found(edit_every=2)
    assert "edit" in found(step=2, edit_every=2)


def test_the_discriminator_joins_later(lesson):
    with lesson(adversarial=0.1, adversarial_from=0.5) as own:
        assert "discriminator" not in own.step(0, 0.2)[0]
        mean = own.network.latent_avg.clone()
        found, shown = own.step(1, 0.6)
        assert {"adversarial", "random", "discriminator", "real sign", "augmentation"} <= set(found)
        assert not torch.equal(own.network.latent_avg, mean), "the mean style follows the mapping network"
        assert [tuple(part.shape) for part in shown] == [(4, 3, 32, 32)] * 3
        assert own.sheet().shape == (4, 3, 32, 96)
    with lesson(adversarial=0.1, adversarial_every=2) as own:
        assert ["discriminator" in own.step(step, 0.5)[0] for step in range(3)] == [True, False, True]


def test_settings_out_of_range(module):
    for name, value in (("batch", 1), ("passes", 9), ("learning_rate", 0.0), ("edit", -1.0), ("adversarial_from", 2.0)):
        with pytest.raises(ValueError, match=f"{name} must be from"):
            module.Settings(**{name: value}).check()


# --- what it begins from ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(room):
    return room("training.paint2pix.run")


def begin(run, module, pictures, own=None, **networks):
    own = {"features": 0.0, "adversarial": 0.0, "batch": 2, **(own or {})}
    said = []
    made = run.painter_lesson(pictures, run.Networks(**networks), module.Settings(**own), say=said.append)
    return made, said


def test_beginnings(run, module, room, places, tiny, tmp_path):
    """A StyleGAN2 file of rosinality's program, a whole painter, nothing; and the mean style of a new encoder."""
    pictures = room("training.photos").alone(places)
    decoder = tiny().decoder
    torch.save({"g": {}, "g_ema": decoder.state_dict(), "latent_avg": torch.zeros(16)}, tmp_path / "stylegan.pt")
    made, said = begin(run, module, pictures, start=tmp_path / "stylegan.pt")
    assert made.network.encoder.size == 64
    assert torch.equal(made.network.decoder.conv1.conv.weight, decoder.conv1.conv.weight)
    assert "stylegan.pt" in said[0]
    z = torch.randn(4000, 16)
    assert torch.allclose(made.network.latent_avg[3], decoder.mapping(z).mean(0), atol=0.1)
    made.closing[0].__exit__()
    save_file(tiny(4).state_dict(), tmp_path / "painter.safetensors")
    made, _ = begin(run, module, pictures, start=tmp_path / "painter.safetensors")
    assert torch.equal(made.network.encoder.body[0].res_layer[1].weight, tiny(4).encoder.body[0].res_layer[1].weight)
    made.closing[0].__exit__()
    made, _ = begin(run, module, pictures, {"decoder_rate": 1e-3}, size=32, width=8)
    assert (made.network.decoder.size, made.network.decoder.style_dim) == (32, 8)
    made.closing[0].__exit__()


def test_faults(run, module, room, places, tiny, tmp_path):
    pictures = room("training.photos").alone(places)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    save_file(tiny(0, 6, False).state_dict(), tmp_path / "identity.safetensors")
    save_file(tiny(0, 12, False).state_dict(), tmp_path / "one stem.safetensors")
    (tmp_path / "broken.pt").write_bytes(b"abc")
    for settings, networks, message in (
        ({}, {}, "A new encoder needs a decoder"),
        ({}, {"start": tmp_path / "other.safetensors"}, "is not a StyleGAN2 generator or a painter"),
        ({}, {"start": tmp_path / "identity.safetensors"}, "takes 6 channels, not the 12"),
        ({}, {"start": tmp_path / "one stem.safetensors"}, "has no second stem"),
        ({}, {"start": tmp_path / "broken.pt"}, "cannot be read"),
        ({}, {"start": tmp_path / "gone.pt"}, "There is no file"),
        ({"decoder_rate": 1e-3}, {"size": 48}, "size must be one of"),
        ({"decoder_rate": 1e-3}, {"width": 4}, "width must be from 8"),
        ({"features": 0.8}, {}, "needs a feature network"),
        ({"batch": 9}, {}, "A batch of 9 needs 9 photos or more, got 8"),
    ):
        with pytest.raises(ValueError, match=message):
            begin(run, module, pictures, settings, **networks)


def test_the_published_encoder(room):
    """IR-SE50 with both stems: the published number of entries and parameters; a face network's body fits it."""
    new = room("training.paint2pix.new")
    with torch.device("meta"):
        network = new.Encoder(
            in_channels=12,
            units=new.ENCODERS["published"]["units"],
            style_dim=512,
            halvings=(4,) * 18,
            second_stem=True,
        )
    assert network.size == 256
    weights = sum(value.numel() for value in network.parameters())
    assert abs(weights - 210_324_160) < 5_000_000
    assert new.widths(1024, 512) == (512, 512, 512, 512, 512, 256, 128, 64, 32)


def test_a_body_begins_from_a_face(room, tiny):
    new, encoders = room("training.paint2pix.new"), room("networks.paint2pix.encoders")
    torch.manual_seed(9)
    face = encoders.FaceNetwork(units=((8, 8, 2), (8, 12, 2), (12, 16, 2)), features=16, side=2)
    encoder = tiny().encoder
    taken = new.begin_body(encoder, face)
    assert taken > 20
    assert torch.equal(encoder.body[1].res_layer[1].weight, face.body[1].res_layer[1].weight)
    assert torch.equal(encoder.input_layer[0].weight[:, :3], face.input_layer[0].weight)
    other = encoders.FaceNetwork(units=((6, 6, 2),), features=16, side=2)
    assert new.begin_body(tiny().encoder, other) == 0


def test_the_patcher_is_not_needed(module, room):
    """percept_of takes a feature network as loaders make it."""
    vgg = room("networks").build(
        load_file(room("files").Path(__file__).parents[4] / "starter/weights/features.safetensors")
    )
    features = room("pictures.features").features("starter", SimpleNamespace(model=vgg))
    percept = module.percept_of(features, 128, "cpu")
    a, b = torch.rand(2, 3, 128, 128) * 2 - 1, torch.rand(2, 3, 128, 128) * 2 - 1
    assert percept(a, a).abs().max() < 1e-5
    assert percept(a, b).min() > 0.01
