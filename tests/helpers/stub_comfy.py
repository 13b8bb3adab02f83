"""A ComfyUI that only pretends to work: the routes that `python3 batch` uses, a queue, and a time for each item.

As a program it serves many ports from one process, for measuring: `python stub_comfy.py --ports 100 --seconds 2`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

Json = dict[str, Any]
INFO: Json = {
    "LoadSketch": {
        "display_name": "Load Sketch",
        "input": {"required": {"image": [["sample.png"], {"image_upload": True}], "size": ["INT", {"default": 64}]}},
        "output": ["IMAGE"],
    },
    "Model": {
        "display_name": "Load Model",
        "input": {"required": {"file": [["small.safetensors", "large.safetensors"]]}},
        "output": ["MODEL"],
    },
    "Paint": {
        "display_name": "Paint",
        "input": {
            "required": {
                "model": ["MODEL"],
                "sketch": ["IMAGE"],
                "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1}],
                "strength": ["FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0}],
            },
            "optional": {"style": ["IMAGE"]},
        },
        "output": ["IMAGE"],
    },
    "PreviewImage": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": True},
    "SaveImage": {
        "display_name": "Save Image",
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}},
        "output": [],
        "output_node": True,
    },
}


def node(kind: str, title: str | None = None, /, **inputs: Any) -> Json:
    return {"class_type": kind, "inputs": inputs, **({"_meta": {"title": title}} if title else {})}


def graph() -> Json:
    """Sketch and style become a picture that is saved, by way of a preview; in API form."""
    return {
        "1": node("Model", file="small.safetensors"),
        "2": node("LoadSketch", "sketch", image="sample.png", size=64),
        "3": node("LoadSketch", "style", image="sample.png", size=64),
        "4": node("Paint", model=["1", 0], sketch=["2", 0], style=["3", 0], seed=1, strength=0.5),
        "5": node("PreviewImage", "draft", images=["4", 0]),
        "6": node("SaveImage", images=["4", 0], filename_prefix="x"),
    }


class Stub:
    """One server. fails(prompt) -> message of a node that raises, or "". executed: how often each prompt id ran."""

    def __init__(self, seconds: float = 0.0, *, pictures: bool = True, header: tuple[str, str] | None = None) -> None:
        self.seconds, self.pictures, self.header = seconds, pictures, header
        self.info = json.loads(json.dumps(INFO))
        self.fails: Callable[[Json], str] = lambda prompt: ""
        self.inputs: dict[str, bytes] = {}
        self.outputs: dict[str, bytes] = {}
        self.uploads: Counter[str] = Counter()
        self.posts: Counter[str] = Counter()
        self.executed: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.deepest = 0
        self.hangs = False
        self.down = False
        self.refuses = ""
        self.port = 0
        self.forget()

    def forget(self) -> None:
        """What a killed ComfyUI no longer knows when it comes back."""
        self.history: dict[str, Json] = {}
        self.pending: list[tuple[str, Json]] = []
        self.current: str | None = None
        self.interrupted = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def app(self) -> web.Application:
        made = web.Application(middlewares=[self._gate], client_max_size=10**8)
        made.add_routes(
            [
                web.get("/system_stats", self._stats),
                web.get("/object_info", self._info),
                web.get("/api/jobs", self._jobs),
                web.get("/api/jobs/{key}", self._job),
                web.post("/api/jobs/{key}/cancel", self._cancel),
                web.post("/prompt", self._prompt),
                web.post("/upload/image", self._upload),
                web.get("/view", self._view),
            ]
        )
        return made

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.down:
            assert request.transport is not None
            request.transport.abort()
            raise web.HTTPServiceUnavailable()
        if self.header and request.headers.get(self.header[0]) != self.header[1]:
            raise web.HTTPUnauthorized()
        self.requests[f"{request.method} {request.path.split('/')[1]}"] += 1
        return await handler(request)

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response({"system": {"comfyui_version": "0.30.0"}, "devices": [{"name": "cpu"}]})

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response(self.info)

    async def _jobs(self, _: web.Request) -> web.Response:
        return web.json_response({"jobs": []})

    async def _job(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        if key in self.history:
            return web.json_response(self.history[key])
        if key == self.current:
            return web.json_response({"id": key, "status": "in_progress"})
        if any(key == known for known, _ in self.pending):
            return web.json_response({"id": key, "status": "pending"})
        return web.json_response({"error": "Job not found"}, status=404)

    async def _cancel(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        before = len(self.pending)
        self.pending = [entry for entry in self.pending if entry[0] != key]
        self.interrupted |= key == self.current and not self.hangs
        return web.json_response({"cancelled": len(self.pending) < before})

    async def _prompt(self, request: web.Request) -> web.Response:
        data = await request.json()
        if self.refuses:
            fault = {"class_type": "Paint", "errors": [{"message": self.refuses, "details": "seed"}]}
            return web.json_response({"error": {"message": "invalid"}, "node_errors": {"4": fault}}, status=400)
        missing = [
            value
            for node in data["prompt"].values()
            if (value := str(node["inputs"].get("image", ""))).startswith("sketchsynth") and value not in self.inputs
        ]
        if missing:
            fault = {"class_type": "LoadSketch", "errors": [{"message": "Invalid image file", "details": missing[0]}]}
            return web.json_response({"error": {"message": "invalid"}, "node_errors": {"2": fault}}, status=400)
        self.posts[data["prompt_id"]] += 1
        self.pending.append((data["prompt_id"], data["prompt"]))
        self.deepest = max(self.deepest, len(self.pending) + (self.current is not None))
        return web.json_response({"prompt_id": data["prompt_id"], "number": 1, "node_errors": {}})

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        image = form["image"]
        assert isinstance(image, web.FileField)
        name = f"{form['subfolder']}/{image.filename}"
        self.inputs[name] = image.file.read()
        self.uploads[name] += 1
        return web.json_response({"name": image.filename, "subfolder": form["subfolder"], "type": "input"})

    async def _view(self, request: web.Request) -> web.Response:
        query = request.query
        name = "/".join(part for part in (query.get("subfolder", ""), query["filename"]) if part)
        known = self.inputs if query.get("type") == "input" else self.outputs
        if name not in known:
            raise web.HTTPNotFound()
        return web.Response(body=known[name], content_type="image/png")

    async def work(self) -> None:
        """The queue's worker, until it is cancelled."""
        due = time.monotonic()
        while True:
            if self.down or not self.pending:
                await asyncio.sleep(0.002)
                due = time.monotonic()
                continue
            key, prompt = self.pending.pop(0)
            self.current = key
            due += self.seconds  # sleeps overshoot; the next item makes up for it
            while (time.monotonic() < due or self.hangs) and self.current == key and not self.interrupted:
                await asyncio.sleep(max(0.0, min(0.05, due - time.monotonic())) if not self.hangs else 0.01)
            if self.current == key and not self.down:
                self.current = None
                self._finish(key, prompt)
            self.interrupted = False

    def _finish(self, key: str, prompt: Json) -> None:
        self.executed[key] += 1
        if self.interrupted:
            self.history[key] = {"id": key, "status": "cancelled"}
            return
        if message := self.fails(prompt):
            error = {"node_type": "Paint", "node_id": "4", "exception_type": "RuntimeError"}
            self.history[key] = {"status": "failed", "execution_error": {**error, "exception_message": message}}
            return
        outputs = {}
        for number, (place, one) in enumerate(prompt.items()):
            if self.info[one["class_type"]].get("output_node"):
                name = f"{one['class_type']}_{key}.png"
                self.outputs[name] = self._picture(prompt, number)
                kind = "output" if one["class_type"] == "SaveImage" else "temp"
                outputs[place] = {"images": [{"filename": name, "subfolder": "", "type": kind}]}
        now = 1000 * time.time()
        times = {"execution_start_time": now - 1000 * self.seconds, "execution_end_time": now}
        self.history[key] = {"id": key, "status": "completed", "outputs": outputs, **times}
        while len(self.history) > 10_000:
            self.history.pop(next(iter(self.history)))
        while len(self.outputs) > 10_000:
            self.outputs.pop(next(iter(self.outputs)))

    def _picture(self, prompt: Json, number: int) -> bytes:
        """The same for the same inputs, whichever server made it."""
        told = [[one["class_type"], one["inputs"]] for one in prompt.values()]
        digest = hashlib.sha256(json.dumps([number, told], sort_keys=True).encode()).digest()
        if not self.pictures:
            return digest * 30
        from PIL import Image

        file = io.BytesIO()
        Image.new("RGB", (16, 16), (digest[0], digest[1], digest[2])).save(file, "PNG")
        return file.getvalue()


