"""dev/runtime/comfy_server.py: whose models folder a run reads, and whose it writes to."""

from __future__ import annotations

import folder_paths
import pytest

from runtime import comfy_server


@pytest.fixture
def listed(monkeypatch):
    """The host's table of model folders, put back afterwards."""
    kept = {name: (list(paths), kinds) for name, (paths, kinds) in folder_paths.folder_names_and_paths.items()}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", kept)
    return folder_paths.get_folder_paths


def test_a_persons_models_are_read_and_never_written(tmp_path, listed):
    """Nodes save into the first folder of a kind. The person's own configuration puts theirs first, as any may."""
    from utils.extra_config import load_extra_path_config

    person, base = tmp_path / "person", tmp_path / "base"
    for name in ("checkpoints", "sketch_gan"):
        (person / name).mkdir(parents=True)
    for name in (*comfy_server.MODEL_FOLDERS, "checkpoints"):
        folder_paths.add_model_folder_path(name, str(person / "elsewhere" / name), is_default=True)
    load_extra_path_config(str(comfy_server.list_models(base, person)))
    for name in (*comfy_server.MODEL_FOLDERS, "checkpoints"):
        assert listed(name)[0] == str(base / "models" / name)
        assert str(person / "elsewhere" / name) in listed(name)
    assert str(person / "sketch_gan") in listed("sketch_gan")
    assert str(person / "checkpoints") in listed("checkpoints")
    assert sorted(path.name for path in person.iterdir()) == ["checkpoints", "sketch_gan"]


def test_every_model_folder_of_the_pack_is_known(pack):
    ours = {name for name in folder_paths.folder_names_and_paths if name.startswith("sketch_")}
    assert ours - {"sketch_test_only"} == set(comfy_server.MODEL_FOLDERS)
