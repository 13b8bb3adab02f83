"""A real ComfyUI as a child process with this pack in it, and the few HTTP calls that demo, tests and tools need."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parents[2]
NAME = "sketchsynth"  # the folder under custom_nodes: the project's name, as a registry install has it
MODEL_FOLDERS = (
    "sketch_priors",
    "sketch_extractors",
    "sketch_features",
    "sketch_gan",
    "sketch_classifiers",
    "sketch_retrievers",
    "sketch_paint2pix",
)
FLAGS = ("--disable-api-nodes", "--database-url", "sqlite:///:memory:", "--preview-method", "auto")
FRONTEND = "SKETCHSYNTH_FRONTEND"  # in the environment: the folder of another editor than the installed one
USUAL_START = 15.0  # seconds; a machine that takes longer to start ComfyUI is given longer for everything
DIRECT = urllib.request.build_opener(
    urllib.request.ProxyHandler({})
)  # a proxy from the environment must not see 127.0.0.1

Json = dict[str, Any]


class PromptRefused(Exception):
    """The server did not accept a prompt. `answer`: its JSON, {"error": ..., "node_errors": {id: {"errors": []}}}."""

    def __init__(self, answer: Json) -> None:
        self.answer = answer
        errors = answer.get("node_errors") or {}
        told = [
            f"{node['class_type']}: {e['message']} {e['details']}" for node in errors.values() for e in node["errors"]
        ]
        super().__init__("; ".join(told) or str(answer.get("error")))


class PromptFailed(Exception):
    """A node raised, or the run was interrupted. `details` is the server's message of the failed node."""

    def __init__(self, details: Json) -> None:
        self.details = details
        kind = details.get("exception_type", "interrupted").split(".")[-1]
        super().__init__(f"{details.get('node_type')}: {kind}: {str(details.get('exception_message', '')).strip()}")


class ServerDied(Exception):
    """The server did not come up, or went away."""


