"""The log of the training loop."""

from __future__ import annotations

import torch


def test_a_rare_loss_is_the_mean_of_its_own_steps(room, tmp_path):
    """Lazy losses come at every n-th step; a row tells their size, not their share."""
    loop = room("training.loop")

    class Lazy(loop.Lesson):
        def step(self, step, progress):
            return {"each": torch.tensor(1.0)} | ({"rare": torch.tensor(8.0)} if step % 4 == 0 else {}), []

    course = loop.learn(Lazy(), tmp_path, loop.Goal(40))
    assert [row["step"] for row in course.rows] == [1, 20, 40]
    assert all((row["each"], row["rare"]) == (1.0, 8.0) for row in course.rows)
    assert Lazy().sheet() is None
