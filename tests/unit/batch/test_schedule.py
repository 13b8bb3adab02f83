"""batch/schedule.py: which item goes where, what a failure means, when a server rests. No clock runs here."""

from __future__ import annotations

import random

import pytest


@pytest.fixture
def schedule(room):
    return room("batch.schedule")


def started(plan):
    return [(index, lane.name) for index, lane in plan.take()]


def test_two_in_flight_on_each_and_the_least_busy_first(schedule):
    plan = schedule.Schedule(range(10), ["a", "b", "c"])
    assert started(plan) == [(0, "a"), (1, "b"), (2, "c"), (3, "a"), (4, "b"), (5, "c")]
    assert started(plan) == []
    plan.finished(4, "b", "done", "", 1.0)
    assert started(plan) == [(6, "b")]
    assert plan.running == 6


def test_items_are_asked_for_one_by_one(schedule):
    asked = []
    plan = schedule.Schedule((asked.append(i) or i for i in range(10**9)), ["a", "b"])
    plan.take()
    assert asked == [0, 1, 2, 3]


def test_it_is_over_when_the_last_one_is_done(schedule):
    plan = schedule.Schedule(range(1), ["a"])
    assert not plan.over
    plan.take()
    assert plan.exhausted
    assert not plan.over
    plan.finished(0, "a", "done", "", 0.0)
    assert plan.over


def test_a_failed_item_goes_to_another_server_first(schedule):
    plan = schedule.Schedule(range(6), ["a", "b"], in_flight=1)
    plan.take()
    assert plan.finished(0, "a", "failed", "no", 0.0) is False
    assert started(plan) == [(2, "a")], "b takes it next: a has failed with it"
    plan.finished(1, "b", "done", "", 0.0)
    assert started(plan) == [(0, "b")]


def test_an_item_is_given_up_after_three_failures_on_whichever_servers(schedule):
    plan = schedule.Schedule([7], ["a"], in_flight=1)
    for tries in range(1, 4):
        assert started(plan) == [(7, "a")]
        assert plan.finished(7, "a", "failed", "no", 0.0) is (tries == 3)
    assert started(plan) == []
    assert plan.over
    assert (plan.given_up, plan.trouble[7].failed, plan.awake()[0].name) == (1, 3, "a")


def test_a_server_that_was_away_is_not_the_items_fault(schedule):
    plan = schedule.Schedule([7], ["a"], in_flight=1, rest=5.0)
    for time in range(50):
        plan.take()
        assert plan.finished(7, "a", "away", "refused", float(time)) is False
        for lane in plan.to_probe(1e6):
            plan.probed(lane.name, True, float(time))
    assert plan.trouble[7].failed == plan.trouble[7].lost == 0


def test_an_item_that_takes_every_server_down_is_given_up(schedule):
    plan = schedule.Schedule([7], ["a", "b"], in_flight=1)
    given_up = False
    for time in range(schedule.LOST):
        for lane in plan.to_probe(1e6):
            plan.probed(lane.name, True, float(time))
        ((_, name),) = started(plan)
        given_up = plan.finished(7, name, "lost", "died", float(time))
    assert given_up


def test_three_failures_in_a_row_and_a_server_rests(schedule):
    plan = schedule.Schedule(range(100), ["a", "b"], rest=5.0)
    plan.take()
    plan.finished(0, "a", "away", "refused", 0.0)
    plan.finished(2, "a", "done", "", 0.0)
    for time in (1.0, 2.0, 3.0):
        (index, name) = next(pair for pair in started(plan) if pair[1] == "a")
        plan.finished(index, name, "away", "refused", time)
    assert [lane.name for lane in plan.awake()] == ["b"]
    assert all(name == "b" for _, name in started(plan))
    for index in list(plan.lanes["a"].running):
        plan.finished(index, "a", "away", "refused", 3.0)
    assert plan.to_probe(7.9) == []
    assert [lane.name for lane in plan.to_probe(8.0)] == ["a"]
    assert plan.to_probe(9.0) == [], "it is being asked already"
    plan.probed("a", False, 9.0)
    assert plan.to_probe(18.9) == []
    assert [lane.name for lane in plan.to_probe(19.0)] == ["a"], "it rests twice as long now"
    plan.probed("a", True, 19.0)
    assert len(plan.awake()) == 2
    assert plan.lanes["a"].rests == 1


def test_rests_grow_up_to_five_minutes(schedule):
    plan = schedule.Schedule([0], ["a"])
    plan.take()
    plan.finished(0, "a", "hung", "slow", 0.0)
    for _ in range(20):
        (lane,) = plan.to_probe(1e9)
        plan.probed("a", False, 0.0)
    assert lane.rest == schedule.LONGEST_REST


