"""What a Dask worker does: look at a server, run an item, cancel it, see whether a server is back.

Plain functions that raise nothing for what is expected to happen. What they need comes with them, so a worker needs no
copy of the pack."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .check import faults
from .client import Away, Comfy, Json, Refused, Server

FOLDER = "sketchsynth-batch"  # of uploads, in a server's input folder
LONGEST_PAUSE = 5.0  # seconds between two questions about a job: a server's death is noticed after so long
SHORTEST_PAUSE = 0.02
WAIT_FOR_UPLOAD = 30.0  # seconds
IDS = 50  # failed runs of an item that a server may remember
PASSWORD = (401, 403, 407)


class Outcome(NamedTuple):
    """What became of an item. kind: "done", or whose fault it is: the item's ("failed": a node raised; "refused": not
    valid there), the server's after it had taken the item ("lost", "hung", "cancelled") or before ("away").
    files: ending and content of each result, the main one first. seconds: what the server itself took."""

    kind: str
    text: str = ""
    files: tuple[tuple[str, bytes], ...] = ()
    seconds: float = 0.0


class Upload(NamedTuple):
    """A file that the server needs, under a name made of its content. source: a path, or the bytes for a worker that
    does not see the path. wait: another item is bringing it."""

    name: str
    source: Path | bytes
    size: int
    wait: bool = False


class Job(NamedTuple):
    """An item for one server. run: the id of the run, so that prompt ids are the same after a restart. keep: "final",
    "saved" or "all" of what the graph shows; main: the output node of the final result. ahead: items that the server
    has before it. expected: seconds that one takes there, 0 if that is not known; limit: seconds after which it hangs.
    """

    server: Server
    name: str
    body: bytes
    run: str
    keep: str
    main: str
    ahead: int
    expected: float
    limit: float
    uploads: tuple[Upload, ...] = ()


class View(NamedTuple):
    """What a server is, and what keeps it from running the graph."""

    version: str
    device: str
    faults: tuple[str, ...]
    object_info: Json | None = None


def prompt_ids(job: Job) -> Iterator[str]:
    """The ids of an item's prompts, one for each of its tries on a server: the same for the same run, item, content and
    number, so posting it again is seen."""
    content = uuid.uuid5(uuid.NAMESPACE_OID, job.body.hex())
    for number in range(IDS):
        yield str(uuid.uuid5(uuid.UUID(job.run), f"{number}/{job.name}/{content}"))


def look(server: Server, prompt: Json | None, set_by_run: tuple[tuple[str, str], ...]) -> View | Outcome:
    """A server's version and device; with a prompt, what is wrong with it there; without one, the node list."""
    with Comfy(server, timeout=60.0) as comfy:
        try:
            stats, info = comfy.json("/system_stats"), comfy.json("/object_info")
            comfy.json("/api/jobs?limit=1")
            found = () if prompt is None else tuple(faults(prompt, info, set(set_by_run), comfy.has_input))
        except (Away, Refused) as error:
            return Outcome("away", str(error))
    devices = ", ".join(str(device.get("name", "")) for device in stats.get("devices") or [])
    version = str((stats.get("system") or {}).get("comfyui_version", "unknown"))
    return View(version, devices, found, info if prompt is None else None)


def bring(comfy: Comfy, upload: Upload) -> None:
    """Puts a file on the server unless it is there whole. Away, Refused; OSError: the file cannot be read."""
    ends = time.monotonic() + WAIT_FOR_UPLOAD
    while (there := comfy.size_of_input(upload.name, FOLDER)) != upload.size and upload.wait:
        if time.monotonic() > ends:
            break
        time.sleep(0.1)
    if there != upload.size:
        content = upload.source if isinstance(upload.source, bytes) else upload.source.read_bytes()
        if len(content) != upload.size:
            raise OSError(0, "it has changed since the start", str(upload.source))
        comfy.upload(upload.name, FOLDER, content)


def run(job: Job) -> Outcome:
    """Runs an item on its server, or takes up what the server already has of it, and fetches what it made."""
    taken = False
    with Comfy(job.server, timeout=max(5.0, min(30.0, job.limit))) as comfy:
        try:
            for key in prompt_ids(job):
                record = comfy.job(key)
                known = record is not None
                if record is not None and record.get("status") in ("failed", "cancelled"):
                    continue  # an earlier try
                if record is None:
                    for upload in job.uploads:
                        bring(comfy, upload)
                    comfy.post(key, job.body)
                taken = True
                record = _wait(comfy, job, key)
                outcome = record if isinstance(record, Outcome) else _result(comfy, job, record)
                if known and outcome.kind == "failed":
                    continue  # it ended before, and its files are gone
                return outcome
            return Outcome("failed", f"it failed {IDS} times on this server")
        except Away as error:
            return Outcome("lost" if taken else "away", str(error))
        except Refused as error:
            return Outcome("away" if error.status in PASSWORD else "refused", str(error))
        except OSError as error:
            return Outcome("failed", f"{error.filename or 'a file'} cannot be read: {error.strerror}")


