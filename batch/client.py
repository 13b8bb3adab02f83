"""One ComfyUI server over HTTP, with the standard library: what it can do, its jobs, its files."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import urllib.parse
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..files import quote

Json = dict[str, Any]
TRIES = 3  # of a request that changes nothing, before a server counts as away
PAUSE = 0.5  # seconds between them
AGENT = "sketchsynth-batch"


class Server(NamedTuple):
    """Where a ComfyUI answers, and what to say to it. headers and ca are for servers behind a proxy or TLS."""

    scheme: str
    host: str
    port: int
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    ca: str | None = None

    @property
    def name(self) -> str:
        """Its address without a password: what messages and the summary show."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.path}"

    @classmethod
    def of(cls, address: str, headers: Sequence[tuple[str, str]] = (), ca: str | None = None) -> Server:
        """a:8188, https://user:password@a/path, [::1]:8188. ValueError: no address."""
        text = address.strip()
        parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
        try:
            port = parts.port or (443 if parts.scheme == "https" else 8188)
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or not port or parts.query:
            raise ValueError(f"{_without_password(text)} is no server's address. Write host:8188 or https://host.")
        every = list(headers)
        if parts.username:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            every.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"), tuple(every), ca)


def _without_password(address: str) -> str:
    return quote(address.rpartition("@")[2])


class Away(Exception):
    """The server does not answer, or answers with an error of its own (5xx, a proxy's page)."""


class Refused(Exception):
    """The server understood and said no. status: of HTTP; 401 and 403 ask for a --header."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class Comfy:
    """A conversation with one server over one connection. To be closed; usable by one thread."""

    def __init__(self, server: Server, timeout: float = 30.0) -> None:
        self.server = server
        self.timeout = timeout
        self.connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Comfy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; the next request makes a new one."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _connect(self) -> http.client.HTTPConnection:
        if self.connection is None:
            server = self.server
            if server.scheme == "https":
                secure = ssl.create_default_context(cafile=server.ca)
                self.connection = http.client.HTTPSConnection(
                    server.host, server.port, timeout=self.timeout, context=secure
                )
            else:
                self.connection = http.client.HTTPConnection(server.host, server.port, timeout=self.timeout)
        return self.connection

    def request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", tries: int = TRIES
    ) -> tuple[int, Any, bytes]:
        """Status, headers and body of an answer below 400, or 404. tries: 1 for what must not be sent twice.

        Away: no answer, or one of 5xx. Refused: 4xx."""
        headers = {"User-Agent": AGENT, **dict(self.server.headers)}
        if body is not None:
            headers["Content-Type"] = kind
        for left in range(tries - 1, -1, -1):
            try:
                connection = self._connect()
                connection.request(method, self.server.path + path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                break
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not left:
                    raise Away(f"{self.server.name} does not answer ({_reason(error)})") from error
                time.sleep(PAUSE)
        if answer.status >= 500:
            raise Away(f"{self.server.name} answers {answer.status} {answer.reason}: {_text(content)}")
        if answer.status >= 400 and answer.status != 404:
            hint = " It asks for a password: see --header." if answer.status in (401, 403, 407) else ""
            raise Refused(answer.status, f"{answer.status} {answer.reason}: {_text(content)}{hint}")
        if 300 <= answer.status < 400:
            raise Refused(answer.status, f"it sends elsewhere ({answer.getheader('Location')}): give that address.")
        return answer.status, answer.headers, content

    def json(self, path: str) -> Any:
        """The JSON at a path. Away: there is none, or the answer is something else."""
        status, _, content = self.request("GET", path)
        if status == 404:
            raise Away(f"{self.server.name} has no {path}: is it a ComfyUI of version 0.22 or newer?")
        return self._parsed(content, path)

    def _parsed(self, content: bytes, path: str) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            raise Away(f"{self.server.name}{path} is no JSON: is it a ComfyUI?") from error

    # --- what the host offers ---

    def job(self, prompt_id: str) -> Json | None:
        """The host's record of a prompt: status "pending", "in_progress", "completed", "failed" or "cancelled"; None
        if it knows none."""
        status, _, content = self.request("GET", f"/api/jobs/{prompt_id}")
        return None if status == 404 else self._parsed(content, "/api/jobs")

    def post(self, prompt_id: str, body: bytes) -> None:
        """Queues a body of `Graph.body` under an id of ours. Refused: the server finds fault with it."""
        whole = b'{"prompt_id":"' + prompt_id.encode() + b'",' + body[1:]
        try:
            _, _, content = self.request("POST", "/prompt", whole, tries=1)
        except Refused as refused:
            raise Refused(refused.status, _faults(str(refused))) from None
        answer = self._parsed(content, "/prompt")
        if answer.get("node_errors"):  # some outputs are fine and were queued, others are not
            self.cancel(prompt_id)
            raise Refused(400, _faults(f"400 Bad Request: {json.dumps(answer)}"))

    def cancel(self, prompt_id: str) -> None:
        """Ends a job, wherever it is; nothing happens if it is over."""
        self.request("POST", f"/api/jobs/{prompt_id}/cancel", b"{}", tries=1)

    def size_of_input(self, name: str, folder: str) -> int | None:
        """Bytes of a file in the server's input folder; None if it is not there."""
        query = urllib.parse.urlencode({"filename": name, "subfolder": folder, "type": "input"})
        status, headers, _ = self.request("HEAD", f"/view?{query}")
        return None if status == 404 else int(headers.get("Content-Length") or -1)

    def has_input(self, value: str) -> bool:
        """Whether a widget's value, such as "folder/name.png [output]", names a file of the server's."""
        name, kind = value, "input"
        for folder in ("input", "output", "temp"):
            if value.endswith(f" [{folder}]"):
                name, kind = value.removesuffix(f" [{folder}]"), folder
        folder, _, name = name.rpartition("/")
        query = urllib.parse.urlencode({"filename": name, "subfolder": folder, "type": kind})
        try:
            return self.request("HEAD", f"/view?{query}")[0] == 200
        except Refused:
            return False

    def upload(self, name: str, folder: str, content: bytes) -> None:
        """Puts a file into the input folder under exactly that name."""
        edge = uuid.uuid4().hex
        fields = {"type": "input", "subfolder": folder, "overwrite": "true"}
        head = "".join(
            f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        )
        head += f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        head += "Content-Type: application/octet-stream\r\n\r\n"
        body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
        status, _, answer = self.request("POST", "/upload/image", body, f"multipart/form-data; boundary={edge}")
        if status == 404 or self._parsed(answer, "/upload/image").get("name") != name:
            raise Away(f"{self.server.name} did not keep {name} under its name")

    def fetch(self, entry: Json) -> bytes | None:
        """The file behind one entry of an output; None if the server no longer has it."""
        query = urllib.parse.urlencode({key: entry.get(key, "") for key in ("filename", "subfolder", "type")})
        status, _, content = self.request("GET", f"/view?{query}")
        return None if status == 404 else content


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _text(content: bytes) -> str:
    return " ".join(content.decode("utf-8", "replace").split())


def _faults(text: str) -> str:
    """A refusal of /prompt in people's words: the nodes' own errors where the answer lists them."""
    try:
        answer = json.loads(text[text.index("{") :])
    except ValueError:
        return text[:500]
    errors = [
        f"{node.get('class_type')}: {error.get('message')} {error.get('details')}".strip()
        for node in (answer.get("node_errors") or {}).values()
        for error in node.get("errors") or []
    ]
    plain = answer.get("error")
    return "; ".join(errors)[:500] or str(plain.get("message") if isinstance(plain, dict) else plain)[:500]
