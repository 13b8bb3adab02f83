"""One run: items to servers by way of Dask, outcomes to the output folder, until nothing is left."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from ..files import NotWritten
from . import task
from .client import Server
from .cluster import Cluster
from .graph import Graph
from .items import Item, Items
from .progress import Progress
from .results import Results
from .schedule import Lane, Schedule

AT_ONCE = 64  # events that are dealt with together, so that a busy machine sends fewer messages
TICK = 0.25  # seconds between two looks at the clock
REMEMBERED = 20_000  # files: hashes of local ones, and which of them a server has
LEAVING = 15.0  # seconds that items in flight get to leave their servers


class Settings(NamedTuple):
    """keep: see task.Job. limit: seconds until an item counts as hung; 0 measures. patience: seconds without any server
    that answers, after which the run stops."""

    keep: str = "saved"
    limit: float = 0.0
    patience: float = 600.0


class Stopped(Exception):
    """The run ends before its end; the text says why. The same command goes on."""


class File(NamedTuple):
    """A local file as servers know it: named by its content, so the same content is uploaded once."""

    name: str
    size: int


class Run:
    """schedule: its items are numbers of `items`. progress, results: told of each outcome."""

    def __init__(
        self,
        cluster: Cluster,
        graph: Graph,
        items: Items,
        servers: list[Server],
        schedule: Schedule,
        results: Results,
        progress: Progress,
        settings: Settings,
    ) -> None:
        self.cluster, self.graph, self.items, self.schedule = cluster, graph, items, schedule
        self.results, self.progress, self.settings = results, progress, settings
        self.servers = {server.name: server for server in servers}
        self.main = graph.last_output()
        self.events: queue.SimpleQueue[tuple[str, Any, str, Any]] = queue.SimpleQueue()
        self.files: OrderedDict[Path, File] = OrderedDict()
        self.there: dict[str, OrderedDict[str, None]] = {name: OrderedDict() for name in self.servers}
        self.coming: dict[tuple[str, str], int] = {}  # files on their way to a server, and for how many items
        self.jobs: dict[int, tuple[task.Job, list[str]]] = {}  # in flight, with the files they need
        self.reason = ""  # why the first item was given up
        self.hung: dict[str, list[task.Job]] = {name: [] for name in self.servers}

    def go(self) -> None:
        """Works until all items are done or given up.

        Stopped: every item fails, no server answers, or the disk is full."""
        while True:
            now = time.monotonic()
            self._start(self.schedule.take())
            for lane in self.schedule.to_probe(now):
                self._listen("probe", None, lane.name, task.awake, self.servers[lane.name], tuple(self.hung[lane.name]))
            self.progress.tick(self.schedule, now)
            if self.schedule.over:
                return
            self._watch(now)
            self._take_notes(self._heard())

    def _heard(self) -> list[tuple[str, Any, str, Any]]:
        """The events that are there, after waiting a moment for the first."""
        heard = []
        with contextlib.suppress(queue.Empty):
            heard.append(self.events.get(timeout=TICK))
            while len(heard) < AT_ONCE:
                heard.append(self.events.get_nowait())
        return heard

    def _take_notes(self, heard: list[tuple[str, Any, str, Any]]) -> None:
        found = self.cluster.results([future for _, _, _, future in heard])
        for (what, index, name, _), result in zip(heard, found, strict=True):
            if what == "probe":
                self._probed(name, result is True)
            elif what == "item":
                if isinstance(result, BaseException):  # a worker of the cluster died, or could not run our code
                    result = task.Outcome("lost", f"the Dask worker failed: {type(result).__name__}: {result}")
                self._take_note(index, name, result)

    def _watch(self, now: float) -> None:
        if self.schedule.hopeless:
            raise Stopped(f"Every item fails, so the run ends here. The first reason: {self.reason}")
        if self.schedule.silence(now) > self.settings.patience:
            why = "; ".join(lane.why for lane in self.schedule.lanes.values() if lane.why)
            raise Stopped(f"No server has answered for {self.settings.patience:.0f} s ({why[:300]}).")

    def _listen(self, what: str, index: int | None, name: str, function: Any, *arguments: Any) -> None:
        """Calls the function on a worker; its future comes back as an event."""
        self._await(what, index, name, self.cluster.call(function, *arguments))

    def _await(self, what: str, index: int | None, name: str, future: Any) -> None:
        future.add_done_callback(lambda done: self.events.put((what, index, name, done)))

    # --- an item ---

    def _start(self, chosen: list[tuple[int, Lane]]) -> None:
        """Sends items to their servers, in one message."""
        ready = []
        for index, lane in chosen:
            try:
                job, needs = self._job(index, lane)
            except OSError as error:
                text = f"{error.filename or 'a file'} cannot be read: {error.strerror}"
                self._take_note(index, lane.name, task.Outcome("failed", text))
                continue
            self.jobs[index] = (job, [file.name for file in needs.values()])
            ready.append((index, lane.name, job))
        if ready:
            futures = self.cluster.calls(task.run, [job for _, _, job in ready])
            for (index, name, _), future in zip(ready, futures, strict=True):
                self._await("item", index, name, future)

    def _job(self, index: int, lane: Lane) -> tuple[task.Job, dict[Path, File]]:
        """An item for its server, and the files that must be there. OSError: one cannot be read."""
        item = self.items[index]
        values, needs = self._values(item)
        body = self.graph.body(values)
        limit = self.settings.limit or self.schedule.limit()
        ahead = len(lane.running) - 1
        server, run, keep = self.servers[lane.name], self.results.run, self.settings.keep
        uploads = self._uploads(server, needs)
        return task.Job(server, item.name, body, run, keep, self.main, ahead, lane.pace, limit, uploads), needs

    def _values(self, item: Item) -> tuple[list[tuple[Any, Any]], dict[Path, File]]:
        """An item's values as the server takes them, and the files that must be there."""
        needs = {value: self._named(value) for _, value in item.values if isinstance(value, Path)}
        values = [
            (target, f"{task.FOLDER}/{needs[value].name}" if isinstance(value, Path) else value)
            for target, value in item.values
        ]
        return values, needs

    def _named(self, path: Path) -> File:
        if path not in self.files:
            content = path.read_bytes()
            name = f"{hashlib.sha256(content).hexdigest()[:32]}{path.suffix.lower()}"
            self.files[path] = File(name, len(content))
            if len(self.files) > REMEMBERED:
                self.files.popitem(last=False)
        return self.files[path]

    def _uploads(self, server: Server, needs: dict[Path, File]) -> tuple[task.Upload, ...]:
        """The files that the server does not have yet. One that another item in flight is just bringing is waited for,
        so that each is uploaded once and none is overwritten while it is read."""
        missing = [(path, file) for path, file in needs.items() if file.name not in self.there[server.name]]
        made = []
        for path, file in missing:
            place = (server.name, file.name)
            source = path.read_bytes() if self.cluster.remote else path.resolve()
            made.append(task.Upload(file.name, source, file.size, wait=place in self.coming))
            self.coming[place] = self.coming.get(place, 0) + 1
        return tuple(made)

    def _take_note(self, index: int, name: str, outcome: task.Outcome) -> None:
        item = self.items[index]
        job, needs = self.jobs.pop(index, (None, []))
        there = self.there[name]
        for upload in () if job is None else job.uploads:
            place = (name, upload.name)
            self.coming[place] -= 1
            if not self.coming[place]:
                del self.coming[place]
        for needed in needs:
            if outcome.kind == "done":
                there[needed] = None
                if len(there) > REMEMBERED:
                    there.popitem(last=False)
            elif outcome.kind != "cancelled":  # it may have lost its files: look again
                there.pop(needed, None)
        if outcome.kind == "done":
            try:
                self.results.save(item.name, outcome.files)
            except NotWritten as error:
                raise Stopped(str(error)) from error
        now = time.monotonic()
        if job is not None and outcome.kind == "hung":
            self._set_free(name, job)
        if self.schedule.finished(index, name, outcome.kind, outcome.text, now, outcome.seconds):
            trouble = self.schedule.trouble.pop(index)
            self.results.failed(item, trouble.failed + trouble.lost, name, outcome.text)
            self.progress.say(f"failed: {item.name}: {outcome.text}")
            self.reason = self.reason or outcome.text

    def _set_free(self, name: str, job: task.Job) -> None:
        """A server hangs on a job: what waits behind it goes elsewhere."""
        self.hung[name].append(job)
        for other in self.schedule.lanes[name].running:
            if other in self.jobs and self.jobs[other][0].name != job.name:
                self._listen("freed", other, name, task.cancel, self.jobs[other][0])

    def _probed(self, name: str, answers: bool) -> None:
        self.schedule.probed(name, answers, time.monotonic())
        if answers:
            self.hung[name].clear()
            self.progress.say(f"{name} answers again")

    def leave(self) -> None:
        """Takes what is in flight off the servers, so that nothing runs on after the command has ended. What gets done
        in the meantime is kept."""
        for job, _ in list(self.jobs.values()):
            self._listen("freed", None, job.server.name, task.cancel, job)
        ends = time.monotonic() + LEAVING
        while self.jobs and time.monotonic() < ends:
            heard = [event for event in self._heard() if event[0] == "item"]
            for (_, index, name, _), outcome in zip(heard, self.cluster.results([e[3] for e in heard]), strict=True):
                del self.jobs[index]
                if isinstance(outcome, task.Outcome) and outcome.kind == "done":
                    with contextlib.suppress(NotWritten):
                        self.results.save(self.items[index].name, outcome.files)
                        self.schedule.finished(index, name, "done", "", time.monotonic(), outcome.seconds)
