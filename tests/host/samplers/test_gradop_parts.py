"""GradOP's walk, cut where it looks at the painting."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(0, 3), (3, 4), (4, 5), (5, 12)]),
        ({"variant": "GradOP+", "rounds": 1}, [(0, 3), (3, 12)]),
        ({"variant": "GradOP"}, [(0, 12), (3, 12)]),
        ({"rounds": 0}, [(0, 12)]),
        ({"variant": "GradOP", "gradient_steps": 0}, [(0, 12)]),
        ({"strength": 0.01}, [(0, 12)]),
    ],
)
def test_parts_of_a_walk(room, changes, expected):
    task = room("samplers.canvas").Task(None, torch.zeros(1, 8, 8, 3), **changes)
    assert task.parts(12) == expected
