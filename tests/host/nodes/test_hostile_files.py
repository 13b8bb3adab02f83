"""Model files, names and folders that no well-meaning program makes: each ends in one of our own sentences."""

from __future__ import annotations

import errno
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.host import need_host

need_host()

FOLDERS = ("sketch_priors", "sketch_extractors", "sketch_features", "sketch_gan")
STARTERS = {
    "prior": ("sketch_priors", "prior"),
    "extractor": ("sketch_extractors", "extractor"),
    "features": ("sketch_features", "features"),
    "gan": ("sketch_gan", "gan"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch, pack):
    import folder_paths

    for name in FOLDERS:
        known = folder_paths.folder_names_and_paths[name][1]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, name, ([str(tmp_path)], known))
    return tmp_path


@pytest.fixture(scope="module")
def load(room):
    loaders = {
        "prior": lambda name: room("nodes.priors").load_prior(room("nodes.priors").prior_file(name), {}),
        "extractor": lambda name: room("nodes.extractors").load_extractor(name),
        "features": lambda name: room("nodes.extractors").load_features(name),
        "gan": lambda name: room("nodes.sketchgan").load_gan(name),
    }
    return lambda kind, name: loaders[kind](name)


@pytest.fixture(scope="module")
def weights(room):
    home = room("host").PACK / "starter" / "weights"
    return {kind: load_file(home / f"{name}.safetensors") for kind, (_, name) in STARTERS.items()}


def notes_of(kind):
    return {"num_heads": "4", "num_head_channels": "0", "norm_groups": "8"} if kind == "prior" else {}


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bad\udcff.safetensors", "a\0b.safetensors"])
def test_names_that_are_not_text(room, load, folder, name):
    """The host's log cannot write them: its queue would end."""
    for kind in STARTERS:
        with pytest.raises(ValueError, match=r"not text\. Rename it") as told:
            load(kind, name)
        str(told.value).encode()
    said = room("nodes.priors").SketchPriorLoader.validate_inputs(name)
    assert "Rename it" in said
    said.encode()
    assert "Rename it" in room("nodes.pairs").SketchPairs.validate_inputs(name, ".")
    assert "Rename it" in room("nodes.train_gan").SketchTrainGAN.validate_inputs(name, ".", ".")


@pytest.mark.parametrize("name", [5, True, {}, [1], 1.5])
def test_names_of_another_type(room, load, name):
    for kind in STARTERS:
        with pytest.raises(ValueError, match="must be text, got"):
            load(kind, name)
    assert "must be text" in room("nodes.pairs").SketchPairs.validate_inputs(name, ".")
    assert "must be text" in room("nodes.priors").SketchPriorLoader.validate_inputs(name)


def test_nothing_given(room):
    """A required input that is left out is told by the host; our validation must not fall over it."""
    from comfy_api.internal import first_real_override  # how the host asks, base classes included

    for node in room("nodes").NODES:
        if first_real_override(node, "validate_inputs"):
            assert isinstance(node.validate_inputs(), (bool, str)), node
        if first_real_override(node, "fingerprint_inputs"):
            node.fingerprint_inputs()


@pytest.mark.parametrize("name", ["x" * 255, "\N{GRINNING FACE}" * 60])
def test_names_that_are_too_long(room, name):
    parts = room("nodes.parts.training")
    with pytest.raises(ValueError, match=r"too long: \d+ bytes"):
        parts.plain_name(name)
    longest = "x" * parts.LONGEST
    assert parts.plain_name(longest) == longest
    assert len(f"{longest}.safetensors.4194304.part") == 255


# --- contents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(("num_heads", text) for text in ("abc", "[1,2]", "{}", "0", "-1", "null", "[" * 3000 + "]" * 3000)),
        *(("norm_groups", text) for text in ("0", "null", '"8"', "1.5", "true")),
        ("image_size", "-64"),
        ("use_new_attention_order", "1"),
    ],
)
def test_metadata_of_another_kind(load, weights, folder, key, text):
    save_file(weights["prior"], folder / "p.safetensors", {**notes_of("prior"), key: text})
    with pytest.raises(ValueError, match=f"The metadata of 'p.safetensors' sets {key} to"):
        load("prior", "p.safetensors")


def test_metadata_that_no_network_has(load, weights, folder):
    save_file(weights["prior"], folder / "p.safetensors", {**notes_of("prior"), "norm_groups": "7"})
    with pytest.raises(ValueError, match=r"look like ADM.*do not fit it: no network has such sizes or settings"):
        load("prior", "p.safetensors")


def _filled(value, number):
    return torch.full_like(value, number) if value.is_floating_point() else value


