"""The whole command on stub servers, by way of Dask: what is there at the end, whatever went wrong on the way."""

from __future__ import annotations

import contextlib
import csv
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers import PACK, stub_comfy
from helpers.stub_comfy import Stub, Stubs

pytest.importorskip("distributed", reason="Dask is not installed: python3 dev/run.py test brings it")


@pytest.fixture
def folders(folder):
    """--set for 6 sketches and 5 styles."""
    sketches = folder("sketches", *(f"s{number}.png" for number in range(6)))
    styles = folder("styles", *(f"t{number}.png" for number in range(5)))
    return ["--set", f"sketch.image={sketches}", "--set", f"style.image={styles}"]


@pytest.fixture
def command(room, tmp_path):
    """command(stubs, words) -> the exit code of the command in this process."""
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(stub_comfy.graph()))
    room("batch.client").PAUSE = 0.01

    def made(stubs, *words, out="out", servers=None):
        addresses = ["--servers", ",".join(stub.address for stub in stubs)] if servers is None else servers
        return room("batch.command").main([str(graph), *addresses, "--out", str(tmp_path / out), *words])

    return made


@pytest.fixture
def quick_rest(room, monkeypatch):
    """Servers rest for a quarter of a second."""
    schedule = room("batch.schedule").Schedule
    given = (("rest", 0.25),)
    monkeypatch.setattr(
        room("batch.command"), "Schedule", lambda *words, **more: schedule(*words, **{**dict(given), **more})
    )


