"""batch/client.py and task.py on a stub server: addresses, headers, TLS, and what each fault is called."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import uuid

import pytest

from helpers import stub_comfy
from helpers.stub_comfy import Stub, Stubs


@pytest.fixture(scope="module")
def client(room):
    return room("batch.client")


@pytest.fixture(scope="module")
def task(room):
    module = room("batch.task")
    room("batch.client").PAUSE = 0.01  # for tests that wait for a server that stays away
    return module


@pytest.fixture
def job(client, task):
    """job(stub, keep="saved") -> one item for that server."""

    def made(stub, name="item", keep="saved", prompt=None, **changes):
        body = json.dumps({"prompt": prompt or stub_comfy.graph()}).encode()
        run = str(uuid.UUID(int=1))
        plain = task.Job(client.Server.of(stub.address), name, body, run, keep, "6", 0, 0.0, 30.0)
        return plain._replace(**changes)

    return made


@pytest.mark.parametrize(
    ("address", "name", "scheme"),
    [
        ("a", "a:8188", "http"),
        ("a:1", "a:1", "http"),
        ("http://a:8188/", "a:8188", "http"),
        ("https://a/comfy/", "a:443/comfy", "https"),
        ("https://ann:secret@a:9", "a:9", "https"),
        ("[::1]:8188", "[::1]:8188", "http"),
    ],
)
def test_addresses(client, address, name, scheme):
    server = client.Server.of(address)
    assert (server.name, server.scheme) == (name, scheme)


@pytest.mark.parametrize("address", ["", "ftp://a", "a:x", "a:99999", "http://", "ann:secret@:80"])
def test_no_addresses_and_no_password_in_the_message(client, address):
    with pytest.raises(ValueError, match="is no server's address") as told:
        client.Server.of(address)
    assert "secret" not in str(told.value)


def test_a_password_in_the_address_becomes_a_header(client):
    assert client.Server.of("http://ann:s%40fe@a").headers == (("Authorization", "Basic YW5uOnNAZmU="),)


def test_a_server_that_wants_a_header(client, task):
    stub = Stub(header=("X-Key", "open"))
    with Stubs(stub):
        assert isinstance(task.look(client.Server.of(stub.address, [("X-Key", "open")]), None, ()), task.View)
        told = task.look(client.Server.of(stub.address), None, ())
        assert told.kind == "away"
        assert "401" in told.text
        assert "--header" in told.text


def test_tls_is_checked(client, task, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", pem]
    subprocess.run(["openssl", "req", *options, *files], check=True, capture_output=True)
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(pem, key)
    with Stubs(Stub(), secure=secure) as (stub,):
        address = f"https://{stub.address}"
        assert isinstance(task.look(client.Server.of(address, (), str(pem)), None, ()), task.View)
        told = task.look(client.Server.of(address), None, ())
        assert told.kind == "away"
        assert "certificate verify failed" in told.text


def test_an_item_runs_once_however_often_it_is_asked_for(task, job):
    with Stubs(Stub()) as (stub,):
        first = task.run(job(stub))
        assert task.run(job(stub)) == first
        assert first.kind == "done"
        assert [ending for ending, _ in first.files] == [".png"]
        assert list(stub.executed.values()) == [1]
        task.run(job(stub, name="other"))
        task.run(job(stub, run=str(uuid.UUID(int=2))))
        assert len(stub.executed) == 3


def test_what_is_kept(task, job):
    with Stubs(Stub()) as (stub,):
        every = task.run(job(stub, keep="all")).files
        saved = task.run(job(stub)).files
        assert len(every) == 2
        assert every[0] == saved[0]
        only = {key: one for key, one in stub_comfy.graph().items() if key != "6"}
        assert len(task.run(job(stub, name="b", prompt=only, main="5")).files) == 1, "a preview, where nothing is saved"


@pytest.mark.parametrize(
    ("keep", "kept"), [("final", ["b"]), ("saved", ["b", "a"]), ("all", ["b", "p", "a"]), ("texts", ["said"])]
)
def test_which_entries_are_chosen(task, keep, kept):
    outputs = {
        "1": {"images": [{"filename": "p", "type": "temp"}]},
        "2": {"images": [{"filename": "a", "type": "output"}], "animated": [True]},
        "3": {"images": [{"filename": "b", "type": "output"}], "text": ["t"]},
    }
    if keep == "texts":
        outputs, keep = {"3": {"text": ["said"]}}, "final"
    assert [one if isinstance(one, str) else one["filename"] for one in task.chosen(outputs, keep, "3")] == kept


def test_a_failed_item_is_tried_anew_and_says_why(task, job):
    with Stubs(Stub()) as (stub,):
        stub.fails = lambda _: "out of\n memory"
        for _ in range(2):
            outcome = task.run(job(stub))
            assert (outcome.kind, outcome.text) == ("failed", "Paint (#4): RuntimeError: out of memory")
        stub.fails = lambda _: ""
        assert task.run(job(stub)).kind == "done"
        assert sorted(stub.executed.values()) == [1, 1, 1]


def test_a_refused_prompt_says_why(task, job):
    with Stubs(Stub()) as (stub,):
        stub.refuses = "Value 7 bigger than max"
        outcome = task.run(job(stub))
        assert (outcome.kind, outcome.text) == ("refused", "Paint: Value 7 bigger than max seed")


def test_nobody_at_the_port_and_nobody_who_speaks_http(task, job):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        gone = Stub()
        gone.port = silent.getsockname()[1]
        assert task.run(job(gone)).kind == "away"


def test_a_server_that_is_no_comfyui(client, task):
    stub = Stub()
    stub.app = lambda: stub_comfy.web.Application()
    with Stubs(stub):
        told = task.look(client.Server.of(stub.address), None, ())
        assert "is it a ComfyUI" in told.text


def test_a_restarted_server_no_longer_knows_the_item(task, job):
    with Stubs(Stub(seconds=30.0)) as (stub,):
        outcome = _while_running(task, job(stub), stub, stub.forget)
        assert outcome.kind == "lost"
        assert "was it restarted?" in outcome.text


def test_a_server_that_dies(task, job):
    def die():
        stub.down = True

    with Stubs(Stub(seconds=30.0)) as (stub,):
        outcome = _while_running(task, job(stub), stub, die)
        assert (outcome.kind, "does not answer" in outcome.text) == ("lost", True)


def test_a_hang_is_cut_off(task, job):
    with Stubs(Stub()) as (stub,):
        stub.hangs = True
        outcome = task.run(job(stub, limit=0.3))
        assert outcome.kind == "hung"
        assert not task.awake(job(stub).server, (job(stub),)), "it still works on it"
        stub.hangs = False
        stub.forget()
        assert task.awake(job(stub).server, (job(stub),))


def test_cancelled_by_somebody(task, job):
    with Stubs(Stub(seconds=30.0)) as (stub,):
        one = job(stub)
        assert _while_running(task, one, stub, lambda: task.cancel(one)).kind == "cancelled"


def _while_running(task, one, stub, act):
    """The outcome of an item during which `act` happens on the server."""
    from concurrent.futures import ThreadPoolExecutor
    from time import sleep

    with ThreadPoolExecutor() as pool:
        running = pool.submit(task.run, one)
        while stub.current is None:
            sleep(0.01)
        act()
        return running.result(60)


def test_a_file_is_uploaded_once_and_half_of_one_again(client, task, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    with Stubs(Stub()) as (stub,), client.Comfy(client.Server.of(stub.address)) as comfy:
        for source in (path, path, b"content"):
            task.bring(comfy, task.Upload("name.png", source, 7))
        kept = f"{task.FOLDER}/name.png"
        assert stub.uploads[kept] == 1
        stub.inputs[kept] = b"con"  # the server was killed while it wrote
        task.bring(comfy, task.Upload("name.png", path, 7))
        assert stub.inputs[kept] == b"content"


def test_a_file_that_another_item_brings_is_waited_for(client, task, monkeypatch):
    with Stubs(Stub()) as (stub,), client.Comfy(client.Server.of(stub.address)) as comfy:
        kept = f"{task.FOLDER}/name.png"
        threading.Timer(0.3, lambda: stub.inputs.update({kept: b"theirs!"})).start()
        task.bring(comfy, task.Upload("name.png", b"content", 7, wait=True))
        assert not stub.uploads
        stub.inputs.clear()
        monkeypatch.setattr(task, "WAIT_FOR_UPLOAD", 0.2)  # the other one failed
        task.bring(comfy, task.Upload("name.png", b"content", 7, wait=True))
        assert stub.inputs[kept] == b"content"


def test_a_file_that_is_gone_is_the_items_fault(task, job, tmp_path):
    with Stubs(Stub()) as (stub,):
        outcome = task.run(job(stub, uploads=(task.Upload("x.png", tmp_path / "gone.png", 1),)))
        assert outcome.kind == "failed"
        assert outcome.text.endswith("gone.png cannot be read: No such file or directory")
        assert not stub.posts


def test_files_whose_history_is_there_but_not_their_bytes(task, job):
    """Somebody cleared the output folder: the item runs anew under another id."""
    with Stubs(Stub()) as (stub,):
        first = task.run(job(stub))
        stub.outputs.clear()
        assert task.run(job(stub)) == first._replace(seconds=pytest.approx(0.0, abs=1.0))
        assert len(stub.executed) == 2