CHANGES = {
    "vectors": (lambda value: torch.zeros(4), "do not fit|tensor"),
    "numbers": (lambda value: torch.tensor(1.0), "do not fit|tensor"),
    "whole numbers": (lambda value: value.to(torch.int64), "instead of real numbers|do not fit"),
    "truth values": (lambda value: value.to(torch.bool), "instead of real numbers|do not fit"),
    "half the channels": (lambda value: value[::2].contiguous(), "do not fit|do not belong together"),
    "not a number": (lambda value: _filled(value, torch.nan), "contains NaN or infinite"),
    "infinite": (lambda value: _filled(value, torch.inf), "contains NaN or infinite"),
}


@pytest.mark.parametrize("kind", STARTERS)
@pytest.mark.parametrize("change", CHANGES)
def test_tensors_of_another_kind(load, weights, folder, kind, change):
    made, words = CHANGES[change]
    changed = {
        key: made(value) if value.ndim or change != "half the channels" else value
        for key, value in weights[kind].items()
    }
    save_file(changed, folder / "w.safetensors", notes_of(kind))
    with pytest.raises(ValueError, match=words):
        load(kind, "w.safetensors")


@pytest.mark.parametrize("kind", STARTERS)
def test_lists_that_hold_themselves(load, folder, kind):
    held: list = []
    held.append(held)
    torch.save({"x": held, "y": {"z": held}}, folder / "l.pt")
    with pytest.raises(ValueError, match="there are no named tensors in it"):
        load(kind, "l.pt")


STRANGE = {
    "no values": lambda value: value.to("meta"),
    "a sparse tensor": lambda value: value.to_sparse(),
    "quantized values": lambda value: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("held", STRANGE)
@pytest.mark.parametrize("kind", STARTERS)
def test_tensors_that_are_not_plain(load, weights, folder, kind, held):
    changed = {key: STRANGE[held](value) if value.ndim else value for key, value in weights[kind].items()}
    torch.save(changed, folder / "a.pt")
    with pytest.raises(ValueError, match=f"'a.pt' holds {held} under '.*Save plain, dense weights"):
        load(kind, "a.pt")


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "b/" + "é" * 130 + ".png", "c/" * 2100 + "d.png", "x" * 100_000])
def test_names_that_no_file_has(room, load, folder, name):
    """Looking for one is an OSError on Linux, where the others are only not there."""
    drawing, folders = room("nodes.drawing").SketchLoader, room("nodes.parts.folders")
    for said in (drawing.validate_inputs(name), folders.are_there(name)):
        assert "is too long: " in said
        assert len(said) < 300
    for kind in STARTERS:
        with pytest.raises(ValueError, match="is too long: "):
            load(kind, name)


def test_a_file_that_may_not_be_read(load, folder, monkeypatch):
    import builtins

    (folder / "p.safetensors").write_bytes(b"x")
    real = builtins.open

    def refuse(path, *args, **settings):
        if str(path).endswith("p.safetensors"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *args, **settings)

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(ValueError, match="may not be read: ComfyUI's process lacks the permission"):
        load("prior", "p.safetensors")


# --- folders and states -----------------------------------------------------------------------------------------------


def test_a_full_disk(room, tmp_path, monkeypatch):
    """Both of its ways: the system's, and torch.save's own. What was there before is intact."""
    files = room("files")
    path = tmp_path / "a.state"
    files.replace(path, b"before")

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    def torn(file):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 204608 vs 204500\nmore")

    for put, words in ((full, "No space left on device"), (torn, "enforce fail")):
        with pytest.raises(ValueError, match=f"could not be written .*{words}.*saved before is intact") as told:
            files.write(path, put)
        assert "\n" not in str(told.value)
    assert path.read_bytes() == b"before"
    assert [one.name for one in tmp_path.iterdir()] == ["a.state"]


@pytest.mark.parametrize(
    "wrong",
    [{"steps": "many"}, {"steps": -5}, {"rows": [5]}, {"minutes": float("nan")}, {"lesson": []}, {"identity": 1}],
)
def test_states_with_wrong_values(room, tmp_path, wrong):
    loop = room("training.loop")
    good = {"identity": {}, "lesson": {}, "steps": 1, "minutes": 0.1, "rows": [{"step": 1}]}
    torch.save(good, tmp_path / "a.state")
    assert loop.read_state(tmp_path / "a.state")["steps"] == 1
    torch.save({**good, **wrong}, tmp_path / "a.state")
    with pytest.raises(ValueError, match="not the state of a training, or it is damaged"):
        loop.read_state(tmp_path / "a.state")


def test_the_finished_autoencoder_is_damaged(room, tmp_path):
    (tmp_path / "autoencoder.finished").write_bytes(json.dumps({}).encode())
    with pytest.raises(ValueError, match=r"autoencoder\.finished is damaged .*Start anew, or delete it"):
        room("training.sketchgan.runs")._drafts(tmp_path / "autoencoder.finished")