def test_a_hang_is_one_too_many(schedule):
    plan = schedule.Schedule(range(9), ["a", "b"])
    plan.take()
    plan.finished(0, "a", "hung", "slow", 0.0)
    assert [lane.name for lane in plan.awake()] == ["b"]
    assert plan.to_probe(1e9) == [], "another item is still on it"


def test_a_server_whose_items_succeed_elsewhere_rests(schedule):
    """A full disk on one server: every item fails there and nowhere else. All get done, none is given up."""
    plan = schedule.Schedule(range(40), ["full", "good"], in_flight=1)
    for time in range(200):
        for index, name in started(plan):
            plan.finished(index, name, "failed" if name == "full" else "done", "No space left", float(time) / 100)
    assert plan.over
    assert (plan.done, plan.given_up) == (40, 0)
    assert plan.lanes["full"].rests == 1
    assert plan.lanes["full"].failed <= 4, "three to be sure, and one in flight meanwhile"
    assert plan.trouble == {}


def test_a_server_that_fails_at_once_does_not_run_through_the_list(schedule):
    """The other one takes long: until it has tried what failed here, no new items come here."""
    plan = schedule.Schedule(range(1000), ["full", "slow"])
    for _ in range(50):
        for index, name in started(plan):
            if name == "full":
                plan.finished(index, name, "failed", "No space left", 0.0)
    assert plan.lanes["full"].failed <= schedule.FAILURES + 1, "one was in flight when the third failed"
    alone = schedule.Schedule(range(100), ["full"])
    while not alone.hopeless:
        for index, name in started(alone):
            alone.finished(index, name, "failed", "No space left", 0.0)


def test_bad_items_in_a_row_send_nobody_to_rest(schedule):
    plan = schedule.Schedule(range(100), ["a", "b"])
    while not plan.over:
        for index, name in started(plan):
            plan.finished(index, name, "failed" if 20 <= index < 60 else "done", "bad drawing", 0.0)
    assert (plan.done, plan.given_up) == (60, 40)
    assert [lane.rests for lane in plan.lanes.values()] == [0, 0]


def test_a_cancelled_item_is_tried_again_and_is_nobodys_fault(schedule):
    plan = schedule.Schedule([0], ["a"])
    for _ in range(20):
        plan.take()
        assert plan.finished(0, "a", "cancelled", "", 0.0) is False
    assert plan.awake()


def test_nothing_but_failures_is_hopeless(schedule):
    plan = schedule.Schedule(range(100), ["a"], tries=1)
    while not plan.hopeless:
        for index, name in started(plan):
            plan.finished(index, name, "failed", "no", 0.0)
    assert schedule.HOPELESS <= plan.given_up <= schedule.HOPELESS + 1
    plan = schedule.Schedule(range(100), ["a"], tries=1)
    while not plan.over:
        for index, name in started(plan):
            plan.finished(index, name, "done" if index == 0 else "failed", "no", 0.0)
        assert not plan.hopeless


def test_silence_counts_from_the_last_server(schedule):
    plan = schedule.Schedule([0], ["a"])
    assert plan.silence(100.0) == 0.0
    plan.take()
    plan.finished(0, "a", "hung", "", 100.0)
    assert (plan.silence(101.0), plan.silence(131.0)) == (0.0, 30.0)
    plan.to_probe(1e9)
    plan.probed("a", True, 140.0)
    assert plan.silence(150.0) == 0.0


def test_an_items_limit_follows_the_slowest(schedule):
    plan = schedule.Schedule(range(3), ["a", "b"])
    assert plan.limit() == 3600.0
    plan.take()
    plan.finished(1, "b", "done", "", 0.0, seconds=1.0)
    assert plan.limit() == 120.0
    plan.finished(0, "a", "done", "", 0.0, seconds=60.0)
    assert plan.limit() == 600.0


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_every_item_ends_once(schedule, seed):
    """Random failures, deaths and returns of five servers: each item is done or given up exactly once."""
    chance = random.Random(seed)
    plan = schedule.Schedule(range(200), "abcde", in_flight=chance.randint(1, 3))
    flying, ends, time = [], [], 0.0
    bad = {chance.randrange(200) for _ in range(5)}
    while not plan.over:
        time += 1.0
        flying += started(plan)
        assert len(set(flying)) == len(flying) == plan.running
        assert all(len(lane.running) <= plan.in_flight for lane in plan.lanes.values())
        for lane in plan.to_probe(time):
            plan.probed(lane.name, chance.random() < 0.5, time)
        if flying:
            index, name = flying.pop(chance.randrange(len(flying)))
            kind = chance.choices(["done", "lost", "away", "hung", "cancelled"], [20, 1, 3, 1, 1])[0]
            kind = "failed" if index in bad else kind
            if plan.finished(index, name, kind, "", time) or kind == "done":
                ends.append(index)
    assert sorted(ends) == list(range(200))
    assert plan.given_up >= len(bad)
    assert plan.done + plan.given_up == 200