def results(folder: Path) -> dict[str, bytes]:
    """Every file below the output folder but the books and the lock."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "_batch" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def summary(folder: Path) -> dict:
    return json.loads((folder / "_batch/summary.json").read_text())


def failures(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "_batch/failed.csv").open(newline="")))


def test_two_servers_give_what_one_gives(command, folders, tmp_path):
    with Stubs(Stub(0.01), Stub(0.01), Stub(0.01)) as stubs:
        assert command(stubs[:1], *folders, "--seed", "Paint.seed", out="one") == 0
        assert command(stubs[1:], *folders, "--seed", "Paint.seed", out="two") == 0
        one, two = results(tmp_path / "one"), results(tmp_path / "two")
        assert sorted(one) == sorted(f"s{a}__t{b}.png" for a in range(6) for b in range(5))
        assert one == two
        assert len(set(one.values())) == 30
        assert all(stub.deepest <= 2 for stub in stubs)
        for stub in stubs:
            assert set(stub.executed.values()) == {1}
            assert set(stub.uploads.values()) == {1}, "each file once"
        assert len(stubs[0].uploads) == 11
        assert min(len(stub.executed) for stub in stubs[1:]) >= 5
        told = summary(tmp_path / "two")
        assert (told["state"], told["items"], told["done"], told["failed"]) == ("complete", 30, 30, 0)
        assert sum(server["done"] for server in told["servers"].values()) == 30
        assert (tmp_path / "two/_batch/contact_sheet.jpg").stat().st_size > 1000


def test_a_second_start_has_nothing_to_do_and_makes_up_for_what_is_gone(command, folders, tmp_path):
    with Stubs(Stub()) as stubs:
        assert command(stubs, *folders) == 0
        posts, whole = sum(stubs[0].posts.values()), results(tmp_path / "out")
        assert command(stubs, *folders) == 0
        assert sum(stubs[0].posts.values()) == posts
        (tmp_path / "out/s3__t2.png").unlink()
        assert command(stubs, *folders) == 0
        assert results(tmp_path / "out") == whole
        assert sum(stubs[0].posts.values()) == posts, "the server still had it"


def test_an_item_that_always_fails(command, folders, tmp_path, capsys):
    with Stubs(Stub(), Stub()) as stubs:
        bad: dict[str, str | None] = {"name": None}
        for stub in stubs:
            stub.fails = lambda prompt: "bad drawing" if bad["name"] in (None, prompt["2"]["inputs"]["image"]) else ""
        bad["name"] = f"sketchsynth-batch/{_hash(b'sketches/s2.png')}.png"
        assert command(stubs, *folders) == 1
        assert len(results(tmp_path / "out")) == 25
        told = failures(tmp_path / "out")
        assert sorted(row["name"] for row in told) == [f"s2__t{number}" for number in range(5)]
        assert {(row["tries"], row["why"]) for row in told} == {("3", "Paint (#4): RuntimeError: bad drawing")}
        assert json.loads(told[0]["inputs"])["sketch.image"].endswith("s2.png")
        assert summary(tmp_path / "out")["state"] == "some failed"
        assert "5 failed" in capsys.readouterr().err
        bad["name"] = "none"
        assert command(stubs, *folders) == 0
        assert len(results(tmp_path / "out")) == 30
        assert failures(tmp_path / "out") == []


def _hash(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()[:32]


def test_a_graph_that_never_works_ends_soon(command, folders, tmp_path):
    with Stubs(Stub()) as stubs:
        stubs[0].fails = lambda _: "no such layer"
        assert command(stubs, *folders) == 3
        assert len(stubs[0].executed) < 30
        assert "Every item fails" in summary(tmp_path / "out")["state"]
        assert "no such layer" in summary(tmp_path / "out")["state"]


def test_a_server_dies_in_mid_run_and_returns(command, folders, tmp_path, quick_rest):
    with Stubs(Stub(0.03), Stub(0.03)) as stubs:

        def die_and_return():
            while len(stubs[1].executed) < 3:
                time.sleep(0.005)
            stubs[1].down = True
            time.sleep(0.4)
            stubs[1].forget()
            stubs[1].inputs.clear()  # started elsewhere, with an empty input folder
            before["then"] = len(stubs[1].executed)
            stubs[1].down = False

        before = {}
        fate = threading.Thread(target=die_and_return)
        fate.start()
        assert command(stubs, *folders, "--seed", "Paint.seed", "--total", "60") == 0
        fate.join()
        assert len(results(tmp_path / "out")) == 60
        assert len(stubs[1].executed) > before["then"] + 3, "it works again"
        assert summary(tmp_path / "out")["servers"][stubs[1].address]["rests"] >= 1


def test_a_hang_is_told_and_its_items_go_elsewhere(command, folders, tmp_path, quick_rest):
    with Stubs(Stub(0.01), Stub(0.01)) as stubs:
        stubs[0].hangs = True
        assert command(stubs, *folders, "--item-timeout", "0.5") == 0
        assert len(results(tmp_path / "out")) == 30
        assert summary(tmp_path / "out")["servers"][stubs[0].address] == {
            "done": 0,
            "failed": 0,
            "rests": 1,
            "seconds_per_item": 0.0,
            "resting": f"{stubs[0].address} did not finish within 0 s",
        }


def test_a_server_with_a_full_disk(command, folders, tmp_path):
    """Its items succeed elsewhere: it rests, and nothing fails."""
    with Stubs(Stub(0.01), Stub(0.01)) as stubs:
        stubs[0].fails = lambda _: "[Errno 28] No space left on device"
        assert command(stubs, *folders) == 0
        assert len(results(tmp_path / "out")) == 30
        assert len(stubs[0].executed) <= 6


def test_a_full_disk_here_stops_the_run(command, folders, tmp_path, room, monkeypatch):
    whole, count = room("files").replace, []

    def replace(path, content):
        count.append(path)
        if path.suffix == ".png" and len(count) > 12:
            raise room("files").NotWritten("'x.png' could not be written (No space left on device).")
        whole(path, content)

    with Stubs(Stub(0.01)) as stubs:
        monkeypatch.setattr(room("files"), "replace", replace)
        assert command(stubs, *folders) == 3
        monkeypatch.undo()
        assert "No space left" in summary(tmp_path / "out")["state"]
        assert 0 < len(results(tmp_path / "out")) < 30
        assert command(stubs, *folders) == 0
        assert len(results(tmp_path / "out")) == 30
        assert max(stubs[0].executed.values()) == 1


def test_servers_that_cannot_run_it_are_told_before_the_start(command, folders, tmp_path, capsys):
    with Stubs(Stub(), Stub(), Stub()) as stubs:
        del stubs[1].info["Paint"]
        stubs[2].info["Model"]["input"]["required"]["file"][0] = ["large.safetensors"]
        assert command(stubs, *folders) == 2
        told = capsys.readouterr().err
        assert f"{stubs[1].address} cannot run this graph:\n  it has no node of type 'Paint'" in told
        assert "'small.safetensors' is not among the choices" in told
        assert not any(stub.posts or stub.uploads for stub in stubs)
        assert not (tmp_path / "out").exists()
        assert command(stubs, *folders, "--allow-missing") == 0
        assert [len(stub.executed) for stub in stubs] == [30, 0, 0]


def test_a_server_that_is_not_there(command, folders, capsys):
    with Stubs(Stub()) as stubs:
        gone = ["--servers", f"{stubs[0].address},127.0.0.1:9"]
        assert command(stubs, *folders, servers=gone) == 2
        assert "127.0.0.1:9 does not answer" in capsys.readouterr().err
        assert command(stubs, *folders, "--allow-missing", servers=gone) == 0


def test_no_server_answers_any_more(command, folders, tmp_path, quick_rest):
    with Stubs(Stub(0.02)) as stubs:
        fate = threading.Timer(1.0, lambda: setattr(stubs[0], "down", True))
        fate.start()
        words = (*folders, "--seed", "Paint.seed", "--total", "3000", "--patience", "0.5")
        assert command(stubs, *words) == 3
        assert "No server has answered for" in summary(tmp_path / "out")["state"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "Paint.speed=1"], "that node's inputs are"),
        (["--set", "Paint.seed=1", "--seed", "Paint.seed"], r"Paint\.seed is set twice"),
        (["--total", "2"], "Vary a seed"),
        (["--header", "x"], "written as 'Name: value'"),
        (["--header", "@/nowhere"], "cannot be read"),
        (["--ca", "/nowhere"], "no file of certificates"),
        (["--servers", "ftp://x"], "is no server's address"),
        (["--scheduler", "tcp://127.0.0.1:9"], "No Dask scheduler answers"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(command, room, words, says, capsys, monkeypatch):
    monkeypatch.setattr(room("batch.cluster"), "CONNECT", 0.3)
    with Stubs(Stub()) as stubs:
        assert command(stubs, *words) == 2
        assert re.search(says, capsys.readouterr().err)
        assert not stubs[0].posts


def test_inputs_are_listed(command, capsys):
    with Stubs(Stub()) as stubs:
        assert command(stubs, "--inputs") == 0
        assert "sketch.image = 'sample.png'  (#2.image)\n" in capsys.readouterr().out


def test_another_graph_into_the_same_folder(command, folders, capsys):
    with Stubs(Stub()) as stubs:
        assert command(stubs, *folders) == 0
        assert command(stubs, *folders, "--set", "Paint.strength=1") == 2
        assert "another graph or of other settings" in capsys.readouterr().err


def test_without_dask_one_line_says_what_to_install(command, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert command([], servers=["--servers", "127.0.0.1:9"]) == 2
    assert capsys.readouterr().err == f"This command needs Dask: {sys.executable} -m pip install distributed\n"


def test_nothing_of_it_can_be_reached_from_other_machines(room):
    import psutil

    def listening():
        every = psutil.Process().net_connections("inet")
        return {one.laddr for one in every if one.status == psutil.CONN_LISTEN}

    before = listening()
    with room("batch.cluster").started(None, 2, "sketchsynth_rooms"):
        assert {address.ip for address in listening() - before} <= {"127.0.0.1", "::1"}


def test_workers_of_a_cluster_need_no_copy_of_the_pack(command, folders, tmp_path):
    """A worker process that knows neither the pack nor the folders: code and files travel to it."""
    from distributed import LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 4, "processes": True, "dashboard_address": None}
    with Stubs(Stub(), Stub()) as stubs, LocalCluster(**options) as cluster:
        stubs[0].fails = lambda _: "no" if len(stubs[0].executed) == 1 else ""
        address = cluster.scheduler_address  # pyright: ignore[reportAttributeAccessIssue]
        assert command(stubs, *folders, "--scheduler", address) == 0
        assert len(results(tmp_path / "out")) == 30
        assert all(set(stub.uploads.values()) == {1} for stub in stubs)


# --- the command as a process ----------------------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path):
    """started(stubs, words) -> the command as a process of its own."""
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(stub_comfy.graph()))
    running = []

    def made(stubs, *words):
        servers = ",".join(stub.address for stub in stubs)
        command = [sys.executable, str(PACK / "batch"), str(graph), "--servers", servers, *words]
        log = (tmp_path / "log").open("a")
        running.append(
            subprocess.Popen([*command, "--out", str(tmp_path / "out")], stdout=log, stderr=log, cwd=tmp_path)
        )
        return running[-1]

    yield made
    for process in running:
        with contextlib.suppress(OSError):
            process.kill()
        process.wait(60)


def test_killed_ten_times_at_random(started, folders, tmp_path):
    """Nothing lost, nothing twice, nothing half-written; and no item ran twice on a server."""
    chance = random.Random(0)
    words = (*folders, "--seed", "Paint.seed", "--total", "300")
    with Stubs(Stub(0.02), Stub(0.02)) as stubs:
        for _ in range(10):
            process = started(stubs, *words)
            before = len(stubs[0].executed)
            while len(stubs[0].executed) < before + 4 and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0.0, 0.3))
            process.kill()
            process.wait(60)
        partly = {name: found for name, found in results(tmp_path / "out").items() if not name.endswith(".part")}
        assert 40 <= len(partly) < 300
        assert started(stubs, *words).wait(120) == 0
        found = results(tmp_path / "out")
        assert len(found) == 300
        assert len(set(found.values())) == 300
        assert all(content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82") for content in found.values())
        assert {name: found[name] for name in partly} == partly
        assert max(max(stub.executed.values()) for stub in stubs) == 1
        ran = sum(len(stub.executed) for stub in stubs)
        assert ran <= 300 + 10 * 4, "at most what was in flight ran again, elsewhere"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_leaves_the_servers_empty(started, folders, tmp_path):
    with Stubs(Stub(0.2)) as stubs:
        process = started(stubs, *folders)
        while len(stubs[0].executed) < 3:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert not stubs[0].pending
        assert stubs[0].current is None
        assert "Traceback" not in (tmp_path / "log").read_text()
        assert summary(tmp_path / "out")["state"] == "interrupted"
        done = len(results(tmp_path / "out"))
        assert 0 < done < 30
        assert started(stubs, *folders).wait(60) == 0
        assert len(results(tmp_path / "out")) == 30
