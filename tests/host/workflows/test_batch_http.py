"""`python3 batch` on real servers: the sketch GAN's starter over samples, two servers against one, a kill -9."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from helpers import PACK
from helpers.host import need_host
from runtime.comfy_server import ComfyServer

pytest.importorskip("distributed", reason="Dask is not installed: python3 dev/run.py test brings it")
SAMPLES = PACK / "starter/samples"
SIZE = 64  # pixels


@pytest.fixture(scope="module")
def second(tmp_path_factory) -> Iterator[ComfyServer]:
    """Another server beside the session's, with the pack and folders of its own."""
    with ComfyServer(Path(sys.executable), need_host(), tmp_path_factory.mktemp("second"), cpu=True) as running:
        yield running


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[str]:
    """--set for 4 drawings and 3 photos of the samples, with a seed of its own for every item."""
    base = tmp_path_factory.mktemp("samples")
    photos = sorted(SAMPLES.glob("photo*.png"))
    drawings = [path for path in sorted(SAMPLES.glob("*.png")) if path not in photos]
    for folder, paths in ((base / "sketches", drawings[:4]), (base / "photos", photos[:3])):
        folder.mkdir()
        for path in paths:
            shutil.copy(path, folder)
    settings = (f"your sketch={base / 'sketches'}", f"style: its colours.{loader_input()}={base / 'photos'}")
    return ["--set", settings[0], "--set", settings[1], "--seed", "SketchGANDecode.seed"]


def loader_input() -> str:
    """The name of Load Sketch's file input."""
    snapshot = json.loads((PACK / "tests/schema_snapshot.json").read_text(encoding="utf-8"))
    return snapshot["SketchLoader"]["inputs"][0]["id"]


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    """The template at a small size, in the editor's form as it ships."""
    template = json.loads(
        (PACK / "workflows/18 Sketch and style - one pass, no prompt.json").read_text(encoding="utf-8")
    )
    for node in template["nodes"]:
        if node["type"] == "SketchLoader":
            node["widgets_values"] = [SIZE if value == 256 else value for value in node["widgets_values"]]
    path = tmp_path_factory.mktemp("graph") / "graph.json"
    path.write_text(json.dumps(template), encoding="utf-8")
    return path


def start(graph: Path, servers: list[ComfyServer], out: Path, *words: str) -> subprocess.Popen[str]:
    addresses = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    command = [sys.executable, str(PACK / "batch"), str(graph), "--servers", addresses, "--out", str(out), *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], patience: float) -> tuple[int, str]:
    try:
        out, err = process.communicate(timeout=120 * patience)
    finally:
        process.kill()
    return process.returncode, out + err


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def test_inputs_by_the_names_people_see(server, graph, tmp_path):
    code, told = finish(start(graph, [server], tmp_path, "--inputs"), server.patience)
    assert code == 0
    assert f"your sketch.{loader_input()} = " in told
    assert "seed = 1  (#6.seed)" in told


def test_two_servers_one_of_them_killed_and_started_again(server, second, graph, folders, tmp_path):
    """12 pairs, kill -9 in the middle, the server comes back with an empty queue: nothing is lost, and every picture is
    bit for bit what one server alone makes."""
    code, told = finish(start(graph, [server], tmp_path / "one", *folders), server.patience)
    assert code == 0, told
    one = results(tmp_path / "one")
    assert len(one) == 12
    holds_its_own_graph(next(iter(one.values())))
    both = start(graph, [server, second], tmp_path / "two", *folders)
    deadline = time.monotonic() + 60 * server.patience
    while "got prompt" not in second.log_text() and time.monotonic() < deadline and both.poll() is None:
        time.sleep(0.01)
    assert second.process is not None
    second.process.kill()
    second.process.wait()
    second.start()
    code, told = finish(both, server.patience)
    assert code == 0, told
    assert results(tmp_path / "two") == one
    summary = json.loads((tmp_path / "two/_batch/summary.json").read_text())
    assert (summary["done"], summary["failed"]) == (12, 0)


def holds_its_own_graph(content: bytes) -> None:
    """Dragged into the editor, a result shows the inputs that it was made of."""
    with Image.open(io.BytesIO(content)) as picture:
        prompt, workflow = (json.loads(picture.info[key]) for key in ("prompt", "workflow"))
    used = {one["inputs"][loader_input()] for one in prompt.values() if one["class_type"] == "SketchLoader"}
    shown = {one["widgets_values"][0] for one in workflow["nodes"] if one["type"] == "SketchLoader"}
    assert used == shown
    assert all(name.startswith("sketchsynth-batch/") for name in used)


def test_a_missing_model_is_told_before_the_start(server, graph, folders, tmp_path):
    template = json.loads(graph.read_text(encoding="utf-8"))
    loader = next(node for node in template["nodes"] if node["type"] == "SketchGANLoader")
    loader["widgets_values"][0] = "mine.safetensors"
    other = tmp_path / "graph.json"
    other.write_text(json.dumps(template), encoding="utf-8")
    code, told = finish(start(other, [server], tmp_path / "out", *folders), server.patience)
    assert code == 2
    assert "'mine.safetensors' is not among the choices (starter (built in)" in told
    assert "Nothing was queued" in told
    assert not (tmp_path / "out").exists()
