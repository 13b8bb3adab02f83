"""How far a run is: one line that renews itself on a terminal, a line now and then elsewhere; and the summary."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any, TextIO

from .schedule import Lane, Schedule

WINDOW = 60.0  # seconds that the rate looks back
NAMED = 4  # servers that the line names; more are counted


class Progress:
    """total: items of the run; before: those that were done when it started."""

    def __init__(self, total: int, before: int, stream: TextIO | None = None, every: float | None = None) -> None:
        self.total, self.before = total, before
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.every = every if every is not None else 0.5 if self.live else 10.0
        self.began = time.monotonic()
        self.marks: deque[tuple[float, int]] = deque([(self.began, 0)])
        self.told = self.began
        self.width = 0

    def rate(self, done: int, now: float) -> float:
        """Items a second over the last minute."""
        while len(self.marks) > 1 and now - self.marks[0][0] > WINDOW:
            self.marks.popleft()
        then, before = self.marks[0]
        return (done - before) / (now - then) if now > then else 0.0

    def line(self, schedule: Schedule, now: float) -> str:
        """done 120/300  1.9/s  2 min left  a:8188 61 (2)  b:8188 59 (2)  failed 1"""
        done = self.before + schedule.done
        rate = self.rate(schedule.done, now)
        left = self.total - done - schedule.given_up
        parts = [f"done {done}/{self.total}", f"{rate:.{1 if rate >= 0.95 else 3}f}/s"]
        parts.append(f"{_time(left / rate)} left" if rate and left else "")
        lanes = list(schedule.lanes.values())
        if len(lanes) <= NAMED:
            parts += [_told(lane) for lane in lanes]
        else:
            resting = len(lanes) - len(schedule.awake())
            parts.append(f"{len(lanes)} servers" + (f", {resting} resting" if resting else ""))
        parts.append(f"failed {schedule.given_up}" if schedule.given_up else "")
        return "  ".join(part for part in parts if part)

    def tick(self, schedule: Schedule, now: float, last: bool = False) -> None:
        """Shows the line, if it is time or if it is the last one."""
        if not last and now - self.told < self.every:
            return
        self.told = now
        text = self.line(schedule, now)
        self.marks.append((now, schedule.done))
        if self.live:
            self.stream.write("\r" + text.ljust(self.width) + ("\n" if last else ""))
        else:
            self.stream.write(text + "\n")
        self.width = len(text)
        self.stream.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.stream.write(("\r" + " " * self.width + "\r" if self.live else "") + text + "\n")
        self.stream.flush()


def _told(lane: Lane) -> str:
    return f"{lane.name} {lane.done} " + ("(resting)" if lane.rests_until is not None else f"({len(lane.running)})")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def summary(schedule: Schedule, progress: Progress, state: str, more: dict[str, Any]) -> dict[str, Any]:
    """What summary.json says. state: "complete", "some failed" or why it stopped."""
    seconds = time.monotonic() - progress.began
    return {
        "state": state,
        "items": progress.total,
        "done": progress.before + schedule.done,
        "done_before": progress.before,
        "failed": schedule.given_up,
        "seconds": round(seconds, 1),
        "per_second": round(schedule.done / seconds, 3) if seconds else 0.0,
        "servers": {
            lane.name: {
                "done": lane.done,
                "failed": lane.failed,
                "rests": lane.rests,
                "seconds_per_item": round(lane.pace, 3),
                **({"resting": lane.why} if lane.rests_until is not None else {}),
            }
            for lane in schedule.lanes.values()
        },
        **more,
    }