def _wait(comfy: Comfy, job: Job, key: str) -> Json | Outcome:
    """The record of a finished job. Asks seldom: first when it should be done, then by twelfths of an item's time."""
    began = time.monotonic()
    running: float | None = None
    pause = 0.9 * job.expected * (1 + job.ahead) if job.expected else 0.05
    while True:
        time.sleep(max(SHORTEST_PAUSE, min(LONGEST_PAUSE, pause)))
        now = time.monotonic()
        record = comfy.job(key)
        if record is None:
            return Outcome("lost", f"{comfy.server.name} no longer knows the item: was it restarted?")
        if record.get("status") not in ("pending", "in_progress"):
            return record
        if running is None and record["status"] == "in_progress":
            running = now
        late = now - running > job.limit if running is not None else now - began > job.limit * (job.ahead + 2)
        if late:
            with contextlib.suppress(Away, Refused):
                comfy.cancel(key)
            return Outcome("hung", f"{comfy.server.name} did not finish within {job.limit:.0f} s")
        left = 0.9 * job.expected * (1 + job.ahead) - (now - began)
        pause = max(left, (job.expected or now - began) / 12)


def _result(comfy: Comfy, job: Job, record: Json) -> Outcome:
    if record.get("status") == "cancelled":
        return Outcome("cancelled", f"the item was cancelled on {comfy.server.name}")
    if record.get("status") == "failed":
        return Outcome("failed", _why(record.get("execution_error") or {}))
    outputs = {key: shown for key, shown in (record.get("outputs") or {}).items() if isinstance(shown, dict)}
    found: list[tuple[str, bytes]] = []
    for entry in chosen(outputs, job.keep, job.main):
        if isinstance(entry, str):
            found.append((".txt", entry.encode()))
            continue
        content = comfy.fetch(entry)
        if not content:
            return Outcome("failed", f"{comfy.server.name} has no file {entry.get('filename')!r} any more")
        found.append((_ending(str(entry["filename"])), content))
    if not found:
        return Outcome("failed", "the graph gave no file and no text")
    start, end = record.get("execution_start_time"), record.get("execution_end_time")  # in milliseconds
    return Outcome("done", "", tuple(found), (end - start) / 1000 if start and end else 0.0)


def chosen(outputs: Json, keep: str, main: str) -> list[Any]:
    """The entries of a job's outputs to keep, those of the main node first; files, or texts where it has no files.

    keep: "final" (the main node's), "saved" (what was saved; without such, as final) or "all"."""
    order = sorted(outputs, key=lambda key: (key != main, len(key), key))  # not as they ran, which a cache changes
    listed = {
        key: [e for entries in outputs[key].values() if isinstance(entries, list) for e in entries if _is_file(e)]
        for key in order
    }
    every = [entry for key in order for entry in listed[key]]
    saved = [entry for entry in every if entry.get("type") == "output"]
    texts = [t for key in order if key == main or main not in outputs for t in outputs[key].get("text") or []]
    final = listed.get(main) or [text for text in texts if isinstance(text, str)]
    return {"final": final, "saved": saved or final, "all": every}[keep] or final or every


def _is_file(entry: Any) -> bool:
    return isinstance(entry, dict) and bool(entry.get("filename"))


def _ending(name: str) -> str:
    """The ending of a server's file, if it is a plain one."""
    found = re.search(r"\.[a-z0-9]{1,8}$", name.lower())
    return found.group() if found else ".bin"


def _why(error: Json) -> str:
    kind = str(error.get("exception_type", "error")).split(".")[-1]
    text = " ".join(str(error.get("exception_message", "")).split())[:400]
    return f"{error.get('node_type', 'a node')} (#{error.get('node_id', '?')}): {kind}: {text}"


def cancel(job: Job) -> None:
    """Takes an item off its server, as far as the server answers."""
    with Comfy(job.server, timeout=5.0) as comfy, contextlib.suppress(Away, Refused):
        for key in prompt_ids(job):
            if (record := comfy.job(key)) is None:
                return
            if record.get("status") in ("pending", "in_progress"):
                comfy.cancel(key)
                return


def awake(server: Server, hung: tuple[Job, ...]) -> bool:
    """Whether a server answers and is done with the items that hung on it."""
    with Comfy(server, timeout=10.0) as comfy:
        try:
            comfy.json("/system_stats")
            for job in hung:
                for key in prompt_ids(job):
                    record = comfy.job(key)
                    if record is None:
                        break
                    if record.get("status") == "in_progress":
                        return False
        except (Away, Refused):
            return False
    return True
