"""batch/progress.py: the live line and the summary."""

from __future__ import annotations

import io

import pytest


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def plan(room):
    """Three servers; two items done, one given up, one server resting."""
    made = room("batch.schedule").Schedule(range(100), ["a:1", "b:1", "c:1"], tries=1)
    made.take()
    made.finished(0, "a:1", "done", "", 1.0, seconds=2.0)
    made.finished(1, "b:1", "done", "", 1.0, seconds=2.0)
    made.finished(3, "a:1", "failed", "no", 1.0)
    made.finished(2, "c:1", "hung", "silent", 1.0)
    return made


def test_the_line(room, plan):
    progress = room("batch.progress").Progress(110, 10, Terminal())
    now = progress.began + 4.0
    line = progress.line(plan, now)
    assert line == "done 12/110  0.500/s  3 min left  a:1 1 (0)  b:1 1 (1)  c:1 0 (resting)  failed 1"


def test_many_servers_are_counted(room):
    plan = room("batch.schedule").Schedule(range(100), [f"s{number}" for number in range(100)])
    plan.take()
    plan.finished(0, "s0", "hung", "silent", 1.0)
    progress = room("batch.progress").Progress(100, 0, Terminal())
    assert progress.line(plan, progress.began).endswith("100 servers, 1 resting")


def test_the_rate_is_that_of_the_last_minute(room, plan):
    progress = room("batch.progress").Progress(10_000, 0, Terminal(), every=0.0)
    for second in range(1, 301):
        plan.done = 10 * second if second <= 200 else 2000 + second - 200
        progress.tick(plan, progress.began + second)
    assert progress.rate(plan.done, progress.began + 300) == pytest.approx(1.0, rel=0.05)
    assert len(progress.marks) < 70


def test_a_terminal_renews_its_line_and_a_file_gets_lines(room, plan):
    screen, file = Terminal(), io.StringIO()
    for stream, every in ((screen, 0.0), (file, 0.0)):
        progress = room("batch.progress").Progress(110, 10, stream, every=every)
        progress.tick(plan, progress.began + 1)
        progress.tick(plan, progress.began + 2)
        progress.say("failed: x")
        progress.tick(plan, progress.began + 3, last=True)
    assert screen.getvalue().count("\n") == 2
    assert "\rfailed: x\n" in screen.getvalue()
    assert file.getvalue().count("\n") == 4
    assert "\r" not in file.getvalue()


def test_a_file_gets_a_line_every_ten_seconds(room, plan):
    file = io.StringIO()
    progress = room("batch.progress").Progress(110, 10, file)
    for second in range(1, 31):
        progress.tick(plan, progress.began + second)
    assert file.getvalue().count("\n") == 3


def test_the_summary(room, plan):
    progress = room("batch.progress").Progress(110, 10, Terminal())
    told = room("batch.progress").summary(plan, progress, "some failed", {"graph": "g.json"})
    assert (told["state"], told["items"], told["done"], told["done_before"], told["failed"]) == (
        "some failed",
        110,
        12,
        10,
        1,
    )
    assert told["servers"]["a:1"] == {"done": 1, "failed": 1, "rests": 0, "seconds_per_item": 2.0}
    assert told["servers"]["c:1"]["resting"] == "silent"
    assert told["graph"] == "g.json"
