"""Which item goes to which server next, and what a failure means. Pure: times come as arguments, in seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

FAILURES = 3  # in a row, until a server rests
LOST = 5  # servers that may go down under an item, until the item counts as their reason
LONGEST_REST = 300.0
HOPELESS = 5  # items that failed for good while none has succeeded


@dataclass
class Lane:
    """One server: what it runs, and how it fares. pace: seconds between two results with the queue never empty."""

    name: str
    running: set[int] = field(default_factory=set)
    failures: int = 0  # in a row
    blamed: int = 0  # items in a row that failed here and succeeded elsewhere
    doubtful: set[int] = field(default_factory=set)  # items that failed here, and nowhere else yet
    rests_until: float | None = None
    rest: float = 0.0
    probing: bool = False
    done: int = 0
    failed: int = 0
    rests: int = 0
    pace: float = 0.0
    slowest: float = 0.0
    why: str = ""


@dataclass
class Trouble:
    """What went wrong with an item so far. on: the servers it failed on."""

    failed: int = 0
    lost: int = 0
    on: set[str] = field(default_factory=set)


class Schedule:
    """Hands items to servers: at most `in_flight` on each, failed ones again and elsewhere first.

    todo: item numbers, asked for one by one. tries: how often an item may fail. rest: seconds that a server rests
    after three failures in a row; twice as long each time it fails again at once."""

    def __init__(
        self, todo: Iterable[int], servers: Iterable[str], in_flight: int = 2, tries: int = 3, rest: float = 5.0
    ) -> None:
        self.todo: Iterator[int] = iter(todo)
        self.again: deque[int] = deque()
        self.exhausted = False
        self.lanes = {name: Lane(name) for name in servers}
        self.in_flight, self.tries, self.rest = in_flight, tries, rest
        self.trouble: dict[int, Trouble] = {}
        self.given_up = 0
        self.done = 0
        self.quiet_since: float | None = None  # since when no server has been awake

    @property
    def running(self) -> int:
        """Items in flight."""
        return sum(len(lane.running) for lane in self.lanes.values())

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing is left to run."""
        return self.exhausted and not self.again and not self.running

    @property
    def hopeless(self) -> bool:
        """Whether items fail and none has ever succeeded: the graph is at fault, or every server."""
        return not self.done and self.given_up >= HOPELESS

    def awake(self) -> list[Lane]:
        """The servers that take items."""
        return [lane for lane in self.lanes.values() if lane.rests_until is None]

    def silence(self, now: float) -> float:
        """For how many seconds no server has been awake."""
        if self.awake():
            self.quiet_since = None
        elif self.quiet_since is None:
            self.quiet_since = now
        return 0.0 if self.quiet_since is None else now - self.quiet_since

    def take(self) -> list[tuple[int, Lane]]:
        """Items to start now, each with its server: the least busy servers first. Each counts as running from here."""
        started = []
        for depth in range(self.in_flight):
            for lane in self.awake():
                if len(lane.running) == depth and (index := self._next(lane)) is not None:
                    lane.running.add(index)
                    started.append((index, lane))
        return started

    def _next(self, lane: Lane) -> int | None:
        others = {other.name for other in self.awake()} if self.again else set()
        for index in self.again:
            on = self.trouble[index].on
            if lane.name not in on or not others - on:
                self.again.remove(index)
                return index
        if self.exhausted or self._waits_for_a_verdict(lane):
            return None
        index = next(self.todo, None)
        self.exhausted = index is None
        return index

    def _waits_for_a_verdict(self, lane: Lane) -> bool:
        """Whether items failed on a server one after the other and another one is about to say whose fault that is: a
        server with a full disk must not run through the whole list."""
        return len(lane.doubtful) >= FAILURES and any(len(o.doubtful) < FAILURES for o in self.awake() if o is not lane)

    def finished(self, index: int, name: str, kind: str, text: str, now: float, seconds: float = 0.0) -> bool:
        """Takes note of an outcome (see Outcome.kind). Returns whether the item is given up: it stays in `trouble`."""
        lane = self.lanes[name]
        lane.running.discard(index)
        if kind == "done":
            self._succeeded(index, lane, seconds, now)
            return False
        trouble = self.trouble.setdefault(index, Trouble())
        for other in trouble.on - {name}:
            self.lanes[other].doubtful.discard(index)
        if kind in ("failed", "refused") and not trouble.on:
            lane.doubtful.add(index)
        trouble.on.add(name)
        if kind in ("failed", "refused"):
            trouble.failed += 1
            lane.failed += 1
        else:
            trouble.lost += kind in ("lost", "hung")
            if kind != "cancelled":
                self._stumbled(lane, text, now, at_once=kind == "hung")
        if trouble.failed >= self.tries or trouble.lost >= LOST:
            self.given_up += 1
            lane.doubtful.discard(index)
            return True
        self.again.append(index)
        return False

    def _succeeded(self, index: int, lane: Lane, seconds: float, now: float) -> None:
        lane.failures = lane.blamed = 0
        lane.rest = 0.0
        lane.doubtful.discard(index)
        lane.done += 1
        self.done += 1
        lane.slowest = max(lane.slowest, seconds)
        lane.pace = seconds if not lane.pace else 0.8 * lane.pace + 0.2 * seconds
        for name in self.trouble.pop(index).on - {lane.name} if index in self.trouble else ():
            other = self.lanes[name]
            other.doubtful.discard(index)
            other.blamed += 1
            if other.blamed >= FAILURES:  # a full disk, say: it fails what others can do
                self._send_to_rest(other, "items fail here that succeed elsewhere", now)

    def _stumbled(self, lane: Lane, text: str, now: float, at_once: bool) -> None:
        lane.failures += 1
        if at_once or lane.failures >= FAILURES:
            self._send_to_rest(lane, text, now)

    def _send_to_rest(self, lane: Lane, why: str, now: float) -> None:
        if lane.rests_until is None:  # what else was in flight fails later, and makes it no longer
            lane.rests += 1
            self._rest(lane, now)
            lane.why = why

    def _rest(self, lane: Lane, now: float) -> None:
        lane.rest = min(LONGEST_REST, max(self.rest, 2 * lane.rest))
        lane.rests_until = now + lane.rest

    def to_probe(self, now: float) -> list[Lane]:
        """Servers whose rest is over: to be asked whether they answer, then told to `probed`."""
        due = [
            lane
            for lane in self.lanes.values()
            if lane.rests_until is not None and lane.rests_until <= now and not lane.probing and not lane.running
        ]
        for lane in due:
            lane.probing = True
        return due

    def probed(self, name: str, answers: bool, now: float) -> None:
        """A server answers again, or rests on. One more failure sends it to rest at once."""
        lane = self.lanes[name]
        lane.probing = False
        if answers:
            lane.rests_until, lane.failures, lane.blamed = None, FAILURES - 1, FAILURES - 1
        else:
            self._rest(lane, now)

    def limit(self) -> float:
        """Seconds after which an item counts as hung, from the slowest one so far on any server; an hour before."""
        slowest = max(lane.slowest for lane in self.lanes.values())
        return max(120.0, 10 * slowest) if slowest else 3600.0