def link_folder(link: Path, target: Path) -> None:
    """`link` shows `target`: a symbolic link, on Windows a junction (needs no rights), else a copy."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    if link.exists():
        return
    if sys.platform == "win32":
        import _winapi

        _winapi.CreateJunction(str(target), str(link))
        return
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError:
        shutil.copytree(target, link, ignore=shutil.ignore_patterns(".git", "__pycache__", "demo_output"))


def list_models(base: Path, others: Path) -> Path:
    """Writes base/extra_model_paths.yaml: the sub-folders of `others`, each after the one of that name in base/models.

    The first folder of a kind is where nodes save. Our own kinds are listed in any case, so that a configuration of the
    person's own ComfyUI does not come before base/models either.
    """
    names = {path.name for path in others.iterdir() if path.is_dir()} if others.is_dir() else set()
    first = {name: str(base / "models" / name) for name in sorted(names | set(MODEL_FOLDERS))}
    then = {name: str(others / name) for name in sorted(names)}
    for folder in first.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    path = base / "extra_model_paths.yaml"  # JSON is YAML
    path.write_text(json.dumps({"own": {"is_default": True, **first}, "others": then}, indent=1), encoding="utf-8")
    return path


class ComfyServer:
    """`with ComfyServer(python, comfyui, base) as server:` starts the host on a free port and ends it afterwards.

    base: the folder for input, output, models and custom_nodes. `pack`: the folder to link in as
    custom_nodes/sketchsynth. `models`: a folder to use as base/models, which the run may write to. `read_models`: one
    whose files are listed beside those of base/models; what the run saves goes to base/models.
    `cpu`: start with --cpu; None decides by whether there is a GPU that this Python's torch was built for.
    """

    def __init__(
        self,
        python: Path,
        comfyui: Path,
        base: Path,
        *,
        pack: Path | None = PACK,
        models: Path | None = None,
        read_models: Path | None = None,
        cpu: bool | None = None,
        port: int | None = None,
        flags: tuple[str, ...] = FLAGS,
    ) -> None:
        for folder in ("input", "output", "temp", "user", "custom_nodes"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        if pack is not None:
            link_folder(base / "custom_nodes" / NAME, pack)
        if models is not None:
            link_folder(base / "models", models)
        self.base = base
        self.log = base / "comfyui.log"
        self.port = port or _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        cpu = not _has_accelerator() if cpu is None else cpu
        arguments = ["--base-directory", str(base), "--port", str(self.port), *(["--cpu"] if cpu else []), *flags]
        if read_models is not None:
            arguments += ["--extra-model-paths-config", str(list_models(base, read_models))]
        if os.environ.get(FRONTEND):
            arguments += ["--front-end-root", os.environ[FRONTEND]]
        self.patience = 1.0  # what times allowed are multiplied by on this machine; known once it has started
        self.command = [str(python), str(comfyui / "main.py"), *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ComfyServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 300) -> None:
        """Start and wait until it answers. Whatever goes wrong, Ctrl+C included, leaves no process behind."""
        try:
            self._start(timeout)
        except BaseException:
            self.stop()
            raise

    def _start(self, timeout: float) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=self.base,
            )
        began = time.perf_counter()
        while time.perf_counter() - began < timeout:
            if self.process.poll() is not None:
                raise ServerDied(f"ComfyUI ended while starting:\n{self.log_tail()}")
            try:
                self.get("/system_stats", timeout=5)
                self.patience = max(1.0, (time.perf_counter() - began) / USUAL_START)
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
        raise ServerDied(f"ComfyUI did not answer within {timeout:.0f} s:\n{self.log_tail()}")

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    # --- HTTP ---

    def request(
        self, path: str, data: bytes | None = None, headers: dict[str, str] | None = None, timeout: float = 60
    ) -> bytes:
        request = urllib.request.Request(self.address + path, data=data, headers=headers or {})
        with DIRECT.open(request, timeout=timeout) as answer:
            return answer.read()

    def get(self, path: str, timeout: float = 60) -> bytes:
        return self.request(path, timeout=timeout)

    def get_json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def post_json(self, path: str, data: Json) -> Any:
        answer = self.request(path, json.dumps(data).encode(), {"Content-Type": "application/json"})
        return json.loads(answer) if answer else None

    def object_info(self) -> Json:
        return self.get_json("/object_info")

    def upload(self, name: str, content: bytes) -> str:
        """Put a picture into the input folder as the editor does. Returns the name to use in a LoadImage."""
        edge = "sketchsynth-edge"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
        return json.loads(
            self.request("/upload/image", body, {"Content-Type": f"multipart/form-data; boundary={edge}"})
        )["name"]

    # --- prompts ---

    def submit(self, prompt: Json) -> str:
        """Queue a prompt. Returns its id; PromptRefused if the server finds fault with any node of it."""
        try:
            answer = self.post_json("/prompt", {"prompt": prompt})
        except urllib.error.HTTPError as refused:
            raise PromptRefused(json.loads(refused.read())) from None
        if answer["node_errors"]:  # some outputs are fine and were queued, others are not
            self.cancel(answer["prompt_id"])
            raise PromptRefused({"error": "some nodes are not valid", **answer})
        return answer["prompt_id"]

    def wait(self, prompt_id: str, timeout: float = 600) -> Json:
        """The outputs {node id: {"images": [...], "text": [...]}} of a prompt; PromptFailed if a node raised.

        timeout: seconds on a usual machine.
        """
        began, timeout = time.perf_counter(), timeout * self.patience
        while time.perf_counter() - began < timeout:
            entry = self.get_json(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                status = entry.get("status") or {}
                if status.get("status_str") == "error":
                    messages = dict(status["messages"])
                    raise PromptFailed(messages.get("execution_error") or messages.get("execution_interrupted") or {})
                return entry["outputs"]
            if self.process is not None and self.process.poll() is not None:
                raise ServerDied(f"ComfyUI ended while it ran a prompt:\n{self.log_tail()}")
            time.sleep(0.05)
        self.cancel(prompt_id)
        raise TimeoutError(f"the prompt did not finish within {timeout:.0f} s:\n{self.log_tail()}")

    def run(self, prompt: Json, timeout: float = 600) -> Json:
        return self.wait(self.submit(prompt), timeout)

    def cancel(self, prompt_id: str) -> None:
        self.post_json(f"/api/jobs/{prompt_id}/cancel", {})

    def interrupt(self) -> None:
        """The editor's Cancel: ends whatever runs."""
        self.request("/interrupt", data=b"{}", headers={"Content-Type": "application/json"})

    def picture(self, image: Json) -> bytes:
        """The file behind one entry of an output's "images"."""
        return self.get("/view?" + urllib.parse.urlencode({k: image[k] for k in ("filename", "subfolder", "type")}))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_flags() -> tuple[str, ...]:
    """What makes the host faster without a GPU: torch's attention instead of its own, which took a third longer on a
    Stable Diffusion UNet."""
    return () if _has_accelerator() else ("--use-pytorch-cross-attention",)


def _has_accelerator() -> bool:
    """Whether there is a GPU that this Python's torch was built for (by its version file: importing it is slow)."""
    if sys.platform == "darwin":
        return True
    torch = importlib.util.find_spec("torch")
    build = (Path(torch.origin).parent / "version.py").read_text(encoding="utf-8") if torch and torch.origin else ""
    kinds = {line.split(":")[0] for line in build.splitlines() if ":" in line and not line.rstrip().endswith("None")}
    nvidia = shutil.which("nvidia-smi") is not None and "cuda" in kinds
    return nvidia or (Path("/dev/kfd").exists() and "hip" in kinds)
