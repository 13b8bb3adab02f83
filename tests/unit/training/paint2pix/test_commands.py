"""`train paint2pix` and `train stylegan`: from a folder of photos to files, resumed, with faults in sentences."""

from __future__ import annotations

import pytest
from safetensors import safe_open
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def command(room):
    return room("training.paint2pix.command")


def words(folder, places, **own):
    settings = {"folder": folder, "photos": places, "steps": 1, "batch": 2, **own}
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def test_from_a_folder_to_a_painter(command, room, places, tmp_path, capsys, monkeypatch):
    """First a StyleGAN2, then an encoder in front of it; the same command again has nothing left to do."""
    monkeypatch.setattr(room("training.paint2pix.lesson"), "SETTLING", 1)
    command.stylegan([*words(tmp_path, places, size=32, width=8, mappings=1), "--no-mirror"])
    networks = room("networks")
    assert networks.build(load_file(tmp_path / "stylegan.safetensors")).size == 32
    again = words(tmp_path, places, start=tmp_path / "stylegan.safetensors", features=0, passes=1)
    command.painter(again)
    told = capsys.readouterr().out
    assert "8 photos" in told
    assert "The decoder begins from stylegan.safetensors; the encoder is new." in told
    network = networks.build(load_file(tmp_path / "painter.safetensors"))
    assert (network.encoder.size, network.decoder.size) == (64, 32)
    with safe_open(tmp_path / "painter.safetensors", "pt") as file:
        assert file.metadata()["formulation"] == "SketchSynth"
    state = (tmp_path / "painter.state").stat().st_mtime_ns
    command.painter(again)
    assert (tmp_path / "painter.state").stat().st_mtime_ns == state


def test_faults_are_sentences(command, room, places, tmp_path, capsys):
    run = room("training.command").run
    for main, own, message in (
        (command.painter, {}, "A new encoder needs a decoder"),
        (command.painter, {"start": tmp_path / "gone.pt"}, "There is no file"),
        (command.painter, {"passes": 9}, "passes must be from 1 to 5, got 9."),
        (command.stylegan, {"size": 100}, "size must be one of"),
        (command.stylegan, {"photos": tmp_path / "none"}, "There is no folder"),
        (command.stylegan, {"steps": 0, "size": 32, "width": 8}, "Set --steps or --minutes above 0"),
    ):
        if main == command.painter:
            own = {"features": 0, **own}
        assert run(main, words(tmp_path / "out", places, **own)) == 1
        assert message in capsys.readouterr().out


def test_the_launcher_finds_them(command, room):
    """Every name of `train` has something to call."""
    from tools import train

    for name in ("paint2pix", "stylegan", "starter-painter"):
        assert callable(getattr(room(train.TRAININGS[name]), train.ENTRIES.get(name, "main")))
