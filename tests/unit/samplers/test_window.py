"""GradOP's window: the steps in which it looks at the painting."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def timing(room):
    return room("samplers.window")


def test_window_table(timing, golden):
    rows = json.loads((golden / "gradop" / "window_table.json").read_text())["rows"]
    assert len(rows) == 10
    for row in rows:
        found = timing.window(row["num_inference_steps"], row["strength"], row["num_iterative_steps"])
        assert list(found) == row["opt_after_step_index"], row
        assert len(found) + 1 == row["n_noise_draws"]


@pytest.mark.parametrize(
    ("steps", "strength", "rounds", "expected"),
    [
        (50, 0.85, 1, [7]),
        (25, 0.8, 2, [4, 5]),
        (50, 0.02, 3, []),
        (50, 0.0, 3, []),
        (1, 1.0, 3, []),
        (2, 1.0, 3, [0]),
        (4, 1.0, 50, [0, 1, 2]),
        (10, 0.8, 0, []),
    ],
)
def test_window_at_its_ends(timing, steps, strength, rounds, expected):
    assert list(timing.window(steps, strength, rounds)) == expected


@pytest.mark.parametrize(("steps", "strength", "start"), [(50, 0.8, 10), (50, 1.0, 0), (50, 0.01, 49), (10, 0.35, 7)])
def test_second_walk(timing, steps, strength, start):
    assert timing.second_walk(steps, strength) == start