class Stubs:
    """Stub servers on free ports, served by a thread: `with Stubs(Stub(), Stub()) as (a, b):`."""

    def __init__(self, *stubs: Stub, secure: ssl.SSLContext | None = None) -> None:
        self.stubs, self.secure = stubs, secure
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> tuple[Stub, ...]:
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(60)
        return self.stubs

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(60)
        self.loop.close()

    async def _start(self) -> None:
        self.runners, self.workers = [], []
        for stub in self.stubs:
            runner = web.AppRunner(stub.app(), access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", stub.port, ssl_context=self.secure)
            await site.start()
            stub.port = runner.addresses[0][1]
            self.runners.append(runner)
            self.workers.append(asyncio.get_running_loop().create_task(stub.work()))

    async def _stop(self) -> None:
        for worker in self.workers:
            worker.cancel()
        for runner in self.runners:
            await runner.cleanup()


def main() -> None:
    """Serves until it is killed; prints the addresses as one line."""
    options = argparse.ArgumentParser()
    options.add_argument("--ports", type=int, default=1)
    options.add_argument("--seconds", type=float, default=0.0)
    asked = options.parse_args()
    with Stubs(*(Stub(asked.seconds, pictures=False) for _ in range(asked.ports))) as stubs:
        print(",".join(stub.address for stub in stubs), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
