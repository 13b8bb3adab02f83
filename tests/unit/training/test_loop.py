"""The log of the training loop."""

from __future__ import annotations

import contextlib

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


def test_curves_do_not_tell_when_a_run_was_saved_or_stopped(room, tmp_path):
    """Stopped, and saved, at any step: rows end at the same steps with the same means as in one go."""
    loop = room("training.loop")

    class Falling(loop.Lesson):
        def step(self, step, progress):
            return {"loss": torch.tensor(1 / (1 + step))} | ({"rare": torch.tensor(2.0)} if step % 7 == 0 else {}), []

    class Stop(Exception):
        pass

    def rows(folder, stops, save_every):
        for stop in stops:

            def watch(moment, stop=stop):
                if moment.course.steps == stop:
                    raise Stop

            with contextlib.suppress(Stop):
                loop.learn(Falling(), folder, loop.Goal(70), watch=watch, save_every=save_every)
        course = loop.learn(Falling(), folder, loop.Goal(70), save_every=save_every)
        return [{key: value for key, value in row.items() if key != "minutes"} for row in course.rows]

    whole = rows(tmp_path / "whole", (), 1e9)
    assert [row["step"] for row in whole] == [1, 20, 40, 60, 70]
    assert rows(tmp_path / "stopped", (1, 13, 20, 47, 48, 69), 1e9) == whole
    assert rows(tmp_path / "saved", (33,), 0.0) == whole, "saved after every step"
